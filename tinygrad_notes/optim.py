"""Optimisers: how the gradients move the parameters."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from . import ops
from .graph import Node, is_node
from .ops import namespace_of
from .ops.namespaces import is_number
from .value import Value


class SGD:
    """Gradient descent with momentum and weight decay, in PyTorch's convention.

    For each parameter p with gradient g: v = momentum · v + g + weight_decay · p, then p = p − lr · v. The data is
    replaced, never written to, so that an array that the user also holds keeps its numbers.

    Args:
        parameters: leaf nodes, such as `module.parameters()`; one that stands twice is moved once.
        lr: the learning rate, above 0. It may be assigned later, for a schedule.
        momentum: in [0, 1).
        weight_decay: at least 0.

    Attributes:
        parameters: the list of them.
        velocities: v of each, 0.0 before the first step.

    Raises:
        ValueError: a number out of range, no parameters, or one that was computed.
        TypeError: something that is no node, or a number that is none.

    Example:
        >>> w = Value(3.0)
        >>> sgd = SGD([w], lr=0.25)
        >>> for _ in range(3):
        ...     sgd.zero_grad()
        ...     (w * w).backward()
        ...     sgd.step()
        >>> w
        Value(0.375)
    """

    def __init__(
        self, parameters: Iterable[Node], lr: float, *, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        self.parameters = _checked(parameters)
        self.lr = _in_range("lr", lr, "above 0", lambda x: 0 < x < math.inf)
        self.momentum = _in_range("momentum", momentum, "in [0, 1)", lambda x: 0 <= x < 1)
        self.weight_decay = _in_range("weight_decay", weight_decay, "of at least 0", lambda x: 0 <= x < math.inf)
        self.velocities: list[Any] = [0.0] * len(self.parameters)

    def step(self) -> None:
        """Move every parameter that has a gradient.

        Raises:
            ValueError: a gradient has another shape than its parameter; then none is moved.
        """
        moving = [(k, p) for k, p in enumerate(self.parameters) if p.grad is not None]
        for _, p in moving:
            if tuple(ops.shape_of(p.grad)) != p.shape:
                raise ValueError(
                    f"SGD: {ops.describe(p)} has a gradient of shape {tuple(ops.shape_of(p.grad))}; expected {p.shape}."
                )
        for k, p in moving:
            v = p.grad.data if is_node(p.grad) else p.grad
            if self.weight_decay:
                v = v + self.weight_decay * p.data
            if self.momentum:
                v = self.velocities[k] = self.momentum * self.velocities[k] + v
            p.data = _as_held(p, p.data - self.lr * v)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for p in self.parameters:
            p.zero_grad()


def _as_held(p: Node, data: Any) -> Any:
    """A float for a Value; for a Tensor an array of its dtype."""
    if isinstance(p, Value):
        return float(data)
    return namespace_of([p.data], "SGD").asarray(data, dtype=p.data.dtype)


def _checked(parameters: Any) -> list[Node]:
    if is_node(parameters) or hasattr(parameters, "parameters") or not hasattr(parameters, "__iter__"):
        raise TypeError(
            f"SGD: got a {type(parameters).__name__}; expected a list of parameters, as [w, b] or module.parameters()."
        )
    found: dict[int, Node] = {}
    for p in parameters:
        if not is_node(p):
            raise TypeError(f"SGD: got {ops.describe(p)} among the parameters; expected Values and Tensors.")
        if p.op is not None:
            raise ValueError(
                f"SGD: {ops.describe(p)} was computed by {p.op.name}; expected leaves, which can be moved."
            )
        found[id(p)] = p
    if not found:
        raise ValueError("SGD: no parameters; a generator such as module.parameters() can be read only once.")
    return list(found.values())


def _in_range(name: str, x: Any, expected: str, allowed: Any) -> float:
    if not is_number(x) or isinstance(x, bool):
        raise TypeError(f"SGD: {name} is {ops.describe(x)}; expected a number {expected}.")
    if not allowed(x):
        raise ValueError(f"SGD: {name} is {x!r}; expected a number {expected}.")
    return float(x)
