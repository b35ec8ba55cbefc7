"""Results have the dtype that the engine gives, on every back end, in loops and in maps; a number is Python's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_notes as tn
from tinygrad_notes.calculus import tree_leaves
from tinygrad_notes.compile import compile
from tinygrad_notes.graph import is_node

from .agreement import BACKENDS, compiled

DTYPES = ["float64", "float32", "float16", "int64", "int8", "bool", ">f4"]
OUTSIDE, NODE = np.array([1.0, 2.0, 3.0], np.float32), tn.Value(2.0)


def plain(x: Any) -> Any:
    """A result: an array, or a number of Python's."""
    x = x.data if is_node(x) else x
    return x.item() if isinstance(x, (np.ndarray, np.generic)) and not x.shape else x


def plain_dtype(x: Any) -> Any:
    """The dtype of a result; a `Value` is a float."""
    return getattr(x, "dtype", np.dtype(float))


def same(f: Callable[..., Any], *args: Any) -> None:
    """Check that every back end gives the numbers, the dtypes and the kinds of numbers that f gives."""
    with np.errstate(all="ignore"):
        expected = [plain(y) for y in tree_leaves(f(*args))]
    for backend in BACKENDS:
        program = compiled(f, backend, *args)
        for _ in range(2 if program is not None else 0):
            for y, wanted in zip(tree_leaves(program(*args)), expected, strict=True):
                assert type(y) is type(wanted), f"{backend}: {y!r}, not {wanted!r}"
                assert getattr(y, "dtype", None) == getattr(wanted, "dtype", None), f"{backend}: {y!r}, not {wanted!r}"
                tolerance = 1e-2 if getattr(wanted, "dtype", None) == np.float16 else 2e-6
                np.testing.assert_allclose(y, wanted, rtol=tolerance, err_msg=backend)


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda x: [x, x],
    "constants": lambda x: (x + 1, x * 2.5, x / 2),
    "twice": lambda x: (x + x, x + x + x, 2 * (x + x)),
    "scaled": lambda x: ((3 * x) * 2, (2.5 * x) * 2, 2 * (x * 3)),
    "powers": lambda x: (x**2, x**2.0, x**1.0, x**3),
    "choices": lambda x: (tn.where(x > 1, x, x + 1), tn.where(x > 1, 1, 0), tn.where(x > 1, 1.0, 0.0)),
    "extremes": lambda x: (tn.maximum(x, 2), tn.max(x), tn.min(x), tn.argmax(x)),
    "sums": lambda x: (tn.sum(x), tn.mean(x), tn.sum(x > 1), tn.cumulative_sum(x, axis=0)),
    "masks": lambda x: (x > 1, tn.logical_not(x > 1), (x > 1) * x, tn.square(x > 1)),
    "moves": lambda x: (x[::-1], x.T, tn.reshape(x, shape=(3, 1)), tn.concat([x, x])),
    "functions": lambda x: (tn.exp(x), tn.tanh(x) * x),
    "arrays outside": lambda x: x * OUTSIDE,
    "an outer number": lambda x: x * NODE,
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_arrays(name: str, dtype: str) -> None:
    if (name, dtype) != ("powers", "bool"):  # of which NumPy makes int8 for 2 and int64 for 3
        same(FUNCTIONS[name], np.array([1, 0, 3]).astype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_negatives(dtype: str) -> None:
    if dtype != "bool":  # which NumPy does not negate
        same(lambda x: (-x, -(3 * x), -(x + x), abs(x)), np.array([1, 0, 3]).astype(dtype))


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "bool"])
def test_elements(dtype: str) -> None:
    """Truth values are counted as Python counts them, and are floats then."""
    x = np.array([1, 0, 3]).astype(dtype)
    same(lambda x: (x[0], x[0] * 2, x[0] + x[2], x[0] > x[1], tn.stack([x[0], x[2]]), tn.maximum(x[0], 2)), x)


