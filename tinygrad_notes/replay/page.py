"""The page of a player: every step stands in it as text, the graph as SVG; a script shows one step at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from ..derive import Derivation, Line
from ..derive.derivation import mathml
from ..graph import Node, is_node
from . import numbers, picture
from .events import Event, sums_of
from .names import Names
from .telling import Hand, Told, operands

_HERE = Path(__file__).parent


class Page:
    """The page of one graph.

    Args:
        names: what its nodes are called.
        forward, backward, naive: the passes in words; `naive` is empty where depth-first order is a topological one.
        derivation: the lines beside the steps, or why there are none.
    """

    def __init__(
        self,
        names: Names,
        forward: Sequence[Told],
        backward: Sequence[Told],
        naive: Sequence[Told],
        derivation: Derivation | str,
    ) -> None:
        self.names, self.forward, self.backward, self.naive = names, forward, backward, naive
        self.derivation = derivation
        self.root = forward[-1].event.node
        self.right = _sums(self.root, backward)
        self.misled = {hand.edge.parent for told in naive if told.wrong for hand in told.hands}

    def html(self) -> str:
        """The whole page.

        Raises:
            RenderError: no renderer for the graph is installed, or it failed.
        """
        passes = [self._states(self.backward), self._states(self.naive)]
        texts: dict[Node, list[str]] = {t.event.node: [numbers.brief(t.event.node)] for t in self.forward}
        for states in passes:
            for step in states:
                for node, text, _ in step:
                    texts[node].append(text)
        svg, ids = picture.svg(self.root, self.names, texts)
        steps = [
            *(self._forward(t, ids) for t in self.forward),
            *(self._backward(t, s, ids, "topological") for t, s in zip(self.backward, passes[0], strict=True)),
            *(self._backward(t, s, ids, "depth-first") for t, s in zip(self.naive, passes[1], strict=True)),
            self._result("topological", ids),
            *([self._result("depth-first", ids)] if self.naive else []),
        ]
        return Template(_read("page.html")).substitute(
            title=escape(f"Backpropagation of {self.names.root}, step by step"),
            css=_read("player.css"),
            js=_read("player.js"),
            svg=_sized(svg, f"The graph of {self.names.root}: {len(ids)} nodes, data on the left"),
            nodes=json.dumps({ids[n]: n in self.right for n in ids}),
            steps="\n".join(steps),
            derivation=self._lines(),
            naive_disabled="" if self.naive else " disabled",
            why=self._why(),
        )

    def _why(self) -> str:
        if self.naive:
            return (
                "Each node hands on its gradient as soon as a depth-first walk reaches it. One that is used twice then "
                "hands on an incomplete sum: this is why the order must be topological."
            )
        return (
            "Right here too: a depth-first walk reaches every node after all that use it. Where it does not, gradients "
            "go wrong: <code>tinygrad-notes replay residual</code>."
        )

    def _is_wrong(self, node: Node, g: Any) -> bool:
        """Whether a sum of all that reached a node in depth-first order is not its gradient."""
        return node in self.misled and not numbers.agree(g, self.right[node])

    def _states(self, passed: Sequence[Told]) -> list[_States]:
        """For each step what then stands as gradient in which boxes, and whether it is wrong."""
        found: list[_States] = []
        for told in passed:
            node, g = told.event.node, told.event.gradient
            step = {node: (node, picture.gradient_text(g, told.incomplete, told.wrong), told.wrong)}
            for hand in told.hands:
                p, total = hand.edge.parent, hand.edge.total
                bad = hand.edge.late and not hand.missing and self._is_wrong(p, total)
                step[p] = (p, picture.gradient_text(total, hand.missing > 0, bad), bad)
            found.append(list(step.values()))
        return found

    # --- steps --------------------------------------------------------------------------------------------------------

    def _forward(self, told: Told, ids: Mapping[Node, str]) -> str:
        node, me = told.event.node, ids[told.event.node]
        args = operands(node)
        body = [_equation(escape(told.name), [numbers.html_of(node)])]
        shown = {self.names(p): p for p in args if is_node(p) or self.names(p) != numbers.text(p)}
        if shown:
            given = "".join(_equation(escape(name), [numbers.html_of(p)]) for name, p in shown.items())
            body.append(f'<p class="from">computed from</p>{given}')
        else:
            body.append(
                f'<p class="note">{"A parameter." if node.requires_grad else "Data: no gradient flows to it."}</p>'
            )
        edges = [f"{ids[p]}->{me}" for p in args if is_node(p)]
        sets = [(me, "value", numbers.brief(node), False)]
        return _section("forward", told, body, node=me, edges=edges, sets=sets)

    def _backward(self, told: Told, states: _States, ids: Mapping[Node, str], order: str) -> str:
        node, me = told.event.node, ids[told.event.node]
        sources = [f'{numbers.html_of(c)} <span class="from">from {escape(s)}</span>' for s, c in told.sources]
        if len(sources) > 1:
            left = _equation(escape(told.title), sources, between="+")
            body = [left, _equation("", [numbers.html_of(told.event.gradient)])]
        else:
            body = [_equation(escape(told.title), sources or [numbers.html_of(told.event.gradient)])]
        for note in told.notes:
            body.append(f'<p class="note{" late" if told.wrong or told.incomplete else ""}">{escape(note)}</p>')
        if told.hands:
            rows = "".join(self._row(h) for h in told.hands)
            heads = "".join(f'<th scope="col">{h}</th>' for h in _COLUMNS)
            body.append(f'<table class="hands"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>')
        edges = [f"{ids[h.edge.parent]}->{me}" for h in told.hands]
        got = [ids[h.edge.parent] for h in told.hands]
        sets = [(ids[n], "gradient", text, wrong) for n, text, wrong in states]
        lines = self._lines_of(node)
        return _section("backward", told, body, order=order, node=me, edges=edges, got=got, sets=sets, lines=lines)

    def _row(self, hand: Hand) -> str:
        edge = hand.edge
        if edge.slope is None:
            first = _formula(hand.local)
        elif numbers.text(edge.slope) == hand.local:
            first = numbers.html_of(edge.slope)
        else:
            first = _formula(hand.local) + numbers.html_of(edge.slope)
        total = numbers.html_of(edge.total)
        if edge.is_lost:
            total += f'<span class="formula late">Too late: {escape(hand.to)} has handed on already.</span>'
        elif hand.missing:
            total += f'<span class="formula">{hand.missing} more to come</span>'
        cells = [first, _formula(hand.formula) + numbers.html_of(edge.contribution), total]
        head = f'<th scope="row" data-label="{_COLUMNS[0]}"><span>{escape(hand.to)}</span></th>'
        return f"<tr>{head}{''.join(_data(c, name) for c, name in zip(cells, _COLUMNS[1:], strict=True))}</tr>"

    def _result(self, order: str, ids: Mapping[Node, str]) -> str:
        """The last step: the gradients of the leaves."""
        leaves = [t for t in self.backward if t.event.node.op is None]
        naive = order == "depth-first"
        sums = _sums(self.root, self.naive if naive else self.backward)
        rows = []
        for told in leaves:
            node = told.event.node
            cells = [numbers.html_of(sums[node])]
            if naive:
                bad = self._is_wrong(node, sums[node])
                cells[0] += (
                    f' <span class="{"wrong" if bad else "right"}-text">{"✗ wrong" if bad else "✓ right"}</span>'
                )
                cells.append(numbers.html_of(self.right[node]))
            row = "".join(f"<td>{c}</td>" for c in cells)
            rows.append(f'<tr data-leaf="{escape(told.name)}"><th scope="row">{escape(told.title)}</th>{row}</tr>')
        names = ", ".join(t.name for t in leaves)
        if naive:
            lost = [t.name for t in leaves if self._is_wrong(t.event.node, sums[t.event.node])]
            said = (
                f"In depth-first order the gradient of {' and of '.join(lost)} is wrong."
                if lost
                else "The gradients are right here, although some contributions came too late: they made no difference."
            )
            heads = ["", "in depth-first order", "in topological order"]
        else:
            said = f"Every contribution has arrived: the gradients of {names} are complete."
            heads = ["", "gradient"]
        head = "".join(f'<th scope="col">{h}</th>' for h in heads)
        table = f'<table class="result"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
        body = [f'<p class="note">{escape(said)}</p>', f'<div class="scroll">{table}</div>']
        told = Told(Event("result", self.root), "", "The gradients", said)
        return _section("result", told, body, order=order, got=[ids[t.event.node] for t in leaves])

    # --- the derivation -----------------------------------------------------------------------------------------------

    def _lines(self) -> str:
        if isinstance(self.derivation, str):
            return f"<p>{escape(self.derivation)}</p>"
        items = []
        for i, line in enumerate(self.derivation.lines):
            note = f"<small>{escape(line.note)}</small>" if line.note else ""
            items.append(f'<li data-line="{i}">{_line(line)}{note}</li>')
        return f"<ol>{''.join(items)}</ol>"

    def _lines_of(self, node: Node) -> list[str]:
        """The line of a node; of one without a name the lines that it is on the way to."""
        if isinstance(self.derivation, str):
            return []
        line_of = {n: str(i) for i, line in enumerate(self.derivation.lines) for n in line.nodes}
        found: dict[str, None] = {}
        waiting, seen = [node] if node is not self.root else [], {node}
        while waiting:
            n = waiting.pop()
            if n in line_of:
                found[line_of[n]] = None
            elif n.op is not None:
                new = [p for p in n.parents if is_node(p) and p.requires_grad and p not in seen]
                seen.update(new)
                waiting += new
        return list(found)


_COLUMNS = ("to", "local derivative", "contribution", "sum so far")
_States = Sequence[tuple[Node, str, bool]]


def _sums(root: Node, told: Sequence[Told]) -> dict[Node, Any]:
    return sums_of(root, [t.event for t in told])


def _section(
    kind: str,
    told: Told,
    body: Sequence[str],
    *,
    order: str = "",
    node: str = "",
    edges: Sequence[str] = (),
    got: Sequence[str] = (),
    sets: Sequence[tuple[str, str, str, bool]] = (),
    lines: Sequence[str] = (),
) -> str:
    """A step as it stands in the page.

    Args:
        kind: "forward", "backward" or "result".
        told: what happens.
        body: the HTML of it.
        order: the order of the backward pass that it belongs to; empty for a step of both.
        node: the active node, as the picture calls it.
        edges: along which something flows.
        got: the nodes that it flows to.
        sets: what then stands in the picture: node, "value" or "gradient", text, whether that is wrong.
        lines: the lines of the derivation that it belongs to.
    """
    data = {
        "pass": kind,
        "order": order,
        "node": node,
        "edges": " ".join(edges),
        "got": " ".join(got),
        "sets": json.dumps(sets, ensure_ascii=False),
        "lines": " ".join(lines),
    }
    attributes = " ".join(f'data-{k}="{escape(v)}"' for k, v in data.items())
    title = told.title + (", incomplete" if told.incomplete else ", wrong" if told.wrong else "")
    parts = [
        f'<article class="step" {attributes}>',
        f'<p class="count"><b>{kind.capitalize()}</b> <span class="place"></span></p>',
        f"<h3>{escape(title)}</h3>",
        *body,
        f'<p class="sentence" hidden>{escape(told.sentence)}</p>',
        "</article>",
    ]
    return "".join(parts)


def _equation(left: str, right: Sequence[str], between: str = "") -> str:
    """`left = right`."""
    terms = f" {between} ".join(f'<span class="term">{term}</span>' for term in right)
    return f'<div class="equation scroll"><span>{left}</span> = {terms}</div>'


def _sides(latex: str) -> list[str]:
    """What stands between the equals signs of a line, those in parentheses and indices apart."""
    sides = [""]
    for piece in latex.split(" = "):
        inside = sum(sides[-1].count(c) for c in "({") - sum(sides[-1].count(c) for c in ")}")
        if inside > 0:
            sides[-1] += f" = {piece}"
        else:
            sides.append(piece)
    return sides[1:]


def _formula(text: str) -> str:
    return f'<span class="formula">{escape(text)}</span>' if text else ""


def _data(cell: str, label: str) -> str:
    return f'<td data-label="{label}"><div>{cell}</div></td>'


def _line(line: Line) -> str:
    """A line of the derivation; it may break before each equals sign."""
    left, *right = _sides(line.latex)
    try:
        parts = [mathml(left), *(mathml(f"= {part}") for part in right)]
    except ModuleNotFoundError:  # without latex2mathml the line stands as text
        left, *right = line.forms
        parts = [escape(left), *(f"= {escape(part)}" for part in right)]
    return f'<div class="equation">{"".join(f"<span>{part}</span>" for part in parts)}</div>'


def _sized(svg: str, label: str) -> str:
    """The picture as wide as there is room, between two thirds of its natural size and that."""
    start, end = svg.index("<svg"), svg.index(">")
    box = svg[svg.index('viewBox="') + 9 :].partition('"')[0]
    width = float(box.split()[2]) * 4 / 3
    return (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="{box}" width="100%" '
        f'style="min-width:{width * 0.68:.0f}px;max-width:{width:.0f}px" xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink">{svg[:start]}{svg[end + 1 :]}'
    )


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
