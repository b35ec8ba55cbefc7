"""The quick way into small programs: results that somebody holds are left alone, free ones are used again."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import tinygrad_notes as tn
from tinygrad_notes.compile import compile

pytest.importorskip("llvmlite")
from tinygrad_notes.compile.native import desk
from tinygrad_notes.compile.results import MOST

pytestmark = pytest.mark.skipif(not desk.POSSIBLE, reason="counts of references are CPython's")


def f(W: Any, x: Any) -> Any:
    total = 0.0
    for sample in x:
        total = total + tn.tanh(sum(w * q for w, q in zip(W, sample, strict=True))) ** 2
    return total


def make() -> tuple[Any, Any, Any]:
    random = np.random.default_rng(0)
    W, x = random.normal(size=3), random.normal(size=(12, 3))
    step = compile(tn.value_and_grad(f), backend="llvm")
    step(W, x)
    return step, W, x


def entered(step: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the quick way in gives from now on."""
    table, found = step._plan.desk, []
    enter = table.enter

    def noted() -> int:
        found.append(enter())
        return found[-1]

    monkeypatch.setattr(table, "enter", noted)
    return found


def test_calls_go_the_quick_way_and_use_memory_again(monkeypatch: pytest.MonkeyPatch) -> None:
    step, W, x = make()
    found = entered(step, monkeypatch)
    for _ in range(20):
        step(W, x)
    assert found == [0] * 20


def test_results_that_are_held_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """By name, as parts, as views of parts, as buffers: also more of them than sets are kept."""
    step, W, x = make()
    holds: list[Any] = [
        lambda g: g,
        lambda g: g[1:],
        lambda g: g.reshape(3, 1).T,
        memoryview,
        lambda g: g.T[::-1],
        lambda g: [g],
    ]
    held, kept = [], []
    for k in range(3 * len(holds)):
        W *= 1.01  # bound arrays are read anew each time
        _, gradient = step(W, x)
        np.testing.assert_allclose(gradient, tn.grad(f)(W, x), rtol=1e-12)
        held.append(holds[k % len(holds)](gradient))
        kept.append(np.array(held[-1]))
        del gradient
    for now, then in zip(held, kept, strict=True):
        np.testing.assert_array_equal(np.array(now), then)
    found = entered(step, monkeypatch)
    step(W, x)
    assert found == [desk.NONE_FREE]  # all sets are held
    assert len(step._plan.desk.sets) == MOST
    held.clear()
    gc.collect()
    step(W, x)
    assert found[1] >= 0


def test_other_arrays_and_numbers_that_are_not_finite_take_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    step, W, x = make()
    other = W + 1
    np.testing.assert_allclose(step(other, x)[1], tn.grad(f)(other, x), rtol=1e-12)
    found = entered(step, monkeypatch)
    np.testing.assert_allclose(step(other, x)[1], tn.grad(f)(other, x), rtol=1e-12)
    other[1] = np.nan
    assert np.isnan(step(other, x)[0])
    assert found == [0, desk.NOT_FINITE]


def test_bound_programs_follow_their_own_arrays() -> None:
    """Two bindings and calls between them: each reads its own arrays."""
    step, W, x = make()
    other = -2 * W
    first, second = step.bind(W, x), step.bind(other, x)
    for _ in range(3):
        for run, given in ((first, W), (second, other), (first, W)):
            np.testing.assert_allclose(run()[1], tn.grad(f)(given, x), rtol=1e-12)
            W += 0.01


def test_numbers_alone_need_no_arrays() -> None:
    step = compile(f, backend="llvm")
    W, x = np.ones(3), np.ones((12, 3))
    values = [step(W, x)]
    for _ in range(3):
        W += 0.1
        values.append(step(W, x))
    assert values == sorted(values)
    assert len(set(values)) == 4


def test_infinite_results_of_a_program_without_a_gradient_are_results() -> None:
    """Nothing is to be run again: with a donated argument it would be a second step."""

    def double(p: Any) -> Any:
        return [p[0] * 2]

    p = [np.array([1.0, np.inf, 3.0])]
    step = compile(double, donate=0, backend="llvm")
    for _ in range(4):
        step(p)
    np.testing.assert_array_equal(p[0], [16.0, np.inf, 48.0])
