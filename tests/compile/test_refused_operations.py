"""What Python and NumPy can do with a number and no op stands for is refused, by name and line, wherever it stands."""

from __future__ import annotations

import collections
import copy
import dataclasses
import functools
import inspect
import math
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_notes as tn
from tinygrad_notes.compile import compile
from tinygrad_notes.compile.trace import TraceError

ARRAY = np.array([1.5, 2.5, 3.5])
PLACES = np.array([2, 0])
OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "hash": hash,
    "a set": lambda x: len({x, x * 2}),
    "a key": lambda x: {x: 1.0},
    "a look-up": {1.5: 2.0}.get,
    "in a set": lambda x: x in {1.5, 2.5},
    "a cache": functools.lru_cache(lambda x: x * 2),
    "trunc": math.trunc,
    "floor": math.floor,
    "ceil": math.ceil,
    "round": round,
    "floordiv": lambda x: x // 2,
    "rfloordiv": lambda x: 2 // x,
    "mod": lambda x: x % 2,
    "rmod": lambda x: 2 % x,
    "divmod": lambda x: divmod(x, 2),
    "rdivmod": lambda x: divmod(2, x),
    "shift": lambda x: x << 1,
    "xor": lambda x: x ^ True,
    "pickle": pickle.dumps,
    "a slice": lambda x: ARRAY[:x],
    "np.floor": np.floor,
    "np.mod": lambda x: np.mod(x, 2),
    "np.round": np.round,
    "np.isnan": np.isnan,
    "np.sort": np.sort,
}


