"""Which nodes of a large graph are drawn as one.

Nodes are alike if the same ops made them of alike arguments. A parameter is like itself only; numbers and data are
alike if their shapes are: so the samples of a batch that run through the same weights are one, and what stands in the
picture once was computed so many times. A running sum of alike terms is one node.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

from ..graph import Node
from ..ops.namespaces import shape_of
from .scopes import Recorded, Scope, Scopes

CHAINS = frozenset({"add", "multiply", "maximum", "minimum"})


@dataclass(frozen=True)
class Folding:
    """How to fold.

    Attributes:
        alike: whether nodes that are alike are one.
        names: whether alike nodes have the same names; otherwise names that differ in their digits only are alike.
        parameters: whether each parameter is like itself only; otherwise they are told apart as data are.
        hops: if given, only so many steps back must be alike: a loop that was unrolled is rolled up.
        depth: calls of modules that lie deeper are a box each; `None`: no call is.
    """

    alike: bool = False
    names: bool = True
    parameters: bool = True
    hops: int | None = None
    depth: int | None = None

    def said(self) -> str:
        """What it does to a picture, in words."""
        parts = []
        if self.alike:
            parts.append("what repeats is drawn once (× how often)")
        if not self.parameters:
            parts.append("parameters of one shape too")
        if self.hops is not None:
            parts.append("loops are rolled up")
        if self.depth is not None:
            parts.append(f"modules are folded at depth {self.depth}")
        return ", ".join(parts)


def attempts(given: Folding, depth: int) -> list[Folding]:
    """The ways to fold, the gentlest first.

    Args:
        given: what the user asked for, which stays.
        depth: how deep the graph's calls lie.
    """
    alike = replace(given, alike=True)
    found = [alike, replace(alike, names=False)]
    depths = range(depth - 1, -1, -1) if given.depth is None else ()
    found += [replace(alike, names=False, depth=d) for d in depths]
    rolled = replace(alike, names=False, hops=3)
    found += [rolled, *(replace(rolled, depth=d) for d in list(depths)[-1:])]
    found += [replace(alike, names=False, parameters=False), replace(rolled, parameters=False)]
    return found


Keys = list[Hashable]


def keys(graph: Recorded, scopes: Scopes, folding: Folding) -> tuple[Keys, dict[Scope, Hashable]]:
    """What is drawn as one: nodes of equal keys, and the clusters of scopes of equal keys.

    The key of a node in a folded call is a pair, of which the second is the key of the call's scope.
    """
    found: Keys = list(_alike(graph, scopes, folding) if folding.alike else range(len(graph.order)))
    of, depth = scopes.of, folding.depth
    # A call is like another of that module if its last node is.
    last: dict[Scope, Hashable] = {}
    for scope, key in zip(of, found, strict=True):
        at: Scope | None = scope
        while at is not None and at.parent is not None:
            last[at] = (at.key, key) if folding.alike else at
            at = at.parent
    last[scopes.outermost] = scopes.outermost
    if depth is not None:
        for i, scope in enumerate(of):
            if scope.depth > depth:
                found[i] = ("folded", last[scope.at(depth + 1)])
        for leaf, users in users_of_leaves(graph, scopes).items():
            calls = {last[scope.at(depth + 1)] if scope.depth > depth else None for scope in users}
            if len(calls) == 1 and None not in calls:  # what all those calls share, and nobody else has
                found[leaf] = ("folded", *calls)
    return found, last


def users_of_leaves(graph: Recorded, scopes: Scopes) -> dict[int, set[Scope]]:
    """For each leaf the scopes that it belongs to by each of its uses."""
    users: dict[int, set[Scope]] = {}
    for i, args in enumerate(graph.args):
        for arg in args:
            if arg >= 0 and graph.order[arg].op is None:
                users.setdefault(arg, set()).add(scopes.of[i].beyond(graph.order[arg]))
    return users


def _alike(graph: Recorded, scopes: Scopes, folding: Folding) -> list[int]:
    """A number for each node; alike nodes have the same."""
    known: dict[Hashable, int] = {}

    def number(key: Hashable) -> int:
        return known.setdefault(key, len(known))

    places = {scope: number(("scope", scope.key)) for scope in set(scopes.of)}
    own, constants = _owns(graph, folding)
    own = [(key, places[scope]) for key, scope in zip(own, scopes.of, strict=True)]
    if folding.hops is not None:
        colour = [number(key) for key in zip(own, constants, strict=True)]
        for _ in range(folding.hops):
            colour = [
                number((c, *[colour[a] for a in args])) if args else c
                for c, args in zip(colour, graph.args, strict=True)
            ]
        return colour
    colour = []
    item: list[Hashable] = []  # of a sum: what it adds
    for i, (node, args) in enumerate(zip(graph.order, graph.args, strict=True)):
        adds: Hashable = None
        found = [colour[a] if a >= 0 else None for a in args]
        if node.op is not None and node.op.name in CHAINS:
            adds = (found[1], constants[i][1:] or (None,), own[i])
        if adds is not None and args[0] >= 0 and item[args[0]] == adds:  # the running sum goes on
            colour.append(colour[args[0]])
        else:
            colour.append(number((own[i], constants[i], *found)))
        item.append(adds)
    return colour


def _owns(graph: Recorded, folding: Folding) -> tuple[list[Hashable], list[tuple[Hashable, ...]]]:
    """What is compared of each node itself, and of the constants among its arguments."""
    kept = (folding.names, folding.parameters)
    if kept not in graph.compared:
        own = [_own(node, folding) for node in graph.order]
        constants = [
            tuple([_constant(p, node) if arg < 0 else None for p, arg in zip(parents, args, strict=True)])
            if -1 in args
            else ()
            for node, parents, args in zip(graph.order, graph.parents, graph.args, strict=True)
        ]
        graph.compared[kept] = (own, constants)
    found: tuple[list[Hashable], list[tuple[Hashable, ...]]] = graph.compared[kept]
    return found


def _own(node: Node, folding: Folding) -> Hashable:
    """What is compared of a node itself."""
    name = node.name
    if name and not folding.names:
        name = re.sub(r"\d+", "#", name)
    if node.op is None:
        if node.requires_grad and folding.parameters:
            return node
        return (node.requires_grad, name, shape_of(node.data))
    params = tuple((k, _parameter(v)) for k, v in node.params.items()) if node.params else ()
    return (node.op, name, params)


def _constant(x: Any, node: Node) -> Hashable:
    """An exponent is part of the op; other numbers are data."""
    shape = shape_of(x)
    return ("exponent", float(x)) if node.op is not None and node.op.name == "pow" and not shape else ("number", shape)


def _parameter(x: Any) -> Hashable:
    """A parameter of an op; which element an index takes is data."""
    if isinstance(x, (tuple, list)):
        return tuple(map(_parameter, x))
    if isinstance(x, bool) or not isinstance(x, int):
        return (str(x), shape_of(x)) if not shape_of(x) else ("array", shape_of(x))
    return "int"
