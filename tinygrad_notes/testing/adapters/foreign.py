"""Finding out whose function one is, and the verdict on its backward pass."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...graph import cotangents, is_node
from ..judging import KINK, UNDECIDED, WRONG, Finding
from ..tracing import Traced
from ..verdicts import Verdict, check_gradient
from ..watching import TIER, attempt, compare, verdict
from .jax_pair import JaxPair, is_jax
from .pair import BackwardError, Pair, parted
from .torch_pair import TorchPair, is_torch

_OTHER = 1e-6  # values that differ by more, relative to their size, are not of one function


def pair_for(f: Callable[..., Any], inputs: Sequence[Any]) -> Pair | None:
    """The pair of a function of another library.

    Args:
        f: anything callable. A `torch.autograd.Function` or its `apply`, a `torch.nn.Module`, a `jax.custom_vjp`; or a
            function that is given their tensors and calls one of these.
        inputs: its arguments.

    Returns:
        The pair, or `None` if f is none of these.

    Raises:
        TypeError: it is, and there is nothing to differentiate by.
    """
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    if hasattr(torch, "autograd") and is_torch(torch, f, inputs):
        return TorchPair(f, inputs)
    if hasattr(jax, "custom_vjp") and is_jax(jax, f, inputs):
        return JaxPair(f, inputs)
    return None


def foreign_verdict(
    pair: Pair,
    names: Sequence[str],
    order: int = 1,
    cotangent: Any = None,
    reference: Callable[..., Any] | None = None,
) -> Verdict:
    """The verdict on the backward pass of another library's function.

    Args:
        pair: from `pair_for`.
        names: of all arguments; `x0`, `x1` and so on give way to the function's own.
        order: 2 checks the second derivatives, once the first ones are right.
        cotangent: ∂L/∂f in the shape of f's result, several outputs end to end; generic weights if it is not given.
        reference: a function of this project's ops that computes the same from the same arguments: then the true
            derivatives are certified, where differences of f would only estimate them.

    Returns:
        The verdict.

    Raises:
        TypeError: order is 2, and the backward pass cannot be differentiated.
        ValueError: the cotangent has the wrong shape, or the reference computes something else.
    """
    called = [own if names[k] == f"x{k}" else names[k] for k, own in zip(pair.which, pair.names, strict=True)]
    points = pair.points
    here = attempt(pair.f, points)
    if here is None:
        return verdict([Finding(UNDECIDED, note=f"{pair.name} is not finite here")], points, called)
    weights = generic(here.shape) if cotangent is None else np.asarray(cotangent, dtype=float)
    if weights.shape != here.shape:
        raise ValueError(
            f"check_gradient: the cotangent has shape {weights.shape}; expected that of {pair.name}, {here.shape}."
        )

    def first(*xs: Any) -> list[Any]:
        return pair.gradient(*xs, cotangent=weights)

    try:
        first(*points)
    except BackwardError as error:
        return verdict([Finding(WRONG, note=f"the backward pass raises {error}")], points, called)
    faults = pair.faults(weights)
    if faults:
        return verdict(faults, points, called)
    if reference is not None:
        judged = _by_reference(pair, reference, here, weights, first, called)
    else:
        judged = verdict(compare(pair.f, points, called, first, weights, pair.eps), points, called)
    if order == 2 and judged.ok:
        judged = _second(pair, called, weights, judged, reference)
    if pair.dtype != "float64" and judged.status in (WRONG, UNDECIDED):
        note = "; ".join(filter(None, [judged.finding.note, f"{pair.name} computes in {pair.dtype}"]))
        judged = replace(judged, finding=replace(judged.finding, note=note))
    return judged


def generic(shape: tuple[int, ...]) -> Any:
    """Weights that all differ, none of them 1, so that no sum, transposition or forgotten cotangent hides."""
    k = np.arange(int(np.prod(shape)))
    golden = 0.6180339887498949
    weights = np.where(k % 2, -1.0, 1.0) * (0.5 + (k + 1) * golden % 1)
    return (np.round(weights * 4096) / 4096).reshape(shape)


def _by_reference(
    pair: Pair,
    reference: Callable[..., Any],
    here: Any,
    weights: Any,
    first: Callable[..., list[Any]],
    names: Sequence[str],
) -> Verdict:
    def same(*xs: Any) -> Any:
        return reference(*pair.arguments(xs))

    given = same(*(float(p) if p.ndim == 0 else p.copy() for p in pair.points))
    value = np.asarray(given.data if is_node(given) else given, dtype=float)
    if value.shape != here.shape:
        raise ValueError(f"check_gradient: the reference gave the shape {value.shape}; {pair.name} gave {here.shape}.")
    size = max(np.max(np.abs(here), initial=0.0), np.max(np.abs(value), initial=0.0))
    off = np.max(np.abs(value - here), initial=0.0)
    if not off <= max(_OTHER, 64 * pair.eps) * size:
        raise ValueError(
            f"check_gradient: the reference gave {value.tolist()} where {pair.name} gave {here.tolist()}; "
            "expected a function that computes the same."
        )

    def opaque(*xs: Any) -> Any:
        return tuple(first(*(np.asarray(x, dtype=float) for x in xs)))

    return check_gradient(same, *pair.points, gradient=opaque, cotangent=weights, names=names)


def _second(
    pair: Pair,
    names: Sequence[str],
    weights: Any,
    judged: Verdict,
    reference: Callable[..., Any] | None,
) -> Verdict:
    points = pair.points
    if judged.status == KINK:
        return verdict([Finding(KINK, note="a kink has no second derivative")], points, names, judged.tier)
    direction = generic((sum(p.size for p in points),))

    def first(*xs: Any) -> Any:
        return np.concatenate([g.ravel() for g in pair.gradient(*xs, cotangent=weights, compiled=True)])

    def second(*xs: Any) -> list[Any]:
        return pair.second(*xs, cotangent=weights, direction=direction)

    def first_of_reference(*leaves: Any) -> Any:
        assert reference is not None
        seed = Traced(weights, requires_grad=False)
        known = dict(cotangents([(reference(*pair.arguments(leaves)), seed)], leaves, create_graph=True))
        parts = parted(direction, [p.shape for p in points])
        return sum((known[leaf] * v).sum() for leaf, v in zip(leaves, parts, strict=True) if leaf in known)

    try:
        second(*points)
    except BackwardError as error:
        raise TypeError(
            f"check_gradient: given order=2, but the backward pass of {pair.name} cannot be differentiated ({error}); "
            "check order=1, or write its backward pass with differentiable operations."
        ) from error
    if reference is None:
        found = compare(first, points, names, second, direction, pair.eps, rounding=64.0)
        judged = verdict(found, points, names, TIER)
    else:
        judged = check_gradient(
            first_of_reference, *points, gradient=lambda *xs: tuple(second(*map(np.asarray, xs))), names=names
        )
    return judged
