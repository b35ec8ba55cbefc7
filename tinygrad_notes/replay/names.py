"""What a player calls nodes and constants: as the derivation does, so that both can stand side by side."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from ..derive import DeriveError
from ..derive.letters import Letters
from ..draw import labels
from ..graph import Node, is_node, topological_order
from ..ops.namespaces import is_number, shape_of

INFIX = frozenset({"+", "-", "*", "/", "@", "**", "<", "<=", ">", ">=", "==", "!="})


class Names:
    """The names of a graph.

    Args:
        order: its nodes in the order of the forward pass; those without a name are numbered v1, v2, … along it.
        given: names for nodes and arrays that carry none.
    """

    def __init__(self, order: Sequence[Node], given: Mapping[str, Any]) -> None:
        root = order[-1]
        self._names: dict[int, str] = {}
        self._numbered: set[int] = set()
        letters: Letters | None = None
        with contextlib.suppress(DeriveError):  # a name is missing, used twice or not fit for a formula: here it may
            letters = Letters(topological_order(root), given)
        named = {id(x): name for name, x in given.items() if is_node(x) or shape_of(x)}
        for node in order:
            for x in (node, *(node.parents if node.op is not None else ())):
                found = letters.name(x) if letters is not None else None
                own = x.name if is_node(x) else None
                if name := found or named.get(id(x)) or " ".join((own or "").split()):
                    self._names[id(x)] = name
        taken = set(self._names.values())
        free = (v for v in (f"v{i}" for i in itertools.count(1)) if v not in taken)
        for node in order:
            if id(node) not in self._names:
                self._names[id(node)] = "L" if node is root and "L" not in taken else next(free)
                self._numbered.add(id(node))
        self.root = self(root)

    def __call__(self, x: Any) -> str:
        """What a node or constant is called; a number by its digits, an array without a name by its shape."""
        if (name := self._names.get(id(x))) is not None:
            return name
        if is_number(x) or not shape_of(x):
            return minus(labels.number(float(x.data if is_node(x) else x)))
        return f"array{tuple(shape_of(x))}"

    def is_numbered(self, x: Any) -> bool:
        """Whether a node has no name of its own."""
        return id(x) in self._numbered

    def gradient(self, x: Any) -> str:
        """`∂L/∂x`."""
        return f"∂{self.root}/∂{self(x)}"

    def call(self, node: Node, shown: Sequence[Any]) -> str:
        """How a node is computed, as a line of Python: `w * x`, `sigmoid(Z)`, `sum(v1, axis=0)`."""
        assert node.op is not None
        args = [self(p) for p in shown]
        if node.op.symbol in INFIX and len(args) == 2:
            return f"{args[0]} {node.op.symbol} {args[1]}"
        name, _, params = labels.call(node.op, node.params, symbol=False).partition("(")
        return f"{name}({', '.join([*args, *([params[:-1]] if params else [])])})"


def minus(text: str) -> str:
    """Digits with a minus sign in place of a hyphen."""
    return text.replace("-", "−")
