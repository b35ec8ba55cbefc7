"""`grad` and its kin against JAX: trees, argnums, nesting, and what they refuse."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import tinygrad_notes as tn
from tinygrad_notes import Tensor, Value

jax.config.update("jax_enable_x64", True)
moderate = st.floats(-2, 2).map(lambda x: round(x, 3))
vectors = arrays(np.float64, 3, elements=moderate)
matrices = arrays(np.float64, (2, 3), elements=moderate)


class Layer(NamedTuple):
    """A tree of NumPy's and JAX's arrays alike."""

    w: Any
    b: Any


def model(xp: Any, p: dict[str, Any], x: Any) -> Any:
    """A network with a bit of everything, in either library."""
    hidden = xp.tanh(p["first"].w @ x + p["first"].b)
    out, scale = p["rest"]
    return xp.sum(xp.exp(-hidden * out) * scale) + xp.sum(xp.where(hidden > 0, hidden, 0.5 * hidden) ** 2)


@st.composite
def parameters(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "first": Layer(draw(matrices), draw(arrays(np.float64, 2, elements=moderate))),
        "rest": [draw(arrays(np.float64, 2, elements=moderate)), draw(moderate)],
    }


def near(found: Any, expected: Any, tolerance: float = 1e-11) -> None:
    """Trees of the same structure with the same numbers."""
    ours, theirs = jax.tree_util.tree_flatten(found), jax.tree_util.tree_flatten(expected)
    assert ours[1] == theirs[1]
    for a, b in zip(ours[0], theirs[0], strict=True):
        np.testing.assert_allclose(a, np.asarray(b), rtol=tolerance, atol=tolerance)
        assert np.shape(a) == np.shape(b)


jax_gradient = jax.jit(jax.value_and_grad(lambda p, x: model(jnp, p, x), argnums=(0, 1)))
jax_jvp = jax.jit(lambda p, x, v, w: jax.jvp(lambda p, x: model(jnp, p, x), (p, x), (v, w)))
jax_hessian = jax.jit(jax.hessian(lambda p, x: model(jnp, p, x), argnums=(0, 1)))
jax_hvp = jax.jit(
    lambda p, x, v, w: jax.jvp(jax.grad(lambda p, x: model(jnp, p, x), argnums=(0, 1)), (p, x), (v, w))[1]
)


def loss(p: Any, x: Any) -> Any:
    return model(tn, p, x)


@given(parameters(), vectors)
def test_gradients_of_trees(p: dict[str, Any], x: np.ndarray) -> None:
    value, gradient = tn.value_and_grad(loss, argnums=(0, 1))(p, x)
    near((value, gradient), jax_gradient(p, x))
    near(tn.grad(loss)(p, x), gradient[0])
    near(tn.grad(loss, argnums=1)(p, x), gradient[1])
    near(tn.grad(loss, argnums=(-1, 0))(p, x), (gradient[1], gradient[0]))
    out, pull = tn.vjp(loss, p, x)
    near((out, pull(1.0)), (value, gradient))
    near(pull(-2.0), tn.vjp(lambda p, x: -2 * loss(p, x), p, x)[1](1.0))  # pulls again
    assert type(value) is float
    assert type(gradient[0]["rest"][1]) is float
    assert type(gradient[0]["first"]) is Layer


@given(parameters(), vectors, parameters(), vectors)
def test_forward_mode_of_trees(p: dict[str, Any], x: np.ndarray, v: dict[str, Any], w: np.ndarray) -> None:
    near(tn.jvp(loss, (p, x), (v, w)), jax_jvp(p, x, v, w))
    near(tn.hvp(loss, (p, x), (v, w)), jax_hvp(p, x, v, w), 1e-10)


@settings(max_examples=10)
@given(parameters(), vectors)
def test_hessians_of_trees(p: dict[str, Any], x: np.ndarray) -> None:
    near(tn.hessian(loss, argnums=(0, 1))(p, x), jax_hessian(p, x), 1e-10)


def several(xp: Any) -> Any:
    return lambda a, x: {"y": xp.sin(a @ x), "z": (xp.sum(x * x), a * 2)}


cotangent = {"y": np.array([1.0, -2.0]), "z": (3.0, np.ones((2, 3)))}
jax_jacobian = jax.jit(jax.jacobian(several(jnp), (0, 1)))
jax_pulled = jax.jit(lambda a, x: (several(jnp)(a, x), jax.vjp(several(jnp), a, x)[1](cotangent)))


@given(matrices, vectors)
def test_jacobians(a: np.ndarray, x: np.ndarray) -> None:
    expected = jax_jacobian(a, x)
    near(tn.jacobian(several(tn), (0, 1))(a, x), expected)
    near(tn.jacobian(several(tn), 1)(a, x), {"y": expected["y"][1], "z": tuple(z[1] for z in expected["z"])})
    out, pull = tn.vjp(several(tn), a, x)
    near((out, pull(cotangent)), jax_pulled(a, x))


# --- numbers ----------------------------------------------------------------------------------------------------------


def wave(xp: Any) -> Any:
    return lambda x: xp.sin(x * x) * xp.exp(x) / (1 + x) + x**3


@jax.jit
def jax_orders(x: float) -> list[Any]:
    found, f = [], wave(jnp)
    for _ in range(4):
        found.append(f(x))
        f = jax.grad(f)
    return found


@given(st.floats(0.1, 2))
def test_derivatives_of_every_order(x: float) -> None:
    expected, f = [float(d) for d in jax_orders(x)], wave(tn)
    for order in range(4):
        assert f(x) == pytest.approx(expected[order], rel=1e-9, abs=1e-9)
        f = tn.grad(f)
    f = wave(tn)
    for second in (
        tn.hessian(f)(x),
        tn.jvp(tn.grad(f), (x,), (1.0,))[1],
        tn.grad(lambda t: tn.jvp(f, (t,), (1.0,))[1])(x),
        tn.jvp(lambda t: tn.jvp(f, (t,), (1.0,))[1], (x,), (1.0,))[1],
    ):
        assert second == pytest.approx(expected[2], rel=1e-9, abs=1e-9)


def test_kinds_of_results() -> None:
    cube = lambda x: x**3  # noqa: E731
    assert type(tn.grad(cube)(2.0)) is float
    assert type(tn.grad(cube)(2)) is float
    assert type(tn.value_and_grad(cube)(2)[0]) is float
    assert type(tn.jvp(cube, (2.0,), (1,))[1]) is float
    assert type(tn.hessian(cube)(2.0)) is float
    x = np.array([1.0, 2.0])
    total = lambda x: tn.sum(x**3)  # noqa: E731
    assert type(tn.grad(total)(x)) is np.ndarray
    assert type(tn.value_and_grad(total)(x)[0]) is float
    assert type(tn.jvp(cube, (x,), (x,))[0]) is np.ndarray
    assert type(tn.jacobian(cube)(x)) is np.ndarray
    zero_d = tn.grad(cube)(np.array(2.0))
    assert (type(zero_d), zero_d.shape, zero_d) == (np.ndarray, (), 12.0)
    assert tn.grad(total)(x.astype(np.float32)).dtype == np.float32
    assert tn.jacobian(cube)(x.astype(np.float32)).dtype == np.float32
    assert tn.jacobian(lambda v: v * x)(2.0).tolist() == [1.0, 2.0]
    assert tn.jacobian(total)(x).shape == (2,)
    assert tn.jacobian(cube)(np.zeros((0,))).shape == (0, 0)
    assert tn.grad(lambda t: tn.sum(t, keepdims=True))(np.ones((1, 2))).shape == (1, 2)


def test_nodes_in_nodes_out() -> None:
    x = Value(2.0)
    g = tn.grad(lambda v: v**3)(x)
    assert isinstance(g, Value)
    assert g.data == 12.0
    g.backward()
    assert x.grad == 12.0
    t = Tensor([1.0, 2.0])
    h = tn.grad(lambda v: tn.sum(v**3))(t)
    tn.sum(h).backward()
    np.testing.assert_array_equal(t.grad, [6.0, 12.0])
    y, pull = tn.vjp(lambda v: v * v, 3.0)
    (back,) = pull(Value(2.0))
    assert (y, back.data) == (9.0, 12.0)
    assert tn.grad(lambda c: pull(c)[0])(1.0) == 6.0
    constant = Value(2.0, requires_grad=False)
    assert tn.grad(lambda v: v**3)(constant).data == 12.0


def test_the_callers_nodes_are_left_alone() -> None:
    x, w = Value(2.0), Tensor([1.0, 2.0])
    tn.grad(lambda v: v * x)(3.0)
    tn.jvp(lambda v: tn.sum(v * w), (np.ones(2),), (np.ones(2),))
    tn.grad(lambda v: v * v)(x)
    assert x.grad is None
    assert w.grad is None


# --- nesting ----------------------------------------------------------------------------------------------------------


def test_perturbations_are_not_confused() -> None:
    d = tn.grad
    assert d(lambda x: x * d(lambda y: x + y)(1.0))(1.0) == 1.0
    assert d(lambda x: x * d(lambda y: x * y)(2.0))(3.0) == 6.0
    assert d(lambda x: d(lambda y: d(lambda z: x * y * z * z)(y))(x))(2.0) == 16.0
    assert d(lambda x: d(lambda y: x)(x))(3.0) == 0.0
    assert d(lambda x: d(lambda y: y * y)(x) * x)(3.0) == 12.0
    push = lambda f, x: tn.jvp(f, (x,), (1.0,))[1]  # noqa: E731
    assert push(lambda x: x * push(lambda y: x + y, 1.0), 1.0) == 1.0
    assert push(lambda x: x * push(lambda y: x * y, 2.0), 3.0) == 6.0
    assert push(lambda x: x * d(lambda y: x * y)(2.0), 3.0) == 6.0
    assert d(lambda x: x * push(lambda y: x * y, 2.0))(3.0) == 6.0
    assert push(lambda x: push(lambda y: x, x), 3.0) == 0.0
    # A tangent that depends on the outer variable.
    assert d(lambda x: tn.jvp(lambda y: y * y, (3.0,), (x,))[1])(5.0) == 6.0
    assert d(lambda x: tn.vjp(lambda y: y * x, 3.0)[1](x)[0])(5.0) == 10.0
    inner = tn.jacobian(lambda y: y * np.ones(2))
    assert d(lambda x: tn.sum(inner(x) * x))(2.0) == 2.0


def bowl(xp: Any) -> Any:
    return lambda x: xp.sum(xp.sin(x) * x[0]) + xp.prod(x + 2)


def penalty(xp: Any, grad: Any) -> Any:
    return lambda x: xp.sum(grad(bowl(xp))(x) ** 2)


jax_third = jax.jit(lambda x: (jax.grad(penalty(jnp, jax.grad))(x), jax.jacobian(jax.hessian(bowl(jnp)))(x)))


@settings(max_examples=20)
@given(vectors, vectors)
def test_nested_transforms_of_arrays(x: np.ndarray, v: np.ndarray) -> None:
    f = bowl(tn)
    hessian, third = tn.hessian(f)(x), tn.jacobian(tn.hessian(f))(x)
    near((tn.grad(penalty(tn, tn.grad))(x), third), jax_third(x), 1e-10)
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-12)
    np.testing.assert_allclose(hessian @ v, tn.hvp(f, (x,), (v,)), atol=1e-11)
    np.testing.assert_allclose(hessian, tn.jacobian(tn.jacobian(f))(x), atol=1e-12)
    along = tn.grad(lambda t: tn.sum(tn.hvp(f, (t,), (v,))))(x)
    np.testing.assert_allclose(along, np.einsum("ijk,j->k", third, v), atol=1e-10)


def test_mixing_numbers_and_arrays() -> None:
    def f(s: Any, x: Any) -> Any:
        return tn.sum(s * x**2) / s.exp() if isinstance(s, (Value, Tensor)) else 0.0

    s, x = 0.7, np.array([1.0, -2.0])
    ((ss, sx), (xs, xx)) = tn.hessian(f, (0, 1))(s, x)
    e = math.exp(-s)
    assert ss == pytest.approx(5 * e * (s - 2))
    np.testing.assert_allclose(sx, 2 * x * e * (1 - s))
    np.testing.assert_allclose(xs, sx)
    np.testing.assert_allclose(xx, 2 * s * e * np.eye(2))
    assert isinstance(ss, float)


def test_dicts_are_matched_by_key() -> None:
    p, v = {"a": 2.0, "b": 3.0}, {"b": 0.0, "a": 1.0}
    assert tn.jvp(lambda p: p["a"] * p["b"], (p,), (v,)) == (6.0, 3.0)
    assert tn.hvp(lambda p: p["a"] ** 2 * p["b"], (p,), (v,)) == {"a": 6.0, "b": 4.0}
    assert tn.vjp(lambda x: {"y": x, "z": x * x}, 3.0)[1]({"z": 1.0, "y": 0.0}) == (6.0,)
    assert tn.jvp(tn.sum, (np.ones(2),), ([1.0, 2.0],)) == (2.0, 3.0)  # a list for an array


# --- edges ------------------------------------------------------------------------------------------------------------


def test_an_argument_that_is_not_used_has_gradient_zero() -> None:
    assert tn.grad(lambda x, y: x, 1)(1.0, 2.0) == 0.0
    np.testing.assert_array_equal(tn.grad(lambda x: 3.0)(np.ones(2)), [0.0, 0.0])
    assert tn.value_and_grad(lambda x: 7)(2.0) == (7, 0.0)
    gradient = tn.grad(lambda p: p["a"] * 2)({"a": 1.0, "b": np.ones((2, 2)), "c": [], "d": None, "e": ()})
    assert gradient["a"] == 2.0
    np.testing.assert_array_equal(gradient["b"], np.zeros((2, 2)))
    assert (gradient["c"], gradient["d"], gradient["e"]) == ([], None, ())
    _out, tangent = tn.jvp(lambda x: np.ones(3), (2.0,), (1.0,))
    np.testing.assert_array_equal(tangent, np.zeros(3))
    np.testing.assert_array_equal(tn.jacobian(lambda x: np.ones(3))(np.ones(2)), np.zeros((3, 2)))
    np.testing.assert_array_equal(tn.hessian(tn.sum)(np.ones(2)), np.zeros((2, 2)))
    np.testing.assert_array_equal(tn.hvp(tn.sum, (np.ones(2),), (np.ones(2),)), [0.0, 0.0])
    np.testing.assert_array_equal(tn.grad(tn.argmax)(np.ones(2)), [0.0, 0.0])
    assert tn.vjp(lambda x: 3.0, 2.0)[1](1.0) == (0.0,)
    assert tn.jvp(lambda: 3.0, (), ()) == (3.0, 0.0)


def test_a_function_that_returns_its_argument() -> None:
    x = np.array([1.0, 2.0])
    np.testing.assert_array_equal(tn.jacobian(lambda t: t)(x), np.eye(2))
    assert tn.grad(lambda t: t)(3.0) == 1.0
    _y, pull = tn.vjp(lambda t: (t, t), x)
    g = np.ones(2)
    (back,) = pull((g, g))
    np.testing.assert_array_equal(back, [2.0, 2.0])
    assert not np.shares_memory(back, g)
    (single,) = tn.vjp(lambda t: t, x)[1](g)
    assert not np.shares_memory(single, g)
    _out, tangent = tn.jvp(lambda t: [t, t], (x,), (g,))
    np.testing.assert_array_equal(tangent[0], g)


def test_the_same_array_for_two_arguments() -> None:
    x = np.array([1.0, 2.0])
    first, second = tn.grad(lambda a, b: tn.sum(a * b * b), (0, 1))(x, x)
    np.testing.assert_array_equal(first, x * x)
    np.testing.assert_array_equal(second, 2 * x * x)
    shared = Value(3.0)
    first, second = tn.grad(lambda a, b: a * b * b, (0, 1))(shared, shared)
    assert (first.data, second.data) == (9.0, 18.0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: tn.grad(lambda x: x)(np.ones(2)),
            ValueError,
            r"returned Tensor \(2,\) of float64; expected a scalar. Reduce",
        ),
        (lambda: tn.grad(lambda x: [x])(1.0), TypeError, "returned .*; expected a scalar"),
        (lambda: tn.grad(lambda x: None)(1.0), TypeError, "returned None; expected a scalar"),
        (lambda: tn.grad(lambda x: "y")(1.0), TypeError, "returned 'y'; expected a scalar"),
        (lambda: tn.grad(lambda x: x)(np.array([1, 2])), TypeError, "data of int64; expected floating-point"),
        (lambda: tn.grad(lambda x: x)("a"), TypeError, "Tensor: got 'a'|grad of .*: .*'a'"),
        (lambda: tn.grad(lambda x: x)({"w": "a"}), TypeError, "'a'"),
        (lambda: tn.grad(lambda x: x, 1)(1.0), ValueError, r"argnums=1, but <lambda> was given 1 argument"),
        (lambda: tn.grad(lambda x: x, -2)(1.0), ValueError, "argnums=-2"),
        (lambda: tn.grad(lambda x: x, (0, 3))(1.0), ValueError, r"argnums=\(0, 3\)"),
        (lambda: tn.grad(lambda x, y: x, (0, 0))(1.0, 2.0), ValueError, r"argnums=\(0, 0\) names an argument twice"),
        (lambda: tn.grad(lambda x, y: x, (1, -1))(1.0, 2.0), ValueError, "names an argument twice"),
        (lambda: tn.jvp(lambda x: x, (1.0,), ()), ValueError, "jvp: 1 primals and 0 tangents"),
        (
            lambda: tn.jvp(lambda x: x, ([1.0, 2.0],), ([1.0],)),
            ValueError,
            "jvp: the tangent: got 1 items; expected 2 items",
        ),
        (
            lambda: tn.jvp(lambda p: p["a"], ({"a": 1.0},), ({"b": 1.0},)),
            ValueError,
            r"the keys \['b'\]; expected the keys \['a'\]",
        ),
        (
            lambda: tn.jvp(lambda x: x, (np.ones(2),), (np.ones(3),)),
            ValueError,
            r"a tangent is array \(3,\) of float64; expected shape \(2,\)",
        ),
        (lambda: tn.jvp(lambda x: x, (1.0,), (np.ones(3),)), ValueError, r"expected shape \(\), as its primal"),
        (
            lambda: tn.vjp(lambda x: (x, x), 1.0)[1]((1.0,)),
            ValueError,
            "vjp: the cotangent of <lambda>: got 1 items; expected 2 items",
        ),
        (
            lambda: tn.vjp(lambda x: x, np.ones(2))[1](np.ones(3)),
            ValueError,
            r"cotangent has shape \(3,\); expected \(2,\)",
        ),
        (lambda: tn.hvp(lambda x: x, (np.ones(2),), (np.ones(2),)), ValueError, "expected a scalar"),
    ],
)
def test_refusals(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_an_error_inside_the_function_leaves_everything_as_it_was() -> None:
    def broken(x: Any) -> Any:
        raise KeyError("mine")

    for transform in (tn.grad(broken), tn.hessian(broken), tn.grad(tn.grad(broken))):
        with pytest.raises(KeyError, match="mine"):
            transform(1.0)
    assert type(tn.grad(lambda x: x * x)(1.0)) is float  # and not a node, as inside another transform
    assert (Value(1.0) * 2).requires_grad


def test_names_and_docstrings_are_kept() -> None:
    def area(r: Any) -> Any:
        """π r²."""
        return math.pi * r * r

    assert tn.grad(area).__name__ == "area"
    assert tn.grad(area).__doc__ == "π r²."
    assert tn.grad(tn.tanh)(0.0) == 1.0  # an op is a function too
