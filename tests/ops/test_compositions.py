"""The named functions that are compositions of rows, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

import tinygrad_notes as tn
from tinygrad_notes import Tensor, Value


def agree(ours: Any, numpys: Any, *xs: np.ndarray) -> None:
    """The value of both on arrays, nodes and lists, and our gradient by differences of NumPy's (all are linear)."""
    expected = numpys(*xs)
    for given_ in (xs, [Tensor(x) for x in xs], [x.tolist() for x in xs]):
        found = ours(*given_)
        np.testing.assert_array_equal(getattr(found, "data", found), expected)
    weights = np.random.default_rng(0).normal(size=np.shape(expected))
    gradients = tn.grad(lambda *ts: tn.sum(ours(*ts) * weights), tuple(range(len(xs))))(*xs)
    for k, (g, x) in enumerate(zip(gradients, xs, strict=True)):
        slopes = np.zeros(x.shape)
        for place in np.ndindex(x.shape):
            moved = [a.copy() for a in xs]
            moved[k][place] += 1.0
            slopes[place] = np.sum((numpys(*moved) - expected) * weights)
        np.testing.assert_allclose(g, slopes, rtol=1e-10, atol=1e-12)


shapes = array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=3)


def numbers(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(1.0, np.prod(shape) + 1).reshape(shape)


@given(shapes, st.data())
def test_transpose(shape: tuple[int, ...], data: st.DataObject) -> None:
    axes = data.draw(st.none() | st.permutations(range(len(shape))))
    signed = axes and [a - len(shape) * (a % 2) for a in axes]  # some of them counted from the end
    agree(lambda x: tn.transpose(x, signed), lambda x: np.transpose(x, axes), numbers(shape))
    if len(shape) > 1:
        agree(tn.matrix_transpose, np.matrix_transpose, numbers(shape))


@given(shapes, st.data())
def test_take(shape: tuple[int, ...], data: st.DataObject) -> None:
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1))
    size = int(np.prod(shape)) if axis is None else shape[axis]
    indices = data.draw(
        st.integers(-size, size - 1) | st.lists(st.integers(-size, size - 1), min_size=1, max_size=4).map(np.array)
    )
    agree(lambda x: tn.take(x, indices, axis=axis), lambda x: np.take(x, indices, axis=axis), numbers(shape))


@given(shapes, st.data())
def test_split(shape: tuple[int, ...], data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    size = shape[axis]
    sections = data.draw(
        st.sampled_from([n for n in range(1, size + 1) if size % n == 0])
        | st.lists(st.integers(0, size), max_size=3).map(sorted)
        | st.just(np.int64(size))
    )
    x = numbers(shape)
    for k in range(len(np.split(x, sections, axis=axis))):
        agree(lambda x, k=k: tn.split(x, sections, axis=axis)[k], lambda x, k=k: np.split(x, sections, axis=axis)[k], x)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(-5, 5))
def test_diagonals(n: int, m: int, k: int) -> None:
    agree(lambda x: tn.diag(x, k), lambda x: np.diag(x, k), numbers((n, m)))
    agree(lambda x: tn.diag(x, k), lambda x: np.diag(x, k), numbers((n,)))
    agree(tn.trace, np.trace, numbers((n, m)))


@pytest.mark.parametrize(
    "sides",
    [
        ((), ()),
        ((), (3,)),
        ((2, 3), ()),
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((2,), (2, 3)),
        ((2, 3), (3, 2)),
        ((2, 2, 3), (3, 2)),
    ],
)
def test_dot(sides: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    agree(tn.dot, np.dot, *map(numbers, sides))


def test_einsum_takes_its_subscripts_first() -> None:
    agree(
        lambda a, b: tn.einsum("ij,kj->ik", a, b),
        lambda a, b: np.einsum("ij,kj->ik", a, b),
        numbers((2, 3)),
        numbers((4, 3)),
    )


def test_complement() -> None:
    assert tn.complement(0.25) == 0.75
    np.testing.assert_array_equal(tn.complement([0.25, 1.0]), [0.75, 0.0])
    assert tn.grad(tn.complement)(0.3) == -1.0
    assert tn.complement(Value(0.25)).data == 0.75
    a = tn.sigmoid(Value(40.0))
    assert 0 < tn.complement(a).data < 1e-17
    assert 1 - a == 0


@given(shapes, st.data())
def test_padding(shape: tuple[int, ...], data: st.DataObject) -> None:
    pair = st.tuples(st.integers(0, 2), st.integers(0, 2))
    widths = data.draw(st.integers(0, 2) | pair | st.tuples(pair) | st.tuples(*[pair] * len(shape)))
    value = data.draw(st.sampled_from([0.0, -1.5]))
    agree(
        lambda x: tn.pad(x, widths=widths, value=value),
        lambda x: np.pad(x, widths, constant_values=value),
        numbers(shape),
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: tn.matrix_transpose(x[0]), ValueError, r"matrix_transpose: given Tensor \(3,\).*at least two axes"),
        (lambda x: tn.take(x, [0.5]), TypeError, "take: given indices of float64; expected integers"),
        (lambda x: tn.take(x, [True]), TypeError, "take: given indices of bool"),
        (lambda x: tn.take(x, 0, axis=2), ValueError, "take: given axis 2 for .* one of its 2 axes"),
        (lambda x: tn.take(x, 5, axis=0), IndexError, "getitem: given .*index"),
        (lambda x: tn.split(x, 2, axis=1), ValueError, "split: given 2 sections for an axis of 3; expected a divisor"),
        (lambda x: tn.split(x, 0), ValueError, "split: given 0 sections"),
        (lambda x: tn.split(x, 1, axis=2), ValueError, "split: given axis 2"),
        (lambda x: tn.diag(tn.stack([x, x])), ValueError, "diag: given .*a vector or a matrix"),
        (lambda x: tn.trace(x[0]), ValueError, "trace: given .*expected a matrix"),
        (lambda x: tn.dot(x, tn.stack([x, x])), ValueError, "dot: given .*Use matmul or einsum"),
    ],
)
def test_refusals(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(Tensor(numbers((2, 3))))
