"""How far rounding alone can move a computed result: the recorded graph read with error bounds.

A formula is evaluated on `Tensor`s; then every node's bound follows from its op's row. An elementwise op passes on
Σ |∂y/∂x| · bound(x) and adds its own rounding. So a formula that cancels, such as 1 − a near a = 1, is granted the
digits that it loses and no more, and no tolerance is chosen by hand. See N. J. Higham, "Accuracy and Stability of
Numerical Algorithms", 2nd edition, chapters 3 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import ops
from ..graph import Node, is_node, topological_order

UNIT = float(np.finfo(np.float64).eps)
"""The relative error granted to one operation: two units of roundoff, which functions such as exp stay within."""

SMALLEST = float(np.finfo(np.float64).smallest_subnormal)
"""The absolute error of an operation that underflows."""

_MOVES = {
    *("reshape", "permute_dims", "broadcast_to", "expand_dims", "squeeze", "flip", "concat", "stack"),
    *("getitem", "scatter", "astype", "tril", "triu"),
}
_EXACT = {"negative", "abs", "maximum", "minimum", "where", "identity"}


def rounding_bound(root: Node, given: Mapping[Node, Any]) -> Any:
    """An elementwise bound on |computed − exact| for a node.

    Args:
        root: the result, in float64.
        given: bounds of leaves that are not exact themselves; every other leaf and constant is taken as exact.

    Returns:
        A non-negative array in the shape of the root; infinite where a denominator could be 0.

    Raises:
        NotImplementedError: the graph holds an op whose bound is not known; the message names it.
    """
    bounds: dict[Node, Any] = {}
    with np.errstate(all="ignore"):
        for node in topological_order(root):
            if node.op is None:
                bounds[node] = np.broadcast_to(given.get(node, 0.0), node.shape)
                continue
            args = [p.data if is_node(p) else p for p in node.parents]
            errors = [bounds[p] if is_node(p) else 0.0 for p in node.parents]
            bound = _bound(node, args, errors)
            bounds[node] = np.where(np.isnan(bound), np.inf, bound)
    return bounds[root]


def _bound(node: Node, args: list[Any], errors: list[Any]) -> Any:
    op, y = node.op, node.data
    assert op is not None
    # Products and quotients exactly, since where a factor is 0 the first order says nothing; the rest to first order.
    if op.name in ("multiply", "matmul"):
        a, b = np.abs(args[0]), np.abs(args[1])
        ea, eb = (np.broadcast_to(e, np.shape(x)) for e, x in zip(errors, args, strict=True))
        if op.name == "multiply":
            return a * eb + ea * (b + eb) + UNIT * np.abs(y) + SMALLEST
        return a @ eb + ea @ (b + eb) + (a.shape[-1] + 1) * (UNIT * (a @ b) + SMALLEST)
    if op.name == "divide":
        nearest = np.maximum(np.abs(args[1]) - errors[1], 0.0)
        return (errors[0] + np.abs(y) * errors[1]) / nearest + UNIT * np.abs(y) + SMALLEST
    if op.elementwise and op.differentiable:
        inexact = [bool(np.any(e)) for e in errors]
        slopes = op.slopes(ops.namespace_of([y], op.name), y, args, inexact, node.params)
        passed = sum(
            (np.abs(s) * e for s, e in zip(slopes, errors, strict=True) if s is not None), np.zeros(node.shape)
        )
        return passed + (0.0 if op.name in _EXACT else UNIT * np.abs(y) + SMALLEST)
    if op.name in _MOVES:
        moved = [np.broadcast_to(e, np.shape(a)) for e, a in zip(errors, args, strict=True)]
        return op(moved if op.arity < 0 else moved[0], **node.params)
    if op.name in ("sum", "sum_to", "mean"):
        terms = np.size(args[0]) // max(np.size(y), 1)
        return op(errors[0] + terms * UNIT * np.abs(args[0]), **node.params)
    raise NotImplementedError(f"rounding_bound: no bound is known for the op {op.name}.")
