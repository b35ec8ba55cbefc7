"""Every elementwise row against mpmath: the value, both derivatives and the jvp, read as floats and as arrays."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from table_cases import DIGITS, FORMULAS, Formula, derivative

import tinygrad_notes as tn
from tinygrad_notes.ops import TABLE, Op

EPS = 2.0**-52
ROWS = [(name, k) for name, formulas in FORMULAS.items() for k in range(len(formulas))]


def arguments(op: Op, formula: Formula, count: int) -> st.SearchStrategy[tuple[float, ...]]:
    """Numbers of every magnitude, inside the row's domain and off its kinks."""

    def number(low: float, high: float) -> st.SearchStrategy[float]:
        floor = formula.least if low == 0 else 0.0
        return st.floats(
            max(low, -formula.reach),
            min(high, formula.reach),
            exclude_min=True,
            exclude_max=True,
            allow_subnormal=False,
        ).map(lambda x: x if abs(x) >= formula.least else floor)

    return st.tuples(*(number(*interval) for interval in op.domain[-count:])).filter(lambda xs: not formula.kink(*xs))


def assert_close(found: Any, exact: Any, slack: float, what: str) -> None:
    error = abs(mpmath.mpf(float(found)) - exact)
    # A few roundings; 1e-300 where the true value has no normal float.
    assert error <= 32 * EPS * abs(exact) + 4 * slack * EPS + 1e-300, (
        f"{what}: {float(found)!r}, not {mpmath.nstr(exact, 20)}: {mpmath.nstr(error, 3)} off"
    )


@pytest.mark.parametrize(("name", "k"), ROWS, ids=[f"{name}-{k}" for name, k in ROWS])
@settings(max_examples=settings.default.max_examples * 3 // 5)  # of each of so many rows
@given(data=st.data())
def test_value_derivatives_and_jvp(name: str, k: int, data: st.DataObject) -> None:
    op, formula = TABLE[name], FORMULAS[name][k]
    call, count = formula.call or partial(op, **formula.params), formula.arity or op.arity
    xs = data.draw(arguments(op, formula, count))
    every = tuple(range(count))
    slack = formula.slack(*xs)
    f = cache(formula.exact)  # the derivatives share most of the points
    with mpmath.workdps(DIGITS):
        exact = f(*map(mpmath.mpf, xs))
        first = [derivative(f, op, xs, tuple(int(i == j) for j in every)) for i in every]
        second = [[derivative(f, op, xs, tuple((i == m) + (j == m) for m in every)) for j in every] for i in every]
    assume(all(abs(s) < 1e300 for row in second for s in row))

    y, gradient = tn.value_and_grad(call, argnums=every)(*xs)
    hessian = tn.hessian(call, argnums=every)(*xs)
    arrays = [np.array([x]) for x in xs]
    y_array, gradient_array = tn.value_and_grad(lambda *ts: tn.sum(call(*ts)), argnums=every)(*arrays)
    hessian_array = tn.hessian(lambda *ts: tn.sum(call(*ts)), argnums=every)(*arrays)
    for found in (y, y_array):
        assert_close(found, exact, slack[0], f"{name}{xs}")
    for i in every:
        for found in (gradient[i], gradient_array[i].item()):
            assert_close(found, first[i], slack[1], f"∂{name}{xs}/∂{i}")
        for j in every:
            for found in (hessian[i][j], hessian_array[i][j].item()):
                assert_close(found, second[i][j], slack[2], f"∂²{name}{xs}/∂{i}∂{j}")

    ways = (0.5, -2.0)[:count]
    along = mpmath.fsum(w * d for w, d in zip(ways, first, strict=True))
    size = max(abs(w * d) for w, d in zip(ways, first, strict=True)) / EPS
    for found in (
        tn.jvp(call, xs, ways)[1],
        tn.jvp(call, arrays, [np.array([w]) for w in ways])[1].item(),
    ):
        assert_close(found, along, slack[1] + 32 * EPS * float(size), f"jvp of {name} at {xs} along {ways}")
