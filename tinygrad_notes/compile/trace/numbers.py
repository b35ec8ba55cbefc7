"""Operators on traced numbers, at the cost of a dictionary look-up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ... import ops
from ...ops import Op
from ...ops.arithmetic import BINARY, COMPARISONS, UNARY
from ...tensor import Tensor
from ..inference import BOOLEAN
from ..tape import BOOLEAN_OPS, code_of
from .symbol import Number, Symbol


def _counted(x: Any) -> Any:
    """A truth as 1 or 0, as Python counts it; where a program is lowered, masks are meant."""
    is_truth = x.__class__ is Number and x.index in x.tape.dtypes and not x.tape.folding
    return ops.where(x, 1.0, 0.0) if is_truth else x


def _unary(op: Op) -> Callable[[Number], Any]:
    code = code_of(op)
    is_truth = op.name in BOOLEAN_OPS

    def record(a: Number) -> Any:
        tape = a.tape
        if tape.folding or tape.line is not None or a.index in tape.dtypes:
            return op.apply((a if is_truth else _counted(a),), {})
        key = (code, a.index)
        known = tape.known
        index = known.get(key)
        if index is None:
            index = known[key] = len(tape.rows)
            tape.rows.append(key)
            if is_truth:
                tape.dtypes[index] = BOOLEAN
        y = Number()
        y.tape = tape
        y.index = index
        return y

    return record


def _function(op: Op) -> Callable[[Any, Any], Any]:
    """An op of two arguments, one of them a number."""
    forwards, backwards = _binary(op), _binary(op, reverse=True)

    def record(a: Any, b: Any) -> Any:
        return forwards(a, b) if a.__class__ is Number else backwards(b, a)

    return record


def _binary(op: Op, reverse: bool = False) -> Callable[[Number, Any], Any]:
    code = code_of(op)
    neutral = 0 if op is ops.add or (op is ops.subtract and not reverse) else None
    is_truth = op.name in BOOLEAN_OPS

    def record(a: Number, b: Any) -> Any:
        tape = a.tape
        kind = b.__class__
        if tape.dtypes and not is_truth and kind is not Symbol:  # by an array NumPy decides
            a, b = _counted(a), _counted(b)
        if kind is Number:
            if b.tape is not tape or tape.folding or tape.line is not None:  # refused there, simplified, or noted
                return op.apply((b, a) if reverse else (a, b), {})
            other = b.index
        elif (kind is float or kind is int) and not tape.folding and tape.line is None:
            if b == 0 and neutral == 0:  # Python's sum starts with 0
                return a
            other = tape.constant(b)
        else:
            return op.apply((b, a) if reverse else (a, b), {})
        key = (code, other, a.index) if reverse else (code, a.index, other)
        known = tape.known
        index = known.get(key)
        if index is None:
            index = known[key] = len(tape.rows)
            tape.rows.append(key)
            if is_truth:
                tape.dtypes[index] = BOOLEAN
        y = Number()
        y.tape = tape
        y.index = index
        return y

    return record


for _name, _op in BINARY.items():
    setattr(Number, f"__{_name}__", _binary(_op))
    setattr(Number, f"__r{_name}__", _binary(_op, reverse=True))
for _name, _op in COMPARISONS.items():
    setattr(Number, f"__{_name}__", _binary(_op))
    setattr(Symbol, f"__{_name}__", getattr(Tensor, f"__{_name}__"))
for _name, _op in UNARY.items():
    setattr(Number, f"__{_name}__", _unary(_op))
for _name in ("__and__", "__rand__", "__or__", "__ror__", "__invert__"):
    setattr(Number, _name, getattr(Tensor, _name))


def _add_method(op: Op) -> None:
    if not op.elementwise or op.defaults:
        return
    if op.arity == 1:
        op.recorders[Number] = _unary(op)
        if op.method:
            setattr(Number, op.name, op.recorders[Number])
    elif op.arity == 2:
        op.recorders[Number] = _function(op)


ops.for_each_row(_add_method)
