"""What stands in a node of the picture: numbers, shapes, gradients and parameters in a few words."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph import Node, is_node
from ..ops.namespaces import dtype_name, is_number, shape_of
from ..ops.op import Op

TINY = 6
"""Up to so many elements are shown as numbers."""
LONGEST = 28
"""Longer names and calls are shortened, and longer matrices take a line for each row; the tooltip has all of a name."""


def number(x: Any, digits: int = 4) -> str:
    """A number to so many significant digits: `0.7311`, `-2`, `1.2e-5`, `NaN`, `∞`; whole ones in full up to 99999."""
    if isinstance(x, (bool, np.bool_)):
        return str(bool(x))
    if x != x:
        return "NaN"
    if math.isinf(x):
        return "∞" if x > 0 else "-∞"
    if x == int(x) and abs(x) < 1e5:
        return str(int(x)) if x or math.copysign(1.0, x) > 0 else "-0"
    mantissa, e, exponent = f"{float(x):.{digits}g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if e else mantissa


def numbers(x: Any, digits: int = 4) -> list[str]:
    """The elements of a number or tiny array of up to two axes, in one line or a line for each row; else the shape."""
    shape = tuple(shape_of(x))
    if not shape:
        return [number(x.tolist() if hasattr(x, "tolist") else x, digits)]
    if not is_shown(x):
        return [str(shape)]
    if len(shape) == 1:
        return ["[" + ", ".join(number(i, digits) for i in x.tolist()) + "]"]
    rows = ["[" + ", ".join(number(i, digits) for i in row) + "]" for row in x.tolist()]
    line = f"[{', '.join(rows)}]"
    return [line] if len(line) <= LONGEST else f"[{',|'.join(rows)}]".split("|")


def fitting(x: Any) -> list[str]:
    """`numbers`, or the shape where they would make a box too large."""
    lines = numbers(x)
    return lines if len(lines) <= TALLEST and max(map(len, lines)) <= WIDEST else [str(tuple(shape_of(x)))]


def is_shown(x: Any) -> bool:
    """Whether `numbers` gives the elements."""
    shape = tuple(shape_of(x))
    return not shape or (0 < math.prod(shape) <= TINY and len(shape) <= 2)


TALLEST = 3
WIDEST = 36
"""Numbers that take more lines, or a longer one, stand in the tooltip only."""


def unusual_dtype(x: Any) -> str:
    """The dtype with a space before it, unless it is float64."""
    name = dtype_name(x)
    return f" {name}" if name not in ("", "float64") else ""


def short(text: str) -> str:
    """Text of at most `LONGEST` characters: what is left out stood in the middle, as names differ at their ends."""
    if len(text) <= LONGEST:
        return text
    return text[: LONGEST // 2 - 1] + "…" + text[-LONGEST // 2 :]


def call(op: Op, params: dict[str, Any], symbol: bool = True) -> str:
    """The op with the parameters that are not its defaults: `+`, `tanh`, `sum(axis=0)`, `reshape(shape=(2, 3))`."""
    given = ", ".join(f"{k}={_parameter(v)}" for k, v in params.items() if not _is_default(v, op.defaults.get(k)))
    return ((op.symbol if symbol else None) or op.name) + (f"({given})" if given else "")


def _is_default(x: Any, default: Any) -> bool:
    return x is default or (type(x) is type(default) and isinstance(x, (bool, int, float, str)) and x == default)


def _parameter(x: Any) -> str:
    """A parameter as one would write it; an array by its shape."""
    if isinstance(x, slice):
        start, stop, step = ("" if part is None else str(part) for part in (x.start, x.stop, x.step))
        return f"{start}:{stop}" + (f":{step}" if step else "")
    if isinstance(x, (tuple, list)):
        return "(" + ", ".join(map(_parameter, x)) + (",)" if len(x) == 1 else ")")
    if x is Ellipsis:
        return "..."
    if is_number(x):
        return number(x)
    if hasattr(x, "tolist"):
        return " ".join(numbers(x)) if is_shown(x) else f"array {tuple(x.shape)}"
    return getattr(x, "__name__", None) or str(x)


def value(x: Any) -> list[str]:
    """The value lines of a node that holds x."""
    lines = fitting(x)
    lines[0] = ("shape: " if lines[0].startswith("(") else "value: ") + lines[0]
    lines[-1] += unusual_dtype(x)
    return lines


def gradient(node: Node) -> list[str]:
    """The gradient lines of a node; none where no gradient flows."""
    if node.grad is None:
        return ["grad: \N{EN DASH}"] if node.requires_grad else []
    lines = fitting(plain(node.grad))
    return ["grad: " + lines[0], *lines[1:]]


def constant(x: Any) -> list[str]:
    """The lines of a constant: its numbers, or its shape."""
    lines = fitting(x)
    if tuple(shape_of(x)):
        lines[-1] += unusual_dtype(x)
    return lines


def details(x: Any) -> list[str]:
    """The tooltip's lines on data: shape, dtype and, of a number or tiny array, more digits than the node has."""
    lines = [f"shape: {tuple(shape_of(x))}" + (f", {dtype_name(x)}" if dtype_name(x) else "")]
    return lines + (["value: " + " ".join(numbers(x, digits=7))] if is_shown(x) else [])


def gradient_details(node: Node) -> str:
    """The tooltip's line on the gradient."""
    if node.grad is None:
        return "gradient: not computed yet" if node.requires_grad else "takes no gradient"
    return "gradient: " + " ".join(numbers(plain(node.grad), digits=7))


def plain(g: Any) -> Any:
    """The numbers of a gradient, which is a node itself after backward(create_graph=True)."""
    return g.data if is_node(g) else g
