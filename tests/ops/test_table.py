"""What holds for every row of the op table, whatever it computes: shapes, dtypes, memory, broadcasting."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from table_cases import CASES, CHOICES, FORMULAS, missing

import tinygrad_notes as tn
from tinygrad_notes import Tensor
from tinygrad_notes.ops import TABLE, Op

Call = Callable[..., Any]
ROWS = [name for name in TABLE if name not in missing()]
ELEMENTWISE = sorted(FORMULAS)
BINARY = [name for name in ELEMENTWISE if TABLE[name].arity == 2 and name != "one_minus"]


def test_every_row_has_an_oracle() -> None:
    rows = ", ".join(missing())
    assert not missing(), (
        f"no oracle for {rows}. In tests/ops/table_cases.py add to FORMULAS the function in mpmath (elementwise), "
        "to CHOICES the same in Python (not differentiable), or to CASES shapes, parameters and the function in JAX."
    )


@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_exported_documented_and_typeset(name: str) -> None:
    op = TABLE[name]
    assert getattr(tn, name) is op or name in ("cross_entropy", "einsum")  # functions that prepare arguments
    assert getattr(tn.ops, name) is getattr(tn, name)
    assert len(op.domain) == max(op.arity, 1)
    assert op.tex.format(*"abc")


def samples(name: str, dtype: Any = np.float64) -> list[tuple[Call, list[np.ndarray]]]:
    """The row as a function of its differentiable arrays, with arrays inside its domain; one a way to call it."""
    op = TABLE[name]
    if name in FORMULAS:
        found = []
        for formula in FORMULAS[name]:
            count = formula.arity or op.arity
            arrays = [_inside(op.domain[-count:][i], i).astype(dtype) for i in range(count)]
            found.append((formula.call or partial(op, **formula.params), arrays))
        return found
    return [(_call(op, case.params, dtype), case.arrays(dtype)) for case in CASES[name]]


def _inside(interval: tuple[float, float], seed: int) -> np.ndarray:
    low, high = max(interval[0], -3.0), min(interval[1], 3.0)
    return np.random.default_rng(seed).uniform(low + 0.05, high - 0.05, (2, 3))


def _call(op: Op, params: dict[str, Any], dtype: Any) -> Call:
    if "dtype" in params:
        return partial(op, dtype=np.dtype(dtype))
    return (lambda *xs: op(list(xs), **params)) if op.arity < 0 else partial(op, **params)


def gradients(call: Call, arrays: list[Any]) -> tuple[Any, list[Any]]:
    """The result and the gradient of its sum by each array."""
    leaves = [Tensor(a) for a in arrays]
    y = call(*leaves)
    y.backward(np.ones(y.shape))
    return y.data, [leaf.grad for leaf in leaves]


SMOOTH = [name for name in ROWS if TABLE[name].differentiable]
every_row = pytest.mark.parametrize("name", SMOOTH)


@every_row
def test_float32_stays_float32(name: str) -> None:
    for call, arrays in samples(name, np.float32):
        wide = [a.astype(np.float64) for a in arrays]
        (y, found), (exact, expected) = gradients(call, arrays), gradients(call, wide)
        assert y.dtype == np.float32
        np.testing.assert_allclose(y, exact, rtol=2e-5, atol=2e-6)
        for f, e in zip(found, expected, strict=True):
            assert f.dtype == np.float32
            np.testing.assert_allclose(f, e, rtol=2e-4, atol=2e-5)
        assert getattr(tn.jvp(call, arrays, arrays)[1], "dtype", np.float32) == np.float32  # a number is a float
        nodes = [Tensor(a) for a in arrays]
        y = call(*nodes)
        y.backward(np.ones(y.shape, np.float32), create_graph=True)
        assert all(node.grad.dtype == np.float32 for node in nodes)


@every_row
def test_memory_layout_does_not_matter(name: str) -> None:
    for call, arrays in samples(name):
        y, expected = gradients(call, arrays)
        for layout in (_strided, partial(np.asarray, order="F"), _read_only):
            given = [layout(a) for a in arrays]
            z, found = gradients(call, given)
            np.testing.assert_allclose(z, y, rtol=1e-14, atol=1e-15)
            for f, e in zip(found, expected, strict=True):
                np.testing.assert_allclose(f, e, rtol=1e-14, atol=1e-15)


def _strided(a: np.ndarray) -> np.ndarray:
    """The same numbers, every second one of a larger array backwards."""
    wide = np.full(tuple(2 * n for n in a.shape), np.nan)
    every_second = (slice(None, None, -2),) * a.ndim
    wide[every_second] = a
    return wide[every_second]


def _read_only(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.flags.writeable = False
    return a


@every_row
def test_gradients_are_memory_of_their_own(name: str) -> None:
    for call, arrays in samples(name):
        before = [a.copy() for a in arrays]
        leaves = [Tensor(a) for a in arrays]
        y = call(*leaves)
        cotangent = np.ones(y.shape)
        y.backward(cotangent)
        owned = [leaf.grad for leaf in leaves]
        others = [*arrays, cotangent, np.asarray(y.data)]
        for i, g in enumerate(owned):
            assert isinstance(g, np.ndarray)
            assert not any(np.shares_memory(g, o) for o in [*owned[:i], *others])
            np.add(g, 1.0, out=g)  # in place, as an optimiser might
        assert all(map(np.array_equal, arrays, before))
        assert (cotangent == 1).all()


@every_row
def test_gradient_has_the_shape_of_the_array(name: str) -> None:
    for call, arrays in samples(name):
        for g, a in zip(gradients(call, arrays)[1], arrays, strict=True):
            assert g.shape == a.shape
            assert np.isfinite(g).all()


@every_row
def test_second_use_adds_up(name: str) -> None:
    for call, arrays in samples(name):
        once, twice = gradients(call, arrays)[1], gradients(lambda *xs, call=call: call(*xs) + call(*xs), arrays)[1]
        for a, b in zip(once, twice, strict=True):
            np.testing.assert_allclose(b, 2 * a, rtol=1e-15)


@every_row
def test_plain_arrays_give_plain_arrays_and_lists_are_arrays(name: str) -> None:
    for call, arrays in samples(name):
        plain = call(*arrays)
        assert isinstance(plain, (np.ndarray, np.generic))
        np.testing.assert_allclose(plain, call(*map(Tensor, arrays)).data, rtol=1e-14)
        np.testing.assert_allclose(plain, call(*(a.tolist() for a in arrays)), rtol=1e-14)


# --- elementwise rows -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("shape", [(0,), (0, 3), ()])
def test_elementwise_rows_on_no_elements_and_no_axes(name: str, shape: tuple[int, ...]) -> None:
    for call, arrays in samples(name):
        given = [np.resize(a, shape) for a in arrays]
        y, found = gradients(call, given)
        assert y.shape == shape
        for k, (g, _x) in enumerate(zip(found, given, strict=True)):
            assert g.shape == shape
            assert isinstance(g, np.ndarray)
            if shape == ():
                assert g == pytest.approx(tn.grad(call, k)(*map(float, given)), rel=1e-13)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize(
    ("left", "right"),
    [((3, 1), (1, 4)), ((4,), (2, 1, 4)), ((), (2, 3)), ((2, 3), ()), ((1,), (3,)), ((1, 1), (2,)), ((0, 1), (1, 3))],
)
def test_broadcasting_is_undone(name: str, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    op = TABLE[name]
    a, b = (
        np.resize(np.random.default_rng(seed).uniform(0.1, 0.9, math.prod(shape)), shape)
        for seed, shape in enumerate((left, right))
    )
    y, (da, db) = gradients(op, [a, b])
    assert da.shape == left
    assert db.shape == right
    # The same pair by pair, with Values.
    wide_a, wide_b = np.broadcast_arrays(a, b)
    sums = np.zeros(left), np.zeros(right)
    places = [np.broadcast_to(np.arange(max(s.size, 1)).reshape(s.shape) if s.size else s, wide_a.shape) for s in sums]
    for where in np.ndindex(wide_a.shape):
        pair = float(wide_a[where]), float(wide_b[where])
        assert y[where] == pytest.approx(op(*pair), rel=1e-13)
        for total, place, slope in zip(sums, places, tn.grad(op, (0, 1))(*pair), strict=True):
            total.reshape(-1)[place[where]] += slope
    np.testing.assert_allclose(da, sums[0], rtol=1e-12)
    np.testing.assert_allclose(db, sums[1], rtol=1e-12)
    tangent = tn.jvp(op, (a, b), (np.ones(left), np.zeros(right)))[1]
    assert tangent.shape == y.shape


@pytest.mark.parametrize("name", BINARY)
def test_the_same_array_twice(name: str) -> None:
    op = TABLE[name]
    x = np.array([0.3, 0.7, 0.9])
    (found,) = gradients(lambda t: op(t, t), [x])[1]
    left, right = gradients(op, [x, x.copy()])[1]
    np.testing.assert_allclose(found, left + right, rtol=1e-15)
    assert tn.grad(lambda v: op(v, v))(0.7) == pytest.approx(found[1], rel=1e-13)


def test_the_same_array_twice_by_hand() -> None:
    x = np.array([0.3, -0.7])
    for call, expected in (
        (lambda t: t - t, 0 * x),
        (lambda t: t * t, 2 * x),
        (lambda t: t / t, 0 * x),
        (lambda t: tn.maximum(t, t), 1 + 0 * x),
        (lambda t: tn.concat([t, t]), 2 + 0 * x),
        (lambda t: tn.outer(t, t), 2 * x.sum() + 0 * x),
    ):
        np.testing.assert_allclose(gradients(call, [x])[1][0], expected, atol=1e-16)


@pytest.mark.parametrize("name", sorted(CHOICES))
def test_choices_agree_with_python_and_take_no_gradient(name: str) -> None:
    op = TABLE[name]
    numbers = [-1.0, 0.0, 2.0, math.nan, math.inf]
    for xs in itertools.product(numbers, repeat=op.arity):
        expected = CHOICES[name](*xs)
        for found in (op(*xs), op(*map(tn.Value, xs)), op(*(np.array([x]) for x in xs))):
            assert bool(found) is expected, (name, xs)
        y = op(*(Tensor([x]) for x in xs))
        assert y.data.dtype == bool
        assert not y.requires_grad
        assert bool(y) is expected
