"""Where the coefficients in `tinygrad_notes/compile/native/functions.py` come from.

    python tests/compile/native/minimax.py

prints them. The exchange algorithm of Remez finds the polynomial whose weighted error is equal, with alternating signs,
at one point more than it has coefficients: it is the best one there is. Each is then rounded to a double.
"""

from __future__ import annotations

from collections.abc import Callable

import mpmath
from mpmath import mpf

DIGITS = 50
Real = Callable[[mpf], mpf]


def minimax(f: Real, weight: Real, low: mpf, high: mpf, coefficients: int) -> tuple[list[float], mpf]:
    """The best polynomial for f on [low, high] by the error weight·|f − p|, and that error."""
    n = coefficients
    with mpmath.workdps(DIGITS):
        middle, half = (low + high) / 2, (high - low) / 2
        points = [middle - half * mpmath.cos(mpmath.pi * (2 * i + 1) / (2 * n + 2)) for i in range(n + 1)]
        grid = [middle - half * mpmath.cos(mpmath.pi * i / (20 * n)) for i in range(20 * n + 1)]
        for _ in range(6):
            rows = [[*(x**k for k in range(n)), (-1) ** i / weight(x)] for i, x in enumerate(points)]
            *found, _ = mpmath.lu_solve(mpmath.matrix(rows), mpmath.matrix([f(x) for x in points]))
            error = [weight(x) * (f(x) - sum(c * x**k for k, c in enumerate(found))) for x in grid]
            runs: list[int] = []  # the largest error of each run of one sign
            for i, e in enumerate(error):
                if runs and e * error[runs[-1]] > 0:
                    runs[-1] = max(runs[-1], i, key=lambda j: abs(error[j]))
                else:
                    runs.append(i)
            while len(runs) > n + 1:
                runs.pop(0 if abs(error[runs[0]]) < abs(error[runs[-1]]) else -1)
            points = [grid[i] for i in runs]
        return [float(c) for c in found], max(abs(e) for e in error)


def exp_tail(r: mpf) -> mpf:
    """(eʳ − 1 − r) / r², a smooth function."""
    return sum(r**k / mpmath.factorial(k + 2) for k in range(30))


def log_tail(z: mpf) -> mpf:
    """(2 artanh √z − 2√z) / (√z·z)."""
    return sum(2 * z**k / (2 * k + 3) for k in range(40))


with mpmath.workdps(DIGITS):
    HALF_LN2 = mpmath.log(2) / 2
    LARGEST_Z = ((mpmath.sqrt(2) - 1) / (mpmath.sqrt(2) + 1)) ** 2
# function, weight, and range: the weight makes the error that of eʳ, and the relative one of artanh s
APPROXIMATED: dict[str, tuple[Real, Real, mpf, mpf]] = {
    "EXP": (exp_tail, lambda r: r * r, -HALF_LN2, HALF_LN2),
    "LOG": (log_tail, lambda z: z / 2, mpf(0), LARGEST_Z),
}

if __name__ == "__main__":
    for name, (function, weight, low, high) in APPROXIMATED.items():
        found, error = minimax(
            function, lambda x, w=weight: max(w(x), mpf("1e-30")), low, high, {"EXP": 10, "LOG": 7}[name]
        )
        print(f"{name} = [  # error at most {mpmath.nstr(error, 3)}")
        print("".join(f"    {c!r},\n" for c in found) + "]")
