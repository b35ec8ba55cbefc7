"""The primitives: what each takes and gives, and how it is written. Adding one is one row."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .functions import function
from .lines import Lines

MASK, NUMBER = "mask", "number"


class Primitive(NamedTuple):
    """What a primitive takes and gives, and the function that writes it and returns its value."""

    takes: tuple[str, ...]
    result: str
    write: Callable[..., str]


def _rounded(operation: str) -> Callable[..., str]:
    """An operation that may fuse with its neighbour, so that a·b + c is rounded once."""
    return lambda w, a, b: w.binary(f"{operation} contract", a, b)


def _intrinsic(name: str) -> Callable[..., str]:
    return lambda w, *operands: w.intrinsic(name, *operands)


def _compare(condition: str) -> Callable[..., str]:
    return lambda w, a, b: w.compare(condition, a, b)


def _logical(operation: str) -> Callable[..., str]:
    return lambda w, a, b: w.logical(operation, a, b)


def _vectorised(name: str) -> Callable[..., str]:
    """One of our own functions, in double."""

    def write(w: Lines, a: str) -> str:
        if w.element == "double":
            return w.call(function(w.module, name, w.width), a)
        double = w.of("double")
        wide = w.value(f"fpext {w.number} {a} to {double}")
        result = w.value(f"call {double} {function(w.module, name, w.width)}({double} {wide})")
        return w.value(f"fptrunc {double} {result} to {w.number}")

    return write


def _extreme(condition: str) -> Callable[..., str]:
    """The greater or the lesser of two numbers. x86 has an instruction for `a > b ? a : b`, which gives b for a NaN."""

    def write(w: Lines, a: str, b: str) -> str:
        if not a.startswith("%"):
            a, b = b, a
        result = w.select(w.compare(condition, b, a), b, a)  # a if either is NaN
        return result if not b.startswith("%") else w.select(w.compare("uno", b, b), b, result)

    return write


def _number(w: Lines, mask: str) -> str:
    return w.select(mask, w.constant(1.0), w.constant(0.0))


def _select(w: Lines, mask: str, a: str, b: str) -> str:
    return w.select(mask, a, b)


def _rows(takes: tuple[str, ...], result: str, **writers: Callable[..., str]) -> dict[str, Primitive]:
    return {name: Primitive(takes, result, write) for name, write in writers.items()}


PRIMITIVES: dict[str, Primitive] = {
    **_rows(
        (NUMBER, NUMBER),
        NUMBER,
        add=_rounded("fadd"),
        subtract=_rounded("fsub"),
        multiply=_rounded("fmul"),
        divide=_rounded("fdiv"),
        maximum=_extreme("ogt"),
        minimum=_extreme("olt"),
    ),
    **_rows((NUMBER,), NUMBER, negative=lambda w, a: w.negative(a), exp=_vectorised("exp"), tanh=_vectorised("tanh")),
    **_rows(
        (NUMBER, NUMBER),
        MASK,
        less=_compare("olt"),
        less_equal=_compare("ole"),
        greater=_compare("ogt"),
        greater_equal=_compare("oge"),
        equal=_compare("oeq"),
        not_equal=_compare("une"),
    ),
    **_rows((MASK,), NUMBER, number=_number),
    **_rows((MASK, NUMBER, NUMBER), NUMBER, where=_select),
}
