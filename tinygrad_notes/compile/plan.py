"""Which back end runs a program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from .arrays import ArrayProgram
from .lanes import LaneProgram, NotLanes
from .roll import Roller
from .tape import Tape
from .trace import Traced


BACKENDS = ("auto", "llvm", "numpy", "python")


class Plan(Protocol):
    """A program that is ready to run.

    Attributes:
        source: its text.
        inputs: what the arrays are that it takes.
        instructions, flops: see `Stats`.
        backend: its name.
    """

    source: str
    inputs: list[Any]
    instructions: int
    flops: int
    backend: str

    def run(self, arrays: Sequence[Any]) -> list[Any]:
        """The results, given the inputs' arrays."""
        ...


class NumPyPlan:
    """Straight-line NumPy; run again with care where a number came out that is not finite."""

    backend = "numpy"

    def __init__(self, tape: Tape, roots: Sequence[int]) -> None:
        self.tape, self.roots = tape, roots
        self.program = self._program(careful=False)
        self.source, self.inputs = self.program.source, self.program.inputs
        self.instructions, self.flops = self.program.instructions, self.program.flops
        self.careful: ArrayProgram | None = None

    def _program(self, careful: bool) -> ArrayProgram:
        roller = Roller(self.tape, self.roots, careful=careful, deep=True)
        found = [roller.row(r) for r in self.roots]
        return ArrayProgram(roller.tape, [y.index if isinstance(y, Traced) else roller.tape.constant(y) for y in found])

    def run(self, arrays: Sequence[Any]) -> list[Any]:
        """The results."""
        return self.program(arrays)


class LanePlan:
    """Native code on lanes; where a number comes out that is not finite, NumPy with care has the last word."""

    backend = "llvm"

    def __init__(self, tape: Tape, roots: Sequence[int]) -> None:
        self.tape, self.roots = tape, roots
        program = LaneProgram(Roller(tape, roots, careful=False, deep=False, least=4), roots)
        self.program = program
        self.inputs, self.instructions, self.flops = program.inputs, program.instructions, program.flops
        self.out, self.kept = (np.zeros(max(n, 1)) for n in program.sizes)
        self.views = [
            (offset, offset + count, tape.shape(r)) for (offset, count), r in zip(program.segments, roots, strict=True)
        ]
        self.bound: list[Any] = []
        self.step: Any = None

    @property
    def source(self) -> str:
        """The stages."""
        return self.program.source

    def run(self, arrays: Sequence[Any]) -> list[Any]:
        """The results."""
        if len(arrays) != len(self.bound) or any(a is not b for a, b in zip(arrays, self.bound, strict=True)):
            ready = [np.ascontiguousarray(a, np.float64).reshape(-1) for a in arrays]
            self.step = self.program.native.bind([*ready, self.out, self.kept, *self.program.indices])
            self.bound = list(arrays)
        self.step()
        out = self.out.copy()
        return [out[a:b].reshape(shape) if shape else out.item(a) for a, b, shape in self.views]


def make_plan(tape: Tape, roots: Sequence[int], options: dict[str, Any]) -> Plan:
    """The plan for a tape."""
    if options["backend"] in ("auto", "llvm"):
        try:
            return LanePlan(tape, roots)
        except NotLanes as e:
            print("not lanes", e)
    return NumPyPlan(tape, roots)
