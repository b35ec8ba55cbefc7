"""Equal letters are equal sizes; elements stay where they were asked to; failures shrink to simple numbers."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import tinygrad_notes as tn
from tinygrad_notes.testing import arrays_of, inputs, labels, reals
from tinygrad_notes.testing.hypothesis_types import register
from tinygrad_notes.testing.programs import Program
from tinygrad_notes.testing.strategies import one_hot, positives

GIVEN = {"x": arrays_of("n", "m"), "w": arrays_of("h", "n"), "y": labels(1, "m"), "c": np.ones(2), "t": st.just(3)}
quick = settings(max_examples=500, database=None, derandomize=True)


@given(inputs(GIVEN))
def test_sizes_agree(drawn):
    assert drawn["x"].shape == (drawn["w"].shape[1], drawn["y"].shape[1])
    assert all(1 <= n <= 4 for n in drawn["x"].shape)
    assert set(np.unique(drawn["y"])) <= {0.0, 1.0}
    assert drawn["t"] == 3
    assert drawn["c"].tolist() == [1.0, 1.0]


@given(inputs(GIVEN, largest=2, sizes={"n": 3, "h": 7}))
def test_sizes_may_be_fixed(drawn):
    assert drawn["w"].shape == (7, 3)
    assert drawn["x"].shape[0] == 3
    assert drawn["x"].shape[1] <= 2


def test_sizes_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match="given the size q=3, but no array has that letter; there is h, m, n"):
        inputs(GIVEN, sizes={"q": 3})
    with pytest.raises(ValueError, match="given the size n=0; expected a whole number of at least 1"):
        inputs(GIVEN, sizes={"n": 0})


@given(reals(-2, 3))
def test_reals_stay_in_their_interval(v):
    assert -2 <= v <= 3


@given(reals(0.25, 0.75))
def test_reals_between_whole_numbers(v):
    assert 0.25 <= v <= 0.75


@pytest.mark.parametrize(
    ("fails", "simplest"),
    [(lambda v: True, 0.0), (lambda v: v != 0, 1.0), (lambda v: v < 0, -1.0), (lambda v: v > 2.3, 3.0)],
)
def test_reals_shrink_to_small_whole_numbers(fails, simplest):
    assert find(reals(), fails, settings=quick) == simplest


@given(st.data(), st.floats(1e-9, 1e9), st.floats(1, 1e6))
def test_positives_stay_in_their_interval(data, low, factor):
    high = low * factor
    assert low <= data.draw(positives(low, high)) <= high


def test_positives_shrink_to_one_and_reach_every_magnitude():
    assert find(positives(), lambda v: True, settings=quick) == 1.0
    assert find(positives(), lambda v: v > 2.3, settings=quick) == 3.0
    assert find(positives(), lambda v: v < 1e-4, settings=quick) < 1e-4
    assert find(positives(), lambda v: v > 1e5, settings=quick) > 1e5
    assert find(positives(), lambda v: 1e-2 < v < 1e-1, settings=quick) < 1e-1


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (2, 1), (1, np.inf), (np.nan, 1)])
def test_positives_of_an_interval_that_is_none(low, high):
    with pytest.raises(ValueError, match="expected 0 < low <= high"):
        positives(low, high)


@given(inputs({"y": one_hot("k", "m"), "Z": arrays_of("k", "m"), "t": one_hot(3)}))
def test_one_hot_has_a_single_one_in_each_column(drawn):
    assert drawn["y"].shape == drawn["Z"].shape
    assert drawn["y"].dtype == np.float64
    for y in (drawn["y"], drawn["t"]):
        assert np.array_equal(np.sort(y, axis=0)[:-1], np.zeros((len(y) - 1, *y.shape[1:])))
        assert np.all(y.max(axis=0) == 1)


def test_one_hot_reaches_every_class_and_needs_a_size():
    for row in range(3):
        found = find(inputs({"y": one_hot(3, 2)}), lambda d, row=row: d["y"][row, 1] == 1, settings=quick)
        assert found["y"][row].tolist() == ([1.0, 1.0] if row == 0 else [0.0, 1.0])
    with pytest.raises(ValueError, match="one_hot: given no size"):
        one_hot()


def test_sizes_and_zeros_are_reached():
    big = find(inputs({"x": arrays_of("n", "m")}), lambda d: d["x"].shape == (4, 4), settings=quick)
    assert big["x"].shape == (4, 4)
    tie = find(inputs({"x": arrays_of("n")}), lambda d: len(set(d["x"].tolist())) < len(d["x"]), settings=quick)
    assert len(tie["x"]) == 2


# --- types ------------------------------------------------------------------------------------------------------------

register()


@given(st.from_type(tn.Value), st.from_type(tn.Tensor), st.from_type(Program))
def test_types_are_resolved(v, x, program):
    assert isinstance(v, tn.Value)
    assert -10 <= v.data <= 10
    assert isinstance(x, tn.Tensor)
    assert x.data.dtype == np.float64
    assert x.ndim <= 2
    assert x.requires_grad
    assert isinstance(program, Program)


@pytest.mark.parametrize("first", ["hypothesis", "tinygrad_notes.testing", "tinygrad_notes.testing.strategies"])
def test_register_runs_while_hypothesis_is_imported(first):
    """Hypothesis calls it at the end of its own import, whoever asked for that."""
    code = f"""
import importlib.metadata, importlib
class Entry:
    def load(self):
        return importlib.import_module("tinygrad_notes.testing.hypothesis_types").register
importlib.metadata.entry_points = lambda group: [Entry()]
import {first}
import tinygrad_notes as tn
from hypothesis import find, strategies as st
assert find(st.from_type(tn.Value), lambda v: True).data == 0.0
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)
