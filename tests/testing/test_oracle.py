"""The oracle against JAX and against the engine, and the rounding that it grants."""

import math
from fractions import Fraction
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_notes as tn
from tinygrad_notes.testing import fields
from tinygrad_notes.testing.oracle import Oracle, is_rational
from tinygrad_notes.testing.programs import graphs
from tinygrad_notes.testing.scalars import Tape
from tinygrad_notes.testing.tracing import leaf


def oracle_of(f, *inputs, field=None):
    leaves = [leaf(x) for x in inputs]
    root = f(*leaves)
    field = field or fields.Balls(256)
    field.begin()
    return Oracle(root, leaves, field), leaves, root


JAX = [
    (lambda xp, x: xp.sum(xp.tanh(x) * x), tn),
    (lambda xp, x: xp.sum(xp.exp(-x * x) / (1 + x * x)), tn),
    (lambda xp, x: xp.sum((x @ x.T) ** 3), tn),
    (lambda xp, x: xp.sum(xp.maximum(x, 0.25) * xp.abs(x)), tn),
    (lambda xp, x: xp.sum(xp.hypot(x, 2.0) + xp.logaddexp(x, 1.0)), tn),
    (lambda xp, x: xp.sum(xp.where(x > 0.1, xp.sin(x), x)), tn),
    (lambda xp, x: xp.sum(xp.reshape(x, (-1,))[::2] ** 2), tn),
]


@cache
def of_jax(f):
    """Compiled once, and not operation by operation."""
    return jax.jit(jax.grad(lambda t: f(jnp, t)))


@pytest.mark.parametrize(("f", "ours"), JAX)
@settings(max_examples=10)
@given(hnp.arrays(np.float64, (2, 3), elements=st.floats(0.3, 2.0), unique=True))
def test_gradients_are_those_of_jax(f, ours, x):
    oracle, (x_leaf,), _ = oracle_of(lambda t: f(ours, t), x)
    with jax.enable_x64(True):
        expected = np.asarray(of_jax(f)(jnp.asarray(x)))
    np.testing.assert_allclose(oracle.floats(x_leaf), expected, rtol=1e-12, atol=1e-14)


@settings(max_examples=40)
@given(graphs())
def test_the_engine_stays_within_the_rounding_that_is_granted(program):
    leaves = [leaf(x) for x in program.inputs]
    with np.errstate(all="ignore"):
        root = program(*leaves)
    if not getattr(root, "requires_grad", False):
        return
    field = fields.Balls(256)
    field.begin()
    try:
        oracle = Oracle(root, leaves, field)
    except fields.UnclearError:
        return
    if oracle.undecidable() or oracle.tape.near or oracle.tape.kinks:
        return
    with np.errstate(all="ignore"):
        root.backward()
    for x in leaves:
        expected = oracle.floats(x)
        found = np.zeros(x.shape) if x.grad is None else x.grad
        granted = 4 * oracle.rounding(x) + 1e-300
        decided = np.isfinite(expected) & np.isfinite(granted)
        assert np.all(np.abs(found - expected)[decided] <= granted[decided]), str(program)


def test_rounding_is_no_more_than_the_condition_explains():
    oracle, (x,), _ = oracle_of(lambda t: tn.sum(tn.exp(t)), np.array([0.5, 3.0]))
    assert np.all(oracle.rounding(x) < 64 * 2.0**-52 * oracle.floats(x) * 3.0)


def test_fractions_are_exact():
    oracle, (x,), _ = oracle_of(lambda t: t * t / 3 + 1 / t, 7.0, field=fields.fractions())
    assert oracle.gradients(x)[0].item() == Fraction(14, 3) - Fraction(1, 49)


def test_rational_graphs_are_known():
    x = leaf(2.0)
    assert is_rational([tn.relu(x) * x / 3.0])
    assert not is_rational([tn.exp(x)])


def test_every_side_of_a_kink_is_tried():
    oracle, (a, b), _ = oracle_of(tn.maximum, 1.0, 1.0, field=fields.fractions())
    pairs = {(int(g.item()), int(h.item())) for g, h in zip(oracle.gradients(a), oracle.gradients(b), strict=True)}
    assert pairs == {(1, 0), (0, 1)}


def test_too_many_kinks_become_intervals():
    oracle, (x,), _ = oracle_of(lambda t: tn.sum(tn.relu(t)), np.zeros(12))
    (sides,) = oracle.gradients(x)
    assert oracle.tape.intervals
    assert all(float(s.lower()) <= 0 and float(s.upper()) >= 1 for s in sides)


def test_a_gradient_by_a_view_is_not_that_by_its_source():
    made = {}

    def f(x):
        made["row"] = x[0]
        return tn.sum(made["row"] * 2.0) + tn.sum(x)

    oracle, (x,), _ = oracle_of(f, np.ones((2, 2)))
    assert oracle.floats(x).tolist() == [[3.0, 3.0], [1.0, 1.0]]
    assert oracle.floats(made["row"]).tolist() == [2.0, 2.0]


def test_overflow_is_noticed():
    with np.errstate(all="ignore"):
        oracle, _, _ = oracle_of(lambda t: tn.exp(t) * 1.0, 800.0)
    assert "overflows in exp" in oracle.undecidable()


def test_a_jump_is_noticed():
    oracle, _, _ = oracle_of(lambda t: tn.where(t > 0, 1.0 + t, t), 0.0)
    assert "jumps" in oracle.undecidable()


def test_whole_are_only_numbers_without_doubt():
    balls = fields.Balls(256)
    tape = Tape(balls)
    three = tape.constant(3.0)
    assert three.whole() == 3
    assert three.apply("log").apply("exp").whole() is None  # a ball around 3
    assert (three + tape.constant(1e-38)).whole() is None  # 3.0 as a float
    assert tape.constant(-0.5).whole() is None
    assert tape.constant(math.inf).whole() is None
