"""Where the mathematics is not plain: ties, zeros, edges of the domain, saturation."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import tinygrad_notes as tn
from tinygrad_notes import Tensor, Value

inf, nan = math.inf, math.nan


def both(f: Any, *xs: float) -> tuple[float, ...]:
    """The gradient of f at numbers, which is the same for floats and for arrays."""
    every = tuple(range(len(xs)))
    by_floats = tn.grad(f, every)(*xs)
    by_arrays = tn.grad(lambda *ts: tn.sum(f(*ts)), every)(*(np.array([x]) for x in xs))
    for a, b in zip(by_floats, by_arrays, strict=True):
        np.testing.assert_allclose(a, b.item(), rtol=1e-14)
    return by_floats


# --- kinks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", [tn.maximum, tn.minimum])
@pytest.mark.parametrize("x", [0.0, 1.5, -2.0, inf])
def test_a_tie_shares_the_slope(op: Any, x: float) -> None:
    assert both(op, x, x) == (0.5, 0.5)
    assert tn.grad(lambda v: op(v, v))(x) == 1.0


@given(arrays(np.float64, (3, 4), elements=st.sampled_from([0.0, 1.0, 2.0])), st.sampled_from([None, 0, 1, -1, (0, 1)]))
def test_max_and_min_share_the_slope_among_the_extremes(x: np.ndarray, axis: Any) -> None:
    for op, extreme in ((tn.max, np.max), (tn.min, np.min)):
        g = tn.grad(lambda t, op=op: tn.sum(op(t, axis=axis)))(x)
        attains = x == extreme(x, axis=axis, keepdims=True)
        np.testing.assert_allclose(g, attains / attains.sum(axis=axis, keepdims=True), rtol=1e-15)


def test_slopes_at_the_kink() -> None:
    assert both(tn.relu, 0.0) == (0.0,)
    assert both(tn.relu, -0.0) == (0.0,)
    assert both(tn.leaky_relu, 0.0) == (0.01,)
    assert both(tn.elu, 0.0) == (1.0,)
    assert both(tn.abs, 0.0) == (0.0,)
    assert both(tn.sign, 3.0) == (0.0,)
    assert both(lambda x: tn.clip(x, min=0.0, max=1.0), 0.0) == (1.0,)
    assert both(lambda x: tn.clip(x, min=0.0, max=1.0), 1.0) == (1.0,)
    assert both(lambda x: tn.clip(x, min=0.0, max=1.0), 1.5) == (0.0,)
    assert both(tn.hypot, 0.0, 0.0) == (0.0, 0.0)


@pytest.mark.parametrize("op", [tn.std, tn.norm])
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_std_and_norm_of_zero_have_gradient_zero(op: Any, axis: Any) -> None:
    x = np.zeros((2, 3))
    leaf = Tensor(x)
    tn.sum(op(leaf, axis=axis)).backward()
    np.testing.assert_array_equal(leaf.grad, x)
    mixed = np.array([[0.0, 0.0], [3.0, 4.0]])
    g = tn.grad(lambda t: tn.sum(tn.norm(t, axis=1)))(mixed)
    np.testing.assert_allclose(g, [[0.0, 0.0], [0.6, 0.8]], rtol=1e-15)


# --- powers and products ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "value", "slope_a", "slope_b"),
    [
        (0.0, 0.0, 1.0, 0.0, 0.0),
        (0.0, 1.0, 0.0, 1.0, 0.0),
        (0.0, 2.0, 0.0, 0.0, 0.0),
        (0.0, 0.5, 0.0, inf, 0.0),
        (0.0, -1.0, inf, -inf, nan),
        (-2.0, 3.0, -8.0, 12.0, nan),
        (-2.0, 2.0, 4.0, -4.0, nan),
        (-2.0, 0.0, 1.0, 0.0, nan),
        (-2.0, -1.0, -0.5, -0.25, nan),
        (-2.0, 0.5, nan, nan, nan),
        (2.0, 0.0, 1.0, 0.0, math.log(2)),
        (1.0, 5.0, 1.0, 5.0, 0.0),
        (5e-324, 0.0, 1.0, 0.0, math.log(5e-324)),
    ],
)
def test_powers(a: float, b: float, value: float, slope_a: float, slope_b: float) -> None:
    with np.errstate(all="ignore"):
        x, y = Value(a), Value(b)
        z = x**y
        z.backward()
        tensors = Tensor([a]), Tensor([b])
        t = tensors[0] ** tensors[1]
        t.backward(np.ones(1))
        # A constant exponent or base says the same of the other.
        alone = tn.grad(lambda v: v**b)(a), tn.grad(lambda v: a**v)(b)
    found = [(z.data, x.grad, y.grad), (t.data[0], tensors[0].grad[0], tensors[1].grad[0]), (value, *alone)]
    for triple in found:
        np.testing.assert_allclose(triple, (value, slope_a, slope_b), rtol=1e-14)


def test_integer_powers_of_negative_numbers() -> None:
    assert both(lambda x: x**3, -2.0) == (12.0,)
    assert tn.grad(tn.grad(lambda x: x**3))(-2.0) == -12.0
    assert tn.grad(tn.grad(tn.grad(lambda x: x**3)))(-2.0) == 6.0
    assert tn.grad(tn.grad(tn.grad(tn.grad(lambda x: x**3))))(-2.0) == 0.0
    assert tn.grad(tn.grad(lambda x: x**2))(0.0) == 2.0
    assert tn.grad(tn.grad(lambda x: x**1))(0.0) == 0.0
    assert tn.grad(tn.grad(lambda x: x**0))(0.0) == 0.0
    np.testing.assert_allclose(tn.hessian(lambda x: tn.sum(x**3))(np.array([-2.0, 0.0])), [[-12.0, 0.0], [0.0, 0.0]])


def test_mixed_derivative_of_a_power_at_exponent_zero() -> None:
    """∂²(aᵇ)/∂a∂b = aᵇ⁻¹ (1 + b ln a), which is 1/a at b = 0."""
    for a in (0.5, 2.0, 1e-3):
        ((_, ab), (ba, _)) = tn.hessian(lambda x, y: x**y, (0, 1))(a, 0.0)
        assert ab == pytest.approx(1 / a, rel=1e-14)
        assert ba == pytest.approx(1 / a, rel=1e-14)


@given(arrays(np.float64, (2, 4), elements=st.integers(-2, 2).map(float)), st.sampled_from([None, 0, 1, (1, 0)]))
def test_products_with_zeros_are_exact_to_second_order(x: np.ndarray, axis: Any) -> None:
    def by_factors(t: Any) -> Any:
        """The same as written-out multiplications; `multiply` has no trouble with zeros."""
        rows = [[t[i, j] for j in range(4)] for i in range(2)]
        columns = [[row[j] for row in rows] for j in range(4)]
        groups = {None: [rows[0] + rows[1]], (1, 0): [rows[0] + rows[1]], 0: columns, 1: rows}[axis]
        return sum(math.prod(group[1:], start=group[0]) * (k + 1) for k, group in enumerate(groups))

    def by_prod(t: Any) -> Any:
        y = tn.prod(t, axis=axis)
        return tn.sum(y * np.arange(1.0, y.size + 1).reshape(y.shape))

    assert tn.value_and_grad(by_prod)(x)[0] == tn.value_and_grad(by_factors)(x)[0]
    np.testing.assert_array_equal(tn.grad(by_prod)(x), tn.grad(by_factors)(x))
    np.testing.assert_array_equal(tn.hessian(by_prod)(x), tn.hessian(by_factors)(x))


# --- saturation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("z", [-1000.0, -745.0, -40.0, 0.0, 40.0, 745.0, 1000.0])
def test_saturated_activations(z: float) -> None:
    with mpmath.workdps(1000):
        exact = 1 / (1 + mpmath.exp(-mpmath.mpf(z)))
        a, slope = float(exact), float(exact * (1 - exact))
        soft = float(mpmath.log1p(mpmath.exp(z)))
        rest = float(1 - exact)
        surprise = float(-mpmath.log(1 - exact))
    for data in (Value(z), Tensor(z), Tensor([z])):
        y = tn.sigmoid(data)
        assert float(y) == pytest.approx(a, rel=1e-14)
        tn.sum(y).backward()
        assert np.sum(data.grad) == pytest.approx(slope, rel=1e-13, abs=1e-322)
        assert float(tn.softplus(data)) == pytest.approx(soft, rel=1e-14, abs=1e-322)
        assert float(tn.complement(y)) == pytest.approx(rest, rel=1e-14, abs=1e-322)
        if z < 745:  # beyond, 1 - σ(z) has no float
            data.zero_grad()
            loss = tn.sum(-tn.log(tn.complement(tn.sigmoid(data))))
            assert float(loss) == pytest.approx(surprise, rel=1e-13, abs=1e-16)
            loss.backward()
            assert np.sum(data.grad) == pytest.approx(a, rel=1e-13)


def by_terms(y: Any, a: Any) -> Any:
    return -(tn.xlogy(y, a) + tn.xlogy(1 - y, tn.complement(a)))


@pytest.mark.parametrize("loss", [by_terms, tn.cross_entropy])
@pytest.mark.parametrize("y", [0.0, 1.0, 0.25])
@pytest.mark.parametrize("z", [-700.0, -40.0, -1.0, 0.0, 3.0, 40.0, 700.0])
def test_cross_entropy_of_saturated_units(loss: Any, y: float, z: float) -> None:
    """dL/dz of -(y ln a + (1 - y) ln(1 - a)) is a - y, also where a rounds to 0 or 1."""

    def of(z: Any) -> Any:
        return loss(y, tn.sigmoid(z))

    with mpmath.workdps(400):
        a = 1 / (1 + mpmath.exp(-mpmath.mpf(z)))
        value = float(-(y * mpmath.log(a) + (1 - y) * mpmath.log(1 - a)))
        slope, curvature = float(a - y), float(a * (1 - a))
    assert of(Value(z)).data == pytest.approx(value, rel=1e-12, abs=1e-15)
    assert both(of, z)[0] == pytest.approx(slope, rel=1e-12, abs=1e-300)
    if abs(z) < 300:  # beyond, 1/a² overflows
        assert tn.grad(tn.grad(of))(z) == pytest.approx(curvature, rel=1e-10, abs=1e-15)


def test_zero_times_log_zero() -> None:
    assert tn.xlogy(0.0, 0.0) == 0.0
    assert tn.xlogy(Value(0.0), Value(0.0)).data == 0.0
    y = tn.xlogy(Tensor([0.0, 0.0, 2.0]), Tensor([0.0, 3.0, 1.0]))
    np.testing.assert_array_equal(y.data, [0.0, 0.0, 0.0])
    a = Tensor([0.0, 3.0, 2.0])
    tn.sum(tn.xlogy(np.array([0.0, 0.0, 1.0]), a)).backward()
    np.testing.assert_array_equal(a.grad, [0.0, 0.0, 0.5])
    np.testing.assert_allclose(tn.xlogy(0.0, Tensor([1.0, 2.0])).data, [0.0, 0.0])
    ((_, xa), (ax, _)) = tn.hessian(tn.xlogy, (0, 1))(0.0, 4.0)
    assert xa == ax == 0.25


# --- sums of exponentials ---------------------------------------------------------------------------------------------


def test_logsumexp_at_the_edges() -> None:
    for row, value, slopes in (
        ([-inf, -inf], -inf, [0.0, 0.0]),
        ([-inf, 0.0], 0.0, [0.0, 1.0]),
        ([1000.0, 1000.0], 1000.0 + math.log(2), [0.5, 0.5]),
        ([-1000.0, -1000.0], -1000.0 + math.log(2), [0.5, 0.5]),
        ([1e300, -1e300], 1e300, [1.0, 0.0]),
    ):
        x = Tensor(row)
        y = tn.logsumexp(x)
        assert float(y) == pytest.approx(value, rel=1e-15)
        y.backward()
        np.testing.assert_allclose(x.grad, slopes, rtol=1e-12)
        if value != -inf:
            leaf = Tensor(row)
            tn.sum(tn.softmax(leaf) * np.array([1.0, 0.0])).backward()
            assert np.isfinite(leaf.grad).all()
            np.testing.assert_allclose(tn.softmax(row), slopes, rtol=1e-12)
    assert float(tn.logsumexp([inf, 1000.0])) == inf
    assert math.isnan(float(tn.logsumexp([nan, 1000.0])))
    for pair in ((-inf, -inf), (inf, inf), (1e300, 1e300), (3.0, 3.0)):
        assert both(tn.logaddexp, *pair) == (0.5, 0.5)
    assert both(tn.logaddexp, 0.0, -inf) == (1.0, 0.0)
    assert tn.hessian(tn.logaddexp, (0, 1))(1.0, 1.0) == ((0.25, -0.25), (-0.25, 0.25))


def test_masked_log_softmax() -> None:
    x = np.array([[0.0, -inf, 1.0], [1000.0, 0.0, -inf]])
    leaf = Tensor(x)
    y = tn.log_softmax(leaf)
    assert (y.data[np.isneginf(x)] == -inf).all()
    picked = y[np.array([0, 1]), np.array([0, 1])]
    tn.sum(picked).backward()
    weights = np.exp(x - np.log(np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True)) - x.max(1, keepdims=True))
    np.testing.assert_allclose(leaf.grad, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]] - weights, rtol=1e-14)


# --- reductions and indexing ------------------------------------------------------------------------------------------


def test_too_few_elements_for_the_correction() -> None:
    for op in (tn.var, tn.std):
        with pytest.raises(ValueError, match=rf"{op.name}.*1 element.*correction 1"):
            op(Tensor([[1.0], [2.0]]), axis=1, correction=1)


def test_empty_reductions() -> None:
    x = Tensor(np.zeros((0, 3)))
    assert tn.sum(x).item() == 0.0
    assert tn.prod(x).item() == 1.0
    (tn.sum(x, axis=0) * 2 + tn.prod(x, axis=0)).backward(np.ones(3))
    assert x.grad.shape == (0, 3)
    for op in (tn.max, tn.min, tn.argmax, tn.logsumexp, tn.softmax):
        with pytest.raises(ValueError, match=rf"^{op.name}: given Tensor \(0, 3\).*at least one element"):
            op(x, axis=0)
    assert tn.max(x, axis=1).shape == (0,)
    assert tn.concat([x, Tensor(np.zeros((2, 3)))]).shape == (2, 3)
    assert (Tensor(np.zeros((2, 0))) @ x).shape == (2, 3)
    assert tn.einsum("ij,jk->ik", Tensor(np.zeros((2, 0))), x).data.tolist() == [[0.0] * 3] * 2


@given(st.lists(st.integers(-4, 3), min_size=0, max_size=12))
def test_an_index_that_comes_twice_receives_both_cotangents(index: list[int]) -> None:
    x, weights = np.arange(4.0), np.arange(1.0, len(index) + 1)
    expected = np.zeros(4)
    for i, w in zip(index, weights, strict=True):
        expected[i] += w
    for read in (
        lambda t: t[index],
        lambda t: t[np.array(index, dtype=int)],
        lambda t: t[Tensor(np.array(index, dtype=int))],
        lambda t: tn.take(t, np.array(index, dtype=int)),
        lambda t: tn.take(tn.stack([t, t]), np.array(index, dtype=int), axis=-1)[0],
    ):
        np.testing.assert_array_equal(tn.grad(lambda t, read=read: tn.sum(read(t) * weights))(x), expected)


@pytest.mark.parametrize("axis", [0, -1, (0, 1), [0], np.int64(1), np.int32(-2), (np.int64(0), -1)])
def test_axes_of_every_kind_that_numpy_takes(axis: Any) -> None:
    x = np.arange(6.0).reshape(2, 3) + 1
    axis = tuple(axis) if isinstance(axis, list) else axis
    for op in (tn.sum, tn.mean, tn.max, tn.prod, tn.var, tn.std, tn.logsumexp, tn.norm):
        leaf = Tensor(x)
        tn.sum(op(leaf, axis=axis)).backward()
        assert leaf.grad.shape == x.shape
        assert np.isfinite(leaf.grad).all()


def test_numbers_have_no_axes_but_numpy_lets_them_be_reduced() -> None:
    for op in (tn.sum, tn.max, tn.prod, tn.logsumexp, tn.softmax, tn.log_softmax):
        for axis in (0, -1):
            leaf = Tensor(2.0)
            op(leaf, axis=axis).backward()
            assert leaf.grad.shape == ()
            assert float(leaf.grad) == (0.0 if "softmax" in op.name else pytest.approx(1.0))


@pytest.mark.parametrize("op", [tn.sum, tn.mean, tn.max, tn.prod, tn.var, tn.logsumexp, tn.softmax, tn.norm, tn.flip])
def test_an_axis_that_is_not_there(op: Any) -> None:
    with pytest.raises((ValueError, IndexError), match=rf"^{op.name}: given Tensor \(2, 3\) of float64, axis=2"):
        op(Tensor(np.ones((2, 3))), axis=2)
