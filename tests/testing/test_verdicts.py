"""`check_gradient`: its four answers, the tier that gave them, and its messages."""

import copy
import math
from dataclasses import replace
from functools import partial

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


def test_a_gradient_that_fails_where_f_does_not_is_wrong():
    found = check_gradient(lambda x: x * x, 0.0, gradient=lambda x: 2 * float(x) ** 2 / float(x))
    assert found.status == "wrong"
    assert "ZeroDivisionError" in str(found)
    found = check_gradient(tn.sigmoid, -800.0, gradient=lambda x: math.exp(-float(x)))
    assert found.status == "undecided"
    assert "OverflowError" in str(found)


# --- rounding, to the last bit ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [49.95, 121.74194735769052])
def test_a_slope_that_is_zero_by_its_value_is_rounded_too(x):
    """The slope of a variance at equal numbers is 0 in truth; in floats their mean is not quite the same number."""
    assert check_gradient(tn.var, np.full((2, 3), x)).status == "correct"


def test_rounding_is_granted_on_every_side_of_a_kink():
    def f(a, b):
        return tn.sigmoid(tn.where(b > a, b, a))

    x = 2.9061466257780744e-19
    assert check_gradient(f, x, x).status == "kink"
    for parts in ((0.25, 0.0), (0.0, 0.25)):
        assert check_gradient(f, x, x, gradient=lambda a, b, parts=parts: parts).status == "kink"


def test_intervals_of_slopes_are_rounded_too():
    """Signs of 200 zeros are too many to try each; of 0.1 |x| any slope up to 0.1 is right, as a float is."""
    zeros = np.zeros(200)
    for slope, status in ((0.1, "kink"), (-0.1, "kink"), (0.100001, "wrong")):
        given = np.full(200, slope)
        assert check_gradient(lambda x: tn.sum(0.1 * tn.abs(x)), zeros, gradient=lambda x, g=given: g).status == status


def test_an_exponent_that_is_whole_up_to_rounding_only():
    found = check_gradient(lambda a, b: a ** (b - 1.0), 2.0, -1.2e-38, order=2)
    assert found.status == "correct", str(found)


@pytest.mark.parametrize("exponent", [0.5, -0.5, 1e-3])
def test_a_root_of_a_negative_number_is_undecided(exponent):
    assert check_gradient(lambda a, b: a**b, -2.0, exponent).status == "undecided"


def test_what_leaves_the_reals_is_not_a_number():
    """Python's (-2.0) ** 0.5 is a complex number."""

    def root(x):
        return float(x) ** 0.5

    def slope(x):
        return 0.5 * float(x) ** -0.5

    assert check_gradient(tn.sqrt, -2.0, gradient=slope).status == "undecided"
    assert check_gradient(root, -2.0, gradient=slope).status == "undecided"
    assert check_gradient(tn.sin, -2.0, gradient=slope).status == "wrong"


@pytest.mark.parametrize("exponent", [2001, 2002, -2001])
def test_a_large_whole_power_of_a_negative_number(exponent):
    def slope(x):
        return exponent * x ** (exponent - 1)

    assert check_gradient(lambda x: x**exponent, -1.001, gradient=slope).status == "correct"
    assert check_gradient(lambda x: x**exponent, -1.001, gradient=lambda x: -slope(x)).status == "wrong"


@settings(max_examples=30)
@given(st.floats(-1, 1))
def test_narrow_floats_are_granted_their_own_rounding(x):
    def narrow(x):
        return np.cos(np.float32(float(x)))

    assert check_gradient(tn.sin, x, gradient=narrow).status == "correct"
    assert check_gradient(lambda x: tn.sin(tn.astype(x, dtype=np.float32)), x).status == "correct"
    assert check_gradient(tn.sin, x, gradient=lambda x: narrow(x) * np.float32(1.001)).status == "wrong"


def test_numbers_made_of_the_data_are_floats_and_rounded():
    found = check_gradient(
        lambda x: tn.sum(x) ** 2,
        np.array([1e16, 1.0, -1e16]),
        gradient=lambda x: np.full(3, 2 * np.sum(np.array(x.data))),
    )
    assert found.status == "undecided"


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


@pytest.mark.parametrize(
    ("f", "at"),
    [
        (lambda x: x if x > 0 else -x, 0.0),
        (lambda x: max(x, 0.0), 0.0),
        (lambda x: x if (x > -1) & (x < 0) else 2 * x, 0.0),
        (lambda x: max(x[0], x[1]), np.ones(2)),
    ],
)
def test_a_branch_on_a_tie_is_a_kink(f, at):
    assert check_gradient(f, at).status == "kink"
    assert check_gradient(f, at, order=2).status == "undecided"
    assert check_gradient(f, at, gradient=lambda x: np.full(np.shape(x), 3.0)).status == "wrong"