@pytest.mark.parametrize("kind", ["a number", "an element", "an array", "the state of a loop", "a sample"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_what_no_op_stands_for(name: str, kind: str) -> None:
    operation = OPERATIONS[name]

    def f(x: Any) -> Any:
        if kind == "the state of a loop":
            return tn.fori(2, lambda k, s: operation(s), x)
        if kind == "a sample":
            return tn.vmap(lambda v: operation(v))(x)  # noqa: PLW0108  # a line of the user's
        return operation(x[0] if kind == "an element" else x)

    given = {"a number": 1.5, "the state of a loop": 1.5, "a sample": np.ones(70)}.get(kind, ARRAY)
    with pytest.raises(TraceError, match=r"compile: .* at .*test_refused_operations\.py:\d+") as caught:
        compile(f)(given)
    assert any(advice in str(caught.value) for advice in ("static", "tn.where", "a name")), str(caught.value)
    assert not any(word in str(caught.value) for word in ("StandIn", "Symbol", "Number"))


INDICES: dict[str, Callable[[Any, Any], Any]] = {
    "take": tn.take,
    "take along an axis": lambda x, i: tn.take(x, i, axis=0),
    "of an array outside": lambda x, i: tn.take(ARRAY, i),
    "of a node outside": lambda x, i: tn.take(tn.Tensor(ARRAY), i),
    "an index of a node outside": lambda x, i: tn.Tensor(ARRAY)[i],
    "an index of an array outside": lambda x, i: ARRAY[i],
    "np.take": np.take,
    "x[i]": operator.getitem,
    "x[i, :]": lambda x, i: tn.stack([x, x])[:, i],
    "the data": lambda x, i: tn.take(x, i.data),  # which is a stand-in
}


@pytest.mark.parametrize("name", INDICES)
def test_an_index_that_is_traced(name: str) -> None:
    with pytest.raises(TraceError, match=r"test_refused_operations\.py:\d+.*static"):
        compile(lambda x, i: INDICES[name](x, i))(ARRAY, PLACES)  # noqa: PLW0108  # a line of the user's
    if name != "the data":
        found = compile(lambda x, i: INDICES[name](x, np.asarray(i)), static=1)(ARRAY, (2, 0))
        expected = INDICES[name](ARRAY, PLACES)
        np.testing.assert_array_equal(found, expected.data if isinstance(expected, tn.Tensor) else expected)


def test_a_loop_over_a_number_is_refused() -> None:
    for use in (list, sum, lambda x: [*x]):
        with pytest.raises(TraceError, match="a loop over a single traced number"):
            compile(lambda x, use=use: use(x))(1.0)


def test_bits_of_numbers_are_refused_as_by_the_engine() -> None:
    for use in (lambda x: ~x, lambda x: x & 1, lambda x: 1 | x):
        with pytest.raises(TypeError, match="expected booleans"):
            compile(use)(1.0)
    assert compile(lambda x: ~(x > 1) | (x < 3) & True)(2.0) is True


@dataclasses.dataclass
class Pair:
    a: Any


RESULTS: dict[str, Callable[[Any], Any]] = {
    "a generator": lambda x: (a * 2 for a in x),
    "a map": lambda x: map(abs, x),
    "the values of a dict": lambda x: {"a": x}.values(),
    "a queue": lambda x: collections.deque([x]),
    "an object": Pair,
    "a function": lambda x: lambda: x,
    "a slice": slice,
    "inside of a tuple": lambda x: (x, [Pair(x)]),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_that_may_hold_what_is_traced(name: str) -> None:
    kind = r"the function returned a \w+; expected numbers, arrays, strings, and lists"
    with pytest.raises(TraceError, match=kind):
        compile(RESULTS[name])(ARRAY)


def test_a_number_of_numpy_is_refused_as_a_result() -> None:
    with pytest.raises(TraceError, match=r"np\.float64.*would stay the same"):
        compile(lambda x: (x, ARRAY.mean()))(1.0)


def test_plain_results_stay_what_they_are() -> None:
    plain = {"a": True, "b": "text", "c": None, "d": [2, 2.5], "e": float, "f": b"bytes"}
    assert compile(lambda x: plain)(1.0) == plain


def test_copies_of_what_is_traced_are_the_same() -> None:
    f = compile(lambda x: copy.copy(x) + copy.deepcopy([x])[0])
    assert f(1.5) == 3.0
    np.testing.assert_array_equal(f(ARRAY), 2 * ARRAY)


@pytest.mark.parametrize("node", [tn.Value(2.0), tn.Tensor([2.0, 3.0])], ids=["Value", "Tensor"])
def test_the_gradient_of_a_captured_node(node: Any) -> None:
    tn.sum(node * node).backward()
    before = node.grad
    uses: list[Callable[[Any], Any]] = [
        lambda x: x * node.grad,
        lambda x: tn.fori(2, lambda k, s: s + node.grad, x),
        lambda x: (setattr(node, "grad", None), x)[1],
        tn.grad(lambda x: tn.sum(x * node.grad)),
    ]
    for use in uses:
        with pytest.raises(TraceError, match=r"grad of (Value|Tensor)"):
            compile(use)(1.5)
    with pytest.raises(TraceError, match=r"\.grad of Tensor.*test_refused_operations\.py:\d+.*tn\.value_and_grad"):
        compile(lambda x: tn.Tensor([1.0]).grad)(1.5)
    assert node.grad is before  # outside it is what it was
    node.zero_grad()


def test_an_optimiser_in_a_compiled_function() -> None:
    w = tn.Tensor([1.0, 2.0])
    tn.sum(w * w).backward()
    sgd, before = tn.optim.SGD([w], lr=0.1), (w.data, w.grad)
    for use in (sgd.step, sgd.zero_grad, w.zero_grad):
        with pytest.raises(TraceError, match=r"assigned to the (data|grad) of Tensor"):
            compile(lambda x, use=use: (use(), tn.sum(w * x))[1])(2.0)
    assert w.data is before[0]
    assert w.grad is before[1]
    sgd.step()
    assert w.data.tolist() == [0.8, 1.6]


def test_shapes_in_errors_are_those_of_arrays() -> None:
    with pytest.raises(ValueError, match=r"add: given array \(3,\) of float64 and array \(4,\) of int64"):
        compile(lambda a, b: a + b)(np.ones(3), np.ones(4, int))


def test_every_refusal_is_one_line_of_text() -> None:
    for name, advice in vars(inspect.getmodule(TraceError)).items():
        if name.isupper() and isinstance(advice, str) and name != "PACKAGE":
            assert advice.endswith((".", ")."))
            assert "\n" not in advice
