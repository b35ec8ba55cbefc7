"""The picture of a recorded graph: `draw(loss)` shows every node with its op, its numbers and its gradient.

`scopes.py` finds the calls of modules that nodes were made in, `folding.py` which nodes are alike, `view.py` the boxes
and edges of the picture; `words.py`, `labels.py` and `formulas.py` write what these say, `dot.py` the DOT source;
`render.py` makes SVG, PNG or PDF of it, `tex.py` sets LaTeX, and `picture.py` is what `draw` returns: it shows itself
in a notebook and saves itself. `anomaly.py` watches a forward pass and draws the path to what went wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from ..graph import Node, is_node
from ..lazy import lazily
from ..ops import describe
from .anomaly import AnomalyError, detect_anomaly, record_lines

if TYPE_CHECKING:
    from .picture import Picture
    from .render import RenderError

__getattr__ = lazily(__name__, {"Picture": "picture", "RenderError": "render"})
__all__ = ["AnomalyError", "Picture", "RenderError", "detect_anomaly", "draw", "record_lines"]


def draw(
    *roots: Node | Sequence[Node],
    backward: bool = False,
    derivatives: bool = False,
    depth: int | None = None,
    fold: bool | None = None,
    tex: bool = False,
    path: Collection[Node] = (),
    force: bool = False,
) -> Picture:
    """The graph that the roots were computed from, data on the left, results on the right.

    | kind | shape | colour |
    | --- | --- | --- |
    | parameter: a leaf that takes a gradient | box with a double border | orange |
    | data: a leaf that takes none | sheet with a folded corner | blue |
    | constant: a plain number or array, one box a use | small box | grey |
    | op | ellipse | white |
    | op whose result has a name | rounded box with a thick border | green |
    | call of a module, folded | solid box | purple |
    | gradient, with `backward=True` | octagon | yellow |

    A node shows its name, its op, its value and, if it takes one, its gradient: a dash until a backward pass has
    computed it. Up to six elements are shown as numbers of four digits, larger arrays by their shape, with the dtype
    where it is not float64. Pointing at a node of the SVG tells the full name, more digits and, within
    `record_lines()`, the line that made it; pointing at an arrow which argument it is and its local derivative.
    Outside of clusters arrows enter an op from top to bottom in the order of its arguments. Nodes made in a call of an
    `nn.Module` stand in a cluster with its name.

    The picture is of now: a later backward pass does not change it, so that one taken before and one taken after can
    stand side by side. The cost is linear in the number of nodes and edges; a node that is used twice is drawn once.

    Args:
        roots: `Value`s or `Tensor`s, or lists of them.
        backward: draw the backward pass beside it: a box for each gradient, and on each arrow the local derivative.
        derivatives: write the local derivative on each arrow. Nodes without a name are then numbered v0, v1, …
        depth: modules that lie deeper than so many calls are one box each: 0 folds every module.
        fold: True draws what repeats, such as the samples of a batch, once, with how often it is there; False draws
            all; by default a picture of more than 150 nodes folds as far as it must, and says so.
        tex: set names and ops as LaTeX; needs the extra `tex`.
        path: nodes to draw in red, with the arrows between them.
        force: draw a picture of more than 1,500 nodes all the same.

    Returns:
        The picture: the last line of a notebook cell shows it, `.save("net.svg")` writes it, `.source` is its DOT text.

    Raises:
        TypeError: no root, or one that is neither a Value nor a Tensor.
        ValueError: the picture would have more than 1,500 nodes.
        RenderError: `tex` without ziamath.

    Example:
        >>> from tinygrad_notes import Value
        >>> w, x = Value(2.0, name="w"), Value(3.0, name="x", requires_grad=False)
        >>> draw((w * x - 1) ** 2)
        Picture(nodes=7, edges=6)
    """
    from .dot import build
    from .picture import Picture
    from .view import look

    given = [node for root in roots for node in (root if isinstance(root, (list, tuple)) else (root,))]
    for node in given:
        if not is_node(node):
            advice = "; wrap it: Tensor(x)" if hasattr(node, "shape") else ""
            raise TypeError(f"draw: got {describe(node)}; expected a Value or Tensor, or a list of them{advice}.")
    if not given:
        raise TypeError("draw: got no root; expected a Value or Tensor, or a list of them.")
    if depth is not None and depth < 0:
        raise ValueError(f"draw: depth is {depth}; expected 0 or more.")
    view = look(given, fold=fold, depth=depth, force=force, sides=2 if backward else 1)
    drawing = build(view, backward=backward, derivatives=derivatives, latex=tex, path=path)
    return Picture(drawing.source, drawing.nodes, drawing.edges, drawing.note, drawing.formulas)
