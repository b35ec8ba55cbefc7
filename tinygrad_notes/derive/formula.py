"""`Formula`: what the rules of the op table are read with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import add, mul, pow, sub, truediv
from typing import TYPE_CHECKING, Any

from ..ops import TABLE
from .algebra import function
from .sizes import Size

Shape = tuple[int, ...]


class Formula:
    """An elementwise expression and the shape that it is broadcast to; the array that rules are read with."""

    __slots__ = ("expr", "shape", "sheet")
    __hash__ = None  # type: ignore[assignment]  # == is that of a rule, elementwise

    def __init__(self, sheet: Any, expr: Any, shape: Sequence[int]) -> None:
        self.sheet, self.expr, self.shape = sheet, expr, tuple(shape)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    if TYPE_CHECKING:  # the operators are made from Python's, below

        def __add__(self, other: Any, /) -> Any: ...
        def __mul__(self, other: Any, /) -> Any: ...
        def __truediv__(self, other: Any, /) -> Any: ...
        def __pow__(self, other: Any, /) -> Any: ...

    @property
    def T(self) -> Any:  # noqa: N802  # NumPy's name
        """The transpose."""
        return self.sheet.permute_dims(self)

    def __neg__(self) -> Formula:
        return Formula(self.sheet, -self.expr, self.shape)

    def __matmul__(self, other: Any) -> Any:
        return self.sheet.matmul(self, self.sheet.formula(other))

    def __rmatmul__(self, other: Any) -> Any:
        return self.sheet.matmul(self.sheet.formula(other), self)

    def __getitem__(self, index: Any) -> Any:
        return self.sheet.structural(TABLE["getitem"], [self], {"index": index})

    # A formula holds at points in general position, where nothing is 0 or infinite by chance; two arrays may be equal.
    def __eq__(self, other: object) -> Any:
        return self.sheet.elementwise(function("equal"), self, other) if isinstance(other, Formula) else False

    def __ne__(self, other: object) -> Any:
        return self.sheet.elementwise(function("not_equal"), self, other) if isinstance(other, Formula) else True


def _operator(combine: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    def forwards(self: Formula, other: Any) -> Any:
        return self.sheet.elementwise(combine, self, other)

    def backwards(self: Formula, other: Any) -> Any:
        return self.sheet.elementwise(combine, other, self)

    return forwards, backwards


def _comparison(op: str) -> Callable[[Formula, Any], Any]:
    def compare(self: Formula, other: Any) -> Any:
        return self.sheet.elementwise(function(op), self, other)

    return compare


for _name, _combine in {"add": add, "sub": sub, "mul": mul, "truediv": truediv, "pow": pow}.items():
    _forwards, _backwards = _operator(_combine)
    setattr(Formula, f"__{_name}__", _forwards)
    setattr(Formula, f"__r{_name}__", _backwards)
for _name, _op in {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal"}.items():
    setattr(Formula, f"__{_name}__", _comparison(_op))


def broadcast(*shapes: Sequence[int]) -> Shape:
    """The common shape, with the letters of its sizes."""
    found: list[int] = []
    for shape in shapes:
        for back, n in enumerate(reversed(tuple(shape))):
            if back == len(found):
                found.append(n)
            elif found[back] == 1 or (n == found[back] and isinstance(n, Size)):
                found[back] = n
    return tuple(reversed(found))
