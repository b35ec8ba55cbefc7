"""`check_gradient`: its four answers, the tier that gave them, and its messages."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_notes as tn
from tinygrad_notes.ops import TABLE
from tinygrad_notes.ops.op import force
from tinygrad_notes.testing import fields
from tinygrad_notes.testing.programs import graphs
from tinygrad_notes.testing.verdicts import GradientError, assert_gradient, check_gradient

WIDE = st.floats(-1e6, 1e6, allow_subnormal=False) | st.sampled_from([0.0, 1.0, -1.0, 0.5, 2.0, 10.0])


def sigma(x):
    return 1 / (1 + np.exp(-x))


# --- correct ----------------------------------------------------------------------------------------------------------


@given(WIDE, WIDE)
def test_rational_functions_are_decided_exactly(a, b):
    verdict = check_gradient(lambda a, b: a * a * b - b, a, b, gradient=lambda a, b: (2 * a * b, a * a - 1))
    assert (verdict.status, verdict.tier) == ("correct", "exact")


@given(st.floats(-700, 700))
def test_a_formula_that_cancels_is_still_right(x):
    """Judged as a formula: σ(1 − σ) is the slope of σ, however few digits floats keep of it."""
    verdict = check_gradient(tn.sigmoid, x, gradient=lambda x: tn.sigmoid(x) * (1 - tn.sigmoid(x)))
    assert (verdict.status, verdict.tier) == ("correct", "certified")


@given(st.floats(-300, 300))
def test_plain_floats_are_granted_their_rounding(x):
    verdict = check_gradient(tn.tanh, x, gradient=lambda x: 4 * float(sigma(2 * x)) * float(sigma(-2 * x)))
    assert verdict.status == "correct"


@settings(max_examples=60)
@given(graphs())
def test_the_engine_is_never_accused(program):
    assert check_gradient(program, *program.inputs).ok, str(program)


@settings(max_examples=25)
@given(graphs(max_ops=4, inputs=2))
def test_nor_are_its_second_derivatives(program):
    assert check_gradient(program, *program.inputs, order=2).ok, str(program)


@given(
    hnp.arrays(np.float64, (2, 3), elements=st.floats(-3, 3)), hnp.arrays(np.float64, (3, 2), elements=st.floats(-3, 3))
)
def test_arrays(a, b):
    ones = np.ones((2, 2))
    assert check_gradient(lambda a, b: a @ b, a, b, gradient=lambda a, b: (ones @ b.T, a.T @ ones)).status == "correct"


# --- wrong ------------------------------------------------------------------------------------------------------------

MISTAKES = {
    "sign": lambda x: -np.cos(x),
    "a millionth": lambda x: np.cos(x) * (1 + 1e-6),
    "offset": lambda x: np.cos(x) + 1e-9,
    "not a number": lambda x: np.cos(x) * np.nan,
    "opaque": lambda x: math.cos(x) * (1 + 1e-9),
}


@pytest.mark.parametrize("kind", MISTAKES)
@given(st.floats(-1.5, 1.5))
def test_mistakes_are_found_at_every_point(kind, x):
    verdict = check_gradient(tn.sin, x, gradient=MISTAKES[kind])
    assert verdict.status == "wrong"
    with pytest.raises(GradientError) as caught:
        assert_gradient(tn.sin, x, gradient=MISTAKES[kind])
    assert caught.value.verdict.status == "wrong"


def test_a_slope_that_lost_every_digit_is_wrong_where_only_floats_are_given():
    found = check_gradient(tn.sigmoid, 40.0, gradient=lambda x: float(sigma(x)) * (1 - float(sigma(x))))
    assert found.status == "wrong"
    assert "cancellation" in str(found)


def test_nan_behind_a_branch_that_is_not_taken():
    def f(x):
        return tn.where(x > 0, tn.sqrt(x), 0.0 * x)

    assert check_gradient(f, -1.0).status == "correct"
    assert check_gradient(f, -1.0, gradient=lambda x: (x > 0) * 0.5 / tn.sqrt(x)).status == "wrong"


def mutated(name):
    op = TABLE[name]
    if op.partials is not None:
        return replace(op, partials=lambda xp, y, *xs, **kw: tuple(_off(p) for p in op.partials(xp, y, *xs, **kw)))

    def vjp(xp, g, y, *xs, **kw):
        found = op.vjp_rule(xp, g, y, *xs, **kw)
        return [_off(c, scale=-2.0) for c in (found if isinstance(found, (tuple, list)) else (found,))]

    return replace(op, vjp_rule=vjp)


def _off(entry, scale=-1.0):
    entry = force(entry)
    return None if entry is None else scale * (entry if scale != -1.0 else entry + 0.5)


@settings(max_examples=60)
@given(graphs(max_ops=20), st.integers(0, 10**6))
def test_the_wrong_rule_is_named(program, position):
    """In graphs of up to 20 ops, one wrong rule: where the gradient is wrong, that rule is named."""
    if not program.instructions:
        return
    position %= len(program.instructions)
    op = program.instructions[position].op
    if not op.differentiable:
        return
    wrong = mutated(op.name)
    verdict = check_gradient(program.replace(position, wrong), *program.inputs)
    if verdict.status == "wrong":
        assert verdict.node is not None
        assert verdict.node.op is wrong


# --- kinks, edges, overflow -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slope", [0.0, 0.25, 1.0])
def test_any_slope_between_is_a_subgradient(slope):
    assert check_gradient(tn.relu, 0.0, gradient=lambda x: slope).status == "kink"


@pytest.mark.parametrize("slope", [-0.01, 1.01, math.nan])
def test_others_are_not(slope):
    assert check_gradient(tn.relu, 0.0, gradient=lambda x: slope).status == "wrong"


@pytest.mark.parametrize("parts", [(1.0, 0.0), (0.5, 0.5), (0.0, 1.0)])
def test_at_a_tie_the_parts_add_up(parts):
    assert check_gradient(tn.maximum, 2.0, 2.0, gradient=lambda a, b: parts).status == "kink"


@pytest.mark.parametrize("parts", [(1.0, 1.0), (0.0, 0.0)])
def test_or_they_are_wrong(parts):
    assert check_gradient(tn.maximum, 2.0, 2.0, gradient=lambda a, b: parts).status == "wrong"


def test_a_norm_at_zero_has_many_slopes():
    assert check_gradient(tn.norm, np.zeros(3)).status == "kink"
    assert check_gradient(tn.norm, np.zeros(3), gradient=lambda x: np.full(3, 1.5)).status == "wrong"


def test_a_function_that_branches_in_python_is_followed():
    def f(x):
        return x * x if x > 1 else 2 * x - 1

    assert check_gradient(f, 3.0).status == check_gradient(f, 0.0).status == "correct"


def test_overflow_is_undecided():
    assert check_gradient(lambda x: tn.exp(x) / tn.exp(x), 800.0).status == "undecided"


def test_a_jump_is_undecided():
    assert check_gradient(lambda x: tn.where(x > 0, x + 1.0, x), 0.0, gradient=lambda x: 1.0).status == "undecided"


def test_the_edge_of_a_domain_is_undecided():
    assert check_gradient(tn.sqrt, 0.0).status == "undecided"


def test_infinite_inputs_have_limits():
    assert check_gradient(tn.logsumexp, np.array([0.0, -np.inf])).status == "correct"


# --- second derivatives -----------------------------------------------------------------------------------------------


def test_a_wrong_second_derivative_behind_a_right_first_one():
    op = TABLE["tanh"]
    detached = replace(op, partials=lambda xp, y, x: (1 - _data(y) * _data(y),))
    assert check_gradient(detached, 0.5).status == "correct"
    assert check_gradient(op, 0.5, order=2).status == "correct"
    assert check_gradient(detached, 0.5, order=2).status == "wrong"


def _data(y):
    return getattr(y, "data", y)


def test_second_derivatives_of_a_gradient_by_hand():
    assert check_gradient(tn.sin, 0.5, gradient=tn.cos, order=2).status == "correct"


# --- without python-flint ---------------------------------------------------------------------------------------------


@pytest.fixture
def _without_flint(monkeypatch):
    monkeypatch.setattr(fields, "reals", lambda: (fields.HighPrecision(),))


@pytest.mark.usefixtures("_without_flint")
def test_mpmath_stands_in():
    verdict = check_gradient(tn.sigmoid, 2.0, gradient=lambda x: tn.sigmoid(x) * (1 - tn.sigmoid(x)))
    assert (verdict.status, verdict.tier) == ("correct", "high precision")
    assert check_gradient(tn.sigmoid, 2.0, gradient=tn.tanh).status == "wrong"
    assert check_gradient(tn.gelu, 1.25).status == "correct"


# --- messages ---------------------------------------------------------------------------------------------------------


def test_the_report():
    report = str(
        check_gradient(
            lambda w, x: tn.sum(w * x), np.array([1.0, 2.0]), 3.0, gradient=lambda w, x: (x * x + 0 * w, tn.sum(w))
        )
    )
    assert report == ("gradient: wrong (exact)\n  ∂/∂w[0]: given 9.0; expected 3.0\n  w = [1., 2.]\n  x = 3.0")


def test_the_wrong_rule_in_the_report():
    wrong = mutated("exp")
    report = str(check_gradient(lambda x: tn.sin(wrong(x)), 0.0))
    assert "the first wrong rule on the way back is that of exp\n    at 0.0" in report


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: check_gradient(tn.sin), TypeError, "no input"),
        (lambda: check_gradient(tn.sin, 1.0, order=3), ValueError, "expected 1 or 2"),
        (lambda: check_gradient(tn.sin, "a"), TypeError, "expected a number or an array"),
        (lambda: check_gradient(tn.add, 1.0, 2.0, gradient=lambda a, b: 1.0), TypeError, "expected 2"),
        (lambda: check_gradient(tn.sin, 1.0, gradient=lambda x: np.ones(3)), ValueError, "shape"),
        (lambda: check_gradient(tn.sin, np.ones(2), cotangent=np.ones(3)), ValueError, "cotangent"),
    ],
)
def test_what_cannot_be_checked_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
