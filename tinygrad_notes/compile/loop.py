"""A loop on a tape: its body is a tape of its own, run step by step."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import CellType, FunctionType
from typing import Any

import numpy as np

from ..calculus import tree_build, tree_leaves, tree_match
from ..ops.namespaces import is_number
from .tape import ELEMENT, LOOP, Tape
from .trace import Traced, enter, tracing, wrap


@dataclass(frozen=True)
class State:
    """An input of a loop's body: a part of what it hands on from step to step."""

    place: int


@dataclass(frozen=True)
class Slice:
    """An input of a loop's body: the part of an array that belongs to the step."""

    place: int


@dataclass(frozen=True)
class Outer:
    """An input of a loop's body: a row of the tape around it."""

    row: int


@dataclass
class Loop:
    """A loop on a tape.

    Attributes:
        steps: how often the body runs.
        body: its tape; the inputs are `State`, `Slice` and `Outer`.
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
    states: list[int]
    slices: list[int]
    results: list[int]
    outputs: list[int]
    outers: list[int]
    given: int
    differentiate: Callable[..., list[Any] | None]
    function: Callable[[Sequence[Any], Sequence[Any]], tuple[list[Any], list[Any]]]

    @property
    def arguments(self) -> list[int]:
        """The rows of the tape around it that it needs."""
        return [*self.states, *self.slices, *self.outers]


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
            return self.body.row((ELEMENT, array, self.outer.rows[row][2]))
        return self.input(row)

    def input(self, row: int) -> int:
        """The body's row of a row of the tape around it."""
        if row not in self.rows:
            self.outers.append(row)
            self.rows[row] = self.body.input(Outer(row), self.outer.shape(row), self.outer.dtype(row))
        return self.rows[row]


def record(
    tape: Tape,
    f: Callable[[Any, Any], tuple[Any, Any]],
    state: Any,
    xs: Any,
    steps: int,
    differentiate: Callable[..., list[Any] | None],
) -> tuple[Any, Any]:
    """The loop as one construct of the tape."""
    body = Tape()
    captures = body.capture = _OuterCaptures(tape, body)
    states = [_entered(tape, leaf) for leaf in tree_leaves(state)]
    slices = [_entered(tape, leaf) for leaf in tree_leaves(xs)]
    inside = [wrap(body, body.input(State(k), tape.shape(r), _floating(tape.dtype(r)))) for k, r in enumerate(states)]
    parts = [wrap(body, body.input(Slice(k), tape.shape(r)[1:], tape.dtype(r))) for k, r in enumerate(slices)]
    structure: Any = None

    def step(states: Sequence[Any], parts: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        nonlocal structure
        new, structure = f(tree_build(state, iter(states)), tree_build(xs, iter(parts)))
        return list(tree_match(state, new, "scan: the new state")), tree_leaves(structure)

    with tracing(body):
        new, outputs = step(inside, parts)
    results = [enter(body, y) for y in new]
    for before, after in zip(inside, results, strict=True):
        if (body.shape(after), _floating(body.dtype(after))) != (before.shape, before.dtype):
            raise TypeError(
                f"scan: a part of the state has shape {before.shape} of {before.dtype}, and after a step "
                f"{body.shape(after)} of {body.dtype(after)}; expected the same."
            )
    stacks = [enter(body, y) for y in outputs]
    body.close()
    tape.loops.append(
        Loop(steps, body, states, slices, results, stacks, captures.outers, len(stacks), differentiate, frozen(step))
    )
    number = len(tape.loops) - 1
    found = (result(tape, number, k) for k in range(len(results) + len(stacks)))
    return tree_build(state, found), tree_build(structure, found)


def result(tape: Tape, number: int, k: int) -> Any:
    """The k-th result of a loop: the last states, then the outputs, which have a part for each step."""
    loop: Loop = tape.loops[number]
    row = [*loop.results, *loop.outputs][k]
    shape, dtype = loop.body.shape(row), loop.body.dtype(row)
    if k < len(loop.results):
        return wrap(tape, tape.row((LOOP, number, k), shape, _floating(dtype)))
    return wrap(tape, tape.row((LOOP, number, k), (loop.steps, *shape), dtype))


def _entered(tape: Tape, x: Any) -> int:
    return enter(tape, float(x) if is_number(x) and not isinstance(x, np.generic) else x)


def _floating(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype if dtype.kind == "f" else np.dtype(float)


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
