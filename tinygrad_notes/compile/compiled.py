"""`Compiled`: a function that is traced once for every kind of arguments, and from then on run as a program."""

from __future__ import annotations

import functools
import gc
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..calculus import tree_build, tree_leaves, tree_match
from ..graph import is_node, recording
from ..ops import shape_of
from ..ops.namespaces import is_number
from .calling import MISS, Arguments, HasNodesError, Leaf, Numbers, Output, write_call
from .capture import Captures, Randomness
from .debug import DebugPlan
from .outside import Outside
from .plan import Plan, make_plan
from .tape import ELEMENT, DeclinedError, Tape
from .trace import Traced, TraceError, returned, tracing, user_line, wrap

MOST = 256
"""So many programs of one function are kept: of those made last."""


@dataclass
class Stats:
    """What was compiled last, and how often it was used.

    Attributes:
        nodes: rows that were traced.
        instructions: what is computed in a call.
        flops: operations on numbers in a call; a function of one number counts as one.
        trace_seconds, compile_seconds: how long each took.
        hits: calls that found a program ready.
        programs: how many kinds of arguments were met.
        backend: what runs the program: "llvm", "numpy" or "python".
    """

    nodes: int = 0
    instructions: int = 0
    flops: int = 0
    trace_seconds: float = 0.0
    compile_seconds: float = 0.0
    hits: int = 0
    programs: int = 0
    backend: str = ""


class Compiled:
    """A compiled function; made by `compile`.

    Attributes:
        stats: see `Stats`.
    """

    def __init__(self, f: Callable[..., Any], **options: Any) -> None:
        functools.update_wrapper(self, f, updated=())
        self.f, self.options = f, options
        self.stats = Stats()
        self._calls: list[Callable[[tuple[Any, ...]], Any]] = []
        self._binds: list[Callable[[tuple[Any, ...]], Any]] = []
        self._lock = threading.RLock()
        self._plan: Plan | None = None

    def __repr__(self) -> str:
        return f"<compiled {getattr(self.f, '__name__', self.f)!s}, {self.stats.programs} program(s)>"

    @property
    def source(self) -> str:
        """The program that was made last, as text.

        Raises:
            RuntimeError: there is none yet.
        """
        if self._plan is None:
            raise RuntimeError("compile: no program yet; it is made in the first call.")
        return self._plan.source

    def __call__(self, *args: Any, **named: Any) -> Any:
        """The result of f; the program is made in the first call with arguments of this kind."""
        if named:
            raise TypeError(f"compile: {', '.join(named)} given by name; give all arguments by position.")
        for call in self._calls:  # as in `_take`; here every tenth of a microsecond counts
            try:
                found = call(args)
            except (IndexError, KeyError, AttributeError):
                continue
            if found is not MISS:
                self.stats.hits += 1
                return found
        return self._first(args)

    def bind(self, *args: Any) -> Callable[[], Any]:
        """A function of no arguments that runs the program on these arguments, whose arrays are read anew each time.

        The checks of a call are made once. Numbers among the arguments stay what they are now.
        """
        found = _take(self._binds, args)
        if found is MISS:
            self._first(args)
            found = _take(self._binds, args)
        if found is MISS:  # no program runs on nodes
            return lambda: self.f(*args)
        return found  # type: ignore[no-any-return]  # a generated function

    def _first(self, args: tuple[Any, ...]) -> Any:
        try:
            arguments = Arguments(args, self.options["static"])
        except HasNodesError:
            return self.f(*args)
        with self._lock:
            found = _take(self._calls, args)  # another thread may have made it meanwhile
            if found is not MISS:
                return found
            with _collector_paused():
                call, bind = self._make(args, arguments)
            self._calls = [call, *self._calls][:MOST]
            self._binds = [bind, *self._binds][:MOST]
        found = call(args)
        if found is MISS:
            raise TraceError(
                "compile: what the function reads from outside changed while it was traced, perhaps by another thread; "
                "give it as an argument."
            )
        return found

    def _make(self, args: Sequence[Any], arguments: Arguments) -> tuple[Callable[..., Any], Callable[..., Any]]:
        started = time.perf_counter()
        try:
            return self._make_by(args, arguments, started, unroll=False)
        except DeclinedError:  # a map that cannot be traced once
            return self._make_by(args, arguments, started, unroll=True)

    def _make_by(
        self, args: Sequence[Any], arguments: Arguments, started: float, unroll: bool
    ) -> tuple[Callable[..., Any], Callable[..., Any]]:
        tape, output = self._trace(args, arguments, unroll)
        traced = time.perf_counter()
        roots: list[int] = []
        outputs = [_output(tape, y, roots) for y in tree_leaves(output)]
        feedback = []
        if self.options["donate"] is not None:
            feedback = self._donated(args, arguments, output, outputs)
        tree = tree_build(output, iter(outputs))
        tape.close()
        if self.options["debug"]:
            plan: Any = DebugPlan(tape, roots)
        else:
            plan = make_plan(tape, [*roots, *tape.compared_gradients(roots)], self.options, feedback)
        self._plan = plan
        call = write_call(arguments, plan, tree)
        stats = self.stats
        stats.programs += 1
        stats.nodes = len(tape.rows)
        stats.instructions, stats.flops, stats.backend = plan.instructions, plan.flops, plan.backend
        stats.trace_seconds, stats.compile_seconds = traced - started, time.perf_counter() - traced
        return call

    def _donated(
        self, args: Sequence[Any], arguments: Arguments, output: Any, outputs: list[Output]
    ) -> list[tuple[int, Any]]:
        """Which results are written over which inputs; marks these results.

        Raises:
            TypeError: the donated argument holds something else than arrays of float64.
            ValueError: neither the result nor its first item has the argument's structure and shapes.
        """
        k = self.options["donate"]
        name = getattr(self.f, "__name__", "f")
        if not 0 <= k < len(args):
            raise ValueError(f"compile: donate={k}, but {name} was given {len(args)} argument(s).")
        leaves = tree_leaves(args[k])
        if not all(isinstance(a, np.ndarray) and a.dtype == np.float64 and a.flags.writeable for a in leaves):
            raise TypeError(f"compile: donate={k}: expected writeable arrays of float64 only, to be written to.")
        is_first = isinstance(output, tuple) and len(tree_leaves(output)) != len(leaves)
        new = output[0] if is_first else output
        try:
            given = tree_match(args[k], new, f"compile: donate={k}: the result of {name}")
        except ValueError as error:
            if is_first or not isinstance(output, tuple) or not output:
                raise
            given = tree_match(args[k], output[0], f"compile: donate={k}: the first item of the result of {name}")
            del error
        first = arguments.first[k]
        feedback = []
        for j, (old, y) in enumerate(zip(leaves, given, strict=True)):
            if getattr(y, "shape", None) != old.shape:
                raise ValueError(f"compile: donate={k}: a result of shape {shape_of(y)} for an array {old.shape}.")
            place = outputs[j]._replace(into=arguments.arrays[first + j].path)
            if place.result is None or place.offset is not None:
                raise ValueError(f"compile: donate={k}: a result that is no new array of the function's.")
            outputs[j] = place
            feedback.append((place.result, Leaf(first + j)))
        return feedback

    def _trace(self, args: Sequence[Any], arguments: Arguments, unroll: bool) -> tuple[Tape, Any]:
        """Run the function on symbols; once more if that changed what it reads: some things are made when needed."""
        for _ in range(2):
            outside = Outside([self.f, *(args[k] for k in self.options["static"] if k < len(args))])
            tape, output = self._trace_once(args, outside, unroll)
            if (changed := outside.changed()) is None:
                arguments.guard(outside)
                return tape, output
            tape.close()
        raise TraceError(
            f"compile: the function changed {changed} while it was traced; that would happen once and not in every "
            "call. Give it as an argument and return the new one."
        )

    def _trace_once(self, args: Sequence[Any], outside: Outside, unroll: bool) -> tuple[Tape, Any]:
        randomness = Randomness(outside.generators)
        tape = Tape()
        if self.options["debug"]:
            tape.line = lambda: f"at {user_line()}"
        captures = tape.capture = Captures(tape, outside.plain)
        entered = []
        arrays = 0
        for k, arg in enumerate(args):
            if k in self.options["static"]:
                entered.append(arg)
                continue
            leaves = tree_leaves(arg)
            count = sum(map(_is_plain, leaves))
            plain = None if any(isinstance(x, np.generic) and not isinstance(x, np.float32) for x in leaves) else float
            numbers = tape.input(Numbers(k, plain), (count,), np.dtype(float)) if count else -1
            symbols: list[Any] = []
            at = 0
            for x in leaves:
                if _is_plain(x):
                    symbols.append(wrap(tape, tape.row((ELEMENT, numbers, at))))
                    at += 1
                elif isinstance(x, np.ndarray):
                    symbols.append(wrap(tape, tape.input(Leaf(arrays), x.shape, x.dtype)))
                    arrays += 1
                else:
                    symbols.append(x)
            entered.append(tree_build(arg, iter(symbols)))
        with recording(True), tracing(tape, unroll):
            try:
                output = self.f(*entered)
            except ValueError as error:  # NumPy's, around ours, where a traced value is written into an array
                if isinstance(error.__cause__, TraceError):
                    raise error.__cause__ from None
                raise
        randomness.check()
        captures.check()
        outside.keep_numbers(captures)
        return tape, output