def test_elements_that_are_truth_values() -> None:
    f = lambda m, x: (tn.where(m[0], x, -x), m[1], tn.stack([m[1], m[0]]), m[0] * 2)  # noqa: E731
    for backend in BACKENDS:
        assert compile(lambda m: abs(m[-1]), backend=backend)(np.array([True, False])) == 0.0
        found = compile(f, backend=backend)(np.array([True, False]), 3.0)
        assert (found[0], found[1], found[2].tolist(), found[3]) == (3.0, False, [False, True], 2.0)
        assert found[2].dtype == bool


def test_numbers_of_python_take_the_dtype_of_arrays() -> None:
    x, y = np.array([1.0, 2.0], np.float32), np.array([1.0, 2.0])
    same(lambda x, a: (x * a, x * (2 * a + 1), x * tn.exp(a), x + tn.where(a > 1, a, 0.0), x / a), x, 2.0)
    same(lambda x, y: (x * y[1], x * tn.sum(y)), x, y)  # those of NumPy do not
    same(lambda x, a: x * a, x, np.float64(2.0))
    same(lambda x, a: x * a, x, np.float32(2.0))
    same(tn.value_and_grad(lambda x, a: tn.sum(x * a), argnums=(0, 1)), x, 2.0)
    same(lambda x, a: x * tn.grad(lambda b: b**3)(a), x, 2.0)
    same(tn.value_and_grad(lambda p, x: tn.sum((p["w"] * x + p["b"]) ** 2)), {"w": 2.0, "b": 0.5}, x)


def test_whole_numbers_that_no_float_holds() -> None:
    same(lambda x: (x + 1, x * 2, x[0] + 1), np.array([2**60 + 1, 2]))
    same(lambda x: (x * x, x + x, tn.sum(x)), np.array([2**30, 2], np.int32))
    same(lambda x: (x + x, x * 3), np.array([100, -100], np.int8))
    same(lambda x: tn.fori(3, lambda k, s: s + 1, x), np.array([2**63, 2], np.uint64))


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "bool"])
@pytest.mark.parametrize("samples", [5, 70])
def test_maps(samples: int, dtype: str) -> None:
    x = (np.arange(samples) % 5).astype(dtype)
    same(tn.vmap(lambda v: (v, v * 2, v > 1, v / 2)), x)
    same(tn.vmap(lambda v: v * 2 + v[0]), x.repeat(2).reshape(-1, 2))
    same(tn.vmap(lambda v: 2.5 * v[0] + v[1]), x.repeat(2).reshape(-1, 2))


@pytest.mark.parametrize("samples", [5, 70])
def test_maps_that_depend_on_no_sample(samples: int) -> None:
    x, w = np.ones((samples, 2)), np.array([1.0, 2.0, 3.0])
    same(tn.vmap(lambda v, w: (w, w * 2, tn.sum(w)), in_axes=(0, None)), x, w)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_by_the_samples_of_a_map(backend: str) -> None:
    x = np.random.default_rng(0).normal(size=(70, 3))
    f = tn.vmap(tn.grad(lambda v: tn.sum(v * v * v[0])))
    np.testing.assert_allclose(compile(f, backend=backend)(x), f(x), rtol=1e-12)


@pytest.mark.parametrize("samples", [5, 70])
def test_maps_to_constants(samples: int) -> None:
    same(tn.vmap(lambda v: (3, True, 2.5, tn.where(v > 1, 1, 0))), np.arange(float(samples)))


# --- loops ------------------------------------------------------------------------------------------------------------

