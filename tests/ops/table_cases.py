"""For every row of the op table: inputs to try, and an oracle from outside (mpmath, NumPy or JAX).

A new row needs an entry in `FORMULAS`, `CHOICES` or `CASES`; the tests name the row that has none.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
from jax.scipy import special
from mpmath import mp

import tinygrad_notes as tn
from tinygrad_notes.ops import TABLE, Op

jax.config.update("jax_enable_x64", True)

NEAR = 1e-12
ROWS = frozenset(TABLE)
"""The project's own rows: what stands in the table before any test or doctest adds one."""

# --- elementwise rows: the function itself, in mpmath -----------------------------------------------------------------


@dataclass(frozen=True)
class Formula:
    """An elementwise row as mpmath writes it.

    Attributes:
        exact: the function on mpmath numbers.
        params: the row's parameters.
        reach: the largest magnitude to try.
        least: the smallest, beside 0.
        kink: xs -> whether the row has no derivative there.
        call: how to call it on its differentiable arguments, if not simply `op(*xs, **params)`.
        arity: how many those are, if fewer than the row's.
        slack: xs -> how large are the terms that cancel in the row's value, first and second derivative, or how much
            those change when an argument is off by a rounding.
    """

    exact: Callable[..., Any]
    params: dict[str, Any] = field(default_factory=dict)
    reach: float = 1e12
    least: float = 1e-12
    kink: Callable[..., bool] = lambda *xs: False
    call: Callable[..., Any] | None = None
    arity: int | None = None
    slack: Callable[..., tuple[float, float, float]] = lambda *xs: (0.0, 0.0, 0.0)


def _normal(x: Any) -> Any:
    return mp.erfc(-x / mp.sqrt(2)) / 2


def _leaky(slope: float) -> Callable[[Any], Any]:
    return lambda x: x if x > 0 else mp.mpf(slope) * x


def _elu(alpha: float) -> Callable[[Any], Any]:
    return lambda x: x if x > 0 else mp.mpf(alpha) * mp.expm1(x)


def _at(*kinks: float) -> Callable[[float], bool]:
    return lambda x: any(abs(x - kink) < NEAR for kink in kinks)


def _difference_slack(a: float, b: float) -> tuple[float, float, float]:
    size = (1 + abs(a - b)) * math.exp(-abs(a - b))
    return 1.0, size, size


def _power_slack(a: float, b: float) -> tuple[float, float, float]:
    size = (1 + abs(b * math.log(a))) * a**b
    return size, size * (1 + abs(b)) / min(a, 1), size * (1 + abs(b)) ** 2 / min(a * a, 1)


def _bell(rate: float) -> Callable[[float], tuple[float, float, float]]:
    """e^(-rate · x²) amplifies a rounding of x² by x²."""

    def slack(x: float) -> tuple[float, float, float]:
        size = (1 + x * x) * math.exp(-rate * x * x)
        return size * abs(x), size * (1 + abs(x)), size * (1 + abs(x)) ** 3

    return slack


