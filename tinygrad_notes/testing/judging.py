"""Holding a gradient against the oracle: element by element, at kinks side by side, in floats with their rounding."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..graph import Node
from .oracle import Oracle, numbers
from .scalars import EPSILON, Scalar

CORRECT, WRONG, KINK, UNDECIDED = "correct", "wrong", "kink", "undecided"
NOT_FINITE = "the true derivative is not finite here"
TOO_WIDE = "the enclosure is too wide to tell"
NOT_A_NUMBER = "it is not finite, and the true derivative is"
SHARPER = (NOT_FINITE, TOO_WIDE, NOT_A_NUMBER)
"""Reasons that more digits may remove."""

# What is farther off than this, yet explained by rounding, says nothing about the formula.
_TELLING = 1e-6
_NO_DIGIT = 1 / 16


def granted_to(candidate: Any, bound: Any) -> Any:
    """A bound on the rounding of double precision, for the precision that the candidate has.

    Args:
        candidate: a float array.
        bound: an array of its shape.
    """
    limits = np.finfo(candidate.dtype)
    return bound * (float(limits.eps) / EPSILON) + float(limits.smallest_normal)


@dataclass(frozen=True)
class Finding:
    """What was found about one gradient.

    Attributes:
        status: `correct`, `wrong`, `kink` (right, and one of several answers) or `undecided`.
        name: of the argument that the gradient is by.
        index: the element that shows it.
        found, expected: there; at a kink the two ends of what is right.
        note: in words, why.
    """

    status: str
    name: str = ""
    index: tuple[int, ...] = ()
    found: float = math.nan
    expected: tuple[float, float] = (math.nan, math.nan)
    note: str = ""


def worst(findings: Iterable[Finding]) -> Finding:
    """The finding that decides: wrong before undecided before kink before correct."""
    order = [WRONG, UNDECIDED, KINK, CORRECT]
    return min(findings, key=lambda f: order.index(f.status), default=Finding(CORRECT))


def _corners(oracle: Oracle, sides: Sequence[Any], index: tuple[int, ...]) -> tuple[list[Any], tuple[float, float]]:
    corners = [side[index] for side in sides]
    floats = [oracle.tape.field.to_float(c) for c in corners]
    return corners, (min(floats), max(floats))


def _is_kink(oracle: Oracle, sides: Sequence[Any]) -> bool:
    field = oracle.tape.field
    return any(not field.overlap(a, b) for side in sides[1:] for a, b in zip(sides[0].flat, side.flat, strict=True))


def judge_exactly(name: str, oracle: Oracle, sides: Sequence[Any], candidate: Any, node: Node | None = None) -> Finding:
    """A gradient in the oracle's own numbers: no rounding is granted, since there is none.

    Args:
        sides: the true gradient, one array for each choice of sides at kinks.
        candidate: an array of the field's numbers (or scalars).
        node: what the gradient is by. What is uncertain by no more than floats would be is certain enough, also near 0.
    """
    field = oracle.tape.field
    interval = oracle.tape.intervals
    kink = interval or _is_kink(oracle, sides)
    undecided = None
    for index in np.ndindex(candidate.shape):
        c = candidate[index]
        c = c.value if type(c) is Scalar else field.number(float(c))
        corners, ends = _corners(oracle, sides, index)
        at = field.to_float(c)
        if not all(field.is_finite(x) for x in corners):
            undecided = Finding(UNDECIDED, name, index, at, ends, NOT_FINITE)
        elif not field.is_finite(c):
            return Finding(WRONG, name, index, math.nan, ends, NOT_A_NUMBER)
        elif not field.inside(c, corners):
            return Finding(WRONG, name, index, at, ends, "")
        elif not interval and _is_wide(oracle, [c, *corners], index, node):
            undecided = Finding(UNDECIDED, name, index, at, ends, TOO_WIDE)
    if undecided:
        return undecided
    return Finding(KINK if kink else CORRECT, name)


def _is_wide(oracle: Oracle, balls: Sequence[Any], index: tuple[int, ...], node: Node | None) -> bool:
    field = oracle.tape.field
    width = 2 * max(map(field.width, balls))
    if width <= _TELLING * max(abs(field.to_float(b)) for b in balls) + 1e-40:
        return False
    return node is None or not width <= 1e3 * float(oracle.rounding(node)[index])


def judge_floats(
    name: str, oracle: Oracle, sides: Sequence[Any], candidate: Any, bound: Any, strict: Any = None
) -> Finding:
    """A gradient in floats; where a comparison is so close that rounding may turn it, nothing is held against them."""
    finding = _judge_floats(name, oracle, sides, candidate, bound, strict)
    if finding.status == WRONG and oracle.tape.near:
        return replace(finding, status=UNDECIDED, note="rounding may turn a comparison here")
    return finding


def _judge_floats(
    name: str, oracle: Oracle, sides: Sequence[Any], candidate: Any, bound: Any, strict: Any = None
) -> Finding:
    """A gradient in floats.

    Args:
        sides: the true gradient, one array for each choice of sides at kinks.
        candidate: a float array, of any precision.
        bound: how far rounding in double precision may move each element.
        strict: the same without the rounding of results from which slopes are computed, such as 1 − y² from y = tanh x.
            What exceeds it and has no digit right is wrong. Not asked if not given.
    """
    field = oracle.tape.field
    kink = _is_kink(oracle, sides)
    limits = np.finfo(candidate.dtype)
    least, most = float(limits.smallest_normal / limits.eps), float(limits.max * limits.eps)
    bound, strict = granted_to(candidate, bound), None if strict is None else granted_to(candidate, strict)
    undecided = None
    for index in np.ndindex(candidate.shape):
        c, granted = float(candidate[index]), float(bound[index])
        corners, (low, high) = _corners(oracle, sides, index)
        largest = max(abs(low), abs(high))
        if not all(field.is_finite(x) for x in corners):
            undecided = Finding(UNDECIDED, name, index, c, (low, high), "the true derivative is not finite here")
            continue
        if not math.isfinite(c):
            if largest > most or not math.isfinite(granted):
                undecided = Finding(UNDECIDED, name, index, c, (low, high), "floats overflow here")
                continue
            return Finding(WRONG, name, index, c, (low, high), NOT_A_NUMBER)
        if not math.isfinite(granted):
            undecided = Finding(UNDECIDED, name, index, c, (low, high), "rounding may explain any difference here")
            continue
        if all(field.certainly_less(field.number(c + granted), x) for x in corners) or all(
            field.certainly_less(x, field.number(c - granted)) for x in corners
        ):
            return Finding(WRONG, name, index, c, (low, high), "")
        if oracle.tape.intervals:  # all that lies in them is right
            continue
        wide = max(map(field.width, corners))
        if wide > _TELLING * largest and wide > least and wide > granted:
            undecided = Finding(UNDECIDED, name, index, c, (low, high), TOO_WIDE)
            continue
        off = max(low - c, c - high, 0.0)
        if off > _TELLING * largest and largest > least:
            if strict is not None and off > strict[index] and off > _NO_DIGIT * largest:
                return Finding(WRONG, name, index, c, (low, high), "no digit is right: they were lost by cancellation")
            undecided = Finding(UNDECIDED, name, index, c, (low, high), "rounding explains so large a difference")
    if undecided:
        return undecided
    return Finding(KINK if kink or oracle.tape.intervals else CORRECT, name)


def judge_together(
    oracle: Oracle, all_sides: Sequence[Sequence[Any]], candidates: Sequence[Any], bounds: Sequence[Any] | None
) -> Finding:
    """At a kink: whether the gradients by all arguments belong together, as (1, 0) and (0, 1) do and (1, 1) does not.

    A right one is a mean of the sides' gradients, so that along any direction it lies between them.
    """
    field = oracle.tape.field
    if len(oracle.sides) < 2 or (bounds is not None and oracle.tape.near):
        return Finding(CORRECT)
    sizes = sum(c.size for c in candidates)
    directions = [np.ones(sizes)] + [np.random.default_rng(k).choice([-1.0, 1.0, 2.0], sizes) for k in range(3)]
    for direction in directions:
        along = [
            _dot(field, direction, [side for of in all_sides for side in of[k].flat]) for k in range(len(oracle.sides))
        ]
        flat = [c for candidate in candidates for c in candidate.flat]
        values = [c.value if type(c) is Scalar else field.number(float(c)) for c in flat]
        c = _dot(field, direction, values)
        if not (field.is_finite(c) and all(map(field.is_finite, along))):
            return Finding(CORRECT)
        granted = 0.0
        if bounds is not None:
            rounding = [np.ravel(granted_to(c, b)) for c, b in zip(candidates, bounds, strict=True)]
            granted = float(np.abs(direction) @ np.concatenate(rounding))
        if not math.isfinite(granted):
            return Finding(CORRECT)
        slack = field.number(granted)
        if all(field.certainly_less(c + slack, x) for x in along) or all(
            field.certainly_less(x, c - slack) for x in along
        ):
            ends = [field.to_float(x) for x in along]
            return Finding(
                WRONG,
                "",
                (),
                field.to_float(c),
                (min(ends), max(ends)),
                "at a tie the parts must add up: along one direction the slope lies beyond both one-sided slopes",
            )
    return Finding(CORRECT)


def _dot(field: Any, direction: Any, values: list[Any]) -> Any:
    total = field.number(0.0)
    for d, v in zip(direction, values, strict=True):
        total = total + field.number(float(d)) * v
    return total


__all__ = [
    "CORRECT",
    "KINK",
    "UNDECIDED",
    "WRONG",
    "Finding",
    "judge_exactly",
    "judge_floats",
    "judge_together",
    "numbers",
    "worst",
]
