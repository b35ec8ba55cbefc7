"""A stage's code for one vector of lanes, or a product's for one vector of a tile."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .layout import CodeLayout
from .lines import BYTES, Lines
from .primitives import MASK, PRIMITIVES
from .stage import Access, access


class VectorCode:
    """Writes entries of a stage into the body of a function.

    Whether all lanes of the vector are there is known ("full", "tail") or told by the argument `full` ("either").
    `copy` tells vectors that are summed side by side apart.
    """

    def __init__(self, layout: CodeLayout, w: Lines, mode: str, lane: str | None = None, copy: int = 0) -> None:
        self.layout, self.w, self.mode, self.lane, self.copy = layout, w, mode, lane, copy
        self.row: str | None = None
        self.shift = 0, 0  # rows and lanes on from row and lane
        self.values: dict[int, str] = {}
        self.complete: dict[Access, str] = {}
        self.pointers: dict[Any, str] = {}
        self.lanes: list[tuple[str, str]] = []
        self.align = f"align {BYTES[w.element] * w.width}"
        self.loose = f"align {BYTES[w.element]}"
        self.all_there = mode == "full" or not layout.tail

    def write(self, entries: Iterable[int]) -> None:
        """Write these entries."""
        for k in entries:
            entry = self.layout.code[k]
            self.w.stem = f"{'sum' if entry[0] == 'total' else entry[0]}.{k}"  # an argument is called total.<buffer>
            if entry[0] == "store":
                self.store(k)
            elif entry[0] == "total":
                self.total(k)
            elif k not in self.layout.remade:
                self.values[k] = self.compute(k)
                if k in self.layout.crossing:
                    self.keep(k)
        self.store_totals()

    def compute(self, k: int) -> str:
        """The value of an entry."""
        entry = self.layout.code[k]
        if entry[0] in ("load", "gather"):
            return self.load(k) if entry[0] == "load" else self.gather(k)
        operands = [self.operand(a) for a in entry[1:]]
        return PRIMITIVES[entry[0]].write(self.w, *operands)

    def operand(self, k: int) -> str:
        """Value k, from wherever it is."""
        if k in self.values:
            return self.values[k]
        entry, w = self.layout.code[k], self.w
        if entry[0] == "constant":
            return w.constant(entry[1])
        stem, w.stem = w.stem, f"{'sum' if entry[0] == 'total' else entry[0]}.{k}"
        value = self.load(k) if k in self.layout.remade else self.fetch(k)
        w.stem = stem
        if not (k in self.layout.remade and entry[4] == 0):  # a broadcast folds into the instruction that uses it
            self.values[k] = value
        return value

    # Addresses

    def buffer(self, table: str, number: int) -> str:
        """The address of a buffer; `table` is "buffer", or "total" for what a thread sums into."""
        return self.w.argument("ptr noalias", f"{table}{number}")

    def pointer(self, table: str, place: Access, lane: str | None = None) -> str:
        """The address of an access in this row and step, for one lane: the vector's first if none is given."""
        w, lane = self.w, lane or self.lane
        strides = (table, place.buffer, *place[2:], lane)
        if strides not in self.pointers:
            base = self.buffer(table, place.buffer)
            for name, stride in zip(("row", "lane", "step"), place[2:], strict=True):
                if stride:
                    given = {"row": self.row, "lane": lane}.get(name)
                    distance = given or w.argument("i64", name)
                    if stride != 1:
                        distance = w.value(f"mul i64 {distance}, {stride}", "distance")
                    base = w.value(f"getelementptr {w.element}, ptr {base}, i64 {distance}", "base")
            self.pointers[strides] = base
        offset = place.offset + self.shift[0] * place.row_stride + self.shift[1] * place.lane_stride
        if not offset:
            return self.pointers[strides]
        if (strides, offset) not in self.pointers:
            at = w.value(f"getelementptr {w.element}, ptr {self.pointers[strides]}, i64 {offset}", "at")
            self.pointers[strides, offset] = at
        return self.pointers[strides, offset]

    def lanes_of(self, k: int, table: str, place: Access) -> str:
        """Where adjacent lanes are loaded from or stored to: the buffer, or the slot that stands in for it."""
        if self.all_there:
            return self.pointer(table, place)
        if self.mode == "tail":
            return self.slot(self.layout.staged[k])
        full, slot = self.w.argument("i1", "full"), self.slot(self.layout.staged[k])
        return self.w.value(f"select i1 {full}, ptr {self.pointer(table, place)}, ptr {slot}", "at")

    def each_lane(self) -> list[tuple[str, str]]:
        """The lanes of the vector one by one, each with an i1 that says whether it is there.

        A lane that is not is replaced by the last one.
        """
        if not self.lanes:
            w, first, last = self.w, self.lane or self.w.argument("i64", "lane"), self.layout.lanes - 1
            for place in range(w.width):
                lane, there = w.value(f"add i64 {first}, {place}", "lane.at"), "true"
                if not self.all_there:
                    there = w.value(f"icmp sle i64 {lane}, {last}", "there")
                    lane = w.value(f"select i1 {there}, i64 {lane}, i64 {last}", "lane.at")
                self.lanes.append((lane, there))
        return self.lanes

    def each_place(self, table: str, place: Access) -> list[str]:
        """The address of each lane's element."""
        if self.all_there:
            offsets = [place.offset + k * place.lane_stride for k in range(self.w.width)]
            return [self.pointer(table, place._replace(offset=offset)) for offset in offsets]
        return [self.pointer(table, place, lane) for lane, _ in self.each_lane()]

    def each_target(self, table: str, place: Access) -> list[str]:
        """Where each lane is stored to; lanes that are not there go to a slot that nobody reads."""
        targets = self.each_place(table, place)
        if self.all_there:
            return targets
        dump = self.slot(self.layout.dump)
        return [
            self.w.value(f"select i1 {there}, ptr {at}, ptr {dump}", "at")
            for at, (_, there) in zip(targets, self.each_lane(), strict=True)
        ]

    # Slots

    def slot(self, number: int) -> str:
        """The address of a slot."""
        if ("slot", number) not in self.pointers:
            scratch = self.w.argument("ptr noalias", "scratch")
            slot = self.w.value(f"getelementptr {self.w.number}, ptr {scratch}, i64 {number}", "slot")
            self.pointers["slot", number] = slot
        return self.pointers["slot", number]

    def load_slot(self, number: int) -> str:
        """What stands in a slot."""
        return self.w.value(f"load {self.w.number}, ptr {self.slot(number)}, {self.align}")

    def store_slot(self, value: str, number: int) -> None:
        """Put a value into a slot."""
        self.w.line(f"store {self.w.number} {value}, ptr {self.slot(number)}, {self.align}")

    def is_mask(self, k: int) -> bool:
        """Whether value k is a mask; in a slot it stands as 0.0 and 1.0."""
        kind = self.layout.code[k][0]
        return kind in PRIMITIVES and PRIMITIVES[kind].result == MASK

    def keep(self, k: int) -> None:
        """Put value k into its slot, for other parts."""
        value = self.values[k]
        if self.is_mask(k):
            value = self.w.select(value, self.w.constant(1.0), self.w.constant(0.0))
        self.store_slot(value, self.layout.crossing[k])

    def fetch(self, k: int) -> str:
        """Value k from its slot."""
        value = self.load_slot(self.layout.crossing[k])
        return self.w.compare("une", value, self.w.constant(0.0)) if self.is_mask(k) else value

    # Loads and stores

    def load(self, k: int) -> str:
        """The value of a load."""
        w, place = self.w, access(self.layout.code[k])
        assert place is not None
        if place.lane_stride == 0 or w.width == 1:
            return w.broadcast(w.value(f"load {w.element}, ptr {self.pointer('buffer', place)}"))
        if place.lane_stride == 1:
            return w.value(f"load {w.number}, ptr {self.lanes_of(k, 'buffer', place)}, {self.loose}")
        return w.join([w.value(f"load {w.element}, ptr {at}") for at in self.each_place("buffer", place)])

    def gather(self, k: int) -> str:
        """The value of a gather. An index beyond the buffer, which `bind` refuses, becomes that of its last element."""
        w = self.w
        _, buffer, index_buffer, offset = self.layout.code[k]
        size, parts = w.argument("i64", f"size{buffer}"), []
        last = w.value(f"sub i64 {size}, 1", "last")
        for lane, _ in self.each_lane():
            index = w.value(f"add i64 {lane}, {offset}", "index")
            at = w.value(f"getelementptr i64, ptr {self.buffer('buffer', index_buffer)}, i64 {index}", "at")
            index = w.value(f"load i64, ptr {at}", "index")
            inside = w.value(f"icmp ult i64 {index}, {last}", "inside")
            index = w.value(f"select i1 {inside}, i64 {index}, i64 {last}", "index")
            at = w.value(f"getelementptr {w.element}, ptr {self.buffer('buffer', buffer)}, i64 {index}", "at")
            parts.append(w.value(f"load {w.element}, ptr {at}"))
        return w.join(parts)

    def store(self, k: int) -> None:
        """Write a store."""
        entry, w = self.layout.code[k], self.w
        place, value = access(entry), self.operand(entry[1])
        assert place is not None
        if place.lane_stride == 0 or w.width == 1:
            w.line(f"store {w.element} {w.part(value, 0)}, ptr {self.pointer('buffer', place)}")
        elif place.lane_stride == 1:
            w.line(f"store {w.number} {value}, ptr {self.lanes_of(k, 'buffer', place)}, {self.loose}")
        else:
            for number, at in enumerate(self.each_target("buffer", place)):
                w.line(f"store {w.element} {w.part(value, number)}, ptr {at}")

    def total(self, k: int) -> None:
        """Add to a sum over lanes, which stands in a slot, or to a sum over rows, which stands in the buffer."""
        w, value = self.w, self.operand(self.layout.code[k][1])
        place = access(self.layout.code[k])
        assert place is not None
        if self.layout.direct:
            self.complete[place] = value
        elif k in self.layout.sums:
            first, step = self.layout.sums[k]
            slot = first + self.copy * step
            self.store_slot(w.value(f"fadd contract {w.number} {self.load_slot(slot)}, {value}"), slot)
        elif place.lane_stride == 1 or w.width == 1:
            at = self.lanes_of(k, "total", place)
            before = w.value(f"load {w.number}, ptr {at}, {self.loose}")
            w.line(f"store {w.number} {w.value(f'fadd contract {w.number} {before}, {value}')}, ptr {at}, {self.loose}")
        else:
            for number, at in enumerate(self.each_target("total", place)):
                self.add_to(at, w.part(value, number))

    def store_totals(self) -> None:
        """Store the sums of vectors that are complete: of so many at once as a vector holds, if they lie together."""
        w, places = self.w, sorted(self.complete)
        while places:
            group = places[: w.width]
            together = [group[0]._replace(offset=group[0].offset + k) for k in range(w.width)] == group
            del places[: w.width if together else 1]
            at = self.pointer("total", group[0])
            if together:
                w.line(f"store {w.number} {w.totals([self.complete[p] for p in group])}, ptr {at}, {self.loose}")
            else:
                w.line(f"store {w.element} {w.total(self.complete[group[0]])}, ptr {at}")
        self.complete.clear()

    def add_to(self, at: str, number: str) -> None:
        """Add to an element."""
        w = self.w
        before = w.value(f"load {w.element}, ptr {at}")
        w.line(f"store {w.element} {w.value(f'fadd {w.element} {before}, {number}')}, ptr {at}")
