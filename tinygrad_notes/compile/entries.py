"""Stages while they are written: their code, what every program ends with, and how they read as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .native import Product, Stage
from .native.primitives import MASK, NUMBER, PRIMITIVES

SHARED = 15_000_000
"""The fewest operations of a program that several threads run together: half a millisecond of one."""


def closing(out: int, flag: int, feedback: Sequence[tuple[int, int, int]], guarded: bool) -> list[Stage]:
    """The last stages: whether all results are finite, and results that become the next step's inputs.

    Args:
        out: the buffer of the results.
        flag: the place after the last of them, which becomes 0 if all are finite.
        feedback: offset and count of results, and the buffer of the input that they are written over.
        guarded: whether nothing is fed back where a result is not finite: what is run again with care starts from what
            was there before.
    """
    stages = []
    if flag:
        code = Code()
        x = code.put("load", out, 0, 0, 1, 0)
        code.put("total", code.put("subtract", x, x), out, flag, 0, 0)
        stages.append(Stage(lanes=flag, code=code.entries))
    fed: dict[int, Code] = {}  # by lanes
    for offset, n, place in feedback:
        code = fed.setdefault(n, Code())
        value = code.entry("load", out, offset, 0, 1, 0)
        if guarded:
            fine = code.entry("equal", code.entry("load", out, flag, 0, 0, 0), code.entry("constant", 0.0))
            value = code.entry("where", fine, value, code.entry("load", place, 0, 0, 1, 0))
        code.put("store", value, place, 0, 0, 1, 0)
    return [*stages, *(Stage(lanes=n, code=code.entries) for n, code in fed.items())]


def worth_sharing(flops: int) -> bool:
    """Whether several threads are quicker: they wait for each other after every stage, and for the processor."""
    return flops >= SHARED


def padded(count: int) -> int:
    """So many numbers that vectors hold them: those after the results are zeros, and finite."""
    return count if count < 4 else count + -count % 4


def describe(stages: Sequence[Stage | Product], names: Sequence[str]) -> str:
    """Stages as text, a line for each entry.

    Args:
        stages: the stages.
        names: of the buffers.
    """
    lines = []
    for k, stage in enumerate(stages):
        if isinstance(stage, Product):
            a, b, c, start = (
                m and f"{names[m.buffer]}[{m.offset} + {m.row_stride} * row + {m.lane_stride} * lane]"
                for m in (stage.a, stage.b, stage.c, stage.start)
            )
            shapes = f"({stage.rows}, {stage.inner}) @ ({stage.inner}, {stage.lanes})"
            lines += [f"stage {k}: {shapes}", f"  {c} = {a or 'ones'} @ {b}{f' + {start}' if start else ''}"]
            continue
        rows = f"{stage.rows} rows of " if stage.rows > 1 else ""
        lines.append(f"stage {k}: {rows}{stage.lanes} lane{'s' if stage.lanes > 1 else ''}")
        for n, (what, *rest) in enumerate(stage.code):
            if what in ("load", "store", "total"):
                value, (buffer, offset, across, stride, *_) = (rest[0], rest[1:]) if what != "load" else (None, rest)
                moves = [f" + {s} * {name}" for s, name in ((across, "row"), (stride, "lane")) if s]
                where = f"{names[buffer]}[{offset}{''.join(moves)}]"
                equals = "+=" if what == "total" else "="
                lines.append(f"  v{n} = {where}" if value is None else f"  {where} {equals} v{value}")
            elif what == "gather":
                lines.append(f"  v{n} = {names[rest[0]]}[{names[rest[1]]}[lane]]")
            else:
                given = ", ".join(str(r) if what == "constant" else f"v{r}" for r in rest)
                lines.append(f"  v{n} = {given if what == 'constant' else f'{what}({given})'}")
    return "\n".join(lines) + "\n"


class Code:
    """The code of one stage while it is written; equal entries are one."""

    def __init__(self) -> None:
        self.entries: list[tuple[Any, ...]] = []
        self.values: dict[int, int] = {}
        self._known: dict[tuple[Any, ...], int] = {}

    def put(self, *entry: Any) -> int:
        """Append an entry."""
        self.entries.append(entry)
        return len(self.entries) - 1

    def entry(self, *entry: Any) -> int:
        """The number of an entry, new or known."""
        known = self._known.get(entry)
        if known is None:
            known = self._known[entry] = self.put(*entry)
        return known

    def as_kind(self, value: int, kind: str) -> int:
        """The entry of a value as a mask or as a number: truth values that are in memory are 0 or 1."""
        name = self.entries[value][0]
        given = PRIMITIVES[name].result if name in PRIMITIVES else NUMBER
        if given == kind:
            return value
        if kind == MASK:
            return self.entry("not_equal", value, self.entry("constant", 0.0))
        return self.entry("number", value)
