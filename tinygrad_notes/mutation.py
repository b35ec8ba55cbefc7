"""Arrays changed in place after they entered a graph: found when the backward pass runs, by computing again.

NumPy keeps no count of changes, and whatever is noted in the forward pass (a copy, a checksum, a lock) costs more than
an op on a small array may. So the forward pass notes nothing. A backward pass that checks its graph applies each op
again to the data of its arguments: if that is not what the node holds, an argument or the node has been changed since.

Checking costs about as much as the forward pass. A pass is checked the first `FIRST` times that a line of the program
runs it on a graph of that many nodes, then one time in `THEN`: a mistake that is made in each step of a loop is found
in the first. Within `detect_anomaly` every pass is checked.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import ops
from .ops import NODE_KINDS, namespace_of
from .ops.errors import OpError
from .ops.namespaces import dtype_name, is_traced, numpy_reading
from .origin import PACKAGE, origin_of

FIRST, THEN = 16, 32

_passes: dict[tuple[str, int, int], int] = {}
_TOLERANCE = {"float16": 5e-3, "bfloat16": 3e-2, "float32": 1e-5}  # of the largest element; else 1e-11


def is_due(nodes: int) -> bool:
    """Whether the pass that runs now, over so many nodes, is one to check."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    place = (frame.f_code.co_filename, frame.f_lineno, nodes)
    count = _passes[place] = _passes.get(place, 0) + 1
    return count <= FIRST or count % THEN == 0


def check(order: Sequence[Any]) -> None:
    """Compute every node again from the data of its arguments.

    Args:
        order: the nodes of a graph, each after its parents.

    Raises:
        RuntimeError: one is no longer what its op gives. The error names the tensor that was changed, or, where the
            graph cannot tell, the few that may have been.
    """
    with numpy_reading.quiet():
        changed = [node for node in order if node.op is not None and node.rank > 1 and not _holds(node)]
    if changed:
        raise RuntimeError(_report(order, changed))


def _holds(node: Any) -> bool:
    """Whether a node's data is what its op gives on the data of its arguments."""
    if is_traced(node.data):
        return True
    again = _again(node)
    if _same(again, node.data):
        return True
    return again is not None and not _same(again, _again(node))  # an op with chance in it never gives the same


def _again(node: Any) -> Any:
    """What a node's op gives now; `None` where it gives nothing."""
    args = [p.data if type(p) in NODE_KINDS else p for p in node.parents]
    try:
        return node.op.on_arrays(args, node.params, node.parents)[0]
    except OpError:  # an array of another shape was put in place
        return None


def _same(a: Any, b: Any) -> bool:
    """Whether two arrays are equal but for the rounding of sums in another order."""
    if a is None or b is None or tuple(a.shape) != tuple(b.shape):
        return False
    xp = namespace_of([a, b], "backward")
    if xp is numpy_reading:
        if a.nbytes <= 4096:
            if a.tobytes() == b.tobytes():
                return True
        elif np.array_equal(a, b):
            return True
    tolerance = _TOLERANCE.get(dtype_name(a), 1e-11)
    if not bool(xp.all(xp.isfinite(b) == xp.isfinite(a))):
        return False
    a, b = (xp.where(xp.isfinite(x), x, xp.where(x != x, 0.0, xp.sign(x))) for x in (a * 1.0, b * 1.0))
    return 0 in tuple(a.shape) or float(xp.max(xp.abs(a - b))) <= tolerance * float(xp.max(xp.abs(b)))


def _report(order: Sequence[Any], changed: list[Any]) -> str:
    """The sentence that names what was changed: whatever explains every wrong node, at best one tensor."""
    first, wrong = changed[0], set(changed)
    consumers: dict[int, list[Any]] = {}  # by what holds the memory
    for node in order:
        for p in node.parents if node.op is not None else ():
            consumers.setdefault(id(_owner(p)), []).append(node)

    def explains(x: Any, cleanly: bool) -> bool:
        """Whether a change of x makes these nodes wrong (and, cleanly, no other)."""
        used = [u for u in consumers.get(id(x), ()) if _owner(u) is not x]
        known = {id(u) for u in [*used, x]}
        if type(x) in NODE_KINDS and x.op is not None and x not in wrong:
            return False
        return all(id(n) in known for n in changed) and not (cleanly and any(u not in wrong for u in used))

    candidates = [_owner(p) for p in first.parents if getattr(p, "shape", ()) or type(p) in NODE_KINDS] + [first]
    found = [x for x in candidates if explains(x, True)] or [x for x in candidates if explains(x, False)] or candidates
    names = " or ".join(dict.fromkeys(_described(x) for x in found))
    origin = origin_of(first)
    line = f" ({origin.line})" if origin is not None and origin.line else ""
    return (
        f"backward: {names} was changed in place after {first.op.name}{line} had computed with it, "
        "so gradients would be wrong. Change arrays only before the forward pass or after backward, or give the graph "
        "a copy."
    )


def _owner(x: Any) -> Any:
    """What holds the memory of x: of an array that was only reshaped or sliced, its source."""
    while type(x) in NODE_KINDS and x.op is not None and getattr(x.data, "base", None) is not None:
        source = x.parents[0]
        if not np.may_share_memory(x.data, getattr(source, "data", source)):
            break
        x = source
    return x


def _described(x: Any) -> str:
    if type(x) not in NODE_KINDS:
        return f"the constant {ops.describe(x)}"
    return ops.describe(x) + (f", the result of {x.op.name}," if x.op is not None else "")
