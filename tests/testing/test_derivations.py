"""`check_derivation`: its arguments, what it reports, word for word, and bad input."""

import hypothesis.strategies as st
import numpy as np
import pytest

from tinygrad_notes import cross_entropy, exp, log, sigmoid
from tinygrad_notes.testing import (
    DerivationError,
    arrays_of,
    assert_derivation,
    check_derivation,
    formulas_of,
    labels,
    reals,
)

INPUTS = {
    "x": arrays_of("n", "m"),
    "y": labels("k", "m"),
    "w1": arrays_of("h", "n"),
    "b1": arrays_of("h", 1),
    "w2": arrays_of("k", "h"),
    "b2": arrays_of("k", 1),
}
FEW = {"max_examples": 10}


def forward(x, y, w1, b1, w2, b2):
    Z1 = w1 @ x + b1
    a1 = sigmoid(Z1)
    Z2 = w2 @ a1 + b2
    a2 = sigmoid(Z2)
    J = cross_entropy(y, a2).sum()
    L = cross_entropy(y, a2)
    return locals()


def backward(x, y, w1, b1, w2, b2, Z1, a1, Z2, a2, L):
    dZ2 = a2 - y
    dw2 = dZ2 @ a1.T
    db2 = dZ2.sum(axis=1, keepdims=True)
    da1 = w2.T @ dZ2
    dZ1 = da1
    dw1 = dZ1 @ a1.T
    db1 = dZ1.sum(axis=1, keepdims=True)
    return locals()


def square(x):
    z = x * x
    L = z
    return locals()


# --- reports, word for word -------------------------------------------------------------------------------------------


def test_the_report_of_a_function():
    report = check_derivation(forward, backward, settings=FEW, **INPUTS)
    assert f"\n{report}\n" == REPORT
    assert not report.ok
    assert (report.wrong, report.first_wrong) == (["dZ1", "dw1", "db1"], "dZ1")
    assert report.diagnosis.kind == "missing slope"
    assert str(report.diagnosis) == "it lacks the factor a1 * (1 - a1), the slope of the sigmoid."
    assert {k: v.shape for k, v in report.counterexample.items()} == dict.fromkeys(INPUTS, (1, 1))
    assert report["db1"].follows == "dZ1"
    with pytest.raises(KeyError, match="no link dq; there is dZ2, dw2"):
        report["dq"]


REPORT = """
dZ2  a2 - y                          correct           10 inputs
dw2  dZ2 @ a1.T                      correct           10 inputs
db2  dZ2.sum(axis=1, keepdims=True)  correct           10 inputs
da1  w2.T @ dZ2                      correct           10 inputs
dZ1  da1                             wrong             10 inputs
dw1  dZ1 @ a1.T                      wrong             10 inputs
db1  dZ1.sum(axis=1, keepdims=True)  follows from dZ1  10 inputs

dZ1 is wrong: it lacks the factor a1 * (1 - a1), the slope of the sigmoid.
  probably meant: dZ1 = da1 * a1 * (1 - a1)
  smallest case: x=[[0]], y=[[0]], w1=[[0]], b1=[[0]], w2=[[1]], b2=[[0]]
  there dZ1 is [[0.622459]]; expected [[0.155615]]

dw1 is wrong: it has a1 where x belongs.
  probably meant: dw1 = dZ1 @ x.T
  smallest case: x=[[0]], y=[[0]], w1=[[0]], b1=[[0]], w2=[[1]], b2=[[0]]
  there dw1 is [[0.31123]]; expected [[0]]

db1 is wrong only because dZ1 is: it follows from it.

L has several elements: the gradients are those of their sum.
"""


def test_a_mapping_gives_each_link_the_right_upstream_gradient():
    links = {
        "dZ2": lambda a2, y: y - a2,
        "dw2": lambda dZ2, a1: dZ2 @ a1.T,
        "da1": lambda w1, dZ2: w1.T @ dZ2,
        "dZ1": lambda da1, a1: da1 * a1 * (1 - a1),
        "dw1": lambda dZ1, a1: dZ1 @ a1.T,
        "db1": lambda dZ1: dZ1,
    }
    report = check_derivation(forward, links, loss="J", settings=FEW, **INPUTS)
    assert report.wrong == ["dZ2", "da1", "dw1", "db1"]
    assert f"\n{report}\n" == LINKS
    assert [report[name].diagnosis.kind for name in report.wrong] == ["sign", "operand", "operand", "not summed"]


