"""Writing a formula: one walk over SymPy's expressions and the structures, in the order that a person writes.

`text.py`, `latex.py` and `code.py` say how a sum, a product or a structure looks; what comes first, which signs and
which numbers stand before a bracket is decided here, once for all of them.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from ..ops import TABLE
from .algebra import sympy
from .sheet import Sheet
from .sizes import Size
from .symbols import Count, Gradient, Local, Name, Structure

# How tightly a written piece holds together; a looser one stands in brackets.
SUM, MATMUL, PRODUCT, POWER, ATOM = range(5)
Piece = tuple[str, int]

SYMPY_NAMES = {"Abs": "abs"}
COMPARISONS = frozenset({"less", "less_equal", "greater", "greater_equal", "equal", "not_equal"})
LOGIC = frozenset({"logical_and", "logical_or", "logical_not"})


def indexed(name: str) -> tuple[str, int] | None:
    """A name that ends in a number as its stem and that number: `Z2` is (`Z`, 2)."""
    found = re.fullmatch(r"([^\W\d](?:\w*[^\W\d_])?)_?(\d+)", name)
    return (found[1], int(found[2])) if found else None


class Writing(ABC):
    """A notation.

    Args:
        sheet: what the symbols stand for.
        root: the name of the loss.
        renamed: what to write in place of names, where a line stands for several.
        gathers: whether terms that differ by an index alone become a sum over it.
    """

    fraction = POWER
    """How tightly ∂L/∂Z holds together: (∂L/∂Z)ᵀ needs brackets."""

    minus = "-"

    def __init__(
        self, sheet: Sheet, root: str, renamed: Mapping[str, str] | None = None, *, gathers: bool = False
    ) -> None:
        self.sheet, self.root, self.renamed, self.gathers = sheet, root, dict(renamed or {}), gathers

    def __call__(self, expr: Any) -> str:
        """The expression as it is written."""
        return self.piece(expr)[0]

    # --- what a notation decides --------------------------------------------------------------------------------------

    @abstractmethod
    def number(self, x: Any) -> Piece:
        """A number that is not negative."""

    @abstractmethod
    def name(self, name: str) -> str:
        """A named node."""

    @abstractmethod
    def gradient(self, name: str) -> str:
        """∂L/∂name."""

    @abstractmethod
    def local(self, of: str, by: str) -> str:
        """∂of/∂by."""

    def negative(self, text: str) -> str:
        """The negative of a product."""
        return f"{self.minus}{text}"

    def plus(self, terms: Sequence[tuple[bool, str]]) -> str:
        """A sum of terms, each with whether it is subtracted."""
        (negative, first), *rest = terms
        return (self.minus if negative else "") + first + "".join(f" {self.minus if n else '+'} {t}" for n, t in rest)

    @abstractmethod
    def times(self, factors: Sequence[tuple[str, Any]]) -> str:
        """A product of written factors, each with its expression."""

    @abstractmethod
    def over(self, above: Piece, below: Piece) -> Piece:
        """A quotient."""

    @abstractmethod
    def power(self, base: Piece, exponent: Any) -> Piece:
        """A power."""

    @abstractmethod
    def function(self, name: str, args: Sequence[Any]) -> Piece:
        """An elementwise function of the table."""

    @abstractmethod
    def structure(self, made: Structure) -> Piece:
        """A structural op."""

    @abstractmethod
    def brackets(self, text: str) -> str:
        """Round brackets."""

    # --- the walk -----------------------------------------------------------------------------------------------------

    def piece(self, expr: Any) -> Piece:
        """An expression as it is written, and how tightly it holds together."""
        if expr.is_Symbol:
            return self._symbol(expr)
        if expr.is_Number:
            return (self.negative(self.number(-expr)[0]), SUM) if expr.is_negative else self.number(expr)
        if expr.is_Add:
            content, rest = _content(expr)
            return self._sum(expr) if content == 1 else self._product([content, rest])
        if expr.is_Mul:
            return self._product(sympy().Mul.make_args(expr))
        if expr.is_Pow:
            if expr.exp.is_Rational and expr.exp < 0:
                return self._product([expr])
            if expr.exp == sympy().S.Half:
                return self.function("sqrt", [expr.base])
            return self.power(self.piece(expr.base), expr.exp)
        if expr.is_Function:
            name = expr.func.__name__
            return self.function(SYMPY_NAMES.get(name, name), expr.args)
        return self.number(expr)  # π, e and other constants of SymPy

    def at_least(self, expr: Any, level: int) -> str:
        """An expression in brackets, if it holds together more loosely than this."""
        return self.fit(self.piece(expr), level)

    def fit(self, piece: Piece, level: int) -> str:
        """A piece in brackets, if it holds together more loosely than this."""
        text, tight = piece
        return text if tight >= level else self.brackets(text)

    def _symbol(self, symbol: Any) -> Piece:
        meaning = self.sheet.meaning[symbol]
        if isinstance(meaning, Structure):
            return self.structure(meaning)
        if isinstance(meaning, Gradient):
            return self.gradient(meaning.name), self.fraction
        if isinstance(meaning, Local):
            return self.local(meaning.of, meaning.by), self.fraction
        if isinstance(meaning, Count):
            return meaning.letter, ATOM
        return self.name(meaning.name), ATOM

    def _sum(self, expr: Any) -> Piece:
        terms = sorted(map(_oriented, sympy().Add.make_args(expr)), key=self._term_key)
        written: list[tuple[bool, str]] = []
        rest = terms
        if self.gathers and len(terms) > 2:
            written, rest = self._gathered(terms)
            if not rest and len(written) == 1:
                return written[0][1], MATMUL
        for term in rest:
            negative = _is_negative(term)
            written.append((negative, self.term(-term if negative else term)))
        return self.plus(written), SUM

    def term(self, expr: Any) -> str:
        """A term of a sum, without its sign."""
        return self.at_least(expr, MATMUL)

    def _product(self, given: Sequence[Any]) -> Piece:
        coefficient, above, below = sympy().S.One, [], []
        for factor in sympy().Mul.make_args(_oriented(sympy().Mul(*given, evaluate=False))):
            content, rest = _content(factor)
            coefficient = coefficient * content
            if rest.is_Pow and rest.exp.is_Rational and rest.exp < 0:
                content, rest = _content(1 / rest)
                coefficient = coefficient / content
                below.append(rest)
            elif rest != 1:
                above.append(rest)
        flipped = [(side, i) for side in (above, below) for i, f in enumerate(side) if f.is_Add and _below_zero(f)]
        for side, i in flipped[: len(flipped) // 2 * 2]:  # (y − 1)/(a − 1) is (1 − y)/(1 − a)
            side[i] = sympy().Add(*(-t for t in side[i].args))
        negative, coefficient = bool(coefficient.is_negative), abs(coefficient)
        if coefficient.is_Rational and coefficient.q != 1:
            below.append(sympy().Integer(coefficient.q))
            coefficient = sympy().Integer(coefficient.p)
        if coefficient != 1:
            above.append(coefficient)
        piece = self._factors(above)
        if below:
            piece = self.over(piece, self._factors(below))
        return (self.negative(self.fit(piece, MATMUL)), SUM) if negative else piece

    def _factors(self, factors: list[Any]) -> Piece:
        if not factors:
            return self.number(sympy().S.One)
        if len(factors) == 1:
            return self.piece(factors[0])
        arrays = any(map(self.is_array, factors))
        factors = sorted(factors, key=lambda f: (arrays and self.is_array(f), self._factor_key(f)))
        return self.times([(self.at_least(f, POWER), f) for f in factors]), PRODUCT

    # --- order --------------------------------------------------------------------------------------------------------

    def _places(self, expr: Any) -> tuple[int, int]:
        """Where an expression stands: after later gradients, before earlier ones; then by the order of the graph."""
        gradients, names = [0], [10**6]
        for symbol in expr.free_symbols:
            meaning = self.sheet.meaning[symbol]
            if isinstance(meaning, Gradient):
                gradients.append(1 + meaning.place)
            elif isinstance(meaning, Name):
                names.append(meaning.place)
            elif isinstance(meaning, Structure):
                for a in meaning.args:
                    inner = self._places(a)
                    gradients.append(-inner[0])
                    names.append(inner[1])
        return -max(gradients), min(names)

    def _term_key(self, term: Any) -> Any:
        factors = sympy().Mul.make_args(term)
        nested = any((f.base if f.is_Pow else f).is_Add for f in factors)
        return nested, _is_negative(term), not term.is_Number, *self._places(term), sympy().default_sort_key(term)

    def _factor_key(self, factor: Any) -> Any:
        gradient, name = self._places(factor)
        kind = 0 if factor.is_Number else 4 if factor.is_Add else 1 if gradient else 3 if factor.is_Function else 2
        return kind, gradient, name, sympy().default_sort_key(factor)

    # --- sums over an index -------------------------------------------------------------------------------------------

    def _gathered(self, terms: Sequence[Any]) -> tuple[list[tuple[bool, str]], list[Any]]:
        """Terms that differ by an index alone, as a sum over it: backpropagation through time. And what is left."""
        alike: dict[tuple[bool, str], dict[int, Any]] = {}
        for term in terms:
            at = self._index(term)
            if at is None:
                continue
            negative = _is_negative(term)
            shifted = type(self)(self.sheet, self.root, self.shifted(term, at, "t"))
            form = shifted.at_least(-term if negative else term, MATMUL)
            alike.setdefault((negative, form), {})[at] = term
        written, gone = [], []
        for (negative, form), by_index in alike.items():
            first, last = min(by_index), max(by_index)
            if len(by_index) > 2 and last - first + 1 == len(by_index):
                written.append((negative, self.over_index("t", first, last, form)))
                gone += list(by_index.values())
        return written, [t for t in terms if t not in gone]

    def over_index(self, letter: str, first: int, last: int, text: str) -> str:
        """A sum over an index."""
        raise NotImplementedError

    def _index(self, term: Any) -> int | None:
        """The index of the latest gradient in a term."""
        found = [indexed(m.name) for m in self.meanings(term) if isinstance(m, Gradient)]
        return max((i[1] for i in found if i is not None), default=None)

    def meanings(self, expr: Any) -> list[Any]:
        """What the symbols of an expression stand for, inside structures too."""
        return [self.sheet.meaning[s] for s in self.sheet.within(expr)]

    def shifted(self, expr: Any, at: int, letter: str) -> dict[str, str]:
        """For every name with an index what it is relative to `at`: Z3 at 2 is Z with l + 1."""
        renamed = {}
        for meaning in self.meanings(expr):
            for name in _names_of(meaning):
                if (parts := indexed(name)) is not None:
                    renamed[name] = self.subscript(parts[0], letter, parts[1] - at)
        return renamed

    def subscript(self, stem: str, letter: str, shift: int) -> str:
        """A name with a letter for its index."""
        raise NotImplementedError

    # --- what several notations need ----------------------------------------------------------------------------------

    def axis_letters(self, made: Structure) -> str:
        """What a sum runs over: `batch`, a size's letter, or nothing where it runs over everything."""
        shape = self.sheet.natural(made.args[0])
        axes = made.params["axis"]
        if all(n == 1 for i, n in enumerate(shape) if i not in axes):
            return "batch" if len(axes) == 1 and self._letter(shape[axes[0]]) == "m" and len(shape) > 1 else ""
        letters = [self._letter(shape[a]) or f"axis {a}" for a in axes]
        return ", ".join("batch" if c == "m" else c for c in letters)

    def _letter(self, size: Any) -> str | None:
        if not isinstance(size, Size):
            return None
        meaning = self.sheet.meaning.get(size.expression)
        return meaning.letter if isinstance(meaning, Count) else None

    def holds_gradient(self, expr: Any) -> bool:
        """Whether an expression mentions ∂L/∂…"""
        return any(isinstance(m, Gradient) for m in self.meanings(expr))

    def is_array(self, expr: Any) -> bool:
        """Whether an expression has axes."""
        return bool(self.sheet.natural(expr))


