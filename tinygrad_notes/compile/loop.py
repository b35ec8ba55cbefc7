"""A loop on a tape: its body is a tape of its own, run step by step."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import CellType, FunctionType
from typing import Any, NamedTuple

import numpy as np

from ..calculus import tree_build, tree_leaves, tree_match
from ..ops.namespaces import is_number
from .inference import BOOLEAN, FLOAT64
from .tape import ELEMENT, LOOP, Tape
from .trace import Traced, enter, tracing, wrap


@dataclass(frozen=True)
class State:
    """An input of a loop's body: a part of what it hands on from step to step; for `plain` see `Tape.plain`."""

    place: int
    plain: type | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Slice:
    """An input of a loop's body: the part of an array that belongs to the step."""

    place: int
    plain: type | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Outer:
    """An input of a loop's body: a row of the tape around it."""

    row: int
    plain: type | None = field(default=None, compare=False)


class Kind(NamedTuple):
    """What a part of the state is: its dtype, and what Python has there if no NumPy is in what it comes from.

    Whole numbers of Python are computed as floats, since a loop in native code computes with these.
    """

    dtype: np.dtype[Any]
    plain: type | None

    @property
    def declared(self) -> np.dtype[Any]:
        """The dtype of the result."""
        return np.dtype(int) if self.plain is int else self.dtype

    def after(self, new: Kind) -> Kind | None:
        """What the part is before every step and after it, if a step makes `new` of it; None if nothing fits both."""
        if BOOLEAN in (self.dtype, new.dtype) or self == new:
            return self if self.dtype == new.dtype else None
        if self.plain is not None:
            return Kind(new.dtype, float if float in (self.plain, new.plain) else int) if new.plain else new
        if new.plain is not None and (self.dtype.kind == "f" or new.plain is int):
            return self
        grows = self.dtype.kind in "iu" and np.promote_types(self.dtype, new.dtype) == new.dtype
        return Kind(new.dtype, None) if grows else None


@dataclass
class Loop:
    """A loop on a tape.

    Attributes:
        steps: how often the body runs.
        body: its tape; the inputs are `State`, `Slice` and `Outer`.
        kinds: what the states are.
        states: the rows of the tape around it that the states start from.
        slices: the rows of the arrays that are taken apart.
        results: the body's rows of the new states.
        outputs: the body's rows of what is put together.
        outers: the rows of the tape around it that the body reads.
        given: how many of the outputs the user's function gives; the others are kept for a gradient.
        differentiate: what works out gradients through the loops of a tape: see `reverse.py`.
        function: a step, from lists of the states and of the parts to lists of the new states and of the outputs.
    """

    steps: int
    body: Tape
    kinds: list[Kind]
    states: list[int]
    slices: list[int]
    results: list[int]
    outputs: list[int]
    outers: list[int]
    given: int
    differentiate: Callable[..., list[tuple[Any, Any]]]
    function: Callable[[Sequence[Any], Sequence[Any]], tuple[list[Any], list[Any]]]

    @property
    def arguments(self) -> list[int]:
        """The rows of the tape around it that it needs."""
        return [*self.states, *self.slices, *self.outers]

    def dtype(self, k: int) -> np.dtype[Any]:
        """The dtype of the k-th result: the last states, then the outputs."""
        n = len(self.states)
        if k < n:
            return self.kinds[k].declared
        row = self.outputs[k - n]
        return _kind(self.body, row).declared if k < n + self.given else self.body.dtype(row)

    def plain(self, k: int) -> type | None:
        """What Python has in place of the k-th result; of an output that is kept for a gradient, in each step."""
        n = len(self.states)
        if k < n:
            return self.kinds[k].plain
        return self.body.plain(self.outputs[k - n]) if k >= n + self.given else None


class _OuterCaptures:
    """What a loop's body reaches from outside: rows of the tape around it."""

    def __init__(self, outer: Tape, body: Tape) -> None:
        self.outer, self.body = outer, body
        self.rows: dict[int, int] = {}
        self.outers: list[int] = []

    def __call__(self, x: Any) -> int:
        if is_number(x) and not isinstance(x, np.generic):
            return self.body.constant(x)
        row = enter(self.outer, x)
        if isinstance(x, Traced) and self.outer.rows[row][0] == ELEMENT:
            array = self.input(self.outer.rows[row][1])
            return self.body.row((ELEMENT, array, self.outer.rows[row][2]), (), self.outer.dtype(row))
        return self.input(row)

    def input(self, row: int) -> int:
        """The body's row of a row of the tape around it."""
        if row not in self.rows:
            self.outers.append(row)
            what = Outer(row, self.outer.plain(row))
            self.rows[row] = self.body.input(what, self.outer.shape(row), self.outer.dtype(row))
        return self.rows[row]


