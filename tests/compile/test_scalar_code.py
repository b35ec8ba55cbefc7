"""Code written number by number with Python loops: it agrees with the engine, and comes out small."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from agreement import BACKENDS, Reference, agree, compiled, structure

import tinygrad_notes as tn
from tinygrad_notes.calculus import tree_leaves
from tinygrad_notes.compile import compile, plan


def floats(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def layer(W: Any, b: Any, x: list[Any], activation: Any) -> list[Any]:
    """One layer, unit by unit."""
    out = []
    for j in range(len(b)):
        z = b[j]
        for i in range(len(x)):
            z = z + W[j][i] * x[i]
        out.append(activation(z))
    return out


def mlp_loss(params: Any, X: Any, y: Any) -> Any:
    """Micrograd's demo: the hinge loss of two hidden layers, and a penalty on the weights."""
    (W1, b1), (W2, b2), (W3, b3) = params
    losses = []
    for i in range(len(X)):
        h = layer(W1, b1, list(X[i]), tn.relu)
        h = layer(W2, b2, h, tn.tanh)
        (score,) = layer(W3, b3, h, lambda z: z)
        losses.append(tn.relu(1 - y[i] * score))
    penalty = sum(w * w for W, _ in params for row in W for w in row)
    return sum(losses) * (1 / len(losses)) + 1e-4 * penalty


def network(hidden: int, features: int = 2) -> list[tuple[Any, Any]]:
    sizes = [features, hidden, hidden, 1]
    return [(floats(m, n, seed=k), floats(m, seed=k)) for k, (n, m) in enumerate(pairwise(sizes))]


def near(found: Any, expected: Any) -> None:
    """For large graphs, where the bound of every gradient would be a backward pass of thousands of nodes."""
    assert structure(found) == structure(expected)
    for y, e in zip(tree_leaves(found), tree_leaves(expected), strict=True):
        np.testing.assert_allclose(y, e, rtol=1e-12, atol=1e-14)


def as_lists(tree: Any) -> Any:
    if isinstance(tree, np.ndarray):
        return tree.tolist()
    return type(tree)(as_lists(t) for t in tree)


@pytest.mark.parametrize("as_given", ["arrays", "lists"])
@pytest.mark.parametrize("samples", [1, 5])
def test_a_network_by_loops(as_given: str, samples: int) -> None:
    params, X, y = network(3), floats(samples, 2), np.sign(floats(samples))
    if as_given == "lists":
        params, X, y = as_lists(params), X.tolist(), y.tolist()
    step = tn.value_and_grad(mlp_loss)
    for backend in BACKENDS:
        program = compile(step, backend=backend)
        near(program(params, X, y), step(params, X, y))
        near(program(params, X, y), step(params, X, y))


def test_a_network_is_rolled_up() -> None:
    X, y, params = floats(40, 2), np.sign(floats(40)), network(8)
    step = compile(tn.value_and_grad(mlp_loss), backend="numpy")
    expected = tn.value_and_grad(mlp_loss)(params, X, y)
    near(step(params, X, y), expected)
    assert step.stats.nodes > 8_000
    assert step.stats.instructions < 100
    assert step.source.count(".dot(") >= 8  # 3 forward, 5 backward
    native = compiled(tn.value_and_grad(mlp_loss), "llvm", params, X, y)
    near(native(params, X, y), expected)
    assert native.stats.instructions < 2_500  # one sample's code, once: its lanes are the samples


def test_the_size_does_not_grow_with_the_samples() -> None:
    sizes = []
    for samples in (10, 30):
        for backend in ("llvm", "numpy"):
            step = compile(tn.value_and_grad(mlp_loss), backend=backend)
            step(network(4), floats(samples, 2), np.sign(floats(samples)))
            sizes.append(step.stats.instructions)
    assert sizes[:2] == sizes[2:]


def test_the_lists_gradients_are_lists() -> None:
    params, X, y = as_lists(network(2)), floats(3, 2).tolist(), [1.0, -1.0, 1.0]
    _, gradients = compile(tn.value_and_grad(mlp_loss))(params, X, y)
    assert type(gradients) is list
    assert type(gradients[0]) is tuple
    assert type(gradients[0][0]) is list
    assert type(gradients[0][0][0][0]) is float


def test_pairs_of_samples() -> None:
    def loss(w: list[float], data: list[tuple[list[float], float]]) -> Any:
        def one(x: list[Any], y: Any) -> Any:
            return (sum(a * b for a, b in zip(w, x, strict=True)) - y) ** 2

        return sum(one(x, y) for x, y in data) / len(data)

    data = [(row.tolist(), float(row.sum())) for row in floats(9, 3)]
    agree(tn.value_and_grad(loss), floats(3).tolist(), data)


