"""A function of another library with its own backward pass, both on float64 arrays."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...ops import describe
from ..judging import Finding


class BackwardError(Exception):
    """A backward pass cannot be run; the cause says why."""


class Pair:
    """A function of another library and its own backward pass.

    Differentiated are its floating-point tensors; if it is given none, the NumPy arrays among its inputs; if there are
    none either, the floats. All other arguments are passed on as they are.

    Attributes:
        library: `torch` or `jax`.
        name: of the function.
        names: of the arguments that are differentiated.
        points: their values, float64 arrays.
        dtype: the name of the type in which the function computes: the coarsest of its results.
        eps: the distance from 1 to the next number of that type.
    """

    library = ""

    def __init__(self, function: Callable[..., Any], inputs: Sequence[Any], fixed: Sequence[int] = ()) -> None:
        self.function, self.inputs = function, list(inputs)
        self.name = getattr(function, "__name__", type(function).__name__)
        kinds = (self._is_tensor, _is_float_array, lambda x: isinstance(x, float | np.floating))
        found = [[k for k, x in enumerate(inputs) if k not in fixed and kind(x)] for kind in kinds]
        self.which = next((positions for positions in found if positions), [])
        if not self.which:
            given = ", ".join(describe(x) for x in inputs)
            raise TypeError(
                f"check_gradient: given {given} for {self.name}; expected a tensor, an array or a number of floating "
                "point among them, by which to differentiate."
            )
        self.points = [self._plain(inputs[k]) for k in self.which]
        self.names = [self._names()[k] for k in self.which]
        self.dtype, self.eps = "float64", float(np.finfo(float).eps)

    def arguments(self, xs: Sequence[Any]) -> list[Any]:
        """All arguments, with those that are differentiated replaced."""
        found = list(self.inputs)
        for k, x in zip(self.which, xs, strict=True):
            found[k] = x
        return found

    def _is_tensor(self, x: Any) -> bool:
        raise NotImplementedError

    def _plain(self, x: Any) -> Any:
        return np.array(x, dtype=float)

    def _parameters(self) -> list[str]:
        try:
            return list(inspect.signature(self.function).parameters)
        except (TypeError, ValueError):
            return []

    def _names(self) -> list[str]:
        own = self._parameters()
        return [
            own[k] if k < len(own) and own[k] not in ("args", "kwargs") else f"x{k}" for k in range(len(self.inputs))
        ]

    def f(self, *points: Any) -> Any:
        """Its value; several outputs end to end."""
        raise NotImplementedError

    def gradient(self, *points: Any, cotangent: Any, compiled: bool = False) -> list[Any]:
        """What its backward pass gives for a cotangent; compiled, if it may be and is run often.

        Raises:
            BackwardError: it cannot be run.
        """
        raise NotImplementedError

    def second(self, *points: Any, cotangent: Any, direction: Any) -> list[Any]:
        """The gradient of Σ direction · gradient: its backward pass, differentiated in turn.

        Raises:
            BackwardError: it cannot be differentiated.
        """
        raise NotImplementedError

    def faults(self, cotangent: Any) -> list[Finding]:
        """What is wrong with the backward pass beyond its numbers."""
        raise NotImplementedError


def _is_float_array(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def joined(outputs: Sequence[Any]) -> Any:
    """One output as it is, several end to end."""
    arrays = [np.asarray(o, dtype=float) for o in outputs]
    return arrays[0] if len(arrays) == 1 else np.concatenate([a.ravel() for a in arrays])


def parted(cotangent: Any, shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    """The reverse of `joined`, for a cotangent."""
    sizes = [int(np.prod(s)) for s in shapes]
    parts = np.split(np.asarray(cotangent, dtype=float).ravel(), np.cumsum(sizes)[:-1])
    return [part.reshape(s) for part, s in zip(parts, shapes, strict=True)]


def same(a: Sequence[Any], b: Sequence[Any], eps: float) -> bool:
    """Whether two runs agree but for the order in which they add."""
    for x, y in zip(a, b, strict=True):
        size = np.max(np.abs(x), initial=0.0, where=np.isfinite(x))
        if not np.allclose(x, y, rtol=0.0, atol=1e4 * eps * size, equal_nan=True):
            return False
    return True


def said(error: BaseException) -> str:
    """An error in one line."""
    first = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {first[:200]}"
