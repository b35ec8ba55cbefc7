"""Time of drawing large graphs, and what a backward pass pays for looking for changed arrays.

    python tests/benchmarks/drawing.py [--nodes 1000 10000 100000] [--repeats 3]

Processor time of this process, the median of the repeats. Graphviz's own time is another process's: it lays out what is
left after folding, and stands in the last column by the clock.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_notes as tn
from tinygrad_notes import mutation


def batch(nodes: int) -> Any:
    """A scalar network, 2-8-1, on a batch."""
    net = tn.nn.MLP([2, 8, 1], of=tn.Value, rng=0)
    rng = np.random.default_rng(0)
    samples = max(1, nodes // 70)
    return sum(tn.nn.binary_cross_entropy(1.0, net(list(rng.normal(size=2)))[0]) for _ in range(samples))


def loop(nodes: int) -> Any:
    """A loop of one unit, unrolled."""
    w, b, x = tn.Value(0.9, name="w"), tn.Value(0.1, name="b"), tn.Value(0.5, name="x")
    for _ in range(nodes // 3):
        x = tn.tanh(x * w + b)
    return x


def processor_time(f: Callable[[], Any], repeats: int) -> float:
    """Seconds of one call, the median."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        f()
        times.append(time.process_time() - start)
    return statistics.median(times)


def step(net: tn.nn.Module, x: Any, y: Any) -> None:
    """One forward and one backward pass."""
    tn.nn.binary_cross_entropy(y, net(x)).backward()  # type: ignore[operator]  # modules are called


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    print(f"{'graph':6s} {'nodes':>9s} {'drawn as':>9s} {'draw, s':>9s} {'layout, s':>10s}")
    for make in (batch, loop):
        for n in args.nodes:
            root = make(n)
            count = len(tn.topological_order(root))
            picture = tn.draw(root)
            seconds = processor_time(lambda root=root: tn.draw(root), args.repeats)
            start = time.perf_counter()
            picture.svg()
            print(
                f"{make.__name__:6s} {count:9,d} {picture.nodes:9d} {seconds:9.3f} {time.perf_counter() - start:10.3f}"
            )

    print("\nOne step of an MLP, forward and backward: without looking, looking as usual, looking always")
    usual = mutation.is_due
    for sizes, examples in (([2, 3, 1], 4), ([30, 16, 1], 64), ([784, 128, 10], 128)):
        net, rng = tn.nn.MLP(sizes, rng=0), np.random.default_rng(0)
        x, y = rng.normal(size=(examples, sizes[0])), np.ones((examples, sizes[-1]))
        often = max(20, 2000 // sizes[0])
        times = {"never": [], "usual": [], "always": []}  # type: dict[str, list[float]]
        for _ in range(5 * args.repeats):
            for name, rule in (("never", lambda n: False), ("usual", usual), ("always", lambda n: True)):
                mutation.is_due = rule
                times[name].append(processor_time(lambda: [step(net, x, y) for _ in range(often)], 1))  # noqa: B023
        mutation.is_due = usual
        never = min(times["never"])
        ratios = ", ".join(f"{min(times[name]) / never:.3f}" for name in ("usual", "always"))
        print(
            f"{'-'.join(map(str, sizes)):12s} {examples:4d} examples   {never / often * 1e6:9.0f} µs   ratios {ratios}"
        )


if __name__ == "__main__":
    main()
