"""Functions of JAX and their own backward rules."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

import numpy as np

from ..judging import WRONG, Finding
from .pair import BackwardError, Pair, joined, parted, said, same


class JaxPair(Pair):
    """A `jax.custom_vjp` function, or a function of arrays that calls one."""

    library = "jax"

    def __init__(self, function: Callable[..., Any], inputs: Sequence[Any]) -> None:
        self.jax = sys.modules["jax"]
        super().__init__(function, inputs, tuple(getattr(function, "nondiff_argnums", ())))
        static = [k for k, x in enumerate(inputs) if k not in self.which and not hasattr(x, "dtype")]
        self.quick = self.jax.jit(function, static_argnums=tuple(static))
        with self._double():
            try:
                outputs = self._outputs(self.quick, self._arrays(self.points))
            except Exception:  # it branches on its values, or takes what cannot be hashed
                self.quick = function
                outputs = self._outputs(function, self._arrays(self.points))
        if not outputs:
            raise TypeError(f"check_gradient: {self.name} gave no floating-point array, so there is no gradient.")
        self.eps, self.dtype = max((float(self.jax.numpy.finfo(o.dtype).eps), str(o.dtype)) for o in outputs)

    def _double(self) -> AbstractContextManager[Any]:
        enable = getattr(self.jax, "enable_x64", None)
        if enable is None:  # before JAX 0.8
            enable = importlib.import_module("jax.experimental").enable_x64
        found: AbstractContextManager[Any] = enable(True)
        return found

    def _is_tensor(self, x: Any) -> bool:
        return isinstance(x, self.jax.Array) and self.jax.numpy.issubdtype(x.dtype, self.jax.numpy.floating)

    def _arrays(self, points: Sequence[Any]) -> list[Any]:
        return [self.jax.numpy.asarray(np.asarray(p, dtype=float)) for p in points]

    def _outputs(self, call: Any, xs: Sequence[Any]) -> list[Any]:
        leaves = self.jax.tree_util.tree_leaves(call(*self.arguments(xs)))
        return [o for o in leaves if self.jax.numpy.issubdtype(self.jax.numpy.result_type(o), self.jax.numpy.floating)]

    def _pulled(self, xs: Sequence[Any], cotangent: Any) -> list[Any]:
        outputs, pull = self.jax.vjp(lambda *xs: self._outputs(self.function, xs), *xs)
        flat, start, parts = self.jax.numpy.ravel(cotangent), 0, []
        for o in outputs:
            parts.append(flat[start : start + o.size].reshape(o.shape).astype(o.dtype))
            start += o.size
        return list(pull(parts))

    def f(self, *points: Any) -> Any:
        """Its value; several outputs end to end."""
        with self._double():
            return joined(self._outputs(self.quick, self._arrays(points)))

    def gradient(self, *points: Any, cotangent: Any, compiled: bool = False) -> list[Any]:
        """What its backward rule gives."""
        compiled = compiled and self.quick is not self.function
        with self._double():
            try:
                found = (self._quickly if compiled else self._pulled)(self._arrays(points), cotangent)
            except Exception as error:
                raise BackwardError(said(error)) from error
            return [np.asarray(g, dtype=float) for g in found]

    @cached_property
    def _quickly(self) -> Any:
        return self.jax.jit(self._pulled)

    def second(self, *points: Any, cotangent: Any, direction: Any) -> list[Any]:
        """Reverse over reverse."""
        with self._double():
            try:
                first, pull = self.jax.vjp(lambda *xs: self._pulled(xs, cotangent), *self._arrays(points))
                parts = parted(direction, [p.shape for p in points])
                found = pull([self.jax.numpy.asarray(v, g.dtype) for v, g in zip(parts, first, strict=True)])
            except Exception as error:
                raise BackwardError(said(error)) from error
            return [np.asarray(g, dtype=float) for g in found]

    def faults(self, cotangent: Any) -> list[Finding]:
        """A forward rule that gives another value than the function."""
        with self._double():
            xs = self._arrays(self.points)
            ruled = self.jax.vjp(lambda *xs: self._outputs(self.function, xs), *xs)[0]
            if same([self.f(*self.points)], [joined(ruled)], self.eps):
                return []
        return [Finding(WRONG, note="the forward rule (fwd) gives another value than the function")]


def is_jax(jax: Any, f: Any, inputs: Sequence[Any]) -> bool:
    """Whether f is a function of JAX with a backward rule of its own."""
    if isinstance(f, jax.custom_vjp):
        return True
    jitted = type(f).__module__.startswith("jaxlib") and hasattr(f, "__wrapped__")
    if not jitted and not any(isinstance(x, jax.Array) for x in inputs):
        return False
    try:
        fixed = [k for k, x in enumerate(inputs) if not hasattr(x, "dtype") and not isinstance(x, float)]
        return jitted or "custom_vjp_call" in str(jax.make_jaxpr(f, static_argnums=tuple(fixed))(*inputs))
    except Exception:
        return False
