"""From stages to LLVM IR.

The program is `run(context, steps)`. It calls `stage0`, `stage1`, ... in turn. A stage loops over its rows, and over
the lanes a vector at a time, in blocks: what is summed over lanes is summed in vectors, which are added up at the end
of a block. Long code is split into functions; values that cross go through aligned slots of the scratch memory.

Lanes that fill no whole vector run in the same code. What they load is copied to slots first, what they store is copied
from slots afterwards, and the surplus places of a sum are cleared, so nothing outside a buffer is touched.

Several threads run the program at the same time, each on its share of every stage's lanes or rows. They wait for each
other at the end of a stage. Every thread but the first sums into memory of its own, which the first adds to the buffers
in the threads' order: results do not depend on who was faster.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from enum import IntEnum, auto

from .layout import Layout, totals_by_place
from .lines import BYTES, Functions, Lines, Module
from .product import ProductCode, ProductLayout
from .stage import Access, Product, Stage, access
from .vector import VectorCode

INLINE = 64  # entries of a stage that stands in one function
BLOCK = 128  # vectors between two times that sums are added up
SPINS = 2000  # looks at the others' counter before a waiting thread offers its processor to them
FEW_VECTORS = 4  # with fewer for a thread, rows are shared out


class Word(IntEnum):
    """What stands where in a thread's context, in words of 8 bytes. The first four are addresses of tables."""

    BUFFERS = 0
    SIZES = auto()  # elements in each buffer
    TOTALS = auto()  # the buffers, or for all threads but the first what stands in for them in sums
    ALL_TOTALS = auto()  # the address of that table for each thread
    SCRATCH = auto()
    THREAD = auto()
    THREADS = auto()
    ARRIVED = auto()  # the address of a counter that all threads share
    WAITED = auto()  # how often this thread has waited


