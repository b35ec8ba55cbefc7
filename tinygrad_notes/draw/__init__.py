"""The picture of a recorded graph: `draw(loss)` shows every node with its op, its numbers and its gradient.

`labels.py` writes what stands in a node, `dot.py` the DOT source, `render.py` makes SVG, PNG or PDF of it, and
`picture.py` is what `draw` returns: it shows itself in a notebook and saves itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Node, is_node
from ..ops import describe
from .dot import build
from .picture import Picture
from .render import RenderError

__all__ = ["Picture", "RenderError", "draw"]


def draw(*roots: Node | Sequence[Node]) -> Picture:
    """The graph that the roots were computed from, data on the left, results on the right.

    | kind | shape | colour |
    | --- | --- | --- |
    | parameter: a leaf that takes a gradient | box with a double border | orange |
    | data: a leaf that takes none | sheet with a folded corner | blue |
    | constant: a plain number or array, one box a use | small box | grey |
    | op | ellipse | white |
    | op whose result has a name | rounded box with a thick border | green |

    A node shows its name, its op, its value and, if it takes one, its gradient: a dash until a backward pass has
    computed it. Up to six elements are shown as numbers of four digits, larger arrays by their shape, with the dtype
    where it is not float64. Pointing at a node of the SVG tells the full name and more digits. Arrows enter an op from
    top to bottom in the order of its arguments.

    The picture is of now: a later backward pass does not change it, so that one taken before and one taken after can
    stand side by side. The cost is linear in the number of nodes and edges; a node that is used twice is drawn once.

    Args:
        roots: `Value`s or `Tensor`s, or lists of them.

    Returns:
        The picture: the last line of a notebook cell shows it, `.save("net.svg")` writes it, `.source` is its DOT text.

    Raises:
        TypeError: no root, or one that is neither a Value nor a Tensor.

    Example:
        >>> from tinygrad_notes import Value
        >>> w, x = Value(2.0, name="w"), Value(3.0, name="x", requires_grad=False)
        >>> draw((w * x - 1) ** 2)
        Picture(nodes=7, edges=6)
    """
    given = [node for root in roots for node in (root if isinstance(root, (list, tuple)) else (root,))]
    for node in given:
        if not is_node(node):
            advice = "; wrap it: Tensor(x)" if hasattr(node, "shape") else ""
            raise TypeError(f"draw: got {describe(node)}; expected a Value or Tensor, or a list of them{advice}.")
    if not given:
        raise TypeError("draw: got no root; expected a Value or Tensor, or a list of them.")
    return Picture(*build(given))
