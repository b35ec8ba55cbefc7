"""Which back end runs a program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from .arrays import ArrayProgram
from .roll import Roller
from .tape import Tape
from .trace import Traced


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


def make_plan(tape: Tape, roots: Sequence[int], backend: str, threads: int) -> Plan:
    """The plan for a tape."""
    return NumPyPlan(tape, roots)
