"""What everything is called: the names of nodes and constants, and the letters of sizes."""

from __future__ import annotations

import keyword
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..graph import Node, is_node
from ..ops import describe
from ..ops.activations import cross_entropy, one_minus
from ..ops.namespaces import is_number, shape_of
from .sizes import Axes

COMPLEMENTS = {one_minus: (0, 1), cross_entropy: (1, 2)}
"""Ops that are given 1 − a as a constant of its own, computed without cancellation: which arguments a and 1 − a are."""


class DeriveError(ValueError):
    """A graph of which no derivation can be written; the message says what to do."""


def arguments(node: Node, read: Any, complement: Any) -> list[Any]:
    """The arguments of a node by `read`; where 1 − a stands as a constant, `complement` of what a is read as."""
    found = [read(p) for p in node.parents]
    if node.op in COMPLEMENTS:
        a, exact = COMPLEMENTS[node.op]
        found[exact] = complement(found[a])
    return found


def shown_parents(node: Node) -> list[Any]:
    """The parents of a node that stand in its formula."""
    hidden = COMPLEMENTS[node.op][1] if node.op in COMPLEMENTS else None
    return [p for i, p in enumerate(node.parents) if i != hidden]


class Letters:
    """The names of a recorded graph.

    Attributes:
        order: the nodes, each after its parents.
        axes: the axes that have one size.
        things: for every name the node or constant array that has it.

    Raises:
        DeriveError: a parameter has no name, two things have one, or a name cannot be written in a formula.
    """

    def __init__(self, order: Sequence[Node], names: Mapping[str, Any]) -> None:
        self.order = order
        self.axes = Axes(order)
        self.things: dict[str, Any] = {}
        self._names: dict[int, str] = {}
        self._given = {k: v for k, v in names.items() if is_node(v) or (hasattr(v, "shape") and shape_of(v))}
        root = order[-1]
        for node in order:
            for p in shown_parents(node) if node.op is not None else ():
                if p.op is None if is_node(p) else shape_of(p):
                    self._enter(p)
            if node.op is not None and (name := self._name(node)):
                self._call(node, name)
        if self.name(root) is None:
            self._call(root, "L" if "L" not in self.things else "loss")
        self._sizes: dict[tuple[int, int], str] = {}
        self._choose_sizes()

    # --- names --------------------------------------------------------------------------------------------------------

    def name(self, x: Any) -> str | None:
        """The name of a node or constant array, if it has one."""
        return self._names.get(id(x))

    def _name(self, x: Any) -> str | None:
        for name, thing in self._given.items():
            if thing is x:
                return name
        if is_node(x):
            return x.name  # type: ignore[no-any-return]  # is_node says that it is one
        same = (k for k, v in self._given.items() if not is_node(v) and np.array_equal(v, x))
        return next(same, None)

    def _call(self, x: Any, name: str) -> None:
        if self._names.get(id(x)) == name:
            return
        if name in self.things:
            one, other = describe(self.things[name]), describe(x)
            raise DeriveError(f"derive: {one} and {other} are both called {name}; give each node a name of its own.")
        if not name.isidentifier() or keyword.iskeyword(name):
            raise DeriveError(f"derive: {name!r} cannot stand in a formula; expected letters and digits, such as w1.")
        self._names[id(x)] = name
        self.things[name] = x

    def _enter(self, x: Any) -> None:
        """Name a leaf or constant array: its own name, or the next free letter c1, c2, … for what takes no gradient."""
        if id(x) in self._names:
            return
        name = self._name(x)
        if name is None and is_node(x):
            if x.requires_grad:
                raise DeriveError(
                    f'derive: {describe(x)} has no name; give it one with .named("w") or name="w", or give names=.'
                )
            if not x.shape:
                return  # a constant number stands for itself
        if name is None:
            taken = self.things.keys() | self._given.keys()
            name = next(c for c in (f"c{i}" for i in range(1, 10**6)) if c not in taken)
        self._call(x, name)

    # --- sizes --------------------------------------------------------------------------------------------------------

    def _choose_sizes(self) -> None:
        """m for the batch, an axis that no parameter has; n, k, h, … for the others, in the order of the graph."""
        parameters: list[Any] = []
        data: list[Any] = []
        for x in self.things.values():
            if not is_node(x) or x.op is None:
                (parameters if is_node(x) and x.requires_grad else data).append(x)
        fixed = {self.axes.of(x, i) for x in parameters for i, n in enumerate(x.shape) if n != 1}
        free = [c for c in "mnkhpqrs" if c not in self.things]
        for x in [*data, *self.things.values()]:
            for i, size in enumerate(shape_of(x)):
                place = self.axes.of(x, i)
                if size == 1 or place in self._sizes:
                    continue
                batch = "m" in free and place not in fixed
                letter = "m" if batch else next((c for c in free if c != "m"), None)
                if letter is not None:
                    free.remove(letter)
                    self._sizes[place] = letter

    def size(self, x: Any, axis: int) -> str | None:
        """The letter of an axis; none for a single element."""
        return self._sizes.get(self.axes.of(x, axis)) if shape_of(x)[axis] != 1 else None

    def where(self, letter: str) -> tuple[str, int]:
        """A named array and its axis whose size a letter is."""
        for name, x in self.things.items():
            for axis in range(len(shape_of(x))):
                if self.size(x, axis) == letter:
                    return name, axis
        raise KeyError(letter)

    def number(self, x: Any) -> float | None:
        """The number that a constant without a name stands for."""
        if is_number(x):
            return float(x)
        data = x.data if is_node(x) else x
        if self.name(x) is None and math.prod(shape_of(data)) == 1 and not shape_of(data):
            return float(data)
        return None
