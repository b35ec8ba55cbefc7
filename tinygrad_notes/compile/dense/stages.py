"""From jobs to stages: the code of each, and where in memory its rows are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..entries import Code, padded
from ..native import Access, Product, Stage
from ..native.primitives import NUMBER, PRIMITIVES
from .jobs import Chain, Fill, Fold, Grid, Held, Job, grid_of, in_order, offset_of
from .samples import WITHIN
from .schedule import Schedule


class Memory(NamedTuple):
    """In an entry the buffer that a row's numbers are in, before places are given out."""

    row: int


class Place(NamedTuple):
    """Where a row's numbers begin, and how far a step, or a block of samples, goes on."""

    buffer: int
    base: int
    step: int = 0


class Stages:
    """The stages of a schedule.

    Args:
        schedule: the jobs.
        strides: how far a step goes on in a buffer, by the part of the step; for others than `stacks`.
        beside: stages on a block of samples, of a schedule that differs by how many these are: what is not there for
            each sample is where it is there.
        done: how many samples come before those of this schedule.

    Attributes:
        out, kept, stacks: the buffers of the results, of what is needed on the way, and of what each step returns.
        sizes: of `out` and `kept`, in numbers.
        segments: where in its buffer the numbers of each root are: offset and count.
        flag: the place in `out` for whether all results are finite.
        sums: where in `kept` the sums over samples are: offset and count; those of a block come after them.
        phases: the stages of each phase.
    """

    def __init__(
        self, schedule: Schedule, strides: dict[int, int], beside: Stages | None = None, done: int = 0
    ) -> None:
        self.schedule, self.tape, self.held, self.whole = schedule, schedule.tape, schedule.held, schedule.whole
        self.samples, self.beside, self.done = schedule.samples, beside, done
        self.full = self.samples.tape if self.samples else self.tape
        self.out, self.kept = len(schedule.inputs), len(schedule.inputs) + 1
        self.stacks = list(range(self.kept + 1, self.kept + 1 + len(schedule.roots) - self.whole))
        self.strides = dict(strides)
        self.sizes, self.segments = [0, 0], list[tuple[int, int]]()
        self._reserve()
        written = []
        self.touched: list[tuple[set[int], set[int]]] = []  # the rows that each job reads and writes
        for job in schedule.jobs:
            self.reads, self.writes = set[int](), set[int]()
            written.append(self._stage(job))
            self.touched.append((self.reads, self.writes))
        self.phases = []
        for phase, (first, end) in enumerate(pairwise([0, *schedule.ends])):
            self._allot(first, end)
            self.within = bool(self.samples) and phase == WITHIN
            self.phases.append([self._placed(stage) for stage in written[first:end]])

    # --- memory -----------------------------------------------------------------------------------------------------

    def _reserve(self) -> None:
        """A segment of the results for each root, and memory for sums over samples."""
        for k, r in enumerate(self.schedule.roots):
            count = math.prod(self.full.shape(r))
            self.segments.append((self.sizes[0] if k < self.whole else 0, count))
            if k < self.whole:
                self.sizes[0] += count
        self.strides |= {b: self.segments[self.whole + k][1] for k, b in enumerate(self.stacks)}
        self.flag = padded(self.sizes[0])
        self.sizes[0] = self.flag + 1
        self.place = {i: self._given(i, k, 0) for k, i in enumerate(self.schedule.inputs)}
        self.place |= {row: self._segment(k) for row, k in self.schedule.returned.items()}
        self.sums = 0, 0
        if self.beside:
            self.sizes, self.sums = self.beside.sizes, self.beside.sums
            self.place = {**self.beside.place, **self.place}
            for i in self.samples.axes if self.samples else ():
                if self.place.get(i, (self.kept,))[0] == self.kept:
                    self.place.pop(i, None)
        elif self.samples:
            for i in sorted(self.samples.sums):
                self.place[i] = Place(self.kept, self.sizes[1])
                self.sizes[1] += math.prod(self.tape.shape(i))
            self.sizes[1] += -self.sizes[1] % 8
            self.sums = 0, self.sizes[1]
            self.sizes[1] *= 2

    def _given(self, row: int, buffer: int, base: int) -> Place:
        """Where a row begins that is given from outside, or returned."""
        if self.samples is None or row not in self.samples.axes:
            return Place(buffer, base, self.strides.get(buffer, 0))
        axis = self.samples.axes[row]
        each = math.prod(self.tape.shape(row)[axis + 1 :])
        return Place(buffer, base + each * self.done, 0 if self.done else each * self.tape.shape(row)[axis])

    def _segment(self, root: int) -> Place:
        """Where a root begins."""
        buffer = self.out if root < self.whole else self.stacks[root - self.whole]
        return self._given(self.schedule.roots[root], buffer, self.segments[root][0])

    def _allot(self, first: int, end: int) -> None:
        """Give out memory for some jobs: what they read for the last time makes room for others of them."""
        free: dict[int, list[int]] = {}
        last = {root: k for k, (reads, writes) in enumerate(self.touched) for root in (*reads, *writes)}
        own = set[int]()
        for k in range(first, end):
            reads, writes = self.touched[k]
            for root in writes:
                if root not in self.place:
                    size = math.prod(self.tape.shape(root))
                    if not free.get(size):
                        free.setdefault(size, []).append(self.sizes[1])
                        self.sizes[1] += size + -size % 8
                    self.place[root] = Place(self.kept, free[size].pop())
                    own.add(root)
            for root in reads | writes:
                if last[root] == k and root in own:
                    free[math.prod(self.tape.shape(root))].append(self.place[root].base)

    def _placed(self, stage: Stage | Product) -> Stage | Product:
        """A stage with buffers in place of rows."""
        code: list[tuple[Any, ...]] = []
        for kind, *rest in stage.code:
            if kind == "load":
                code.append((kind, *self._moved(Access(*rest))))
            elif kind in ("store", "total"):
                place = self._moved(Access(*rest[1:]))
                code.append((kind, rest[0], *place[: 5 if kind == "store" else 4]))
            else:
                code.append((kind, *rest))
        if isinstance(stage, Product):
            return replace(stage, a=stage.a and self._moved(stage.a), b=self._moved(stage.b), code=code)
        return replace(stage, code=code)

    def _moved(self, at: Access) -> Access:
        row: Any = at.buffer
        if not isinstance(row, Memory):
            return at
        buffer, base, step = self.place[row.row]
        if self.within and self.samples and row.row in self.samples.sums:
            base += self.sums[1]
        return at._replace(buffer=buffer, offset=base + at.offset, step_stride=step)

    # --- stages -----------------------------------------------------------------------------------------------------

    def _stage(self, job: Job) -> Stage | Product:
        if isinstance(job, Chain):
            return self._chain(job)
        if isinstance(job, Fold):
            code = Code()
            root, x = job.x
            total = None
            for k in range(x.shape[1]):
                value = code.entry("load", *self._at((root, x[:, k])))
                total = value if total is None else code.entry(job.op, total, value)
            code.put("store", total, *self._at((job.row, np.empty(x.shape[0])), write=True))
            return Stage(x.shape[0], 1, code.entries)
        code = Code()
        if isinstance(job, Fill):
            grid, target = self._target(job.root, [])
            code.put("store", code.put("constant", job.number), *target)
            return Stage(grid.lanes, grid.rows, code.entries)
        root, x = job.x
        if job.root is None:
            grid = grid_of(x.shape, [x.strides])
            target = self._at((job.row, np.empty(x.shape)), grid, write=True)
        else:
            grid, target = self._target(job.root, [x.strides])
        code.put("store", code.put("load", *self._at((root, x), grid)), *target)
        return Stage(grid.lanes, grid.rows, code.entries)

    def _target(self, root: int, strides: Sequence[Sequence[int]]) -> tuple[Grid, Access]:
        """Where a root is, as rows and lanes that suit a view with such strides, too."""
        r = self.schedule.roots[root]
        own = in_order(self.full.shape(r))
        grid = grid_of(self.tape.shape(r), [*strides, own])
        buffer, offset, step = self._segment(root)
        across, along = grid.strides(own)
        return grid, Access(buffer, offset, across // 8, along // 8, step)

    def _at(self, held: Held, grid: Grid | None = None, write: bool = False) -> Access:
        """Where a view is, in the memory of its row."""
        root, view = held
        (self.writes if write else self.reads).add(root)
        offset = 0 if write else offset_of(view, self.held[root][1])
        moving = tuple(s if n > 1 else 0 for s, n in zip(view.strides, view.shape, strict=True))
        strides = grid.strides(view.strides) if grid else ((0,) * 2 + moving)[-2:]
        return Access(Memory(root), offset, strides[0] // 8, strides[1] // 8)  # type: ignore[arg-type]

    def _chain(self, chain: Chain) -> Stage | Product:
        """The loop of a chain, or its product."""
        tape, stored = self.tape, self.schedule.stored
        given = [i for i in chain.rows if self.held[i][0] in stored]  # a view that stands for a product is held by it
        wanted = {*given} | {tape.rows[s][1] for s in chain.sums}
        for i in reversed(chain.rows):
            if i in wanted and i != chain.head:
                wanted |= set(self.schedule.inlined(tape.rows[i][1:]))
        lies, close = self._matrix(chain, given[0]) if chain.product else self._grid(chain, wanted)
        total, *start = self._start(chain, wanted)
        code = Code()

        def value(i: int, kind: str = NUMBER) -> int:
            if i not in code.values:
                code.values[i] = write(i)
            return code.as_kind(code.values[i], kind)

        def write(i: int) -> int:
            number = self.schedule.number(i)
            if number is not None:
                return code.entry("constant", number)
            if i == chain.head:
                return code.put("product", *map(value, start))
            if i == total:
                return value(chain.head)
            if i in chain.rows or self.schedule.is_mask(i):
                args = zip(tape.rows[i][1:], PRIMITIVES[self.schedule.names[i]].takes, strict=True)
                return code.entry(self.schedule.names[i], *(value(a, kind) for a, kind in args))
            return code.entry("load", *lies(i))

        if chain.product:
            value(chain.head)  # what is computed before it would take up registers meanwhile
        for i in chain.rows:
            if i in wanted and not self.schedule.is_mask(i):
                value(i)
        for i in given:
            code.put("store", value(i), *lies(i, write=True))
        for s in chain.sums:
            at = self._at((s, np.empty(())), write=True)
            code.put("total", value(tape.rows[s][1]), *at[:2], 0, 0)
        return close(code)

    def _grid(self, chain: Chain, wanted: set[int]) -> tuple[Callable[..., Access], Callable[[Code], Stage]]:
        """Where a row lies in the loop of a chain, and the loop of its code."""
        outer = [a for a in wanted if a not in chain.rows and self.schedule.number(a) is None]
        views = {a: np.broadcast_to(self.held[a][1], chain.shape) for a in outer}
        grid = grid_of(chain.shape, [v.strides for v in views.values()])

        def lies(i: int, write: bool = False) -> Access:
            root, view = self.held[i]
            return self._at((root, views.get(i, view)), grid, write)

        return lies, lambda code: Stage(grid.lanes, grid.rows, code.entries)

    def _matrix(self, chain: Chain, stored: int) -> tuple[Callable[..., Access], Callable[[Code], Product]]:
        """Where a row lies in the tiles of a chain's product, and the product with its code; a row that is stored."""
        product, matrix = chain.product, self.schedule.matrix
        assert product
        a, b = product.a, product.b
        c = matrix(self.held[stored][1], chain)
        assert c is not None
        turned = c.shape[0] >= 4 and (c.shape[1] < 4 or c.strides[1] != 8 == c.strides[0])
        if turned and a:  # vectors along what is long, and in order
            a, b, c = (b[0], b[1].T), (a[0], a[1].T), c.T
        (m, n), inner = c.shape, b[1].shape[0]

        def lies(i: int, write: bool = False) -> Access:
            root, view = self.held[i]
            found = matrix(view, chain)
            assert found is not None
            return self._at((root, found.T if turned else found), write=write)

        return lies, lambda code: Product(m, n, inner, a and self._at(a), self._at(b), code.entries)

    def _start(self, chain: Chain, wanted: set[int]) -> tuple[int, ...]:
        """Where a product is added to something, and nothing else: the sum, and what the product starts from."""
        tape, head = self.tape, chain.head
        users = [i for i in wanted if i in chain.rows and head in self.schedule.inlined(tape.rows[i][1:])]
        if chain.product and chain.product.row not in self.schedule.stored and len(users) == 1:
            start = [a for a in tape.rows[users[0]][1:] if a != head]
            if self.schedule.names[users[0]] == "add" and len(start) == 1 and head not in self.schedule.inlined(start):
                return users[0], *start
        return (-1,)
