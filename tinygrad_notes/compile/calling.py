"""The way in and out of a program, as code: checks of the arguments, their arrays and numbers, the result's tree.

The checks are those of a signature: structure, shapes, dtypes, static values. Written out for one signature they cost
about a tenth of a microsecond an argument; read from a description they would cost ten times as much.
"""

from __future__ import annotations

import itertools
import linecache
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..graph import is_node
from ..ops.namespaces import is_number
from .outside import Outside
from .remembered import PLAIN, same

MISS = object()
"""What a caller returns when the arguments are of another kind."""
_counter = itertools.count()


@dataclass(frozen=True)
class Numbers:
    """An input: the plain numbers in one argument, as one array; `plain` is None where NumPy's have a say."""

    argument: int
    plain: type | None = field(default=float, compare=False)


@dataclass(frozen=True)
class Leaf:
    """An input: an array among the arguments, by its place among their leaves."""

    place: int


class Given(NamedTuple):
    """A given array: where it stands in the arguments, as source, and what it is."""

    path: str
    array: np.ndarray[Any, Any]


class HasNodesError(Exception):
    """An argument holds a Value or a Tensor."""


class Arguments:
    """The arguments of a call, looked at once.

    Attributes:
        checks: conditions, as source, that other arguments of this kind fulfil.
        numbers: for each argument the expressions of its plain numbers.
        arrays: the arrays, in order; their checks come last.
        first: for each argument the place of its first array.
        scope: what the conditions refer to.
    """

    def __init__(self, args: Sequence[Any], static: Sequence[int]) -> None:
        self.checks: list[str] = []
        self.numbers: list[list[str]] = [[] for _ in args]
        self.arrays: list[Given] = []
        self.scope: dict[str, Any] = {"MISS": MISS, "array": np.array, "same": same, "equal": _equal}
        self.count = len(args)
        self.first: list[int] = []
        for k, arg in enumerate(args):
            self.first.append(len(self.arrays))
            if k in static:
                self._static(arg, f"a{k}")
            else:
                self._look(arg, f"a{k}", k)

    def guard(self, outside: Outside) -> None:
        """Check in every call that what was read from outside of the arguments is as it was."""
        self.checks += outside.conditions(self.bind)

    def bind(self, what: Any) -> str:
        """The name of something that the generated code refers to."""
        name = f"k{len(self.scope)}"
        self.scope[name] = what
        return name

    def _static(self, x: Any, path: str) -> None:
        self.checks.append(f"equal({path}, {self.bind(x)})")

    def _look(self, x: Any, path: str, argument: int) -> None:
        kind = type(x)
        if kind is np.ndarray:
            if x.dtype.kind not in "fiub":
                raise TypeError(f"compile: argument {argument} is an array of {x.dtype}; expected real numbers.")
            self.arrays.append(Given(path, x))
        elif is_node(x):
            raise HasNodesError
        elif kind is float or kind is int:
            self.checks.append(f"({path}.__class__ is float or {path}.__class__ is int)")
            self.numbers[argument].append(path)
        elif x is None or isinstance(x, (bool, str, np.bool)):
            self._static(x, path)
        elif isinstance(x, (list, tuple)):
            self.checks.append(f"{path}.__class__ is {self.bind(kind)} and len({path}) == {len(x)}")
            for i, item in enumerate(x):
                self._look(item, f"{path}[{i}]", argument)
        elif isinstance(x, dict):
            keys = list(x)
            self.checks.append(f"{path}.__class__ is {self.bind(kind)} and list({path}) == {self.bind(keys)}")
            for key in keys:
                self._look(
                    x[key], f"{path}[{key!r}]" if type(key) in (str, int) else f"{path}[{self.bind(key)}]", argument
                )
        elif is_number(x):
            self.checks.append(f"{path}.__class__ is {self.bind(kind)}")
            self.numbers[argument].append(path)
        else:
            raise TypeError(
                f"compile: argument {argument} holds {ops.describe(x)}; expected numbers, NumPy arrays, and lists, "
                f"tuples and dicts of them. Anything else can be a static argument: compile(f, static=({argument},))."
            )

    def read(self, inputs: Sequence[Any]) -> tuple[list[str], list[str], list[str]]:
        """Lines that check arguments, lines that check their arrays, and the expression of each input of a program."""
        seen: list[Any] = [None] * len(self.arrays)
        kinds = [(g.array.shape, g.array.dtype) for g in self.arrays]

        def fits(place: int, x: Any) -> bool:
            """Whether an array is of the kind that was traced; it is known from then on."""
            if type(x) is not np.ndarray or (x.shape, x.dtype) != kinds[place]:
                return False
            seen[place] = x
            fresh.add(place)
            return True

        fresh: set[int] = set()
        self.scope |= {"seen": seen, "fits": fits, "fresh": fresh, "apart": apart}
        given: dict[type, Callable[[Any], str]] = {
            Leaf: lambda i: self.arrays[i.place].path,
            Numbers: lambda i: f"array([{', '.join(self.numbers[i.argument])}], float)",
        }
        expressions: list[str] = []
        captured: list[str] = []
        for i in inputs:
            if type(i) in given:
                expressions.append(given[type(i)](i))
            elif is_node(getattr(i, "what", None)):  # may be given data of another shape
                data, now = f"c{len(captured)}", i.data()
                captured.append(f"{data} = {self.bind(i.what)}.data")
                dtype = self.bind(now.dtype)
                captured.append(f"if {data}.shape != {now.shape} or {data}.dtype != {dtype}: return MISS")
                expressions.append(data)
            else:
                expressions.append(f"{self.bind(i)}.data()")
        lines = [f"if len(args) != {self.count}: return MISS"]
        lines.append(f"({', '.join(f'a{k}' for k in range(self.count))},) = args" if self.count else "() = args")
        fitting = [f"({g.path} is seen[{k}] or fits({k}, {g.path}))" for k, g in enumerate(self.arrays)]
        return lines + _all(self.checks), _all(fitting) + captured, expressions


