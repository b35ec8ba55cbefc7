"""What is equal to what: the rows of an unrolled graph in classes.

Two rows of one class are one computation on other elements of the same arrays. Sums are flattened: an addition whose
result serves only another addition is no term of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import ops
from .tape import ALIAS, CONSTANT, COTANGENT, ELEMENT, INPUT, LOOP, MAPPED, Tape, code_of

ADD = code_of(ops.add)


class Classes:
    """The classes of a tape's rows.

    Args:
        source: the tape.
        live: its rows that matter, in order.
        deep: whether `kept` is not needed.

    Attributes:
        kinds: the class of each row; negative for a row that is in a class of its own.
        kept: the same, where elements of arrays that are differentiated by are held to be different.
        args: the first three arguments of each row; of an element its array and its place.
    """

    def __init__(self, source: Tape, live: Sequence[int], deep: bool) -> None:
        self.rows = source.rows
        rows, shapes = source.rows, source.shapes
        n = len(rows)
        uses = [0] * n
        for i in live:
            row = rows[i]
            if len(row) == 3 and row[0] >= 0:
                uses[row[1]] += 1
                uses[row[2]] += 1
                continue
            for a in source.arguments(i):
                uses[a] += 1
        absorbed = bytearray(n)
        for i in live:
            row = rows[i]
            if row[0] == ADD and i not in shapes:
                for a in row[1:]:
                    if uses[a] == 1 and rows[a][0] == ADD and a not in shapes:
                        absorbed[a] = 1
        targets = {t for pull in source.pulls for t in pull.targets}
        kinds, kept = [0] * n, [0] * n
        arguments: tuple[list[int], list[int], list[int]] = ([0] * n, [0] * n, [0] * n)
        first, second, _ = arguments
        known: dict[tuple[int, ...], int] = {}
        get, alone = known.setdefault, -1
        for i in live:
            row = rows[i]
            code = row[0]
            if code >= 0 and len(row) == 3 and i not in shapes:  # most rows of long tapes
                _, a, b = row
                first[i], second[i] = a, b
                kinds[i] = get((code, absorbed[i], kinds[a], kinds[b]), len(known))
                if not deep:
                    kept[i] = get((code, absorbed[i], kept[a], kept[b]), len(known))
            elif code == ELEMENT:
                _, array, second[i] = row
                first[i] = array
                kinds[i] = get((code, array), len(known))
                kept[i] = get(row, len(known)) if array in targets else kinds[i]
            elif code == CONSTANT:
                kinds[i] = kept[i] = get(row, len(known))
            elif i in shapes or code in (INPUT, COTANGENT, ALIAS, LOOP, MAPPED) or len(row) > 4:
                kinds[i] = kept[i] = alone
                alone -= 1
            else:
                for k, a in enumerate(row[1:]):
                    arguments[k][i] = a
                kinds[i] = get((code, absorbed[i], *[kinds[a] for a in row[1:]]), len(known))
                if not deep:
                    kept[i] = get((code, absorbed[i], *[kept[a] for a in row[1:]]), len(known))
        self.kinds, self.kept, self.absorbed, self.args = kinds, kept, absorbed, np.array(arguments)

    def terms(self, index: int) -> list[int]:
        """The terms of the sum that a row of additions is, through additions that serve nothing else."""
        rows, absorbed = self.rows, self.absorbed
        terms, stack = [], [index]
        while stack:
            i = stack.pop()
            if i == index or absorbed[i]:
                _, a, b = rows[i]
                stack += (b, a)
            else:
                terms.append(i)
        return terms
