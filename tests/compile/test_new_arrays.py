"""A compiled function is given other arrays in each call, as a training loop gives it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_notes as tn
from tinygrad_notes.compile.native.binding import Native

pytest.importorskip("llvmlite")


def loss(W: Any, x: Any, scale: Any) -> Any:
    total = 0.0
    for sample in x:
        total = total + tn.tanh(sum(w * q for w, q in zip(W, sample, strict=True))) ** 2
    return total * scale


def test_results_are_those_of_the_arrays_that_were_given_last() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(12, 3))
    step = tn.compile(tn.value_and_grad(loss), backend="llvm")
    wide = random.normal(size=6)
    unaligned = np.frombuffer(b"x" + random.normal(size=3).tobytes(), offset=1)
    for W in (random.normal(size=3), wide[::2], unaligned, random.normal(size=3), wide[:3]):
        for given in (x, x[::-1], np.asfortranarray(x), x.round().astype(int)):
            scale = random.normal()
            value, gradient = step(W, given, scale)
            expected, by_engine = tn.value_and_grad(loss)(W.copy(), given, scale)
            np.testing.assert_allclose(value, expected, rtol=1e-12)
            np.testing.assert_allclose(gradient, by_engine, rtol=1e-11)


def test_other_arrays_are_not_checked_element_by_element(monkeypatch: pytest.MonkeyPatch) -> None:
    """Binding anew costs a hundred times what a small program does."""
    x, W = np.ones((12, 3)), np.ones(3)
    step = tn.compile(tn.value_and_grad(loss), backend="llvm")
    step(W, x, 1.0)
    checks: list[Any] = []
    monkeypatch.setattr(Native, "check", lambda native, arrays: checks.append(arrays))
    for _ in range(3):
        value, gradient = step(W, x, 1.0)
        W = W - 0.1 * gradient
    assert value > 0
    assert not checks