def test_a_recurrent_network_over_steps() -> None:
    def loss(p: dict[str, Any], xs: Any) -> Any:
        h = [0.0, 0.0]
        total = 0.0
        for t in range(len(xs)):
            h = [
                tn.tanh(p["Wx"][j] * xs[t] + sum(p["Wh"][j][k] * h[k] for k in range(2)) + p["b"][j]) for j in range(2)
            ]
            total = total + (h[0] - h[1] * xs[t]) ** 2
        return total

    params = {"Wx": floats(2), "Wh": floats(2, 2), "b": floats(2).tolist()}
    agree(tn.value_and_grad(loss), params, floats(7))


def test_shared_parameters_and_regularisers() -> None:
    def loss(w: Any, x: Any) -> Any:
        hidden = [w[0] * x[i] + w[1] for i in range(len(x))]
        again = [w[0] * tn.sin(h) + w[2] for h in hidden]  # w[0] a second time
        lasso = sum(abs(a) for a in w)
        ridge = sum(a * a for a in w)
        return sum(a * b for a, b in zip(hidden, again, strict=True)) + 0.1 * lasso + 0.01 * ridge

    agree(tn.value_and_grad(loss, argnums=(0, 1)), floats(3), floats(5))
    agree(tn.value_and_grad(loss, argnums=(0, 1)), floats(3).tolist(), floats(5).tolist())


def test_terms_of_several_kinds_in_one_sum() -> None:
    def loss(w: Any, x: Any) -> Any:
        total = 0.0
        for i in range(len(x)):
            total = total + (tn.exp(w[0] * x[i]) if i % 3 else w[1] * x[i] ** 2) - (x[i] if i % 2 else 1.0)
        return total

    agree(tn.value_and_grad(loss, argnums=(0, 1)), floats(2), floats(13))


@pytest.mark.parametrize("backend", BACKENDS)
def test_irregular_code(backend: str) -> None:
    generator = random.Random(5)
    plan = [(generator.choice("+*-tsm"), generator.random(), generator.random()) for _ in range(300)]

    def f(xs: Any) -> Any:
        values = [xs[i] for i in range(len(xs))]
        for op, a, b in plan:
            x, y = values[int(a * len(values))], values[int(b * len(values))]
            match op:
                case "+":
                    values.append(x + y)
                case "*":
                    values.append(tn.tanh(x * y))
                case "-":
                    values.append(x - 0.5 * y)
                case "t":
                    values.append(tn.tanh(x))
                case "s":
                    values.append(tn.sin(y))
                case "m":
                    values.append(tn.maximum(x, y) * 0.5)
        return sum(tn.tanh(v) for v in values[-20:])

    g = tn.value_and_grad(f)
    xs = floats(5)
    program = compiled(g, backend, xs)
    assert program is not None
    Reference(g, xs).check(program(xs), backend)


@pytest.mark.parametrize("window", [2, 3])
def test_windows_that_overlap(window: int) -> None:
    """Places and windows go along the same axis of an array."""

    def down(x: Any, w: Any) -> Any:
        return sum(tn.tanh(sum(w[a] * x[i + a][1] for a in range(window))) for i in range(len(x) - window + 1))

    def beyond(x: Any, w: Any) -> Any:
        n, m = len(x), len(x[0])
        return sum(
            sum(w[a] * x[i + a][j + b] for a in range(window) for b in range(2) if i + a < n and j + b < m) ** 2
            for i in range(n)
            for j in range(m)
        )

    for f in (down, beyond):
        agree(tn.value_and_grad(f, argnums=(0, 1)), floats(7, 3), floats(window))


CHOICES: dict[str, Any] = {
    "by a comparison": lambda x, y: tn.where(x > y, x, 0.5 * y),
    "by a number": lambda x, y: tn.where(x, tn.sin(x), y),
    "between 1 and 0": lambda x, y: x * tn.where(y, 1.0, 0.0),
    "of both": lambda x, y: tn.where(tn.logical_and(x > 0, y > 0), x * y, y),
    "of either": lambda x, y: tn.where(tn.logical_or(x == y, x), x * y, y),
    "of the opposite": lambda x, y: tn.where(tn.logical_not(x > y), x, y * y),
    "counted": lambda x, y: (x > y) * x + y,
}


