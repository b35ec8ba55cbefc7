"""The elementwise rows: each is the op's local derivative, the formula that stands in the notes."""

from __future__ import annotations

import math

from .op import POSITIVE, REALS, Interval, elementwise

UNIT: Interval = (-1.0, 1.0)

identity = elementwise("identity", forward=lambda xp, x: x, partials=lambda xp, y, x: (1,), tex="{0}", method=False)

# --- arithmetic -------------------------------------------------------------------------------------------------------

add = elementwise("add", "+", forward=lambda xp, a, b: a + b, partials=lambda xp, y, a, b: (1, 1), tex="{0} + {1}")
subtract = elementwise(
    "subtract", "-", forward=lambda xp, a, b: a - b, partials=lambda xp, y, a, b: (1, -1), tex="{0} - {1}"
)
multiply = elementwise(
    "multiply", "*", forward=lambda xp, a, b: a * b, partials=lambda xp, y, a, b: (b, a), tex=r"{0} \, {1}"
)
divide = elementwise(
    "divide",
    "/",
    forward=lambda xp, a, b: a / b,
    partials=lambda xp, y, a, b: (lambda: 1 / b, lambda: -y / b),
    tex=r"\frac{{{0}}}{{{1}}}",
    domain=(REALS, POSITIVE),
    singular=True,
)
negative = elementwise("negative", "-", forward=lambda xp, x: -x, partials=lambda xp, y, x: (-1,), tex="-{0}")
# At b = 0 the power is constant, so its slope in a is 0 (also at a = 0). The slope in b is that of e^(b ln a); at a = 0 it
# is the limit from the right, 0; for a < 0 it does not exist: NaN.
pow = elementwise(
    "pow",
    "**",
    partials=lambda xp, y, a, b: (
        lambda: b * xp.pow(a, xp.where(b == 0, 1.0, b - 1)),
        lambda: y * xp.log(xp.where(a == 0, 1.0, a)),
    ),
    tex="{0}^{{{1}}}",
    domain=(POSITIVE, REALS),
    singular=True,
)
square = elementwise("square", partials=lambda xp, y, x: (2 * x,), tex="{0}^2")
sqrt = elementwise("sqrt", partials=lambda xp, y, x: (0.5 / y,), tex=r"\sqrt{{{0}}}", domain=(POSITIVE,), singular=True)
# abs, maximum, minimum, relu, clip have kinks. There the slope is the middle one, except relu and clip, which take one
# side as most libraries do; any value between the one-sided slopes is a subgradient.
abs = elementwise("abs", partials=lambda xp, y, x: (xp.sign(x),), tex=r"\left|{0}\right|")
sign = elementwise("sign", partials=lambda xp, y, x: (0,), tex=r"\operatorname{{sign}} {0}")
maximum = elementwise(
    "maximum",
    partials=lambda xp, y, a, b: (
        lambda: xp.where(a > b, 1.0, xp.where(a == b, 0.5, 0.0)),
        lambda: xp.where(b > a, 1.0, xp.where(a == b, 0.5, 0.0)),
    ),
    tex=r"\max\left({0}, {1}\right)",
)
minimum = elementwise(
    "minimum",
    partials=lambda xp, y, a, b: (
        lambda: xp.where(a < b, 1.0, xp.where(a == b, 0.5, 0.0)),
        lambda: xp.where(b < a, 1.0, xp.where(a == b, 0.5, 0.0)),
    ),
    tex=r"\min\left({0}, {1}\right)",
)


def _clip(xp, x, *, min=None, max=None):  # type: ignore[no-untyped-def]  # a rule: x is whatever xp's arrays are
    x = x if min is None else xp.maximum(x, min)
    return x if max is None else xp.minimum(x, max)


clip = elementwise(
    "clip",
    forward=_clip,
    partials=lambda xp, y, x, *, min=None, max=None: (xp.where(y == x, 1.0, 0.0),),
    tex=r"\operatorname{{clip}}\left({0}\right)",
    doc="x held between min and max (numbers, arrays or None). On a bound the slope is 1.",
)
where = elementwise(
    "where",
    partials=lambda xp, y, condition, a, b: (
        None,
        lambda: xp.where(condition, 1.0, 0.0),
        lambda: xp.where(condition, 0.0, 1.0),
    ),
    tex=r"\begin{{cases}} {1} & {0} \\ {2} \end{{cases}}",
    method=False,
)
hypot = elementwise(
    "hypot",
    partials=lambda xp, y, a, b: (lambda: a / xp.where(y == 0, 1.0, y), lambda: b / xp.where(y == 0, 1.0, y)),
    tex=r"\sqrt{{{0}^2 + {1}^2}}",
)

# --- exponentials and logarithms --------------------------------------------------------------------------------------

