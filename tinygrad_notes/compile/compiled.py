"""`compile`: a function that is traced once for every kind of arguments, and from then on run as a program."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..calculus import tree_build, tree_leaves
from ..graph import is_node, recording
from ..ops.namespaces import is_number
from .capture import Captured, Captures, Randomness
from .plan import Plan, make_plan
from .tape import CONSTANT, ELEMENT, Tape
from .trace import TraceError, Traced, contiguous, wrap

BACKENDS = ("auto", "llvm", "numpy", "python")


class Numbers(NamedTuple):
    """An input: the plain numbers in one argument, as one array."""

    argument: int


class Leaf(NamedTuple):
    """An input: an array among the arguments, by its place among their leaves."""

    place: int


@dataclass
class Stats:
    """What was compiled.

    Attributes:
        nodes: rows that were traced.
        instructions: what is computed in a call.
        flops: floating-point operations in a call, a function of one number counted as one.
        trace_seconds, compile_seconds: how long each took.
        hits: calls that found a program ready.
        programs: how many kinds of arguments were traced.
        backend: what runs the newest program.
    """

    nodes: int = 0
    instructions: int = 0
    flops: int = 0
    trace_seconds: float = 0.0
    compile_seconds: float = 0.0
    hits: int = 0
    programs: int = 0
    backend: str = ""


@dataclass
class Traced_:
    """One traced call."""

    tape: Tape
    output: Any
    leaves: list[Any]
    captures: list[Captured] = field(default_factory=list)


class Compiled:
    """A compiled function; made by `compile`.

    Attributes:
        stats: see `Stats`.
        source: the program of the newest signature, as text.
    """

    def __init__(self, f: Callable[..., Any], backend: str, static: tuple[int, ...], debug: bool, threads: int) -> None:
        functools.update_wrapper(self, f)
        self.f, self.backend, self.static, self.debug, self.threads = f, backend, static, debug, threads
        self.stats = Stats()
        self._programs: dict[Any, Program] = {}
        self._lock = threading.RLock()
        self._newest: Program | None = None

    def __repr__(self) -> str:
        return f"<compiled {getattr(self.f, '__name__', self.f)!s}, {self.stats.programs} program(s)>"

    @property
    def source(self) -> str:
        """The newest program.

        Raises:
            RuntimeError: nothing was called yet.
        """
        if self._newest is None:
            raise RuntimeError("compile: no program yet; it is made in the first call.")
        return self._newest.plan.source

    def __call__(self, *args: Any) -> Any:
        """The result of f; the program is made in the first call with arguments of this kind."""
        signature, leaves, numbers = self._flatten(args)
        if signature is None:
            return self.f(*args)
        program = self._programs.get(signature)
        if program is None:
            with self._lock:
                program = self._programs.get(signature)
                if program is None:
                    program = self._programs[signature] = self._make(args)
        else:
            self.stats.hits += 1
        self._newest = program
        return program(leaves, numbers)

    def _flatten(self, args: Sequence[Any]) -> tuple[Any, list[Any], list[list[float]]]:
        """The kind of the arguments, their arrays, and the plain numbers in each; no kind if there are nodes."""
        arrays: list[Any] = []
        numbers: list[list[float]] = [[] for _ in args]
        kinds: list[Any] = []
        for k, arg in enumerate(args):
            if k in self.static:
                kinds.append(("static", _key(arg)))
            elif not _describe(arg, kinds, arrays, numbers[k], f"argument {k}"):
                return None, arrays, numbers
        return tuple(kinds), arrays, numbers

    def _make(self, args: Sequence[Any]) -> Program:
        started = time.perf_counter()
        randomness = Randomness(self.f)
        tape = Tape()
        captures = tape.capture = Captures(tape)
        place = iter(range(10**9))
        entered = []
        for k, arg in enumerate(args):
            if k in self.static:
                entered.append(arg)
                continue
            leaves = tree_leaves(arg)
            count = sum(_is_plain(x) for x in leaves)
            base = tape.input(Numbers(k), (count,), np.dtype(float)) if count else -1
            at = iter(range(count))
            symbols = []
            for x in leaves:
                if _is_plain(x):
                    symbols.append(wrap(tape, tape.row((ELEMENT, base, next(at)))))
                elif isinstance(x, np.ndarray):
                    symbols.append(wrap(tape, tape.input(Leaf(next(place)), x.shape, x.dtype)))
                else:
                    symbols.append(x)
            entered.append(tree_build(arg, iter(symbols)))
        with recording(True):
            output = self.f(*entered)
        randomness.check()
        captures.check()
        outputs = [_output(tape, captures, y) for y in tree_leaves(output)]
        tape.close()
        traced = time.perf_counter()
        plan = make_plan(tape, [o.row for o in outputs if o.row is not None], self.backend, self.threads)
        program = Program(tape, plan, output, outputs)
        self.stats.programs += 1
        self.stats.nodes = len(tape.rows)
        self.stats.instructions, self.stats.flops, self.stats.backend = plan.instructions, plan.flops, plan.backend
        self.stats.trace_seconds = traced - started
        self.stats.compile_seconds = time.perf_counter() - traced
        return program


class Output(NamedTuple):
    """A leaf of the result: a row, an element of a row (one number of an array), or plain data."""

    row: int | None
    offset: int | None
    plain: Any


def _output(tape: Tape, captures: Captures, y: Any) -> Output:
    if isinstance(y, Traced):
        if y.tape is not tape:
            raise TraceError("compile: the function returned a value of another trace.")
        row = tape.rows[y.index]
        if row[0] == ELEMENT:
            return Output(row[1], row[2], None)
        return Output(y.index, None, None)
    if is_node(y) or isinstance(y, np.ndarray):
        return Output(captures(y), None, None)
    return Output(None, None, y)


class Program:
    """A plan, and how arguments go in and results come out."""

    def __init__(self, tape: Tape, plan: Plan, output: Any, outputs: list[Output]) -> None:
        self.plan, self.output = plan, output
        self.inputs = plan.inputs
        rows = [o.row for o in outputs if o.row is not None]
        self.places = [(o, k) for o, k in zip(outputs, _running(outputs), strict=True)]
        self.rows = rows
        self.lists = {o.row for o in outputs if o.offset is not None}
        self.simple = all(o.row is not None and o.offset is None for o in outputs)

    def __call__(self, arrays: list[Any], numbers: list[list[float]]) -> Any:
        given = [
            arrays[i.place] if type(i) is Leaf else np.array(numbers[i.argument]) if type(i) is Numbers else np.asarray(i.data())
            for i in self.inputs
        ]
        results = self.plan.run(given)
        if self.simple:
            return tree_build(self.output, iter(results))
        unpacked: dict[int, list[float]] = {}
        leaves = []
        for o, k in self.places:
            if o.row is None:
                leaves.append(o.plain)
            elif o.offset is None:
                leaves.append(results[k])
            else:
                if o.row not in unpacked:
                    unpacked[o.row] = np.asarray(results[k]).reshape(-1).tolist()
                leaves.append(float(unpacked[o.row][o.offset]))
        return tree_build(self.output, iter(leaves))


def _running(outputs: list[Output]) -> list[int]:
    """The place of each output among those that are rows."""
    places, k = [], 0
    for o in outputs:
        places.append(k)
        k += o.row is not None
    return places


def _is_plain(x: Any) -> bool:
    """Whether an argument's leaf is a number to trace; a truth value is static."""
    return is_number(x) and not isinstance(x, (bool, np.bool))


