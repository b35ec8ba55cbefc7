"""Chains of elementwise ops on arrays of one shape as one loop of native code, with the sums of their results.

In NumPy each op of a chain reads and writes whole arrays; here a chain is one pass over memory, and exp and tanh are on
vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import ops
from .arrays import ArrayProgram
from .entries import COMPUTED, Code
from .lower import lower
from .native import Stage, build
from .native.primitives import NUMBER, PRIMITIVES
from .tape import CONSTANT, INPUT, Tape

LEAST = 512
"""The fewest elements for which a kernel is made: below, NumPy's own call is as quick."""


class Kernel:
    """A chain while it is collected, then the native code for it.

    Args:
        tape: the program.
        shape: of every result in the chain.

    Attributes:
        rows: the rows of the chain, in order.
        sums: rows that sum one of them, along axes.
        dtype: of the numbers; None while there are only constants.
    """

    def __init__(self, tape: Tape, shape: tuple[int, ...]) -> None:
        self.tape, self.shape = tape, shape
        self.rows: list[int] = []
        self.sums: list[int] = []
        self.members: set[int] = set()
        self.dtype: Any = None

    def add(self, i: int) -> None:
        """Append a row."""
        self.rows.append(i)
        self.members.add(i)

    def grid(self) -> tuple[int, int]:
        """The rows and lanes of the loop."""
        if len(self.shape) == 2:
            return self.shape[0], self.shape[1]
        return 1, math.prod(self.shape)

    def strides(self, shape: tuple[int, ...]) -> tuple[int, int] | None:
        """The row and lane strides of an argument of this shape; None if it does not fit the grid."""
        if math.prod(shape) == 1:
            return 0, 0
        if shape == self.shape:
            return (self.grid()[1], 1)
        if len(self.shape) != 2 or len(shape) > 2:
            return None
        rows, lanes = (1, *shape)[-2:]
        return (lanes if rows > 1 else 0), (1 if lanes > 1 else 0)

    def sum_strides(self, i: int) -> tuple[int, int] | None:
        """The strides of a sum's result; None if the loop cannot make it."""
        op, params = self.tape.operation(self.tape.rows[i][0])
        if op.name != "sum":
            return None
        axis, ndim = params.get("axis"), len(self.shape)
        gone = set(range(ndim)) if axis is None else {a % ndim for a in (axis if isinstance(axis, tuple) else (axis,))}
        if gone == set(range(ndim)):
            return 0, 0
        if ndim == 2:
            return (0, 1) if gone == {0} else (1, 0)
        return None

    def compile(
        self, arguments: Callable[[int], tuple[Any, ...] | None], stored: Sequence[int]
    ) -> tuple[Any, list[Any]]:
        """The native code.

        Args:
            arguments: a key and strides for an argument that is no member: what is the same memory has the same key.
            stored: the rows whose results are needed outside.

        Returns:
            The code, and the key of each of its buffers: of an argument, or the row that is stored or summed.
        """
        code = Code()
        buffers: list[Any] = []
        values: dict[int, int] = {}
        rows, lanes = self.grid()

        def buffer(key: Any) -> int:
            if key not in buffers:
                buffers.append(key)
            return buffers.index(key)

        def value(a: int) -> int:
            if a in values:
                return values[a]
            if self.tape.rows[a][0] == CONSTANT:
                return code.entry("constant", float(self.tape.number(a)))
            found = arguments(a)
            assert found is not None
            key, (row_stride, lane_stride) = found
            return code.entry("load", buffer(key), 0, row_stride, lane_stride, 0)

        for i in self.rows:
            operation, *args = self.tape.rows[i]
            name = self.tape.operation(operation)[0].name
            takes = zip(args, PRIMITIVES[name].takes, strict=True)
            values[i] = code.entry(name, *(code.as_kind(value(a), kind) for a, kind in takes))
        for i in stored:
            code.put("store", code.as_kind(values[i], NUMBER), buffer(i), 0, lanes, 1, 0)
        for i in self.sums:
            strides = self.sum_strides(i)
            assert strides is not None
            code.put("total", values[self.tape.rows[i][1]], buffer(i), 0, *strides)
        dtype: Any = "float64" if self.dtype is None else self.dtype.name
        return build([Stage(lanes=lanes, rows=rows, code=code.entries)], len(buffers), dtype), buffers


def bound(native: Any, arrays: Sequence[np.ndarray[Any, Any]], moving: Sequence[int]) -> Callable[..., None]:
    """The kernel as a function of the arrays that are others in every call.

    Args:
        native: its code.
        arrays: one for each buffer; for a moving one any of its shape and dtype.
        moving: the buffers of the function's arguments.
    """
    run = native.bind([a.reshape(-1) for a in arrays])
    if not moving:
        return run  # type: ignore[no-any-return]  # a function
    replace = run.memory.replace

    def call(*given: np.ndarray[Any, Any]) -> None:
        kept = [a if a.flags.c_contiguous else np.ascontiguousarray(a) for a in given]
        for buffer, array in zip(moving, kept, strict=True):
            replace(buffer, array)
        run()

    return call


