"""The picture of a player: a box for each node, with room for its value and its gradient, which the page fills in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..derive.letters import COMPLEMENTS
from ..draw import labels, render
from ..draw.dot import build
from ..draw.view import Box, Edge, View, look
from ..draw.words import EdgeSaid, Said, Words
from ..graph import Node
from . import numbers
from .names import Names

LONGEST = 16
"""A longer local derivative does not stand on the edge."""


class _Words(Words):
    """What the boxes of a player say: name, op, and the widest of what will be shown in them."""

    def __init__(self, view: View, names: Names, texts: Mapping[Node, Sequence[str]]) -> None:
        nodes = [node for box in view.boxes if not box.constant for node in box.members]
        super().__init__(view, numbered=True, names={node: names(node) for node in nodes})
        self._called, self._texts = names, texts

    def box(self, box: Box) -> Said:
        """What a box says."""
        said = super().box(box)
        if box.constant:
            name = self._called(box.first)
            return Said("constant", [labels.short(name)], 0, ["constant", *said.tooltip[1:]])
        node: Node = box.first
        if node.op is not None and self._called.is_numbered(node):
            said.kind = "op"
        value, *gradients = self._texts[node]
        said.lines[said.titles :] = [value, *([max(gradients, key=len)] if gradients else [])]
        said.tooltip = [line for line in said.tooltip if not line.startswith(("gradient", "grad"))]
        return said

    def edge(self, edge: Edge) -> EdgeSaid:
        """What an edge says: its local derivative, where that is short."""
        said = super().edge(edge)
        formula, _, digits = said.label.partition(" = ")
        label = formula if edge.node.shape else digits or formula
        return EdgeSaid(label if len(label) <= LONGEST else "", "", said.tooltip)


def svg(root: Node, names: Names, texts: Mapping[Node, Sequence[str]]) -> tuple[str, dict[Node, str]]:
    """The picture, and the title of each node's group in it.

    Args:
        root: the last node.
        names: what nodes are called.
        texts: for each node its value, and every text that will stand for its gradient.

    Raises:
        RenderError: no renderer is installed, or it failed.
    """
    view = look([root], fold=False, depth=None, force=True)
    words = _Words(view, names, texts)
    view.edges = [e for e in view.edges if not _is_hidden(e)]
    used = {e.tail for e in view.edges} | {e.head for e in view.edges}
    view.boxes = [b for b in view.boxes if b in used or b.first is root]
    drawing = build(view, derivatives=True, words=words)
    return render.svg(drawing.source), {b.first: b.id for b in view.boxes if not b.constant}


def _is_hidden(edge: Edge) -> bool:
    """Whether the argument is there for its digits only: 1 − a beside a."""
    return edge.node.op in COMPLEMENTS and edge.position == COMPLEMENTS[edge.node.op][1]


def gradient_text(g: object, incomplete: bool, wrong: bool) -> str:
    """How a gradient stands in its box, whether contributions to it are missing, and whether it is wrong."""
    return f"∂ {numbers.brief(g)}{' + …' if incomplete else ''}{' ✗' if wrong else ''}"
