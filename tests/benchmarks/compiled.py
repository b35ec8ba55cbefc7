"""The compiler against its peers, in the same run; the goals of docs/compiler.md.

    python tests/benchmarks/compiled.py [--quick] [--rows W1-relu,W3a] [--repeats 15]

Each contender is made, its first result is compared with a NumPy reference, and then all of a row are timed in turn,
again and again; a ratio is taken within a turn. A turn's time is that of its quickest burst of calls, where a burst
lasts a millisecond or one call: what others interrupt does not count. Over the turns, medians with the least and the
largest. Each contender has a process of its own, with one thread or two; two need both processors to themselves. XLA
takes all processors it is given, which costs more than it gains where there is little to do: so JAX also runs
"pinned" to one (Linux). Everything is in float64. Imports do not count to the first result; compiling does. All of it
takes about five minutes, --quick one.

Peers are the dependency group `peers`; those that are not installed are named and left out.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import multiprocessing
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))  # for those who import this file instead of running it
if TYPE_CHECKING:
    from contenders import Contender

PACKAGES = ("tinygrad_notes", "numpy", "llvmlite", "torch", "jax", "autograd", "mygrad", "casadi", "xad", "micrograd")
PATIENCE = 60.0
"""Seconds that a contender may take to its first result."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Row:
    """A row of the goals' table.

    Attributes:
        title: what is done.
        unit: of the times, and what a second holds of it.
        make: the work, and who takes part.
        quick: whether --quick has it.
    """

    title: str
    unit: tuple[str, float]
    make: Callable[[], tuple[Any, list[Contender]]]
    quick: bool = True


def demo(activation: str, samples: int) -> Row:
    """A row of W1."""

    def make() -> Any:
        import compiled_moons as w1

        return w1.moons(activation, samples), w1.contenders(activation, samples)

    return Row(f"MLP 2-16-16-1, {activation}, {samples:,} samples, loss and all gradients", ("µs", 1e6), make)


def irregular(nodes: int, gradient: bool, quick: bool) -> Row:
    """A row of W2c."""

    def make() -> Any:
        import compiled_graph as w2

        return w2.graph(nodes, gradient), w2.contenders(nodes, gradient)

    what = "value and gradient" if gradient else "value"
    return Row(f"a random irregular graph of {nodes:,} ops, {what}", ("ns an op", 1e9), make, quick)


def steps(sizes: tuple[int, int, int], batch: int, threads: int, loop: int) -> Row:
    """A row of W3."""

    def make() -> Any:
        import compiled_steps as w3

        return w3.training(sizes, batch), w3.contenders(threads, loop)

    shape = "-".join(map(str, sizes))
    return Row(f"two-layer net {shape}, batch {batch}, a step of SGD, {threads} thread(s)", ("µs a step", 1e6), make)


ROWS: dict[str, Row] = {
    "W1-relu": demo("relu", 100),
    "W1-tanh": demo("tanh", 100),
    "W1-relu-10000": demo("relu", 10_000),
    "W1-tanh-10000": demo("tanh", 10_000),
    "W2c": irregular(1_000_000, False, quick=False),
    "W2c-100000": irregular(100_000, False, quick=False),
    "W2c-gradient": irregular(100_000, True, quick=False),
    "W3a": steps((3, 4, 1), 4, 1, 1000),
    "W3b": steps((2, 16, 1), 100, 1, 300),
    "W3c": steps((64, 128, 10), 256, 2, 50),
    "W3d": steps((784, 512, 10), 1024, 2, 4),
}


# --- processes --------------------------------------------------------------------------------------------------------


