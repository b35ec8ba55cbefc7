"""The shape and the dtype of what an op gives: by NumPy's own rules, on stand-ins as small as they can be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..ops import Op, shape_of
from ..ops.namespaces import numpy_reading

BOOLEAN = np.dtype(bool)
FLOAT64 = np.dtype(np.float64)
WHOLE = {ops.add, ops.subtract, ops.multiply, ops.negative, ops.abs, ops.pow, ops.identity}
"""Ops of which the operators give whole numbers for whole numbers; the functions of the table give floats."""

_RESULTS: dict[Any, np.dtype[Any]] = {}
"""The dtype of the result of an elementwise op, by the dtypes of its arguments and the types of its numbers."""


def infer(tape: Any, op: Op, args: Sequence[int], params: dict[str, Any]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape and dtype of an op's result on rows; refused as the op itself would refuse it."""
    shapes = [tape.shape(a) for a in args]
    kinds = _kinds(tape, args)
    if op.elementwise and not params:
        found = _RESULTS.get((op, kinds))
        if found is not None and (shape := _broadcast(shapes)) is not None:
            return shape, _of_op(op, shape, found)
    stand_ins: list[Any] = []
    for a, kind in zip(args, kinds, strict=True):
        if tape.is_constant(a):
            stand_ins.append(tape.number(a))
        elif op.elementwise and isinstance(kind, type):
            stand_ins.append(kind(1))
        elif op.elementwise:  # the dtype from single numbers, the shape from the shapes
            stand_ins.append(np.ones((1,) * min(1, len(tape.shape(a))), tape.dtype(a)))
        else:
            stand_ins.append(np.zeros(tape.shape(a), tape.dtype(a)))
    try:
        if op.elementwise:
            shape = np.broadcast_shapes(*shapes, *(shape_of(p) for p in params.values()))
            with numpy_reading.quiet():
                y = getattr(numpy_reading, op.name)(*stand_ins, **params)
            dtype = np.asarray(y).dtype
            if not params:
                _RESULTS[op, kinds] = dtype
            return shape, _of_op(op, shape, dtype)
        if op.name == "matmul" and all(len(s) > 1 for s in shapes) and shapes[0][-1] == shapes[1][-2]:
            stand_ins = [stand_ins[0][..., :1], stand_ins[1][..., :1, :]]  # the inner size leaves no trace
        with numpy_reading.quiet():
            y = op.on_arrays(stand_ins, params, stand_ins)[0]
        return tuple(y.shape), y.dtype
    except (ValueError, TypeError, IndexError) as error:
        if isinstance(error, ops.OpError):
            raise
        shown = [np.broadcast_to(np.zeros((), tape.dtype(a)), s) for s, a in zip(shapes, args, strict=True)]
        raise op.complaint(error, shown, params) from error


def _kinds(tape: Any, args: Sequence[int]) -> tuple[Any, ...]:
    """The dtype of each argument; of a constant, and where it matters, the type of what Python has there."""
    mixed = any(tape.dtypes.get(a, BOOLEAN) is not BOOLEAN for a in args)
    kinds: list[Any] = []
    for a in args:
        plain = tape.plain(a) if mixed and a not in tape.shapes else None
        kinds.append(type(tape.number(a)) if tape.is_constant(a) else plain or tape.dtype(a))
    return tuple(kinds)


def _of_op(op: Op, shape: Sequence[int], dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of an elementwise op's result, by NumPy's: of numbers the table's functions make floats."""
    return FLOAT64 if not shape and dtype.kind in "iu" and op not in WHOLE else dtype


def _broadcast(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...] | None:
    """The common shape, in the usual cases: all equal but for numbers."""
    found: tuple[int, ...] = ()
    for shape in shapes:
        if shape:
            if found and shape != found:
                return None
            found = shape
    return found
