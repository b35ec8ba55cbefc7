"""Right gradients are never called wrong, and seldom left undecided; HYPOTHESIS_PROFILE=thorough: in 100,000 checks."""

from __future__ import annotations

import math
import os
from collections import Counter

import numpy as np
import pytest
from measure import check_right
from right_gradients import Right, by_hand, of_the_table

import tinygrad_notes as tn
from tinygrad_notes.testing.verdicts import check_gradient

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
ALL = [*of_the_table(), *of_the_table(2), *by_hand()]
# An eighth of the uses of the rows, and what is written by hand.
SOME = [r for k, r in enumerate(ALL) if k % 8 == 0 or r.arm in ("gradient in floats", "black box")]
RIGHTS = ALL if THOROUGH else SOME
CHECKS = -(-100_000 // len(ALL)) if THOROUGH else 8


@pytest.mark.parametrize("right", RIGHTS, ids=lambda r: f"{r}-{r.order}")
def test_a_right_gradient_is_not_called_wrong(right: Right) -> None:
    found, bad, _ = check_right(right, CHECKS)
    assert not found["wrong"], "\n".join(b for b in bad if ": wrong (" in b)


def test_few_verdicts_are_undecided() -> None:
    found: Counter[str] = Counter()
    for right in RIGHTS if THOROUGH else RIGHTS[::3]:
        found += check_right(right, CHECKS, seed=1)[0]
    assert found["undecided"] <= 0.02 * found.total(), dict(found)


FULL = 22097.840831865673
EXTREME = {
    "underflow at a tie": (lambda x: tn.tanh(0.01 * tn.sum(tn.max(x))), np.array([1e6, 1e6]), None),
    "a root of a square at 0": (lambda x: tn.sqrt(tn.square(x)), 0.0, lambda x: 1.0),
    "log_softmax of large equals": (tn.log_softmax, np.full((2, 3), FULL), None),
    "softmax of large equals": (tn.softmax, np.full((2, 3), FULL), None),
    "logsumexp of large equals": (tn.logsumexp, np.full(12, 245688.32616980118), None),
    "many ties": (tn.max, np.ones((2, 3, 2)), None),
}


@pytest.mark.parametrize("name", EXTREME)
def test_extreme_points_raise_no_alarm(name: str) -> None:
    f, x, gradient = EXTREME[name]
    verdict = check_gradient(f, x, gradient=gradient)
    assert verdict.status != "wrong", str(verdict)


DECIDED = {
    "a value above 1e154": (np.exp, 357.2731995175343, lambda x: math.exp(float(x))),
    "a slope that is 0": (lambda x: tn.tanh(0.01 * tn.sum(tn.softmax(x))), np.ones((2, 3)), None),
    "saturation": (lambda x: tn.tanh(0.01 * tn.exp(x)), 100.0, None),
}


@pytest.mark.parametrize("name", DECIDED)
def test_what_can_be_decided_is(name: str) -> None:
    f, x, gradient = DECIDED[name]
    verdict = check_gradient(f, x, gradient=gradient)
    assert verdict.status == "correct", str(verdict)
