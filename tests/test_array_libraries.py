"""A Tensor that holds a PyTorch or JAX array: the same values and gradients as NumPy's, in the array's own library."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from table_cases import CASES, FORMULAS

import tinygrad_notes as tn
from tinygrad_notes import Tensor, nn
from tinygrad_notes.notes import two_layer
from tinygrad_notes.ops import TABLE

jax.config.update("jax_enable_x64", True)


def to_torch(x):
    torch = pytest.importorskip("torch")
    return torch.tensor(np.asarray(x))


LIBRARIES = {"torch": to_torch, "jax": jnp.asarray}
every_library = pytest.mark.parametrize("library", LIBRARIES)


def gradients(call, arrays, wrap=np.asarray):
    """The result of a function of Tensors, and the gradients of a weighted sum of it, as plain data."""
    tensors = [Tensor(wrap(a), requires_grad=True) for a in arrays]
    y = call(*tensors)
    weights = np.random.default_rng(0).normal(size=y.shape)
    y.backward(wrap(weights))
    return y.data, [t.grad for t in tensors]


def assert_same(call, arrays, library, tolerance=1e-12):
    wrap = LIBRARIES[library]
    kind = type(wrap(np.zeros(1)))
    with np.errstate(all="ignore"):
        expected, expected_gradients = gradients(call, arrays)
    found, found_gradients = gradients(call, arrays, wrap)
    for x, y in zip([found, *found_gradients], [expected, *expected_gradients], strict=True):
        assert isinstance(x, kind)
        assert tuple(x.shape) == np.shape(y)
        np.testing.assert_allclose(np.asarray(x), y, rtol=tolerance, atol=tolerance)


ELEMENTWISE = [(name, k) for name, formulas in FORMULAS.items() for k in range(len(formulas))]


@every_library
@pytest.mark.parametrize(("name", "k"), ELEMENTWISE, ids=[f"{n}-{k}" for n, k in ELEMENTWISE])
def test_elementwise_rows(name, k, library):
    op, formula = TABLE[name], FORMULAS[name][k]
    call, count = formula.call or partial(op, **formula.params), formula.arity or op.arity
    rng = np.random.default_rng(0)
    arrays = []
    for low, high in op.domain[-count:]:
        arrays.append(rng.uniform(max(low, -3.0) + 0.01, min(high, 3.0) - 0.01, size=(3, 4)))
    assert_same(call, arrays, library)
    if count > 1:
        assert_same(call, [arrays[0], *(a[:1] for a in arrays[1:])], library)  # broadcasting undone


STRUCTURAL = [(n, k) for n, cases in CASES.items() if TABLE[n].differentiable for k in range(len(cases))]


@every_library
@pytest.mark.parametrize(("name", "k"), STRUCTURAL, ids=[f"{n}-{k}" for n, k in STRUCTURAL])
def test_structural_rows(name, k, library):
    op, case = TABLE[name], CASES[name][k]
    params = dict(case.params)
    index = params.get("index")
    parts = index if isinstance(index, tuple) else (index,)
    if library == "torch" and any(isinstance(p, slice) and (p.step or 1) < 0 for p in parts):
        pytest.skip("PyTorch has no slices with a negative step")

    def call(*xs):
        if name == "astype":
            return op(*xs, dtype=xs[0].dtype)
        return op(list(xs), **params) if op.arity < 0 else op(*xs, **params)

    assert_same(call, case.arrays(), library)


@every_library
def test_float32_stays_float32(library):
    wrap = LIBRARIES[library]
    w, x = wrap(np.ones((2, 3), np.float32)), wrap(np.full((3, 4), 0.5, np.float32))
    w = Tensor(w)
    y = tn.mean(tn.softplus(tn.sigmoid(2 * (w @ x)) ** 2 + 1) / 3)
    y.backward()
    assert str(y.dtype).endswith("float32")
    assert str(w.grad.dtype).endswith("float32")


@every_library
def test_transforms_and_second_order(library):
    wrap = LIBRARIES[library]
    x, v = np.array([0.3, -1.2, 2.0]), np.array([1.0, 0.0, -2.0])

    def f(x):
        return tn.sum(tn.tanh(x) * x**2)

    np.testing.assert_allclose(np.asarray(tn.hessian(f)(wrap(x))), tn.hessian(f)(x), rtol=1e-13)
    np.testing.assert_allclose(np.asarray(tn.hvp(f, [wrap(x)], [wrap(v)])), tn.hvp(f, [x], [v]), rtol=1e-13)
    np.testing.assert_allclose(float(tn.jvp(f, [wrap(x)], [wrap(v)])[1]), tn.jvp(f, [x], [v])[1], rtol=1e-13)


def data():
    rng = np.random.default_rng(3)
    shapes = {"x": (3, 8), "w1": (4, 3), "b1": (4, 1), "w2": (1, 4), "b2": (1, 1)}
    given = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    return given, rng.integers(0, 2, size=(1, 8)).astype(float)


def notes_gradients(given, y):
    tensors = {name: Tensor(a) for name, a in given.items()}
    two_layer.forward(y=y, **tensors)["L"].backward()
    return {name: t.grad for name, t in tensors.items()}


@every_library
def test_the_notes_network(library):
    wrap = LIBRARIES[library]
    given, y = data()
    expected = notes_gradients(given, y)
    found = notes_gradients({k: wrap(v) for k, v in given.items()}, wrap(y))
    for name, gradient in expected.items():
        np.testing.assert_allclose(np.asarray(found[name]), gradient, rtol=1e-12, atol=1e-14)


def test_the_notes_network_under_jit():
    given, y = data()
    expected = notes_gradients(given, y)
    found = jax.jit(notes_gradients)(given, y)
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-12, atol=1e-14)


def test_transforms_under_jit():
    def loss(w, x):
        return tn.sum(tn.log_softmax(tn.maximum(x @ w, 0) + tn.erf(x) @ w)[:, 0]) + tn.logsumexp(w) + tn.std(x @ w)

    rng = np.random.default_rng(5)
    w, x = rng.normal(size=(3, 4)), rng.normal(size=(5, 3))
    np.testing.assert_allclose(jax.jit(tn.grad(loss))(w, x), tn.grad(loss)(w, x), rtol=1e-12)
    np.testing.assert_allclose(jax.jit(tn.hessian(loss))(w, x), tn.hessian(loss)(w, x), rtol=1e-9, atol=1e-12)


def test_a_module_trains_on_jax_arrays():
    model = nn.MLP([2, 3, 1], rng=0)
    for p in model.parameters():
        p.data = jnp.asarray(p.data)
    optimiser = tn.optim.SGD(model.parameters(), lr=1.0, momentum=0.5)
    x, y = jnp.asarray([[0.0, 1.0], [1.0, 0.0]]), jnp.asarray([[1.0], [0.0]])
    losses = []
    for _ in range(50):
        loss = nn.binary_cross_entropy(y, model(x))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0] / 2
    assert all(isinstance(p.data, jax.Array) for p in model.parameters())


def test_a_missing_extra_is_named(monkeypatch):
    import sys

    from tinygrad_notes.ops import namespaces

    class Foreign:
        shape, dtype = (2,), float

    Foreign.__module__ = "torch"
    monkeypatch.setitem(sys.modules, "array_api_compat.torch", None)
    namespaces._torch.cache_clear()
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tinygrad_notes\[xp\]'"):
        Tensor(Foreign())
    namespaces._torch.cache_clear()
