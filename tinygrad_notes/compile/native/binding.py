"""Compiled stages, and their binding to arrays."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np

from .blocks import BlockedProgram, Blocks
from .desk import enter_text
from .engine import MachineCode
from .program import Program, Word
from .stage import Product, Stage, check, touched

ELEMENTS = {"float64": "double", "float32": "float"}
Array = np.ndarray[Any, Any]
ENDLESS = 2**31 - 1
ALIGN = 64  # bytes


def build(
    stages: Sequence[Stage | Product],
    buffers: int,
    dtype: Literal["float64", "float32"] = "float64",
    shared: bool = False,
    desk: tuple[int, int | None] | None = None,
    blocks: Blocks | None = None,
) -> Native:
    """Compile stages that use buffers numbered from 0 to buffers − 1.

    Args:
        stages: what is computed, in order.
        buffers: how many buffers there are.
        dtype: of all buffers but those of indices.
        shared: whether several threads are to run it.
        desk: for a `Desk` the buffer of the results, and the place in it that is 0 if they are finite.
        blocks: which stages are run for each block of samples.

    Raises:
        ValueError: An entry is not well formed.
        ImportError: llvmlite is missing.
    """
    return Native(stages, buffers, dtype, shared, desk, blocks)


class Native:
    """Compiled stages.

    Attributes:
        code: The machine code.
        compile_seconds: What writing and compiling it took.
        instructions: Entries in all stages.
    """

    def __init__(
        self,
        stages: Sequence[Stage | Product],
        buffers: int,
        dtype: str,
        shared: bool,
        desk: tuple[int, int | None] | None,
        blocks: Blocks | None,
    ) -> None:
        if dtype not in ELEMENTS:
            raise ValueError(f"native code is of float64 or float32; given {dtype!r}")
        start = time.perf_counter()
        check(stages, buffers)
        self.stages, self.buffers, self.dtype, self.shared = stages, buffers, np.dtype(dtype), shared
        self.blocks = blocks
        if blocks:
            program: Program = BlockedProgram(stages, ELEMENTS[dtype], blocks, shared)
        else:
            program = Program(stages, ELEMENTS[dtype], shared)
        self.scratch_bytes = program.scratch_bytes
        text = program.text
        if desk:
            text += enter_text(*desk, int(Word.BUFFERS), int(Word.TOTALS), ELEMENTS[dtype])
        self.code = MachineCode(text)
        self.compile_seconds = time.perf_counter() - start
        self.instructions = sum(len(stage.code) for stage in stages)

    @property
    def ir(self) -> str:
        """The program as LLVM IR. A value is named after its entry: `%multiply.12` is entry 12 of its stage."""
        return self.code.ir

    @property
    def assembly(self) -> str:
        """The program as the machine's instructions."""
        return self.code.assembly

    def bind(self, arrays: Sequence[Array], threads: int = 1) -> Callable[..., None]:
        """Tie the program to arrays, one for each buffer.

        Returns `run`: `run()` executes all stages once on the arrays in place, and `run(steps)` does so `steps` times.
        It keeps the arrays alive. It must not be called by two threads at once. With `threads`, each stage's lanes are
        shared out, or its rows where there are few lanes; sums do not depend on which thread is faster.

        Raises:
            ValueError: An array has the wrong dtype, is not contiguous, cannot be written, overlaps one that is
                written, is too small, or holds an index that is not in its buffer.
        """
        if threads < 1 or (threads > 1 and not self.shared):
            raise ValueError(f"{threads} threads; expected 1{' or more' if self.shared else ', or a shared program'}")
        return _together(self, arrays, threads) if threads > 1 else _alone(self, arrays)

    def check(self, arrays: Sequence[Array]) -> int:
        """Check the arrays; return for how many steps they are large enough."""
        if len(arrays) != self.buffers:
            raise ValueError(f"{len(arrays)} arrays for {self.buffers} buffers")
        indices, written = set(), set()
        for stage in self.stages:
            indices |= {entry[2] for entry in stage.code if entry[0] == "gather"}
            written |= {place.buffer for _, place, _, _, writes in touched(stage) if writes}
        for number, array in enumerate(arrays):
            dtype = np.dtype(np.int64) if number in indices else self.dtype
            if array.dtype != dtype:
                raise ValueError(f"buffer {number} is of {dtype}; given {array.dtype}")
            if not array.flags.c_contiguous or not array.flags.aligned:
                raise ValueError(f"buffer {number} must be contiguous, in C's order, and aligned")
            if number in written and not array.flags.writeable:
                raise ValueError(f"buffer {number} is written, and the array given is read-only")
        self._check_overlap(arrays, written)
        most = ENDLESS
        for number, stage in enumerate(self.stages):
            for name, place, rows, lanes, _ in touched(stage):
                if not rows or not lanes:
                    continue
                low, high = place.extent(rows, lanes)
                size, times = arrays[place.buffer].size, self.blocks.times(number) if self.blocks else 1
                if times > 1:
                    low, high = low + min(span := place.step_stride * (times - 1), 0), high + max(span, 0)
                if low < 0 or high >= size:
                    raise ValueError(
                        f"stage {number}, {name}: touches elements {low} to {high} of buffer {place.buffer}, "
                        f"which holds {size}"
                    )
                if times > 1:
                    continue
                if place.step_stride > 0:
                    most = min(most, (size - 1 - high) // place.step_stride + 1)
                elif place.step_stride < 0:
                    most = min(most, low // -place.step_stride + 1)
            if stage.rows and stage.lanes:
                for k, entry in enumerate(stage.code):
                    if entry[0] == "gather":
                        used = arrays[entry[2]][entry[3] : entry[3] + stage.lanes]
                        self._check_indices(number, k, used, arrays[entry[1]].size)
        return most

    def _check_overlap(self, arrays: Sequence[Array], written: set[int]) -> None:
        """Check that what is written shares no memory with another buffer."""
        spans = sorted((a.ctypes.data, a.ctypes.data + a.nbytes, b) for b, a in enumerate(arrays) if a.nbytes)
        furthest: dict[bool, tuple[int, int]] = {}  # is written → where the spans so far end, and whose
        for start, end, b in spans:
            for other_written, (other_end, other) in furthest.items():
                if start < other_end and (b in written or other_written):
                    raise ValueError(f"buffers {other} and {b} share memory, and one of them is written")
            key = b in written
            furthest[key] = max(furthest.get(key, (0, b)), (end, b))

    def _check_indices(self, number: int, k: int, indices: Array, size: int) -> None:
        """Check a gather's indices."""
        wrong = indices[(indices < 0) | (indices >= size)]
        if wrong.size:
            raise ValueError(
                f"stage {number}, entry {k}: gathers element {wrong[0]} of buffer {self.stages[number].code[k][1]}, "
                f"which holds {size}"
            )


def aligned(count: int) -> Array:
    """Zeros that begin where a line of the cache does: the widest vectors then lie in one each."""
    numbers = np.zeros(count + ALIGN // 8)
    start = -numbers.ctypes.data % ALIGN // 8
    return numbers[start : start + count]


class Memory:
    """The arrays of a binding, and what each thread needs besides: its scratch memory, its sums and its context."""

    def __init__(self, native: Native, arrays: Sequence[Array], threads: int) -> None:
        self.code = native.code  # machine code lives as long as what uses it
        self.arrays = list(arrays)
        self.arrived = np.zeros(1, np.int64)
        totals = {entry[2] for stage in native.stages for entry in stage.code if entry[0] == "total"}
        own = {native.blocks.buffer} if native.blocks else totals
        sizes = np.array([a.size for a in arrays], np.int64)
        self.sums = [self.arrays] + [
            [np.zeros(a.size, a.dtype) if b in own else a for b, a in enumerate(arrays)] for _ in range(1, threads)
        ]
        self.totals = [np.array([a.ctypes.data for a in sums], np.int64) for sums in self.sums]
        all_totals = np.array([table.ctypes.data for table in self.totals], np.int64)
        buffers = self.totals if native.blocks else [self.totals[0].copy()] * threads
        self.tables = (buffers, sizes, all_totals)
        self.scratch = [np.zeros(native.scratch_bytes + ALIGN, np.uint8) for _ in range(threads)]
        self.contexts = [(ctypes.c_int64 * len(Word))() for _ in range(threads)]
        for thread, context in enumerate(self.contexts):
            context[Word.BUFFERS] = buffers[thread].ctypes.data
            context[Word.SIZES] = sizes.ctypes.data
            context[Word.TOTALS] = self.totals[thread].ctypes.data
            context[Word.ALL_TOTALS] = all_totals.ctypes.data
            context[Word.SCRATCH] = -(-self.scratch[thread].ctypes.data // ALIGN) * ALIGN
            context[Word.THREAD], context[Word.THREADS] = thread, threads
            context[Word.ARRIVED] = self.arrived.ctypes.data

    @property
    def address(self) -> int:
        """Where the first thread's context is."""
        return ctypes.addressof(self.contexts[0])

    def replace(self, buffer: int, array: Array) -> None:
        """Let one thread's program use another array, which the caller keeps alive and whose kind is as before."""
        address = array.__array_interface__["data"][0]
        self.tables[0][0][buffer] = self.totals[0][buffer] = address

    def steps(self, steps: int, most: int) -> ctypes.c_int32:
        """A number of steps, as an argument of the compiled program."""
        if steps > most:
            raise ValueError(f"{steps} steps; the arrays hold {most}")
        return ctypes.c_int32(steps)

    def reset(self) -> None:
        """No thread has waited yet."""
        self.arrived[0] = 0
        for context in self.contexts:
            context[Word.WAITED] = 0


def _alone(native: Native, arrays: Sequence[Array]) -> Callable[..., None]:
    """Run a program on the thread that asks for it. This is the quickest call that ctypes has."""
    most, memory = native.check(arrays), Memory(native, arrays, 1)
    once, many = _functions(native)
    context = ctypes.byref(memory.contexts[0])

    def run(steps: int | None = None) -> None:
        if steps is None:
            once(context)
        else:
            many(context, memory.steps(steps, most))

    run.memory = memory  # type: ignore[attr-defined]  # a function carries it
    return run


def _together(native: Native, arrays: Sequence[Array], threads: int) -> Callable[..., None]:
    """Run a program on several threads. They wait for each other inside it, so each needs one of its own."""
    most, memory = native.check(arrays), Memory(native, arrays, threads)
    _, many = _functions(native)
    first, *others = [ctypes.byref(context) for context in memory.contexts]
    pool = ThreadPoolExecutor(len(others), "native")

    def run(steps: int = 1) -> None:
        count = memory.steps(steps, most)
        memory.reset()
        running = [pool.submit(many, context, count) for context in others]
        many(first, count)
        for other in running:
            other.result()

    return run


def _functions(native: Native) -> tuple[Callable[..., None], Callable[..., None]]:
    """The compiled program, run once and run so many times. Without declared types ctypes has the least to do."""
    kind = ctypes.CFUNCTYPE(None)
    return kind(native.code.address("once")), kind(native.code.address("run"))
