"""Functions of PyTorch and their own backward passes."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...ops import describe
from ..judging import WRONG, Finding
from .pair import BackwardError, Pair, joined, parted, said, same


def owner_of(f: Any) -> Any:
    """The class that f is or whose `apply` it is, else `None`."""
    owner = f if isinstance(f, type) else getattr(f, "__self__", None)
    return owner if isinstance(owner, type) else None


class TorchPair(Pair):
    """A `torch.autograd.Function`, or a function of tensors that calls one."""

    library = "torch"

    def __init__(self, function: Callable[..., Any], inputs: Sequence[Any]) -> None:
        self.torch = sys.modules["torch"]
        self.owner = owner_of(function)
        super().__init__(function, inputs)
        self.call: Any = self.owner.apply if self.owner is not None else function
        if self.owner is not None:
            self.name = self.owner.__name__
        for k, x in enumerate(self.inputs):  # indices, masks and the like
            if k not in self.which and isinstance(x, np.ndarray):
                self.inputs[k] = self.torch.as_tensor(x)
        self.computes = self.torch.float64
        given = next((x.dtype for x in map(self.inputs.__getitem__, self.which) if self._is_tensor(x)), None)
        try:
            outputs, _ = self._forward(self.points)
            if given not in (None, self.torch.float64):
                self._backward(self.points, np.ones(sum(o.numel() for o in outputs)))
        except Exception:
            if given in (None, self.torch.float64):
                raise
            # Not written for float64; then it is judged in its own numbers.
            self.computes = given
            outputs, _ = self._forward(self.points)
        types = [self.computes, *(o.dtype for o in outputs)]
        self.eps, self.dtype = max((float(self.torch.finfo(d).eps), str(d).removeprefix("torch.")) for d in types)

    def _is_tensor(self, x: Any) -> bool:
        return isinstance(x, self.torch.Tensor) and x.is_floating_point()

    def _plain(self, x: Any) -> Any:
        return np.array(x.detach().double().cpu().numpy() if isinstance(x, self.torch.Tensor) else x, dtype=float)

    def _parameters(self) -> list[str]:
        if self.owner is None:
            return super()._parameters()
        own = list(inspect.signature(self.owner.forward).parameters)
        apart = self.owner.setup_context is not self.torch.autograd.Function.setup_context
        return own if apart else own[1:]

    def _leaf(self, point: Any, position: int) -> Any:
        given = self.inputs[position]
        device = given.device if isinstance(given, self.torch.Tensor) else None
        return self.torch.tensor(point, dtype=self.computes, device=device)

    def _forward(
        self, points: Sequence[Any], needed: Sequence[int] | None = None, layout: Callable[[Any], Any] | None = None
    ) -> tuple[list[Any], list[tuple[Any, Any]]]:
        """Its outputs of floating point, and for each input the leaf and what of it the function is given."""
        leaves = [self._leaf(p, k) for p, k in zip(points, self.which, strict=True)]
        for k, leaf in enumerate(leaves):
            leaf.requires_grad_(needed is None or k in needed)
        with self.torch.enable_grad():
            # A copy, since a function may change its input in place and a leaf may not be changed.
            given = [(layout or self.torch.clone)(leaf) for leaf in leaves]
            outputs = self.call(*self.arguments(given))
        outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
        kept = [o for o in outputs if isinstance(o, self.torch.Tensor) and o.is_floating_point() and o.requires_grad]
        if not kept and needed is None:
            raise TypeError(
                f"check_gradient: {self.name} gave {describe(outputs[0])}; expected a floating-point tensor that "
                "depends on its inputs (it has no backward pass)."
            )
        return kept, list(zip(leaves, given, strict=True))

    def _weights(self, outputs: Sequence[Any], cotangent: Any) -> list[Any]:
        parts = parted(cotangent, [tuple(o.shape) for o in outputs])
        return [self.torch.tensor(w, dtype=o.dtype, device=o.device) for w, o in zip(parts, outputs, strict=True)]

    def _grad(self, outputs: Any, leaves: Any, weights: Any, **options: Any) -> list[Any]:
        """The library's own backward pass, `None` for what gets no gradient."""
        try:
            return list(self.torch.autograd.grad(outputs, leaves, weights, allow_unused=True, **options))
        except Exception as error:
            raise BackwardError(said(error)) from error

    def _read(self, found: Sequence[Any], points: Sequence[Any]) -> list[Any]:
        return [
            np.zeros(p.shape) if g is None else self._plain(g).reshape(p.shape)
            for g, p in zip(found, points, strict=True)
        ]

    def _backward(
        self, points: Sequence[Any], cotangent: Any, layout: Callable[[Any], Any] | None = None, **options: Any
    ) -> list[Any]:
        outputs, inputs = self._forward(points, layout=layout)
        leaves = [leaf for leaf, _ in inputs]
        return self._read(self._grad(outputs, leaves, self._weights(outputs, cotangent), **options), points)

    def f(self, *points: Any) -> Any:
        """Its value; several outputs end to end."""
        return joined([self._plain(o) for o in self._forward(points)[0]])

    def gradient(self, *points: Any, cotangent: Any, compiled: bool = False) -> list[Any]:
        """What its backward pass gives; `None` counts as zero."""
        return self._backward(points, cotangent)

    def second(self, *points: Any, cotangent: Any, direction: Any) -> list[Any]:
        """Double backward; a first gradient without a graph has the second derivative 0."""
        outputs, inputs = self._forward(points)
        leaves = [leaf for leaf, _ in inputs]
        # Only if its cotangent requires a gradient does `once_differentiable` leave word that there is no second one.
        weights = [w.requires_grad_() for w in self._weights(outputs, cotangent)]
        first = self._grad(outputs, leaves, weights, create_graph=True)
        if any(g is not None and type(g.grad_fn).__name__ == "Error" for g in first):
            raise BackwardError("it is marked once_differentiable")
        parts = parted(direction, [p.shape for p in points])
        pairs = [
            (g, self.torch.tensor(v, dtype=g.dtype, device=g.device))
            for g, v in zip(first, parts, strict=True)
            if g is not None and g.requires_grad
        ]
        if not pairs:
            return [np.zeros(p.shape) for p in points]
        return self._read(self._grad([g for g, _ in pairs], leaves, [v for _, v in pairs]), points)

    def faults(self, cotangent: Any) -> list[Finding]:
        """Changes in place, gradients that depend on what else is asked for, and on how memory is laid out."""
        outputs, inputs = self._forward(self.points)
        leaves = [leaf for leaf, _ in inputs]
        weights = self._weights(outputs, cotangent)
        before = [[t.detach().clone() for t in ts] for ts in (weights, outputs, [x for _, x in inputs])]
        expected = self._read(self._grad(outputs, leaves, weights, retain_graph=True), self.points)
        now = (weights, outputs, [x for _, x in inputs])
        for what, old, new in zip(("its cotangent", "its output", "its input"), before, now, strict=True):
            if not all(
                self.torch.allclose(a, b, rtol=0, atol=0, equal_nan=True) for a, b in zip(old, new, strict=True)
            ):
                return [Finding(WRONG, note=f"the backward pass changes {what} in place")]
        try:
            again = self._read(self._grad(outputs, leaves, self._weights(outputs, cotangent)), self.points)
        except BackwardError as error:
            # Some free what they saved after one run, which is allowed.
            again = [] if "inplace" in str(error) else expected
        if not again or not same(expected, again, self.eps):
            return [Finding(WRONG, note="a second run gives another gradient: the first changes what was saved")]
        findings = [self._asked_alone(k, expected[k], cotangent) for k in range(len(leaves)) if len(leaves) > 1]
        findings += [self._strided(expected, cotangent), *self._cotangents(expected, cotangent)]
        return [finding for finding in findings if finding is not None]

    def _asked_alone(self, k: int, expected: Any, cotangent: Any) -> Finding | None:
        name = self.names[k]
        outputs, inputs = self._forward(self.points, [k])
        if not outputs:
            return None if not np.any(expected) else Finding(WRONG, name, note="it gets no gradient if asked for alone")
        try:
            weights = self._weights(outputs, cotangent)
        except ValueError:  # fewer outputs depend on this input alone
            return None
        try:
            found = self._read(self._grad(outputs, [inputs[k][0]], weights), [self.points[k]])
        except BackwardError as error:
            return Finding(WRONG, note=f"with only {name} requiring a gradient, the backward pass raises {error}")
        if same([expected], found, self.eps):
            return None
        return Finding(WRONG, note=f"with only {name} requiring a gradient, the gradient by {name} is another one")

    def _strided(self, expected: list[Any], cotangent: Any) -> Finding | None:
        if not any(p.size > 1 for p in self.points):
            return None
        try:
            outputs, _ = self._forward(self.points, layout=self._scattered)
        except Exception:  # the function refuses such inputs, which is no fault of its gradient
            return None
        if not same([self.f(*self.points)], [joined([self._plain(o) for o in outputs])], self.eps):
            return Finding(WRONG, note="for a non-contiguous input the function has another value")
        try:
            found = self._backward(self.points, cotangent, self._scattered)
        except BackwardError as error:
            return Finding(WRONG, note=f"for a non-contiguous input, the backward pass raises {error}")
        if same(expected, found, self.eps):
            return None
        return Finding(WRONG, note="for a non-contiguous input, the gradient is another one")

    def _cotangents(self, expected: list[Any], cotangent: Any) -> list[Finding | None]:
        """Cotangents as other functions hand them on: transposed, or by a sum one number expanded by strides of 0."""
        outputs, _ = self._forward(self.points)
        if all(o.numel() < 2 for o in outputs):
            return []
        scattered = [self._scattered(w) for w in self._weights(outputs, cotangent)]
        ones = [self.torch.ones((), dtype=o.dtype, device=o.device).expand(o.shape) for o in outputs]
        expected_of_ones = self._backward(self.points, np.ones(sum(o.numel() for o in outputs)))
        return [
            self._laid_out("a non-contiguous cotangent", scattered, expected),
            self._laid_out("an expanded cotangent (stride 0)", ones, expected_of_ones),
        ]

    def _laid_out(self, what: str, weights: list[Any], expected: list[Any]) -> Finding | None:
        outputs, inputs = self._forward(self.points)
        try:
            found = self._read(self._grad(outputs, [leaf for leaf, _ in inputs], weights), self.points)
        except BackwardError as error:
            return Finding(WRONG, note=f"for {what}, the backward pass raises {error}")
        if same(expected, found, self.eps):
            return None
        return Finding(WRONG, note=f"for {what}, the gradient is another one")

    def _scattered(self, tensor: Any) -> Any:
        """The same numbers, not one after another in memory."""
        if tensor.ndim > 1 and min(tensor.shape[-2:]) > 1:
            return tensor.transpose(-1, -2).contiguous().transpose(-1, -2)
        return self.torch.stack((tensor, self.torch.zeros_like(tensor)), -1)[..., 0]


def is_torch(torch: Any, f: Any, inputs: Sequence[Any]) -> bool:
    """Whether f is a function of PyTorch with a backward pass of its own."""
    owner = owner_of(f)
    if owner is not None and issubclass(owner, torch.autograd.Function):
        return True
    if isinstance(f, torch.nn.Module):
        return True
    if isinstance(f, type) or not any(isinstance(x, torch.Tensor) for x in inputs):
        return False
    try:  # this project's ops take tensors too, so what counts is whether somebody's own backward pass is in the graph
        given = [
            x.detach().clone().requires_grad_() if isinstance(x, torch.Tensor) and x.is_floating_point() else x
            for x in inputs
        ]
        with torch.enable_grad():
            outputs = f(*given)
    except Exception:
        return False
    outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    todo, seen = [o.grad_fn for o in outputs if isinstance(o, torch.Tensor)], set()
    while todo:
        node = todo.pop()
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            return True
        if node is not None and node not in seen:
            seen.add(node)
            todo += [parent for parent, _ in node.next_functions]
    return False
