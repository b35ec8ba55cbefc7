"""Elementwise rows: exponentials and logarithms, trigonometric and hyperbolic functions, the error function."""

from __future__ import annotations

import math
from typing import Any

from .op import POSITIVE, REALS, Interval, elementwise

__all__ = [
    "acos",
    "asin",
    "atan",
    "atan2",
    "cos",
    "cosh",
    "erf",
    "erfc",
    "exp",
    "expm1",
    "log",
    "log1p",
    "logaddexp",
    "sin",
    "sinh",
    "tan",
    "tanh",
    "xlogy",
]

# --- exponentials and logarithms --------------------------------------------------------------------------------------

exp = elementwise("exp", partials=lambda xp, y, x: (y,), tex="e^{{{0}}}")
# Not y + 1, which cancels where y is near -1.
expm1 = elementwise("expm1", partials=lambda xp, y, x: (xp.exp(x),), tex="e^{{{0}}} - 1")
log = elementwise("log", partials=lambda xp, y, x: (1 / x,), tex=r"\ln {0}", domain=(POSITIVE,))
log1p = elementwise(
    "log1p",
    partials=lambda xp, y, x: (1 / (1 + x),),
    tex=r"\ln\left(1 + {0}\right)",
    domain=((-1.0, math.inf),),
)


def _difference(xp: Any, a: Any, b: Any) -> Any:
    """a - b, and 0 for two equal infinities, so that they share the slope."""
    return xp.where(xp.logical_and(a == b, xp.abs(a) == math.inf), 0.0, a - b)


logaddexp = elementwise(
    "logaddexp",
    partials=lambda xp, y, a, b: (
        lambda: xp.sigmoid(_difference(xp, a, b)),
        lambda: xp.sigmoid(_difference(xp, b, a)),
    ),
    tex=r"\ln\left(e^{{{0}}} + e^{{{1}}}\right)",
)
# 0 ln 0 = 0, the limit: a label of 0 silences its term of the cross-entropy.
xlogy = elementwise(
    "xlogy",
    forward=lambda xp, x, a: xp.where(x == 0, 0.0, x * xp.log(xp.where(x == 0, x + 1.0, a))),
    partials=lambda xp, y, x, a: (lambda: xp.log(a), lambda: xp.scale(x, 1 / a)),
    tex=r"{0} \ln {1}",
    domain=(REALS, POSITIVE),
    doc="x · ln a, and 0 where x is 0.",
)

# --- trigonometric and hyperbolic -------------------------------------------------------------------------------------

UNIT: Interval = (-1.0, 1.0)

sin = elementwise("sin", partials=lambda xp, y, x: (xp.cos(x),), tex=r"\sin {0}")
cos = elementwise("cos", partials=lambda xp, y, x: (-xp.sin(x),), tex=r"\cos {0}")
tan = elementwise("tan", partials=lambda xp, y, x: (1 + y * y,), tex=r"\tan {0}", domain=((-math.pi / 2, math.pi / 2),))
# (1 - x)(1 + x), not 1 - x², which cancels near ±1.
asin = elementwise(
    "asin",
    partials=lambda xp, y, x: (1 / xp.sqrt((1 - x) * (1 + x)),),
    tex=r"\arcsin {0}",
    domain=(UNIT,),
)
acos = elementwise(
    "acos",
    partials=lambda xp, y, x: (-1 / xp.sqrt((1 - x) * (1 + x)),),
    tex=r"\arccos {0}",
    domain=(UNIT,),
)
atan = elementwise("atan", partials=lambda xp, y, x: (1 / (1 + x * x),), tex=r"\arctan {0}")
# Divided twice, so that a² + b² neither overflows nor vanishes.
atan2 = elementwise(
    "atan2",
    partials=lambda xp, y, a, b: (
        lambda: b / xp.hypot(a, b) / xp.hypot(a, b),
        lambda: -a / xp.hypot(a, b) / xp.hypot(a, b),
    ),
    tex=r"\operatorname{{atan2}}\left({0}, {1}\right)",
    domain=(REALS, POSITIVE),
)
sinh = elementwise("sinh", partials=lambda xp, y, x: (xp.cosh(x),), tex=r"\sinh {0}")
cosh = elementwise("cosh", partials=lambda xp, y, x: (xp.sinh(x),), tex=r"\cosh {0}")
tanh = elementwise("tanh", partials=lambda xp, y, x: (1 - y * y,), tex=r"\tanh {0}")

# --- the error function -----------------------------------------------------------------------------------------------

erf = elementwise("erf", partials=lambda xp, y, x: (2 / math.sqrt(math.pi) * xp.exp(-x * x),))
erfc = elementwise("erfc", partials=lambda xp, y, x: (-2 / math.sqrt(math.pi) * xp.exp(-x * x),))
