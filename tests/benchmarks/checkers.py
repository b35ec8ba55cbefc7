"""How well checkers of gradients check: this one, PyTorch's, JAX's and autograd's, on the same rules and mutants.

    python tests/benchmarks/checkers.py [--quick] [--points 40] [--seeds 0 1 2]

About two dozen functions with their derivatives (`checked_rules.py`) are written once and run by every library. Each
derivative is changed in some fifteen ways (the mutants); one that mpmath cannot tell from the right one at many points
is left out. A mutant is detected if a checker calls it wrong at a point at which it does not call the right rule wrong,
so that a checker that cries at everything detects nothing. At kinks the rules give a valid subgradient; alarms there
are counted apart. Peers that are not installed are left out (dependency group `peers`, and jax).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import math
import os
import platform
import random
import statistics
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # for those who import this file instead of running it
from checked_rules import FUNCTIONS, Corpus, Function, Point, Points, Rule, generated, make_corpus, normal

Judge = Callable[[Point], str]
Checker = Callable[[Function, Rule], Judge]


# --- the checkers -----------------------------------------------------------------------------------------------------


def ours(traced: bool) -> Checker:
    """This project's, given the rule as formulas that it can record, or as a function of plain floats."""
    import numpy as np

    import tinygrad_notes as tn
    from tinygrad_notes.testing.verdicts import check_gradient

    def checker(f: Function, rule: Rule) -> Judge:
        def formulas(*inputs: Any) -> Any:
            slopes = rule(tn, *inputs)
            return slopes if len(slopes) > 1 else slopes[0]

        def floats(*inputs: Any) -> Any:
            slopes = [float(s) for s in rule(np, *(np.float64(float(x)) for x in inputs))]
            return slopes if len(slopes) > 1 else slopes[0]

        def value(*inputs: Any) -> Any:
            return f.value(tn, *inputs)

        return lambda point: check_gradient(value, *point, gradient=formulas if traced else floats).status

    return checker


def torch_checker(**setting: Any) -> Checker:
    """`torch.autograd.gradcheck` of a `torch.autograd.Function`, in float64 as it asks."""
    import torch

    torch.set_num_threads(1)

    def checker(f: Function, rule: Rule) -> Judge:
        class Custom(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *inputs: Any) -> Any:
                ctx.save_for_backward(*inputs)
                return f.value(torch, *inputs)

            @staticmethod
            def backward(ctx: Any, g: Any) -> Any:
                return tuple(g * s for s in rule(torch, *ctx.saved_tensors))

        def judge(point: Point) -> str:
            inputs = tuple(torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in point)
            right = torch.autograd.gradcheck(Custom.apply, inputs, raise_exception=False, **setting)
            return "correct" if right else "wrong"

        return judge

    return checker


def jax_checker(double: bool, **setting: float) -> Checker:
    """`jax.test_util.check_grads` of a `jax.custom_vjp`, first order and reverse mode."""
    import jax
    import jax.numpy as jnp
    from jax.test_util import check_grads

    jax.config.update("jax_enable_x64", True)  # float32 inputs stay float32
    kind = jnp.float64 if double else jnp.float32

    def checker(f: Function, rule: Rule) -> Judge:
        custom = jax.custom_vjp(lambda *inputs: f.value(jnp, *inputs))
        custom.defvjp(
            lambda *inputs: (f.value(jnp, *inputs), inputs),
            lambda inputs, g: tuple((g * s).astype(kind) for s in rule(jnp, *inputs)),
        )

        def judge(point: Point) -> str:
            try:
                check_grads(custom, tuple(jnp.asarray(x, kind) for x in point), order=1, modes=("rev",), **setting)
            except AssertionError:
                return "wrong"
            return "correct"

        return judge

    return checker


def autograd_checker(**setting: float) -> Checker:
    """`autograd.test_util.check_grads` of a primitive, first order and reverse mode. Its tolerances are globals."""
    import numpy as np
    from autograd import test_util
    from autograd.extend import defvjp, primitive

    names = {"eps": "EPS", "atol": "TOL", "rtol": "RTOL"}

    def checker(f: Function, rule: Rule) -> Judge:
        custom = primitive(lambda *inputs: np.float64(f.value(np, *map(np.float64, inputs))))

        def vjp(i: int) -> Any:
            return lambda y, *inputs: lambda g: np.float64(g * rule(np, *map(np.float64, inputs))[i])

        defvjp(custom, *map(vjp, range(f.arity)))
        check = test_util.check_grads(custom, argnum=tuple(range(f.arity)), modes=["rev"], order=1)

        def judge(point: Point) -> str:
            before = {name: getattr(test_util, name) for name in names.values()}
            try:
                for key, value in setting.items():
                    setattr(test_util, names[key], value)
                check(*point)
            except AssertionError:
                return "wrong"
            finally:
                for name, value in before.items():
                    setattr(test_util, name, value)
            return "correct"

        return judge

    return checker


