"""exp, expm1, log, log1p, tanh and sigmoid on vectors of doubles, to 2 ulp.

Each function is written once into a module, for the width at which it is called. tests/compile/native/ measures the
error of the whole and, against mpmath, that of every polynomial; `tests/compile/native/minimax.py` derives the
coefficients.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from .lines import Lines, Module

# ln 2 as a sum: the first part has 21 trailing zero bits, so that its product with an exponent is exact.
LN2_HIGH, LN2_LOW = float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33")
ROUND = 1.5 * 2.0**52  # a double of this size has no fraction: x + ROUND is rounded to an integer, which its low bits hold


def function(module: Module, name: str, width: int) -> str:
    """The name of a function at this width; the first call writes it."""
    full = f"{name}.x{width}"
    if full not in module.functions:
        module.functions[full] = ""  # its place, before those that call it
        lines = Lines(module, "double", width)
        result = FUNCTIONS[name](lines, "%x")
        head = f"define internal {lines.number} @{full}({lines.number} %x) {{\nentry:"
        module.functions[full] = "\n".join([head, *lines.lines, f"  ret {lines.number} {result}", "}", ""])
    return f"@{full}"


def polynomial(w: Lines, x: str, coefficients: list[float]) -> str:
    """Σ coefficients[k]·xᵏ, by Horner in fused multiply-adds."""
    result = w.constant(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = w.fma(result, x, w.constant(coefficient))
    return result


def reduce_exponent(w: Lines, x: str) -> tuple[str, str]:
    """N, as the low bits of an integer and as a number, and r with x = n·ln 2 + r, |r| ≤ ln 2 / 2."""
    shifted = w.fma(x, w.constant(1 / math.log(2)), w.constant(ROUND))
    n = w.subtract(shifted, w.constant(ROUND))
    minus_n = w.negative(n)
    r = w.fma(minus_n, w.constant(LN2_LOW), w.fma(minus_n, w.constant(LN2_HIGH), x))
    return w.to_bits(shifted), r


# eʳ = 1 + r + r²·q(r) on |r| ≤ ln 2 / 2
EXP = [1 / math.factorial(k) for k in range(2, 14)]


def exp_reduced(w: Lines, r: str) -> str:
    """Eʳ for |r| ≤ ln 2 / 2."""
    return polynomial(w, r, [1.0, 1.0, *EXP])


def power_of_two(w: Lines, n: str) -> str:
    """2ⁿ for −1022 ≤ n ≤ 1023, n the low bits of an integer."""
    return w.of_bits(w.integers("shl", w.integers("add", n, w.bits(1023)), w.bits(52)))


def clamp(w: Lines, x: str, low: float, high: float) -> str:
    """X between two bounds; NaN stays."""
    x = w.select(w.compare("ogt", w.constant(low), x), w.constant(low), x)
    return w.select(w.compare("olt", w.constant(high), x), w.constant(high), x)


def exp(w: Lines, x: str) -> str:
    """2ⁿ·eʳ. The power is applied in two halves, so that it neither overflows early nor rounds twice in a denormal."""
    n, r = reduce_exponent(w, clamp(w, x, -746.0, 710.0))
    # n/2: shifted with its sign, which stands far above the integer's own bits
    half = w.integers("sub", w.integers("lshr", w.integers("add", n, w.bits(2048)), w.bits(1)), w.bits(1024))
    rest = w.integers("sub", n, half)
    return w.multiply(w.multiply(exp_reduced(w, r), power_of_two(w, half)), power_of_two(w, rest))


# tanh x = x / (1 + x²/(3 + x²/(5 + ... + x²/15))) = x − x·u·N(u)/D(u), u = x²: Lambert's continued fraction, whole numbers
def lambert(terms: int) -> tuple[list[float], list[float]]:
    """N and D of the continued fraction cut after so many terms."""
    above, below = [1], [2 * terms - 1]  # the tail as below/above, from the inside out
    for odd in range(2 * terms - 3, 0, -2):
        shifted = [0, *above]
        size = max(len(below), len(shifted))
        pad = lambda p: p + [0] * (size - len(p))
        above, below = below, [odd * b + s for b, s in zip(pad(below), pad(shifted), strict=True)]
    # tanh = x·above/below, and above − below = −u·N
    pad = lambda p: p + [0] * (len(below) - len(p))
    return [float(b - a) for a, b in zip(pad(above), pad(below), strict=True)][1:], [float(b) for b in below]


TANH = lambert(8)


def tanh(w: Lines, x: str) -> str:
    """Near 0 the continued fraction; elsewhere 1 − 2/(e²ˣ + 1). One division serves both."""
    size = w.intrinsic("fabs", x)
    u = w.multiply(x, x)
    near_above, near_below = polynomial(w, u, TANH[0]), polynomial(w, u, TANH[1])
    near_above = w.multiply(w.multiply(near_above, u), size)
    twice = w.add(size, size)
    n, r = reduce_exponent(w, w.select(w.compare("olt", w.constant(40.0), twice), w.constant(40.0), twice))
    far_below = w.fma(exp_reduced(w, r), power_of_two(w, n), w.constant(1.0))
    near = w.compare("olt", size, w.constant(0.55))
    above = w.select(near, near_above, w.constant(2.0))
    below = w.select(near, near_below, far_below)
    result = w.subtract(w.select(near, size, w.constant(1.0)), w.divide(above, below))
    return w.intrinsic("copysign", result, x)


FUNCTIONS: dict[str, Callable[[Lines, str], str]] = {"exp": exp, "tanh": tanh}
