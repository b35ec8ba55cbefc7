"""Which back end runs a program, and the last word where a number is not finite.

The fast program multiplies cotangents and slopes as they are; where 0 · ∞ comes up it gives NaN, and the engine's
answer is 0. So when a result is not finite, the program that asks at every product is made, and run instead.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from operator import is_
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .. import ops
from .arrays import ArrayProgram
from .calling import Leaf
from .exact import is_exact
from .expand import is_scalar, written_out
from .inference import FLOAT64
from .irregular import LARGE, TablePlan, is_irregular
from .looping import ChainPlan, LoopResult
from .results import MOST, Results, casts, declared
from .roll import Roller
from .scalars import ScalarProgram
from .tape import INPUT, LOOP, DeclinedError, Tape

if TYPE_CHECKING:
    from .dense import DenseProgram
    from .lanes import LaneProgram
    from .native.desk import Desk

BACKENDS = ("auto", "llvm", "numpy", "python")
QUICK = 1_000_000
"""The most operations of a program that holds Python's lock while it runs: some hundred microseconds."""
NEVER = 10**9
"""The fewest equal terms that are rolled up, where none are to be."""
SHORT = 2_000
"""Up to so many numbers straight-line Python is quicker than NumPy on small arrays."""


Feedback = Sequence[tuple[int, Any]]
"""Pairs of a root's place and an input: what is written over what, at the end of a step."""


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
        live = [tape.rows[i] for i in tape.live(self.fast.roots)]
        needed = [tape.inputs[row[1]] for row in live if row[0] == INPUT]
        needed += [LoopResult(*row[1:]) for row in live if row[0] == LOOP]
        if all(what in given for what in needed):
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


