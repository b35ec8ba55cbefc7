"""Equal letters are equal sizes; elements stay where they were asked to."""

import numpy as np
from hypothesis import find, given, settings
from hypothesis import strategies as st

from tinygrad_notes.testing import arrays_of, inputs, labels, reals

GIVEN = {"x": arrays_of("n", "m"), "w": arrays_of("h", "n"), "y": labels(1, "m"), "c": np.ones(2), "t": st.just(3)}


@given(inputs(GIVEN))
def test_sizes_agree(drawn):
    assert drawn["x"].shape == (drawn["w"].shape[1], drawn["y"].shape[1])
    assert all(1 <= n <= 4 for n in drawn["x"].shape)
    assert set(np.unique(drawn["y"])) <= {0.0, 1.0}
    assert drawn["t"] == 3
    assert drawn["c"].tolist() == [1.0, 1.0]


@given(reals(-2, 3))
def test_reals_stay_in_their_interval(v):
    assert -2 <= v <= 3


def test_sizes_and_zeros_are_reached():
    quick = settings(max_examples=500, database=None, derandomize=True)
    big = find(inputs({"x": arrays_of("n", "m")}), lambda d: d["x"].shape == (4, 4), settings=quick)
    assert big["x"].shape == (4, 4)
    tie = find(inputs({"x": arrays_of("n")}), lambda d: len(set(d["x"].tolist())) < len(d["x"]), settings=quick)
    assert len(tie["x"]) == 2
