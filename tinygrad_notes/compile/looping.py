"""Programs with loops: what comes before, the loop's body as a program of its own, and what comes after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .loop import Loop, Slice, State
from .results import declared
from .tape import CONSTANT, ELEMENT, INPUT, LOOP, Tape


@dataclass(frozen=True)
class LoopResult:
    """An input of what comes after a loop: the k-th of its results."""

    loop: int
    place: int


MakePlan = Callable[..., Any]


class ChainPlan:
    """Plans one after the other: each loop needs what came before it.

    Args:
        tape: the program.
        roots: the rows to return.
        loops: the numbers of its loops, in order.
        make: makes the plan of the parts without loops.
        options: of `compile`.
    """

    in_place = False

    def __init__(
        self, tape: Tape, roots: Sequence[int], loops: Sequence[int], make: MakePlan, options: dict[str, Any]
    ) -> None:
        self.tape, self.roots = tape, roots
        self.parts: list[tuple[_Values, int, _Body]] = []
        self.inputs: list[Any] = []
        for number in loops:
            loop = tape.loops[number]
            values = _Values(tape, loop.arguments, make, options)
            rows = [tape.rows[i] for i in tape.live(roots)]
            wanted = {row[2] for row in rows if row[:2] == (LOOP, number) and row[2] < len(loop.states)}
            self.parts.append((values, number, _Body(loop, wanted, make, options)))
        self.last = _Values(tape, roots, make, options)
        for values in (*(v for v, _, _ in self.parts), self.last):
            self.inputs += [i for i in values.inputs if i not in self.inputs and not isinstance(i, LoopResult)]
        plans = [v.plan for v, _, _ in self.parts if v.plan] + [b.plan for _, _, b in self.parts]
        plans += [self.last.plan] if self.last.plan else []
        self.backend = self.parts[0][2].plan.backend
        self.instructions = sum(p.instructions for p in plans)
        self.flops = sum(b.loop.steps * b.plan.flops for _, _, b in self.parts)

    @property
    def source(self) -> str:
        """The programs of the parts."""
        texts = []
        for values, _, body in self.parts:
            texts += [values.plan.source] if values.plan else []
            texts.append(f"# {body.loop.steps} times\n{body.plan.source}")
        return "\n".join([*texts, *([self.last.plan.source] if self.last.plan else [])])

    def run(self, arrays: Sequence[Any]) -> Sequence[Any]:
        """The results."""
        given = dict(zip(self.inputs, arrays, strict=True))
        for values, number, body in self.parts:
            given |= {LoopResult(number, k): y for k, y in enumerate(body.run(values.get(given)))}
        ends = zip(self.roots, self.last.get(given), strict=True)
        return [y if self.tape.is_constant(r) else self._own(r, y) for r, y in ends]

    def _own(self, r: int, y: Any) -> Any:
        """A result in its dtype; of an argument that is returned, what it is before anything is written over it."""
        y = np.array(y) if self.tape.rows[r][0] == INPUT else y
        return declared(y, self.tape.dtype(r))


class _Values:
    """The numbers of some rows: read from inputs where they stand there, else computed by a plan."""

    def __init__(self, tape: Tape, rows: Sequence[int], make: MakePlan, options: dict[str, Any]) -> None:
        self.tape, self.rows = tape, rows
        self.computed = [r for r in dict.fromkeys(rows) if not self._is_read(r)]
        self.plan = make(tape, self.computed, options, ends=True) if self.computed else None
        read = [self._input(r) for r in rows if self._is_read(r) and tape.rows[r][0] != CONSTANT]
        self.inputs = list(dict.fromkeys([*(self.plan.inputs if self.plan else []), *read]))

    def _is_read(self, r: int) -> bool:
        row = self.tape.rows[r]
        return row[0] in (INPUT, LOOP, CONSTANT) or (row[0] == ELEMENT and self.tape.rows[row[1]][0] == INPUT)

    def _input(self, r: int) -> Any:
        row = self.tape.rows[r]
        if row[0] == ELEMENT:
            return self.tape.inputs[self.tape.rows[row[1]][1]]
        return LoopResult(row[1], row[2]) if row[0] == LOOP else self.tape.inputs[row[1]]

    def get(self, given: dict[Any, Any]) -> list[Any]:
        """The numbers, given the inputs'."""
        found = {}
        if self.plan is not None:
            found = dict(
                zip(self.computed, self.plan.run([np.asarray(given[i]) for i in self.plan.inputs]), strict=True)
            )
        return [found[r] if r in found else self._read(r, given) for r in self.rows]

    def _read(self, r: int, given: dict[Any, Any]) -> Any:
        row = self.tape.rows[r]
        if row[0] == CONSTANT:
            return self.tape.number(r)
        array = given[self._input(r)]
        return np.asarray(array).reshape(-1)[row[2]] if row[0] == ELEMENT else array


