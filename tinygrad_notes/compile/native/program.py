"""From stages to LLVM IR.

The program is `run(context, steps)`. It calls `stage0`, `stage1`, ... in turn. A stage loops over its rows, and over the
lanes a vector at a time, in blocks: lanes are summed in vectors, which are added up at the end of a block. Code longer
than `PART` entries is split into functions, because LLVM's time grows faster than a function's length; values that cross
go through aligned slots of the scratch memory.

Lanes that fill no whole vector run in the same code. What they load is copied to slots first, what they store is copied
from slots afterwards, and the surplus places of a sum are cleared, so nothing outside a buffer is touched.
"""

from __future__ import annotations

from .layout import Layout
from .lines import BYTES, Lines, Module
from .stage import Access, Stage, access
from .vector import VectorCode

BLOCK = 128  # vectors between two times that sums are added up
ALIGN = 64

# What stands where in the context, in 8-byte words
BUFFERS, TOTALS, SCRATCH = range(3)
CONTEXT_WORDS = 16


class Program:
    """The text of a module that runs stages."""

    def __init__(self, stages: list[Stage], element: str) -> None:
        self.module, self.element = Module(), element
        self.arguments: dict[str, dict[str, str]] = {}  # of each function
        self.layouts = [Layout(number, stage, element) for number, stage in enumerate(stages)]
        for layout in self.layouts:
            self.stage(layout)
        self.run()
        self.text = self.module.text()

    @property
    def scratch_bytes(self) -> int:
        """The scratch memory that a thread needs."""
        return max([layout.slots * layout.width for layout in self.layouts], default=0) * BYTES[self.element]

    def define(self, name: str, lines: Lines, linkage: str = "internal ", prelude: list[str] | None = None) -> None:
        """Close a function."""
        self.arguments[name] = lines.arguments
        arguments = ", ".join(f"{kind} %{argument}" for argument, kind in lines.arguments.items())
        head = f"define {linkage}void @{name}({arguments}) nounwind {{\nentry:"
        self.module.functions[name] = "\n".join([head, *(prelude or []), *lines.lines, "  ret void", "}", ""])

    def call(self, w: Lines, name: str, **given: str) -> None:
        """Call a function, with the arguments given and the caller's own under the same names."""
        arguments = [
            f"{kind.split()[0]} {given.get(argument) or w.argument(kind, argument)}"
            for argument, kind in self.arguments[name].items()
        ]
        w.line(f"call void @{name}({', '.join(arguments)})")

    def stage(self, layout: Layout) -> None:
        """All functions of a stage."""
        name = f"stage{layout.number}"
        if len(layout.parts) > 1:
            for number, part in enumerate(layout.parts):
                w = self.lines(layout)
                VectorCode(layout, w, "either").write(part)
                self.define(f"{name}.part{number}", w)
        self.block(layout, f"{name}.block")
        if layout.tail:
            self.tail(layout, f"{name}.tail")
        self.zero_totals(layout, f"{name}.zero")

        w = self.lines(layout)
        self.call(w, f"{name}.zero")
        whole = layout.stage.lanes - layout.tail
        with w.loop("row", "0", str(layout.stage.rows)) as row:
            size = BLOCK * layout.width
            with w.loop("block", "0", str(whole), size) as first:
                last = w.value(f"add i64 {first}, {size}", "last")
                over = w.value(f"icmp sgt i64 {last}, {whole}", "over")
                last = w.value(f"select i1 {over}, i64 {whole}, i64 {last}", "last")
                self.call(w, f"{name}.block", row=row, first=first, last=last)
            if layout.tail:
                self.call(w, f"{name}.tail", row=row, lane=str(whole))
        prelude = self.load_pointers(w)
        self.define(name, w, prelude=prelude)

    def lines(self, layout: Layout) -> Lines:
        """A new function's body."""
        return Lines(self.module, self.element, layout.width)

    def load_pointers(self, w: Lines) -> list[str]:
        """Lines that load the pointers that a body asks for, in place of arguments."""
        loads = Lines(self.module, self.element, 1)
        context = loads.argument("ptr", "context")
        for argument in [name for name, kind in w.arguments.items() if kind.startswith("ptr")]:
            del w.arguments[argument]
            table, _, number = argument.partition(".")
            at = loads.value(f"getelementptr ptr, ptr {context}, i64 {('buffer', 'total', 'scratch').index(table)}", "at")
            if number:
                base = loads.value(f"load ptr, ptr {at}", "table")
                at = loads.value(f"getelementptr ptr, ptr {base}, i64 {number}", "at")
            loads.line(f"%{argument} = load ptr, ptr {at}")
        w.argument("ptr", "context")
        return loads.lines

    def body(self, layout: Layout, w: Lines, mode: str, lane: str) -> None:
        """A stage's code for one vector: inline if it is short, else as calls of its parts."""
        if len(layout.parts) == 1:
            VectorCode(layout, w, mode, lane).write(layout.parts[0])
            return
        for number in range(len(layout.parts)):
            self.call(w, f"stage{layout.number}.part{number}", lane=lane, full=str(mode == "full").lower())

    def block(self, layout: Layout, name: str) -> None:
        """Whole vectors, between two lanes of a row."""
        w = self.lines(layout)
        self.clear_sums(layout, w)
        with w.loop("lane", w.argument("i64", "first"), w.argument("i64", "last"), layout.width) as lane:
            self.body(layout, w, "full", lane)
        self.add_sums(layout, w, layout.width)
        self.define(name, w)

    def tail(self, layout: Layout, name: str) -> None:
        """The last lanes of a row, which fill no vector."""
        w = self.lines(layout)
        self.clear_sums(layout, w)
        self.copy_tail(layout, w, "load")
        self.body(layout, w, "tail", w.argument("i64", "lane"))
        self.copy_tail(layout, w, "store")
        self.add_sums(layout, w, layout.tail)
        self.define(name, w)

    def clear_sums(self, layout: Layout, w: Lines) -> None:
        """Zero the sums in vectors."""
        for number, (slots, _) in enumerate(layout.sums_by_place().values()):
            with w.loop(f"clear{number}", str(slots.start), str(slots.stop)) as slot:
                at = w.value(f"getelementptr {w.number}, ptr {w.argument('ptr noalias', 'scratch')}, i64 {slot}", "slot")
                w.line(f"store {w.number} {w.constant(0.0)}, ptr {at}")

    def add_sums(self, layout: Layout, w: Lines, lanes: int) -> None:
        """Add the first lanes of the sums in vectors to the totals in the buffers."""
        for number, (place, (slots, offsets)) in enumerate(layout.sums_by_place().items()):
            table, kind = self.table(f"stage{layout.number}.offsets{number}", offsets)
            base = VectorCode(layout, w, "full").pointer("total", place)
            with w.loop(f"sum{number}", "0", str(len(offsets))) as j:
                slot = w.value(f"add i64 {j}, {slots.start}", "slot")
                at = w.value(f"getelementptr {w.number}, ptr {w.argument('ptr noalias', 'scratch')}, i64 {slot}", "slot")
                total = w.value(f"load {w.number}, ptr {at}", "total")
                if lanes < w.width:
                    there = ", ".join(f"i1 {str(lane < lanes).lower()}" for lane in range(w.width))
                    total = w.select(f"<{there}>", total, "zeroinitializer")
                if w.width > 1:
                    name = f"@llvm.vector.reduce.fadd.{w.suffix}f{8 * BYTES[w.element]}"
                    self.module.declarations.add(f"declare {w.element} {name}({w.element}, {w.number})")
                    total = w.value(f"call reassoc {w.element} {name}({w.element} 0.0, {w.number} {total})")
                at = w.value(f"getelementptr {kind}, ptr {table}, i64 0, i64 {j}", "at")
                offset = w.value(f"load i64, ptr {at}", "offset")
                at = w.value(f"getelementptr {w.element}, ptr {base}, i64 {offset}", "at")
                before = w.value(f"load {w.element}, ptr {at}", "before")
                w.line(f"store {w.element} {w.value(f'fadd {w.element} {before}, {total}')}, ptr {at}")

    def table(self, name: str, numbers: list[int]) -> tuple[str, str]:
        """A constant array of integers: its name and its type."""
        kind = f"[{len(numbers)} x i64]"
        items = ", ".join(f"i64 {n}" for n in numbers)
        self.module.functions[name] = f"@{name} = internal constant {kind} [{items}]\n"
        return f"@{name}", kind

    def copy_tail(self, layout: Layout, w: Lines, kind: str) -> None:
        """Copy what the last lanes load into slots, or what they store from slots."""
        code = VectorCode(layout, w, "full")
        for k, slot in layout.staged.items():
            entry = layout.stage.code[k]
            place = access(entry)
            if entry[0] != kind or place is None:
                continue
            ends = (code.slot(slot), code.pointer("buffer", place))
            to, source = ends if kind == "load" else ends[::-1]
            self.module.declarations.add("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
            size = layout.tail * BYTES[self.element]
            w.line(f"call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {source}, i64 {size}, i1 false)")

    def zero_totals(self, layout: Layout, name: str) -> None:
        """Zero what a stage sums into."""
        w = self.lines(layout)
        places: dict[Access, list[int]] = {}
        for entry in layout.stage.code:
            if entry[0] == "total":
                place = access(entry)
                places.setdefault(place._replace(offset=0), []).append(place.offset)
        for number, (place, offsets) in enumerate(places.items()):
            rows = str(layout.stage.rows if place.row_stride else 1)
            lanes = str(layout.stage.lanes if place.lane_stride else 1)
            table, kind = self.table(f"{name}.offsets{number}", offsets)
            with (
                w.loop(f"row{number}", "0", rows) as row,
                w.loop(f"total{number}", "0", str(len(offsets))) as j,
                w.loop(f"lane{number}", "0", lanes) as lane,
            ):
                base = VectorCode(layout, w, "full").buffer("total", place.buffer)
                at = w.value(f"getelementptr {kind}, ptr {table}, i64 0, i64 {j}", "at")
                base = w.value(f"getelementptr {w.element}, ptr {base}, i64 {w.value(f'load i64, ptr {at}', 'offset')}", "base")
                for stride, variable in ((place.row_stride, row), (place.lane_stride, lane)):
                    distance = w.value(f"mul i64 {variable}, {stride}", "distance")
                    base = w.value(f"getelementptr {w.element}, ptr {base}, i64 {distance}", "base")
                w.line(f"store {w.element} 0.0, ptr {base}")
        self.define(name, w)

    def run(self) -> None:
        """Write the function that Python calls."""
        w = Lines(self.module, self.element, 1)
        w.argument("ptr", "context")
        count = w.value(f"sext i32 {w.argument('i32', 'steps')} to i64", "count")
        with w.loop("step", "0", count) as step:
            for layout in self.layouts:
                self.call(w, f"stage{layout.number}", step=step)
        self.define("run", w, linkage="")
