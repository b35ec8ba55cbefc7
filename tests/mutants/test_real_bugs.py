"""Each class of real bugs is caught, its right version is not accused, and a choice at a kink is no alarm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from corpus import Mutant, find
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st
from points import many_points, points
from real_bugs import BUGS, POLICIES, Bug, Policy

from tinygrad_notes.testing.verdicts import check_gradient


def _status(bug: Bug, gradient: Any, point: Sequence[Any]) -> str:
    return check_gradient(bug.f, *point, gradient=gradient, order=bug.order).status


@pytest.mark.parametrize("bug", BUGS, ids=str)
def test_the_bug_is_caught(bug: Bug) -> None:
    known = any(_status(bug, bug.wrong, point) == "wrong" for point in bug.points)
    assert known or find(Mutant(bug.name, "", "", bug.f, bug.f, bug.space, bug.wrong, bug.order))


@pytest.mark.parametrize("bug", BUGS, ids=str)
@seed(0)
@settings(max_examples=25, phases=[Phase.generate], database=None)
@given(data=st.data())
def test_the_right_version_is_not_accused(bug: Bug, data: st.DataObject) -> None:
    assert _status(bug, bug.right, data.draw(points(bug.space))) != "wrong"


@pytest.mark.parametrize("bug", [b for b in BUGS if b.points], ids=str)
def test_the_right_version_is_not_accused_at_the_edge(bug: Bug) -> None:
    for point in bug.points:
        assert _status(bug, bug.right, point) != "wrong"


@pytest.mark.parametrize("bug", BUGS, ids=str)
def test_the_right_version_is_decided(bug: Bug) -> None:
    found = [_status(bug, bug.right, point) for point in many_points(bug.space, 8)]
    assert found.count("undecided") <= 2


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_a_choice_at_a_kink_is_no_alarm(policy: Policy) -> None:
    for answer in policy.answers:
        verdict = check_gradient(policy.f, *policy.point, gradient=lambda *xs, answer=answer: answer)
        assert verdict.status != "wrong", f"{answer}\n{verdict}"


@pytest.mark.parametrize("policy", [p for p in POLICIES if p.wrong], ids=str)
def test_what_lies_beyond_both_sides_is_wrong(policy: Policy) -> None:
    for answer in policy.wrong:
        verdict = check_gradient(policy.f, *policy.point, gradient=lambda *xs, answer=answer: answer)
        assert verdict.status == "wrong", f"{answer}\n{verdict}"
