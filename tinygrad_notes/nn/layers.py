"""Layers: `Linear`, `Neuron`, `Perceptron`, `MLP`; each scalar by scalar (`of=Value`) or on arrays (`of=Tensor`).

An array layer takes examples as rows, with any number of axes before the features. A scalar layer takes one example, a
list of numbers or Values, and is written with plain loops, so that every multiplication is a node to look at. `Linear`
and `MLP` then give a list of Values, also for one output unit; a `Neuron` gives a Value.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..graph import is_node
from ..ops import TABLE
from ..ops.namespaces import is_number, to_arrays
from ..tensor import Tensor
from ..value import Value
from .module import Module

Kind = type[Tensor] | type[Value]
Random = int | np.random.Generator | None
Initialiser = Callable[[int, int, np.random.Generator], Any]
Activation = str | Callable[[Any], Any] | None

# --- initial weights --------------------------------------------------------------------------------------------------

RELU_FAMILY = frozenset({"relu", "leaky_relu", "elu", "gelu", "silu", "softplus"})


def glorot(n_in: int, n_out: int, rng: np.random.Generator) -> Any:
    """Weights (n_out, n_in), uniform within ±√(6 / (n_in + n_out)) (Glorot and Bengio 2010): for sigmoid and tanh."""
    limit = math.sqrt(6 / (n_in + n_out))
    return rng.uniform(-limit, limit, (n_out, n_in))


def he(n_in: int, n_out: int, rng: np.random.Generator) -> Any:
    """Weights (n_out, n_in), uniform within ±√(6 / n_in) (He et al. 2015): for relu and its relatives."""
    limit = math.sqrt(6 / n_in)
    return rng.uniform(-limit, limit, (n_out, n_in))


def _initialiser(activation: Any) -> Initialiser:
    return he if getattr(activation, "name", None) in RELU_FAMILY else glorot


# --- layers -----------------------------------------------------------------------------------------------------------


class Linear(Module):
    """z = W x + b. Arrays: (…, n_in) -> (…, n_out); scalars: n_in numbers or Values -> a list of n_out Values.

    Args:
        n_in: how many features an example has.
        n_out: how many units.
        bias: whether to add b.
        of: `Tensor` or `Value`.
        rng: a generator or a seed; scalar and array layers of one seed have the same weights.
        init: the initial weights, `glorot` or `he`; biases start at 0.
        number: the layer's place in a network, for the names of its parameters in pictures: `w1`, `b1`.

    Raises:
        ValueError, TypeError: sizes below 1; `of` is another class. When called: the input has another width.

    Example:
        >>> Linear(3, 2)
        Linear(weight=(2, 3), bias=(2,))
        >>> Linear(3, 2)(np.ones((5, 3))).shape
        (5, 2)
        >>> [w.name for w in Linear(3, 2, of=Value).parameters()]
        ['w1_1', 'w1_2', 'w1_3', 'w2_1', 'w2_2', 'w2_3', 'b1', 'b2']
    """

    weight: Any  # Tensor (n_out, n_in), or n_out lists of n_in Values
    bias: Any  # Tensor (n_out,), or a list of n_out Values, or None

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        bias: bool = True,
        of: Kind = Tensor,
        rng: Random = None,
        init: Initialiser = glorot,
        number: int | None = None,
    ) -> None:
        n_in, n_out = _size("Linear", "n_in", n_in), _size("Linear", "n_out", n_out)
        self.weight = _parameter(init(n_in, n_out, np.random.default_rng(rng)), of, "weight", number)
        self.bias = _parameter(np.zeros(n_out), of, "bias", number) if bias else None

    def __call__(self, x: Any) -> Any:
        """z for x; see the class for the shapes."""
        if is_node(self.weight):
            n_out, n_in = self.weight.shape
            z = ops.matmul(_examples(f"Linear({n_in}, {n_out})", x, n_in), self.weight.T)
            return z if self.bias is None else z + self.bias
        n_out, n_in = len(self.weight), len(self.weight[0])
        x = _example(f"Linear({n_in}, {n_out})", x, n_in)
        z = [_weighted_sum(row, x) for row in self.weight]
        return z if self.bias is None else [zj + bj for zj, bj in zip(z, self.bias, strict=True)]


class Neuron(Module):
    """a = f(w · x + b), one unit. Arrays: (…, n_in) -> (…); scalars: n_in numbers or Values -> a Value.

    Args:
        n_in: how many features an example has.
        activation: f: the name of an elementwise op, any function of a node, or None for z itself.
        of, rng: as for `Linear`.

    Raises:
        ValueError, TypeError: as for `Linear`; no activation of that name.

    Example:
        >>> x = [Value(0.5, name="x1"), Value(-1.0, name="x2")]
        >>> Neuron(2, "tanh", of=Value, rng=0)(x).op
        <op tanh>
    """

    weight: Any  # Tensor (n_in,), or a list of n_in Values
    bias: Any  # Tensor (), or a Value
    activation: Callable[[Any], Any] | None

    def __init__(self, n_in: int, activation: Activation = "sigmoid", *, of: Kind = Tensor, rng: Random = None) -> None:
        n_in = _size(type(self).__name__, "n_in", n_in)
        self.activation = _activation(type(self).__name__, activation)
        self.weight = _parameter(_initialiser(self.activation)(n_in, 1, np.random.default_rng(rng))[0], of, "weight")
        self.bias = _parameter(np.zeros(()), of, "bias")

    def logits(self, x: Any) -> Any:
        """z = w · x + b, before the activation: what `binary_cross_entropy_with_logits` takes."""
        n_in = len(self.weight)
        unit = f"{type(self).__name__}({n_in})"
        if is_node(self.weight):
            return ops.matmul(_examples(unit, x, n_in), self.weight) + self.bias
        return _weighted_sum(self.weight, _example(unit, x, n_in)) + self.bias

    def __call__(self, x: Any) -> Any:
        """The activation a for x; see the class for the shapes."""
        return _activate(self.activation, self.logits(x))


class Perceptron(Neuron):
    """The perceptron of the notes: a = σ(w · x + b), the probability of class 1. All else is as in `Neuron`."""

    def __init__(self, n_in: int, *, of: Kind = Tensor, rng: Random = None) -> None:
        super().__init__(n_in, "sigmoid", of=of, rng=rng)


class MLP(Module):
    """A multilayer perceptron: linear layers with an activation after each.

    Arrays: (…, sizes[0]) -> (…, sizes[-1]), also for one output unit; scalars: a list -> a list of sizes[-1] Values.

    Args:
        sizes: the number of features, then of units in each layer: `[30, 8, 1]`.
        activation: between the layers: the name of an elementwise op, any function of a node (of each Value in a scalar
            network), or None.
        output: after the last layer; None for logits.
        of, rng: as for `Linear`.

    Raises:
        ValueError, TypeError: fewer than two sizes, or one below 1; no activation of that name; `of` is another class.

    Example:
        >>> MLP([30, 8, 1])
        MLP(
          layers.0: Linear(weight=(8, 30), bias=(8,))
          layers.1: Linear(weight=(1, 8), bias=(1,))
          activation=sigmoid
          output=sigmoid
        )
    """

    layers: list[Linear]
    activation: Callable[[Any], Any] | None
    output: Callable[[Any], Any] | None

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        activation: Activation = "sigmoid",
        output: Activation = "sigmoid",
        of: Kind = Tensor,
        rng: Random = None,
    ) -> None:
        sizes = [_size("MLP", "one of the sizes", n) for n in sizes]
        if len(sizes) < 2:
            raise ValueError(f"MLP: given sizes {sizes}; expected at least two, such as [30, 8, 1].")
        hidden, last = _activation("MLP", activation), _activation("MLP", output)
        rng = np.random.default_rng(rng)
        after = [hidden] * (len(sizes) - 2) + [last]
        self.layers = [
            Linear(n_in, n_out, of=of, rng=rng, init=_initialiser(f), number=k)
            for k, (n_in, n_out, f) in enumerate(zip(sizes, sizes[1:], after, strict=False), start=1)
        ]
        self.activation, self.output = hidden, last

    def logits(self, x: Any) -> Any:
        """What the last layer gives, before the output activation: what `binary_cross_entropy_with_logits` takes."""
        *hidden, last = self.layers
        for layer in hidden:
            x = _activate(self.activation, layer(x))
        return last(x)

    def __call__(self, x: Any) -> Any:
        """The network's output for x; see the class for the shapes."""
        return _activate(self.output, self.logits(x))