class _Body:
    """The body of a loop: native code runs all steps in one call, else each step is one run of a plan."""

    def __init__(self, loop: Loop, wanted: set[int], make: MakePlan, options: dict[str, Any]) -> None:
        self.loop, self.places = loop, _needed(loop, wanted)
        roots = [*(loop.results[k] for k in self.places), *loop.outputs]
        feedback = [(n, State(k)) for n, k in enumerate(self.places)]
        self.plan = make(loop.body, roots, options, feedback=feedback, stacked=len(loop.outputs))
        if (careful := getattr(self.plan, "careful", None)) and loop.body.compared_gradients(roots):
            self.plan = careful.plan
        self.native = hasattr(self.plan, "loop")
        # Whole numbers of Python are computed as floats, but for those that meet whole numbers of NumPy.
        self.counts = any(dtype.kind in "iu" for dtype in loop.body.dtypes.values())

    def run(self, arguments: Sequence[Any]) -> list[Any]:
        """The last states and the stacked outputs, given the loop's arguments."""
        loop = self.loop
        found = self._run(arguments)
        n = len(loop.states)
        return [declared(y, loop.dtype(k)) for k, y in enumerate([*self._whole(found[:n]), *found[n:]])]

    def _whole(self, states: Sequence[Any]) -> list[Any]:
        """The states, of which those that are Python's whole numbers were computed as floats."""
        return [_whole(y) if kind.plain is int else y for y, kind in zip(states, self.loop.kinds, strict=True)]

    def _run(self, arguments: Sequence[Any]) -> list[Any]:
        loop = self.loop
        n, m = len(loop.states), len(loop.slices)
        states = list(arguments[:n])
        slices, outers = arguments[n : n + m], dict(zip(loop.outers, arguments[n + m :], strict=True))
        if self.native:
            whole = [_argument(i, states, slices, outers) for i in self.plan.inputs]
            found: list[Any] | None = self.plan.loop(whole, loop.steps)
            if found is not None:
                return [*self._after(states, found), *found[len(self.places) :]]
        plan = self.plan.careful.plan if self.native else self.plan
        outputs: list[list[Any]] = [[] for _ in loop.outputs]
        for step in range(loop.steps):
            parts = [s[step] for s in slices]
            results = plan.run([np.asarray(_argument(i, states, parts, outers)) for i in plan.inputs])
            states = self._after(states, results)
            if self.counts:
                states = self._whole(states)
            for column, y in zip(outputs, results[len(self.places) :], strict=True):
                column.append(y)
        return [*states, *map(np.array, outputs)]

    def _after(self, states: Sequence[Any], results: Sequence[Any]) -> list[Any]:
        """The states, with what is computed of them; the others stay what they are."""
        computed = dict(zip(self.places, results, strict=False))  # the outputs come after them
        return [computed.get(k, y) for k, y in enumerate(states)]


def _needed(loop: Loop, wanted: set[int]) -> list[int]:
    """The states that are wanted in the end, or that these or the outputs are computed from."""
    body = loop.body

    def reads(rows: Sequence[int]) -> set[int]:
        inputs = [body.inputs[body.rows[i][1]] for i in body.live(rows) if body.rows[i][0] == INPUT]
        return {what.place for what in inputs if isinstance(what, State)}

    found, left = set[int](), wanted | reads(loop.outputs)
    while left:
        found |= left
        left = reads([loop.results[k] for k in left]) - found
    return sorted(found)


def _whole(x: Any) -> int:
    """A whole number of Python, which was computed as a float."""
    if not abs(x) <= 2**53:
        raise OverflowError(
            f"compile: a whole number in the state of a loop has become {x:.3g}; expected at most 2^53, up to which "
            "floats are exact. Start from a float, or from an array of integers."
        )
    return int(x)


def _argument(what: Any, states: Sequence[Any], slices: Sequence[Any], outers: dict[int, Any]) -> Any:
    """The array of an input of a loop's body."""
    if isinstance(what, State):
        return states[what.place]
    return slices[what.place] if isinstance(what, Slice) else outers[what.row]
