"""Right gradients: of every row, and written by hand. No check may call them wrong.

The hand-written ones are read twice: with NumPy's functions, where the checker records them, and with Python's `math`
on floats, where it only sees numbers. They are written so that they keep their digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from corpus import uses
from points import Space

from tinygrad_notes import ops
from tinygrad_notes.ops import TABLE

REALS, POSITIVE, UNIT = (-math.inf, math.inf), (0.0, math.inf), (-1.0, 1.0)


@dataclass(frozen=True)
class Right:
    """A function with a right gradient; without one it is the automatic gradient that is right."""

    name: str
    arm: str
    f: Callable[..., Any]
    space: Space
    gradient: Callable[..., Any] | None = None
    order: int = 1

    def __str__(self) -> str:
        return f"{self.name}-{self.arm}"


@dataclass(frozen=True)
class ByHand:
    """f(m, *xs) and its gradient, where m is `numpy` or `math`."""

    name: str
    f: Callable[..., Any]
    gradient: Callable[..., Any]
    intervals: tuple[tuple[float, float], ...] = (REALS,)
    reach: float = 1e6
    least: float = 1e-6


def _sigmoid(m: Any, x: Any) -> Any:
    return 1 / (1 + m.exp(-x))


def _chained(m: Any, w: Any, x: Any, b: Any) -> tuple[Any, Any, Any]:
    away = _sigmoid(m, -(w * x + b))
    dz = -2 * away * away * _sigmoid(m, w * x + b)
    return dz * x, dz * w, dz


BY_HAND = [
    ByHand("x² + x", lambda m, x: x * x + x, lambda m, x: 2 * x + 1),
    ByHand("x³", lambda m, x: x**3, lambda m, x: 3 * x**2),
    ByHand("1/x", lambda m, x: 1 / x, lambda m, x: -1 / (x * x), (POSITIVE,)),
    ByHand("√x", lambda m, x: m.sqrt(x), lambda m, x: 0.5 / m.sqrt(x), (POSITIVE,)),
    ByHand("exp", lambda m, x: m.exp(x), lambda m, x: m.exp(x), reach=700.0),
    ByHand("expm1", lambda m, x: m.expm1(x), lambda m, x: m.exp(x), reach=700.0),
    ByHand("log", lambda m, x: m.log(x), lambda m, x: 1 / x, (POSITIVE,)),
    ByHand("log1p", lambda m, x: m.log1p(x), lambda m, x: 1 / (1 + x), (POSITIVE,)),
    ByHand("sin", lambda m, x: m.sin(x), lambda m, x: m.cos(x)),
    ByHand("cos", lambda m, x: m.cos(x), lambda m, x: -m.sin(x)),
    ByHand("tan", lambda m, x: m.tan(x), lambda m, x: 1 / m.cos(x) ** 2, ((-1.5, 1.5),)),
    ByHand("sinh", lambda m, x: m.sinh(x), lambda m, x: m.cosh(x), reach=700.0),
    ByHand("cosh", lambda m, x: m.cosh(x), lambda m, x: m.sinh(x), reach=700.0),
    ByHand("tanh", lambda m, x: m.tanh(x), lambda m, x: 1 / m.cosh(x) ** 2, reach=300.0),
    ByHand("sigmoid", _sigmoid, lambda m, x: _sigmoid(m, x) * _sigmoid(m, -x), reach=300.0),
    ByHand(
        "silu", lambda m, x: x * _sigmoid(m, x), lambda m, x: _sigmoid(m, x) * (1 + x * _sigmoid(m, -x)), reach=300.0
    ),
    ByHand("e^(-x²/2)", lambda m, x: m.exp(-x * x / 2), lambda m, x: -x * m.exp(-x * x / 2), reach=30.0),
    ByHand("x sin(1/x)", lambda m, x: x * m.sin(1 / x), lambda m, x: m.sin(1 / x) - m.cos(1 / x) / x, ((0.01, 1e3),)),
    ByHand("a b", lambda m, a, b: a * b, lambda m, a, b: (b, a), (REALS, REALS)),
    ByHand("a − b a", lambda m, a, b: a - b * a, lambda m, a, b: (1 - b, -a), (REALS, REALS)),
    ByHand("a/b", lambda m, a, b: a / b, lambda m, a, b: (1 / b, -a / b**2), (REALS, POSITIVE)),
    ByHand(
        "√(a² + b²)",
        lambda m, a, b: m.sqrt(a * a + b * b),
        lambda m, a, b: (a / m.sqrt(a * a + b * b), b / m.sqrt(a * a + b * b)),
        (POSITIVE, POSITIVE),
    ),
    ByHand(
        "(σ(wx + b) − 1)²",
        lambda m, w, x, b: _sigmoid(m, -(w * x + b)) ** 2,
        _chained,
        (REALS, REALS, REALS),
        reach=10.0,
    ),
]


def _on_floats(f: Callable[..., Any]) -> Callable[..., Any]:
    """Read with Python's `math`, which no graph comes through."""
    return lambda *xs: f(math, *(float(x) for x in xs))


def _recorded(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *xs: f(np, *xs)


def of_the_table(order: int = 1) -> Iterator[Right]:
    """The automatic gradient of every row, alone and in a chain."""
    for name in TABLE:
        for use in uses(name):
            label = name + (f"-{use.label}" if use.label else "")
            yield Right(label, "automatic", use.function(), use.space, None, order)
            if order == 1:
                f = use.function()
                yield Right(
                    label,
                    "automatic, in a chain",
                    lambda *xs, f=f: ops.tanh(0.01 * ops.sum(f(*xs))),
                    use.space,
                    None,
                    order,
                )


def by_hand() -> Iterator[Right]:
    """The hand-written gradients: recorded; in floats; of functions in floats."""
    for pair in BY_HAND:
        space = Space(((),) * len(pair.intervals), pair.intervals, pair.reach, pair.least)
        f, g = _recorded(pair.f), _recorded(pair.gradient)
        yield Right(pair.name, "recorded", f, space, g)
        yield Right(pair.name, "gradient in floats", f, space, _on_floats(pair.gradient))
        yield Right(pair.name, "black box", _on_floats(pair.f), space, _on_floats(pair.gradient))
