"""Large graphs: a million nodes, time in proportion to the graph, and memory that is let go at once."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from typing import Any

import numpy as np
import pytest

import tinygrad_notes as tn
from tinygrad_notes import Tensor, Value
from tinygrad_notes.graph import Node

LONG_CHAIN = """
import gc, tracemalloc
from tinygrad_notes import Value
gc.collect()
gc.disable()
x = Value(1.0)
y = x
def lengthen(y, n):
    for _ in range(n // 2):
        y = y * 0.9999999
        y = y + x
    return y
tracemalloc.start()  # a tenth is enough to measure: it makes all slower
y = lengthen(y, 100_000)
forward = tracemalloc.get_traced_memory()[0] / 100_000
tracemalloc.stop()
y = lengthen(y, 900_000)
y.backward()
grad = x.grad
del y
assert gc.collect() == 0, "reference cycles"
print(forward, grad)
"""


def test_a_chain_of_a_million_values() -> None:
    """Forward, backward and release, without recursion; recorded, a node and its number take less than 130 bytes."""
    done = subprocess.run([sys.executable, "-c", LONG_CHAIN], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    size, gradient = map(float, done.stdout.split())
    assert size < 130
    r = 0.9999999
    assert gradient == pytest.approx(r**500_000 + (1 - r**500_000) / (1 - r), rel=1e-8)


def test_a_chain_of_a_hundred_thousand_tensors() -> None:
    x = Tensor([1.0, 2.0])
    y = x
    for _ in range(50_000):
        y = y * 0.9999
        y = y + x
    y.backward(np.ones(2))
    r = 0.9999
    np.testing.assert_allclose(x.grad, np.full(2, r**50_000 + (1 - r**50_000) / (1 - r)), rtol=1e-9)
    assert len(tn.topological_order(y)) == 100_001
    del y  # without recursion


def test_a_long_chain_of_the_other_passes() -> None:
    def f(v: Any) -> Any:
        for _ in range(5000):
            v = v * 0.9999 + 1e-3
        return v

    for start in (1.0, np.ones(2)):
        assert np.sum(tn.jvp(f, (start,), (start,))[1]) == pytest.approx(0.9999**5000 * np.size(start))
        total = lambda v: tn.sum(f(v)) if isinstance(v, Tensor) else f(v)  # noqa: E731
        assert np.sum(tn.hvp(total, (start,), (start,))) == 0.0


def test_forward_mode_takes_time_in_proportion_to_the_graph() -> None:
    """A structural op's tangent must not walk the whole history of its argument."""

    def f(x: Any) -> Any:
        for _ in range(1000):
            x = tn.log_softmax(x)  # its rule reads the result, and so leads into the history
        return x

    visits = 0
    before = tn.graph.topological_order

    def counted(*roots: Node) -> list[Node]:
        nonlocal visits
        found = before(*roots)
        visits += len(found)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tn.graph, "topological_order", counted)
        x = np.log([0.25, 0.75])
        tangent = tn.jvp(f, (x,), (np.array([4.0, 0.0]),))[1]
    np.testing.assert_allclose(tangent, [3.0, -1.0], rtol=1e-9)
    assert visits < 10 * 1000


@pytest.fixture
def _no_gc() -> Any:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_gc")
def test_no_reference_cycles() -> None:
    def train(x: Any, w: Any) -> None:
        y = tn.sum(tn.sigmoid(x * w + 1) ** 2)
        y.backward()
        tn.grad(lambda v: tn.sum(v * tn.exp(v)))(x.data)
        tn.jvp(lambda v: tn.sum(v * v), (x.data,), (x.data,))
        tn.hessian(lambda v: tn.sum(v**3))(x.data)
        tn.clip(x, min=0.0).sum().backward()
        tn.where(True, x, w).sum().backward()

    for x, w in ((Value(1.0), Value(2.0)), (Tensor([1.0, 2.0]), Tensor([3.0, 4.0]))):
        train(x, w)  # fills the caches
        gc.collect()
        train(x, w)
        assert gc.collect() == 0


@pytest.mark.usefixtures("_no_gc")
def test_dropping_the_loss_frees_the_graph() -> None:
    x = Tensor(np.ones(3))
    y = tn.exp(x)
    intermediate = weakref.ref(y)
    loss = tn.sum(y * 2)
    del y
    loss.backward()
    assert intermediate() is not None
    del loss
    assert intermediate() is None
    np.testing.assert_allclose(x.grad, 2 * np.exp(np.ones(3)))
