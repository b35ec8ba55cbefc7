"""A program run op by op, to find where the first number that is not finite comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..ops.namespaces import numpy_reading
from .results import declared
from .roll import Roller
from .tape import ALIAS, CONSTANT, DETACHED, INPUT, LOOP, Tape
from .trace import Traced


class DebugPlan:
    """The traced program, not rolled up, in the ops that the user wrote.

    Raises (when run):
        FloatingPointError: an op gave NaN or an infinity; the message names it, what it was given, and the line.
    """

    backend = "numpy"
    in_place = False

    def __init__(self, tape: Tape, roots: Sequence[int]) -> None:
        if any(tape.rows[i][0] == LOOP for i in tape.live(roots)):
            raise ValueError("compile: debug=True does not look into fori and scan; write the loop as a Python loop.")
        roller = Roller(tape, roots, careful=True, deep=True, least=10**9)
        found = [roller.row(r) for r in roots]
        self.dtypes = [tape.dtype(r) for r in roots]
        self.tape = roller.tape
        self.roots = [y.index if isinstance(y, Traced) else self.tape.constant(y) for y in found]
        self.live = self.tape.live(self.roots)
        self.inputs = [self.tape.inputs[self.tape.rows[i][1]] for i in self.live if self.tape.rows[i][0] == INPUT]
        self.instructions = self.flops = len(self.live)
        self.source = "\n".join(self._text(i) for i in self.live) + "\n"

    def _text(self, i: int) -> str:
        tape = self.tape
        code, *args = tape.rows[i]
        if code == CONSTANT:
            return f"t{i} = {tape.number(i)!r}"
        name = (
            tape.operation(code)[0].name if code >= 0 else {INPUT: "input", ALIAS: "same", DETACHED: "detached"}[code]
        )
        rows = tape.arguments(i) if code < 0 else args
        line = tape.lines.get(i, "")
        return f"t{i} = {name}({', '.join(f't{a}' for a in rows)})" + (f"  # {line}" if line else "")

    def run(self, arrays: Sequence[Any]) -> list[Any]:
        """The results."""
        given = iter(arrays)
        values: dict[int, Any] = {}
        with numpy_reading.quiet():
            for i in self.live:
                code, *args = self.tape.rows[i]
                if code == CONSTANT:
                    values[i] = self.tape.number(i)
                elif code == INPUT:
                    values[i] = next(given)
                elif code < 0:
                    values[i] = values[args[0]]
                else:
                    values[i] = self._op(i, code, [values[a] for a in args])
        return [declared(np.array(values[r]), dtype) for r, dtype in zip(self.roots, self.dtypes, strict=True)]

    def _op(self, i: int, code: int, args: list[Any]) -> Any:
        op, params = self.tape.operation(code)
        y = op.on_arrays([np.asarray(a) if isinstance(a, float) else a for a in args], params, args)[0]
        if not np.isfinite(y).all() and all(np.isfinite(a).all() for a in args):
            name = self.tape.names.get(i)
            raise FloatingPointError(
                f"compile: {op.name}{f' ({name})' if name else ''} gave {_first_bad(y)}"
                f"{', ' + self.tape.lines[i] if i in self.tape.lines else ''}; it was given "
                f"{' and '.join(map(_shown, args))}."
            )
        return y


def _first_bad(y: Any) -> str:
    y = np.asarray(y)
    places = np.argwhere(~np.isfinite(y))
    where = tuple(int(k) for k in places[0])
    return f"{float(y[where])}" + (f" at {list(where)}" if where else "")


def _shown(x: Any) -> str:
    x = np.asarray(x)
    return f"{float(x)}" if not x.ndim else f"{ops.describe(x)} from {float(x.min())} to {float(x.max())}"
