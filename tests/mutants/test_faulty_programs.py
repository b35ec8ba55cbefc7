"""A wrong rule in a random program shrinks to few ops and is named; HYPOTHESIS_PROFILE=thorough: in many of them."""

from __future__ import annotations

import os
import statistics

import pytest
from faulty_programs import faults, locate, percentile, shrink

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"


@pytest.mark.parametrize(("name", "kind"), [("divide", "relative 1e-6"), ("cosh", "1 %")])
def test_a_failing_program_shrinks_to_few_ops_on_small_whole_numbers(name: str, kind: str) -> None:
    shrunk = shrink(name, kind)
    assert shrunk is not None
    assert shrunk.ops <= 4
    assert shrunk.on_small_integers


@pytest.mark.skipif(not THOROUGH, reason="it takes minutes")
def test_so_do_nearly_all() -> None:
    found = [shrink(name, kind) for name, kind in faults()]
    met = [s for s in found if s is not None]
    assert len(met) >= 0.95 * len(found)
    assert statistics.median(s.ops for s in met) <= 2
    assert percentile([s.ops for s in met], 0.95) <= 4
    assert all(s.on_small_integers for s in met)


def test_the_wrong_rule_is_named_among_many() -> None:
    found = locate(400 if THOROUGH else 16)
    assert found.wrong
    assert found.named >= 0.95 * found.wrong, "\n".join(found.strayed)
