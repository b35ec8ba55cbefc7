"""Functions with their right derivatives, and the same derivatives made wrong: what `checkers.py` runs checkers on.

Everything is written once over an array namespace and run by NumPy, PyTorch, JAX, this project and mpmath.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

Point = tuple[float, ...]
Rule = Callable[..., tuple[Any, ...]]  # (xp, *inputs) to one slope for each input
Corpus = dict[str, dict[str, Rule]]
Points = dict[str, list[Point]]


# --- the functions ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Function:
    """A function and its right derivative, over an array namespace.

    Attributes:
        value, slopes: take the namespace and the inputs.
        inside: the points that are used.
        kink: those with more than one right answer.
        mistakes: mutants that only this function has, such as a slope copied from another one.
    """

    name: str
    value: Callable[..., Any]
    slopes: Rule
    inside: Callable[..., bool] = lambda *a: True
    kink: Callable[..., bool] = lambda *a: False
    mistakes: dict[str, Rule] = field(default_factory=dict)

    @property
    def arity(self) -> int:
        return self.slopes.__code__.co_argcount - 1


def sigmoid(xp: Any, x: Any) -> Any:
    return 1 / (1 + xp.exp(-x))


def moderate(x: float) -> bool:
    """Where e^x is far from overflow."""
    return abs(x) <= 300


def positive(x: float) -> bool:
    return x > 0


def origin(x: float, y: float = 0.0) -> bool:
    return x == 0 == y


FUNCTIONS = [
    Function("sin", lambda xp, x: xp.sin(x), lambda xp, x: (xp.cos(x),)),
    Function("cos", lambda xp, x: xp.cos(x), lambda xp, x: (-xp.sin(x),)),
    Function("exp", lambda xp, x: xp.exp(x), lambda xp, x: (xp.exp(x),), moderate),
    Function(
        "expm1",
        lambda xp, x: xp.expm1(x),
        lambda xp, x: (xp.exp(x),),
        moderate,
        mistakes={"own formula": lambda xp, x: (xp.expm1(x),)},
    ),
    Function("log", lambda xp, x: xp.log(x), lambda xp, x: (1 / x,), positive),
    Function(
        "log1p",
        lambda xp, x: xp.log1p(x),
        lambda xp, x: (1 / (1 + x),),
        lambda x: x > -0.99,
        mistakes={"own formula": lambda xp, x: (1 / (2 + x),)},
    ),
    Function(
        "sqrt",
        lambda xp, x: xp.sqrt(x),
        lambda xp, x: (0.5 / xp.sqrt(x),),
        positive,
        mistakes={"own formula": lambda xp, x: (0.5 / x,)},
    ),
    Function(
        "tanh",
        lambda xp, x: xp.tanh(x),
        lambda xp, x: (1 / xp.cosh(x) ** 2,),
        moderate,
        mistakes={
            "cancellation": lambda xp, x: (1 - xp.tanh(x) ** 2,),
            "own formula": lambda xp, x: (1 - xp.tanh(x),),
        },
    ),
    Function(
        "sigmoid",
        sigmoid,
        lambda xp, x: (sigmoid(xp, x) * sigmoid(xp, -x),),
        moderate,
        mistakes={
            "cancellation": lambda xp, x: (sigmoid(xp, x) * (1 - sigmoid(xp, x)),),
            "own formula": lambda xp, x: (x * (1 - x),),
        },
    ),
    Function(
        "softplus",
        lambda xp, x: xp.maximum(x, 0 * x) + xp.log1p(xp.exp(-xp.abs(x))),
        lambda xp, x: (sigmoid(xp, x),),
        moderate,
        mistakes={"threshold": lambda xp, x: (xp.where(x > 20, 0 * x + 1, sigmoid(xp, x)),)},
    ),
    Function(
        "silu",
        lambda xp, x: x * sigmoid(xp, x),
        lambda xp, x: (sigmoid(xp, x) * (1 + x * sigmoid(xp, -x)),),
        moderate,
        mistakes={"own formula": lambda xp, x: (sigmoid(xp, x),)},
    ),
    Function("square", lambda xp, x: x * x, lambda xp, x: (2 * x,), mistakes={"own formula": lambda xp, x: (x,)}),
    Function("cube", lambda xp, x: x * x * x, lambda xp, x: (3 * x * x,)),
    Function(
        "reciprocal",
        lambda xp, x: 1 / x,
        lambda xp, x: (-1 / (x * x),),
        lambda x: x != 0,
        mistakes={"own formula": lambda xp, x: (-1 / x,)},
    ),
    Function(
        "atan",
        lambda xp, x: xp.atan(x),
        lambda xp, x: (1 / (1 + x * x),),
        mistakes={"own formula": lambda xp, x: (1 / (1 + xp.abs(x)),)},
    ),
    Function(
        "relu",
        lambda xp, x: xp.where(x > 0, x, 0 * x),
        lambda xp, x: (xp.where(x > 0, 0 * x + 1, 0 * x),),
        kink=origin,
        mistakes={"own formula": lambda xp, x: (0 * x + 1,)},
    ),
    Function(
        "leaky relu",
        lambda xp, x: xp.where(x > 0, x, 0.25 * x),
        lambda xp, x: (xp.where(x > 0, 0 * x + 1, 0 * x + 0.25),),
        kink=origin,
    ),
    Function("abs", lambda xp, x: xp.abs(x), lambda xp, x: (xp.sign(x),), kink=origin),
    Function("multiply", lambda xp, x, y: x * y, lambda xp, x, y: (y, x)),
    Function(
        "divide",
        lambda xp, x, y: x / y,
        lambda xp, x, y: (1 / y, -x / (y * y)),
        lambda x, y: y != 0,
        mistakes={"own formula": lambda xp, x, y: (1 / y, -x / y)},
    ),
    Function(
        "hypot",
        lambda xp, x, y: xp.hypot(x, y),
        lambda xp, x, y: (x / xp.hypot(x, y), y / xp.hypot(x, y)),
        lambda x, y: not origin(x, y),
    ),
    Function(
        "atan2",
        lambda xp, y, x: xp.atan2(y, x),
        lambda xp, y, x: (x / (x * x + y * y), -y / (x * x + y * y)),
        lambda y, x: not origin(x, y) and not (y == 0 and x < 0),
    ),
    Function(
        "maximum",
        lambda xp, x, y: xp.maximum(x, y),
        lambda xp, x, y: tuple(
            xp.where(a > b, 0 * a + 1, xp.where(a < b, 0 * a, 0 * a + 0.5)) for a, b in ((x, y), (y, x))
        ),
        kink=lambda x, y: x == y,
        mistakes={
            "both at ties": lambda xp, x, y: tuple(xp.where(a >= b, 0 * a + 1, 0 * a) for a, b in ((x, y), (y, x)))
        },
    ),
    Function(
        "pow",
        lambda xp, x, y: x**y,
        lambda xp, x, y: (y * x ** (y - 1), x**y * xp.log(x)),
        lambda x, y: x > 0 and abs(y) <= 50 and abs(y * math.log(x)) < 200,
        mistakes={"own formula": lambda xp, x, y: (y * x ** (y - 1), x ** (y - 1) * xp.log(x))},
    ),
]


# --- the mutants ------------------------------------------------------------------------------------------------------


def at(condition: Callable[..., Any], change: Callable[[Any], Any]) -> Callable[..., tuple[Any, ...]]:
    """Changes the slopes where a condition on the inputs holds."""
    return lambda xp, inputs, slopes: tuple(xp.where(condition(xp, *inputs), change(s), s) for s in slopes)


def everywhere(change: Callable[[Any], Any]) -> Callable[..., tuple[Any, ...]]:
    """Changes the slopes."""
    return lambda xp, inputs, slopes: tuple(change(s) for s in slopes)


MUTATIONS: dict[str, Callable[..., tuple[Any, ...]]] = {
    "sign": everywhere(lambda s: -s),
    "factor 2": everywhere(lambda s: 2 * s),
    "1 %": everywhere(lambda s: 1.01 * s),
    "5e-4": everywhere(lambda s: 1.0005 * s),
    "1e-6": everywhere(lambda s: 1.000001 * s),
    "offset 0.01": everywhere(lambda s: s + 0.01),
    "offset 5e-6": everywhere(lambda s: s + 5e-6),
    "zero": everywhere(lambda s: 0 * s),
    "wrong at 0": at(lambda xp, x, *_: x == 0, lambda s: s + 1.5),
    "NaN at 0": at(lambda xp, x, *_: x == 0, lambda s: s * math.nan),
    "wrong at 1": at(lambda xp, x, *_: x == 1, lambda s: s + 1.5),
    "wrong for negative": at(lambda xp, x, *_: x < 0, lambda s: -s),
    "wrong beyond 10": at(lambda xp, x, *_: x > 10, lambda s: 0.5 * s),
    "wrong below 1e-3": at(lambda xp, x, *_: xp.abs(x) < 1e-3, lambda s: 2 * s + 0.1),
}
OF_TWO: dict[str, Callable[..., tuple[Any, ...]]] = {
    "wrong at ties": at(lambda xp, x, y: x == y, lambda s: 2 * s + 1.5),
    "swapped": lambda xp, inputs, slopes: slopes[::-1],
    "second missing": lambda xp, inputs, slopes: (slopes[0], 0 * slopes[1]),
}


def mutants(f: Function) -> dict[str, Rule]:
    """Every mutant of a function's rule, by kind."""

    def changed(mutation: Callable[..., tuple[Any, ...]]) -> Rule:
        return lambda xp, *inputs: mutation(xp, inputs, f.slopes(xp, *inputs))

    generic = MUTATIONS if f.arity == 1 else {**MUTATIONS, **OF_TWO}
    return {**{kind: changed(m) for kind, m in generic.items()}, **f.mistakes}


