"""Products of matrices against NumPy's, on small whole numbers and between guard pages."""

import sys
from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from programs import Guarded, interpret, programs

from tinygrad_notes.compile.native import Access, Product, Stage, build, layout

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="guard pages are made by mprotect")


def whole(seed, *shape):
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(float)


def strided(buffer, matrix, transposed, step=0):
    """A matrix as it lies in memory, and where."""
    rows, columns = matrix.shape
    if transposed:
        return matrix.T.ravel(), Access(buffer, 0, 1, rows, step)
    return matrix.ravel(), Access(buffer, 0, columns, 1, step)


def plain(rows, lanes, inner, a, b, c, start=None):
    """c = start + a · b."""
    code = [("load", *start), ("product", 0)] if start else [("product",)]
    return Product(rows, lanes, inner, a, b, [*code, ("store", len(code) - 1, *c)])


sizes = st.integers(1, 20)
either = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
begins = st.sampled_from(["nothing", "row", "column", "number", "itself"])


@pytest.fixture(params=[32, 64], ids="vectors of {} bytes".format)
def vectors(request, monkeypatch):
    """Those of either machine; where they are missing, LLVM makes two of one."""
    monkeypatch.setattr(layout, "vector_bytes", lambda: request.param)


@either
@given(sizes, sizes, sizes, st.tuples(*[st.booleans()] * 3), begins, st.booleans(), st.integers(1, 3), st.booleans())
def test_products(vectors, rows, inner, lanes, transposed, begin, summed, threads, at_end):
    """All orders of a, b and c in memory; sums that start from something; sums of columns; several threads."""
    for dtype in ("float64", "float32"):
        a, b, c = whole(0, rows, inner), whole(1, inner, lanes), whole(2, rows, lanes)
        (a_flat, a_at), (b_flat, b_at), (c_flat, c_at) = (
            strided(k, m, t) for k, (m, t) in enumerate(zip((a, b, c), transposed, strict=True))
        )
        start, start_at, added = {
            "nothing": (np.zeros(1), None, 0.0),
            "row": (s := whole(3, lanes), Access(3, 0, 0, 1), s),
            "column": (s := whole(3, rows), Access(3, 0, 1, 0), s[:, None]),
            "number": (s := whole(3, 1), Access(3, 0, 0, 0), s),
            "itself": (np.zeros(1), c_at, c.copy()),
        }[begin]
        arrays = [Guarded(x.astype(dtype), at_end=at_end) for x in (a_flat, b_flat, c_flat, start)]
        stage = plain(rows, lanes, inner, None if summed else a_at, b_at, c_at, start_at)
        build([stage], 4, dtype, shared=threads > 1).bind([g.array for g in arrays], threads=threads)(1)
        expected = (np.ones_like(a) if summed else a) @ b + added
        np.testing.assert_array_equal(arrays[2].array, (expected.T if transposed[2] else expected).ravel())


@st.composite
def with_code(draw):
    """A random stage's code, whose first loads become the product, on a random product."""
    stages, arrays = draw(programs(steps=1, most_rows=14))
    stage = stages[0]
    assume(stage.lanes)
    inner, code = draw(st.integers(1, 5)), list(stage.code)
    loads = [k for k in (0, 1) if code[k][0] == "load"]
    split = draw(st.sampled_from(loads))
    code[split] = ("product", 0) if split else ("product",)
    code = [("constant", 1.0) if entry[0] in ("gather", "total") else entry for entry in code]
    arrays = [*arrays, whole(0, stage.rows * inner), whole(1, inner * stage.lanes)]
    a, b = Access(len(arrays) - 2, 0, inner, 1), Access(len(arrays) - 1, 0, stage.lanes, 1)
    return Product(stage.rows, stage.lanes, inner, draw(st.sampled_from([a, a, None])), b, code), arrays