LINKS = """
dZ2  y - a2               wrong    10 inputs
dw2  dZ2 @ a1.T           correct  10 inputs
da1  w1.T @ dZ2           wrong    10 inputs
dZ1  da1 * a1 * (1 - a1)  correct  10 inputs
dw1  dZ1 @ a1.T           wrong    10 inputs
db1  dZ1                  wrong    10 inputs

dZ2 is wrong: its sign is wrong: the difference y - a2 is the wrong way round.
  probably meant: dZ2 = a2 - y
  smallest case: x=[[0]], y=[[0]], w1=[[0]], b1=[[0]], w2=[[0]], b2=[[0]]
  there dZ2 is [[-0.5]]; expected [[0.5]]

da1 is wrong: it has w1 where w2 belongs.
  probably meant: da1 = w2.T @ dZ2
  smallest case: x=[[0]], y=[[0]], w1=[[0]], b1=[[0]], w2=[[1]], b2=[[0]]
  there da1 is [[0]]; expected [[0.622459]]

dw1 is wrong: it has a1 where x belongs.
  probably meant: dw1 = dZ1 @ x.T
  smallest case: x=[[0]], y=[[0]], w1=[[0]], b1=[[0]], w2=[[1]], b2=[[0]]
  there dw1 is [[0.0778074]]; expected [[0]]

db1 is wrong: it is not summed over the batch, axis 1: what is broadcast forward is added up backward.
  probably meant: db1 = dZ1.sum(axis=1, keepdims=True)
  smallest case: x=[[0, 0]], y=[[0, 0]], w1=[[0]], b1=[[0]], w2=[[0]], b2=[[0]]
  there db1 is [[0, 0]]; expected [[0]]
"""


def test_statements_and_a_returned_dictionary():
    def by_statements(x, y, w1, a1, a2, w2):
        error = a2 - y
        dZ1 = (w2.T @ error).copy()
        for i in range(len(dZ1)):
            dZ1[i] *= a1[i]
        return {"dw2": error @ a1.T, "dZ1": dZ1}

    report = check_derivation(forward, by_statements, loss="J", settings=FEW, **INPUTS)
    assert f"\n{report}\n" == STATEMENTS


STATEMENTS = """
dZ1  dZ1 = (w2.T @ error).copy(); for i in range(len…  wrong    10 inputs
dw2  error @ a1.T                                      correct  10 inputs

dZ1 is wrong: it lacks the factor 1 - a1: the slope of the sigmoid is a1 * (1 - a1).
  smallest case: x=[[0]], y=[[0]], w1=[[0]], b1=[[0]], w2=[[1]], b2=[[0]]
  there dZ1 is [[0.31123]]; expected [[0.155615]]
"""


def test_a_formula_that_raises():
    report = check_derivation(forward, {"dw2": lambda dZ2, a1: dZ2 @ a1}, loss="J", settings=FEW, **INPUTS)
    assert f"\n{report}\n" == RAISES


RAISES = """
dw2  dZ2 @ a1  wrong  10 inputs

dw2 is wrong: a1 should be transposed.
  probably meant: dw2 = dZ2 @ a1.T
  smallest case: x=[[0, 0]], y=[[0, 0]], w1=[[0]], b1=[[0]], w2=[[0]], b2=[[0]]
  there it raises ValueError: matmul: given Tensor (1, 2) of float64 and Tensor a1 (1, 2) of float64; expected \
matrices (or vectors, or stacks of matrices) whose inner sizes agree: (…, n, k) @ (…, k, m)
"""


def test_undecided_inputs_say_why():
    report = check_derivation(
        lambda x: {"L": log(exp(x))}, {"dx": lambda x: 0 * x + 1}, x=reals(800, 900), settings=FEW
    )
    assert not report.ok
    assert report.wrong == []
    assert str(report) == (
        "dx  0 * x + 1  undecided  0 of 10 inputs decided\n\nundecided (dx): the forward pass overflows in exp."
    )
    with pytest.raises(DerivationError, match="nothing could be decided"):
        assert_derivation(lambda x: {"L": log(exp(x))}, {"dx": lambda x: 1.0}, x=reals(800, 900), settings=FEW)


