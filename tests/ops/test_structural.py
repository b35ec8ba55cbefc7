"""Every structural row against JAX: the value, the jacobian, the second derivative and the jvp."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from table_cases import CASES, Case

import tinygrad_notes as tn
from tinygrad_notes import Tensor
from tinygrad_notes.ops import TABLE, Op

ALL = [(name, case) for name, cases in CASES.items() for case in cases]
IDS = [f"{name}-{k}" for name, cases in CASES.items() for k in range(len(cases))]
every_case = pytest.mark.parametrize(("name", "case"), ALL, ids=IDS)
SMOOTH = [(name, case) for name, case in ALL if TABLE[name].differentiable]
every_smooth_case = pytest.mark.parametrize(
    ("name", "case"), SMOOTH, ids=[i for i in IDS if TABLE[i.partition("-")[0]].differentiable]
)


def near(found: Any, expected: Any, what: str) -> None:
    np.testing.assert_allclose(found, np.asarray(expected), rtol=1e-12, atol=1e-12, err_msg=what)
    assert np.shape(found) == np.shape(expected), f"{what}: shape {np.shape(found)}, not {np.shape(expected)}"


def _call(op: Op, case: Case) -> Callable[..., Any]:
    """The row as a function of its arrays."""
    if op.arity < 0:
        return lambda *xs: op(list(xs), **case.params)
    return partial(op, **case.params)


@every_smooth_case
def test_derivatives_against_jax(name: str, case: Case) -> None:
    op, arrays = TABLE[name], case.arrays()
    every = tuple(range(len(arrays)))
    call = _call(op, case)
    generator = np.random.default_rng(1)
    ways = tuple(generator.normal(size=a.shape) for a in arrays)
    exact = partial(case.oracle, **case.params)
    finite = np.isfinite(exact(*arrays))  # padding may be infinite
    weights = generator.normal(size=finite.shape)

    @jax.jit
    def oracle() -> Any:
        def scalar(*xs: Any) -> Any:
            return (jnp.where(finite, exact(*xs), 0.0) * weights).sum()

        value, tangent = jax.jvp(exact, tuple(arrays), ways)
        return value, tangent, jax.jacobian(exact, every)(*arrays), jax.hessian(scalar, every)(*arrays)

    def scalar(*xs: Any) -> Any:
        return tn.sum(tn.where(finite, call(*xs), 0.0) * weights)

    value, tangent, jacobian, hessian = oracle()
    near(call(*arrays), value, "value of arrays")
    near(call(*map(Tensor, arrays)).data, value, "value of Tensors")
    near(tn.jvp(call, arrays, ways)[1], tangent, "jvp")
    found, curvature = tn.jacobian(call, every)(*arrays), tn.hessian(scalar, every)(*arrays)
    for i in every:
        near(found[i], jacobian[i], f"jacobian by argument {i}")
        for j in every:
            near(curvature[i][j], hessian[i][j], f"second derivative by arguments {i} and {j}")
    product = tn.hvp(scalar, arrays, ways)
    for i, h in enumerate(product if len(arrays) > 1 else (product,)):
        axes = [np.tensordot(np.asarray(hessian[i][j]), ways[j], axes=ways[j].ndim) for j in every]
        near(h, sum(axes), f"hvp by argument {i}")
