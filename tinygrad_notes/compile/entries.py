"""Stages while they are written: their code, what every program ends with, and how they read as text."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from .loop import State
from .lower import lower
from .native import Access, Blocks, Product, Stage, build
from .native.primitives import MASK, NUMBER, PRIMITIVES
from .roll import Roller

COMPUTED = {*PRIMITIVES} - {"sigmoid", "softplus"}  # these by their rows: σ(x) and σ(-x) share an exponential
"""The ops that native code computes as they are."""
SHARED = 15_000_000
"""The fewest operations of a program that several threads run together, half a millisecond of one: they wait for each
other after every stage, and for the processor."""


class StageProgram:
    """A program as stages of native code.

    Args:
        roller: what rolls it up.
        roots: the rows to return, of the traced tape.
        known: names of ops that stay whole.

    Attributes:
        inputs: what the arrays are that it takes, in the order of the buffers; `out` and `kept`, what each step
            returns, and the indices follow.
        sizes: of `out` and `kept`, in numbers.
        segments: where in `out` the numbers of each root are: offset and count.
        flag: the place in `out` that is 0 if all of the results are finite.
        instructions, flops: see `Stats`.
        native: the machine code.
    """

    inputs: list[Any]
    sizes: list[int]
    segments: list[tuple[int, int]]
    flag: int

    def __init__(self, roller: Roller, roots: Sequence[int], known: Collection[str]) -> None:
        rows = [roller.index(r, as_number=True) for r in roots]
        self.tape, self.roots = lower(roller.tape, rows, known=known)
        self.guarded = bool(roller.source.pulls)
        self.indices: list[np.ndarray[Any, Any]] = []

    def finish(
        self,
        stages: Sequence[Stage | Product],
        feedback: Sequence[tuple[int, Any]],
        stacked: int,
        shared: bool,
        blocks: Blocks | None = None,
    ) -> None:
        """Compile the stages, and those that every program ends with."""
        out = len(self.inputs)
        places = [(*self.segments[k], self.inputs.index(what)) for k, what in feedback if what in self.inputs]
        loops = any(isinstance(what, State) for _, what in feedback)
        self.stages = [*stages, *closing(out, self.flag, places, self.guarded, loops)]
        self.sizes[0] += loops
        self.stacked, self.blocks = stacked, blocks
        self.instructions = sum(len(s.code) for s in self.stages)
        self.flops = sum(_flops(s) * (blocks.times(k) if blocks else 1) for k, s in enumerate(self.stages))
        shared = shared and self.flops >= SHARED
        desk = None if shared else (out, self.flag if self.guarded else None)
        self.native = build(self.stages, out + 2 + stacked + len(self.indices), shared=shared, desk=desk, blocks=blocks)

    @property
    def source(self) -> str:
        """The stages, a line for each product and each entry."""
        names = [f"input{k}" for k in range(len(self.inputs))] + ["out", "kept"]
        names += [f"stack{k}" for k in range(self.stacked)] + [f"index{k}" for k in range(len(self.indices))]
        return describe(self.stages, names, self.blocks)


def _flops(stage: Stage | Product) -> int:
    moves = ("load", "store", "gather", "constant", "product")
    each = sum(e[0] not in moves for e in stage.code)
    if isinstance(stage, Product):
        each += (2 if stage.a else 1) * stage.inner
    return stage.rows * stage.lanes * each


def closing(
    out: int, flag: int, feedback: Sequence[tuple[int, int, int]], guarded: bool, loops: bool = False
) -> list[Stage]:
    """The last stages: whether all results are finite, and results that become the next step's inputs.

    Args:
        out: the buffer of the results.
        flag: the place after the last of them, which becomes 0 if all are finite.
        feedback: offset and count of results, and the buffer of the input that they are written over.
        guarded: whether nothing is fed back where a result is not finite: what is run again with care starts from what
            was there before.
        loops: whether the step is one of many. What loops works on copies, so nothing is guarded; the place after the
            last result stays 0 if all were finite in all steps.
    """
    stages = []
    if flag:
        code = Code()
        x = code.put("load", out, 0, 0, 1, 0)
        code.put("total", code.put("subtract", x, x), out, flag + loops, 0, 0)
        stages.append(Stage(lanes=flag, code=code.entries))
    if flag and loops:
        code = Code()
        both = [code.put("load", out, flag + k, 0, 0, 0) for k in range(2)]
        code.put("store", code.put("add", *both), out, flag, 0, 0, 0)
        stages.append(Stage(lanes=1, code=code.entries))
    fed: dict[int, Code] = {}  # by lanes
    for offset, n, place in feedback:
        code = fed.setdefault(n, Code())
        value = code.entry("load", out, offset, 0, 1, 0)
        if guarded and not loops:
            fine = code.entry("equal", code.entry("load", out, flag, 0, 0, 0), code.entry("constant", 0.0))
            value = code.entry("where", fine, value, code.entry("load", place, 0, 0, 1, 0))
        code.put("store", value, place, 0, 0, 1, 0)
    return [*stages, *(Stage(lanes=n, code=code.entries) for n, code in fed.items())]


def padded(count: int) -> int:
    """So many numbers that vectors hold them: those after the results are zeros, and finite."""
    return count if count < 4 else count + -count % 8


def describe(stages: Sequence[Stage | Product], names: Sequence[str], blocks: Blocks | None = None) -> str:
    """Stages as text, a line for each entry.

    Args:
        stages: the stages.
        names: of the buffers.
        blocks: which of them are run for each block of samples.
    """

    def place(at: Access, step: str) -> str:
        moves = [f" + {n} * {name}" for n, name in zip(at[2:], ("row", "lane", step), strict=True) if n]
        return f"{names[at.buffer]}[{at.offset}{''.join(moves)}]"

    lines = []
    for k, stage in enumerate(stages):
        step = "block" if blocks and blocks.first <= k < blocks.end else "step"
        if blocks and k in (blocks.first, blocks.end, blocks.after):
            here = {blocks.first: f"for block in range({blocks.repeats})", blocks.end: "for the samples that are left"}
            lines.append(f"{(here | {blocks.after: 'when all samples are done'})[k]}:")
        if isinstance(stage, Product):
            lines.append(f"stage {k}: ({stage.rows}, {stage.inner}) @ ({stage.inner}, {stage.lanes})")
        else:
            rows = f"{stage.rows} rows of " if stage.rows > 1 else ""
            lines.append(f"stage {k}: {rows}{stage.lanes} lane{'s' if stage.lanes > 1 else ''}")
        for n, (what, *rest) in enumerate(stage.code):
            if what in ("load", "store", "total"):
                where = place(Access(*(rest if what == "load" else rest[1:])), step)
                equals = "+=" if what == "total" else "="
                lines.append(f"  v{n} = {where}" if what == "load" else f"  {where} {equals} v{rest[0]}")
            elif what == "product" and isinstance(stage, Product):
                start = "".join(f" + v{value}" for value in rest)
                factor = place(stage.a, step) if stage.a else "ones"
                lines.append(f"  v{n} = {factor} @ {place(stage.b, step)}{start}")
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