def record(
    tape: Tape,
    f: Callable[[Any, Any], tuple[Any, Any]],
    state: Any,
    xs: Any,
    steps: int,
    differentiate: Callable[..., list[tuple[Any, Any]]],
) -> tuple[Any, Any]:
    """The loop as one construct of the tape."""
    states, slices = ([enter(tape, leaf) for leaf in tree_leaves(tree)] for tree in (state, xs))
    structure: Any = None

    def step(states: Sequence[Any], parts: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        nonlocal structure
        new, structure = f(tree_build(state, iter(states)), tree_build(xs, iter(parts)))
        return list(tree_match(state, new, "scan: the new state")), tree_leaves(structure)

    kinds = [_kind(tape, r) for r in states]
    while True:  # a whole number that becomes a float in the first step is one from the start
        body = Tape()
        captures = body.capture = _OuterCaptures(tape, body)
        inside = [body.input(State(k, kind.plain), tape.shape(states[k]), kind.dtype) for k, kind in enumerate(kinds)]
        taken = [Slice(k, tape.plain(r)) for k, r in enumerate(slices)]
        parts = [
            body.input(what, tape.shape(r)[1:], tape.array_dtype(r)) for what, r in zip(taken, slices, strict=True)
        ]
        with tracing(body):
            new, outputs = step([wrap(body, r) for r in inside], [wrap(body, r) for r in parts])
        results = [enter(body, y) for y in new]
        found = [_joined(body, kind, *rows) for kind, *rows in zip(kinds, inside, results, strict=True)]
        if found == kinds:
            break
        kinds = found
    stacks = [enter(body, y) for y in outputs]
    body.close()
    rows = (body, kinds, states, slices, results, stacks, captures.outers)
    tape.loops.append(Loop(steps, *rows, len(stacks), differentiate, frozen(step)))
    number = len(tape.loops) - 1
    ends = (result(tape, number, k) for k in range(len(results) + len(stacks)))
    return tree_build(state, ends), tree_build(structure, ends)


def _kind(tape: Tape, row: int) -> Kind:
    """What a row is as a part of the state."""
    plain = tape.plain(row)
    return Kind(tape.array_dtype(row) if plain is None or plain is bool else FLOAT64, plain)


def _joined(body: Tape, kind: Kind, before: int, after: int) -> Kind:
    """What a part of the state is before and after a step.

    Raises:
        TypeError: nothing is both.
    """
    new = _kind(body, after)
    both = kind.after(new) if body.shape(before) == body.shape(after) else None
    if both is None:
        raise TypeError(
            f"scan: a part of the state has shape {body.shape(before)} of {kind.declared}, and after a step "
            f"{body.shape(after)} of {new.declared}; expected the same. Start from what a step gives."
        )
    return both


def result(tape: Tape, number: int, k: int) -> Any:
    """The k-th result of a loop: the last states, then the outputs, which have a part for each step."""
    loop: Loop = tape.loops[number]
    shape = loop.body.shape([*loop.results, *loop.outputs][k])
    steps = () if k < len(loop.results) else (loop.steps,)
    return wrap(tape, tape.row((LOOP, number, k), (*steps, *shape), loop.dtype(k)))


def frozen(function: Any, known: dict[int, Any] | None = None) -> Any:
    """A function that sees the variables around it as they are now, as do the functions among them.

    For a gradient a step is traced once more, and by then a Python loop around it may have gone on.
    """
    known = {} if known is None else known
    if not inspect.isfunction(function) or not function.__closure__:
        return function
    if id(function) not in known:
        cells = tuple(CellType() for _ in function.__closure__)
        copy = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, cells)
        copy.__kwdefaults__ = function.__kwdefaults__
        known[id(function)] = copy
        for cell, around in zip(cells, function.__closure__, strict=True):
            with contextlib.suppress(ValueError):  # not bound yet
                cell.cell_contents = frozen(around.cell_contents, known)
    return known[id(function)]
