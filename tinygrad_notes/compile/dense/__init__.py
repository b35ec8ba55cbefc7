"""Array programs as native code: products of matrices, and loops over chains of elementwise ops between them.

What NumPy would do call by call is one call here: no result goes back to Python, and what is small stays in the cache.
`schedule.py` decides what is computed together, `stages.py` writes it and gives out memory, `jobs.py` has the words
that both use.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..entries import COMPUTED, StageProgram
from ..loop import Slice
from ..roll import Roller
from .schedule import Schedule
from .stages import Stages

__all__ = ["DenseProgram"]


class DenseProgram(StageProgram):
    """An array program as native code; what it takes and gives is as of every `StageProgram`.

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
        super().__init__(roller, roots, COMPUTED)
        schedule = Schedule(self.tape, self.roots, len(self.roots) - stacked)
        self.inputs = [self.tape.inputs[self.tape.rows[i][1]] for i in schedule.inputs]
        parts = {k: i for k, i in enumerate(schedule.inputs) if isinstance(self.inputs[k], Slice)}
        written = Stages(schedule, {k: math.prod(self.tape.shape(i)) for k, i in parts.items()})
        self.sizes, self.segments, self.flag = written.sizes, written.segments, written.flag
        self.finish(written.stages, feedback, stacked, shared)