def _describe(tree: Any, kinds: list[Any], arrays: list[Any], numbers: list[float], what: str) -> bool:
    """Append the kind of an argument, its arrays and its numbers; False if it holds nodes."""
    kind = type(tree)
    if kind is np.ndarray:
        if tree.dtype.kind not in "fiub":
            raise TypeError(f"compile: {what} is an array of {tree.dtype}; expected real numbers.")
        kinds.append((tree.shape, tree.dtype))
        arrays.append(tree)
        return True
    if kind is float or kind is int:
        kinds.append(float)
        numbers.append(tree)
        return True
    if kind is list or kind is tuple or isinstance(tree, (list, tuple)):
        kinds.append((kind, len(tree)))
        return all([_describe(item, kinds, arrays, numbers, what) for item in tree])
    if isinstance(tree, dict):
        kinds.append((dict, tuple(tree)))
        return all([_describe(item, kinds, arrays, numbers, what) for item in tree.values()])
    if tree is None or isinstance(tree, (bool, str)):
        kinds.append(("static", tree))
        return True
    if is_node(tree):
        return False
    if is_number(tree):
        kinds.append(float)
        numbers.append(float(tree))
        return True
    if isinstance(tree, np.ndarray):
        return _describe(np.asarray(tree), kinds, arrays, numbers, what)
    raise TypeError(
        f"compile: {what} is {ops.describe(tree)}; expected numbers, NumPy arrays, or lists, tuples and dicts of them. "
        "Anything else can be a static argument: compile(f, static=(k,)) for argument k."
    )


def _key(x: Any) -> Any:
    """A static argument as a part of the signature: its value if it has one to compare, or the object itself."""
    try:
        hash(x)
    except TypeError:
        return (type(x), repr(x)) if isinstance(x, (list, tuple, dict, set)) else id(x)
    return x


def compile(
    f: Callable[..., Any],
    *,
    backend: str = "auto",
    static: int | tuple[int, ...] = (),
    debug: bool = False,
    threads: int = 1,
) -> Compiled:
    """f as a program that is made in the first call, with the backward pass of `grad` and its kin in it.

    Args:
        f: a function of numbers, NumPy arrays and trees of them; it is run once on symbols for each kind of arguments
            (structure, shapes, dtypes, static values), so it may not branch on a number, print one or change anything.
        backend: "llvm" (native code, extra `fast`), "numpy", "python" (numbers only), or "auto": what is expected to be
            the quickest of what is installed.
        static: the place(s) of arguments that are no numbers to compute with; each value is traced anew.
        debug: whether to run op by op and name the first one that gives NaN or an infinity.
        threads: how many threads native code may use on many samples.

    Returns:
        A function of the same arguments. Given nodes, it calls f itself, so that it can be differentiated from outside.

    Raises:
        ValueError: no such backend.
        ModuleNotFoundError: the backend needs an extra that is not installed.

    Example:
        >>> step = compile(lambda w, x: (w * x) ** 2)
        >>> step(3.0, 2.0)
        36.0
    """
    if backend not in BACKENDS:
        raise ValueError(f"compile: backend={backend!r}; expected one of {', '.join(BACKENDS)}.")
    places = (static,) if isinstance(static, int) else tuple(static)
    return Compiled(f, backend, places, debug, threads)


__all__ = ["CONSTANT", "Compiled", "compile", "contiguous"]
