"""A residual unit: Z reaches the output twice, by itself and through tanh, so its gradient is a sum of two.

The smallest network whose backward pass goes wrong if a node hands on its gradient before all contributions are there.
Shapes: x (n, m) holds m examples as columns, y (1, m) their targets, w (1, n), b (1, 1).
L is the squared error summed over the batch.
"""

from __future__ import annotations

from typing import Any

from ..ops import sum, tanh
from ..testing import arrays_of

inputs = {"x": arrays_of("n", "m"), "y": arrays_of(1, "m"), "w": arrays_of(1, "n"), "b": arrays_of(1, 1)}


def forward(x: Any, y: Any, w: Any, b: Any) -> dict[str, Any]:
    """The output r = Z + tanh Z and the loss L."""
    Z = w @ x + b
    a = tanh(Z)
    r = Z + a
    L = sum((r - y) ** 2)
    return locals()


def backward(x: Any, y: Any, a: Any, r: Any) -> dict[str, Any]:
    """The gradients by hand. dZ is what comes straight from r and what comes through a."""
    dr = 2 * (r - y)
    da = dr
    dZ = dr + da * (1 - a * a)
    dw = dZ @ x.T
    db = dZ.sum(axis=1, keepdims=True)
    return locals()
