"""`fori`, `scan` and `vmap`: plain Python loops on numbers and arrays, and one construct each when compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..calculus import tree_build, tree_leaves, tree_map, tree_match
from ..graph import is_node
from ..ops import shape_of
from .loop import record
from .reverse import differentiate
from .tape import ELEMENT, MAPPED, SAMPLE, Map, Tape
from .trace import current, enter, unrolls, wrap


def fori(steps: int, body: Callable[[Any, Any], Any], state: Any) -> Any:
    """`for k in range(steps): state = body(k, state)`.

    Under `compile` it is one loop in the program, not `steps` copies of the body; where that is native code, all steps
    are one call.

    Args:
        steps: how many, a plain int.
        body: takes the number of the step and the state, and gives the new state, in the same structure and shapes.
        state: numbers, arrays and trees of them.

    Returns:
        The last state.

    Raises:
        TypeError: steps is no int; the new state has another structure, shape or dtype.

    Example:
        >>> fori(3, lambda k, x: 2.0 * x, 1.0)
        8.0
    """
    return scan(lambda carried, _: ((carried[0] + 1, body(carried[0], carried[1])), None), (0, state), length=steps)[0][
        1
    ]


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]], state: Any, xs: Any = None, length: int | None = None
) -> tuple[Any, Any]:
    """A loop over the first axis of arrays, with a state and a result for each step.

    Args:
        f: takes the state and the step's part of `xs`, and gives the new state and a result.
        state: numbers, arrays and trees of them.
        xs: arrays (and trees of them) of one length, or None.
        length: how many steps; needed without `xs`.

    Returns:
        The last state, and the results stacked along a new first axis.

    Raises:
        TypeError: the length is no int; the new state has another structure, shape or dtype.
        ValueError: the arrays have different lengths.

    Example:
        >>> total, totals = scan(lambda t, x: (t + x, t + x), 0.0, np.array([1.0, 2.0, 3.0]))
        >>> float(total), totals
        (6.0, array([1., 3., 6.]))
    """
    arrays = tree_leaves(xs)
    lengths = {shape_of(a)[0] if shape_of(a) else None for a in arrays} | ({length} if length is not None else set())
    if len(lengths) != 1 or None in lengths:
        raise ValueError(f"scan: lengths {sorted(map(str, lengths))}; expected arrays of one length, or length=.")
    (steps,) = lengths
    if type(steps) is not int or steps < 0:
        raise TypeError(f"scan: {ops.describe(steps)} steps; expected a whole number, which compile takes as static.")
    tape = current()
    if tape is not None and steps > 0:
        return record(tape, f, state, xs, steps, differentiate)
    results = []
    for k in range(steps):
        state, y = f(state, tree_map(lambda a, k=k: a[k], xs))
        results.append(y)
    if not results:
        return state, None
    columns = [tree_match(results[0], y, "scan: a result") for y in results]
    stacked = [_stacked([column[i] for column in columns]) for i in range(len(columns[0]))]
    return state, tree_build(results[0], iter(stacked))


def _stacked(items: Sequence[Any]) -> Any:
    return ops.stack(list(items)) if any(map(is_node, items)) else np.stack(items)


def vmap(f: Callable[..., Any], in_axes: Any = 0, out_axes: int = 0) -> Callable[..., Any]:
    """f, a function of one sample, as a function of a batch.

    It calls f for every sample and stacks the results. Compiled, the calls become lanes of one program.

    Args:
        f: a function of numbers and arrays, and trees of them.
        in_axes: for all arguments, or one for each: the axis that counts the samples, or None for an argument that all
            samples share.
        out_axes: the axis of the samples in the results.

    Raises (when called):
        ValueError: the arguments have different numbers of samples, or none of them has any; in_axes does not fit.

    Example:
        >>> vmap(lambda w, x: w * x[0] + x[1], in_axes=(None, 0))(2.0, np.array([[1.0, 2.0], [3.0, 4.0]]))
        array([ 4., 10.])
    """

    def mapped(*args: Any) -> Any:
        axes = tuple(in_axes) if isinstance(in_axes, (tuple, list)) else (in_axes,) * len(args)
        if len(axes) != len(args):
            raise ValueError(f"vmap: {len(axes)} in_axes for {len(args)} argument(s).")
        sizes = {
            shape_of(leaf)[axis]
            for arg, axis in zip(args, axes, strict=True)
            if axis is not None
            for leaf in tree_leaves(arg)
        }
        if len(sizes) != 1:
            raise ValueError(f"vmap: the arguments have {sorted(sizes) or 'no'} samples; expected one number of them.")
        (size,) = sizes
        tape = current()
        if tape is not None and size >= MANY and not unrolls():
            return _mapped(tape, f, args, axes, size, out_axes)
        results = []
        for k in range(size):
            sample = [
                arg if axis is None else tree_map(lambda leaf, k=k, axis=axis: _sample(leaf, axis, k), arg)
                for arg, axis in zip(args, axes, strict=True)
            ]
            results.append(f(*sample))
        if not results:
            raise ValueError("vmap: no samples; expected at least one.")
        columns = [tree_match(results[0], y, "vmap: a result") for y in results]
        stacked = [ops.stack([column[i] for column in columns], axis=out_axes) for i in range(len(columns[0]))]
        return tree_build(results[0], iter(stacked))

    return mapped


MANY = 64
"""From so many samples on a compiled map is traced once, with any one sample, and not sample by sample."""


def _mapped(
    tape: Tape, f: Callable[..., Any], args: Sequence[Any], axes: Sequence[int | None], size: int, out_axes: int
) -> Any:
    """f traced once; each result as an array over the samples."""
    number = len(tape.maps)

    def sample(leaf: Any, axis: int) -> Any:
        row = enter(tape, leaf)
        shape = tape.shape(row)
        axis %= len(shape)
        tape.maps.append(Map(size, axis, number))
        one = tape.row((SAMPLE, row, len(tape.maps) - 1), shape[:axis] + shape[axis + 1 :], tape.dtype(row))
        return wrap(tape, one if len(shape) > 1 else tape.row((ELEMENT, one, 0), (), tape.dtype(row)))

    samples = [
        arg if axis is None else tree_map(lambda leaf, axis=axis: sample(leaf, axis), arg)
        for arg, axis in zip(args, axes, strict=True)
    ]
    result = f(*samples)
    tape.maps.append(Map(size, 0, number))
    last = len(tape.maps) - 1

    def over(y: Any) -> Any:
        row = enter(tape, y)
        found = wrap(tape, tape.row((MAPPED, row, last), (size, *tape.shape(row)), tape.array_dtype(row)))
        axis = out_axes % found.ndim
        order = [*range(1, axis + 1), 0, *range(axis + 1, found.ndim)]
        return ops.permute_dims(found, axes=tuple(order)) if axis else found

    return tree_map(over, result)


def _sample(leaf: Any, axis: int, k: int) -> Any:
    """One sample of an array."""
    return leaf[(slice(None),) * (axis % len(shape_of(leaf))) + (k,)] if axis else leaf[k]
