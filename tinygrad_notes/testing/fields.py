"""The numbers that the oracle computes with: fractions (exact), FLINT's balls (certified), mpmath's (high precision).

A field knows the Taylor coefficients of the functions of one variable; everything else is made of them and of
+ − × ÷. None of it comes from the op table, so that a row's derivative is held against something else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from typing import Any

PRECISIONS = (256, 2048)
"""Bits of the balls: five times those of a float, so that cancellation leaves enough; where it does not, many more."""


class NotExactError(ArithmeticError):
    """A function has no rational values: the fractions cannot go on."""


class UnclearError(ArithmeticError):
    """A comparison that this field cannot decide, or a set of slopes that it cannot hold."""


class OpaqueError(UnclearError):
    """An op computes with floats only, so that no field can run it."""


# Functions of one variable, written with the functions that the fields have. `m` is a field's own namespace.
COMPOSED: dict[str, Callable[[Any, Any], Any]] = {
    "expm1": lambda m, x: m.exp(x) - 1,
    "log1p": lambda m, x: m.log(1 + x),
    "sinh": lambda m, x: (m.exp(x) - m.exp(-x)) / 2,
    "cosh": lambda m, x: (m.exp(x) + m.exp(-x)) / 2,
    "tanh": lambda m, x: 1 - 2 / (m.exp(2 * x) + 1),
    "sigmoid": lambda m, x: 1 / (1 + m.exp(-x)),
    "softplus": lambda m, x: m.log(1 + m.exp(x)),
    "silu": lambda m, x: x / (1 + m.exp(-x)),
    "gelu": lambda m, x: x * m.erfc(-x / m.root2) / 2,
}
_SATURATES = frozenset({"tanh", "sigmoid", "softplus", "silu"})
_FAR = 1e7
FUNCTIONS = frozenset(
    {"exp", "log", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "erf", "erfc", *COMPOSED},
)


def looks_rounded(x: float) -> bool:
    """Whether a float is a rounded number rather than a short one, such as 0.5 or 1000: more than 40 bits are used."""
    return math.isfinite(x) and x != 0 and math.ldexp(math.frexp(x)[0], 40) % 1 != 0


class Field:
    """Numbers of one kind.

    Attributes:
        tier: how far a verdict can be trusted: `exact`, `certified` or `high precision`.
    """

    tier = ""

    def begin(self) -> None:
        """Called before the numbers are used."""

    def number(self, x: float) -> Any:
        """The float as it is, without rounding."""
        raise NotImplementedError

    def constant(self, x: float) -> Any:
        """A number that stands in a formula. One that looks rounded, as 1/3 does, is uncertain by that."""
        return self.number(x)

    def taylor(self, name: str, x: Any) -> tuple[Any, Any, Any]:
        """Value, first and second derivative of a function of one variable."""
        raise NotImplementedError

    def certainly_less(self, a: Any, b: Any) -> bool:
        """Whether a < b beyond all doubt."""
        raise NotImplementedError

    def is_finite(self, x: Any) -> bool:
        """Whether x is a number (and no ball without bounds)."""
        raise NotImplementedError

    def between(self, low: int, high: int) -> Any:
        """Any number from low to high."""
        raise UnclearError(f"the {self.tier} tier holds no intervals")

    def compare(self, a: Any, b: Any) -> int:
        """−1, 0 or 1. What agrees to some 60 digits is taken as a tie.

        Raises:
            UnclearError: it cannot be told.
        """
        if self.certainly_less(a, b):
            return -1
        if self.certainly_less(b, a):
            return 1
        if not self.tied(a, b):
            raise UnclearError("a comparison of two numbers that are too close to tell")
        return 0

    def tied(self, a: Any, b: Any) -> bool:
        """Whether two numbers that are not certainly apart are the same, as far as one can see."""
        return True

    def width(self, x: Any) -> float:
        """How uncertain x is, as a radius."""
        return 0.0

    def to_float(self, x: Any) -> float:
        """The nearest float, ±inf beyond the range."""
        raise NotImplementedError

    def overlap(self, a: Any, b: Any) -> bool:
        """Whether a and b may be the same number."""
        return not (self.certainly_less(a, b) or self.certainly_less(b, a))

    def inside(self, x: Any, corners: list[Any]) -> bool:
        """Whether x may lie between the smallest and the largest of the corners."""
        return not (all(self.certainly_less(x, c) for c in corners) or all(self.certainly_less(c, x) for c in corners))


class Fractions(Field):
    """`fractions.Fraction`: + − × ÷, whole powers, comparisons, and no rounding at all."""

    tier = "exact"

    def number(self, x: float) -> Any:
        """The float as a fraction; infinities and NaN have none."""
        if not math.isfinite(x):
            raise NotExactError(f"{x} is no fraction")
        return Fraction(x)

    def constant(self, x: float) -> Any:
        """Exact, or none."""
        if looks_rounded(x):
            raise NotExactError(f"{x} is a rounded number")
        return self.number(x)

    def taylor(self, name: str, x: Any) -> tuple[Any, Any, Any]:
        """No function of the table has rational values."""
        raise NotExactError(f"{name} has no rational values")

    def certainly_less(self, a: Any, b: Any) -> bool:
        """a < b."""
        return bool(a < b)

    def compare(self, a: Any, b: Any) -> int:
        """−1, 0 or 1, exactly."""
        return int(a > b) - int(a < b)

    def is_finite(self, x: Any) -> bool:
        """Every fraction is."""
        return True

    def to_float(self, x: Any) -> float:
        """The nearest float."""
        try:
            return float(x)
        except OverflowError:
            return math.inf if x > 0 else -math.inf


class Balls(Field):
    """FLINT's `arb`: midpoint and radius, every operation with a rigorous bound. Needs python-flint."""

    tier = "certified"

    def __init__(self, precision: int) -> None:
        import flint

        self.precision, self.context = precision, flint.ctx
        self.arb, self.series = flint.arb, flint.arb_series
        self.begin()
        self.root2 = flint.arb(2).sqrt()
        self.nan = flint.arb("nan")

    def begin(self) -> None:
        """FLINT's precision belongs to the whole process."""
        self.context.prec = self.precision

    def __getattr__(self, name: str) -> Any:  # the namespace of COMPOSED: exp of a series is its method
        return lambda x: getattr(x, name)()

    def number(self, x: float) -> Any:
        """The float as a ball of radius 0."""
        return self.arb(x)

    def constant(self, x: float) -> Any:
        """A ball of radius 0, or of the rounding that a constant such as 1/3 has gone through."""
        return self.arb(x, abs(x) * 2.0**-51) if looks_rounded(x) else self.arb(x)

    def taylor(self, name: str, x: Any) -> tuple[Any, Any, Any]:
        """By FLINT's arithmetic of power series."""
        if not x.is_finite():
            return self._at_infinity(name, x)
        if name == "log" and x == 0:
            return self.arb.neg_inf(), self.nan, self.nan
        if name in _SATURATES and abs(x) > _FAR:
            return self._far_out(name, x)
        composed = COMPOSED.get(name)
        s = self.series([x, 1], 3)
        try:
            y = composed(self, s) if composed else getattr(s, name)()
        except (ValueError, ZeroDivisionError):
            return self.nan, self.nan, self.nan
        direct = getattr(self.arb, name, None)  # of a value that cancels, such as e^x − 1, it keeps the digits
        value = self.arb.log1p(x.exp()) if name == "softplus" else direct(x) if direct else y[0]
        return value, y[1], 2 * y[2]

    def _far_out(self, name: str, x: Any) -> tuple[Any, Any, Any]:
        """Where e^|x| is beyond every float: the limits, up to less than any float."""
        tiny, right = self.arb(0, 1e-300), x > 0
        if name == "tanh":
            return (1 if right else -1) + tiny, tiny, tiny
        if name == "sigmoid":
            return (1 if right else 0) + tiny, tiny, tiny
        return (x + tiny, 1 + tiny, tiny) if right else (tiny, tiny, tiny)  # softplus and silu

    def _at_infinity(self, name: str, x: Any) -> tuple[Any, Any, Any]:
        """The limits that e^x and what is made of it have at ±∞."""
        if not x.is_nan() and not x.is_exact():
            return self.nan, self.nan, self.nan
        zero, one = self.arb(0), self.arb(1)
        if x == self.arb.neg_inf() and name in ("exp", "sigmoid", "softplus"):
            return zero, zero, zero
        if x == self.arb.pos_inf() and name in ("sigmoid", "tanh"):
            return one, zero, zero
        if x == self.arb.neg_inf() and name == "tanh":
            return -one, zero, zero
        return self.nan, self.nan, self.nan

    def certainly_less(self, a: Any, b: Any) -> bool:
        """Every number of one ball is less than every number of the other."""
        return bool(a < b)

    def is_finite(self, x: Any) -> bool:
        """Whether the ball has bounds."""
        return bool(x.is_finite())

    def between(self, low: int, high: int) -> Any:
        """A ball from low to high."""
        return self.arb((low + high) / 2, (high - low) / 2)

    def tied(self, a: Any, b: Any) -> bool:
        """Two balls around the same midpoint."""
        if not (a.is_finite() and b.is_finite()):
            return bool(a == b)  # two equal infinities
        return bool(abs(a.mid() - b.mid()) <= (abs(a.mid()) + abs(b.mid())) * self.arb(1e-60))

    def width(self, x: Any) -> float:
        """The radius."""
        return float(x.rad())

    def to_float(self, x: Any) -> float:
        """The midpoint; NaN for a ball without bounds."""
        return float(x.mid()) if x.is_finite() else float(x) if x.is_exact() else math.nan


