"""`tinygrad-notes derive`: the backward pass of a network of the notes, or of a user's file, written out."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings

from ..derive import Derivation, derive
from ..graph import is_node
from ..notes import perceptron, softmax, two_layer
from ..tensor import Tensor
from ..testing.derivations import SEED
from ..testing.strategies import Shaped, inputs
from . import UserError
from .checking import imported, inputs_of

NETWORKS = {"mlp": two_layer, "perceptron": perceptron, "softmax": softmax}


def derive_network(args: argparse.Namespace) -> str:
    """The derivation of the network `args.network` in the format `args.format`.

    Raises:
        UserError: there is no such network, or its file cannot be used.
    """
    if (network := NETWORKS.get(args.network)) is not None:
        return _derived(args, network.forward, network.inputs, args.loss or "L", args.network)
    name, colon, function = args.network.rpartition(":")
    if not colon or not function.startswith("forward"):
        raise UserError(f"{args.network!r} is no network; expected {', '.join(NETWORKS)} or FILE.py:forward.")
    file = Path(name)
    with imported(file) as module:
        known = vars(module)
        if not callable(known.get(function)):
            there = ", ".join(n for n in known if n.startswith("forward")) or "none"
            raise UserError(f"{file}: it has no function {function}; of that kind it has {there}.")
        suffix = function.removeprefix("forward")
        named = [args.loss, known.get(f"loss{suffix}"), known.get("loss")]
        loss = next((n for n in named if isinstance(n, str)), "L")
        return _derived(args, known[function], inputs_of(known, suffix, file), loss, f"{file}: {function}")


def _derived(
    args: argparse.Namespace, forward: Callable[..., Any], given_inputs: Mapping[str, Any], loss: str, where: str
) -> str:
    try:
        found = _derivation(forward, given_inputs, loss, args.wrt)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {' '.join(str(error).split())}") from error
    written = {
        "text": found.__str__,
        "latex": found.latex,
        "md": found.markdown,
        "html": found.html,
        "python": found.python,
    }
    return written[args.format]().rstrip() + "\n"


def _derivation(forward: Callable[..., Any], given_inputs: Mapping[str, Any], loss: str, wrt: str | None) -> Derivation:
    """Record the forward pass on one generated input and derive it."""
    specs = {k: v for k, v in given_inputs.items() if not isinstance(v, int)}
    sizes = {k: v for k, v in given_inputs.items() if isinstance(v, int)}
    leaves = {
        k: Tensor(np.asarray(v, dtype=float), name=k, requires_grad=True) for k, v in _example(specs, sizes).items()
    }
    with np.errstate(all="ignore"):
        known = forward(**leaves)
    if not isinstance(known, Mapping) or not is_node(known.get(loss)):
        raise ValueError(f"it returned no {loss!r}; return locals(), and name the loss L or give --loss.")
    names = {**leaves, **known}
    chosen = wrt.split(",") if wrt else [k for k in leaves if not re.fullmatch(r"[xyXY]\d*", k)]
    if not chosen:
        raise ValueError("every input is called x or y; say by which to derive with --wrt.")
    return derive(known[loss], chosen, names=names)


def _example(specs: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Any]:
    """One input, the sizes of different letters different: so that a transpose in the wrong place shows."""
    letters = sorted(
        {s for spec in specs.values() if isinstance(spec, Shaped) for s in spec.sizes if isinstance(s, str)}
    )
    distinct = {letter: sizes.get(letter, i + 2) for i, letter in enumerate(letters)}
    drawn: list[dict[str, Any]] = []

    @seed(SEED)
    @hypothesis_settings(
        max_examples=5, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(inputs(specs, 4, distinct))
    def draw(values: dict[str, Any]) -> None:
        drawn.append(values)

    draw()
    return drawn[-1]
