"""Chapter 1, first part: the perceptron. A weighted sum, a sigmoid, the cross-entropy.

Shapes: x (n, m) holds m examples as columns, y (1, m) their labels 0 or 1, w (1, n), b (1, 1).
L is the cross-entropy summed over the batch, so the gradient of the mean is each gradient divided by m.
"""

from __future__ import annotations

from typing import Any

from ..nn import binary_cross_entropy
from ..ops import sigmoid
from ..testing import arrays_of, labels, reals

inputs = {
    "x": arrays_of("n", "m"),
    "y": labels(1, "m"),
    "w": arrays_of(1, "n"),
    "b": arrays_of(1, 1, elements=reals(-500, 500)),
}


def cross_entropy(y: Any, a: Any) -> Any:
    """−Σ [y ln a + (1 − y) ln(1 − a)] over all units and examples."""
    return binary_cross_entropy(y, a, reduction="sum")


def forward(x: Any, y: Any, w: Any, b: Any) -> dict[str, Any]:
    """The prediction a and the loss L."""
    Z = w @ x + b
    a = sigmoid(Z)
    L = cross_entropy(y, a)
    return locals()


def backward(x: Any, y: Any, a: Any) -> dict[str, Any]:
    """The gradients by hand. da cancels against the slope of the sigmoid, a (1 − a), and a − y remains."""
    da = -y / a + (1 - y) / (1 - a)
    dZ = a - y
    dw = dZ @ x.T
    db = dZ.sum(axis=1, keepdims=True)
    return locals()
