"""Hypothesis's entry point, loaded as the top-level module `tinygrad_notes_hypothesis` (see pyproject.toml).

Hypothesis loads it in every process that imports Hypothesis, so it imports nothing: types are registered here only if
the package is there already. Otherwise `tinygrad_notes.testing` registers them when it is imported.
"""

import sys


def register() -> None:
    """Register the strategies of `Value` and `Tensor`, if the package has been imported."""
    if "tinygrad_notes" in sys.modules:
        from tinygrad_notes.testing.hypothesis_types import register as types

        types()
