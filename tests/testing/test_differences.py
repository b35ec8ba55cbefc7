"""The error estimate of a black-box derivative is honest, against mpmath, and small where the function is smooth."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tinygrad_notes.testing.differences import complex_step, derivative, gradient

SMOOTH = {
    "exp": (math.exp, mpmath.exp, lambda x: abs(x) < 600),
    "sin 1000x": (lambda x: math.sin(1000 * x), lambda x: 1000 * mpmath.cos(1000 * x), lambda x: True),
    "tanh": (math.tanh, lambda x: mpmath.sech(x) ** 2, lambda x: True),
    "sqrt": (math.sqrt, lambda x: 1 / (2 * mpmath.sqrt(x)), lambda x: x > 0),
    "1/x": (lambda x: 1 / x, lambda x: -1 / x**2, lambda x: x != 0),
    "x**3": (lambda x: x**3, lambda x: 3 * x * x, lambda x: True),
    "1e-6 x**3": (lambda x: 1e-6 * x**3, lambda x: mpmath.mpf(1e-6) * 3 * x * x, lambda x: True),
    "1e6 sin": (lambda x: 1e6 * math.sin(x), lambda x: 1e6 * mpmath.cos(x), lambda x: True),
    "log1p": (math.log1p, lambda x: 1 / (1 + x), lambda x: x > -1),
    "x|x|": (lambda x: x * abs(x), lambda x: 2 * abs(x), lambda x: True),
    "|x|**1.5": (lambda x: abs(x) ** 1.5, lambda x: 1.5 * mpmath.sqrt(abs(x)) * mpmath.sign(x), lambda x: True),
    "waves": (
        lambda x: math.sin(50 * x) * math.exp(-x * x),
        lambda x: (50 * mpmath.cos(50 * x) - 2 * x * mpmath.sin(50 * x)) * mpmath.exp(-x * x),
        lambda x: abs(x) < 20,
    ),
    "0": (lambda x: 0.0, lambda x: mpmath.mpf(0), lambda x: True),
    # These round inside, by far more than the last digit of their value.
    "log(1 + x)": (lambda x: math.log(1 + x), lambda x: 1 / (1 + x), lambda x: x > -1),
    "log(1 + x) + x": (lambda x: math.log(1 + x) + x, lambda x: 1 / (1 + x) + 1, lambda x: x > -1),
    "log(1 + exp)": (lambda x: math.log(1 + math.exp(x)), lambda x: 1 / (1 + mpmath.exp(-x)), lambda x: abs(x) < 300),
    "(1e8 + x) - 1e8": (lambda x: (1e8 + x) - 1e8, lambda x: mpmath.mpf(1), lambda x: True),
}
KINKED = {  # function, kinks, derivative between them
    "relu": (lambda x: x if x > 0 else 0.0, [0.0], lambda x: float(x > 0)),
    "abs": (abs, [0.0], lambda x: math.copysign(1.0, x)),
    "maximum(x, 1)": (lambda x: np.maximum(x, 1.0), [1.0], lambda x: float(x > 1)),
    "clip": (lambda x: min(max(x, -1.0), 1.0), [-1.0, 1.0], lambda x: float(-1 < x < 1)),
    "floor": (math.floor, [-1.0, 0.0, 1.0], lambda x: 0.0),
}

signs = st.sampled_from([-1.0, 1.0])
wide = st.builds(lambda s, e: s * 10.0**e, signs, st.floats(-6, 6))
near = st.builds(lambda a, s, e: a + s * 10.0**e, st.sampled_from([-1.0, 0.0, 1.0]), signs, st.floats(-15, -1))
points = st.sampled_from([0.0, -0.0, 0.5, 1.0, -1.0, 2.0, 10.0, 1e6]) | st.floats(-5, 5) | wide | near


@pytest.mark.parametrize("exponent", [1.05, 1.1, 1.2, 1.3, 1.5, 1.7, 1.9])
@pytest.mark.parametrize("shift", [0.0, 1.0, 100.0])
def test_a_slope_that_is_approached_slowly_is_not_missed(exponent, shift):
    """The quotients of |x|^1.1 at 0 are |h|^0.1: at the finest step 0.04, and 0 in the limit."""
    for f in (
        lambda x: shift + abs(x) ** exponent,
        lambda x: shift + math.copysign(abs(x) ** exponent, x),
        lambda x: shift + x**exponent if x >= 0 else math.nan,
    ):
        low, high = derivative(f, 0.0).interval()
        assert low <= 0 <= high


@pytest.mark.parametrize("scale", [1.0, 2.0, 100.0, 1e4])
def test_a_logarithmic_slope_is_none(scale):
    """x^x falls from 1 with the slope log 0; below the rounding of its values that can't be seen any more."""
    for f in (lambda x: scale * x**x, lambda x: scale + x * math.log(x) if x else scale):
        low, high = derivative(lambda x, f=f: f(x) if x >= 0 else math.nan, 0.0).interval()
        assert (low, high) == (-math.inf, math.inf)


@pytest.mark.parametrize("name", SMOOTH)
@settings(max_examples=80, deadline=None)
@given(points)
def test_the_error_is_not_understated(name, x):
    f, exact, inside = SMOOTH[name]
    if not inside(x):
        return
    with mpmath.workdps(60):
        true = exact(mpmath.mpf(x))
        low, high = derivative(f, x).interval()
        assert low <= true <= high


