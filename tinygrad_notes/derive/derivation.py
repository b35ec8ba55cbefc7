"""`Derivation`: the lines of a backward pass, and how they are shown."""

from __future__ import annotations

import html
import linecache
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..graph import Node, is_node
from .algebra import needed
from .backward import Backward, Step
from .code import Code, is_mask
from .formula import Formula
from .latex import Latex, named
from .letters import Letters
from .recursion import Group, grouped
from .symbols import Count, Name
from .text import Text
from .trials import Trials, recorded_gradients
from .writing import Writing

_WIDTH = 110
_SHOWN = 24
"""So many numbers of an array are shown in full."""
UNSIMPLIFIED = "not simplified: the shorter form does not agree with the automatic gradient on generated inputs"
UNDECIDED = "not verified: on none of the generated inputs is the gradient finite"
DISAGREES = "this line does not agree with the automatic gradient on generated inputs"


@dataclass(frozen=True)
class Line:
    """One line of a derivation.

    Attributes:
        nodes: the recorded nodes whose gradient the line gives: one, or those of a recognised recursion, last first.
        name: the name of the node (`Z1`); of a recursion with its index as a letter (`Z_l`).
        forms: the line in Unicode, in its parts: the gradient, the chain rule, the local derivatives put in, upstream
            gradients put in where that leads to something shorter, what remains, and the numbers.
        latex: the same in LaTeX, without delimiters.
        python: NumPy statements that compute it, from named values and the gradients of earlier lines.
        note: what the line relies on, or why it is not simplified; empty for most lines.
        verified: whether it agrees with the automatic gradient on generated inputs.
        numbers: the gradients at the recorded inputs in the order of `nodes`, if they were asked for.
    """

    nodes: tuple[Node, ...]
    name: str
    forms: tuple[str, ...]
    latex: str
    python: str
    note: str = ""
    verified: bool = True
    numbers: tuple[Any, ...] = ()

    @property
    def node(self) -> Node:
        """The node whose gradient the line gives; of a recursion the first one reached, the last layer's."""
        return self.nodes[0]

    @property
    def text(self) -> str:
        """The line in Unicode."""
        return " = ".join(self.forms)

    @property
    def html(self) -> str:
        """The line as MathML.

        Raises:
            ModuleNotFoundError: latex2mathml is missing; the message names the extra.
        """
        return mathml(self.latex)

    def __str__(self) -> str:
        return self.text


def mathml(latex: str) -> str:
    """LaTeX as MathML."""
    try:
        from latex2mathml.converter import convert
    except ModuleNotFoundError as error:
        raise needed(error) from error
    return str(convert(latex))