def mpmath_namespace(digits: int = 700) -> Any:
    """The functions above on mpmath's numbers: digits enough for steps that are far below the least float."""
    import mpmath

    m = mpmath.mp.clone()
    m.dps = digits
    return SimpleNamespace(
        mpf=m.mpf,
        **{name: getattr(m, name) for name in ("sin", "cos", "tanh", "cosh", "exp", "log", "sqrt", "expm1", "log1p")},
        **{name: getattr(m, name) for name in ("atan", "atan2", "hypot", "sign")},
        abs=abs,
        maximum=max,
        where=lambda condition, a, b: a if condition else b,
    )


def is_wrong(f: Function, rule: Rule, point: Point, m: Any) -> bool:
    """Whether a rule in floats is off by more than 1e-10 from the difference quotients at both sides, by mpmath."""
    import numpy as np

    exact = [m.mpf(x) for x in point]
    here = f.value(m, *exact)
    for i, slope in enumerate(rule(np, *map(np.float64, point))):
        ends = []
        for side in (-1, 1):
            step = side * m.mpf(10) ** -150 * max(abs(exact[i]), m.mpf(10) ** -10)
            ends.append((f.value(m, *exact[:i], exact[i] + step, *exact[i + 1 :]) - here) / step)
        slack = m.mpf("1e-10") * max(map(abs, ends)) + m.mpf("1e-140")
        if not math.isfinite(slope) or not min(ends) - slack <= m.mpf(float(slope)) <= max(ends) + slack:
            return True
    return False


