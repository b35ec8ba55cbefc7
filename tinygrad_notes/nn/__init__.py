"""Neural networks as plain composition of ops: layers, losses and files of weights, scalar by scalar or on arrays."""

from .layers import MLP, Linear, Neuron, Perceptron, glorot, he
from .losses import binary_cross_entropy, binary_cross_entropy_with_logits, hinge, mse, softmax_cross_entropy
from .module import Module
from .weights import WeightsError, load, save

__all__ = [
    "MLP",
    "Linear",
    "Module",
    "Neuron",
    "Perceptron",
    "WeightsError",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "glorot",
    "he",
    "hinge",
    "load",
    "mse",
    "save",
    "softmax_cross_entropy",
]
