"""A foreign function watched from outside: its gradient against differences of its own values.

Each output of the function is differenced on its own, so that a kink in one does not hide behind another and rounding
is measured against the output it belongs to. The intervals of the outputs add up, weighted by the cotangent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ops import describe
from . import verdicts
from .candidates import as_floats, called
from .differences import EPS, Estimate, derivative
from .judging import CORRECT, KINK, NOT_A_NUMBER, UNDECIDED, WRONG, Finding, worst

Function = Callable[..., Any]
"""Takes float64 arrays and returns one."""
Candidate = Callable[..., list[Any]]
"""Takes float64 arrays and returns a gradient for each."""

TIER = "black box"
NOTHING_KNOWN = "differences tell nothing here: a jump, an edge of the domain or overflow"
TOO_ROUGH = "the differences are too rough to tell"
CANCELLED = "cancellation may explain the difference"
NOT_TOGETHER = "at a tie the parts must add up: along one direction the slope lies beyond both one-sided slopes"

_MOST_PAIRS = 2000  # of an output and an input element, beyond which only the weighted sum of outputs is differenced
_HARDLY_ANY_DIGIT = 1 / 16
_UNDERFLOW = float(np.finfo(float).smallest_normal)


def watch(
    f: Function,
    points: Sequence[Any],
    names: Sequence[str],
    gradient: Callable[..., Any] | None,
    order: int = 1,
    cotangent: Any = None,
) -> verdicts.Verdict:
    """Hold a gradient derived by hand against differences of a function that cannot be recorded.

    Args:
        f: a function of floats and arrays, of which nothing is known but its values.
        points: float64 arrays (0-d for numbers).
        names: of the arguments.
        gradient: takes what f takes, returns one gradient for each argument.
        order: 1.
        cotangent: ∂L/∂f in the shape of f's result; ones if it is not given.

    Returns:
        The verdict, of the tier `black box`.

    Raises:
        TypeError: there is no gradient, order is 2, or f gives no number or array.
        ValueError: the cotangent or a gradient has the wrong shape.
    """
    if gradient is None:
        raise TypeError(
            f"check_gradient: given {describe(f)}, which cannot be recorded, so it has no automatic gradient; "
            "give gradient=, or write f with this project's ops or NumPy's functions on its argument."
        )
    if order == 2:
        raise TypeError(
            "check_gradient: given order=2 for a function and a gradient in plain numbers, of which neither has second "
            "derivatives to check; check the gradient as a function of its own, with its derivative as gradient=, or "
            "write both with this project's ops."
        )

    def values(*xs: Any) -> Any:
        return as_floats(f(*map(_plain, xs)), "f gave").astype(float)

    def by_hand(*xs: Any) -> list[Any]:
        given = [as_floats(g, "gradient gave").astype(float) for g in called(gradient, [_plain(x) for x in xs])]
        for g, x, name in zip(given, xs, names, strict=True):
            if g.shape != x.shape:
                raise ValueError(
                    f"check_gradient: the gradient by {name} has shape {g.shape}; expected that of {name}, {x.shape}."
                )
        return given

    here = attempt(values, points)
    if here is None:
        return verdict([Finding(UNDECIDED, note="f is not finite here")], points, names)
    weights = np.ones(here.shape) if cotangent is None else np.asarray(cotangent, dtype=float)
    if weights.shape != here.shape:
        raise ValueError(f"check_gradient: the cotangent has shape {weights.shape}; expected that of f, {here.shape}.")
    return verdict(compare(values, points, names, by_hand, weights), points, names)


def verdict(
    findings: Iterable[Finding], points: Sequence[Any], names: Sequence[str], tier: str = TIER
) -> verdicts.Verdict:
    """The verdict on what was found."""
    decides = worst(findings)
    return verdicts.Verdict(decides.status, tier, decides, None, dict(zip(names, points, strict=True)))


def _plain(x: Any) -> Any:
    return float(x) if np.ndim(x) == 0 else np.array(x, dtype=float)


def attempt(f: Function, points: Sequence[Any]) -> Any:
    """f's value as it is at the points, or `None` where f is not defined or not finite."""
    try:
        with np.errstate(all="ignore"):
            found = np.asarray(f(*points))
    except ArithmeticError:
        return None
    except ValueError as error:
        if "check_gradient" in str(error):
            raise
        return None
    return found if np.all(np.isfinite(found)) else None


