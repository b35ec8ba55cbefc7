"""The networks whose derivations are tested: forward passes, inputs for `check_derivation`, and recorded examples.

Run this file to write the snapshots in `expected/` anew; then read what changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_notes as tn
from tinygrad_notes.derive import Derivation
from tinygrad_notes.notes import perceptron, softmax, two_layer
from tinygrad_notes.testing import arrays_of, labels, reals

EXPECTED = Path(__file__).parent / "expected"
SIZES = {"n": 3, "m": 5, "h": 4, "k": 2, "g": 3}


def linear_regression(x, y, w, b):
    p = w @ x + b
    L = tn.nn.mse(y, p)
    return locals()


def kernel_svm(K, y, alpha, b):
    s = K @ alpha + b
    h = tn.nn.hinge(y, s, reduction="none")
    L = tn.mean(h) + 0.5 * (alpha @ (K @ alpha))
    return locals()


def deep(x, y, w1, b1, w2, b2, w3, b3, w4, b4):
    Z1 = w1 @ x + b1
    a1 = tn.tanh(Z1)
    Z2 = w2 @ a1 + b2
    a2 = tn.tanh(Z2)
    Z3 = w3 @ a2 + b3
    a3 = tn.tanh(Z3)
    Z4 = w4 @ a3 + b4
    a4 = tn.sigmoid(Z4)
    L = tn.nn.binary_cross_entropy(y, a4, reduction="sum")
    return locals()


def recurrent(x1, x2, x3, h0, y, U, W, b, V):
    Z1 = U @ x1 + W @ h0 + b
    h1 = tn.tanh(Z1)
    Z2 = U @ x2 + W @ h1 + b
    h2 = tn.tanh(Z2)
    Z3 = U @ x3 + W @ h2 + b
    h3 = tn.tanh(Z3)
    p = V @ h3
    L = tn.sum((p - y) ** 2) / 2
    return locals()


def relu_rows(x, y, w1, b1, w2):
    Z1 = x @ w1.T + b1
    a1 = tn.relu(Z1)
    p = a1 @ w2.T
    L = tn.mean((p - y) ** 2)
    return locals()


def softmax_logits(x, y, w, b):
    Z = w @ x + b
    L = -tn.mean(tn.sum(y * tn.log_softmax(Z, axis=0), axis=0))
    return locals()


@dataclass(frozen=True)
class Network:
    """A forward pass with its inputs; `data` are those that take no gradient."""

    forward: Callable[..., Mapping[str, Any]]
    inputs: Mapping[str, Any]
    data: tuple[str, ...] = ("x", "y")
    settings: Mapping[str, Any] = field(default_factory=dict)

    def example(self, seed: int = 0) -> dict[str, Any]:
        """Numbers for the inputs, every letter with a size of its own."""
        random = np.random.default_rng(seed)
        values = {}
        for name, spec in self.inputs.items():
            shape = spec.shape(SIZES)
            if name == "y" and spec.elements is not None and self.forward in _LABELLED:
                values[name] = _LABELLED[self.forward](random, shape)
            else:
                values[name] = random.normal(size=shape)
        return values

    def record(self, seed: int = 0) -> dict[str, Any]:
        """The names of the forward pass on nodes."""
        made = {
            k: tn.Tensor(v, name=k, requires_grad=k not in self.data) if k not in self.data else v
            for k, v in self.example(seed).items()
        }
        return {**made, **self.forward(**made)}

    def derive(self, **options: Any) -> Derivation:
        """Its derivation."""
        known = self.record()
        return tn.derive(known["L"], names=known, **options)


def _zeros_and_ones(random, shape):
    return random.permutation(np.arange(np.prod(shape)) % 2.0).reshape(shape)


def _signs(random, shape):
    return 2 * _zeros_and_ones(random, shape) - 1


def _one_hot(random, shape):
    return np.eye(shape[0])[:, random.integers(0, shape[0], size=shape[1])]


_LABELLED: dict[Any, Any] = {
    perceptron.forward: _zeros_and_ones,
    two_layer.forward: _zeros_and_ones,
    deep: _zeros_and_ones,
    kernel_svm: _signs,
    softmax.forward: _one_hot,
    softmax_logits: _one_hot,
}

small = reals(-2, 2)
NETWORKS = {
    "perceptron": Network(perceptron.forward, perceptron.inputs),
    "two_layer": Network(two_layer.forward, two_layer.inputs),
    "softmax": Network(softmax.forward, softmax.inputs),
    "softmax_logits": Network(softmax_logits, softmax.inputs),
    "linear_regression": Network(
        linear_regression,
        {"x": arrays_of("n", "m"), "y": arrays_of("k", "m"), "w": arrays_of("k", "n"), "b": arrays_of("k", 1)},
    ),
    "kernel_svm": Network(
        kernel_svm,
        {
            "K": arrays_of("m", "m"),
            "y": arrays_of("m", elements=st.sampled_from([-1.0, 1.0])),
            "alpha": arrays_of("m"),
            "b": arrays_of(),
        },
        data=("K", "y"),
    ),
    "deep": Network(
        deep,
        {
            "x": arrays_of("n", "m", elements=small),
            "y": labels("k", "m"),
            **{f"w{i}": arrays_of("h", "n" if i == 1 else "h", elements=small) for i in (1, 2, 3)},
            "w4": arrays_of("k", "h", elements=small),
            **{f"b{i}": arrays_of("k" if i == 4 else "h", 1, elements=small) for i in (1, 2, 3, 4)},
        },
        settings={"max_examples": 5, "largest": 2},
    ),
    "recurrent": Network(
        recurrent,
        {
            **{f"x{t}": arrays_of("n", "m", elements=small) for t in (1, 2, 3)},
            "h0": arrays_of("h", "m", elements=small),
            "y": arrays_of("k", "m", elements=small),
            "U": arrays_of("h", "n", elements=small),
            "W": arrays_of("h", "h", elements=small),
            "b": arrays_of("h", 1, elements=small),
            "V": arrays_of("k", "h", elements=small),
        },
        data=("x1", "x2", "x3", "h0", "y"),
        settings={"max_examples": 5, "largest": 2},
    ),
    "relu_rows": Network(
        relu_rows,
        {
            "x": arrays_of("m", "n"),
            "y": arrays_of("m", "k"),
            "w1": arrays_of("h", "n"),
            "b1": arrays_of("h"),
            "w2": arrays_of("k", "h"),
        },
    ),
}
FORMATS: dict[str, Callable[[Derivation], str]] = {
    "text": str,
    "latex": Derivation.latex,
    "python": Derivation.python,
}


def snapshot(name: str, ending: str) -> str:
    """What the derivation of a network was when it was last read."""
    return (EXPECTED / f"{name}.{ending}.txt").read_text()


if __name__ == "__main__":
    EXPECTED.mkdir(exist_ok=True)
    for network_name, network in NETWORKS.items():
        derivation = network.derive()
        for suffix, written in FORMATS.items():
            (EXPECTED / f"{network_name}.{suffix}.txt").write_text(written(derivation).rstrip() + "\n")
