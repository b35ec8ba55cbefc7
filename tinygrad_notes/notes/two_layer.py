"""Chapter 1, second part: the two-layer network. x → Z1 → a1 → Z2 → a2, sigmoid twice, cross-entropy.

Shapes: x (n, m) holds m examples as columns, y (k, m) their labels 0 or 1; w1 (h, n), b1 (h, 1); w2 (k, h), b2 (k, 1).
L is the cross-entropy summed over the batch, so the gradient of the mean is each gradient divided by m.
"""

from __future__ import annotations

from typing import Any

from ..ops import sigmoid
from ..testing import arrays_of, labels, reals
from .perceptron import cross_entropy

inputs = {
    "x": arrays_of("n", "m"),
    "y": labels("k", "m"),
    "w1": arrays_of("h", "n"),
    "b1": arrays_of("h", 1),
    "w2": arrays_of("k", "h"),
    "b2": arrays_of("k", 1, elements=reals(-500, 500)),
}


def forward(x: Any, y: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> dict[str, Any]:
    """The hidden units a1, the prediction a2 and the loss L."""
    Z1 = w1 @ x + b1
    a1 = sigmoid(Z1)
    # The source of the notes has w2 · x here, a slip: the second layer reads the first one's output.
    Z2 = w2 @ a1 + b2
    a2 = sigmoid(Z2)
    L = cross_entropy(y, a2)
    return locals()


def backward(x: Any, y: Any, w2: Any, a1: Any, a2: Any) -> dict[str, Any]:
    """The gradients by hand, from the loss back to the first layer."""
    da2 = -y / a2 + (1 - y) / (1 - a2)
    dZ2 = a2 - y
    dw2 = dZ2 @ a1.T
    db2 = dZ2.sum(axis=1, keepdims=True)
    da1 = w2.T @ dZ2
    dZ1 = da1 * a1 * (1 - a1)
    dw1 = dZ1 @ x.T
    db1 = dZ1.sum(axis=1, keepdims=True)
    return locals()
