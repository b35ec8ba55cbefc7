"""Points to check at: zeros, ones, ties, magnitudes from 1e-6 to 1e6, within an open interval for each argument."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st

SPECIALS = (0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 10.0, -10.0, 100.0, -100.0)
Interval = tuple[float, float]


@dataclass(frozen=True)
class Space:
    """Where the arguments of a function lie.

    Attributes:
        shapes: of each argument, () for a number.
        intervals: open, one for each argument.
        reach: the largest magnitude.
        least: the smallest beside 0.
    """

    shapes: tuple[tuple[int, ...], ...]
    intervals: tuple[Interval, ...]
    reach: float = 1e6
    least: float = 1e-6

    @property
    def sizes(self) -> list[int]:
        return [math.prod(s) for s in self.shapes]


def _inside(x: float, interval: Interval, reach: float) -> bool:
    return interval[0] < x < interval[1] and abs(x) <= reach


@cache
def element(interval: Interval, reach: float, least: float) -> st.SearchStrategy[float]:
    """One number: a special one, a small whole one, any magnitude, or what Hypothesis thinks of."""
    low, high = max(interval[0], -reach), min(interval[1], reach)
    specials = [x for x in SPECIALS if _inside(x, interval, reach)]
    exponents = st.floats(math.log10(least), math.log10(reach))
    sizes = exponents.map(lambda e: 10.0**e)
    signed = st.tuples(sizes, st.booleans()).map(lambda t: -t[0] if t[1] else t[0])
    kinds = [
        signed.filter(lambda x: _inside(x, interval, reach)) if low < 0 < high else st.floats(low, high),
        st.floats(low, high).map(lambda x: x if abs(x) >= least else 0.0),
        st.integers(math.ceil(max(low, -20)), math.floor(min(high, 20))).map(float),
        # Evenly over what thresholds are in; Hypothesis's own floats are seldom of middling size.
        st.integers(math.ceil(20 * max(low, -50)), math.floor(20 * min(high, 50))).map(lambda k: k / 20),
        st.sampled_from(specials or [(low + high) / 2]),
    ]
    if low == 0:
        kinds[0] = sizes
    return st.one_of(kinds).filter(lambda x: _inside(x, interval, reach))


@st.composite
def points(draw: Any, space: Space) -> list[Any]:
    """One point: numbers and arrays. In a third of them some elements are equal, in another all have one sign."""
    rows = []
    ties = draw(st.integers(0, 5))
    before: list[float] = []
    for size, interval in zip(space.sizes, space.intervals, strict=True):
        one = element(interval, space.reach, space.least)
        row = draw(st.lists(one, min_size=size, max_size=size))
        if ties in (1, 2):
            pool = [x for x in [*before, *row] if _inside(x, interval, space.reach)]
            row = [pool[0] if ties == 1 else draw(st.sampled_from(pool[:2])) for _ in row]
        if ties > 3:
            sizes = [abs(x) or 1.0 for x in row]
            signed = sizes if ties == 4 else [-x for x in sizes]
            row = [y if _inside(y, interval, space.reach) else x for x, y in zip(row, signed, strict=True)]
        before += row
        rows.append(row)
    return [_shaped(row, shape) for row, shape in zip(rows, space.shapes, strict=True)]


def _shaped(row: Sequence[float], shape: tuple[int, ...]) -> Any:
    return np.array(row, dtype=float).reshape(shape) if shape else float(row[0])


def many_points(space: Space, count: int, seed: int = 0) -> list[list[Any]]:
    """The same kinds of points without Hypothesis."""
    generator = np.random.default_rng(seed)
    found = []
    for k in range(count):
        point: list[Any] = []
        common = math.nan
        for size, interval, shape in zip(space.sizes, space.intervals, space.shapes, strict=True):
            specials = [x for x in SPECIALS if _inside(x, interval, space.reach)]
            powers = 10 ** generator.uniform(math.log10(space.least), math.log10(space.reach), 20)
            others = [
                *powers,
                *-powers,
                *generator.uniform(-20, 20, 20),
                (max(interval[0], -1) + min(interval[1], 1)) / 2,
            ]
            numbers = specials + [x for x in others if k % 2 == 0 and _inside(x, interval, space.reach)]
            if k % 4 == 3:  # all elements equal
                common = common if _inside(common, interval, space.reach) else generator.choice(numbers)
                numbers = [common]
            point.append(_shaped(generator.choice(numbers, size).tolist(), shape))
        found.append(point)
    return found
