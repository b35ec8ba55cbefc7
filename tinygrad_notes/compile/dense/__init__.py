"""Array programs as native code: products of matrices, and loops over chains of elementwise ops between them.

What NumPy would do call by call is one call here: no result goes back to Python, and what is small stays in the cache.
`schedule.py` decides what is computed together, `stages.py` writes it and gives out memory, `jobs.py` has the words
that both use. What is computed for many samples runs in blocks of them: `samples.py`, `blocks.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..entries import COMPUTED, StageProgram
from ..expand import is_scalar
from ..loop import Slice
from ..native import vector_bytes
from ..roll import Roller
from ..tape import DeclinedError
from . import schedule
from .blocks import blocked
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
        mapped = roller.source.maps if is_scalar(roller.source, roller.live) else []  # in lanes, if not here
        least = max([schedule.LEAST, *(schedule.FOR_EACH * many.size for many in mapped)])
        jobs = schedule.Schedule(self.tape, self.roots, len(self.roots) - stacked, least)
        self.inputs = [self.tape.inputs[self.tape.rows[i][1]] for i in jobs.inputs]
        parts = {k: i for k, i in enumerate(jobs.inputs) if isinstance(self.inputs[k], Slice)}
        written = Stages(jobs, {k: math.prod(self.tape.shape(i)) for k, i in parts.items()})
        stages, blocks = written.phases[0], None
        if not stacked and not parts and (found := blocked(self.tape, self.roots, written.sizes[1])):
            written, stages, blocks = found
        if written.schedule.largest > schedule.MOST[vector_bytes()][shared]:
            raise DeclinedError(f"products of up to {written.schedule.largest} multiplications")
        self.sizes, self.segments, self.flag = written.sizes, written.segments, written.flag
        self.finish(stages, feedback, stacked, shared, blocks)
