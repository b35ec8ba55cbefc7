"""The primitives: what each takes and gives, and how it is written. Adding one is one row."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from .functions import FUNCTIONS, function
from .lines import Lines

MASK, NUMBER = "mask", "number"


class Primitive(NamedTuple):
    """What a primitive takes and gives, and the function that writes it and returns its value."""

    takes: tuple[str, ...]
    result: str
    write: Callable[..., str]


PRIMITIVES: dict[str, Primitive] = {}


def _row(name: str, takes: int | tuple[str, ...], result: str, write: Callable[..., str]) -> None:
    PRIMITIVES[name] = Primitive((NUMBER,) * takes if isinstance(takes, int) else takes, result, write)


# Arithmetic. `contract` lets a product and the sum that uses it be rounded once.


def _rounded(operation: str) -> Callable[..., str]:
    return lambda w, a, b: w.binary(f"{operation} contract", a, b)


_row("add", 2, NUMBER, _rounded("fadd"))
_row("subtract", 2, NUMBER, _rounded("fsub"))
_row("multiply", 2, NUMBER, _rounded("fmul"))
_row("divide", 2, NUMBER, _rounded("fdiv"))
_row("square", 1, NUMBER, lambda w, a: w.binary("fmul contract", a, a))
_row("negative", 1, NUMBER, lambda w, a: w.negative(a))
for _name, _intrinsic in {"abs": "fabs", "sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "round": "rint"}.items():
    _row(_name, 1, NUMBER, lambda w, a, name=_intrinsic: w.intrinsic(name, a))


def _sign(w: Lines, a: str) -> str:
    """±1; a zero gives +0 and NaN stays, as in NumPy."""
    zero = w.constant(0.0)
    size_one = w.intrinsic("copysign", w.constant(1.0), a)
    result = w.select(w.compare("oeq", a, zero), zero, size_one)
    return w.select(w.compare("uno", a, zero), a, result)


def _extreme(condition: str) -> Callable[..., str]:
    """The greater or the lesser. x86 has an instruction for `b > a ? b : a`, which gives a where either is NaN."""

    def write(w: Lines, a: str, b: str) -> str:
        if w.is_known(a):
            a, b = b, a
        result = w.select(w.compare(condition, b, a), b, a)
        return result if w.is_known(b) else w.select(w.compare("uno", b, b), b, result)

    return write


_row("sign", 1, NUMBER, _sign)
_row("maximum", 2, NUMBER, _extreme("ogt"))
_row("minimum", 2, NUMBER, _extreme("olt"))


# Functions: our own on vectors, the C library's one place at a time. Both compute in double.


def _widened(takes: int, write: Callable[..., str]) -> Callable[..., str]:
    """`write`, on doubles; floats are widened first and the result is rounded."""

    def widened(w: Lines, *operands: str) -> str:
        if w.element == "double":
            return write(w, *operands)
        with w.elements("double"):
            wide = w.number
        numbers = [w.value(f"fpext {w.number} {a} to {wide}") for a in operands]
        with w.elements("double"):
            result = write(w, *numbers)
        return w.value(f"fptrunc {wide} {result} to {w.number}")

    return widened


def _vectorised(name: str) -> Callable[..., str]:
    return lambda w, *operands: w.call(function(w.module, name, w.width), *operands)


def _library(name: str) -> Callable[..., str]:
    def write(w: Lines, *operands: str) -> str:
        w.module.declarations.add(f"declare double @{name}({', '.join(['double'] * len(operands))})")
        parts = []
        for place in range(w.width):
            numbers = [f"double {w.part(a, place)}" for a in operands]
            parts.append(w.value(f"call double @{name}({', '.join(numbers)})"))
        return w.join(parts)

    return write


for _name in FUNCTIONS:
    _takes = 2 if _name == "logaddexp" else 1
    _row(_name, _takes, NUMBER, _widened(_takes, _vectorised(_name)))
LIBRARY = {1: "sin cos tan asin acos atan sinh cosh erf erfc", 2: "atan2 pow hypot"}
for _takes, _names in LIBRARY.items():
    for _name in _names.split():
        _row(_name, _takes, NUMBER, _widened(_takes, _library(_name)))


# Comparisons and masks


def _compare(condition: str) -> Callable[..., str]:
    return lambda w, a, b: w.compare(condition, a, b)


for _name, _condition in {
    "less": "olt",
    "less_equal": "ole",
    "greater": "ogt",
    "greater_equal": "oge",
    "equal": "oeq",
    "not_equal": "une",
}.items():
    _row(_name, 2, MASK, _compare(_condition))
_row("isfinite", 1, MASK, lambda w, a: w.compare("olt", w.intrinsic("fabs", a), w.constant(math.inf)))
_row("logical_and", (MASK, MASK), MASK, lambda w, a, b: w.logical("and", a, b))
_row("logical_or", (MASK, MASK), MASK, lambda w, a, b: w.logical("or", a, b))
_row("logical_not", (MASK,), MASK, lambda w, a: w.logical("xor", a, w.splat("i1", "true")))
_row("number", (MASK,), NUMBER, lambda w, a: w.select(a, w.constant(1.0), w.constant(0.0)))
_row("where", (MASK, NUMBER, NUMBER), NUMBER, lambda w, mask, a, b: w.select(mask, a, b))

CHEAP = {*PRIMITIVES}.difference(FUNCTIONS, *(names.split() for names in LIBRARY.values()))
"""Those that are a few instructions."""
