"""The event log: its sums are the gradients of the engine, and depth-first order is wrong exactly where it must be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_notes as tn
from tinygrad_notes.graph import is_node
from tinygrad_notes.ops.namespaces import shape_of

# Slopes of all of them are positive on positive numbers: a contribution that is missing makes a sum smaller.
RISING = {"add": tn.add, "multiply": tn.multiply, "sqrt": tn.sqrt, "log1p": tn.log1p}


@st.composite
def rising_graphs(draw, leaf=tn.Value):
    """A graph that rises in every leaf: ops on earlier nodes, all nodes used by the last at the latest."""
    nodes = [leaf(draw(st.floats(0.5, 1.5)), name=f"x{i}") for i in range(draw(st.integers(1, 3)))]
    for _ in range(draw(st.integers(1, 8))):
        op = RISING[draw(st.sampled_from(sorted(RISING)))]
        nodes.append(op(*(draw(st.sampled_from(nodes)) for _ in range(op.arity))))
    used = {p for node in nodes if node.op is not None for p in node.parents}
    loss = nodes[-1]
    for node in nodes[:-1]:
        if node not in used:
            loss = loss + node if draw(st.booleans()) else node + loss
    return loss


def naive_sums(root):
    """The gradients by the naive recursion, as a beginner writes it."""
    sums, visited = {root: 1.0}, set()

    def go(node):
        visited.add(node)
        for parent, slope in node.edges:
            sums[parent] = sums.get(parent, 0.0) + sums[node] * slope
        for parent in node.parents:
            if parent not in visited:
                go(parent)

    go(root)
    return sums, list(visited)


def consumers(root):
    found = {}
    for node in tn.topological_order(root):
        for parent in node.parents:
            found.setdefault(parent, []).append(node)
    return found


def upstream(nodes):
    """What the nodes were computed from, themselves left out."""
    return {n for node in nodes for n in tn.topological_order(node) if n is not node}


@given(rising_graphs())
def test_the_sums_are_the_gradients_of_values(loss):
    log = tn.replay(loss)
    loss.backward()
    assert log.gradients.keys() == set(tn.topological_order(loss))
    for node, g in log.gradients.items():
        assert g == pytest.approx(node.grad, rel=1e-12)


@given(rising_graphs(leaf=tn.Tensor))
def test_the_sums_are_the_gradients_of_tensors_to_the_last_bit(loss):
    log = tn.replay(loss)
    assert all(node.grad is None for node in log.gradients)  # it leaves no trace
    loss.backward()
    for node, g in log.gradients.items():
        assert g == node.grad


@given(rising_graphs())
def test_both_passes_visit_each_node_once_in_their_order(loss):
    log = tn.replay(loss)
    seen = set()
    for event in log.forward:
        assert seen.issuperset(event.node.parents)
        seen.add(event.node)
    used_by, done = consumers(loss), set()
    for event in log.backward:
        assert done.issuperset(used_by.get(event.node, ()))
        done.add(event.node)
    assert len(log.forward) == len(log.backward) == len(seen) == len(done) == len(tn.topological_order(loss))


@given(rising_graphs())
def test_an_event_hands_on_its_gradient_times_the_slope(loss):
    sums = {}
    for event in tn.replay(loss).backward:
        for edge, (parent, slope) in zip(event.handed, event.node.edges, strict=True):
            assert edge.parent is parent
            assert edge.slope == slope
            assert edge.contribution == event.gradient * slope
            sums[parent] = sums.get(parent, 0.0) + edge.contribution
            assert edge.total == sums[parent]
            assert not edge.late


@given(rising_graphs())
def test_depth_first_sums_are_those_of_the_naive_recursion(loss):
    log = tn.replay(loss)
    sums, _ = naive_sums(loss)
    found = {event.node: event.gradient for event in log.naive}
    found |= {edge.parent: edge.total for event in log.naive for edge in event.handed}
    assert found == sums


@given(rising_graphs())
def test_depth_first_gradients_are_wrong_exactly_upstream_of_a_node_that_was_too_early(loss):
    log = tn.replay(loss)
    place = {event.node: i for i, event in enumerate(log.naive)}
    early = {
        node
        for node, users in consumers(loss).items()
        if node.op is not None and any(place[user] > place[node] for user in users)
    }
    sums, _ = naive_sums(loss)
    wrong = {node for node, g in log.gradients.items() if sums[node] < g * (1 - 1e-9)}
    assert wrong == upstream(early)
    assert all(sums[node] == pytest.approx(g, rel=1e-9) for node, g in log.gradients.items() if node not in wrong)
    assert log.is_order_free == (not early)
    assert all(len(consumers(loss)[node]) > 1 for node in early)


@given(rising_graphs(leaf=lambda x, name: tn.Tensor(np.float32(x), name=name)))
def test_rounding_is_not_called_wrong(loss):
    log = tn.replay(loss)
    assert ("wrong" in log.text(naive=True)) == (not log.is_order_free)
    assert "wrong" not in log.text()


def test_a_node_that_is_used_once_is_never_too_early():
    x, y = tn.Value(0.5, name="x"), tn.Value(2.0, name="y")
    log = tn.replay(tn.tanh(x * y) + tn.exp(y) * x)  # the leaves are used twice, and hand nothing on
    assert log.is_order_free
    assert {e.node for e in log.naive} == {e.node for e in log.backward}


def test_arrays_contributions_have_the_shape_of_the_argument():
    rng = np.random.default_rng(0)
    w, b = tn.Tensor(rng.normal(size=(2, 3)), name="w"), tn.Tensor(rng.normal(size=(2, 1)), name="b")
    x = rng.normal(size=(3, 4))
    loss = tn.mean(tn.tanh(w @ x + b) ** 2)
    log = tn.replay(loss)
    loss.backward()
    for event in log.backward:
        assert shape_of(event.gradient) == event.node.shape
        for edge in event.handed:
            assert shape_of(edge.contribution) == shape_of(edge.total) == edge.parent.shape
    np.testing.assert_array_equal(log.gradients[w], w.grad)
    np.testing.assert_array_equal(log.gradients[b], b.grad)


def test_what_is_there_for_its_digits_only_is_no_step():
    a = tn.sigmoid(tn.Value(0.3, name="z")).named("a")
    log = tn.replay(tn.nn.binary_cross_entropy(1.0, a))
    assert [e.node.name for e in log.forward] == ["z", "a", None]
    assert all(is_node(e.node) for e in log.events)


def test_a_long_chain_is_played_without_recursion():
    y = x = tn.Value(1.0, name="x")
    for _ in range(2000):
        y = y + 1e-6
    log = tn.replay(y, limit=2001)
    assert log.gradients[x] == 1.0
    assert len(log.naive) == 2001
