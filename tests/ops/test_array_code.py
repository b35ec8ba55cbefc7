"""What is written from a row for NumPy's arrays: it gives what the row read as it stands gives, to the last bit."""

from __future__ import annotations

import itertools
import linecache
from typing import Any

import numpy as np
import pytest

import tinygrad_notes as tn
from tinygrad_notes import Tensor
from tinygrad_notes.ops import TABLE, Op
from tinygrad_notes.ops.array_code import write_pullback, write_recorder
from tinygrad_notes.ops.namespaces import numpy_reading

PLAIN = [op for op in TABLE.values() if op.elementwise and not op.defaults]
EDGES = np.array([0.0, -0.0, 1.0, -1.0, 0.5, 3.0, np.inf, -np.inf, np.nan, 5e-324, 1e308])
each_plain = pytest.mark.parametrize("op", PLAIN, ids=lambda op: op.name)


def arguments(op: Op, dtype: Any) -> list[np.ndarray]:
    """The edges of floats against each other, by broadcasting."""
    with np.errstate(over="ignore", under="ignore"):
        edges = EDGES.astype(dtype)
    return [edges.reshape((-1,) + (1,) * k) for k in range(op.arity)]


def by_rule(op: Op, xs: list[Any]) -> Tensor:
    """The node recorded by the general way."""
    return Tensor.record(op, xs, {})


@each_plain
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_recorder_and_pullback_give_what_the_row_gives(op: Op, dtype: Any) -> None:
    arrays = arguments(op, dtype)
    for nodes in itertools.product([True, False], repeat=op.arity):
        if not any(nodes):
            continue
        xs = [Tensor(x) if n else x for x, n in zip(arrays, nodes, strict=True)]
        with np.errstate(all="ignore"):
            expected = by_rule(op, xs)
            node = write_recorder(op, Tensor, tn.graph.state)(*xs) if op.arity <= 2 else expected
            np.testing.assert_array_equal(node.data, expected.data)
            assert node.data.dtype == expected.data.dtype
            assert (node.op, node.parents, node.params, node.name, node.grad) == (op, tuple(xs), {}, None, None)
            assert node.requires_grad == op.differentiable
            if not op.differentiable:
                continue
            g = np.where(np.arange(node.data.size) % 3, 1.5, 0.0).reshape(node.shape).astype(node.dtype)
            rule = op.vjp(numpy_reading, g, node.data, arrays, list(nodes), {})
            pull_back = write_pullback(op, Tensor, left_alone)
            for active in (None, {x for x, n in zip(xs, nodes, strict=True) if n}):
                before = {x: np.float64(0.5) for x in xs[:1] if nodes[0]}
                flight = dict(before)
                pull_back(node, g, flight, active)
                for x, n, e in zip(xs, nodes, rule, strict=True):
                    if not n or e is None:
                        assert n is False or flight.get(x) is before.get(x)
                        continue
                    c = flight[x]
                    np.testing.assert_array_equal(c, e + before[x] if x in before else e)
                    assert c.shape == e.shape
                    assert x in before or c.dtype == e.dtype


def left_alone(*args: Any) -> None:
    """In place of the general way, for arguments that the written one must know."""
    raise AssertionError("given to the general way")


def test_only_the_wanted_cotangents_are_computed() -> None:
    x, w = Tensor([1.0, 2.0]), Tensor([3.0, 4.0])
    pull_back = write_pullback(tn.multiply, Tensor, left_alone)
    flight: dict[Any, Any] = {}
    pull_back(x * w, np.ones(2), flight, {w})
    assert list(flight) == [w]
    flight = {}
    pull_back(x * Tensor([1.0, 1.0], requires_grad=False), np.ones(2), flight, None)
    assert list(flight) == [x]


def test_pullbacks_of_structural_ops_are_those_of_the_row() -> None:
    x, w = Tensor(np.arange(6.0).reshape(2, 3)), Tensor(np.ones((3, 2)))
    for y in (x @ w, tn.sum(x, axis=0), x[:, 1:], x.T, tn.clip(x, max=3.0), tn.concat([x, x])):
        g = np.arange(1.0, 1 + y.size).reshape(y.shape)
        flight: dict[Any, Any] = {}
        write_pullback(y.op, Tensor, Tensor.__mro__[1].pullback_of(y.op))(y, g, flight, None)
        wanted = [True] * len(y.parents)
        for parent in set(y.parents):
            owed = [c for p, c in zip(y.parents, y.pull(g, wanted), strict=True) if p is parent]
            np.testing.assert_array_equal(flight[parent], sum(owed))


def test_gradients_of_leaves_share_no_memory() -> None:
    x, w = Tensor(np.ones(3)), Tensor(np.ones(3))
    g = np.ones(3)
    (x + w).backward(g)
    assert not np.shares_memory(x.grad, w.grad)
    assert not np.shares_memory(x.grad, g)
    large = Tensor(np.ones(3))
    y = large * w
    y.backward(g)
    assert large.grad.base is None


def test_what_is_written_is_kept_and_shown_in_tracebacks() -> None:
    for function in (
        write_recorder(tn.tanh, Tensor, tn.graph.state),
        write_pullback(tn.tanh, Tensor, left_alone),
    ):
        assert "tanh" in function.source  # type: ignore[attr-defined]  # generated functions have it
        assert "".join(linecache.getlines(function.__code__.co_filename)) == function.source  # type: ignore[attr-defined]


def test_a_rule_that_cannot_be_written_is_called() -> None:
    halve = tn.elementwise(
        "halve_where_it_is_large",
        forward=lambda xp, x: x * 0.5 if x.max() > 1 else x,  # no straight line
        partials=lambda xp, y, x: (0.5 if x.max() > 1 else 1,),
    )
    for _ in range(3):
        x = Tensor([1.0, 4.0])
        y = halve(x)
        np.testing.assert_array_equal(y.data, [0.5, 2.0])
        y.backward(np.ones(2))
        np.testing.assert_array_equal(x.grad, [0.5, 0.5])


def test_numpy_numbers_in_a_rule_keep_their_dtype() -> None:
    scaled = tn.elementwise(
        "scaled_by_a_numpy_number",
        forward=lambda xp, x: x * 0.5 + np.float64(0.1) * x,
        partials=lambda xp, y, x: (np.float64(0.6),),
    )
    x = Tensor(np.ones(3, np.float32))
    assert {scaled(x).dtype for _ in range(3)} == {np.dtype(float)}
    for _ in range(3):
        x.zero_grad()
        scaled(x).backward(np.ones(3))
        assert x.grad.dtype == np.float32


def test_later_calls_refuse_what_the_first_refused() -> None:
    x = Tensor(np.ones((2, 3)))
    for _ in range(2):
        with pytest.raises(ValueError, match=r"add: given Tensor \(2, 3\) of float64 and array \(4,\)"):
            tn.add(x, np.ones(4))
        with pytest.raises(TypeError, match=r"multiply: .*complex"):
            x * np.ones(3, complex)
        with pytest.raises(TypeError, match=r"sum: no parameter axes; it takes axis, keepdims"):
            tn.sum(x, axes=0)
        with pytest.raises(IndexError, match=r"sum: given Tensor \(2, 3\) of float64, axis=5"):
            tn.sum(x, axis=5)
        with tn.no_grad():
            assert tn.tanh(x).op is None
        assert tn.add(x, [1.0, 2.0, 3.0]).data[0, 2] == 4.0
        assert tn.sum(x, axis=0).params == {"axis": 0, "keepdims": False}
