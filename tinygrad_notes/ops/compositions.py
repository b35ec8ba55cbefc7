"""Named functions that are plain compositions of rows: nothing here has a rule of its own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from .activations import cross_entropy as cross_entropy_row
from .activations import one_minus, sigmoid
from .arithmetic import multiply
from .errors import OpTypeError, OpValueError, describe
from .namespaces import NODE_KINDS, dtype_name, shape_of, to_arrays
from .products import einsum as einsum_row
from .products import matmul
from .reductions import sum as sum_
from .shapes import getitem, permute_dims, reshape, scatter

__all__ = [
    "complement",
    "cross_entropy",
    "diag",
    "dot",
    "einsum",
    "matrix_transpose",
    "split",
    "take",
    "trace",
    "transpose",
]


def _array(x: Any, name: str) -> Any:
    return to_arrays(x, name) if isinstance(x, (list, tuple)) else x


def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """The axes of x in another order; reversed for `axes=None`. NumPy's name for `permute_dims`."""
    return permute_dims(x, axes=axes)


def matrix_transpose(x: Any) -> Any:
    """The last two axes of x (…, n, m) swapped: (…, m, n).

    Raises:
        ValueError: x has fewer than two axes.
    """
    x = _array(x, "matrix_transpose")
    if len(shape_of(x)) < 2:
        raise OpValueError(f"matrix_transpose: given {describe(x)}; expected at least two axes.")
    return permute_dims(x, axes=(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The elements of x at integer `indices` along `axis` (of x flattened, for `axis=None`).

    Shapes: x (…, n, …), indices of any shape s -> (…, *s, …). An index that comes twice receives both cotangents.
    """
    x = _array(x, "take")
    if axis is None:
        x, axis = reshape(x, shape=(-1,)), 0
    indices = indices.data if type(indices) in NODE_KINDS else np.asarray(indices)
    if dtype_name(indices)[:3] not in ("int", "uin"):
        raise OpTypeError(f"take: given indices of {indices.dtype}; expected integers.")
    ndim = len(shape_of(x))
    if not -ndim <= axis < ndim:
        raise OpValueError(f"take: given axis {axis} for {describe(x)}; expected one of its {ndim} axes.")
    return getitem(x, index=(slice(None),) * (axis % ndim) + (indices,))


def split(x: Any, sections: int | Sequence[int], axis: int = 0) -> list[Any]:
    """x cut along `axis` into `sections` equal parts, or at the given positions.

    Returns:
        The parts, each an array or node like x.

    Raises:
        ValueError: `sections` does not divide the size of the axis.
    """
    x = _array(x, "split")
    shape = shape_of(x)
    if not -len(shape) <= axis < len(shape):
        raise OpValueError(f"split: given axis {axis} for {describe(x)}; expected one of its {len(shape)} axes.")
    size = shape[axis]
    if isinstance(sections, (int, np.integer)):
        parts = int(sections)
        if parts < 1 or size % parts:
            raise OpValueError(f"split: given {parts} sections for an axis of {size}; expected a divisor of {size}.")
        cuts = [k * size // parts for k in range(parts + 1)]
    else:
        cuts = [0, *sections, size]
    before = (slice(None),) * (axis % len(shape))
    return [getitem(x, index=(*before, slice(a, b))) for a, b in pairwise(cuts)]


def diag(x: Any, k: int = 0) -> Any:
    """The k-th diagonal of a matrix x (n, m), or the square matrix with the vector x (n,) on its k-th diagonal."""
    x = _array(x, "diag")
    shape = shape_of(x)
    down, right = max(-k, 0), max(k, 0)
    if len(shape) == 2:
        along = np.arange(max(min(shape[0] - down, shape[1] - right), 0))
        return getitem(x, index=(along + down, along + right))
    if len(shape) == 1:
        along = np.arange(shape[0])
        side = shape[0] + abs(k)
        return scatter(x, index=(along + down, along + right), shape=(side, side))
    raise OpValueError(f"diag: given {describe(x)}; expected a vector or a matrix.")


def trace(x: Any) -> Any:
    """The sum of the diagonal of a matrix x (n, m)."""
    x = _array(x, "trace")
    if len(shape_of(x)) != 2:
        raise OpValueError(f"trace: given {describe(x)}; expected a matrix.")
    return sum_(diag(x))


def dot(a: Any, b: Any) -> Any:
    """The product of two numbers, vectors or matrices: `a · b` where one has no axes, `a @ b` otherwise."""
    a, b = _array(a, "dot"), _array(b, "dot")
    if shape_of(a) == () or shape_of(b) == ():
        return multiply(a, b)
    if len(shape_of(b)) > 2:
        raise OpValueError(
            f"dot: given {describe(a)} and {describe(b)}; expected at most two axes. Use matmul or einsum."
        )
    return matmul(a, b)


def einsum(subscripts: str, *operands: Any) -> Any:
    """Products and sums by Einstein's convention, as `numpy.einsum`: `einsum("ij,jk->ik", a, b)` is `a @ b`.

    Raises:
        ValueError: the subscripts do not fit the operands.
    """
    return einsum_row(operands, subscripts=subscripts)


def _complement(a: Any) -> Any:
    """1 − a, with no gradient flowing through it; where `sigmoid` made a of z, σ(−z), so that no digit is lost."""
    if type(a) not in NODE_KINDS:
        return 1 - a
    if a.op is sigmoid:
        z = a.parents[0]
        return sigmoid(-(z.detach() if type(z) in NODE_KINDS else z))
    return 1 - a.detach()


def complement(a: Any) -> Any:
    """1 − a. Where a is a node that `sigmoid` made of z, it is computed as σ(−z), so that no digit is lost.

    In float64, 1 − σ(37) is 0, and what divides by it or takes its logarithm is lost; the true value is 8.5e-17.
    """
    a = _array(a, "complement")
    return one_minus(a, _complement(a)) if type(a) in NODE_KINDS else 1 - a


def cross_entropy(y: Any, a: Any) -> Any:
    """−[y ln a + (1 − y) ln(1 − a)], element by element, for labels y and probabilities a.

    Where a is a node that `sigmoid` made, 1 − a is computed as `complement` does, so that a saturated unit keeps its
    loss and its gradient a − y exactly. With y = 0 or 1 the silenced term is 0, also where its logarithm is infinite.

    Shapes: y and a broadcast; the result has their common shape.
    """
    y, a = _array(y, "cross_entropy"), _array(a, "cross_entropy")
    exact = _complement(a)
    if type(a) in NODE_KINDS:
        exact.name = f"1 − {a.name or 'a'}"
    return cross_entropy_row(y, a, exact)
