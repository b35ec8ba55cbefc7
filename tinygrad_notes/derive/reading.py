"""The op table read with symbols: the namespace `xp` whose arrays are formulas.

Elementwise ops are SymPy's expressions, structural ones are in `matrices.py`. A formula holds at points in general
position: the guards of a rule against zeros and infinities fall away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..ops import TABLE, Op
from .algebra import function, sympy
from .formula import Formula, Shape, broadcast
from .matrices import Matrices
from .symbols import Structure

_STRICT = ("less", "greater")


def _name(expr: Any) -> str:
    return expr.func.__name__ if expr.is_Function else ""


class Reading(Matrices):
    """The namespace."""

    # --- elementwise --------------------------------------------------------------------------------------------------

    def elementwise(self, combine: Callable[..., Any], *args: Any) -> Formula:
        """A function of SymPy's expressions on formulas and numbers."""
        given = [self.formula(a) for a in args]
        return Formula(self, combine(*(a.expr for a in given)), broadcast(*(a.shape for a in given)))

    def apply(self, op: Op, args: Sequence[Any], params: dict[str, Any]) -> Formula:
        """Any op of the table on formulas."""
        if not op.elementwise:
            return self.structural(op, [self.formula(a) for a in args], params)
        given = getattr(type(self), op.name, None)
        if given is not None:
            return given(self, *args, **params)  # type: ignore[no-any-return]
        if op.forward is not None and not params and (op.arity > 1 or op.symbol or op.tex == "{0}"):
            return op.forward(self, *args)  # type: ignore[no-any-return]
        if params:
            formulas = [self.formula(a) for a in args]
            shape = broadcast(*(a.shape for a in formulas))
            return self.structure(op.name, [a.expr for a in formulas], params, shape)
        return self.elementwise(function(op.name), *args)

    def __getattr__(self, name: str) -> Any:
        op = TABLE.get(name)
        if op is None:
            raise AttributeError(f"no op {name!r} in the table.")
        if op.arity < 0:
            return lambda arrays, **params: self.apply(op, arrays, params)
        return lambda *args, **params: self.apply(op, args, params)

    def scale(self, g: Any, slope: Any) -> Any:
        """g · slope."""
        return g * slope

    def square(self, x: Any) -> Any:
        """x², as a power."""
        return x**2

    def pow(self, a: Any, b: Any) -> Formula:
        """A power."""
        return self.elementwise(lambda a, b: a**b, a, b)

    def where(self, condition: Any, a: Any, b: Any) -> Any:
        """A choice; where one branch is 0, a product with the condition in Iverson's brackets, [Z > 0]."""
        if condition is True or condition is False:
            return a if condition else b
        a, b = self.formula(a), self.formula(b)
        if b.expr == 0:
            return a * condition
        tie = b.expr.as_coeff_Mul()[1]
        if _name(tie) == "equal" and set(tie.args) == set(condition.expr.args) and _name(condition.expr) in _STRICT:
            return a * condition + b  # they exclude one another: [a > b] + [a = b]/2
        if a.expr == 0:
            return b * (1 - condition)
        return self.elementwise(function("where"), condition, a, b)

    def logical_and(self, a: Any, b: Any) -> Any:
        """False for a comparison that fails in general position."""
        return False if a is False or b is False else self.elementwise(function("logical_and"), a, b)

    def isfinite(self, x: Any) -> bool:
        """Formulas are of finite numbers."""
        return True

    def zeros_like(self, x: Formula) -> Formula:
        """0 in the shape of x."""
        return Formula(self, sympy().S.Zero, x.shape)

    def ones_like(self, x: Formula) -> Formula:
        """1 in the shape of x."""
        return Formula(self, sympy().S.One, x.shape)

    def exp(self, x: Any) -> Formula:
        """e^x; of a log_softmax it is the softmax."""
        found = self.elementwise(sympy().exp, x)
        made = self.meaning.get(self.formula(x).expr)
        if isinstance(made, Structure) and made.op == "log_softmax":
            return self.structure("softmax", made.args, made.params, found.shape)
        return found

    # --- substitution -------------------------------------------------------------------------------------------------

    def replace(
        self, x: Formula, values: dict[Any, Any], settle: Callable[[Any], Any], everywhere: bool = False
    ) -> Formula:
        """The formula with symbols replaced, inside structures too.

        Args:
            x: the formula.
            values: expressions by symbol.
            settle: simplifies what a structure is given anew.
            everywhere: whether structures that mention no such symbol are settled too.
        """
        found = {}
        for symbol in x.expr.free_symbols:
            if symbol in values:
                found[symbol] = values[symbol]
            elif isinstance(made := self.meaning[symbol], Structure) and (
                everywhere or not self.within(symbol).isdisjoint(values)
            ):
                inner = [self.replace(self.whole(a), values, settle, everywhere) for a in made.args]
                args = [Formula(self, settle(a.expr), a.shape) for a in inner]
                found[symbol] = self._again(made, args, self.natural(symbol)).expr
        return Formula(self, x.expr.xreplace(found), x.shape)

    def _again(self, made: Structure, args: list[Formula], shape: Shape) -> Formula:
        if made.op == "sum":
            return self.sum(args[0], **made.params)
        if made.op in ("row", "column"):
            return self.lifted(made.op, args[0], shape)
        if made.op == "outer":
            return self.structure("outer", [self.solid(a) for a in args], {}, shape)
        if TABLE[made.op].elementwise:
            return self.structure(made.op, [a.expr for a in args], made.params, shape)
        return self.structural(TABLE[made.op], args, made.params)
