"""The reading of a rule by symbols: what it computes is written onto a tape."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import ops
from ...graph import is_node
from ...ops import TABLE
from ...ops.namespaces import is_number
from ..folding import taken
from ..tape import Tape
from .symbol import Traced, constant, filled_like, wrap


class Symbols:
    """Symbols: `xp.exp` is the op `exp`, so that reading a rule writes it onto the tape.

    Args:
        careful: whether 0 · ∞ = 0 is kept by a choice at every product of a backward pass. Without it such a product
            is NaN; a program that gives a NaN or an infinity is run again with care.
        tape: where plain numbers go that a rule moves or sums.
    """

    def __init__(self, careful: bool, tape: Tape | None = None) -> None:
        self.careful, self.tape = careful, tape

    native = property(lambda self: self)

    def __getattr__(self, name: str) -> Any:
        if name not in TABLE:
            raise AttributeError(f"no op {name!r} in the table.")
        op = TABLE[name]

        def call(*args: Any, **params: Any) -> Any:
            if not op.elementwise and self.tape is not None:  # a plain number takes the shape that it is given
                args = tuple(constant(self.tape, a) if is_number(a) else a for a in args)
            return op(*args, **params)

        setattr(self, name, call)
        return call

    def scale(self, g: Any, slope: Any) -> Any:
        """g · slope, where 0 · ∞ = 0."""
        if is_number(slope) and math.isfinite(slope):
            return g * slope
        if isinstance(slope, Traced) and slope.tape.folding and isinstance(g, Traced):
            row = taken(slope.tape, slope.index, g.index)
            if row is not None:
                return wrap(slope.tape, row)
        if not self.careful:
            return g * slope
        product = g * slope
        dead = ops.logical_and(
            ops.logical_or(ops.equal(g, 0.0), ops.equal(slope, 0.0)), ops.logical_not(self.isfinite(product))
        )
        return ops.where(dead, 0.0, product)

    @staticmethod
    def where(condition: Any, a: Any, b: Any) -> Any:
        """The op, or the chosen one where the condition is plain."""
        return (a if condition else b) if isinstance(condition, (bool, np.bool)) else ops.where(condition, a, b)

    @staticmethod
    def isfinite(x: Any) -> Any:
        """Where x is finite: where x - x is 0."""
        return ops.equal(x - x, 0.0) if is_node(x) else math.isfinite(x)

    @staticmethod
    def zeros_like(x: Any) -> Any:
        """Zeros in the shape of x."""
        return filled_like(x, 0.0)

    @staticmethod
    def ones_like(x: Any) -> Any:
        """Ones in the shape of x."""
        return filled_like(x, 1.0)

    @staticmethod
    def asarray(x: Any, **options: Any) -> Any:
        """x, which is a symbol or a number already."""
        return x


symbols = Symbols(careful=False)