def compare(
    f: Function,
    points: Sequence[Any],
    names: Sequence[str],
    candidate: Candidate,
    weights: Any,
    eps: float = EPS,
    rounding: float = 8.0,
) -> list[Finding]:
    """Every element of a gradient against differences.

    Args:
        f: the function; its result has the shape of `weights`.
        points: where.
        names: of the points.
        candidate: the gradient of the sum of f weighted by `weights`.
        weights: ∂L/∂f.
        eps: the distance from 1 to the next number that f and the candidate compute with.
        rounding: the relative error of a value of f, in units of eps.

    Returns:
        A finding for each element, and at kinks one for all together.
    """
    points = [np.asarray(p, dtype=float) for p in points]
    here = attempt(f, points)
    if here is None:
        return [Finding(UNDECIDED, note="f is not finite here")]
    lines = _Lines(f, points, np.asarray(weights, dtype=float).ravel(), here.ravel(), eps, rounding)
    given, spread, note = _with_rounding(candidate, points, eps)
    slopes = [[lines.by_element(k, i) for i in np.ndindex(p.shape)] for k, p in enumerate(points)]
    known = [abs(s.value) for of in slopes for s in of if math.isfinite(s.value)]
    scale = max(known, default=0.0)
    findings = []
    for k, (name, p) in enumerate(zip(names, points, strict=True)):
        for i, slope in zip(np.ndindex(p.shape), slopes[k], strict=True):
            found = _judge(float(given[k][i]), slope, float(spread[k][i]), scale, eps)
            findings.append(Finding(found.status, name, i, found.found, found.expected, note or found.note))
    if any(s.kink for of in slopes for s in of):
        findings.append(_together(lines, slopes, given, eps))
    return findings


@dataclass(frozen=True)
class _Slope:
    """What is known of the derivative of the weighted sum along a line.

    Attributes:
        low, high: what a right answer lies in.
        value: the best guess.
        terms: Σ |weight · derivative| over the outputs, which a backward pass adds up and rounds.
        kink: whether some output has a kink.
        bends: for the outputs with one, whether the slope grows there (a convex kink) or falls.
        edge: whether some output is known on one side only, as at an edge of its domain.
    """

    low: float
    high: float
    value: float
    terms: float
    kink: bool
    bends: frozenset[tuple[int, bool]]
    edge: bool


class _Lines:
    """The outputs of a function along lines through a point."""

    def __init__(self, f: Function, points: list[Any], weights: Any, here: Any, eps: float, rounding: float) -> None:
        self.f, self.points, self.eps, self.rounding = f, points, eps, rounding
        self.apart = weights.size * sum(p.size for p in points) <= _MOST_PAIRS
        # The sum is shifted away from 0, so that its rounding is measured against the terms that it adds.
        self.shift = 2 * float(np.sum(np.abs(weights * here)))
        self.inner, self.weights = weights, weights if self.apart else np.ones(1)

    def _outputs(self, xs: list[Any]) -> Any:
        found = np.asarray(self.f(*xs), dtype=float).ravel()
        return found if self.apart else np.array([self.shift + math.fsum(self.inner * found)])

    def by_element(self, which: int, index: tuple[int, ...]) -> _Slope:
        """The derivative by one element of one input."""

        def move(t: float) -> list[Any]:
            xs = [p.copy() for p in self.points]
            xs[which][index] = t
            return xs

        return self._slope(move, float(self.points[which][index]))

    def along(self, direction: Any) -> _Slope:
        """The derivative along a direction of all inputs."""
        # Measured from the size of the inputs, so that the rounding of the moved point is counted.
        at = max((float(np.max(np.abs(p), initial=0.0)) for p in self.points), default=0.0) or 1.0

        def move(t: float) -> list[Any]:
            parts = np.split(direction * (t - at), np.cumsum([p.size for p in self.points])[:-1])
            return [p + d.reshape(p.shape) for p, d in zip(self.points, parts, strict=True)]

        return self._slope(move, at)

    def _slope(self, move: Callable[[float], list[Any]], at: float) -> _Slope:
        taken: dict[float, Any] = {}

        def outputs(t: float) -> Any:
            if t not in taken:
                try:
                    taken[t] = self._outputs(move(t))
                except (ArithmeticError, ValueError):
                    taken[t] = np.full(self.weights.size, math.nan)
            return taken[t]

        low = high = value = terms = 0.0
        bends, edge = set(), False
        for k, weight in enumerate(self.weights.tolist()):
            if weight == 0:
                continue
            estimate = self._estimate(outputs, taken, k, at)
            ends = [weight * float(end) for end in estimate.interval()]
            low, high = low + min(ends), high + max(ends)
            middle = float(estimate.value) if math.isfinite(estimate.value) else sum(ends) / (2 * weight)
            value, terms = value + weight * middle, terms + max(map(abs, ends))
            edge = edge or not (estimate.kink or math.isfinite(estimate.error))
            if estimate.kink:
                bends.add((k, bool(weight * estimate.left[0] < weight * estimate.right[0])))
        return _Slope(low, high, value, terms, bool(bends), frozenset(bends), edge)

    def _estimate(self, outputs: Callable[[float], Any], taken: dict[float, Any], k: int, at: float) -> Estimate:
        here = float(outputs(at)[k])
        if len(taken) > 1 and math.isfinite(here) and all(v[k] == here for v in taken.values()):
            # Constant along this line, as far as its rounding shows.
            error = 8 * self.rounding * self.eps * max(1.0, abs(here))
            return Estimate(0.0, error, (0.0, error), (0.0, error))
        finest = 2.0**-46 if self.eps < 1e-12 else 2.0**-17
        return derivative(lambda t: outputs(t)[k], at, rounding=self.rounding * self.eps, smallest_step=finest)


