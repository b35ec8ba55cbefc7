"""Programs of matrix products: what `DenseProgram` runs gives what the engine gives, and it runs what it should."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from agreement import Reference, compiled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinygrad_notes as tn
from tinygrad_notes.compile import compile, entries
from tinygrad_notes.testing import graphs
from tinygrad_notes.testing.programs import Program

pytest.importorskip("llvmlite")
from tinygrad_notes.compile.dense import schedule

SLACK = 1e-12
few = settings(max_examples=8, suppress_health_check=list(HealthCheck), deadline=None)  # each is compiled


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs are run so however small they are."""
    monkeypatch.setattr(schedule, "LEAST", 0)


@settings(suppress_health_check=list(HealthCheck), deadline=None)
@given(graphs(max_ops=10))
def test_graphs_of_arrays(small: None, program: Program) -> None:
    def f(*inputs: Any) -> Any:
        return tn.value_and_grad(program, argnums=tuple(range(len(inputs))))(*inputs)

    found = compiled(f, "llvm", *program.inputs)
    if found is not None:
        Reference(f, *program.inputs).check(found(*program.inputs), str(program), SLACK)


def by_loops(params: Any, X: Any, y: Any, activation: str) -> Any:
    """A network written number by number."""
    total = 0.0
    for x, t in zip(X, y, strict=True):
        a = list(x)
        for W, b in params:
            z = [sum((w * q for w, q in zip(row, a, strict=True)), c) for row, c in zip(W, b, strict=True)]
            a = [getattr(tn, activation)(v) for v in z]
        total = total + (a[0] - t) ** 2
    return total / len(X) + 1e-3 * sum(w * w for W, _ in params for row in W for w in row)


def network(seed: int, sizes: list[int], samples: int) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(seed)
    params = [(random.normal(size=(o, i)) / i, random.normal(size=o)) for i, o in pairwise(sizes)]
    return params, random.normal(size=(samples, sizes[0])), random.normal(size=samples)


@few
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=3).map(lambda s: [*s, 1]),
    st.integers(1, 7),
    st.sampled_from(["relu", "tanh", "sigmoid", "softplus"]),
)
def test_networks_written_by_loops(small: None, sizes: list[int], samples: int, activation: str) -> None:
    params, X, y = network(0, sizes, samples)

    def f(params: Any, X: Any, y: Any) -> Any:
        return tn.value_and_grad(lambda *a: by_loops(*a, activation), argnums=(0, 1))(params, X, y)

    Reference(f, params, X, y).check(compile(f, backend="llvm")(params, X, y), f"{sizes} {samples}", SLACK)


def test_a_wide_network_is_run_so_and_a_narrow_one_is_not() -> None:
    for hidden, kind in ((16, "DenseProgram"), (2, "LaneProgram")):
        step = compile(tn.value_and_grad(lambda *a: by_loops(*a, "tanh")), backend="llvm")
        args = network(0, [3, hidden, hidden, 1], 50)
        step(*args)
        assert type(step._plan.program).__name__ == kind  # type: ignore[union-attr]


def fitting(other: Any, z: Any) -> Any:
    return other if other.shape == z.shape else other.T


STEPS: dict[str, Any] = {  # z, an array of its shape or the transposed one, a matrix and a vector for its columns
    "product": lambda z, other, square, row: z @ square,
    "product of the transposed": lambda z, other, square, row: (square @ z.T).T,
    "bias": lambda z, other, square, row: z + row,
    "column": lambda z, other, square, row: row * tn.sum(z, axis=1, keepdims=True) + z,
    "added": lambda z, other, square, row: fitting(other, z) + z,
    "scaled": lambda z, other, square, row: 0.5 * z,
    "relu": lambda z, other, square, row: tn.relu(z),
    "maximum": lambda z, other, square, row: tn.maximum(z, fitting(other, z)),
    "mask of another": lambda z, other, square, row: tn.where(fitting(other, z) > 0, z, 0.0),
    "mask of its own": lambda z, other, square, row: tn.where(z > fitting(other, z), z, -0.5 * z),
    "truths": lambda z, other, square, row: z + (z > 0),
    "tanh": lambda z, other, square, row: tn.tanh(z),
    "square": lambda z, other, square, row: z * z / (1.0 + z * z),
    "total": lambda z, other, square, row: z - tn.mean(z),
    "column sums": lambda z, other, square, row: z - 0.1 * tn.sum(z, axis=0),
    "moved": lambda z, other, square, row: tn.reshape(tn.reshape(z, shape=(-1,)), shape=z.shape),
    "itself transposed": lambda z, other, square, row: z @ (z.T @ z) * 0.01,
}


@settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    st.integers(1, 14),
    st.integers(1, 14),
    st.lists(st.tuples(st.sampled_from([*STEPS]), st.booleans()), min_size=1, max_size=7),
    st.booleans(),
    st.sampled_from([1, 2]),
)
def test_what_follows_a_product(
    small: None, rows: int, columns: int, steps: list[tuple[str, bool]], gradient: bool, threads: int
) -> None:
    """Whatever is done to a product, and whichever of the results on the way are returned."""
    random = np.random.default_rng(rows)
    arrays = [random.normal(size=s) for s in ((rows, 3), (3, columns), (rows, columns), (columns, columns), (columns,))]

    def f(x: Any, w: Any, other: Any, square: Any, row: Any) -> Any:
        z, kept = x @ w, []
        for name, returned in steps:
            z = STEPS[name](z, other, square, row)
            kept += [z] if returned else []
        return tn.mean(z * z), z, kept

    def both(*args: Any) -> Any:
        if not gradient:
            return f(*args)
        return tn.value_and_grad(lambda *a: f(*a)[0], argnums=(0, 1, 2, 3, 4))(*args), f(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entries, "SHARED", 0)
        step = compile(both, backend="llvm", threads=threads)
        reference = Reference(both, *arrays)
        for _ in range(2):
            reference.check(step(*arrays), str(steps), 1e-11)
        assert type(step._plan.program).__name__ == "DenseProgram"  # type: ignore[union-attr]


def test_a_product_goes_on_in_its_tiles() -> None:
    """One loop: the product, its bias, relu, and the mask; the product itself is stored nowhere."""

    def f(x: Any, w: Any, c: Any, y: Any) -> Any:
        return tn.where(y > 0, tn.relu(x @ w + c), 0.25)

    random = np.random.default_rng(0)
    args = [random.normal(size=s) for s in ((50, 7), (7, 9), (9,), (50, 9))]
    step = compile(f, backend="llvm")
    Reference(f, *args).check(step(*args), slack=SLACK)
    assert step.source.count("stage") == 2  # the other one looks whether all is finite
    assert "kept" not in step.source


def softmax_loss(params: Any, x: Any, y: Any) -> Any:
    w1, b1, w2, b2 = params
    z = tn.relu(x @ w1 + b1) @ w2 + b2
    return -tn.mean(tn.sum(y * tn.log_softmax(z), axis=1))


def layers(seed: int = 0) -> tuple[list[Any], Any, Any]:
    random = np.random.default_rng(seed)
    params = [random.normal(size=s) for s in ((5, 12), (12,), (12, 3), (3,))]
    return params, random.normal(size=(40, 5)), np.eye(3)[random.integers(0, 3, 40)]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_network_of_arrays(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "SHARED", 0)
    params, x, y = layers()
    f = tn.value_and_grad(softmax_loss)
    step = compile(f, backend="llvm", threads=threads)
    Reference(f, params, x, y).check(step(params, x, y), slack=SLACK)
    assert type(step._plan.program).__name__ == "DenseProgram"  # type: ignore[union-attr]
    assert step._plan.threads == threads  # type: ignore[union-attr]
    assert " @ " in step.source
    assert step.stats.flops > 2 * 40 * 5 * 12


def test_training_in_place_and_in_a_loop() -> None:
    params, x, y = layers()

    def one(params: Any, x: Any, y: Any) -> Any:
        loss, grads = tn.value_and_grad(softmax_loss)(params, x, y)
        return [p - 0.1 * g for p, g in zip(params, grads, strict=True)], loss

    expected: Any = params
    for _ in range(7):
        expected, loss = one(expected, x, y)
    step, donated = compile(one, donate=0), [p.copy() for p in params]
    for _ in range(7):
        _, found = step(donated, x, y)
    loop = compile(lambda params, x, y: tn.fori(7, lambda k, s: one(s[0], x, y), (params, 0.0)))
    by_loop, last = loop(params, x, y)
    for value, new in ((found, donated), (last, by_loop)):
        np.testing.assert_allclose(value, loss, rtol=1e-12)
        for p, e in zip(new, expected, strict=True):
            np.testing.assert_allclose(p, e, rtol=1e-11, atol=1e-13)


def test_a_scan_over_batches() -> None:
    params, x, y = layers()
    batches = (x.reshape(4, 10, 5), y.reshape(4, 10, 3))

    def one(params: Any, batch: Any) -> Any:
        loss, grads = tn.value_and_grad(softmax_loss)(params, *batch)
        return [p - 0.1 * g for p, g in zip(params, grads, strict=True)], loss

    expected, losses = params, []
    for k in range(4):
        expected, loss = one(expected, (batches[0][k], batches[1][k]))
        losses.append(loss)
    found, lost = compile(lambda params, batches: tn.scan(one, params, batches))(params, batches)
    np.testing.assert_allclose(lost, losses, rtol=1e-12)
    for p, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(p, e, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_is_as_eager(bad: float) -> None:
    params, x, y = layers()
    x[3, 2] = bad
    f = tn.value_and_grad(softmax_loss)
    Reference(f, params, x, y).check(compile(f, backend="llvm")(params, x, y))


def test_integers_are_numbers() -> None:
    params, x, y = layers()
    f = tn.value_and_grad(softmax_loss)
    Reference(f, params, x, y).check(compile(f, backend="llvm")(params, x, y.astype(int)), slack=SLACK)


def test_views_and_constants_are_returned() -> None:
    def f(a: Any, b: Any) -> Any:
        c = a @ b
        return c, c.T, c[1], a.T, tn.reshape(c, shape=(-1,)), tn.grad(lambda t: 3.0)(a), c + c.T, (a @ b).T + c

    a, b = np.random.default_rng(0).normal(size=(2, 20, 20))
    Reference(f, a, b).check(compile(f, backend="llvm")(a, b), slack=SLACK)
