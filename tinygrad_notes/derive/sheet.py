"""The sheet that a derivation is written on: what each symbol stands for, and which shape it has.

A formula's symbols stand for named arrays, gradients, sizes, and for *structures*: a product of matrices, a transpose,
a sum over the batch. A structure is a symbol to SymPy, which may then cancel and factor elementwise products without
ever exchanging the factors of a product of matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from . import algebra
from .algebra import expression, sympy
from .formula import Formula, Shape, broadcast
from .symbols import Meaning, Parameters, Structure


class Sheet:
    """What the symbols of one derivation stand for.

    Attributes:
        meaning: by symbol.
        definitions: by expression, what a named intermediate says instead: σ(Z2) is a2.
        sums_to_one: constants, as (symbol, axis), whose sum along the axis may be taken for 1; with their names.
        used_sums: the names for which that was done, and the axes.
    """

    def __init__(self) -> None:
        self.meaning: dict[Any, Meaning] = {}
        self.definitions: dict[Any, Any] = {}
        self.sums_to_one: dict[tuple[Any, int], str] = {}
        self.used_sums: dict[str, int] = {}
        self._shapes: dict[Any, Shape] = {}
        self._symbols: dict[Meaning, Any] = {}
        self._naturals: dict[Any, Shape] = {}
        self._within: dict[Any, frozenset[Any]] = {}

    # --- symbols ------------------------------------------------------------------------------------------------------

    def symbol(self, meaning: Meaning, shape: Sequence[int]) -> Any:
        """The symbol that stands for this."""
        found = self._symbols.get(meaning)
        if found is None:
            found = sympy().Symbol(f"s{len(self._symbols):06}", real=True)
            self._symbols[meaning], self.meaning[found], self._shapes[found] = found, meaning, tuple(shape)
        return found

    def structure(self, op: str, args: Sequence[Any], params: dict[str, Any], shape: Sequence[int]) -> Formula:
        """A structure as a formula; the named intermediate where one was computed so."""
        key = Structure(op, tuple(args), Parameters(params))
        symbol = self.symbol(key, shape)
        return Formula(self, self.definitions.get(symbol, symbol), shape)

    def define(self, symbol: Any, expr: Any) -> None:
        """Remember that a named intermediate is the value of an expression, so that formulas are written with it.

        Only what is one structure or one function, up to a number: Z = w x + b does not stand in for its parts.
        """
        shift, scaled = expr.as_coeff_Add()
        factor, core = scaled.as_coeff_Mul()
        root = core.is_Pow and core.exp.is_Rational and not core.exp.is_Integer
        single = isinstance(self.meaning.get(core), Structure) or core.is_Function or root
        if single and core not in self.definitions and self.natural(core) == self._shapes[symbol]:
            self.definitions[core] = (symbol - shift) / factor

    def natural(self, expr: Any) -> Shape:
        """The shape that the symbols of an expression broadcast to by themselves; () for a number."""
        found = self._naturals.get(expr)
        if found is None:
            found = broadcast(*(self._shapes[s] for s in expr.free_symbols))
            self._naturals[expr] = found
        return found

    def formula(self, x: Any) -> Formula:
        """A formula, number or size as a formula."""
        return x if isinstance(x, Formula) else Formula(self, expression(x), ())

    def clean(self, x: Formula) -> Formula:
        """The formula in terms of the named intermediates."""
        return Formula(self, algebra.named(x.expr, self.definitions), x.shape)

    def solid(self, x: Formula) -> Any:
        """The expression, made as large as its shape says."""
        if self.natural(x.expr) == x.shape:
            return x.expr
        return self.structure("broadcast_to", [x.expr], {"shape": x.shape}, x.shape).expr

    def apart(self, x: Formula, varies: Callable[[Shape], bool]) -> tuple[Any, Any]:
        """Factors that a structure lets through, and the rest, for which `varies` of its natural shape holds."""
        outside: list[Any] = []
        inside: list[Any] = []
        for factor in sympy().Mul.make_args(x.expr):
            content, rest = factor.primitive() if factor.is_Add else (sympy().S.One, factor)
            outside.append(content)
            (inside if varies(self.natural(rest)) else outside).append(rest)
        return sympy().Mul(*outside), sympy().Mul(*inside)

    def whole(self, expr: Any) -> Formula:
        """An expression in the shape that it has by itself."""
        return Formula(self, expr, self.natural(expr))

    def within(self, expr: Any) -> frozenset[Any]:
        """The symbols of an expression, those inside of its structures too."""
        found = self._within.get(expr)
        if found is None:
            symbols = set(expr.free_symbols)
            for symbol in expr.free_symbols:
                if isinstance(made := self.meaning[symbol], Structure):
                    symbols.update(*(self.within(a) for a in made.args))
            found = self._within[expr] = frozenset(symbols)
        return found

    def weigh(self, symbol: Any) -> int:
        """How many symbols a symbol stands for: those of what a structure is made of."""
        made = self.meaning[symbol]
        return sum(algebra.cost(a, self.weigh) for a in made.args) if isinstance(made, Structure) else 1
