"""Other people's backward passes: `torch.autograd.Function` and `jax.custom_vjp`, run as they are.

The packages are imported by whoever brings a function of theirs; nothing here imports them first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .judging import WRONG, Finding
from .verdicts import Verdict, directions, generic_weights, plain
from .watching import compare


class Pair:
    """A function of another library with its own backward pass, on float64 arrays.

    Attributes:
        library: its name.
        points: the float inputs as float64 arrays; the others are passed on as they are.
        epsilon: the rounding unit of the arithmetic it runs in.
    """

    library = ""
    epsilon = float(np.finfo(float).eps)

    def __init__(self, function: Callable[..., Any], inputs: Sequence[Any]) -> None:
        self.function, self.inputs = function, list(inputs)
        self.places = [i for i, x in enumerate(inputs) if self.is_float(x)]
        self.points = [self.to_numpy(inputs[i]) for i in self.places]

    def is_float(self, x: Any) -> bool:
        """Whether an input is differentiated: floats and arrays of floats are."""
        return isinstance(x, float) or (isinstance(x, (np.ndarray, np.floating)) and x.dtype.kind == "f")

    def to_numpy(self, x: Any) -> Any:
        """An input as a float64 array."""
        return np.array(x, dtype=float)

    def arguments(self, arrays: Sequence[Any]) -> list[Any]:
        """All arguments, the float ones replaced."""
        given = list(self.inputs)
        for i, x in zip(self.places, arrays, strict=True):
            given[i] = x
        return given

    def value(self, *points: Any) -> Any:
        """The result, all outputs in one vector."""
        raise NotImplementedError

    def gradient(self, cotangent: Any, *points: Any) -> list[Any]:
        """The library's own gradient of the weighted result."""
        raise NotImplementedError

    def second(self, cotangent: Any, along: Sequence[Any], *points: Any) -> list[Any]:
        """The library's own gradient of (its gradient · along)."""
        raise NotImplementedError


