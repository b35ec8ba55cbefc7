"""What takes part in a benchmark: how a contender is described, made, verified and timed."""

from __future__ import annotations

import gc
import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

BURST = 0.001
"""Seconds of a burst: less than what a scheduler gives to a process at a time."""
WARM = 0.1
"""Seconds for which a contender runs before it is timed."""
OURS = ("tinygrad_notes", "llvmlite")


@dataclass(frozen=True)
class Run:
    """A contender that is ready.

    Attributes:
        call: does the work once.
        read: what `call` returned, as the arrays of the reference.
        note: what is worth saying about how it was made.
    """

    call: Callable[[], Any]
    read: Callable[[Any], list[Any]]
    note: Callable[[], str] = str


@dataclass(frozen=True)
class Contender:
    """A way to do a work.

    Attributes:
        name: what the table calls it.
        make: takes the work, gives a `Run` from the work's own start.
        needs: packages.
        setting: "one" thread, "pinned" to one processor, or "two" threads. JAX is on one only if "pinned".
        steps: how many steps of the work one call does.
        ours: whether it is this project's.
        quick: whether it is quick enough to make for --quick.
        collector: whether Python's garbage collector runs.
    """

    name: str
    make: Callable[[Any], Run]
    needs: tuple[str, ...] = ()
    setting: str = "one"
    steps: int = 1
    ours: bool = False
    quick: bool = True
    collector: bool = True

    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [package for package in self.needs if importlib.util.find_spec(package) is None]


class Ready:
    """A contender that was made, and whose first result was compared with the reference.

    Raises:
        ValueError: its result is wrong.
    """

    def __init__(self, contender: Contender, work: Any, batch_seconds: float) -> None:
        self.contender = contender
        start = time.perf_counter()
        self.run = contender.make(work)
        value = self.run.call()
        self.first = time.perf_counter() - start
        found, expected = self.run.read(value), work.reference(contender.steps)
        if len(found) != len(expected):
            raise ValueError(f"{contender.name} gives {len(found)} results; expected {len(expected)}")
        for k, (a, b) in enumerate(zip(found, expected, strict=True)):
            if np.shape(a) != np.shape(b) or not np.allclose(a, b, rtol=1e-9, atol=1e-11):
                raise ValueError(f"{contender.name}: result {k} is wrong: {a} instead of {b}")
        once = min(self._burst(1) for _ in range(3 if self.first < 1 else 1))
        self.calls = max(1, round(BURST / once))
        self.bursts = max(1, round(batch_seconds / (self.calls * once)))
        self.slow = once > 0.2

    def _burst(self, calls: int) -> float:
        """Seconds of so many calls."""
        call = self.run.call
        start = time.perf_counter()
        for _ in range(calls):
            call()
        return time.perf_counter() - start

    def seconds(self) -> float:
        """Seconds a step: the quickest of many short bursts, which other processes have not interrupted."""
        gc.collect()
        if not self.contender.collector:
            gc.disable()
        if not self.slow:
            start = time.perf_counter()  # after the others' turns: caches, threads and the processor's clock wake up
            while time.perf_counter() - start < WARM:
                self.run.call()
        least = min(self._burst(self.calls) for _ in range(self.bursts))
        gc.enable()
        return least / self.calls / self.contender.steps
