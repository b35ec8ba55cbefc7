"""The recorded graph as DOT source: a statement a node, a statement an edge, in topological order."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..graph import Node, is_node, topological_order
from . import labels

# Plain labels only: a Graphviz without an XML parser (the WebAssembly build) drops HTML labels. `ordering=in` puts the
# arguments of an op from top to bottom, so that a - b does not look like b - a.
HEAD = """\
digraph "computation graph" {
  graph [class="tn", rankdir=LR, ordering=in, bgcolor=white, nodesep=0.2, ranksep=0.35]
  node [fontname=Helvetica, fontsize=11, width=0, height=0, margin="0.16,0.08", style=filled]
  edge [color="#666666", arrowsize=0.7]
"""

# A kind is told by its shape (in print) and by its colour: tints of the palette of Okabe & Ito, "Color Universal
# Design", 2008, which people with any kind of colour vision tell apart.
STYLES = {
    "parameter": 'shape=box, peripheries=2, margin="0.16,0.05", fillcolor="#FBE3B3", color="#A06C00"',
    "data": 'shape=note, fillcolor="#D5ECF9", color="#0072B2"',
    "constant": 'shape=box, margin="0.09,0.06", fontsize=10, fillcolor="#EEEEEE", color="#888888"',
    "op": 'shape=ellipse, margin="0.06,0.03", fillcolor="#FFFFFF", color="#555555"',
    "named": 'shape=box, style="filled,rounded", penwidth=2.2, fillcolor="#AEDCCB", color="#00704F"',
}


def build(roots: Sequence[Node]) -> tuple[str, int, int]:
    """The DOT source of the graph of the roots, with the number of its nodes (constants too) and of its edges."""
    ids: dict[Node, str] = {}
    statements = [HEAD]
    constants = edges = 0
    for node in topological_order(*roots):
        me = ids[node] = f"n{len(ids)}"
        statements.append(_node(me, node))
        for parent in node.parents if node.op is not None else ():
            if is_node(parent):
                tail = ids[parent]
            else:
                tail = f"c{constants}"
                constants += 1
                tooltip = ["constant", *labels.details(parent)]
                statements.append(_statement(tail, "tn-constant", labels.constant(parent), tooltip, STYLES["constant"]))
            statements.append(f"  {tail} -> {me}\n")
            edges += 1
    statements.append("}\n")
    return "".join(statements), len(ids) + constants, edges


def _node(me: str, node: Node) -> str:
    """The statement of a node: its name and op, then its numbers."""
    name = " ".join(str(node.name).split()) if node.name else ""
    title = [labels.short(name)] if name else []
    if node.op is None:
        kind = said = "parameter" if node.requires_grad else "data"
    else:
        kind, said = "named" if name else "op", "op: " + labels.call(node.op, node.params, symbol=False)
        title.append(labels.short(labels.call(node.op, node.params)))
    classes = (
        f"tn-{kind}" + " tn-titled" * bool(title) + " tn-symbol" * bool(kind == "op" and node.op and node.op.symbol)
    )
    body = [*labels.value(node.data), *labels.gradient(node)]
    tooltip = [*([name] if name else []), said, *labels.details(node.data), labels.gradient_details(node)]
    return _statement(me, classes, [*title, *body], tooltip, STYLES[kind])


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
