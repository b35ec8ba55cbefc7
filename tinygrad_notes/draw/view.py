"""What a picture shows: boxes, edges between them, and the clusters that the boxes stand in."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..graph import Node
from .folding import Folding, attempts, keys, users_of_leaves
from .scopes import Recorded, Scope, Scopes, common

FOLDED = 150
"""Above so many boxes a picture folds by itself."""
REFUSED = 1500
"""Above so many boxes it is not drawn unless forced."""


@dataclass(eq=False)
class Box:
    """One node of the picture: nodes of the graph, or constants, that are drawn as one.

    Attributes:
        id: its name in the DOT source.
        members: the nodes; of constants, the numbers and arrays.
        scope: the scope that it stands in, and for a folded call the call itself.
        folded: whether it is a folded call.
        constant: whether it is a constant.
        chain: whether its members are one sum (or product, …), each adding to the one before.
    """

    id: str
    members: list[Any]
    scope: Scope
    folded: bool = False
    constant: bool = False
    chain: bool = False

    @property
    def first(self) -> Any:
        """The first of its members, which stands for all."""
        return self.members[0]


@dataclass(eq=False)
class Edge:
    """An arrow from an argument to what was computed from it.

    Attributes:
        node, position: the first consumer that it stands for, and which of its arguments it is.
        count: for how many arguments it stands.
        back: whether it leads from a later step of a rolled-up loop to an earlier box.
    """

    tail: Box
    head: Box
    node: Node
    position: int
    count: int = 1
    back: bool = False


@dataclass(eq=False)
class View:
    """The boxes and edges of a picture.

    Attributes:
        boxes: in the order of their first members.
        edges: each after its ends.
        clusters: for each scope the one that is drawn for it and those like it, with how many these are.
        total: how many nodes the graph has, constants included.
        folding: how it was folded; `None` if it was not.
    """

    folding: Folding
    boxes: list[Box] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    clusters: dict[Scope, tuple[Scope, int]] = field(default_factory=dict)
    total: int = 0

    def box_of(self) -> dict[Node, Box]:
        """The box of every node."""
        return {member: box for box in self.boxes if not box.constant for member in box.members}

    def reading_order(self) -> list[Box]:
        """The boxes, each after what it was computed from, first arguments first."""
        tails: dict[Box, list[Box]] = {}
        ends = dict.fromkeys(self.boxes)
        for edge in self.edges:
            tails.setdefault(edge.head, []).append(edge.tail)
            ends.pop(edge.tail, None)
        order: list[Box] = []
        seen: set[Box] = set()
        stack: list[Box | None] = [*reversed(self.boxes), *reversed(ends)]
        while stack:
            box = stack.pop()
            if box is None:  # the marker above a box whose arguments are all in the order
                order.append(stack.pop())  # type: ignore[arg-type]  # below a marker lies its box
            elif box not in seen:
                seen.add(box)
                stack += (box, None)
                stack += [tail for tail in reversed(tails.get(box, ())) if tail not in seen]
        return order


def look(roots: Sequence[Node], *, fold: bool | None, depth: int | None, force: bool, sides: int = 1) -> View:
    """The view of the graph of the roots.

    Args:
        fold: True, False, or None: as much as needed.
        depth: calls of modules that lie deeper are a box each.
        force: whether to draw more than `REFUSED` boxes.
        sides: how many boxes the picture has for one of the view.

    Raises:
        ValueError: the picture would have more boxes, and is not forced.
    """
    graph = Recorded(roots)
    scopes = Scopes(graph)
    asked = Folding(alike=bool(fold), names=not fold, depth=depth)
    folding, size = asked, _size(graph, scopes, asked) * sides
    if fold is None and size > FOLDED:
        for attempt in attempts(asked, scopes.depth):
            found = _size(graph, scopes, attempt) * sides
            if found < size:
                folding, size = attempt, found
            if size <= FOLDED:
                break
    if size > REFUSED and not force:
        how = "folded as far as it can be" if fold is None else "as asked for"
        raise ValueError(
            f"draw: the picture would have {size:,} boxes, {how}, for a graph of {len(graph.order):,} nodes; more than "
            f"{REFUSED:,} are too many to read. Draw an earlier node, "
            + ("let it fold (fold=None), " if fold is False else "")
            + "fold modules with depth=1, or insist with force=True."
        )
    return _view(graph, scopes, folding)


def _size(graph: Recorded, scopes: Scopes, folding: Folding) -> int:
    """How many boxes the view has."""
    key, _ = keys(graph, scopes, folding)
    boxes: set[Hashable] = set(key)
    for me, args in zip(key, graph.args, strict=True):
        if -1 in args and type(me) is not tuple:  # a folded call holds its constants
            boxes.update((me, i) for i, arg in enumerate(args) if arg < 0)
    return len(boxes)


def _view(graph: Recorded, scopes: Scopes, folding: Folding) -> View:
    key, place = keys(graph, scopes, folding)
    view = View(folding)
    canonical: dict[Hashable, Scope] = {}
    counts: dict[Hashable, int] = {}
    for scope, k in place.items():
        canonical.setdefault(k, scope)
        counts[k] = counts.get(k, 0) + 1
    view.clusters = {scope: (canonical[k], counts[k]) for scope, k in place.items()}
    drawn: dict[Scope, Scope] = {scope: at for scope, (at, _) in view.clusters.items()}
    drawn[scopes.outermost] = scopes.outermost

    boxes: dict[Hashable, Box] = {}
    arrows: dict[Hashable, Edge] = {}
    constants = 0
    for n, (node, me) in enumerate(zip(graph.order, key, strict=True)):
        view.total += 1
        box = boxes.get(me)
        if box is None:
            folded = type(me) is tuple
            scope = canonical[me[1]] if type(me) is tuple else drawn[scopes.of[n]]
            box = boxes[me] = Box(f"n{len(view.boxes) - constants}", [], scope, folded=folded)
            view.boxes.append(box)
        box.members.append(node)
        for i, (p, arg) in enumerate(zip(graph.parents[n], graph.args[n], strict=True)):
            if arg >= 0:
                tail = boxes[key[arg]]
                if tail is box and (box.folded or folding.hops is None):  # within a call, or along a running sum
                    box.chain = not box.folded
                    continue
            else:
                view.total += 1
                if box.folded:
                    continue
                k = (me, i) if folding.alike else (me, i, constants)
                at = boxes.get(k)
                if at is None:
                    at = boxes[k] = Box(f"c{constants}", [], box.scope, constant=True)
                    constants += 1
                    view.boxes.insert(len(view.boxes) - 1, at) if view.boxes[-1] is box else view.boxes.append(at)
                at.members.append(p)
                tail = at
            link = (tail.id, box.id, i) if not (tail.folded or box.folded) else (tail.id, box.id)
            edge = arrows.get(link)
            if edge is None:
                edge = arrows[link] = Edge(tail, box, node, i, 0)
                view.edges.append(edge)
            edge.count += 1
    if folding.alike:
        _settle_leaves(view, graph, scopes, drawn)
    if folding.alike or folding.depth is not None:
        _mark_loops(view)
    return view


def _settle_leaves(view: View, graph: Recorded, scopes: Scopes, drawn: dict[Scope, Scope]) -> None:
    """Put a leaf that all calls of one cluster share into that cluster."""
    asked: dict[Box, Scope] = {}
    box_of = view.box_of()
    for leaf, users in users_of_leaves(graph, scopes).items():
        box = box_of[graph.order[leaf]]
        for scope in users:
            at = drawn[scope if view.folding.depth is None else scope.at(view.folding.depth)]
            asked[box] = common(asked.get(box, at), at)
    for box, scope in asked.items():
        if not box.folded:
            box.scope = scope


def _mark_loops(view: View) -> None:
    """Find the edges that lead back: those of a cycle whose head stands before their tail."""
    rank = {box: i for i, box in enumerate(view.boxes)}
    later = [e for e in view.edges if rank[e.tail] >= rank[e.head] and not e.tail.constant]
    if not later:
        return
    part = _cycles(view)
    for edge in later:
        edge.back = part[edge.tail] == part[edge.head]


def _cycles(view: View) -> dict[Box, int]:
    """Which boxes reach each other: a number for each such set (Kosaraju's two walks)."""
    heads: dict[Box, list[Box]] = {box: [] for box in view.boxes}
    tails: dict[Box, list[Box]] = {box: [] for box in view.boxes}
    for edge in view.edges:
        heads[edge.tail].append(edge.head)
        tails[edge.head].append(edge.tail)
    done: list[Box] = []
    seen: set[Box] = set()
    for start in view.boxes:
        stack: list[Box | None] = [start]
        while stack:
            box = stack.pop()
            if box is None:  # the marker above a box whose heads are all done
                done.append(stack.pop())  # type: ignore[arg-type]  # below a marker lies its box
            elif box not in seen:
                seen.add(box)
                stack += (box, None)
                stack += [head for head in heads[box] if head not in seen]
    part: dict[Box, int] = {}
    for number, start in enumerate(reversed(done)):
        waiting = [start]
        while waiting:
            box = waiting.pop()
            if box not in part:
                part[box] = number
                waiting += tails[box]
    return part