def serve(pipe: Any, key: str, name: str, batch_seconds: float) -> None:
    """A process for one contender: imports what it needs, makes it, and times it when asked."""
    work, contenders = ROWS[key].make()
    (contender,) = (c for c in contenders if c.name == name)
    if contender.setting == "pinned":
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for package in contender.needs:
        importlib.import_module(package)
    if "torch" in contender.needs:
        import torch

        torch.set_num_threads(2 if contender.setting == "two" else 1)
    if "jax" in contender.needs:
        import jax

        jax.config.update("jax_enable_x64", True)
    import numpy as np
    from contenders import Ready

    np.seterr(over="ignore")  # exp in a sigmoid
    pipe.send("")
    ready: Ready | None = None
    while pipe.recv() is not None:
        try:
            if ready is None:
                ready = Ready(contender, work, batch_seconds)
                pipe.send((ready.first, ready.slow, ready.run.note()))
            else:
                pipe.send(ready.seconds())
        except Exception as error:  # whatever a peer raises, the others go on
            pipe.send(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


class Worker:
    """The process of a contender; it waits, at no cost to the others, until it is asked."""

    def __init__(self, key: str, contender: Contender, batch_seconds: float) -> None:
        threads = "2" if contender.setting == "two" else "1"
        os.environ.update(dict.fromkeys(THREADS, threads))  # read when the process imports NumPy
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        arguments = (theirs, key, contender.name, batch_seconds)
        self.process = context.Process(target=serve, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        self._answer(60)

    def ask(self, seconds: float) -> Any:
        """The first time, have the contender made: seconds to the first result, whether it is slow, a note.

        After that, seconds a step. A text says what went wrong.
        """
        try:
            self.pipe.send("next")
        except OSError:
            return "its process ended"
        return self._answer(seconds)

    def _answer(self, seconds: float) -> Any:
        try:
            if self.pipe.poll(seconds):
                return self.pipe.recv()
        except EOFError:
            return "its process ended"
        self.process.kill()
        return f"nothing within {seconds:.0f} s"

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()


# --- what was found ---------------------------------------------------------------------------------------------------


@dataclass
class Found:
    """What was measured of a contender; or what went wrong."""

    contender: Contender
    first: float = 0.0
    note: str = ""
    trouble: str = ""
    slow: bool = False
    times: dict[int, float] = field(default_factory=dict)


def measure(key: str, repeats: int, quick: bool) -> dict[str, Found]:
    """Make and time all contenders of a row."""
    _, contenders = ROWS[key].make()
    workers: dict[str, Worker] = {}
    found: dict[str, Found] = {}
    try:
        for c in contenders:
            f = found[c.name] = Found(c)
            if c.missing():
                f.trouble = f"not installed: {', '.join(c.missing())}"
            elif quick and not c.quick:
                f.trouble = "left out by --quick"
            elif c.setting == "pinned" and not hasattr(os, "sched_setaffinity"):
                f.trouble = "needs Linux"
            else:
                workers[c.name] = Worker(key, c, 0.01 if quick else 0.03)
                made = workers[c.name].ask(PATIENCE / 3 if quick else PATIENCE)
                if isinstance(made, str):
                    f.trouble = made
                else:
                    f.first, f.slow, f.note = made
            print(f"  {key}: {c.name}: {f.trouble or f'{f.first:.2f} s to the first result'}", file=sys.stderr)
        for turn in range(repeats):
            order = [f for f in found.values() if not f.trouble and (not f.slow or turn < (1 if quick else 3))]
            random.Random(turn).shuffle(order)
            for f in order:
                seconds = workers[f.contender.name].ask(PATIENCE)
                if isinstance(seconds, str):
                    f.trouble = seconds
                else:
                    f.times[turn] = seconds
    finally:
        for worker in workers.values():
            worker.close()
    return found


def ratios(of: Found, to: Found) -> list[float]:
    """How often slower one was than the other, turn by turn."""
    return [of.times[t] / to.times[t] for t in of.times if t in to.times]


def spread(numbers: Sequence[float]) -> str:
    """Median, with the least and the largest, in three digits."""
    return f"{digits(statistics.median(numbers))} ({digits(min(numbers))}–{digits(max(numbers))})" if numbers else "–"


def digits(x: float) -> str:
    """Three digits."""
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def table(key: str, found: dict[str, Found]) -> list[str]:
    """A row's table, quickest first; times of ours in bold."""
    row = ROWS[key]
    unit, scale = row.unit
    ours = [f for f in found.values() if f.contender.ours and f.times]
    timed = sorted((f for f in found.values() if f.times), key=lambda f: statistics.median(f.times.values()))
    lines = [f"**{key}**: {row.title}", ""]
    heads = ["", unit, "least", *(f"× {f.contender.name}" for f in ours), "first result, s"]
    lines += [_line(heads), _line(["---"] * len(heads))]
    for f in timed:
        name = f"**{f.contender.name}**" if f.contender.ours else f.contender.name
        compared = ["1" if o is f else spread(ratios(f, o)) for o in ours]
        times = [t * scale for t in f.times.values()]
        lines.append(_line([name, spread(times), digits(min(times)), *compared, digits(f.first)]))
    lines.append("")
    lines += [f"- {f.contender.name}: {f.note}" for f in timed if f.note]
    lines += [f"- {f.contender.name}: no time, {f.trouble}" for f in found.values() if f.trouble]
    beaten = [f.contender.name for f in timed[: next((k for k, f in enumerate(timed) if f.contender.ours), len(timed))]]
    lines += [f"- **Quicker than ours: {', '.join(beaten)}.**"] if beaten else []
    return [*lines, ""]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


# --- goals ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Goal:
    """A goal: what the peers take over what ours takes is at least so much; or ours alone takes at most so much.

    Attributes:
        row: its key.
        ours: a contender.
        peers: the quickest of those that were timed counts.
        least: the ratio to reach; or None.
        most: in the row's unit, or, with `first`, seconds to the first result; or None.
        first: whether it is about the first result.
    """

    row: str
    ours: str
    peers: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    first: bool = False

    def line(self, found: dict[str, Found]) -> str:
        """The goal, what was found, and whether it was met."""
        ours = found[self.ours]
        unit, scale = ROWS[self.row].unit
        if self.least is None:
            assert self.most is not None
            goal = f"at most {self.most:g} {'s to the first result' if self.first else unit}"
            numbers = [ours.first] if self.first and ours.times else [t * scale for t in ours.times.values()]
            met = bool(numbers) and statistics.median(numbers) <= self.most
        else:
            timed = [found[p] for p in self.peers if found[p].times]
            peer = min(timed, key=lambda f: statistics.median(f.times.values()), default=None)
            goal = f"{self.least:.3g} × quicker than {peer.contender.name if peer else ', '.join(self.peers)}"
            numbers = ratios(peer, ours) if peer else []
            met = bool(numbers) and statistics.median(numbers) >= self.least
        verdict = (
            "yes" if met else f"**no**{', ' * bool(ours.trouble)}{ours.trouble}" if numbers or ours.trouble else "–"
        )
        return _line([self.row, self.ours, goal, spread(numbers), verdict])


BUFFERS = ("NumPy, out=",)
BY_EXP = (*BUFFERS, "NumPy, out=, tanh by exp")
SCAN = ("JAX scan", "JAX scan, pinned")
GOALS = [
    Goal("W1-relu", "ours, by loops", BUFFERS, least=4),
    Goal("W1-tanh", "ours, by loops", BY_EXP, least=2.5),
    Goal("W1-relu", "ours, by loops, NumPy backend", BUFFERS, least=1 / 1.1),
    Goal("W1-tanh", "ours, by loops, NumPy backend", BUFFERS, least=1 / 1.1),
    Goal("W1-relu", "ours, by loops", most=0.4, first=True),
    Goal("W1-tanh", "ours, by loops", most=0.4, first=True),
    Goal("W1-relu-10000", "ours, vmap, two threads", ("JAX jit, two threads",), least=1.5),
    Goal("W1-tanh-10000", "ours, vmap, two threads", ("JAX jit, two threads",), least=1.5),
    Goal("W2c", "ours", most=10),
    Goal("W2c", "ours", most=3, first=True),
    Goal("W3a", "ours, bound", most=0.5),
    Goal("W3a", "ours, fori", SCAN, least=8),
    Goal("W3b", "ours, fori", SCAN, least=1 / 0.55),
    Goal("W3c", "ours, a call", (*BUFFERS, "JAX scan"), least=1 / 0.75),
    Goal("W3d", "ours, a call", ("JAX jit", "JAX scan"), least=1 / 0.98),
]


def machine() -> str:
    """Processor, system, versions and the command."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            name = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), name)
    except OSError:
        pass
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{package} is not installed")
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{name}, {os.cpu_count()} processors{load}, {platform.system()}, Python {platform.python_version()}; "
        f"{', '.join(versions)}. `python tests/benchmarks/compiled.py {' '.join(sys.argv[1:])}`".replace(
            " `", " Command: `", 1
        )
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="few repeats; leaves out what takes long to make")
    parser.add_argument("--rows", default="", help=f"some of {', '.join(ROWS)}, or the starts of their names")
    parser.add_argument("--repeats", type=int, default=0)
    args = parser.parse_args()
    asked = [r for r in args.rows.split(",") if r]
    chosen = [k for k in ROWS if not asked or any(k == r or (r not in ROWS and k.startswith(r)) for r in asked)]
    if not chosen:
        parser.error(f"--rows {args.rows}: none of {', '.join(ROWS)}")
    chosen = [k for k in chosen if args.rows or not args.quick or ROWS[k].quick]
    print(machine(), flush=True)
    print(
        "Medians, with the least and the largest; a ratio is how often slower than ours, in the same turn.\n",
        flush=True,
    )
    start = time.perf_counter()
    found: dict[str, dict[str, Found]] = {}
    for key in chosen:
        found[key] = measure(key, args.repeats or (5 if args.quick else 15), args.quick)
        print("\n".join(table(key, found[key])), flush=True)
    print("| row | ours | goal | found | met |\n| --- | --- | --- | --- | --- |")
    for goal in GOALS:
        if goal.row in found:
            print(goal.line(found[goal.row]))
    print(f"\n{time.perf_counter() - start:.0f} s in all; float64 everywhere.")


if __name__ == "__main__":
    main()
