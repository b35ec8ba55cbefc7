"""What everything is called: the names of nodes and constants, and the letters of sizes."""

from __future__ import annotations

import itertools
import keyword
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..graph import Node, is_node
from ..ops import describe
from ..ops.activations import cross_entropy, one_minus
from ..ops.arithmetic import add, subtract
from ..ops.namespaces import is_number, shape_of
from ..ops.products import matmul
from .sizes import Axes

COMPLEMENTS = {one_minus: (0, 1), cross_entropy: (1, 2)}
"""Ops that are given 1 − a as a constant of its own, computed without cancellation: which arguments a and 1 − a are."""


# How a constant may come from data: what is computed from data alone is not recorded.
FOLLOWS: tuple[Callable[[Any], Any], ...] = (
    lambda y: y,
    lambda y: 1 - y,
    lambda y: -y,
    lambda y: y.T,
    lambda y: 2 * y,
    lambda y: 2 * y - 1,
    lambda y: y * y,
)


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
        parameters: the ids of the nodes that are derived by.
        follows: by id, for constants without a name, the named one that they were computed from, and how.

    Raises:
        DeriveError: a parameter has no name, two things have one, or a name cannot be written in a formula.
    """

    def __init__(self, order: Sequence[Node], names: Mapping[str, Any]) -> None:
        self.order = order
        self.axes = Axes(order)
        self.things: dict[str, Any] = {}
        self.follows: dict[int, tuple[Any, Callable[[Any], Any]]] = {}
        self._names: dict[int, str] = {}
        self._given = {k: v for k, v in names.items() if is_node(v) or (hasattr(v, "shape") and shape_of(v))}
        root = order[-1]
        invented = (
            self._invented(root) if not any(self._name(n) for n in order if n.op is not None and n is not root) else {}
        )
        for node in order:
            for p in shown_parents(node) if node.op is not None else ():
                if p.op is None if is_node(p) else shape_of(p):
                    self._enter(p)
            if node.op is not None and (name := self._name(node) or invented.get(id(node))):
                self._call(node, name)
        if self.name(root) is None:
            self._call(root, "L" if "L" not in self.things else "loss")
        self.parameters: set[int] = set()
        self._sizes: dict[tuple[int, int], str] = {}

    # --- names --------------------------------------------------------------------------------------------------------

    def name(self, x: Any) -> str | None:
        """The name of a node or constant array, if it has one."""
        return self._names.get(id(x))

    def wanted(self, wrt: Any) -> list[Node]:
        """The nodes to derive by: those given, by themselves or by name, or else every named parameter.

        Raises:
            TypeError: one is neither a node nor a name.
            DeriveError: the loss does not depend on it, or there is no parameter.
        """
        if wrt is None:
            found = [x for x in self.things.values() if is_node(x) and x.op is None and x.requires_grad]
            if not found:
                raise DeriveError('derive: the graph has no named parameter; name one, as in Tensor(…, name="w").')
            return found
        chosen = []
        there = {n: x for n, x in self.things.items() if is_node(x) and x.requires_grad and x is not self.order[-1]}
        for item in wrt if isinstance(wrt, list | tuple) else [wrt]:
            node = there.get(item) if isinstance(item, str) else item
            if not isinstance(item, str) and not is_node(item):
                raise TypeError(f"derive: wrt has {describe(item)}; expected nodes of the graph or their names.")
            if node is None or not any(node is x for x in there.values()):
                called = item if isinstance(item, str) else describe(item)
                raise DeriveError(
                    f"derive: no gradient path leads from the loss to {called}; there is one to {', '.join(there)}."
                )
            chosen.append(node)
        return chosen

    def _name(self, x: Any) -> str | None:
        for name, thing in self._given.items():
            if thing is x:
                return name
        if is_node(x):
            return x.name  # type: ignore[no-any-return]  # is_node says that it is one
        same = (k for k, v in self._given.items() if not is_node(v) and np.array_equal(v, x))
        return next(same, None)

    def _invented(self, root: Node) -> dict[int, str]:
        """The chapters' letters for a network whose steps have no names: Z1 = w1 x + b1, a1 = f(Z1), and so on."""
        users: dict[int, list[Node]] = {}
        for node in self.order:
            for p in node.parents if node.op is not None else ():
                users.setdefault(id(p), []).append(node)
        found: dict[int, str] = {}
        products = [n for n in self.order if n.op is matmul and n.requires_grad]
        for i, node in enumerate(products if len(products) > 1 else [], start=1):
            z = node
            while len(users.get(id(z), [])) == 1 and users[id(z)][0].op in (add, subtract):
                (z,) = users[id(z)]
            found[id(z)] = f"Z{i}"
            after = users.get(id(z), [])
            unary = len(after) == 1 and after[0].op is not None and after[0].op.elementwise and after[0].op.arity == 1
            if unary and after[0] is not root and after[0].shape == z.shape and users.get(id(after[0])):
                found[id(after[0])] = f"a{i}"
        found.pop(id(root), None)
        return found

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
        if name is None and is_node(x) and x.requires_grad:
            raise DeriveError(
                f'derive: {describe(x)} has no name; give it one with .named("w") or name="w", or give names=.'
            )
        if name is None and (self._follows(x) or self.number(x) is not None):
            return
        if name is None:
            taken = self.things.keys() | self._given.keys()
            name = next(c for c in self._letters_for(x) if c not in taken)
        self._call(x, name)

    def _letters_for(self, x: Any) -> Iterator[str]:
        """Letters for data without a name: x for what weights multiply, y for the rest; then c1, c2, …"""
        multiplied = any(n.op is matmul and any(p is x for p in n.parents) for n in self.order)
        yield "x" if multiplied else "y"
        yield from (f"c{i}" for i in itertools.count(1))

    def _follows(self, x: Any) -> bool:
        """Note that a constant without a name was computed from one that has one, as 1 − y from y."""
        data = np.asarray(x.data if is_node(x) else x)
        named = {k: v for k, v in {**self._given, **self.things}.items() if not (is_node(v) and v.op is not None)}
        for name, thing in named.items():
            known = np.asarray(thing.data if is_node(thing) else thing)
            if known.dtype.kind != "f" or thing is x:
                continue
            for formula in FOLLOWS if known.ndim else FOLLOWS[1:3]:  # a single number may be many things
                found = formula(known)
                if found.shape == data.shape and np.array_equal(found, data):
                    if name not in self.things:
                        self._call(thing, name)
                    self.follows[id(x)] = (thing, formula)
                    return True
        return False

    # --- sizes --------------------------------------------------------------------------------------------------------

    def choose_sizes(self, parameters: Sequence[Node]) -> None:
        """m for the batch: of the axes that no parameter has, the one that most arrays have. n, k, h, … for the others.

        Args:
            parameters: what is derived by.
        """
        known = self.parameters = {id(p) for p in parameters}
        data = [x for x in self.things.values() if not (is_node(x) and x.op is not None) and id(x) not in known]
        fixed = {self.axes.of(x, i) for x in parameters for i, n in enumerate(x.shape) if n != 1}
        places = [
            self.axes.of(x, i) for x in [*data, *self.things.values()] for i, n in enumerate(shape_of(x)) if n != 1
        ]
        once = (self.axes.of(x, i) for x in self.things.values() for i, n in enumerate(shape_of(x)) if n != 1)
        count = Counter(place for place in once if place not in fixed)
        letters = (c for c in "nkhpqrs" if c not in self.things)
        if count and "m" not in self.things:
            self._sizes[count.most_common(1)[0][0]] = "m"
        for place in dict.fromkeys(places):
            if place not in self._sizes and (letter := next(letters, None)) is not None:
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
        """The number that a constant without a name stands for: its own, or 1 where it is the cotangent of a sum."""
        if is_number(x):
            return float(x)
        if self.name(x) is not None or id(x) in self.follows or (is_node(x) and (x.op is not None or x.requires_grad)):
            return None
        data = np.asarray(x.data if is_node(x) else x)
        if not data.size or data.dtype.kind != "f":
            return None
        spread = all(step == 0 or n == 1 for step, n in zip(data.strides, data.shape, strict=True))
        return float(data.flat[0]) if spread or bool((abs(data) == 1).all() and (data == data.flat[0]).all()) else None
