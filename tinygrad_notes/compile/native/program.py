"""From stages to LLVM IR.

The program is `run(context, steps)`. It calls `stage0`, `stage1`, ... in turn. A stage loops over its rows, and over the
lanes a vector at a time, in blocks: lanes are summed in vectors, which are added up at the end of a block. Code longer
than `PART` entries is split into functions, because LLVM's time grows faster than a function's length; values that cross
go through aligned slots of the scratch memory.

Lanes that fill no whole vector run in the same code. What they load is copied to slots first, what they store is copied
from slots afterwards, and the surplus places of a sum are cleared, so nothing outside a buffer is touched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .lines import BYTES, Lines, Module
from .primitives import MASK, PRIMITIVES
from .stage import Access, Stage, access, operands

PART = 256  # entries in a function
BLOCK = 128  # vectors between two times that sums are added up
VECTOR_BYTES = 32
ALIGN = 64

# What stands where in the context, in 8-byte words
BUFFERS, TOTALS, SCRATCH = range(3)
CONTEXT_WORDS = 16


def width_of(lanes: int, element: str) -> int:
    """Elements in a vector: no more than there are lanes for, rounded up."""
    width = VECTOR_BYTES // BYTES[element]
    while width > 1 and width // 2 >= lanes:
        width //= 2
    return width


@dataclass
class Layout:
    """A stage and how its code lies in parts and its values in slots."""

    number: int
    stage: Stage
    element: str
    width: int = 1
    parts: list[range] = field(default_factory=list)
    written: set[int] = field(default_factory=set)  # buffers
    crossing: dict[int, int] = field(default_factory=dict)  # value → slot
    staged: dict[int, int] = field(default_factory=dict)  # load or store → slot, for lanes that fill no vector
    sums: dict[int, int] = field(default_factory=dict)  # total over lanes → slot
    slots: int = 0

    def __post_init__(self) -> None:
        code = self.stage.code
        self.width = width_of(self.stage.lanes, self.element)
        self.parts = [range(k, min(k + PART, len(code))) for k in range(0, len(code), PART)]
        self.written = {place.buffer for e in code if e[0] in ("store", "total") and (place := access(e))}
        last = {a: k for k, entry in enumerate(code) for a in operands(entry) if not self.is_remade(a)}
        free: list[int] = []
        for part in self.parts:
            ended = [a for a, k in last.items() if k in part and a in self.crossing]
            for a in part:
                if last.get(a, a) not in part and a in last:
                    self.crossing[a] = free.pop() if free else self.new_slot()
            free += [self.crossing[a] for a in ended]
        for k, entry in enumerate(code):
            place = access(entry)
            if entry[0] == "total" and place and not place.lane_stride:
                self.sums[k] = self.new_slot()
            elif entry[0] in ("load", "store") and place and place.lane_stride == 1 and self.tail:
                self.staged[k] = self.new_slot()

    @property
    def tail(self) -> int:
        """Lanes that fill no whole vector."""
        return self.stage.lanes % self.width

    def new_slot(self) -> int:
        """A new slot of the scratch memory."""
        self.slots += 1
        return self.slots - 1

    def is_remade(self, k: int) -> bool:
        """Whether value k is written anew in every function that uses it: constants, and loads nobody overwrites."""
        entry = self.stage.code[k]
        return entry[0] == "constant" or (entry[0] == "load" and entry[1] not in self.written)


class Code:
    """Writes a range of a stage's code for one vector of lanes."""

    def __init__(self, layout: Layout, w: Lines, mode: str) -> None:
        self.layout, self.w = layout, w
        self.mode = mode  # whether the vector's lanes are there: "full", "tail", or "either", as the argument %full says
        self.values: dict[int, str] = {}
        self.pointers: dict[Any, str] = {}

    def pointer(self, table: str, place: Access) -> str:
        """The address of an access at %row, %lane and %step."""
        base_of = (table, place.buffer, *place[2:])
        if base_of not in self.pointers:
            base = self.buffer(table, place.buffer)
            for stride, variable in zip(place[2:], ("%row", "%lane", "%step"), strict=True):
                if stride:
                    distance = variable if stride == 1 else self.w.value(f"mul i64 {variable}, {stride}", "distance")
                    base = self.w.value(f"getelementptr {self.w.element}, ptr {base}, i64 {distance}", "base")
            self.pointers[base_of] = base
        if not place.offset:
            return self.pointers[base_of]
        return self.w.value(f"getelementptr {self.w.element}, ptr {self.pointers[base_of]}, i64 {place.offset}", "at")

    def buffer(self, table: str, number: int) -> str:
        """The address of a buffer."""
        if (table, number) not in self.pointers:
            at = self.w.value(f"getelementptr ptr, ptr {table}, i64 {number}", "at")
            self.pointers[table, number] = self.w.value(f"load ptr, ptr {at}", "buffer")
        return self.pointers[table, number]

    def slot(self, number: int) -> str:
        """The address of a slot."""
        return self.w.value(f"getelementptr {self.w.number}, ptr %scratch, i64 {number}", "slot")

    def load_slot(self, number: int) -> str:
        """What stands in a slot."""
        w = self.w
        return w.value(f"load {w.number}, ptr {self.slot(number)}, align {BYTES[w.element] * w.width}")

    def store_slot(self, value: str, number: int) -> None:
        """Keep a value in a slot."""
        w = self.w
        w.line(f"store {w.number} {value}, ptr {self.slot(number)}, align {BYTES[w.element] * w.width}")

    def operand(self, k: int) -> str:
        """Value k, from wherever it is."""
        if k in self.values:
            return self.values[k]
        entry, w = self.layout.stage.code[k], self.w
        if entry[0] == "constant":
            return w.constant(entry[1])
        stem, w.stem = w.stem, f"{entry[0]}.{k}"
        if self.layout.is_remade(k):
            value = self.load(k)
            if entry[4]:
                self.values[k] = value
        else:
            value = self.load_slot(self.layout.crossing[k])
            if entry[0] in PRIMITIVES and PRIMITIVES[entry[0]].result == MASK:
                value = w.compare("une", value, w.constant(0.0))
            self.values[k] = value
        w.stem = stem
        return value

    def load(self, k: int) -> str:
        """The value of a load."""
        w, place = self.w, access(self.layout.stage.code[k])
        assert place is not None
        if place.lane_stride == 0:
            return self.broadcast(w.value(f"load {w.element}, ptr {self.pointer('%buffers', place)}"))
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

    def lanes_of(self, k: int, place: Access) -> str:
        """Where a vector's lanes are loaded from or stored to: the buffer, or the slot that stands in for it."""
        if not self.layout.tail or self.mode == "full":
            return self.pointer("%buffers", place)
        if self.mode == "tail":
            return self.slot(self.layout.staged[k])
        return self.w.value(
            f"select i1 %full, ptr {self.pointer('%buffers', place)}, ptr {self.slot(self.layout.staged[k])}"
        )

    def entry(self, k: int) -> None:
        """Write entry k."""
        entry, w = self.layout.stage.code[k], self.w
        w.stem = f"{entry[0]}.{k}"
        if entry[0] == "store":
            self.store(k)
        elif entry[0] == "total":
            self.total(k)
        elif not self.layout.is_remade(k):
            if entry[0] == "load":
                self.values[k] = self.load(k)
            else:
                primitive = PRIMITIVES[entry[0]]
                self.values[k] = primitive.write(w, *(self.operand(a) for a in entry[1:]))
            if k in self.layout.crossing:
                value = self.values[k]
                if entry[0] in PRIMITIVES and PRIMITIVES[entry[0]].result == MASK:
                    value = w.select(value, w.constant(1.0), w.constant(0.0))
                self.store_slot(value, self.layout.crossing[k])

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


