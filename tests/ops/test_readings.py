"""One rule, many readings: floats, arrays, generated source and nodes agree, also at zeros, infinities and NaN."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from table_cases import FORMULAS

import tinygrad_notes as tn
from tinygrad_notes import Tensor, Value
from tinygrad_notes.ops import TABLE
from tinygrad_notes.ops.namespaces import numpy_reading
from tinygrad_notes.value import record, recorder

SPECIALS = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -3.0, math.inf, -math.inf, math.nan, 1e-300, -1e-300, 1e300, -1e300, 5e-324]
ROWS = [(name, k) for name, formulas in FORMULAS.items() for k in range(len(formulas)) if name != "one_minus"]
each_row = pytest.mark.parametrize(("name", "k"), ROWS, ids=[f"{name}-{k}" for name, k in ROWS])


def same(a: float, b: float) -> bool:
    """Equal to the last bits of the C library; NaN is NaN; -0.0 is 0.0."""
    return a == b or (a != a and b != b) or math.isclose(a, b, rel_tol=1e-14, abs_tol=1e-320)


@each_row
def test_scalar_and_array_readings_agree_everywhere(name: str, k: int) -> None:
    formula = FORMULAS[name][k]
    call, count = formula.call or partial(TABLE[name], **formula.params), formula.arity or TABLE[name].arity
    points = list(itertools.product(SPECIALS, repeat=count))
    columns = [np.array(column) for column in zip(*points, strict=True)]
    with np.errstate(all="ignore"):
        tensors = [Tensor(c) for c in columns]
        y = call(*tensors)
        y.backward(np.ones(y.shape))
    for i, point in enumerate(points):
        numbers = [Value(x) for x in point]
        z = call(*numbers)  # IEEE's answer without a warning: those are errors here
        assert same(z.data, y.data[i]), (name, point)
        assert same(call(*point), y.data[i]), (name, point)
        z.backward()
        for number, tensor in zip(numbers, tensors, strict=True):
            assert number.grad is not None
            assert same(number.grad, tensor.grad[i]), (name, point, number.grad, tensor.grad[i])


@each_row
def test_second_derivatives_agree_everywhere(name: str, k: int) -> None:
    formula = FORMULAS[name][k]
    call, count = formula.call or partial(TABLE[name], **formula.params), formula.arity or TABLE[name].arity
    every = tuple(range(count))
    for point in itertools.product([0.0, 0.5, -1.0, 2.0, -0.0], repeat=count):
        with np.errstate(all="ignore"):
            by_floats = tn.hessian(call, every)(*point)
            by_arrays = tn.hessian(lambda *xs: tn.sum(call(*xs)), every)(*(np.array([x]) for x in point))
        for i, j in itertools.product(every, every):
            assert same(by_floats[i][j], by_arrays[i][j].item()), (name, point, i, j)


STABLE = [
    "identity",
    "negative",
    "sign",
    "abs",
    "maximum",
    "minimum",
    "relu",
    "leaky_relu",
    "elu",
    "clip",
    "sigmoid",
    "softplus",
    "tanh",
    "atan",
    "erf",
    "erfc",
    "logaddexp",
]


@pytest.mark.parametrize("name", STABLE)
def test_stable_rows_never_warn(name: str) -> None:
    op = TABLE[name]
    points = np.array(list(itertools.product([x for x in SPECIALS if x == x], repeat=op.arity))).T
    for dtype in (np.float64, np.float32):
        with np.errstate(over="ignore"):
            columns = [np.array(c, dtype) for c in points]
        leaves = [Tensor(c) for c in columns]
        y = op(*leaves)  # a warning is an error here
        y.backward(np.ones(y.shape))
        assert not np.isnan(y.data).any()
        for leaf in leaves:
            assert not np.isnan(leaf.grad).any()


GENERATED = [n for n, op in TABLE.items() if op.elementwise and op.differentiable and op.arity <= 2 and not op.defaults]
WAYS = ["node node", "node number", "number node", "node constant", "constant node", "node int", "int node"]


@pytest.mark.parametrize("name", GENERATED)
@given(xs=st.tuples(*[st.floats() | st.sampled_from(SPECIALS)] * 2), way=st.sampled_from(WAYS))
@example(xs=(-8.0, 1 / 3), way="node number")
@example(xs=(0.0, -1.0), way="node node")
@example(xs=(0.0, 0.0), way="node node")
def test_generated_source_is_the_rule(name: str, xs: tuple[float, float], way: str) -> None:
    op = TABLE[name]
    args = [_argument(kind, x) for kind, x in zip(way.split(), xs, strict=True)][: op.arity]
    if not any(isinstance(a, Value) and a.requires_grad for a in args):
        args[0] = Value(xs[0])
    fast, plain = recorder(op)(*args), record(op, args, {})
    assert exactly(fast.data, plain.data)
    assert fast.op is plain.op is op
    assert len(fast.edges) == len(plain.edges) == op.arity
    for (parent, slope), (expected_parent, expected) in zip(fast.edges, plain.edges, strict=True):
        assert parent is expected_parent or (not isinstance(parent, Value) and exactly(parent, expected_parent))
        assert exactly(slope, expected), (name, xs, way)


def _argument(kind: str, x: float) -> Any:
    if kind == "node":
        return Value(x)
    if kind == "constant":
        return Value(x, requires_grad=False)
    return int(x) if kind == "int" and math.isfinite(x) and abs(x) < 1e15 else x


def exactly(a: float | None, b: float | None) -> bool:
    return a is b or (a is not None and b is not None and (a == b or (a != a and b != b)))


def test_generated_source_can_be_read() -> None:
    source = recorder(tn.tanh).source
    assert "def record_tanh(a):" in source
    assert "1.0 - " in source


def test_values_never_reach_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """At ordinary points a graph of Values is built and run backward by floats alone."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("NumPy was called on the path of a Value")

    reading = vars(numpy_reading)
    for owner, functions in ((np, vars(np)), (numpy_reading, reading)):
        for name in [
            n for n, f in functions.items() if callable(f) and not isinstance(f, type) and not n.startswith("_")
        ]:
            monkeypatch.setattr(owner, name, refuse)
    monkeypatch.setattr(type(numpy_reading), "quiet", refuse)
    x, w = Value(0.3), Value(0.7)
    y = (x * w + 2 - x / w) ** 2 - 1 / (x + 1) + (-x) + abs(w) + 2**x
    for name, formulas in FORMULAS.items():
        for formula in formulas:
            count = formula.arity or TABLE[name].arity
            y = y + (formula.call or partial(TABLE[name], **formula.params))(*(x, w)[:count])
    y = y + x.tanh() + w.log().exp()
    assert x < w
    assert x == 0.3
    y.backward()
    assert isinstance(x.grad, float)
    assert isinstance(w.grad, float)