class NativePlan:
    """Native code; bound to the arrays it was called with last. Small programs run on one thread."""

    backend = "llvm"

    def __init__(
        self,
        tape: Tape,
        roots: Sequence[int],
        program: DenseProgram | LaneProgram,
        threads: int,
        feedback: Feedback = (),
        stacked: int = 0,
    ) -> None:
        from .native.binding import aligned
        from .native.desk import POSSIBLE

        self.tape, self.roots, self.program = tape, roots, program
        self.threads = threads = threads if program.native.shared else 1
        self.in_place = self.feeds = False
        self.feedback = [what for _, what in feedback]
        self.fed = [what for what in self.feedback if what in program.inputs]
        self.inputs, self.instructions, self.flops = program.inputs, program.instructions, program.flops
        self.out, self.kept = (aligned(max(n, 1)) for n in program.sizes)
        whole = len(roots) - stacked
        self.views = [
            (offset, offset + count, tape.shape(r))
            for (offset, count), r in zip(program.segments[:whole], roots[:whole], strict=True)
        ]
        fed = {k for k, _ in feedback}
        self.unfed = [None if k in fed else v for k, v in enumerate(self.views)] if fed else self.views
        self.results = [self._store(views) for views in (self.unfed, self.views)]
        self.desk: Desk | None = None
        # Native code writes doubles.
        self.casts = casts(tape, roots[:whole], [FLOAT64] * whole)
        self.memory: memoryview[float] = memoryview(self.out)  # type: ignore[arg-type]  # an array is a buffer
        self.flag = program.flag
        self.given: Any = None
        self.stacks = [tape.shape(r) for r in roots[whole:]]
        self.bound: tuple[Any, ...] = ()
        self.flat: list[np.ndarray[Any, Any]] = []
        self.step: Callable[..., None] | None = None
        self.looping: tuple[list[Any], list[Any], Callable[..., None]] | None = None
        self.careful = Careful(self)
        self.quick = POSSIBLE and threads == 1 and not stacked and not self.casts and self.flops <= QUICK

    @property
    def source(self) -> str:
        """The stages."""
        return self.program.source

    def _store(self, views: Sequence[Any], desk: Desk | None = None) -> Results | None:
        arrays = [v for v in views if v is not None and v[2]]
        return Results(self.out, arrays, desk) if arrays else None

    def _lay_out(self) -> None:
        """Make the quick way in, for the arrays that are bound: they are read and written where they are."""
        from .native.desk import Desk

        self.desk = None
        if self.quick and self.bound and self.feeds == bool(self.feedback):
            memory = self.step.memory  # type: ignore[union-attr]  # a function carries it
            arrays = sum(v is not None and bool(v[2]) for v in self.unfed)
            self.desk = Desk(self.program.native.code, memory.address, MOST, arrays + bool(arrays))
            self.results[0] = self._store(self.unfed, self.desk)
            if not arrays:
                self.desk.add(self.out.copy(), [])
                self.desk.open()

    def run(self, arrays: Sequence[Any]) -> Sequence[Any]:
        """The results."""
        if arrays is not self.given:
            if not self.bound or not all(map(is_, arrays, self.bound)):
                self._tie(arrays)
            self.given = arrays if self.bound else None
        self.step()  # type: ignore[misc]  # bound by now
        if self.memory[self.flag] != 0.0 and self.tape.pulls:
            self.in_place = False  # nothing was fed back, so the inputs are what they were
            return self.careful.run(arrays)
        self.in_place = self.feeds
        return self._results(self.unfed if self.in_place else self.views)

    def _results(self, views: Sequence[tuple[int, int, tuple[int, ...]] | None]) -> list[Any]:
        """Results in memory of their own; None for what was written in place."""
        memory = self.memory
        store = self.results[views is not self.unfed]
        if store is None:
            found: list[Any] = [None if v is None else memory[v[0]] for v in views]
        else:
            arrays = iter(store.take())
            found = [None if v is None else next(arrays) if v[2] else memory[v[0]] for v in views]
        for k, dtype in self.casts:
            if found[k] is not None:
                found[k] = declared(found[k], dtype)
        return found

    def loop(self, arrays: Sequence[Any], steps: int) -> list[Any] | None:
        """The results after so many steps, each on what the one before it left; None where care is needed.

        Args:
            arrays: of the inputs; they are copied, and what has a part for each step is whole.
        """
        if self.looping is None:  # binding costs more than a thousand steps of a small program
            copies = [np.array(a, np.float64) if np.size(a) else np.zeros(1) for a in arrays]
            stacks = [np.zeros((steps, *shape)) for shape in self.stacks]
            flat = [a.reshape(-1) for a in (*copies, self.out, self.kept, *stacks)]
            self.looping = copies, stacks, self.program.native.bind([*flat, *self.program.indices], self.threads)
        copies, stacks, step = self.looping
        for copy, array in zip(copies, arrays, strict=True):
            if np.size(array):
                np.copyto(copy, array)
        step(steps)
        if self.memory[self.flag] != 0.0 and self.tape.pulls:
            return None
        return [*self._results(self.views), *(s.copy() for s in stacks)]

    def bind(self, arrays: Sequence[Any]) -> None:
        """Tie the program to arrays: read in place where they are of contiguous floats, else copied in each call."""
        ready = [np.ascontiguousarray(a, np.float64) for a in arrays]
        same = all(r is a for r, a in zip(ready, arrays, strict=True))
        self.flat = [r.reshape(-1) if r.size else np.zeros(1) for r in ready]
        rest = [self.out, self.kept, *self.program.indices]
        try:
            self.step = self.program.native.bind([*self.flat, *rest], self.threads)
        except ValueError:  # two arrays share memory, and one is written
            same = False
            self.flat = [f.copy() for f in self.flat]
            self.step = self.program.native.bind([*self.flat, *rest], self.threads)
        self.bound = tuple(arrays) if same else ()
        self.given = None
        self.feeds = (
            same
            and bool(self.fed)
            and len(self.fed) == len(self.feedback)  # an argument that nothing is computed from is not at hand
            and all(ready[self.inputs.index(what)] is arrays[self.inputs.index(what)] for what in self.fed)
        )
        self._lay_out()

    def _tie(self, arrays: Sequence[Any]) -> None:
        """As `bind`, for a later call: arrays of the shapes as before, of which none is written, need no new check."""
        if self.step is None or self.fed or self.threads > 1:
            self.bind(arrays)
            return
        same = True
        for k, array in enumerate(arrays):
            ready = np.ascontiguousarray(array, np.float64)
            same = same and ready is array
            if ready.size:
                self.flat[k] = ready if ready.flags.aligned else ready.copy()
                self.step.memory.replace(k, self.flat[k])  # type: ignore[attr-defined]  # a function carries it
        had, self.bound = bool(self.bound), tuple(arrays) if same else ()
        if had != same:
            self._lay_out()


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
    apart = scalar and (
        (len(live) >= LARGE and is_irregular(tape, live)) or (len(live) > SHORT and is_exact(tape, live))
    )
    if apart and backend != "python" and (table := _table(tape, roots, backend)) is not None:
        return table
    if backend in ("auto", "llvm") and _has_llvm(backend):
        found = _native(tape, roots, scalar, options, feedback, stacked)
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
    tape: Tape, roots: Sequence[int], scalar: bool, options: dict[str, Any], feedback: Feedback, stacked: int
) -> NativePlan | str:
    """Native code, or why there is none: products of matrices where they are large enough, else lanes."""
    from .dense import DenseProgram
    from .lanes import LaneProgram

    def rolled(program: Any, tape: Tape, rows: Sequence[int], **how: Any) -> Any:
        return program(Roller(tape, rows, careful=False, **how), rows, feedback, stacked, options["threads"] > 1)

    try:
        try:
            if scalar and is_exact(tape, tape.live(roots)):
                raise DeclinedError("numbers that are compared for equality")
            program = rolled(DenseProgram, tape, roots, deep=True)
        except DeclinedError:
            numbers, rows = (tape, roots) if scalar else written_out(tape, roots)
            try:
                if is_exact(numbers, numbers.live(rows)):
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


def _program(fuse: bool) -> type[ArrayProgram]:
    if fuse:
        from .fused import FusedProgram

        return FusedProgram
    return ArrayProgram
