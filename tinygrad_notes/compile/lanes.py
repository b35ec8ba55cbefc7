"""Rolled scalar programs as stages of native code: what is computed for each number, and for each lane of a sum.

A row of shape () is computed once, a row of shape (n,) in n lanes. Rows that can run together form a stage: numbers at
even times, lanes at odd ones, since a sum over lanes is complete only after its stage. Within a stage values stay in
registers; between stages they are in memory: what is returned in the buffer `out`, what else is needed in `kept`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from .entries import COMPUTED, Code, StageProgram, padded
from .loop import Slice
from .native import Stage
from .native.primitives import NUMBER, PRIMITIVES
from .roll import Roller
from .tape import ASSEMBLED, CONSTANT, ELEMENT, INPUT, LANES, DeclinedError

SUMS = {"sum", "sum_to"}
SAME = {"reshape", "broadcast_to", "expand_dims", "squeeze"}
KNOWN = COMPUTED | SUMS
LONGEST = 40_000
"""The most entries of straight-line code; more take longer to compile than they are worth."""

Place = tuple[int, int]
"""A buffer and an offset in it."""


class LaneProgram(StageProgram):
    """A rolled scalar program as native code.

    Args:
        roller: what rolls it up, with deep=False.
        roots: the rows to return, of the traced tape.
        feedback: pairs of the place of a root and an input: at the end of each step the numbers of the root are written
            over those of the input.
        stacked: how many of the last roots have a part for each step, in buffers of their own after `kept`.
        shared: whether several threads run it.

    Raises:
        DeclinedError: it holds something that lanes cannot compute, or it is too long.
    """

    def __init__(
        self,
        roller: Roller,
        roots: Sequence[int],
        feedback: Sequence[tuple[int, Any]] = (),
        stacked: int = 0,
        shared: bool = False,
    ) -> None:
        super().__init__(roller, roots, KNOWN)
        self.live = self.tape.live(self.roots)
        self.inputs = [self.tape.inputs[self.tape.rows[i][1]] for i in self.live if self.tape.rows[i][0] == INPUT]
        memory = [i for i in self.live if self.tape.rows[i][0] == INPUT]
        self.out, self.kept = len(memory), len(memory) + 1
        self.base: dict[int, Place] = {i: (k, 0) for k, i in enumerate(memory)}  # of arrays in memory
        self.stacks = list(range(self.kept + 1, self.kept + 1 + stacked))
        self.first_index = self.kept + 1 + stacked
        self.sizes = [0, 0]
        # How far a step goes on in a buffer: by the part of the step.
        self.strides = {
            k: math.prod(self.tape.shape(i)) for k, i in enumerate(memory) if isinstance(self.inputs[k], Slice)
        }
        self.strides |= {
            b: math.prod(roller.source.shape(r)) for b, r in zip(self.stacks, roots[-stacked:], strict=False)
        }
        self.code: dict[tuple[int, int], Code] = {}  # by time and lanes
        self.names = {i: self.tape.operation(code)[0].name for i in self.live if (code := self.tape.rows[i][0]) >= 0}
        self._see_through()
        for i in self.live:
            code, *args = self.tape.rows[i]
            if code in (ELEMENT, LANES) and self.tape.rows[self.same[args[0]]][0] not in (INPUT, ASSEMBLED):
                raise DeclinedError("elements of an array that is computed")
        self._allot()
        self._timetable()
        self._write()
        stages = [Stage(lanes=n, code=c.entries) for (_, n), c in sorted(self.code.items()) if c.entries]
        instructions = sum(len(s.code) for s in stages)
        if instructions > LONGEST:
            raise DeclinedError(f"{instructions} instructions")
        self.finish(stages, feedback, stacked, shared)

    # --- what a row is ----------------------------------------------------------------------------------------------

    def _see_through(self) -> None:
        """Rows that only change a shape stand for their argument."""
        tape = self.tape
        self.same: dict[int, int] = {}
        for i in self.live:
            self.same[i] = i
            code, *args = tape.rows[i]
            if code < 0:
                continue
            name = tape.operation(code)[0].name
            one = math.prod(tape.shape(args[0])) == 1
            if name in SAME and (one or tape.shape(i) == tape.shape(args[0])) and not tape.is_constant(args[0]):
                self.same[i] = self.same[args[0]]
            elif name in SAME and one:
                self.same[i] = args[0]
            elif name not in KNOWN or (math.prod(tape.shape(i)) > 1 and len(tape.shape(i)) > 1):
                raise DeclinedError(f"{name} of shape {tape.shape(i)}")

    def _args(self, i: int) -> list[int]:
        return [self.same[a] for a in self.tape.arguments(i)]

    def _is_sum(self, i: int) -> bool:
        return self.names.get(i) in SUMS

    def _is_leaf(self, i: int) -> bool:
        return self.tape.rows[i][0] in (ELEMENT, LANES, CONSTANT)

    def _is_mask(self, i: int) -> bool:
        """Comparisons are written again where they are used: a mask is not kept in memory."""
        return self.tape.rows[i][0] >= 0 and self.tape.dtype(i).kind == "b"

    def _lanes(self, i: int) -> int:
        return math.prod(self.tape.shape(i))

    def _domain(self, i: int) -> int:
        """The lanes of the stage of a row: of a sum, those of what is summed."""
        return self._lanes(self._args(i)[0]) if self._is_sum(i) else self._lanes(i)

    def _needs(self, i: int) -> list[int]:
        """The rows that a row is computed from, with what masks among them are computed from."""
        found = []
        for a in self._args(i):
            found += self._needs(a) if self._is_mask(a) else [a]
        return found

    # --- where results are ------------------------------------------------------------------------------------------

    def _reserve(self, buffer: int, count: int) -> Place:
        k = buffer - self.out
        self.sizes[k] += count
        return buffer, self.sizes[k] - count

    def _allot(self) -> None:
        """A segment of `out` for each root, memory for assembled arrays."""
        self.segments: list[tuple[int, int]] = []
        self.returned: list[tuple[int, Place]] = []  # rows that are copied to a segment
        whole = len(self.roots) - len(self.stacks)
        for k, r in enumerate(self.roots):
            i, count = self.same[r], math.prod(self.tape.shape(r))
            if count > 1 and self._lanes(i) == 1:
                raise DeclinedError("one number in many places")
            place = self._reserve(self.out, count) if k < whole else (self.stacks[k - whole], 0)
            self.segments.append((place[1], count))
            if k >= whole:
                self.returned.append((i, place))
            elif self.tape.rows[i][0] == ASSEMBLED and i not in self.base:
                self.base[i] = place
            else:
                self.returned.append((i, place))
        for i in self.live:
            if self.tape.rows[i][0] == ASSEMBLED and i not in self.base:
                self.base[i] = self._reserve(self.kept, self._lanes(i))
        self.sizes[0] = padded(self.sizes[0])
        self.flag = self._reserve(self.out, 1)[1]

    # --- when rows are computed ---------------------------------------------------------------------------------------

    def _timetable(self) -> None:
        tape = self.tape
        self.time: dict[int, int] = {}
        self.ready: dict[int, int] = {}  # from when on a row can be loaded
        self.place: dict[int, Place] = {}  # where a computed row is kept
        self.single: list[tuple[int, Place, list[int]]] = []  # sums of numbers that are stored: time, where, rows
        self.adding: list[tuple[int, Place, int, int, int]] = []  # added in memory: time, where, stride, row, lanes
        uses: dict[int, list[int]] = defaultdict(list)
        computed = []
        for i in self.live:
            if self.same[i] != i or self._is_mask(i):
                continue
            code = tape.rows[i][0]
            if code == ASSEMBLED:
                self.ready[i] = self._assembly(i, uses)
            elif code in (INPUT, CONSTANT):
                self.ready[i] = 0
            elif code in (ELEMENT, LANES):
                self.ready[i] = self.ready[self.same[tape.rows[i][1]]]
            else:
                n = self._domain(i)
                odd = int(n > 1 or self._is_sum(i))
                start = odd
                for a in self._needs(i):
                    together = a in self.time and self._domain(a) == n and not self._is_sum(a)
                    start = max(start, self.time[a] if together else self.ready[a])
                self.time[i] = start + (start % 2 != odd)
                self.ready[i] = self.time[i] + 1
                computed.append(i)
                for a in self._needs(i):
                    uses[a].append(i)
        fixed = {i for i, _ in self.returned}
        for i in reversed(computed):  # lanes as late as they can, near to what uses them
            if self._domain(i) > 1 and not self._is_sum(i) and i not in fixed and uses[i]:
                self.time[i] = max(self.time[i], min(self.time[u] if u >= 0 else -u for u in uses[i]))
                self.ready[i] = self.time[i] + 1
        self.stage = {i: (self.time[i], self._domain(i)) for i in computed}
        self.computed = sorted(computed, key=lambda i: (self.time[i], i))
        for i in self.computed:  # what another stage uses is kept
            if self._is_sum(i) or any(self.stage[u] != self.stage[i] for u in uses[i] if u >= 0):
                self.place.setdefault(i, self._reserve(self.kept, self._lanes(i)))
        for time, _, _, row, lanes in self.adding:
            if row in self.time and self.stage[row] != (time, lanes) and row not in self.place:
                self.place[row] = self._reserve(self.kept, self._lanes(row))

    def _assembly(self, i: int, uses: dict[int, list[int]]) -> int:
        """Plan how an array is put together from its parts; when it is complete."""
        buffer, base = self.base[i]
        parts = self.tape.assembled[self.tape.rows[i][1]].parts
        at: dict[int, list[int]] = defaultdict(list)
        for where, row in parts:
            if isinstance(where, int):
                at[where].append(self.same[row])
        alone = len(parts) == sum(map(len, at.values()))  # nothing is added to the numbers afterwards
        ready = 0
        for offset in range(self._lanes(i)):
            rows = at.get(offset, [])
            if alone and len(rows) == 1 and self._is_sum(rows[0]) and rows[0] not in self.place:
                self.place[rows[0]] = (buffer, base + offset)
                ready = max(ready, self.ready[rows[0]])
            else:
                time = max((self.ready[r] for r in rows), default=0)
                time += time % 2
                self.single.append((time, (buffer, base + offset), rows))
                for r in rows:
                    uses[r].append(-time)
                    if r in self.time and r not in self.place:
                        self.place[r] = self._reserve(self.kept, 1)
                ready = max(ready, time + 1)
        for where, part in parts:
            if isinstance(where, int):
                continue
            row = self.same[part]
            stride = int(where[1] - where[0])
            if where.ndim != 1 or not (where == where[0] + stride * np.arange(len(where))).all() or not stride:
                raise DeclinedError("a gradient that is scattered irregularly")
            together = row in self.time and self._lanes(row) == len(where) and not self._is_sum(row)
            time = max(ready, self.time[row] if together else self.ready[row])
            time += time % 2 == 0
            self.adding.append((time, (buffer, base + int(where[0])), stride, row, len(where)))
            uses[row].append(-time)
            ready = time + 1
        return ready

    # --- code -------------------------------------------------------------------------------------------------------

    def _at(self, time: int, lanes: int) -> Code:
        return self.code.setdefault((time, lanes), Code())

    def _write(self) -> None:
        for i in self.computed:
            code = self._at(*self.stage[i])
            if self._is_sum(i):
                buffer, offset = self.place[i]
                value = self._as(code, self._args(i)[0], NUMBER)
                times = math.prod(self.tape.shape(self.tape.rows[i][1])) // self._domain(i)
                if times > 1:  # one number in many places
                    value = code.entry("multiply", code.entry("constant", float(times)), value)
                code.put("total", value, buffer, offset, 0, 0)
                continue
            value = self._value(code, i, here=True)
            if i in self.place:
                buffer, offset = self.place[i]
                code.put("store", value, buffer, offset, 0, 1, 0)
        for time, (buffer, offset), rows in self.single:
            code = self._at(time, 1)
            total = self._value(code, rows[0]) if rows else code.entry("constant", 0.0)
            for r in rows[1:]:
                total = code.entry("add", total, self._value(code, r))
            code.put("store", total, buffer, offset, 0, 1, 0)
        for time, (buffer, offset), stride, row, lanes in self.adding:
            code = self._at(time, lanes)
            before = code.put("load", buffer, offset, 0, stride, 0)
            total = code.put("add", before, self._value(code, row))
            code.put("store", total, buffer, offset, 0, stride, 0)
        for i, (buffer, offset) in self.returned:
            n = self._lanes(i)
            time = self.ready[i] if i not in self.time else self.time[i]
            if i in self.time and self._is_sum(i):
                time = self.ready[i]
            if i not in self.time or self._is_sum(i):
                time += time % 2 != int(n > 1)
            code = self._at(time, n)
            if self.tape.rows[i][0] in (INPUT, ASSEMBLED):
                value = self._load(code, self.base[i], 1)
            else:
                value = self._value(code, i)
            code.put("store", value, buffer, offset, 0, 1, self.strides.get(buffer, 0))

    def _as(self, code: Code, i: int, kind: str) -> int:
        """The entry of a row, as a mask or as a number."""
        return code.as_kind(self._value(code, i), kind)

    def _load(self, code: Code, place: Place, stride: int) -> int:
        """The entry of numbers in memory."""
        buffer, offset = place
        return code.entry("load", buffer, offset, 0, stride, self.strides.get(buffer, 0))

    def _value(self, code: Code, i: int, here: bool = False) -> int:
        """The entry that holds a row in a stage: computed there, or loaded."""
        if i in code.values:
            return code.values[i]
        row = self.tape.rows[i]
        if row[0] == CONSTANT:
            entry = code.entry("constant", float(self.tape.number(i)))
        elif row[0] == ELEMENT:
            buffer, base = self.base[self.same[row[1]]]
            entry = self._load(code, (buffer, base + row[2]), 0)
        elif row[0] in (INPUT, ASSEMBLED):
            entry = self._load(code, self.base[i], int(self._lanes(i) > 1))
        elif row[0] == LANES:
            entry = self._gathered(code, self.base[self.same[row[1]]], self.tape.offsets[row[2]])
        elif here or self._is_mask(i):
            takes = PRIMITIVES[self.names[i]].takes
            args = [self._as(code, a, kind) for a, kind in zip(self._args(i), takes, strict=True)]
            entry = code.entry(self.names[i], *args)
        else:
            buffer, base = self.place[i]
            entry = code.entry("load", buffer, base, 0, int(self._lanes(i) > 1), 0)
        code.values[i] = entry
        return entry

    def _gathered(self, code: Code, place: Place, offsets: np.ndarray[Any, Any]) -> int:
        """Many numbers of an array: by a stride where they are regular, by an index array where not."""
        buffer, base = place
        stride = int(offsets[1] - offsets[0])
        if (offsets == offsets[0] + stride * np.arange(len(offsets))).all():
            return self._load(code, (buffer, base + int(offsets[0])), stride)
        if buffer in self.strides:
            raise DeclinedError("numbers picked irregularly from the part of a step")
        self.indices.append(np.ascontiguousarray(offsets + base, np.int64))
        return code.entry("gather", buffer, self.first_index + len(self.indices) - 1, 0)
