"""The checker finds the mutants: here a sample of the corpus, with HYPOTHESIS_PROFILE=thorough all of it."""

from __future__ import annotations

import os
from collections import defaultdict

import pytest
from corpus import ENTRY, SECOND, TINY, Mutant, find, is_equivalent, mutants, uses
from mutants_by_hand import ARMS, mutants_by_hand

from tinygrad_notes.ops import TABLE

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
SHIPPED = dict(TABLE)  # before any example of the documentation adds rows
ROWS = [name for name in SHIPPED if uses(name)]
KINDS = [
    *ENTRY,
    SECOND,
    "transposed",
    "aliased",
    "missing un-broadcast",
    "wrong at ties",
    "second use of a shared input",
    "wrong topological order",
    "double-counted second backward",
]


def _sample() -> list[Mutant]:
    """Of every row some mutants, of other kinds for each: each kind comes up for many rows."""
    found = list(mutants("sign"))  # most are equivalent: its slope is 0
    for k, name in enumerate(ROWS):
        by_kind: dict[str, list[Mutant]] = defaultdict(list)
        for mutant in mutants(name):
            by_kind[mutant.kind].append(mutant)
        kinds = [kind for kind in KINDS if kind in by_kind]
        chosen = [(5 * k + 7 * j) % len(kinds) for j in range(2)]
        found += [by_kind[kinds[i]][k % len(by_kind[kinds[i]])] for i in chosen]
    return found


SAMPLE = [m for name in ROWS for m in mutants(name)] if THOROUGH else _sample()


def _is_found_unless_right(mutant: Mutant) -> None:
    if is_equivalent(mutant):  # then to find it would be a false alarm
        assert not find(mutant, examples=10)
    else:
        assert find(mutant)


@pytest.mark.parametrize("mutant", SAMPLE, ids=str)
def test_a_mutant_is_found(mutant: Mutant) -> None:
    _is_found_unless_right(mutant)


BY_HAND = [m for arm in ARMS for m in mutants_by_hand(arm)]


@pytest.mark.parametrize("mutant", BY_HAND if THOROUGH else BY_HAND[::31], ids=str)
def test_a_mutant_of_a_gradient_by_hand_is_found(mutant: Mutant) -> None:
    _is_found_unless_right(mutant)


def test_every_kind_and_every_row_is_in_the_sample() -> None:
    kept = [m for m in SAMPLE if not is_equivalent(m)] if not THOROUGH else SAMPLE
    assert {m.kind for m in kept} == set(KINDS)
    assert {m.row for m in kept} == set(ROWS)


def test_rows_without_a_rule_have_no_mutants() -> None:
    assert {name for name in SHIPPED if not uses(name)} == {n for n, op in SHIPPED.items() if not op.differentiable}


@pytest.mark.parametrize("name", ["tanh", "multiply"])
def test_only_what_is_right_everywhere_is_dropped(name: str) -> None:
    """Both rows bend and have all of the reals as domain: every mistake shows."""
    assert not [str(m) for m in mutants(name) if is_equivalent(m)]


def test_the_double_of_no_slope_is_dropped() -> None:
    doubled = next(m for m in mutants("sign") if m.kind == "factor 2")
    assert is_equivalent(doubled)
    assert TINY in ENTRY
