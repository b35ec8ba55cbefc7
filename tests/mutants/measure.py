"""What the checker finds of the corpus, and how often it errs on right gradients.

    python tests/mutants/measure.py [CHECKS] [--programs 400] [--rows tanh,matmul] [--seed 0]

prints false alarms and undecided verdicts in so many checks of right gradients, and the median time of a check of
numbers; the size that a failing random program shrinks to, and the time that takes, for a fault in every row; how often
the wrong rule is named, in so many programs with one fault; the detection of structural and of tiny mutants by kind,
with the misses named. Times are of the processor. The figures of docs/checker.md come from here.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

sys.path.insert(0, str(Path(__file__).parent.parent / "ops"))

from corpus import TINY, Mutant, find, is_equivalent, mutants
from faulty_programs import faults, locate, percentile, shrink
from mutants_by_hand import ARMS, mutants_by_hand
from points import points
from right_gradients import Right, by_hand, of_the_table

from tinygrad_notes.ops import TABLE
from tinygrad_notes.testing.verdicts import check_gradient


def check_right(right: Right, checks: int, seed: int = 0) -> tuple[Counter[str], list[str], list[float]]:
    """The verdicts of so many checks of a right gradient, the points of the bad ones, seconds of each check."""
    found: Counter[str] = Counter()
    bad: list[str] = []
    seconds: list[float] = []

    @seeded(seed)
    @settings(
        max_examples=checks,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(points(right.space))
    def check(point: list[Any]) -> None:
        started = time.process_time()
        verdict = check_gradient(right.f, *point, gradient=right.gradient, order=right.order)
        seconds.append(time.process_time() - started)
        found[verdict.status] += 1
        if verdict.status in ("wrong", "undecided"):
            shown = ", ".join(repr(x if isinstance(x, float) else np.asarray(x).tolist()) for x in point)
            bad.append(f"{right} at {shown}: {verdict.status} ({verdict.tier}): {verdict.finding}")

    check()
    return found, bad, seconds


def measure_detection(mutants: Iterable[Mutant], seed: int) -> None:
    """Print what is found of the mutants."""
    tried: Counter[str] = Counter()
    caught: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    misses: list[Mutant] = []
    for mutant in mutants:
        if is_equivalent(mutant):
            dropped[mutant.kind] += 1
            continue
        tried[mutant.kind] += 1
        try:
            found = find(mutant, seed=seed)
        except Exception as error:
            found = False
            print(f"{mutant}: {type(error).__name__}: {error}")
        caught[mutant.kind] += found
        misses += [] if found else [mutant]
    print(f"{'mutation':32}  found of tried   dropped as equivalent")
    for kind in tried:
        print(f"{kind:32} {caught[kind]:6} {tried[kind]:7} {dropped[kind]:10}")
    for name, kinds in (("structural", [k for k in tried if k != TINY]), ("tiny", [TINY])):
        right, all_ = sum(caught[k] for k in kinds), sum(tried[k] for k in kinds)
        print(f"{name}: {right} of {all_}, {100 * right / max(all_, 1):.2f} %")
    print("missed:", ", ".join(map(str, misses)) or "none")


def measure_alarms(rights: Sequence[Right], checks: int, seed: int) -> None:
    """Print what is said of right gradients."""
    totals: dict[str, Counter[str]] = {}
    bad: list[str] = []
    scalar: list[float] = []
    each = -(-checks // len(rights))
    for right in rights:
        try:
            found, worst, seconds = check_right(right, each, seed)
        except Exception as error:
            found, worst, seconds = Counter(raised=1), [f"{right}: wrong: {type(error).__name__}: {error}"], []
        totals.setdefault(right.arm, Counter()).update(found)
        bad += worst[:3]
        if all(s == () for s in right.space.shapes):
            scalar += seconds
    for arm, found in totals.items():
        print(f"{arm}: {dict(found)}, undecided {100 * found['undecided'] / found.total():.2f} %")
    everything = sum(totals.values(), Counter())
    print(
        f"all: {everything.total()} checks, {everything['wrong']} false alarms, "
        f"{100 * everything['undecided'] / everything.total():.2f} % undecided"
    )
    print(f"median of a check of numbers: {1000 * statistics.median(scalar):.2f} ms")
    print("\n".join(bad))


def measure_shrinking(seed: int) -> None:
    """Print what failing programs shrink to, one for each row."""
    found = [(f"{name}, {kind}", shrink(name, kind, seed)) for name, kind in faults()]
    met = [(name, s) for name, s in found if s is not None]
    ops, seconds = [s.ops for _, s in met], [s.seconds for _, s in met]
    print(f"\nshrinking: {len(met)} of {len(found)} faults found in random programs")
    print("not found:", ", ".join(name for name, s in found if s is None) or "none")
    print(f"ops: median {statistics.median(ops)}, 95th percentile {percentile(ops, 0.95)}, most {max(ops)}")
    print(f"on whole numbers from -3 to 3: {sum(s.on_small_integers for _, s in met)} of {len(met)}")
    print(
        f"seconds to a shrunk failure: median {statistics.median(seconds):.2f}, "
        f"95th percentile {percentile(seconds, 0.95):.2f}, most {max(seconds):.2f}"
    )
    for name, s in met:
        if s.ops > 2 or not s.on_small_integers or s.seconds > 5:
            print(f"{name}: {s.ops} ops, {s.seconds:.2f} s\n{s.program}")


def measure_localisation(programs: int, seed: int) -> None:
    """Print how often the wrong rule is named."""
    found = locate(programs, seed)
    print(
        f"\nlocalisation: {found.programs} programs of 5 to 50 nodes with one fault, {found.wrong} of them wrong at "
        f"their inputs (median {statistics.median(found.nodes)} nodes, most {max(found.nodes)})"
    )
    print(f"the wrong rule is named in {found.named} of {found.wrong}, {100 * found.named / found.wrong:.2f} %")
    print("\n".join(found.strayed))


def main() -> None:
    """Read the arguments and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checks", type=int, nargs="?", default=20_000)
    parser.add_argument("--programs", type=int, default=400)
    parser.add_argument("--rows", default=",".join(TABLE))
    parser.add_argument("--seed", type=int, default=0)
    given_ = parser.parse_args()
    rows = given_.rows.split(",")
    if given_.checks:
        rights = [r for r in [*of_the_table(), *of_the_table(2)] if r.name.split("-")[0] in rows] + list(by_hand())
        measure_alarms(rights, given_.checks, given_.seed)
    if given_.programs:
        measure_shrinking(given_.seed)
        measure_localisation(given_.programs, given_.seed)
    for name, found in {
        "rows of the table": (m for row in rows for m in mutants(row)),
        **{f"by hand, {arm}": mutants_by_hand(arm) for arm in ARMS},
    }.items():
        print(f"\n{name}")
        measure_detection(found, given_.seed)


if __name__ == "__main__":
    main()
