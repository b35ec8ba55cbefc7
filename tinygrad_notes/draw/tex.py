"""Names and ops as LaTeX, set by ziamath (extra `tex`) into the picture that Graphviz laid out.

Graphviz cannot set formulas. So a label's first line is a mark, with empty lines below it as high as the formula; in
the finished SVG the formula takes the mark's place.
"""

from __future__ import annotations

import functools
import math
import re
import string
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..graph import Node, is_node
from ..ops import shape_of
from .render import RenderError

SIZE = 14
LINE = 13.2
"""Of the font of labels, in points."""

GREEK = frozenset(
    [
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "zeta",
        "eta",
        "theta",
        "kappa",
        "lambda",
        "mu",
        "nu",
        "xi",
        "pi",
        "rho",
        "sigma",
        "tau",
        "phi",
        "chi",
        "psi",
        "omega",
    ]
)


def name(text: str) -> str:
    r"""A name as LaTeX: `w1_2` is w_{1,2}, `sigma` is \sigma; a word is upright."""
    stem, _, rest = text.partition("_")
    digits = stem.lstrip(string.ascii_letters)
    letters = stem.removesuffix(digits) if digits.isdigit() or not digits else stem
    low = [digits] if digits and letters != stem else []
    low += [part for part in rest.split("_") if part]
    if not re.fullmatch(r"\w+", text):
        return rf"\text{{{escaped(text)}}}"
    if letters in GREEK:
        letters = f"\\{letters}"
    elif len(letters) != 1 or not letters.isascii():
        letters = rf"\mathrm{{{letters}}}" if letters.isascii() else rf"\text{{{letters}}}"
    if not low:
        return letters
    under = ",".join(
        escaped(part) if len(part) == 1 or part.isdigit() else rf"\mathrm{{{escaped(part)}}}" for part in low
    )
    return f"{letters}_{{{under}}}"


def escaped(text: str) -> str:
    """Text in which LaTeX's own characters stand for themselves."""
    found = re.sub(r"[\\^~]", " ", text)
    return re.sub(r"([#$%&_{}])", r"\\\1", found)


def title(node: Node, called: Callable[[Any], str]) -> str:
    """A node's name and how it was computed; of a leaf its name."""
    left = argument(called(node))
    if node.op is None:
        return left
    args = [argument(called(p)) if is_node(p) or not shape_of(p) else rf"\text{{{shape_of(p)}}}" for p in node.parents]
    wrapped = [f"({a})" if a.startswith("-") else a for a in args]
    try:
        return f"{left} = {node.op.tex.format(*wrapped)}"
    except IndexError:  # a template for more arguments than there are
        return rf"{left} = \operatorname{{{escaped(node.op.name)}}}"


def argument(text: str) -> str:
    """An argument in a formula: a name, a number, an array."""
    if re.fullmatch(r"-?[\d.]+", text):
        return text
    if found := re.fullmatch(r"(-?[\d.]+)e(-?\d+)", text):
        return rf"{found[1]} \cdot 10^{{{found[2]}}}"
    if text in ("∞", "-∞"):
        return text.replace("∞", r"\infty ")
    return name(text)


def gradient(root: str, of: str) -> str:
    """∂root/∂of as LaTeX."""
    return rf"\frac{{\partial {argument(root) if root else ''}}}{{\partial {argument(of)}}}"


@dataclass(frozen=True)
class Formula:
    """LaTeX that was set.

    Attributes:
        inside: SVG elements, black if nobody says otherwise.
        x, y, width, height: the box around them, in points.
    """

    inside: str
    x: float
    y: float
    width: float
    height: float

    def lines(self, me: str) -> list[str]:
        """The lines of a label that keep its place."""
        return [f"@{me}@", *[" "] * (math.ceil(self.height / LINE) - 1)]

    def svg(self, x: float, y: float) -> str:
        """The formula, in the middle of a place whose first line has its baseline at (x, y)."""
        room = math.ceil(self.height / LINE) * LINE
        top = y - 0.8 * LINE + (room - self.height) / 2
        left = x - self.width / 2
        return f'<g class="tn-math" transform="translate({left - self.x:.2f} {top - self.y:.2f})">{self.inside}</g>'


@functools.lru_cache(maxsize=1024)
def formula(latex: str) -> Formula | None:
    """Set LaTeX; `None` if it cannot be set, as a name with characters that are in no font.

    Raises:
        RenderError: ziamath is not installed.
    """
    try:
        with warnings.catch_warnings():  # ziamath 0.13 finds its font by a function that Python 3.11 deprecates
            warnings.simplefilter("ignore", DeprecationWarning)
            import ziamath
    except ImportError as error:
        raise RenderError("tex=True needs ziamath: pip install 'tinygrad_notes[tex]'.") from error
    before = ziamath.config.svg2
    ziamath.config.svg2 = False  # SVG 1.1, which everything reads
    try:
        svg = ziamath.Latex(latex, size=SIZE).svg()
    except Exception:  # its parser raises what it likes; the plain name stays
        return None
    finally:
        ziamath.config.svg2 = before
    if "</svg>" not in svg:  # empty: nothing of it is in the font
        return None
    x, y, width, height = map(float, re.findall(r'viewBox="([^"]+)"', svg)[0].split())
    inside = svg[svg.index(">") + 1 : svg.rindex("</svg>")]
    return Formula(inside.replace(' fill="black"', ""), x, y, width, height)


_MARK = re.compile(r'<text [^>]*?x="([-\d.]+)" y="([-\d.]+)"[^>]*>@(\w+)@</text>')


def put(svg: str, formulas: Mapping[str, Formula]) -> str:
    """The picture with each formula in its place."""
    return _MARK.sub(lambda m: formulas[m[3]].svg(float(m[1]), float(m[2])), svg)


def convert(svg: str, kind: str) -> bytes:
    """The picture as PNG or PDF, which Graphviz cannot make once formulas stand in it."""
    try:
        import cairosvg
    except (ImportError, OSError) as error:  # the package, or the library that it needs
        raise RenderError(
            f"{kind.upper()} with tex=True needs CairoSVG: pip install 'tinygrad_notes[tex]', and the library cairo."
        ) from error
    plain = re.sub(r"@media[^<]*", "", svg)  # on paper it is light
    function = cairosvg.svg2png if kind == "png" else cairosvg.svg2pdf
    made: bytes = function(bytestring=plain.encode(), scale=2 if kind == "png" else 1)
    return made
