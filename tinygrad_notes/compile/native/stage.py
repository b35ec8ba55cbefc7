"""What the back end takes: stages of straight-line code that runs over lanes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .primitives import PRIMITIVES

MASK, NUMBER = "mask", "number"


@dataclass
class Stage:
    """Straight-line code, run once for every lane of every row.

    Entry k of `code` defines value k. An entry is one of

    - `("load", buffer, offset, row_stride, lane_stride, step_stride)`: the element at
      offset + row_stride·row + lane_stride·lane + step_stride·step; a lane_stride of 0 is a broadcast
    - `("gather", buffer, index_buffer, offset)`: buffer[index[offset + lane]]; the index buffer holds int64
    - `("constant", number)`
    - `(primitive, a, b, ...)` on earlier values; see `PRIMITIVES`. Comparisons give masks, `where` and the `logical_`
      primitives take them, and `number` makes 0.0 and 1.0 of one
    - `("store", a, buffer, offset, row_stride, lane_stride, step_stride)`
    - `("total", a, buffer, offset, row_stride, lane_stride)`: the element is value a, summed over the axes whose
      stride is 0; it is zeroed when the stage begins. Several totals into one element add up

    Lanes and rows run in any order, and at the same time: an element that one of them writes is for no other to load.
    A lane that loads an element and stores to it loads first.
    """

    lanes: int
    rows: int = 1
    code: list[tuple[Any, ...]] = field(default_factory=list)


class Access(NamedTuple):
    """The elements of a buffer that an entry touches, one for each row, lane and step."""

    buffer: int
    offset: int
    row_stride: int = 0
    lane_stride: int = 0
    step_stride: int = 0

    def extent(self, rows: int, lanes: int) -> tuple[int, int]:
        """The least and the greatest index of the first step; there is at least one row and lane."""
        spans = (self.row_stride * (rows - 1), self.lane_stride * (lanes - 1))
        return self.offset + sum(min(span, 0) for span in spans), self.offset + sum(max(span, 0) for span in spans)


@dataclass
class Product:
    """a · b, on matrices that lie in buffers by strides, and what is computed of each number while it is in a register.

    Attributes:
        rows, lanes, inner: the shapes are (rows, inner) · (inner, lanes) → (rows, lanes); inner is at least 1.
        a, b: where the matrices are; a row_stride leads to the next row of each, a lane_stride to the next column.
            Without a, every number of it is 1: the columns of b are summed.
        code: as of a `Stage`, for every number of the result, without gathers and totals. One entry is
            `("product",)`, the number, or `("product", k)`, the number added to the earlier value k. What it stores
            shares nothing with a and b.
    """

    rows: int
    lanes: int
    inner: int
    a: Access | None
    b: Access
    code: list[tuple[Any, ...]]

    @property
    def split(self) -> int:
        """The place of the product among the entries."""
        return [entry[0] for entry in self.code].index("product")


def touched(stage: Stage | Product) -> Iterator[tuple[str, Access, int, int, bool]]:
    """What a stage touches: a description, where, the rows and lanes there are, and whether it is written."""
    if isinstance(stage, Product):
        if stage.a:
            yield "a", stage.a, stage.rows, stage.inner, False
        yield "b", stage.b, stage.inner, stage.lanes, False
    for k, entry in enumerate(stage.code):
        place = access(entry)
        if place is None:
            continue
        rows, lanes = stage.rows, stage.lanes
        if entry[0] == "total":  # a sum over no lanes is written, too
            rows, lanes = (rows if place.row_stride else 1), (lanes if place.lane_stride else 1)
        yield f"entry {k}, {entry}", place, rows, lanes, entry[0] in ("store", "total")


def access(entry: tuple[Any, ...]) -> Access | None:
    """Where an entry reads or writes by strides; for a gather, where it reads its indices."""
    kind, *rest = entry
    if kind == "load":
        return Access(*rest)
    if kind in ("store", "total"):
        return Access(*rest[1:])
    if kind == "gather":
        return Access(rest[1], rest[2], 0, 1, 0)
    return None


def operands(entry: tuple[Any, ...]) -> tuple[int, ...]:
    """The earlier values that an entry uses."""
    if entry[0] in ("load", "gather", "constant"):
        return ()
    return entry[1:2] if entry[0] in ("store", "total") else entry[1:]


def remade(stage: Stage | Product) -> set[int]:
    """The values that are written anew where they are used: constants, and loads of what the stage does not write."""
    written = {place.buffer for entry in stage.code if entry[0] in ("store", "total") and (place := access(entry))}
    return {
        k
        for k, entry in enumerate(stage.code)
        if entry[0] == "constant" or (entry[0] == "load" and entry[1] not in written)
    }


SHAPES = {"load": 5, "gather": 3, "constant": 1, "store": 6, "total": 5, "product": 1}


def check(stages: Sequence[Stage | Product], buffers: int) -> None:
    """Raise ValueError for the first entry that is not well formed, with its stage and number."""
    indices = {entry[2] for stage in stages for entry in stage.code if entry[0] == "gather"}
    for number, stage in enumerate(stages):
        if stage.lanes < 0 or stage.rows < 0:
            raise ValueError(f"stage {number}: {stage.lanes} lanes and {stage.rows} rows; expected none below 0")
        if isinstance(stage, Product):
            for problem in _product_problems(stage, buffers, indices):
                raise ValueError(f"stage {number}, {stage}: {problem}")
        kinds: list[str | None] = []
        for k, entry in enumerate(stage.code):
            for problem in _problems(entry, kinds, buffers, indices):
                raise ValueError(f"stage {number}, entry {k}, {entry}: {problem}")
            kinds.append(_result(entry))


def _product_problems(stage: Product, buffers: int, indices: set[int]) -> Iterator[str]:
    if not stage.rows or not stage.lanes or stage.inner < 1:
        yield f"{stage.rows} rows, {stage.lanes} lanes, {stage.inner} inside; expected at least 1 of each"
    kinds = [entry[0] for entry in stage.code]
    if kinds.count("product") != 1 or "gather" in kinds or "total" in kinds:
        yield "its code needs one product, and has neither gathers nor totals"
    places = [(name, place, place.extent(rows, lanes), writes) for name, place, rows, lanes, writes in touched(stage)]
    for name, place, (low, high), _ in places:
        if name not in ("a", "b"):
            continue
        if not 0 <= place.buffer < buffers:
            yield f"there is no buffer {place.buffer}; they are numbered from 0 to {buffers - 1}"
        if place.buffer in indices:
            yield f"buffer {place.buffer} holds a gather's indices, and nothing else can use it"
        for _, stored, (begin, end), writes in places:
            if writes and stored.buffer == place.buffer and low <= end and begin <= high:
                yield f"{name} shares memory with what is stored"


def _result(entry: tuple[Any, ...]) -> str | None:
    if entry[0] in ("store", "total"):
        return None
    return PRIMITIVES[entry[0]].result if entry[0] in PRIMITIVES else NUMBER


def _problems(entry: tuple[Any, ...], kinds: list[str | None], buffers: int, indices: set[int]) -> Iterator[str]:
    kind = entry[0]
    if kind not in PRIMITIVES and kind not in SHAPES:
        yield f"no such primitive; expected one of {', '.join([*SHAPES, *PRIMITIVES])}"
    expected = len(PRIMITIVES[kind].takes) if kind in PRIMITIVES else SHAPES[kind]
    if len(entry) - 1 != expected and entry != ("product",):
        yield f"{len(entry) - 1} operands; expected {expected}"
    takes = PRIMITIVES[kind].takes if kind in PRIMITIVES else (NUMBER,)
    for operand, wanted in zip(operands(entry), takes, strict=False):
        if not 0 <= operand < len(kinds):
            yield f"value {operand} is not an earlier one"
        if kinds[operand] != wanted:
            yield f"value {operand} is {kinds[operand] and 'a ' + str(kinds[operand])}; expected a {wanted}"
    place = access(entry)
    for buffer in [entry[1], entry[2]] if kind == "gather" else [place.buffer] if place else []:
        if not 0 <= buffer < buffers:
            yield f"there is no buffer {buffer}; they are numbered from 0 to {buffers - 1}"
        if buffer in indices and (kind != "gather" or buffer == entry[1]):
            yield f"buffer {buffer} holds a gather's indices, and nothing else can use it"
