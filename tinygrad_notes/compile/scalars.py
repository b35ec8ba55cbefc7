"""Programs of numbers as straight-line Python."""

from __future__ import annotations

import itertools
import linecache
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from ..ops.namespaces import floats
from .lower import lower
from .roll import Roller
from .tape import ASSEMBLED, CONSTANT, ELEMENT, INPUT, DeclinedError
from .trace import Traced

_OPERATORS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "less": "<", "less_equal": "<="}
_OPERATORS |= {"greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!="}
_KNOWN = {*_OPERATORS, *vars(floats.native)} - {"square"}
_SAME = {"reshape", "broadcast_to", "expand_dims", "squeeze", "sum_to", "sum", "prod", "max", "min"}
_SPREAD = {"reshape", "broadcast_to", "expand_dims", "squeeze"}
_counter = itertools.count()


class ScalarProgram:
    """A program of numbers as a Python function of the inputs' lists of numbers.

    Attributes:
        run: takes a list of numbers an input, and returns a number or a list for each root.
    """

    def __init__(self, roller: Roller, roots: Sequence[int]) -> None:
        found = [roller.row(r) for r in roots]
        rows = [y.index if isinstance(y, Traced) else roller.tape.constant(y) for y in found]
        self.tape, self.roots = lower(roller.tape, rows, known={*_KNOWN, *_SAME})
        self.inputs: list[Any] = []
        self.scope: dict[str, Any] = {}
        self.instructions = 0
        lines, names = [], []
        self.names: dict[int, str] = {}
        for i in self.tape.live(self.roots):
            if self.tape.rows[i][0] == INPUT:
                self.inputs.append(self.tape.inputs[self.tape.rows[i][1]])
                names.append(f"x{i}")
            line = self._row(i)
            if line:
                lines.append(f"    t{i} = {line}")
                self.names[i] = f"t{i}"
                self.instructions += 1
        results = ", ".join(self._result(r) for r in self.roots)
        body = "\n".join([*lines, f"    return [{results}]"])
        self.source = f"def program({', '.join(names)}):\n{body}\n"
        file = f"<tinygrad_notes compiled numbers {next(_counter)}>"
        linecache.cache[file] = (len(self.source), None, self.source.splitlines(keepends=True), file)
        exec(compile(self.source, file, "exec"), self.scope)
        self.run: Callable[..., list[Any]] = self.scope["program"]

    def _row(self, i: int) -> str | None:
        tape = self.tape
        code, *args = tape.rows[i]
        if code == CONSTANT:
            x = tape.number(i)
            self.names[i] = repr(x) if isinstance(x, bool) or math.isfinite(x) else f"float('{float(x)}')"
        elif code == INPUT:
            self.names[i] = f"x{i}" if tape.shape(i) else f"x{i}[0]"
        elif code == ELEMENT:
            base = args[0]
            if tape.rows[base][0] != ASSEMBLED:
                self.names[i] = f"x{base}[{args[1]}]"
            else:
                self.names[i] = self._sums(base).get(args[1], "0.0")
        elif code == ASSEMBLED:
            return None
        elif code >= 0 and tape.operation(code)[0].name in _SPREAD and math.prod(tape.shape(args[0])) == 1:
            self.names[i] = self.names[args[0]]  # an array of one number, again and again
        elif math.prod(tape.shape(i)) != 1 or code < 0:
            raise DeclinedError(f"an array of shape {tape.shape(i)}")
        else:
            op, params = tape.operation(code)
            names = [self.names[a] for a in args]
            if op.name in _SAME:
                self.names[i] = names[0]
            elif op.name in _OPERATORS:
                return f"{names[0]} {_OPERATORS[op.name]} {names[1]}"
            elif op.name == "negative":
                return f"-{names[0]}"
            elif op.name == "where":
                return f"{names[1]} if {names[0]} else {names[2]}"
            elif op.name in _KNOWN and not params:
                self.scope[op.name] = getattr(floats, op.name)
                return f"{op.name}({', '.join(names)})"
            else:
                raise DeclinedError(op.name)
        return None

    def _sums(self, i: int) -> dict[int, str]:
        """The numbers of an assembled array that have parts, as source."""
        parts: dict[int, list[str]] = defaultdict(list)
        for place, row in self.tape.assembled[self.tape.rows[i][1]].parts:
            for where in (place,) if isinstance(place, int) else place.ravel().tolist():
                parts[where].append(self.names[row])
        return {where: f"({' + '.join(names)})" if len(names) > 1 else names[0] for where, names in parts.items()}

    def _result(self, r: int) -> str:
        code = self.tape.rows[r][0]
        if code == ASSEMBLED:
            sums = self._sums(r)
            return f"[{', '.join(sums.get(k, '0.0') for k in range(math.prod(self.tape.shape(r))))}]"
        if code == INPUT and self.tape.shape(r):
            return f"list(x{r})"
        name = self.names[r]
        return f"[{name}] * {math.prod(self.tape.shape(r))}" if self.tape.shape(r) else name
