"""exp, expm1, log, log1p, tanh, sigmoid and logaddexp on vectors of doubles, to 2 ulp.

Each function is written once into a module, for the width at which it is called. Everything is computed for every place
of the vector and chosen from at the end, so there are no branches. Steps that must be exact carry no flag that would
let LLVM change them.

The methods are the classic ones (Cody and Waite's reduction, the series of artanh in log, Kahan's correction in log1p).
`tests/compile/native/minimax.py` derives the coefficients; the tests there measure the error of the whole.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

from .lines import Lines, Module

# ln 2 as a sum. The first part ends in 21 zero bits or more, so that its product with an exponent is exact.
LN2_HIGH, LN2_LOW = float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33")
ROUND = 1.5 * 2.0**52  # x + ROUND has no room for a fraction: x is rounded to an integer, which stands in the low bits
ONE_BITS, SQRT_HALF_BITS = 0x3FF0000000000000, 0x3FE6A09E667F3BCD  # of 1 and of √½
TWO52_BITS = 0x4330000000000000  # of 2⁵²; with an integer in the low bits, 2⁵² + that integer

# (eʳ − 1 − r) / r² on |r| ≤ ln 2 / 2; the error of eʳ is at most 4e-18
EXP = [
    0.5000000000000012,
    0.166666666666667,
    0.041666666666515445,
    0.008333333333307092,
    0.001388888894701036,
    0.00019841269917606098,
    2.4801489947375367e-05,
    2.755721612283961e-06,
    2.763127868190036e-07,
    2.5117911083483725e-08,
]
# (2 artanh s − 2s) / s³ by z = s², for |s| ≤ (√2 − 1)/(√2 + 1); the relative error of 2 artanh s is at most 2e-18
LOG = [
    0.6666666666666734,
    0.39999999999414293,
    0.28571428742478955,
    0.2222219856317434,
    0.18183564881717693,
    0.15314035423302436,
    0.14796110091754433,
]


def function(module: Module, name: str, width: int) -> str:
    """The name of a function at this width; the first call writes it."""
    full = f"{name}.x{width}"
    module.calls[full] = module.calls.get(full, 0) + 1
    if full not in module.functions:
        module.functions[full] = ""  # its place, before those that call it
        w, write = Lines(module, "double", width), FUNCTIONS[name]
        arguments = [w.argument(w.number, argument) for argument in list(inspect.signature(write).parameters)[1:]]
        result = write(w, *arguments)
        head = f"define internal {w.number} @{full}({', '.join(f'{w.number} {a}' for a in arguments)}) nounwind {{"
        body = [head, "entry:", *w.lines, f"  ret {w.number} {result}", "}", ""]
        module.functions[full] = "\n".join(body)
    return f"@{full}"


def polynomial(w: Lines, x: str, coefficients: list[float]) -> str:
    """Σ coefficients[k]·xᵏ by Estrin's scheme, in fused multiply-adds: pairs, then pairs of pairs by x², and so on.

    By Horner's rule each step waits for the one before it.
    """
    terms = [w.constant(c) for c in coefficients]
    while len(terms) > 1:
        pairs = [w.fma(high, x, low) for low, high in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[2 * len(pairs) :]
        x = w.multiply(x, x) if len(terms) > 1 else x
    return terms[0]


def lesser(w: Lines, x: str, bound: float) -> str:
    """X, or the bound where x is greater; NaN stays."""
    return w.select(w.compare("olt", w.constant(bound), x), w.constant(bound), x)


def greater(w: Lines, x: str, bound: float) -> str:
    """X, or the bound where x is less; NaN stays."""
    return w.select(w.compare("ogt", w.constant(bound), x), w.constant(bound), x)


# eˣ = 2ⁿ·eʳ


def reduce(w: Lines, x: str) -> tuple[str, str, str]:
    """N as the low bits of an integer, r, and r's rounding error: x = n·ln 2 + r, |r| ≤ ln 2 / 2."""
    shifted = w.fma(x, w.constant(1 / math.log(2)), w.constant(ROUND))
    minus_n = w.subtract(w.constant(ROUND), shifted)
    exact = w.fma(minus_n, w.constant(LN2_HIGH), x)
    r = w.fma(minus_n, w.constant(LN2_LOW), exact)
    return w.to_bits(shifted), r, w.fma(minus_n, w.constant(LN2_LOW), w.subtract(exact, r))


