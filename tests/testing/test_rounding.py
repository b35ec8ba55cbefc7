"""Rounding bounds against exact arithmetic: never too small, and no wider than the formula deserves."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_notes as tn
from tinygrad_notes.testing import rounding_bound
from tinygrad_notes.testing.rounding import UNIT

OPERATIONS = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b}
moderate = st.floats(1e-6, 1e6) | st.floats(-1e6, -1e-6) | st.integers(-9, 9).map(float)


@given(st.lists(moderate, min_size=2, max_size=5), st.data())
def test_bound_covers_the_true_error_of_arithmetic(numbers, data):
    nodes = [tn.Tensor(v) for v in numbers]
    exact = [Fraction(v) for v in numbers]
    for _ in range(data.draw(st.integers(1, 6))):
        f = OPERATIONS[data.draw(st.sampled_from(sorted(OPERATIONS)))]
        i, j = (data.draw(st.integers(0, len(nodes) - 1)) for _ in range(2))
        try:
            exact.append(f(exact[i], exact[j]))
        except ZeroDivisionError:
            return
        with np.errstate(all="ignore"):
            nodes.append(f(nodes[i], nodes[j]))
    bound = float(rounding_bound(nodes[-1], {}))
    computed = float(nodes[-1])
    if np.isfinite(computed) and np.isfinite(bound):
        assert abs(Fraction(computed) - exact[-1]) <= Fraction(bound)
    else:
        assert bound == np.inf


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=8))
def test_bound_is_tight_where_nothing_cancels(numbers):
    total = tn.Tensor(numbers[0])
    for v in numbers[1:]:
        total = total + tn.Tensor(v)
    assert float(rounding_bound(total, {})) <= len(numbers) * UNIT * sum(numbers)


def test_cancellation_is_granted_what_it_loses():
    a = tn.Tensor(1 - 1e-10, name="a")
    quotient = 1 / (1 - a)
    bound = float(rounding_bound(quotient, {a: UNIT}))
    assert 1e20 * UNIT < bound < 4e20 * UNIT


def test_a_denominator_that_may_be_zero_has_no_bound():
    a = tn.Tensor(1.0)
    with np.errstate(divide="ignore"):
        quotient = 1 / (1 - a)
    assert float(rounding_bound(quotient, {a: UNIT})) == np.inf


@given(st.integers(0, 2**32 - 1))
def test_bound_of_a_product_of_matrices(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(3, 6)) * 10.0 ** rng.integers(-8, 8, (3, 6)), rng.normal(size=(6, 2))
    bound = rounding_bound(tn.Tensor(a) @ b, {})
    exact = [[sum(Fraction(a[i, k]) * Fraction(b[k, j]) for k in range(6)) for j in range(2)] for i in range(3)]
    for i in range(3):
        for j in range(2):
            assert abs(Fraction((a @ b)[i, j]) - exact[i][j]) <= Fraction(bound[i, j])


def test_unknown_ops_are_refused_by_name():
    with pytest.raises(NotImplementedError, match="softmax"):
        rounding_bound(tn.softmax(tn.Tensor([1.0, 2.0])), {})
