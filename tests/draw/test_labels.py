"""The numbers of a picture."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_notes.draw.labels import number, short


@given(st.floats(-1e308, 1e308, allow_subnormal=False))
def test_a_number_reads_back_to_four_digits(x):
    text = number(x)
    assert float(text) == pytest.approx(x, rel=5.001e-4, abs=0)
    assert math.copysign(1.0, float(text)) == math.copysign(1.0, x)
    assert len(text) <= len("-1.234e-300")


@given(st.integers(-99_999, 99_999))
def test_whole_numbers_stand_in_full(n):
    assert number(float(n)) == number(n) == str(n)


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (math.nan, "NaN"),
        (math.inf, "∞"),
        (-math.inf, "-∞"),
        (-0.0, "-0"),
        (0.00001234, "1.234e-5"),
        (123456.0, "1.235e5"),
        (0.1 + 0.2, "0.3"),
        (True, "True"),
    ],
)
def test_numbers(x, text):
    assert number(x) == text


@given(st.text(max_size=60))
def test_short_text_keeps_both_ends(text):
    found = short(text)
    assert len(found) <= 28
    if found != text:
        assert found[13] == "…"
        assert text.startswith(found[:13])
        assert text.endswith(found[14:])
