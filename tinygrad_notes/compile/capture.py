"""What a traced function takes from outside of its arguments: read anew in every call, or refused; never frozen."""

from __future__ import annotations

import random
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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
    """The captured arrays and nodes of one trace; `Tape.capture`.

    Args:
        tape: what is written.
        plain: numbers of NumPy's types that are constants, by identity.
    """

    outer = None  # no tape around this one

    def __init__(self, tape: Tape, plain: Container[int] = ()) -> None:
        self.tape, self.plain = tape, plain
        self.rows: dict[int, int] = {}
        self.values = CapturedValues([])
        self.base = -1  # the row of the Values' array, which grows while tracing
        self.before: list[tuple[Any, Any]] = []

    def __call__(self, x: Any) -> int:
        """The row of something that is no symbol."""
        if is_number(x):
            if isinstance(x, np.generic) and id(x) not in self.plain:
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

    def arrays(self) -> Iterator[np.ndarray[Any, Any]]:
        """The arrays; of a view that NumPy made, the array whose memory it shows."""
        for x, _ in self.before:
            if isinstance(x, np.ndarray):
                array: Any = x
                while isinstance(array.base, np.ndarray):
                    array = array.base
                yield array

    def check(self) -> None:
        """Raise if tracing has changed a captured node."""
        for x, data in self.before:
            if is_node(x) and x.data is not data:
                refuse_assignment(x)


class Randomness:
    """Notices that a function drew random numbers, which would stay the same in every later call."""

    def __init__(self, generators: Sequence[np.random.Generator]) -> None:
        self.generators = generators
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