def _with_rounding(candidate: Candidate, points: list[Any], eps: float) -> tuple[list[Any], list[Any], str]:
    """A gradient, how far it scatters when its inputs move by an ulp or two, and a note if it cannot be computed.

    The scatter is among the moved inputs only: a gradient that is wrong at this very point must not excuse itself.
    Zeros stay, since a neighbour of 0 is no neighbour to 1/x.
    """
    with np.errstate(all="ignore"):
        note = ""
        try:
            given = [np.asarray(g, dtype=float) for g in candidate(*(p.copy() for p in points))]
        except (ArithmeticError, ValueError) as error:
            if "check_gradient" in str(error):
                raise
            given = [np.full(p.shape, math.nan) for p in points]
            note = f"the gradient raises {type(error).__name__}: {error}"
        random = np.random.default_rng(0)
        moved = []
        for _ in range(6):
            near = [p * (1 + eps * random.choice([-2, -1, 1, 2], p.shape)) for p in points]
            try:
                moved.append(candidate(*near))
            except (ArithmeticError, ValueError):
                continue
        spread = []
        for k, p in enumerate(points):
            values = np.array([m[k] for m in moved], dtype=float).reshape((len(moved), *p.shape))
            values = np.where(np.isfinite(values), values, np.nan)
            width = np.fmax.reduce(values, axis=0, initial=-math.inf) - np.fmin.reduce(values, axis=0, initial=math.inf)
            spread.append(np.where(np.isfinite(width), np.maximum(width, 0.0), 0.0))
    return given, spread, note


def _judge(c: float, slope: _Slope, spread: float, scale: float, eps: float) -> Finding:
    ends = (slope.low, slope.high)
    largest = max(map(abs, ends))
    if not math.isfinite(largest):
        return Finding(UNDECIDED, "", (), c, ends, NOTHING_KNOWN)
    if not math.isfinite(c):
        if largest > (1e290 if eps < 1e-12 else 1e30):
            return Finding(UNDECIDED, "", (), c, ends, "floats overflow here")
        return Finding(WRONG, "", (), c, ends, NOT_A_NUMBER)
    granted = 64 * eps * max(abs(c), slope.terms) + _UNDERFLOW
    if not slope.kink:  # at a kink, the neighbours of the point are on either side of it
        granted += 4 * spread
    off = max(slope.low - c, c - slope.high, 0.0)
    if off > granted:
        if off <= 64 * eps and off <= _HARDLY_ANY_DIGIT * largest:
            return Finding(UNDECIDED, "", (), c, ends, CANCELLED)
        return Finding(WRONG, "", (), c, ends)
    if slope.kink:
        return Finding(KINK)
    agrees = abs(c - slope.value) <= eps**0.25 * max(abs(c), abs(slope.value))
    if agrees or slope.high - slope.low + off <= eps**0.6 * scale:
        return Finding(CORRECT)
    return Finding(UNDECIDED, "", (), c, ends, TOO_ROUGH)


def _together(lines: _Lines, slopes: list[list[_Slope]], given: list[Any], eps: float) -> Finding:
    """At a kink: whether the gradients by all elements belong together, as (1, 0) and (0, 1) do and (1, 1) does not.

    A subgradient lies between the one-sided slopes along any direction if the function is convex or concave there;
    where the kinks of an output bend both ways nothing is held against it.
    """
    flat = np.concatenate([g.ravel() for g in given])
    size = flat.size
    directions = [np.ones(size)] + [np.random.default_rng(k).choice([-1.0, 1.0, 2.0], size) for k in range(3)]
    found = [lines.along(direction) for direction in directions]
    bends = {bend for slope in [*found, *(s for of in slopes for s in of)] for bend in slope.bends}
    if len({k for k, _ in bends}) < len(bends):
        return Finding(KINK)
    for direction, slope in zip(directions, found, strict=True):
        if slope.edge:  # a slope from inside bounds what lies along it on one side only
            continue
        c = float(direction @ flat)
        granted = 64 * eps * (float(np.abs(direction) @ np.abs(flat)) + slope.terms)
        if math.isfinite(slope.low) and math.isfinite(slope.high) and max(slope.low - c, c - slope.high) > granted:
            return Finding(WRONG, "", (), c, (slope.low, slope.high), NOT_TOGETHER)
    return Finding(KINK)
