"""Arrays for results: each call has its own, and those that nobody holds any more are used again."""

from __future__ import annotations

from collections.abc import Sequence
from sys import getrefcount
from typing import TYPE_CHECKING, Any

import numpy as np

from .inference import FLOAT64
from .tape import Tape

if TYPE_CHECKING:
    from .native.desk import Desk

MOST = 4
"""So many sets of results are kept; a loop that holds the last result and makes the next needs two."""

View = tuple[int, int, tuple[int, ...]]
"""Where a result's numbers begin and end in the program's output, and its shape."""


def declared(x: Any, dtype: np.dtype[Any]) -> Any:
    """A result in the dtype of its row, whatever it was computed in; a number is Python's float, int or bool."""
    if isinstance(x, np.ndarray) and x.ndim:
        return x.astype(dtype, copy=False)
    return float(x) if dtype == FLOAT64 else np.asarray(x).astype(dtype).item()


def casts(tape: Tape, roots: Sequence[int], dtypes: Sequence[np.dtype[Any]]) -> list[tuple[int, np.dtype[Any]]]:
    """The results that a program gives in another dtype than their rows have: their places, and the rows' dtypes.

    Args:
        tape: what was traced.
        roots: the rows of the results.
        dtypes: what the program gives.
    """
    pairs = enumerate(zip(roots, dtypes, strict=True))
    return [(k, tape.dtype(r)) for k, (r, given) in pairs if tape.dtype(r) != given and not tape.is_constant(r)]


class Results:
    """The results of a program, copied out of the buffer that it writes to.

    A set is one block of memory and an array for each result in it. Making one costs more than filling it, so a set is
    kept, and taken again once the counts of references say that neither an array nor a part of one is held elsewhere.

    Args:
        out: the buffer.
        views: the results that are arrays.
        desk: where sets are laid out for the quick way into the program.
    """

    def __init__(self, out: np.ndarray[Any, Any], views: Sequence[View], desk: Desk | None = None) -> None:
        self.out, self.views, self.desk = out, views, desk
        self.sets: list[tuple[np.ndarray[Any, Any], list[Any], list[Any]]] = []
        self.idle = 0

    def take(self) -> list[Any]:
        """The arrays, filled; the list itself is not to be changed."""
        idle = self.idle
        for held in self.sets:
            if sum(map(getrefcount, held[2])) == idle:
                held[0][:] = self.out
                return held[1]
        block = self.out.copy()
        arrays = [block[a:b].reshape(shape) for a, b, shape in self.views]
        held = block, arrays, [*arrays, block]
        del block
        if len(self.sets) < MOST:
            self.sets.append(held)
            if self.desk is not None:
                self.desk.add(held[0], arrays)
                self.desk.open()
            self.idle = sum(map(getrefcount, held[2]))
        return held[1]
