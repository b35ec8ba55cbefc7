"""Random programs with one wrong rule: how small a failure gets, how long that takes, whether the rule is named."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from corpus import ENTRY, mutated_partials, mutated_vjp
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from tinygrad_notes.ops import TABLE, Op
from tinygrad_notes.testing.programs import Program, graphs
from tinygrad_notes.testing.verdicts import check_gradient

# Those that `graphs` leaves out.
_NOT_DRAWN = frozenset({"astype", "identity", "one_minus", "cross_entropy"})
ROWS = [name for name, op in TABLE.items() if op.differentiable and name not in _NOT_DRAWN]
KINDS = [kind for kind in ENTRY if "at 0" not in kind and "beyond" not in kind]
"""Faults that show at most points; the others are met at few of a program's."""
_LEAST_OPS = (4, 12, 20, 30)


def faulty(name: str, kind: str) -> Op:
    """A row with a fault in its first rule that counts (of `where`, that of its second argument)."""
    op, position = TABLE[name], 1 if name == "where" else 0
    return (mutated_partials if op.elementwise else mutated_vjp)(op, ENTRY[kind], position)


def faults() -> Iterator[tuple[str, str]]:
    """A row and a kind of fault; each row once, the kinds in turn."""
    for k, name in enumerate(ROWS):
        # The slope of sign is 0, and so is every multiple of it.
        yield name, "offset" if name == "sign" else KINDS[k % len(KINDS)]


# --- shrinking --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shrunk:
    """The smallest failing program that Hypothesis finds.

    Attributes:
        seconds: processor time from the start of the search to the end of the shrinking.
        to_failure: the same to the first failure.
        checks: how many programs were checked.
    """

    program: Program
    seconds: float
    to_failure: float
    checks: int

    @property
    def ops(self) -> int:
        return len(self.program.instructions)

    @property
    def on_small_integers(self) -> bool:
        return all(np.all(np.isin(x, range(-3, 4))) for x in self.program.inputs)


def shrink(name: str, kind: str, seed: int = 0, max_ops: int = 12) -> Shrunk | None:
    """Search a failing program, and shrink it; `None` if there is none among 2000."""
    wrong = faulty(name, kind)
    failing: list[tuple[Program, float]] = []
    checks = 0
    started = time.process_time()

    @seeded(seed)
    @settings(
        max_examples=2000,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(graphs(max_ops=max_ops))
    def is_right(program: Program) -> None:
        nonlocal checks
        changed = program
        for i, step in enumerate(program.instructions):
            changed = changed.replace(i, wrong) if step.op.name == name else changed
        if changed is program:
            return
        checks += 1
        if check_gradient(changed, *changed.inputs).status == "wrong":
            failing.append((program, time.process_time() - started))
            raise AssertionError

    try:
        is_right()
    except AssertionError:
        return Shrunk(failing[-1][0], time.process_time() - started, failing[0][1], checks)
    return None


# --- localisation -----------------------------------------------------------------------------------------------------


@dataclass
class Located:
    """How often a wrong gradient was traced to the wrong rule.

    Attributes:
        programs: with a fault in them.
        wrong: of these, so many gradients were called wrong: the fault of the others does not show at their inputs.
        named: of these, so often it is the wrong rule that was named.
        nodes: of the programs with a wrong gradient.
        strayed: where another one was named, or none.
    """

    programs: int = 0
    wrong: int = 0
    named: int = 0
    nodes: list[int] = field(default_factory=list)
    strayed: list[str] = field(default_factory=list)


def locate(programs: int, seed: int = 0) -> Located:
    """Plant one fault in each of so many programs of 5 to 50 nodes, and see which rule is named."""
    found = Located()
    for k, least in enumerate(_LEAST_OPS):
        _locate(found, programs // len(_LEAST_OPS), least, seed + k)
    return found


def _locate(found: Located, programs: int, least: int, seed: int) -> None:

    @seeded(seed)
    @settings(
        max_examples=programs,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(graphs(min_ops=least, max_ops=40), st.integers(0, 10**6), st.sampled_from(KINDS))
    def is_named(program: Program, at: int, kind: str) -> None:
        places = [i for i, step in enumerate(program.instructions) if step.op.differentiable]
        size = len(program.inputs) + len(program.instructions)
        if not (5 <= size <= 50 and places):
            return
        position = places[at % len(places)]
        wrong = faulty(program.instructions[position].op.name, kind)
        found.programs += 1
        verdict = check_gradient(program.replace(position, wrong), *program.inputs)
        if verdict.status != "wrong":
            return
        found.wrong += 1
        found.nodes.append(size)
        if verdict.node is not None and verdict.node.op is wrong:
            found.named += 1
        else:
            named = verdict.node.op.name if verdict.node is not None and verdict.node.op is not None else "none"
            found.strayed.append(f"{wrong.name}, {kind}: named {named}\n{program}")

    is_named()


def percentile(values: list[Any], share: float) -> Any:
    """The smallest of the values that so large a share of them does not exceed."""
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]