@contextmanager
def _collector_paused() -> Iterator[None]:
    """No garbage collection for a while: it would go through a long trace again and again, and find nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _take(functions: Sequence[Callable[[tuple[Any, ...]], Any]], args: tuple[Any, ...]) -> Any:
    """What the first generated function gives that takes arguments of this kind; MISS if none does."""
    for function in functions:
        try:
            found = function(args)
        except (IndexError, KeyError, AttributeError):  # of another structure
            continue
        if found is not MISS:
            return found
    return MISS


def _output(tape: Tape, y: Any, roots: list[int]) -> Output:
    """Where a leaf of the result comes from; appends what the program has to return."""
    if not isinstance(y, Traced):
        if not (is_node(y) or isinstance(y, np.ndarray)):
            return Output(None, plain=returned(y))
        assert tape.capture is not None
        y = wrap(tape, tape.capture(y))
    if y.tape is not tape:
        raise TraceError("compile: the function returned a value of another trace; compute it from the arguments.")
    row = tape.rows[y.index]
    if row[0] == ELEMENT:
        return Output(_place(roots, row[1]), row[2])
    return Output(_place(roots, y.index))


def _place(roots: list[int], index: int) -> int:
    if index not in roots:
        roots.append(index)
    return roots.index(index)


def _is_plain(x: Any) -> bool:
    """Whether an argument's leaf is a number to trace; a truth value is static."""
    return is_number(x) and not isinstance(x, (bool, np.bool))
