"""A native program that is ready to run: tied to arrays, its results in memory of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import is_
from typing import TYPE_CHECKING, Any

import numpy as np

from .careful import Careful, Feedback
from .inference import FLOAT64
from .results import MOST, Results, casts, declared
from .tape import Tape

if TYPE_CHECKING:
    from .dense import DenseProgram
    from .lanes import LaneProgram
    from .native.desk import Desk

QUICK = 1_000_000
"""The most operations of a program that holds Python's lock while it runs: some hundred microseconds."""


class NativePlan:
    """Native code; bound to the arrays it was called with last. Small programs run on one thread."""

    backend = "llvm"

    def __init__(
        self,
        tape: Tape,
        roots: Sequence[int],
        program: DenseProgram | LaneProgram,
        threads: int,
        feedback: Feedback = (),
        stacked: int = 0,
    ) -> None:
        from .native.binding import aligned
        from .native.desk import POSSIBLE

        self.tape, self.roots, self.program = tape, roots, program
        self.threads = threads = threads if program.native.shared else 1
        self.in_place = self.feeds = False
        self.feedback = [what for _, what in feedback]
        self.fed = [what for what in self.feedback if what in program.inputs]
        self.inputs, self.instructions, self.flops = program.inputs, program.instructions, program.flops
        self.out, self.kept = (aligned(max(n, 1)) for n in program.sizes)
        whole = len(roots) - stacked
        self.views = [
            (offset, offset + count, tape.shape(r))
            for (offset, count), r in zip(program.segments[:whole], roots[:whole], strict=True)
        ]
        fed = {k for k, _ in feedback}
        self.unfed = [None if k in fed else v for k, v in enumerate(self.views)] if fed else self.views
        self.results = [self._store(views) for views in (self.unfed, self.views)]
        self.desk: Desk | None = None
        # Native code writes doubles.
        self.casts = casts(tape, roots[:whole], [FLOAT64] * whole)
        self.memory: memoryview[float] = memoryview(self.out)  # type: ignore[arg-type]  # an array is a buffer
        self.flag = program.flag
        self.given: Any = None
        self.stacks = [tape.shape(r) for r in roots[whole:]]
        self.bound: tuple[Any, ...] = ()
        self.flat: list[np.ndarray[Any, Any]] = []
        self.step: Callable[..., None] | None = None
        self.looping: tuple[list[Any], list[Any], Callable[..., None]] | None = None
        self.careful = Careful(self)
        self.quick = POSSIBLE and threads == 1 and not stacked and not self.casts and self.flops <= QUICK

    @property
    def source(self) -> str:
        """The stages."""
        return self.program.source

    def _store(self, views: Sequence[Any], desk: Desk | None = None) -> Results | None:
        arrays = [v for v in views if v is not None and v[2]]
        return Results(self.out, arrays, desk) if arrays else None

    def _lay_out(self) -> None:
        """Make the quick way in, for the arrays that are bound: they are read and written where they are."""
        from .native.desk import Desk

        self.desk = None
        if self.quick and self.bound and self.feeds == bool(self.feedback):
            memory = self.step.memory  # type: ignore[union-attr]  # a function carries it
            arrays = sum(v is not None and bool(v[2]) for v in self.unfed)
            self.desk = Desk(self.program.native.code, memory.address, MOST, arrays + bool(arrays))
            self.results[0] = self._store(self.unfed, self.desk)
            if not arrays:
                self.desk.add(self.out.copy(), [])
                self.desk.open()

    def run(self, arrays: Sequence[Any]) -> Sequence[Any]:
        """The results."""
        if arrays is not self.given:
            if not self.bound or not all(map(is_, arrays, self.bound)):
                self._tie(arrays)
            self.given = arrays if self.bound else None
        self.step()  # type: ignore[misc]  # bound by now
        if self.memory[self.flag] != 0.0 and self.tape.pulls:
            self.in_place = False  # nothing was fed back, so the inputs are what they were
            return self.careful.run(arrays)
        self.in_place = self.feeds
        return self._results(self.unfed if self.in_place else self.views)

    def _results(self, views: Sequence[tuple[int, int, tuple[int, ...]] | None]) -> list[Any]:
        """Results in memory of their own; None for what was written in place."""
        memory = self.memory
        store = self.results[views is not self.unfed]
        if store is None:
            found: list[Any] = [None if v is None else memory[v[0]] for v in views]
        else:
            arrays = iter(store.take())
            found = [None if v is None else next(arrays) if v[2] else memory[v[0]] for v in views]
        for k, dtype in self.casts:
            if found[k] is not None:
                found[k] = declared(found[k], dtype)
        return found

    def loop(self, arrays: Sequence[Any], steps: int) -> list[Any] | None:
        """The results after so many steps, each on what the one before it left; None where care is needed.

        Args:
            arrays: of the inputs; they are copied, and what has a part for each step is whole.
        """
        if self.looping is None:  # binding costs more than a thousand steps of a small program
            copies = [np.array(a, np.float64) if np.size(a) else np.zeros(1) for a in arrays]
            stacks = [np.zeros((steps, *shape)) for shape in self.stacks]
            flat = [a.reshape(-1) for a in (*copies, self.out, self.kept, *stacks)]
            self.looping = copies, stacks, self.program.native.bind([*flat, *self.program.indices], self.threads)
        copies, stacks, step = self.looping
        for copy, array in zip(copies, arrays, strict=True):
            if np.size(array):
                np.copyto(copy, array)
        self.out[self.flag] = 0.0
        step(steps)
        if self.tape.pulls and not (self.memory[self.flag] == 0.0 and all(np.isfinite(s).all() for s in stacks)):
            return None
        return [*self._results(self.views), *(s.copy() for s in stacks)]

    def bind(self, arrays: Sequence[Any]) -> None:
        """Tie the program to arrays: read in place where they are of contiguous floats, else copied in each call."""
        ready = [np.ascontiguousarray(a, np.float64) for a in arrays]
        same = all(r is a for r, a in zip(ready, arrays, strict=True))
        self.flat = [r.reshape(-1) if r.size else np.zeros(1) for r in ready]
        rest = [self.out, self.kept, *self.program.indices]
        try:
            self.step = self.program.native.bind([*self.flat, *rest], self.threads)
        except ValueError:  # two arrays share memory, and one is written
            same = False
            self.flat = [f.copy() for f in self.flat]
            self.step = self.program.native.bind([*self.flat, *rest], self.threads)
        self.bound = tuple(arrays) if same else ()
        self.given = None
        self.feeds = (
            same
            and bool(self.fed)
            and len(self.fed) == len(self.feedback)  # an argument that nothing is computed from is not at hand
            and all(ready[self.inputs.index(what)] is arrays[self.inputs.index(what)] for what in self.fed)
        )
        self._lay_out()

    def _tie(self, arrays: Sequence[Any]) -> None:
        """As `bind`, for a later call: arrays of the shapes as before, of which none is written, need no new check."""
        if self.step is None or self.fed or self.threads > 1:
            self.bind(arrays)
            return
        same = True
        for k, array in enumerate(arrays):
            ready = np.ascontiguousarray(array, np.float64)
            same = same and ready is array
            if ready.size:
                self.flat[k] = ready if ready.flags.aligned else ready.copy()
                self.step.memory.replace(k, self.flat[k])  # type: ignore[attr-defined]  # a function carries it
        had, self.bound = bool(self.bound), tuple(arrays) if same else ()
        if had != same:
            self._lay_out()
