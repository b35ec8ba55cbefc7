"""What the boxes and edges of a view say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..graph import Node, is_node
from ..ops import namespace_of
from ..ops.namespaces import shape_of
from ..origin import origin_of
from . import labels, tex
from .formulas import contribution
from .view import Box, Edge, View

CHAIN_SYMBOLS = {"add": "Σ", "multiply": "Π", "maximum": "max", "minimum": "min"}


@dataclass
class Said:
    """The text of a box.

    Attributes:
        kind: which style it has.
        lines: what stands in it; the first `titles` are its name and its op.
        tooltip: what a reader sees who points at it.
        tex: its name and op as LaTeX; empty where it has none.
    """

    kind: str
    lines: list[str]
    titles: int
    tooltip: list[str]
    tex: str = ""


@dataclass
class EdgeSaid:
    """The text of an edge: its local derivative, how often it stands for an argument, and both tooltips."""

    label: str = ""
    times: str = ""
    tooltip: list[str] = field(default_factory=list)
    backward: list[str] = field(default_factory=list)


class Words:
    """The text of a view.

    Args:
        view: what is drawn.
        numbered: whether nodes without a name show their number, by which formulas call them.
        names: what to call nodes in place of their own names.
    """

    def __init__(self, view: View, numbered: bool, names: Mapping[Node, str] | None = None) -> None:
        self.view, self.numbered, self._names = view, numbered, names or {}
        self._boxes = view.box_of()
        last = [b for b in view.boxes if not b.constant]
        ends = set(last) - {e.tail for e in view.edges if not e.back}
        self._root = self.called(ends.pop()) if len(ends) == 1 else ""
        self._edges: dict[Edge, EdgeSaid] = {}

    def called(self, box: Box) -> str:
        """What formulas call a box."""
        if box.constant:
            return " ".join(labels.constant(box.first)) if len(box.members) == 1 else f"k{box.id[1:]}"
        return (self._own(box.first) if not box.folded else "") or f"v{box.id[1:]}"

    def _own(self, node: Node) -> str:
        """The name of a node, in one line; empty if it has none."""
        return self._names.get(node) or _plain(node.name)

    def _count(self, box: Box) -> int:
        """How many a box stands for; of a folded call, how many calls."""
        return self.view.clusters[box.scope][1] if box.folded else len(box.members)

    def _name(self, x: Any) -> str:
        if not is_node(x):
            lines = labels.constant(x)
            return lines[0] if len(lines) == 1 and labels.is_shown(x) else f"array {tuple(shape_of(x))}"
        box = self._boxes[x]
        return self._own(x) or self.called(box)

    # --- boxes --------------------------------------------------------------------------------------------------------

    def box(self, box: Box) -> Said:
        """What a box says."""
        if box.constant:
            return self._constant(box)
        said = self._module(box) if box.folded else self._node(box)
        if len(box.members) > 1 and not box.folded:
            said.tooltip.insert(1, f"{len(box.members):,} nodes")
        return said

    def _constant(self, box: Box) -> Said:
        if len(box.members) == 1 or all(_same(x, box.first) for x in box.members):
            lines, said = labels.constant(box.first), labels.details(box.first)
        else:
            lines = said = _range("", box.members)
        times = [f"× {len(box.members):,}"] if len(box.members) > 1 else []
        return Said("constant", [*lines, *times], 0, ["constant", *times, *said])

    def _node(self, box: Box) -> Said:
        node: Node = box.first
        count = len(box.members)
        name = self._own(node)
        alike = all(n.name == node.name for n in box.members)
        shown = name if alike else f"{name}, …"
        times = f"  × {count:,}" if count > 1 else ""
        titles = [labels.short(shown) + times] if name else []
        if node.op is None:
            kind = said = "parameter" if node.requires_grad else "data"
            if not name and times:
                titles = [times.strip()]
        else:
            kind, said = "named" if name else "op", "op: " + labels.call(node.op, node.params, symbol=False)
            call = CHAIN_SYMBOLS[node.op.name] if box.chain else labels.call(node.op, node.params)
            titles.append(labels.short(call) + (times if not name else ""))
        if self.numbered and not name:
            titles.insert(0, f"v{box.id[1:]}")
        tooltip = [*([shown] if name else []), said]
        if count == 1:
            body = [*labels.value(node.data), *labels.gradient(node)]
            tooltip += [*labels.details(node.data), labels.gradient_details(node)]
        else:
            body = [*_range("value: ", [n.data for n in box.members])]
            grads = [n.grad for n in box.members]
            if node.requires_grad:
                body += ["grad: –"] if any(g is None for g in grads) else _range("grad: ", grads)
            tooltip += body
        origin = origin_of(node)
        if origin is not None and origin.line is not None:
            tooltip.append(f"made at {origin.line}")
        return Said(kind, [*titles, *body], len(titles), tooltip, tex.title(node, self._name) if count == 1 else "")

    def _module(self, box: Box) -> Said:
        calls = self._count(box)
        title = box.scope.name + (f"  × {calls:,}" if calls > 1 else "")
        ops = [n for n in box.members if n.op is not None]
        leaves = [n for n in box.members if n.op is None and n.requires_grad]
        lines = [f"{_plain(n.name) or 'parameter'} {tuple(shape_of(n.data)) or ''}".strip() for n in leaves]
        if len(lines) > 4:
            lines = [f"{len(lines):,} parameters"]
        names = list(dict.fromkeys(n.op.symbol or n.op.name for n in ops if n.op is not None))
        body = [*lines, f"{len(ops):,} op{'s' * (len(ops) != 1)}: " + labels.short(" ".join(names))]
        return Said("module", [title, *body], 1, [title, *body])

    def gradient(self, box: Box) -> Said:
        """What the box of a gradient says."""
        name = f"∂{self._root}/∂{self.called(box)}"
        node: Node = box.first
        count = len(box.members)
        grads = [n.grad for n in box.members if n.requires_grad]
        if box.folded:
            lines = ["gradients of this call"]
        elif any(g is None for g in grads):
            lines = ["–"]
        elif count == 1:
            lines = labels.fitting(labels.plain(node.grad))
        else:
            lines = _range("", grads)
        tooltip = [name, "gradient", *([] if box.folded or count > 1 else [labels.gradient_details(node)])]
        written = tex.gradient(self._root, self.called(box)) if count == 1 else ""
        return Said("gradient", [labels.short(name), *lines], 1, tooltip, written)

    # --- edges --------------------------------------------------------------------------------------------------------

    def edge(self, edge: Edge) -> EdgeSaid:
        """What an edge says."""
        if edge not in self._edges:
            self._edges[edge] = self._edge(edge)
        return self._edges[edge]

    def _edge(self, edge: Edge) -> EdgeSaid:
        node, i = edge.node, edge.position
        said = EdgeSaid()
        if edge.back:
            said.times = "next step"
        elif edge.count != self._count(edge.head) and edge.count > 1:
            said.times = f"× {edge.count:,}"
        parent = node.parents[i]
        mine, its = self._name(node), self._name(parent)
        said.tooltip = [f"{its} → {mine}"]
        if len(node.parents) > 1 and not edge.head.folded:
            said.tooltip.append(f"argument {i + 1} of {len(node.parents)}")
        if edge.head.folded or not (is_node(parent) and parent.requires_grad and node.requires_grad):
            said.backward = said.tooltip
            return said
        names = [self._name(p) for p in node.parents]
        assert node.op is not None
        formula = contribution(node, i, "", mine, names)
        digits = _slope(node, i) if len(edge.head.members) == 1 else ""
        left = f"∂{mine}/∂{its}"
        equal = " = ".join(dict.fromkeys(part.replace("-", "−") for part in (formula, digits) if part))
        if node.op.elementwise:
            said.label = equal if len(equal) <= labels.LONGEST else digits or labels.short(formula)
            said.tooltip.append(f"{left} = {equal}" if equal else left)
        else:  # linear maps: what they make of a cotangent g
            said.label = labels.short(formula) if formula != "g" else ""
            said.tooltip.append(f"cotangent g of {mine} ↦ {formula or 'its vjp'}")
        g = f"∂{self._root}/∂{mine}"
        handed = contribution(node, i, g, mine, names)
        said.backward = [f"∂{self._root}/∂{its} gets {handed or 'a contribution'}", *said.tooltip[1:]]
        return said


def _plain(name: str | None) -> str:
    """A name in one line."""
    return " ".join(str(name).split()) if name else ""


def _same(a: Any, b: Any) -> bool:
    return a is b or (not shape_of(a) and not shape_of(b) and a == b)


def _range(prefix: str, items: Sequence[Any]) -> list[str]:
    """The least and the largest of numbers; of arrays their shape."""
    items = [labels.plain(x) for x in items]
    shapes = {tuple(shape_of(x)) for x in items}
    if shapes == {()}:
        numbers: list[float] = sorted(float(x) for x in items)
        low, high = labels.number(numbers[0]), labels.number(numbers[-1])
        return [prefix + (low if low == high else f"{low} … {high}")]
    return [prefix.replace("value", "shape") + " or ".join(str(s) for s in sorted(shapes)[:2])]


def _slope(node: Node, i: int) -> str:
    """The local derivative in numbers, where they are few."""
    op = node.op
    assert op is not None
    if not op.elementwise or op.partials is None or not labels.is_shown(node.data):
        return ""
    edges = getattr(node, "edges", None) if node.rank == 1 else None
    if edges is not None:
        slope = edges[i][1]
        return "" if slope is None else labels.number(slope)
    args = [p.data if is_node(p) else p for p in node.parents]
    if any(not labels.is_shown(a) for a in args):
        return ""
    read: Callable[..., Any] = op.slopes
    xp = namespace_of([node.data], op.name)
    with xp.quiet():
        slope = read(xp, node.data, args, [k == i for k in range(len(args))], node.params)[i]
    if slope is None or not labels.is_shown(slope):
        return ""
    return " ".join(labels.fitting(slope)) if labels.fitting(slope) == labels.numbers(slope) else ""
