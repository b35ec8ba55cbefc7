"""`Op`: how rows are called, what they refuse, and rows that a user adds."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_notes as tn
from tinygrad_notes import Tensor, Value
from tinygrad_notes.ops import TABLE, OpError
from tinygrad_notes.value import recorder

# --- calling ----------------------------------------------------------------------------------------------------------


def test_parameters_by_position_and_by_name() -> None:
    x = Tensor(np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(tn.sum(x, 0).data, tn.sum(x, axis=0).data)
    np.testing.assert_array_equal(tn.sum(x, 1, True).data, tn.sum(x, axis=1, keepdims=True).data)
    np.testing.assert_array_equal(tn.concat([x, x], 1).data, tn.concat([x, x], axis=1).data)
    np.testing.assert_array_equal(tn.concat(x, x, axis=1).data, tn.concat((x, x), axis=1).data)
    np.testing.assert_array_equal(x.sum(0).data, tn.sum(x, 0).data)
    assert tn.clip(3.0, 0.0, 1.0) == 1.0
    assert tn.clip(Value(3.0), 0.0, 1.0).data == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: tn.sum(x, axes=0), "sum: no parameter axes; it takes axis, keepdims"),
        (lambda x: tn.exp(x, axis=0), "exp: no parameter axis; it takes none"),
        (lambda x: tn.exp(), r"exp: got 0 argument\(s\); it takes 1 array"),
        (tn.add, r"add: got 1 argument\(s\); it takes 2 array"),
        (lambda x: tn.add(x, x, x), r"add: got 3 argument\(s\)"),
        (lambda x: tn.sum(x, 0, True, 1), r"sum: got 4 argument\(s\); it takes 1 array\(s\) and axis, keepdims"),
        (lambda x: tn.stack([]), r"stack: got 1 argument\(s\); it takes a list of arrays and axis"),
        (lambda x: tn.add(x, "2"), "add: got '2' of type str"),
        (lambda x: tn.add(x, None), "add: got None of type NoneType"),
        (lambda x: tn.add(x, 1j), "add: got 1j of type complex"),
        (lambda x: tn.add(x, {1.0}), "add: got {1.0} of type set"),
        (lambda x: tn.add(x, ["a"]), "add: got a list of <U1; expected numbers"),
        (lambda x: tn.add(x, np.array([1j, 2])), "add: given .*the result would be of complex128"),
        (lambda x: tn.add(x, np.array(["a", "b"])), "add: given"),
        (lambda x: tn.add(x, np.array([1, None])), "add: given"),
        (lambda x: x * np.array([1, 2], "timedelta64[s]"), "multiply: given"),
        (lambda x: tn.clip(x, min=x), "clip: given a Value or Tensor for one of min, max"),
        (lambda x: tn.leaky_relu(x, slope=Value(0.1)), "leaky_relu: given a Value or Tensor for one of slope"),
        (lambda x: x.astype(int), "astype: given .*int64 takes no gradient"),
    ],
)
def test_wrong_types_are_refused_by_name(call: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call(Tensor([1.0, 2.0], name="w"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: x + np.ones(3),
            r"add: given Tensor w \(2,\) of float64 and array \(3,\) of float64; expected shapes that",
        ),
        (lambda x: np.ones(3) - x, r"subtract: given array \(3,\) of float64 and Tensor w \(2,\)"),
        (lambda x: tn.where(x > 0, x, np.ones(3)), r"where: given Tensor \(2,\) of bool and .*shapes that broadcast"),
        (lambda x: x @ np.ones((3, 2)), r"matmul: given Tensor w \(2,\) .* inner sizes agree"),
        (lambda x: x @ 2.0, "matmul: given Tensor w .* and 2.0"),
        (lambda x: tn.outer(x, np.ones((2, 2))), "outer: given .*expected two vectors"),
        (
            lambda x: tn.reshape(x, shape=(3,)),
            r"reshape: given Tensor w .*shape=\(3,\); expected an array and a shape of as",
        ),
        (lambda x: tn.concat([x, np.ones((2, 2))]), "concat: given .* that differ in size along axis only"),
        (lambda x: tn.stack([x, np.ones(3)]), "stack: given .* arrays of one shape"),
        (lambda x: tn.broadcast_to(x, shape=(3,)), r"broadcast_to: .*shape=\(3,\)"),
        (lambda x: tn.squeeze(x, axis=0), "squeeze: .*axis=0; expected an array and axes of size 1"),
        (lambda x: tn.permute_dims(x, axes=(0, 0)), "permute_dims: .*permutation"),
        (lambda x: tn.pad(x, widths=((1, 2), (1, 2))), "pad: .*2 pairs of widths for 1 axes"),
        (lambda x: tn.pad(x, widths=(1, 2, 3)), "pad: .*give a number"),
        (lambda x: tn.einsum("ij->i", x), "einsum: .*term 'ij' has 2 indices for 1 axes"),
        (lambda x: tn.einsum("i,i->i", x), "einsum: .*2 terms for 1 operands"),
        (lambda x: Tensor(np.array([1, 2])) ** -1, "pow: given .* expected 2 number.*negative integer powers"),
        (lambda x: tn.add([[1.0], [1.0, 2.0]], x), "add: got a ragged list"),
    ],
)
def test_wrong_shapes_are_refused_by_name(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(Tensor([1.0, 2.0], name="w"))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (5, r"getitem: given Tensor w \(2,\) of float64, index=5; expected an array and an index within its shape"),
        ((0, 0), "getitem: .*too many indices"),
        (1.0, "getitem"),
        ([0, 7], "getitem"),
        (np.array([True, False, True]), "getitem: .*boolean"),
        (Value(1.0), "getitem"),
    ],
)
def test_wrong_indices_are_refused_by_name(index: Any, message: str) -> None:
    with pytest.raises(IndexError, match=message) as caught:
        Tensor([1.0, 2.0], name="w")[index]
    assert isinstance(caught.value, OpError)


def test_permutation_of_axes_that_are_not_there() -> None:
    for axes in ((0, 3), (-3, 0), (0,)):
        with pytest.raises((ValueError, IndexError), match="permute_dims: given"):
            tn.permute_dims(Tensor(np.ones((2, 3))), axes=axes)


def test_ops_are_themselves_in_copies_and_pickles() -> None:
    for op in TABLE.values():
        assert copy.deepcopy(op) is op
        assert pickle.loads(pickle.dumps(op)) is op
        assert repr(op) == f"<op {op.name}>"


# --- rows that a user adds --------------------------------------------------------------------------------------------


def check_everywhere(op: Any, f: Any, df: Any, ddf: Any, points: list[float]) -> None:
    """A row of one argument as a float, a Value, an array and a graph."""
    for x in points:
        assert op(x) == pytest.approx(f(x), rel=1e-14)
        v = Value(x)
        y = op(v)
        assert y.data == pytest.approx(f(x), rel=1e-14)
        y.backward()
        assert v.grad == pytest.approx(df(x), rel=1e-14)
        assert tn.grad(tn.grad(op))(x) == pytest.approx(ddf(x), rel=1e-12, abs=1e-15)
    column = np.array(points)
    np.testing.assert_allclose(op(Tensor(column)).data, [f(x) for x in points], rtol=1e-14)
    np.testing.assert_allclose(tn.grad(lambda t: tn.sum(op(t)))(column), [df(x) for x in points], rtol=1e-14)
    np.testing.assert_allclose(tn.jvp(op, (column,), (column,))[1], [df(x) * x for x in points], rtol=1e-14)


def test_a_row_from_its_formula() -> None:
    cube = tn.elementwise("t_cube", forward=lambda xp, x: x**3, partials=lambda xp, y, x: (3 * x**2,), doc="x cubed")
    check_everywhere(cube, lambda x: x**3, lambda x: 3 * x * x, lambda x: 6 * x, [-2.0, 0.0, 1.5])
    assert cube.__doc__ == "x cubed"
    assert Value(2.0).t_cube().data == 8.0
    assert Tensor([2.0]).t_cube().data.tolist() == [8.0]
    assert "t_cube" in dir(Value(2.0))
    assert cube.tex.format("x") == r"\operatorname{t\_cube}\left(x\right)"
    assert "record_t_cube" in recorder(cube).source


def test_a_rule_may_be_made_of_other_rows() -> None:
    mish = tn.elementwise(
        "t_mish",
        forward=lambda xp, x: x * xp.tanh(xp.softplus(x)),
        partials=lambda xp, y, x: (
            xp.tanh(xp.softplus(x)) + x * (1 - xp.square(xp.tanh(xp.softplus(x)))) * xp.sigmoid(x),
        ),
    )
    composed = lambda x: x * tn.tanh(tn.softplus(x))  # noqa: E731
    check_everywhere(mish, composed, tn.grad(composed), tn.grad(tn.grad(composed)), [-3.0, -0.5, 0.0, 2.0])


def test_constants_in_a_rule() -> None:
    big = tn.elementwise(
        "t_step",
        forward=lambda xp, x: xp.where(x > 0, x, -math.inf),
        partials=lambda xp, y, x: (xp.where(x > 0, 2, math.nan),),
    )
    assert (big(Value(-1.0)).data, big(-1.0), big(Value(3.0)).data) == (-math.inf, -math.inf, 3.0)
    assert tn.grad(big)(3.0) == 2.0
    assert math.isnan(tn.grad(big)(-3.0))
    twice = tn.elementwise("t_twice", forward=lambda xp, x: 2 * x, partials=lambda xp, y, x: (2,))
    check_everywhere(twice, lambda x: 2 * x, lambda x: 2.0, lambda x: 0.0, [-1.0, 3.0])
    flat = tn.elementwise("t_flat", forward=lambda xp, x: 0 * x + 7, partials=lambda xp, y, x: (0,))
    check_everywhere(flat, lambda x: 7.0, lambda x: 0.0, lambda x: 0.0, [-1.0, 3.0])


def test_branches_of_python_cannot_be_read_as_source_and_are_still_right() -> None:
    relu = tn.elementwise(
        "t_branch",
        forward=lambda xp, x: x * 1.0 if x > 0 else x * 0.1,
        partials=lambda xp, y, x: (1.0 if x > 0 else 0.1,),
    )
    either = tn.elementwise(
        "t_either",
        forward=lambda xp, x: abs(x) if x < -1 or x > 1 else x * x,
        partials=lambda xp, y, x: ((1.0 if x > 0 else -1.0) if x < -1 or x > 1 else 2 * x,),
    )
    largest = tn.elementwise(
        "t_largest", forward=lambda xp, x: max(x, 1.0), partials=lambda xp, y, x: (float(x > 1.0),)
    )
    for x in (-3.0, -0.5, 0.5, 3.0):
        for op, f, df in (
            (relu, x if x > 0 else 0.1 * x, 1.0 if x > 0 else 0.1),
            (either, abs(x) if abs(x) > 1 else x * x, math.copysign(1.0, x) if abs(x) > 1 else 2 * x),
            (largest, max(x, 1.0), float(x > 1)),
        ):
            assert op(Value(x)).data == pytest.approx(f)
            assert op(x) == pytest.approx(f)
            assert tn.grad(op)(x) == pytest.approx(df)
            assert not hasattr(recorder(op), "source")


def test_functions_that_python_floats_lack() -> None:
    root = tn.elementwise("t_root", forward=lambda xp, x: xp.cbrt(x), partials=lambda xp, y, x: (1 / (3 * y * y),))
    for x in (8.0, -27.0):
        assert root(x) == root(Value(x)).data == pytest.approx(math.copysign(abs(x) ** (1 / 3), x))
        assert tn.grad(root)(x) == pytest.approx(abs(x) ** (-2 / 3) / 3)
    power = tn.elementwise("t_power", forward=lambda xp, x: x**0.5, partials=lambda xp, y, x: (0.5 * x**-0.5,))
    assert math.isnan(power(Value(-1.0)).data)  # and no complex number
    assert math.isnan(power(-1.0))
    assert tn.grad(power)(0.0) == math.inf


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3))
def test_three_arguments(a: float, b: float, c: float) -> None:
    op = TABLE.get("t_fma") or tn.elementwise(
        "t_fma",
        forward=lambda xp, a, b, c: a * b + xp.sin(c),
        partials=lambda xp, y, a, b, c: (b, a, lambda: xp.cos(c)),
        tex="{0} {1} + {2}",
    )
    expected = (b, a, math.cos(c))
    assert tn.grad(op, (0, 1, 2))(a, b, c) == expected
    x, z = Value(a), Value(c)
    y = op(x, b, z)  # a number among them
    assert y.parents == (x, b, z)
    assert [d for _, d in y.edges] == [b, None, math.cos(c)]
    y.backward()
    assert (x.grad, z.grad) == (b, math.cos(c))
    column = Tensor([a, 1.0])
    (op(column, b, z)).backward(np.ones(2))
    np.testing.assert_allclose(column.grad, [b, b])
    assert z.grad == pytest.approx(3 * math.cos(c), rel=1e-15)
    hessian = tn.hessian(op, (0, 1, 2))(a, b, c)
    np.testing.assert_allclose(hessian, [[0, 1, 0], [1, 0, 0], [0, 0, -math.sin(c)]], rtol=1e-15)


def test_parameters_of_a_row() -> None:
    scaled = tn.elementwise(
        "t_scaled", forward=lambda xp, x, *, by=2.0: by * x * x, partials=lambda xp, y, x, *, by=2.0: (2 * by * x,)
    )
    for by in (2.0, -3.0):
        check_everywhere(
            lambda x, by=by: scaled(x, by=by),
            lambda x, by=by: by * x * x,
            lambda x, by=by: 2 * by * x,
            lambda x, by=by: 2 * by,
            [1.0, -2.0],
        )
    v = Value(3.0)
    y = v.t_scaled(by=5.0)
    assert (y.data, y.params) == (45.0, {"by": 5.0})
    assert scaled(v).params == {"by": 2.0}
    z = y * 2 + y
    z.backward()
    assert v.grad == 90.0
    assert y.detach().params == {}


def test_structural_rows() -> None:
    roll = tn.structural(
        "t_roll",
        forward=lambda xp, x, *, by=1: xp.concat([x[-by:], x[:-by]]),
        vjp=lambda xp, g, y, x, *, by=1: xp.concat([g[by:], g[:by]]),
    )
    x = np.arange(4.0)
    np.testing.assert_array_equal(roll(x, by=1), np.roll(x, 1))
    np.testing.assert_array_equal(tn.jacobian(lambda t: roll(t, by=3))(x), np.roll(np.eye(4), 3, axis=0))
    np.testing.assert_array_equal(tn.jvp(roll, (x,), (x,))[1], np.roll(x, 1))
    np.testing.assert_allclose(
        tn.hessian(lambda t: tn.sum(roll(t) * t))(x), np.roll(np.eye(4), 1, 0) + np.roll(np.eye(4), 1, 1)
    )
    total = tn.structural(
        "t_total",
        forward=lambda xp, *xs: xp.sum(xp.stack(list(xs)), axis=0),
        vjp=lambda xp, g, y, *xs: [g for _ in xs],
    )
    a, b = Tensor([1.0, 2.0]), Tensor([3.0, 4.0])
    total([a, b, np.ones(2)]).backward(np.array([1.0, 2.0]))
    np.testing.assert_array_equal(a.grad, [1.0, 2.0])
    assert a.grad is not b.grad


def test_costly_entries_are_computed_only_if_wanted() -> None:
    def never() -> Any:
        raise AssertionError("not wanted")

    op = tn.elementwise("t_lazy", forward=lambda xp, a, b: a + b, partials=lambda xp, y, a, b: (1, never))
    x = Tensor([1.0])
    op(x, np.array([2.0])).backward()
    assert x.grad == 1.0


def test_an_entry_of_none_takes_no_gradient() -> None:
    op = tn.elementwise("t_none", forward=lambda xp, a, b: a * b, partials=lambda xp, y, a, b: (b, None))
    a, b = Value(2.0), Value(5.0)
    op(a, b).backward()
    assert (a.grad, b.grad) == (5.0, None)
    s, t = Tensor([2.0]), Tensor([5.0])
    op(s, t).backward()
    assert (s.grad.tolist(), t.grad) == ([5.0], None)
    assert tn.grad(op, (0, 1))(2.0, 5.0) == (5.0, 0.0)


def test_names_are_checked() -> None:
    rule = {"forward": lambda xp, x: x, "partials": lambda xp, y, x: (1,)}
    tn.elementwise("t_mine", **rule)
    with pytest.raises(ValueError, match="op 't_mine' is in the table already"):
        tn.elementwise("t_mine", **rule)
    with pytest.raises(ValueError, match="op 'sum' is in the table already"):
        tn.structural("sum", vjp=lambda xp, g, y, x: g)
    with pytest.raises(ValueError, match="op 'my-op': expected a name that is a Python identifier"):
        tn.elementwise("my-op", **rule)
    with pytest.raises(TypeError, match="partials must take"):
        tn.elementwise("t_short", partials=lambda xp, y: (1,))
    with pytest.raises(TypeError, match="vjp must take"):
        tn.structural("t_short", vjp=lambda xp, g, y: g)
    assert "t_short" not in TABLE


def test_added_rows_were_taken_back() -> None:
    assert not [name for name in TABLE if name.startswith("t_")]
    with pytest.raises(AttributeError, match="t_cube"):
        Value(1.0).t_cube()