A = np.arange(1, 5) / 4
SINGLE, COUNTS, MASK = A.astype(np.float32), np.arange(1, 5), np.array([True, False, True, True])
LOOPS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "a truth value": (lambda x: tn.fori(3, lambda k, s: (s[0] * x, s[1]), (x, True)), (1.5,)),
    "a truth value that is computed": (lambda x: tn.fori(3, lambda k, s: (s[0] * x, s[0] > 2), (x, False)), (1.5,)),
    "a truth value alone": (lambda x: tn.fori(3, lambda k, s: tn.logical_not(s), x > 1), (1.5,)),
    "truth values": (lambda x: tn.fori(3, lambda k, s: (tn.where(s[1], 2 * s[0], x), s[0] > 1), (x, x > 0)), (A,)),
    "truth values as parts": (lambda m: tn.scan(lambda s, a: (tn.logical_or(s, a), s), False, m), (MASK,)),
    "truth values as outputs": (lambda x: tn.scan(lambda s, a: (s + a, s > 1), x, A), (0.5,)),
    "masks as outputs": (lambda x: tn.scan(lambda s, a: (s + a, s > 1), x, np.ones((3, 4))), (A,)),
    "a whole number": (lambda x: tn.fori(3, lambda k, s: (s[0] * x, s[1] + 1), (x, 0)), (1.5,)),
    "a whole number alone": (lambda x: tn.fori(3, lambda k, s: 2 * s + 1, 0), (1.5,)),
    "a whole number that becomes a float": (lambda x: tn.fori(3, lambda k, s: s + x, 0), (1.5,)),
    "one that becomes a float32": (lambda x: tn.fori(3, lambda k, s: s + tn.sum(x), 0), (SINGLE,)),
    "one that becomes NumPy's": (lambda x: tn.fori(3, lambda k, s: s + x[1], 0), (COUNTS,)),
    "one that is counted with arrays": (lambda x: tn.fori(3, lambda k, s: (s[0] + s[1], s[1] + 1), (x, 1)), (COUNTS,)),
    "the step with whole numbers": (lambda x: tn.fori(3, lambda k, s: s + k, x), (COUNTS,)),
    "the step with float32": (lambda x: tn.fori(3, lambda k, s: s * 2 + k, x), (SINGLE,)),
    "the step within an inner loop": (
        lambda x: tn.fori(2, lambda i, s: tn.fori(3, lambda j, t: (t[0] * x + i * j, t[1] + i + j), s), (x, 0)),
        (SINGLE,),
    ),
    "whole numbers": (lambda x: tn.fori(3, lambda k, s: s + 1, x), (COUNTS,)),
    "whole numbers that become floats": (lambda x: tn.fori(3, lambda k, s: s * 0.5, x), (COUNTS,)),
    "whole numbers as parts": (lambda x, i: tn.scan(lambda s, a: (s + a, a), x, i), (0.5, COUNTS)),
    "whole numbers as outputs": (lambda x, i: tn.scan(lambda s, a: (s + 1, [a + 1, s * 2, 3]), 0, i), (0.5, COUNTS)),
    "places": (lambda x: tn.scan(lambda s, a: (s + tn.argmax(a), tn.argmax(a)), 0, x), (np.eye(3),)),
    "float32": (
        lambda x, y: tn.scan(lambda s, a: (s + a, (a * 2, tn.sum(a))), x, y),
        (SINGLE, np.outer(SINGLE, SINGLE)),
    ),
    "numbers of float32": (lambda x: tn.scan(lambda s, a: (s + a, a * 2), x[0], x), (SINGLE,)),
    "another order of bytes": (lambda x: tn.scan(lambda s, a: (s * 2 + a, a), x, x), (A.astype(">f8"),)),
    "constants as outputs": (lambda x: tn.scan(lambda s, a: (s + a, {"a": 3, "b": True, "c": 0.5}), x, A), (0.5,)),
    "used afterwards": (lambda x: x * tn.fori(3, lambda k, s: (s[0] + 1, s[1] * 0.5), (0, 1.0))[0], (SINGLE,)),
    "exchanged": (lambda x: tn.fori(3, lambda k, s: (s[1], s[0]), (x, 2 * x)), (SINGLE,)),
}


@pytest.mark.parametrize("name", LOOPS)
def test_loops(name: str) -> None:
    f, args = LOOPS[name]
    same(f, *args)


