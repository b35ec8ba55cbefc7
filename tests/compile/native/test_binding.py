"""What `build` and `bind` refuse, and what `run` does."""

from __future__ import annotations

import gc
import subprocess
import sys

import numpy as np
import pytest
from programs import interpret

from tinygrad_notes.compile.native import Blocks, Stage, build

DOUBLE = [("load", 0, 0, 0, 1, 0), ("add", 0, 0), ("store", 1, 1, 0, 0, 1, 0)]
GATHER = [("gather", 0, 1, 0), ("store", 0, 2, 0, 0, 1, 0)]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ([("cbrt", 0)], "no such primitive"),
        ([("add", 0)], "1 operands; expected 2"),
        ([("negative", 0)], "value 0 is not an earlier one"),
        ([("load", 3, 0, 0, 1, 0)], "there is no buffer 3"),
        ([("constant", 1.0), ("number", 0)], "value 0 is a number; expected a mask"),
        ([("constant", 1.0), ("less", 0, 0), ("store", 1, 0, 0, 0, 1, 0)], "value 1 is a mask; expected a number"),
        ([*GATHER, ("load", 1, 0, 0, 1, 0)], "buffer 1 holds a gather's indices"),
    ],
)
def test_what_is_not_well_formed_is_refused(code, message):
    with pytest.raises(ValueError, match=message):
        build([Stage(4, 1, code)], 3)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([np.zeros(4)], "1 arrays for 2 buffers"),
        ([np.zeros(4), np.zeros(4, "float32")], "buffer 1 is of float64; given float32"),
        ([np.zeros(3), np.zeros(4)], "touches elements 0 to 3 of buffer 0, which holds 3"),
        ([np.zeros(8)[::2], np.zeros(4)], "buffer 0 must be contiguous"),
        ([np.zeros(4), np.frombuffer(bytes(32))], "buffer 1 is written, and the array given is read-only"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays, message):
    with pytest.raises(ValueError, match=message):
        build([Stage(4, 1, DOUBLE)], 2).bind(arrays)


def test_blocks_that_reach_too_far_are_refused():
    block = [("load", 0, 0, 0, 1, 4), ("store", 0, 1, 0, 0, 1, 4)]
    native = build([Stage(4, 1, block)], 2, blocks=Blocks(0, 1, 1, 3, buffer=1, offset=0, sums=0))
    with pytest.raises(ValueError, match="touches elements 0 to 11 of buffer 0, which holds 11"):
        native.bind([np.zeros(11), np.zeros(12)])
    found = np.zeros(12)
    native.bind([np.arange(12.0), found])(5)
    assert found.tolist() == list(range(12))


def test_memory_that_is_shared_and_written_is_refused():
    both = np.zeros(8)
    native = build([Stage(4, 1, DOUBLE)], 2)
    with pytest.raises(ValueError, match="buffers 0 and 1 share memory"):
        native.bind([both[:5], both[4:]])
    native.bind([both[:4], both[4:]])()
    sums = build([Stage(4, 1, [*DOUBLE, ("load", 2, 0, 0, 1, 0), ("total", 3, 3, 0, 0, 0)])], 4)
    sums.bind([both, np.zeros(4), both, np.zeros(1)])()  # read only, so it may be shared


@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_outside_is_refused_and_never_followed(index):
    native = build([Stage(4, 1, GATHER)], 3)
    with pytest.raises(ValueError, match=f"gathers element {index} of buffer 0, which holds 3"):
        native.bind([np.zeros(3), np.array([0, 1, index, 2]), np.zeros(4)])
    indices, out = np.zeros(4, np.int64), np.zeros(4)
    run = native.bind([np.array([1.0, 2.0, 3.0]), indices, out])
    indices[:] = index  # behind its back
    run()
    np.testing.assert_array_equal(out, 3.0)


def test_steps_that_do_not_fit_are_refused():
    code = [("load", 0, 0, 0, 1, 4), ("store", 0, 1, 0, 0, 1, 0)]
    run = build([Stage(4, 1, code)], 2).bind([np.arange(12.0), out := np.zeros(4)])
    run(3)
    np.testing.assert_array_equal(out, [8, 9, 10, 11])
    with pytest.raises(ValueError, match="4 steps; the arrays hold 3"):
        run(4)


def test_dtype_and_threads_are_checked():
    with pytest.raises(ValueError, match="float64 or float32; given 'int32'"):
        build([], 0, "int32")
    with pytest.raises(ValueError, match="0 threads"):
        build([], 0, shared=True).bind([], threads=0)


def test_the_text_lets_a_reader_follow():
    native = build([Stage(4, 1, [*DOUBLE[:2], ("tanh", 1), ("store", 2, 1, 0, 0, 1, 0)])], 2)
    assert "%add.1 = fadd contract <4 x double> %load.0, %load.0" in native.ir
    assert "%tanh.2 = call <4 x double> @tanh.x4(<4 x double> %add.1)" in native.ir
    assert "once" in native.assembly
    assert native.instructions == 4
    assert native.compile_seconds > 0


@pytest.mark.parametrize("threads", [1, 2])
def test_run_keeps_what_it_needs_alive(threads):
    out = np.zeros(4)
    run = build([Stage(4, 1, DOUBLE)], 2, shared=threads > 1).bind([np.ones(4), out], threads=threads)
    gc.collect()
    run()
    np.testing.assert_array_equal(out, 2)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize(("lanes", "rows"), [(10_001, 1), (5, 40)])
def test_sums_on_several_threads_are_the_same_each_time(lanes, rows, threads):
    code = [("load", 0, 0, lanes, 1, 0), ("total", 0, 1, 0, 0, 0), ("total", 0, 2, 0, 1, 0), ("total", 0, 3, 0, 0, 1)]
    x = np.random.default_rng(0).normal(size=rows * lanes)
    arrays = [x, np.zeros(1), np.zeros(rows), np.zeros(lanes)]
    run = build([Stage(lanes, rows, code)], 4, shared=True).bind(arrays, threads=threads)
    results = []
    for _ in range(20):
        run(3)
        results.append(np.concatenate(arrays[1:]))
    interpret([Stage(lanes, rows, code)], arrays)
    np.testing.assert_allclose(results[0], np.concatenate(arrays[1:]), rtol=1e-9, atol=1e-9)
    for result in results:
        np.testing.assert_array_equal(result, results[0])


def test_many_small_numbers_are_not_lost():
    """A sum of float32 is added up in blocks, so that its error does not grow with the number of lanes."""
    lanes = 300_000
    code = [("load", 0, 0, 0, 0, 0), ("total", 0, 1, 0, 0, 0)]
    total = np.zeros(1, "float32")
    build([Stage(lanes, 1, code)], 2, "float32").bind([np.full(1, 0.1, "float32"), total])()
    assert abs(float(total[0]) / (float(np.float32(0.1)) * lanes) - 1) < 5e-6  # one after the other: 1e-3


def test_without_llvmlite_the_error_names_the_extra():
    code = "import sys; sys.modules['llvmlite'] = None\n"
    code += "from tinygrad_notes.compile.native import build\n"
    code += "try: build([], 0)\nexcept ImportError as error: print(error)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "tinygrad_notes[fast]" in run.stdout