def _all(checks: Sequence[str]) -> list[str]:
    """Lines that return MISS unless all conditions hold; not too many in one expression."""
    starts = range(0, len(checks), 50)
    return [f"if not ({' and '.join(checks[start : start + 50])}): return MISS" for start in starts]


def _equal(x: Any, y: Any) -> bool:
    """Whether a static argument is as the one that was traced."""
    if same(x, y):
        return True
    if type(x) is not type(y) or isinstance(x, PLAIN):
        return False
    if isinstance(x, (list, tuple)):
        return len(x) == len(y) and all(map(_equal, x, y))
    if isinstance(x, dict):
        return list(x) == list(y) and all(map(_equal, x.values(), y.values()))
    if isinstance(x, np.ndarray):
        return (x.shape, x.dtype) == (y.shape, y.dtype) and x.dtype != object and x.tobytes() == y.tobytes()
    return getattr(x, "__hash__", None) is not None and bool(x == y)  # what has none can be changed


def apart(arrays: Sequence[Any], donated: Sequence[int], fresh: set[int]) -> None:
    """Check that writing into a donated array changes no other argument.

    Args:
        arrays: all that are given.
        donated: the places of those that are written.
        fresh: the places of those that were not looked at before; emptied.

    Raises:
        ValueError: a donated array shares memory with another array, or cannot be written.
    """
    for place in donated:
        x = arrays[place]
        others = [a for k, a in enumerate(arrays) if k != place]
        shared = any(np.shares_memory(x, a) for a in others)
        if shared or not x.flags.writeable:
            why = "shares memory with another array among the arguments" if shared else "is read-only"
            raise ValueError(
                f"compile: donate: an {ops.describe(x)} {why}; expected arrays that can be written without changing "
                "another. Give a copy, or compile without donate=."
            )
    fresh.clear()


class Output(NamedTuple):
    """A leaf of the result: the k-th of the program's results, one number of it, or plain data."""

    result: int | None
    offset: int | None = None
    plain: Any = None
    into: str | None = None
    """The donated array that it is written into, as source."""


def _when(conditions: Sequence[str], then: Sequence[str]) -> list[str]:
    """The lines of an `if`, one inside the other where there are many conditions."""
    lines, indent = [], ""
    for start in range(0, len(conditions), 50):
        lines.append(f"{indent}if {' and '.join(conditions[start : start + 50])}:")
        indent += "    "
    return [*lines, *(indent + line for line in then)]


def _quick(views: Sequence[Any]) -> Callable[[int], str]:
    """How a result is read where the numbers of a set are in `m`, its arrays in `r`: a number, or one of the arrays."""
    arrays = [k for k, v in enumerate(views) if v is not None and v[2]]
    return lambda k: "None" if views[k] is None else f"r[{arrays.index(k)}]" if k in arrays else f"m[{views[k][0]}]"


