"""Tracing: what takes the place of recording meanwhile, and of reading the data of a node."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from ...graph import Node, recorded_by
from ...ops import Op
from ..tape import Tape
from .refusals import PACKAGE, refuse_assignment
from .symbol import enter, wrap
from .thread import current, thread


@contextlib.contextmanager
def tracing(tape: Tape, unroll: bool | None = None) -> Iterator[None]:
    """Within the block, this tape is written; `unroll` says whether maps are traced sample by sample."""
    before = thread.tape, thread.unrolls
    thread.tape, thread.unrolls = tape, before[1] if unroll is None else unroll
    try:
        with recorded_by(_record), _reading_data():
            yield
    finally:
        thread.tape, thread.unrolls = before


_SLOT: Any = vars(Node)["data"]


class _Data:
    """`Node.data` while a function is traced: what the function itself reads is captured, what it assigns refused."""

    readers = 0  # in how many threads functions are traced
    lock = threading.Lock()

    def __get__(self, node: Any, kind: Any = None) -> Any:
        tape = current()
        if node is None or tape is None or self._is_ours(sys._getframe(1)):
            return self if node is None else _SLOT.__get__(node)
        return wrap(tape, enter(tape, node)).detach()

    def __set__(self, node: Any, data: Any) -> None:
        if current() is not None and not self._is_ours(sys._getframe(1)):
            refuse_assignment(node)
        _SLOT.__set__(node, data)

    def _is_ours(self, frame: Any) -> bool:
        return bool(frame.f_code.co_filename.startswith((PACKAGE, "<tinygrad_notes")))


@contextlib.contextmanager
def _reading_data() -> Iterator[None]:
    """Within the block, reading a node's data is noticed. Otherwise it is a slot, and costs nothing."""
    with _Data.lock:
        _Data.readers += 1
        type.__setattr__(Node, "data", _Data())
    try:
        yield
    finally:
        with _Data.lock:
            _Data.readers -= 1
            if not _Data.readers:
                type.__setattr__(Node, "data", _SLOT)


def _record(op: Op, args: Sequence[Any], params: dict[str, Any]) -> Any:
    """An op on nodes that are not traced, while a function is: they are captured, and the op is part of the program."""
    tape = current()
    assert tape is not None
    return wrap(tape, tape.apply(op, [enter(tape, a) for a in args], params))