def exp_near(w: Lines, r: str, error: str) -> str:
    """Eʳ for |r| ≤ ln 2 / 2, r with its rounding error; what 1 + r loses is added to the small terms."""
    one = w.constant(1.0)
    first = w.add(one, r)
    lost = w.add(w.add(w.subtract(one, first), r), error)
    return w.add(first, w.fma(w.multiply(r, r), polynomial(w, r, EXP), lost))


def power_of_two(w: Lines, n: str) -> str:
    """2ⁿ for −1022 ≤ n ≤ 1023, n the low bits of an integer."""
    return w.of_bits(w.integers("shl", w.integers("add", n, w.bits(1023)), w.bits(52)))


def halves(w: Lines, n: str) -> tuple[str, str]:
    """n/2 rounded down, and the rest: 2ⁿ by two factors does not overflow before the result does."""
    half = w.integers("sub", w.integers("lshr", w.integers("add", n, w.bits(2048)), w.bits(1)), w.bits(1024))
    return half, w.integers("sub", n, half)


def exp(w: Lines, x: str) -> str:
    """2ⁿ·eʳ; only the last factor can round, where the result is denormal."""
    n, r, error = reduce(w, lesser(w, greater(w, x, -746.0), 710.0))
    half, rest = halves(w, n)
    return w.multiply(w.multiply(exp_near(w, r, error), power_of_two(w, half)), power_of_two(w, rest))


def expm1(w: Lines, x: str) -> str:
    """2ⁿ·(p + 1) − 1 with p = eʳ − 1, written as 2ʰ·(2ⁿ⁻ʰ·p + (2ⁿ⁻ʰ − 2⁻ʰ)), h about n/2."""
    n, r, error = reduce(w, lesser(w, greater(w, x, -50.0), 710.0))
    p = w.add(r, w.fma(w.multiply(r, r), polynomial(w, r, EXP), error))
    half, rest = halves(w, n)
    minus_half = w.integers("sub", w.bits(0), half)
    scale = power_of_two(w, rest)
    result = w.fma(p, scale, w.subtract(scale, power_of_two(w, minus_half)))
    return w.intrinsic("copysign", w.multiply(result, power_of_two(w, half)), x)


def sigmoid(w: Lines, x: str) -> str:
    """1/(1 + e⁻ˣ) for x ≥ 0 and eˣ/(1 + eˣ) for x < 0: no overflow, and small results keep their digits.

    With u = 1 + e as rounded, above/(u + lost) = above/u·(1 + rest), where the rest is as small as the rounding of u
    and of 1/u.
    """
    one = w.constant(1.0)
    e = w.call(function(w.module, "exp", w.width), w.negative(w.intrinsic("fabs", x)))
    u = w.add(e, one)
    lost = w.subtract(e, w.subtract(u, one))
    inverse = w.divide(one, u)
    rest = w.fma(w.negative(inverse), lost, w.fma(w.negative(inverse), u, one))
    above = w.select(w.compare("olt", x, w.constant(0.0)), e, one)
    product = w.multiply(above, inverse)
    return w.add(product, w.fma(product, rest, w.fma(above, inverse, w.negative(product))))


def tanh(w: Lines, x: str) -> str:
    """p/(p + 2), p = e^2|x| − 1 = 2ⁿ·q + (2ⁿ − 1), q = eʳ − 1.

    What rounding q and p + 2 has taken away or added is made good in the quotient t, for which 1/(p + 2) is (1 − t)/2.
    """
    two = w.constant(2.0)
    size = w.intrinsic("fabs", x)
    n, r, error = reduce(w, lesser(w, w.add(size, size), 40.0))
    rest = w.fma(w.multiply(r, r), polynomial(w, r, EXP), error)
    q = w.add(r, rest)
    scale = power_of_two(w, n)
    p = w.fma(q, scale, w.subtract(scale, w.constant(1.0)))
    below = w.add(p, two)
    t = w.divide(p, below)
    lost = w.multiply(w.subtract(rest, w.subtract(q, r)), scale)
    added = w.subtract(w.subtract(below, two), p)
    inverse = w.fma(w.constant(-0.5), t, w.constant(0.5))
    missing = w.fma(added, t, w.multiply(lost, w.add(inverse, inverse)))
    return w.intrinsic("copysign", w.fma(missing, inverse, t), x)


