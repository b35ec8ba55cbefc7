"""Elementwise rows: arithmetic, and what compares and chooses. A row is its local derivative, as in the notes."""

from __future__ import annotations

from typing import Any

from .op import POSITIVE, REALS, elementwise

__all__ = [
    "abs",
    "add",
    "clip",
    "divide",
    "equal",
    "greater",
    "greater_equal",
    "hypot",
    "identity",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "not_equal",
    "pow",
    "sign",
    "sqrt",
    "square",
    "subtract",
    "where",
]

identity = elementwise("identity", forward=lambda xp, x: x, partials=lambda xp, y, x: (1,), tex="{0}", method=False)
add = elementwise("add", "+", forward=lambda xp, a, b: a + b, partials=lambda xp, y, a, b: (1, 1), tex="{0} + {1}")
subtract = elementwise(
    "subtract", "-", forward=lambda xp, a, b: a - b, partials=lambda xp, y, a, b: (1, -1), tex="{0} - {1}"
)
multiply = elementwise(
    "multiply",
    "*",
    forward=lambda xp, a, b: a * b,
    partials=lambda xp, y, a, b: (b, a),
    tex=r"{0} \, {1}",
)
divide = elementwise(
    "divide",
    "/",
    forward=lambda xp, a, b: a / b,
    partials=lambda xp, y, a, b: (lambda: 1 / b, lambda: -y / b),
    tex=r"\frac{{{0}}}{{{1}}}",
    domain=(REALS, POSITIVE),
)
negative = elementwise("negative", "-", forward=lambda xp, x: -x, partials=lambda xp, y, x: (-1,), tex="-{0}")
# At b = 0 the power is constant, so its slope in a is 0 (also at a = 0: `scale` has 0 · ∞ = 0). The slope in b is that
# of e^(b ln a); at a = 0 it is the limit from the right, 0; for a < 0 it does not exist: NaN.
pow = elementwise(
    "pow",
    "**",
    partials=lambda xp, y, a, b: (
        lambda: xp.scale(b, xp.pow(a, b - 1)),
        lambda: y * xp.log(xp.where(a == 0, 1.0, a)),
    ),
    tex="{0}^{{{1}}}",
    domain=(POSITIVE, REALS),
)
square = elementwise("square", partials=lambda xp, y, x: (2 * x,), tex="{0}^2")
sqrt = elementwise("sqrt", partials=lambda xp, y, x: (0.5 / y,), tex=r"\sqrt{{{0}}}", domain=(POSITIVE,))
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


def _clip(xp: Any, x: Any, *, min: Any = None, max: Any = None) -> Any:
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

# --- Python's operators, of every kind of node, by the names of their methods -----------------------------------------

BINARY = {"add": add, "sub": subtract, "mul": multiply, "truediv": divide, "pow": pow}
UNARY = {"neg": negative, "abs": abs}
COMPARISONS = {
    "lt": less,
    "le": less_equal,
    "gt": greater,
    "ge": greater_equal,
    "eq": equal,
    "ne": not_equal,
}
