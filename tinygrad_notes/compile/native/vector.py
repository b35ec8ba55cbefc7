"""A stage's code for one vector of lanes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .layout import Layout
from .lines import BYTES, Lines
from .primitives import MASK, PRIMITIVES
from .stage import Access, access


class VectorCode:
    """Writes entries of a stage into the body of a function.

    Whether all lanes of the vector are there is known ("full", "tail") or told by the argument `full` ("either").
    """

    def __init__(self, layout: Layout, w: Lines, mode: str, lane: str | None = None) -> None:
        self.layout, self.w, self.mode, self.lane = layout, w, mode, lane
        self.values: dict[int, str] = {}
        self.pointers: dict[Any, str] = {}
        self.align = f"align {BYTES[w.element] * w.width}"

    def write(self, entries: Iterable[int]) -> None:
        """Write these entries."""
        for k in entries:
            entry = self.layout.stage.code[k]
            self.w.stem = f"{entry[0]}.{k}"
            if entry[0] == "store":
                self.store(k)
            elif entry[0] == "total":
                self.total(k)
            elif not self.layout.is_remade(k):
                self.values[k] = self.load(k) if entry[0] == "load" else self.compute(entry)
                if k in self.layout.crossing:
                    self.keep(k)

    def compute(self, entry: tuple[Any, ...]) -> str:
        """The value of a primitive."""
        operands = [self.operand(a) for a in entry[1:]]
        return PRIMITIVES[entry[0]].write(self.w, *operands)

    def operand(self, k: int) -> str:
        """Value k, from wherever it is."""
        if k in self.values:
            return self.values[k]
        entry, w = self.layout.stage.code[k], self.w
        if entry[0] == "constant":
            return w.constant(entry[1])
        stem, w.stem = w.stem, f"{entry[0]}.{k}"
        value = self.load(k) if self.layout.is_remade(k) else self.fetch(k)
        w.stem = stem
        if not (self.layout.is_remade(k) and entry[4] == 0):  # a broadcast folds into the instruction that uses it
            self.values[k] = value
        return value

    # Addresses

    def buffer(self, table: str, number: int) -> str:
        """The address of a buffer; `table` is "buffer", or "total" for what a thread sums into."""
        return self.w.argument("ptr noalias", f"{table}.{number}")

    def pointer(self, table: str, place: Access) -> str:
        """The address of an access in this row, lane and step."""
        w, strides = self.w, (table, place.buffer, *place[2:])
        if strides not in self.pointers:
            base = self.buffer(table, place.buffer)
            for name, stride in zip(("row", "lane", "step"), place[2:], strict=True):
                if stride:
                    distance = self.lane if name == "lane" and self.lane else w.argument("i64", name)
                    if stride != 1:
                        distance = w.value(f"mul i64 {distance}, {stride}", "distance")
                    base = w.value(f"getelementptr {w.element}, ptr {base}, i64 {distance}", "base")
            self.pointers[strides] = base
        if not place.offset:
            return self.pointers[strides]
        if (strides, place.offset) not in self.pointers:
            at = w.value(f"getelementptr {w.element}, ptr {self.pointers[strides]}, i64 {place.offset}", "at")
            self.pointers[strides, place.offset] = at
        return self.pointers[strides, place.offset]

    def lanes_of(self, k: int, place: Access) -> str:
        """Where a vector is loaded from or stored to: the buffer, or the slot that stands in for it."""
        if not self.layout.tail or self.mode == "full":
            return self.pointer("buffer", place)
        if self.mode == "tail":
            return self.slot(self.layout.staged[k])
        full, slot = self.w.argument("i1", "full"), self.slot(self.layout.staged[k])
        return self.w.value(f"select i1 {full}, ptr {self.pointer('buffer', place)}, ptr {slot}", "at")

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
        kind = self.layout.stage.code[k][0]
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
        w, place = self.w, access(self.layout.stage.code[k])
        assert place is not None
        if place.lane_stride == 0:
            return self.broadcast(w.value(f"load {w.element}, ptr {self.pointer('buffer', place)}"))
        if place.lane_stride == 1:
            return w.value(f"load {w.number}, ptr {self.lanes_of(k, place)}, align {BYTES[w.element]}")
        raise NotImplementedError("strided load")

    def broadcast(self, scalar: str) -> str:
        """A vector that holds one number in all places."""
        w = self.w
        if w.width == 1:
            return scalar
        one = w.value(f"insertelement {w.number} poison, {w.element} {scalar}, i64 0")
        return w.value(f"shufflevector {w.number} {one}, {w.number} poison, {w.of('i32')} zeroinitializer")

    def store(self, k: int) -> None:
        """Write a store."""
        entry, w = self.layout.stage.code[k], self.w
        place, value = access(entry), self.operand(entry[1])
        assert place is not None
        if place.lane_stride != 1:
            raise NotImplementedError("strided store")
        w.line(f"store {w.number} {value}, ptr {self.lanes_of(k, place)}, align {BYTES[w.element]}")

    def total(self, k: int) -> None:
        """Add to a sum."""
        w, value = self.w, self.operand(self.layout.stage.code[k][1])
        if k not in self.layout.sums:
            raise NotImplementedError("total over rows")
        slot = self.layout.sums[k]
        self.store_slot(w.value(f"fadd contract {w.number} {self.load_slot(slot)}, {value}"), slot)
