"""`Tensor`: data and dtypes, operators, indexing, conversions, and what it refuses."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_notes as tn
from tinygrad_notes import Tensor, Value

# --- data -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dtype", "floating"),
    [
        (1, np.float64, True),
        (1.5, np.float64, True),
        (True, np.float64, True),
        ([1, 2], np.float64, True),
        ([[1], [2]], np.float64, True),
        ((), np.float64, True),
        (np.array([1, 2]), np.int64, False),
        (np.array([1, 2], np.uint8), np.uint8, False),
        (np.array([True]), np.bool_, False),
        ([True, False], np.bool_, False),
        (np.float32(1.5), np.float32, True),
        (np.array([1.5], np.float16), np.float16, True),
        (np.array([1.5], np.longdouble), np.longdouble, True),
        (np.zeros((0, 2)), np.float64, True),
    ],
)
def test_dtypes(data: Any, dtype: Any, floating: bool) -> None:
    t = Tensor(data)
    assert isinstance(t.data, np.ndarray)
    assert t.dtype == dtype
    assert t.requires_grad is floating
    assert not Tensor(data, requires_grad=False).requires_grad
    if not floating:
        with pytest.raises(TypeError, match=f"Tensor: requires_grad=True with data of {t.dtype}.*astype"):
            Tensor(data, requires_grad=True)


@pytest.mark.parametrize(
    "data", ["1", ["a"], [None], None, 1j, [1j], np.array([1j]), np.array(["x"]), [object()], {1: 2}]
)
def test_what_is_no_array_of_real_numbers(data: Any) -> None:
    with pytest.raises(TypeError, match="Tensor: got"):
        Tensor(data)


def test_ragged_lists_and_lists_of_nodes() -> None:
    with pytest.raises(ValueError, match="Tensor: got a ragged list; expected rows of equal length"):
        Tensor([[1.0], [1.0, 2.0]])
    for items in ([Value(1.0)], [[Tensor(1.0), 2.0]]):
        with pytest.raises(TypeError, match=r"list with nodes in it, whose graph would be lost; use tn.stack"):
            Tensor(items)


def test_what_would_be_lost_without_a_word() -> None:
    for node in (Tensor([1.0]), Value(2.0) * 3):
        with pytest.raises(TypeError, match=r"^Tensor: got .*, whose graph would be lost; use it or its \.data"):
            Tensor(node)
        assert Tensor(node.detach()).requires_grad  # a constant has no graph to lose
    with pytest.raises(TypeError, match="masked array, whose mask would be lost"):
        Tensor(np.ma.array([1.0, 2.0], mask=[False, True]))


def test_an_array_is_neither_copied_nor_written_to() -> None:
    x = np.ones(3)
    t = Tensor(x)
    assert t.data is x
    tn.sum(t * t + t).backward()
    t.grad += 1
    np.testing.assert_array_equal(x, np.ones(3))
    with pytest.raises(TypeError, match="cannot be changed in place"):
        t[0] = 5.0


# --- operators --------------------------------------------------------------------------------------------------------

OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow]
OTHERS = [
    2,
    2.5,
    True,
    np.float64(2.0),
    np.array(2.0),
    np.array([1.0, 2.0]),
    [1.0, 2.0],
    np.array([[1.0], [2.0]]),
    np.array([1, 2]),
]


@pytest.mark.parametrize("symbol", OPERATORS)
@pytest.mark.parametrize("other", OTHERS, ids=repr)
def test_operators_in_both_orders(symbol: Any, other: Any) -> None:
    x = np.array([0.5, 3.0])
    plain = np.asarray(other) if isinstance(other, list) else other
    for wrap in (lambda o: o, lambda o: Tensor(o) if not isinstance(o, (bool, np.bool_)) else o):
        for z, expected in (
            (symbol(Tensor(x), wrap(other)), symbol(x, plain)),
            (symbol(wrap(other), Tensor(x)), symbol(plain, x)),
        ):
            assert type(z) is Tensor
            np.testing.assert_allclose(z.data, expected, rtol=1e-15)
            assert z.dtype == expected.dtype
    t = Tensor(x)
    symbol(other, t).backward(np.ones_like(symbol(plain, x)))
    assert t.grad.shape == x.shape


def test_unary_operators_and_matmul() -> None:
    a = np.array([[1.0, -2.0], [3.0, 4.0]])
    t = Tensor(a)
    np.testing.assert_array_equal((-t).data, -a)
    np.testing.assert_array_equal(abs(t).data, abs(a))
    assert +t is t
    for z in (t @ a, a @ t, t @ t, t @ a.tolist()):
        np.testing.assert_array_equal(z.data, a @ a)
    np.testing.assert_array_equal(t.T.data, a.T)
    np.testing.assert_array_equal(tn.stack([t, t]).mT.data, np.stack([a.T, a.T]))
    t += 1  # a new node, and the array stays as it is
    assert t.op is tn.add
    assert a[0, 0] == 1.0


@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne])
def test_comparisons_are_element_by_element(compare: Any) -> None:
    x, y = np.array([1.0, 2.0, math.nan]), np.array([2.0, 2.0, math.nan])
    for found in (compare(Tensor(x), Tensor(y)), compare(Tensor(x), y), compare(x, Tensor(y)), compare(Tensor(x), 2.0)):
        assert isinstance(found, Tensor)
        assert found.dtype == bool
        assert not found.requires_grad
    np.testing.assert_array_equal(compare(Tensor(x), y).data, compare(x, y))
    np.testing.assert_array_equal(compare(x, Tensor(y)).data, compare(x, y))


def test_logic() -> None:
    a, b = Tensor([True, True, False]), np.array([True, False, False])
    assert (a & b).tolist() == [True, False, False]
    assert (b | a).tolist() == [True, True, False]
    assert (~a).tolist() == [False, False, True]
    x = Tensor([-1.0, 0.5, 2.0])
    assert x[(x > 0) & (x < 1)].tolist() == [0.5]


def test_a_node_is_itself() -> None:
    a, b = Tensor([1.0]), Tensor([1.0])
    assert len({a, b}) == 2
    assert {a: 1}[a] == 1
    assert isinstance(a == b, Tensor)


# --- shape and indexing -----------------------------------------------------------------------------------------------


@given(
    hnp.arrays(np.float64, hnp.array_shapes(min_dims=1, max_dims=3, max_side=4), elements=st.floats(-5, 5)), st.data()
)
def test_indexing_is_numpys(x: np.ndarray, data: st.DataObject) -> None:
    index = data.draw(
        hnp.basic_indices(x.shape, allow_newaxis=True)
        | hnp.integer_array_indices(x.shape)
        | hnp.arrays(bool, x.shape)
        | hnp.arrays(bool, x.shape[:1])
        | st.lists(st.integers(-x.shape[0], x.shape[0] - 1))
        | st.tuples(st.just(Ellipsis), st.integers(-x.shape[-1], x.shape[-1] - 1))
    )
    t = Tensor(x)
    expected = x[np.asarray(index, dtype=int) if isinstance(index, list) else index]
    y = t[index]
    assert y.shape == expected.shape
    np.testing.assert_array_equal(y.data, expected)
    weights = np.arange(1.0, expected.size + 1).reshape(expected.shape)
    y.backward(weights)
    total = np.zeros_like(x)
    np.add.at(total, np.asarray(index, dtype=int) if isinstance(index, list) else index, weights)
    np.testing.assert_array_equal(t.grad, total)


def test_indices_that_are_tensors_lists_or_numpy_integers() -> None:
    x = np.arange(6.0).reshape(2, 3)
    t = Tensor(x)
    np.testing.assert_array_equal(t[t > 2].data, x[x > 2])
    np.testing.assert_array_equal(t[:, [0, 2]].data, x[:, [0, 2]])
    np.testing.assert_array_equal(t[[True, False]].data, x[[True, False]])
    np.testing.assert_array_equal(t[np.int64(1)].data, x[1])
    np.testing.assert_array_equal(t[Tensor(np.array([1, 0])), 0].data, x[[1, 0], 0])
    np.testing.assert_array_equal(t[None, ..., None].data, x[None, ..., None])
    np.testing.assert_array_equal(t[[]].data, x[[]])
    np.testing.assert_array_equal(t[:, []].data, x[:, []])
    assert t[1, 2].shape == ()
    assert t[()].shape == (2, 3)


def test_iteration_and_length() -> None:
    t = Tensor([[1.0, 2.0], [3.0, 4.0]])
    a, b = t
    assert (len(t), a.tolist(), b.tolist()) == (2, [1.0, 2.0], [3.0, 4.0])
    (a[0] * b[1]).backward()
    np.testing.assert_array_equal(t.grad, [[4.0, 0.0], [0.0, 1.0]])
    assert [row.tolist() for row in t] == t.tolist()
    number = Tensor(1.0)
    for broken in (len, list):
        with pytest.raises(TypeError, match="without axes"):
            broken(number)


def test_reshape_and_transpose() -> None:
    x = np.arange(6.0).reshape(2, 3)
    t = Tensor(x)
    for shape in ((3, 2), (-1,), (6,), (1, 2, 3), (np.int64(3), np.int64(2))):
        np.testing.assert_array_equal(t.reshape(shape).data, x.reshape(shape))
        np.testing.assert_array_equal(t.reshape(*shape).data, x.reshape(shape))
        np.testing.assert_array_equal(t.reshape(list(shape)).data, x.reshape(shape))
    np.testing.assert_array_equal(t.flatten().data, x.ravel())
    for axes in ((1, 0), (0, 1), (-1, 0)):
        np.testing.assert_array_equal(t.transpose(axes).data, x.transpose(axes))
        np.testing.assert_array_equal(t.transpose(*axes).data, x.transpose(axes))
    np.testing.assert_array_equal(t.transpose().data, x.T)
    np.testing.assert_array_equal(t.transpose(None).data, x.T)
    assert (t.shape, t.ndim, t.size) == ((2, 3), 2, 6)
    assert (Tensor(1.0).size, Tensor(np.zeros((0, 3))).size) == (1, 0)


def test_astype() -> None:
    t = Tensor([1.5, 2.5])
    low = t.astype(np.float32)
    assert low.dtype == np.float32
    tn.sum(low * low).backward()
    assert t.grad.dtype == np.float64
    np.testing.assert_array_equal(t.grad, [3.0, 5.0])
    assert t.astype("float16").dtype == np.float16
    for wrong in (int, bool, complex, str):
        with pytest.raises(TypeError, match="astype: given"):
            t.astype(wrong)


def test_single_precision_and_double_together() -> None:
    low, high = Tensor(np.ones(2, np.float32)), Tensor(np.ones(2))
    y = low * high
    assert y.dtype == np.float64
    tn.sum(y * 3).backward()
    assert (low.grad.dtype, high.grad.dtype) == (np.float32, np.float64)
    assert (low * 2.0).dtype == (2 * low).dtype == (low**0.5).dtype == (2.0**low).dtype == np.float32
    assert (low * Value(2.0)).dtype == np.float32
    assert (low * np.float64(2.0)).dtype == np.float64  # NumPy's rule
    zero_d = Tensor(np.float32(2.0))
    (zero_d * zero_d + tn.relu(zero_d)).backward()
    assert zero_d.grad.dtype == np.float32
    assert zero_d.grad == 5.0


def test_integers_take_part_without_a_gradient() -> None:
    counts, w = Tensor(np.array([1, 2, 3])), Tensor([0.5, 1.0, 2.0])
    y = tn.sum(counts * w + counts)
    y.backward()
    np.testing.assert_array_equal(w.grad, [1.0, 2.0, 3.0])
    assert counts.grad is None
    assert not (counts + 1).requires_grad
    assert (counts + 1).dtype == np.int64
    with pytest.raises(RuntimeError, match="does not depend on anything that requires a gradient"):
        tn.sum(counts).backward()


# --- out of the graph -------------------------------------------------------------------------------------------------


def test_conversions() -> None:
    one = Tensor([[2.5]])
    assert (one.item(), float(one), int(one), bool(one)) == (2.5, 2.5, 2, True)
    assert type(Tensor(2.5).item()) is float
    assert not Tensor(0.0)
    assert [10, 20, 30][Tensor(np.array(1))] == 20
    assert Tensor([[1.0, 2.0]]).tolist() == [[1.0, 2.0]]
    with pytest.raises(TypeError, match=r"index: got 1.0; expected an integer"):
        [10, 20][Tensor(1.0)]
    many = Tensor([1.0, 2.0], name="w")
    for convert in (float, int, Tensor.item):
        with pytest.raises(ValueError, match=r"item: Tensor w \(2,\) of float64 has 2 elements; expected one"):
            convert(many)
    for ambiguous in (many, Tensor(np.zeros(0))):
        with pytest.raises(ValueError, match=r"bool: the truth of Tensor .* is ambiguous"):
            bool(ambiguous)


def test_repr() -> None:
    assert repr(Tensor([1.0, 2.5])) == "Tensor([1. , 2.5])"
    assert repr(Tensor([[1.0], [2.0]], name="w")) == "Tensor([[1.],\n        [2.]], name='w')"
    assert repr(Tensor(np.float32(2))) == "Tensor(2., dtype=float32)"
    assert repr(Tensor(np.array([1, 2]))) == "Tensor([1, 2], dtype=int64)"
    assert repr(tn.sum(Tensor([1.0, 2.0]))) == "Tensor(3.)"
    assert "..." in repr(Tensor(np.zeros(5000)))


def test_where_with_plain_conditions() -> None:
    x = Tensor([1.0, 2.0])
    for condition in (True, np.bool_(True), np.array(True), Tensor(np.array(True))):
        x.zero_grad()
        y = tn.where(condition, x, np.zeros((3, 2)))
        assert y.shape == (3, 2)
        y.backward(np.ones((3, 2)))
        np.testing.assert_array_equal(x.grad, [3.0, 3.0])
    np.testing.assert_array_equal(tn.where(True, 1.0, x).data, [1.0, 1.0])
    np.testing.assert_array_equal(tn.where(False, 1.0, x).data, [1.0, 2.0])
    np.testing.assert_array_equal(tn.where(x > 1, x, 0).data, [0.0, 2.0])
