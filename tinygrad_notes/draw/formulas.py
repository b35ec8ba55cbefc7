"""Local derivatives as one would write them: a row of the op table, read with names in place of numbers.

The rules ask for shapes, so a name stands for an array of its shape: what is written is what the backward pass does,
without the moves that only fit shapes to each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graph import Node
from ..ops import Op, shape_of
from ..ops.namespaces import Namespace, is_number, numpy_reading
from ..ops.op import force
from .labels import number

LONGEST = 60
"""A longer formula says less than none."""
LARGEST = 10_000
"""Of larger arrays no formula is read, since reading it computes with arrays of their shapes."""

_SUM, _PRODUCT, _POWER, _ATOM = range(4)
_SILENT = frozenset({"reshape", "broadcast_to", "sum_to", "astype", "asarray", "squeeze", "expand_dims"})


class Written:
    """A name or formula, with an array of its shape."""

    __slots__ = ("array", "level", "text")
    __hash__ = None  # type: ignore[assignment]  # == writes a comparison
    __array_ufunc__ = None

    def __init__(self, text: str, array: Any, level: int = _ATOM) -> None:
        self.text, self.array, self.level = text, array, level

    def inside(self, level: int) -> str:
        """The text, in parentheses where it binds less than that."""
        return self.text if self.level >= level else f"({self.text})"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what it stands for."""
        return tuple(np.shape(self.array))

    @property
    def ndim(self) -> int:
        """The number of its axes."""
        return np.ndim(self.array)

    @property
    def dtype(self) -> Any:
        """The dtype of what it stands for."""
        return np.asarray(self.array).dtype

    def __neg__(self) -> Written:
        return Written(f"−{self.inside(_PRODUCT)}", -self.array, _SUM)

    def __getitem__(self, index: Any) -> Written:
        return Written(f"{self.inside(_ATOM)}[…]", self.array[index])


def _written(x: Any) -> Written:
    if type(x) is Written:
        return x
    if is_number(x):
        text = number(x)
        return Written(text.replace("-", "−"), x, _SUM if x < 0 else _ATOM)
    return Written(f"array{tuple(shape_of(x))}", x)


def _infix(write: Callable[[Written, Written], tuple[str, int]], compute: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    def forwards(a: Any, b: Any) -> Written:
        if is_number(a) and is_number(b):
            return _written(compute(a, b))
        a, b = _written(a), _written(b)
        text, level = write(a, b)
        with np.errstate(all="ignore"):
            return Written(text, compute(a.array, b.array), level)

    return forwards, lambda a, b: forwards(b, a)


def _plus(a: Written, b: Written) -> tuple[str, int]:
    if "0" in (a.text, b.text):
        return (a.text, a.level) if b.text == "0" else (b.text, b.level)
    return f"{a.text} + {b.inside(_PRODUCT)}", _SUM


def _minus(a: Written, b: Written) -> tuple[str, int]:
    if "0" in (a.text, b.text):
        return (a.text, a.level) if b.text == "0" else (f"−{b.inside(_PRODUCT)}", _SUM)
    return f"{a.text} − {b.inside(_PRODUCT)}", _SUM


def _over(a: Written, b: Written) -> tuple[str, int]:
    return ("0", _ATOM) if a.text == "0" else (f"{a.inside(_PRODUCT)} / {b.inside(_POWER)}", _PRODUCT)


def _times(a: Written, b: Written) -> tuple[str, int]:
    if "0" in (a.text, b.text):
        return "0", _ATOM
    if a.text == "1":
        return b.text, b.level
    if b.text == "1":
        return a.text, a.level
    if b.text == "−1":
        return f"−{a.inside(_PRODUCT)}", _SUM
    if a.text == b.text and a.level == _ATOM:
        return f"{a.text}²", _POWER
    if b.text.startswith("1 / "):
        return f"{a.inside(_PRODUCT)} / {b.text[4:]}", _PRODUCT
    return f"{a.inside(_PRODUCT)} · {b.inside(_PRODUCT)}", _PRODUCT


_OPERATORS: dict[str, tuple[Callable[[Written, Written], tuple[str, int]], Callable[[Any, Any], Any]]] = {
    "add": (_plus, lambda a, b: a + b),
    "sub": (_minus, lambda a, b: a - b),
    "mul": (_times, lambda a, b: a * b),
    "truediv": (_over, lambda a, b: a / b),
    "matmul": (lambda a, b: (f"{a.inside(_PRODUCT)} {b.inside(_PRODUCT)}", _PRODUCT), lambda a, b: a @ b),
    "pow": (lambda a, b: (f"{a.inside(_ATOM)}^{b.inside(_ATOM)}", _POWER), lambda a, b: a**b),
    "lt": (lambda a, b: (f"{a.text} < {b.text}", -1), lambda a, b: a < b),
    "le": (lambda a, b: (f"{a.text} ≤ {b.text}", -1), lambda a, b: a <= b),
    "gt": (lambda a, b: (f"{a.text} > {b.text}", -1), lambda a, b: a > b),
    "ge": (lambda a, b: (f"{a.text} ≥ {b.text}", -1), lambda a, b: a >= b),
    "eq": (lambda a, b: (f"{a.text} = {b.text}", -1), lambda a, b: a == b),
    "ne": (lambda a, b: (f"{a.text} ≠ {b.text}", -1), lambda a, b: a != b),
    "or": (lambda a, b: (f"{a.text} or {b.text}", -1), lambda a, b: a | b),
    "and": (lambda a, b: (f"{a.text} and {b.text}", -1), lambda a, b: a & b),
}
for _name, (_write, _compute) in _OPERATORS.items():
    _forwards, _backwards = _infix(_write, _compute)
    setattr(Written, f"__{_name}__", _forwards)
    if _name not in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(Written, f"__r{_name}__", _backwards)


class _WritingNamespace(Namespace):
    """The `xp` that writes. An op stands by its name; what its row computes it from is not spelled out."""

    def __init__(self) -> None:
        super().__init__(numpy_reading)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*args: Any, **params: Any) -> Any:
            found = [_written(a) for a in (args[0] if isinstance(args[0], list) else args)]
            arrays = [f.array for f in found]
            with np.errstate(all="ignore"):
                given = (arrays,) if isinstance(args[0], list) else arrays
                array = getattr(numpy_reading, name)(*given, **params)
            return Written(*_call(name, found, array, params))

        return call

    def pow(self, a: Any, b: Any) -> Written:
        """A power; of exponent 1 or 0, what it is."""
        a, b = _written(a), _written(b)
        return a if b.text == "1" else a**b  # type: ignore[no-any-return]  # as above

    def scale(self, g: Any, slope: Any) -> Written:
        """g · slope."""
        return _written(g) * _written(slope)  # type: ignore[operator, no-any-return]  # its operators are made above

    def square(self, x: Any) -> Written:
        """x²."""
        x = _written(x)
        return Written(f"{x.inside(_ATOM)}²", x.array**2, _POWER)


