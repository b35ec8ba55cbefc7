"""Where the arrays that a NumPy program returns lie: one after the other, and computed there if they can be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from .pack import base
from .results import Results
from .tape import Tape


class Block(NamedTuple):
    """The results of one dtype.

    Attributes:
        numbers: all of them.
        fresh: the places, among the roots, of those that the caller is given in memory of its own, and their arrays.
    """

    numbers: np.ndarray[Any, Any]
    fresh: tuple[list[int], Results]


class Placing:
    """Places for the arrays among the results.

    Args:
        tape: the program.
        roots: the rows that are returned.
        read: for each whether the caller has read it before the next run; then no copy is made.

    Attributes:
        returned: for each root that is an array, by its place among the roots, where it is to be in the end.
        places: rows that are computed there: the roots, or what they are parts of or have another shape of.
        blocks: all of it, by dtype.
    """

    def __init__(self, tape: Tape, roots: Sequence[int], read: Sequence[bool]) -> None:
        self.tape, self.roots = tape, roots
        self.returned: dict[int, np.ndarray[Any, Any]] = {}
        self.places: dict[int, np.ndarray[Any, Any]] = {}
        self.blocks: list[Block] = []
        arrays = [k for k, r in enumerate(roots) if tape.shape(r)]
        for dtype in dict.fromkeys(tape.dtype(roots[k]) for k in arrays):
            own = [k for k in arrays if tape.dtype(roots[k]) == dtype]
            own.sort(key=lambda k: (read[k], *(self._part(k) or (len(tape.rows), k))))
            ends = np.cumsum([math.prod(tape.shape(roots[k])) for k in own]).tolist()
            numbers = np.zeros(ends[-1], dtype)
            views = [(a, b, tape.shape(roots[k])) for k, a, b in zip(own, [0, *ends], ends, strict=False)]
            for k, (a, b, shape) in zip(own, views, strict=True):
                self.returned[k] = numbers[a:b].reshape(shape)
                row = base(tape, roots[k])
                self.places.setdefault(row, numbers[a:b].reshape(tape.shape(row)))
            self._place_wholes(numbers, own, [a for a, _, _ in views])
            count = sum(not read[k] for k in own)
            copied = Results(numbers[: ends[count - 1] if count else 0], views[:count])
            self.blocks.append(Block(numbers, (own[:count], copied)))

    def _part(self, k: int) -> tuple[int, int] | None:
        """The vector that a root is a part of, and where it begins there."""
        tape = self.tape
        code, *args = tape.rows[base(tape, self.roots[k])]
        op, params = tape.operation(code) if code >= 0 else (None, {})
        if op is not ops.getitem or len(tape.shape(args[0])) != 1:
            return None
        index = params["index"]
        is_part = type(index) is slice and index.step is None and isinstance(index.start, int)
        return (args[0], index.start) if is_part else None

    def _place_wholes(self, numbers: np.ndarray[Any, Any], own: Sequence[int], starts: Sequence[int]) -> None:
        """A vector of which all parts are returned, each once and in order, is computed where they are to be."""
        tape = self.tape
        found: dict[int, list[tuple[int, int, int]]] = {}
        for k, start in zip(own, starts, strict=True):
            if (part := self._part(k)) is not None:
                found.setdefault(part[0], []).append((start, part[1], math.prod(tape.shape(self.roots[k]))))
        for whole, parts in found.items():
            first, size = parts[0][0], math.prod(tape.shape(whole))
            if sum(n for *_, n in parts) == size and all(start - first == offset for start, offset, _ in parts):
                self.places.setdefault(whole, numbers[first : first + size])
