"""`Value`: operators in both orders, comparisons, what it refuses, and how it shows itself."""

from __future__ import annotations

import fractions
import math
import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import tinygrad_notes as tn
from tinygrad_notes import Tensor, Value

OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow]
COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]
small = st.floats(-8, 8).filter(lambda x: x == 0 or abs(x) > 1e-3)
each_operator = pytest.mark.parametrize("symbol", OPERATORS, ids=lambda f: f.__name__)

# --- operators --------------------------------------------------------------------------------------------------------


@each_operator
@given(a=small, b=small)
def test_operators_compute_what_floats_compute(symbol: Any, a: float, b: float) -> None:
    try:
        expected = symbol(a, b)
    except ArithmeticError:
        assume(False)
    assume(not isinstance(expected, complex))
    x, y = Value(a), Value(b)
    for z in (symbol(x, y), symbol(x, b), symbol(a, y), symbol(np.float64(a), y), symbol(x, np.float64(b))):
        assert type(z) is Value
        assert z.data == pytest.approx(expected, rel=1e-15)
        assert z.requires_grad
    assert symbol(x, y).parents == (x, y)
    assert symbol(x, b).parents[0] is x
    assert symbol(a, y).parents[1] is y


@each_operator
@pytest.mark.parametrize(
    "other", [3, 3.0, True, np.float64(3.0), np.float32(3.0), np.int64(3), np.bool_(True), fractions.Fraction(3)]
)
def test_numbers_of_every_kind_stand_on_both_sides(symbol: Any, other: Any) -> None:
    x = Value(2.0)
    number = float(other)
    for z, expected, slope in (
        (symbol(x, other), symbol(2.0, number), tn.grad(lambda v: symbol(v, number))(2.0)),
        (symbol(other, x), symbol(number, 2.0), tn.grad(lambda v: symbol(number, v))(2.0)),
    ):
        assert type(z) is Value
        assert z.data == expected
        x.zero_grad()
        z.backward()
        assert x.grad == pytest.approx(slope)


@each_operator
def test_arrays_make_tensors_in_both_orders(symbol: Any) -> None:
    x, array = Value(2.0), np.array([1.0, 3.0])
    for z, expected in (
        (symbol(x, array), symbol(2.0, array)),
        (symbol(array, x), symbol(array, 2.0)),
        (symbol(x, Tensor(array)), symbol(2.0, array)),
        (symbol(Tensor(array), x), symbol(array, 2.0)),
    ):
        assert type(z) is Tensor
        np.testing.assert_array_equal(z.data, expected)
        x.zero_grad()
        z.backward(np.ones(2))
        assert type(x.grad) is float
    number = symbol(np.array(3.0), x)  # an array without axes is an array
    assert type(number) is Tensor
    assert number.shape == ()


@pytest.mark.parametrize("other", ["2", None, 1j, {}, object()])
@pytest.mark.parametrize("symbol", [*OPERATORS, operator.lt])
def test_other_types_are_refused(symbol: Any, other: Any) -> None:
    for pair in ((Value(2.0), other), (other, Value(2.0))):
        with pytest.raises(TypeError):
            symbol(*pair)


def test_unary_operators() -> None:
    x = Value(-2.0)
    assert (-x).data == 2.0
    assert +x is x
    assert abs(x).data == 2.0
    (-x * abs(x)).backward()
    assert x.grad == -4.0


@given(st.floats(allow_nan=True), st.floats(allow_nan=True))
def test_comparisons_compare_numbers(a: float, b: float) -> None:
    for compare in COMPARISONS:
        expected = compare(a, b)
        for found in (compare(Value(a), Value(b)), compare(Value(a), b), compare(a, Value(b))):
            assert found is expected


def test_equality_with_other_things_and_hashing() -> None:
    x, y = Value(1.0), Value(1.0)
    assert x == y
    assert x == 1
    assert x != "1"
    assert x != None  # noqa: E711
    assert len({x, y}) == 2  # a node is itself
    assert {x: 1, y: 2}[x] == 1
    np.testing.assert_array_equal(x == np.array([1.0, 2.0]), [True, False])
    assert isinstance(x < Tensor([2.0]), Tensor)
    assert max(Value(1.0), Value(3.0), Value(2.0)).data == 3.0
    assert [v.data for v in sorted(map(Value, (3.0, 1.0, 2.0)))] == [1.0, 2.0, 3.0]


# --- numbers in and out -----------------------------------------------------------------------------------------------


def test_conversions() -> None:
    x = Value(2.75)
    assert (float(x), int(x), bool(x), x.item()) == (2.75, 2, True, 2.75)
    assert not Value(0.0)
    assert Value(math.nan)
    assert math.isnan(float(Value(math.nan)))
    assert (x.shape, x.ndim) == ((), 0)
    for broken in (len, iter, operator.index):
        with pytest.raises(TypeError):
            broken(x)
    with pytest.raises(TypeError):
        x[0]


@pytest.mark.parametrize("data", [1, 1.5, True, np.float32(0.1), np.int64(4), np.bool_(True), fractions.Fraction(1, 3)])
def test_data_is_a_python_float(data: Any) -> None:
    x = Value(data)
    assert type(x.data) is float
    assert x.data == float(data)


@pytest.mark.parametrize("data", ["1.0", None, 1j, object()])
def test_what_is_no_real_number(data: Any) -> None:
    with pytest.raises(TypeError, match=r"^Value: got .*; expected a real number\.$"):
        Value(data)


@pytest.mark.parametrize("data", [[1.0], (1.0,), np.ones(2), np.array(1.0), Tensor(1.0), Value(1.0)])
def test_arrays_and_nodes_are_no_numbers(data: Any) -> None:
    with pytest.raises(TypeError, match=r"Value: got .*; expected a real number; use Tensor for an array"):
        Value(data)


