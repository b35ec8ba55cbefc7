"""Random graphs of rows of the table: compiled and eager agree, values and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from agreement import Reference, compiled
from hypothesis import HealthCheck, Phase, given, settings

import tinygrad_notes as tn
from tinygrad_notes.ops import shape_of
from tinygrad_notes.testing import graphs
from tinygrad_notes.testing.programs import Program

SLACK = 1e-14
"""Constant contributions to a gradient, such as the 1 and −1 of x − x, are no nodes of which a bound could know."""

few = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])


def value_and_gradients(program: Program) -> Any:
    def f(*inputs: Any) -> Any:
        return tn.value_and_grad(program, argnums=tuple(range(len(inputs))))(*inputs)

    return f


def all_results(program: Program) -> Any:
    """Every result of a program, not only their sum: none may be overwritten before the end."""

    def f(*inputs: Any) -> Any:
        return program.run(*inputs)[len(inputs) :]

    return f


@pytest.mark.parametrize("backend", ["llvm", "numpy", "python", "auto"])
@few
@given(program=graphs())
def test_graphs_of_arrays(backend: str, program: Program) -> None:
    f = value_and_gradients(program)
    found = compiled(f, backend, *program.inputs)
    if found is not None:
        reference = Reference(f, *program.inputs)
        reference.check(found(*program.inputs), f"{backend}: {program}", SLACK)
        reference.check(found(*program.inputs), f"{backend} again: {program}", SLACK)


@pytest.mark.parametrize("backend", ["llvm", "numpy", "python"])
@few
@given(program=graphs(arrays=False, max_ops=30))
def test_graphs_of_numbers(backend: str, program: Program) -> None:
    f = value_and_gradients(program)
    found = compiled(f, backend, *program.inputs)
    if found is not None:
        Reference(f, *program.inputs).check(found(*program.inputs), f"{backend}: {program}", SLACK)


@pytest.mark.parametrize("backend", ["numpy", "auto"])
@few
@given(program=graphs(max_ops=8))
def test_every_result_is_kept(backend: str, program: Program) -> None:
    f = all_results(program)
    found = compiled(f, backend, *program.inputs)
    assert found is not None
    Reference(f, *program.inputs).check(found(*program.inputs), f"{backend}: {program}", SLACK)


@pytest.mark.parametrize("backend", ["numpy", "auto"])
@few
@given(program=graphs(max_ops=5, inputs=2))
def test_second_derivatives(backend: str, program: Program) -> None:
    ways = [np.ones(shape_of(x)) if shape_of(x) else 1.0 for x in program.inputs]

    def f(*inputs: Any) -> Any:
        def slope(*xs: Any) -> Any:
            gradients = tn.grad(program, argnums=tuple(range(len(xs))))(*xs)
            return sum((tn.sum(g * w) for g, w in zip(gradients, ways, strict=True)), 0.0)

        return tn.grad(slope, argnums=tuple(range(len(inputs))))(*inputs)

    found = compiled(f, backend, *program.inputs)
    assert found is not None
    Reference(f, *program.inputs).check(found(*program.inputs), f"{backend}: {program}", SLACK)
