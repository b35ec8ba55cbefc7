"""Finding the wrong rule in a graph, and reading recorded gradients in the oracle's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..graph import Node, is_node, topological_order
from ..tensor import Tensor
from .fields import Field
from .judging import WRONG, judge_exactly
from .oracle import NotExactError, Oracle, UnclearError, numbers, read
from .scalars import Scalar, Tape
from .tracing import Traced


def frozen(oracle: Oracle, tape: Tape) -> dict[Node, Any]:
    """What the oracle read, as constants of another tape."""

    def constant(s: Any) -> Any:
        return Scalar(tape, s.value) if type(s) is Scalar else s

    over = np.frompyfunc(constant, 1, 1)
    return {node: numbers(over(values)) for node, values in oracle.values.items()}


def readings(nodes: Sequence[Node], tape: Tape, given: dict[Node, Any]) -> list[Any]:
    """Nodes read on a tape, as arrays of scalars."""
    values = read(list(nodes), tape, given)
    given.update(values)
    return [values[n] for n in nodes]


def as_node(g: Any, shape: tuple[int, ...]) -> Node:
    """A cotangent as a node; zeros for none."""
    if g is not None and is_node(g):
        found: Node = g
        return found
    return Tensor(np.zeros(shape) if g is None else g, requires_grad=False)


def first_wrong_rule(root: Node, oracle: Oracle) -> Node | None:
    """The first node on the way back whose own rule is wrong: given the true cotangent, its contribution is not."""
    tape = Tape(oracle.tape.field)
    known = frozen(oracle, tape)
    for node in reversed(topological_order(root)):
        if node.op is None or not node.requires_grad:
            continue
        for side in range(min(len(oracle.sides), 4)):
            if rule_is_wrong(node, oracle.gradients(node)[side], known, oracle.tape.field):
                return node
    return None


def rule_is_wrong(node: Node, g: Any, known: dict[Node, Any], field_: Field) -> bool:
    """Whether the contribution of one node to its arguments is wrong, given the true cotangent g."""
    assert node.op is not None
    tape = Tape(field_)

    def again(values: Any) -> Any:
        return numbers(np.frompyfunc(lambda s: Scalar(tape, s.value) if type(s) is Scalar else s, 1, 1)(values))

    floating = [is_node(p) and p.requires_grad for p in node.parents]
    args = [
        Traced(p.data) if use else Tensor(p.data, requires_grad=False) if is_node(p) else p
        for p, use in zip(node.parents, floating, strict=True)
    ]
    fresh = {a: again(known[p]) for a, p in zip(args, node.parents, strict=True) if is_node(p)}
    y = Traced(node.data)
    g_leaf = Traced(np.asarray(np.frompyfunc(field_.to_float, 1, 1)(g), dtype=float))
    fresh[y] = again(known[node])
    fresh[g_leaf] = numbers(np.frompyfunc(lambda v: Scalar(tape, v), 1, 1)(g))
    with np.errstate(all="ignore"):
        contributions = node.op.vjp(ops.nodes, g_leaf, y, args, floating, node.params)
        made = node.op(*args, **node.params) if node.op.arity >= 0 else node.op(args, **node.params)
    try:
        local = Oracle.__new__(Oracle)
        local.tape = Tape(field_)
        variables = {
            a: numbers(np.frompyfunc(lambda s: local.tape.variable(s.value) if type(s) is Scalar else s, 1, 1)(v))
            for a, v in fresh.items()
            if a is not y and a is not g_leaf
        }
        local.values = read([made], local.tape, variables)
        local.seeds = [(s, v) for s, v in zip(local.values[made].flat, numbers(g).flat, strict=True)]
        local.sides = [local.tape.gradient(local.seeds, ways) for ways in local.tape.ways()]
        if local.tape.jumps:
            return False
        for arg, use, c in zip(args, floating, contributions, strict=True):
            if not use:
                continue
            (value,) = readings([as_node(c, arg.shape)], tape, fresh)
            if judge_exactly("", local, local.gradients(arg), value).status == WRONG:
                return True
    except (NotExactError, UnclearError):
        return False
    return False
