"""The letters of sizes: which axes of a recorded graph must have one size, and what a count of elements is called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..graph import Node
from ..ops.namespaces import shape_of


class Size(int):
    """A number of elements that remembers its letter: `g / count` of a rule then divides by m and not by 5.

    Attributes:
        expression: SymPy's symbol, or a product of symbols.
    """

    expression: Any

    def __new__(cls, number: int, expression: Any) -> Size:
        """A size of so many elements."""
        size = super().__new__(cls, number)
        size.expression = expression
        return size

    def __mul__(self, other: Any) -> Any:
        if not isinstance(other, int):
            return NotImplemented
        known = other.expression if isinstance(other, Size) else other
        return Size(int(self) * int(other), self.expression * known)

    __rmul__ = __mul__

    def __sub__(self, other: Any) -> Any:
        return self if other == 0 else int(self) - other


class Axes:
    """Axes that an op aligns have one size, whatever numbers it was recorded with (a union-find over all of them)."""

    def __init__(self, order: Iterable[Node]) -> None:
        self._above: dict[tuple[int, int], tuple[int, int]] = {}
        for node in order:
            if node.op is not None:
                self._align(node)

    def of(self, x: Any, axis: int) -> tuple[int, int]:
        """The class of an axis of a node or constant array, both of which outlive this object."""
        key = (id(x), axis)
        while key in self._above:
            key = self._above[key]
        return key

    def _same(self, x: Any, i: int, y: Any, j: int) -> None:
        a, b = self.of(x, i), self.of(y, j)
        if a != b:
            self._above[b] = a

    def _align(self, node: Node) -> None:
        op = node.op
        assert op is not None
        shape = node.shape
        arrays = [p for p in node.parents if shape_of(p)]
        if op.elementwise or op.name in ("broadcast_to", "sum_to"):
            for p in arrays:
                for back in range(1, min(len(shape), len(shape_of(p))) + 1):
                    if shape_of(p)[-back] == shape[-back]:
                        self._same(p, len(shape_of(p)) - back, node, len(shape) - back)
        elif op.name == "matmul":
            a, b = node.parents
            row, column = len(shape_of(a)) - 1, max(len(shape_of(b)) - 2, 0)
            self._same(a, row, b, column)
            columns = len(shape_of(b)) > 1
            if row > 0:
                self._same(a, row - 1, node, len(shape) - 1 - columns)
            if columns:
                self._same(b, column + 1, node, len(shape) - 1)
        elif op.name == "permute_dims":
            axes = node.params.get("axes")
            axes = tuple(reversed(range(len(shape)))) if axes is None else axes
            for i, a in enumerate(axes):
                self._same(node, i, node.parents[0], a % len(shape))
        elif "axis" in node.params and len(arrays) == 1:
            self._along(node, arrays[0], node.params["axis"])

    def _along(self, node: Node, x: Any, axis: Any) -> None:
        """A reduction keeps the axes that it does not sum; a softmax keeps all."""
        n = len(shape_of(x))
        gone = range(n) if axis is None else [a % n for a in (axis if isinstance(axis, Sequence) else (axis,))]
        kept = [i for i in range(n) if i not in gone]
        if node.shape == tuple(shape_of(x)):
            kept = list(range(n))
        if len(node.shape) == len(kept):
            for j, i in enumerate(kept):
                self._same(node, j, x, i)
        elif len(node.shape) == n:
            for i in kept:
                self._same(node, i, x, i)