class Derivation:
    """The backward pass of a recorded graph, written out; see `derive`.

    Attributes:
        loss: the node that is differentiated.
        lines: the lines in backward order.
    """

    def __init__(self, letters: Letters, wanted: Sequence[Node], numbers: bool) -> None:
        self.loss = letters.order[-1]
        self._letters = letters
        self._root = letters.name(self.loss) or "L"
        self._backward = Backward(letters, wanted)
        self._sheet = self._backward.sheet
        self._numbers = recorded_gradients(self.loss) if numbers else None
        self._status: dict[int, str] = {}
        self._code: dict[int, list[str]] = {}
        self._takes: dict[str, None] = {}
        self._imports: set[str] = set()
        self._verify()
        failed = [s for s in self._backward.steps if self._status[id(s)]]
        groups = grouped(self._backward.steps, self._sheet, letters, failed)
        self.lines = [self._line(group) for group in groups]

    # --- verification -------------------------------------------------------------------------------------------------

    def _verify(self) -> None:
        """Hold every step against the automatic gradient; one that fails is shown as it was before simplification."""
        trials = Trials(self._letters)
        for step in self._backward.steps:
            status = ""
            found = self._agrees(trials, step, step.simplified)
            if not found:
                status = UNDECIDED if found is None else UNSIMPLIFIED
                step.simplified, step.substituted, step.probabilities = step.local, None, {}
                if self._agrees(trials, step, step.local) is False:
                    status = DISAGREES
            self._status[id(step)] = status
            self._code[id(step)] = self._statements(step, step.simplified)
            self._note_needs(step.simplified)

    def _agrees(self, trials: Trials, step: Step, formula: Formula) -> bool | None:
        code = "\n".join(self._statements(step, formula))
        called = self._python()
        return trials.agrees(step.name, code, {n: called.gradient(n) for n in self._letters.things})

    # --- Python -------------------------------------------------------------------------------------------------------

    def _python(self) -> Code:
        code = Code(self._sheet, self._root)
        code.arrays = self._array_of
        things = self._letters.things
        code.clashing = frozenset(n for n in things if f"d{n}" in things)
        return code

    def _array_of(self, shape: Sequence[int]) -> str | None:
        """A named array of this shape, sizes and letters alike."""
        for name, x in self._letters.things.items():
            found = self._backward.shape(x)
            if found == tuple(shape) and [type(n) for n in found] == [type(n) for n in shape]:
                return name
        return None

    def _statements(self, step: Step, formula: Formula) -> list[str]:
        """The sizes that a formula needs, and the assignment."""
        code = self._python()
        right = code(formula.expr)
        if is_mask(formula.expr):
            right = f"1.0 * {right}"
        natural = code.shape(formula.expr)
        if natural != tuple(step.node.shape):
            code.used.add("np")
            right = f"np.broadcast_to({right}, {step.name}.shape)"
        self._imports |= code.used
        sizes = {m.letter for m in code.meanings(formula.expr) if isinstance(m, Count)}
        lines = []
        for letter in sorted(sizes):
            name, axis = self._letters.where(letter)
            lines.append(f"{letter} = {name}.shape[{axis}]")
        return [*lines, f"{code.gradient(step.name)} = {right}"]

    def _note_needs(self, formula: Formula) -> None:
        code = self._python()
        for meaning in code.meanings(formula.expr):
            if isinstance(meaning, Name):
                self._takes[meaning.name] = None

    def python(self) -> str:
        """A NumPy `backward(…)` in the notes' letters, which `check_derivation` accepts.

        It takes named values of the forward pass and returns the gradient `d<name>` of each line, by `locals()`.
        """
        body: list[str] = []
        for step in self._backward.steps:
            body += [line for line in self._code[id(step)] if line not in body]
        words = {w for line in body for w in _identifiers(line)}
        takes = [n for n in self._in_order() if n in words and (n in self._takes or f"{n}.shape" in "\n".join(body))]
        head = [f"import {m} as {a}" for a, m in (("np", "numpy"), ("tn", "tinygrad_notes")) if a in self._imports]
        lines = [
            *head,
            *(["", ""] if head else []),
            f"def backward({', '.join(takes)}):",
            f'    """The gradients of {self._root}, derived from its recorded graph."""',
            *(f"    {line}" for line in body),
            "    return locals()",
        ]
        return "\n".join(lines) + "\n"

    def _in_order(self) -> list[str]:
        """Names as a function takes them: data, parameters, intermediates."""

        def kind(name: str) -> int:
            x = self._letters.things[name]
            return 2 if is_node(x) and x.op is not None else 1 if id(x) in self._letters.parameters else 0

        return sorted(self._letters.things, key=kind)

    @cached_property
    def backward(self) -> Callable[..., Mapping[str, Any]]:
        """`python()` as a function."""
        source = self.python()
        file = f"<tinygrad_notes derivation of {self._root} {id(self):x}>"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        scope: dict[str, Any] = {}
        exec(compile(source, file, "exec"), scope)
        function: Callable[..., Mapping[str, Any]] = scope["backward"]
        function.source = source  # type: ignore[attr-defined]  # generated code is kept readable
        return function

    # --- lines --------------------------------------------------------------------------------------------------------

    def _line(self, group: Group) -> Line:
        step = group.steps[0]
        many = len(group.steps) > 1
        status = self._status[id(step)]
        found = tuple(self._numbers[id(s.node)] for s in group.steps) if self._numbers is not None else ()
        parts = {}
        for kind, number, between in ((Text, _numbers_text, "; "), (Latex, _numbers_latex, r",\quad ")):
            writing = kind(self._sheet, self._root, self._renamed(group, kind) if many else {}, gathers=not many)
            written = self._written(writing, step)
            if found:
                written.append(_each(group, [number(g) for g in found], between))
            if many:
                written[-1] += self._range(group, writing)
            parts[kind] = written
        name = Text(self._sheet, self._root).subscript(group.stem, group.letter, 0) if many else step.name
        note = status or _note(step)
        return Line(
            tuple(s.node for s in group.steps),
            name,
            tuple(parts[Text]),
            " = ".join(parts[Latex]),
            "\n".join(dict.fromkeys(line for s in group.steps for line in self._code[id(s)])),
            note,
            status not in (DISAGREES, UNDECIDED),
            found,
        )

    def _renamed(self, group: Group, kind: type[Writing]) -> dict[str, str]:
        writing = kind(self._sheet, self._root)
        step, at = group.steps[0], group.indices[0]
        renamed: dict[str, str] = {}
        for expr in (step.gradient, step.chain, step.local.expr, step.simplified.expr):
            if expr is not None:
                renamed |= writing.shifted(expr, at, group.letter)
        return renamed

    def _written(self, writing: Writing, step: Step) -> list[str]:
        """The left side and each form of the right side that says something new."""
        forms = [step.gradient, step.chain, step.local.expr]
        forms += [step.substituted.expr if step.substituted is not None else None, step.simplified.expr]
        written = [writing(f) for f in forms if f is not None]
        return [w for i, w in enumerate(written) if w != (written[i - 1] if i else None)]

    def _range(self, group: Group, writing: Writing) -> str:
        last, first = group.indices[0], group.indices[-1]
        start = [(writing.subscript(stem, str(i), 0), writing.name(n)) for (stem, i), n in group.start.items()]
        if isinstance(writing, Latex):
            also = "".join(rf",\ {named(f'{stem}{i}')} = {writing.name(n)}" for (stem, i), n in group.start.items())
            return rf" \qquad ({group.letter} = {last}, \dots, {first}{also})"
        also = "".join(f", {left.replace('_', '')} = {right}" for left, right in start)
        return f"   for {group.letter} = {last} … {first}{also}"

    # --- showing ------------------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return "\n".join(_folded(line) for line in self.lines)

    def __repr__(self) -> str:
        return f"Derivation(of {self._root}: {', '.join(line.name for line in self.lines)})"

    def latex(self) -> str:
        """An `aligned` block for MathJax and KaTeX, without delimiters."""
        rows = []
        for line in self.lines:
            left, *right = line.latex.split(" = ")
            rows.append(
                f"{left} &= " + " = ".join(right) + (rf" && \text{{{_escaped(line.note)}}}" if line.note else "")
            )
        return "\\begin{aligned}\n" + " \\\\[4pt]\n".join(rows) + "\n\\end{aligned}"

    def _repr_latex_(self) -> str:
        return f"$$\n{self.latex()}\n$$"

    def markdown(self) -> str:
        """The lines as display formulas, with their notes."""
        parts = [f"$$\n{line.latex}\n$$" + (f"\n\n({line.note})" if line.note else "") for line in self.lines]
        return "\n\n".join(parts) + "\n"

    def html(self) -> str:
        """The lines as MathML, which every browser shows without a script.

        Raises:
            ModuleNotFoundError: latex2mathml is missing; the message names the extra.
        """
        rows = [
            f'<p id="d{html.escape(line.name)}">{line.html}'
            + (f" <small>({html.escape(line.note)})</small>" if line.note else "")
            + "</p>"
            for line in self.lines
        ]
        return '<div class="derivation">\n' + "\n".join(rows) + "\n</div>\n"


