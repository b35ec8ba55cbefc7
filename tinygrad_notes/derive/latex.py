r"""Formulas as LaTeX for MathJax and KaTeX; functions are written by the op table's own templates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..ops import TABLE
from .symbols import Structure
from .text import GREEK, index
from .writing import ATOM, COMPARISONS, LOGIC, MATMUL, POWER, PRODUCT, Piece, Writing, decimal


class Latex(Writing):
    """LaTeX, without delimiters."""

    def number(self, x: Any) -> Piece:
        """Whole, a fraction, or decimal."""
        if x.is_Integer:
            return str(x), ATOM
        if x.is_Rational:
            return rf"\frac{{{x.p}}}{{{x.q}}}", ATOM
        return (decimal(x) if x.is_Float else rf"\{x}"), ATOM

    def name(self, name: str) -> str:
        """Z_2, \\alpha_1, \\mathrm{loss}."""
        return self.renamed.get(name) or named(name)

    def gradient(self, name: str) -> str:
        """∂L/∂Z_2 as a fraction."""
        return rf"\frac{{\partial {named(self.root)}}}{{\partial {self.name(name)}}}"

    def local(self, of: str, by: str) -> str:
        """∂a_2/∂Z_2 as a fraction."""
        return rf"\frac{{\partial {self.name(of)}}}{{\partial {self.name(by)}}}"

    def times(self, factors: Sequence[tuple[str, Any]]) -> str:
        r"""\odot between arrays, a thin space else."""
        (text, before), *rest = factors
        for written, factor in rest:
            both = self.is_array(before) and self.is_array(factor)
            digits = factor.is_Number or (factor.is_Pow and factor.base.is_Number)
            text += (r" \odot " if both else r" \cdot " if digits else r" \, ") + written
            before = factor
        return text

    def over(self, above: Piece, below: Piece) -> Piece:
        """A fraction."""
        return rf"\frac{{{above[0]}}}{{{below[0]}}}", POWER

    def power(self, base: Piece, exponent: Any) -> Piece:
        """a^{2}."""
        inner = self.fit(base, ATOM)
        if re.search(r"[\^_]", inner) and not inner.startswith(r"\left("):
            inner = f"{{{inner}}}"
        return f"{inner}^{{{self(exponent)}}}", POWER

    def function(self, name: str, args: Sequence[Any]) -> Piece:
        """By the table's template; a comparison in Iverson's brackets."""
        text = self._by_template(name, args)
        if name in COMPARISONS or name in LOGIC:
            return rf"\left[{text}\right]", ATOM
        return text, ATOM if name in ("sigmoid", "sqrt", "relu") else PRODUCT

    def _by_template(self, name: str, args: Sequence[Any]) -> str:
        template: str = TABLE[name].tex
        written = []
        for i, a in enumerate(args):
            inner = self._bare(a) if name == "where" or name in LOGIC else self(a)
            alone = re.search(rf"(?:^|[ ^_]|\}})\{{{i}\}}", template) is not None  # not within braces or brackets
            loose = self.piece(a)[1] < ATOM and name not in COMPARISONS | LOGIC | {"where"}
            written.append(self.brackets(inner) if alone and loose else inner)
        return template.format(*written)

    def _bare(self, expr: Any) -> str:
        text = self(expr)
        bracketed = expr.is_Function and expr.func.__name__ in COMPARISONS | LOGIC
        return text[len(r"\left[") : -len(r"\right]")] if bracketed else text

    def structure(self, made: Structure) -> Piece:
        r"""w_2^{\top} \, …, \sum_{\text{batch}} …"""
        args = made.args
        if made.op == "matmul":
            return rf"{self.at_least(args[0], POWER)} \, {self.at_least(args[1], POWER)}", MATMUL
        if made.op == "outer":
            return rf"{self.at_least(args[0], POWER)} \, {self._transposed(args[1])}", MATMUL
        if made.op == "permute_dims" and made.params["axes"] in ((1, 0), None):
            return self._transposed(args[0]), POWER
        if made.op == "sum":
            over = self.axis_letters(made)
            below = "" if not over else rf"_{{\text{{{over}}}}}" if len(over) > 1 else f"_{{{over}}}"
            return rf"\sum{below} {self.at_least(args[0], MATMUL)}", MATMUL
        if made.op in ("row", "column", "broadcast_to"):
            return self.piece(args[0])
        if made.op == "getitem":
            return rf"{self.at_least(args[0], ATOM)}\left[{index(made.params['index'])}\right]", ATOM
        if TABLE[made.op].arity > 0:
            return self._by_template(made.op, args), PRODUCT
        escaped = made.op.replace("_", r"\_")
        return rf"\operatorname{{{escaped}}}\left({', '.join(self(a) for a in args)}\right)", ATOM

    def _transposed(self, expr: Any) -> str:
        inner = self.at_least(expr, ATOM)
        return rf"{{{inner}}}^{{\top}}" if "^" in inner else rf"{inner}^{{\top}}"

    def brackets(self, text: str) -> str:
        """Brackets as high as what they hold."""
        return rf"\left({text}\right)"

    def over_index(self, letter: str, first: int, last: int, text: str) -> str:
        """A sum with limits."""
        return rf"\sum_{{{letter}={first}}}^{{{last}}} {text}"

    def subscript(self, stem: str, letter: str, shift: int) -> str:
        """Z_{l}, a_{l-1}."""
        return f"{named(stem)}_{{{letter}{f'{shift:+d}' if shift else ''}}}"


def named(name: str) -> str:
    """A name with its numbers as indices: `w1_2` is w_{1,2}."""
    first, *parts = [part for part in name.split("_") if part] or [name.replace("_", r"\_")]
    if (found := re.fullmatch(r"(\D+)(\d+)", first)) is not None:
        first, parts = found[1], [found[2], *parts]
    base = GREEK[first] if first in GREEK else first if len(first) == 1 else rf"\mathrm{{{first}}}"
    if not parts:
        return base
    below = ",".join(p if len(p) == 1 or p.isdecimal() else rf"\mathrm{{{p}}}" for p in parts)
    return f"{base}_{below}" if len(below) == 1 else f"{base}_{{{below}}}"
