"""What is done one after the other: a loop over a chain of elementwise rows, a product, a fold, a copy.

A row lies in the memory of some row, its own or one that it is a part of, at strides that NumPy's own views give: a
transpose, a reshape or a part costs nothing. A view here stands for places only; its numbers are never looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..tape import DeclinedError

View = np.ndarray[Any, Any]
Held = tuple[int, View]
"""The row in whose memory something lies, and how it lies there."""

VIEWS: dict[str, Callable[[View, dict[str, Any]], View]] = {
    "reshape": lambda x, given: x.reshape(given["shape"]),
    "permute_dims": lambda x, given: x.transpose(given["axes"]),
    "broadcast_to": lambda x, given: np.broadcast_to(x, given["shape"]),
    "expand_dims": lambda x, given: np.expand_dims(x, given["axis"]),
    "squeeze": lambda x, given: np.squeeze(x, given["axis"]),
}
"""Ops whose result lies in the memory of their argument."""


class Matrices(NamedTuple):
    """A product: its row and the matrices, as views; without a, the columns of b are summed."""

    row: int
    a: Held | None
    b: Held

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the result."""
        return (self.a[1].shape[0] if self.a else 1), self.b[1].shape[1]


class Chain:
    """Elementwise rows of one shape, and sums of them, that one loop computes; or a product and such rows, which are
    computed while its numbers are in registers.

    Attributes:
        rows: the rows, in order.
        sums: rows that are sums over all of one of them.
        product: the product.
        views: views that lead from the product to the shape, the last one first.
    """

    def __init__(self, shape: tuple[int, ...], product: Matrices | None = None, views: Sequence[int] = ()) -> None:
        self.shape, self.product, self.views = shape, product, views
        self.rows: dict[int, None] = {}
        self.sums: list[int] = []

    @property
    def head(self) -> int:
        """The row that stands for the product, or -1."""
        return self.views[0] if self.views else self.product.row if self.product else -1

    def makes(self, row: int) -> bool:
        """Whether a row is computed here."""
        return row in self.rows or row in self.sums or (self.product is not None and row == self.product.row)


class Fold(NamedTuple):
    """The greatest or least numbers along the last axis of a view."""

    row: int
    op: str
    x: Held


class Copy(NamedTuple):
    """A copy of a view: to a row of its own, or to a root's segment."""

    row: int
    x: Held
    root: int | None = None


class Fill(NamedTuple):
    """A root that is one number in all places."""

    root: int
    number: float


Job = Chain | Fold | Copy | Fill


class Grid(NamedTuple):
    """How an array's axes become rows and lanes."""

    rows: int
    lanes: int
    kept: tuple[int, ...]
    flat: bool

    def strides(self, given: Sequence[int]) -> tuple[int, int]:
        """The strides of rows and lanes, in bytes, of an array with these."""
        found = [given[k] for k in self.kept]
        if not found:
            return 0, 0
        return (0, found[-1]) if self.flat or len(found) == 1 else (found[-2], found[-1])


def grid_of(shape: tuple[int, ...], strides: Sequence[Sequence[int]]) -> Grid:
    """Rows and lanes for arrays of one shape: all in one row if they lie in order."""
    kept = tuple(k for k, n in enumerate(shape) if n > 1)
    sizes = [shape[k] for k in kept]

    def joins(axes: Sequence[int]) -> bool:
        return all(s[j] == s[k] * shape[k] for s in [*strides, in_order(shape)] for j, k in pairwise(axes))

    if joins(kept):
        return Grid(1, math.prod(sizes), kept, True)
    if joins(kept[:-1]):
        return Grid(math.prod(sizes[:-1]), sizes[-1], kept, False)
    raise DeclinedError("arrays of many axes that do not lie in order")


def offsets_of(view: View, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """How far from the first element of a view, broadcast to a shape, each of its elements is."""
    strides = np.broadcast_to(view, shape).strides
    return sum(
        (
            np.arange(n).reshape(-1, *[1] * (len(shape) - 1 - k)) * (s // 8)
            for k, (n, s) in enumerate(zip(shape, strides, strict=True))
        ),
        np.zeros(shape, int),
    )


def in_order(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of an array in C order."""
    return np.empty(shape).strides


def offset_of(view: View, base: View) -> int:
    """How many elements after the beginning of a row's memory a view begins."""
    return int(view.__array_interface__["data"][0] - base.__array_interface__["data"][0]) // 8
