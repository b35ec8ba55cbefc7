"""The black-box tier: right gradients of foreign functions are never accused, wrong ones are."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_notes.testing.verdicts import check_gradient
from tinygrad_notes.testing.watching import watch


def logistic(x):
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


# f, its derivative, where both are defined
RIGHT = {
    "exp": (math.exp, math.exp, lambda x: x < 700),
    "sin": (math.sin, math.cos, lambda x: True),
    "tanh": (math.tanh, lambda x: 1 - math.tanh(x) ** 2, lambda x: True),
    "cubed": (lambda x: x * x * x, lambda x: 3 * x * x, lambda x: True),
    "square root": (math.sqrt, lambda x: 0.5 / math.sqrt(x), lambda x: x > 0),
    "reciprocal": (lambda x: 1 / x, lambda x: -1 / (x * x), lambda x: x != 0),
    "log1p": (math.log1p, lambda x: 1 / (1 + x), lambda x: x > -1),
    "log(1 + x)": (lambda x: math.log(1 + x), lambda x: 1 / (1 + x), lambda x: x > -1),
    "logistic": (logistic, lambda x: logistic(x) * (1 - logistic(x)), lambda x: True),
    "softplus": (lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))), logistic, lambda x: True),
    "erf": (math.erf, lambda x: 2 / math.sqrt(math.pi) * math.exp(-x * x), lambda x: True),
    "x|x|": (lambda x: x * abs(x), lambda x: 2 * abs(x), lambda x: True),
    "relu": (lambda x: max(float(x), 0.0), lambda x: float(x > 0), lambda x: True),
    "clamp": (lambda x: min(max(float(x), -1.0), 1.0), lambda x: float(-1 <= x <= 1), lambda x: True),
    "constant": (lambda x: float(x) * 0 + 5.0, lambda x: 0.0, lambda x: True),
}
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 10.0, -10.0, 40.0, 1e6, -1e6, 1e-6]
NUMBERS = st.sampled_from(SPECIAL) | st.floats(-5, 5) | st.floats(-1e6, 1e6)


def check(f, df, x):
    return watch(f, [np.array(float(x))], ["x"], df)


@pytest.mark.parametrize("name", RIGHT)
@settings(max_examples=60)
@given(NUMBERS)
@example(math.nextafter(1.0, 2.0))
def test_right_gradients_are_never_accused(name, x):
    f, df, inside = RIGHT[name]
    if inside(x):
        assert check(f, df, x).ok


@pytest.mark.parametrize("name", RIGHT)
def test_and_are_decided_at_ordinary_points(name):
    f, df, inside = RIGHT[name]
    found = [check(f, df, x).status for x in (0.3, 0.7, 1.5, -0.4, 2.5, -2.5) if inside(x)]
    assert found == ["correct"] * len(found)


MUTANTS = {
    "sign": lambda d: -d,
    "factor": lambda d: 2 * d,
    "a hundredth": lambda d: d * 1.01,
    "a millionth": lambda d: d * (1 + 1e-6),
    "offset": lambda d: d + 1e-3,
    "not a number": lambda d: math.nan,
    "infinite": lambda d: math.inf,
}


@pytest.mark.parametrize("kind", MUTANTS)
@pytest.mark.parametrize("name", ["exp", "sin", "log1p", "softplus", "x|x|"])
@given(st.floats(0.1, 1.4))
def test_wrong_gradients_are_found_at_every_ordinary_point(name, kind, x):
    f, df, _ = RIGHT[name]
    assert check(f, lambda x: MUTANTS[kind](df(x)), x).status == "wrong"


@pytest.mark.parametrize("bad", [math.nan, 5.0, -1.0])
@pytest.mark.parametrize("at", [0.0, 1.0, 2.0])
def test_wrong_at_one_point_only(at, bad):
    """What the gradient is beside the point excuses nothing."""
    assert check(math.exp, lambda x: bad if x == at else math.exp(x), at).status == "wrong"


@pytest.mark.parametrize(
    ("slope", "status"), [(0.0, "kink"), (0.5, "kink"), (1.0, "kink"), (1.01, "wrong"), (-0.01, "wrong")]
)
@pytest.mark.parametrize("at", [0.0, 1.0, -3.0])
def test_at_a_kink_all_between_is_right(at, slope, status):
    assert check(lambda x: max(x - at, 0.0), lambda x: slope, at).status == status


@pytest.mark.parametrize(
    ("parts", "status"), [((1.0, 0.0), "kink"), ((0.5, 0.5), "kink"), ((1.0, 1.0), "wrong"), ((0.0, 0.0), "wrong")]
)
def test_at_a_tie_the_parts_add_up(parts, status):
    assert watch(max, [np.array(2.0), np.array(2.0)], "ab", lambda a, b: parts).status == status


def test_kinks_that_bend_both_ways_are_judged_one_by_one():
    def f(a, b):
        return max(a, 0.0) - max(b, 0.0)

    assert watch(f, [np.array(0.0), np.array(0.0)], "ab", lambda a, b: (1.0, 0.0)).status == "kink"


def test_an_edge_of_the_domain_beside_a_tie_is_not_added_up():
    def f(a, b, x):
        return max(a, b) + x + x**1.5  # from the left of x = 0 there is nothing

    for parts in ((1.0, 0.0, 1.0), (0.5, 0.5, 1.0)):
        assert check_gradient(f, 2.0, 2.0, 0.0, gradient=lambda *xs, parts=parts: parts).status == "kink"
    assert check_gradient(f, 2.0, 2.0, 1.0, gradient=lambda *xs: (1.0, 1.0, 2.5)).status == "wrong"


def test_kinks_of_two_outputs_do_not_hide_each_other():
    """relu(x) − relu(−x) is x, but the two are outputs of their own, each with its subgradients."""

    def f(x):
        return np.array([max(x, 0.0), max(-x, 0.0)])

    for status, slope in (("kink", 0.0), ("kink", 1.0), ("wrong", 2.1)):
        assert watch(f, [np.array(0.0)], "x", lambda x, slope=slope: slope, 1, np.array([1.0, -1.0])).status == status


def test_edges_jumps_and_overflow_are_undecided():
    assert check(math.sqrt, lambda x: 1e9, 0.0).status == "undecided"
    assert check(lambda x: float(x >= 1), lambda x: 0.0, 1.0).status == "undecided"
    assert check(math.exp, lambda x: 1.0, 800.0).status == "undecided"
    assert check(math.log, lambda x: 1 / x, -1.0).status == "undecided"


def test_a_gradient_that_raises_where_f_does_not_is_wrong():
    found = check(lambda x: math.atan(math.exp(-abs(x))), lambda x: -1 / math.exp(abs(x)) / math.exp(-2 * x), 400.0)
    assert found.status == "wrong"
    assert "the gradient raises" in str(found)


def test_a_formula_that_loses_some_digits_to_cancellation_is_not_accused():
    """The true slope at −36 is 2.3e-16; 1 − 1/(1 + eˣ) gives 2.2e-16."""
    f = RIGHT["softplus"][0]
    assert check(f, lambda x: 1 - 1 / (1 + math.exp(x)), -36.0).status == "undecided"
    assert check(f, lambda x: 1.25 * logistic(x), -20.0).status == "wrong"


SMALL = st.floats(-3, 3, width=16)


@settings(max_examples=20)
@given(hnp.arrays(float, (2, 3), elements=SMALL), hnp.arrays(float, (3, 2), elements=SMALL), st.booleans())
def test_arrays(a, b, generic):
    def product(a, b):
        return [
            [math.fsum(float(x) * float(y) for x, y in zip(row, column, strict=True)) for column in b.T] for row in a
        ]

    w = np.array([[1.0, -2.0], [0.5, 3.0]]) if generic else np.ones((2, 2))
    right = watch(product, [a, b], "ab", lambda a, b: (w @ b.T, a.T @ w), 1, w if generic else None)
    assert right.ok
    found = watch(product, [a, b], "ab", lambda a, b: (w @ b.T, a.T @ w + 0.01), 1, w if generic else None)
    assert found.status == "wrong"
    assert found.finding.name == "b"


@settings(max_examples=3)
@given(hnp.arrays(float, 60, elements=SMALL))
def test_many_outputs_of_many_inputs(x):
    """More pairs than are differenced one by one."""

    def f(x):
        return np.array([math.sin(t) for t in x])

    assert watch(f, [x], "x", np.cos).ok
    assert watch(f, [x], "x", lambda x: np.cos(x) + 0.01).status == "wrong"


def test_the_function_cannot_change_the_point():
    x = np.ones(3)

    def f(x):
        x *= 2
        return float(np.sum(x))

    assert watch(f, [x], "x", lambda x: np.full(3, 2.0)).status == "correct"
    assert np.array_equal(x, np.ones(3))


def test_check_gradient_comes_here_with_foreign_functions():
    found = check_gradient(math.erf, 0.5, gradient=lambda x: 2 / math.sqrt(math.pi) * math.exp(-x * x))
    assert (found.status, found.tier) == ("correct", "black box")


def test_the_report():
    found = watch(
        lambda x, n: math.cosh(x) * n, [np.array(0.5), np.array(2.0)], ("x", "n"), lambda x, n: (0.0, math.cosh(x))
    )
    first, second, *rest = str(found).split("\n")
    assert first == "gradient: wrong (black box)"
    assert rest == ["  x = 0.5", "  n = 2.0"]
    assert second.startswith("  ∂/∂x: given 0.0; expected between 1.0421906")
    low, high = found.finding.expected
    assert low <= 2 * math.sinh(0.5) <= high
    assert high - low < 1e-9


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: check_gradient(math.exp, 1.0), TypeError, "give gradient=, or write f with"),
        (
            lambda: check_gradient(math.exp, 1.0, gradient=math.exp, order=2),
            TypeError,
            "order=2 for a function and a grad",
        ),
        (lambda: check(lambda x: "a", math.exp, 1.0), TypeError, "expected a number or an array"),
        (lambda: check(math.exp, lambda x: np.ones(3), 1.0), ValueError, r"has shape \(3,\); expected that of x"),
        (lambda: watch(math.exp, [np.array(1.0)], "x", math.exp, 1, np.ones(2)), ValueError, "cotangent has shape"),
    ],
)
def test_what_cannot_be_checked_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
