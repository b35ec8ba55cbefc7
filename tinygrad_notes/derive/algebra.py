"""SymPy's part: the algebra of the elementwise formulas. Everything here knows symbols and functions, no shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from ..ops.namespaces import is_number
from .sizes import Size


class MissingExtraError(ModuleNotFoundError):
    """A library of the extra `derive` is not installed."""


def needed(error: ModuleNotFoundError) -> MissingExtraError:
    """The error for the user: what is missing and which extra brings it."""
    return MissingExtraError(
        f"derive: {error.name} is not installed: pip install 'tinygrad_notes[derive]'.", name=error.name
    )


@cache
def sympy() -> Any:
    """The module, imported when the first derivation is made: it takes half a second."""
    try:
        import sympy as found
    except ModuleNotFoundError as error:
        raise needed(error) from error
    return found


@cache
def sigmoid() -> Any:
    """σ as a function of SymPy that knows σ(−x) = 1 − σ(x): so that the slope reads a (1 − a)."""

    def evaluate(cls: Any, x: Any) -> Any:
        return 1 - cls(-x) if x.could_extract_minus_sign() else None

    return type("sigmoid", (sympy().Function,), {"eval": classmethod(evaluate), "is_real": True})


# What SymPy knows properties of, under the names of the op table. Every other op is a function without properties.
_KNOWN = {"exp": "exp", "log": "log", "sqrt": "sqrt", "abs": "Abs", "sign": "sign"}
_KNOWN |= {name: name for name in ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "erf", "erfc")}


@cache
def function(name: str) -> Callable[..., Any]:
    """An op of the table as a function of SymPy's expressions."""
    if name == "sigmoid":
        return sigmoid()  # type: ignore[no-any-return]  # SymPy has no types
    if name in _KNOWN:
        return getattr(sympy(), _KNOWN[name])  # type: ignore[no-any-return]
    return sympy().Function(name, real=True)  # type: ignore[no-any-return]


def expression(x: Any) -> Any:
    """A number for SymPy, whole ones and short binary fractions exactly, the others as floats; a size as its letter."""
    if isinstance(x, Size):
        return x.expression
    if not is_number(x):
        return x
    number = float(x)
    if number.is_integer() or (number * 64).is_integer():
        return sympy().Rational(number)
    return sympy().Float(number, 17)


def named(expr: Any, definitions: Mapping[Any, Any]) -> Any:
    """The expression in terms of the named intermediates: a function of Z that is the value of a becomes a."""
    while True:
        found = expr.xreplace(definitions)
        if found == expr:
            return found
        expr = found


def beyond_reals(expr: Any) -> bool:
    """Whether SymPy found it to be imaginary or infinite, such as the root of −e^x."""
    s = sympy().S
    return bool(expr.has(s.ImaginaryUnit, s.ComplexInfinity, s.Infinity, s.NegativeInfinity, s.NaN))


def cost(expr: Any, weigh: Callable[[Any], int] = lambda symbol: 1) -> int:
    """How many symbols a reader reads, which is what simplification makes fewer.

    Not operations: −y/a + (1−y)/(1−a) on one denominator has fewer of them and says less.

    Args:
        expr: the expression.
        weigh: how many symbols a symbol stands for.
    """
    return weigh(expr) if expr.is_Symbol else sum(cost(a, weigh) for a in expr.args)


# Beyond so many symbols an expression is left as it is: cancelling and factoring take minutes there.
_LARGEST = 60


def simplest(expr: Any, weigh: Callable[[Any], int] = lambda symbol: 1) -> Any:
    """The shortest of the forms that SymPy finds, a product rather than a sum; the given one where none is shorter."""
    best, least = expr, cost(expr, weigh)
    if least > _LARGEST or cost(expr) == len(expr.free_symbols):  # where each symbol stands once, none can go
        return best
    for step in (_cancelled, _factored, sympy().expand):
        found = step(expr)
        price = cost(found, weigh)
        if price < least or (price == least and best != expr and found.is_Mul and best.is_Add):
            best, least = found, price
    return best


def _cancelled(expr: Any) -> Any:
    try:
        return sympy().cancel(expr)
    except sympy().PolynomialError:  # it holds what is no polynomial in anything: left as it is
        return expr


def _factored(expr: Any) -> Any:
    try:
        return sympy().factor(expr)
    except sympy().PolynomialError:  # as above
        return expr