def _names_of(meaning: Any) -> tuple[str, ...]:
    if isinstance(meaning, Name | Gradient):
        return (meaning.name,)
    return (meaning.of, meaning.by) if isinstance(meaning, Local) else ()


def _is_negative(term: Any) -> bool:
    return bool(term.as_coeff_Mul()[0].is_negative)


def _content(expr: Any) -> tuple[Any, Any]:
    """A number to write before an expression, and the rest: 2 a − 2 y is 2 (a − y), but a + y/2 is left as it is."""
    if not expr.is_Add:
        found: tuple[Any, Any] = expr.as_coeff_Mul()
        return found
    content, rest = expr.primitive()
    whole = content.is_Integer or all(abs(t.as_coeff_Mul()[0]) == 1 for t in rest.args)
    return (content, rest) if whole else (sympy().S.One, expr)


def _oriented(term: Any) -> Any:
    """A product without a minus before it, if one of its sums can take that: −(y − 1) z is (1 − y) z."""
    factors = sympy().Mul.make_args(term)
    if sum(_is_negative(f) for f in factors if f.is_Number) % 2:
        for i, factor in enumerate(factors):
            if factor.is_Add and sum(_is_negative(t) for t in factor.args) * 2 >= len(factor.args):
                rest = [-f if f.is_Number and f.is_negative else f for f in (*factors[:i], *factors[i + 1 :])]
                return sympy().Mul(sympy().Add(*(-t for t in factor.args)), *rest, evaluate=False)
    return term


def _below_zero(total: Any) -> bool:
    return bool(total.as_coeff_Add()[0].is_negative)


def symbol_of(op: str) -> str:
    """The infix operator of a comparison or logical op."""
    return TABLE[op].symbol or op


def decimal(x: Any) -> str:
    """A number that is not whole, to six digits."""
    return f"{float(x):.6g}"