def _each(group: Group, numbers: Sequence[str], between: str) -> str:
    """The numbers of one node, or those of every index of a recursion."""
    if len(numbers) == 1:
        return numbers[0]
    return between.join(f"{x} ({group.letter} = {i})" for i, x in zip(group.indices, numbers, strict=True))


def _note(step: Step) -> str:
    return "; ".join(f"as the elements of {n} sum to 1 along axis {a}" for n, a in step.probabilities.items())


def _folded(line: Line) -> str:
    """A line that is too long, with each form of its right side on a line of its own."""
    text = line.text
    if len(text) > _WIDTH:
        left, *right = line.forms
        text = f"{left} = " + ("\n" + " " * len(left) + " = ").join(right)
    return text + (f"\n    ({line.note})" if line.note else "")


def _escaped(note: str) -> str:
    return note.replace("_", r"\_")


def _identifiers(code: str) -> set[str]:
    return set("".join(c if c.isalnum() or c == "_" else " " for c in code).split())


def _numbers_text(g: Any) -> str:
    data = np.asarray(g.data if is_node(g) else g, dtype=float)
    return _nested(data, data.size > _SHOWN).replace("-", "−")


def _nested(data: Any, shorten: bool) -> str:
    """Numbers to four digits in brackets; of long axes the ends."""
    if not data.shape:
        return f"{float(data):.4g}"
    items = [_nested(x, shorten) for x in ([*data[:2], *data[-1:]] if shorten and len(data) > 3 else data)]
    if shorten and len(data) > 3:
        items.insert(2, "…")
    return f"[{', '.join(items)}]"


def _numbers_latex(g: Any) -> str:
    data = np.asarray(g.data if is_node(g) else g, dtype=float)
    if not data.shape:
        return f"{float(data):.4g}"
    if data.ndim > 2 or data.size > _SHOWN:
        return r"\left(" + r" \times ".join(map(str, data.shape)) + r"\right)\text{ numbers}"
    rows = data.reshape(1, -1) if data.ndim == 1 else data
    body = r" \\ ".join(" & ".join(f"{x:.4g}" for x in row) for row in rows.tolist())
    return rf"\begin{{bmatrix}} {body} \end{{bmatrix}}"
