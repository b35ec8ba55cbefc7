"""Matrices that are multiplied, and whose rows, columns and elements are used beside that: values and gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinygrad_notes as tn
from tinygrad_notes import compile

STEPS: dict[str, Callable[[Any, Any, int], Any]] = {
    "times s": lambda z, s, k: z @ s * 0.5,
    "times s transposed": lambda z, s, k: z @ s.T * 0.5,
    "plus a row": lambda z, s, k: z + s[k],
    "times a row": lambda z, s, k: z * s[k],
    "times a column": lambda z, s, k: z * s[:, k],
    "plus an element": lambda z, s, k: z + s[k, 0],
    "plus a row of its own": lambda z, s, k: z + z[0],
    "times a column of its own": lambda z, s, k: z * z[:, k : k + 1],
    "backwards": lambda z, s, k: z[:, ::-1] + s[k],
    "taken": lambda z, s, k: tn.take(z, np.arange(len(s))[::-1].copy(), axis=1),
    "tanh": lambda z, s, k: tn.tanh(z),
    "the larger": lambda z, s, k: tn.where(z > s[0], z, s[k]),
    "less the mean": lambda z, s, k: z - tn.mean(z),
    "plus a sum": lambda z, s, k: z + tn.sum(s[k] * z),
    "an outer product": lambda z, s, k: z + (z @ s[k])[:, None] * s[0] * 0.3,
    "less the largest": lambda z, s, k: z - tn.max(z, axis=1, keepdims=True),
}


@pytest.mark.parametrize("backend", ["auto", "numpy"])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.integers(1, 5),
    columns=st.integers(1, 6),
    steps=st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 5)), min_size=1, max_size=5),
    seed=st.integers(0, 2**32 - 1),
)
def test_parts_beside_the_whole(backend: str, rows: int, columns: int, steps: list[tuple[str, int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    w, s = rng.normal(size=(rows, columns)), rng.normal(size=(columns, columns))

    def loss(w: Any, s: Any) -> Any:
        z = w
        for name, k in steps:
            z = STEPS[name](z, s, k % columns)
        return tn.mean(z * z) + tn.sum(s[0] * z)

    f = tn.value_and_grad(loss, argnums=(0, 1))
    value, gradients = f(w, s)
    program = compile(f, backend=backend)
    for _ in range(2):
        found, of = program(w, s)
        largest = max(1.0, abs(value), *(float(np.abs(g).max()) for g in gradients))
        np.testing.assert_allclose(found, value, rtol=1e-10, atol=1e-11 * largest)
        for a, b in zip(of, gradients, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11 * largest)


def test_a_sum_in_a_gradient_that_is_used_once_more() -> None:
    """A number of an assembled gradient is no place for a sum that others read, where more is added to it later."""
    rng = np.random.default_rng(0)
    w, s = rng.normal(size=(1, 5)), rng.normal(size=(5, 5))
    f = tn.grad(lambda w, s: (lambda z: tn.mean((z @ s) ** 2))(w @ s + s[0]), argnums=1)
    np.testing.assert_allclose(compile(f)(w, s), f(w, s), rtol=1e-10)


COMPARED: dict[str, Callable[[Any, Any], Any]] = {
    "equal": lambda x, m: x == m,
    "no less": lambda x, m: x >= m,
    "no greater": lambda x, m: m <= x,
    "their difference": lambda x, m: x - m >= 0,
    "the sign of it": lambda x, m: tn.sign(x - m) == 0,
}


@pytest.mark.parametrize("form", ["loops", "a map", "rows", "elements"])
@pytest.mark.parametrize("name", COMPARED)
def test_the_largest_is_one_of_all(name: str, form: str) -> None:
    """Scores that are compared with the largest of them are computed once, or to the same last digit."""
    rng = np.random.default_rng(0)

    def chosen(scores: Any) -> Any:
        largest = functools.reduce(tn.maximum, scores)
        return [tn.where(COMPARED[name](x, largest), 2.0 * x, 0.5 * x) for x in scores]

    def dots(row: Any, w: Any) -> Any:
        return [sum((a * b for a, b in zip(row, v, strict=True)), 0.1) for v in w]

    def scores(x: Any, w: Any) -> Any:
        if form == "a map":
            return tn.vmap(lambda row: tn.stack(chosen(dots(row, w))))(x)
        if form == "rows":
            z = x @ w.T + 0.1
            return tn.where(COMPARED[name](z, tn.max(z, axis=1, keepdims=True)), 2.0 * z, 0.5 * z)
        if form == "elements":
            z = x @ w.T + 0.1
            return tn.stack([tn.stack(chosen([z[i, k] for k in range(len(w))])) for i in range(len(x))])
        return tn.stack([tn.stack(chosen(dots(row, w))) for row in x])

    f = tn.value_and_grad(lambda x, w: tn.sum(scores(x, w) ** 2), argnums=(0, 1))
    programs = [compile(f, backend=backend) for backend in ("auto", "llvm", "numpy")]
    for _ in range(4):
        given = rng.normal(size=(9, 5)), rng.normal(size=(4, 5))
        value, gradients = f(*given)
        for program in programs:
            found, of = program(*given)
            np.testing.assert_allclose(found, value, rtol=1e-10)
            for a, b in zip(of, gradients, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