class HighPrecision(Field):
    """mpmath with 400 digits: no proof, but cancellation must eat 340 of them before a verdict is off."""

    tier = "high precision"

    def __init__(self) -> None:
        import mpmath

        self.mp = mpmath.mp.clone()
        self.mp.dps = 400
        self.begin()
        self.exp, self.log, self.erfc, self.root2 = self.mp.exp, self.mp.log, self.mp.erfc, self.mp.sqrt(2)

    def begin(self) -> None:
        """No rounded constant has been seen yet."""
        self.relative = self.mp.mpf(10) ** -60

    def number(self, x: float) -> Any:
        """The float as it is."""
        return self.mp.mpf(x)

    def constant(self, x: float) -> Any:
        """The float as it is; from then on only what differs by far more than its rounding counts as different."""
        if looks_rounded(x):
            self.relative = self.mp.mpf(10) ** -9
        return self.mp.mpf(x)

    def taylor(self, name: str, x: Any) -> tuple[Any, Any, Any]:
        """By mpmath's numerical differentiation, which raises the precision as it needs."""
        composed = COMPOSED.get(name)

        def function(t: Any) -> Any:
            y = composed(self, t) if composed else getattr(self.mp, name)(t)
            return y if isinstance(y, self.mp.mpf) else self.mp.nan

        try:
            c = self.mp.taylor(function, x, 2)
        except (ValueError, ZeroDivisionError):
            return self.mp.nan, self.mp.nan, self.mp.nan
        return c[0], c[1], 2 * c[2]

    def certainly_less(self, a: Any, b: Any) -> bool:
        """a < b by more than the last 340 digits (or by more than rounded constants explain)."""
        return bool(b - a > (abs(a) + abs(b)) * self.relative + self.mp.mpf(10) ** -350)

    def is_finite(self, x: Any) -> bool:
        """Neither infinite nor NaN."""
        return bool(self.mp.isfinite(x))

    def to_float(self, x: Any) -> float:
        """The nearest float."""
        return float(x)