class TorchPair(Pair):
    """A `torch.autograd.Function` (or any function of tensors)."""

    library = "torch"

    def is_float(self, x: Any) -> bool:
        """Tensors of floats too."""
        torch = sys.modules["torch"]
        return x.is_floating_point() if isinstance(x, torch.Tensor) else super().is_float(x)

    def to_numpy(self, x: Any) -> Any:
        """From any device and dtype."""
        torch = sys.modules["torch"]
        return np.array(x.detach().cpu().double().numpy() if isinstance(x, torch.Tensor) else x, dtype=float)

    def _run(self, points: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        torch = sys.modules["torch"]
        tensors = [torch.tensor(np.array(p), dtype=torch.float64, requires_grad=True) for p in points]
        # A copy of the leaf, so that a function that changes its input in place is allowed to.
        outputs = self.function(*self.arguments([t.clone() for t in tensors]))
        outputs = outputs if isinstance(outputs, (tuple, list)) else [outputs]
        return tensors, [o for o in outputs if isinstance(o, torch.Tensor) and o.is_floating_point()]

    def value(self, *points: Any) -> Any:
        """The outputs, one after the other."""
        _, outputs = self._run(points)
        return np.concatenate([o.detach().numpy().ravel() for o in outputs])

    def _weights(self, cotangent: Any, outputs: Sequence[Any]) -> list[Any]:
        torch = sys.modules["torch"]
        parts = np.split(np.asarray(cotangent, dtype=float), np.cumsum([o.numel() for o in outputs])[:-1])
        return [torch.tensor(part).reshape(o.shape) for part, o in zip(parts, outputs, strict=True)]

    def _pull(self, cotangent: Any, points: Sequence[Any], create_graph: bool) -> tuple[list[Any], list[Any]]:
        torch = sys.modules["torch"]
        tensors, outputs = self._run(points)
        weights = self._weights(cotangent, outputs)
        kept = [w.clone() for w in weights]
        pairs = [(o, w) for o, w in zip(outputs, weights, strict=True) if o.requires_grad]
        if not pairs:
            return tensors, [torch.zeros_like(t) for t in tensors]
        given = torch.autograd.grad(
            [o for o, _ in pairs], tensors, [w for _, w in pairs], allow_unused=True, create_graph=create_graph
        )
        if any(not torch.equal(w, k) for w, k in zip(weights, kept, strict=True)):
            raise ChangedError("backward changes the cotangent that it is given in place")
        return tensors, [torch.zeros_like(t) if g is None else g for g, t in zip(given, tensors, strict=True)]

    def gradient(self, cotangent: Any, *points: Any) -> list[Any]:
        """By `torch.autograd.grad`."""
        _, given = self._pull(cotangent, points, False)
        return [g.detach().numpy() for g in given]

    def second(self, cotangent: Any, along: Sequence[Any], *points: Any) -> list[Any]:
        """By a second `torch.autograd.grad`; zeros where the first gradient does not depend on the inputs."""
        torch = sys.modules["torch"]
        tensors, given = self._pull(cotangent, points, True)
        total = sum((g * torch.tensor(v)).sum() for g, v in zip(given, along, strict=True))
        if not getattr(total, "requires_grad", False):
            return [np.zeros(p.shape) for p in points]
        again = torch.autograd.grad(total, tensors, allow_unused=True)
        return [np.zeros(t.shape) if g is None else g.numpy() for g, t in zip(again, tensors, strict=True)]


class JaxPair(Pair):
    """A `jax.custom_vjp` (or any function of JAX arrays), in float64."""

    library = "jax"

    def is_float(self, x: Any) -> bool:
        """JAX's arrays of floats too."""
        jax = sys.modules["jax"]
        return x.dtype.kind == "f" if isinstance(x, jax.Array) else super().is_float(x)

    def _double(self) -> Any:
        return sys.modules["jax"].enable_x64(True)

    def _flat(self, arrays: Sequence[Any]) -> Any:
        jax = sys.modules["jax"]
        leaves = jax.tree.leaves(self.function(*self.arguments(arrays)))
        return jax.numpy.concatenate([jax.numpy.ravel(x) for x in leaves])

    def _arrays(self, points: Sequence[Any]) -> list[Any]:
        return [sys.modules["jax"].numpy.asarray(p, dtype=float) for p in points]

    def value(self, *points: Any) -> Any:
        """The outputs, one after the other."""
        with self._double():
            return np.asarray(self._flat(self._arrays(points)), dtype=float)

    def gradient(self, cotangent: Any, *points: Any) -> list[Any]:
        """By `jax.vjp`."""
        jax = sys.modules["jax"]
        with self._double():
            _, pull = jax.vjp(lambda *xs: self._flat(xs), *self._arrays(points))
            return [np.asarray(g, dtype=float) for g in pull(jax.numpy.asarray(cotangent, dtype=float))]

    def second(self, cotangent: Any, along: Sequence[Any], *points: Any) -> list[Any]:
        """By `jax.grad` of the first gradient."""
        jax = sys.modules["jax"]

        def slope(*xs: Any) -> Any:
            _, pull = jax.vjp(lambda *zs: self._flat(zs), *xs)
            given = pull(jax.numpy.asarray(cotangent, dtype=float))
            return sum((g * v).sum() for g, v in zip(given, along, strict=True))

        with self._double():
            places = tuple(range(len(points)))
            return [np.asarray(g, dtype=float) for g in jax.grad(slope, places)(*self._arrays(points))]


class ChangedError(Exception):
    """A backward pass writes into what it is only lent."""


def pair_for(f: Any, inputs: Sequence[Any]) -> Pair | None:
    """The adapter for a function of PyTorch or JAX; `None` for any other."""
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    if torch is not None:
        owner = getattr(f, "__self__", None)
        kind: Any = f if isinstance(f, type) else owner if isinstance(owner, type) else None
        if kind is not None and issubclass(kind, torch.autograd.Function):
            return TorchPair(kind.apply, inputs)
        if any(isinstance(x, torch.Tensor) for x in inputs):
            return TorchPair(f, inputs)
    if jax is not None and (isinstance(f, jax.custom_vjp) or any(isinstance(x, jax.Array) for x in inputs)):
        return JaxPair(f, inputs)
    return None


def foreign_verdict(
    pair: Pair, names: Sequence[str], order: int, cotangent: Any, reference: Callable[..., Any] | None
) -> Verdict:
    """The verdict on a library's own backward pass.

    Args:
        pair: the function.
        names: of its arguments.
        cotangent: weights of the result; generic ones if it is None, so that no transposition hides.
        reference: the same function in this project's ops, for the certified tier.

    Raises:
        ValueError: the reference gives other values than the function.
        TypeError: no input is a float or an array of floats.
    """
    from .verdicts import check_gradient

    if not pair.points:
        raise TypeError(f"check_gradient: no input of the {pair.library} function is a float or an array of floats.")
    names = [names[i] if i < len(names) else f"x{i}" for i in pair.places]
    value = pair.value(*pair.points)
    shape = value.shape if cotangent is None else np.shape(cotangent)
    weights = generic_weights(value.shape) if cotangent is None else np.ravel(np.asarray(cotangent, dtype=float))
    if weights.shape != value.shape:
        raise ValueError(
            f"check_gradient: the cotangent has shape {shape}; expected {value.size} element(s), as f gives."
        )
    shown = dict(zip(names, pair.points, strict=True))
    try:
        if reference is not None:
            same = np.ravel(np.asarray(reference(*map(plain, pair.points)), dtype=float))
            if not np.allclose(same, value, rtol=1e-6, atol=1e-9, equal_nan=True):
                raise ValueError(f"check_gradient: the reference gives {same}, the {pair.library} function {value}.")
            verdict = check_gradient(
                lambda *xs: _flattened(reference(*xs)),
                *pair.points,
                gradient=lambda *xs: tuple(pair.gradient(weights, *map(_own, xs))),
                cotangent=weights,
                names=names,
            )
        else:
            verdict = compare(
                lambda *xs: float(np.dot(weights, pair.value(*map(_own, xs)))),
                lambda *xs: pair.gradient(weights, *map(_own, xs)),
                pair.points,
                names,
                pair.epsilon,
            )
        if order == 1 or verdict.status == WRONG:
            return verdict
        return _second(pair, weights, names, verdict)
    except ChangedError as error:
        return Verdict(WRONG, "black box", Finding(WRONG, note=str(error)), None, shown)


def _own(x: Any) -> Any:
    return np.array(x, dtype=float)


def _flattened(y: Any) -> Any:
    return y.reshape(-1)


def _second(pair: Pair, weights: Any, names: Sequence[str], first: Verdict) -> Verdict:
    """The second derivatives against differences of the first gradient, which was found right."""
    sizes = [p.size for p in pair.points]
    verdict = first
    for along in directions(sum(sizes)):
        parts = [
            part.reshape(p.shape) for part, p in zip(np.split(along, np.cumsum(sizes)[:-1]), pair.points, strict=True)
        ]

        def slope(*xs: Any, parts: list[Any] = parts) -> float:
            given = pair.gradient(weights, *map(_own, xs))
            return float(sum(np.sum(g * v) for g, v in zip(given, parts, strict=True)))

        verdict = compare(
            slope,
            lambda *xs, parts=parts: pair.second(weights, parts, *map(_own, xs)),
            pair.points,
            names,
            pair.epsilon,
        )
        if verdict.status == WRONG:
            break
    return verdict
