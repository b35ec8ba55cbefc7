"""The networks that commands take: those of the notes by name, and forward passes of a user's file, recorded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings

from ..graph import Node, is_node
from ..notes import perceptron, residual, softmax, two_layer
from ..tensor import Tensor
from ..testing.derivations import SEED
from ..testing.strategies import Shaped, inputs
from . import UserError
from .checking import imported, inputs_of

NETWORKS = {"mlp": two_layer, "perceptron": perceptron, "softmax": softmax, "residual": residual}


@dataclass(frozen=True)
class Network:
    """A forward pass, and what it is given.

    Attributes:
        title: how messages call it.
        file: the user's file that it is in; `None` for a network of the notes.
        forward: the function; it returns its `locals()`.
        inputs: for every parameter its strategy or array, and the sizes that are fixed.
        loss: the name of the loss.
    """

    title: str
    file: Path | None
    forward: Callable[..., Any]
    inputs: Mapping[str, Any]
    loss: str

    def record(self, values: Mapping[str, Any], data: Sequence[str] = ()) -> tuple[Node, dict[str, Any]]:
        """The loss on these inputs, and everything that has a name.

        Args:
            values: the inputs.
            data: the names of those that take no gradient.

        Raises:
            ValueError: it returned no loss.
        """
        leaves = {k: Tensor(np.asarray(v, dtype=float), name=k, requires_grad=k not in data) for k, v in values.items()}
        with np.errstate(all="ignore"):
            known = self.forward(**leaves)
        if not isinstance(known, Mapping) or not is_node(known.get(self.loss)):
            raise ValueError(f"it returned no {self.loss!r}; return locals(), and name the loss L or give --loss.")
        return known[self.loss], {**leaves, **known}

    def examples(self, count: int) -> list[dict[str, Any]]:
        """Generated inputs, always the same; the sizes of different letters are different."""
        specs = {k: v for k, v in self.inputs.items() if not isinstance(v, int)}
        sizes = {k: v for k, v in self.inputs.items() if isinstance(v, int)}
        letters = sorted(
            {s for spec in specs.values() if isinstance(spec, Shaped) for s in spec.sizes if isinstance(s, str)}
        )
        distinct = {letter: sizes.get(letter, i + 2) for i, letter in enumerate(letters)}
        drawn: list[dict[str, Any]] = []

        @seed(SEED)
        @hypothesis_settings(
            max_examples=count,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(inputs(specs, 4, distinct))
        def draw(values: dict[str, Any]) -> None:
            drawn.append(values)

        draw()
        return drawn


def is_data(name: str) -> bool:
    """Whether an input is data by its name, x or y, and no parameter."""
    return re.fullmatch(r"[xyXY]\d*", name) is not None


@contextmanager
def network(name: str, loss: str | None) -> Iterator[Network]:
    """The network of this name; one of a file for as long as the block lasts.

    Args:
        name: a network of the notes, or FILE.py:forward.
        loss: the name of the loss, whatever the file says.

    Raises:
        UserError: there is no such network, or its file cannot be used.
    """
    if (known := NETWORKS.get(name)) is not None:
        yield Network(name, None, known.forward, known.inputs, loss or "L")
        return
    path, colon, function = name.rpartition(":")
    if not colon or not function.startswith("forward"):
        raise UserError(f"{name!r} is no network; expected {', '.join(NETWORKS)} or FILE.py:forward.")
    file = Path(path)
    with imported(file) as module:
        there = vars(module)
        if not callable(there.get(function)):
            others = ", ".join(n for n in there if n.startswith("forward")) or "none"
            raise UserError(f"{file}: it has no function {function}; of that kind it has {others}.")
        suffix = function.removeprefix("forward")
        named = [loss, there.get(f"loss{suffix}"), there.get("loss")]
        chosen = next((n for n in named if isinstance(n, str)), "L")
        yield Network(f"{file}: {function}", file, there[function], inputs_of(there, suffix, file), chosen)
