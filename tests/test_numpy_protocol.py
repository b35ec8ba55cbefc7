"""NumPy's own functions on nodes: they record, or they refuse by name; never a wrong array."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import tinygrad_notes as tn
from tinygrad_notes import Tensor, Value

X = np.array([[0.2, -0.4, 0.6], [0.9, 0.5, -0.1]])

RECORDED: dict[str, Any] = {
    "negative": np.negative,
    "absolute": lambda x: np.absolute(x) + np.fabs(x) + np.abs(x),
    "arithmetic": lambda x: np.add(x, 1) + np.subtract(2, x) * np.multiply(x, X) / np.divide(X, x + 3),
    "true_divide": lambda x: np.true_divide(1.0, x + 3),
    "power": lambda x: np.power(x, 2) + np.float_power(x + 2, 1.5) + np.power(2.0, x) + np.pow(x, 3),
    "square and sqrt": lambda x: np.square(x) + np.sqrt(x + 1),
    "exponentials": lambda x: np.exp(x) + np.expm1(x) + np.log(x + 1) + np.log1p(x),
    "logaddexp": lambda x: np.logaddexp(x, X[0]),
    "trigonometry": lambda x: np.sin(x) + np.cos(x) + np.tan(x) + np.arcsin(x) + np.arccos(x) + np.arctan(x),
    "array API names": lambda x: np.asin(x) + np.acos(x) + np.atan(x) + np.atan2(x, 2.0),
    "hyperbolic": lambda x: np.sinh(x) + np.cosh(x) + np.tanh(x),
    "two arguments": lambda x: np.arctan2(x, X + 2) + np.hypot(x, 1.0),
    "extremes": lambda x: np.maximum(x, 0.3) + np.minimum(0.1, x),
    "sign": lambda x: np.sign(x) * x,
    "matmul": lambda x: np.matmul(x, X.T) @ X,
    "sum": lambda x: np.sum(x) + np.sum(x, axis=0) + np.sum(x, 1, keepdims=True),
    "mean": lambda x: np.mean(x, axis=0) * np.mean(x),
    "prod": lambda x: np.prod(x, axis=1),
    "max": lambda x: np.max(x, axis=0) + np.min(x) + np.amax(x) - np.amin(x, axis=0),
    "var": lambda x: np.var(x) + np.var(x, axis=0, ddof=1) + np.std(x, axis=1, keepdims=True) + np.std(x, correction=1),
    "reductions of ufuncs": lambda x: np.add.reduce(x) + np.multiply.reduce(x, axis=0) + np.maximum.reduce(x, axis=0),
    "logaddexp.reduce": lambda x: np.logaddexp.reduce(x, axis=1),
    "cumsum": lambda x: np.cumsum(x).reshape(2, 3) + np.cumsum(x, axis=1) + np.cumulative_sum(x, axis=0),
    "reshape": lambda x: np.reshape(x, (3, 2)) + np.reshape(x, (3, -1)),
    "transpose": lambda x: (
        np.transpose(x) + np.transpose(x, (1, 0)) + np.permute_dims(x, (1, 0)) + np.matrix_transpose(x)
    ),
    "axes": lambda x: np.squeeze(np.expand_dims(x, 0)) + np.squeeze(np.expand_dims(x, -1), axis=2),
    "broadcast_to": lambda x: np.broadcast_to(x, (2, 2, 3)) * np.arange(12.0).reshape(2, 2, 3),
    "concatenate": lambda x: np.concatenate([x, X, x]) + np.concat((x, x, x), axis=0),
    "concatenate flat": lambda x: np.concatenate([x, X], axis=None),
    "stack": lambda x: np.stack([x, X], axis=1) + np.stack((x, x)).transpose(1, 0, 2),
    "split": lambda x: np.split(x, 3, axis=1)[1] + np.split(x, [1, 2], axis=1)[0],
    "flip": lambda x: np.flip(x) * np.flip(x, axis=0),
    "take": lambda x: np.take(x, [0, 2, 2], axis=1) + np.take(x, [5, 0, 5]),
    "where": lambda x: np.where(X > 0, x, 0.0) + np.where(x > 0, 1.0, x),
    "clip": lambda x: np.clip(x, 0.0, 0.55) + np.clip(x, a_min=-0.2, a_max=None) + np.clip(x, max=0.3),
    "triangles": lambda x: np.tril(x) + np.triu(x, 1) + np.tril(x, k=-1),
    "diagonals": lambda x: np.diag(x) * np.trace(x) + np.diag(x, 1),
    "pad": lambda x: (
        np.pad(x, 1) + np.pad(x, ((1, 1), (0, 2)), constant_values=2.0) + np.pad(x, (1, 1), mode="constant")
    ),
    "dot": lambda x: np.dot(x, X.T) + np.outer(x[0], X[1])[:2, :2],
    "einsum": lambda x: np.einsum("ij,kj->ik", x, X) + np.einsum("ij,ij", x, x),
    "norm": lambda x: (
        np.linalg.norm(x) + np.linalg.norm(x, axis=0) + np.linalg.norm(x[0], 2) + np.linalg.norm(x, 2, 1)[0]
    ),
    "comparisons": lambda x: x * np.where(np.less(x, 0.55), 1.0, 2.0) * np.where(np.equal(x, 0.25), 3.0, 1.0),
    "logic": lambda x: x * np.where(np.logical_and(x > 0, np.logical_not(x > 0.55)) | np.less_equal(x, -0.2), 1.0, 2.0),
}


@pytest.mark.parametrize("case", RECORDED)
def test_numpys_functions_record(case: str) -> None:
    f = RECORDED[case]
    expected = f(X)
    leaf = Tensor(X)
    y = f(leaf)
    assert type(y) is Tensor
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.data, expected, rtol=1e-14)
    weights = np.random.default_rng(0).normal(size=expected.shape)
    y.backward(weights)
    slopes, h = np.zeros_like(X), 1e-6
    for place in np.ndindex(X.shape):
        up, down = X.copy(), X.copy()
        up[place] += h
        down[place] -= h
        slopes[place] = np.sum((f(up) - f(down)) * weights) / (2 * h)
    np.testing.assert_allclose(leaf.grad, slopes, rtol=1e-6, atol=1e-8)


def test_numpys_functions_on_values() -> None:
    x = Value(0.5)
    for z in (np.exp(x), np.add(1.0, x), np.maximum(x, np.float64(0.0)), np.float64(2.0) * x, np.float32(2.0) ** x):
        assert type(z) is Value
    y = np.tanh(x) * np.float64(3.0)
    y.backward()
    assert x.grad == pytest.approx(3 * (1 - np.tanh(0.5) ** 2))
    assert type(np.array([1.0, 2.0]) * x) is Tensor
    assert type(np.stack([x, x])) is Tensor
    assert (np.ndim(x), np.shape(x), np.size(x)) == (0, (), 1)
    assert bool(np.less(x, 1.0)) is True


def test_what_is_asked_of_the_shape_is_no_node() -> None:
    t = Tensor(X)
    assert (np.shape(t), np.ndim(t), np.size(t)) == ((2, 3), 2, 6)
    assert not np.argmax(t, axis=0).requires_grad
    assert np.argmax(t, axis=0).tolist() == [1, 1, 0]


REFUSED: dict[str, tuple[Any, str]] = {
    "svd": (np.linalg.svd, r"np\.linalg.*svd|numpy\.linalg\.svd"),
    "inv": (np.linalg.inv, "inv"),
    "sort": (np.sort, r"numpy\.sort"),
    "argsort": (np.argsort, r"numpy\.argsort"),
    "median": (np.median, r"numpy\.median"),
    "unique": (np.unique, r"numpy\.unique"),
    "vstack": (lambda t: np.vstack([t, t]), r"numpy\.vstack"),
    "copyto": (lambda t: np.copyto(np.zeros((2, 3)), t), r"numpy\.copyto"),
    "save": (lambda t: np.array_equal(t, t), r"numpy\.array_equal"),
    "allclose": (lambda t: np.allclose(t, t), r"numpy\.allclose"),
    "dot out": (lambda t: np.dot(t, X.T, out=np.zeros((2, 2))), "dot.*out"),
    "sum where": (lambda t: np.sum(t, where=X > 0), "sum: no parameter where"),
    "sum initial": (lambda t: np.sum(t, initial=1.0), "sum: no parameter initial"),
    "where alone": (np.where, "where: got 1 argument"),
    "pad reflect": (lambda t: np.pad(t, 1, mode="reflect"), r"np\.pad with mode='reflect'"),
    "norm of order 1": (lambda t: np.linalg.norm(t[0], 1), r"np\.linalg\.norm with ord=1"),
    "nuclear norm": (lambda t: np.linalg.norm(t, "nuc"), r"np\.linalg\.norm with ord='nuc'"),
    "spectral norm": (lambda t: np.linalg.norm(t, 2), r"np\.linalg\.norm with ord=2"),
    "accumulate": (np.add.accumulate, r"np\.add\.accumulate does not take"),
    "reduceat": (lambda t: np.add.reduceat(t, [0, 1]), r"np\.add\.reduceat"),
    "outer": (lambda t: np.add.outer(t, t), r"np\.add\.outer"),
    "at": (lambda t: np.add.at(np.zeros(3), [0], t), r"np\.add\.at"),
    "reduce of subtract": (np.subtract.reduce, r"np\.subtract\.reduce"),
    "reduce with dtype": (lambda t: np.add.reduce(t, dtype=np.float32), r"np\.add\.reduce with .*dtype"),
    "out": (lambda t: np.exp(t, out=np.zeros((2, 3))), r"np\.exp with out="),
    "out of reduce": (lambda t: np.add.reduce(t, out=np.zeros(3)), r"np\.add with out="),
    "where of a ufunc": (lambda t: np.exp(t, where=X > 0), r"np\.exp with where"),
    "dtype of a ufunc": (lambda t: np.exp(t, dtype=np.float32), r"np\.exp with dtype"),
    "floor": (np.floor, r"np\.floor does not take a Value or Tensor"),
    "isnan": (np.isnan, r"np\.isnan"),
    "divmod": (lambda t: np.divmod(t, 2.0), r"np\.divmod"),
    "cbrt": (np.cbrt, r"np\.cbrt"),
    "asarray": (np.asarray, r"np\.asarray .* use tn\.stack for nodes, \.data"),
    "array": (np.array, "use tn.stack"),
    "list of nodes": (lambda t: np.array([t, t]), "use tn.stack"),
    "float array of nodes": (lambda t: np.array([t, t], dtype=float), "use tn.stack"),
    "zeros_like": (np.zeros_like, r"numpy\.zeros_like"),
    "assignment": (lambda t: np.zeros((2, 3)).__setitem__(slice(None), t), "use tn.stack"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_functions_are_refused_by_name(case: str) -> None:
    call, message = REFUSED[case]
    with pytest.raises(TypeError, match=message):
        call(Tensor(X))


@pytest.mark.parametrize("make", [lambda: Tensor([1.0, 2.0]), lambda: Value(1.0)])
def test_in_place_operators_on_arrays_are_refused(make: Any) -> None:
    array = np.zeros(2)
    with pytest.raises(TypeError, match=r"np\.add with out= \(or an in-place operator on an array\).*write a = a \+ t"):
        array += make()
    with pytest.raises(TypeError, match=r"np\.multiply with out="):
        array *= make()
    np.testing.assert_array_equal(array, [0.0, 0.0])


def test_values_never_become_objects() -> None:
    x = Value(1.0)
    for call in (
        lambda: np.array([x, x]),
        lambda: np.asarray(x),
        lambda: np.array([[x, 1.0]]),
        lambda: np.array([x], dtype=object),
        lambda: np.full(2, x),
    ):
        with pytest.raises(TypeError, match=r"use tn.stack"):
            call()
    for call in (
        lambda: np.sort([x, x]),
        lambda: np.vstack([[x], [x]]),
        lambda: np.sum([x, x]),
        lambda: np.mean((x, x)),
    ):
        with pytest.raises(TypeError):
            call()


def test_constants_give_their_data() -> None:
    for constant in (Tensor(X, requires_grad=False), Tensor(X).detach(), Tensor(np.array([1, 2]))):
        np.testing.assert_array_equal(np.asarray(constant), constant.data)
        assert not np.shares_memory(np.array(constant), constant.data)
    assert np.asarray(Value(2.0, requires_grad=False)) == 2.0
    assert np.array([Value(2.0, requires_grad=False), 3.0]).tolist() == [2.0, 3.0]
    assert np.asarray(Tensor(X).detach(), dtype=np.float32).dtype == np.float32
    with tn.no_grad():
        np.testing.assert_allclose(np.sort(np.asarray(np.exp(Tensor(X)))), np.sort(np.exp(X)))


def test_the_array_stands_on_the_left() -> None:
    """NumPy must hand the operator over instead of taking the node apart."""
    t = Tensor(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for y in (X + t, X - t, X * t, X / (t + 2), (X + 2) ** t, X @ t.T, X[0, 0] * t, np.float32(2) - t):
            assert type(y) is Tensor
            assert y.data.dtype == np.float64
    for truth in (t < X, t == X, t != X, np.float64(0.2) <= t):
        assert type(truth) is Tensor


def test_bits_of_integers_are_not_taken_for_logic():
    ints, truth = Tensor(np.array([1, 2])), Tensor([1.0, -1.0]) > 0
    for call in (
        lambda: ints & 1,
        lambda: 1 | ints,
        lambda: ~ints,
        lambda: np.bitwise_and(ints, 3),
        lambda: np.invert(ints),
    ):
        with pytest.raises(TypeError, match=r"[&|~]: got .*; expected booleans, such as t > 0"):
            call()
    assert (truth & True).tolist() == [True, False]
    assert (np.array([False, False]) | truth).tolist() == [True, False]
    assert (~truth).tolist() == [False, True]
    assert np.bitwise_or(truth, np.array([False, True])).tolist() == [True, True]
