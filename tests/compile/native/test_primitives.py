"""Every primitive against mpmath and NumPy: at most 2 ulp, and the special cases as in NumPy."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from minimax import APPROXIMATED
from programs import NAMES

from tinygrad_notes.compile.native import Stage, build, functions
from tinygrad_notes.compile.native.primitives import MASK, PRIMITIVES

SPECIAL = [0.0, 1.0, 0.5, 1.5, 2.5, math.inf, math.nan, 5e-324, 1e-310, 2.0**-1022, 1e308, 1e-20, 1e5, 1e16, 709.8]
SPECIAL += [710.0, 745.0, 746.0, 40.0, 0.55, 0.7071067811865476, 1.4142135623730951, 0.9999999, 88.8, 103.98, 2.0**1023]
SPECIAL += [-x for x in SPECIAL]
ORACLE = {
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "logaddexp": lambda x, y: mpmath.log(mpmath.exp(x) + mpmath.exp(y)),
    "pow": mpmath.power,
}
NUMPY = {
    **NAMES,
    "sigmoid": lambda x: np.where(x < 0, np.exp(np.minimum(x, 0)), 1) / (1 + np.exp(-np.abs(x))),
    "erf": lambda x: np.vectorize(math.erf, otypes=[x.dtype])(x),
    "erfc": lambda x: np.vectorize(math.erfc, otypes=[x.dtype])(x),
}
NUMBERS = [name for name, p in PRIMITIVES.items() if MASK not in (*p.takes, p.result)]
COMPARISONS = [name for name, p in PRIMITIVES.items() if p.result == MASK and MASK not in p.takes]
# Exact, or within ½ ulp, by IEEE 754: mpmath has nothing to add to NumPy.
ROUNDED = {
    "add",
    "subtract",
    "multiply",
    "divide",
    "square",
    "negative",
    "abs",
    "sqrt",
    "floor",
    "ceil",
    "round",
    "sign",
}
ROUNDED |= {"maximum", "minimum"}


def apply(name: str, *operands: np.ndarray) -> np.ndarray:
    """A primitive of arrays."""
    n, count = len(operands), operands[0].size
    code = [("load", i, 0, 0, 1, 0) for i in range(n)] + [(name, *range(n))]
    if PRIMITIVES[name].result == MASK:
        code.append(("number", n))
    code.append(("store", len(code) - 1, n, 0, 0, 1, 0))
    out = np.full(count, 7.0, operands[0].dtype)
    build([Stage(count, 1, code)], n + 1, str(out.dtype)).bind([*operands, out])()
    return out


def points(name: str, dtype: str) -> list[np.ndarray]:
    """Operands: special ones in all pairs, and random ones of all magnitudes."""
    generator = np.random.default_rng(len(name))
    wide = 300 if dtype == "float64" else 37
    random = [
        np.concatenate(
            [
                generator.normal(0, 1, 100),
                generator.uniform(-50, 50, 100),
                10 ** generator.uniform(-wide, wide, 100) * generator.choice([-1, 1], 100),
            ]
        )
        for _ in PRIMITIVES[name].takes
    ]
    special = np.array(SPECIAL)
    grid = np.meshgrid(*[special] * len(random))
    with np.errstate(over="ignore"):
        return [np.concatenate([g.ravel(), r]).astype(dtype) for g, r in zip(grid, random, strict=True)]


def by_numpy(name: str, operands: list[np.ndarray]) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(NUMPY.get(name, getattr(np, name, None))(*operands))


def ulps(given: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """How far, in units of the last place; `exact` has more digits."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(given.dtype)
        away = np.abs(given - exact) / np.spacing(np.abs(rounded))
    same = (given == rounded) | (np.isnan(given) & np.isnan(exact))
    return np.where(same, 0, np.where(np.isfinite(away), away, np.inf)).astype(float)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NUMBERS)