def test_a_gradient_that_is_not_returned_claims_nothing():
    def per_example(x, y, a1, a2, w2):
        dZ2 = a2 - y
        return {"dw2": dZ2 @ a1.T / y.size}

    def mean(**inputs):
        known = forward(**inputs)
        return {**known, "L": known["L"].mean()}

    mean.__signature__ = __import__("inspect").signature(forward)
    report = check_derivation(mean, per_example, settings=FEW, **INPUTS)
    assert report.ok
    assert [link.name for link in report.links] == ["dw2"]


def test_a_correction_explains_gradients_that_the_backward_pass_lacks():
    def centred(Z, y):
        mu = Z.mean(axis=0, keepdims=True)
        N = (Z - mu) ** 2
        L = ((N - y) ** 2).sum()
        return locals()

    def of_one_path(Z, y, mu, N):
        dN = 2 * (N - y)
        dZ = dN * 2 * (Z - mu)
        return locals()

    report = check_derivation(centred, of_one_path, Z=arrays_of(3), y=arrays_of(3), settings=FEW)
    assert report.diagnosis.kind == "missing term"
    assert report.diagnosis.words.endswith("(dmu is the gradient by mu.)")


# --- arguments --------------------------------------------------------------------------------------------------------


def test_fixed_sizes_fixed_arrays_and_strategies():
    report = check_derivation(forward, backward, n=3, m=2, settings=FEW, **INPUTS)
    assert report.counterexample["x"].shape == (3, 2)
    x = np.array([[1.0, 2.0, 0.0]])
    report = check_derivation(forward, backward, n=1, m=3, settings=FEW, **{**INPUTS, "x": x})
    np.testing.assert_array_equal(report.counterexample["x"], x)
    product = {"dw": lambda x: 2 * x}
    report = check_derivation(
        lambda x, w: {"L": x * w}, product, x=st.sampled_from([3.0, 5.0]), w=reals(), settings=FEW
    )
    assert report.counterexample == {"x": 3.0, "w": 0.0}


def test_the_same_seed_finds_the_same():
    first, again = (str(check_derivation(forward, backward, settings={**FEW, "seed": 5}, **INPUTS)) for _ in range(2))
    assert first == again


def test_assert_derivation():
    assert assert_derivation(square, {"dx": lambda x: 2 * x}, x=reals(), settings=FEW).ok
    with pytest.raises(DerivationError, match=r"derivation: wrong: dx\ndx  x  wrong") as caught:
        assert_derivation(square, {"dx": lambda x: x}, x=reals(), settings=FEW)
    assert caught.value.report.first_wrong == "dx"


def test_the_smallest_case_of_a_rare_mistake():
    """A mask of the wrong value shows on few inputs; sizes of 1 show it, and whole numbers."""

    def rows(x, y, w, v):
        z = w @ x
        a = np.maximum(z, 0)
        L = ((v @ a - y) ** 2).sum()
        return locals()

    def masked(x, y, v, a, z):
        dz = (v.T @ (2 * (v @ a - y))) * (v.T @ (2 * (v @ a - y)) > 0)
        return locals()

    inputs = {"x": arrays_of("n", "m"), "y": arrays_of("k", "m"), "w": arrays_of("h", "n"), "v": arrays_of("k", "h")}
    report = check_derivation(rows, masked, settings=FEW, **inputs)
    assert all(np.size(v) == 1 and v == np.rint(v) for v in report.counterexample.values())


# --- how formulas are read --------------------------------------------------------------------------------------------


def test_formulas_of_statements():
    def written(x, dZ, a):
        dw, db = dZ @ x.T, dZ.sum()
        dw /= 2
        da = np.zeros(3)
        da[0] = 1
        for i in range(3):
            da[i] += i
        return {"dw": dw, "db": db, "da": da, "dx": a * dZ}

    assert formulas_of(written) == {
        "dw": "dZ @ x.T / 2",
        "db": "dZ.sum()",
        "da": "da = np.zeros(3)\nda[0] = 1\nfor i in range(3):\n    da[i] += i",
        "i": "for i in range(3):\n    da[i] += i",
        "dx": "a * dZ",
    }
    two = {"dp": lambda a: a + 1, "dq": lambda a: a + 2}
    assert formulas_of(two) == {"dp": "a + 1", "dq": "a + 2"}


