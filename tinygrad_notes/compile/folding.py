"""Ops that need not be computed, as a tape is written: constants, steps that change nothing, two steps that are one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..ops import Op
from .inference import FLOAT64
from .tape import Tape, code_of

_MULTIPLY, _WHERE = code_of(ops.multiply), code_of(ops.where)
_MOVING = {ops.reshape, ops.permute_dims, ops.broadcast_to, ops.sum_to, ops.astype}


def folded(tape: Tape, op: Op, args: Sequence[int], params: dict[str, Any]) -> int | None:
    """The row that an op comes to without being computed, if there is one.

    What is left out is exact: x · 1, x / 1, x + 0 and x − 0 (but for the sign of a zero), −(−x), moves that move
    nothing. x · 0 is not 0 for an infinite x.
    """
    if op in _MOVING:
        (x,) = args
        if op is ops.permute_dims:
            given = params.get("axes")
            axes = tuple(given) if given is not None else tuple(reversed(range(len(tape.shape(x)))))
            if (inner := tape.made_by(x, ops.permute_dims)) is not None:
                before = tape.operation(tape.rows[x][0])[1]["axes"]
                return tape.apply(op, [inner], {"axes": tuple(before[a] for a in axes)})
            if axes == tuple(range(len(axes))):
                return x
            return None if given is not None else tape.apply(op, [x], {"axes": axes})
        if op is ops.astype:
            same = np.dtype(params["dtype"]) == tape.dtype(x)
        else:
            shape = tuple(params["shape"])
            if -1 in shape:
                known = -math.prod(shape)
                return (
                    tape.apply(
                        op,
                        [x],
                        {"shape": tuple(math.prod(tape.shape(x)) // known if n == -1 else n for n in shape)},
                    )
                    if known
                    else None
                )
            same = shape == tape.shape(x)
            if op is ops.reshape and not same and (inner := tape.made_by(x, ops.reshape)) is not None:
                return tape.apply(op, [inner], {"shape": shape})
            if op is ops.sum_to and (number := tape.filling(x)) is not None:
                count = math.prod(tape.shape(x)) // max(math.prod(shape), 1)
                return tape.apply(ops.broadcast_to, [tape.constant(number * float(count))], {"shape": shape})
        return x if same else None
    if op is ops.getitem:
        return _whole(tape, args[0], params["index"])
    if not op.elementwise or params:
        return None
    if op is ops.where and tape.is_constant(args[0]):
        chosen, other = args[1:] if tape.number(args[0]) else args[:0:-1]
        return chosen if _result_is(tape, chosen, other) else None
    numbers = [tape.filling(a) for a in args]
    if None not in numbers and not any(tape.dtype(a).kind in "iu" for a in args):
        y = op(*numbers)
        number = tape.constant(y if type(y) is bool else float(y))
        shape = np.broadcast_shapes(*(tape.shape(a) for a in args))
        if not shape:
            return number
        if all(tape.dtype(a) == FLOAT64 for a in args) and type(y) is float:
            return tape.apply(ops.broadcast_to, [number], {"shape": shape})
    if op is ops.negative:
        inner = tape.made_by(args[0], ops.negative)
        return _scaled(tape, args[0], -1.0) if inner is None else inner
    if op is ops.abs and (inner := tape.made_by(args[0], ops.negative)) is not None:
        return tape.apply(op, [inner], {})
    if len(args) == 2:
        for k in (0, 1):  # an array of one number is that number, where the other gives the shape
            x = args[k]
            if x in tape.shapes and (number := tape.filling(x)) is not None and _result_is(tape, args[1 - k], x):
                pair = [args[1 - k], args[1 - k]]
                pair[k] = tape.constant(number)
                return tape.apply(op, pair, {})
    if op is ops.add and args[0] == args[1] and tape.dtype(args[0]).kind == "f":
        return tape.apply(ops.multiply, [args[0], tape.constant(2.0)], {})
    if op in (ops.add, ops.multiply, ops.subtract, ops.divide):
        neutral = 0 if op in (ops.add, ops.subtract) else 1
        sides = (0, 1) if op in (ops.add, ops.multiply) else (1,)
        for k in sides:
            if tape.filling(args[k]) == neutral and _result_is(tape, args[1 - k], args[k]):
                return args[1 - k]
        if op is ops.multiply:
            for k in (0, 1):
                by = args[1 - k]
                if tape.is_constant(by) and (scaled := _scaled(tape, args[k], tape.number(by))) is not None:
                    return scaled
                if tape.filling(args[k]) == -1 and _result_is(tape, args[1 - k], args[k]):
                    return tape.apply(ops.negative, [args[1 - k]], {})
    return None


def is_basic(index: Any) -> bool:
    """Whether an index picks a part at strides."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        isinstance(p, (int, np.integer, slice, type(None), type(Ellipsis))) and type(p) is not bool for p in parts
    )


def _whole(tape: Tape, x: int, index: Any) -> int | None:
    """A part that is all of an array, in order, as a reshape: a view that more back ends know."""
    parts = index if isinstance(index, tuple) else (index,)
    if not is_basic(index) or any(isinstance(p, slice) and (p.step or 1) < 0 for p in parts):
        return None
    shape = np.broadcast_to(0.0, tape.shape(x))[index].shape
    return tape.apply(ops.reshape, [x], {"shape": shape}) if math.prod(shape) == math.prod(tape.shape(x)) else None


def taken(tape: Tape, x: int, g: int) -> int | None:
    """where(c, 1, 0) · g as where(c, g, 0): a path that is not taken contributes nothing, also of infinities.

    For gradients; of numbers, 0 · ∞ is NaN.
    """
    code, *args = tape.rows[x]
    if code == _WHERE and tape.filling(args[1]) == 1 and tape.filling(args[2]) == 0 and _result_is(tape, g, x):
        index = tape.apply(ops.where, [args[0], g, tape.constant(0.0)], {})
        tape.chosen.add(index)
        return index
    return None


def _scaled(tape: Tape, x: int, factor: float) -> int | None:
    """(c · y) · 2 as 2c · y, which rounds as little. Not so with ½: what overflows in between would be finite."""
    if factor in (-1.0, 2.0, -2.0) and tape.dtype(x).kind == "f":
        code, *args = tape.rows[x]
        if code == _MULTIPLY and (tape.is_constant(args[0]) or tape.is_constant(args[1])):
            c, y = args if tape.is_constant(args[0]) else args[::-1]
            if math.isfinite(tape.number(c) * factor):
                return tape.apply(ops.multiply, [tape.constant(tape.number(c) * factor), y], {})
    return None


def _result_is(tape: Tape, x: int, other: int) -> bool:
    """Whether x has the shape and dtype that x and the other would be broadcast to."""
    shape = tape.shape(x)
    fits = np.broadcast_shapes(shape, tape.shape(other)) == shape
    return fits and tape.dtype(x).kind == "f" and (tape.is_constant(other) or tape.dtype(x) == tape.dtype(other))