class FusedProgram(ArrayProgram):
    """A tape as a NumPy function in which chains of elementwise ops are native code."""

    open: dict[tuple[int, ...], Kernel]

    def _lowered(self, tape: Tape, roots: Sequence[int], checked: bool) -> tuple[Tape, list[int]]:
        return lower(tape, roots, known=COMPUTED)

    def _rows(self, live: Sequence[int]) -> None:
        self.open = {}
        for k, i in enumerate(live):
            if not self._joins(i, k):
                self._close(k, self.tape.arguments(i))
                self._row(i, k)
        self._close(len(live), [a for kernel in self.open.values() for a in kernel.rows])

    def _joins(self, i: int, k: int) -> bool:
        """Add a row to the chain of its shape, if it can be computed there."""
        tape = self.tape
        code, *args = tape.rows[i]
        if code < 0:
            return False
        op, params = tape.operation(code)
        if op.name == "sum":
            kernel = self.open.get(tape.shape(args[0]))
            if kernel is None or args[0] not in kernel.members or kernel.sum_strides(i) is None:
                return False
            if params.get("keepdims") or kernel.dtype is None or tape.dtype(i) != kernel.dtype:
                return False
            kernel.sums.append(i)
            return True
        shape = tape.shape(i)
        if op.name not in COMPUTED or params or math.prod(shape) < LEAST:
            return False
        if op is ops.add and tape.dtype(i).kind == "b":  # which NumPy does as it does `or`
            return False
        floating = {tape.dtype(a) for a in (i, *args) if not tape.is_constant(a) and tape.dtype(a).kind != "b"}
        if len(floating) > 1 or not all(d in (np.float64, np.float32) for d in floating):
            return False
        kernel = self.open.get(shape)
        own = kernel.members if kernel is not None else set()
        self._close(k, [a for a in args if a not in own])
        kernel = self.open.get(shape) or Kernel(tape, shape)
        if floating and kernel.dtype is not None and kernel.dtype not in floating:  # to NumPy, None is float64
            return False
        for a in args:
            fits = a in kernel.members or tape.is_constant(a)
            if not fits and (tape.dtype(a).kind == "b" or self._argument(kernel, a) is None):
                return False
        kernel.add(i)
        kernel.dtype = floating.pop() if floating else kernel.dtype
        self.open[shape] = kernel
        return True

    def _argument(self, kernel: Any, a: int) -> tuple[Any, tuple[int, int]] | None:
        """The memory and the strides of an argument of a chain; None if it does not lie as the loop reads."""
        strides = kernel.strides(self.tape.shape(a))
        if strides is None:
            return None
        held = self.held.get(a)
        if held is not None:
            return (a, strides) if held.flags.c_contiguous else None
        return (a, strides) if self.tape.rows[a][0] == INPUT else None

    def _close(self, k: int, needed: Sequence[int]) -> None:
        """Write the chains that made any of these rows."""
        for shape, kernel in list(self.open.items()):
            if any(a in kernel.members or a in kernel.sums for a in needed):
                del self.open[shape]
                self._kernel(kernel, k)

    def _kernel(self, kernel: Any, k: int) -> None:
        tape = self.tape
        inside = {*kernel.members, *kernel.sums}
        stored = [i for i in kernel.rows if i in self.results or any(u not in inside for u in self.users.get(i, ()))]
        self.instructions += len(inside)
        size = math.prod(kernel.shape)
        self.flops += size * len(inside)
        native, keys = kernel.compile(lambda a: self._argument(kernel, a), stored)
        arrays, moving, given, masks = [], [], [], []
        for place, key in enumerate(keys):
            if key in inside:
                if key in kernel.sums and not tape.shape(key):
                    self.names[key] = self._bind("s", np.zeros(1, tape.dtype(key)))
                    self.held[key] = self.scope[self.names[key]]
                else:
                    self._buffer(key)
            held = self.held.get(key)
            if key in inside and tape.dtype(key).kind == "b":
                held = np.empty(kernel.shape, native.dtype)
                masks.append(f"{self.names[key]}[...] = {self._bind('m', held)}")
            if held is None:
                moving.append(place)
                given.append(self.names[key])
            elif held.dtype.kind == "b":  # native code writes numbers
                held = np.zeros(held.shape, kernel.dtype)
                masks.append(f"{self.names[key]}[...] = {self._bind('m', held)}")
            arrays.append(np.zeros(tape.shape(key), tape.dtype(key)) if held is None else held)
        call = self._bind("kernel", bound(native, arrays, moving))
        for i in kernel.rows:
            self.lines.append(f"#   {self._described(i, inside)}")
        self.lines += [f"{call}({', '.join(given)})", *masks]
        for i in kernel.sums:
            if not tape.shape(i):
                self._define(i, f"{self.names[i]}[0]")
                del self.held[i]
        for i in (*kernel.rows, *kernel.sums):
            for root in {self.root_of[a] for a in tape.arguments(i)}:
                if self.last.get(root, -1) < k:
                    self._release(root)

    def _release(self, root: int) -> None:
        """Give back a buffer, if no chain that is still collected is to read it; that one gives it back then."""
        waiting = (i for kernel in self.open.values() for i in kernel.rows)
        if not any(self.root_of[a] == root for i in waiting for a in self.tape.arguments(i)):
            super()._release(root)

    def _described(self, i: int, inside: set[int]) -> str:
        names = [f"v{a}" if a in inside and a not in self.names else self.names[a] for a in self.tape.rows[i][1:]]
        op = self.tape.operation(self.tape.rows[i][0])[0]
        target = f"{self.names[i]} = " if i in self.names else f"v{i} = "
        return f"{target}{op.name}({', '.join(names)})"
