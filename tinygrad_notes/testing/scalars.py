"""A tape of scalars over a field: what the oracle records, one multiplication at a time, and takes the gradient of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

from .fields import Field, NotExactError

EPSILON = 2.0**-52
SMALLEST = 2.0**-1074
_NEAR = 1e-12
LARGEST_HULL = 64
"""So many ways to choose the slopes at kinks are tried, no more."""
LARGEST_POWER = 1000
"""A whole power up to this is a product; beyond, it is made of the logarithm."""


class Tape:
    """The scalars of one reading, in the order in which they were made.

    Attributes:
        field: the numbers.
        tracking: whether gradients by every node of the graph are asked for.
        intervals: whether slopes at kinks are intervals, since they have too many sides to try each.
        near: whether a comparison is so close that rounding in floats may turn it.
        jumps: reasons why the function has no derivative here (it jumps, or is defined by a case at one point).
    """

    def __init__(self, field: Field, tracking: bool = False) -> None:
        self.field, self.tracking = field, tracking
        self.scalars: list[Scalar] = []
        self.kinks: list[Scalar] = []
        self.jumps: list[str] = []
        self.intervals = self.near = False
        self.number = field.number

    def constant(self, x: Any) -> Scalar:
        """A number that nothing is differentiated by."""
        return Scalar(self, self.field.constant(float(x)))

    def variable(self, value: Any) -> Scalar:
        """A number of the field that things are differentiated by."""
        return self.make(value, (), ())

    def make(
        self, value: Any, parents: tuple[Scalar, ...], slopes: tuple[Any, ...], kind: str = "", bend: Any = None
    ) -> Scalar:
        """Record a scalar with its local derivatives."""
        made = Scalar(self, value, parents, slopes, len(self.scalars), kind, bend)
        self.scalars.append(made)
        return made

    def choice(self, value: Any, parents: tuple[Scalar, ...], ways: list[tuple[Any, ...]]) -> Scalar:
        """Record a scalar at a kink: each way of choosing its local derivatives is one side's."""
        made = self.make(value, parents, ways[0], "move")
        made.ways = ways
        self.kinks.append(made)
        return made

    def ways(self) -> list[dict[int, tuple[Any, ...]]]:
        """Every way to choose a side at every kink; where they are too many, one way with intervals of slopes.

        Raises:
            UnclearError: there are too many, and the field has no intervals.
        """
        choices = [k.ways or () for k in self.kinks]
        places = [k.index for k in self.kinks]
        if math.prod(map(len, choices)) <= LARGEST_HULL:
            return [dict(zip(places, chosen, strict=True)) for chosen in product(*choices)]
        self.intervals = True
        return [{i: self._hull(sides) for i, sides in zip(places, choices, strict=True)}]

    def _hull(self, sides: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
        if len(sides) == 1:
            return sides[0]
        return tuple(self.field.between(min(slopes), max(slopes)) for slopes in zip(*sides, strict=True))

    def gradient(self, seeds: Sequence[tuple[Scalar, Any]], ways: dict[int, tuple[Any, ...]]) -> list[Any]:
        """∂(Σ seed · scalar)/∂scalar for every scalar of the tape; `None` where it does not depend on it."""
        found: list[Any] = [None] * len(self.scalars)
        for scalar, g in seeds:
            if scalar.index >= 0:
                found[scalar.index] = g if found[scalar.index] is None else found[scalar.index] + g
        for scalar in reversed(self.scalars):
            g = found[scalar.index]
            # A path that is not taken contributes nothing, whatever its slope.
            if g is None or g == 0:
                continue
            for parent, slope in zip(scalar.parents, ways.get(scalar.index, scalar.slopes), strict=True):
                i = parent.index
                if i < 0 or (slope.__class__ is int and slope == 0) or (slope == 0 and self.field.is_finite(g)):
                    continue
                c = g if slope.__class__ is int and slope == 1 else g * slope
                found[i] = c if found[i] is None else found[i] + c
        return found

    def rounding(
        self,
        gradient: list[Any],
        seeds: Sequence[tuple[Scalar, Any]],
        ways: dict[int, tuple[Any, ...]],
        by_result: bool = True,
    ) -> list[float]:
        """For every scalar, how far rounding in floats may move the gradient by it, that of one way through the kinks.

        With `by_result` slopes may be computed from a result that was rounded, as 1 − y² from y = tanh x.

        A first-order bound for the usual backward pass: each operation rounds by a unit or two, each slope is computed
        from arguments (or from a result) that were rounded. See N. J. Higham, "Accuracy and Stability of Numerical
        Algorithms", 2nd edition, chapter 3.
        """
        to_float, width = self.field.to_float, self.field.width
        values = [to_float(s.value) for s in self.scalars]
        off = [0.0] * len(values)  # of the values
        if any(math.isinf(v) and self.field.is_finite(s.value) for v, s in zip(values, self.scalars, strict=True)):
            return [math.inf] * len(values)  # beyond the range of floats

        def size(x: Any) -> float:
            """Of an interval, as slopes at kinks may be, the largest magnitude."""
            return abs(float(x)) if isinstance(x, int) else abs(to_float(x)) + (width(x) if self.intervals else 0.0)

        slopes = [[size(d) for d in ways.get(s.index, s.slopes)] for s in self.scalars]
        for s in self.scalars:
            if s.parents:
                passed = sum(
                    d * off[p.index] if p.index >= 0 and off[p.index] and d else 0.0
                    for p, d in zip(s.parents, slopes[s.index], strict=True)
                )
                off[s.index] = passed + (0.0 if s.kind == "move" else 2 * EPSILON * abs(values[s.index]) + SMALLEST)
                if s.kind == "shift":
                    off[s.index] += 4 * EPSILON * abs(to_float(s.parents[1].value))
        bound: list[float] = [0.0] * len(values)
        for scalar, _ in seeds:
            if scalar.index >= 0:
                bound[scalar.index] = EPSILON
        for s in reversed(self.scalars):
            g = gradient[s.index]
            g = 0.0 if g is None else size(g)
            if not (g or bound[s.index]):
                continue
            for position, (p, d) in enumerate(zip(s.parents, slopes[s.index], strict=True)):
                if p.index < 0:
                    continue
                error = s.slope_error(position, off, values, to_float, by_result)
                if not (d or error):  # of a slope that is 0 by its value only, as that of d² at d = 0, it is not
                    continue
                uncertain = 2 * EPSILON * d + error
                bound[p.index] += bound[s.index] * d + g * uncertain + EPSILON * g * d + SMALLEST * max(1.0, g, d)
        return bound


class Scalar:
    """A number of a field, its local derivatives, and the arithmetic that records them."""

    __slots__ = ("bend", "index", "kind", "parents", "slopes", "tape", "value", "ways")

    def __init__(
        self,
        tape: Tape,
        value: Any,
        parents: tuple[Scalar, ...] = (),
        slopes: tuple[Any, ...] = (),
        index: int = -1,
        kind: str = "",
        bend: Any = None,
    ) -> None:
        self.tape, self.value, self.parents, self.slopes = tape, value, parents, slopes
        self.index, self.kind, self.bend = index, kind, bend
        self.ways: list[tuple[Any, ...]] | None = None

    def slope_error(
        self, position: int, off: list[float], values: list[float], to_float: Callable[[Any], float], by_result: bool
    ) -> float:
        """How far this scalar's local derivative may be off because its arguments and its result are."""

        def of(p: Scalar) -> tuple[float, float]:
            return (off[p.index], values[p.index]) if p.index >= 0 else (0.0, to_float(p.value))

        if self.kind == "*":
            return of(self.parents[1 - position])[0]
        if self.kind == "/":
            (ea, a), (eb, b) = of(self.parents[0]), of(self.parents[1])
            if not b:
                return math.inf
            off_by = eb / abs(b)
            return off_by / abs(b) if position == 0 else ea / abs(b) / abs(b) + 2 * abs(a / b) / abs(b) * off_by
        if self.kind == "function":
            ex, x = of(self.parents[0])
            bend, slope = abs(to_float(self.bend)), abs(to_float(self.slopes[0]))
            if not bend:
                return 0.0
            of_result = abs(values[self.index]) * (bend / slope) if by_result and slope and bend < math.inf else 0.0
            return bend * (ex + 2 * EPSILON * abs(x)) + 2 * EPSILON * of_result
        return 0.0

    def _other(self, x: Any) -> Scalar:
        return x if x.__class__ is Scalar else self.tape.constant(x)

    def __add__(self, other: Any) -> Scalar:
        b = self._other(other)
        value = self.value + b.value
        return self._made(value, (self, b), (1, 1))

    def __sub__(self, other: Any) -> Scalar:
        b = self._other(other)
        return self._made(self.value - b.value, (self, b), (1, -1))

    def shifted(self, by: Scalar) -> Scalar:
        """self − by for a constant that cancels later: floats are granted the rounding of both."""
        return self._made(self.value - by.value, (self, by), (1, -1), "shift")

    def __mul__(self, other: Any) -> Scalar:
        b = self._other(other)
        return self._made(self.value * b.value, (self, b), (b.value, self.value), "*")

    def __truediv__(self, other: Any) -> Scalar:
        b = self._other(other)
        try:
            value = self.value / b.value
            slopes = (1 / b.value, -value / b.value) if self.index >= 0 or b.index >= 0 else ()
        except ZeroDivisionError as error:
            raise NotExactError("a division by 0") from error
        return self._made(value, (self, b), slopes, "/")

    def __radd__(self, other: Any) -> Scalar:
        return self._other(other) + self

    def __rsub__(self, other: Any) -> Scalar:
        return self._other(other) - self

    def __rmul__(self, other: Any) -> Scalar:
        return self._other(other) * self

    def __rtruediv__(self, other: Any) -> Scalar:
        return self._other(other) / self

    def __neg__(self) -> Scalar:
        return self._made(-self.value, (self,), (-1,), "move")

    def __pow__(self, other: Any) -> Scalar:
        return self.power(self._other(other))

    def __rpow__(self, other: Any) -> Scalar:
        return self._other(other).power(self)

    def _made(self, value: Any, parents: tuple[Scalar, ...], slopes: tuple[Any, ...], kind: str = "") -> Scalar:
        for p in parents:
            if p.index >= 0:
                return self.tape.make(value, parents, slopes, kind)
        return Scalar(self.tape, value)

    def apply(self, name: str) -> Scalar:
        """A function of one variable, by the field's Taylor coefficients."""
        value, slope, bend = self.tape.field.taylor(name, self.value)
        return self.tape.make(value, (self,), (slope,), "function", bend) if self.index >= 0 else self._constant(value)

    def _constant(self, value: Any) -> Scalar:
        return Scalar(self.tape, value)

    def copy(self) -> Scalar:
        """The same number as a scalar of its own, so that the gradient by it is not that by its source."""
        return self._made(self.value, (self,), (1,), "move")

    # --- comparisons, and what chooses by them ------------------------------------------------------------------------

    def compare(self, other: Any) -> int:
        """−1, 0 or 1."""
        field, b = self.tape.field, self._other(other).value
        order = field.compare(self.value, b)
        if order and not self.tape.near:
            x, y = field.to_float(self.value), field.to_float(b)
            self.tape.near = abs(x - y) <= _NEAR * (abs(x) + abs(y))
        return order

    def _decide(self, other: Any, holds: Callable[[int], bool]) -> Any:
        """The answer of a comparison, a `Tie` where a variable stands on its edge."""
        b = self._other(other)
        order = self.compare(b)
        truth = holds(order)
        return Tie(truth) if order == 0 and (self.index >= 0 or b.index >= 0) else truth

    def __lt__(self, other: Any) -> Any:
        return self._decide(other, lambda s: s < 0)

    def __le__(self, other: Any) -> Any:
        return self._decide(other, lambda s: s <= 0)

    def __gt__(self, other: Any) -> Any:
        return self._decide(other, lambda s: s > 0)

    def __ge__(self, other: Any) -> Any:
        return self._decide(other, lambda s: s >= 0)

    def __eq__(self, other: object) -> Any:
        return self._decide(other, lambda s: s == 0)

    def __ne__(self, other: object) -> Any:
        return self._decide(other, lambda s: s != 0)

    __hash__ = object.__hash__

    def __abs__(self) -> Scalar:
        side = self.compare(0.0)
        if side == 0 and self.index >= 0:
            return self.tape.choice(self.value, (self,), [(-1,), (1,)])
        return -self if side < 0 else self.copy()

    def maximum(self, other: Scalar, side: int = 1) -> Scalar:
        """The larger one (the smaller one for side = −1); at a tie both are."""
        order = side * self.compare(other)
        if order == 0 and (self.index >= 0 or other.index >= 0) and self is not other:
            return self.tape.choice(self.value, (self, other), [(1, 0), (0, 1)])
        return (self if order >= 0 else other).copy()

    def choose(self, condition: Any, other: Scalar) -> Scalar:
        """Self where the condition holds, else the other; where it stands on the edge, either, if they meet there."""
        taken = self if condition else other
        if condition.__class__ is Tie and (self.index >= 0 or other.index >= 0):
            if self._meets(other):
                return self.tape.choice(taken.value, (self, other), [(1, 0), (0, 1)])
            self.tape.jumps.append("the function jumps, or is given by a case of its own, at this very point")
        return taken.copy()

    def _meets(self, other: Scalar) -> bool:
        field = self.tape.field
        return (
            field.is_finite(self.value) and field.is_finite(other.value) and field.compare(self.value, other.value) == 0
        )

    def power(self, b: Scalar) -> Scalar:
        """self ** b, with the limits at 0 that the power has from the right."""
        field, side, whole = self.tape.field, self.compare(0.0), b.whole()
        if whole is not None and b.index < 0 and abs(whole) <= LARGEST_POWER:
            return self._whole_power(whole)
        nan, zero, one = field.number(math.nan), field.number(0.0), field.number(1.0)
        if side > 0:
            return (b * self.apply("log")).apply("exp")
        if side == 0:
            if b.compare(0.0) > 0:
                order = b.compare(1.0)
                return self._made(zero, (self, b), (zero if order > 0 else one if order == 0 else nan, zero))
            empty = whole == 0  # the empty product
            return self._made(one if empty else nan, (self, b), (zero if empty else nan, nan))
        if whole is None:  # a negative number has whole powers only
            return self._made(nan, (self, b), (nan, nan))
        if abs(whole) <= LARGEST_POWER:
            power = self._whole_power(whole)
        else:
            power = (-self).power(Scalar(self.tape, b.value))
            power = -power if whole % 2 else power
        return self._made(power.value, (power, b), (1, nan)) if b.index >= 0 else power

    def whole(self) -> int | None:
        """The value as an integer; `None` if it is none, or not certainly one."""
        nearest = self.tape.field.to_float(self.value)
        if not math.isfinite(nearest) or nearest != int(nearest):
            return None
        same = self.value == self.tape.field.number(nearest)  # of balls: without doubt; != would mean certainly not
        return int(nearest) if same else None

    def _whole_power(self, n: int) -> Scalar:
        one = self.tape.constant(1.0)
        if n == 0:
            return one
        made, square, left = None, self, abs(n)
        while left:
            if left & 1:
                made = square if made is None else made * square
            left >>= 1
            if left:
                square = square * square
        assert made is not None
        return one / made if n < 0 else made


class Tie:
    """The answer of a comparison of two equal numbers: true by definition or not, and the edge between both."""

    __slots__ = ("truth",)

    def __init__(self, truth: bool) -> None:
        self.truth = truth

    def __bool__(self) -> bool:
        return self.truth
