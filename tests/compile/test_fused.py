"""Chains of elementwise ops as one native loop: truth values and sums that are needed outside of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_notes as tn
from tinygrad_notes.compile import compile

CHAINS: dict[str, Callable[[Any], Any]] = {
    "a mask": lambda x: (tn.where(x > 0.5, x, 1.0) * 2.0, x > 0.5, tn.exp(x)),
    "masks only": lambda x: (x > 0.5, tn.logical_and(x > 0.2, x < 0.7)),
    "of what is computed": lambda x: [tn.exp(x) > 1.5, tn.logical_not(tn.exp(x) > 1.5)],
    "a sum of masks": lambda x: (tn.sum(x > 0.5), tn.sum(tn.exp(x))),
    "sums along axes": lambda x: (tn.sum(x > 0.5, axis=0), tn.sum(x * x, axis=0)),
    "a mask that is used again": lambda x: tn.where((x > 0.5)[::-1], x * 2.0, tn.sin(x)),
    "a mask of another shape": lambda x: tn.where(tn.reshape(x > 0.5, shape=(-1,)), 1.0, tn.reshape(x, shape=(-1,))),
    "whole numbers": lambda x: (tn.where(x > 0.5, 2, 1), tn.exp(x) * tn.where(x > 0.5, 2, 1)),
    "two dtypes": lambda x: (tn.relu(x > 0.5) - 2.5 * x, 2 - tn.relu(x > 0.5)),
    "logic of numbers": lambda x: (tn.logical_or(x, x > 2), tn.logical_not(x), tn.minimum(x > 0.5, x), tn.exp(x)),
    "sums of masks": lambda x: ((x > 0.5) + (x > 0.2)) * x,
    "a count": lambda x: ((x > 0.5) + 1) * x,
}


@pytest.mark.parametrize("name", CHAINS)
@settings(max_examples=10)
@given(
    st.sampled_from([(600,), (30, 20), (1, 600), (600, 1), (4, 10, 15)]),
    st.sampled_from([np.float64, np.float32]),
    st.integers(0, 1000),
)
def test_masks_and_sums_of_a_chain(name: str, shape: tuple[int, ...], dtype: Any, seed: int) -> None:
    f, x = CHAINS[name], np.random.default_rng(seed).random(shape).astype(dtype)
    expected = f(x)
    for backend in ("llvm", "numpy"):
        program = compile(f, backend=backend)
        for _ in range(2):
            found = program(x)
            pairs = zip(found, expected, strict=True) if isinstance(expected, (tuple, list)) else [(found, expected)]
            for y, wanted in pairs:
                np.testing.assert_allclose(y, wanted, rtol=1e-12 if dtype is np.float64 else 2e-6)
                if np.shape(wanted):
                    assert y.dtype == wanted.dtype


def test_a_chain_that_waits_keeps_what_it_will_read() -> None:
    """What another row is the last to need may be needed by a chain that is not written yet."""
    rng = np.random.default_rng(1)
    w, s, way = rng.normal(size=(700, 6)), rng.normal(size=6), rng.normal(size=(700, 6))

    def loss(w: Any) -> Any:
        e = tn.exp(w - tn.max(w, axis=1, keepdims=True))
        return tn.sum(s * (e / tn.sum(e, axis=1, keepdims=True) + 1.0) ** 2)

    def second(w: Any) -> Any:
        return tn.hvp(loss, (w,), (way,))[0]

    np.testing.assert_allclose(compile(second, backend="llvm")(w), second(w), rtol=1e-10, atol=1e-12)