FORMULAS: dict[str, list[Formula]] = {
    "identity": [Formula(lambda x: +x)],
    "add": [Formula(operator.add)],
    "subtract": [Formula(operator.sub)],
    "multiply": [Formula(operator.mul)],
    "divide": [Formula(operator.truediv)],
    "negative": [Formula(operator.neg)],
    "pow": [Formula(mp.power, reach=20.0, least=1e-3, slack=_power_slack)],
    "square": [Formula(lambda x: x * x)],
    "sqrt": [Formula(mp.sqrt, reach=1e100, least=1e-100)],
    "abs": [Formula(abs, kink=_at(0))],
    "sign": [Formula(mp.sign, kink=_at(0))],
    "maximum": [Formula(max, kink=lambda a, b: abs(a - b) < NEAR)],
    "minimum": [Formula(min, kink=lambda a, b: abs(a - b) < NEAR)],
    "clip": [
        Formula(lambda x: min(max(x, -1), 2), {"min": -1.0, "max": 2.0}, kink=_at(-1, 2)),
        Formula(lambda x: max(x, 0), {"min": 0}, kink=_at(0)),
        Formula(lambda x: min(x, 0.5), {"max": 0.5}, kink=_at(0.5)),
        Formula(lambda x: x),
    ],
    "where": [
        Formula(lambda a, b: a, call=lambda a, b: tn.where(True, a, b), arity=2),
        Formula(lambda a, b: b, call=lambda a, b: tn.where(False, a, b), arity=2),
    ],
    "hypot": [Formula(mp.hypot, kink=lambda a, b: a == b == 0, slack=lambda a, b: (0, 0, 4 / max(abs(a), abs(b))))],
    "exp": [Formula(mp.exp, reach=700.0)],
    "expm1": [Formula(mp.expm1, reach=700.0)],
    "log": [Formula(mp.log, reach=1e100, least=1e-100)],
    "log1p": [Formula(mp.log1p)],
    "logaddexp": [Formula(lambda a, b: mp.log(mp.exp(a) + mp.exp(b)), reach=300.0, slack=_difference_slack)],
    "xlogy": [Formula(lambda x, a: x * mp.log(a) if x else mp.mpf(0))],
    "sin": [Formula(mp.sin)],
    "cos": [Formula(mp.cos)],
    "tan": [Formula(mp.tan)],
    "asin": [Formula(mp.asin, slack=lambda x: (0, 0, 1))],
    "acos": [Formula(mp.acos, slack=lambda x: (0, 0, 1))],
    "atan": [Formula(mp.atan)],
    "atan2": [Formula(mp.atan2, slack=lambda a, b: (0, 0, 4 / (a * a + b * b)))],
    "sinh": [Formula(mp.sinh, reach=700.0)],
    "cosh": [Formula(mp.cosh, reach=700.0)],
    "tanh": [Formula(mp.tanh, reach=300.0, slack=lambda x: (0, 2, 4))],  # 1 - y²
    "sigmoid": [Formula(lambda x: 1 / (1 + mp.exp(-x)), reach=300.0, slack=lambda x: (0, 0, 1))],
    "one_minus": [
        Formula(
            lambda x: 1 / (1 + mp.exp(x)),
            reach=300.0,
            call=lambda x: tn.complement(tn.sigmoid(x)),
            arity=1,
            slack=lambda x: (0, 0, 1),
        ),
    ],
    "cross_entropy": [
        Formula(
            lambda y, x: -(y * mp.log(1 / (1 + mp.exp(-x))) + (1 - y) * mp.log(1 / (1 + mp.exp(x)))),
            reach=300.0,
            call=lambda y, x: tn.cross_entropy(y, tn.sigmoid(x)),
            arity=2,
            slack=lambda y, x: (abs(x), 1 + abs(x), 2 + abs(x)),
        ),
        Formula(
            lambda y, a: -(y * mp.log(a) + (1 - y) * mp.log(1 - a)),
            call=tn.cross_entropy,
            arity=2,
            slack=lambda y, a: (1.0, 1 / a + 1 / (1 - a), 1 / a**2 + 1 / (1 - a) ** 2),
        ),
    ],
    "relu": [Formula(lambda x: max(x, 0), kink=_at(0))],
    "leaky_relu": [Formula(_leaky(0.01), kink=_at(0)), Formula(_leaky(0.3), {"slope": 0.3}, kink=_at(0))],
    "elu": [Formula(_elu(1.0), kink=_at(0)), Formula(_elu(0.7), {"alpha": 0.7}, kink=_at(0))],
    "softplus": [Formula(lambda x: mp.log1p(mp.exp(x)), reach=300.0)],
    "silu": [Formula(lambda x: x / (1 + mp.exp(-x)), reach=300.0, slack=lambda x: (0, 1, 4))],
    "erf": [Formula(mp.erf, reach=26.0, slack=_bell(1.0))],
    "erfc": [Formula(mp.erfc, reach=26.0, slack=_bell(1.0))],
    "gelu": [Formula(lambda x: x * _normal(x), reach=36.0, slack=_bell(0.5))],
}

STEP, DIGITS = 1e-40, 450


def derivative(f: Callable[..., Any], op: Op, xs: tuple[float, ...], orders: tuple[int, ...]) -> Any:
    """The partial derivative by central differences in 450 digits: the error is below 1e-50 of the scale."""
    with mpmath.workdps(DIGITS):
        points: list[tuple[Any, list[Any]]] = [(mp.mpf(1), [])]
        for x, order, (low, _) in zip(xs, orders, op.domain[-len(xs) :], strict=True):
            step = mp.mpf(STEP) * (abs(x) if low == 0 else max(abs(x), 1))
            weights = {
                0: {0: 1},
                1: {1: 1 / (2 * step), -1: -1 / (2 * step)},
                2: {1: step**-2, 0: -2 * step**-2, -1: step**-2},
            }
            points = [(w * v, [*at, mp.mpf(x) + k * step]) for w, at in points for k, v in weights[order].items()]
        return mp.fsum(w * f(*at) for w, at in points)


# --- rows that choose and take no gradient ----------------------------------------------------------------------------

