"""`tinygrad-notes replay`: the step player of a network of the notes, or of a user's file."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..draw import RenderError
from ..graph import Node, cotangents
from ..replay import replay
from . import UserError
from .checking import refused
from .networks import Network, is_data, network

# Three examples, with numbers at which no unit is saturated.
_X = [[0.5, -1.0, 2.0], [1.5, 0.3, -0.7]]
_Y = [[1.0, 0.0, 1.0]]
EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "perceptron": {"x": _X, "y": _Y, "w": [[0.8, -0.4]], "b": [[0.1]]},
    "mlp": {
        "x": _X,
        "y": _Y,
        "w1": [[0.8, -0.4], [0.3, 0.9]],
        "b1": [[0.1], [-0.2]],
        "w2": [[1.2, -0.7]],
        "b2": [[0.3]],
    },
    "softmax": {
        "x": _X,
        "y": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        "w": [[0.8, -0.4], [0.3, 0.9], [-0.5, 0.2]],
        "b": [[0.1], [-0.2], [0.0]],
    },
    "residual": {"x": _X, "y": _Y, "w": [[0.8, -0.4]], "b": [[0.1]]},
}
_GENERATED = 100


def replay_network(args: argparse.Namespace) -> None:
    """Write the player of the network `args.network` to `args.out`, or print its log.

    Raises:
        UserError: there is no such network, or its file or the output cannot be used.
    """
    with network(args.network, args.loss) as found, refused(found.title, found.file):
        values = EXAMPLES.get(args.network) or _plainest(found)
        loss, names = found.record(values, [k for k in values if is_data(k)])
        player = replay(loss, names=names)
    if args.text:
        print(player.text())
        return
    try:
        path = player.save(args.out)
    except (ValueError, RenderError) as error:
        raise UserError(str(error)) from error
    print(f"Written: {path}, {len(player.events)} steps and the result. Open it in a browser.")


def _plainest(found: Network) -> dict[str, Any]:
    """Of some generated inputs the one with the fewest gradients that are 0 or not finite, and the most even ones."""

    def unevenness(values: Mapping[str, Any]) -> tuple[int, float]:
        loss, _ = found.record(values, [k for k in values if is_data(k)])
        if not isinstance(loss, Node) or not loss.requires_grad or loss.shape:
            return 0, 0.0  # refused below, in its own words
        with np.errstate(all="ignore"):
            sizes = np.abs(np.concatenate([np.ravel(g) for _, g in cotangents([(loss, loss.seed())])]))
        usable = sizes[np.isfinite(sizes) & (sizes > 0)]
        return int(sizes.size - usable.size), float(np.sum(np.abs(np.log(usable))))

    return min(found.examples(_GENERATED), key=unevenness)
