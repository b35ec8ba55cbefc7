"""The native back end by itself: accuracy and speed of its functions, compile time, and sweeps over large graphs.

    python tests/benchmarks/native.py [millions of points]

Times are the least processor time of several runs, and ratios are within one run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import mpmath
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "compile" / "native"))
from test_primitives import OURS, apply
from test_sweep import RULES

from tinygrad_notes.compile.native import Stage, Sweep, build


def least(f: Callable[[], object], repeats: int = 15) -> float:
    """Seconds of processor time."""
    times = []
    for _ in range(repeats):
        start = time.thread_time()
        f()
        times.append(time.thread_time() - start)
    return min(times)


def functions(millions: int) -> None:
    """The largest error found, confirmed by mpmath, and the time of 1000 numbers beside NumPy's."""
    print("function   worst ulp  at                         ns a number   NumPy's")
    for name, (function, place) in OURS.items():
        worst, where = 0.0, 0.0
        for seed in range(millions):
            x = place(np.random.default_rng(seed + 1).uniform(size=1_000_000))
            given, exact = apply(name, x), function(x.astype(np.longdouble))
            with np.errstate(all="ignore"):
                rounded = exact.astype(float)
                error = np.where(np.isfinite(rounded), np.abs(given - exact) / np.spacing(np.abs(rounded)), 0)
            i = int(np.argmax(error))
            if error[i] > worst:
                worst, where = float(error[i]), float(x[i])
        with mpmath.workdps(60):
            x = mpmath.mpf(where)
            exact = 1 / (1 + mpmath.exp(-x)) if name == "sigmoid" else getattr(mpmath, name)(x)
            given = float(apply(name, np.array([where]))[0])
            worst = float(abs(mpmath.mpf(given) - exact) / mpmath.mpf(float(np.spacing(abs(float(exact))))))
        x, out = place(np.random.default_rng(0).uniform(size=1000)), np.zeros(1000)
        code = [("load", 0, 0, 0, 1, 0), (name, 0), ("store", 1, 1, 0, 0, 1, 0)]
        run = build([Stage(1000, 1, code)], 2).bind([x, out])
        ours, theirs = least(lambda run=run: run(100)), least(lambda f=function, x=x: [f(x) for _ in range(100)])
        print(f"{name:9} {worst:10.3f}  {where:<26.17g} {ours * 1e4:10.2f} {theirs * 1e4:10.2f}")


def compiling() -> None:
    """Chains of multiply-adds, which grow linearly if all is well."""
    print("\nentries   compile, ms   µs an entry")
    for entries in (500, 2000, 8000, 32000):
        code: list[tuple[object, ...]] = [("load", 0, 0, 0, 1, 0)]
        while len(code) < entries:
            code += [
                ("load", 1, len(code) % 64, 0, 0, 0),
                ("multiply", len(code) - 1, len(code)),
                ("add", len(code) + 1, 0),
            ]
        code.append(("store", len(code) - 1, 2, 0, 0, 1, 0))
        seconds = least(lambda code=code: build([Stage(100, 1, code)], 3), 3)
        print(f"{entries:7} {seconds * 1e3:13.0f} {seconds / entries * 1e6:13.0f}")


def sweeps(nodes: int = 1_000_000, leaves: int = 1000) -> None:
    """Random graphs of add, subtract, multiply, tanh and relu; operands anywhere before, or among the last 10,000."""
    print("\nnodes in a level   operands   groups    forward   backward   together, ns a node")
    generator = np.random.default_rng(0)
    for reach in (nodes, 10_000):
        for level in (100_000, 1000, 10, 1):
            groups, columns, n = [], [], leaves
            while n < leaves + nodes:
                count = min(level, leaves + nodes - n)
                kinds = generator.choice(5, count, p=[0.3, 0.25, 0.25, 0.1, 0.1])
                groups += [(kind, size) for kind, size in enumerate(np.bincount(kinds)) if size]
                columns.append(generator.integers(max(0, n - reach), n, (2, count), np.int32))
                n += count
            values, adjoints = np.zeros(n), np.zeros(n)
            values[:leaves] = generator.uniform(0.2, 0.6, leaves)
            sweep = Sweep(RULES, np.array(groups, np.int32), np.concatenate(columns, axis=1), values, adjoints)

            def backward(sweep=sweep, adjoints=adjoints):
                adjoints[:] = 0
                adjoints[-1] = 1
                sweep.backward()

            forward, back = (least(f, 7) / nodes * 1e9 for f in (sweep.forward, backward))
            where = "anywhere" if reach == nodes else "near"
            print(f"{level:16} {where:>10} {len(groups):8} {forward:10.1f} {back:10.1f} {forward + back:10.1f}")


if __name__ == "__main__":
    functions(int(sys.argv[1]) if sys.argv[1:] else 2)
    compiling()
    sweeps()
