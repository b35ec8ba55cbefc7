"""What is to stay as it was: names, items of containers, numbers of arrays; and when two things are the same."""

from __future__ import annotations

import ctypes
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, chain, islice
from operator import is_
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from .trace import Traced, TraceError

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), np.generic, ops.Op)
"""What cannot change; it is compared by value."""
LONG = 64
"""So many items of a list are compared by their addresses."""
MISSING: Any = object()


class Binding(NamedTuple):
    """A name that stands for something: in a namespace, a closure's cell, or as an attribute.

    Attributes:
        holder: the dictionary of globals, the cell or the object.
        name: the name; of a cell, for messages only.
        what: what it stands for.
    """

    holder: Any
    name: str
    what: Any

    def now(self) -> Any:
        """What it stands for now."""
        try:
            if isinstance(self.holder, types.CellType):
                return self.holder.cell_contents
            return self.holder[self.name] if type(self.holder) is dict else getattr(self.holder, self.name)
        except (KeyError, AttributeError, ValueError):
            return MISSING

    def source(self, bind: Callable[[Any], str]) -> str:
        """The condition that it stands for the same, as source."""
        holder = bind(self.holder)
        if self.what is MISSING:
            return f"not hasattr({holder}, {self.name!r})"
        if isinstance(self.holder, types.CellType):
            now = f"{holder}.cell_contents"
        elif type(self.holder) is dict:
            now = f"{holder}[{self.name!r}]"
        else:
            now = f"{holder}.{self.name}" if self.name.isidentifier() else f"getattr({holder}, {self.name!r})"
        what = bind(self.what)
        if isinstance(self.what, (*PLAIN, tuple)):
            return f"({now} is {what} or same({now}, {what}))"
        return f"{now} is {what}"

    def __str__(self) -> str:
        if isinstance(self.holder, (dict, types.CellType)):
            return f"the variable {self.name!r}"
        kind = self.holder if isinstance(self.holder, (type, types.ModuleType)) else type(self.holder)
        return f"the attribute {self.name!r} of {kind.__name__}"


class Items:
    """What lists and the like hold, as it was: looked at all together, since there may be many."""

    def __init__(self) -> None:
        self.containers: list[Any] = []
        self.lengths: list[int] = []
        self.items: list[Any] = []
        self.long: list[tuple[list[Any], list[Any], bytes]] = []

    def add(self, container: Any) -> list[Any]:
        """Its items; from now on they are to stay."""
        items = list(_items(container))
        if type(container) is list and len(items) >= LONG:
            self.long.append((container, items, _addresses(items)))
        else:
            self.containers.append(container)
            self.lengths.append(len(items))
            self.items += items
        return items

    def changed(self) -> str | None:
        """Which is not as it was, in words."""
        for one, before, addresses in self.long:
            if _addresses(one) != addresses and not _all_same(one, before):
                return f"the items of a list of {len(before)}"
        now = list(chain.from_iterable(map(_items, self.containers)))
        lengths = [len(_items(c)) for c in self.containers]
        if lengths == self.lengths and (all(map(is_, now, self.items)) or all(map(alike, now, self.items))):
            return None
        ends = accumulate(self.lengths)
        for container, length, end in zip(self.containers, self.lengths, ends, strict=True):
            items = _items(container)
            if len(items) != length or not all(map(alike, items, self.items[end - length : end])):
                return f"the items of a {type(container).__name__} of {length}"
        return None

    def hold(self) -> bool:
        """Whether all are as they were."""
        return self.changed() is None


def _all_same(x: Sequence[Any], y: Sequence[Any]) -> bool:
    return len(x) == len(y) and all(map(same, x, y))


def _addresses(x: list[Any]) -> bytes:
    """Where the items of a list are, without touching each of them, which takes ten times as long."""
    if sys.implementation.name != "cpython":
        return np.array([*map(id, x)]).tobytes()
    first = ctypes.c_void_p.from_address(id(x) + tuple.__basicsize__).value  # follows what a tuple has, too
    return ctypes.string_at(first, len(x) * ctypes.sizeof(ctypes.c_void_p)) if first else b""


def _items(container: Any) -> Sequence[Any]:
    if isinstance(container, Mapping):
        return [*container, *container.values()]
    if isinstance(container, np.ndarray):
        return container.ravel().tolist()
    return container if isinstance(container, list) else list(container)


class Numbers(NamedTuple):
    """An array's numbers, as they were."""

    array: Any
    kind: tuple[Any, ...]
    before: bytes

    def hold(self) -> bool:
        """Whether they still are."""
        return (self.array.shape, self.array.dtype) == self.kind and self.array.tobytes() == self.before

    def insist(self) -> bool:
        """True.

        Raises:
            TraceError: they are not what they were.
        """
        if self.hold():
            return True
        raise TraceError(
            f"compile: the {ops.describe(self.array)} that the function reaches from outside has changed, and NumPy "
            "computed an array while the function was traced, perhaps from it. Compute with the ops of this package, "
            "or make the other array outside of the function, or give this one as an argument."
        )


def same(x: Any, y: Any) -> bool:
    """Whether two things are one, or equal and cannot change: numbers of one type and sign, strings, tuples of such."""
    if x is y:
        return True
    if type(x) is not type(y):
        return False
    if isinstance(x, tuple):
        return _all_same(x, y)
    return isinstance(x, PLAIN) and repr(x) == repr(y)


def alike(x: Any, y: Any) -> bool:
    """Whether two things are the same, or each is what a trace has left there: it is written before it is read.

    Had it been read first, the trace would have met a value of the one before, and refused it.
    """
    return same(x, y) or (is_traced(x) and is_traced(y))


def is_traced(x: Any, depth: int = 3) -> bool:
    """Whether something is a traced value or holds one; of a long list, among the first items."""
    parts = x.values() if isinstance(x, dict) else x if isinstance(x, (list, tuple)) and depth else ()
    return isinstance(x, Traced) or any(is_traced(part, depth - 1) for part in islice(parts, LONG))
