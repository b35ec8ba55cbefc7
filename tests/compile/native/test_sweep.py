"""Sweeps over graphs in tables, against a loop in Python and against differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_notes.compile.native.sweep import Rule, Sweep

A, B, RESULT = ("operand", 0), ("operand", 1), ("result",)
RULES = (
    Rule(2, (A, B, ("add", 0, 1)), (1.0, 1.0)),
    Rule(2, (A, B, ("subtract", 0, 1)), (1.0, -1.0)),
    Rule(2, (A, B, ("multiply", 0, 1)), ((B,), (A,))),
    Rule(1, (A, ("tanh", 0)), ((RESULT, ("multiply", 0, 0), ("constant", 1.0), ("subtract", 2, 1)),)),
    Rule(1, (A, ("constant", 0.0), ("maximum", 0, 1)), ((A, ("constant", 0.0), ("greater", 0, 1), ("number", 2)),)),
    Rule(1, (A, ("constant", 0.5), ("multiply", 0, 1)), (0.5,)),
    Rule(
        3,
        (A, ("constant", 0.0), ("less", 0, 1), B, ("operand", 2), ("where", 2, 3, 4)),
        (
            None,
            (A, ("constant", 0.0), ("less", 0, 1), ("number", 2)),
            (A, ("constant", 0.0), ("greater_equal", 0, 1), ("number", 2)),
        ),
    ),
)
PYTHON = [
    (lambda a, b: a + b, lambda y, a, b: (1, 1)),
    (lambda a, b: a - b, lambda y, a, b: (1, -1)),
    (lambda a, b: a * b, lambda y, a, b: (b, a)),
    (np.tanh, lambda y, a: (1 - y * y,)),
    (lambda a: max(a, 0), lambda y, a: (float(a > 0),)),
    (lambda a: a * 0.5, lambda y, a: (0.5,)),
    (lambda a, b, c: b if a < 0 else c, lambda y, a, b, c: (0, float(a < 0), float(a >= 0))),
]


@st.composite
def graphs(draw):
    leaves = draw(st.integers(1, 6))
    groups = draw(st.lists(st.tuples(st.integers(0, len(RULES) - 1), st.integers(1, 11)), max_size=8))
    generator = np.random.default_rng(draw(st.integers(0, 2**16)))
    columns, n = [np.zeros((3, 0), np.int32)], leaves
    for _, count in groups:
        columns.append(generator.integers(0, n, (3, count), np.int32))
        n += count
    values = np.concatenate([generator.normal(size=leaves), np.zeros(n - leaves)])
    return np.array(groups, np.int32).reshape(-1, 2), np.concatenate(columns, axis=1), values


@given(graphs(), st.sampled_from(["float64", "float32"]))
def test_like_a_loop_in_python(graph, dtype):
    groups, operands, values = graph
    values = values.astype(dtype)
    expected, leaves = values.astype(float), values.size - operands.shape[1]
    adjoints = np.zeros_like(values)
    sweep = Sweep(RULES, groups, operands, values, adjoints)
    sweep.forward()
    rules = np.repeat(groups[:, 0], groups[:, 1])
    for i, (rule, numbers) in enumerate(zip(rules, operands.T, strict=True)):
        expected[leaves + i] = PYTHON[rule][0](*expected[numbers[: RULES[rule].operands]])
    tolerance = 1e-9 if dtype == "float64" else 1e-3
    np.testing.assert_allclose(values, expected, rtol=tolerance, atol=tolerance)

    adjoints[-1] = 1
    sweep.backward()
    slopes = np.zeros(values.size)
    slopes[-1] = 1
    for i in reversed(range(len(rules))):
        numbers = operands[: RULES[rules[i]].operands, i]
        for j, slope in zip(numbers, PYTHON[rules[i]][1](expected[leaves + i], *expected[numbers]), strict=True):
            slopes[j] += slopes[leaves + i] * slope
    np.testing.assert_allclose(adjoints, slopes, rtol=tolerance, atol=tolerance * max(1, np.abs(slopes).max()))


def test_zero_times_infinity_is_zero():
    infinite = Rule(1, (A,), ((("constant", np.inf),),))
    nothing = Rule(1, (A,), ((("constant", 0.0),),))
    for rule, seed in ((infinite, 0.0), (nothing, np.inf)):
        adjoints = np.array([0.0, seed])
        Sweep((rule,), np.array([[0, 1]], np.int32), np.zeros((1, 1), np.int32), np.ones(2), adjoints).backward()
        assert adjoints[0] == 0


def test_a_long_chain():
    n = 100_000
    groups = np.array([[5, 1], [0, 1]] * (n // 2), np.int32)  # x → x/2 → x/2 + leaf
    operands = np.array([np.arange(n) + 1, np.zeros(n)], np.int32)
    values, adjoints = np.zeros(n + 2), np.zeros(n + 2)
    values[:2] = 1.0, 3.0
    sweep = Sweep(RULES, groups, operands, values, adjoints)
    sweep.forward()
    assert values[-1] == pytest.approx(2.0)
    adjoints[-1] = 1
    sweep.backward()
    assert adjoints[0] == pytest.approx(2.0)


GROUPS, OPERANDS = np.array([[0, 2]], np.int32), np.array([[0, 1], [1, 0]], np.int32)


@pytest.mark.parametrize(
    ("groups", "operands", "values", "message"),
    [
        (GROUPS.astype(np.int64), OPERANDS, np.zeros(4), "groups are int32"),
        (GROUPS, OPERANDS[:1], np.zeros(4), "operands are int32 of shape"),
        (GROUPS, OPERANDS, np.zeros(4, int), "values are float64 or float32"),
        (GROUPS + 7, OPERANDS, np.zeros(4), "a group's rule is between"),
        (GROUPS[:0], OPERANDS, np.zeros(4), "the groups count 0 nodes"),
        (GROUPS, OPERANDS + 1, np.zeros(4), "node 3: operand 0 is 2; expected an earlier one than its group"),
        (GROUPS, OPERANDS - 1, np.zeros(4), "node 2: operand 0 is -1"),
        (GROUPS, OPERANDS, np.zeros(8)[::2], "contiguous"),
    ],
)
def test_tables_that_do_not_fit_are_refused(groups, operands, values, message):
    with pytest.raises(ValueError, match=message):
        Sweep(RULES[:2], groups, operands, values, np.zeros_like(values, order="C"))
