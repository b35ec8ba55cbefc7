"""Backward passes with the mistakes that hand-written engines have, as gradients of a function of nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_notes import Tensor, ops
from tinygrad_notes.graph import Node, cotangents, is_node, topological_order

Function = Callable[..., Any]


def _ones(root: Node) -> Node:
    return Tensor(np.ones(root.shape), requires_grad=False)


def _nodes(xs: Sequence[Any]) -> list[Node]:
    return [x if is_node(x) else Tensor(np.asarray(x, dtype=float)) for x in xs]


def _answers(found: dict[Node, Any], leaves: Sequence[Node]) -> tuple[Any, ...]:
    answers = [found.get(x, np.zeros(x.shape)) for x in leaves]
    return tuple(g if is_node(g) else Tensor(g, requires_grad=False) for g in answers)


def _contributions(node: Node, g: Any) -> list[tuple[Node, Any]]:
    wanted = [is_node(p) and p.requires_grad for p in node.parents]
    assert node.op is not None
    found = node.op.vjp(ops.nodes, g, node, node.parents, wanted, node.params)
    return [(p, c) for p, c in zip(node.parents, found, strict=True) if c is not None]


def automatic(f: Function) -> Function:
    """The right gradient of the sum of f, recorded."""

    def gradient(*xs: Any) -> Any:
        leaves = _nodes(xs)
        root = f(*leaves)
        return _answers(dict(cotangents([(root, _ones(root))], leaves, create_graph=True)), leaves)

    return gradient


def depth_first(f: Function) -> Function:
    """Each node passes its cotangent on when it is first met, before all its users have contributed."""

    def gradient(*xs: Any) -> Any:
        leaves = _nodes(xs)
        root = f(*leaves)
        found: dict[Node, Any] = {root: _ones(root)}
        stack, seen = [root], {root}
        while stack:
            node = stack.pop()
            if node.op is None:
                continue
            for parent, c in _contributions(node, found[node]):
                found[parent] = found[parent] + c if parent in found else c
                if parent not in seen:
                    seen.add(parent)
                    stack.append(parent)
        return _answers(found, leaves)

    return gradient


def second_pass(f: Function) -> Function:
    """What a second backward pass adds, where intermediate nodes keep what the first one left (micrograd 2)."""

    def gradient(*xs: Any) -> Any:
        leaves = _nodes(xs)
        root = f(*leaves)
        found: dict[Node, Any] = {}
        order = [n for n in reversed(topological_order(root)) if n.requires_grad]
        passes = []
        for _ in range(2):
            found[root] = _ones(root)
            for node in order:
                if node.op is not None and node in found:
                    for parent, c in _contributions(node, found[node]):
                        found[parent] = found[parent] + c if parent in found else c
            passes.append(_answers(found, leaves))
        return tuple(b - a for a, b in zip(*passes, strict=True))

    return gradient


def aliased(f: Function) -> Function:
    """For a function that adds f's elements to those of its first argument.

    Both contributions to that argument stand in one piece of memory, and the slope is multiplied into it.
    """

    def gradient(*xs: Any) -> Any:
        arrays = [np.array(x, dtype=float) for x in xs]
        own, *rest = (np.array(g.data) for g in automatic(f)(*arrays))
        direct = np.ones(own.shape)
        through = direct
        through *= own
        return (direct + through, *rest)

    return gradient


def detached_second_use(f: Function) -> Function:
    """For f(x, …) · Σx: the gradient in which the factor x counts for nothing."""

    def gradient(*xs: Any) -> Any:
        first = _nodes(xs)[0].detach()
        return automatic(lambda *ys: f(*ys) * ops.sum(first))(*xs)

    return gradient