class _Returned:
    """The end of a call, as source: the result's tree from the program's results.

    Args:
        arguments: where what the source refers to is bound.
        read: the expression of a result.
    """

    def __init__(self, arguments: Arguments, read: Callable[[int], str]) -> None:
        self.arguments, self.read = arguments, read
        self.before: list[str] = []
        self.split: dict[int, str] = {}
        self.whole: set[int] = set()
        self.written: dict[int, str] = {}

    def lines(self, tree: Any) -> list[str]:
        """What is to be done before, and the return."""
        result = self.text(tree)
        return [*self.before, f"return {result}"]

    def text(self, x: Any) -> str:
        """The expression of a part of the tree."""
        arguments = self.arguments
        if isinstance(x, Output):
            if x.result is None:
                return arguments.bind(x.plain)
            y = self.read(x.result)
            if x.into is not None:  # of a tree these come first
                if y != "None":
                    self.before.append(f"if not plan.in_place: {x.into}[...] = {y}")
                self.written[x.result] = x.into
                return x.into
            if x.result in self.written:  # returned once more, beside the donated array
                y = self.written[x.result]
                self.whole.add(x.result)
            if x.offset is None:
                if x.result in self.whole:  # returned twice, it is two arrays
                    return f"copied({y})"
                self.whole.add(x.result)
                return y
            if x.result not in self.split:
                self.split[x.result] = f"n{x.result}"
                self.before.append(f"n{x.result} = {y}.ravel().tolist()")
            return f"{self.split[x.result]}[{x.offset}]"
        if isinstance(x, dict):
            items = ", ".join(
                f"{repr(k) if type(k) is str else arguments.bind(k)}: {self.text(v)}" for k, v in x.items()
            )
            return "{" + items + "}"
        if isinstance(x, (list, tuple)):
            items = ", ".join(self.text(v) for v in x)
            if type(x) is list:
                return f"[{items}]"
            inner = f"({items}{',' if x else ''})"
            if type(x) is tuple:
                return inner
            return f"{arguments.bind(type(x))}({f'*{inner}' if hasattr(x, '_fields') else inner})"
        return "None"


def write_call(
    arguments: Arguments, plan: Any, tree: Any
) -> tuple[Callable[[tuple[Any, ...]], Any], Callable[[tuple[Any, ...]], Any]]:
    """The function that takes a call's arguments through a program.

    Args:
        arguments: of the call that was traced.
        plan: the program.
        tree: the result's structure, with an `Output` for each leaf.

    Returns:
        The function, and another that takes the arguments and gives a function of none, which runs the program on
        what the arguments hold then.
    """
    checks, fitting, expressions = arguments.read(plan.inputs)
    scope = arguments.scope
    scope |= {"plan": plan, "run": plan.run, "lock": threading.Lock()}
    scope["copied"] = lambda y: y.copy() if isinstance(y, np.ndarray) else y
    given = f"({', '.join(expressions)}{',' if expressions else ''})"
    returned = _Returned(arguments, lambda k: f"r[{k}]")
    ends = returned.lines(tree)
    donated = [k for k, g in enumerate(arguments.arrays) if g.path in returned.written.values()]
    if donated:
        fitting.append(f"if fresh: apart(seen, {donated}, fresh)")
    # One at a time: a program has one set of buffers.
    run = [*fitting, f"r = run({given})", *ends]
    again = ["r = run(given)", *ends]
    if getattr(plan, "quick", False) and all(isinstance(i, Leaf) for i in plan.inputs):
        known = [f"{x} is b[{k}]" for k, x in enumerate(expressions)]
        others = [f"{g.path} is seen[{k}]" for k, g in enumerate(arguments.arrays) if g.path not in expressions]
        quick = ["k = d.enter()", "if k >= 0:", "    r, m = d.sets[k], d.memories[k]"]
        quick += [f"    {line}" for line in _Returned(arguments, _quick(plan.unfed)).lines(tree)]
        run = ["d, b = plan.desk, plan.bound", *_when(["d is not None", *known, *others], quick), *run]
        again = ["d = plan.desk", *_when(["d is not None", "plan.given is given"], quick), *again]
    call = [*checks, "with lock:", *(f"    {line}" for line in run)]
    bound = [*checks, *fitting, f"given = {given}", "def again():", "    with lock:"]
    bound += [*(f"        {line}" for line in again), "return again"]
    source = "\n".join(
        [
            "def call(args):",
            *(f"    {line}" for line in call),
            "def bind(args):",
            *(f"    {line}" for line in bound),
            "",
        ]
    )
    file = f"<tinygrad_notes call {next(_counter)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), scope)
    return scope["call"], scope["bind"]
