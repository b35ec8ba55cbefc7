"""Which call of a module each node was made in.

A call marks only the nodes that it returned, and knows those that it was given. Whatever a node of a call was computed
from lies in that call too, as far as what it was given; what several calls use lies outside of them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graph import Node, is_node, topological_order
from ..origin import Call, origin_of


class Scope:
    """A call of a module, as a place in the picture; the outermost scope is no call.

    Attributes:
        parent: the scope around it; `None` for the outermost.
        depth: how many calls deep it lies.
        name: the module's name in the module around it, and its class: `layers.0: Linear`.
        key: the same for every call of one module at one place.
        inputs: the nodes that the call was given.
    """

    __slots__ = ("depth", "inputs", "key", "name", "parent")

    def __init__(self, parent: Scope | None, name: str, key: tuple[Any, ...], inputs: frozenset[Node]) -> None:
        self.parent, self.name, self.key, self.inputs = parent, name, key, inputs
        self.depth: int = 0 if parent is None else parent.depth + 1

    def at(self, depth: int) -> Scope:
        """The scope around this one that lies so deep; itself if it lies less deep."""
        scope = self
        while scope.depth > depth:
            assert scope.parent is not None
            scope = scope.parent
        return scope

    def beyond(self, node: Node) -> Scope:
        """The innermost scope around this one that was not given the node; itself if it was not."""
        scope = self
        while scope.parent is not None and node in scope.inputs:
            scope = scope.parent
        return scope


class Recorded:
    """A recorded graph, its nodes by number.

    Attributes:
        order: the nodes, each after its parents.
        parents: the arguments of each.
        args: their numbers; −1 for a constant.
        compared: what `folding` compared of each node, by how.
    """

    def __init__(self, roots: Sequence[Node]) -> None:
        self.order = topological_order(*roots)
        self.parents = [node.parents if node.op is not None else () for node in self.order]
        number = {node: i for i, node in enumerate(self.order)}
        self.compared: dict[tuple[bool, bool], Any] = {}
        self.args = [tuple([number[p] if is_node(p) else -1 for p in parents]) for parents in self.parents]


class Scopes:
    """The scopes of a graph.

    Attributes:
        outermost: the scope of what was made in no call.
        of: the scope of every node.
        depth: how deep the deepest call lies.
    """

    def __init__(self, graph: Recorded) -> None:
        self.outermost = Scope(None, "", (), frozenset())
        self._by_call: dict[Call, Scope] = {}
        self._names: dict[int, dict[int, str]] = {}
        found: list[Scope | None] = [None] * len(graph.order)
        for i in reversed(range(len(graph.order))):
            origin = origin_of(graph.order[i])
            if origin is not None and origin.call is not None:
                found[i] = self._scope(origin.call)
            scope = found[i] = found[i] or self.outermost
            for arg, parent in zip(graph.args[i], graph.parents[i], strict=True):
                if arg >= 0:
                    asked, before = scope.beyond(parent), found[arg]
                    found[arg] = asked if before is None or before is asked else common(before, asked)
        self.of: list[Scope] = [scope or self.outermost for scope in found]
        self.depth = max((scope.depth for scope in self._by_call.values()), default=0)

    def _scope(self, call: Call) -> Scope:
        scope = self._by_call.get(call)
        if scope is None:
            parent = self.outermost if call.outer is None else self._scope(call.outer)
            module, name = call.module, call.kind
            if call.outer is not None and (place := self._places(call.outer.module).get(id(module))):
                name = f"{place}: {name}"
            if call.outer is not None and module is not None and call.outer.module is module:
                scope = parent  # a call of the parent class's __call__
            else:
                scope = Scope(parent, name, (*parent.key, id(module)), frozenset(call.inputs))
            self._by_call[call] = scope
        return scope

    def _places(self, module: Any) -> dict[int, str]:
        """The names of the modules within a module."""
        if module is None:
            return {}
        if id(module) not in self._names:
            self._names[id(module)] = {id(part): name for name, part in module.named_modules()}
        return self._names[id(module)]


def common(a: Scope, b: Scope) -> Scope:
    """The innermost scope around both."""
    a, b = a.at(b.depth), b.at(a.depth)
    while a is not b:
        assert a.parent is not None
        assert b.parent is not None
        a, b = a.parent, b.parent
    return a
