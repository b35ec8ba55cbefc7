"""NumPy and Python programs that are ready to run, and the last word where a number is not finite.

The fast program multiplies cotangents and slopes as they are; where 0 · ∞ comes up it gives NaN, and the engine's
answer is 0. So when a result is not finite, the program that asks at every product is made, and run instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .arrays import ArrayProgram
from .calling import Leaf
from .exact import is_exact
from .looping import LoopResult
from .results import casts, declared
from .roll import Roller
from .scalars import ScalarProgram
from .tape import INPUT, LOOP, Tape

NEVER = 10**9
"""The fewest equal terms that are rolled up, where none are to be."""
Feedback = Sequence[tuple[int, Any]]
"""Pairs of a root's place and an input: what is written over what, at the end of a step."""


class Careful:
    """The program that keeps 0 · ∞ = 0, in NumPy; made when it is first needed.

    Args:
        fast: the plan that it stands behind.
    """

    def __init__(self, fast: Any) -> None:
        self.fast = fast
        self._plan: NumPyPlan | None = None

    @property
    def plan(self) -> NumPyPlan:
        """The plan."""
        if self._plan is None:
            self._plan = NumPyPlan(self.fast.tape, self.fast.roots, careful=True)
        return self._plan

    def is_possible(self) -> bool:
        """Whether the fast plan is given all that this one needs: what it folds may be 0 for finite numbers only."""
        tape, given = self.fast.tape, self.fast.inputs
        rows = [row for i in tape.live(self.fast.roots) if (row := tape.rows[i])[0] in (INPUT, LOOP)]
        if all((tape.inputs[row[1]] if row[0] == INPUT else LoopResult(*row[1:])) in given for row in rows):
            return True
        return all(what in given for what in self.plan.inputs)

    def run(self, arrays: Sequence[Any]) -> Sequence[Any]:
        """The results, given the arrays in the order of the fast plan's inputs."""
        return self.plan.run([arrays[self.fast.inputs.index(what)] for what in self.plan.inputs])


class NumPyPlan:
    """Straight-line NumPy."""

    in_place = False

    def __init__(
        self,
        tape: Tape,
        roots: Sequence[int],
        careful: bool = False,
        fuse: bool = False,
        feedback: Feedback = (),
    ) -> None:
        self.tape, self.roots = tape, roots
        self.backend = "llvm" if fuse else "numpy"
        least = NEVER if is_exact(tape, tape.live(roots)) else 2
        roller = Roller(tape, roots, careful=careful, deep=True, least=least)
        rows = [roller.index(r) for r in roots]
        donated = [rows[k] for k, what in feedback if isinstance(what, Leaf)]  # results are copied over the arguments
        checked = bool(tape.pulls) and not careful
        self.program = _program(fuse)(roller.tape, rows, donated, checked)
        self.source, self.inputs = self.program.source, self.program.inputs
        self.instructions, self.flops = self.program.instructions, self.program.flops
        self.careful = Careful(self) if checked else None
        self.casts = casts(tape, roots, [self.program.tape.dtype(r) for r in self.program.roots])

    def run(self, arrays: Sequence[Any]) -> Sequence[Any]:
        """The results."""
        results = self.program(arrays)
        if results is None:
            return self.careful.run(arrays)  # type: ignore[union-attr]  # it is checked
        for k, dtype in self.casts:
            results[k] = declared(results[k], dtype)
        return results


class PythonPlan:
    """Straight-line Python on floats; what Python's floats refuse is NumPy's to answer."""

    backend = "python"
    in_place = False

    def __init__(self, tape: Tape, roots: Sequence[int], scalar: Tape, rows: Sequence[int]) -> None:
        self.tape, self.roots = tape, roots
        self.program = ScalarProgram(Roller(scalar, rows, careful=False, deep=False, least=NEVER), rows)
        self.source, self.inputs = self.program.source, self.program.inputs
        self.instructions = self.flops = self.program.instructions
        self.kinds = [(tape.shape(r), tape.dtype(r)) for r in roots]
        self.careful = Careful(self)

    def run(self, arrays: Sequence[Any]) -> Sequence[Any]:
        """The results."""
        try:
            results = self.program.run(*(np.ravel(a).tolist() for a in arrays))
        except (ArithmeticError, ValueError):
            results = [math.nan]
        if all(math.isfinite(x) for r in results for x in (r if isinstance(r, list) else (r,))):
            kinds = zip(results, self.kinds, strict=True)
            return [np.array(r, dtype).reshape(shape) if shape else declared(r, dtype) for r, (shape, dtype) in kinds]
        return self.careful.run(arrays)


def _program(fuse: bool) -> type[ArrayProgram]:
    if fuse:
        from .fused import FusedProgram

        return FusedProgram
    return ArrayProgram
