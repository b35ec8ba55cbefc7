"""What a correction is, and what it may draw on."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from . import trees
from .facts import Network, Slope
from .trees import parts
from .trials import Trials


@dataclass(frozen=True)
class Edit:
    """One correction.

    Attributes:
        price: how far-fetched it is; the cheapest that is right is the diagnosis.
        kind, words: as in `Diagnosis`, the words without a full stop.
        tree: the corrected formula.
    """

    price: float
    kind: str
    words: str
    tree: ast.expr


@dataclass(frozen=True)
class Setting:
    """What an edit may draw on.

    Attributes:
        name: the gradient, such as `dZ1`.
        trials: where subexpressions are evaluated.
        slopes: those of the network's activations.
        operands: the names that may stand in the formula.
        network: the forward pass.
        own: whether the formula is the learner's; else only its value is known, under a name of ours.
        softmaxes: the network's softmaxes: output, argument, axis.
    """

    name: str
    trials: Trials
    slopes: Sequence[Slope]
    operands: Sequence[str]
    network: Network
    own: bool = True
    softmaxes: Sequence[tuple[str, str, int]] = ()

    def dimensions(self, name: str) -> int:
        """The number of axes of a named value."""
        return int(np.ndim(self.trials.environments[0][name]))


def places(tree: ast.expr) -> Iterator[ast.expr]:
    """Where a factor may be missing: the whole, a term, what is summed."""
    yield tree
    for part in parts(tree):
        if isinstance(part, ast.BinOp) and isinstance(part.op, (ast.Add, ast.Sub)):
            yield from (p for p in (part.left, part.right) if not is_constant(p))
        if (found := trees.is_reduction(part)) is not None:
            yield found[1]
        if isinstance(part, ast.Call) and getattr(part.func, "attr", getattr(part.func, "id", "")) == "where":
            yield from part.args[1:]
        if (found_product := trees.is_product(part)) is not None and found_product[0] == "@":
            yield from (found_product[1], found_product[2])


def is_constant(tree: ast.expr) -> bool:
    """Whether a part is a number."""
    return isinstance(tree, ast.Constant)
