"""Derivatives of a function of which nothing is known but its values, each with an estimate of its error.

The steps are powers of two, from coarse to fine, each a quarter of the one before. Extrapolation to step 0 (Richardson,
in Neville's tableau) runs three times over the same values: for the two-sided quotients and for each side alone. An
entry's error is what it differs from its neighbours in the tableau, and the rounding that the quotients pass on to it.

An entry is not believed on its own: near a kink, coarse steps agree with each other on a wrong slope. So every entry
is held against all finer ones and its error grows by whatever they contradict.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

EPS = float(np.finfo(np.float64).eps)

Pair = tuple[float, float]
"""A value and an estimate of its error."""

UNKNOWN: Pair = (math.nan, math.inf)

_COLUMNS = 4  # further columns of the tableau only collect rounding
_SAFETY = 2.0
_LEVELS = 23  # the most steps taken
# A step is a quarter of the one before, and so is the change of a quotient (two-sided: a sixteenth), unless the
# function bends without bound there.
_SLOW, _TOO_SLOW = 0.35, 0.85


@dataclass(frozen=True)
class Estimate:
    """A derivative at a point, as far as differences can tell.

    Attributes:
        value: the two-sided derivative; NaN where there is none (a kink, a jump, an edge of the domain).
        error: an estimate of |value − true|, rounding included; infinite where nothing is known.
        left: the derivative from the left and its error; (NaN, inf) where there is none.
        right: the same from the right.
    """

    value: float
    error: float
    left: Pair
    right: Pair

    @property
    def kink(self) -> bool:
        """Whether the one-sided derivatives are known and differ by more than their errors explain."""
        return _differ(self.left, self.right)

    def interval(self) -> tuple[float, float]:
        """What a right answer lies in.

        Returns:
            value ± error where the function is differentiable; at a kink all that lies between the one-sided
            derivatives, since each is a subgradient; at an edge of the domain the derivative from inside;
            (−inf, inf) where nothing is known.
        """
        if math.isfinite(self.error):
            return self.value - self.error, self.value + self.error
        known = [pair for pair in (self.left, self.right) if math.isfinite(pair[1])]
        if not known:
            return -math.inf, math.inf
        return min(v - e for v, e in known), max(v + e for v, e in known)


_NOTHING = Estimate(*UNKNOWN, UNKNOWN, UNKNOWN)


def derivative(
    phi: Callable[[float], float], at: float, *, rounding: float = 8 * EPS, smallest_step: float = 2.0**-46
) -> Estimate:
    """Estimate the derivative of a function of one number.

    Args:
        phi: the function. Where it raises an ArithmeticError or a ValueError, or gives NaN or an infinity, it is taken
            as undefined; other exceptions pass through.
        at: the point.
        rounding: the relative error of a value of `phi`.
        smallest_step: the finest step, relative to `at`. A kink that is nearer than this is seen as one at the point.

    Returns:
        The estimate, from at most 47 values of `phi`.
    """
    at = float(at)
    if not math.isfinite(at):
        return _NOTHING
    with np.errstate(all="ignore"):
        here = _value(phi, at)
        if not math.isfinite(here):
            return _NOTHING
        steps = _steps(at, smallest_step)
        ahead = [_value(phi, at + h) for h in steps]
        behind = [_value(phi, at - h) for h in steps]
    noise = _measured_noise(here, ahead, behind)
    right = _Side(at, here, steps, ahead, 1.0, rounding, noise)
    left = _Side(at, here, steps, behind, -1.0, rounding, noise)
    if left.open or right.open:  # an edge of the domain
        return Estimate(*UNKNOWN, left.limit or UNKNOWN, right.limit or UNKNOWN)
    if left.limit is None or right.limit is None:  # a jump or a vertical tangent
        return _NOTHING
    if _differ(left.limit, right.limit):
        return Estimate(*UNKNOWN, left.limit, right.limit)
    return Estimate(*_two_sided(left, right), left.limit, right.limit)


def gradient(f: Callable[..., Any], inputs: Sequence[Any]) -> list[Any]:
    """Estimate the gradient of a scalar function.

    Args:
        f: takes the inputs and returns one number (a scalar, or an array of one element).
        inputs: numbers and arrays. `f` is given copies, floating-point arrays as float64.

    Returns:
        For each input an object array of `Estimate`s in its shape, a bare `Estimate` for a Python or NumPy float, and
        `None` for an input that is not of floating point, along which there is no derivative.

    Raises:
        TypeError: `f` does not return one number.
    """

    def is_float(x: Any) -> bool:
        return isinstance(x, float | np.floating) or (isinstance(x, np.ndarray) and np.issubdtype(x.dtype, np.floating))

    def copied(x: Any) -> Any:
        if isinstance(x, np.ndarray):
            return x.astype(np.float64) if is_float(x) else x.copy()
        return float(x) if isinstance(x, float | np.floating) else x

    def scalar(values: Sequence[Any]) -> float:
        result = np.asarray(f(*values))
        if result.size != 1:
            raise TypeError(
                f"gradient: f returned an array of shape {result.shape}; expected one number. "
                "Sum it, or take one element."
            )
        return float(result.reshape(()))

    def along(which: int, index: tuple[int, ...] | None) -> Estimate:
        def phi(t: float) -> float:
            values = [copied(x) for x in inputs]
            if index is None:
                values[which] = t
            else:
                values[which][index] = t
            return scalar(values)

        return derivative(phi, float(inputs[which] if index is None else inputs[which][index]))

    found: list[Any] = []
    for which, x in enumerate(inputs):
        if not is_float(x):
            found.append(None)
        elif isinstance(x, np.ndarray):
            estimates = np.empty(x.shape, dtype=object)
            for index in np.ndindex(x.shape):
                estimates[index] = along(which, index)
            found.append(estimates)
        else:
            found.append(along(which, None))
    return found


def complex_step(phi: Callable[[complex], complex], at: float) -> float | None:
    """The derivative as Im φ(x + ih)/h for a tiny h, which loses no digits to cancellation.

    Args:
        phi: a function that is meant to take complex numbers too.
        at: a real point.

    Returns:
        The derivative, or `None` where `phi` does not take complex numbers, is not analytic, or the result is not
        within the error of the estimate from real values.
    """
    h = math.ldexp(min(abs(at), 1.0) or 1.0, -100)
    try:
        with np.errstate(all="ignore"):
            moved = phi(complex(at, h))
            if h == 0 or not np.iscomplexobj(moved):
                return None
            found = float(complex(moved).imag) / h
    except (ArithmeticError, TypeError, ValueError):
        return None
    real = derivative(lambda t: complex(phi(complex(t, 0.0))).real, at)
    return found if abs(found - real.value) <= real.error else None


def _value(phi: Callable[[float], float], t: float) -> float:
    try:
        return float(phi(t))
    except (ArithmeticError, ValueError):
        return math.nan


def _steps(at: float, smallest_step: float) -> list[float]:
    """Powers of two from coarse to fine.

    Near 0 nothing says whether the function varies on the scale of the point or on that of 1, so both are covered.
    """
    finest = math.frexp(smallest_step)[1] - 1
    exponent = math.frexp(at)[1] - 1 if at else 0
    if at == 0:
        exponents = list(range(-3, -3 - 2 * _LEVELS, -2))
    elif exponent >= -1:
        exponents = list(range(exponent - 2, exponent + finest - 1, -2))
    elif exponent >= -20:
        exponents = list(range(-3, max(exponent + finest - 1, -3 - 2 * _LEVELS), -2))
    else:
        half = _LEVELS // 2
        exponents = list(range(-3, max(-3 - 2 * half, exponent), -2))
        exponents += list(range(exponent - 2, exponent - 2 - 2 * half, -2))
    return [h for h in (math.ldexp(1.0, k) for k in exponents if k < 1024) if h > 0 and at + h != at]


def _measured_noise(here: float, ahead: list[float], behind: list[float]) -> float:
    """How far the values jitter at the finest steps, beyond what slope and curvature explain.

    The second largest of four, since the coarsest of these steps may still see more of the function than that.
    """
    odd = [a - b for a, b in zip(ahead[-5:], behind[-5:], strict=True)]
    even = [(a - here) + (b - here) for a, b in zip(ahead[-5:], behind[-5:], strict=True)]
    jitter = [
        max(abs(d - 4 * e) / 4, abs(s - 16 * t) / 16)
        for (d, e), (s, t) in zip(pairwise(odd), pairwise(even), strict=True)
    ]
    known = sorted(j for j in jitter if math.isfinite(j))
    return 2 * known[-2] if len(known) > 1 else 0.0


def _differ(a: Pair, b: Pair) -> bool:
    return math.isfinite(a[1]) and math.isfinite(b[1]) and abs(a[0] - b[0]) > a[1] + b[1]


class _Side:
    """The values on one side of the point, their difference quotients, and the limit of these.

    Attributes:
        open: whether the function is undefined right beside the point.
        limit: the one-sided derivative and its error; `None` if there is none.
    """

    def __init__(
        self,
        at: float,
        here: float,
        steps: list[float],
        values: list[float],
        sign: float,
        rounding: float,
        noise: float,
    ) -> None:
        self.nominal, self.values = steps, values
        self.steps = [abs((at + sign * h) - at) for h in steps]  # what the rounded sum really moved
        self.quotients = [sign * (v - here) / h for v, h in zip(values, self.steps, strict=True)]
        # Of a quotient: the rounding of both values, and of the point as it enters the formula.
        drift, same = 2 * EPS * abs(at), abs(here)
        modelled = [
            (rounding * (abs(v) + same) + drift * abs(q)) / h
            for v, q, h in zip(values, self.quotients, self.steps, strict=True)
        ]
        # Equal values may be a number of size 1 that swallowed a small one, as 1 + x does, and not constant at all;
        # then the smallest change that is seen is a grain of that number.
        flat = len(values)
        while flat and values[flat - 1] == here:
            flat -= 1
        grain = abs(values[flat - 1] - here) if 0 < flat < len(values) else 0.0
        grain = max(noise, grain) if math.isfinite(grain) else noise
        swallowed = rounding * max(1.0, same)
        self.roundings = [
            r + (grain if k < flat else swallowed) / h
            for k, (r, h) in enumerate(zip(modelled, self.steps, strict=True))
        ]
        self.rows = _extrapolate(steps, self.quotients, self.roundings, 4.0)
        self.open = not math.isfinite(values[-1])
        self.limit: Pair | None = None
        if not self.open and not _diverges(self.quotients, modelled):
            value, error = _believed(self.rows)
            error = _slowed(value, error, self.quotients, modelled)
            if math.isfinite(error):
                self.limit = value, _SAFETY * error + 4 * EPS * abs(value)


def _two_sided(left: _Side, right: _Side) -> Pair:
    quotients = [
        (b - a) / (g + h) for a, b, g, h in zip(left.values, right.values, left.steps, right.steps, strict=True)
    ]
    # The value in the middle cancels, but what is granted for it is no more than for the others.
    roundings = [0.5 * (r + s) for r, s in zip(left.roundings, right.roundings, strict=True)]
    rows = _extrapolate(left.nominal, quotients, roundings, 16.0)
    value, error = _believed(rows)
    error = _slowed(value, error, quotients, roundings)
    if not math.isfinite(error):
        return UNKNOWN
    # Where fine steps contradict coarse ones, they are right beside a kink: then the coarse steps on its far side still
    # agree with them. Where neither side does, the fine steps may have seen no more than the rounding inside phi.
    if all(_contradiction(side.rows, value, error) for side in (left, right)):
        error = max(error, _contradiction(rows, value, error))
    error = _SAFETY * error + 4 * EPS * abs(value)
    for side in (left, right):
        assert side.limit is not None
        if _differ((value, error), side.limit):
            error = abs(value - side.limit[0]) + side.limit[1]
    return value, error


def _extrapolate(steps: list[float], quotients: list[float], roundings: list[float], factor: float) -> list[Pair]:
    """For each step the best entry of its row in Neville's tableau; `factor` is 4 to the power of the leading error."""
    best: list[Pair] = []
    previous: list[Pair] = []
    weights = [factor ** (j + 1) for j in range(_COLUMNS)]
    last = 0.0
    for h, quotient, rounding in zip(steps, quotients, roundings, strict=True):
        if not math.isfinite(quotient):
            previous = []
            continue
        if 4 * h != last:
            previous = []
        last = h
        row = [(quotient, rounding)]
        value, error = UNKNOWN
        for (coarse, coarse_rounding), weight in zip(previous, weights, strict=False):
            fine, fine_rounding = row[-1]
            v = fine + (fine - coarse) / (weight - 1)
            r = (weight * fine_rounding + coarse_rounding) / (weight - 1)
            e = max(abs(v - fine), abs(v - coarse)) + r
            row.append((v, r))
            if e < error:
                value, error = v, e
        if previous:
            best.append((value, error))
        previous = row
    return best