exp = elementwise("exp", partials=lambda xp, y, x: (y,), tex="e^{{{0}}}", singular=True)
# Not y + 1, which cancels where y is near -1.
expm1 = elementwise("expm1", partials=lambda xp, y, x: (xp.exp(x),), tex="e^{{{0}}} - 1", singular=True)
log = elementwise("log", partials=lambda xp, y, x: (1 / x,), tex=r"\ln {0}", domain=(POSITIVE,), singular=True)
log1p = elementwise(
    "log1p",
    partials=lambda xp, y, x: (1 / (1 + x),),
    tex=r"\ln\left(1 + {0}\right)",
    domain=((-1.0, math.inf),),
    singular=True,
)
# Equal arguments share the slope, also two infinite ones, whose difference would be NaN.
logaddexp = elementwise(
    "logaddexp",
    partials=lambda xp, y, a, b: (
        lambda: xp.sigmoid(xp.where(a == b, 0.0, a - b)),
        lambda: xp.sigmoid(xp.where(a == b, 0.0, b - a)),
    ),
    tex=r"\ln\left(e^{{{0}}} + e^{{{1}}}\right)",
)
# 0 ln 0 = 0, the limit: a label of 0 silences its term of the cross-entropy.
xlogy = elementwise(
    "xlogy",
    forward=lambda xp, x, a: xp.where(x == 0, 0.0, x * xp.log(xp.where(x == 0, 1.0, a))),
    partials=lambda xp, y, x, a: (lambda: xp.log(a), lambda: xp.where(x == 0, 0.0, x / xp.where(x == 0, 1.0, a))),
    tex=r"{0} \ln {1}",
    domain=(REALS, POSITIVE),
    singular=True,
    doc="x · ln a, and 0 where x is 0.",
)

# --- trigonometric and hyperbolic -------------------------------------------------------------------------------------

sin = elementwise("sin", partials=lambda xp, y, x: (xp.cos(x),), tex=r"\sin {0}")
cos = elementwise("cos", partials=lambda xp, y, x: (-xp.sin(x),), tex=r"\cos {0}")
tan = elementwise(
    "tan", partials=lambda xp, y, x: (1 + y * y,), tex=r"\tan {0}", domain=((-math.pi / 2, math.pi / 2),), singular=True
)
# (1 - x)(1 + x), not 1 - x², which cancels near ±1.
asin = elementwise(
    "asin",
    partials=lambda xp, y, x: (1 / xp.sqrt((1 - x) * (1 + x)),),
    tex=r"\arcsin {0}",
    domain=(UNIT,),
    singular=True,
)
acos = elementwise(
    "acos",
    partials=lambda xp, y, x: (-1 / xp.sqrt((1 - x) * (1 + x)),),
    tex=r"\arccos {0}",
    domain=(UNIT,),
    singular=True,
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
    singular=True,
)
sinh = elementwise("sinh", partials=lambda xp, y, x: (xp.cosh(x),), tex=r"\sinh {0}", singular=True)
cosh = elementwise("cosh", partials=lambda xp, y, x: (xp.sinh(x),), tex=r"\cosh {0}", singular=True)
tanh = elementwise("tanh", partials=lambda xp, y, x: (1 - y * y,), tex=r"\tanh {0}")

# --- activations ------------------------------------------------------------------------------------------------------

# e^-|x| never overflows. The notes' slope is a (1 - a); 1 - a loses every digit for large x, and σ(-x) is 1 - a with none lost.
sigmoid = elementwise(
    "sigmoid",
    forward=lambda xp, x: xp.where(x >= 0, 1.0, xp.exp(-xp.abs(x))) / (1 + xp.exp(-xp.abs(x))),
    partials=lambda xp, y, x: (y * xp.sigmoid(-x),),
    tex=r"\sigma\left({0}\right)",
)
# 1 - a for an a = σ(z): `exact` is σ(-z), computed without cancellation; see `complement` in compositions.py.
one_minus = elementwise(
    "one_minus",
    forward=lambda xp, a, exact: exact + 0 * a,
    partials=lambda xp, y, a, exact: (-1, None),
    tex="1 - {0}",
    method=False,
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
erf = elementwise("erf", partials=lambda xp, y, x: (2 / math.sqrt(math.pi) * xp.exp(-x * x),))
erfc = elementwise("erfc", partials=lambda xp, y, x: (-2 / math.sqrt(math.pi) * xp.exp(-x * x),))
# x Φ(x) with Φ the normal distribution function (Hendrycks and Gimpel 2016), by erfc, which keeps the left tail.
gelu = elementwise(
    "gelu",
    forward=lambda xp, x: 0.5 * x * xp.erfc(-x / math.sqrt(2)),
    partials=lambda xp, y, x: (0.5 * xp.erfc(-x / math.sqrt(2)) + x * xp.exp(-0.5 * x * x) / math.sqrt(2 * math.pi),),
)

# --- comparisons: they choose, and take no gradient -------------------------------------------------------------------

less = elementwise("less", "<", partials=None, arity=2, tex="{0} < {1}")
less_equal = elementwise("less_equal", "<=", partials=None, arity=2, tex=r"{0} \le {1}")
greater = elementwise("greater", ">", partials=None, arity=2, tex="{0} > {1}")
greater_equal = elementwise("greater_equal", ">=", partials=None, arity=2, tex=r"{0} \ge {1}")
equal = elementwise("equal", "==", partials=None, arity=2, tex="{0} = {1}")
not_equal = elementwise("not_equal", "!=", partials=None, arity=2, tex=r"{0} \ne {1}")
logical_and = elementwise("logical_and", "&", partials=None, arity=2, tex=r"{0} \wedge {1}")
logical_or = elementwise("logical_or", "|", partials=None, arity=2, tex=r"{0} \vee {1}")
logical_not = elementwise("logical_not", "~", partials=None, arity=1, tex=r"\neg {0}")