CHOICES: dict[str, Callable[..., Any]] = {
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "equal": operator.eq,
    "not_equal": operator.ne,
    "logical_and": lambda a, b: bool(a) and bool(b),
    "logical_or": lambda a, b: bool(a) or bool(b),
    "logical_not": lambda a: not a,
}

# --- structural rows: ways to call them, and the same in JAX ----------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A structural row on arrays of these shapes with these parameters.

    Attributes:
        shapes: of the arrays that it is given.
        params: its parameters.
        oracle: the same in JAX; it is given the arrays, then the parameters by keyword.
        zeros: how many of the elements of the first array are 0.
    """

    shapes: tuple[tuple[int, ...], ...]
    oracle: Callable[..., Any]
    params: dict[str, Any] = field(default_factory=dict)
    zeros: int = 0

    def arrays(self, dtype: Any = np.float64) -> list[np.ndarray]:
        """Distinct numbers, none near 0 or a tie, unless zeros are asked for."""
        generator = np.random.default_rng(len(str(self.shapes)))
        found = []
        for shape in self.shapes:
            size = math.prod(shape)
            steps = generator.permutation(size) - size / 2 + 0.25
            found.append((steps / max(size, 1) * 3 + generator.uniform(-0.05, 0.05, size)).reshape(shape).astype(dtype))
        found[0].reshape(-1)[: self.zeros] = 0
        return found


def _each(shape: tuple[int, ...], params: list[dict[str, Any]], oracle: Callable[..., Any]) -> list[Case]:
    return [Case((shape,), oracle, p) for p in params]


def _list(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *xs, **params: function(xs, **params)


AXES: list[dict[str, Any]] = [
    {},
    {"axis": 0},
    {"axis": -1},
    {"axis": (0, -1), "keepdims": True},
    {"axis": 1, "keepdims": True},
]
ONE_AXIS: list[dict[str, Any]] = [{}, {"axis": 0}, {"axis": -2}]
INDICES: list[Any] = [
    1,
    (slice(None, None, -2), 1),
    (Ellipsis, 0),
    (None, slice(1, 2), Ellipsis, None),
    np.array([0, 1, 1, 0, 1]),
    (np.array([[0], [1]]), np.array([2, 2])),
    (slice(None), np.array([True, False, True])),
    (np.array([0, 0]), slice(None), -1),
    np.arange(12).reshape(2, 3, 2) % 3 == 0,
]
CASES: dict[str, list[Case]] = {
    "sum": [*_each((2, 3, 2), AXES, jnp.sum), Case(((),), jnp.sum)],
    "mean": _each((2, 3, 2), AXES, jnp.mean),
    "max": _each((2, 3, 2), AXES, jnp.max),
    "min": _each((2, 3, 2), AXES, jnp.min),
    "argmax": _each((2, 3), [{}, {"axis": 0}, {"axis": -1, "keepdims": True}], jnp.argmax),
    "var": _each((2, 3), [{}, {"axis": 0}, {"axis": -1, "correction": 1.0, "keepdims": True}], jnp.var),
    "std": _each((2, 3), [{}, {"axis": 0}, {"axis": -1, "correction": 1.0, "keepdims": True}], jnp.std),
    "norm": _each((2, 3), [{}, {"axis": 0}], lambda x, axis=None: jnp.sqrt(jnp.sum(x * x, axis=axis)))
    + _each((2, 3), [{"axis": -1, "keepdims": True}], jnp.linalg.norm),
    "prod": _each((2, 3, 2), [AXES[1], AXES[3]], jnp.prod)
    + [Case(((5,),), jnp.prod, zeros=k) for k in range(4)]
    + [Case(((2, 3),), jnp.prod, {"axis": -1}, zeros=2), Case(((1,),), jnp.prod), Case(((),), jnp.prod)],
    "logsumexp": _each((2, 3, 2), AXES, special.logsumexp),
    "softmax": _each((2, 3), ONE_AXIS, jax.nn.softmax),
    "log_softmax": _each((2, 3), ONE_AXIS, jax.nn.log_softmax),
    "cumulative_sum": [*_each((2, 3), [{"axis": 0}, {"axis": -1}], jnp.cumsum), Case(((4,),), jnp.cumsum)],
    "broadcast_to": [
        *_each((3, 1), [{"shape": (3, 1)}, {"shape": (3, 2)}, {"shape": (2, 3, 2)}], jnp.broadcast_to),
        Case(((),), jnp.broadcast_to, {"shape": (2, 2)}),
    ],
    "sum_to": [
        Case(((2, 3),), lambda x, shape: x.sum(0, keepdims=True), {"shape": (1, 3)}),
        Case(((2, 3),), lambda x, shape: x.sum(0), {"shape": (3,)}),
        Case(((2, 3, 2),), lambda x, shape: x.sum((0, 2), keepdims=True)[0], {"shape": (3, 1)}),
        Case(((2, 3),), lambda x, shape: x.sum(), {"shape": ()}),
        Case(((2, 1),), lambda x, shape: x, {"shape": (2, 1)}),
    ],
    "astype": [Case(((2, 2),), lambda x, dtype: x.astype(dtype), {"dtype": np.dtype(np.float64)})],
    "reshape": _each((2, 3), [{"shape": (3, 2)}, {"shape": (-1,)}, {"shape": (1, 6, 1)}], jnp.reshape),
    "permute_dims": _each((2, 3, 1), [{}, {"axes": (1, 2, 0)}, {"axes": (-1, 0, -2)}], jnp.transpose),
    "expand_dims": _each((2, 3), [{"axis": 0}, {"axis": -1}, {"axis": (0, 2)}], jnp.expand_dims),
    "squeeze": _each((1, 3, 1), [{}, {"axis": 0}, {"axis": -1}, {"axis": (0, 2)}], jnp.squeeze),
    "flip": _each((2, 3), [{}, {"axis": 0}, {"axis": -1}, {"axis": (0, 1)}], jnp.flip),
    "tril": _each((2, 3, 3), [{}, {"k": 1}, {"k": -1}], jnp.tril),
    "triu": _each((3, 2), [{}, {"k": 1}, {"k": -1}], jnp.triu),
    "concat": [
        Case(((2,), (3,)), _list(jnp.concatenate)),
        Case(((2, 1), (2, 3), (2, 2)), _list(jnp.concatenate), {"axis": 1}),
        Case(((2, 1), (2, 2)), _list(jnp.concatenate), {"axis": -1}),
        Case(((2, 1), (3,)), _list(lambda xs, axis: jnp.concatenate(xs, axis=None)), {"axis": None}),
    ],
    "stack": [Case(((2, 2), (2, 2)), _list(jnp.stack), {"axis": axis}) for axis in (0, 1, -1)],
    "getitem": _each((2, 3, 2), [{"index": i} for i in INDICES], lambda x, index: x[index]),
    "scatter": [
        Case(
            (np.empty((2, 3, 2))[i].shape,),
            lambda x, index, shape: jnp.zeros(shape, x.dtype).at[index].add(x),
            {"index": i, "shape": (2, 3, 2)},
        )
        for i in INDICES
    ],
    "pad": [
        Case(((2, 2),), lambda x, widths, value=0.0: jnp.pad(x, widths, constant_values=value), params)
        for params in (
            {"widths": 1},
            {"widths": (0, 2)},
            {"widths": ((1, 0), (2, 1)), "value": -3.0},
            {"widths": ((1, 2),), "value": -math.inf},
        )
    ],
    "matmul": [
        Case(shapes, jnp.matmul)
        for shapes in (
            ((2, 3), (3, 2)),
            ((3,), (3,)),
            ((2, 3), (3,)),
            ((3,), (3, 2)),
            ((2, 1, 3), (3, 2)),
            ((3,), (2, 3, 1)),
            ((2, 2, 3), (3,)),
            ((2, 1, 1, 2), (3, 2, 1)),
            ((1, 1, 2), (2, 2, 1)),
        )
    ],
    "outer": [Case(((2,), (3,)), jnp.outer)],
    "einsum": [
        Case(shapes, lambda *xs, subscripts: jnp.einsum(subscripts, *xs), {"subscripts": subscripts})
        for subscripts, shapes in {
            "ij,jk->ik": ((2, 3), (3, 2)),
            "ij , jk": ((2, 3), (3, 2)),
            "ii": ((3, 3),),
            "ii->i": ((3, 3),),
            "iij->j": ((2, 2, 3),),
            "ij->": ((2, 3),),
            "ij->ji": ((2, 3),),
            "i,i->": ((3,), (3,)),
            "i,j,k->kj": ((2,), (3,), (2,)),
            "...ij,...jk->...ik": ((2, 1, 2), (1, 2, 1)),
            "...ij,...j": ((2, 1, 2), (2,)),
            "iii": ((2, 2, 2),),
            "...i->...": ((2, 3),),
            "b...,b->...b": ((2, 3), (2,)),
            "ij,ij,i->j": ((2, 3), (2, 3), (2,)),
            ",i->i": ((), (3,)),
            "ki,i": ((2, 3), (1,)),
        }.items()
    ],
}


def missing() -> list[str]:
    """The rows of the table for which nothing is here."""
    return sorted(ROWS - FORMULAS.keys() - CHOICES.keys() - CASES.keys())