# --- activations ------------------------------------------------------------------------------------------------------


def _activation(layer: str, given: Activation) -> Callable[[Any], Any] | None:
    if given is None or callable(given):
        return given
    choices = sorted(op.name for op in TABLE.values() if op.elementwise and op.differentiable and op.arity == 1)
    if given not in choices:
        raise ValueError(
            f"{layer}: no activation {given!r}; choose one of {', '.join(choices)}, or give a function or None."
        )
    op: Callable[[Any], Any] = TABLE[given]
    return op


def _activate(f: Callable[[Any], Any] | None, z: Any) -> Any:
    """f on an array or a Value, or on each Value of a list."""
    if f is None:
        return z
    return [f(zj) for zj in z] if isinstance(z, list) else f(z)


# --- parameters and inputs --------------------------------------------------------------------------------------------


def _size(layer: str, name: str, n: Any) -> int:
    try:
        size = operator.index(n)
    except TypeError as error:
        raise TypeError(f"{layer}: {name} is {n!r}; expected an integer of at least 1.") from error
    if size < 1:
        raise ValueError(f"{layer}: {name} is {n!r}; expected an integer of at least 1.")
    return size


def _parameter(data: Any, of: Kind, field: str, number: int | None = None) -> Any:
    """One Tensor (`weight`, or `w2` in layer 2), or nested lists of Values (`w1_3`, or `w2_1_3` in layer 2)."""
    letter = f"{field[0]}{number or ''}"
    if of is Tensor:
        return Tensor(data, name=letter if number else field)
    if of is Value:
        return _values(data.tolist(), letter)
    raise TypeError(f"of is {of!r}; expected tn.Tensor (arrays) or tn.Value (scalar by scalar).")


