"""The fields' Taylor coefficients against mpmath, their comparisons, and what they take for a rounded constant."""

import math
from fractions import Fraction

import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_notes.testing import fields

MP = mpmath.mp.clone()
MP.dps = 60

TRUE = {
    "sigmoid": lambda x: 1 / (1 + MP.exp(-x)),
    "softplus": lambda x: MP.log1p(MP.exp(x)),
    "silu": lambda x: x / (1 + MP.exp(-x)),
    "gelu": lambda x: x * MP.ncdf(x),
    "expm1": MP.expm1,
    "log1p": MP.log1p,
}
INSIDE = {
    "log": (0.01, 50.0),
    "sqrt": (0.01, 50.0),
    "log1p": (-0.9, 50.0),
    "asin": (-0.99, 0.99),
    "acos": (-0.99, 0.99),
}


def points(name: str) -> st.SearchStrategy[float]:
    low, high = INSIDE.get(name, (-30.0, 30.0))
    return st.floats(low, high, allow_subnormal=False)


@pytest.mark.parametrize("field", [fields.Balls(256), fields.HighPrecision()], ids=["balls", "high precision"])
@pytest.mark.parametrize("name", sorted(fields.FUNCTIONS))
def test_derivatives_are_those_of_mpmath(name, field):
    function = TRUE.get(name) or getattr(MP, name)

    @settings(max_examples=30 if field.tier == "certified" else 4)
    @given(points(name))
    def check(x):
        field.begin()
        found = [field.to_float(c) for c in field.taylor(name, field.number(x))]
        for order, value in enumerate(found):
            expected = MP.diff(function, MP.mpf(x), order) if order else function(MP.mpf(x))
            assert value == pytest.approx(float(expected), rel=1e-12, abs=1e-18)

    check()


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softplus", "silu"])
@pytest.mark.parametrize("x", [1e4, 1e8, 1e41, 1e300])
def test_far_out_the_limits_hold(name, x):
    field = fields.Balls(256)
    value, slope, bend = map(field.to_float, field.taylor(name, field.number(x)))
    assert value == (1.0 if name in ("tanh", "sigmoid") else x)
    assert slope == pytest.approx(0.0 if name in ("tanh", "sigmoid") else 1.0, abs=1e-70)
    assert bend == pytest.approx(0.0, abs=1e-70)
    value, slope, _ = map(field.to_float, field.taylor(name, field.number(-x)))
    assert value == pytest.approx(-1.0 if name == "tanh" else 0.0, abs=1e-70)
    assert slope == pytest.approx(0.0, abs=1e-70)


def test_a_tie_is_a_tie_also_after_the_same_roundings():
    field = fields.Balls(256)
    third = field.taylor("exp", field.number(0.3))[0]
    assert field.compare(third, third + 0) == 0
    assert field.compare(third, third + field.number(1e-30)) == -1
    wide = field.arb(0, 1)
    with pytest.raises(fields.UnclearError):
        field.compare(wide, field.number(0.5))


@pytest.mark.parametrize("x", [0.0, 1.0, -2.0, 0.5, 1000.0, 0.375, 2.0**-300])
def test_short_numbers_are_exact_constants(x):
    assert not fields.looks_rounded(x)
    assert fields.fractions().constant(x) == Fraction(x)


@pytest.mark.parametrize("x", [1 / 3, 0.1, math.pi, math.sqrt(2), 1e-6])
def test_rounded_constants_are_uncertain(x):
    assert fields.looks_rounded(x)
    ball = fields.Balls(256).constant(x)
    assert 0 < float(ball.rad()) < 1e-15 * x
    with pytest.raises(fields.NotExactError):
        fields.fractions().constant(x)


def test_fractions_have_no_functions():
    with pytest.raises(fields.NotExactError, match="exp"):
        fields.fractions().taylor("exp", Fraction(1))


@given(st.fractions(), st.fractions(), st.fractions(), st.fractions())
def test_dual_numbers_differentiate(a, da, b, db):
    x, y = fields.Dual(a, da), fields.Dual(b, db)
    product = x * y
    assert (product.a, product.b) == (a * b, da * b + a * db)
    difference = x - y
    assert (difference.a, difference.b) == (a - b, da - db)
    if b:
        quotient = x / y
        assert (quotient.a, quotient.b) == (a / b, (da * b - a * db) / (b * b))
