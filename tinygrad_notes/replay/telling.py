"""The events in words: what the terminal prints and what the page shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..derive.letters import shown_parents
from ..draw.formulas import contribution
from ..graph import Node
from . import numbers
from .events import Event, Handed
from .names import Names


@dataclass
class Hand:
    """What is handed on to one argument, in words.

    Attributes:
        edge: the numbers.
        to: the argument's name.
        local: the local derivative as a formula; for a linear map what it makes of the gradient g.
        formula: the contribution as a formula; may be empty.
        first: whether it is the first contribution to that argument.
        missing: how many contributions to that argument are still to come.
    """

    edge: Handed
    to: str
    local: str
    formula: str
    first: bool
    missing: int


@dataclass
class Told:
    """An event in words.

    Attributes:
        event: what happens.
        name: the active node.
        title: what the step is about, in a few words.
        sentence: what happens, whole: also what a screen reader says.
        sources: where the gradient came from: who handed on what.
        hands: what is handed on.
        notes: what is to be said beside the numbers.
        incomplete: whether the node hands on a sum to which contributions are missing.
        wrong: whether that sum is not its gradient.
    """

    event: Event
    name: str
    title: str
    sentence: str
    sources: list[tuple[str, Any]] = field(default_factory=list)
    hands: list[Hand] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    incomplete: bool = False
    wrong: bool = False


def operands(node: Node) -> list[Any]:
    """The arguments of a node that one would write: not what is there for its digits only."""
    return shown_parents(node) if node.op is not None else []


def forward(events: Sequence[Event], names: Names) -> list[Told]:
    """The forward pass in words."""
    told = []
    for event in events:
        node = event.node
        name, value = names(node), numbers.text(node)
        if node.op is None:
            what = "a parameter" if node.requires_grad else "given"
            told.append(Told(event, name, name, f"{name} = {value} is {what}."))
        else:
            call = names.call(node, operands(node))
            told.append(Told(event, name, f"{name} = {call}", f"{name} = {call} = {value}."))
    return told


def backward(events: Sequence[Event], names: Names, right: Mapping[Node, Any]) -> list[Told]:
    """A backward pass in words.

    Args:
        events: the pass; where its order is not topological, nodes hand on sums that are not complete.
        names: the names of the graph.
        right: the gradients.
    """
    told = []
    sources: dict[Node, list[tuple[str, Any]]] = {}
    misled: set[Node] = set()
    missing = Counter(edge.parent for event in events for edge in event.handed)
    for event in events:
        node, name = event.node, names(event.node)
        came = list(sources.get(node, []))
        incomplete = missing[node] > 0
        hands = []
        for edge in event.handed:
            missing[edge.parent] -= 1
            hands.append(_hand(edge, event, names, edge.parent not in sources, missing[edge.parent]))
            sources.setdefault(edge.parent, []).append((name, edge.contribution))
        step = Told(event, name, names.gradient(node), "", came, hands, incomplete=incomplete)
        # To a leaf contributions may still come. What only rounding tells apart is not wrong.
        suspect = node in misled if node.op is None else incomplete or node in misled
        step.wrong = suspect and not numbers.agree(event.gradient, right[node])
        if step.wrong:
            misled.update(edge.parent for edge in event.handed)
        step.notes = _notes(step, missing[node])
        if step.wrong:
            step.notes.append(f"That is wrong; the right {step.title} is {numbers.text(right[node])}.")
        opening = f"{step.title} = {numbers.text(event.gradient)}."
        step.sentence = " ".join([opening, *step.notes, *_handing(step)])
        told.append(step)
    return told


def _hand(edge: Handed, event: Event, names: Names, first: bool, missing: int) -> Hand:
    node = event.node
    called = [names(p) for p in node.parents]
    assert node.op is not None
    local = contribution(node, edge.position, "" if node.op.elementwise else "g", names(node), called)
    whole = contribution(node, edge.position, names.gradient(node), names(node), called)
    if not node.op.elementwise:
        local = f"g ↦ {local}" if local else node.op.name
    return Hand(edge, names(edge.parent), local, whole, first, missing)


def _notes(told: Told, missing: int) -> list[str]:
    count = len(told.sources)
    if not told.sources:
        said = f"Here the backward pass starts: {told.title} is 1, as {told.name} changes by what {told.name} changes."
    elif told.incomplete:
        said = (
            f"Only {count} of {count + missing} contributions {'has' if count == 1 else 'have'} reached {told.name}, "
            "and it hands on what it has."
            if told.hands
            else f"Only {count} of {count + missing} contributions have arrived so far."
        )
    elif told.event.node.op is None:
        said = f"{told.name} is a leaf: all contributions have arrived."
    elif count > 1:
        said = f"{told.name} is used {count} times: its gradient is the sum of {count} contributions, and all are here."
    else:
        return []
    return [said]


def _handing(told: Told) -> list[str]:
    said = []
    for hand in told.hands:
        edge = hand.edge
        text = f"{told.name} hands {numbers.text(edge.contribution)} to {hand.to}"
        if not hand.first:
            text += f", whose sum is now {numbers.text(edge.total)}"
        said.append(f"{text}.")
        if edge.is_lost:
            said.append(f"Too late: {hand.to} has handed on already, without this contribution.")
    return said