# --- the points -------------------------------------------------------------------------------------------------------

SPECIAL = (0.0, 1.0, -1.0, 0.5, -0.5, 10.0, 100.0)


def normal(f: Function, rng: random.Random) -> Point:
    """One standard normal point inside the domain."""
    while True:
        point = tuple(rng.gauss(0, 1) for _ in range(f.arity))
        if f.inside(*point):
            return point


def generated(f: Function, rng: random.Random) -> Point:
    """Special numbers, ties, and magnitudes from 1e-6 to 1e4."""
    while True:
        point: list[float] = []
        for _ in range(f.arity):
            kind = rng.random()
            if kind < 0.5:
                point.append(rng.choice(SPECIAL))
            elif kind < 0.65 and point:
                point.append(point[0])
            else:
                point.append(rng.choice((-1, 1)) * 10 ** rng.uniform(-6, 4))
        if f.inside(*point):
            return tuple(point)


def make_corpus(rng: random.Random, points: int) -> tuple[Corpus, int]:
    """All mutants that mpmath tells from the right rule at some point, and how many it does not."""
    m = mpmath_namespace()
    corpus: Corpus = {}
    dropped = 0
    for f in FUNCTIONS:
        tried = [generated(f, rng) for _ in range(points)] + [normal(f, rng) for _ in range(10)]
        if bad := [p for p in tried if is_wrong(f, f.slopes, p, m)]:
            raise AssertionError(f"the rule of {f.name} itself is wrong at {bad[0]}")
        every = mutants(f)
        corpus[f.name] = {kind: rule for kind, rule in every.items() if any(is_wrong(f, rule, p, m) for p in tried)}
        dropped += len(every) - len(corpus[f.name])
    return corpus, dropped
