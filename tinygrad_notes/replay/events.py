"""The event log of a recorded graph: what each node does in the forward pass, then in the backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..derive.letters import shown_parents
from ..graph import Node, is_node, recording
from ..ops import namespace_of


@dataclass(frozen=True, eq=False)
class Handed:
    """What a node hands on to one of its arguments in the backward pass.

    Attributes:
        parent: the argument.
        position: which one it is.
        slope: the local derivative ∂node/∂parent of an elementwise op, in numbers; `None` for a linear map such as a
            product of matrices, whose derivative is the map itself.
        contribution: what is handed on, in the parent's shape.
        total: the parent's sum of contributions after it.
        late: whether the parent had its turn before.
    """

    parent: Node
    position: int
    slope: Any
    contribution: Any
    total: Any
    late: bool

    @property
    def is_lost(self) -> bool:
        """Whether it goes no further: the parent has handed on its gradient already."""
        return self.late and self.parent.op is not None


@dataclass(frozen=True, eq=False)
class Event:
    """One step of a pass: a node computes its value, or hands its gradient on.

    Attributes:
        kind: "forward" or "backward".
        node: the active node.
        gradient: the sum of the contributions that have reached it; `None` in the forward pass.
        handed: what it hands on, an entry for each of its arguments that takes a gradient.
    """

    kind: str
    node: Node
    gradient: Any = None
    handed: tuple[Handed, ...] = ()


def forward_order(root: Node) -> list[Node]:
    """Every node after its arguments, as one would write the program: a leaf stands before what first uses it.

    What an op is given only for its digits, 1 − a beside a, is left out.
    """
    order: dict[Node, None] = {}
    seen: set[Node] = set()
    stack: list[Node | None] = [root]
    while stack:
        node = stack.pop()
        if node is None:  # the marker above an op whose arguments are all computed
            node = stack.pop()
            assert node is not None
            order.update(dict.fromkeys(p for p in shown_parents(node) if is_node(p)))
            order[node] = None
        elif node not in seen and node.op is not None:
            seen.add(node)
            stack += (node, None)
            stack += [p for p in reversed(shown_parents(node)) if is_node(p) and p not in seen]
    return list(order)


def depth_first(root: Node) -> list[Node]:
    """The nodes that take a gradient in the order in which a naive recursion first reaches them: no topological order.

    It is the order of `def go(node): hand_on(node); [go(p) for p in node.parents if p is new]`.
    """
    order: list[Node] = []
    seen: set[Node] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        order.append(node)
        if node.op is not None:
            stack += [p for p in reversed(node.parents) if is_node(p) and p.requires_grad and p not in seen]
    return order


def backward_pass(root: Node, order: Sequence[Node]) -> list[Event]:
    """Every node hands its gradient on once, in the given order.

    The gradients are right if the order is topological: each node after all that were computed from it. In any other
    order some node hands on a sum that is not complete.
    """
    sums: dict[Node, Any] = {root: root.seed()}
    done: set[Node] = set()
    events = []
    with namespace_of([root.data], "replay").quiet(), recording(False):
        for node in order:
            if node not in sums:  # its consumers pass nothing on to it
                continue
            g = sums[node]
            done.add(node)
            handed = []
            if node.op is not None:
                wanted = [is_node(p) and p.requires_grad for p in node.parents]
                slopes = _slopes(node, wanted)
                for i, (p, c) in enumerate(zip(node.parents, node.pull(g, wanted), strict=True)):
                    if c is not None:
                        sums[p] = sums[p] + c if p in sums else c
                        handed.append(Handed(p, i, slopes[i], c, sums[p], p in done))
            events.append(Event("backward", node, g, tuple(handed)))
    return events


def _slopes(node: Node, wanted: Sequence[bool]) -> Sequence[Any]:
    """The local derivatives of an elementwise op."""
    edges = getattr(node, "edges", None)
    if edges is not None:  # a Value keeps them
        return [slope for _, slope in edges]
    assert node.op is not None
    if not node.op.elementwise:
        return [None] * len(wanted)
    args = [p.data if is_node(p) else p for p in node.parents]
    return node.op.slopes(namespace_of([node.data], node.op.name), node.data, args, wanted, node.params)


def sums_of(root: Node, events: Sequence[Event]) -> dict[Node, Any]:
    """What has reached each node at the end of a backward pass."""
    sums = {root: events[0].gradient}
    for event in events:
        for edge in event.handed:
            sums[edge.parent] = edge.total
    return sums
