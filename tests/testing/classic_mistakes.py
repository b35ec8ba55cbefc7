"""Classic mistakes in backward passes derived by hand: the corpus that the diagnosis is measured on.

A network has its forward pass, its right backward pass as lines of source, and mistakes: one line each, with what is
the matter. m examples stand in columns; a loss is the mean over them unless its name says otherwise.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tinygrad_notes import cross_entropy, mean, relu, sigmoid, softmax, sqrt, sum, tanh
from tinygrad_notes.ops import log
from tinygrad_notes.tensor import Tensor
from tinygrad_notes.testing import arrays_of, labels, reals
from tinygrad_notes.testing.diagnosis import Network, Sample

SCOPE = {"np": np, "sigmoid": lambda z: 1 / (1 + np.exp(-z))}
SCOPE["sigmoid_slope"] = lambda z: SCOPE["sigmoid"](z) * (1 - SCOPE["sigmoid"](z))
WEIGHTS = reals(-2, 2)
_SAMPLES: dict[tuple[str, int], Sample] = {}


@dataclass(frozen=True)
class Mistake:
    """One wrong line.

    Attributes:
        network: the name of its network.
        line: the gradient it assigns.
        formula: the wrong formula.
        kinds: the diagnoses that are right, by kind; the correction must be right in any case.
    """

    network: str
    line: str
    formula: str
    kinds: frozenset[str]

    def backward(self) -> Callable[..., dict[str, Any]]:
        """The whole backward pass with this line wrong."""
        return NETWORKS[self.network].pass_with({self.line: self.formula})


@dataclass(frozen=True)
class Classic:
    """A network.

    Attributes:
        forward: the forward pass; returns every name.
        lines: the right backward pass, formulas by name.
        inputs: strategies for the inputs, by name.
        sizes: sizes that all differ, for the letters of the strategies.
        wrong: lines (name, wrong formula, right kinds).
    """

    name: str
    forward: Callable[..., Mapping[str, Any]]
    lines: Mapping[str, str]
    inputs: Mapping[str, Any]
    sizes: Mapping[str, int]
    wrong: tuple[tuple[str, str, str], ...]

    @property
    def mistakes(self) -> list[Mistake]:
        return [Mistake(self.name, line, text, frozenset(kinds.split(" | "))) for line, text, kinds in self.wrong]

    @cached_property
    def backward(self) -> Callable[..., dict[str, Any]]:
        """The right backward pass."""
        return self.pass_with({})

    def pass_with(self, changed: Mapping[str, str]) -> Callable[..., dict[str, Any]]:
        """The backward pass as a function with source, some of its lines changed."""
        values = self.sample(0).names
        takes = [k for k in values if not k.startswith("d") and k not in self.lines]
        body = [f"    {k} = {changed.get(k, text)}" for k, text in self.lines.items()]
        source = "\n".join([f"def backward({', '.join(takes)}):", *body, "    return locals()"]) + "\n"
        file = f"<{self.name} {dict(changed)}>"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        scope = dict(SCOPE)
        exec(compile(source, file, "exec"), scope)
        return scope["backward"]

    def sample(self, seed: int) -> Sample:
        """A generic input with every name, the engine's gradients and the helpers; `expected` is left empty."""
        if (self.name, seed) in _SAMPLES:
            return _SAMPLES[self.name, seed]
        random = np.random.default_rng(seed)
        given = {}
        for k, shaped in self.inputs.items():
            # Sizes that differ from each other and from sample to sample tell m from a number, and m from n.
            shape = [self.sizes[s] + seed % 4 if s in self.sizes else s for s in shaped.sizes]
            given[k] = random.uniform(-1.5, 1.5, shape)
            if k == "y" and self.name not in REGRESSIONS:
                given[k] = np.float64(random.random(shape) < 0.5)
        nodes = {k: Tensor(v, name=k) for k, v in given.items()}
        known = self.forward(**nodes)
        known["L"].backward()
        names = {k: np.array(v.data) for k, v in known.items()}
        names |= {f"d{k}": np.array(v.grad) for k, v in known.items() if v.grad is not None and k != "L"}
        for k, text in self.lines.items():
            if not k.startswith("d"):
                names[k] = eval(text, dict(SCOPE), dict(names))
        return _SAMPLES.setdefault((self.name, seed), Sample(names, np.zeros(0)))

    def known(self) -> Network:
        """The forward pass as the diagnosis knows it."""
        names = {k: v for k, v in self.sample(0).names.items() if not k.startswith("d") and k not in self.lines}
        own = tuple(self.inputs)
        nodes = {k: Tensor(np.ones(np.shape(names[k])), name=k) for k in own}
        graph = self.forward(**nodes)
        called = {id(v): k for k, v in graph.items()}
        made = {k: (v.op.name, tuple(_named(v, called))) for k, v in graph.items() if v.op is not None}
        return Network(own, tuple(k for k in graph if k not in own), made)


