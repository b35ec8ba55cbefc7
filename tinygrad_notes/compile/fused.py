"""Chains of elementwise ops on arrays of one shape as one loop of native code, with the sums of their results.

In NumPy each op of a chain reads and writes whole arrays; here a chain is one pass over memory, and exp and tanh are on
vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .native import Stage, build
from .tape import CONSTANT, Tape

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
    """

    def __init__(self, tape: Tape, shape: tuple[int, ...]) -> None:
        self.tape, self.shape = tape, shape
        self.rows: list[int] = []
        self.sums: list[int] = []
        self.members: set[int] = set()

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
        code: list[tuple[Any, ...]] = []
        known: dict[Any, int] = {}
        buffers: list[Any] = []
        values: dict[int, int] = {}
        rows, lanes = self.grid()

        def buffer(key: Any) -> int:
            if key not in buffers:
                buffers.append(key)
            return buffers.index(key)

        def put(entry: tuple[Any, ...]) -> int:
            if entry not in known:
                known[entry] = len(code)
                code.append(entry)
            return known[entry]

        def value(a: int) -> int:
            if a in values:
                return values[a]
            if self.tape.rows[a][0] == CONSTANT:
                return put(("constant", float(self.tape.number(a))))
            found = arguments(a)
            assert found is not None
            key, (row_stride, lane_stride) = found
            return put(("load", buffer(key), 0, row_stride, lane_stride, 0))

        for i in self.rows:
            op, _ = self.tape.operation(self.tape.rows[i][0])
            values[i] = put((op.name, *(value(a) for a in self.tape.rows[i][1:])))
        code += [("store", values[i], buffer(i), 0, lanes, 1, 0) for i in stored]
        for i in self.sums:
            strides = self.sum_strides(i)
            assert strides is not None
            code.append(("total", values[self.tape.rows[i][1]], buffer(i), 0, *strides))
        dtype: Any = self.tape.dtype(self.rows[0]).name if self.tape.dtype(self.rows[0]).kind == "f" else "float64"
        return build([Stage(lanes=lanes, rows=rows, code=code)], len(buffers), dtype), buffers


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
