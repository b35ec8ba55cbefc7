"""However a backward pass is written, a right one is not accused, and the mistakes of a wrong one are named."""

import sys
from pathlib import Path

import pytest

from tinygrad_notes.testing import check_derivation

sys.path.insert(0, str(Path(__file__).parent))
from other_styles import RIGHT, WRONG


@pytest.mark.parametrize(("forward", "backward", "inputs"), RIGHT, ids=lambda v: getattr(v, "__name__", ""))
def test_a_right_one_is_not_accused(forward, backward, inputs):
    report = check_derivation(forward, backward, settings={"max_examples": 8}, **inputs)
    assert report.ok, f"\n{report}"


@pytest.mark.parametrize(("forward", "backward", "inputs", "kinds"), WRONG, ids=lambda v: getattr(v, "__name__", ""))
def test_the_mistakes_are_named_and_nothing_else_is(forward, backward, inputs, kinds):
    report = check_derivation(forward, backward, settings={"max_examples": 8}, **inputs)
    own = {link.name: link.diagnosis and link.diagnosis.kind for link in report.links if link.status == "wrong"}
    follows = {link.name: link.follows for link in report.links if link.follows}
    assert {name: kind for name, kind in own.items() if name not in follows} == kinds, f"\n{report}"
    assert all(source in own for source in follows.values())
    assert report.first_wrong == next(iter(kinds))
