"""`Replay`: the event log of a graph, as text, as one HTML file, and in a notebook."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

from .. import mutation
from ..derive import Derivation, DeriveError, derive
from ..draw import RenderError
from ..files import write_whole
from ..graph import Node, is_node, topological_order
from ..ops import describe
from ..ops.namespaces import is_traced
from . import numbers, telling
from .events import Event, backward_pass, depth_first, forward_order, sums_of
from .names import Names
from .page import Page
from .telling import Told


class Replay:
    """What `replay` returns.

    Attributes:
        loss: the node that is differentiated.
        forward: the forward pass, an event a node.
        backward: the backward pass, in the order of the engine.
        naive: the backward pass in depth-first order, which is wrong where a node hands on its gradient before all
            contributions to it are there.
    """

    def __init__(self, loss: Node, names: Mapping[str, Any], limit: int) -> None:
        order = _checked(loss, limit)
        self.loss = loss
        self.forward = [Event("forward", node) for node in forward_order(loss)]
        self.backward = backward_pass(loss, [n for n in reversed(order) if n.requires_grad])
        self.naive = backward_pass(loss, depth_first(loss))
        self._given = names
        self._names = Names([e.node for e in self.forward], names)

    @property
    def events(self) -> list[Event]:
        """The whole log: the forward pass, then the backward pass."""
        return [*self.forward, *self.backward]

    @cached_property
    def gradients(self) -> dict[Node, Any]:
        """∂loss/∂node of every node that takes a gradient."""
        return sums_of(self.loss, self.backward)

    @property
    def is_order_free(self) -> bool:
        """Whether depth-first order is right here: every node is reached after all that use it."""
        return not any(edge.is_lost for e in self.naive for edge in e.handed)

    def __repr__(self) -> str:
        return f"Replay(of {self._names.root}: {len(self.forward)} steps forward, {len(self.backward)} backward)"

    def text(self, *, naive: bool = False) -> str:
        """The log as text.

        Args:
            naive: whether the backward pass goes in depth-first order.
        """
        lines = ["forward: each node is computed after its arguments"]
        lines += [f"{i:3}. {told.sentence}" for i, told in enumerate(self._forward, 1)]
        lines += ["", _HEADS[naive]]
        for i, told in enumerate(self._naive if naive else self._backward, len(lines) - 2):
            lines += _told(i, told)
        return "\n".join(lines)

    def html(self) -> str:
        """The player as one HTML page that needs nothing else.

        Raises:
            RenderError: no renderer for the graph is installed, or it failed.
        """
        naive = [] if self.is_order_free else self._naive
        return Page(self._names, self._forward, self._backward, naive, self._derivation).html()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the player to a file; an old file stays as it is until the new one is whole.

        Args:
            path: where; it must end in .html.

        Returns:
            The path.

        Raises:
            ValueError: another suffix.
            FileNotFoundError: the folder does not exist.
            RenderError: no renderer for the graph is installed, or it failed.
        """
        path = Path(path)
        if path.suffix.lower() not in (".html", ".htm"):
            raise ValueError(f"Replay.save: {path.name!r} ends in {path.suffix!r}; expected .html.")
        if not path.parent.is_dir():
            raise FileNotFoundError(f"Replay.save: there is no folder {str(path.parent)!r}; create it first.")
        write_whole(path, self.html().encode())
        return path

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, str]:
        """What a notebook shows: the player in a frame of its own, or why there is none in words."""
        try:
            frame = 'width="100%" height="760" style="border:0" sandbox="allow-scripts" title="Step player"'
            bundle = {
                "text/html": f'<iframe {frame} srcdoc="{escape(self.html())}"></iframe>',
                "text/plain": repr(self),
            }
        except RenderError as error:
            bundle = {"text/plain": f"{self!r} Not shown. {error}"}
        return {k: v for k, v in bundle.items() if (not include or k in include) and (not exclude or k not in exclude)}

    # --- in words -----------------------------------------------------------------------------------------------------

    @cached_property
    def _forward(self) -> list[Told]:
        return telling.forward(self.forward, self._names)

    @cached_property
    def _backward(self) -> list[Told]:
        return telling.backward(self.backward, self._names, self.gradients)

    @cached_property
    def _naive(self) -> list[Told]:
        return telling.backward(self.naive, self._names, self.gradients)

    @cached_property
    def _derivation(self) -> Derivation | str:
        """The derivation, or why there is none."""
        try:
            return derive(self.loss, names=self._given)
        except DeriveError as error:
            return f"There is no derivation of this graph. {error}"
        except ModuleNotFoundError as error:
            return f"There is no derivation here: {error}"


_WIDTH = 110
_HEADS = {
    False: "backward: each node hands on its gradient after all that use it have handed on theirs",
    True: "backward, depth-first: each node hands on its gradient as soon as it is reached",
}


def _told(i: int, told: Told) -> list[str]:
    """A step of a backward pass as lines."""
    terms = " + ".join(f"{numbers.text(c)} from {source}" for source, c in told.sources)
    sum_ = f" = {terms}" if len(told.sources) > 1 else ""
    lines = [f"{i:3}. {told.title}{sum_} = {numbers.text(told.event.gradient)}"]
    if told.incomplete or told.wrong:
        lines += [f"     {note}" for note in told.notes]
    for hand in told.hands:
        edge = hand.edge
        slope = numbers.text(edge.slope) if edge.slope is not None else ""
        local = " = ".join(dict.fromkeys(part for part in (hand.local, slope) if part))
        given = " = ".join(part for part in (hand.formula, numbers.text(edge.contribution)) if part)
        said = [f"{local}", f"gives {given}"]
        if not hand.first or hand.missing:
            said.append(f"sum {numbers.text(edge.total)}" + (f", {hand.missing} more to come" if hand.missing else ""))
        if edge.is_lost:
            said.append(f"too late: {hand.to} has handed on already")
        head = f"     to {hand.to}: "
        whole = head + "; ".join(said)
        lines += [whole] if len(whole) <= _WIDTH else [head + ("\n" + " " * len(head)).join(said)]
    return lines


def _checked(loss: Any, limit: int) -> Sequence[Node]:
    """The graph's nodes, each after its parents.

    Raises:
        TypeError, ValueError: it cannot be played.
    """
    if not is_node(loss):
        raise TypeError(f"replay: got {describe(loss)}; expected a Value or Tensor: the loss of a recorded graph.")
    if is_traced(loss.data):
        raise TypeError(
            f"replay: {describe(loss)} is being traced by JAX and has no numbers yet; replay it outside jit."
        )
    if getattr(loss, "size", 1) != 1:
        raise ValueError(f"replay: {describe(loss)} is no scalar; reduce it first, with tn.sum or tn.mean.")
    if not loss.requires_grad or loss.op is None:
        raise ValueError(
            f"replay: no gradient flows from {describe(loss)}: it was computed from nothing that takes one. "
            "Make a parameter with requires_grad=True, and compute outside no_grad()."
        )
    order = topological_order(loss)
    if len(order) > limit:
        raise ValueError(
            f"replay: the graph has {len(order):,} nodes; at most {limit:,} are played. Take fewer examples or layers, "
            f"use a Tensor in place of many Values, or give a larger limit: replay(loss, limit={len(order)})."
        )
    mutation.check(order)
    return order
