"""Random stages against an interpreter, between guard pages: any access outside a buffer ends the process."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import Guarded, interpret, programs

from tinygrad_notes.compile.native import Stage, build, layout

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="guard pages are made by mprotect")


def compare(stages, arrays, dtype, steps, threads, *, at_end):
    arrays = [a if a.dtype == np.int64 else a.astype(dtype) for a in arrays]
    guarded = [Guarded(a, at_end=at_end) for a in arrays]
    run = build(stages, len(arrays), dtype, shared=threads > 1).bind([g.array for g in guarded], threads=threads)
    with np.errstate(invalid="ignore"):
        for _ in range(2):
            run(steps)
            interpret(stages, arrays, steps)
            for expected, guard in zip(arrays, guarded, strict=True):
                np.testing.assert_array_equal(guard.array, expected)


@given(
    programs(),
    st.sampled_from(["float64", "float32"]),
    st.sampled_from([1, 1, 2]),
    st.sampled_from([512, 3]),
    st.sampled_from([32, 64]),
)
def test_random_stages(program, dtype, threads, part, size):
    """With the guard page after the array or before it, code in one function or in many, and vectors of either size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "PART", part)
        patch.setattr(layout, "vector_bytes", lambda: size)
        compare(*program, dtype, 3, threads, at_end=bool(len(program[1]) % 2))


@pytest.mark.parametrize("part", [512, 2])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("lanes", [1, 3, 100, 1001])
def test_steps_in_place(lanes, threads, part, monkeypatch):
    """A stage's results are the next one's inputs, and those of its own next step: p ← p − ¼·(p − mean of p)."""
    monkeypatch.setattr(layout, "PART", part)
    mean = [("load", 0, 0, 0, 1, 0), ("constant", 1.0 / lanes), ("multiply", 0, 1), ("total", 2, 1, 1, 0, 0)]
    down = [
        ("load", 0, 0, 0, 1, 0),
        ("load", 1, 1, 0, 0, 0),
        ("subtract", 0, 1),
        ("constant", 0.25),
        ("multiply", 2, 3),
    ]
    down += [("subtract", 0, 4), ("store", 5, 0, 0, 0, 1, 0), ("store", 2, 2, 0, 0, 1, lanes)]
    stages = [Stage(lanes, 1, mean), Stage(lanes, 1, down)]
    arrays = [np.random.default_rng(0).normal(size=lanes), np.zeros(2), np.zeros(3 * lanes)]
    guarded = [Guarded(a, at_end=True) for a in arrays]
    build(stages, 3, shared=threads > 1).bind([g.array for g in guarded], threads=threads)(3)
    interpret(stages, arrays, 3)
    for expected, guard in zip(arrays, guarded, strict=True):
        np.testing.assert_allclose(guard.array, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("places", [range(19), [0, 1, 2, 3, 5, 6, 7, 8], [8, 7, 6, 5, 4, 3, 2, 1, 0], [4]], ids=str)
def test_sums_of_one_vector(places, dtype, size, monkeypatch):
    """Many sums over as many lanes as a vector has are stored together where they lie together."""
    monkeypatch.setattr(layout, "vector_bytes", lambda: size)
    lanes = size // np.dtype(dtype).itemsize
    code = [("load", 0, lanes * k, 0, 1, 0) for k in range(len(places))]
    code += [("total", k, 1, place, 0, 0) for k, place in enumerate(places)]
    arrays = [np.random.default_rng(0).integers(-9, 9, lanes * len(places)).astype(float), np.zeros(20)]
    compare([Stage(lanes, 1, code)], arrays, dtype, 2, 1, at_end=True)
