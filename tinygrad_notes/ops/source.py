"""A rule read as Python source: each operation becomes one line of straight-line code, on floats or on arrays."""

from __future__ import annotations

import linecache
import math
from collections.abc import Callable, Sequence
from typing import Any

from .namespaces import TABLE, Namespace, floats, numpy_reading
from .op import Op, force, scaled


class Source:
    """The `xp` that writes: what a rule computes is appended to `lines`, one assignment an operation."""

    reading: Namespace = floats

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.functions: dict[str, Any] = {}
        self._known: dict[str, Term] = {}

    def write(self, expression: str) -> Term:
        """The name that holds `expression`; written once however often a rule asks for it."""
        if expression not in self._known:
            name = f"t{len(self.lines)}"
            self.lines.append(f"{name} = {expression}")
            self._known[expression] = Term(self, name)
        return self._known[expression]

    def text(self, x: Any) -> str:
        """A term's name, or a number as a float literal."""
        if type(x) is Term:
            return x.name
        x = float(x)
        return repr(x) if math.isfinite(x) else f"float('{x}')"

    def where(self, condition: Any, a: Any, b: Any) -> Any:
        """A conditional expression; both branches stand before it, as in every reading."""
        if condition is True or condition is False:
            return a if condition else b
        return self.write(f"{self.text(a)} if {self.text(condition)} else {self.text(b)}")

    def scale(self, g: Any, slope: Any) -> Any:
        """g · slope, where 0 · ∞ = 0."""
        return self.write(f"{self.text(g)} * {self.text(slope)} if {self.text(g)} and {self.text(slope)} else 0.0")

    def square(self, x: Any) -> Any:
        """x · x, which floats have no function for."""
        return x * x

    def __getattr__(self, name: str) -> Any:
        op = TABLE.get(name)
        if op is not None and op.forward is not None:
            return lambda *args, **params: op.forward(self, *args, **params)
        if name.startswith("__") or not hasattr(self.reading, name):
            raise AttributeError(f"no function {name!r} to write.")
        return lambda *args: self.call(name, *args)

    def call(self, name: str, *args: Any) -> Term:
        """A function of the reading, on terms and numbers."""
        self.functions[name] = getattr(self.reading, name)
        return self.write(f"{name}({', '.join(self.text(a) for a in args)})")


class ArraySource(Source):
    """The `xp` that writes for NumPy arrays: whole numbers stay whole, `where` and `scale` are NumPy's."""

    reading = numpy_reading

    def text(self, x: Any) -> str:
        """A term's name, or a Python number as a literal of its type; a literal would lose the dtype of NumPy's."""
        if type(x) not in (Term, float, int, bool):
            raise TypeError(f"{x!r} has no literal.")
        return repr(x) if type(x) in (int, bool) else super().text(x)

    def where(self, condition: Any, a: Any, b: Any) -> Any:
        """`where` as a call."""
        return self.call("where", condition, a, b)

    def scale(self, g: Any, slope: Any) -> Any:
        """`scale` as a call."""
        return self.call("scale", g, slope)

    def square(self, x: Any) -> Any:
        """`square` as a call."""
        return self.call("square", x)


class Term:
    """A named value in generated source, with Python's operators."""

    __slots__ = ("name", "source")
    __hash__ = None  # type: ignore[assignment]  # == writes source, so a Term is no key
    __array_ufunc__ = None  # a NumPy number on the left leaves the operator to the term

    def __init__(self, source: Source, name: str) -> None:
        self.source, self.name = source, name

    def __neg__(self) -> Term:
        return self.source.write(f"-{self.name}")

    def __pow__(self, other: Any) -> Any:
        return self.source.pow(self, other)

    def __rpow__(self, other: Any) -> Any:
        return self.source.pow(other, self)

    def __bool__(self) -> bool:
        raise TypeError("a rule that branches on its argument has no straight-line source; use xp.where.")


def _operator(symbol: str) -> tuple[Any, Any]:
    def forwards(self: Term, other: Any) -> Term:
        return self.source.write(f"{self.name} {symbol} {self.source.text(other)}")

    def backwards(self: Term, other: Any) -> Term:
        return self.source.write(f"{self.source.text(other)} {symbol} {self.name}")

    return forwards, backwards


for _name, _symbol in {"add": "+", "sub": "-", "mul": "*", "truediv": "/"}.items():
    _forwards, _backwards = _operator(_symbol)
    setattr(Term, f"__{_name}__", _forwards)
    setattr(Term, f"__r{_name}__", _backwards)
for _name, _symbol in {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}.items():
    setattr(Term, f"__{_name}__", _operator(_symbol)[0])


def scalar_program(op: Op, wanted: Sequence[bool]) -> tuple[list[str], str, list[str | None], dict[str, Any]]:
    """An elementwise op on floats x0, x1, … as source.

    Args:
        op: the op; it has no parameters.
        wanted: for which arguments the local derivative is written.

    Returns:
        The lines, the name of the result, the text of each local derivative (`None` where it is not wanted), and the
        functions that the lines call, by name.
    """
    source = Source()
    args = _arguments(source, op)
    y = getattr(source, op.name)(*args)
    slopes = _slopes(op, source, y, args, wanted)
    return source.lines, source.text(y), [None if p is None else source.text(p) for p in slopes], source.functions


def array_program(op: Op) -> tuple[list[str], str, dict[str, Any]]:
    """An elementwise op on arrays x0, x1, … as source: the lines, the name of the result, and the functions called."""
    source = ArraySource()
    y = getattr(source, op.name)(*_arguments(source, op))
    return source.lines, source.text(y), source.functions


def array_pullback(op: Op, k: int) -> tuple[list[str], str | None, dict[str, Any]]:
    """The cotangent of argument k of an elementwise op, given g, its result y and its arguments x0, x1, … as source.

    Returns:
        The lines, the text of the cotangent (`None` where there is none), and the functions that the lines call.
    """
    source = ArraySource()
    y, g = Term(source, "y"), Term(source, "g")
    slopes = _slopes(op, source, y, _arguments(source, op), [i == k for i in range(op.arity)])
    found = scaled(source, g, slopes[k])
    return source.lines, None if found is None else source.text(found), source.functions


def _arguments(source: Source, op: Op) -> list[Term]:
    return [Term(source, f"x{i}") for i in range(op.arity)]


def _slopes(op: Op, source: Source, y: Any, args: Sequence[Term], wanted: Sequence[bool]) -> list[Any]:
    assert op.partials is not None
    return [force(p) if w else None for p, w in zip(op.partials(source, y, *args), wanted, strict=True)]


def define(source: str, name: str, title: str, used: dict[str, Any]) -> Callable[..., Any]:
    """Compile generated source: its function `name`, with the text as `.source` and in tracebacks."""
    file = f"<tinygrad_notes {title}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), used)
    function: Callable[..., Any] = used[name]
    function.source = source  # type: ignore[attr-defined]  # generated code is kept readable
    return function