# --- one run ----------------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What one checker did on one set of points."""

    found: Counter[str] = field(default_factory=Counter)
    mutants: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    kinks: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    alarms: list[tuple[str, Point]] = field(default_factory=list)
    missed: list[tuple[str, str]] = field(default_factory=list)

    @property
    def detection(self) -> float:
        return 100 * self.found.total() / max(self.mutants.total(), 1)

    def share(self, status: str) -> float:
        return 100 * self.right[status] / max(self.right.total(), 1)

    @property
    def kink_alarms(self) -> float:
        return 100 * self.kinks["wrong"] / max(self.kinks.total(), 1)

    @property
    def milliseconds(self) -> float:
        return 1e3 * self.seconds / max(self.right.total() + self.kinks.total(), 1)


def run(checker: Checker, corpus: Corpus, points: Points) -> Tally:
    """The right rules at every point, then each mutant until it is found."""
    tally = Tally()
    for f in FUNCTIONS:
        judge, accepted = checker(f, f.slopes), []
        for point in points[f.name]:
            start = time.process_time()
            status = judge(point)
            tally.seconds += time.process_time() - start
            if f.kink(*point):
                tally.kinks[status] += 1
            else:
                tally.right[status] += 1
            if status == "wrong":
                tally.alarms.append((f.name, point))
            else:
                accepted.append(point)
        for kind, rule in corpus[f.name].items():
            judge = checker(f, rule)
            tally.mutants[kind] += 1
            if any(judge(point) == "wrong" for point in accepted):
                tally.found[kind] += 1
            else:
                tally.missed.append((f.name, kind))
    return tally


def every_third(corpus: Corpus) -> Corpus:
    """A sample of the mutants, of every kind and function."""
    return {name: dict(list(of.items())[i % 3 :: 3]) for i, (name, of) in enumerate(corpus.items())}


GRID = {"eps": (1e-4, 1e-5, 1e-6), "atol": (1e-7, 1e-9, 1e-11), "rtol": (1e-6, 1e-7, 1e-8)}


def best_setting(make: Callable[..., Checker], corpus: Corpus, points: Points) -> dict[str, float]:
    """The setting of a small grid, or the default, with the most detection less false alarms."""
    best: tuple[float, dict[str, float]] = (-math.inf, {})
    for setting in ({}, *(dict(zip(GRID, chosen, strict=True)) for chosen in product(*GRID.values()))):
        tally = run(make(**setting), corpus, points)
        score = tally.detection - tally.share("wrong")
        if score > best[0]:
            best = (score, setting)
    return best[1]


def installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def checkers() -> dict[str, tuple[Callable[..., Checker], bool]]:
    """Every checker that is installed, and whether it has tolerances."""
    known: dict[str, tuple[Callable[..., Checker], bool]] = {
        "ours, formulas": (lambda: ours(True), False),
        "ours, floats": (lambda: ours(False), False),
    }
    if installed("torch"):
        known["torch"] = (torch_checker, True)
    if installed("jax"):
        known["jax float32"] = (lambda **setting: jax_checker(False, **setting), False)
        known["jax float64"] = (lambda **setting: jax_checker(True, **setting), True)
    if installed("autograd"):
        known["autograd"] = (autograd_checker, True)
    return known


# --- the tables -------------------------------------------------------------------------------------------------------

ARMS = {
    "a": "defaults, one standard normal point",
    "b": "defaults, generated points",
    "c": "best tolerances, generated points",
}


def spread(numbers: Sequence[float], digits: int = 1) -> str:
    """The median, with the least and the largest where they differ."""
    low, middle, high = (f"{x:.{digits}f}" for x in (min(numbers), statistics.median(numbers), max(numbers)))
    return middle if low == high else f"{middle} ({low}–{high})"


