"""Backward rules of `jax.custom_vjp` functions: right ones are never accused, wrong ones are, and it says why."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_notes as tn
from tinygrad_notes.testing.adapters import pair_for
from tinygrad_notes.testing.verdicts import check_gradient

jax = pytest.importorskip("jax")
jnp = jax.numpy


def rule(function, forward, backward, fixed=()):
    """A function with a rule of its own."""
    made = jax.custom_vjp(function, nondiff_argnums=fixed)
    made.defvjp(forward, backward)
    return made


# --- right ones -------------------------------------------------------------------------------------------------------


def keeping(function):
    """A forward rule that keeps the result."""
    return lambda *xs: (function(*xs), function(*xs))


def keeping_inputs(function):
    return lambda *xs: (function(*xs), xs)


def stable_sigmoid(x):
    e = jnp.exp(-jnp.abs(x))
    return jnp.where(x >= 0, 1 / (1 + e), e / (1 + e))


def sigmoid_backward(xs, g):
    e = jnp.exp(-jnp.abs(xs[0]))
    return (g * e / (1 + e) ** 2,)


def product(a, b):
    return a @ b


def product_backward(kept, g):
    a, b = kept
    return g @ b.T, a.T @ g


def norm(x, gamma, beta):
    mean = jnp.mean(x, 1, keepdims=True)
    scale = 1 / jnp.sqrt(jnp.mean((x - mean) ** 2, 1, keepdims=True) + 1e-3)
    return gamma * (x - mean) * scale + beta


def norm_backward(kept, g):
    x, gamma, _ = kept
    centred = x - jnp.mean(x, 1, keepdims=True)
    scale = 1 / jnp.sqrt(jnp.mean(centred**2, 1, keepdims=True) + 1e-3)
    normed = centred * scale
    h = g * gamma
    dx = scale * (h - jnp.mean(h, 1, keepdims=True) - normed * jnp.mean(h * normed, 1, keepdims=True))
    return dx, jnp.sum(g * normed, 0), jnp.sum(g, 0)


def clamp_function(low, high, x):
    return jnp.clip(x, low, high)


def log_sum_exp(x):
    return jax.scipy.special.logsumexp(x, axis=1)


def sum_and_product(a, b):
    return {"sum": a + b, "product": a * b}


exp = rule(jnp.exp, keeping(jnp.exp), lambda y, g: (g * y,))
sigmoid = rule(stable_sigmoid, keeping_inputs(stable_sigmoid), sigmoid_backward)
matmul = rule(product, keeping_inputs(product), product_backward)
layer_norm = rule(norm, keeping_inputs(norm), norm_backward)
clamp = rule(
    clamp_function,
    lambda low, high, x: (jnp.clip(x, low, high), x),
    lambda low, high, x, g: (g * ((x >= low) & (x <= high)),),
    fixed=(0, 1),
)
logsumexp = rule(
    log_sum_exp,
    lambda x: (log_sum_exp(x), (x, log_sum_exp(x))),
    lambda kept, g: (g[:, None] * jnp.exp(kept[0] - kept[1][:, None]),),
)
both = rule(
    sum_and_product,
    keeping_inputs(sum_and_product),
    lambda kept, g: (g["sum"] + g["product"] * kept[1], g["sum"] + g["product"] * kept[0]),
)

SMALL = st.floats(-3, 3, width=32)
WIDE = SMALL | st.sampled_from([0.0, 1.0, -1.0, 40.0, -40.0, 1e-6]) | st.floats(-100, 100)
ORDINARY = np.array([[0.5, -1.25, 2.0], [1.5, 0.25, -0.75]])


def matrices(*shape, elements=SMALL):
    return hnp.arrays(float, shape, elements=elements)


@settings(max_examples=2)
@given(matrices(1, 2, elements=WIDE), matrices(2, 1))
def test_right_backward_rules_are_never_accused(x, b):
    assert check_gradient(exp, x).ok
    assert check_gradient(sigmoid, x).ok
    assert check_gradient(clamp, -1.0, 1.0, x).ok
    assert check_gradient(matmul, x, b).ok
    assert check_gradient(logsumexp, x).ok


@settings(max_examples=5)
@given(st.floats(-700, 700) | WIDE)
def test_nor_are_they_at_numbers(x):
    assert check_gradient(sigmoid, x).ok


@pytest.mark.parametrize(
    ("function", "inputs"),
    [
        (exp, [ORDINARY]),
        (exp, [0.5]),
        (sigmoid, [jnp.asarray(ORDINARY)]),
        (clamp, [-1.0, 1.0, ORDINARY]),
        (matmul, [ORDINARY, ORDINARY.T]),
        (logsumexp, [ORDINARY]),
        (layer_norm, [ORDINARY, ORDINARY[0], ORDINARY[1]]),
        (both, [ORDINARY[0], ORDINARY[1]]),
        (jax.jit(exp), [ORDINARY]),
        (lambda x: jnp.sum(exp(x)), [jnp.asarray(ORDINARY)]),
    ],
)
def test_and_they_are_decided_at_ordinary_points(function, inputs):
    found = check_gradient(function, *inputs)
    assert (found.status, found.tier) == ("correct", "black box")


def test_second_derivatives():
    assert check_gradient(exp, 0.5, order=2).status == "correct"


@pytest.mark.parametrize(("slope", "status"), [(0.0, "kink"), (0.5, "kink"), (1.0, "kink"), (1.5, "wrong")])
def test_at_a_kink_any_subgradient_is_right(slope, status):
    relu = rule(jax.nn.relu, keeping_inputs(jax.nn.relu), lambda xs, g: (g * jnp.where(xs[0] == 0, slope, xs[0] > 0),))
    assert check_gradient(relu, np.array([0.0, 1.0])).status == status


# --- wrong ones -------------------------------------------------------------------------------------------------------


def no_mean(kept, g):
    x, gamma, _ = kept
    scale = 1 / jnp.sqrt(jnp.var(x, 1, keepdims=True) + 1e-3)
    return scale * g * gamma, *norm_backward(kept, g)[1:]


def missing_sum(kept, g):
    return *norm_backward(kept, g)[:2], g


def first_row_only(kept, g):
    return *norm_backward(kept, g)[:2], g[0]


THREE = [ORDINARY, ORDINARY[0], ORDINARY[1]]


@pytest.mark.parametrize(
    ("function", "forward", "backward", "inputs", "words"),
    [
        (jnp.exp, keeping(jnp.exp), lambda y, g: (-g * y,), [ORDINARY], "∂/∂x[0, 0]: given "),
        (jnp.exp, keeping(jnp.exp), lambda y, g: (g * y * (1 + 1e-6),), [ORDINARY], "∂/∂x[0, 0]: given "),
        (jnp.exp, keeping(jnp.exp), lambda y, g: (None,), [ORDINARY], "∂/∂x[0, 0]: given 0.0"),
        (jnp.exp, keeping(jnp.exp), lambda y, g: (g * y * jnp.nan,), [ORDINARY], "given nan"),
        (jnp.exp, keeping(jnp.exp), lambda y, g: (y,), [0.5], "∂/∂x: given 1.6487"),
        (product, keeping_inputs(product), lambda ab, g: ((ab[1] @ g).T, ab[0].T @ g), [ORDINARY[:, :2]] * 2, "∂/∂a"),
        (norm, keeping_inputs(norm), no_mean, THREE, "∂/∂x[0, 0]"),
        (norm, keeping_inputs(norm), first_row_only, THREE, "∂/∂beta[0]"),
        (norm, keeping_inputs(norm), missing_sum, THREE, "the backward pass raises ValueError: "),
        (jnp.exp, keeping(jnp.expm1), lambda y, g: (g * (y + 1),), [ORDINARY], "the forward rule (fwd) gives another"),
    ],
)
def test_wrong_backward_rules_are_found(function, forward, backward, inputs, words):
    found = check_gradient(rule(function, forward, backward), *inputs)
    assert found.status == "wrong", str(found)
    assert words in str(found)


def test_a_detached_second_derivative():
    detached = rule(jnp.exp, keeping(jnp.exp), lambda y, g: (g * jax.lax.stop_gradient(y),))
    assert check_gradient(detached, 0.5).status == "correct"
    found = check_gradient(detached, 0.5, order=2)
    assert (found.status, found.finding.found) == ("wrong", 0.0)


# --- what is given ----------------------------------------------------------------------------------------------------


def test_a_reference_certifies():
    found = check_gradient(exp, ORDINARY, reference=tn.exp)
    assert (found.status, found.tier) == ("correct", "certified")
    wrong = rule(jnp.exp, keeping(jnp.exp), lambda y, g: (g * y * (1 + 1e-12),))
    assert check_gradient(wrong, ORDINARY, reference=tn.exp).status == "wrong"
    assert check_gradient(exp, ORDINARY, reference=tn.exp, order=2).status == "correct"


def test_what_the_default_precision_is_does_not_matter():
    before = jax.config.jax_enable_x64
    pair = pair_for(exp, [jnp.asarray([1.0], dtype=jnp.float32)])
    assert (pair.library, pair.names, pair.dtype) == ("jax", ["x"], "float64")
    assert jax.config.jax_enable_x64 == before


def test_a_function_of_single_precision_is_judged_in_its_own_numbers():
    def single(x):
        return jnp.sin(x.astype(jnp.float32))

    right = rule(
        single, keeping_inputs(single), lambda xs, g: ((g * jnp.cos(xs[0].astype(jnp.float32))).astype(xs[0].dtype),)
    )
    wrong = rule(single, keeping_inputs(single), lambda xs, g: ((1.1 * g * jnp.cos(xs[0])).astype(xs[0].dtype),))
    assert pair_for(right, [ORDINARY]).dtype == "float32"
    assert check_gradient(right, ORDINARY).ok
    assert "single computes in float32" in str(check_gradient(wrong, ORDINARY))


def test_a_rule_that_branches_on_its_values_is_run_as_it_is():
    @partial(jax.custom_vjp, nondiff_argnums=(1,))
    def power(x, kind):
        return x**2 if kind["square"] else x

    power.defvjp(lambda x, kind: (x**2, x), lambda kind, x, g: (2 * x * g,))
    assert check_gradient(power, 1.5, {"square": True}).status == "correct"


def test_other_functions_are_none_of_ours():
    x = jnp.asarray([1.0])
    for f in (tn.exp, lambda x: x * x):
        assert pair_for(f, [x]) is None
    assert pair_for(tn.exp, [1.0]) is None


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: check_gradient(exp, 3), TypeError, "expected a tensor, an array or a number of floating point"),
        (
            lambda: check_gradient(exp, ORDINARY, cotangent=np.ones(3)),
            ValueError,
            r"has shape \(3,\); expected that of exp",
        ),
    ],
)
def test_what_cannot_be_checked_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_rule_in_numpy_has_no_second_derivative():
    opaque = rule(jnp.exp, keeping(jnp.exp), lambda y, g: (np.asarray(g) * np.asarray(y),))
    assert check_gradient(opaque, 0.5).status == "correct"
    with pytest.raises(TypeError, match="given order=2, but the backward pass of exp cannot be differentiated"):
        check_gradient(opaque, 0.5, order=2)


def test_the_report():
    wrong = rule(jnp.exp, keeping(jnp.exp), lambda y, g: (g * 0,))
    first, second, *rest = str(check_gradient(wrong, np.array([0.0, 1.0]))).split("\n")
    assert [first, *rest] == ["gradient: wrong (black box)", "  x = [0., 1.]"]
    assert second.startswith("  ∂/∂x[0]: given 0.0; expected between 1.1")
