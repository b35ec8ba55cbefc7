"""The backward pass on a tape: rows read backwards, each handing its cotangent on by its op's own rule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from .tape import ALIAS, ASSEMBLED, ELEMENT, LANES, DeclinedError, Tape
from .trace import Symbols, Traced, constant, wrap

Part = tuple[int | np.ndarray[Any, Any], Any]
"""A contribution to the gradient of an array: where (one offset, or many), and what."""


def cotangents(
    tape: Tape, seeds: Sequence[tuple[int, Any]], targets: Sequence[int], xp: Symbols
) -> tuple[dict[int, Any], dict[int, list[Part]]]:
    """The cotangent of each target row: Σ (∂seed/∂target)ᵀ · g.

    Args:
        tape: where the rows are, and where the backward pass is written.
        seeds: rows, each with its cotangent g.
        targets: the rows to differentiate by; the pass does not go beyond them.
        xp: the reading of the rules.

    Returns:
        The cotangents as symbols, of the targets that have one; and, for target arrays of which single numbers were
        used, the contributions to these.
    """
    last = max(row for row, _ in seeds)
    active = bytearray(len(tape.rows))
    for target in targets:
        active[target] = 1
    for i in range(min(targets), last + 1):
        if not active[i] and any(active[a] for a in tape.arguments(i)) and _passes(tape, i):
            active[i] = 1
    ends = frozenset(targets)
    flight: dict[int, Any] = {}
    parts: dict[int, list[Part]] = defaultdict(list)
    for row, g in seeds:
        if active[row]:
            flight[row] = flight[row] + g if row in flight else g
    for i in range(last, min(targets) - 1, -1):
        if i in ends or not (i in flight or i in parts):
            continue
        code, *args = tape.rows[i]
        if i in parts:  # an alias of which elements were used
            parts[args[0]] += parts.pop(i)
        if i not in flight:
            continue
        g = flight.pop(i)
        if not isinstance(g, Traced):  # simplified to a plain number; a rule asks for a node
            g = constant(tape, g)
        if code == ASSEMBLED or (code in (ELEMENT, LANES) and tape.rows[args[0]][0] == ASSEMBLED):
            raise DeclinedError("a gradient of a gradient by numbers of an array")
        if code == ELEMENT:
            parts[args[0]].append((args[1], g))
            continue
        if code == LANES:
            parts[args[0]].append((tape.offsets[args[1]], g))
            continue
        if code == ALIAS:
            contributions, args = [g], args[:1]
        else:
            op, params = tape.operation(code)
            wanted = [bool(active[a]) for a in args]
            before = len(tape.rows)
            contributions = op.vjp(xp, g, wrap(tape, i), [wrap(tape, a) for a in args], wanted, params)
            if i in tape.lines:
                for new in range(before, len(tape.rows)):
                    tape.lines.setdefault(new, f"in the gradient of {op.name} {tape.lines[i]}")
        for a, c in zip(args, contributions, strict=True):
            if c is not None and active[a]:
                flight[a] = flight[a] + c if a in flight else c
    return {t: flight[t] for t in ends if t in flight}, parts


def _passes(tape: Tape, index: int) -> bool:
    """Whether a row hands gradients on to its arguments."""
    code = tape.rows[index][0]
    if code >= 0:
        return tape.operation(code)[0].differentiable and tape.dtype(index).kind == "f"
    return code in (ALIAS, ELEMENT, LANES, ASSEMBLED)