def test_repr() -> None:
    assert repr(Value(1.5)) == "Value(1.5)"
    assert repr(Value(1.5, name="w")) == "Value(1.5, name='w')"
    assert repr(Value(math.inf)) == "Value(inf)"
    assert repr(Value(2.0) * 3) == "Value(6.0)"
    assert repr(tn.clip(Value(2.0), max=1.0)) == "Value(1.0)"


def test_a_leaf() -> None:
    x = Value(1.5, name="w", requires_grad=False)
    assert (x.data, x.grad, x.op, x.name, x.requires_grad, x.parents, x.params, x.edges) == (
        1.5,
        None,
        None,
        "w",
        False,
        (),
        {},
        [],
    )
    x.data = 3.0  # as an optimiser does
    assert (x * 2).data == 6.0
    with pytest.raises(AttributeError):
        x.typo = 1


# --- the graph that it makes ------------------------------------------------------------------------------------------


def test_edges_hold_the_local_derivatives() -> None:
    x, w = Value(2.0), Value(3.0)
    y = x * w
    assert y.op is tn.multiply
    assert y.edges == [(x, 3.0), (w, 2.0)]
    z = y + 1
    assert z.edges == [(y, 1.0), (1.0, None)]
    assert tn.relu(y).edges == [(y, 1.0)]
    chosen = tn.where(x > w, x, y)
    assert chosen.parents == (False, x, y)
    assert [d for _, d in chosen.edges] == [None, 0.0, 1.0]


def test_a_name_changes_nothing_but_the_name() -> None:
    x = Value(2.0)
    y = (x * 3.0).named("y")
    assert (y.name, y.op, y.parents, y.requires_grad) == ("y", tn.multiply, (x, 3.0), True)
    x.name = "x"
    assert (x.name, x.op, x.parents, x.requires_grad) == ("x", None, (), True)
    (y * y).backward()
    assert (x.grad, y.grad) == (36.0, 12.0)
    y.name = x.name = None
    assert (y.name, y.op, x.name, x.op) == (None, tn.multiply, None, None)


def test_only_a_leaf_can_be_told_whether_it_takes_a_gradient() -> None:
    x = Value(2.0)
    y = x * 3.0
    y.requires_grad = True  # as it is
    with pytest.raises(RuntimeError, match=r"requires_grad: .* was computed by <op multiply>; expected a leaf"):
        y.requires_grad = False
    x.requires_grad = False
    y.backward()
    assert x.grad is None
    x.requires_grad = True
    y.backward()
    assert x.grad == 3.0


def test_a_step_of_gradient_descent_by_hand() -> None:
    """L = (σ(w x + b) - y)², all by the chain rule."""
    w, b = Value(0.4), Value(-0.2)
    x, y = 1.5, 1.0
    a = tn.sigmoid(w * x + b)
    loss = (a - y) ** 2
    loss.backward()
    s = 1 / (1 + math.exp(-(0.4 * 1.5 - 0.2)))
    dz = 2 * (s - 1) * s * (1 - s)
    assert loss.data == pytest.approx((s - 1) ** 2)
    assert w.grad == pytest.approx(dz * 1.5)
    assert b.grad == pytest.approx(dz)
    assert a.grad == pytest.approx(2 * (s - 1))


@given(st.lists(small, min_size=1, max_size=6))
def test_sums_and_products_of_lists(xs: list[float]) -> None:
    values = [Value(x) for x in xs]
    sum(values).backward() if len(values) > 1 else (values[0] + 0).backward()
    assert [v.grad for v in values] == [1.0] * len(xs)
    for v in values:
        v.zero_grad()
    math.prod(values, start=Value(1.0)).backward()
    for k, v in enumerate(values):
        assert v.grad == pytest.approx(math.prod(xs[:k] + xs[k + 1 :]), rel=1e-12)


def test_where_the_mathematics_ends_python_does_not_raise() -> None:
    zero, big = Value(0.0), Value(1000.0)
    assert (1 / zero).data == math.inf
    assert (-1 / zero).data == -math.inf
    assert math.isnan((zero / zero).data)
    assert zero.log().data == -math.inf
    assert big.exp().data == math.inf
    assert (big**1000).data == math.inf
    assert math.isnan((Value(-8.0) ** (1 / 3)).data)
    assert math.isnan(Value(math.inf).sin().data)
    assert math.isnan(tn.sqrt(Value(-1.0)).data)


def test_arrays_of_values() -> None:
    row = [Value(1.0), Value(2.0)]
    t = tn.stack(row)
    assert isinstance(t, Tensor)
    assert (t @ np.array([3.0, 4.0])).item() == 11.0
    tn.sum(t * t).backward()
    assert [v.grad for v in row] == [2.0, 4.0]
    grid = tn.add([[Value(1.0), 2.0], [3.0, Value(4.0)]], 0.0)
    np.testing.assert_array_equal(grid.data, [[1.0, 2.0], [3.0, 4.0]])
    assert tn.sum(row).data == 3.0
    for _ in range(2):  # the second call goes another way than the first
        np.testing.assert_array_equal(tn.subtract(row[0], [1.0, 2.0]).data, [0.0, -1.0])
        np.testing.assert_array_equal(tn.subtract([1.0, 2.0], row[0]).data, [0.0, 1.0])
    assert Value(2.0).reshape((1, 1)).shape == (1, 1)
    assert tn.clip(Value(2.0), min=np.array([0.0, 3.0])).data.tolist() == [2.0, 3.0]
