"""A tensor graph and its scalar graph have the same values and the same gradients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_notes as tn
from tinygrad_notes import Tensor, Value
from tinygrad_notes.expand import element_name, expanded

UNARY = [tn.tanh, tn.sigmoid, tn.exp, tn.sin, tn.relu, tn.square, tn.abs, lambda x: 1 / (2 + x * x), lambda x: -x]
SHAPING = [
    lambda x: x.T,
    lambda x: tn.reshape(x, shape=(-1,)),
    lambda x: tn.sum(x, axis=-1),
    lambda x: tn.mean(x, axis=0, keepdims=True),
    lambda x: tn.max(x, axis=-1, keepdims=True),
    lambda x: tn.flip(x, axis=0),
    lambda x: x[..., ::2],
    lambda x: x[np.array([0, 0])],
    tn.softmax,
    tn.log_softmax,
    lambda x: tn.logsumexp(x, axis=-1),
    lambda x: tn.var(x, axis=-1),
    tn.std,
    tn.norm,
    tn.prod,
    lambda x: tn.cumulative_sum(x, axis=0),
    lambda x: tn.expand_dims(x, axis=0),
    lambda x: tn.broadcast_to(x, shape=(2, *x.shape)),
    lambda x: tn.concat([x, x * 2.0]),
    lambda x: tn.stack([x, x]),
    lambda x: tn.pad(x, widths=1),
    tn.min,
    lambda x: tn.where(np.ones(x.shape) > 0, x, 0.0),
]


def check(loss, leaves):
    """The scalar graph against the tensor graph, in value and gradient."""
    found = expanded([loss], limit=50_000)
    assert found[loss].item().data == pytest.approx(float(loss.data), rel=1e-9, abs=1e-12)
    for leaf in leaves:
        leaf.zero_grad()
    loss.backward()
    found[loss].item().backward()
    for leaf in leaves:
        if leaf in found and leaf.grad is not None:
            scalar = [0.0 if v.grad is None else v.grad for v in found[leaf].flat]
            np.testing.assert_allclose(scalar, np.ravel(leaf.grad), rtol=1e-8, atol=1e-10)


@settings(max_examples=60)
@given(st.data())
def test_random_graphs(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    a, b = Tensor(rng.normal(size=(2, 3)), name="a"), Tensor(rng.normal(size=(3, 2)), name="b")
    made = [a, b, a @ b, b.T * a]
    for _ in range(data.draw(st.integers(1, 6))):
        x = data.draw(st.sampled_from(made))
        kind = data.draw(st.sampled_from(["unary", "shape", "binary"]))
        if kind == "unary":
            y = data.draw(st.sampled_from(UNARY))(x)
        elif kind == "binary":
            other = data.draw(st.sampled_from([z for z in made if z.shape == x.shape]))
            y = data.draw(st.sampled_from([tn.add, tn.multiply, tn.subtract, tn.maximum, tn.hypot]))(x, other)
        elif x.ndim:
            y = data.draw(st.sampled_from(SHAPING))(x)
        else:
            continue
        if y.size <= 64 and np.isfinite(y.data).all():
            made.append(y)
    check(sum(tn.sum(tn.tanh(m)) for m in made), [a, b])


@pytest.mark.parametrize("shape", range(len(SHAPING)))
def test_each_op_that_moves_or_sums(shape):
    x = Tensor(np.random.default_rng(shape).normal(size=(3, 4)), name="x")
    y = SHAPING[shape](x)
    check(tn.sum(y * np.random.default_rng(1).normal(size=y.shape)), [x])


def test_products():
    rng = np.random.default_rng(0)
    v, m, t = (Tensor(rng.normal(size=s)) for s in ((3,), (3, 2), (2, 4, 3)))
    check(tn.sum(tn.tanh(t @ m)) + tn.sum(v @ m) + tn.sum(t @ v) + v @ v + tn.sum(tn.outer(v, v)), [v, m, t])
    check(tn.sum(tn.einsum("bij,jk->bk", t, m) ** 2), [t, m])


def test_ties_share_the_gradient_as_in_the_tensor_graph():
    x = Tensor([1.0, 3.0, 3.0, -1.0], name="x")
    check(tn.max(x) + tn.min(x) * 2, [x])


def test_a_network_of_the_notes_shows_every_weight():
    net = tn.nn.MLP([2, 3, 1], rng=0)
    x = Tensor([[0.5, -1.0]], name="x", requires_grad=False)
    loss = tn.nn.binary_cross_entropy(np.ones((1, 1)), net(x)).named("L")
    scalar = tn.expand(loss)
    assert type(scalar) is Value
    assert scalar.name == "L"
    names = {n.name for n in tn.topological_order(scalar) if n.op is None and n.requires_grad}
    assert names == {f"w1_{i}_{j}" for i in (1, 2, 3) for j in (1, 2)} | {f"b1_{i}" for i in (1, 2, 3)} | {
        *("w2_1", "w2_2", "w2_3", "b2")
    }
    source = tn.draw(scalar).source
    assert all(name in source for name in ("MLP", "layers.0: Linear", "layers.1: Linear"))
    check(loss, list(net.parameters()))


def test_arrays_give_nested_lists():
    w = Tensor([[1.0, 2.0], [3.0, 4.0]], name="w")
    found = tn.expand(w * 2)
    assert [[v.data for v in row] for row in found] == [[2.0, 4.0], [6.0, 8.0]]
    assert tn.expand(Value(2.0, name="v")).name == "v"


def test_names_are_those_of_a_scalar_layer():
    layer = tn.nn.Linear(3, 2, of=Value, rng=0, number=1)
    assert [p.name for p in layer.parameters()][:6] == [element_name("w1", (i, j)) for i in range(2) for j in range(3)]
    assert element_name("w", (2, 0)) == "w3_1"


def test_too_large_a_graph_is_refused_with_its_size():
    w = Tensor(np.ones((100, 100)))
    loss = tn.sum(w @ w)
    with pytest.raises(ValueError, match=r"about 2,010,000 ops; at most 20,000 are expanded.*limit=2010000"):
        tn.expand(loss)
    with pytest.raises(TypeError, match="expand: got 3; expected a Value or Tensor"):
        tn.expand(3)
