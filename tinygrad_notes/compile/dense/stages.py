"""From jobs to stages: the code of each, and where in memory its rows are."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..entries import Code, padded
from ..native import Access, Product, Stage
from ..native.primitives import NUMBER, PRIMITIVES
from .jobs import Chain, Fill, Fold, Grid, Held, Job, Matrices, grid_of, in_order, offset_of
from .schedule import Schedule


class Memory(NamedTuple):
    """In an entry the buffer that a row's numbers are in, before places are given out."""

    row: int


class Stages:
    """The stages of a schedule.

    Args:
        schedule: the jobs.
        strides: how far a step goes on in a buffer, by the part of the step; for others than `stacks`.

    Attributes:
        out, kept, stacks: the buffers of the results, of what is needed on the way, and of what each step returns.
        sizes: of `out` and `kept`, in numbers.
        segments: where in its buffer the numbers of each root are: offset and count.
        flag: the place in `out` for whether all results are finite.
        stages: the stages.
    """

    def __init__(self, schedule: Schedule, strides: dict[int, int]) -> None:
        self.schedule, self.tape, self.held, self.whole = schedule, schedule.tape, schedule.held, schedule.whole
        self.out, self.kept = len(schedule.inputs), len(schedule.inputs) + 1
        self.stacks = list(range(self.kept + 1, self.kept + 1 + len(schedule.roots) - self.whole))
        self.place: dict[int, tuple[int, int]] = {i: (k, 0) for k, i in enumerate(schedule.inputs)}
        self.strides = dict(strides)
        self.sizes, self.segments = [0, 0], list[tuple[int, int]]()
        self._reserve()
        written = []
        self.touched: list[tuple[set[int], set[int]]] = []  # the rows that each job reads and writes
        for job in schedule.jobs:
            self.reads, self.writes = set[int](), set[int]()
            written.append(self._stage(job))
            self.touched.append((self.reads, self.writes))
        self._allot()
        self.stages = [self._placed(stage) for stage in written]

    # --- memory -----------------------------------------------------------------------------------------------------

    def _reserve(self) -> None:
        """A segment of the results for each root."""
        for k, r in enumerate(self.schedule.roots):
            count = math.prod(self.tape.shape(r))
            self.segments.append((self.sizes[0] if k < self.whole else 0, count))
            if k < self.whole:
                self.sizes[0] += count
        self.place |= {row: self._segment(k) for row, k in self.schedule.returned.items()}
        self.strides |= {b: self.segments[self.whole + k][1] for k, b in enumerate(self.stacks)}
        self.flag = padded(self.sizes[0])
        self.sizes[0] = self.flag + 1

    def _allot(self) -> None:
        """Give out memory: what is read for the last time makes room for others."""
        free: dict[int, list[int]] = {}
        last = {root: k for k, (reads, writes) in enumerate(self.touched) for root in (*reads, *writes)}
        for k, (reads, writes) in enumerate(self.touched):
            for root in writes:
                if root not in self.place:
                    size = math.prod(self.tape.shape(root))
                    if not free.get(size):
                        free.setdefault(size, []).append(self.sizes[1])
                        self.sizes[1] += size + -size % 8
                    self.place[root] = self.kept, free[size].pop()
            for root in reads | writes:
                if last[root] == k and self.place[root][0] == self.kept:
                    free[math.prod(self.tape.shape(root))].append(self.place[root][1])

    def _placed(self, stage: Stage | Product) -> Stage | Product:
        """A stage with buffers in place of rows."""
        if isinstance(stage, Product):
            moved = [None if m is None else self._moved(m) for m in (stage.a, stage.b, stage.c, stage.start)]
            return Product(stage.rows, stage.lanes, stage.inner, *moved)  # type: ignore[arg-type]
        code: list[tuple[Any, ...]] = []
        for kind, *rest in stage.code:
            if kind == "load":
                code.append((kind, *self._moved(Access(*rest))))
            elif kind in ("store", "total"):
                place = self._moved(Access(*rest[1:]))
                code.append((kind, rest[0], *place[: 5 if kind == "store" else 4]))
            else:
                code.append((kind, *rest))
        return Stage(stage.lanes, stage.rows, code)

    def _moved(self, at: Access) -> Access:
        row: Any = at.buffer
        if not isinstance(row, Memory):
            return at
        buffer, base = self.place[row.row]
        return at._replace(buffer=buffer, offset=base + at.offset, step_stride=self.strides.get(buffer, 0))

    # --- stages -----------------------------------------------------------------------------------------------------

    def _stage(self, job: Job) -> Stage | Product:
        if isinstance(job, Chain):
            return self._chain(job)
        if isinstance(job, Matrices):
            a, start = (None if m is None else self._at(m) for m in (job.a, job.start))
            (m, n), inner = job.c.shape, job.b[1].shape[0]
            return Product(m, n, inner, a, self._at(job.b), self._at((job.row, job.c), write=True), start)
        if isinstance(job, Fold):
            code = Code()
            root, x = job.x
            total = None
            for k in range(x.shape[1]):
                value = code.entry("load", *self._at((root, x[:, k])))
                total = value if total is None else code.entry(job.op, total, value)
            code.put("store", total, *self._at((job.row, np.empty(x.shape[0])), write=True))
            return Stage(x.shape[0], 1, code.entries)
        if isinstance(job, Fill):
            code = Code()
            number = code.put("constant", job.number)
            buffer, offset = self._segment(job.root)
            code.put("store", number, buffer, offset, 0, 1, self.strides.get(buffer, 0))
            return Stage(self.segments[job.root][1], 1, code.entries)
        root, x = job.x
        grid = grid_of(x.shape, [x.strides])
        code = Code()
        value = code.entry("load", *self._at((root, x), grid))
        if job.root is None:
            target = self._at((job.row, np.empty(x.shape)), grid, write=True)
        else:
            buffer, offset = self._segment(job.root)
            across, along = grid.strides(in_order(x.shape))
            target = Access(buffer, offset, across // 8, along // 8, self.strides.get(buffer, 0))
        code.put("store", value, *target)
        return Stage(grid.lanes, grid.rows, code.entries)

    def _segment(self, root: int) -> tuple[int, int]:
        """The buffer of a root, and where in it it begins."""
        return (self.out if root < self.whole else self.stacks[root - self.whole]), self.segments[root][0]

    def _at(self, held: Held, grid: Grid | None = None, write: bool = False) -> Access:
        """Where a view is, in the memory of its row."""
        root, view = held
        (self.writes if write else self.reads).add(root)
        offset = 0 if write else offset_of(view, self.held[root][1])
        strides = grid.strides(view.strides) if grid else ((0,) * 2 + view.strides)[-2:]
        return Access(Memory(root), offset, strides[0] // 8, strides[1] // 8)  # type: ignore[arg-type]

    def _chain(self, chain: Chain) -> Stage:
        """The loop of a chain."""
        tape, shape = self.tape, chain.shape
        wanted = {i for i in chain.rows if i in self.schedule.stored} | {tape.rows[s][1] for s in chain.sums}
        for i in reversed(chain.rows):
            if i in wanted:
                wanted |= set(self.schedule.inlined(tape.rows[i][1:]))
        outer = {}
        for a in wanted:
            if a not in chain.rows and self.schedule.number(a) is None:
                outer[a] = np.broadcast_to(self.held[a][1], shape)
        grid = grid_of(shape, [v.strides for v in outer.values()])
        code = Code()

        def value(i: int, kind: str = NUMBER) -> int:
            if i not in code.values:
                code.values[i] = write(i)
            return code.as_kind(code.values[i], kind)

        def write(i: int) -> int:
            number = self.schedule.number(i)
            if number is not None:
                return code.entry("constant", number)
            if i in chain.rows or self.schedule.is_mask(i):
                args = zip(tape.rows[i][1:], PRIMITIVES[self.schedule.names[i]].takes, strict=True)
                return code.entry(self.schedule.names[i], *(value(a, kind) for a, kind in args))
            return code.entry("load", *self._at((self.held[i][0], outer[i]), grid))

        for i in chain.rows:
            if i in wanted and not self.schedule.is_mask(i):
                value(i)
        for i in chain.rows:
            if i in self.schedule.stored:
                code.put("store", value(i), *self._at((i, np.empty(shape)), grid, write=True))
        for s in chain.sums:
            at = self._at((s, np.empty(())), write=True)
            code.put("total", value(tape.rows[s][1]), *at[:2], 0, 0)
        return Stage(grid.lanes, grid.rows, code.entries)
