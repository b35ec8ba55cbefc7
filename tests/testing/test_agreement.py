"""`measure_agreement` says which formula is wrong, and refuses what it cannot compare."""

import pytest

import tinygrad_notes as tn
from tinygrad_notes.testing import arrays_of, formulas_of, measure_agreement, reals

INPUTS = {"x": arrays_of("n"), "w": arrays_of("n")}


def forward(x, w):
    p = x * w
    L = tn.sum(p * p)
    return locals()


def right(x, w, p):
    dp = 2 * p
    dw = dp * x
    dx = dp * w
    return locals()


def test_right_formulas_agree_within_rounding():
    rows = measure_agreement(forward, right, INPUTS)
    assert [(r.name, r.formula, r.agrees, r.examples, r.undecided) for r in rows] == [
        ("dp", "2 * p", True, 100, 0),
        ("dw", "dp * x", True, 100, 0),
        ("dx", "dp * w", True, 100, 0),
    ]


def test_a_formula_off_by_the_last_digits_is_told_from_rounding():
    def off(x, w, p):
        dp = 2 * p
        dw = dp * x * 1.00000000000001
        return locals()

    rows = measure_agreement(forward, off, INPUTS)
    assert [r.agrees for r in rows] == [True, False]
    assert rows[1].largest_ratio > 1
    assert rows[1].worst is not None


def test_a_formula_that_gives_nan_is_wrong():
    def not_a_number(x, w, p):
        dp = tn.log(0 * p - 1)
        return locals()

    (row,) = measure_agreement(forward, not_a_number, INPUTS)
    assert not row.agrees


def test_a_gradient_of_the_wrong_shape_is_refused():
    def summed(x, w, p):
        dw = (2 * p * x).sum(axis=0, keepdims=True)
        return locals()

    with pytest.raises(ValueError, match=r"dw: .*expected the shape of w, \(\d+,\)"):
        measure_agreement(forward, summed, INPUTS)


def test_names_that_are_not_there():
    def asks(q):
        dp = q
        return locals()

    def gives(p):
        dq = p
        return locals()

    with pytest.raises(KeyError, match="backward takes q, which forward does not have; it has x, w, p, L"):
        measure_agreement(forward, asks, INPUTS)
    with pytest.raises(KeyError, match="backward gives dq, but forward has no q"):
        measure_agreement(forward, gives, INPUTS)
    with pytest.raises(KeyError, match="forward returned no 'loss'"):
        measure_agreement(forward, right, INPUTS, loss="loss")


def test_an_overflowing_forward_pass_is_undecided():
    def bursts(x, w):
        p = tn.exp(x + 800)
        L = tn.sum(p * w)
        return locals()

    def formulas(x, w, p):
        dw = p
        return locals()

    given = {"x": arrays_of("n", elements=reals(0, 1)), "w": arrays_of("n")}
    (row,) = measure_agreement(bursts, formulas, given, examples=5)
    assert (row.examples, row.undecided, row.agrees) == (0, 5, False)


def test_formulas_keep_the_order_of_the_source():
    assert list(formulas_of(right).items()) == [("dp", "2 * p"), ("dw", "dp * x"), ("dx", "dp * w")]
