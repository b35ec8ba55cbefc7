"""Rows that sum over elements or choose among them, along `axis` (an int, a tuple of ints, or None for all)."""

from __future__ import annotations

import math
import operator
from typing import Any

from .op import structural

__all__ = [
    "argmax",
    "cumulative_sum",
    "log_softmax",
    "logsumexp",
    "max",
    "mean",
    "min",
    "norm",
    "prod",
    "softmax",
    "std",
    "sum",
    "var",
]

_EXPECTS = "an array of numbers, and an axis that it has"


def _axes(x: Any, axis: Any) -> tuple[int, ...]:
    """The axes as a tuple of non-negative ints."""
    if axis is None:
        return tuple(range(x.ndim))
    if not x.ndim:  # NumPy takes axis 0 and -1 of a number for no axis
        return ()
    return tuple(operator.index(a) % x.ndim for a in (axis if isinstance(axis, (tuple, list)) else (axis,)))


def _kept(x: Any, axis: Any) -> tuple[int, ...]:
    """The shape of x with the summed axes kept as 1."""
    gone = _axes(x, axis)
    return tuple(1 if i in gone else n for i, n in enumerate(x.shape))


def _count(x: Any, axis: Any) -> int:
    """How many elements are summed into one."""
    return math.prod(x.shape[a] for a in _axes(x, axis))


def _back(xp: Any, g: Any, x: Any, axis: Any) -> Any:
    """The cotangent with the summed axes put back as 1, so that it broadcasts against x."""
    return xp.reshape(g, shape=_kept(x, axis))


def _spread(xp: Any, g: Any, x: Any, axis: Any) -> Any:
    return xp.broadcast_to(_back(xp, g, x, axis), shape=tuple(x.shape))


