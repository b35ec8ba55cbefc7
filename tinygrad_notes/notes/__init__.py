"""The chapters of the notes: each a forward pass and the backward pass derived by hand, in the notes' own letters."""

from . import perceptron, residual, softmax, two_layer

__all__ = ["perceptron", "residual", "softmax", "two_layer"]
