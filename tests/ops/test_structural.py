"""Every structural row against JAX: the value, the jacobian, the second derivative and the jvp."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from table_cases import CASES, Case

import tinygrad_notes as tn
from tinygrad_notes import Tensor
from tinygrad_notes.ops import TABLE, Op

SMOOTH = [(name, k) for name, cases in CASES.items() if TABLE[name].differentiable for k in range(len(cases))]


def near(found: Any, expected: Any, what: str) -> None:
    np.testing.assert_allclose(found, np.asarray(expected), rtol=1e-12, atol=1e-12, err_msg=what)
    assert np.shape(found) == np.shape(expected), f"{what}: shape {np.shape(found)}, not {np.shape(expected)}"


def _call(op: Op, case: Case) -> Callable[..., Any]:
    """The row as a function of its arrays."""
    if op.arity < 0:
        return lambda *xs: op(list(xs), **case.params)
    return partial(op, **case.params)


@dataclass
class Point:
    """Where a row is differentiated: its arrays, a direction, and the weights that make of its value a number.

    A jacobian or hessian that is right along a random direction is right: an error has a kernel of measure 0. So JAX
    need not compile every column of them. No component is near 0, where an error would not be seen.
    """

    arrays: list[np.ndarray]
    ways: tuple[np.ndarray, ...]
    finite: np.ndarray  # padding may be infinite
    weights: np.ndarray

    def of(self, value: Any, where: Callable[..., Any], total: Callable[..., Any]) -> Any:
        return total(where(self.finite, value, 0.0) * self.weights)


def _far_from_0(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return generator.choice([-1.0, 1.0], shape) * generator.uniform(0.5, 2.0, shape)


def _point(op: Op, case: Case) -> Point:
    arrays, generator = case.arrays(), np.random.default_rng(1)
    finite = np.isfinite(_call(op, case)(*arrays))
    ways = tuple(_far_from_0(generator, a.shape) for a in arrays)
    return Point(arrays, ways, finite, _far_from_0(generator, finite.shape))


@cache
def _of_jax(name: str) -> list[tuple[Any, Any]]:
    """Of each case of a row the value and the gradients, and how both change along the direction.

    JAX compiles all cases at once: most of the time each program takes is the same however short it is.
    """
    points = [_point(TABLE[name], case) for case in CASES[name]]

    def along(case: Case, point: Point) -> Any:
        def scalar(*xs: Any) -> Any:
            value = case.oracle(*xs, **case.params)
            return point.of(value, jnp.where, jnp.sum), value

        def first(*xs: Any) -> Any:
            gradients, value = jax.grad(scalar, range(len(xs)), has_aux=True)(*xs)
            return value, gradients

        return jax.jvp(first, tuple(point.arrays), point.ways)

    return jax.jit(lambda: [along(*pair) for pair in zip(CASES[name], points, strict=True)])()


def _times(matrix: Any, way: np.ndarray, of: Any, what: str) -> Any:
    """A derivative of `of` times a direction of the argument, whose axes are the last."""
    assert np.shape(matrix) == np.shape(of) + way.shape, f"{what}: shape {np.shape(matrix)}"
    return np.tensordot(matrix, way, axes=way.ndim)


@pytest.mark.parametrize(("name", "k"), SMOOTH, ids=[f"{name}-{k}" for name, k in SMOOTH])
def test_derivatives_against_jax(name: str, k: int) -> None:
    (value, gradients), (tangent, curved) = _of_jax(name)[k]
    op, case = TABLE[name], CASES[name][k]
    call, point = _call(op, case), _point(op, case)
    arrays, ways = point.arrays, point.ways
    every = tuple(range(len(arrays)))

    def scalar(*xs: Any) -> Any:
        return point.of(call(*xs), tn.where, tn.sum)

    near(call(*arrays), value, "value of arrays")
    near(call(*map(Tensor, arrays)).data, value, "value of Tensors")
    near(tn.jvp(call, arrays, ways)[1], tangent, "jvp")
    jacobian, hessian = tn.jacobian(call, every)(*arrays), tn.hessian(scalar, every)(*arrays)
    near(sum(_times(jacobian[i], ways[i], value, f"jacobian by argument {i}") for i in every), tangent, "jacobian")
    weights = np.where(point.finite, point.weights, 0.0)
    for i in every:
        near(np.tensordot(weights, jacobian[i], axes=weights.ndim), gradients[i], f"jacobian by argument {i}")
        what = f"second derivative by argument {i}"
        near(sum(_times(hessian[i][j], ways[j], arrays[i], f"{what} and {j}") for j in every), curved[i], what)
    product = tn.hvp(scalar, arrays, ways)
    for i, h in enumerate(product if len(arrays) > 1 else (product,)):
        near(h, curved[i], f"hvp by argument {i}")
