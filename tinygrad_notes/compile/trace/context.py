"""Tracing: what takes the place of recording meanwhile, and of reading what a node holds."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from ...graph import Node, recorded_by
from ...ops import Op
from ..tape import Tape
from .refusals import is_ours, refuse_assignment, refuse_gradient
from .symbol import enter, wrap
from .thread import current, thread


@contextlib.contextmanager
def tracing(tape: Tape, unroll: bool | None = None) -> Iterator[None]:
    """Within the block, this tape is written; `unroll` says whether maps are traced sample by sample."""
    before = thread.tape, thread.unrolls
    thread.tape, thread.unrolls = tape, before[1] if unroll is None else unroll
    try:
        with recorded_by(_record), _reading_nodes():
            yield
    finally:
        thread.tape, thread.unrolls = before


class _Noticed:
    """`Node.data` or `Node.grad` while a function is traced: what the function itself reads or assigns is noticed."""

    readers = 0  # in how many threads functions are traced
    lock = threading.Lock()

    def __init__(self, name: str) -> None:
        self.name = name
        self.slot: Any = vars(Node)[name]

    def __get__(self, node: Any, kind: Any = None) -> Any:
        tape = current()
        if node is None or tape is None or is_ours(sys._getframe(1)):
            return self if node is None else self.slot.__get__(node)
        if self.name == "grad":
            refuse_gradient(node)
        return wrap(tape, enter(tape, node)).detach()

    def __set__(self, node: Any, value: Any) -> None:
        if current() is not None and not (is_ours(sys._getframe(1)) and self._is_new(node)):
            refuse_assignment(node, self.name)
        self.slot.__set__(node, value)

    def _is_new(self, node: Any) -> bool:
        """Whether a node is being made; what was there before an optimiser changes, too."""
        try:
            self.slot.__get__(node)
        except AttributeError:
            return True
        return False


_NOTICED = (_Noticed("data"), _Noticed("grad"))


@contextlib.contextmanager
def _reading_nodes() -> Iterator[None]:
    """Within the block, reading what a node holds is noticed. Otherwise these are slots, and cost nothing."""
    with _Noticed.lock:
        _Noticed.readers += 1
        for noticed in _NOTICED:
            type.__setattr__(Node, noticed.name, noticed)
    try:
        yield
    finally:
        with _Noticed.lock:
            _Noticed.readers -= 1
            for noticed in _NOTICED if not _Noticed.readers else ():
                type.__setattr__(Node, noticed.name, noticed.slot)


def _record(op: Op, args: Sequence[Any], params: dict[str, Any]) -> Any:
    """An op on nodes that are not traced, while a function is: they are captured, and the op is part of the program."""
    tape = current()
    assert tape is not None
    return wrap(tape, tape.apply(op, [enter(tape, a) for a in args], params))