@either
@given(with_code(), st.sampled_from(["float64", "float32"]), st.integers(1, 3), st.booleans())
def test_code_on_tiles(vectors, given, dtype, threads, at_end):
    """What is computed of a product's numbers is what a stage of its own would compute."""
    stage, arrays = given
    guarded = [Guarded(x.astype(dtype), at_end=at_end) for x in arrays]
    build([stage], len(arrays), dtype, shared=threads > 1).bind([g.array for g in guarded], threads=threads)(1)
    arrays = [x.astype(dtype) for x in arrays]
    interpret([stage], arrays)
    for expected, guard in zip(arrays, guarded, strict=True):
        np.testing.assert_array_equal(guard.array, expected)


def test_steps_take_their_part():
    """Each step multiplies its part of b and puts the result where its part of c is."""
    a, b = whole(0, 3, 5), whole(1, 4, 5, 6)
    c = np.zeros(4 * 3 * 6)
    stage = plain(3, 6, 5, Access(0, 0, 5, 1), Access(1, 0, 6, 1, 30), Access(2, 0, 6, 1, 18))
    build([stage], 3).bind([a.ravel(), b.ravel(), c])(4)
    np.testing.assert_array_equal(c.reshape(4, 3, 6), a @ b)


def test_a_product_feeds_the_next_stage():
    a, b, c = whole(0, 7, 9), whole(1, 9, 5), np.zeros(35)
    double = [("load", 2, 0, 0, 1, 0), ("add", 0, 0), ("store", 1, 2, 0, 0, 1, 0)]
    stages = [plain(7, 5, 9, Access(0, 0, 9, 1), Access(1, 0, 5, 1), Access(2, 0, 5, 1)), Stage(35, 1, double)]
    build(stages, 3).bind([a.ravel(), b.ravel(), c])(1)
    np.testing.assert_array_equal(c.reshape(7, 5), 2 * (a @ b))


WRONG = {
    "nothing inside": (plain(2, 2, 0, None, Access(0, 0, 2, 1), Access(1, 0, 2, 1)), "at least 1 of each"),
    "no such buffer": (plain(2, 2, 2, None, Access(2, 0, 2, 1), Access(1, 0, 2, 1)), "no buffer 2"),
    "b over c": (plain(2, 2, 2, None, Access(1, 3, 2, 1), Access(1, 0, 2, 1)), "b shares memory"),
    "a over c": (plain(2, 2, 2, Access(1, 0, 2, 1), Access(0, 0, 2, 1), Access(1, 0, 2, 1)), "a shares memory"),
    "no product": (Product(2, 2, 2, None, Access(0, 0, 2, 1), [("constant", 1.0)]), "one product"),
    "a sum": (Product(2, 2, 2, None, Access(0, 0, 2, 1), [("product",), ("total", 0, 1, 0, 0, 0)]), "nor totals"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_refused(name):
    stage, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        build([stage], 2)


@pytest.mark.parametrize("buffer", [0, 1, 2])
def test_arrays_that_are_too_small_are_refused(buffer):
    native = build([plain(2, 4, 3, Access(0, 0, 3, 1), Access(1, 0, 4, 1), Access(2, 0, 4, 1))], 3)
    arrays = [np.zeros(n - (k == buffer)) for k, n in enumerate((6, 12, 8))]
    with pytest.raises(ValueError, match=f"of buffer {buffer}, which holds"):
        native.bind(arrays)


@pytest.mark.parametrize(("rows", "lanes"), [*product((1, 6, 7, 13), (1, 3, 8, 9, 17))])
def test_infinities_and_nan_go_where_they_belong(rows, lanes):
    a, b = whole(0, rows, 3), whole(1, 3, lanes)
    a[0, 1], b[2, -1] = np.inf, np.nan
    c = np.zeros(rows * lanes)
    build([plain(rows, lanes, 3, Access(0, 0, 3, 1), Access(1, 0, lanes, 1), Access(2, 0, lanes, 1))], 3).bind(
        [a.ravel(), b.ravel(), c]
    )(1)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(c.reshape(rows, lanes), a @ b)
