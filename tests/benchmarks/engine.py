"""Time and memory of the eager engine, against its peers in the same run.

    python tests/benchmarks/engine.py [--nodes 1000000] [--repeats 5] [chain mlp arrays import]

Machines are shared and noisy: what counts is the ratios in one run. Contenders take turns; times are processor time,
medians with the least and the largest. Python's garbage collector is on unless a row says otherwise. Peers that are
not installed are left out (`pip install micrograd autograd mygrad xad torch`, or the dependency group `peers`).
"""

import argparse
import functools
import gc
import importlib.metadata
import importlib.util
import itertools
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tinygrad_notes as tn

# --- measuring --------------------------------------------------------------------------------------------------------


def per_call(f: Callable[[], Any], calls: int = 1000) -> float:
    """Microseconds of one call of f."""
    start = time.process_time()
    for _ in range(calls):
        f()
    return (time.process_time() - start) / calls * 1e6


def in_turn(contenders: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """What each contender gives when called, `repeats` times in turn, after once for what is made when first used."""
    for run in contenders.values():
        run()
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, run in contenders.items():
            gc.collect()
            found[name].append(run())
    return found


def spread(numbers: Sequence[float], digits: int = 0) -> str:
    """Median, with the least and the largest."""
    return f"{statistics.median(numbers):,.{digits}f} ({min(numbers):,.{digits}f}-{max(numbers):,.{digits}f})"


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> str:
    """How many times longer a peer takes: the median over the turns."""
    return f"{statistics.median(t / u for t, u in zip(theirs, ours, strict=True)):.2f}"


def has(package: str) -> bool:
    """Whether a peer is installed."""
    return importlib.util.find_spec(package) is not None


# --- a chain of scalar ops --------------------------------------------------------------------------------------------

CHAIN = """
import gc, sys, time
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
def backward(y):
    y.backward()
def step(x):
    return (x * w + b).tanh()
{setup}
sys.setrecursionlimit(10**6)  # micrograd walks the graph by recursion
n, ops = {nodes}, globals().get("ops", 3)
rounds = max(1, 100_000 // n)  # a short chain often, since one would take less than a millisecond
backward(step(start()))  # once, for what is made when first used
gc.collect()
forward = pulled = released = 0.0
before = resident()
for _ in range(rounds):
    x = start()
    began = time.process_time()
    for _ in range(n // ops):
        x = step(x)
    recorded, recorded_bytes = time.process_time(), resident()
    backward(x)
    done, done_bytes = time.process_time(), resident()
    x = None
    gc.collect() if {collect} else None
    forward, pulled = forward + recorded - began, pulled + done - recorded
    released += time.process_time() - done
per_node = 1e9 / n / rounds
print((forward + pulled) * per_node, forward * per_node, pulled * per_node, released * per_node)
print((recorded_bytes - before) / n, (done_bytes - before) / n)
"""
OURS = """
from tinygrad_notes import Value
w, b, start = Value(1.0000001), Value(1e-7), lambda: Value(0.5)
"""
FEWER_ACTIVATIONS = (
    OURS
    + """
ops = 19
def step(x):
    for _ in range(9):
        x = x * w + b
    return x.tanh()
"""
)
MICROGRAD = """
from micrograd.engine import Value
w, b, start = Value(1.0000001), Value(1e-7), lambda: Value(0.5)
def step(x):
    return (x * w + b).relu()  # it has no tanh
"""
TORCH = """
import torch
torch.set_num_threads(1)
start = lambda: torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
w, b = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (1.0000001, 1e-7))
"""
XAD = """
import xad.adj_1st
from xad.math import tanh
tape = xad.adj_1st.Tape()
tape.activate()
w, b = xad.adj_1st.Real(1.0000001), xad.adj_1st.Real(1e-7)
def start():
    x = xad.adj_1st.Real(0.5)
    tape.clearAll()
    for leaf in (w, b, x):
        tape.registerInput(leaf)
    tape.newRecording()
    return x
def step(x):
    return tanh(x * w + b)
def backward(y):
    tape.registerOutput(y)
    y.derivative = 1.0
    tape.computeAdjoints()
"""


def chain(setup: str, nodes: int, collect: bool) -> list[float]:
    """ns a node (both passes, forward, backward, release) and bytes a node, in a process of its own."""
    code = CHAIN.format(setup=setup, nodes=nodes, collect=collect)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [float(number) for number in run.stdout.split()]


def scalar_chain(nodes: int, repeats: int) -> None:
    """A chain of scalar multiplications, additions and activations."""
    print(f"\nA chain of scalar ops x = tanh(x w + b); ns and bytes a node; {repeats} processes each, in turn")
    rows = [("tinygrad_notes", OURS, nodes), ("the same, collector off", "import gc; gc.disable()" + OURS, nodes)]
    rows.append(("the same, one tanh in 19 ops", FEWER_ACTIVATIONS, nodes))
    if has("xad"):
        rows.append(("XAD, a tape in C++", XAD, nodes))
    if has("torch"):
        rows.append(("torch", TORCH, nodes // 10))
    rows.append(("tinygrad_notes", OURS, 900))
    if has("micrograd"):
        rows.append(("micrograd, relu", MICROGRAD, 900))  # it ends in a recursion error not far above
    runs: list[list[list[float]]] = [[] for _ in rows]
    for _ in range(repeats):
        for found, (_, setup, n) in zip(runs, rows, strict=True):
            found.append(chain(setup, n, collect=setup is MICROGRAD))
    columns = ("both passes", "forward", "backward", "release", "bytes recorded", "and with gradients")
    print(f"{'':40s}" + "".join(f"{c:>22s}" for c in columns) + "   times ours")
    for found, (label, _, n) in zip(runs, rows, strict=True):
        cells = [spread([run[k] for run in found]) for k in range(6)]
        if n < 10_000:
            cells[4:] = "-", "-"  # too few nodes to read memory from
        ours = runs[0] if n >= 10_000 else runs[[n for _, _, n in rows].index(900)]
        times = ratio([run[0] for run in found], [run[0] for run in ours])
        print(f"{f'{label}, {n:,} nodes':40s}" + "".join(f"{c:>22s}" for c in cells) + f"   {times:>8s}")


# --- a network of scalars ---------------------------------------------------------------------------------------------


def moons(samples: int) -> tuple[list[list[float]], list[float]]:
    """Two interleaved half circles, with labels ±1."""
    r = np.random.default_rng(0)
    t = np.linspace(0, np.pi, samples // 2)
    x = np.concatenate([np.stack([np.cos(t), np.sin(t)], 1), np.stack([1 - np.cos(t), 0.5 - np.sin(t)], 1)])
    return (x + r.normal(0, 0.1, x.shape)).tolist(), [-1.0] * (samples // 2) + [1.0] * (samples // 2)


def scalar_network(kind: Any, samples: int, activation: str) -> tuple[Callable[[], Any], list[Any]]:
    """micrograd's demo, a 2-16-16-1 network with the margin loss, in Python loops: a step, and the parameters."""
    r = np.random.default_rng(1)
    sizes = (2, 16, 16, 1)
    layers = [
        [([kind(w) for w in r.uniform(-1, 1, n).tolist()], kind(b)) for b in r.uniform(-0.1, 0.1, m).tolist()]
        for n, m in itertools.pairwise(sizes)
    ]
    parameters = [p for layer in layers for weights, bias in layer for p in (*weights, bias)]
    xs, ys = moons(samples)
    empty = kind(0.0).grad  # micrograd starts at 0

    def step() -> Any:
        for p in parameters:
            p.grad = empty
        losses = []
        for x, y in zip(xs, ys, strict=True):
            a = [kind(v) for v in x]
            for layer in layers:
                z = []
                for weights, bias in layer:
                    s = bias
                    for w, v in zip(weights, a, strict=True):
                        s = s + w * v
                    z.append(s)
                a = z if layer is layers[-1] else [getattr(s, activation)() for s in z]
            losses.append((a[0] * -y + 1.0).relu())
        loss = losses[0]
        for term in losses[1:]:
            loss = loss + term
        penalty = parameters[0] * parameters[0]
        for p in parameters[1:]:
            penalty = penalty + p * p
        loss = loss * (1 / samples) + penalty * 1e-4
        loss.backward()
        return loss

    return step, parameters


def scalar_mlp(repeats: int) -> None:
    """The demo network of micrograd, loss and all gradients, 100 samples."""
    print("\nmicrograd's demo, 2-16-16-1 with relu, 100 samples, 65,000 scalar nodes: loss and all gradients; ms")

    def timed(step: Callable[[], Any], collector: bool) -> Callable[[], float]:
        def run() -> float:
            if not collector:
                gc.disable()
            try:
                return per_call(step, 1) / 1e3
            finally:
                gc.enable()

        return run

    ours, parameters = scalar_network(tn.Value, 100, "relu")
    contenders = {"tinygrad_notes": timed(ours, True), "tinygrad_notes, collector off": timed(ours, False)}
    if has("micrograd"):
        import micrograd.engine

        sys.setrecursionlimit(10**6)
        theirs, their_parameters = scalar_network(micrograd.engine.Value, 100, "relu")
        contenders |= {"micrograd": timed(theirs, True), "micrograd, collector off": timed(theirs, False)}
        ours(), theirs()
        np.testing.assert_allclose([p.grad for p in parameters], [p.grad for p in their_parameters], atol=1e-12)
    found = in_turn(contenders, repeats)
    for name, times in found.items():
        print(f"{name:32s} {spread(times):>18s}   times ours {ratio(times, found['tinygrad_notes'])}")


# --- arrays -----------------------------------------------------------------------------------------------------------


def array_ops(repeats: int) -> None:
    """What a recorded array op costs over NumPy's own call, and a chain of additions."""
    a = np.ones((4, 4))
    t = tn.Tensor(a)
    print("\nAn op on a 4x4 array, forward and recorded; µs a call")
    pairs: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "a + b": (lambda: a + a, lambda: t + t),
        "a * b": (lambda: a * a, lambda: t * t),
        "a * 2": (lambda: a * 2.0, lambda: t * 2.0),
        "-a": (lambda: -a, lambda: -t),
        "a @ b": (lambda: a @ a, lambda: t @ t),
        "tanh(a)": (lambda: np.tanh(a), lambda: tn.tanh(t)),
        "maximum(a, b)": (lambda: np.maximum(a, a), lambda: tn.maximum(t, t)),
        "sum(a, axis=0)": (lambda: np.sum(a, axis=0), lambda: tn.sum(t, axis=0)),
        "reshape(a)": (lambda: np.reshape(a, (16,)), lambda: tn.reshape(t, shape=(16,))),
        "permute_dims(a)": (lambda: np.permute_dims(a, (1, 0)), lambda: tn.permute_dims(t)),
        "a[1]": (lambda: a[1], lambda: t[1]),
    }
    for name, (plain, recorded) in pairs.items():
        timed = {
            "NumPy": functools.partial(per_call, plain),
            "Tensor": functools.partial(per_call, recorded),
        }
        found = in_turn(timed, repeats)
        over = [u - v for u, v in zip(found["Tensor"], found["NumPy"], strict=True)]
        cells = [f"{name} {spread(times, 2):>18s}" for name, times in (*found.items(), ("over", over))]
        print(f"{name:16s} " + "   ".join(cells))

    print("\nA chain of 100 additions of 4x4 arrays, forward and backward; µs an op")

    def chained(x: Any, other: Any) -> Any:
        for _ in range(100):
            x = x + other
        return x

    def by_numpy() -> None:
        chained(a, a)
        chained(a, a)  # the gradient of what is added each time, summed

    chains: dict[str, Callable[[], Any]] = {
        "tinygrad_notes": lambda: chained(t, t).backward(a),
        "NumPy, the same work": by_numpy,
    }
    if has("torch"):
        import torch

        torch.set_num_threads(1)
        u = torch.ones((4, 4), dtype=torch.float64, requires_grad=True)
        g = torch.ones((4, 4), dtype=torch.float64)
        chains["torch"] = lambda: chained(u, u).backward(g)
    if has("autograd"):
        import autograd

        chains["autograd"] = lambda: autograd.make_vjp(lambda x: chained(x, x))(a)[0](a)
    if has("mygrad"):
        import mygrad

        m = mygrad.tensor(a)
        chains["MyGrad"] = lambda: chained(m, m).backward(a)
    found = in_turn({name: functools.partial(per_call, f, 20) for name, f in chains.items()}, repeats)
    found = {name: [time / 100 for time in times] for name, times in found.items()}
    for name, times in found.items():
        print(f"{name:24s} {spread(times, 2):>20s}   times ours {ratio(times, found['tinygrad_notes'])}")


# --- import -----------------------------------------------------------------------------------------------------------


def import_time(repeats: int) -> None:
    """What `import tinygrad_notes` takes beyond NumPy's own import."""

    def process(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return (time.perf_counter() - start) * 1e3

    print("\nImport, ms a process, wall time")
    numpys, ours = "import numpy", "import numpy, tinygrad_notes"
    found = in_turn({code: functools.partial(process, code) for code in (numpys, ours)}, repeats)
    beyond = [b - a for a, b in zip(found[numpys], found[ours], strict=True)]
    print(f"numpy {spread(found[numpys])}   and ours {spread(found[ours])}   beyond numpy {spread(beyond)}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", help="chain, mlp, arrays, import; all of them by default")
    parser.add_argument("--nodes", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    packages = ("tinygrad_notes", "numpy", "micrograd", "xad", "torch", "autograd", "mygrad")
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in packages if has(p))
    print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}; {versions}")
    if hasattr(os, "getloadavg"):
        print(f"load of the machine before: {os.getloadavg()[0]:.1f}")
    tables: dict[str, Callable[[], None]] = {
        "chain": lambda: scalar_chain(args.nodes, args.repeats),
        "mlp": lambda: scalar_mlp(args.repeats),
        "arrays": lambda: array_ops(args.repeats),
        "import": lambda: import_time(args.repeats),
    }
    for name in args.tables or tables:
        tables[name]()


if __name__ == "__main__":
    main()