def _call(name: str, args: list[Written], array: Any, params: dict[str, Any]) -> tuple[str, Any, int]:
    first = args[0]
    if name == "sum_to" and np.size(array) < np.size(first.array):
        name = "sum"
    if name in _SILENT:
        return first.text, array, first.level
    if name == "permute_dims":
        return f"{first.inside(_ATOM)}ᵀ", array, _ATOM
    if name == "sum":
        return f"Σ {first.inside(_PRODUCT)}", array, _PRODUCT
    if name in ("zeros_like", "ones_like"):
        return name[0].replace("z", "0").replace("o", "1"), array, _ATOM
    if name == "one_minus":
        return f"1 − {first.inside(_PRODUCT)}", array, _SUM
    if name == "where":
        return f"{args[1].text} if {first.text} else {args[2].text}", array, -1
    shown = {"sigmoid": "σ", "log": "ln"}.get(name, name)
    return f"{shown}({', '.join(a.text for a in args)})", array, _ATOM


_XP = _WritingNamespace()


def contribution(node: Node, position: int, g: str, y: str, names: Sequence[str]) -> str:
    """What the backward pass hands on from a node to one of its arguments, as a formula.

    Args:
        node: the node.
        position: which argument.
        g: what to call ∂L/∂node; empty for the local derivative alone, of an elementwise op.
        y: what to call the node.
        names: what to call each argument.

    Returns:
        The formula; empty where there is none to read: the arrays are large, or the rule does what no formula says.
    """
    op = node.op
    assert op is not None
    parents = node.parents
    if any(math.prod(shape_of(x)) > LARGEST for x in (node, *parents)):
        return ""
    try:
        with np.errstate(all="ignore"):
            args = [_argument(name, p) for name, p in zip(names, parents, strict=True)]
            result = Written(y, _example(node))
            wanted = [i == position for i in range(len(parents))]
            if op.elementwise:
                found = _slope(op, result, args, position, node.params)
                if found is not None and g:
                    found = Written(g, result.array) * found  # type: ignore[operator]  # its operators are made below
                    if found.shape != shape_of(parents[position]):  # broadcasting is undone
                        found = Written(f"Σ {found.inside(_PRODUCT)}", found.array, _PRODUCT)
            else:
                found = op.vjp(_XP, Written(g or "g", result.array), result, args, wanted, node.params)[position]
            text = found.text if found is not None else ""
            if op.name == "sigmoid":  # the row says σ(−x) for its digits; the notes say 1 − a
                text = text.replace(f"σ({(-args[0]).text})", f"(1 − {y})")
            return text if len(text) <= LONGEST else ""
    except Exception:  # a rule may do anything; a picture is no place to fail for want of a formula
        return ""


def _slope(op: Op, y: Written, args: list[Written], position: int, params: dict[str, Any]) -> Written | None:
    assert op.partials is not None
    slope = force(op.partials(_XP, y, *args, **params)[position])
    return None if slope is None else _written(slope)


def _argument(name: str, x: Any) -> Any:
    if is_number(x):  # a number is reckoned with: 2 − 1 is 1
        return x
    return Written(name, _example(x), _ATOM if name.isidentifier() or len(name) < 3 else _SUM)


def _example(x: Any) -> Any:
    """An array of the shape of x, of ones: rules may ask for shapes, formulas depend on nothing else."""
    shape = shape_of(x)
    return np.ones(shape) if shape else 1.0
