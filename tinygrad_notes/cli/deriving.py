"""`tinygrad-notes derive`: the backward pass of a network of the notes, or of a user's file, written out."""

from __future__ import annotations

import argparse

from ..derive import Derivation, derive
from .checking import refused
from .networks import Network, is_data, network


def derive_network(args: argparse.Namespace) -> str:
    """The derivation of the network `args.network` in the format `args.format`.

    Raises:
        UserError: there is no such network, or its file cannot be used.
    """
    with network(args.network, args.loss) as found, refused(found.title, found.file):
        derivation = _derivation(found, args.wrt)
    written = {
        "text": derivation.__str__,
        "latex": derivation.latex,
        "md": derivation.markdown,
        "html": derivation.html,
        "python": derivation.python,
    }
    return written[args.format]().rstrip() + "\n"


def _derivation(found: Network, wrt: str | None) -> Derivation:
    """Record the forward pass on one generated input and derive it."""
    values = found.examples(5)[-1]
    loss, names = found.record(values)
    chosen = wrt.split(",") if wrt else [k for k in values if not is_data(k)]
    if not chosen:
        raise ValueError("every input is called x or y; say by which to derive with --wrt.")
    return derive(loss, chosen, names=names)