def _values(data: Any, name: str) -> Any:
    if isinstance(data, list):
        name += "_" if name[-1].isdigit() else ""
        return [_values(item, f"{name}{i}") for i, item in enumerate(data, start=1)]
    return Value(data, name=name)


def _weighted_sum(w: Sequence[Value], x: Sequence[Any]) -> Any:
    """Σ w_i x_i, from left to right."""
    z = w[0] * x[0]
    for wi, xi in zip(w[1:], x[1:], strict=True):
        z = z + wi * xi
    return z


def _examples(layer: str, x: Any, n_in: int) -> Any:
    """The input of an array layer, checked: (…, n_in)."""
    x = to_arrays(x, layer) if isinstance(x, (list, tuple)) else x
    shape = ops.shape_of(x)
    if not shape or shape[-1] != n_in:
        advice = " Examples are rows: give x.T." if len(shape) == 2 and shape[0] == n_in else ""
        raise ValueError(f"{layer}: given {ops.describe(x)}; expected (…, {n_in}), {n_in} features an example.{advice}")
    return x


def _example(layer: str, x: Any, n_in: int) -> list[Any]:
    """The input of a scalar layer, checked: a list of n_in numbers and Values."""
    expected = f"expected one example: a list of {n_in} numbers or Values"
    if is_node(x) or not hasattr(x, "__iter__") or len(ops.shape_of(x)) > 1:
        raise ValueError(f"{layer} of Value: given {ops.describe(x)}; {expected}. For arrays build it with of=Tensor.")
    found = x.tolist() if hasattr(x, "tolist") else list(x)
    if len(found) != n_in:
        raise ValueError(f"{layer} of Value: given {len(found)} elements; {expected}.")
    for i, xi in enumerate(found):
        if not isinstance(xi, Value):
            if not is_number(xi):
                raise TypeError(f"{layer} of Value: x[{i}] is {ops.describe(xi)}; {expected}.")
            found[i] = float(xi)
    return found
