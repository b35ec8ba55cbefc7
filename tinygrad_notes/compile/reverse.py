"""Gradients through loops: a loop that takes the steps back, from the states that the loop came through.

For s' = f(s, x, w), y in each step, the loop backwards carries ds and the sum of dw, takes (s, x, dy) of a step,
computes the step again and hands back ds, dw and dx. The loop forwards is made to keep its states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import ops
from .loop import Loop, record, result
from .tape import DETACHED, ELEMENT, LOOP, Tape
from .trace import Traced, constant, current, enter, symbols, wrap


def differentiate(tape: Tape, seeds: Sequence[tuple[Any, Any]], targets: Sequence[Any]) -> list[tuple[Any, Any]]:
    """The seeds, and what they come to through loops: what the loops were given, with its cotangents, as more seeds.

    The loops are gone through once each, the last one first, when all that comes to it from later ones is known. A
    plain pass stops at loops, so what starts from the seeds that are returned goes no way twice.
    """
    seeds = list(seeds)
    pull = type(targets[0]).pullback_between_loops
    for number in _loops(tape, [y.index for y, _ in seeds], [x.index for x in targets]):
        loop: Loop = tape.loops[number]
        live = [k for k in range(len(loop.results) + len(loop.outputs)) if loop.dtype(k).kind == "f"]
        found = pull(seeds, [result(tape, number, k) for k in live])
        handed = {k: h if isinstance(h, Traced) else constant(tape, h) for k, h in zip(live, found, strict=True)}
        into = _backwards(tape, number, handed)
        seeds += [(y, g) for row, g in into if isinstance(y := wrap(tape, row), Traced)]
    return seeds


def _loops(tape: Tape, seeds: Sequence[int], targets: Sequence[int]) -> list[int]:
    """The numbers of the loops between rows and what they are to be differentiated by, the last one first."""
    ends = set(targets)
    reached = bytearray(len(tape.rows))
    for target in targets:
        reached[target] = 1
        if tape.rows[target][0] == ELEMENT:
            reached[tape.rows[target][1]] = 1
    for i in range(len(reached)):
        if not reached[i] and tape.rows[i][0] != DETACHED:
            reached[i] = any(reached[a] for a in tape.arguments(i))
    loops = (i for i in tape.live(seeds) if tape.rows[i][0] == LOOP and tape.dtype(i).kind == "f")
    return sorted({tape.rows[i][1] for i in loops if reached[i] and i not in ends}, reverse=True)


def _backwards(tape: Tape, number: int, handed: Mapping[int, Any]) -> list[tuple[int, Any]]:
    """The loop backwards: each row that the loop was given, with its cotangent.

    Args:
        tape: the tape around the loop.
        number: of the loop.
        handed: the cotangents of the results that are floating-point, by their places.
    """
    loop: Loop = tape.loops[number]
    states, n = _kept(tape, number), len(loop.states)
    carried_on = [k for k in handed if k < n]
    left = [k for k in handed if k >= n]
    moving = [k for k, r in enumerate(loop.slices) if tape.dtype(r).kind == "f"]
    outers = [r for r in loop.outers if tape.dtype(r).kind == "f"]

    def step(carried: Any, parts: Any) -> Any:
        after, total = carried
        before, xs, dy = parts
        body = current()
        assert body is not None
        new, outputs = loop.function(before, xs)
        around = [wrap(body, body.capture.input(r)) for r in outers]
        wanted = [*(before[k] for k in carried_on), *(xs[k] for k in moving), *around]
        ends = [*new, *outputs, *before]  # states that a gradient of first order has asked for come last
        entered = [wrap(body, enter(body, ends[k])) for k in (*carried_on, *left)]
        starts = [(y, g) for y, g in zip(entered, [*after, *dy], strict=True) if isinstance(y, Traced)]
        owed = Traced.pullback(starts, wanted)
        m = len(carried_on)
        dx, dw = owed[m : m + len(moving)], owed[m + len(moving) :]
        return (owed[:m], [a + b for a, b in zip(total, dw, strict=True)]), dx

    def last_first(rows: Sequence[Any]) -> list[Any]:
        return [ops.flip(x, axis=0) for x in rows]

    zeros = [symbols.zeros_like(wrap(tape, r)) for r in outers]
    slices = [wrap(tape, r) for r in loop.slices]
    (first, total), moved = record(
        tape,
        step,
        ([handed[k] for k in carried_on], zeros),
        (last_first(states), last_first(slices), last_first([handed[k] for k in left])),
        loop.steps,
        differentiate,
    )
    return [
        *zip([loop.states[k] for k in carried_on], first, strict=True),
        *zip([loop.slices[k] for k in moving], last_first(moved), strict=True),
        *zip(outers, total, strict=True),
    ]


def _kept(tape: Tape, number: int) -> list[Any]:
    """The states before each step, which the loop is made to put together for this."""
    loop: Loop = tape.loops[number]
    n = len(loop.states)
    if len(loop.outputs) == loop.given:
        loop.outputs += range(n)  # the states are the first rows of the body
    return [result(tape, number, n + loop.given + k) for k in range(n)]
