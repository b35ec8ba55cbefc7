"""Elementwise rows: activations of units, and the cross-entropy that belongs to the sigmoid."""

from __future__ import annotations

import math

from .op import elementwise

__all__ = [
    "elu",
    "gelu",
    "leaky_relu",
    "one_minus",
    "relu",
    "sigmoid",
    "silu",
    "softplus",
]

# e^-|x| never overflows. The notes' slope is a (1 - a); for large x, 1 - a loses every digit, and its equal σ(-x) none.
sigmoid = elementwise(
    "sigmoid",
    forward=lambda xp, x: xp.where(x >= 0, 1.0, xp.exp(-xp.abs(x))) / (1 + xp.exp(-xp.abs(x))),
    partials=lambda xp, y, x: (y * xp.sigmoid(-x),),
    tex=r"\sigma\left({0}\right)",
)
relu = elementwise(
    "relu",
    forward=lambda xp, x: xp.maximum(x, 0.0),
    partials=lambda xp, y, x: (xp.where(x > 0, 1.0, 0.0),),
    tex=r"\operatorname{{relu}}\left({0}\right)",
)
leaky_relu = elementwise(
    "leaky_relu",
    forward=lambda xp, x, *, slope=0.01: xp.where(x > 0, x, slope * x),
    partials=lambda xp, y, x, *, slope=0.01: (xp.where(x > 0, 1.0, slope),),
)
elu = elementwise(
    "elu",
    forward=lambda xp, x, *, alpha=1.0: xp.where(x > 0, x, alpha * xp.expm1(xp.minimum(x, 0.0))),
    partials=lambda xp, y, x, *, alpha=1.0: (xp.where(x > 0, 1.0, alpha * xp.exp(xp.minimum(x, 0.0))),),
)
softplus = elementwise(
    "softplus",
    forward=lambda xp, x: xp.maximum(x, 0.0) + xp.log1p(xp.exp(-xp.abs(x))),
    partials=lambda xp, y, x: (xp.sigmoid(x),),
    tex=r"\ln\left(1 + e^{{{0}}}\right)",
)
silu = elementwise(
    "silu",
    forward=lambda xp, x: x * xp.sigmoid(x),
    partials=lambda xp, y, x: (xp.sigmoid(x) * (1 + x * xp.sigmoid(-x)),),
)
# x Φ(x) with Φ the normal distribution function (Hendrycks and Gimpel 2016), by erfc, which keeps the left tail.
gelu = elementwise(
    "gelu",
    forward=lambda xp, x: 0.5 * x * xp.erfc(-x / math.sqrt(2)),
    partials=lambda xp, y, x: (0.5 * xp.erfc(-x / math.sqrt(2)) + x * xp.exp(-0.5 * x * x) / math.sqrt(2 * math.pi),),
)

# --- cross-entropy ----------------------------------------------------------------------------------------------------

# 1 - a for an a = σ(z): `exact` is σ(-z), computed without cancellation; see `complement` in compositions.py.
one_minus = elementwise(
    "one_minus",
    forward=lambda xp, a, exact: exact + 0 * a,
    partials=lambda xp, y, a, exact: (-1, None),
    tex="1 - {0}",
    method=False,
)
# `exact` is 1 - a without cancellation, as for one_minus, through which the slope is written: so the second derivative
# knows that 1 - a depends on a.
cross_entropy = elementwise(
    "cross_entropy",
    forward=lambda xp, y, a, exact: -(xp.xlogy(y, a) + xp.xlogy(1 - y, exact)),
    partials=lambda xp, loss, y, a, exact: (
        lambda: xp.log(xp.one_minus(a, exact)) - xp.log(a),
        lambda: xp.scale(1 - y, 1 / xp.one_minus(a, exact)) - xp.scale(y, 1 / a),
        None,
    ),
    tex=r"-\left[{0} \ln {1} + (1 - {0}) \ln(1 - {1})\right]",
    domain=((0.0, 1.0), (0.0, 1.0), (0.0, 1.0)),
    method=False,
)
