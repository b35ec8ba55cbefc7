"""Products of matrices as stages: tiles of the result stay in registers while the inner axis is walked, and after it
until the stage's code has made of each number what is stored.

The result is made panel by panel: so many of its columns as two or more vectors hold. The panel's part of b is packed
into scratch memory first, where it lies in the order in which it is read, unless it is read once or twice only. Each
number of a is multiplied with whole vectors of b. Columns that fill no vector are taken in narrower vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from .layout import CodeLayout, widest
from .lines import BYTES, Functions, Lines
from .stage import Access, Product
from .vector import VectorCode

TALLEST, REGISTERS = 6, 12
"""The most rows of a tile, and vectors in it: of 16 registers the others hold what is multiplied."""
CHAINS = 8
"""So many sums run side by side: an addition waits four cycles for the one before, and two are done in a cycle."""
FEW_TILES = 2
"""So often b is read where it is; for more tiles it is packed."""


@dataclass(frozen=True)
class Panel:
    """Columns of the result: of a vector each its place in the panel and its width."""

    groups: tuple[tuple[int, int], ...]

    @property
    def width(self) -> int:
        """Its columns."""
        return sum(width for _, width in self.groups)


class ProductLayout(CodeLayout):
    """How a product is cut into panels and tiles.

    Attributes:
        height: rows of a tile.
        main: the panel that is repeated; `count` times.
        rest: the panel of the columns that are left, if any.
        scratch: elements of scratch memory that are needed.
    """

    has_totals = False

    def __init__(self, number: int, stage: Product, element: str) -> None:
        super().__init__(number, stage, element)
        self.stage = stage
        width = widest(element)
        self.height = max(1, min(stage.rows, TALLEST))
        vectors = max(1, min(REGISTERS // self.height, stage.lanes // width))
        self.main = Panel(tuple((k * width, width) for k in range(vectors)))
        self.count, left = divmod(stage.lanes, self.main.width)
        groups, at = [], 0
        while left:
            while width > left:
                width //= 2
            groups.append((at, width))
            at, left = at + width, left - width
        self.rest = Panel(tuple(groups)) if groups else None
        self.tiles = -(-stage.rows // self.height)
        b = stage.b
        together = b.lane_stride == 1 and (self.tiles <= FEW_TILES or b.row_stride == stage.lanes == self.main.width)
        self.packs = not together
        self.scratch = stage.inner * self.main.width if self.packs else 0
        if self.packs and self.rest:
            self.scratch = stage.inner * max(self.main.width if self.count else 0, self.rest.width)


class ProductCode:
    """Writes the functions of a product."""

    def __init__(self, program: Functions, layout: ProductLayout) -> None:
        self.program, self.layout, self.stage = program, layout, layout.stage
        self.element = layout.element
        self.name = f"stage{layout.number}"

    def write(self) -> None:
        """All functions: the stage's own takes a range of tiles to each panel."""
        layout = self.layout
        panels = [(layout.main, "main")] if layout.count else []
        panels += [(layout.rest, "rest")] if layout.rest else []
        for panel, name in panels:
            self.panel(panel, f"{self.name}.{name}")
        with self.program.function(f"{self.name}.tiles", inline=True) as w:
            w.argument("i64", "first"), w.argument("i64", "last")
            if layout.count:
                end = layout.count * layout.main.width
                with w.loop("column", "0", str(end), layout.main.width) as column:
                    self.program.call(w, f"{self.name}.main", column=column)
            if layout.rest:
                self.program.call(w, f"{self.name}.rest", column=str(layout.count * layout.main.width))

    def panel(self, panel: Panel, name: str) -> None:
        """The tiles of some columns: packing, then from tile `first` to before tile `last`."""
        layout, stage, height = self.layout, self.stage, self.layout.height
        with self.program.function(name, inline=True) as w:
            column = w.argument("i64", "column")
            b = self.place(w, stage.b, "0", column)
            b_stride = stage.b.row_stride
            if layout.packs:
                b, b_stride = self.pack(w, panel, b), panel.width
            first, last = w.argument("i64", "first"), w.argument("i64", "last")
            whole = stage.rows // height
            over = w.value(f"icmp sgt i64 {last}, {whole}", "over")
            end = w.value(f"select i1 {over}, i64 {whole}, i64 {last}", "end")
            with w.loop("tile", first, end) as tile:
                row = w.value(f"mul i64 {tile}, {height}", "row")
                self.tile(w, panel, height, row, column, b, b_stride, "tall")
            if stage.rows % height:
                with w.when("low", over):
                    self.tile(w, panel, stage.rows % height, str(whole * height), column, b, b_stride, "low")

    def place(self, w: Lines, place: Access, row: str, lane: str) -> str:
        """The address of an element."""
        at = w.argument("ptr noalias", f"buffer{place.buffer}")
        for index, stride in ((row, place.row_stride), (lane, place.lane_stride)):
            if stride and index != "0":
                distance = w.value(f"mul i64 {index}, {stride}", "distance")
                at = self.at(w, at, distance)
        if place.step_stride:
            at = self.at(w, at, w.value(f"mul i64 {w.argument('i64', 'step')}, {place.step_stride}", "distance"))
        return self.at(w, at, place.offset)

    def at(self, w: Lines, base: str, distance: str | int) -> str:
        """The address so many elements on."""
        if distance in (0, "0"):
            return base
        return w.value(f"getelementptr {self.element}, ptr {base}, i64 {distance}", "at")

    def load(self, w: Lines, base: str, stride: int, width: int) -> str:
        """A vector of elements that lie so far apart."""
        w = w.wide(width)
        if stride == 1 or width == 1:
            return w.value(f"load {w.number}, ptr {base}, align {BYTES[self.element]}", "v")
        if not stride:
            return w.broadcast(w.value(f"load {self.element}, ptr {base}", "x"))
        places = [self.at(w, base, k * stride) for k in range(width)]
        return w.join([w.value(f"load {self.element}, ptr {at}", "x") for at in places])

    def pack(self, w: Lines, panel: Panel, b: str) -> str:
        """Copy the panel's part of b to scratch memory; where its columns lie in order, square by square."""
        scratch, place, inner = w.argument("ptr noalias", "scratch"), self.stage.b, self.stage.inner
        size = panel.groups[0][1] if place.row_stride == 1 != place.lane_stride else 1
        whole = inner - inner % size
        for name, first, last, step in (("square", 0, whole, size), ("packed", whole, inner, 1)):
            if first == last:
                continue
            with w.loop(name, str(first), str(last), step) as k:
                source = self.at(w, b, w.value(f"mul i64 {k}, {place.row_stride}", "distance"))
                target = self.at(w, scratch, w.value(f"mul i64 {k}, {panel.width}", "distance"))
                for width, alike in groupby(panel.groups, key=lambda group: group[1]):
                    columns = [column for column, _ in alike]
                    with w.loop(f"{name}.{width}", str(columns[0]), str(columns[-1] + width), width) as column:
                        begin = self.at(w, source, w.value(f"mul i64 {column}, {place.lane_stride}", "distance"))
                        end = self.at(w, target, column)
                        for j in range(0, step, width):
                            self.move(w, self.at(w, begin, j), self.at(w, end, j * panel.width), panel, width, step > 1)
        return scratch

    def move(self, w: Lines, source: str, target: str, panel: Panel, width: int, square: bool) -> None:
        """Copy a vector or a square of b."""
        stride, wide = self.stage.b.lane_stride, w.wide(width)
        if square:
            lines = [self.load(w, self.at(w, source, n * stride), 1, width) for n in range(width)]
            vectors = wide.transposed(lines)
        else:
            vectors = [self.load(w, source, stride, width)]
        for n, vector in enumerate(vectors):
            at = self.at(w, target, n * panel.width)
            w.line(f"store {wide.number} {vector}, ptr {at}, align {BYTES[self.element]}")

    def tile(
        self, w: Lines, panel: Panel, height: int, row: str, column: str, b: str, b_stride: int, name: str
    ) -> None:
        """So many rows of a panel."""
        stage, split = self.stage, self.stage.split
        cells = [self.cell(w, width, row, column, (r, place)) for r in range(height) for place, width in panel.groups]
        begin = []
        for cell in cells:
            cell.pointers = cells[0].pointers
            cell.write(range(split))
            given = stage.code[split][1:]
            begin.append(cell.operand(*given) if given else cell.w.constant(0.0))
        a = self.place(w, stage.a, row, "0") if stage.a else None
        for cell, total in zip(cells, self.sums(w, panel, height, begin, a, b, b_stride, name), strict=True):
            cell.values[split] = total
            cell.write(range(split + 1, len(stage.code)))

    def sums(
        self, w: Lines, panel: Panel, height: int, begin: list[str], a: str | None, b: str, b_stride: int, name: str
    ) -> list[str]:
        """The sums of a tile, over the inner axis; few are taken in several copies, which are added up at the end."""
        stage = self.stage
        kinds = [w.wide(width).number for _ in range(height) for _, width in panel.groups]
        zeros = [w.wide(width).constant(0.0) for _ in range(height) for _, width in panel.groups]
        copies = max(1, min(CHAINS // len(begin), stage.inner // 2))
        turns, left = divmod(stage.inner, copies)
        moving = [("a", a, stage.a.lane_stride)] if stage.a and a else []
        moving.append(("b", b, b_stride))
        entry, count = w.block, range(len(begin))
        w.line(f"br label %{name}.inner")
        w.label(f"{name}.inner")
        head = len(w.lines)
        pointers = {what: f"%{name}.{what}" for what, _, _ in moving}
        after = [
            self.step(w, panel, height, [f"%{name}.sum{copy}.{n}" for n in count], pointers, copy, b_stride)
            for copy in range(copies)
        ]
        w.line(f"%{name}.k.next = add i64 %{name}.k, 1")
        for what, _, stride in moving:
            w.line(f"%{name}.{what}.next = getelementptr {self.element}, ptr %{name}.{what}, i64 {stride * copies}")
        w.line(f"%{name}.more = icmp slt i64 %{name}.k.next, {turns}")
        w.line(f"br i1 %{name}.more, label %{name}.inner, label %{name}.out")
        phis = [f"%{name}.k = phi i64 [0, %{entry}], [%{name}.k.next, %{name}.inner]"]
        phis += [
            f"%{name}.{what} = phi ptr [{start}, %{entry}], [%{name}.{what}.next, %{name}.inner]"
            for what, start, _ in moving
        ]
        phis += [
            f"%{name}.sum{copy}.{n} = phi {kinds[n]} [{(zeros if copy else begin)[n]}, %{entry}], "
            f"[{after[copy][n]}, %{name}.inner]"
            for copy in range(copies)
            for n in count
        ]
        w.lines[head:head] = [f"  {phi}" for phi in phis]
        w.label(f"{name}.out")
        pointers = {what: f"%{name}.{what}.next" for what, _, _ in moving}
        for k in range(left):
            after[k] = self.step(w, panel, height, after[k], pointers, k, b_stride)
        while len(after) > 1:
            *after, one, other = after
            pairs = zip(kinds, one, other, strict=True)
            after = [[w.value(f"fadd {kind} {x}, {y}", "sum") for kind, x, y in pairs], *after]
        return after[0]

    def step(
        self, w: Lines, panel: Panel, height: int, sums: list[str], pointers: dict[str, str], k: int, b_stride: int
    ) -> list[str]:
        """The sums of a tile after what is k steps on along the inner axis."""
        a, b, after = self.stage.a, self.at(w, pointers["b"], k * b_stride), []
        stride = 1 if self.layout.packs else self.stage.b.lane_stride
        vectors = [self.load(w, self.at(w, b, place), stride, width) for place, width in panel.groups]
        for r in range(height):
            if a:
                at = self.at(w, pointers["a"], k * a.lane_stride + r * a.row_stride)
                x = w.value(f"load {self.element}, ptr {at}", "x")
                spread = {width: w.wide(width).broadcast(x) for _, width in panel.groups}
            for g, (_, width) in enumerate(panel.groups):
                kind, term = w.wide(width).number, vectors[g]
                if a:
                    term = w.value(f"fmul contract {kind} {spread[width]}, {term}", "term")
                after.append(w.value(f"fadd contract {kind} {sums[r * len(panel.groups) + g]}, {term}", "sum"))
        return after

    def cell(self, w: Lines, width: int, row: str, column: str, shift: tuple[int, int]) -> VectorCode:
        """The code of one vector of a tile, so many rows and columns on from where the tile begins."""
        code = VectorCode(self.layout, w.wide(width), "full", column)
        code.row, code.shift = row, shift
        return code
