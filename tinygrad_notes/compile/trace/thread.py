"""The tape that is written in a thread."""

from __future__ import annotations

import threading

from ..tape import Tape


class _Thread(threading.local):
    tape: Tape | None = None
    unrolls = False


thread = _Thread()


def current() -> Tape | None:
    """The tape that is written in this thread, if a function is being traced."""
    return thread.tape


def unrolls() -> bool:
    """Whether maps are to be traced sample by sample."""
    return thread.unrolls