@pytest.mark.parametrize("of", ["numbers", "arrays"])
@pytest.mark.parametrize("large", [1, 20_000])
@pytest.mark.parametrize("name", CHOICES)
def test_choices(name: str, large: int, of: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A condition may be any number; in a table there are but numbers."""
    monkeypatch.setattr(plan, "LARGE", large)
    monkeypatch.setattr(plan, "is_irregular", lambda *_: True)
    choose = CHOICES[name]

    def f(x: Any) -> Any:
        if of == "arrays":
            return tn.sum(tn.tanh(choose(tn.tanh(x), tn.tanh(x[::-1]))))
        return sum(tn.tanh(choose(tn.tanh(x[i]), tn.tanh(x[-i]))) for i in range(1, len(x)))

    agree(tn.value_and_grad(f), np.array([0.4, -0.3, 0.0, 1.5, -2.0, 0.9]))


def test_a_long_chain() -> None:
    def f(x: Any) -> Any:
        for _ in range(3_000):
            x = x * 0.999 + 0.001
        return x

    for backend in ("numpy", "auto"):
        value, slope = compile(tn.value_and_grad(f), backend=backend)(0.5)
        assert slope == pytest.approx(0.999**3_000, rel=1e-11)
        assert value == pytest.approx(1 - 0.5 * 0.999**3_000, rel=1e-11)


def test_elements_by_every_kind_of_index() -> None:
    def f(A: Any, v: Any) -> Any:
        n = len(v)
        corner = A[-1, -1] * A[0][1] + A[1][-2] * v[-1]
        rows = sum(A[i] @ v for i in range(len(A)))
        columns = sum(A[:, j][0] * v[j] for j in range(n))
        unpacked = [a * b for row in A for a, b in zip(row, v, strict=True)]
        return corner + rows + columns + sum(unpacked) + sum(v[::2]) + tn.sum(A[1:, 1:])

    agree(tn.value_and_grad(f, argnums=(0, 1)), floats(2, 3), floats(3))


def test_integers_are_numbers() -> None:
    labels = np.array([0, 1, 1, 0])

    def loss(w: Any, x: Any, labels: Any) -> Any:
        return sum((w * x[i] - labels[i]) ** 2 for i in range(4))

    agree(tn.value_and_grad(loss), 0.5, floats(4), labels)
    agree(tn.value_and_grad(loss), 2, floats(4).tolist(), labels.tolist())
    agree(lambda a, b: (a / b, a**b, a - b), 3, 2)


def test_plain_python_arithmetic() -> None:
    def f(x: Any, y: Any) -> Any:
        return (-x + 2, 3 - y, x / 4, 4 / x, x**3, 2**y, x**y, abs(x - y), +x, x - x, x * 0.0, x / x, 1 * x + 0)

    agree(f, 1.7, -0.3)
    agree(tn.grad(lambda a, b: sum(f(a, b)[:6]), argnums=(0, 1)), 1.7, -0.3)


def test_what_python_raises_on_is_ieee() -> None:
    def f(x: Any, y: Any) -> Any:
        return 1 / x, tn.log(y), tn.exp(y * 1e4), x / x, tn.sqrt(y - 1)

    for x, y in [(0.0, 0.0), (-0.0, 1.0), (1.0, 2.0), (math.inf, -1.0), (math.nan, 0.5)]:
        for backend in BACKENDS:
            program = compiled(f, backend, x, y)
            if program is not None:
                Reference(lambda a, b: tuple(v.data for v in f(tn.Value(a), tn.Value(b))), x, y).check(
                    program(x, y), f"{backend}{(x, y)}"
                )


def test_results_that_need_no_program() -> None:
    assert compile(lambda x: 3.0)(1.0) == 3.0
    assert compile(lambda x: x)(2.0) == 2.0
    assert compile(lambda: (1, "a", None))() == (1, "a", None)
    assert compile(tn.grad(lambda x: 5.0))(2.0) == 0.0
    x = np.arange(3.0)
    found = compile(lambda x: (x, x[1], x))(x)
    np.testing.assert_array_equal(found[0], x)
    assert found[1] == 1.0


@pytest.mark.parametrize("backend", ["llvm", "numpy", "python"])
def test_a_sample_that_is_infinite(backend: str) -> None:
    """0 · ∞ is 0 in the backward pass, also where the samples have been rolled up."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(9, 2)), rng.normal(size=2)
    x[3, 0] = np.inf
    f = tn.grad(lambda w, x: sum(tn.sigmoid(w[0] * a[0] + w[1] * a[1]) for a in x), argnums=(0, 1))
    for found, wanted in zip(compile(f, backend=backend)(w, x), f(w, x), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("backend", ["auto", "numpy"])
def test_a_table_returns_what_it_was_given(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "LARGE", 1)
    monkeypatch.setattr(plan, "is_irregular", lambda *_: True)
    x = np.array([1.0, 2.0, 3.0])
    element, computed, whole, listed = compile(lambda x: (x[1], x[0] * x[1] + x[2], x, [x[2]]), backend=backend)(x)
    assert (element, computed, whole.tolist(), listed) == (2.0, 5.0, [1.0, 2.0, 3.0], [3.0])
    assert not np.shares_memory(whole, x)
