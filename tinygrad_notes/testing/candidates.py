"""The gradients that are judged: the automatic one and a hand-derived one, as formulas on nodes or as floats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..graph import Node, cotangents, is_node
from ..tensor import Tensor
from ..value import Value
from .locating import as_node
from .tracing import Traced, leaf

Function = Callable[..., Any]


def plain(point: Any) -> Any:
    """A number for an array without axes, else a copy, which the user's function may change."""
    return float(point) if point.ndim == 0 else point.copy()


def called(gradient: Function, args: Sequence[Any]) -> list[Any]:
    """A hand-derived gradient's answers, one for each argument.

    Raises:
        TypeError: it gives another number of them, or `None` among them.
    """
    given = gradient(*args)
    if len(args) == 1 and not (isinstance(given, (tuple, list)) and len(given) == 1 and np.shape(args[0]) == ()):
        given = given if isinstance(given, tuple) and len(given) == 1 else (given,)
    if not isinstance(given, (tuple, list)) or len(given) != len(args):
        raise TypeError(
            f"check_gradient: gradient gave {ops.describe(given)}; expected {len(args)}, one for each argument."
        )
    if any(g is None for g in given):
        raise TypeError(
            "check_gradient: gradient gave None; expected a number or an array for each argument. Does it return? What "
            "needs no gradient is better fixed: check_gradient(lambda x: f(x, y), x, gradient=...)."
        )
    return list(given)


def recorded_by_hand(
    gradient: Function, leaves: Sequence[Traced], names: Sequence[str], constants: bool = False
) -> list[Node] | None:
    """A hand-derived gradient on the leaves, or `None` if it cannot be recorded there.

    Numbers among nodes are constants. Numbers alone are so with `constants` only: they may have been computed from the
    leaves' data, and then floats are what they are.
    """
    try:
        with np.errstate(all="ignore"):
            given = called(gradient, leaves)
        if not constants and not any(map(is_node, given)):
            return None
        nodes = [g if is_node(g) else leaf(g) for g in given]
    except Exception as error:
        if "check_gradient" in str(error):
            raise
        return None
    return [shaped(g, x.shape, n) for g, x, n in zip(nodes, leaves, names, strict=True)]


def floats_by_hand(gradient: Function, points: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """A hand-derived gradient's floats, each in the shape of its argument and in the precision that it came in.

    Raises:
        TypeError: it gives something that is no real number.
        ValueError: it has another shape than its argument.
    """
    with np.errstate(all="ignore"):
        given = called(gradient, [plain(p) for p in points])
    return [
        shaped(as_floats(g, f"the gradient by {n} is"), p.shape, n)
        for g, p, n in zip(given, points, names, strict=True)
    ]


def as_floats(given: Any, what: str) -> Any:
    """A number, array or node as a float array, in the precision that it came in.

    What left the reals, as Python's (-2.0) ** 0.5 does, is not a number.

    Raises:
        TypeError: it is none of these; the message says of `what`.
    """
    try:
        array = np.asarray(given.data if is_node(given) else given)
        if array.dtype.kind == "c":
            array = np.where(array.imag == 0, array.real, np.nan)
        elif array.dtype.kind in "iubO":
            array = array.astype(float)
        elif array.dtype.kind != "f":
            raise TypeError(f"an array of {array.dtype}")
    except (TypeError, ValueError) as error:
        raise TypeError(f"check_gradient: {what} {ops.describe(given)}; expected a number or an array.") from error
    return array


def shaped(given: Any, shape: tuple[int, ...], name: str) -> Any:
    """What is given, if it has the shape.

    Raises:
        ValueError: it has not.
    """
    own = tuple(ops.shape_of(given))
    if own != shape:
        raise ValueError(f"check_gradient: the gradient by {name} has shape {own}; expected that of {name}, {shape}.")
    return given


def recorded_automatic(root: Traced, leaves: Sequence[Traced], weights: Any) -> list[Node]:
    """The automatic gradient as nodes, zeros where there is none."""
    if not root.requires_grad:
        return [as_node(None, x.shape) for x in leaves]
    seed = Traced(weights, requires_grad=False)
    with np.errstate(all="ignore"):
        found = dict(cotangents([(root, seed)], leaves, create_graph=True))
    return [as_node(found.get(x), x.shape) for x in leaves]


def automatic_floats(f: Function, points: Sequence[Any], weights: Any = None) -> list[Any] | None:
    """The automatic gradient as the engine gives it: by `Value`s for numbers, else by `Tensor`s.

    Args:
        weights: ∂L/∂f in the shape of f's result; ones if not given.

    Returns:
        Its floats, or `None` where f gives no node to start from.
    """
    kind = Value if all(p.ndim == 0 for p in points) else Tensor
    nodes = [kind(plain(p)) for p in points]
    try:
        with np.errstate(all="ignore"):
            root = f(*nodes)
            if not is_node(root) or not root.requires_grad:
                return None
            weights = np.ones(root.shape) if weights is None else weights
            root.backward(weights if np.shape(root.data) else float(weights))
    except TypeError:  # the function takes arrays only
        return None
    return [np.zeros(p.shape) if n.grad is None else np.asarray(n.grad) for p, n in zip(points, nodes, strict=True)]
