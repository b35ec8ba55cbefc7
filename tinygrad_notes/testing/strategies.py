"""Hypothesis strategies for the inputs of a derivation: arrays whose sizes are letters, equal letters equal sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

Elements = st.SearchStrategy[float]


def reals(low: float = -10.0, high: float = 10.0) -> Elements:
    """Finite floats in [low, high], with zeros, ties and whole numbers among them; no subnormal numbers."""
    whole = st.integers(int(np.ceil(low)), int(np.floor(high))).map(float)
    return whole | st.floats(low, high, allow_subnormal=False)


@dataclass(frozen=True)
class Shaped:
    """An array whose sizes are letters (or numbers), to be drawn once every letter has its size."""

    sizes: tuple[str | int, ...]
    elements: Elements

    def strategy(self, letters: Mapping[str, int]) -> st.SearchStrategy[Any]:
        """The arrays of this shape."""
        shape = tuple(letters[s] if isinstance(s, str) else s for s in self.sizes)
        return hnp.arrays(np.float64, shape, elements=self.elements, fill=st.nothing())


def arrays_of(*sizes: str | int, elements: Elements | None = None) -> Shaped:
    """Float64 arrays of shape `sizes`; a letter is a size that Hypothesis chooses, the same wherever it stands."""
    return Shaped(sizes, reals() if elements is None else elements)


def labels(*sizes: str | int) -> Shaped:
    """Arrays of labels 0.0 and 1.0."""
    return Shaped(sizes, st.sampled_from([0.0, 1.0]))


@st.composite
def inputs(draw: st.DrawFn, given: Mapping[str, Any], largest: int = 4) -> dict[str, Any]:
    """Inputs by name, drawn together.

    Args:
        draw: Hypothesis's.
        given: for each name a `Shaped`, another Hypothesis strategy, or a fixed value.
        largest: the largest size that a letter takes; the smallest is 1.
    """
    names = sorted({s for spec in given.values() if isinstance(spec, Shaped) for s in spec.sizes if isinstance(s, str)})
    letters = {name: draw(st.integers(1, largest), label=name) for name in names}
    drawn = {}
    for name, spec in given.items():
        if isinstance(spec, Shaped):
            drawn[name] = draw(spec.strategy(letters), label=name)
        else:
            drawn[name] = draw(spec, label=name) if isinstance(spec, st.SearchStrategy) else spec
    return drawn
