"""Large scalar graphs in which nothing repeats: a table of nodes, computed group by group.

A group is the nodes of one op that do not depend on each other. With llvmlite each op is a compiled loop over its
groups; without, a group is a few calls of NumPy. Either way the time to set up grows with the number of nodes, no
faster.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ops import Op
from ..ops.namespaces import numpy_reading
from ..ops.op import force
from .lower import lower
from .tape import ALIAS, CONSTANT, COTANGENT, ELEMENT, INPUT, DeclinedError, Tape
from .trace import Symbols, Traced, constant, wrap

LARGE = 20_000
"""From so many rows on a graph may be computed from a table."""
SAMPLE = 5_000


def is_irregular(tape: Tape, live: Sequence[int]) -> bool:
    """Whether nothing in the graph seems to repeat: most rows of a part of it are of a class of their own."""
    known: dict[tuple[int, ...], int] = {}
    kinds: dict[int, int] = {}
    part = live[:SAMPLE]
    half = 0
    for n, i in enumerate(part):
        row = tape.rows[i]
        key = row[:2] if row[0] == ELEMENT else (row[0], *(kinds.get(a, -1) for a in row[1:]))
        kinds[i] = known.setdefault(key, len(known))
        if n == len(part) // 2:
            half = len(known)
    return len(known) - half > len(part) // 8  # of the second half of the rows


class TablePlan:
    """A graph of numbers, and the gradient of one of them, in a table.

    Raises:
        DeclinedError: the program is of another form.
    """

    in_place = False

    def __init__(self, tape: Tape, roots: Sequence[int], native: bool) -> None:
        self.backend = "llvm" if native else "numpy"
        self.tape, self.roots = tape, roots
        if not tape.dtypes.keys().isdisjoint(roots):
            raise DeclinedError("results that are no floats")
        self._seed()
        self._number()
        self.source = self._text()
        if native:
            from .native.sweep import Rule, Sweep

            rules = tuple(Rule(*_rule(op)) for op in self.ops)
            self.sweep: Any = Sweep(rules, self.groups, self.operands, self.values, self.adjoints)
        else:
            self.sweep = _NumPySweep(self)
        self.instructions = self.flops = len(self.order) * (2 if self.wanted else 1)

    def _seed(self) -> None:
        """The number whose gradient is asked for, if any."""
        tape = self.tape
        self.wanted = {r: tape.rows[r] for r in self.roots if tape.rows[r][0] == COTANGENT}
        pulls = {row[1] for row in self.wanted.values()}
        if len(pulls) > 1:
            raise DeclinedError("several backward passes")
        self.seed = -1
        if pulls:
            seeds = tape.pulls[pulls.pop()].seeds
            if len(seeds) != 1 or tape.filling(seeds[0][1]) != 1.0:
                raise DeclinedError("a backward pass from several places")
            self.seed = seeds[0][0]

    def _number(self) -> None:
        """Number the leaves, then the nodes by level and op."""
        tape = self.tape
        forward = [r for r in self.roots if r not in self.wanted] + ([self.seed] if self.seed >= 0 else [])
        arrays = [tape.pulls[row[1]].targets[row[2]] for row in self.wanted.values()]
        needed = tape.live([*forward, *arrays])
        rows = [tape.rows[i] for i in needed] if len(needed) < len(tape.rows) else tape.rows
        live = np.array(needed)
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        flat = np.fromiter(itertools.chain.from_iterable(rows), np.int64, lengths.sum())
        starts = np.cumsum(lengths) - lengths
        codes = flat[starts]
        computed = np.flatnonzero(codes >= 0)
        if not len(computed):
            raise DeclinedError("nothing to compute")
        nodes, codes_of_nodes, arity = live[computed], codes[computed], lengths[computed] - 1
        if codes_of_nodes.max() >= 1_000_000 or arity.max() > 3 or np.isin(list(tape.shapes), nodes).any():
            raise DeclinedError("an op on arrays")
        leaves = live[codes == ELEMENT].tolist()
        constants = live[codes == CONSTANT].tolist()
        for i in live[(codes < 0) & (codes != ELEMENT) & (codes != CONSTANT)].tolist():
            code, first, *_ = tape.rows[i]
            if not (code == INPUT or (code == ALIAS and tape.rows[first][0] in (INPUT, ALIAS))):
                raise DeclinedError("a loop, or a gradient within the graph")
            arrays.append(i)
        self.arrays = list(dict.fromkeys(arrays))
        place = np.zeros(len(tape.rows), np.int64)
        self.segments: dict[int, tuple[int, int]] = {}
        at = 0
        for i in self.arrays:
            size = math.prod(tape.shape(i))
            self.segments[i] = (at, at + size)
            at += size
        for i in leaves:
            _, array, offset = tape.rows[i]
            if array not in self.segments:
                raise DeclinedError("elements of a gradient")
            place[i] = self.segments[array][0] + offset
        place[constants] = np.arange(at, at + len(constants))
        count = at + len(constants)
        # The arguments of the nodes; in place of one that an op does not take stands its first.
        operands = np.stack([flat[starts[computed] + np.where(arity > k, k + 1, 1)] for k in range(3)])
        levels = self._levels(nodes, operands)
        order = np.lexsort((codes_of_nodes, levels))
        self.order = nodes[order]
        place[self.order] = np.arange(count, count + len(nodes))
        keys = levels[order] * (codes_of_nodes.max() + 1) + codes_of_nodes[order]
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        kinds, which = np.unique(codes_of_nodes[order][starts], return_inverse=True)
        self.ops: list[Op] = [tape.operation(int(c))[0] for c in kinds]
        if not all(op.elementwise for op in self.ops):  # a sum or a product of a whole array is a number
            raise DeclinedError("an op on arrays")
        self.groups = np.stack([which, np.diff(starts, append=len(nodes))], axis=1).astype(np.int32)
        self.operands = np.ascontiguousarray(place[operands[:, order]], np.int32)
        self.values, self.adjoints = np.zeros(count + len(nodes)), np.zeros(count + len(nodes))
        self.values[at:count] = [float(tape.number(i)) for i in constants]
        self.place, self.first = place, count
        self.inputs = [tape.inputs[tape.rows[self._input(i)][1]] for i in self.arrays]

    def _levels(self, nodes: np.ndarray[Any, Any], operands: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """How many ops lie below each node at most, itself among them."""
        level = [0] * len(self.tape.rows)
        for i, a, b, c in zip(nodes.tolist(), *operands.tolist(), strict=True):  # a million times: max() takes longer
            x, y, z = level[a], level[b], level[c]
            if y > x:
                x = y
            level[i] = (x if x > z else z) + 1
        found: np.ndarray[Any, Any] = np.array(level)[nodes]
        return found

    def _input(self, i: int) -> int:
        while self.tape.rows[i][0] == ALIAS:
            i = self.tape.rows[i][1]
        return i

    def run(self, arrays: Sequence[Any]) -> list[Any]:
        """The results."""
        for i, array in zip(self.arrays, arrays, strict=True):
            start, stop = self.segments[i]
            self.values[start:stop] = np.ravel(array)
        self.sweep.forward()
        if self.wanted:
            self.adjoints[:] = 0.0
            self.adjoints[self.place[self.seed]] = 1.0
            self.sweep.backward()
        return [self._result(r) for r in self.roots]

    def _result(self, r: int) -> Any:
        numbers = self.values
        if r in self.wanted:
            _, pull, k = self.wanted[r]
            r, numbers = self.tape.pulls[pull].targets[k], self.adjoints
        if r not in self.segments:
            return numbers.item(self.place[r])
        start, stop = self.segments[r]
        shape = self.tape.shape(r)
        return numbers[start:stop].reshape(shape).copy() if shape else numbers.item(start)

    def _text(self) -> str:
        """The first groups, in words."""
        lines = [f"{len(self.order)} nodes in {len(self.groups)} groups, after {self.first} leaves"]
        lines += [f"{self.ops[op].name} x {count}" for op, count in self.groups[:50].tolist()]
        return "\n".join([*lines, *(["..."] if len(self.groups) > 50 else [])]) + "\n"


class _NumPySweep:
    """The sweeps by NumPy, a group at a time: the op's own rows read with arrays."""

    def __init__(self, plan: TablePlan) -> None:
        self.plan = plan
        ends = plan.first + np.cumsum(plan.groups[:, 1])
        self.groups = [
            (plan.ops[op], int(end) - count, int(end))
            for (op, count), end in zip(plan.groups.tolist(), ends, strict=True)
        ]

    def _given(self, op: Op, start: int, stop: int) -> list[Any]:
        plan = self.plan
        return [plan.operands[j, start - plan.first : stop - plan.first] for j in range(op.arity)]

    def forward(self) -> None:
        """Compute the nodes' values."""
        values = self.plan.values
        with numpy_reading.quiet():
            for op, start, stop in self.groups:
                given = self._given(op, start, stop)
                values[start:stop] = getattr(numpy_reading, op.name)(*(values[g] for g in given))

    def backward(self) -> None:
        """Hand the adjoints on."""
        values, adjoints = self.plan.values, self.plan.adjoints
        with numpy_reading.quiet():
            for op, start, stop in reversed(self.groups):
                if not op.differentiable:
                    continue
                given = self._given(op, start, stop)
                wanted = [True] * op.arity
                found = op.vjp(
                    numpy_reading, adjoints[start:stop], values[start:stop], [values[g] for g in given], wanted, {}
                )
                for g, c in zip(given, found, strict=True):
                    if c is not None:
                        np.add.at(adjoints, g, c)