# ln u = k·ln 2 + ln(1 + f), ln(1 + f) = 2 artanh s, s = f/(2 + f)


def log_near(w: Lines, u: str, correction: str, shift: str) -> str:
    """Ln u + correction + shift·ln 2, for u positive, finite and no denormal, and a correction that is tiny beside u.

    2 artanh s = 2s + s·R = f − (f²/2 − s·(f²/2 + R)): of these, f is exact and the largest.
    """
    bits = w.to_bits(u)
    exponent = w.integers("lshr", w.integers("add", bits, w.bits(ONE_BITS - SQRT_HALF_BITS)), w.bits(52))  # k + 1023
    k = w.subtract(w.of_bits(w.integers("or", exponent, w.bits(TWO52_BITS))), w.constant(2.0**52 + 1023))
    k = w.add(k, shift)
    fraction = w.integers("shl", w.integers("sub", exponent, w.bits(1023)), w.bits(52))
    f = w.subtract(w.of_bits(w.integers("sub", bits, fraction)), w.constant(1.0))
    s = w.divide(f, w.add(f, w.constant(2.0)))
    z = w.multiply(s, s)
    rest = w.multiply(z, polynomial(w, z, LOG))
    half_square = w.multiply(w.multiply(f, f), w.constant(0.5))
    small = w.fma(s, w.add(half_square, rest), w.fma(k, w.constant(LN2_LOW), correction))
    return w.fma(k, w.constant(LN2_HIGH), w.subtract(f, w.subtract(half_square, small)))


def at_the_ends(w: Lines, x: str, distance: str, inside: str) -> str:
    """The logarithm's special cases, by the distance of x from where it is −∞: ∞ and NaN stay, below it is NaN."""
    zero = w.constant(0.0)
    result = w.select(w.compare("olt", x, w.constant(math.inf)), inside, x)
    edge = w.select(w.compare("oeq", distance, zero), w.constant(-math.inf), w.constant(math.nan))
    return w.select(w.compare("ole", distance, zero), edge, result)


def log(w: Lines, x: str) -> str:
    """A denormal is made normal by 2⁵⁴ first."""
    denormal = w.compare("olt", x, w.constant(2.0**-1022))
    normal = w.select(denormal, w.multiply(x, w.constant(2.0**54)), x)
    shift = w.select(denormal, w.constant(-54.0), w.constant(0.0))
    return at_the_ends(w, x, x, log_near(w, normal, w.constant(0.0), shift))


def log1p(w: Lines, x: str) -> str:
    """Ln u + c/u, where u = 1 + x was rounded and c, exact, is what it lost."""
    one = w.constant(1.0)
    u = w.add(x, one)
    lost_of_x, lost_of_one = w.subtract(x, w.subtract(u, one)), w.subtract(one, w.subtract(u, x))
    lost = w.select(w.compare("olt", x, one), lost_of_x, lost_of_one)
    result = log_near(w, u, w.divide(lost, u), w.constant(0.0))
    return w.intrinsic("copysign", at_the_ends(w, x, u, result), x)


def logaddexp(w: Lines, x: str, y: str) -> str:
    """Ln(eˣ + eʸ) = the greater + log1p(e^−|x − y|)."""
    larger = w.select(w.compare("ogt", x, y), x, y)
    distance = w.negative(w.intrinsic("fabs", w.subtract(x, y)))
    e = w.call(function(w.module, "exp", w.width), distance)
    result = w.add(larger, w.call(function(w.module, "log1p", w.width), e))
    # Equal infinities have no distance; of a NaN, `larger` may have lost sight, but not their sum.
    result = w.select(w.compare("oeq", x, y), w.add(x, w.constant(math.log(2))), result)
    return w.select(w.compare("uno", x, y), w.add(x, y), result)


FUNCTIONS: dict[str, Callable[..., str]] = {f.__name__: f for f in (exp, expm1, log, log1p, logaddexp, sigmoid, tanh)}
