"""The residual unit: every formula by hand is right, and depth-first order is wrong, which is what it is there for."""

from tinygrad_notes.notes import residual
from tinygrad_notes.testing.derivations import assert_derivation


def test_every_gradient_by_hand_is_right():
    report = assert_derivation(residual.forward, residual.backward, settings={"max_examples": 30}, **residual.inputs)
    assert [link.name for link in report.links] == ["dr", "da", "dZ", "dw", "db"]