@pytest.mark.parametrize("name", KINKED)
@settings(max_examples=80, deadline=None)
@given(points)
@example(1 + 1e-9)
@example(1 - 1e-9)
@example(math.nextafter(1.0, 2.0))
def test_beside_a_kink_or_jump_no_slope_is_confidently_wrong(name, x):
    f, kinks, slope = KINKED[name]
    if x not in kinks and not (name == "floor" and x == math.floor(x)):
        low, high = derivative(f, x).interval()
        assert low <= slope(x) <= high


@pytest.mark.parametrize("name", [n for n in SMOOTH if n not in ("(1e8 + x) - 1e8", "log(1 + exp)")])
def test_smooth_functions_are_known_to_seven_digits(name):
    f, exact, _ = SMOOTH[name]
    for x in (0.3, 0.7, 1.0, 1.9):
        assert derivative(f, x).error <= 1e-7 * max(abs(exact(x)), 1e-5)


@pytest.mark.parametrize(
    ("f", "x", "left", "right"),
    [
        (abs, 0.0, -1, 1),
        (lambda x: x if x > 0 else 0.0, 0.0, 0, 1),
        (lambda x: max(x, 1.0), 1.0, 0, 1),
        (lambda x: max(x * x, x), 1.0, 1, 2),
        (lambda x: 1e6 * abs(x - 100), 100.0, -1e6, 1e6),
        (lambda x: abs(math.sin(x)) + math.exp(x), 0.0, 0, 2),
    ],
)
def test_a_kink_has_one_sided_slopes(f, x, left, right):
    found = derivative(f, x)
    assert found.kink
    assert math.isnan(found.value)
    scale = max(abs(left), abs(right))
    for true, (value, error) in zip((left, right), (found.left, found.right), strict=True):
        assert abs(value - true) <= error <= 1e-7 * scale
    low, high = found.interval()
    assert low <= left < right <= high
    assert high - low <= (right - left) + 1e-6 * scale


@pytest.mark.parametrize(
    "f",
    [
        math.floor,
        lambda x: x + (x >= 0),
        lambda x: float(x == 0),
        lambda x: math.copysign(1e-6, x),
        lambda x: math.sqrt(abs(x)),
        math.sqrt,
        np.cbrt,
        lambda x: x * math.log(abs(x)) if x else 0.0,
        lambda x: x * math.sin(1 / x) if x else 0.0,
        lambda x: 1 / x,
    ],
)
def test_where_the_quotients_do_not_converge_nothing_is_known(f):
    found = derivative(f, 0.0)
    assert math.isnan(found.value)
    assert found.interval() == (-math.inf, math.inf)


@pytest.mark.parametrize("outside", [math.nan, math.inf, None])
def test_at_an_edge_of_the_domain_the_derivative_is_from_inside(outside):
    def f(x):
        if x < 1:
            if outside is None:
                raise ValueError("below 1")
            return outside
        return x**1.5

    found = derivative(f, 1.0)
    assert math.isnan(found.value)
    assert found.left[1] == math.inf
    low, high = found.interval()
    assert low <= 1.5 <= high
    assert high - low < 1e-7


def test_outside_its_domain_nothing_is_known():
    for x in (-1.0, math.nan, math.inf):
        assert derivative(math.sqrt, x).interval() == (-math.inf, math.inf)


def test_warnings_are_silenced_and_mistakes_are_not():
    assert derivative(lambda x: np.log(np.float64(x)), 0.1).error < 1e-6
    with pytest.raises(TypeError):
        derivative(lambda x: x + "1", 1.0)


def test_few_values_are_taken():
    for x in (0.0, 1e-200, 1e-9, 1e-3, 0.4, 1.0, 1e6, 1e300):
        calls = []
        derivative(lambda t, calls=calls: calls.append(t) or t, x)
        assert 30 <= len(calls) <= 47


def test_gradient_has_the_shapes_of_the_inputs_and_leaves_them_alone():
    a, b, n = np.array([[1.0, -2.0], [0.5, 3.0]]), np.array([2.0, 1.0], dtype=np.float32), np.array([1, 2])
    kept = a.copy(), b.copy(), n.copy()

    def f(a, b, n, s):
        result = np.sum((a @ b) ** 2 * n) * s
        a *= 0
        b *= 0
        n *= 0
        return result

    da, db, dn, ds = gradient(f, [a, b, n, 3.0])
    assert all(np.array_equal(x, y) for x, y in zip((a, b, n), kept, strict=True))
    assert dn is None
    z = a @ b
    for found, true in (
        (da, np.outer(6 * z * n, b)),
        (db, a.T @ (6 * z * n)),
        (np.array(ds, dtype=object), np.array(np.sum(z * z * n))),
    ):
        assert found.shape == true.shape
        for e, t in zip(found.flat, true.flat, strict=True):
            assert abs(e.value - t) <= e.error <= 1e-7 * max(1, abs(t))


def test_gradient_refuses_what_is_not_one_number():
    with pytest.raises(TypeError, match=r"f returned an array of shape \(2,\); expected one number"):
        gradient(lambda x: 2 * x, [np.ones(2)])


@pytest.mark.parametrize("x", [0.3, 1.0, 40.0])
def test_complex_step_keeps_all_digits(x):
    found = complex_step(lambda z: np.exp(z) * np.sin(z), x)
    assert found == pytest.approx(math.exp(x) * (math.sin(x) + math.cos(x)), rel=4e-15)


@pytest.mark.parametrize("phi", [abs, lambda z: z.conjugate(), lambda z: z * abs(z), math.exp])
def test_complex_step_refuses_what_is_not_analytic(phi):
    assert complex_step(phi, 0.7) is None