def _believed(rows: list[Pair]) -> Pair:
    """The row of the smallest error, once each error has grown by what finer rows contradict."""
    found = UNKNOWN
    low, high = -math.inf, math.inf
    for value, error in reversed(rows):
        believed = error + max(0.0, low - value, value - high)
        if believed < found[1]:
            found = value, believed
        low, high = max(low, value - error), min(high, value + error)
    return found


def _contradiction(rows: list[Pair], value: float, error: float) -> float:
    """How far off a value is by rows that convince: two in a row that agree on another slope, each to 1 in 64."""
    found = 0.0
    for (v, e), (w, f) in pairwise(rows):
        convincing = 64 * e < abs(v) and 64 * f < abs(w) and abs(v - w) <= e + f
        if convincing and abs(v - value) > e + error and abs(w - value) > f + error:
            found = max(found, abs(v - value) + e, abs(w - value) + f)
    return found


def _changes(quotients: list[float], roundings: list[float]) -> list[Pair]:
    """How far each step moves the quotient, and the rounding in that; without the finest steps where it hides all."""
    changes = [
        (abs(b - a), r + s)
        for a, b, r, s in zip(quotients, quotients[1:], roundings, roundings[1:], strict=False)
        if math.isfinite(a) and math.isfinite(b)
    ]
    heard = [k for k, (change, rounding) in enumerate(changes) if change > 2 * rounding]
    if heard:
        last = changes[heard[-1]][0]
        while len(changes) - 1 > heard[-1] and 8 * changes[-1][1] > last:
            changes.pop()
    return changes


