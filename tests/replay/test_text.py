"""The log as text, whole; and how numbers, names and formulas stand in it."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_notes as tn
from tinygrad_notes.notes import residual, two_layer


def perceptron():
    w, b = tn.Value(0.8, name="w"), tn.Value(0.1, name="b")
    a = tn.sigmoid((w * 0.5 + b).named("Z")).named("a")
    return tn.nn.binary_cross_entropy(1.0, a).named("L")


def shared():
    x = tn.Value(2.0, name="x")
    Z = (3.0 * x).named("Z")
    return (Z + (Z * Z).named("s")).named("L")


PERCEPTRON = """\
forward: each node is computed after its arguments
  1. w = 0.8 is a parameter.
  2. v1 = w * 0.5 = 0.4.
  3. b = 0.1 is a parameter.
  4. Z = v1 + b = 0.5.
  5. a = sigmoid(Z) = 0.6225.
  6. L = cross_entropy(1, a) = 0.4741.

backward: each node hands on its gradient after all that use it have handed on theirs
  7. ∂L/∂L = 1
     to a: −1 / a = −1.607; gives ∂L/∂L · (−1 / a) = −1.607
  8. ∂L/∂a = −1.607
     to Z: a · (1 − a) = 0.235; gives ∂L/∂a · a · (1 − a) = −0.3775
  9. ∂L/∂Z = −0.3775
     to v1: 1; gives ∂L/∂Z = −0.3775
     to b: 1; gives ∂L/∂Z = −0.3775
 10. ∂L/∂v1 = −0.3775
     to w: 0.5; gives ∂L/∂v1 · 0.5 = −0.1888
 11. ∂L/∂w = −0.1888
 12. ∂L/∂b = −0.3775"""

SHARED = """\
backward: each node hands on its gradient after all that use it have handed on theirs
  5. ∂L/∂L = 1
     to Z: 1; gives ∂L/∂L = 1; sum 1, 2 more to come
     to s: 1; gives ∂L/∂L = 1
  6. ∂L/∂s = 1
     to Z: Z = 6; gives ∂L/∂s · Z = 6; sum 7, 1 more to come
     to Z: Z = 6; gives ∂L/∂s · Z = 6; sum 13
  7. ∂L/∂Z = 1 from L + 6 from s + 6 from s = 13
     to x: 3; gives ∂L/∂Z · 3 = 39
  8. ∂L/∂x = 39"""

DEPTH_FIRST = """\
backward, depth-first: each node hands on its gradient as soon as it is reached
  5. ∂L/∂L = 1
     to Z: 1; gives ∂L/∂L = 1; sum 1, 2 more to come
     to s: 1; gives ∂L/∂L = 1
  6. ∂L/∂Z = 1
     Only 1 of 3 contributions has reached Z, and it hands on what it has.
     That is wrong; the right ∂L/∂Z is 13.
     to x: 3; gives ∂L/∂Z · 3 = 3
  7. ∂L/∂x = 3
     x is a leaf: all contributions have arrived.
     That is wrong; the right ∂L/∂x is 39.
  8. ∂L/∂s = 1
     to Z: Z = 6; gives ∂L/∂s · Z = 6; sum 7, 1 more to come; too late: Z has handed on already
     to Z: Z = 6; gives ∂L/∂s · Z = 6; sum 13; too late: Z has handed on already"""


def test_perceptron():
    assert tn.replay(perceptron()).text() == PERCEPTRON


def test_a_shared_node_in_both_orders():
    log = tn.replay(shared())
    assert log.text().partition("\n\n")[2] == SHARED
    assert log.text(naive=True).partition("\n\n")[2] == DEPTH_FIRST


def network(forward, **shapes):
    rng = np.random.default_rng(1)
    leaves = {
        name: tn.Tensor(rng.normal(size=shape), name=name, requires_grad=name not in "xy")
        for name, shape in shapes.items()
    }
    known = forward(**{**leaves, "y": tn.Tensor((leaves["y"].data > 0) * 1.0, name="y", requires_grad=False)})
    return known["L"], {**leaves, **known}


def test_two_layers_by_the_letters_of_the_notes():
    loss, names = network(two_layer.forward, x=(2, 3), y=(1, 3), w1=(4, 2), b1=(4, 1), w2=(1, 4), b2=(1, 1))
    text = " ".join(tn.replay(loss, names=names).text().replace(";", "").split())
    for line in ["Z1 = v1 + b1", "a1 = sigmoid(Z1)", "Z2 = v2 + b2", "a2 = sigmoid(Z2)", "to w2: g ↦ g a1ᵀ gives"]:
        assert line in text
    assert "to a1: g ↦ w2ᵀ g gives w2ᵀ ∂L/∂v2 = " in text
    assert "to b2: 1 gives Σ ∂L/∂Z2 = " in text
    assert "1 − a" not in text.replace("(1 − a1)", "").replace("(1 − a2)", "")
    assert tn.replay(loss).text() == tn.replay(loss, names=names).text()  # the letters are found without names, too


def test_residual_says_what_the_right_gradients_are():
    loss, names = network(residual.forward, x=(2, 3), y=(1, 3), w=(1, 2), b=(1, 1))
    log = tn.replay(loss, names=names)
    text = log.text(naive=True)
    assert "too late: Z has handed on already" in text
    for name in ("w", "b", "Z"):
        assert f"That is wrong; the right ∂L/∂{name} is " in text
    assert "wrong" not in log.text()


def test_large_arrays_are_summarised():
    w = tn.Tensor(np.linspace(-1.0, 2.0, 5000).reshape(50, 100), name="w")
    text = tn.replay(tn.sum(w * w).named("L")).text()
    assert "w = (50, 100), from −1 to 2 is a parameter." in text
    assert len(text) < 1500


@pytest.mark.parametrize(
    ("data", "said"),
    [([np.nan, 1.0], "[NaN, 1]"), ([-0.0, -np.inf], "[0, −∞]"), ([[[1.0]], [[2.5]]], "(2, 1, 1), from 1 to 2.5")],
)
def test_odd_numbers(data, said):
    assert f"w = {said} is a parameter." in tn.replay(tn.sum(tn.Tensor(data, name="w"))).text()


def test_an_infinite_summary_counts_what_is_not_finite():
    data = np.ones((4, 5))
    data[0, :2] = np.inf, np.nan
    assert "w = (4, 5), all 1, 2 not finite is a parameter." in tn.replay(tn.sum(tn.Tensor(data, name="w"))).text()


def test_nodes_without_names_are_numbered_around_the_names_there_are():
    x = tn.Value(2.0, name="v1")
    text = tn.replay(tn.exp(tn.sin(x) * 3.0)).text()
    assert "v2 = sin(v1) = " in text
    assert "v3 = v2 * 3 = " in text
    assert "L = exp(v3) = " in text


def test_a_number_is_no_name():
    x = tn.Value(3.0)
    k = 2.0
    assert "L = x * 2 = 6." in tn.replay(x * k, names={"x": x, "k": k}).text()


def test_parameters_of_an_op_are_told():
    w = tn.Tensor([[1.0, 2.0]], name="w")
    assert "s = sum(w, axis=1) = [3]." in tn.replay(tn.sum(tn.sum(w, axis=1).named("s"))).text()


def test_torch_arrays():
    torch = pytest.importorskip("torch")
    w = tn.Tensor(torch.tensor([1.0, 2.0]), name="w")
    text = tn.replay(tn.sum(w * w).named("L")).text()
    assert "∂L/∂w = [1, 2] from v1 + [1, 2] from v1 = [2, 4]" in text
