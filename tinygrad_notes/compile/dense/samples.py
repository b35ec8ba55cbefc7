"""Programs on many samples that do not know of each other but by sums over them: which axis of each row is theirs.

Such a program can run on some samples after the others, block by block, with sums that are added up: what is computed
on the way is then small enough for the cache, and blocks can be shared out between threads.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..tape import CONSTANT, INPUT, DeclinedError, Tape
from .jobs import VIEWS

BEFORE, WITHIN, AFTER = range(3)
"""When a row is computed: before the samples, with them, or from sums over them."""
FEWEST = 256
"""The fewest samples that are looked for."""


class Samples:
    """The axis of samples of a program's rows.

    Args:
        tape: the program, lowered.
        roots: the rows to return.
        size: how many samples there are: how long the axis is.

    Attributes:
        axes: the axis of each row that has a number (or more) for each sample.
        sums: the rows that are sums over all samples.
        phases: when each row is computed.

    Raises:
        DeclinedError: one sample's numbers depend on those of others.
    """

    def __init__(self, tape: Tape, roots: Sequence[int], size: int) -> None:
        self.tape, self.size = tape, size
        self.axes: dict[int, int] = {}
        self.sums: set[int] = set()
        live = tape.live(roots)
        for i in live:
            axis = self._axis(i)
            if axis is not None:
                self.axes[i] = axis
        self.phases: dict[int, int] = {}
        needed = set(self.axes) | self.sums
        for i in reversed(live):
            if i in needed:
                needed.update(tape.arguments(i))
        for i in live:
            self.phases[i] = WITHIN if i in self.axes or i in self.sums else BEFORE if i in needed else AFTER
        after = set(self.sums)
        for i in live:
            if i not in after and after.intersection(tape.arguments(i)):
                after.add(i)
                if self.phases[i] != AFTER:
                    raise DeclinedError("samples that depend on sums over all of them")

    def narrowed(self, count: int) -> Tape:
        """The program on so many samples: the same rows in other shapes."""
        tape = copy.copy(self.tape)
        tape.rows, tape.shapes = list(tape.rows), dict(tape.shapes)
        for i, axis in self.axes.items():
            shape = tape.shapes[i]
            tape.shapes[i] = shape = (*shape[:axis], count, *shape[axis + 1 :])
            code, *args = tape.rows[i]
            if code >= 0 and "shape" in (given := tape.operation(code)[1]):
                tape.rows[i] = (tape.code(tape.operation(code)[0], {**given, "shape": shape}), *args)
        return tape

    def _axis(self, i: int) -> int | None:
        """The axis of a row, after those of its arguments; None if it has none."""
        tape, shape = self.tape, self.tape.shape(i)
        code, *args = tape.rows[i]
        if code == INPUT:
            return self._only(shape)
        if code < 0:
            if code != CONSTANT and any(a in self.axes for a in tape.arguments(i)):
                raise DeclinedError("single numbers of samples")
            return None
        op, given = tape.operation(code)
        if op.name == "broadcast_to" and args[0] not in self.axes:
            wide = (1,) * (len(shape) - len(tape.shape(args[0]))) + tape.shape(args[0])
            return self._only(tuple(n if m == 1 else 0 for n, m in zip(shape, wide, strict=True)))
        if not any(a in self.axes for a in args):
            return None
        if op.name in VIEWS:
            return self._moved(args[0], shape, op.name, given)
        if op.elementwise:
            return self._shared(args, len(shape))
        if op.name == "matmul":
            return self._product(i, *args)
        if op.name in ("sum", "max", "min"):
            own, count, keeps = self.axes[args[0]], len(tape.shape(args[0])), bool(given.get("keepdims"))
            gone = range(count) if given.get("axis") is None else np.atleast_1d(given["axis"]) % count
            if own not in gone:
                return own if keeps else own - sum(int(k < own) for k in gone)
            if op.name == "sum":
                self.sums.add(i)
                return None
        raise DeclinedError(f"{op.name} of samples")

    def _only(self, shape: tuple[int, ...]) -> int | None:
        """The axis that is as long as there are samples, if there is one."""
        if shape.count(self.size) > 1:
            raise DeclinedError("two axes that are as long as there are samples")
        return shape.index(self.size) if self.size in shape else None

    def _moved(self, x: int, new: tuple[int, ...], view: str, given: dict[str, Any]) -> int:
        """Where the axis of a row is in a view of it, which has a new shape."""
        shape, axis = self.tape.shape(x), self.axes[x]
        if view == "reshape":
            before = math.prod(shape[:axis])
            places = [k for k, n in enumerate(new) if n == self.size and math.prod(new[:k]) == before]
        else:
            steps = [8 * (k == axis) for k in range(len(shape))]
            moved = VIEWS[view](np.lib.stride_tricks.as_strided(np.empty(1), shape, steps), given)
            places = [k for k, step in enumerate(moved.strides) if step]
        if len(places) != 1:
            raise DeclinedError("an axis of samples that is mixed with others")
        return places[0]

    def _shared(self, args: Sequence[int], ndim: int) -> int:
        """The axis that arguments have in common when they are broadcast."""
        shapes = [(self.axes.get(a), (1,) * (ndim - len(shape)) + shape) for a in args if (shape := self.tape.shape(a))]
        found = {axis + ndim - len(self.tape.shape(a)) for a in args if (axis := self.axes.get(a)) is not None}
        (axis, *others) = found
        if others or any(own is None and shape[axis] > 1 for own, shape in shapes):
            raise DeclinedError("samples beside what is for all of them")
        return axis

    def _product(self, i: int, a: int, b: int) -> int | None:
        """The axis of a product; None if it is a sum over samples."""
        (m, n), in_a, in_b = (len(self.tape.shape(k)) for k in (a, b)), self.axes.get(a), self.axes.get(b)
        if max(m, n) <= 2:
            inner = in_a == m - 1, in_b == max(n - 2, 0)
            if all(inner):
                self.sums.add(i)
                return None
            if not any(inner) and (in_a is None or in_b is None):
                return 0 if in_b is None else m - 1
        raise DeclinedError("a product of samples with each other")


def sizes(tape: Tape, live: Sequence[int]) -> Iterator[int]:
    """How many samples there may be, by the axes of the inputs: the longest first."""
    found = {n for i in live if tape.rows[i][0] == INPUT for n in tape.shape(i)}
    yield from sorted((n for n in found if n >= FEWEST), reverse=True)