@pytest.mark.parametrize("backend", ["llvm", "numpy"])
@pytest.mark.parametrize("name", [n for n in LOOPS if "truth" in n or "whole" in n or "float32" in n or "step" in n])
def test_gradients_through_loops(name: str, backend: str) -> None:
    f, args = LOOPS[name]
    if np.asarray(args[0]).dtype.kind != "f":
        return

    def loss(*args: Any) -> Any:
        parts = [y for y in tree_leaves(f(*args)) if type(y) not in (bool, int) and plain_dtype(y).kind == "f"]
        return sum((tn.sum(y * y) for y in parts), tn.sum(args[0] * args[0]))

    for transform in (tn.value_and_grad, tn.hessian):
        expected, found = transform(loss)(*args), compile(transform(loss), backend=backend)(*args)
        for y, wanted in zip(tree_leaves(found), tree_leaves(expected), strict=True):
            assert getattr(y, "dtype", float) == getattr(wanted, "dtype", float)
            np.testing.assert_allclose(y, wanted, rtol=2e-5)


def test_a_mask_of_a_loop_that_a_gradient_passes_by() -> None:
    def f(x: Any) -> Any:
        last, masks = tn.scan(lambda s, a: (s * x + a, s > 1), x, A)
        return tn.sum(last) + tn.sum(tn.where(masks, x, 2 * x))

    same(tn.value_and_grad(f), A)


def test_states_that_become_another_thing_are_refused() -> None:
    for body, start in [(lambda k, s: s > 1, 2.0), (lambda k, s: s + 1, True), (lambda k, s: s * A, SINGLE)]:
        with pytest.raises(TypeError, match=r"after a step .*; expected the same\. Start from"):
            compile(lambda x, body=body: tn.fori(2, body, x))(start)


def test_a_whole_number_that_grows_beyond_floats_is_refused() -> None:
    assert compile(lambda x: tn.fori(33, lambda k, s: s * 3, 1))(1.0) == 3**33
    with pytest.raises(OverflowError, match=r"whole number in the state of a loop .* 2\^53"):
        compile(lambda x: tn.fori(40, lambda k, s: s * 3, 1))(1.0)


@settings(max_examples=30)
@given(st.data())
def test_states_of_every_kind(data: st.DataObject) -> None:
    """A state of numbers and arrays of several kinds, each of which a step changes in a way of its own."""
    kinds = {
        "float": (0.5, lambda s, a: s * 0.5 + a),
        "int": (1, lambda s, a: s + 2),
        "bool": (True, lambda s, a: a > 0.5),
        "float32": (SINGLE, lambda s, a: s * 2),
        "ints": (COUNTS, lambda s, a: s + 3),
        "mask": (MASK, lambda s, a: tn.logical_not(s)),
        "none": (None, lambda s, a: None),
    }
    names = data.draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, max_size=4))
    steps = data.draw(st.integers(1, 4))

    def f(x: Any) -> Any:
        step = lambda s, a: ([kinds[n][1](v, a) for n, v in zip(names, s, strict=True)], [v for v in s])  # noqa: C416, E731
        return tn.scan(step, [kinds[n][0] for n in names], x)

    same(f, np.linspace(0, 1, steps))


def test_truth_values_of_many_elements() -> None:
    """They are computed again where they are used, which a long reduction of them would do without end."""
    same(lambda x: (tn.max(x > 0), tn.min(x > 0), 2 - (x > 0), tn.logical_or(2 - (x > 0), x)), np.arange(600))


def test_a_single_truth_value_beside_an_array_is_what_numpy_makes_of_it() -> None:
    m, x = np.array([True, False, True]), np.array([1, 2, 3])
    same(lambda m, x: (m[0] + m, m[1] * x, tn.minimum(m, m[0]), m[0] + x), m, x)


def test_a_division_by_a_number_that_is_zero() -> None:
    x = np.linspace(0, 1, 600)
    same(lambda x: (1 / tn.sum(tn.exp(x) * 0.0), tn.sum(tn.exp(x)), tn.divide(1.0, tn.where(x[0] > 1, 1.0, 0.0))), x)
