"""Arrays changed in place after they entered a graph: `backward` says so, and names them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_notes as tn
from tinygrad_notes import mutation


def network(x=None):
    """A graph in which each array can be told from the others by who used it."""
    x = tn.Tensor(np.arange(6.0).reshape(3, 2) / 7 if x is None else x, name="x")
    w, b = tn.Tensor(np.ones((2, 3)), name="w"), tn.Tensor(np.ones((2, 1)), name="b")
    flat = w.reshape(-1)
    Z = (w @ x).named("Z")
    A = tn.tanh(Z + b).named("A")
    L = tn.sum(A * A) + tn.sum(flat * flat) + tn.sum(x * np.full((3, 2), 0.5))
    return {"x": x, "w": w, "b": b, "Z": Z, "A": A, "L": L}


def test_a_graph_that_nobody_changed_passes():
    for _ in range(2 * mutation.THEN):
        network()["L"].backward()


@pytest.mark.parametrize("name", ["x", "w", "b", "Z", "A"])
def test_the_changed_tensor_is_named(name):
    nodes = network()
    nodes[name].data[0, 0] += 1.0
    with pytest.raises(RuntimeError, match=f"^backward: Tensor {name} [^|]*was changed in place") as error:
        nodes["L"].backward()
    assert " or " not in str(error.value).partition("was changed")[0]
    assert all(node.grad is None for node in nodes.values())


@given(st.sampled_from(["x", "w", "b", "Z", "A"]), st.data())
def test_no_element_escapes(name, data):
    nodes = network()
    array = nodes[name].data
    place = data.draw(st.tuples(*(st.integers(0, n - 1) for n in array.shape)))
    array[place] = data.draw(st.sampled_from([array[place] + 1e-3, -array[place] - 1, np.nan, np.inf]))
    with pytest.raises(RuntimeError, match="changed in place"):
        mutation.check(tn.topological_order(nodes["L"]))


def test_the_users_own_array_and_constants():
    x, half = np.ones((3, 2)), np.full((3, 2), 0.5)
    L = tn.sum(tn.Tensor(x, name="x") * half)
    half[1] = 2
    with pytest.raises(RuntimeError, match=r"x \(3, 2\) of float64 or the constant array \(3, 2\)"):
        L.backward()
    nodes = network(x)
    x *= 2
    with pytest.raises(RuntimeError, match="Tensor x"):
        nodes["L"].backward()


def test_a_parameter_that_is_set_anew_before_backward():
    nodes = network()
    nodes["w"].data = nodes["w"].data * 0.5
    with pytest.raises(RuntimeError, match="Tensor w"):
        nodes["L"].backward()
    nodes = network()
    nodes["b"].data = np.ones((7, 7))
    with pytest.raises(RuntimeError, match="Tensor b"):
        nodes["L"].backward()


def test_where_the_graph_cannot_tell_all_are_named():
    u, v = tn.Tensor(np.ones(3), name="u"), tn.Tensor(np.ones(3), name="v")
    L = tn.sum(u * v)
    u.data += 1
    with pytest.raises(RuntimeError, match=r"Tensor u .* or Tensor v "):
        L.backward()


def test_changes_between_two_passes_are_what_training_is():
    x, w = np.ones((3, 2)), tn.Tensor(np.ones((2, 3)), name="w")
    for _ in range(40):
        L = tn.sum((w @ x) ** 2)
        w.zero_grad()
        L.backward()
        w.data -= 0.01 * w.grad
        x += 0.1


def test_an_op_with_chance_in_it_is_no_change():
    rng = np.random.default_rng(0)
    noisy = tn.elementwise("noisy", forward=lambda xp, x: x + rng.normal(size=x.shape), partials=lambda xp, y, x: (1,))
    w = tn.Tensor(np.ones(4), name="w")
    tn.sum(noisy(w)).backward()
    assert w.grad.tolist() == [1.0] * 4


def test_functions_that_change_their_own_arrays():
    def f(w):
        x = np.ones(3)
        y = tn.sum(w * x)
        x *= 2
        return y

    with pytest.raises(RuntimeError, match="changed in place after multiply"):
        tn.grad(f)(np.ones(3))


def test_every_pass_of_an_early_loop_and_then_some_are_checked():
    found = 0
    for k in range(10 * mutation.THEN):
        w = tn.Tensor(np.ones(3), name="w")
        L = tn.sum(w * w)
        if k >= mutation.FIRST:
            w.data *= 2
        try:
            L.backward()
        except RuntimeError:
            found += 1
    assert found == 10  # a line that starts to make the mistake late: one pass in so many


def test_anomaly_mode_checks_every_pass():
    for k in range(2 * mutation.THEN):
        with tn.detect_anomaly():
            w = tn.Tensor(np.ones(3), name="w")
            L = tn.sum(w * w)
            if k:
                w.data *= 2
                with pytest.raises(RuntimeError, match=r"after multiply \(test_mutation.py:\d+, in test_anomaly"):
                    L.backward()
            else:
                L.backward()


def test_pytorch_arrays():
    torch = pytest.importorskip("torch")
    x, w = torch.ones(3), tn.Tensor(torch.full((3,), 2.0), name="w")
    L = tn.sum(tn.exp(w) * x)
    L.backward()
    w.data.mul_(2)
    with pytest.raises(RuntimeError, match="Tensor w"):
        L.backward()