def _diverges(quotients: list[float], roundings: list[float]) -> bool:
    """Whether the finest quotients still change, by more than rounding, and by no less than coarser ones did."""
    if sum(map(math.isfinite, quotients[-9:])) < 7:
        return True
    changes = _changes(quotients, roundings)[-8:]
    coarse, fine = changes[: len(changes) // 2], changes[len(changes) // 2 :]
    heard = len(coarse) > 2 and all(change > 2 * rounding for change, rounding in fine[-3:])
    return heard and max(c for c, _ in fine) >= 0.8 * max(c for c, _ in coarse)


def _slowed(value: float, error: float, quotients: list[float], roundings: list[float]) -> float:
    """The error of an extrapolated value, if it counts on a convergence that the quotients do not show."""
    if missing := _missing(quotients, roundings):
        nearest = [q for q in quotients if math.isfinite(q)][-1]
        return max(error, abs(value - nearest) + missing)
    return error


def _missing(quotients: list[float], roundings: list[float]) -> float:
    """What the quotients still lack of a limit that they approach too slowly for the tableau, as those of |x|^1.2 do.

    Their changes shrink in a geometric series then, by less than the tableau counts on; what is left of it is missing.
    """
    changes = [c for c, _ in _changes(quotients, roundings)[-5:]]
    ratios = [b / a if a else 0.0 for a, b in pairwise(changes)]
    if len(ratios) < 4 or not all(_SLOW < r < 1 for r in ratios):
        return 0.0
    slowest = max(ratios)
    return changes[-1] * slowest / (1 - slowest) if slowest < _TOO_SLOW else math.inf
