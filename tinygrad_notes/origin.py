"""Where a node came from: the call that returned it, and the line of the user's program that made it.

Nothing of this is recorded for every node. A call marks only what it returns; what lies between that and what it was
given is found when it is asked for. The line is looked up only while someone asks for lines.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .ops import NODE_KINDS

PACKAGE = str(Path(__file__).parent) + os.sep


class Line(NamedTuple):
    """A line of the user's program."""

    file: str
    number: int
    function: str

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.number}, in {self.function}"


class Call:
    """One call of a module.

    The module and the tensors that it was given are held weakly: a module may keep its last output, and a call that
    detaches its input shall not keep the input's graph alive.

    Attributes:
        kind: the name of the module's class.
        outer: the call within which this one took place.
    """

    __slots__ = ("_inputs", "_module", "kind", "outer")

    def __init__(self, module: Any, given: tuple[Any, ...], outer: Call | None) -> None:
        self.kind, self.outer = type(module).__name__, outer
        self._module: Callable[[], Any] = weakref.ref(module) if module is not None else _gone
        self._inputs: list[Any] = []
        for x in given:
            if type(x) in NODE_KINDS:
                self._inputs.append(_weak(x))
            elif isinstance(x, (list, tuple, dict)):
                self._inputs += map(_weak, nodes_in(x))

    def like(self, given: tuple[Any, ...], outer: Call | None) -> Call:
        """The same call with other inputs, within another."""
        call = Call(self.module, given, outer)
        call.kind, call._module = self.kind, self._module
        return call

    @property
    def module(self) -> Any:
        """The module; `None` if it is gone."""
        return self._module()

    @property
    def inputs(self) -> list[Any]:
        """The nodes that it was given; those that are gone are in nobody's graph."""
        found = (ref() if type(ref) is weakref.ref else ref for ref in self._inputs)
        return [node for node in found if node is not None]


class Origin:
    """What is known of where a node came from.

    Attributes:
        call: the innermost call that returned it.
        line: the line that made it.
    """

    __slots__ = ("call", "line")

    def __init__(self, call: Call | None = None, line: Line | None = None) -> None:
        self.call, self.line = call, line

    def __reduce__(self) -> tuple[Any, ...]:
        return Origin, (None, self.line)  # a copy is of no call


class _Thread(threading.local):
    call: Call | None = None


_thread = _Thread()


def scoped(function: Callable[..., Any]) -> Callable[..., Any]:
    """A module's `__call__` that marks the nodes it returns. It costs the same however much is computed in between."""

    @functools.wraps(function)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        outer = _thread.call
        this = _thread.call = Call(self, (*args, *kwargs.values()) if kwargs else args, outer)
        try:
            result = function(self, *args, **kwargs)
        finally:
            _thread.call = outer
        for node in (result,) if type(result) in NODE_KINDS else nodes_in(result):
            if node.op is not None:
                origin = origin_of(node)
                if origin is None:
                    node.origin = Origin(this)
                elif origin.call is None:  # else an inner call returned it
                    origin.call = this
        return result

    return call


def origin_of(node: Any) -> Origin | None:
    """What is known of a node's origin. Asking the slot itself is quick where it is unset, which it mostly is."""
    try:
        origin: Origin = type(node).origin.__get__(node)
        return origin
    except AttributeError:
        return None


def nodes_in(x: Any) -> Iterator[Any]:
    """The nodes in nested lists, tuples and dicts."""
    if type(x) in NODE_KINDS:
        yield x
    elif isinstance(x, (list, tuple)):
        for item in x:
            yield from nodes_in(item)
    elif isinstance(x, dict):
        for item in x.values():
            yield from nodes_in(item)


def _gone() -> None:
    """Like a weak reference to what is gone."""


def _weak(node: Any) -> Any:
    try:
        return weakref.ref(node)
    except TypeError:  # a Value has no room for weak references
        return node


def caller() -> Line | None:
    """The innermost line that runs outside this package; `None` if there is none."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((PACKAGE, "<tinygrad_notes")):
            return Line(file, frame.f_lineno, frame.f_code.co_name)
        frame = frame.f_back  # type: ignore[assignment]  # the last frame has none
    return None
