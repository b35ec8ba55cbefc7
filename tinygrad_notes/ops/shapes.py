"""Rows that move elements: reshape, join, index, pad. Each is linear, so its vjp moves them back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .op import structural

__all__ = [
    "astype",
    "broadcast_to",
    "concat",
    "expand_dims",
    "flip",
    "getitem",
    "pad",
    "permute_dims",
    "reshape",
    "scatter",
    "squeeze",
    "stack",
    "sum_to",
    "tril",
    "triu",
]

# --- broadcasting and its undoing -------------------------------------------------------------------------------------


def _sum_to(xp: Any, x: Any, *, shape: tuple[int, ...]) -> Any:
    """Sum x over the axes along which `shape` was broadcast to x's shape."""
    extra = x.ndim - len(shape)
    stretched = tuple(i + extra for i, n in enumerate(shape) if n == 1 and x.shape[i + extra] != 1)
    if axes := tuple(range(extra)) + stretched:
        x = xp.sum(x, axis=axes, keepdims=True)
    return xp.reshape(x, shape=shape) if extra else x


broadcast_to = structural(
    "broadcast_to",
    vjp=lambda xp, g, y, x, *, shape=(): xp.sum_to(g, shape=tuple(x.shape)),
    tex=r"{0}",
    expects="an array and a shape that it broadcasts to",
)
sum_to = structural(
    "sum_to",
    forward=_sum_to,
    vjp=lambda xp, g, y, x, *, shape=(): xp.broadcast_to(g, shape=tuple(x.shape)),
    tex=r"\sum {0}",
    expects="an array and a shape that broadcasts to it",
    doc="The inverse of broadcasting: x summed down to `shape`. What undoes it in every backward pass.",
)


def _astype(xp: Any, x: Any, *, dtype: Any = None) -> Any:
    if not hasattr(x, "dtype"):
        return x
    y = xp.native.astype(xp.asarray(x), dtype)
    if not xp.isdtype(y.dtype, "real floating"):
        raise TypeError(f"{y.dtype} takes no gradient: convert the .data instead")
    return y


astype = structural(
    "astype",
    forward=_astype,
    vjp=lambda xp, g, y, x, *, dtype=None: xp.astype(g, dtype=x.dtype),
    tex="{0}",
    expects="an array and a floating-point dtype",
)

# --- shape ------------------------------------------------------------------------------------------------------------


def _permutation(ndim: int, axes: Sequence[int] | None) -> tuple[int, ...]:
    if axes is None:
        return tuple(reversed(range(ndim)))
    return tuple(a + ndim if -ndim <= a < 0 else a for a in axes)  # an axis that is not there stays, to be refused


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(axes.index(i) for i in range(len(axes)))


reshape = structural(
    "reshape",
    vjp=lambda xp, g, y, x, *, shape=(): xp.reshape(g, shape=tuple(x.shape)),
    tex=r"\operatorname{{reshape}} {0}",
    expects="an array and a shape of as many elements",
)
permute_dims = structural(
    "permute_dims",
    forward=lambda xp, x, *, axes=None: xp.native.permute_dims(x, _permutation(x.ndim, axes)),
    vjp=lambda xp, g, y, x, *, axes=None: xp.permute_dims(g, axes=_inverse(_permutation(x.ndim, axes))),
    tex=r"{0}^{{\top}}",
    expects="an array and a permutation of its axes",
    doc="The axes in another order; reversed for axes=None, which is the transpose.",
)
expand_dims = structural(
    "expand_dims",
    vjp=lambda xp, g, y, x, *, axis=0: xp.reshape(g, shape=tuple(x.shape)),
    tex="{0}",
    expects="an array and a place for the new axis",
)


def _squeeze(xp: Any, x: Any, *, axis: Any = None) -> Any:
    gone = tuple(i for i, n in enumerate(x.shape) if n == 1) if axis is None else axis
    return xp.native.squeeze(x, axis=gone)