def test_like_numpy(name, dtype):
    """To 4 ulp where both may be off by 2, and exactly where IEEE 754 says what the result is."""
    operands = points(name, dtype)
    given = apply(name, *operands)
    expected = by_numpy(name, operands)
    np.testing.assert_array_equal(np.isnan(given), np.isnan(expected))
    if name in ROUNDED:
        np.testing.assert_array_equal(given, expected)
    elif name == "logaddexp":  # cancels where the result is near 0
        finite = np.isfinite(expected)
        np.testing.assert_array_equal(given[~finite], expected[~finite])
        sizes = [np.abs(np.where(np.isfinite(x), x, 0)) for x in (*operands, expected)]
        unit = np.spacing(np.maximum.reduce(sizes))
        assert (np.abs(given[finite] - expected[finite]) <= 4 * unit[finite]).all()
    else:
        assert ulps(given, expected).max() <= 4
    signs = ~np.isnan(expected)
    if name not in ("maximum", "minimum"):  # of 0 and −0 NumPy gives the one or the other
        np.testing.assert_array_equal(np.signbit(given)[signs], np.signbit(expected)[signs])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons(name, dtype):
    operands = points(name, dtype)
    np.testing.assert_array_equal(apply(name, *operands), by_numpy(name, operands))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", sorted(set(NUMBERS) - ROUNDED - {"logaddexp"}))
def test_within_two_ulp(name, dtype):
    operands = [x[-300:] for x in points(name, dtype)]
    given = apply(name, *operands)
    function = ORACLE.get(name, getattr(mpmath, name, None))
    for result, *xs in zip(given, *operands, strict=True):
        if not math.isfinite(result) or result == 0:
            continue  # overflow and underflow: above
        with mpmath.workdps(60):
            error = abs(mpmath.mpf(float(result)) - function(*(mpmath.mpf(float(x)) for x in xs)))
            assert error <= 2 * mpmath.mpf(float(np.spacing(abs(result)))), (name, xs, result)


OURS = {
    "exp": (np.exp, lambda u: u * 1455 - 745),
    "expm1": (np.expm1, lambda u: np.where(u < 0.5, u * 8 - 2, u * 1490 - 780)),
    "log": (np.log, lambda u: np.where(u < 0.5, np.exp(np.minimum(u, 0.5) * 2800 - 700), 0.4 + 4 * (u - 0.5))),
    "log1p": (np.log1p, lambda u: np.where(u < 0.5, np.expm1(u * 80 - 30), (u - 0.75) * 3)),
    "tanh": (np.tanh, lambda u: np.where(u < 0.5, 4 * u - 1, 60 * u - 45)),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), lambda u: np.where(u < 0.5, 16 * u - 6, 760 * u - 720)),
}


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="needs a long double with more digits than a double")
@pytest.mark.parametrize("name", OURS)
def test_own_functions_within_two_ulp(name):
    """200,000 points, against the C library's long double."""
    function, place = OURS[name]
    x = place(np.random.default_rng(0).uniform(size=200_000))
    assert ulps(apply(name, x), function(x.astype(np.longdouble))).max() <= 2


def test_a_known_nan_is_propagated():
    code = [("load", 0, 0, 0, 1, 0), ("constant", math.nan), ("maximum", 0, 1), ("minimum", 1, 0)]
    code += [("store", 2, 1, 0, 0, 1, 0), ("store", 3, 2, 0, 0, 1, 0)]
    arrays = [np.arange(5.0), np.zeros(5), np.zeros(5)]
    build([Stage(5, 1, code)], 3).bind(arrays)()
    assert np.isnan(arrays[1:]).all()


@pytest.mark.parametrize("name", APPROXIMATED)
def test_polynomials(name):
    """As they stand, with coefficients rounded to doubles, they are off by a tenth of the last place at most."""
    function, weight, low, high = APPROXIMATED[name]
    coefficients = getattr(functions, name)
    with mpmath.workdps(50):
        for x in mpmath.linspace(low, high, 200):
            assert weight(x) * abs(function(x) - sum(c * x**k for k, c in enumerate(coefficients))) < 2**-53 / 10
