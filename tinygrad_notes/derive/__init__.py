"""The derivation of a recorded graph: the backward pass as a person would write it, line by line.

`letters.py` and `sizes.py` find what everything is called. `reading.py` reads the op table with the formulas of
`formula.py`, whose symbols stand on a sheet (`sheet.py`, `symbols.py`): elementwise algebra is SymPy's (`algebra.py`),
matrix structure our own (`matrices.py`). `backward.py` applies the chain rule, `trials.py` holds every line against
the automatic gradient, `recursion.py` folds layers and steps of time. `writing.py` decides the order in which a person
writes, `text.py`, `latex.py` and `code.py` how it looks, and `derivation.py` puts the lines together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..graph import Node, topological_order
from ..lazy import lazily

if TYPE_CHECKING:
    from .derivation import Derivation, Line
    from .letters import DeriveError

__getattr__ = lazily(__name__, {"Derivation": "derivation", "Line": "derivation", "DeriveError": "letters"})
__all__ = ["Derivation", "DeriveError", "Line", "derive"]


def derive(
    loss: Node,
    wrt: Node | str | Sequence[Node | str] | None = None,
    numbers: bool = False,
    *,
    names: Mapping[str, Any] | None = None,
) -> Derivation:
    """The derivation of the gradients of a loss, from its recorded graph alone.

    Each named node has a line: the chain rule, the local derivatives of the op table put in, and what remains when it
    is simplified in terms of the named intermediates. Every line is held against the automatic gradient on generated
    inputs; one that fails is shown unsimplified and says so.

    Args:
        loss: a `Value` or a `Tensor` of one element.
        wrt: the nodes (or their names) to derive by; every named leaf that takes a gradient if it is not given. The
            intermediates on the way have lines too.
        numbers: whether every line also shows its numbers at the recorded inputs.
        names: names for nodes and arrays that carry none, such as the `locals()` that a forward pass returns.

    Returns:
        The derivation: `print` it, show it in Jupyter, or ask it for `.latex()`, `.markdown()`, `.html()`, `.python()`.

    Raises:
        TypeError: the loss is no node.
        ValueError: it is no scalar, no gradient flows from it, a parameter has no name, or two nodes have one.
        ModuleNotFoundError: SymPy is missing; the message names the extra `derive`.

    Example:
        >>> import tinygrad_notes as tn
        >>> w, x = tn.Value(2.0, name="w"), tn.Value(3.0, name="x", requires_grad=False)
        >>> a = tn.tanh(w * x).named("a")
        >>> print(tn.derive((a * a).named("L")))
        ∂L/∂a = 2 a
        ∂L/∂w = ∂L/∂a · ∂a/∂w = ∂L/∂a · x · (1 − a²)
    """
    from .backward import check_root
    from .derivation import Derivation
    from .letters import Letters

    root = check_root(loss)
    letters = Letters(topological_order(root), names or {})
    wanted = letters.wanted(wrt)
    letters.choose_sizes(wanted)
    return Derivation(letters, wanted, numbers)