squeeze = structural(
    "squeeze",
    forward=_squeeze,
    vjp=lambda xp, g, y, x, *, axis=None: xp.reshape(g, shape=tuple(x.shape)),
    tex="{0}",
    expects="an array and axes of size 1",
)
flip = structural(
    "flip",
    vjp=lambda xp, g, y, x, *, axis=None: xp.flip(g, axis=axis),
    tex=r"\operatorname{{flip}} {0}",
    expects="an array and an axis that it has",
)
tril = structural(
    "tril",
    vjp=lambda xp, g, y, x, *, k=0: xp.tril(g, k=k),
    tex=r"\operatorname{{tril}} {0}",
    expects="an array of at least two dimensions",
)
triu = structural(
    "triu",
    vjp=lambda xp, g, y, x, *, k=0: xp.triu(g, k=k),
    tex=r"\operatorname{{triu}} {0}",
    expects="an array of at least two dimensions",
)

# --- joining ----------------------------------------------------------------------------------------------------------


def _pick(ndim: int, axis: int, what: Any) -> tuple[Any, ...]:
    """The index that takes `what` along `axis` and everything along the others."""
    return tuple(what if i == axis % ndim else slice(None) for i in range(ndim))


def _concat_vjp(xp: Any, g: Any, y: Any, *xs: Any, axis: int = 0) -> list[Any]:
    if axis is None:  # all of them flattened
        flat = _concat_vjp(xp, g, y, *(xp.reshape(x, shape=(-1,)) for x in xs))
        return [xp.reshape(part, shape=tuple(x.shape)) for part, x in zip(flat, xs, strict=True)]
    parts, start = [], 0
    for x in xs:
        stop = start + x.shape[axis]
        parts.append(g[_pick(g.ndim, axis, slice(start, stop))])
        start = stop
    return parts


concat = structural(
    "concat",
    vjp=_concat_vjp,
    tex=r"\left[{0}, \dots\right]",
    expects="a list of arrays that differ in size along axis only",
    method=False,
)
stack = structural(
    "stack",
    vjp=lambda xp, g, y, *xs, axis=0: [g[_pick(g.ndim, axis, i)] for i in range(len(xs))],
    tex=r"\left[{0}, \dots\right]",
    expects="a list of arrays of one shape",
    method=False,
)

# --- indexing ---------------------------------------------------------------------------------------------------------

getitem = structural(
    "getitem",
    forward=lambda xp, x, *, index=(): x[index],
    vjp=lambda xp, g, y, x, *, index=(): xp.scatter(g, index=index, shape=tuple(x.shape)),
    tex=r"{0}_{{[\cdot]}}",
    expects="an array and an index within its shape (ints, slices, integer arrays or boolean masks)",
    method=False,
)
scatter = structural(
    "scatter",
    vjp=lambda xp, g, y, x, *, index=(), shape=(): xp.getitem(g, index=index),
    tex=r"\operatorname{{scatter}} {0}",
    expects="an array, an index and the shape that is indexed",
    doc="Zeros of `shape` with x added at `index`; the transpose of indexing.",
)


def _padded(widths: Any, ndim: int) -> list[tuple[int, int]]:
    """(before, after) for every axis, from a number, one pair, or one pair an axis."""
    if isinstance(widths, int):
        return [(widths, widths)] * ndim
    pairs = [tuple(w) if isinstance(w, (tuple, list)) else None for w in widths]
    if None in pairs:
        if len(widths) != 2:
            raise ValueError(f"widths {widths!r}: give a number, (before, after), or one such pair for each axis")
        return [(int(widths[0]), int(widths[1]))] * ndim
    if len(pairs) == 1:
        pairs = pairs * ndim
    if len(pairs) != ndim:
        raise ValueError(f"{len(pairs)} pairs of widths for {ndim} axes")
    return [(int(p[0]), int(p[1])) for p in pairs if p is not None]


def _inside(x: Any, widths: Any) -> tuple[slice, ...]:
    return tuple(slice(before, before + n) for (before, _), n in zip(_padded(widths, x.ndim), x.shape, strict=True))


def _pad(xp: Any, x: Any, *, widths: Any = 0, value: float = 0.0) -> Any:
    shape = tuple(before + n + after for (before, after), n in zip(_padded(widths, x.ndim), x.shape, strict=True))
    placed = xp.scatter(x, index=_inside(x, widths), shape=shape)
    if value == 0:
        return placed
    return xp.where(xp.scatter(xp.ones_like(x), index=_inside(x, widths), shape=shape) == 1, placed, value)


pad = structural(
    "pad",
    forward=_pad,
    vjp=lambda xp, g, y, x, *, widths=0, value=0.0: g[_inside(x, widths)],
    tex=r"\operatorname{{pad}} {0}",
    expects="an array and widths: a number, (before, after), or one such pair for each axis",
)
