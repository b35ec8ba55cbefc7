"""What all tests share: Hypothesis profiles, and an op table that each test leaves as it found it."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tinygrad_notes.graph import Node
from tinygrad_notes.ops import NODE_KINDS, TABLE
from tinygrad_notes.ops.namespaces import floats, numpy_reading

hypothesis.settings.register_profile("dev", max_examples=50, deadline=None)
hypothesis.settings.register_profile("ci", max_examples=50, deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.register_profile("thorough", max_examples=2000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))

# The rows' sample inputs and oracles (ops/table_cases.py) serve several test files.
sys.path.insert(0, str(Path(__file__).parent / "ops"))


def pytest_collection_finish() -> None:
    """Leave all that was imported out of garbage collection, which would look at it time and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _table_unchanged() -> Iterator[None]:
    """Take back the rows that a test adds, with the methods and look-ups made from them."""
    rows = set(TABLE)
    kept = [(reading, dict(vars(reading))) for reading in (floats, numpy_reading)]
    yield
    added = TABLE.keys() - rows
    if added:
        for name in added:
            del TABLE[name]
            for kind in (Node, *NODE_KINDS):
                if name in vars(kind):
                    delattr(kind, name)
        for reading, before in kept:
            vars(reading).clear()
            vars(reading).update(before)
