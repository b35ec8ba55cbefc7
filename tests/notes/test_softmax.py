"""Softmax regression: the formulas by hand against the true gradient."""

from tinygrad_notes.notes import softmax
from tinygrad_notes.testing import assert_derivation


def test_every_formula_is_the_true_gradient():
    report = assert_derivation(softmax.forward, softmax.backward, settings={"max_examples": 30}, **softmax.inputs)
    assert [link.name for link in report.links] == ["dp", "dZ", "dw", "db"]
