"""Softmax regression: a weighted sum, a softmax over the classes, the cross-entropy.

Shapes: x (n, m) holds m examples as columns, y (k, m) their classes as one-hot columns, w (k, n), b (k, 1).
L is the cross-entropy summed over the batch, so the gradient of the mean is each gradient divided by m.
"""

from __future__ import annotations

from typing import Any

from ..ops import log, softmax, sum
from ..testing import arrays_of, one_hot, reals

# Logits that differ by more than 700 or so give a probability of 0 in float64, whose logarithm is infinite.
inputs = {
    "x": arrays_of("n", "m", elements=reals(-3, 3)),
    "y": one_hot("k", "m"),
    "w": arrays_of("k", "n"),
    "b": arrays_of("k", 1),
}


def forward(x: Any, y: Any, w: Any, b: Any) -> dict[str, Any]:
    """The probabilities p of the classes and the loss L."""
    Z = w @ x + b
    p = softmax(Z, axis=0)
    L = -sum(y * log(p))
    return locals()


def backward(x: Any, y: Any, p: Any) -> dict[str, Any]:
    """The gradients by hand. dp meets the slopes of the softmax, p_i (δ_ij − p_j); as Σ y = 1, p − y remains."""
    dp = -y / p
    dZ = p - y
    dw = dZ @ x.T
    db = dZ.sum(axis=1, keepdims=True)
    return locals()