HEAD = "ptr %buffers, ptr %totals, ptr noalias %scratch, i64 %row, i64 %lane, i64 %step"
PASS = "ptr %buffers, ptr %totals, ptr %scratch, i64 %row, i64 %lane, i64 %step"


class Program:
    """The text of a module that runs stages."""

    def __init__(self, stages: list[Stage], element: str) -> None:
        self.module, self.element = Module(), element
        self.layouts = [Layout(number, stage, element) for number, stage in enumerate(stages)]
        for layout in self.layouts:
            self.stage(layout)
        self.run()
        self.text = self.module.text()

    @property
    def scratch_bytes(self) -> int:
        """The scratch memory that a thread needs."""
        return max([layout.slots * layout.width for layout in self.layouts], default=0) * BYTES[self.element]

    def define(self, name: str, arguments: str, lines: Lines, linkage: str = "internal ") -> None:
        """Close a function."""
        head = f"define {linkage}void @{name}({arguments}) nounwind {{\nentry:"
        self.module.functions[name] = "\n".join([head, *lines.lines, "  ret void", "}", ""])

    def lines(self, layout: Layout) -> Lines:
        """A new function's body."""
        return Lines(self.module, self.element, layout.width)

    def body(self, layout: Layout, w: Lines, mode: str) -> None:
        """A stage's code for one vector: inline if it is short, else as calls of its parts."""
        if len(layout.parts) == 1:
            code = Code(layout, w, mode)
            for k in layout.parts[0]:
                code.entry(k)
            return
        for number in range(len(layout.parts)):
            w.line(f"call void @stage{layout.number}.part{number}({PASS}, i1 {str(mode == 'full').lower()})")

    def stage(self, layout: Layout) -> None:
        """All functions of a stage."""
        name, stage = f"stage{layout.number}", layout.stage
        if len(layout.parts) > 1:
            for number, part in enumerate(layout.parts):
                w = self.lines(layout)
                code = Code(layout, w, "either")
                for k in part:
                    code.entry(k)
                self.define(f"{name}.part{number}", f"{HEAD}, i1 %full", w)
        w = self.lines(layout)
        self.clear_sums(layout, w)
        first, last = w.value("mul i64 %first, 1", "first.lane"), w.value("add i64 %last, 0", "last.lane")
        with w.loop("lane", first, last, layout.width):
            self.body(layout, w, "full")
        self.add_sums(layout, w, layout.width)
        self.define(f"{name}.block", HEAD.replace("i64 %lane", "i64 %first, i64 %last"), w)
        if layout.tail:
            w = self.lines(layout)
            code = Code(layout, w, "full")
            self.clear_sums(layout, w)
            self.copy_tail(layout, w, code, "load")
            self.body(layout, w, "tail")
            self.copy_tail(layout, w, code, "store")
            self.add_sums(layout, w, layout.tail)
            self.define(f"{name}.tail", HEAD, w)
        self.zero_totals(layout)
        w = self.lines(layout)
        w.line(f"call void @{name}.zero(ptr %totals)")
        whole = stage.lanes - layout.tail
        with w.loop("row", "0", str(stage.rows)):
            with w.loop("block", "0", str(whole), BLOCK * layout.width):
                end = w.value(f"add i64 %block, {BLOCK * layout.width}")
                over = w.value(f"icmp sgt i64 {end}, {whole}")
                end = w.value(f"select i1 {over}, i64 {whole}, i64 {end}")
                w.line(f"call void @{name}.block({PASS.replace('i64 %lane', f'i64 %block, i64 {end}')})")
            if layout.tail:
                w.line(f"call void @{name}.tail({PASS.replace('%lane', str(whole))})")
        self.define(name, "ptr %buffers, ptr %totals, ptr %scratch, i64 %step", w)

    def clear_sums(self, layout: Layout, w: Lines) -> None:
        """Zero the sums in vectors."""
        code = Code(layout, w, "full")
        for slot in layout.sums.values():
            code.store_slot("zeroinitializer" if w.width > 1 else "0.0", slot)

    def add_sums(self, layout: Layout, w: Lines, lanes: int) -> None:
        """Add the first lanes of the sums in vectors to the totals in the buffers."""
        code = Code(layout, w, "full")
        for k, slot in layout.sums.items():
            w.stem = f"total.{k}"
            place = access(layout.stage.code[k])
            assert place is not None
            total = code.load_slot(slot)
            if lanes < w.width:
                there = ", ".join(f"i1 {str(lane < lanes).lower()}" for lane in range(w.width))
                total = w.select(f"<{there}>", total, "zeroinitializer")
            if w.width > 1:
                name = f"@llvm.vector.reduce.fadd.{w.suffix}f{8 * BYTES[w.element]}"
                self.module.declarations.add(f"declare {w.element} {name}({w.element}, {w.number})")
                total = w.value(f"call reassoc {w.element} {name}({w.element} 0.0, {w.number} {total})")
            at = code.pointer("%totals", place)
            before = w.value(f"load {w.element}, ptr {at}")
            w.line(f"store {w.element} {w.value(f'fadd {w.element} {before}, {total}')}, ptr {at}")

    def copy_tail(self, layout: Layout, w: Lines, code: Code, kind: str) -> None:
        """Copy what the last lanes load into slots, or what they store from slots."""
        for k, slot in layout.staged.items():
            entry = layout.stage.code[k]
            place = access(entry)
            if entry[0] != kind or place is None:
                continue
            ends = (code.slot(slot), code.pointer("%buffers", place))
            to, source = ends if kind == "load" else ends[::-1]
            self.module.declarations.add("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
            size = layout.tail * BYTES[self.element]
            w.line(f"call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {source}, i64 {size}, i1 false)")

    def zero_totals(self, layout: Layout) -> None:
        """Write the function that zeroes what the stage sums into."""
        w = self.lines(layout)
        for number, k in enumerate(k for k, entry in enumerate(layout.stage.code) if entry[0] == "total"):
            place = access(layout.stage.code[k])
            assert place is not None
            code = Code(layout, w, "full")
            rows = str(layout.stage.rows if place.row_stride else 1)
            lanes = str(layout.stage.lanes if place.lane_stride else 1)
            with w.loop(f"row{number}", "0", rows) as row, w.loop(f"lane{number}", "0", lanes) as lane:
                base = code.buffer("%totals", place.buffer)
                for stride, variable in ((place.row_stride, row), (place.lane_stride, lane)):
                    distance = w.value(f"mul i64 {variable}, {stride}", "distance")
                    base = w.value(f"getelementptr {w.element}, ptr {base}, i64 {distance}", "base")
                at = w.value(f"getelementptr {w.element}, ptr {base}, i64 {place.offset}", "at")
                w.line(f"store {w.element} 0.0, ptr {at}")
        self.define(f"stage{layout.number}.zero", "ptr %totals", w)

    def run(self) -> None:
        """Write the function that Python calls."""
        w = Lines(self.module, self.element, 1)
        names = []
        for word, name in ((BUFFERS, "buffers"), (TOTALS, "totals"), (SCRATCH, "scratch")):
            at = w.value(f"getelementptr ptr, ptr %context, i64 {word}", "at")
            names.append("ptr " + w.value(f"load ptr, ptr {at}", name))
        count = w.value("sext i32 %steps to i64", "count")
        with w.loop("step", "0", count):
            for layout in self.layouts:
                w.line(f"call void @stage{layout.number}({', '.join(names)}, i64 %step)")
        self.define("run", "ptr %context, i32 %steps", w, linkage="")
