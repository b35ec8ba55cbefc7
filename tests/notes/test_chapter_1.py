"""Every formula of chapter 1 against the automatic gradient and JAX, and wrong formulas that must be caught."""

import inspect
import linecache
from itertools import count

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinygrad_notes.notes import perceptron, two_layer
from tinygrad_notes.testing import formulas_of, inputs, measure_agreement
from tinygrad_notes.testing.agreement import compare

jax.config.update("jax_enable_x64", True)

CHAPTERS = [perceptron, two_layer]
FORMULAS = [(c, name) for c in CHAPTERS for name in formulas_of(c.backward)]


def name_of(case):
    return case.__name__.rpartition(".")[2] if inspect.ismodule(case) else case


def test_the_order_of_the_notes():
    assert list(formulas_of(two_layer.backward)) == ["da2", "dZ2", "dw2", "db2", "da1", "dZ1", "dw1", "db1"]
    assert formulas_of(two_layer.backward)["dZ2"] == "a2 - y"


@pytest.mark.parametrize(("chapter", "name"), FORMULAS, ids=name_of)
def test_formula_is_the_automatic_gradient(chapter, name):
    @given(inputs(chapter.inputs, largest=5))
    def check(values):
        compared = compare(chapter.forward, chapter.backward, values)
        assert compared is not None, "the loss is finite for |Z| < 700"
        formula, automatic, granted = compared[name]
        decided = np.isfinite(granted)
        assert np.all(np.abs(formula - automatic)[decided] <= granted[decided])
        assert np.isfinite(automatic).all()
        if name not in ("da", "da2"):
            assert decided.all(), "only da divides by what a saturated unit rounds to 0"

    check()


@given(st.floats(-700, 700), st.sampled_from([0.0, 1.0]))
@example(700.0, 0.0)
@example(-700.0, 1.0)
@example(37.0, 0.0)
def test_a_saturated_output_unit_keeps_its_gradient(bias, label):
    values = {"x": np.zeros((1, 1)), "y": np.full((1, 1), label), "w": np.zeros((1, 1)), "b": np.full((1, 1), bias)}
    _, automatic, _ = compare(perceptron.forward, perceptron.backward, values)["dZ"]
    exact = 1 / (1 + np.exp(-np.longdouble(bias))) if label == 0 else -1 / (1 + np.exp(np.longdouble(bias)))
    np.testing.assert_allclose(automatic.item(), float(exact), rtol=1e-14)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=name_of)
def test_formulas_against_jax(chapter):
    """JAX differentiates the same loss in its own functions; no unit is saturated, so it is exact too."""
    rng = np.random.default_rng(1)
    shapes = {"x": (3, 6), "w": (1, 3), "b": (1, 1), "w1": (4, 3), "b1": (4, 1), "w2": (2, 4), "b2": (2, 1)}
    values = {k: rng.normal(size=shapes[k]) for k in chapter.inputs if k != "y"}
    y = rng.integers(0, 2, size=(1 if chapter is perceptron else 2, 6)).astype(float)

    def loss(weights):
        w = {**values, **weights}
        if chapter is perceptron:
            Z = w["w"] @ w["x"] + w["b"]
        else:
            Z = w["w2"] @ jax.nn.sigmoid(w["w1"] @ w["x"] + w["b1"]) + w["b2"]
        a = jax.nn.sigmoid(Z)
        return -jnp.sum(y * jnp.log(a) + (1 - y) * jnp.log(1 - a))

    expected = jax.grad(loss)({k: jnp.asarray(v) for k, v in values.items() if k != "x"})
    compared = compare(chapter.forward, chapter.backward, {**values, "y": y})
    for name, gradient in expected.items():
        np.testing.assert_allclose(compared[f"d{name}"][0], gradient, rtol=1e-12, atol=1e-14)


# --- formulas that are wrong ------------------------------------------------------------------------------------------

_numbers = count()


def rewritten(function, before, after):
    """The function with one piece of its source replaced, kept where `inspect` finds it."""
    source = inspect.getsource(function)
    assert source.count(before) == 1, f"{before!r} must stand once in {function.__name__}"
    source = source.replace(before, after)
    file = f"<mutant {next(_numbers)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    names = dict(vars(inspect.getmodule(function)))
    exec(compile(source, file, "exec", dont_inherit=True, flags=0x1000000), names)
    return names[function.__name__]


MISTAKES = [
    ("da2", "da2 = -y / a2 + (1", "da2 = y / a2 + (1"),
    ("da2", "(1 - y) / (1 - a2)", "(1 - y) / (1 + a2)"),
    ("dZ2", "dZ2 = a2 - y", "dZ2 = y - a2"),
    ("dZ2", "dZ2 = a2 - y", "dZ2 = (a2 - y) * a2"),
    ("dZ2", "dZ2 = a2 - y", "dZ2 = (a2 - y) * (1 + 1e-12)"),
    ("dw2", "dw2 = dZ2 @ a1.T", "dw2 = dZ2 @ a1.T / a1.shape[1]"),
    ("dw2", "dw2 = dZ2 @ a1.T", "dw2 = dZ2 @ a1.T * 2"),
    ("db2", "db2 = dZ2.sum(axis=1, keepdims=True)", "db2 = dZ2.mean(axis=1, keepdims=True)"),
    ("da1", "da1 = w2.T @ dZ2", "da1 = -(w2.T @ dZ2)"),
    ("dZ1", "dZ1 = da1 * a1 * (1 - a1)", "dZ1 = da1 * (1 - a1)"),
    ("dZ1", "dZ1 = da1 * a1 * (1 - a1)", "dZ1 = da1 * a1"),
    ("dZ1", "dZ1 = da1 * a1 * (1 - a1)", "dZ1 = da1 * (1 - a1 * a1)"),
    ("dw1", "dw1 = dZ1 @ x.T", "dw1 = da1 @ x.T"),
    ("dw1", "dw1 = dZ1 @ x.T", "dw1 = dZ1 @ x.T + 1e-9"),
    ("db1", "db1 = dZ1.sum(axis=1, keepdims=True)", "db1 = da1.sum(axis=1, keepdims=True)"),
]


@pytest.mark.parametrize(("name", "before", "after"), MISTAKES, ids=[f"{n}:{a}" for n, _, a in MISTAKES])
def test_a_wrong_formula_is_caught_and_only_it_and_what_follows(name, before, after):
    wrong = rewritten(two_layer.backward, before, after)
    rows = measure_agreement(two_layer.forward, wrong, two_layer.inputs, examples=60)
    names = [row.name for row in rows]
    disagree = [row.name for row in rows if not row.agrees]
    assert disagree
    assert disagree[0] == name
    assert all(row.agrees for row in rows[: names.index(name)])


def test_the_slip_of_the_source_does_not_even_fit():
    """w2 · x instead of w2 · a1: the shapes disagree as soon as h differs from n."""
    slip = rewritten(two_layer.forward, "Z2 = w2 @ a1 + b2", "Z2 = w2 @ x + b2")
    values = {"x": np.ones((3, 2)), "y": np.ones((1, 2)), "w1": np.ones((4, 3)), "b1": np.ones((4, 1))}
    with pytest.raises(ValueError, match=r"matmul: given Tensor w2 \(1, 4\).*Tensor x \(3, 2\)"):
        compare(slip, two_layer.backward, {**values, "w2": np.ones((1, 4)), "b2": np.ones((1, 1))})
