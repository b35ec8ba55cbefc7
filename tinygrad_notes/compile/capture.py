"""What a traced function takes from outside of its arguments: read anew in every call, or refused; never frozen."""

from __future__ import annotations

import contextlib
import inspect
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..graph import is_node
from ..ops.namespaces import is_number
from ..value import Value
from .tape import ELEMENT, Tape
from .trace import TraceError, refuse_assignment, refuse_frozen


@dataclass(frozen=True, eq=False)
class Captured:
    """An array or a node that the function reached by itself; its numbers are read in every call."""

    what: Any

    def data(self) -> Any:
        """The numbers now."""
        return self.what.data if is_node(self.what) else self.what


@dataclass(frozen=True, eq=False)
class CapturedValues:
    """The Values that the function reached by itself, as one array."""

    plain = float  # of Python's

    values: list[Value]

    def data(self) -> Any:
        """The numbers now."""
        return np.array([v.data for v in self.values])


class Captures:
    """The captured arrays and nodes of one trace; `Tape.capture`."""

    outer = None  # no tape around this one

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.rows: dict[int, int] = {}
        self.values = CapturedValues([])
        self.base = -1  # the row of the Values' array, which grows while tracing
        self.before: list[tuple[Any, Any]] = []

    def __call__(self, x: Any) -> int:
        """The row of something that is no symbol."""
        if is_number(x):
            if isinstance(x, np.generic):
                refuse_frozen(f"np.{type(x).__name__} {x!r}")
            return self.tape.constant(x)
        if not (is_node(x) or isinstance(x, np.ndarray)):
            raise TypeError(
                f"compile: an op was given {ops.describe(x)}; expected numbers, NumPy arrays, Values or Tensors."
            )
        found = self.rows.get(id(x))
        if found is None:
            self.before.append((x, x.data if is_node(x) else x))
            if isinstance(x, Value):
                found = self.rows[id(x)] = self._value(x)
                return found
            captured = Captured(x)
            data = captured.data()
            if not isinstance(data, (float, np.ndarray)):
                raise TypeError(f"compile: {ops.describe(x)} is no NumPy array; compile runs on NumPy only.")
            shape, dtype = np.shape(data), np.asarray(data).dtype
            found = self.rows[id(x)] = self.tape.input(captured, shape, dtype)
        return found

    def _value(self, x: Value) -> int:
        values = self.values.values
        if not values:
            self.base = self.tape.input(self.values, (1,), np.dtype(float))
        values.append(x)
        self.tape.shapes[self.base] = (len(values),)
        return self.tape.row((ELEMENT, self.base, len(values) - 1))

    def check(self, reached: Sequence[Any]) -> None:
        """Raise if tracing has changed a captured node, or captured what NumPy made of an array that is not captured.

        Args:
            reached: the arrays that the function can reach by itself.
        """
        outside = {id(x) for x in reached}
        made = [x for x, _ in self.before if isinstance(x, np.ndarray) and id(x) not in outside]
        hidden = [x for x in reached if id(x) not in self.rows]
        if made and hidden:
            raise TraceError(
                f"compile: NumPy computed an {ops.describe(made[0])} while the function was traced, perhaps from the "
                f"{ops.describe(hidden[0])} that it reaches from outside; it would stay the same in every later call. "
                "Give that array as an argument, or compute with the ops of this package."
            )
        for x, data in self.before:
            if is_node(x) and x.data is not data:
                refuse_assignment(x)


class Randomness:
    """Notices that a function drew random numbers, which would stay the same in every later call."""

    def __init__(self, reached: Sequence[Any]) -> None:
        self.generators = [x for x in reached if isinstance(x, np.random.Generator)]
        self.before = self._states()

    def _states(self) -> list[Any]:
        states = [np.random.get_state(legacy=False), *(g.bit_generator.state for g in self.generators)]
        return [random.getstate(), *map(_compared, states)]

    def check(self) -> None:
        """Raise if any generator has moved."""
        if self._states() != self.before:
            raise TraceError(
                "compile: the function drew random numbers; they would be the same in every later call. Draw them "
                "outside and give them as an argument."
            )


def _compared(state: Any) -> Any:
    """A generator's state with bytes for arrays: to write these out as text takes longer than to trace a function."""
    if isinstance(state, dict):
        return {key: _compared(part) for key, part in state.items()}
    return state.tobytes() if isinstance(state, np.ndarray) else state


class Reached(NamedTuple):
    """Something that a function reaches by itself, and how to look it up again; None where it cannot be bound anew."""

    what: Any
    again: Callable[[], Any] | None


def reach(f: Any) -> list[Reached]:
    """The arrays, nodes, floats and generators that a function reaches: by closure, defaults, globals, objects."""
    return list(_reach(f))


def guards(reached: Sequence[Reached], captures: Captures) -> list[tuple[Callable[[], Any], Any]]:
    """What later calls have to find as it was: names of what was captured, and of floats, which became constants."""
    return [
        (again, what)
        for what, again in reached
        if again is not None and (type(what) is float or id(what) in captures.rows)
    ]


def _reach(f: Any) -> Iterator[Reached]:
    seen: set[int] = set()
    stack: list[tuple[Any, int, Callable[[], Any] | None]] = [(f, 3, None)]
    while stack:
        x, depth, again = stack.pop()
        if depth < 0 or (id(x) in seen and type(x) is not float):
            continue
        seen.add(id(x))
        if isinstance(x, (np.random.Generator, np.ndarray, float)) or is_node(x):
            yield Reached(x, again)
        elif type(x).__module__ == "tinygrad_notes.compile.compiled":  # what it counts is no part of the function
            stack.append((x.f, depth, None))
        elif inspect.isfunction(x) or inspect.ismethod(x):
            if inspect.ismethod(x):
                stack.append((x.__self__, depth, None))
            function = inspect.unwrap(x)
            for one in {id(x): x, id(function): function}.values():
                if inspect.isfunction(one):
                    stack += [(v, depth - 1, look) for v, look in _names(one) if v is not x]
        elif isinstance(x, (list, tuple)):
            stack += [(v, depth - 1, None) for v in x[:100]]
        elif isinstance(x, dict):
            stack += [(v, depth - 1, None) for v in list(x.values())[:100]]
        elif hasattr(x, "__dict__") and not inspect.ismodule(x) and not isinstance(x, type):
            stack += [(v, depth - 1, partial(vars(x).get, name)) for name, v in vars(x).items()]


def _names(function: Any) -> Iterator[tuple[Any, Callable[[], Any] | None]]:
    """What a function's names stand for: in its closure, its globals and its defaults."""
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # not bound yet
            yield cell.cell_contents, partial(getattr, cell, "cell_contents", None)
    for name in inspect.getclosurevars(function).globals:
        yield function.__globals__[name], partial(function.__globals__.get, name)
    for default in function.__defaults__ or ():
        yield default, None
