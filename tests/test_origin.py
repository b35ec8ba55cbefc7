"""Calls of modules mark what they return, and keep nothing alive."""

from __future__ import annotations

import copy
import gc
import inspect
import pickle
import weakref

import numpy as np

import tinygrad_notes as tn
from tinygrad_notes.origin import nodes_in, origin_of


def test_a_call_marks_its_output_with_the_innermost_module():
    net = tn.nn.MLP([3, 4, 2], output=None, rng=0)
    x = tn.Tensor(np.ones((5, 3)), name="x")
    out = net(x)
    call = origin_of(out).call
    assert (call.kind, call.module) == ("Linear", net.layers[1])
    assert call.outer.module is net
    assert call.outer.inputs == [x]
    assert call.outer.outer is None


def test_lists_of_values():
    net = tn.nn.MLP([2, 3, 2], of=tn.Value, rng=0)
    x = [tn.Value(1.0), tn.Value(2.0)]
    calls = {origin_of(value).call for value in nodes_in(net(x))}
    (call,) = calls
    assert call.module is net
    assert call.inputs == x


def test_what_is_not_recorded_is_not_marked():
    net = tn.nn.MLP([2, 1], rng=0)
    with tn.no_grad():
        assert origin_of(net(np.ones((1, 2)))) is None


def test_a_parameter_that_is_returned_stays_a_leaf_without_origin():
    class Bias(tn.nn.Module):
        def __init__(self):
            self.b = tn.Tensor(np.ones(2))

        def __call__(self):
            return self.b

    assert origin_of(Bias()()) is None


def test_dropping_the_loss_frees_the_graph_even_where_the_module_keeps_its_output():
    class Keeping(tn.nn.Linear):
        def __call__(self, x):
            self.last = super().__call__(x)
            return self.last

    net = Keeping(3, 2, rng=0)
    gc.disable()
    try:
        loss = tn.sum(net(np.ones((1, 3))))
        alive = weakref.ref(loss), weakref.ref(net.last)
        del loss, net.last
        assert [ref() for ref in alive] == [None, None]
        module = weakref.ref(net)
        out = net(np.ones((1, 3)))
        del net
        gc.collect()  # it keeps its output, which keeps nothing of it
        assert origin_of(out).call.module is None
        assert module() is None
    finally:
        gc.enable()


def test_a_call_that_detaches_its_input_lets_it_go():
    class Step(tn.nn.Module):
        def __init__(self):
            self.w = tn.Tensor(np.ones(3))

        def __call__(self, h):
            return h.detach() * self.w

    step, h = Step(), tn.Tensor(np.ones(3))
    first = weakref.ref(h)
    for _ in range(3):
        h = step(h)
    assert first() is None
    assert origin_of(h).call.inputs == []


def test_copies_and_signatures():
    net = tn.nn.MLP([2, 1], rng=0)
    out = net(tn.Tensor(np.ones((1, 2))))
    for again in (copy.deepcopy(out), pickle.loads(pickle.dumps(out))):
        assert again.data.tolist() == out.data.tolist()
        assert origin_of(again).call is None
    assert list(inspect.signature(tn.nn.MLP.__call__).parameters) == ["self", "x"]
    assert tn.nn.MLP.__call__.__doc__.startswith("The network's output")
