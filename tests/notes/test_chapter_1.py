"""Every formula of chapter 1 against the automatic gradient and JAX, and wrong formulas that must be caught."""

import inspect
import linecache
from itertools import count

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tinygrad_notes import Tensor
from tinygrad_notes.notes import perceptron, two_layer
from tinygrad_notes.testing import check_derivation, formulas_of, inputs
from tinygrad_notes.testing.examining import Examiner
from tinygrad_notes.testing.formulas import backward_of

jax.config.update("jax_enable_x64", True)

CHAPTERS = [perceptron, two_layer]


def name_of(case):
    return case.__name__.rpartition(".")[2] if inspect.ismodule(case) else case


def test_the_order_of_the_notes():
    assert list(formulas_of(two_layer.backward)) == ["da2", "dZ2", "dw2", "db2", "da1", "dZ1", "dw1", "db1"]
    assert formulas_of(two_layer.backward)["dZ2"] == "a2 - y"


@pytest.mark.parametrize("chapter", CHAPTERS, ids=name_of)
def test_every_formula_is_the_true_gradient(chapter):
    examiner = Examiner(chapter.forward, backward_of(chapter.backward), "L")

    @given(inputs(chapter.inputs, largest=5))
    def check(values):
        outcomes = examiner.examine(values)
        assert list(outcomes) == list(formulas_of(chapter.backward))
        assert {name: o.status for name, o in outcomes.items()} == dict.fromkeys(outcomes, "correct")

    check()


def in_floats(chapter, values):
    """The formulas and the automatic gradients `d<name>`, both in plain floats."""
    known = {k: np.asarray(v) for k, v in values.items()}
    tensors = {k: Tensor(v) for k, v in known.items()}
    made = {**tensors, **chapter.forward(**tensors)}
    made["L"].backward()
    floats = {k: v.data for k, v in made.items() if isinstance(v, Tensor)}
    with np.errstate(all="ignore"):
        found = chapter.backward(**{k: floats[k] for k in inspect.signature(chapter.backward).parameters})
    return found, {f"d{k}": v.grad for k, v in made.items() if isinstance(v, Tensor)}


@given(st.floats(-700, 700), st.sampled_from([0.0, 1.0]))
@example(700.0, 0.0)
@example(-700.0, 1.0)
@example(37.0, 0.0)
def test_a_saturated_output_unit_keeps_its_gradient(bias, label):
    values = {"x": np.zeros((1, 1)), "y": np.full((1, 1), label), "w": np.zeros((1, 1)), "b": np.full((1, 1), bias)}
    automatic = in_floats(perceptron, values)[1]["dZ"]
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

    expected = jax.jit(jax.grad(loss))({k: jnp.asarray(v) for k, v in values.items() if k != "x"})
    found, _ = in_floats(chapter, {**values, "y": y})
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[f"d{name}"], gradient, rtol=1e-12, atol=1e-14)


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
    examples = {"max_examples": settings.default.max_examples * 2 // 5}
    report = check_derivation(two_layer.forward, wrong, settings=examples, **two_layer.inputs)
    assert report.first_wrong == name
    assert not report.ok
    later = report.links[[link.name for link in report.links].index(name) + 1 :]
    assert all(link.follows for link in later if link.status == "wrong"), "one mistake was made"


def test_the_slip_of_the_source_does_not_even_fit():
    """w2 · x instead of w2 · a1: the shapes disagree as soon as h differs from n."""
    slip = rewritten(two_layer.forward, "Z2 = w2 @ a1 + b2", "Z2 = w2 @ x + b2")
    shapes = {"x": (3, 2), "y": (1, 2), "w1": (4, 3), "b1": (4, 1), "w2": (1, 4), "b2": (1, 1)}
    with pytest.raises(ValueError, match=r"matmul: given \w+ w2 \(1, 4\).* x \(3, 2\)"):
        check_derivation(slip, two_layer.backward, **{k: np.ones(shape) for k, shape in shapes.items()})