def _named(node: Any, called: Mapping[int, str]) -> list[str]:
    found = []
    for parent in node.parents:
        if id(parent) in called:
            found.append(called[id(parent)])
        elif hasattr(parent, "parents"):
            found += _named(parent, called)
    return list(dict.fromkeys(found))


# --- networks ---------------------------------------------------------------------------------------------------------


def perceptron(x, y, w, b):
    Z = w @ x + b
    a = sigmoid(Z)
    L = mean(cross_entropy(y, a))
    return locals()


def two_layer_sigmoid(x, y, w1, b1, w2, b2):
    Z1 = w1 @ x + b1
    a1 = sigmoid(Z1)
    Z2 = w2 @ a1 + b2
    a2 = sigmoid(Z2)
    L = mean(cross_entropy(y, a2))
    return locals()


def two_layer_tanh(x, y, w1, b1, w2, b2):
    Z1 = w1 @ x + b1
    a1 = tanh(Z1)
    Z2 = w2 @ a1 + b2
    a2 = sigmoid(Z2)
    L = sum(cross_entropy(y, a2))
    return locals()


def two_layer_relu(x, y, w1, b1, w2, b2):
    Z1 = w1 @ x + b1
    a1 = relu(Z1)
    Z2 = w2 @ a1 + b2
    L = sum((Z2 - y) ** 2) / x.shape[1]
    return locals()


def softmax_regression(x, y, w, b):
    Z = w @ x + b
    a = softmax(Z, axis=0)
    L = -sum(y * log(a)) / x.shape[1]
    return locals()


def linear_regression(x, y, w, b):
    p = w @ x + b
    e = p - y
    L = mean(e**2)
    return locals()


def batch_norm(Z, y, gamma, beta):
    mu = mean(Z, axis=1, keepdims=True)
    Zc = Z - mu
    var = mean(Zc * Zc, axis=1, keepdims=True)
    s = sqrt(var + 1e-3)
    N = Zc / s
    out = gamma * N + beta
    L = mean((out - y) ** 2)
    return locals()


def rnn(x1, x2, h0, y, w, u, b, v, c):
    Z1 = w @ x1 + u @ h0 + b
    h1 = tanh(Z1)
    Z2 = w @ x2 + u @ h1 + b
    h2 = tanh(Z2)
    p = v @ h2 + c
    L = mean((p - y) ** 2)
    return locals()


def residual(x, y, w1, w2):
    Z1 = w1 @ x
    a1 = sigmoid(Z1)
    Z2 = w2 @ a1 + a1
    a2 = tanh(Z2)
    L = sum((a2 - y) ** 2)
    return locals()


def examples_in_rows(x, y, w1, b1, w2, b2):
    Z1 = x @ w1 + b1
    a1 = tanh(Z1)
    Z2 = a1 @ w2 + b2
    a2 = softmax(Z2, axis=1)
    L = -sum(y * log(a2)) / x.shape[0]
    return locals()


def ridge(x, y, w, b):
    p = w @ x + b
    L = sum((p - y) ** 2) / x.shape[1] + 0.1 * sum(w**2)
    return locals()


def gate(x, h, y, w, u):
    Zs = w @ x
    s = sigmoid(Zs)
    Zt = u @ x
    t = tanh(Zt)
    c = s * t + (1 - s) * h
    L = mean((c - y) ** 2)
    return locals()