class Program(Functions):
    """The text of a module that runs stages.

    Args:
        stages: the stages.
        element: the type of numbers.
        shared: whether several threads may run it together.
    """

    def __init__(self, stages: Sequence[Stage | Product], element: str, shared: bool) -> None:
        super().__init__(Module(), element)
        self.shared = shared
        self.layouts: list[Layout | ProductLayout] = []
        for number, stage in enumerate(stages):
            if isinstance(stage, Product):
                self.layouts.append(ProductLayout(number, stage, element))
            else:
                self.layouts.append(Layout(number, stage, element, shared))
        for layout in self.layouts:
            if isinstance(layout, ProductLayout):
                self.product(layout)
            else:
                self.stage(layout)
        if shared:
            self.wait()
        self.run()
        self.text = self.module.text()

    @property
    def scratch_bytes(self) -> int:
        """The scratch memory that a thread needs."""
        return max([layout.scratch for layout in self.layouts], default=0) * BYTES[self.element]

    def word(self, w: Lines, word: Word, kind: str = "i64") -> str:
        """A word of the context."""
        at = w.value(f"getelementptr i64, ptr {w.argument('ptr', 'context')}, i64 {int(word)}", "at")
        return w.value(f"load {kind}, ptr {at}", word.name.lower())

    def load_arguments(self, w: Lines) -> None:
        """Load the pointers and sizes that a body asks for from the context, in place of arguments."""
        loads = Lines(self.module, self.element, 1)
        tables: dict[Word, str] = {}
        for argument, kind in list(w.arguments.items()):
            name = argument.rstrip("0123456789")
            word = {"buffer": Word.BUFFERS, "total": Word.TOTALS, "size": Word.SIZES, "scratch": Word.SCRATCH}.get(name)
            if word is None:
                continue
            del w.arguments[argument]
            if word is Word.SCRATCH:
                at = loads.value(f"getelementptr i64, ptr %context, i64 {int(word)}", "at")
            else:
                if word not in tables:
                    tables[word] = self.word(loads, word, "ptr")
                at = loads.value(f"getelementptr i64, ptr {tables[word]}, i64 {argument[len(name) :]}", "at")
            loads.line(f"%{argument} = load {kind.split()[0]}, ptr {at}")
        w.argument("ptr", "context")
        w.lines[:0] = [line.replace("%at", "%argument.at") for line in loads.lines]

    def table(self, name: str, numbers: list[int]) -> tuple[str, str]:
        """A constant array of integers: its name and its type."""
        kind = f"[{len(numbers)} x i64]"
        items = ", ".join(f"i64 {n}" for n in numbers)
        self.module.functions[name] = f"@{name} = internal constant {kind} [{items}]\n"
        return f"@{name}", kind

    # A stage

    def stage(self, layout: Layout) -> None:
        """All functions of a stage."""
        name, stage = f"stage{layout.number}", layout.stage
        if len(layout.parts) > 1:
            for number, part in enumerate(layout.parts):
                with self.function(f"{name}.part{number}", layout.width) as w:
                    VectorCode(layout, w, "either").write(part)
        if stage.lanes > layout.tail:
            self.block(layout, f"{name}.block")
        if layout.tail:
            self.tail(layout, f"{name}.tail")
        if layout.has_totals:
            self.zero(layout, f"{name}.zero")
        if self.shared:
            self.join(layout, f"{name}.join")

        whole, size = stage.lanes - layout.tail, BLOCK * layout.width
        with self.function(name, layout.width) as w:
            if layout.has_totals and not self.shared:
                self.call(w, f"{name}.zero")
            rows, (first, end), has_tail = ("0", str(stage.rows)), ("0", str(whole)), "true"
            if self.shared:
                thread, threads = self.word(w, Word.THREAD), self.word(w, Word.THREADS)
                if layout.has_totals:
                    with w.when("zero", w.value(f"icmp eq i64 {thread}, 0", "is.first")):
                        self.call(w, f"{name}.zero")
                is_last = w.value(f"icmp eq i64 {w.value(f'add i64 {thread}, 1', 'next')}, {threads}", "is.last")
                by_rows = stage.rows > 1 and w.value(
                    f"icmp sgt i64 {w.value(f'mul i64 {threads}, {FEW_VECTORS}')}, {whole}"
                )
                rows = self.share(w, "row.bound", stage.rows, thread, threads, by_rows or "false")
                vectors = self.share(
                    w, "vector.bound", whole // layout.width, thread, threads, "true", unless=by_rows or "false"
                )
                first, end = (w.value(f"mul i64 {v}, {layout.width}", "lane.bound") for v in vectors)
                has_tail = w.value(f"or i1 {is_last}, {by_rows}", "has.tail") if by_rows else is_last
            with w.loop("row", *rows) as row:
                if whole:
                    with w.loop("block", first, end, size) as lane:
                        last = w.value(f"add i64 {lane}, {size}", "last")
                        over = w.value(f"icmp sgt i64 {last}, {end}", "over")
                        last = w.value(f"select i1 {over}, i64 {end}, i64 {last}", "last")
                        self.call(w, f"{name}.block", row=row, first=lane, last=last)
                if layout.tail:
                    with w.when("tail", has_tail):
                        self.call(w, f"{name}.tail", row=row, lane=str(whole))
            self.load_arguments(w)

    def share(
        self, w: Lines, stem: str, count: int, thread: str, threads: str, shared: str, unless: str = "false"
    ) -> tuple[str, str]:
        """From where to where of `count` a thread goes, if they are shared out; else all the way."""
        ends = []
        for t, whole in ((thread, "0"), (w.value(f"add i64 {thread}, 1", "next"), str(count))):
            part = w.value(f"sdiv i64 {w.value(f'mul i64 {t}, {count}', stem)}, {threads}", stem)
            part = w.value(f"select i1 {shared}, i64 {part}, i64 {whole}", stem)
            ends.append(w.value(f"select i1 {unless}, i64 {whole}, i64 {part}", stem))
        return ends[0], ends[1]

    def product(self, layout: ProductLayout) -> None:
        """All functions of a product; threads share its tiles."""
        name = f"stage{layout.number}"
        ProductCode(self, layout).write()
        with self.function(name) as w:
            first, last = "0", str(layout.tiles)
            if self.shared:
                thread, threads = self.word(w, Word.THREAD), self.word(w, Word.THREADS)
                first, last = self.share(w, "tile.bound", layout.tiles, thread, threads, "true")
            self.call(w, f"{name}.tiles", first=first, last=last)
            self.load_arguments(w)

    def body(self, layout: Layout, w: Lines, mode: str, lane: str, copy: int = 0) -> None:
        """A stage's code for one vector: inline if it is short, else as calls of its parts."""
        if len(layout.parts) == 1:
            VectorCode(layout, w, mode, lane, copy).write(layout.parts[0])
            return
        for number in range(len(layout.parts)):
            self.call(w, f"stage{layout.number}.part{number}", lane=lane, full=str(mode == "full").lower())

    def block(self, layout: Layout, name: str) -> None:
        """Whole vectors, between two lanes of a row."""
        with self.function(name, layout.width, inline=len(layout.stage.code) <= INLINE) as w:
            self.clear_sums(layout, w)
            first, last = w.argument("i64", "first"), w.argument("i64", "last")
            if layout.copies > 1:
                step = layout.copies * layout.width
                left = w.value(f"urem i64 {w.value(f'sub i64 {last}, {first}', 'count')}, {step}", "left")
                end = w.value(f"sub i64 {last}, {left}", "end")
                with w.loop("lanes", first, end, step) as lane:
                    for copy in range(layout.copies):
                        at = w.value(f"add i64 {lane}, {copy * layout.width}", "lane.of.copy")
                        self.body(layout, w, "full", at, copy)
                first = end
            with w.loop("lane", first, last, layout.width) as lane:
                self.body(layout, w, "full", lane)
            self.add_sums(layout, w, layout.width)

    def tail(self, layout: Layout, name: str) -> None:
        """The last lanes of a row, which fill no vector."""
        with self.function(name, layout.width) as w:
            lane = w.argument("i64", "lane")
            self.clear_sums(layout, w)
            code = VectorCode(layout, w, "full", lane)
            for k, slot in layout.staged.items():
                if layout.stage.code[k][0] == "total":
                    code.store_slot(w.constant(0.0), slot)
            self.copy_staged(layout, code, "load")
            self.body(layout, w, "tail", lane)
            code = VectorCode(layout, w, "full", lane)
            self.copy_staged(layout, code, "store")
            self.add_staged(layout, code)
            self.add_sums(layout, w, layout.tail)

    # Totals

    def clear_sums(self, layout: Layout, w: Lines) -> None:
        """Zero the sums in vectors."""
        for number, (slots, _) in enumerate(layout.sums_by_place().values()):
            with w.loop(f"clear.{number}", str(slots.start), str(slots.stop)) as slot:
                at = w.value(
                    f"getelementptr {w.number}, ptr {w.argument('ptr noalias', 'scratch')}, i64 {slot}", "slot"
                )
                w.line(f"store {w.number} {w.constant(0.0)}, ptr {at}")

    def add_sums(self, layout: Layout, w: Lines, lanes: int) -> None:
        """Add the first lanes of the sums in vectors to the totals."""
        for number, (place, (slots, offsets)) in enumerate(layout.sums_by_place().items()):
            table, kind = self.table(f"stage{layout.number}.offsets{number}", offsets)
            w.stem, code = "sum", VectorCode(layout, w, "full")
            base = code.pointer("total", place)
            with w.loop(f"slots.{number}", "0", str(len(offsets))) as j:
                total = ""
                for first in range(slots.start, slots.stop, len(offsets)):
                    slot = w.value(f"add i64 {j}, {first}", "slot")
                    at = w.value(
                        f"getelementptr {w.number}, ptr {w.argument('ptr noalias', 'scratch')}, i64 {slot}", "slot"
                    )
                    copy = w.value(f"load {w.number}, ptr {at}", "copy")
                    total = w.add(total, copy) if total else copy
                if lanes < w.width:
                    there = ", ".join(f"i1 {str(lane < lanes).lower()}" for lane in range(w.width))
                    total = w.select(f"<{there}>", total, w.constant(0.0))
                total = w.total(total)
                offset = self.item(w, table, kind, j)
                code.add_to(w.value(f"getelementptr {w.element}, ptr {base}, i64 {offset}", "at"), total)

    def item(self, w: Lines, table: str, kind: str, j: str) -> str:
        """An element of a constant array."""
        at = w.value(f"getelementptr {kind}, ptr {table}, i64 0, i64 {j}", "at")
        return w.value(f"load i64, ptr {at}", "offset")

    def copy_staged(self, layout: Layout, code: VectorCode, kind: str) -> None:
        """Copy what the last lanes load into slots, or what they store from slots."""
        for k, slot in layout.staged.items():
            entry = layout.stage.code[k]
            place = access(entry)
            if entry[0] == kind and place is not None:
                ends = (code.slot(slot), code.pointer("buffer", place))
                to, source = ends if kind == "load" else ends[::-1]
                self.module.declarations.add("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
                size = layout.tail * BYTES[self.element]
                code.w.line(f"call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {source}, i64 {size}, i1 false)")

    def add_staged(self, layout: Layout, code: VectorCode) -> None:
        """Add what the last lanes have summed in slots to the totals."""
        for k, slot in layout.staged.items():
            entry = layout.stage.code[k]
            place = access(entry)
            if entry[0] == "total" and place is not None:
                value = code.load_slot(slot)
                for j, (lane, _) in enumerate(code.each_lane()[: layout.tail]):
                    code.add_to(code.pointer("total", place, lane), code.w.part(value, j))

    def each_total(self, layout: Layout, w: Lines, name: str) -> Iterator[tuple[Access, str]]:
        """Loops over the elements that a stage sums into, inside which the caller's body stands: place and index."""
        for number, (place, ks) in enumerate(totals_by_place(layout.stage).items()):
            rows = str(layout.stage.rows if place.row_stride else 1)
            lanes = str(layout.stage.lanes if place.lane_stride else 1)
            table, kind = self.table(f"{name}.offsets{number}", [layout.stage.code[k][3] for k in ks])
            with (
                w.loop(f"row.{number}", "0", rows) as row,
                w.loop(f"place.{number}", "0", str(len(ks))) as j,
                w.loop(f"lane.{number}", "0", lanes) as lane,
            ):
                index = self.item(w, table, kind, j)
                for stride, variable in ((place.row_stride, row), (place.lane_stride, lane)):
                    distance = w.value(f"mul i64 {variable}, {stride}", "distance")
                    index = w.value(f"add i64 {index}, {distance}", "index")
                yield place, index

    def zero(self, layout: Layout, name: str) -> None:
        """Zero what a stage sums into."""
        with self.function(name, inline=True) as w:
            for place, index in self.each_total(layout, w, name):
                base = w.argument("ptr noalias", f"total{place.buffer}")
                at = w.value(f"getelementptr {w.element}, ptr {base}, i64 {index}", "at")
                w.line(f"store {w.element} 0.0, ptr {at}")

    def join(self, layout: Layout, name: str) -> None:
        """Add what the other threads have summed to the buffers, one thread after the other, and zero it."""
        with self.function(name) as w:
            if not layout.has_totals:
                return
            tables, threads = self.word(w, Word.ALL_TOTALS, "ptr"), self.word(w, Word.THREADS)
            is_first = w.value(f"icmp eq i64 {self.word(w, Word.THREAD)}, 0", "is.first")
            with w.when("join", is_first), w.loop("other", "1", threads) as other:
                table = w.value(f"load ptr, ptr {w.value(f'getelementptr ptr, ptr {tables}, i64 {other}')}")
                for place, index in self.each_total(layout, w, name):
                    at = w.value(f"getelementptr ptr, ptr {table}, i64 {place.buffer}", "at")
                    own = w.value(f"load ptr, ptr {at}", "own")
                    own = w.value(f"getelementptr {w.element}, ptr {own}, i64 {index}", "own")
                    number = w.value(f"load {w.element}, ptr {own}", "number")
                    w.line(f"store {w.element} 0.0, ptr {own}")
                    base = w.argument("ptr noalias", f"buffer{place.buffer}")
                    at = w.value(f"getelementptr {w.element}, ptr {base}, i64 {index}", "at")
                    VectorCode(layout, w, "full").add_to(at, number)
            self.load_arguments(w)

    # The whole

    def wait(self) -> None:
        """Wait until all threads have come here as often as this one."""
        offer = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
        self.module.declarations.add(f"declare i32 @{offer}()")
        with self.function("wait") as w:
            waited = w.value(f"add i64 {self.word(w, Word.WAITED)}, 1", "waited")
            at = w.value(f"getelementptr i64, ptr %context, i64 {int(Word.WAITED)}", "at")
            w.line(f"store i64 {waited}, ptr {at}")
            expected = w.value(f"mul i64 {waited}, {self.word(w, Word.THREADS)}", "expected")
            arrived = self.word(w, Word.ARRIVED, "ptr")
            w.line(f"%before = atomicrmw add ptr {arrived}, i64 1 seq_cst")
            w.line("br label %look")
            w.label("look")
            w.line("%looks = phi i64 [0, %entry], [%looks.next, %again]")
            w.line(f"%count = load atomic i64, ptr {arrived} seq_cst, align 8")
            w.line("%looks.next = add i64 %looks, 1")
            w.line(f"%all = icmp sge i64 %count, {expected}")
            w.line("br i1 %all, label %done, label %not.yet")
            w.label("not.yet")
            w.line(f"%patient = icmp slt i64 %looks, {SPINS}")
            w.line("br i1 %patient, label %again, label %offer")
            w.label("offer")
            w.line(f"%offered = call i32 @{offer}()")
            w.line("br label %again")
            w.label("again")
            w.line("br label %look")
            w.label("done")

    def run(self) -> None:
        """The functions that Python calls."""
        with self.function("run", linkage="") as w:
            w.argument("ptr", "context")  # comes first
            count = w.value(f"sext i32 {w.argument('i32', 'steps')} to i64", "count")
            with w.loop("step", "0", count) as step:
                self.step(w, step)
        with self.function("once", linkage="") as w:
            self.call(w, "run", steps="1")

    def step(self, w: Lines, step: str) -> None:
        """A step: one stage after the other."""
        for layout in self.layouts:
            self.call(w, f"stage{layout.number}", step=step)
            if self.shared:
                self.call(w, "wait")
                if layout.has_totals:
                    self.call(w, f"stage{layout.number}.join")
                    self.call(w, "wait")