# --- a branch that `where` did not take -------------------------------------------------------------------------------

DEAD = {
    "sqrt": (tn.sqrt, 0.0),
    "log": (tn.log, 0.0),
    "reciprocal": (lambda x: 1 / x, 0.0),
    "quotient": (lambda x: x / x, 0.0),
    "negative power": (lambda x: x**-1.5, 0.0),
    "log1p": (tn.log1p, -1.0),
    "asin": (tn.asin, 1.0),
    "acos": (tn.acos, -1.0),
    "exp": (tn.exp, 1000.0),
    "entropy": (lambda x: x * tn.log(x), 0.0),
    "square of log": (lambda x: tn.square(tn.log(x)), 0.0),
    "xlogy": (lambda x: tn.xlogy(1.0, x), 0.0),
    "sinh": (tn.sinh, 1000.0),
    "nested": (lambda x: tn.exp(1 / tn.sqrt(x)), 0.0),
}


@pytest.mark.parametrize("case", DEAD)
def test_dead_branch_gives_no_nan(case: str) -> None:
    branch, at = DEAD[case]

    def guarded(x: Any, alive: Any) -> Any:
        return tn.where(alive, branch(x), 3 * x)

    def loss(x: Any) -> Any:
        return tn.sum(guarded(x, np.array([False, True])))

    with np.errstate(all="ignore"):
        for inner in (0.5, -0.5) if case == "acos" else (0.5,):
            g = tn.grad(loss)(np.array([at, inner]))
            assert g[0] == 3.0
            assert g[1] == pytest.approx(tn.grad(branch)(inner), rel=1e-13)
            curvature = np.diag(tn.hessian(loss)(np.array([at, inner])))
            assert curvature[0] == 0.0
            assert curvature[1] == pytest.approx(tn.grad(tn.grad(branch))(inner), rel=1e-12)
            tangent = tn.jvp(loss, (np.array([at, inner]),), (np.array([1.0, 0.0]),))[1]
            assert tangent == 3.0
    assert tn.grad(lambda x: guarded(x, False))(at) == 3.0
    assert tn.grad(tn.grad(lambda x: guarded(x, False)))(at) == 0.0
