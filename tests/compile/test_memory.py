"""Arguments are not written to; results are the caller's own: they alias nothing and do not change later."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from agreement import compiled
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import tinygrad_notes as tn
from tinygrad_notes.calculus import tree_leaves
from tinygrad_notes.compile import compile
from tinygrad_notes.testing import graphs
from tinygrad_notes.testing.programs import Program

BACKENDS = ["llvm", "numpy", "python"]
few = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])


def arrays_in(tree: Any) -> list[Any]:
    return [x for x in tree_leaves(tree) if isinstance(x, np.ndarray)]


def assert_apart(*trees: Any) -> None:
    """No array shares memory with another."""
    found = [x for tree in trees for x in arrays_in(tree)]
    for i, a in enumerate(found):
        for b in found[:i]:
            assert not np.may_share_memory(a, b)


VIEWS: dict[str, Any] = {
    "itself": lambda x: x,
    "twice": lambda x: (x, x),
    "with itself in a list": lambda x: [x, x * 1, x + 0],
    "transpose": lambda x: (x.T, x.T.T),
    "reshape": lambda x: (tn.reshape(x, shape=(-1,)), tn.reshape(x, shape=(3, 2))),
    "part": lambda x: (x[0], x[:, 1], x[::-1]),
    "broadcast": lambda x: tn.broadcast_to(x, shape=(2, 2, 3)),
    "of a result": lambda x: (y := tn.exp(x), y.T, y[0], y[0][1], tn.reshape(y, shape=(6,))),
    "of a sum": lambda x: (s := tn.sum(x, axis=0), tn.reshape(s, shape=(3, 1))),
    "gradient of a sum": tn.grad(tn.sum),
    "gradients": lambda x: tn.grad(lambda a, b: tn.sum(a + b), argnums=(0, 1))(x, x),
    "constant": lambda x: (tn.grad(lambda t: 3.0)(x), tn.broadcast_to(2.0 + 0 * tn.sum(x), shape=(2, 3))),
    "captured": lambda x: (CAPTURED, CAPTURED.T, x + CAPTURED),
}
CAPTURED = np.ones((2, 3))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", VIEWS)
def test_views_are_copies(name: str, backend: str) -> None:
    f = VIEWS[name]
    x = np.arange(6.0).reshape(2, 3)
    program = compiled(f, backend, x)
    if program is None:
        return
    first = program(x)
    second = program(x)
    assert_apart(first, second, x, CAPTURED)
    kept = [a.copy() for a in arrays_in(first)]
    for a in arrays_in(second):
        a[...] = np.nan  # a result is the caller's to write to
    program(x + 1)
    for a, b, c in zip(arrays_in(first), kept, arrays_in(program(x)), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
    np.testing.assert_array_equal(x, np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(CAPTURED, 1.0)


@pytest.mark.parametrize("backend", BACKENDS)
@few
@given(program=graphs(max_ops=8), scales=st.lists(st.sampled_from([0.5, 1.0, -1.0]), min_size=2, max_size=4))
def test_calls_do_not_touch_one_another(backend: str, program: Program, scales: list[float]) -> None:
    def f(*inputs: Any) -> Any:
        return program.run(*inputs), tn.grad(program, argnums=tuple(range(len(inputs))))(*inputs)

    found = compiled(f, backend, *program.inputs)
    if found is None:
        return
    results = []
    for scale in scales:
        inputs = [x * scale for x in program.inputs]
        for x in arrays_in(inputs):
            x.flags.writeable = False
        before = [np.copy(x) for x in inputs]
        results.append(found(*inputs))
        assert_apart(*results, list(inputs))
        for x, b in zip(inputs, before, strict=True):
            np.testing.assert_array_equal(x, b)
        again = found(*inputs)
        for a, b in zip(tree_leaves(results[-1]), tree_leaves(again), strict=True):
            np.testing.assert_array_equal(a, b)
    kept = [[np.copy(x) for x in arrays_in(r)] for r in results]
    found(*program.inputs)
    for r, k in zip(results, kept, strict=True):
        for x, y in zip(arrays_in(r), k, strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("backend", BACKENDS)
def test_arrays_of_every_layout(backend: str) -> None:
    def f(a: Any, b: Any) -> Any:
        return tn.value_and_grad(lambda a, b: tn.sum(tn.tanh(a) * b), argnums=(0, 1))(a, b)

    base = np.arange(48.0).reshape(6, 8) / 48
    expected = f(base[:2, :3].copy(), base[1:3, 2:5].copy())
    program = compile(f, backend=backend)
    strange = [] if backend == "python" else [base[:2, :3].astype(">f8")]
    misaligned = np.frombuffer(b"x" + base[:2, :3].tobytes(), np.float64, offset=1).reshape(2, 3)
    for a in (base[:2, :3], np.asfortranarray(base[:2, :3]), base[:2, :3].copy(), misaligned, *strange):
        for b in (base[1:3, 2:5], base[1:3, 2:5].T.copy().T):
            found = program(a, b)
            np.testing.assert_allclose(found[0], expected[0], rtol=1e-14)
            for g, e in zip(found[1], expected[1], strict=True):
                np.testing.assert_allclose(g, e, rtol=1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
def test_arrays_changed_in_place_between_calls(backend: str) -> None:
    program = compile(tn.grad(lambda w, x: tn.sum((w * x) ** 2)), backend=backend)
    w, x = np.ones(3), np.arange(3.0)
    for _ in range(3):
        np.testing.assert_allclose(program(w, x), 2 * w * x * x, rtol=1e-14)
        w -= 0.25
        x[1] += 1
    assert w.tolist() == [0.25] * 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_array_for_two_arguments(backend: str) -> None:
    program = compile(tn.grad(lambda a, b: tn.sum(a * b * b), argnums=(0, 1)), backend=backend)
    x, y = np.arange(3.0), np.ones(3)
    for a, b in [(x, y), (x, x), (y, x), (y, y)]:
        found = program(a, b)
        np.testing.assert_allclose(found[0], b * b, rtol=1e-14)
        np.testing.assert_allclose(found[1], 2 * a * b, rtol=1e-14)


def test_programs_are_let_go() -> None:
    import gc
    import weakref

    big = np.ones(1000)
    program = compile(lambda x: tn.sum(x * big))
    program(1.0)
    gone = weakref.ref(program)
    del program
    gc.collect()
    assert gone() is None
