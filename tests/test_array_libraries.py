"""A Tensor that holds a PyTorch or JAX array: the same values and gradients as NumPy's, in the array's own library."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from table_cases import CASES, CHOICES, FORMULAS

import tinygrad_notes as tn
from tinygrad_notes import Tensor, Value, nn
from tinygrad_notes.notes import two_layer
from tinygrad_notes.ops import TABLE, namespaces

jax.config.update("jax_enable_x64", True)


def to_torch(x: Any) -> Any:
    torch = pytest.importorskip("torch")
    return torch.tensor(np.array(x))


LIBRARIES: dict[str, Callable[[Any], Any]] = {"torch": to_torch, "jax": jnp.asarray}
every_library = pytest.mark.parametrize("library", LIBRARIES)


def once(library: str, f: Callable[[], Any]) -> Any:
    """f(); that of JAX inside `jit`, because eagerly it compiles every operation, which takes long.

    The program is given no arrays; those that it makes are traced all the same, but XLA works them out rather than
    compile much.
    """
    return jax.jit(f)() if library == "jax" else f()


# --- every row --------------------------------------------------------------------------------------------------------


def calls(name: str) -> list[tuple[Callable[..., Any], list[np.ndarray]]]:
    op = TABLE[name]
    if name in FORMULAS:
        found = []
        for formula in FORMULAS[name]:
            count = formula.arity or op.arity
            arrays = [
                np.random.default_rng(k).uniform(max(low, -3) + 0.1, min(high, 3) - 0.1, (2, 3))
                for k, (low, high) in enumerate(op.domain[-count:])
            ]
            found.append((formula.call or partial(op, **formula.params), arrays))
        return found
    return [
        ((lambda *xs, p=case.params: op(list(xs), **p)) if op.arity < 0 else partial(op, **case.params), case.arrays())
        for case in CASES[name]
        if np.isfinite(case.params.get("value", 0.0))  # a sum of infinities is no number
    ]


def backwards(params: dict[str, Any]) -> bool:
    """Whether an index counts down, which PyTorch cannot."""
    index = params.get("index", ())
    return any(isinstance(i, slice) and (i.step or 1) < 0 for i in (index if isinstance(index, tuple) else (index,)))


def everything(call: Callable[..., Any], arrays: list[Any], ways: list[Any], weights: Any) -> list[Any]:
    """The value, the gradients, the tangent and the gradients of the sum of the gradients, as plain data."""
    leaves = [Tensor(a) for a in arrays]
    y = call(*leaves)
    y.backward(weights)
    firsts = [leaf.grad for leaf in leaves]
    tangent = tn.jvp(call, arrays, ways)[1]
    every = tuple(range(len(arrays)))
    gradients = tn.grad(lambda *xs: tn.sum(call(*xs) * weights), every)
    seconds = tn.grad(lambda *xs: sum(tn.sum(g) for g in gradients(*xs)), every)(*arrays)
    return [y.data, *firsts, tangent, *seconds]


@every_library
@pytest.mark.parametrize("name", [n for n in TABLE if n in FORMULAS or (n in CASES and TABLE[n].differentiable)])
def test_every_row_as_over_numpy(library: str, name: str) -> None:
    make = LIBRARIES[library]
    for call, arrays in calls(name)[: None if library == "torch" else 2]:
        if name == "astype" or (library == "torch" and backwards(getattr(call, "keywords", {}))):
            continue
        ways = [np.cos(a) for a in arrays]
        weights = np.random.default_rng(0).normal(size=call(*map(Tensor, arrays)).shape)
        expected = everything(call, arrays, ways, weights)
        given = arrays, ways, weights
        found = once(library, lambda call=call, given=given: everything(call, *jax.tree.map(make, given)))
        for f, e in zip(found, expected, strict=True):
            assert isinstance(f, (float, type(make(weights))))
            assert np.shape(f) == np.shape(e)
            np.testing.assert_allclose(np.asarray(f), e, rtol=1e-11, atol=1e-12)


@every_library
@pytest.mark.parametrize("name", sorted(CHOICES))
def test_choices(library: str, name: str) -> None:
    make, op = LIBRARIES[library], TABLE[name]
    numbers = np.array([-1.0, 0.0, 1.0]), np.array([0.0, 0.0, 0.0])
    y = op(*(Tensor(make(n)) for n in numbers[: op.arity]))
    assert not y.requires_grad
    np.testing.assert_array_equal(np.asarray(y.data), op(*(Tensor(n) for n in numbers[: op.arity])).data)


@every_library
@pytest.mark.parametrize(
    "name",
    ["add", "subtract", "multiply", "divide", "pow", "maximum", "minimum", "hypot", "logaddexp", "xlogy", "atan2"],
)
def test_numbers_on_either_side(library: str, name: str) -> None:
    make, op = LIBRARIES[library], TABLE[name]
    sides = [
        (np.array([0.5, 1.5, 2.0], dtype), call)
        for dtype in (np.float64, np.float32)
        for number in (2.0, 2, 0.0, 1.5)
        for call in (lambda t, n=number: op(t, n), lambda t, n=number: op(n, t))
    ]

    def value_and_gradient(x: Any, call: Callable[..., Any], ones: Any) -> tuple[Any, Any]:
        leaf = Tensor(x)
        y = call(leaf)
        y.backward(ones)
        return y.data, leaf.grad

    with np.errstate(all="ignore"):
        all_expected = [value_and_gradient(x, call, np.ones(3, x.dtype)) for x, call in sides]
        run = lambda: [value_and_gradient(make(x), call, make(np.ones(3, x.dtype))) for x, call in sides]  # noqa: E731
        all_found = once(library, run)
    for (x, _), found, expected in zip(sides, all_found, all_expected, strict=True):
        for f, e in zip(found, expected, strict=True):
            np.testing.assert_allclose(np.asarray(f), e, rtol=1e-6)
            assert str(f.dtype).endswith(x.dtype.name)


@every_library
def test_edges_are_those_of_numpy(library: str) -> None:
    make = LIBRARIES[library]
    x = np.array([0.0, 4.0])
    for branch in (tn.sqrt, tn.log, lambda t: 1 / t, lambda t: t * tn.log(t), lambda t: t**-0.5):
        with np.errstate(all="ignore"):
            loss = lambda t, branch=branch: tn.sum(tn.where(t > 0, branch(t), 3 * t))  # noqa: E731
            expected, second = tn.grad(loss)(x), tn.hessian(loss)(x)
        found = once(library, lambda loss=loss: (tn.grad(loss)(make(x)), tn.hessian(loss)(make(x))))
        np.testing.assert_allclose(np.asarray(found[0]), expected, rtol=1e-14)
        np.testing.assert_allclose(np.asarray(found[1]), second, rtol=1e-13)
        assert np.isfinite(expected).all()
    ties, zeros, big = np.array([1.0, 3.0, 3.0]), np.zeros(2), np.array([-1000.0, 1000.0])
    twice = lambda t: tn.sum(t[np.array([0, 0, 1])])  # noqa: E731
    softplus = lambda t: tn.sum(tn.softplus(t))  # noqa: E731
    cases = [
        (tn.max, ties, [0.0, 0.5, 0.5]),
        (twice, ties, [2.0, 1.0, 0.0]),
        (tn.norm, zeros, [0.0, 0.0]),
        (softplus, big, [0.0, 1.0]),
    ]
    found = once(library, lambda: [tn.grad(f)(make(at)) for f, at, _ in cases])
    for gradient, (*_, right) in zip(found, cases, strict=True):
        np.testing.assert_array_equal(np.asarray(gradient), right)


@every_library
def test_numbers_and_nodes_of_both_kinds_in_one_graph(library: str) -> None:
    make = LIBRARIES[library]
    x, s = Tensor(make(np.array([1.0, 2.0])), name="x"), Value(3.0)
    y = tn.sum(s * x * x + s) / 2
    y.backward()
    assert s.grad == 3.5
    assert type(s.grad) is float
    np.testing.assert_array_equal(np.asarray(x.grad), [3.0, 6.0])
    assert "Tensor(" in repr(x)
    assert (x.shape, x.ndim, x.size, len(x)) == ((2,), 1, 2, 2)
    assert x[0].item() == 1.0
    with pytest.raises(ValueError, match=r"add: given Tensor x \(2,\) of .*float64"):
        x + make(np.ones(3))


@every_library
def test_dtypes(library: str) -> None:
    make = LIBRARIES[library]
    assert Tensor(make(np.ones(2, np.float32))).requires_grad
    assert not Tensor(make(np.array([1, 2]))).requires_grad
    with pytest.raises(TypeError, match=r"requires_grad=True with data of .*int64"):
        Tensor(make(np.array([1, 2])), requires_grad=True)
    with pytest.raises(TypeError, match=r"Tensor: got data of .*complex128; expected real numbers"):
        Tensor(make(np.array([1j])))


def test_gradients_of_torch_tensors_share_no_memory() -> None:
    torch = pytest.importorskip("torch")
    a, b, g = Tensor(torch.ones(3)), Tensor(torch.ones(3)), torch.ones(3)
    (a + b).backward(g)
    tn.sum(a.reshape((3, 1))).backward()
    a.grad += 10
    assert b.grad.tolist() == [1.0] * 3
    assert g.tolist() == [1.0] * 3
    assert a.data.tolist() == [1.0] * 3


def test_torch_autograd_agrees() -> None:
    torch = pytest.importorskip("torch")
    generator = np.random.default_rng(0)
    w, x = generator.normal(size=(4, 3)), generator.normal(size=(5, 4))
    ours = tn.grad(lambda w: tn.mean(tn.logsumexp(tn.gelu(x @ w), axis=1) ** 2))(w)
    t = torch.tensor(w, requires_grad=True)
    torch.mean(torch.logsumexp(torch.nn.functional.gelu(torch.tensor(x) @ t), 1) ** 2).backward()
    np.testing.assert_allclose(ours, t.grad.numpy(), rtol=1e-12)


# --- networks ---------------------------------------------------------------------------------------------------------


def data() -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(3)
    shapes = {"x": (3, 8), "w1": (4, 3), "b1": (4, 1), "w2": (1, 4), "b2": (1, 1)}
    given = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    return given, rng.integers(0, 2, size=(1, 8)).astype(float)


def notes_gradients(given: dict[str, Any], y: Any) -> dict[str, Any]:
    tensors = {name: Tensor(a) for name, a in given.items()}
    two_layer.forward(y=y, **tensors)["L"].backward()
    return {name: t.grad for name, t in tensors.items()}


@every_library
def test_the_notes_network(library: str) -> None:
    wrap = LIBRARIES[library]
    given, y = data()
    expected = notes_gradients(given, y)
    found = notes_gradients({k: wrap(v) for k, v in given.items()}, wrap(y))
    for name, gradient in expected.items():
        np.testing.assert_allclose(np.asarray(found[name]), gradient, rtol=1e-12, atol=1e-14)


def test_the_notes_network_under_jit() -> None:
    given, y = data()
    expected = notes_gradients(given, y)
    found = jax.jit(notes_gradients)(given, y)
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-12, atol=1e-14)


def test_a_module_trains_on_jax_arrays() -> None:
    model = nn.MLP([2, 2, 2], rng=0)  # JAX compiles every operation once for each shape: let these be few
    for p in model.parameters():
        p.data = jnp.asarray(p.data)
    optimiser = tn.optim.SGD(model.parameters(), lr=1.0, momentum=0.5)
    x, y = jnp.asarray([[0.0, 1.0], [1.0, 0.0]]), jnp.asarray([[1.0, 0.0], [0.0, 1.0]])
    losses = []
    for _ in range(50):
        loss = nn.binary_cross_entropy(y, model(x))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0] / 2
    assert all(isinstance(p.data, jax.Array) for p in model.parameters())


def mlp(p: dict[str, Any], x: Any, y: Any) -> Any:
    """Three layers, a normalisation and the cross-entropy with integer labels."""
    h = tn.relu(x @ p["w1"] + p["b1"])
    h = (h - tn.mean(h, axis=1, keepdims=True)) / (tn.std(h, axis=1, keepdims=True) + 1e-3)
    h = tn.gelu(h @ p["w2"]) + tn.silu(h @ p["w2"])
    logits = tn.log_softmax(h @ p["w3"], axis=1)
    return -tn.mean(logits[np.arange(len(y)), y]) + 0.1 * sum(tn.sum(w**2) for w in p.values())


def weights() -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    shapes = {"w1": (4, 8), "b1": (8,), "w2": (8, 6), "w3": (6, 3)}
    p = {name: generator.normal(size=shape) * 0.5 for name, shape in shapes.items()}
    return p, generator.normal(size=(10, 4)), generator.integers(0, 3, 10)


def test_a_network_inside_jit() -> None:
    p, x, y = weights()
    loss, gradient = tn.value_and_grad(mlp)(p, x, y)

    @jax.jit
    def step(p: Any, x: Any) -> Any:
        return tn.value_and_grad(mlp)(p, x, y)

    for _ in range(2):  # traced, then run from the cache
        found, slopes = step(p, x)
        assert float(found) == pytest.approx(loss, rel=1e-12)
        for name, g in gradient.items():
            np.testing.assert_allclose(np.asarray(slopes[name]), g, rtol=1e-9, atol=1e-13)


def test_second_derivatives_inside_jit() -> None:
    p, x, y = weights()

    def along(p: Any) -> Any:
        return tn.hvp(lambda p: mlp(p, x, y), (p,), (p,))

    found = once("jax", lambda: along(jax.tree.map(jnp.asarray, p)))
    for name, h in along(p).items():
        np.testing.assert_allclose(np.asarray(found[name]), h, rtol=1e-8, atol=1e-12)
    entropy = lambda t: tn.sum(tn.where(t > 0, t * tn.log(t), 0.0))  # noqa: E731
    q = np.array([0.0, 0.3, 0.7])
    with np.errstate(all="ignore"):
        expected = tn.hessian(entropy)(q)
    np.testing.assert_allclose(np.asarray(jax.jit(tn.hessian(entropy))(q)), expected, rtol=1e-12)
    assert np.isfinite(expected).all()


def test_leaves_and_backward_inside_jit() -> None:

    @jax.jit
    def gradient(x: Any) -> Any:
        leaf = Tensor(x)
        tn.sum(tn.exp(leaf) * leaf[0]).backward()
        return leaf.grad

    x = np.array([0.5, 1.0])
    np.testing.assert_allclose(np.asarray(gradient(x)), tn.grad(lambda t: tn.sum(tn.exp(t) * t[0]))(x), rtol=1e-12)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Foreign:
        shape, dtype = (2,), float

    Foreign.__module__ = "torch"
    monkeypatch.setitem(sys.modules, "array_api_compat.torch", None)
    namespaces._torch.cache_clear()
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tinygrad_notes\[xp\]'"):
        Tensor(Foreign())
    namespaces._torch.cache_clear()
