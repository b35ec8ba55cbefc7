"""The oracle: a recorded graph read once more with exact or certified numbers, and its gradient by a tape of scalars.

Only the forward pass of the graph is read. The derivatives are those of + − × ÷ and of the field's own functions, so
the rules of the op table are judged by something that does not know them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from ..graph import Node, is_node, topological_order
from ..ops.namespaces import Namespace, numpy_reading
from .fields import FUNCTIONS, Field, NotExactError, OpaqueError, UnclearError
from .scalars import EPSILON, Scalar, Tape, Tie


class Numbers(np.ndarray[Any, Any]):
    """An array of scalars. Its comparisons keep the ties, which NumPy's would turn into booleans."""

    def __gt__(self, other: Any) -> Any:
        return _compared(np.greater, self, other)

    def __ge__(self, other: Any) -> Any:
        return _compared(np.greater_equal, self, other)

    def __lt__(self, other: Any) -> Any:
        return _compared(np.less, self, other)

    def __le__(self, other: Any) -> Any:
        return _compared(np.less_equal, self, other)

    def __eq__(self, other: Any) -> Any:
        return _compared(np.equal, self, other)

    def __ne__(self, other: Any) -> Any:
        return _compared(np.not_equal, self, other)

    __hash__ = None  # as NumPy's


_COMPARISONS = ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")


def _compared(ufunc: Any, a: Any, b: Any) -> Any:
    return numbers(ufunc(a, b, dtype=object))


def numbers(x: Any) -> Any:
    """An object array, also of a single scalar."""
    return np.asarray(x, dtype=object).view(Numbers)


def _both(a: Any, b: Any) -> Any:
    if a is False or b is False or not (a or b):
        return False
    return Tie(bool(a) and bool(b)) if Tie in (type(a), type(b)) else True


def _not(a: Any) -> Any:
    return Tie(not a.truth) if type(a) is Tie else not a


