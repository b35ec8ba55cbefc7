"""Hypothesis strategies for the inputs of a derivation: arrays whose sizes are letters, equal letters equal sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

Elements = st.SearchStrategy[float]


def reals(low: float = -10.0, high: float = 10.0) -> Elements:
    """Finite floats in [low, high], with zeros, ties and whole numbers among them; no subnormal numbers."""
    floats = st.floats(low, high, allow_subnormal=False)
    first, last = math.ceil(low), math.floor(high)
    return st.integers(first, last).map(float) | floats if first <= last else floats


def positives(low: float = 1e-6, high: float = 1e6) -> Elements:
    """Floats in [low, high] of every magnitude between them, with small whole numbers among them.

    A failure shrinks to 1.0 where that is in the interval.

    Args:
        low, high: the smallest and the largest number, both more than 0.

    Raises:
        ValueError: `low` is not more than 0, or `high` is less than `low` or infinite.
    """
    if not 0 < low <= high < math.inf:
        raise ValueError(f"positives: given low={low!r} and high={high!r}; expected 0 < low <= high < infinity.")
    exponents = st.floats(math.log10(low), math.log10(high), allow_subnormal=False)
    wide = exponents.map(lambda e: min(max(10.0**e, low), high))  # rounding may step over the ends
    first, last = math.ceil(low), math.floor(min(high, math.ceil(low) + 9))
    plain = st.floats(low, high, allow_subnormal=False)
    return st.integers(first, last).map(float) | plain | wide if first <= last else plain | wide


@dataclass(frozen=True)
class Shaped:
    """An array whose sizes are letters (or numbers), to be drawn once every letter has its size."""

    sizes: tuple[str | int, ...]
    elements: Elements

    def __post_init__(self) -> None:
        for size in self.sizes:
            if not (isinstance(size, str) and size) and not (isinstance(size, int) and size >= 0):
                raise ValueError(f"arrays_of: given the size {size!r}; expected a letter or a whole number.")

    def shape(self, letters: Mapping[str, int]) -> tuple[int, ...]:
        """The shape, given the size of every letter."""
        return tuple(letters[s] if isinstance(s, str) else s for s in self.sizes)

    def strategy(self, shape: tuple[int, ...]) -> st.SearchStrategy[Any]:
        """The arrays of this shape."""
        return hnp.arrays(np.float64, shape, elements=self.elements, fill=st.nothing())


class OneHot(Shaped):
    """An array with a single 1.0 along its first axis, 0.0 elsewhere."""

    def strategy(self, shape: tuple[int, ...]) -> st.SearchStrategy[Any]:
        """The arrays of this shape."""
        classes, *rest = shape
        chosen = hnp.arrays(np.int64, tuple(rest), elements=st.integers(0, classes - 1), fill=st.nothing())
        column = np.arange(classes).reshape(-1, *[1] * len(rest))
        return chosen.map(lambda hot: (column == hot).astype(np.float64))


def arrays_of(*sizes: str | int, elements: Elements | None = None) -> Shaped:
    """Float64 arrays of shape `sizes`; a letter is a size that Hypothesis chooses, the same wherever it stands."""
    return Shaped(sizes, reals() if elements is None else elements)


def labels(*sizes: str | int) -> Shaped:
    """Arrays of labels 0.0 and 1.0."""
    return Shaped(sizes, st.sampled_from([0.0, 1.0]))


def one_hot(*sizes: str | int) -> Shaped:
    """Arrays of labels with a single 1.0 in each column (along the first axis), such as `one_hot("k", "m")`.

    Raises:
        ValueError: no size is given.
    """
    if not sizes:
        raise ValueError('one_hot: given no size; expected at least the number of classes, as in one_hot("k", "m").')
    return OneHot(sizes, st.sampled_from([0.0, 1.0]))


def inputs(
    given: Mapping[str, Any], largest: int = 4, sizes: Mapping[str, int] | None = None
) -> st.SearchStrategy[dict[str, Any]]:
    """Inputs by name, drawn together.

    Args:
        given: for each name a `Shaped`, another Hypothesis strategy, or a fixed value.
        largest: the largest size that a letter takes; the smallest is 1.
        sizes: letters with a fixed size, such as `{"n": 3}`.

    Raises:
        ValueError: a letter of `sizes` stands in no array, or its size is not a whole number of at least 1.
    """
    names = sorted({s for spec in given.values() if isinstance(spec, Shaped) for s in spec.sizes if isinstance(s, str)})
    fixed = dict(sizes or {})
    for letter, size in fixed.items():
        if letter not in names:
            there = ", ".join(names) or "none"
            raise ValueError(
                f"inputs: given the size {letter}={size!r}, but no array has that letter; there is {there}."
            )
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"inputs: given the size {letter}={size!r}; expected a whole number of at least 1.")

    @cache  # making a strategy takes longer than drawing a few numbers from it
    def of_shape(spec: Shaped, shape: tuple[int, ...]) -> st.SearchStrategy[Any]:
        return spec.strategy(shape)

    any_size = st.integers(1, largest)

    @st.composite
    def drawn_together(draw: st.DrawFn) -> dict[str, Any]:
        letters = {n: fixed[n] if n in fixed else draw(any_size, label=n) for n in names}
        drawn = {}
        for name, spec in given.items():
            if isinstance(spec, Shaped):
                drawn[name] = draw(of_shape(spec, spec.shape(letters)), label=name)
            else:
                drawn[name] = draw(spec, label=name) if isinstance(spec, st.SearchStrategy) else spec
        return drawn

    return drawn_together()
