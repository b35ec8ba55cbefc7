"""The black box: a foreign function is watched from outside, by differences of its values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .differences import Estimate
from .differences import gradient as differences
from .judging import CORRECT, KINK, UNDECIDED, WRONG, Finding, worst
from .verdicts import Verdict, called, in_floats, plain

_EPSILON = float(np.finfo(float).eps)
_USELESS = 1e-4


def watch(
    f: Callable[..., Any],
    points: Sequence[Any],
    names: Sequence[str],
    gradient: Callable[..., Any] | None,
    order: int,
    cotangent: Any,
) -> Verdict:
    """The verdict on a gradient of a foreign function.

    Args:
        f: a function of floats and float64 arrays.
        points: float64 arrays, without axes for a number.
        gradient: as for `check_gradient`.
        cotangent: weights of f's result; ones if it is None.

    Raises:
        TypeError: no gradient is given, or second derivatives are asked for.
    """
    if gradient is None:
        raise TypeError(
            "check_gradient: f leaves this project's ops, so it has no automatic gradient to check. Give gradient=, or "
            "write f with operators, NumPy's functions and tinygrad_notes' ops on its arguments."
        )
    if order == 2:
        raise TypeError(
            "check_gradient: order=2 of a foreign function needs its own second derivatives. Check the gradient as a "
            "function: check_gradient(component_of_gradient, *inputs, gradient=...)."
        )
    try:
        with np.errstate(all="ignore"):
            result = np.asarray(f(*map(plain, points)), dtype=float)
    except ArithmeticError as error:
        note = f"the function itself fails here: {type(error).__name__}: {error}"
        return Verdict(
            UNDECIDED, "black box", Finding(UNDECIDED, note=note), None, dict(zip(names, points, strict=True))
        )
    weights = np.ones(result.shape) if cotangent is None else np.asarray(cotangent, dtype=float)

    def weighted(*args: Any) -> float:
        return float(np.sum(weights * np.asarray(f(*args), dtype=float)))

    return compare(weighted, lambda *args: called(gradient, args), points, names)


def compare(
    f: Callable[..., float],
    gradient: Callable[..., Sequence[Any]],
    points: Sequence[Any],
    names: Sequence[str],
    epsilon: float = _EPSILON,
) -> Verdict:
    """A gradient, as a function that gives one array for each argument, against differences of f.

    Args:
        epsilon: the rounding unit of the arithmetic that f and the gradient are computed in.
    """
    shown = dict(zip(names, points, strict=True))
    found = in_floats(gradient(*map(plain, points)), points, names)
    estimates = differences(f, [plain(p) for p in points])
    spreads = _spread(gradient, points, names, found)
    findings = []
    for name, point, candidate, estimate, spread in zip(names, points, found, estimates, spreads, strict=True):
        grid: Any = np.empty(point.shape, object)
        grid[...] = estimate
        findings += [
            _judge(name, index, float(candidate[index]), grid[index], float(spread[index]), epsilon)
            for index in np.ndindex(point.shape)
        ]
    decides = worst(findings)
    return Verdict(decides.status, "black box", decides, None, shown)


def _judge(name: str, index: tuple[int, ...], c: float, estimate: Estimate, spread: float, epsilon: float) -> Finding:
    low, high = estimate.interval()
    if not (np.isfinite(low) and np.isfinite(high)):
        return Finding(UNDECIDED, name, index, c, (low, high), "the differences do not settle here")
    largest = max(abs(low), abs(high))
    if not np.isfinite(c):
        return Finding(WRONG, name, index, c, (low, high), "it is not finite, and the true derivative is")
    granted = 8 * spread + 64 * epsilon * max(abs(c), largest)
    if c < low - granted or c > high + granted:
        return Finding(WRONG, name, index, c, (low, high))
    if estimate.kink:
        return Finding(KINK, name, index, c, (low, high))
    if high - low > _USELESS * largest and high - low > 1e-9 and abs(c - (low + high) / 2) > _USELESS * largest:
        return Finding(UNDECIDED, name, index, c, (low, high), "the differences are too coarse to tell")
    return Finding(CORRECT, name)


def _spread(
    gradient: Callable[..., Any], points: Sequence[Any], names: Sequence[str], found: Sequence[Any]
) -> list[Any]:
    """How much the gradient moves when its arguments move by a few units in the last place: its own rounding."""
    spread = [np.zeros(g.shape) for g in found]
    for steps in (-2, 1, 3):
        moved = [p + steps * np.spacing(np.abs(p)) for p in points]
        try:
            near = in_floats(gradient(*map(plain, moved)), points, names)
        except (ArithmeticError, ValueError):  # beyond the edge of its domain
            continue
        for s, a, b in zip(spread, near, found, strict=True):
            with np.errstate(all="ignore"):
                np.maximum(s, np.where(np.isfinite(a - b), np.abs(a - b), 0.0), out=s)
    return spread