def test_a_name_that_begins_with_d_is_no_gradient():
    def attention_like(x):
        t = x * 3
        dt = x.shape[0]
        d = t / dt
        L = (d * d).sum()
        return locals()

    def as_it_is(x, t, d, dt):
        dd = 2 * d
        dx = 3 * dd / dt
        return locals()

    report = check_derivation(attention_like, as_it_is, x=arrays_of("n"), settings=FEW)
    assert report.ok
    assert [link.name for link in report.links] == ["dd", "dx"]


def test_a_function_that_cannot_be_taken_apart_changes_no_samples():
    def early(x, z):
        if np.ndim(x) == 9:
            return {}
        z *= 2
        z *= 2
        return {"dx": z / (2 * x)}

    report = check_derivation(square, early, x=reals(1, 3), settings=FEW)
    assert (report.wrong, report.ok) == ([], True)
    report = check_derivation(square, lambda x: {"dx": x}, x=reals(1, 3), settings=FEW)
    assert str(report.diagnosis) == "it lacks the factor 2."


# --- bad input --------------------------------------------------------------------------------------------------------


def nothing(x):
    dx = 2 * x  # and no return


def undeclared(x):
    dx = 2 * x + z  # noqa: F821
    return locals()


def broken_helper(x):
    helper = 1 / 0
    dx = 2 * x
    return locals()


DX = {"dx": lambda x: 2 * x}
BAD = [
    (square, DX, {}, TypeError, "given no x; expected inputs for every argument of forward"),
    (square, DX, {"x": reals(), "q": reals()}, TypeError, "given q, which forward does not take; it takes x"),
    (square, DX, {"x": reals(), "q": 3}, ValueError, "given the size q=3, but no array has that letter"),
    (square, DX, {"x": arrays_of("n"), "n": 0}, ValueError, "given the size n=0; expected a whole number"),
    (square, DX, {"x": st.text()}, TypeError, "given '' for x; expected numbers"),
    (square, DX, {"x": reals(), "settings": {"examples": 3}}, TypeError, "no setting examples; there is max_examples"),
    (square, DX, {"x": reals(), "settings": reals()}, TypeError, "cannot be called settings"),
    (square, DX, {"x": reals(), "settings": {"max_examples": 0}}, ValueError, "given the setting max_examples=0"),
    (square, DX, {"x": reals(), "loss": "J"}, ValueError, "no 'J' was computed from its inputs; it has x, z, L"),
    (lambda x: x, DX, {"x": reals()}, TypeError, "forward: it returned Tensor x"),
    (lambda x: {"L": float(x)}, DX, {"x": reals()}, TypeError, "forward: it cannot be recorded"),
    (square, {}, {"x": reals()}, TypeError, "backward: given no formulas"),
    (square, 3, {"x": reals()}, TypeError, "backward: given 3; expected a function or a mapping"),
    (square, {"dx": 3}, {"x": reals()}, TypeError, r"backward\['dx'\]: given 3; expected a function"),
    (square, {"dx": lambda q: q}, {"x": reals()}, ValueError, "it takes q, which forward does not have"),
    (square, {"dq": lambda x: x}, {"x": reals()}, ValueError, "none of dq is d<name> of a name of forward"),
    (square, {**DX, "dq": lambda x: x}, {"x": reals()}, ValueError, "dq: forward has no such name"),
    (square, {"dx": lambda *x: x}, {"x": reals()}, TypeError, r"its parameter \*x has no name"),
    (square, nothing, {"x": reals()}, TypeError, "backward: it returned None; expected its names"),
    (square, undeclared, {"x": reals()}, NameError, "'z' is not defined"),
    (square, broken_helper, {"x": reals()}, ZeroDivisionError, "division by zero"),
]


@pytest.mark.parametrize(("forward", "backward", "given", "error", "message"), BAD)
def test_bad_input(forward, backward, given, error, message):
    with pytest.raises(error, match=message):
        check_derivation(forward, backward, **{"settings": FEW, **given})


@pytest.mark.parametrize("value", ["'a'", "None", "{}"])
def test_a_formula_that_gives_no_array(value):
    report = check_derivation(square, {"dx": eval(f"lambda x: {value}")}, x=reals(), settings=FEW)
    assert str(report.diagnosis).startswith("it is ")
    assert str(report.diagnosis).endswith(", no number or array.")
