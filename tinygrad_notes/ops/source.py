"""A rule read as Python source: each operation becomes one line of straight-line code on floats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .namespaces import TABLE, floats
from .op import Op, force


class Source:
    """The `xp` that writes: what a rule computes is appended to `lines`, one assignment an operation."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.functions: set[str] = set()
        self._known: dict[str, Term] = {}

    def write(self, expression: str) -> Term:
        """The name that holds `expression`; written once however often a rule asks for it."""
        if expression not in self._known:
            name = f"t{len(self.lines)}"
            self.lines.append(f"{name} = {expression}")
            self._known[expression] = Term(self, name)
        return self._known[expression]

    def where(self, condition: Any, a: Any, b: Any) -> Any:
        """A conditional expression; both branches stand before it, as in every reading."""
        if condition is True or condition is False:
            return a if condition else b
        return self.write(f"{text(a)} if {text(condition)} else {text(b)}")

    def scale(self, g: Any, slope: Any) -> Any:
        """g · slope, where 0 · ∞ = 0."""
        return self.write(f"{text(g)} * {text(slope)} if {text(g)} and {text(slope)} else 0.0")

    def square(self, x: Any) -> Any:
        """x · x, which floats have no function for."""
        return x * x

    def __getattr__(self, name: str) -> Any:
        op = TABLE.get(name)
        if op is not None and op.forward is not None:
            return lambda *args, **params: op.forward(self, *args, **params)
        if name.startswith("__") or not hasattr(floats, name):
            raise AttributeError(f"no function {name!r} on floats.")

        def call(*args: Any) -> Term:
            self.functions.add(name)
            return self.write(f"{name}({', '.join(text(a) for a in args)})")

        return call


class Term:
    """A named value in generated source, with Python's operators."""

    __slots__ = ("name", "source")
    __hash__ = None  # type: ignore[assignment]  # == writes source, so a Term is no key

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
        return self.source.write(f"{self.name} {symbol} {text(other)}")

    def backwards(self: Term, other: Any) -> Term:
        return self.source.write(f"{text(other)} {symbol} {self.name}")

    return forwards, backwards


for _name, _symbol in {"add": "+", "sub": "-", "mul": "*", "truediv": "/"}.items():
    _forwards, _backwards = _operator(_symbol)
    setattr(Term, f"__{_name}__", _forwards)
    setattr(Term, f"__r{_name}__", _backwards)
for _name, _symbol in {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}.items():
    setattr(Term, f"__{_name}__", _operator(_symbol)[0])


def text(x: Any) -> str:
    """A term's name, or a number as a float literal."""
    if type(x) is Term:
        return x.name
    x = float(x)
    return repr(x) if math.isfinite(x) else f"float('{x}')"


def scalar_program(op: Op, wanted: Sequence[bool]) -> tuple[list[str], str, list[str | None], set[str]]:
    """An elementwise op on floats x0, x1, … as source.

    Args:
        op: the op; it has no parameters.
        wanted: for which arguments the local derivative is written.

    Returns:
        The lines, the name of the result, the text of each local derivative (`None` where it is not wanted), and the
        functions that the lines call.
    """
    source = Source()
    args = [Term(source, f"x{i}") for i in range(op.arity)]
    y = getattr(source, op.name)(*args)
    assert op.partials is not None
    slopes = op.partials(source, y, *args)
    found = [text(force(p)) if w and p is not None else None for p, w in zip(slopes, wanted, strict=True)]
    return source.lines, text(y), found, source.functions
