"""Random stages against an interpreter, between guard pages: any access outside a buffer ends the process."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import Guarded, interpret, programs

from tinygrad_notes.compile.native import build, layout

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="guard pages are made by mprotect")


def compare(stages, arrays, dtype, steps, threads, *, at_end):
    arrays = [a if a.dtype == np.int64 else a.astype(dtype) for a in arrays]
    guarded = [Guarded(a, at_end=at_end) for a in arrays]
    run = build(stages, len(arrays), dtype).bind([g.array for g in guarded], threads=threads)
    with np.errstate(invalid="ignore"):
        for _ in range(2):
            run(steps)
            interpret(stages, arrays, steps)
            for expected, given in zip(arrays, guarded, strict=True):
                np.testing.assert_array_equal(given.array, expected)


@given(programs(), st.sampled_from(["float64", "float32"]), st.sampled_from([1, 1, 2]), st.sampled_from([512, 3]))
def test_random_stages(program, dtype, threads, part):
    """With the guard page after the array or before it, and with code in one function or in many."""
    before, layout.PART = layout.PART, part
    try:
        compare(*program, dtype, 3, threads, at_end=bool(len(program[1]) % 2))
    finally:
        layout.PART = before