def print_arm(arm: str, tallies: dict[str, list[Tally]]) -> None:
    """One row for each checker."""
    print(f"\n### ({arm}) {ARMS[arm]}\n")
    print("| checker | detected, % | false alarms, % | alarms at kinks, % | undecided, % | processor ms a check |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, of in tallies.items():
        at_kinks = [t.kink_alarms for t in of if t.kinks]
        cells = [
            spread([t.detection for t in of]),
            spread([t.share("wrong") for t in of], 2),
            spread(at_kinks) if at_kinks else "–",
            spread([t.share("undecided") for t in of], 2) if name.startswith("ours") else "–",
            spread([t.milliseconds for t in of], 2),
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")


def print_kinds(arm: str, tallies: dict[str, list[Tally]]) -> None:
    """Detection by kind of mutant, over all seeds."""
    print(f"\n### Detected of each kind of mutant, all seeds, arm ({arm})\n")
    print("| mutant | " + " | ".join(tallies) + " |")
    print("| --- |" + " --- |" * len(tallies))
    first = next(iter(tallies.values()))
    for kind in first[0].mutants:
        cells = [f"{sum(t.found[kind] for t in of)}/{sum(t.mutants[kind] for t in of)}" for of in tallies.values()]
        print(f"| {kind} | " + " | ".join(cells) + " |")


def print_exceptions(tallies: dict[str, list[Tally]], most: int = 12) -> None:
    """What this checker missed and where it cried at a right rule."""
    for name, of in tallies.items():
        if name.startswith("ours"):
            missed = Counter(miss for t in of for miss in t.missed)
            alarms = sorted({alarm for t in of for alarm in t.alarms})
            print(f"\n{name}: missed: " + (", ".join(f"{f} {k} ({n})" for (f, k), n in missed.items()) or "none"))
            print(f"{name}: alarms at right rules: " + (", ".join(f"{f} at {p}" for f, p in alarms[:most]) or "none"))


def print_machine() -> None:
    packages = ("tinygrad_notes", "python-flint", "mpmath", "numpy", "torch", "jax", "autograd")
    versions = []
    for package in packages:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            without = "mpmath serves instead" if package == "python-flint" else "it is left out"
            print(f"{package} is not installed: {without}.")
    print(f"python {' '.join(sys.argv)}")
    print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}")
    print(", ".join(versions))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--points", type=int, default=40, help="generated points for each function")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--quick", action="store_true", help="one seed, 5 points, every third mutant, no search for tolerances"
    )
    args = parser.parse_args()
    if args.quick:
        args.points, args.seeds = 5, args.seeds[:1]
    if not installed("mpmath"):
        sys.exit("checkers.py: mpmath is not installed; it tells which mutants are wrong: pip install mpmath")
    import numpy as np

    warnings.filterwarnings("ignore")
    np.seterr(all="ignore")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    print_machine()
    corpus, dropped = make_corpus(random.Random(99), 30 if args.quick else 300)
    corpus = every_third(corpus) if args.quick else corpus
    count = sum(map(len, corpus.values()))
    print(f"{len(FUNCTIONS)} functions, {count} mutants ({dropped} more are right by mpmath and left out),")
    print(f"{args.points} generated points a function, seeds {', '.join(map(str, args.seeds))}")

    known = checkers()
    tallies: dict[str, dict[str, list[Tally]]] = {arm: defaultdict(list) for arm in ARMS}
    settings: dict[str, dict[str, float]] = {}
    if not args.quick:
        rng = random.Random(98)
        sample = {f.name: [generated(f, rng) for _ in range(6)] for f in FUNCTIONS}
        np.random.seed(98)
        settings = {
            name: best_setting(make, every_third(corpus), sample) for name, (make, tunable) in known.items() if tunable
        }
        print("best tolerances: " + "; ".join(f"{name} {s}" for name, s in settings.items()))
    for seed in args.seeds:
        rng = random.Random(seed)
        one = {f.name: [normal(f, rng)] for f in FUNCTIONS}
        many = {f.name: [generated(f, rng) for _ in range(args.points)] for f in FUNCTIONS}
        for name, (make, _) in known.items():
            np.random.seed(seed)  # autograd draws its directions from it
            run(make(), {f.name: {} for f in FUNCTIONS}, one)  # what is made when first used
            tallies["a"][name].append(run(make(), corpus, one))
            tallies["b"][name].append(run(make(), corpus, many))
            if name in settings:
                tallies["c"][name].append(run(make(**settings[name]), corpus, many))
    if settings:
        for name in known:
            if name.startswith("ours"):  # there is nothing to choose
                tallies["c"][name] = tallies["b"][name]
    for arm, of in tallies.items():
        if of:
            print_arm(arm, {name: of[name] for name in known if name in of})
    for arm in ("b", "c"):
        if tallies[arm]:
            print_kinds(arm, {name: tallies[arm][name] for name in known if name in tallies[arm]})
    print_exceptions(tallies["b"])


if __name__ == "__main__":
    main()
