"""The step player of a recorded graph: its forward and backward pass, one node at a time.

`events.py` reads the event log from the graph, in topological order and in the naive one; `names.py`, `numbers.py` and
`telling.py` say it in words, `picture.py` draws the graph, and `page.py` makes one HTML file of all (`page.html`,
`player.css` and `player.js` are its parts). `player.py` is what `replay` returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..graph import Node
from ..lazy import lazily

if TYPE_CHECKING:
    from .events import Event, Handed
    from .player import Replay

__getattr__ = lazily(__name__, {"Event": "events", "Handed": "events", "Replay": "player"})
__all__ = ["Event", "Handed", "Replay", "replay"]


LIMIT = 300
"""Nobody steps through a larger graph."""


def replay(loss: Node, *, names: Mapping[str, Any] | None = None, limit: int = LIMIT) -> Replay:
    """The forward and the backward pass of a recorded graph, step by step.

    In the forward pass each node computes its value. In the backward pass each node, after all that were computed from
    it, hands on to each of its arguments its gradient times the local derivative; what reaches a node adds up, and the
    sum is its gradient. `.grad` of the nodes is neither read nor written.

    Args:
        loss: a `Value` or a `Tensor` of one element.
        names: names for nodes and arrays that carry none, such as the `locals()` that a forward pass returns.
        limit: how many nodes the graph may have.

    Returns:
        The player: `.save("step.html")` writes it as one file that needs no network, `.text()` is the same in the
        terminal, `.events` are the steps; the last line of a notebook cell shows it.

    Raises:
        TypeError: the loss is no node, or is being traced by JAX.
        ValueError: it is no scalar, no gradient flows from it, or the graph has more nodes than the limit.
        RuntimeError: an array of the graph was changed in place.

    Example:
        >>> import tinygrad_notes as tn
        >>> w, x = tn.Value(2.0, name="w"), tn.Value(3.0, name="x", requires_grad=False)
        >>> print(tn.replay((w * x).named("Z") ** 2).text())
        forward: each node is computed after its arguments
          1. w = 2 is a parameter.
          2. x = 3 is given.
          3. Z = w * x = 6.
          4. L = Z ** 2 = 36.
        <BLANKLINE>
        backward: each node hands on its gradient after all that use it have handed on theirs
          5. ∂L/∂L = 1
             to Z: 2 · Z = 12; gives ∂L/∂L · 2 · Z = 12
          6. ∂L/∂Z = 12
             to w: x = 3; gives ∂L/∂Z · x = 36
          7. ∂L/∂w = 36
    """
    from .player import Replay

    return Replay(loss, names or {}, limit)
