"""The first node that goes NaN or infinite is named, with its inputs and its line."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_notes as tn
from tinygrad_notes import Tensor, Value
from tinygrad_notes.draw import AnomalyError

pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")  # NumPy says it too


def unhappy(w, x):
    Z = (w @ x - np.array([[2.0, 1.0]])).named("Z")
    p = tn.log(Z)
    return tn.sum(p - p)


def test_the_first_node_is_named():
    w, x = Tensor([[1.0, 0.0]], name="w"), np.array([[2.0, 3.0], [1.0, 1.0]])
    with pytest.raises(AnomalyError) as caught, tn.detect_anomaly():
        unhappy(w, x)
    error = caught.value
    assert str(error).startswith(
        "log gave -∞ at [0, 0] (1 of 2 elements) in Tensor (1, 2) of float64, test_anomaly.py:"
    )
    assert ": p = tn.log(Z)\n  inputs: Z (1, 2) from 0 to 2" in str(error)
    assert error.line.function == "unhappy"
    assert error.path[0] is w
    assert [n.name for n in error.path[-2:]] == ["Z", None]
    source = error.draw().source
    assert source.count("#d50000") == 4 + 3


@pytest.mark.parametrize("loss", [tn.exp, lambda v: v * 1e308, lambda v: 1 / (v - 800), lambda v: tn.log(800 - v)])
def test_values(loss):
    v = Value(800.0, name="v")
    with pytest.raises(AnomalyError, match=r"inputs: .*(v = 800|0)"), tn.detect_anomaly():
        loss(v)


def test_a_nan_that_was_given():
    bad = Tensor([1.0, np.nan], name="bad")
    said = r"^bad \(2,\) from 1 to 1, 1 not finite is NaN already where multiply uses it"
    with pytest.raises(AnomalyError, match=said), tn.detect_anomaly():
        bad * 2


def test_an_infinity_that_was_given_is_let_through():
    scores = Tensor([1.0, 2.0], name="scores")
    with tn.detect_anomaly():
        masked = tn.where(np.array([True, False]), scores, -np.inf)
        p = tn.softmax(masked)
        tn.sum(p * p).backward()
    assert np.isfinite(scores.grad).all()


def test_gradients():
    a = Tensor([0.0, 1.0], name="a")
    with tn.detect_anomaly():
        loss = tn.sum(tn.sqrt(a))
        with pytest.raises(
            AnomalyError, match=r"^backward: the vjp of sqrt gave ∞ at \[0\] .* gradient of a .*test_anomaly"
        ):
            loss.backward()
    v = Value(0.0, name="v")
    with tn.detect_anomaly():
        loss = tn.sqrt(v)
        with pytest.raises(AnomalyError, match="vjp of sqrt gave ∞ for the gradient of v = 0"):
            loss.backward()


def test_what_is_not_recorded_is_watched_too():
    with pytest.raises(AnomalyError, match="log gave -∞"), tn.detect_anomaly(), tn.no_grad():
        tn.log(Tensor([0.0]))


def test_outside_nothing_is_watched():
    with tn.detect_anomaly():
        tn.exp(Value(1.0))
    assert tn.exp(Value(800.0)).data == np.inf
    assert np.isinf(tn.log(Tensor([0.0])).data).all()


def test_results_are_the_same_within():
    def run():
        net = tn.nn.MLP([3, 4, 1], rng=0)
        loss = tn.nn.binary_cross_entropy(np.ones((2, 1)), net(np.ones((2, 3))))
        scalar = tn.nn.MLP([2, 2, 1], of=Value, rng=0)
        total = loss + tn.sum(tn.stack(scalar([0.5, -0.5])))
        total.backward()
        return [total.data.tolist(), *(np.asarray(p.grad).tolist() for m in (net, scalar) for p in m.parameters())]

    plain = run()
    with tn.detect_anomaly():
        assert run() == plain
    with tn.record_lines():
        assert run() == plain


@pytest.mark.parametrize("library", ["torch", "jax.numpy"])
def test_other_libraries(library):
    xp = pytest.importorskip(library)
    x = Tensor(xp.asarray(np.array([1.0, 0.0], dtype=np.float32)), name="x")
    with pytest.raises(AnomalyError, match=r"log gave -∞ at \[1\]"), tn.detect_anomaly():
        tn.log(x)
