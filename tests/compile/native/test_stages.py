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
    run = build(stages, len(arrays), dtype).bind([g.array for g in guarded], threads=threads)
    with np.errstate(invalid="ignore"):
        for _ in range(2):
            run(steps)
            interpret(stages, arrays, steps)
            for expected, given in zip(arrays, guarded, strict=True):
                np.testing.assert_array_equal(given.array, expected)


@given(programs(), st.sampled_from(["float64", "float32"]), st.sampled_from([1, 1, 2, 3]), st.booleans())
def test_random_stages(program, dtype, threads, at_end):
    compare(*program, dtype, 3, threads, at_end=at_end)


@given(programs(), st.booleans())
def test_code_in_many_functions(program, at_end):
    before, layout.PART = layout.PART, 3
    try:
        compare(*program, "float64", 3, 1, at_end=at_end)
    finally:
        layout.PART = before
