"""Stages run by NumPy, arrays between guard pages, and random stages."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np
from hypothesis import strategies as st

from tinygrad_notes.compile.native import Access, Product, Stage

NAMES = {
    "round": np.rint,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "pow": np.power,
    "number": lambda mask: mask.astype(float),
}


def interpret(stages: list[Stage | Product], arrays: list[np.ndarray], steps: int = 1) -> None:
    """What `build(stages, ...).bind(arrays)(steps)` means, one entry at a time for all rows and lanes."""
    for step in range(steps):
        for stage in stages:
            r, lane = np.ogrid[: stage.rows, : stage.lanes]
            for kind, *rest in stage.code:
                if kind == "total":  # a sum over no lanes is 0, too
                    _, buffer, offset, row, lanes = rest
                    rows_summed, lanes_summed = np.ogrid[: stage.rows if row else 1, : stage.lanes if lanes else 1]
                    arrays[buffer][offset + row * rows_summed + lanes * lanes_summed] = 0
            values: list[np.ndarray | None] = []
            for kind, *rest in stage.code:
                value = None
                if kind == "constant":
                    value = np.full((stage.rows, stage.lanes), rest[0])
                elif kind == "load":
                    buffer, offset, row, lanes, step_stride = rest
                    value = arrays[buffer][offset + row * r + lanes * lane + step_stride * step]
                elif kind == "product":
                    value = _product(stage, arrays) + (values[rest[0]] if rest else 0)
                elif kind == "gather":
                    value = arrays[rest[0]][arrays[rest[1]][rest[2] + lane + 0 * r]]
                elif kind == "store":
                    a, buffer, offset, row, lanes, step_stride = rest
                    arrays[buffer][offset + row * r + lanes * lane + step_stride * step] = values[a]
                elif kind == "total":
                    a, buffer, offset, row, lanes = rest
                    np.add.at(arrays[buffer], offset + row * r + lanes * lane, values[a])
                else:
                    value = NAMES.get(kind, getattr(np, kind, None))(*(values[a] for a in rest))
                values.append(value)


def _product(stage: Product, arrays: list[np.ndarray]) -> np.ndarray:
    """The matrix that a stage multiplies."""

    def matrix(place: Access, rows: int, lanes: int) -> np.ndarray:
        r, lane = np.ogrid[:rows, :lanes]
        return arrays[place.buffer][place.offset + place.row_stride * r + place.lane_stride * lane]

    a = matrix(stage.a, stage.rows, stage.inner) if stage.a else np.ones((stage.rows, stage.inner))
    return a @ matrix(stage.b, stage.inner, stage.lanes)


class Guarded:
    """An array with a page before or after it that nobody may touch: doing so ends the process."""

    def __init__(self, values: np.ndarray, *, at_end: bool) -> None:
        size = values.nbytes
        pages = -(-max(size, 1) // mmap.PAGESIZE)
        self.memory = mmap.mmap(-1, (pages + 2) * mmap.PAGESIZE)
        start = mmap.PAGESIZE if not at_end else (pages + 1) * mmap.PAGESIZE - size
        self.array = np.frombuffer(self.memory, values.dtype, values.size, start)
        self.array[:] = values
        first = np.frombuffer(self.memory, np.uint8).ctypes.data
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        for page in (0, pages + 1):
            if protect(first + page * mmap.PAGESIZE, mmap.PAGESIZE, 0):
                raise OSError(ctypes.get_errno(), "mprotect")


UNARY = ["negative", "abs", "sign", "floor", "ceil", "round"]
BINARY = ["add", "subtract", "maximum", "minimum"]
COMPARISONS = ["less", "less_equal", "greater", "greater_equal", "equal", "not_equal"]


@st.composite
def programs(draw: st.DrawFn, steps: int = 3, most_rows: int = 3) -> tuple[list[Stage], list[np.ndarray]]:
    """Stages over small whole numbers, on which all rounding is exact, and arrays of just the size that they need."""
    arrays: list[np.ndarray] = []
    whole = st.integers(-8, 8)

    def array(size: int) -> int:
        generator = np.random.default_rng(draw(st.integers(0, 2**16)))
        arrays.append(generator.integers(-8, 9, size).astype("float64"))
        return len(arrays) - 1

    def place(stage: Stage, lane_strides: list[int], stepped: bool, distinct: bool) -> tuple[int, int, int, int, int]:
        """Buffer, offset and strides; if distinct, no two rows, lanes or steps meet."""
        lanes, rows = stage.lanes, stage.rows
        lane = draw(st.sampled_from(lane_strides))
        if distinct:
            row = abs(lane) * lanes + draw(st.integers(0, 2))
            step = row * rows + draw(st.integers(0, 2)) if stepped else 0
        else:
            row, step = draw(st.integers(-3, 3)), draw(st.integers(-2, 2))
        spans = [row * max(rows - 1, 0), lane * max(lanes - 1, 0), step * (steps - 1)]
        offset = draw(st.integers(0, 3)) - sum(min(span, 0) for span in spans)
        size = offset + sum(max(span, 0) for span in spans) + 1
        return array(size), offset, row, lane, step

    stages = []
    for _ in range(draw(st.integers(1, 2))):
        stage = Stage(
            draw(st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 100, 1001])), draw(st.integers(1, most_rows)), []
        )
        code, numbers, masks = stage.code, [], []
        for _ in range(draw(st.integers(1, 3))):
            code.append(("load", *place(stage, [0, 1, 1, 1, 2, -1], True, False)))
            numbers.append(len(code) - 1)
        if draw(st.booleans()):
            offset, size = draw(st.integers(0, 3)), draw(st.integers(1, 9))
            source, index = array(size), array(offset + stage.lanes)
            arrays[index] = np.abs(arrays[index]).astype(np.int64) % size
            code.append(("gather", source, index, offset))
            numbers.append(len(code) - 1)
        code.append(("constant", float(draw(whole))))
        numbers.append(len(code) - 1)
        for _ in range(draw(st.integers(1, 12))):
            number = st.sampled_from(numbers)
            kind = draw(st.sampled_from(["unary", "binary", "multiply", "compare", "where"]))
            if kind == "unary":
                code.append((draw(st.sampled_from(UNARY)), draw(number)))
            elif kind == "binary":
                code.append((draw(st.sampled_from(BINARY)), draw(number), draw(number)))
            elif kind == "multiply":  # small numbers stay small
                code.append(("constant", 8.0))
                code.append(("minimum", draw(number), len(code) - 1))
                code.append(("constant", -8.0))
                code.append(("maximum", len(code) - 2, len(code) - 1))
                code.append(("multiply", len(code) - 1, len(code) - 1))
            elif kind == "compare":
                code.append((draw(st.sampled_from(COMPARISONS)), draw(number), draw(number)))
                masks.append(len(code) - 1)
                continue
            elif masks:
                mask = draw(st.sampled_from(masks))
                if draw(st.booleans()):
                    code.append(("logical_not", mask))
                    code.append(("logical_and", len(code) - 1, draw(st.sampled_from(masks))))
                    mask = len(code) - 1
                code.append(("where", mask, draw(number), draw(number)))
            else:
                continue
            numbers.append(len(code) - 1)
        for a in numbers[-3:]:
            if draw(st.booleans()):
                code.append(("store", a, *place(stage, [1, 1, 2, -1], True, True)))
            else:
                buffer, offset, row, lane, _ = place(stage, [0, 0, 1, 2], False, True)
                code.append(("total", a, buffer, offset, draw(st.sampled_from([0, row])), lane))
        stages.append(stage)
    return stages, arrays
