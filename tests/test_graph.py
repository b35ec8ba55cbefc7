"""The graph: its order, the backward pass, what is recorded, and that it is let go."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_notes as tn
from tinygrad_notes import Tensor, Value
from tinygrad_notes.graph import Node, cotangents, is_node, is_recording, recording

KINDS = [Value, Tensor]
each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
def test_a_cotangent_may_be_a_node(kind: type[Node]) -> None:
    """Its data counts; it is a node of the recorded pass only if there is one."""
    x = kind(3.0)
    (x * x).backward(kind(2.0))
    assert not is_node(x.grad)
    assert float(x.grad) == 12.0
    x.zero_grad()
    (x * x).backward(kind(2.0), create_graph=True)
    assert is_node(x.grad)
    assert float(x.grad) == 12.0


# --- random graphs ----------------------------------------------------------------------------------------------------

STEPS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b * 0.5,
    "m": tn.maximum,
    "t": lambda a, b: tn.tanh(a) + b,
}


# Each step takes two earlier nodes: (which op, how far back the first, how far back the second).
programs = st.lists(
    st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=25
)


def run(program: list[tuple[str, int, int]], leaves: list[Any]) -> list[Any]:
    """All nodes of a random graph over the leaves."""
    nodes = list(leaves)
    for what, i, j in program:
        nodes.append(STEPS[what](nodes[i % len(nodes)], nodes[j % len(nodes)]))
    return nodes


@given(programs, st.sampled_from(KINDS))
def test_parents_come_first_and_every_ancestor_once(program: list[tuple[str, int, int]], kind: type[Node]) -> None:
    nodes = run(program, [kind(x) for x in (0.3, -0.7, 1.1)])
    root = nodes[-1]
    order = tn.topological_order(root)
    place = {id(n): k for k, n in enumerate(order)}
    assert len(place) == len(order)
    assert order[-1] is root
    for node in order:
        for parent in filter(is_node, node.parents):
            assert place[id(parent)] < place[id(node)]
    several = tn.topological_order(*nodes[-3:])
    assert {id(n) for n in several} == {id(n) for r in nodes[-3:] for n in tn.topological_order(r)}


@given(programs)
def test_scalars_arrays_and_differences_agree(program: list[tuple[str, int, int]]) -> None:
    start = [0.3, -0.7, 1.1]
    values, tensors = [Value(x) for x in start], [Tensor(x) for x in start]
    run(program, values)[-1].backward()
    run(program, tensors)[-1].backward()
    assert [v.grad for v in values] == pytest.approx([t.grad if t.grad is None else float(t.grad) for t in tensors])

    def plain(*xs: float) -> Any:
        return run(program, list(xs))[-1]

    nodes = run(program, start)
    assert run(program, values)[-1].data == pytest.approx(nodes[-1], rel=1e-12)
    close = min((abs(a - b) for a in nodes for b in nodes if a != b), default=1.0)
    if close > 1e-4:  # away from the ties of maximum
        reverse = tn.grad(plain, (0, 1, 2))(*start)
        forward = [tn.jvp(plain, start, [float(i == k) for i in range(3)])[1] for k in range(3)]
        assert forward == pytest.approx(reverse, rel=1e-9, abs=1e-9)
        h = 1e-6
        for k in range(3):
            up, down = ([x + s * h * (i == k) for i, x in enumerate(start)] for s in (1, -1))
            assert reverse[k] == pytest.approx((plain(*up) - plain(*down)) / (2 * h), rel=1e-4, abs=1e-4)


# --- what backward leaves behind --------------------------------------------------------------------------------------


@each_kind
def test_not_computed_yet_is_none(kind: Any) -> None:
    x, w, other = kind(2.0), kind(3.0), kind(1.0)
    y = x * w
    assert x.grad is w.grad is y.grad is None
    y.backward()
    assert (float(x.grad), float(w.grad), float(y.grad)) == (3.0, 2.0, 1.0)
    assert other.grad is None
    x.zero_grad()
    assert x.grad is None


@each_kind
def test_leaves_accumulate_and_intermediates_do_not(kind: Any) -> None:
    x = kind(2.0)
    y = x * x
    z = y * 3
    for calls in (1, 2, 3):
        z.backward()
        assert float(x.grad) == 12.0 * calls
        assert float(y.grad) == 3.0
        assert float(z.grad) == 1.0
    y.backward()
    assert float(x.grad) == 40.0
    assert float(y.grad) == 1.0


@each_kind
def test_backward_of_a_leaf_and_through_shared_nodes(kind: Any) -> None:
    x = kind(2.0)
    x.backward()
    assert float(x.grad) == 1.0
    x.backward(cotangent=4.0)
    assert float(x.grad) == 5.0
    x.zero_grad()
    y = x
    for _ in range(60):  # 2⁶⁰ paths
        y = y + y
    y.backward()
    assert float(x.grad) == 2.0**60


@each_kind
def test_only_what_requires_a_gradient_gets_one(kind: Any) -> None:
    x, constant = kind(2.0), kind(3.0, requires_grad=False)
    y = x * constant
    y.backward()
    assert float(x.grad) == 3.0
    assert constant.grad is None
    z = constant * constant
    assert not z.requires_grad
    assert z.op is None or kind is Tensor
    with pytest.raises(RuntimeError, match=r"backward: .* does not depend on anything that requires a gradient"):
        z.backward()
    later = kind(1.0)
    later.requires_grad = False
    assert not (later * 2).requires_grad


@each_kind
def test_detach_cuts(kind: Any) -> None:
    x = kind(3.0, name="x")
    y = (x * x).named("y")
    cut = y.detach()
    assert (float(cut), cut.name, cut.op, cut.requires_grad) == (9.0, "y", None, False)
    (cut * x).backward()
    assert float(x.grad) == 9.0


@each_kind
def test_cotangents(kind: Any) -> None:
    x = kind(3.0)
    y = x * x
    y.backward(0.5)
    assert float(x.grad) == 3.0
    for wrong in (np.ones(2), np.ones((1, 1))):
        with pytest.raises(ValueError, match=r"backward: the cotangent has shape .*; expected \(\), as"):
            y.backward(wrong)
    for nonsense in ("1.0", {}, object()):
        with pytest.raises(TypeError, match=r"backward: got .* as the cotangent; expected a number or an array"):
            y.backward(nonsense)
    assert float(x.grad) == 3.0  # as before


def test_backward_of_an_array_needs_a_cotangent() -> None:
    x = Tensor([1.0, 2.0])
    y = x * x
    with pytest.raises(ValueError, match=r"backward: Tensor \(2,\) of float64 has 2 elements; expected a scalar"):
        y.backward()
    with pytest.raises(ValueError, match=r"cotangent has shape \(3,\); expected \(2,\)"):
        y.backward(np.ones(3))
    y.backward([1.0, 10.0])
    np.testing.assert_array_equal(x.grad, [2.0, 40.0])
    one = Tensor([[3.0]])
    (one * one).backward()  # one element is scalar enough
    np.testing.assert_array_equal(one.grad, [[6.0]])
    x.zero_grad()
    (x * 1).backward(np.array([1, 2]))  # whole numbers are numbers too
    assert x.grad.dtype == float


def test_gradients_do_not_share_memory_with_the_cotangent() -> None:
    a, b = Tensor(np.zeros(3)), Tensor(np.zeros(3))
    g = np.ones(3)
    y = a + b
    y.backward(g)
    for first, second in ((a.grad, b.grad), (a.grad, g), (y.grad, g), (a.grad, y.grad)):
        assert not np.shares_memory(first, second)
    a.grad += 5
    y.backward(g)
    np.testing.assert_array_equal(a.grad, np.full(3, 7.0))
    np.testing.assert_array_equal(b.grad, np.full(3, 2.0))


# --- derivatives of derivatives ---------------------------------------------------------------------------------------


@each_kind
def test_create_graph(kind: Any) -> None:
    x = kind(2.0)
    y = x**3
    y.backward(create_graph=True)
    first = x.grad
    assert is_node(first)
    assert float(first) == 12.0
    x.zero_grad()
    first.backward(create_graph=True)
    second = x.grad
    assert float(second) == 12.0
    x.zero_grad()
    second.backward()
    assert float(x.grad) == 6.0
    assert not is_node(x.grad)


@each_kind
def test_gradient_penalty(kind: Any) -> None:
    """d/dx of (f'(x))² is 2 f' f''."""
    x = kind(0.7)
    tn.tanh(x).backward(create_graph=True)
    slope, x.grad = x.grad, None
    (slope * slope).backward()
    t = np.tanh(0.7)
    assert float(x.grad) == pytest.approx(2 * (1 - t * t) * -2 * t * (1 - t * t), rel=1e-14)


def test_scalars_and_arrays_in_one_graph() -> None:
    scale, offset = Value(2.0), Value(-1.0)
    x = Tensor([1.0, 2.0, 3.0])
    y = tn.sum(scale * x * x + offset) * scale
    assert isinstance(y, Tensor)
    y.backward()
    assert (scale.grad, offset.grad) == (2 * 2.0 * 14 - 3, 6.0)
    assert type(scale.grad) is float
    np.testing.assert_array_equal(x.grad, 8 * x.data)
    stacked = tn.stack([scale, scale * offset, Value(5.0)])
    assert stacked.shape == (3,)
    scale.zero_grad()
    stacked.backward(np.array([1.0, 10.0, 100.0]))
    assert scale.grad == 1.0 - 10.0
    scale.zero_grad()
    y.backward(create_graph=True)
    again, scale.grad = scale.grad, None
    again.backward()
    assert float(scale.grad) == 2 * 14.0
    np.testing.assert_array_equal(tn.hessian(lambda s: tn.sum(s * x.data**2) * s)(3.0), 28.0)


@each_kind
def test_cotangents_of_targets_follow_the_paths_to_them_and_end_there(kind: Any) -> None:
    x, w = kind(2.0), kind(5.0)
    y = x * x
    product = y * x
    z = product + w
    found = dict(cotangents([(z, 1.0)], [x, y]))
    assert {id(n) for n in found} == {id(z), id(product), id(x), id(y)}
    assert float(found[y]) == 2.0
    assert float(found[x]) == 4.0  # with y held fixed
    again = dict(cotangents([(z, 1.0), (z, 2.0), (y, 10.0)], [x]))
    assert float(again[x]) == 3 * 12.0 + 10 * 4.0
    assert x.grad is None


# --- whether operations are recorded ----------------------------------------------------------------------------------


@each_kind
def test_no_grad(kind: Any) -> None:
    x = kind(2.0)
    with tn.no_grad():
        assert not is_recording()
        y = x * x
        with tn.no_grad():
            assert not is_recording()
        assert not is_recording()
        with recording(True):
            assert (x * x).requires_grad
    assert is_recording()
    assert (y.op, y.requires_grad, float(y)) == (None, False, 4.0)
    assert (x * x).requires_grad

    @tn.no_grad()
    def infer(v: Any) -> Any:
        return v * v

    assert not infer(x).requires_grad
    assert not infer(x).requires_grad
    with pytest.raises(ZeroDivisionError), tn.no_grad():
        raise ZeroDivisionError
    assert is_recording()
    assert tn.grad(infer)(3.0) == 0.0  # what was not recorded is constant
    with tn.no_grad():
        assert tn.grad(lambda v: v * v)(3.0) == 6.0


@each_kind
def test_no_grad_is_of_its_thread(kind: Any) -> None:
    x = kind(2.0)
    inside, done = threading.Event(), threading.Event()

    def pause() -> None:
        with tn.no_grad():
            inside.set()
            done.wait(10)

    thread = threading.Thread(target=pause)
    thread.start()
    assert inside.wait(10)
    y = x * x + 1
    done.set()
    thread.join()
    assert y.requires_grad
    y.backward()
    assert float(x.grad) == 4.0


def test_threads_build_graphs_side_by_side() -> None:
    found: dict[int, float] = {}

    def work(k: int) -> None:
        for _ in range(50):
            x = Value(float(k))
            with tn.no_grad():
                assert not (x * x).requires_grad
            (x * x * x).backward()
            found[k] = x.grad
            assert tn.grad(tn.grad(lambda v: v**3))(float(k)) == 6.0 * k

    threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 7)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == {k: 3.0 * k * k for k in range(1, 7)}
    assert is_recording()


# --- nodes as objects -------------------------------------------------------------------------------------------------


@each_kind
def test_copies_and_pickles(kind: Any) -> None:
    x = kind(2.0, name="x")
    y = tn.clip(x * x, min=0.0) + 1
    y.backward()
    for again in (copy.deepcopy(y), pickle.loads(pickle.dumps(y))):
        leaf = next(n for n in tn.topological_order(again) if n.op is None)
        assert leaf is not x
        assert (float(again), leaf.name, float(leaf.grad)) == (5.0, "x", 4.0)
        again.backward()
        assert float(leaf.grad) == 8.0
        assert float(x.grad) == 4.0
    shallow = copy.copy(y)
    assert shallow.parents[0] is y.parents[0]


@each_kind
def test_methods_and_attributes(kind: Any) -> None:
    x = kind(0.5)
    assert float(x.tanh()) == float(tn.tanh(x))
    assert float(x.exp().log()) == pytest.approx(0.5)
    assert float(x.sum()) == 0.5
    assert "tanh" in dir(x)
    with pytest.raises(AttributeError, match="tanhh"):
        x.tanhh()
    with pytest.raises(AttributeError, match="where"):  # no method: its first argument is the condition
        x.where(1, 2)
    assert not hasattr(x, "__len__") or kind is Tensor
    assert x.named("w") is x
    assert x.name == "w"
