"""What is known of a wrong formula: samples, the network it belongs to, and the slopes of its activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Diagnosis:
    """What is probably wrong with a formula.

    Attributes:
        kind: `sign`, `factor`, `missing slope`, `extra slope`, `evaluated at`, `transposed`, `swapped product`,
            `not summed`, `averaged`, `operand`, `elementwise product`, `missing term`, `extra term`, `per-example`,
            `shape`, `changed in place` or `unknown`.
        words: for a learner; they continue "dZ1 is wrong: …".
        correction: the right formula as source; empty if none was found.
    """

    kind: str
    words: str
    correction: str = ""

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True)
class Sample:
    """One input of the network.

    Attributes:
        names: every value that the formula may use, arrays of float64 by name.
        expected: the right gradient there.
    """

    names: Mapping[str, Any]
    expected: Any


@dataclass(frozen=True)
class Network:
    """What is known of the forward pass.

    Attributes:
        inputs: its parameters.
        intermediates: the names it assigns, in order.
        made_by: for each, the op that made it and the names it was made of; may be empty.
        unnamed: ops with a name as their argument whose output has no name, such as ("relu", "Z1").
    """

    inputs: tuple[str, ...] = ()
    intermediates: tuple[str, ...] = ()
    made_by: Mapping[str, tuple[str, tuple[str, ...]]] | None = None
    unnamed: tuple[tuple[str, str], ...] = ()

    def upstream(self, name: str) -> list[str]:
        """The gradients that a formula for `name` ("dZ1") may start from; those of direct consumers come first."""
        of, made = name.removeprefix("d"), self.made_by or {}
        direct = [k for k, (_, arguments) in made.items() if of in arguments]
        if not direct:
            later = self.intermediates
            return [f"d{k}" for k in (later[later.index(of) + 1 :] if of in later else later)]
        reached = list(direct)
        for k in reached:
            reached += [n for n, (_, arguments) in made.items() if k in arguments and n not in reached]
        return [f"d{k}" for k in reached]


@dataclass(frozen=True)
class Slope:
    """The slope of an activation a = f(Z).

    Attributes:
        function: what f is called.
        a, z: the names of its output (empty if it has none) and its argument.
        factors: the factors of the slope as source.
    """

    function: str
    a: str
    z: str
    factors: tuple[str, ...]

    @property
    def source(self) -> str:
        """The slope as source, without brackets around the whole."""
        if len(self.factors) > 1:
            return " * ".join(self.factors)
        return self.factors[0].removeprefix("(").removesuffix(")")


_FUNCTIONS: dict[str, tuple[Callable[[Any], Any], tuple[str, ...]]] = {
    "the sigmoid": (lambda z: 1 / (1 + np.exp(-z)), ("{a}", "(1 - {a})")),
    "tanh": (np.tanh, ("(1 - {a} ** 2)",)),
    "relu": (lambda z: np.maximum(z, 0), ("({z} > 0)",)),
    "exp": (np.exp, ("{a}",)),
    "the logarithm": (np.log, ("(1 / {z})",)),
    "the square": (np.square, ("2", "{z}")),
    "the square root": (np.sqrt, ("(1 / (2 * {a}))",)),
    "the leaky relu": (lambda z: np.where(z > 0, z, 0.01 * z), ("(({z} > 0) + 0.01 * ({z} <= 0))",)),
}
_OF_ITS_ARGUMENT = {
    "relu": ("the maximum with 0", "({z} > 0)"),
    "abs": ("the absolute value", "(np.sign({z}))"),
    "exp": ("exp", "(np.exp({z}))"),
}
"""Slopes of activations whose output has no name, by op."""
SHAPES_OF_SLOPES = {
    "the sigmoid": "{v} * (1 - {v})",
    "tanh": "1 - {v} ** 2",
    "relu": "({v} > 0)",
    "1 - a": "1 - {v}",
    "a": "{v}",
}
"""How learners write slopes, of whatever they hold for v."""


def slopes_in(samples: Sequence[Mapping[str, Any]], network: Network) -> list[Slope]:
    """The activations of a network, recognised by their values: so one written by hand is known too."""
    found = []
    known = [k for k in (*network.inputs, *network.intermediates) if k in samples[0] and np.size(samples[0][k]) > 1]
    for a in network.intermediates:
        for z in known:
            if a == z or a not in known or np.shape(samples[0][a]) != np.shape(samples[0][z]):
                continue
            for function, (f, factors) in _FUNCTIONS.items():
                if all(_same(f(np.asarray(s[z])), s[a]) for s in samples):
                    found.append(Slope(function, a, z, tuple(t.format(a=a, z=z) for t in factors)))
                    break
    for op, z in network.unnamed:
        if op in _OF_ITS_ARGUMENT:
            function, factor = _OF_ITS_ARGUMENT[op]
            found.append(Slope(function, "", z, (factor.format(z=z),)))
    return found


def softmaxes_in(samples: Sequence[Mapping[str, Any]], network: Network) -> list[tuple[str, str, int]]:
    """The softmaxes of a network, recognised by their values: output, argument, axis."""
    found = []
    known = [k for k in (*network.inputs, *network.intermediates) if k in samples[0] and np.ndim(samples[0][k])]
    for a in network.intermediates:
        for z in known:
            if a == z or a not in known or np.shape(samples[0][a]) != np.shape(samples[0][z]):
                continue
            for axis in range(np.ndim(samples[0][a])):
                if all(_same(_softmax(np.asarray(s[z]), axis), s[a]) for s in samples):
                    found.append((a, z, axis))
                    break
    return found


def _softmax(z: Any, axis: int) -> Any:
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def _same(x: Any, y: Any) -> bool:
    return x.shape == np.shape(y) and bool(np.all(np.abs(x - y) <= 1e-9 * (1 + np.abs(y))))


def raised(error: Exception) -> str:
    """What a formula raises, on one line."""
    line = " ".join(str(error).split())
    if error.__cause__ is not None:  # NumPy's own words, which the op's error repeats
        line = line.replace(f" ({' '.join(str(error.__cause__).split())})", "")
    line = line.rstrip(".")
    name = type(error).__name__.removeprefix("Op")  # an op's ValueError is a ValueError
    line = line if len(line) <= 200 else line[:199] + "…"
    return f"it is {line}, no number or array" if name == "NoArrayError" else f"it raises {name}: {line}"
