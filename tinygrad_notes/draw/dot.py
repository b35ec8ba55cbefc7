"""A view as DOT source: a statement a box, a statement an edge, in topological order, within the clusters."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field

from ..graph import Node
from . import tex
from .scopes import Scope
from .style import PATH, STYLES
from .view import Box, Edge, View
from .words import Words

# Plain labels only: a Graphviz without an XML parser (the WebAssembly build) drops HTML labels. `ordering=in` puts the
# arguments of an op from top to bottom, so that a - b does not look like b - a; within clusters Graphviz ignores it.
HEAD = """\
digraph "computation graph" {
  graph [class="tn", rankdir=LR, newrank=true, ordering=in, bgcolor=white, nodesep=0.2, ranksep=0.35]
  graph [fontname=Helvetica, fontsize=11]
  node [fontname=Helvetica, fontsize=11, width=0, height=0, margin="0.16,0.08", style=filled]
  edge [fontname=Helvetica, fontsize=10, fontcolor="#444444", color="#666666", arrowsize=0.7]
"""


@dataclass
class Drawing:
    """DOT source, and what it is a picture of.

    Attributes:
        source: the DOT text.
        nodes, edges: how many it has.
        note: how the graph was folded; empty if it was not.
        formulas: LaTeX to set in place of the label's first line, by the node's id.
    """

    source: str
    nodes: int
    edges: int
    note: str
    formulas: dict[str, tex.Formula] = field(default_factory=dict)


def build(
    view: View,
    *,
    backward: bool = False,
    derivatives: bool = False,
    latex: bool = False,
    path: Collection[Node] = (),
    words: Words | None = None,
) -> Drawing:
    """Write a view.

    Args:
        view: what to draw.
        backward: whether to draw the backward pass beside it.
        derivatives: whether the edges carry their local derivatives.
        latex: whether names and ops are set as LaTeX.
        path: nodes to draw in red, with the edges between them.
        words: what the boxes and edges say, if not the usual.
    """
    words = words or Words(view, numbered=derivatives or backward or latex)
    writer = _Writer(view, words, latex, frozenset(path))
    forward = writer.nodes()
    edges = [writer.edge(e, labelled=derivatives and not backward) for e in view.edges]
    source = [HEAD]
    if backward:
        pass_, count = writer.backward()
        source += [_frame("backward"), *pass_, "  }\n", _frame("forward"), *forward, *edges, "  }\n"]
        source += [f"  {{ rank=same; {b.id}; b{b.id} }}\n" for b in writer.gradients]
    else:
        source += [*forward, *edges]
        count = 0
    note = _note(view)
    if note:
        source.append(f'  label="{_quote([note])}"; labelloc=b; fontcolor="#555555"\n')
    source.append("}\n")
    nodes = len(view.boxes) + (len(writer.gradients) if backward else 0)
    return Drawing("".join(source), nodes, len(view.edges) + count, note, writer.formulas)


def _frame(name: str) -> str:
    """The cluster of one of the two passes."""
    style = 'labeljust=l; style=rounded; color="#bbbbc4"; fontcolor="#555555"'
    return f'  subgraph cluster_{name} {{ label="{name}"; {style}\n'


def _note(view: View) -> str:
    if not view.folding.said():
        return ""
    return f"{view.total:,} nodes drawn as {len(view.boxes):,}: {view.folding.said()}."


class _Writer:
    def __init__(self, view: View, words: Words, latex: bool, path: frozenset[Node]) -> None:
        self.view, self.words, self.latex = view, words, latex
        self.red = {b for b in view.boxes if not b.constant and not path.isdisjoint(b.members)}
        self.formulas: dict[str, tex.Formula] = {}
        self.boxes = view.reading_order()
        self.gradients = [b for b in self.boxes if not b.constant and any(n.requires_grad for n in b.members)]

    def nodes(self) -> list[str]:
        """The boxes in their clusters."""
        inside: dict[Scope | None, list[str]] = {None: []}
        around: dict[Scope, Scope | None] = {}
        for box in self.boxes:
            scope = box.scope.parent if box.folded else box.scope
            at = self._cluster(scope)
            inside.setdefault(at, []).append(self._box(box))
            while at is not None and at not in around:
                around[at] = self._cluster(at.parent)
                at = around[at]
        clusters = {scope: f"cluster_{i}" for i, scope in enumerate(around)}
        for scope in sorted(around, key=lambda s: -s.depth):  # inner ones first
            text = self._opened(scope, clusters[scope]) + "".join(inside.get(scope, ())) + "  }\n"
            inside.setdefault(around[scope], []).append(text)
        return inside[None]

    def _cluster(self, scope: Scope | None) -> Scope | None:
        if scope is None or scope.parent is None:
            return None
        return self.view.clusters[scope][0]

    def _opened(self, scope: Scope, name: str) -> str:
        count = self.view.clusters[scope][1]
        label = _quote([scope.name + (f"  × {count:,}" if count > 1 else "")])
        return (
            f'  subgraph {name} {{ label="{label}"; class="tn-scope"; tooltip="{label}"; labeljust=l; '
            'style="rounded,filled"; fillcolor="#f7f7f9"; color="#bbbbc4"; fontcolor="#555555"\n'
        )

    def _box(self, box: Box) -> str:
        said = self.words.box(box)
        style = STYLES[said.kind]
        if box in self.red:
            style += f", {PATH}"
        if self.latex and said.tex and (formula := tex.formula(said.tex)) is not None:
            self.formulas[box.id] = formula
            said.lines[: said.titles] = formula.lines(box.id)
            said.titles = 0
            style += f", width={formula.width / 72 + 0.25:.3f}"
        symbol = said.kind == "op" and not (self.words.numbered or box.folded) and bool(box.first.op.symbol)
        classes = f"tn-{said.kind}" + " tn-titled" * bool(said.titles) + " tn-symbol" * symbol
        return _statement(box.id, classes, said.lines, said.tooltip, style)

    def edge(self, edge: Edge, labelled: bool) -> str:
        """An arrow of the forward pass."""
        said = self.words.edge(edge)
        label = [*([said.label] if labelled and said.label else []), *([said.times] if said.times else [])]
        style = [f'tooltip="{_quote(said.tooltip, backslash=4)}"']
        if label:
            style.append(f'label="{_quote(label)}", labeltooltip="{_quote(said.tooltip, backslash=4)}"')
        if edge.back:
            style.append("style=dashed, constraint=false")
        if edge.tail in self.red and edge.head in self.red:
            style.append(PATH)
        return f"  {edge.tail.id} -> {edge.head.id} [{', '.join(style)}]\n"

    def backward(self) -> tuple[list[str], int]:
        """The backward pass: a box for each gradient, arrows against those of the forward pass; and how many arrows."""
        flows = set(self.gradients)
        text = []
        for box in self.gradients:
            said = self.words.gradient(box)
            style, classes = STYLES["gradient"], "tn-gradient tn-titled"
            if self.latex and said.tex and (formula := tex.formula(said.tex)) is not None:
                self.formulas[f"b{box.id}"] = formula
                said.lines[: said.titles] = formula.lines(f"b{box.id}")
                style, classes = f"{style}, width={formula.width / 72 + 0.3:.3f}", "tn-gradient"
            text.append(_statement(f"b{box.id}", classes, said.lines, said.tooltip, style))
        count = 0
        for edge in self.view.edges:
            if edge.tail in flows and edge.head in flows:
                said_ = self.words.edge(edge)
                tooltip = _quote(said_.backward, backslash=4)
                label = [*([said_.label] if said_.label else []), *([said_.times] if said_.times else [])]
                back = ", style=dashed, constraint=false" if edge.back else ""
                text.append(
                    f'  b{edge.tail.id} -> b{edge.head.id} [dir=back, label="{_quote(label)}", tooltip="{tooltip}", '
                    f'labeltooltip="{tooltip}", color="#7d7300"{back}]\n'
                )
                count += 1
        return text, count


def _statement(me: str, classes: str, label: list[str], tooltip: list[str], style: str) -> str:
    return f'  {me} [class="{classes}", label="{_quote(label)}", tooltip="{_quote(tooltip, backslash=4)}", {style}]\n'


_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")  # not allowed in XML, or without a picture


def _quote(lines: list[str], backslash: int = 2) -> str:
    r"""Lines as they go between double quotes, so that Graphviz shows them as they are.

    Args:
        lines: the text.
        backslash: how many stand for one. Graphviz reads the escapes of a label once (`\N` is the node's id) and those
            of a tooltip twice.
    """
    text = "\n".join(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", line) for line in lines)
    text = text.replace("\\", "\\" * backslash).replace("&", "&amp;").replace('"', r"\"")
    return text.replace("\n", r"\n")
