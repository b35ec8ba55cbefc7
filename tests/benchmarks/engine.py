"""Time and memory of the engine, against its peers in the same run.

    python tests/benchmarks/engine.py [--nodes 1000000] [--repeats 5]

Machines are shared and noisy: what counts is the ratios in one run; medians with the least and the largest are printed.
Peers that are not installed are left out (`pip install micrograd autograd`, or the dependency group `peers`).
"""

import argparse
import gc
import importlib.metadata
import importlib.util
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

CHAIN = """
import gc, sys, time
from {module} import Value

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

if "{module}" != "tinygrad_notes":
    sys.setrecursionlimit(10**6)  # micrograd walks the graph by recursion
n = {nodes}
w, b, x = Value(0.9), Value(0.1), Value(0.5)
(x * w + b).{activation}()  # once, for what is made when first used
gc.collect()
before = resident()
rounds = max(1, 100_000 // n)  # a short chain often, since one would take less than a millisecond
times = [0.0, 0.0, 0.0]
for _ in range(rounds):
    x = Value(0.5)
    start = time.perf_counter()
    for _ in range(n // 3):
        x = (x * w + b).{activation}()
    forward = time.perf_counter()
    x.backward()
    backward = time.perf_counter()
    after = resident()
    x = None
    gc.collect() if {collect} else None
    released = time.perf_counter()
    times = [t + u for t, u in zip(times, [forward - start, backward - forward, released - backward])]
print(*(t / n / rounds * 1e9 for t in times), (after - before) / n)
"""


def chain(module: str, nodes: int, activation: str) -> list[float]:
    """ns a node forward, backward and to release it, and bytes a node, in a process of its own."""
    code = CHAIN.format(module=module, nodes=nodes, activation=activation, collect=module != "tinygrad_notes")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [float(number) for number in run.stdout.split()]


def import_time(code: str) -> float:
    """Milliseconds of a Python process that runs `code`."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - start) * 1e3


def per_call(f: Callable[[], Any], calls: int = 2000) -> float:
    """Microseconds of one call of f."""
    gc.collect()
    start = time.perf_counter()
    for _ in range(calls):
        f()
    return (time.perf_counter() - start) / calls * 1e6


def spread(numbers: list[float], digits: int = 0) -> str:
    """Median, with the least and the largest."""
    return f"{statistics.median(numbers):.{digits}f} ({min(numbers):.{digits}f}-{max(numbers):.{digits}f})"


def version(package: str) -> str:
    """The installed version, or an empty string."""
    return importlib.metadata.version(package) if importlib.util.find_spec(package) else ""


def scalar_chain(nodes: int, repeats: int) -> None:
    """A chain of scalar multiplications, additions and activations."""
    print(f"\nA chain of scalar ops x = tanh(x w + b); ns and bytes a node, {repeats} processes each")
    print(f"{'':34s} {'forward':>18s} {'backward':>18s} {'release':>18s} {'bytes':>18s}")
    rows = [("tinygrad_notes", "tinygrad_notes", nodes, "tanh"), ("tinygrad_notes", "tinygrad_notes", 900, "relu")]
    if version("micrograd"):
        rows.append(("micrograd", "micrograd.engine", 900, "relu"))  # it ends in a recursion error not far above
    for label, module, n, activation in rows:
        runs = [chain(module, n, activation) for _ in range(repeats)]
        columns = [spread([run[k] for run in runs]) for k in range(4)]
        if n < 10_000:
            columns[3] = "-"  # too few nodes to read memory from
        print(f"{label + f', {n:,} nodes, {activation}':34s} " + " ".join(f"{c:>18s}" for c in columns))


def array_ops(repeats: int) -> None:
    """What a recorded array op costs over NumPy's own call."""
    import numpy as np

    import tinygrad_notes as tn

    a = np.ones((4, 4))
    t = tn.Tensor(a)
    print("\nAn op on a 4x4 array, forward; µs")
    pairs: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "a * b": (lambda: a * a, lambda: t * t),
        "tanh": (lambda: np.tanh(a), lambda: tn.tanh(t)),
        "a @ b": (lambda: a @ a, lambda: t @ t),
        "sum(axis=0)": (lambda: np.sum(a, axis=0), lambda: tn.sum(t, axis=0)),
    }
    for name, (plain, recorded) in pairs.items():
        ours, numpys = [], []
        for _ in range(repeats):
            numpys.append(per_call(plain))
            ours.append(per_call(recorded))
        print(f"{name:12s} NumPy {spread(numpys, 2):>18s}   Tensor {spread(ours, 2):>18s}")

    def add_chain() -> None:
        x = t
        for _ in range(100):
            x = x + t
        x.backward(a)

    ours = [per_call(add_chain, 20) / 100 for _ in range(repeats)]
    print(f"a chain of 100 additions, forward and backward, an op: {spread(ours, 2)}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    packages = ("tinygrad_notes", "numpy", "micrograd")
    versions = ", ".join(f"{p} {version(p)}" for p in packages if version(p))
    print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}; {versions}")
    scalar_chain(args.nodes, args.repeats)
    array_ops(args.repeats)
    print("\nImport, ms a process")
    plain, ours = [], []
    for _ in range(args.repeats):
        plain.append(import_time("import numpy"))
        ours.append(import_time("import numpy, tinygrad_notes"))
    beyond = [b - a for a, b in zip(plain, ours, strict=True)]
    print(f"numpy {spread(plain)}   and tinygrad_notes {spread(ours)}   beyond numpy {spread(beyond)}")


if __name__ == "__main__":
    main()