REGRESSIONS = ("two_layer_relu", "linear_regression", "batch_norm", "rnn", "residual", "ridge", "gate")

TWO_LAYERS = {
    "x": arrays_of("n", "m"),
    "y": labels("k", "m"),
    "w1": arrays_of("h", "n", elements=WEIGHTS),
    "b1": arrays_of("h", 1, elements=WEIGHTS),
    "w2": arrays_of("k", "h", elements=WEIGHTS),
    "b2": arrays_of("k", 1, elements=WEIGHTS),
}
ONE_LAYER = {
    "x": arrays_of("n", "m", elements=WEIGHTS),
    "y": labels("k", "m"),
    "w": arrays_of("k", "n", elements=WEIGHTS),
    "b": arrays_of("k", 1, elements=WEIGHTS),
}
REAL_TARGET = arrays_of("k", "m", elements=WEIGHTS)

ALL = (
    Classic(
        "perceptron",
        perceptron,
        {
            "m": "y.size",
            "da": "(-y / a + (1 - y) / (1 - a)) / m",
            "dZ": "(a - y) / m",
            "dw": "dZ @ x.T",
            "db": "dZ.sum(axis=1, keepdims=True)",
        },
        {**ONE_LAYER, "y": labels(1, "m"), "w": arrays_of(1, "n", elements=WEIGHTS), "b": arrays_of(1, 1)},
        {"n": 4, "m": 5},
        (
            ("da", "(y / a + (1 - y) / (1 - a)) / m", "sign"),
            ("da", "(-y / a + (1 - y) / a) / m", "operand"),
            ("da", "-y / a / m", "missing term"),
            ("dZ", "(y - a) / m", "sign"),
            ("dZ", "a - y", "per-example"),
            ("dZ", "da", "missing slope"),
            ("dZ", "da * a", "missing slope"),
            ("dZ", "da * Z * (1 - Z)", "evaluated at"),
            ("dw", "x @ dZ.T", "transposed | swapped product"),
            ("dw", "dZ @ x", "transposed"),
            ("dw", "dZ @ x.T / m", "factor"),
            ("dw", "da @ x.T", "operand | missing slope"),
            ("db", "dZ", "not summed"),
            ("db", "dZ.mean(axis=1, keepdims=True)", "averaged"),
            ("db", "dZ.sum(axis=1)", "shape"),
        ),
    ),
    Classic(
        "two_layer_sigmoid",
        two_layer_sigmoid,
        {
            "m": "x.shape[1]",
            "dZ2": "(a2 - y) / a2.size",
            "dw2": "dZ2 @ a1.T",
            "db2": "dZ2.sum(axis=1, keepdims=True)",
            "da1": "w2.T @ dZ2",
            "dZ1": "da1 * a1 * (1 - a1)",
            "dw1": "dZ1 @ x.T",
            "db1": "dZ1.sum(axis=1, keepdims=True)",
        },
        TWO_LAYERS,
        {"n": 2, "h": 4, "k": 3, "m": 5},
        (
            ("dZ2", "a2 - y", "per-example"),
            ("dZ2", "(a2 - y) / m", "per-example | factor"),
            ("dZ2", "(a2 - y) * a2 * (1 - a2) / a2.size", "extra slope"),
            ("dw2", "dZ2 @ x.T", "operand"),
            ("dw2", "dZ2 @ Z1.T", "operand"),
            ("dw2", "dZ2 * a1", "elementwise product"),
            ("db2", "np.mean(dZ2, axis=1, keepdims=True)", "averaged"),
            ("db2", "dZ2.sum(axis=0, keepdims=True)", "not summed"),
            ("da1", "w2 @ dZ2", "transposed"),
            ("da1", "w1.T @ dZ2", "operand"),
            ("da1", "dZ2 @ w2.T", "swapped product"),
            ("da1", "np.dot(dZ2.T, w2)", "transposed | swapped product"),
            ("dZ1", "da1", "missing slope"),
            ("dZ1", "da1 * (1 - a1)", "missing slope"),
            ("dZ1", "da1 * Z1 * (1 - Z1)", "evaluated at"),
            ("dZ1", "da1 * sigmoid_slope(a1)", "evaluated at"),
            ("dZ1", "da1 * a2 * (1 - a2)", "operand | missing slope"),
            ("dZ1", "da1 * a1 * (1 + a1)", "sign"),
            ("dw1", "x @ dZ1.T", "transposed | swapped product"),
            ("dw1", "da1 @ x.T", "operand | missing slope"),
            ("db1", "np.sum(dZ1)", "not summed | shape"),
        ),
    ),
    Classic(
        "two_layer_tanh",
        two_layer_tanh,
        {
            "da2": "-y / a2 + (1 - y) / (1 - a2)",
            "dZ2": "a2 - y",
            "dw2": "dZ2 @ a1.T",
            "db2": "dZ2.sum(axis=1, keepdims=True)",
            "da1": "w2.T @ dZ2",
            "dZ1": "da1 * (1 - a1 ** 2)",
            "dw1": "dZ1 @ x.T",
            "db1": "dZ1.sum(axis=1, keepdims=True)",
        },
        TWO_LAYERS,
        {"n": 2, "h": 4, "k": 3, "m": 5},
        (
            ("da2", "y / a2 - (1 - y) / (1 - a2)", "sign"),
            ("dZ2", "da2 * a2", "missing slope"),
            ("da1", "(y - a2).T @ w2", "transposed | swapped product | sign"),
            ("dZ1", "da1 * (1 - a1)", "missing slope"),
            ("dZ1", "da1 * a1 * (1 - a1)", "missing slope"),
            ("dZ1", "da1 * (1 - Z1 ** 2)", "evaluated at"),
            ("dZ1", "da1 * (1 - np.tanh(a1) ** 2)", "evaluated at"),
            ("dZ1", "da1 * (a1 ** 2 - 1)", "sign"),
            ("dZ1", "da1 @ (1 - a1 ** 2).T", "elementwise product"),
            ("dw1", "dZ1 @ x.T * (1 - a1 ** 2)", "extra slope | factor"),
            ("dw1", "dZ1 @ x.T / x.shape[1]", "factor"),
        ),
    ),
    Classic(
        "two_layer_relu",
        two_layer_relu,
        {
            "m": "x.shape[1]",
            "dZ2": "2 * (Z2 - y) / m",
            "dw2": "dZ2 @ a1.T",
            "db2": "dZ2.sum(axis=1, keepdims=True)",
            "da1": "w2.T @ dZ2",
            "dZ1": "da1 * (Z1 > 0)",
            "dw1": "dZ1 @ x.T",
            "db1": "dZ1.sum(axis=1, keepdims=True)",
        },
        {**TWO_LAYERS, "y": REAL_TARGET},
        {"n": 2, "h": 4, "k": 3, "m": 5},
        (
            ("dZ2", "(Z2 - y) / m", "factor"),
            ("dZ2", "2 * (Z2 - y)", "per-example"),
            ("dZ2", "2 * (Z2 + y) / m", "sign"),
            ("dZ1", "da1", "missing slope"),
            ("dZ1", "da1 * a1", "missing slope | evaluated at | operand"),
            ("dZ1", "da1 * (Z1 < 0)", "sign"),
            ("dZ1", "da1 * np.maximum(Z1, 0)", "missing slope | evaluated at"),
            ("db2", "dZ2.sum(axis=1, keepdims=True) / m", "factor"),
        ),
    ),
    Classic(
        "softmax_regression",
        softmax_regression,
        {
            "m": "x.shape[1]",
            "dZ": "(a * y.sum(axis=0) - y) / m",
            "dw": "dZ @ x.T",
            "db": "dZ.sum(axis=1, keepdims=True)",
        },
        {**ONE_LAYER, "y": labels("k", "m")},
        {"n": 4, "k": 3, "m": 5},
        (
            ("dZ", "(y - a * y.sum(axis=0)) / m", "sign"),
            ("dZ", "a * y.sum(axis=0) - y", "per-example"),
            ("dZ", "(a * y.sum(axis=0) - y) * a * (1 - a) / m", "extra slope | factor"),
            ("dZ", "(a * y.sum(axis=1, keepdims=True) - y) / m", "not summed | shape"),
            ("dw", "dZ.T @ x", "swapped product | transposed"),
            ("dw", "dZ @ a.T", "operand"),
            ("db", "dZ.sum(axis=1, keepdims=True) / m", "factor"),
        ),
    ),
    Classic(
        "linear_regression",
        linear_regression,
        {
            "m": "e.size",
            "de": "2 * e / m",
            "dp": "de",
            "dw": "dp @ x.T",
            "db": "dp.sum(axis=1, keepdims=True)",
            "dx": "w.T @ dp",
        },
        {**ONE_LAYER, "y": REAL_TARGET},
        {"n": 4, "k": 3, "m": 5},
        (
            ("de", "e / m", "factor"),
            ("de", "2 * e", "per-example"),
            ("de", "2 * (y - p) / m", "sign"),
            ("dp", "-de", "sign"),
            ("dp", "2 * de", "factor"),
            ("dw", "e @ x.T", "factor | operand"),
            ("dw", "x * dp", "elementwise product"),
            ("db", "np.mean(dp, axis=1, keepdims=True)", "averaged"),
            ("dx", "w @ dp", "transposed"),
        ),
    ),
    Classic(
        "batch_norm",
        batch_norm,
        {
            "m": "Z.shape[1]",
            "dout": "2 * (out - y) / out.size",
            "dgamma": "(dout * N).sum(axis=1, keepdims=True)",
            "dbeta": "dout.sum(axis=1, keepdims=True)",
            "dN": "dout * gamma",
            "ds": "-(dN * N).sum(axis=1, keepdims=True) / s",
            "dvar": "ds / (2 * s)",
            "dZc": "dN / s + dvar * 2 * Zc / m",
            "dmu": "-dZc.sum(axis=1, keepdims=True)",
            "dZ": "dZc + dmu / m",
        },
        {
            "Z": arrays_of("n", "m", elements=WEIGHTS),
            "y": arrays_of("n", "m", elements=WEIGHTS),
            "gamma": arrays_of("n", 1, elements=WEIGHTS),
            "beta": arrays_of("n", 1, elements=WEIGHTS),
        },
        {"n": 3, "m": 5},
        (
            ("dgamma", "dout * N", "not summed"),
            ("dgamma", "dout.sum(axis=1, keepdims=True)", "factor"),
            ("dgamma", "(dout * Zc).sum(axis=1, keepdims=True)", "operand"),
            ("dbeta", "dout.mean(axis=1, keepdims=True)", "averaged"),
            ("dN", "dout * beta", "operand"),
            ("dN", "dout", "factor"),
            ("ds", "(dN * N).sum(axis=1, keepdims=True) / s", "sign"),
            ("dvar", "ds / s", "factor"),
            ("dZc", "dN / s", "missing term"),
            ("dZc", "dN * s + dvar * 2 * Zc / m", "factor"),
            ("dZc", "dN / s + dvar * Zc / m", "factor"),
            ("dZ", "dZc", "missing term"),
            ("dZ", "dZc - dmu / m", "sign"),
            ("dZ", "dZc + dmu", "factor"),
        ),
    ),
    Classic(
        "rnn",
        rnn,
        {
            "dp": "2 * (p - y) / p.size",
            "dv": "dp @ h2.T",
            "dc": "dp.sum(axis=1, keepdims=True)",
            "dh2": "v.T @ dp",
            "dZ2": "dh2 * (1 - h2 ** 2)",
            "dh1": "u.T @ dZ2",
            "dZ1": "dh1 * (1 - h1 ** 2)",
            "dw": "dZ1 @ x1.T + dZ2 @ x2.T",
            "du": "dZ1 @ h0.T + dZ2 @ h1.T",
            "db": "(dZ1 + dZ2).sum(axis=1, keepdims=True)",
        },
        {
            "x1": arrays_of("n", "m", elements=WEIGHTS),
            "x2": arrays_of("n", "m", elements=WEIGHTS),
            "h0": arrays_of("h", "m", elements=WEIGHTS),
            "y": REAL_TARGET,
            "w": arrays_of("h", "n", elements=WEIGHTS),
            "u": arrays_of("h", "h", elements=WEIGHTS),
            "b": arrays_of("h", 1, elements=WEIGHTS),
            "v": arrays_of("k", "h", elements=WEIGHTS),
            "c": arrays_of("k", 1, elements=WEIGHTS),
        },
        {"n": 2, "h": 4, "k": 3, "m": 5},
        (
            ("dZ2", "dh2 * (1 - h1 ** 2)", "operand"),
            ("dh1", "u @ dZ2", "transposed"),
            ("dh1", "w.T @ dZ2", "operand"),
            ("dZ1", "dh1 * h1 * (1 - h1)", "missing slope"),
            ("dw", "dZ1 @ x1.T", "missing term"),
            ("dw", "dZ2 @ x2.T", "missing term"),
            ("dw", "dZ1 @ x1.T + dZ2 @ x1.T", "operand"),
            ("du", "dZ2 @ h1.T", "missing term"),
            ("du", "dZ1 @ h0.T + dZ2 @ h2.T", "operand"),
            ("db", "dZ2.sum(axis=1, keepdims=True)", "missing term"),
            ("db", "dZ1 + dZ2", "not summed"),
        ),
    ),
    Classic(
        "residual",
        residual,
        {
            "da2": "2 * (a2 - y)",
            "dZ2": "da2 * (1 - a2 ** 2)",
            "dw2": "dZ2 @ a1.T",
            "da1": "w2.T @ dZ2 + dZ2",
            "dZ1": "da1 * a1 * (1 - a1)",
            "dw1": "dZ1 @ x.T",
        },
        {
            "x": arrays_of("n", "m", elements=WEIGHTS),
            "y": arrays_of("h", "m", elements=WEIGHTS),
            "w1": arrays_of("h", "n", elements=WEIGHTS),
            "w2": arrays_of("h", "h", elements=WEIGHTS),
        },
        {"n": 2, "h": 4, "m": 5},
        (
            ("da1", "w2.T @ dZ2", "missing term"),
            ("da1", "dZ2", "missing term"),
            ("da1", "w2.T @ dZ2 + dZ2 + da2", "extra term"),
            ("da1", "w2.T @ dZ2 + da2", "operand | missing slope"),
            ("dZ1", "da1 * (1 - a1 ** 2)", "missing slope"),
        ),
    ),
)
# Networks and mistakes written once the search was done, to see how it does on what it was not made for.
LATER = (
    Classic(
        "examples_in_rows",
        examples_in_rows,
        {
            "m": "x.shape[0]",
            "dZ2": "(a2 * y.sum(axis=1, keepdims=True) - y) / m",
            "dw2": "a1.T @ dZ2",
            "db2": "dZ2.sum(axis=0, keepdims=True)",
            "da1": "dZ2 @ w2.T",
            "dZ1": "da1 * (1 - a1 * a1)",
            "dw1": "x.T @ dZ1",
            "db1": "dZ1.sum(axis=0, keepdims=True)",
        },
        {
            "x": arrays_of("m", "n"),
            "y": labels("m", "k"),
            "w1": arrays_of("n", "h", elements=WEIGHTS),
            "b1": arrays_of(1, "h", elements=WEIGHTS),
            "w2": arrays_of("h", "k", elements=WEIGHTS),
            "b2": arrays_of(1, "k", elements=WEIGHTS),
        },
        {"n": 2, "h": 4, "k": 3, "m": 5},
        (
            ("dZ2", "a2 * y.sum(axis=1, keepdims=True) - y", "per-example"),
            ("dw2", "dZ2 @ a1.T", "swapped product"),
            ("dw2", "dZ2.T @ a1", "transposed | swapped product"),
            ("dw2", "(a1.T @ dZ2) / m", "factor"),
            ("db2", "dZ2.sum(axis=1, keepdims=True)", "not summed"),
            ("db2", "np.mean(dZ2, 0)", "averaged | shape"),
            ("db2", "dZ2.sum(0)", "shape"),
            ("da1", "w2 @ dZ2", "swapped product"),
            ("da1", "dZ2 @ w1.T", "operand"),
            ("da1", "dZ2 * w2.T", "elementwise product"),
            ("dZ1", "da1 * (1 - a1) * (1 - a1)", "sign | missing slope"),
            ("dZ1", "da1 * 1 / (1 + Z1 ** 2)", "missing slope | unknown"),
            ("dZ1", "da1 * (1 - a1 * a1) * a1", "factor | extra slope"),
            ("dZ1", "da1 * (1 - np.tanh(Z1))", "missing slope"),
            ("dZ1", "dZ2 @ w2.T", "missing slope"),
            ("dw1", "x @ dZ1", "transposed"),
            ("dw1", "x.T * dZ1", "elementwise product"),
            ("dw1", "-x.T @ dZ1", "sign"),
        ),
    ),
    Classic(
        "ridge",
        ridge,
        {
            "m": "x.shape[1]",
            "dp": "2 * (p - y) / m",
            "dw": "dp @ x.T + 0.2 * w",
            "db": "dp.sum(axis=1, keepdims=True)",
        },
        {**ONE_LAYER, "y": REAL_TARGET},
        {"n": 4, "k": 3, "m": 5},
        (
            ("dp", "(p - y) / m", "factor"),
            ("dp", "2 * (p - y) / m ** 2", "factor"),
            ("dp", "2 * (p - y) ** 2 / m", "factor"),
            ("dw", "dp @ x.T + 0.1 * w", "factor"),
            ("dw", "dp @ x.T - 0.2 * w", "sign"),
            ("dw", "dp @ x.T + 0.2 * w / m", "factor"),
            ("dw", "dp @ x.T", "missing term"),
            ("db", "dp.sum(axis=1, keepdims=True) + 0.2 * b", "extra term"),
        ),
    ),
    Classic(
        "gate",
        gate,
        {
            "dc": "2 * (c - y) / c.size",
            "ds": "dc * (t - h)",
            "dt": "dc * s",
            "dh": "dc * (1 - s)",
            "dZs": "ds * s * (1 - s)",
            "dZt": "dt * (1 - t ** 2)",
            "dw": "dZs @ x.T",
            "du": "dZt @ x.T",
            "dx": "w.T @ dZs + u.T @ dZt",
        },
        {
            "x": arrays_of("n", "m", elements=WEIGHTS),
            "h": arrays_of("h", "m", elements=WEIGHTS),
            "y": arrays_of("h", "m", elements=WEIGHTS),
            "w": arrays_of("h", "n", elements=WEIGHTS),
            "u": arrays_of("h", "n", elements=WEIGHTS),
        },
        {"n": 2, "h": 4, "m": 5},
        (
            ("dc", "c - y", "factor | per-example"),
            ("ds", "dc * t", "missing term"),
            ("ds", "dc * (h - t)", "sign"),
            ("ds", "dc * (t + h)", "sign"),
            ("dt", "dc * (1 - s)", "operand"),
            ("dt", "dc", "factor"),
            ("dh", "dc * s", "operand"),
            ("dh", "dc", "factor | missing term"),
            ("dZs", "ds * t * (1 - t)", "operand | missing slope"),
            ("dZs", "ds * s * (1 - s ** 2)", "factor | missing slope"),
            ("dZt", "dt * (1 - t) ** 2", "sign | missing slope"),
            ("dZt", "dt * (1 - s ** 2)", "operand | missing slope"),
            ("dw", "dZt @ x.T", "operand"),
            ("du", "x * dZt", "elementwise product"),
            ("dx", "w.T @ dZs", "missing term"),
            ("dx", "w.T @ dZs - u.T @ dZt", "sign"),
            ("dx", "w.T @ dZs + w.T @ dZt", "operand"),
            ("dx", "w @ dZs + u @ dZt", "transposed"),
        ),
    ),
)
NETWORKS = {network.name: network for network in (*ALL, *LATER)}
MISTAKES = [mistake for network in ALL for mistake in network.mistakes]
LATER_MISTAKES = [mistake for network in LATER for mistake in network.mistakes]