def _shared(xp: Any, g: Any, y: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    """The cotangent of an extreme: shared evenly among the elements that attain it."""
    attains = xp.where(x == _back(xp, y, x, axis), 1.0, 0.0)
    return _back(xp, g, x, axis) * (attains / xp.sum(attains, axis=axis, keepdims=True))


sum = structural(
    "sum",
    vjp=lambda xp, g, y, x, *, axis=None, keepdims=False: _spread(xp, g, x, axis),
    tex=r"\sum {0}",
    expects=_EXPECTS,
)
mean = structural(
    "mean",
    vjp=lambda xp, g, y, x, *, axis=None, keepdims=False: _spread(xp, g / _count(x, axis), x, axis),
    tex=r"\operatorname{{mean}} {0}",
    expects=_EXPECTS,
)
max = structural("max", vjp=_shared, tex=r"\max {0}", expects=_EXPECTS + " with at least one element")
min = structural("min", vjp=_shared, tex=r"\min {0}", expects=_EXPECTS + " with at least one element")
argmax = structural(
    "argmax",
    vjp=lambda xp, g, y, x, *, axis=None, keepdims=False: None,
    tex=r"\operatorname{{argmax}} {0}",
    expects=_EXPECTS + " with at least one element",
    differentiable=False,
)


def _variance(xp: Any, x: Any, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    if _count(x, axis) <= correction:
        raise ValueError(
            f"{_count(x, axis)} element(s) with correction {correction:g}: expected more elements than that"
        )
    centred = x - xp.mean(x, axis=axis, keepdims=True)
    return xp.sum(centred * centred, axis=axis, keepdims=keepdims) / (_count(x, axis) - correction)


def _variance_vjp(
    xp: Any, g: Any, y: Any, x: Any, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False
) -> Any:
    centred = x - xp.mean(x, axis=axis, keepdims=True)
    return _back(xp, g, x, axis) * centred * (2 / (_count(x, axis) - correction))


# At a standard deviation or norm of 0 (a kink) the gradient is 0, the middle of the subgradients.
def _deviation_vjp(
    xp: Any, g: Any, y: Any, x: Any, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False
) -> Any:
    centred = x - xp.mean(x, axis=axis, keepdims=True)
    spread = _back(xp, y, x, axis)
    spread = xp.where(spread == 0, 1.0, spread)
    return _back(xp, g, x, axis) * centred / (spread * (_count(x, axis) - correction))


def _norm_vjp(xp: Any, g: Any, y: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    length = _back(xp, y, x, axis)
    return _back(xp, g, x, axis) * x / xp.where(length == 0, 1.0, length)


var = structural("var", forward=_variance, vjp=_variance_vjp, tex=r"\operatorname{{var}} {0}", expects=_EXPECTS)
std = structural(
    "std",
    forward=lambda xp, x, *, axis=None, correction=0.0, keepdims=False: xp.sqrt(
        _variance(xp, x, axis=axis, correction=correction, keepdims=keepdims)
    ),
    vjp=_deviation_vjp,
    tex=r"\operatorname{{std}} {0}",
    expects=_EXPECTS,
)
norm = structural(
    "norm",
    forward=lambda xp, x, *, axis=None, keepdims=False: xp.sqrt(xp.sum(x * x, axis=axis, keepdims=keepdims)),
    vjp=_norm_vjp,
    tex=r"\left\|{0}\right\|",
    expects=_EXPECTS,
    doc="The Euclidean norm along axis (over all elements for None).",
)


def _others(xp: Any, x: Any, axis: Any) -> Any:
    """For each element the product of all the others along the axes, by a tree: exact with zeros, to any order."""
    gone = _axes(x, axis)
    kept = tuple(i for i in range(x.ndim) if i not in gone)
    order = kept + gone
    moved = xp.permute_dims(x, axes=order)
    shape = tuple(moved.shape)
    level = xp.reshape(moved, shape=(*shape[: len(kept)], math.prod(shape[len(kept) :])))
    levels = []
    while level.shape[-1] > 1:
        half = level.shape[-1] // 2
        levels.append((level, half))
        pairs = level[..., :half] * level[..., half : 2 * half]
        level = xp.concat([pairs, level[..., 2 * half :]], axis=-1)
    rest = xp.ones_like(level)
    for level, half in reversed(levels):
        left, right = level[..., :half], level[..., half : 2 * half]
        rest = xp.concat([rest[..., :half] * right, rest[..., :half] * left, rest[..., half:]], axis=-1)
    back = tuple(order.index(i) for i in range(x.ndim))
    return xp.permute_dims(xp.reshape(rest, shape=shape), axes=back)


prod = structural(
    "prod",
    vjp=lambda xp, g, y, x, *, axis=None, keepdims=False: _back(xp, g, x, axis) * _others(xp, x, axis),
    tex=r"\prod {0}",
    expects=_EXPECTS,
)


def _logsumexp(xp: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    top = xp.max(x, axis=axis, keepdims=True)
    below = xp.minimum(x - xp.where(xp.isfinite(top), top, 0.0), 0.0)  # 0 only counts where the top is infinite
    total = xp.sum(xp.exp(below), axis=axis, keepdims=True)
    found = xp.log(xp.where(total == 0, 1.0, total)) + top
    return found if keepdims else xp.squeeze(found, axis=_axes(x, axis))


# Where all of x is -inf, so is y: every slope is 0 there.
logsumexp = structural(
    "logsumexp",
    forward=_logsumexp,
    vjp=lambda xp, g, y, x, *, axis=None, keepdims=False: (
        _back(xp, g, x, axis) * xp.exp(x - xp.where(_back(xp, y, x, axis) == -math.inf, 0.0, _back(xp, y, x, axis)))
    ),
    tex=r"\ln \sum e^{{{0}}}",
    expects=_EXPECTS + " with at least one element",
)


def _softmax(xp: Any, x: Any, *, axis: Any = -1) -> Any:
    weights = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    return weights / xp.sum(weights, axis=axis, keepdims=True)


softmax = structural(
    "softmax",
    forward=_softmax,
    vjp=lambda xp, g, y, x, *, axis=-1: y * (g - xp.sum(g * y, axis=axis, keepdims=True)),
    tex=r"\operatorname{{softmax}}\left({0}\right)",
    expects=_EXPECTS + " with at least one element",
)
log_softmax = structural(
    "log_softmax",
    forward=lambda xp, x, *, axis=-1: x - xp.logsumexp(x, axis=axis, keepdims=True),
    vjp=lambda xp, g, y, x, *, axis=-1: g - xp.exp(y) * xp.sum(g, axis=axis, keepdims=True),
    tex=r"\ln \operatorname{{softmax}}\left({0}\right)",
    expects=_EXPECTS + " with at least one element",
)
cumulative_sum = structural(
    "cumulative_sum",
    vjp=lambda xp, g, y, x, *, axis=None: xp.flip(
        xp.cumulative_sum(xp.flip(g, axis=-1 if axis is None else axis), axis=axis), axis=-1 if axis is None else axis
    ),
    tex=r"\operatorname{{cumsum}} {0}",
    expects=_EXPECTS + " (axis=None only for one dimension)",
)