def _rule(op: Op) -> tuple[int, tuple[Any, ...], tuple[Any, ...]]:
    """An op's row as straight-line code for a sweep: how many operands, the value, the slopes.

    Truth values lie in the table as 0 and 1.
    """
    from .entries import Code
    from .lanes import KNOWN
    from .native.primitives import NUMBER, PRIMITIVES

    tape = Tape()
    base = tape.input(None, (op.arity + 1,), np.dtype(float))
    xs = [wrap(tape, tape.row((ELEMENT, base, j))) for j in range(op.arity)]
    y = wrap(tape, tape.row((ELEMENT, base, op.arity)))
    known = KNOWN | {"number"}

    def code(x: Any) -> tuple[Any, ...]:
        x = x if isinstance(x, Traced) else constant(tape, float(x))
        low, (root,) = lower(tape, [x.index], known)
        written, values = Code(), dict[int, int]()
        for i in low.live([root]):
            row = low.rows[i]
            if row[0] == ELEMENT:
                values[i] = written.entry("operand", row[2]) if row[2] < op.arity else written.entry("result")
            elif row[0] == CONSTANT:
                values[i] = written.entry("constant", float(low.number(i)))
            elif row[0] != INPUT:
                name = low.operation(row[0])[0].name
                args = zip(row[1:], PRIMITIVES[name].takes, strict=True)
                values[i] = written.entry(name, *(written.as_kind(values[a], kind) for a, kind in args))
        last = written.as_kind(values[root], NUMBER)
        return tuple(written.entries[: last + 1])

    value = code(op(*xs))
    if op.partials is None:
        return op.arity, value, (None,) * op.arity
    slopes: list[Any] = []
    for entry in op.partials(Symbols(careful=True, tape=tape), y, *xs):
        slope = force(entry)
        if slope is None or (type(slope) is int and slope == 0):
            slopes.append(None)
        elif type(slope) is int:
            slopes.append(float(slope))
        else:
            slopes.append(code(slope))
    return op.arity, value, tuple(slopes)
