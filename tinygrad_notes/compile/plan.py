"""Which back end runs a program."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any, Protocol

from .. import ops
from .careful import NEVER, Careful, Feedback, NumPyPlan, PythonPlan
from .exact import is_exact
from .expand import is_scalar, written_out
from .irregular import LARGE, TablePlan, is_irregular
from .looping import ChainPlan
from .native_plan import NativePlan
from .roll import Roller
from .tape import LOOP, DeclinedError, Tape

BACKENDS = ("auto", "llvm", "numpy", "python")
SHORT = 2_000
"""Up to so many numbers straight-line Python is quicker than NumPy on small arrays."""


class Plan(Protocol):
    """A program that is ready to run.

    Attributes:
        backend: its name.
        source: its text.
        inputs: what the arrays are that it takes.
        instructions, flops: see `Stats`.
        in_place: whether it has written what is fed back over its inputs itself.
    """

    backend: str
    inputs: list[Any]
    instructions: int
    flops: int
    in_place: bool

    def run(self, arrays: Sequence[Any]) -> Sequence[Any]:
        """The results, given the inputs' arrays."""
        ...

    @property
    def source(self) -> str:
        """Its text."""
        ...


def make_plan(
    tape: Tape,
    roots: Sequence[int],
    options: dict[str, Any],
    feedback: Feedback = (),
    stacked: int = 0,
    ends: bool = False,
) -> Plan:
    """The plan for a tape.

    Args:
        tape: the program.
        roots: the rows to return.
        options: of `compile`.
        feedback: what is written over what at the end of a step; a plan does it itself, or leaves it to the caller.
        stacked: how many of the last roots have a part for each step.
        ends: whether loops on the tape are inputs.

    Raises:
        ModuleNotFoundError: the backend that was asked for needs llvmlite.
        ValueError: the backend that was asked for cannot run such a program.
    """
    plan = _chosen(tape, roots, options, feedback, stacked, ends)
    careful: Careful | None = getattr(plan, "careful", None)
    return plan if careful is None or careful.is_possible() else careful.plan


def _chosen(
    tape: Tape, roots: Sequence[int], options: dict[str, Any], feedback: Feedback, stacked: int, ends: bool
) -> Plan:
    """The quickest plan."""
    backend = options["backend"]
    if not ends:
        loops = tape.loops and sorted({tape.rows[i][1] for i in tape.live(roots) if tape.rows[i][0] == LOOP})
        if loops:
            return ChainPlan(tape, roots, loops, make_plan, options)
    live = tape.live(roots)
    if tape.dtypes and any(
        _is_whole(tape, i) for i in tape.dtypes.keys() & live
    ):  # NumPy's wrap around, and have more digits than a double
        if backend == "python":
            raise _cannot("whole numbers")
        return NumPyPlan(tape, roots, fuse=backend != "numpy" and _has_llvm(backend), feedback=feedback)
    scalar = is_scalar(tape, live)
    irregular = scalar and len(live) >= LARGE and is_irregular(tape, live)
    if irregular and backend != "python" and (table := _table(tape, roots, backend)) is not None:
        return table
    exact = scalar and is_exact(tape, live)
    apart = exact and not irregular and len(live) > SHORT
    if apart and backend != "python" and (table := _table(tape, roots, backend)) is not None:
        return table
    if backend in ("auto", "llvm") and _has_llvm(backend):
        found = _native(tape, roots, scalar, exact, options, feedback, stacked)
        if not isinstance(found, str):
            return found
        if scalar and (table := _table(tape, roots, backend)) is not None:
            return table
    if backend == "python" or (backend == "auto" and scalar and len(live) <= SHORT):
        try:
            computed = [tape.rows[i] for i in live if tape.rows[i][0] >= 0]
            numbers = scalar and not any(a in tape.shapes for row in computed for a in row[1:])
            return PythonPlan(tape, roots, *((tape, roots) if numbers else written_out(tape, roots)))
        except DeclinedError as error:
            if tape.maps:
                raise  # once more, sample by sample
            if backend == "python":
                raise _cannot(error) from error
    return NumPyPlan(tape, roots, fuse=backend != "numpy" and _has_llvm(backend), feedback=feedback)


def _cannot(why: Any) -> ValueError:
    return ValueError(f"compile: backend='python' cannot run this program ({why}); use backend='auto'.")


def _is_whole(tape: Tape, i: int) -> bool:
    """Whether a row computes whole numbers from NumPy's, or adds truth values, which NumPy does as it does `or`."""
    code, *args = tape.rows[i]
    if code < 0 or tape.dtypes[i].kind not in "iub":
        return False
    if tape.dtypes[i].kind == "b":
        return tape.operation(code)[0] is ops.add
    return any(tape.dtype(a).kind in "iu" and tape.plain(a) is None for a in args)


def _native(
    tape: Tape,
    roots: Sequence[int],
    scalar: bool,
    exact: bool,
    options: dict[str, Any],
    feedback: Feedback,
    stacked: int,
) -> NativePlan | str:
    """Native code, or why there is none: products of matrices where they are large enough, else lanes."""
    from .dense import DenseProgram
    from .lanes import LaneProgram

    def rolled(program: Any, tape: Tape, rows: Sequence[int], **how: Any) -> Any:
        return program(Roller(tape, rows, careful=False, **how), rows, feedback, stacked, options["threads"] > 1)

    try:
        try:
            if exact:
                raise DeclinedError("numbers that are compared for equality")
            program = rolled(DenseProgram, tape, roots, deep=True)
        except DeclinedError:
            numbers, rows = (tape, roots) if scalar else written_out(tape, roots)
            try:
                if exact or (not scalar and is_exact(numbers, numbers.live(rows))):
                    raise DeclinedError("numbers that are compared for equality")
                program = rolled(LaneProgram, numbers, rows, deep=False, least=4)
            except DeclinedError:
                if len(numbers.rows) > SHORT:
                    raise
                program = rolled(LaneProgram, numbers, rows, deep=False, least=NEVER)
    except DeclinedError as error:
        return str(error)
    return NativePlan(tape, roots, program, options["threads"], feedback, stacked)


def _table(tape: Tape, roots: Sequence[int], backend: str) -> TablePlan | None:
    try:
        return TablePlan(tape, roots, native=backend != "numpy" and _has_llvm(backend))
    except DeclinedError:
        return None


def _has_llvm(backend: str) -> bool:
    found = importlib.util.find_spec("llvmlite") is not None
    if backend == "llvm" and not found:
        raise ModuleNotFoundError("compile: backend='llvm' needs llvmlite: pip install 'tinygrad_notes[fast]'.")
    return found