def test_a_branch_that_is_not_on_a_tie_is_recorded():
    def f(x):
        return x * x if x and (x > 0) & (x < 1) else 2 * x

    assert [check_gradient(f, x).tier for x in (2.0, 0.5, -1.0, 0.0)] == ["exact", "exact", "exact", "black box"]


@pytest.mark.parametrize(("factor", "status"), [(1.0, "correct"), (1.01, "wrong")])
def test_an_op_on_floats_only_is_watched(factor, status):
    """No other number comes through the forward function of this op of one's own."""
    atan_in_floats = tn.elementwise(
        "t_atan_in_floats",
        forward=lambda xp, x: np.vectorize(math.atan)(np.asarray(x, dtype=float)),
        partials=lambda xp, y, x: (factor / (1 + x * x),),
    )
    x = np.array([0.5, -2.0])
    found = check_gradient(lambda x: atan_in_floats(x) * 2.0, x)
    assert (found.status, found.tier) == (status, "black box")
    assert check_gradient(atan_in_floats, x, gradient=lambda x: factor / (1 + x * x)).status == status


def test_the_engine_loses_what_is_turned_into_a_number():
    """x · float(x) has the slope 2x, of which the graph knows the first half."""
    found = check_gradient(lambda x: x * float(x), 3.0)
    assert (found.status, found.tier) == ("wrong", "black box")


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_does_not_lose_the_graph(copied):
    assert check_gradient(lambda x: np.sum(copied(x) ** 2), np.ones(2), gradient=lambda x: 2 * x).status == "correct"


@pytest.mark.parametrize("shape", [(0,), (0, 3)])
def test_arrays_without_elements(shape):
    assert check_gradient(lambda x: tn.sum(x * x), np.zeros(shape)).status == "correct"
    assert check_gradient(lambda x: tn.sum(x * x), np.zeros(shape), order=2).status == "correct"
    foreign = check_gradient(lambda x: float(np.sum(x)), np.zeros(shape), gradient=lambda x: np.ones(shape))
    assert (foreign.status, foreign.tier) == ("correct", "black box")


@pytest.mark.parametrize("x", [math.nan, math.inf, -math.inf, 1e200, -1e308, 5e-324, -0.0])
@pytest.mark.parametrize("f", [tn.square, tn.exp, tn.relu, tn.tanh, tn.softplus, lambda x: x / (1 + x * x)])
def test_the_ends_of_the_floats_raise_no_alarm(f, x):
    assert check_gradient(f, x).ok
    assert check_gradient(f, x, order=2).ok


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


def test_a_constant_gradient_has_no_second_derivative():
    assert check_gradient(lambda x: 3.0 * x, 2.0, gradient=lambda x: 3.0, order=2).status == "correct"
    assert check_gradient(lambda x: x * x, 2.0, gradient=lambda x: 4.0, order=2).status == "wrong"


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


def test_a_gradient_may_be_a_list_of_nodes():
    found = check_gradient(lambda x: tn.sum(x * x), np.array([1.0, 2.0]), gradient=lambda x: [2 * x[0], 2 * x[1]])
    assert found.status == "correct"


class Squares:
    def of(self, u):
        return u * u

    def __call__(self, v):
        return v * v


@pytest.mark.parametrize(
    ("f", "name"),
    [
        (Squares().of, "u"),
        (Squares(), "v"),
        (partial(lambda a, x: a * x * x, 1.0), "x"),
        (lambda *xs: xs[0] ** 2, "x0"),
    ],
)
def test_arguments_by_their_own_names(f, name):
    assert list(check_gradient(f, 3.0, gradient=lambda x: 2 * x).inputs) == [name]


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
        (lambda: check_gradient(tn.sin, 1.0, cotangent="a"), TypeError, "cotangent='a'; expected a number"),
        (lambda: check_gradient(tn.add, 1.0, 2.0, names=["a"]), ValueError, "1 name.* for 2 input"),
        (lambda: check_gradient(tn.sin, 1.0, gradient=lambda x: None), TypeError, "gave None; .* Does it return"),
        (lambda: check_gradient(tn.sin, 1.0, gradient=lambda x: {}), TypeError, "by x0 is {}; expected a number"),
        (lambda: check_gradient(tn.sin, 1.0, gradient=lambda x: "1"), TypeError, "by x0 is '1'; expected a number"),
        (lambda: check_gradient(lambda x: x.missing, 1.0), TypeError, "cannot be recorded .AttributeError: .*missing"),
        (lambda: check_gradient(float, 1.0), TypeError, "turns its input into a plain number"),
    ],
)
def test_what_cannot_be_checked_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
