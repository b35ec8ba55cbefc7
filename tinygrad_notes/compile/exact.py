"""Whether a program compares numbers that have to be the same to the last digit.

Where terms are rolled up, a number may be computed twice, alone and as one of an array: once fused with an addition
there and once not here, or in another order. In the last digit it is two numbers then. Mostly that is nothing, but the
largest of some numbers is to equal one of them. So such programs are not rolled up: each number is computed once.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

from .. import ops
from .tape import Tape, code_of

EQUALITY = {code_of(op) for op in (ops.equal, ops.not_equal)}
ORDER = {code_of(op) for op in (ops.less, ops.less_equal, ops.greater, ops.greater_equal)}
SIGN, SUBTRACT, WHERE = code_of(ops.sign), code_of(ops.subtract), code_of(ops.where)
COMPARING = EQUALITY | ORDER | {SIGN}
CHOOSING = {code_of(ops.maximum), code_of(ops.minimum), WHERE}
"""The results are one of the arguments."""


def is_exact(tape: Tape, live: Sequence[int]) -> bool:
    """Whether single numbers are compared for equality, or for order while both may have come from one number."""
    pairs = []
    for i in live:
        if tape.rows[i][0] not in COMPARING or i in tape.shapes:
            continue
        code, *args = tape.rows[i]
        computed = [a for a in args if not tape.is_constant(a)]
        if len(computed) == 2 and code in EQUALITY:
            return True
        if len(computed) == 1 and tape.rows[computed[0]][0] == SUBTRACT:  # x − y with 0
            computed = list(tape.rows[computed[0]][1:])
        if len(computed) == 2:
            pairs.append(computed)
    origins = Origins(tape)
    return any(origins.of(a) & origins.of(b) for a, b in pairs)


class Origins:
    """What computed numbers a number may be: a set, as the bits of an integer."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.known: dict[int, int] = {}
        self.bits: dict[int, int] = {}

    def of(self, i: int) -> int:
        """The origins of a row; a stack of its own, since a chain of choices may be long."""
        stack = [i]
        while stack:
            row = stack.pop()
            code, *args = self.tape.rows[row]
            given = args[code == WHERE :] if code in CHOOSING else []
            missing = [a for a in given if a not in self.known]
            if missing:
                stack += [row, *missing]
            elif given:
                self.known[row] = functools.reduce(operator.or_, (self.known[a] for a in given))
            else:  # what is given needs no computing, so it is the same anywhere
                self.known[row] = 1 << self.bits.setdefault(row, len(self.bits)) if code >= 0 else 0
        return self.known[i]