@cache
def fractions() -> Field:
    """The exact field."""
    return Fractions()


@cache
def reals() -> tuple[Field, ...]:
    """The fields that have every function, in the order to try them: balls, else mpmath's numbers, else none."""
    try:
        return tuple(Balls(precision) for precision in PRECISIONS)
    except ModuleNotFoundError:
        pass
    try:
        return (HighPrecision(),)
    except ModuleNotFoundError:
        return ()


def fields_for(rational: bool) -> Iterator[Field]:
    """The fields to try in order, the strongest first; each is made ready when it is asked for."""
    for field in ((fractions(),) if rational else ()) + reals():
        field.begin()
        yield field


class Dual:
    """a + b·t with t² = 0, over another field: what runs on it is differentiated once more, along one direction."""

    __slots__ = ("a", "b")

    def __init__(self, a: Any, b: Any) -> None:
        self.a, self.b = a, b

    def __add__(self, other: Any) -> Dual:
        c = _dual(other)
        return Dual(self.a + c.a, self.b + c.b)

    def __sub__(self, other: Any) -> Dual:
        c = _dual(other)
        return Dual(self.a - c.a, self.b - c.b)

    def __mul__(self, other: Any) -> Dual:
        c = _dual(other)
        return Dual(self.a * c.a, self.a * c.b + self.b * c.a)

    def __truediv__(self, other: Any) -> Dual:
        c = _dual(other)
        q = self.a / c.a
        return Dual(q, (self.b - q * c.b) / c.a)

    def __rsub__(self, other: Any) -> Dual:
        return _dual(other) - self

    def __rtruediv__(self, other: Any) -> Dual:
        return _dual(other) / self

    def __neg__(self) -> Dual:
        return Dual(-self.a, -self.b)

    def __eq__(self, other: object) -> bool:
        c = _dual(other)
        return bool(self.a == c.a and self.b == c.b)

    __hash__ = None  # type: ignore[assignment]  # a number that is only computed with
    __radd__, __rmul__ = __add__, __mul__


def _dual(x: Any) -> Dual:
    return x if type(x) is Dual else Dual(x, 0)


class Duals(Field):
    """Dual numbers over a field: one more derivative. What is compared is the value."""

    def __init__(self, base: Field) -> None:
        self.base, self.tier = base, base.tier

    def number(self, x: float) -> Any:
        """A number that does not vary."""
        return Dual(self.base.number(x), self.base.number(0.0))

    def constant(self, x: float) -> Any:
        """As the base takes it."""
        return Dual(self.base.constant(x), self.base.number(0.0))

    def taylor(self, name: str, x: Any) -> tuple[Any, Any, Any]:
        """The second derivative of the base is the slope of the slope."""
        c0, c1, c2 = self.base.taylor(name, x.a)
        return Dual(c0, c1 * x.b), Dual(c1, c2 * x.b), Dual(c2, self.base.number(0.0))

    def certainly_less(self, a: Any, b: Any) -> bool:
        """By the value."""
        return self.base.certainly_less(_dual(a).a, _dual(b).a)

    def compare(self, a: Any, b: Any) -> int:
        """By the value."""
        return self.base.compare(_dual(a).a, _dual(b).a)

    def is_finite(self, x: Any) -> bool:
        """Both parts."""
        return self.base.is_finite(x.a) and self.base.is_finite(x.b)

    def between(self, low: int, high: int) -> Any:
        """An interval has no slope of its own."""
        raise UnclearError("a second derivative at a kink")

    def to_float(self, x: Any) -> float:
        """The value."""
        return self.base.to_float(x.a)
