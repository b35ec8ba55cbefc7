"""Array programs as native code: products of matrices, and loops over chains of elementwise ops between them.

What NumPy would do call by call is one call here: no result goes back to Python, and what is small stays in the cache.
`schedule.py` decides what is computed together, `stages.py` writes it and gives out memory, `jobs.py` has the words
that both use.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..entries import closing, describe, worth_sharing
from ..loops import Slice
from ..lower import lower
from ..native import Product, Stage, build
from ..roll import Roller, number_of
from ..trace import Traced
from .schedule import KNOWN, Schedule
from .stages import Stages

__all__ = ["DenseProgram"]


class DenseProgram:
    """An array program as native code; what it takes and gives is as of a `LaneProgram`.

    Args:
        roller: what rolls it up, with deep=True.
        roots: the rows to return, of the traced tape.
        feedback, stacked, shared: as of a `LaneProgram`.

    Raises:
        DeclinedError: it holds something that is not computed here, or another back end is quicker.
    """

    def __init__(
        self,
        roller: Roller,
        roots: Sequence[int],
        feedback: Sequence[tuple[int, Any]] = (),
        stacked: int = 0,
        shared: bool = False,
    ) -> None:
        found = [number_of(roller.row(r)) for r in roots]
        rows = [y.index if isinstance(y, Traced) else roller.tape.constant(y) for y in found]
        self.tape, self.roots = lower(roller.tape, rows, known=KNOWN)
        schedule = Schedule(self.tape, self.roots, len(self.roots) - stacked)
        self.inputs = [self.tape.inputs[self.tape.rows[i][1]] for i in schedule.inputs]
        parts = {k: i for k, i in enumerate(schedule.inputs) if isinstance(self.inputs[k], Slice)}
        written = Stages(schedule, {k: math.prod(self.tape.shape(i)) for k, i in parts.items()})
        self.out, self.kept, self.flag = written.out, written.kept, written.flag
        self.sizes, self.segments = written.sizes, written.segments
        self.indices: list[np.ndarray[Any, Any]] = []
        places = [(*self.segments[k], self.inputs.index(what)) for k, what in feedback if what in self.inputs]
        guarded = bool(roller.source.pulls)
        self.stages = [*written.stages, *closing(self.out, self.flag, places, guarded)]
        self.instructions = sum(len(s.code) or 1 for s in self.stages)
        self.flops = sum(map(_flops, self.stages))
        shared = shared and worth_sharing(self.flops)
        desk = None if shared else (self.out, self.flag if guarded else None)
        self.stacked = stacked
        self.native = build(self.stages, self.kept + 1 + stacked, shared=shared, desk=desk)

    @property
    def source(self) -> str:
        """The stages, a line for each product and each entry."""
        names = [f"input{k}" for k in range(self.out)] + ["out", "kept"] + [f"stack{k}" for k in range(self.stacked)]
        return describe(self.stages, names)


def _flops(stage: Stage | Product) -> int:
    if isinstance(stage, Product):
        return (2 if stage.a else 1) * stage.rows * stage.lanes * stage.inner
    moves = ("load", "store", "gather", "constant")
    return stage.rows * stage.lanes * sum(e[0] not in moves for e in stage.code)
