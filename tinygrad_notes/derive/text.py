"""Formulas as Unicode text in one line: `∂L/∂Z1 = ∂L/∂a1 ⊙ a1 ⊙ (1 − a1)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .symbols import Structure
from .writing import ATOM, COMPARISONS, LOGIC, MATMUL, POWER, PRODUCT, Piece, Writing, decimal, symbol_of

_RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_GREEK = {"alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "eta": "η", "theta": "θ"}
_GREEK |= {"kappa": "κ", "lambda": "λ", "lam": "λ", "mu": "μ", "xi": "ξ", "rho": "ρ", "sigma": "σ", "tau": "τ"}
_GREEK |= {"phi": "φ", "psi": "ψ", "omega": "ω"}
_SIGNS = {"<=": "≤", ">=": "≥", "==": "=", "!=": "≠", "&": "∧", "|": "∨", "~": "¬"}
_FUNCTIONS = {"sigmoid": "σ", "log": "ln", "sqrt": "√"}


class Text(Writing):
    """Unicode."""

    minus = "−"

    def number(self, x: Any) -> Piece:
        """Whole, a fraction, or decimal."""
        if x.is_Integer:
            return str(x), ATOM
        if x.is_Rational:
            return (f"{x.p}/{x.q}", PRODUCT) if x.q in (2, 4, 8) else (decimal(x), ATOM)
        return (decimal(x) if x.is_Float else str(x)), ATOM

    def name(self, name: str) -> str:
        """As it is, Greek letters as letters."""
        return self.renamed.get(name) or _greek(name)

    def gradient(self, name: str) -> str:
        """∂L/∂Z2."""
        return f"∂{_greek(self.root)}/∂{self.name(name)}"

    def local(self, of: str, by: str) -> str:
        """∂a2/∂Z2."""
        return f"∂{self.name(of)}/∂{self.name(by)}"

    def times(self, factors: Sequence[tuple[str, Any]]) -> str:
        """⊙ between arrays, · where a number is multiplied, nothing after a numeral."""
        (text, before), *rest = factors
        for written, factor in rest:
            both = self.is_array(before) and self.is_array(factor)
            text += (" " if before.is_Number else " ⊙ " if both else " · ") + written
            before = factor
        return text

    def over(self, above: Piece, below: Piece) -> Piece:
        """a/b."""
        return f"{self.fit(above, PRODUCT)}/{self.fit(below, POWER)}", PRODUCT

    def power(self, base: Piece, exponent: Any) -> Piece:
        """a²."""
        raised = str(exponent).translate(_RAISED) if exponent.is_Integer else f"^{self.at_least(exponent, ATOM)}"
        return f"{self.fit(base, ATOM)}{raised}", POWER

    def function(self, name: str, args: Sequence[Any]) -> Piece:
        """σ(Z); a comparison in Iverson's brackets."""
        if name in COMPARISONS or name in LOGIC:
            return f"[{self._condition(name, args)}]", ATOM
        written = [self._where(args[0])] + [self(a) for a in args[1:]] if name == "where" else [self(a) for a in args]
        return f"{_FUNCTIONS.get(name, name)}({', '.join(written)})", ATOM

    def _where(self, expr: Any) -> str:
        text = self(expr)
        return text[1:-1] if expr.is_Function and expr.func.__name__ in COMPARISONS | LOGIC else text

    def _condition(self, name: str, args: Sequence[Any]) -> str:
        sign = symbol_of(name)
        sign = _SIGNS.get(sign, sign)
        written = [self._where(a) if name in LOGIC else self(a) for a in args]
        return f"{sign}{written[0]}" if len(written) == 1 else f"{written[0]} {sign} {written[1]}"

    def structure(self, made: Structure) -> Piece:
        """w2ᵀ ∂L/∂Z2, Σ_batch ∂L/∂Z2."""
        args = made.args
        if made.op == "matmul":
            left, right = self.at_least(args[0], POWER), self.at_least(args[1], POWER)
            return f"{left}{' · ' if self.holds_gradient(args[0]) else ' '}{right}", MATMUL
        if made.op == "outer":
            left, right = self.at_least(args[0], POWER), self.at_least(args[1], ATOM)
            return f"{left}{' · ' if self.holds_gradient(args[0]) else ' '}{right}ᵀ", MATMUL
        if made.op == "permute_dims":
            axes = made.params["axes"]
            if axes in ((1, 0), None):
                return f"{self.at_least(args[0], ATOM)}ᵀ", ATOM
        if made.op == "sum":
            over = self.axis_letters(made)
            return f"Σ{'_' if over else ''}{over} {self.at_least(args[0], POWER)}", MATMUL
        if made.op in ("row", "column", "broadcast_to"):
            return self.piece(args[0])
        if made.op == "getitem":
            return f"{self.at_least(args[0], ATOM)}[{index(made.params['index'])}]", ATOM
        return f"{made.op}({', '.join(self(a) for a in args)})", ATOM

    def brackets(self, text: str) -> str:
        """( … )."""
        return f"({text})"

    def over_index(self, letter: str, first: int, last: int, text: str) -> str:
        """Σ_{t=1…3}."""
        return f"Σ_{{{letter}={first}…{last}}} {text}"

    def subscript(self, stem: str, letter: str, shift: int) -> str:
        """Z_l, a_{l−1}."""
        index = letter if not shift else f"{{{letter}{'−' if shift < 0 else '+'}{abs(shift)}}}"
        return f"{_greek(stem)}_{index}"


def index(position: Any) -> str:
    """An index as it stands in Python."""
    if isinstance(position, tuple):
        return ", ".join(index(i) for i in position) + ("," if len(position) == 1 else "")
    if isinstance(position, slice):
        start, stop, step = ("" if p is None else str(p) for p in (position.start, position.stop, position.step))
        return f"{start}:{stop}" + (f":{step}" if step else "")
    if position is Ellipsis:
        return "..."
    return str(position.tolist()) if hasattr(position, "tolist") else str(position)


def _greek(name: str) -> str:
    stem = name.rstrip("0123456789")
    return _GREEK.get(stem, stem) + name[len(stem) :]


GREEK = {name: f"\\{'lambda' if name == 'lam' else name}" for name in _GREEK}
"""LaTeX's names of the Greek letters; `lam` stands for the keyword `lambda`."""