def _each(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    over = np.frompyfunc(function, count, 1)

    def each(*xs: Any) -> Any:
        with np.errstate(all="ignore"):
            return numbers(over(*xs))

    return each


def _extreme(side: int) -> Callable[..., Any]:
    two = np.frompyfunc(lambda a, b: a.maximum(b, side), 2, 1)

    def over(x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        x = numbers(x)
        gone = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        for a in sorted((g % x.ndim for g in gone), reverse=True) if x.ndim else ():
            x = numbers(two.reduce(x, axis=a, keepdims=True))
        return x if keepdims or not gone or not x.ndim else numbers(np.squeeze(x, axis=gone))

    return over


_max, _min = _extreme(1), _extreme(-1)
_choose = _each(lambda c, a, b: a.choose(c, b), 3)
_TRUTHS: dict[str, Callable[..., Any]] = {
    **{name: partial(_compared, getattr(np, name)) for name in _COMPARISONS},
    "logical_and": _each(_both, 2),
    "logical_or": _each(lambda a, b: _not(_both(_not(a), _not(b))), 2),
    "logical_not": _each(_not, 1),
}


class OracleNamespace(Namespace):
    """The reading of rows on arrays of scalars: NumPy moves them, the scalars compute."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        super().__init__(
            np,
            **{name: partial(self._over_lifted, over) for name, over in _over_numbers().items()},
            astype=lambda x, *, dtype: x,  # what a cast rounds away is no matter of the derivative
            where=lambda c, a, b: _choose(c, self.lift(a), self.lift(b)),
            **_TRUTHS,
            max=_max,
            min=_min,
            argmax=self._argmax,
            norm=lambda x, *, axis=None, keepdims=False: _lengths(x, axis, keepdims),
            std=self._std,
            logsumexp=self._logsumexp,
            softmax=lambda x, *, axis=-1: self._softmax(x, axis),
            log_softmax=lambda x, *, axis=-1: x - self._logsumexp(x, axis=axis, keepdims=True),
            sum=lambda x, *, axis=None, keepdims=False: np.sum(x, axis=axis, keepdims=keepdims),
            prod=lambda x, *, axis=None, keepdims=False: np.prod(x, axis=axis, keepdims=keepdims),
            mean=lambda x, *, axis=None, keepdims=False: (
                np.sum(x, axis=axis, keepdims=keepdims)
                / self.lift(x.size // max(np.sum(np.ones(x.shape), axis=axis).size, 1))
            ),
            scatter=lambda x, *, index, shape: self.lift(numpy_reading.scatter(x, index=index, shape=shape)),
            zeros_like=lambda x: self.lift(np.zeros(x.shape)),
            ones_like=lambda x: self.lift(np.ones(x.shape)),
            tril=lambda x, *, k=0: self.lift(np.where(np.tril(np.ones(x.shape), k) == 1, x, 0.0)),
            triu=lambda x, *, k=0: self.lift(np.where(np.triu(np.ones(x.shape), k) == 1, x, 0.0)),
        )

    def lift(self, x: Any) -> Any:
        """Floats as constants of the tape; scalars and truth values as they are."""
        x = numbers(x)
        if not any(isinstance(e, (int, float, np.number)) and e is not True and e is not False for e in x.flat):
            return x
        return _each(self._lifted, 1)(x)

    def _over_lifted(self, over: Callable[..., Any], *xs: Any) -> Any:
        return over(*(self.lift(x) for x in xs))

    def _lifted(self, e: Any) -> Any:
        if isinstance(e, np.ndarray):  # NumPy may leave an array without axes in an array of objects
            e = e.item()
        if type(e) in (Scalar, Tie, bool, np.bool):
            return e
        return self.tape.constant(e)

    def tracked(self, e: Any) -> Any:
        """A scalar that depends on nothing here, such as max(x, 0) for x < 0, still has a gradient by it."""
        return self.tape.variable(e.value) if type(e) is Scalar and e.index < 0 else e

    def own(self, e: Any) -> Any:
        """A scalar that was only moved, as one of its own."""
        return e.copy() if type(e) is Scalar else self._lifted(e)

    def _argmax(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        values = _each(lambda s: self.tape.field.to_float(s.value), 1)(x).astype(float)
        return np.argmax(values, axis=axis, keepdims=keepdims)

    def _std(self, x: Any, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
        mean = self.mean(x, axis=axis, keepdims=True)
        count = x.size // max(mean.size, 1)
        return _lengths(x - mean, axis, keepdims) / self.sqrt(self.lift(count - correction))

    def _logsumexp(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        top = self._top(x, axis)
        found = self.log(np.sum(self.exp(_each(Scalar.shifted, 2)(x, top)), axis=axis, keepdims=True)) + top
        return found if keepdims else found.reshape(np.sum(np.ones(x.shape), axis=axis).shape)

    def _top(self, x: Any, axis: Any) -> Any:
        """Constants near the largest elements: they cancel, and keep the floats of the rounding bound in range."""
        values = np.asarray(_each(lambda s: self.tape.field.to_float(s.value), 1)(x)).astype(float)
        top = np.max(np.where(np.isfinite(values), values, -np.inf), axis=axis, keepdims=True)
        top = np.where(np.isfinite(top), np.round(top), 0.0)
        return _each(lambda v: Scalar(self.tape, self.tape.field.number(v)), 1)(top)

    def _softmax(self, x: Any, axis: Any) -> Any:
        weights = self.exp(_each(Scalar.shifted, 2)(x, self._top(x, axis)))
        return weights / np.sum(weights, axis=axis, keepdims=True)


def _sign(x: Scalar) -> Scalar:
    side = x.compare(0.0)
    if side == 0 and x.index >= 0:
        x.tape.jumps.append("sign jumps at 0")
    return x.tape.constant(float(side))


def _length(xs: list[Scalar]) -> Scalar:
    total = xs[0] * xs[0]
    for x in xs[1:]:
        total = total + x * x
    if total.value == 0:  # a kink with infinitely many sides: every slope from −1 to 1
        active = tuple(x for x in xs if x.index >= 0)
        if not active:
            return xs[0].tape.constant(0.0)
        any_slope = xs[0].tape.field.between(-1, 1)
        made = xs[0].tape.make(total.value, active, (any_slope,) * len(active), "move")
        made.ways = [(any_slope,) * len(active)]
        made.tape.kinks.append(made)
        made.tape.intervals = True
        return made
    return total.apply("sqrt")


def _lengths(x: Any, axis: Any, keepdims: bool) -> Any:
    gone = tuple(range(x.ndim)) if axis is None else tuple(a % x.ndim for a in np.atleast_1d(axis).tolist())
    kept = tuple(a for a in range(x.ndim) if a not in gone)
    rows = np.transpose(np.asarray(x), kept + gone).reshape(*(x.shape[a] for a in kept), -1)
    found = np.empty(rows.shape[:-1], object)
    for place in np.ndindex(found.shape):
        found[place] = _length(list(rows[place]))
    shape = tuple(1 if a in gone else n for a, n in enumerate(x.shape)) if keepdims else found.shape
    return numbers(found.reshape(shape))


def _hypot(a: Scalar, b: Scalar) -> Scalar:
    return _length([a, b])


def _atan2(a: Scalar, b: Scalar) -> Scalar:
    if b.compare(0.0) > 0:
        return (a / b).apply("atan")
    side = a.compare(0.0)
    if side == 0:
        a.tape.jumps.append("atan2 jumps on the negative axis")
        return a.tape.constant(0.0)
    quarter = a.tape.constant(1.0).apply("atan") * 2.0
    return (quarter if side > 0 else -quarter) - (b / a).apply("atan")


def _apply(name: str, x: Scalar) -> Scalar:
    return x.apply(name)


def _is_finite(x: Scalar) -> bool:
    return x.tape.field.is_finite(x.value)


def _logaddexp(a: Scalar, b: Scalar) -> Scalar:
    return (a.apply("exp") + b.apply("exp")).apply("log")


def _xlogy(x: Scalar, a: Scalar) -> Scalar:
    if x.value == 0:
        inside = a.compare(0.0) > 0
        slope = a.apply("log").value if inside else x.tape.field.number(math.nan)
        return x._made(x.value, (x, a), (slope, 0))
    return x * a.apply("log")


@cache
def _over_numbers() -> dict[str, Callable[..., Any]]:
    """By name the functions of scalars alone, over arrays of these; made once, since each graph is read anew."""
    of_one: dict[str, Callable[[Any], Any]] = {
        **{name: partial(_apply, name) for name in FUNCTIONS},
        "abs": abs,
        "square": lambda x: x * x,
        "identity": Scalar.copy,
        "sign": _sign,
        "relu": lambda x: x.maximum(x.tape.constant(0.0)),
        "isfinite": _is_finite,
    }
    of_two: dict[str, Callable[[Any, Any], Any]] = {
        "pow": Scalar.power,
        "maximum": Scalar.maximum,
        "minimum": lambda a, b: a.maximum(b, -1),
        "hypot": _hypot,
        "atan2": _atan2,
        "logaddexp": _logaddexp,
        "xlogy": _xlogy,
        # `exact` is 1 − a in floats; the oracle needs no such help.
        "one_minus": lambda a, exact: 1 - a,
    }
    return {
        **{name: _each(f, 1) for name, f in of_one.items()},
        **{name: _each(f, 2) for name, f in of_two.items()},
        "cross_entropy": _each(lambda y, a, exact: -(_xlogy(y, a) + _xlogy(1 - y, 1 - a)), 3),
    }


RATIONAL = frozenset(
    {
        *("add", "subtract", "multiply", "divide", "negative", "square", "identity", "abs", "sign", "relu", "clip"),
        *("maximum", "minimum", "where", "leaky_relu", "one_minus", "less", "less_equal", "greater", "greater_equal"),
        *("equal", "not_equal", "logical_and", "logical_or", "logical_not", "sum", "mean", "max", "min", "argmax"),
        *("prod", "var", "cumulative_sum", "matmul", "outer", "einsum", "broadcast_to", "sum_to", "astype", "reshape"),
        *("permute_dims", "expand_dims", "squeeze", "flip", "tril", "triu", "concat", "stack", "getitem", "scatter"),
        *("pad", "pow"),
    }
)
"""The ops that fractions can run; `pow` only with whole exponents, which is found out on the way."""


def is_rational(roots: Iterable[Node]) -> bool:
    """Whether fractions can run the graph."""
    return all(n.op is None or n.op.name in RATIONAL for n in topological_order(*roots))


def read(roots: Sequence[Node], tape: Tape, given: Mapping[Node, Any]) -> dict[Node, Any]:
    """The graph's forward pass on a tape.

    Args:
        roots: the nodes that are wanted.
        given: arrays of scalars for the leaves to differentiate by, and for what has been read already.

    Returns:
        For every node its scalars, in its shape. Each has scalars of its own, so that the gradient by a node and that
        by its source are told apart.
    """
    with np.errstate(all="ignore"):  # NumPy warns of floating-point flags that other libraries leave
        return _read(OracleNamespace(tape), roots, dict(given))


def _read(xp: OracleNamespace, roots: Sequence[Node], found: dict[Node, Any]) -> dict[Node, Any]:
    for node in topological_order(*roots):
        if node in found:
            continue
        if node.op is None:
            found[node] = xp.lift(node.data)
            continue
        args = [found[p] if is_node(p) else xp.lift(p) for p in node.parents]
        function = getattr(xp, node.op.name, None)
        if node.op.name not in vars(xp) and node.op.forward is not None:
            function = lambda *xs, op=node.op, **kw: op.forward(xp, *xs, **kw)  # noqa: E731
            args_given: Any = args
        else:
            args_given = [args] if node.op.arity < 0 else args
        assert function is not None
        try:
            y = numbers(function(*args_given, **node.params))
        except (AttributeError, TypeError, ValueError) as error:
            if node.op.forward is None:
                raise
            raise OpaqueError(f"the forward function of {node.op.name} takes floats only: {error}") from error
        if xp.tape.tracking and node.requires_grad:
            y = _each(xp.tracked, 1)(y)
        found[node] = y if node.op.elementwise else _each(xp.own, 1)(y)
    return found


class Oracle:
    """A graph with its true gradient.

    Args:
        root: the node that is differentiated.
        leaves: the nodes that vary.
        cotangent: ∂L/∂root in its shape; ones if not given.
        field: the numbers.
        variables: the leaves' scalars' values, if they are not those of their data (dual numbers).

    Attributes:
        tape, values: the scalars, and those of each node.
        sides: the gradient by every scalar for every choice of sides at kinks; one unless there are kinks.

    Raises:
        NotExactError: the field cannot compute it.
        UnclearError: a comparison cannot be decided, or there are too many kinks at once.
    """

    def __init__(
        self,
        root: Node,
        leaves: Sequence[Node],
        field: Field,
        cotangent: Any = None,
        variables: Mapping[Any, Any] | None = None,
    ) -> None:
        self.tape = Tape(field, tracking=True)
        given = {
            leaf: _each(self.tape.variable, 1)(
                variables[leaf] if variables is not None else _each(lambda x: field.number(float(x)), 1)(leaf.data)
            )
            for leaf in leaves
        }
        self.values = read([root], self.tape, given)
        seeds = np.ones(root.shape) if cotangent is None else np.broadcast_to(np.asarray(cotangent), root.shape)
        self.seeds = [
            (s, field.number(float(g)))
            for s, g in zip(self.values[root].flat, seeds.flat, strict=True)
            if type(s) is Scalar
        ]
        self.ways = self.tape.ways()
        self.sides = [self.tape.gradient(self.seeds, ways) for ways in self.ways]
        self._bounds: dict[bool, list[float]] = {}

    def undecidable(self) -> str:
        """Why nothing can be said of a gradient in floats at this point; empty if something can."""
        if self.tape.jumps:
            return self.tape.jumps[0]
        is_finite = self.tape.field.is_finite
        for node, values in self.values.items():
            if node.op is None or np.all(np.isfinite(node.data)):
                continue
            lost = ~np.isfinite(node.data)
            if any(type(s) is Scalar and is_finite(s.value) for s in np.asarray(values)[lost].flat):
                return f"the forward pass overflows in {node.op.name}"
        return ""

    def gradients(self, node: Node) -> list[Any]:
        """The gradient by a node, an array of the field's numbers for every choice of sides."""
        zero = self.tape.number(0.0)

        def of(side: list[Any]) -> Any:
            return _each(lambda s: zero if s.index < 0 or side[s.index] is None else side[s.index], 1)(
                self.values[node]
            )

        return [of(side) for side in self.sides]

    def floats(self, node: Node) -> Any:
        """The gradient by a node in floats (on the first side of every kink)."""
        return self.as_floats(self.gradients(node)[0])

    def as_floats(self, array: Any) -> Any:
        """An array of the field's numbers in floats."""
        return np.asarray(_each(self.tape.field.to_float, 1)(array)).astype(float)

    def rounding(self, node: Node, by_result: bool = True) -> Any:
        """How far rounding in floats may move each element of the gradient by a node; see `Tape.rounding`.

        Where the graph casts to a narrower type, the rounding is that type's.
        """
        if by_result not in self._bounds:
            with np.errstate(all="ignore"):
                bounds = [
                    self.tape.rounding(side, self.seeds, ways, by_result)
                    for side, ways in zip(self.sides, self.ways, strict=True)
                ]
            coarse = max(
                (np.finfo(n.data.dtype).eps for n in self.values if n.op is not None and n.data.dtype.kind == "f"),
                default=EPSILON,
            )
            self._bounds[by_result] = [max(of) * (float(coarse) / EPSILON) for of in zip(*bounds, strict=True)]
        bound = self._bounds[by_result]
        return np.asarray(_each(lambda s: bound[s.index] if s.index >= 0 else 0.0, 1)(self.values[node])).astype(float)


__all__ = ["NotExactError", "Numbers", "Oracle", "UnclearError", "is_rational", "numbers", "read"]
