"""What a picture folds: modules, samples, loops; and what it refuses."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_notes as tn
from tinygrad_notes import Tensor, Value, draw
from tinygrad_notes.draw.scopes import Recorded, Scopes
from tinygrad_notes.draw.view import look


def labels(picture):
    """The labels of the boxes, in the order of the source."""
    return [m.replace("\\n", "\n") for m in re.findall(r'\[class="tn-[^"]*", label="([^"]*)"', picture.source)]


def clusters(picture):
    return re.findall(r'subgraph cluster_\d+ \{ label="([^"]*)"', picture.source)


def network(samples, sizes=(2, 3, 1), of=Value):
    net = tn.nn.MLP(sizes, of=of, rng=0)
    rng = np.random.default_rng(0)
    losses = [tn.nn.binary_cross_entropy(1.0, net(list(rng.normal(size=sizes[0])))[0]) for _ in range(samples)]
    return net, sum(losses)


# --- scopes -----------------------------------------------------------------------------------------------------------


def scope_names(root):
    graph = Recorded([root])
    found = {}
    for node, scope in zip(graph.order, Scopes(graph).of, strict=True):
        path = []
        for depth in range(scope.depth, 0, -1):
            path.insert(0, scope.at(depth).name)
        found[node] = "/".join(path)
    return found


def test_nodes_stand_in_the_call_they_were_made_in():
    net = tn.nn.MLP([3, 4, 2], rng=0)
    x = Tensor(np.ones((5, 3)), name="x")
    out = net(x)
    loss = tn.sum(out * out)
    names = scope_names(loss)
    assert names[x] == names[loss] == names[loss.parents[0]] == ""
    assert names[out] == "MLP"
    z2 = out.parents[0]
    assert names[z2] == "MLP/layers.1: Linear"
    assert names[z2.parents[0]] == "MLP/layers.1: Linear"
    assert names[net.layers[1].weight] == "MLP/layers.1: Linear"
    hidden = z2.parents[0].parents[0]
    assert names[hidden] == "MLP"
    assert names[net.layers[0].bias] == "MLP/layers.0: Linear"


def test_what_several_calls_share_lies_outside_of_them():
    layer = tn.nn.Linear(2, 2, rng=0)
    x = Tensor(np.ones((1, 2)), name="x")
    loss = tn.sum(layer(layer(x)))
    names = scope_names(loss)
    assert names[layer.weight] == names[x] == ""
    assert names[loss.parents[0]] == "Linear"
    assert clusters(draw(loss)) == ["Linear", "Linear"]


def test_a_call_of_the_class_above_is_no_call_of_its_own():
    class Louder(tn.nn.Linear):
        def __call__(self, x):
            return super().__call__(x) * 2

    assert clusters(draw(tn.sum(Louder(2, 2, rng=0)(np.ones((1, 2)))))) == ["Louder"]


@given(st.lists(st.integers(0, 2), min_size=1, max_size=12))
def test_scopes_of_random_nestings(depths):
    """Each op is made within so many nested calls, and stands in so many scopes."""

    class Nest(tn.nn.Module):
        def __call__(self, x, depth):
            return tn.tanh(x) if depth == 1 else Nest()(tn.exp(x), depth - 1)

    x = Value(0.1)
    made = []
    for depth in depths:
        x = Nest()(x, depth) if depth else tn.sin(x)
        made.append((x, depth))
    names = scope_names(x)
    assert all(names[node].count("Nest") == depth for node, depth in made)


# --- folding modules --------------------------------------------------------------------------------------------------


def test_depth_folds_modules():
    net = tn.nn.MLP([3, 4, 2], rng=0)
    loss = tn.sum(net(np.ones((5, 3))))
    assert sorted(clusters(draw(loss))) == ["MLP", "layers.0: Linear", "layers.1: Linear"]
    one = draw(loss, depth=1)
    assert clusters(one) == ["MLP"]
    assert [x for x in labels(one) if x.startswith("layers")] == [
        "layers.0: Linear\nb1 (4,)\nw1 (4, 3)\n3 ops: permute_dims @ +",
        "layers.1: Linear\nb2 (2,)\nw2 (2, 4)\n3 ops: permute_dims @ +",
    ]
    none = draw(loss, depth=0)
    assert [x.partition("\n")[0] for x in labels(none)] == ["MLP", "sum"]
    assert none.edges == 1
    assert "folded at depth 0" in none.note
    with pytest.raises(ValueError, match="depth is -1; expected 0 or more"):
        draw(loss, depth=-1)


# --- folding samples --------------------------------------------------------------------------------------------------


def test_the_samples_of_a_batch_are_drawn_once():
    net, loss = network(100)
    picture = draw(loss)
    one = draw(network(1)[1], fold=True)
    assert picture.nodes == one.nodes
    found = labels(picture)
    assert sum("× 100" in x for x in found) >= 18
    assert any(x.startswith("Σ  × 100") for x in found)
    assert {p.name for p in net.parameters()} <= {x.partition("\n")[0] for x in found}
    assert all(n.endswith("  × 100") for n in clusters(picture))
    shown = r"Picture\(.*\): 3,2\d\d nodes drawn as \d+: what repeats is drawn once \(× how often\)\."
    assert re.fullmatch(shown, repr(picture))
    assert picture.note in picture.source


def test_every_node_is_in_one_box():
    _, loss = network(7)
    view = look([loss], fold=True, depth=None, force=False)
    order = tn.topological_order(loss)
    assert sorted(map(id, view.box_of())) == sorted(map(id, order))
    edges = sum(len(n.parents) for n in order if n.op is not None)
    inside = sum(len(b.members) - 1 for b in view.boxes if b.chain)
    assert sum(e.count for e in view.edges) + inside == edges


@given(st.integers(1, 12), st.integers(1, 3))
def test_samples_of_random_batches(samples, units):
    w = [Value(0.1 * i, name=f"w{i}") for i in range(units)]
    outputs = [sum(wi * float(s + i) for i, wi in enumerate(w)) for s in range(samples)]
    loss = tn.sum(tn.stack(outputs) ** 2)
    view = look([loss], fold=True, depth=None, force=False)
    mine = [b for b in view.boxes if not b.constant and b.first.op is tn.multiply]
    assert [len(b.members) for b in mine] == [samples] * units


def test_different_exponents_and_names_are_not_alike():
    x = Value(2.0, name="x")
    loss = x**2 + x**3 + (x * 1.5).named("a") + (x * 2.5).named("b")
    assert draw(loss, fold=True).nodes == draw(loss, fold=False).nodes


def test_sample_data_that_is_named_by_number():
    w = Value(2.0, name="w")
    loss = sum(w * Value(float(i), name=f"x[{i}]", requires_grad=False) for i in range(100))
    assert [x.partition("\n")[0] for x in labels(draw(loss)) if x.startswith("x")] == ["x[99], …  × 100"]


# --- folding loops ----------------------------------------------------------------------------------------------------


def test_an_unrolled_loop_is_rolled_up():
    w, b, h = Tensor(np.eye(2), name="w"), Tensor(np.ones(2), name="b"), Tensor(np.zeros(2), name="h0")
    for _ in range(100):
        h = tn.tanh(w @ h + b)
    picture = draw(tn.sum(h))
    assert picture.nodes < 12
    assert "loops are rolled up" in picture.note
    assert picture.source.count('label="next step"') == 1
    assert "constraint=false" in picture.source


def test_layers_that_share_nothing_are_no_loop():
    net = tn.nn.MLP([2] * 60, rng=0)
    picture = draw(tn.sum(net(np.ones((1, 2)))))
    assert "next step" not in picture.source
    assert "folded at depth" in picture.note


# --- limits -----------------------------------------------------------------------------------------------------------


def chain(n):
    """A graph in which no two ops are alike."""
    rng = np.random.default_rng(0)
    nodes = [Value(1.0, name="x")]
    for _ in range(n):
        i, j = rng.integers(0, len(nodes), 2)
        nodes.append((nodes[i] + nodes[j]).named(chr(0x4E00 + len(nodes))))
    total = nodes[0]
    for node in nodes[1:]:
        total = tn.maximum(total, node)
    return total


def test_a_graph_that_cannot_be_folded_is_refused_unless_forced():
    root = chain(1600)
    with pytest.raises(ValueError, match=r"would have \d,\d{3} boxes, .* depth=1, or insist with force=True"):
        draw(root, fold=False)
    assert draw(root, fold=False, force=True).nodes == len(tn.topological_order(root))
    with pytest.raises(ValueError, match="folded as far as it can be"):
        draw(chain(6000), depth=0)


def test_small_pictures_do_not_fold():
    _, loss = network(4)
    assert draw(loss).note == ""
    assert draw(loss).nodes <= 150 < draw(network(9)[1], fold=False).nodes


def test_a_large_graph_folds():
    _, loss = network(60, (3, 4, 1))
    assert draw(loss).nodes < 100
