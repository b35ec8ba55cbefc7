"""Programs in blocks of samples: results are the engine's, however many there are; what runs so, and what does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from agreement import Reference, compiled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinygrad_notes as tn
from tinygrad_notes.calculus import tree_leaves
from tinygrad_notes.compile import compile, entries, loops
from tinygrad_notes.testing import graphs
from tinygrad_notes.testing.programs import Program

pytest.importorskip("llvmlite")
from tinygrad_notes.compile.dense import blocks, samples, schedule

SLACK = 1e-12
BLOCK = 4
"""The most samples of a block in these tests."""
COUNTS = [0, 1, 2, 7, 8, 9, 11, 12, 13, 16, 23, 40]
few = settings(max_examples=20, suppress_health_check=list(HealthCheck), deadline=None)  # each is compiled
random = np.random.default_rng(0)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks have up to four samples, programs are run so however small they are, and by several threads."""
    monkeypatch.setattr(schedule, "LEAST", 0)
    monkeypatch.setattr(schedule, "FOR_EACH", 0)
    monkeypatch.setattr(samples, "FEWEST", 2 * BLOCK - 1)
    monkeypatch.setattr(blocks, "SMALLEST", BLOCK)
    monkeypatch.setattr(blocks, "NEAR", 0)
    monkeypatch.setattr(entries, "SHARED", 0)
    monkeypatch.setattr(loops, "MANY", 5)


@pytest.fixture
def single(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks have one sample."""
    monkeypatch.setattr(samples, "FEWEST", 2)
    monkeypatch.setattr(blocks, "SMALLEST", 1)


def weights(inputs: int = 2, hidden: int = 5) -> list[Any]:
    return [random.normal(size=s) for s in ((hidden, inputs), (hidden,), (hidden, hidden), (hidden,), (1, hidden))]


def data(count: int, inputs: int = 2) -> tuple[Any, Any]:
    return random.normal(size=(count, inputs)), random.normal(size=count)


def score(p: Any, x: Any) -> Any:
    """A network written number by number."""
    W, b, V, c, u = p
    a = [tn.tanh(sum((w * q for w, q in zip(row, x, strict=True)), k)) for row, k in zip(W, b, strict=True)]
    a = [tn.relu(sum((w * q for w, q in zip(row, a, strict=True)), k)) for row, k in zip(V, c, strict=True)]
    return sum(w * q for w, q in zip(u[0], a, strict=True))


def rows(p: Any, X: Any) -> Any:
    """The same with arrays; a sample is a row."""
    W, b, V, c, u = p
    return (tn.relu(tn.tanh(X @ W.T + b) @ V.T + c) @ u.T).reshape(-1)


def columns(p: Any, X: Any) -> Any:
    """The same; a sample is a column."""
    W, b, V, c, u = p
    X = tn.permute_dims(X, axes=(1, 0))
    return (u @ tn.relu(V @ tn.tanh(W @ X + b[:, None]) + c[:, None]))[0]


def by_loops(p: Any, X: Any) -> Any:
    return tn.stack([score(p, x) for x in X]) if len(X) else rows(p, X)


def mapped(p: Any, X: Any) -> Any:
    return tn.vmap(score, in_axes=(None, 0))(p, X) if len(X) else rows(p, X)


WAYS = {"rows": rows, "columns": columns, "loops": by_loops, "map": mapped}


def close(found: Any, expected: Any) -> None:
    for a, b in zip(tree_leaves(found), tree_leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


def is_in_blocks(step: Any) -> bool:
    return "for block in range(" in step.source


@few
@given(st.sampled_from(list(WAYS)), st.sampled_from(COUNTS), st.integers(1, 3), st.booleans())
def test_any_number_of_samples(small: None, way: str, count: int, threads: int, scores: bool) -> None:
    (X, y), p = data(count), weights()

    def f(way: Any, p: Any, X: Any, y: Any) -> Any:
        def loss(p: Any, X: Any) -> Any:
            return tn.sum((way(p, X) - y) ** 2) + 0.1 * tn.sum(p[0] ** 2)

        gradients = tn.value_and_grad(loss, argnums=(0, 1))(p, X)
        return (gradients, way(p, X), p[1] * 2.0) if scores else gradients

    step = compile(lambda *a: f(WAYS[way], *a), backend="llvm" if count else "auto", threads=threads)
    for _ in range(2):  # nothing is left from the first time
        close(step(p, X, y), f(rows, p, X, y))
    assert count < 2 * BLOCK or is_in_blocks(step)


@settings(suppress_health_check=list(HealthCheck), deadline=None)
@given(graphs(max_ops=10), st.integers(1, 2))
def test_graphs_of_arrays(small: None, single: None, program: Program, threads: int) -> None:
    def f(*inputs: Any) -> Any:
        return tn.value_and_grad(program, argnums=tuple(range(len(inputs))))(*inputs), program(*inputs)

    found = compiled(f, "llvm", *program.inputs, threads=threads)
    if found is not None:
        Reference(f, *program.inputs).check(found(*program.inputs), str(program), SLACK)


@few
@given(st.sampled_from(["rows", "map"]), st.sampled_from([8, 11]), st.integers(1, 3), st.booleans())
def test_training_in_place_and_in_a_loop(small: None, way: str, count: int, threads: int, in_loop: bool) -> None:
    (X, y), p = data(count), weights()

    def one(p: Any, X: Any, y: Any, way: str = way) -> Any:
        gradients = tn.grad(lambda p: tn.mean((WAYS[way](p, X) - y) ** 2))(p)
        return [q - 0.1 * g for q, g in zip(p, gradients, strict=True)]

    expected = p
    for _ in range(3):
        expected = one(expected, X, y, "rows")
    if in_loop:
        step = compile(lambda p, X, y: tn.fori(3, lambda k, p: one(p, X, y), p), backend="llvm", threads=threads)
        found = step(p, X, y)
    else:
        step, found = compile(one, donate=0, backend="llvm", threads=threads), [q.copy() for q in p]
        for _ in range(3):
            found = step(found, X, y)
    assert is_in_blocks(step)
    close(found, expected)


def test_numbers_of_each_sample_in_any_order(small: None) -> None:
    W, X = random.normal(size=(3, 5)), random.normal(size=(11, 3))

    def f(W: Any, X: Any) -> Any:
        Z = X @ W
        shared = tn.tanh(W)
        return Z, Z.T, tn.max(Z, axis=1), X.T, tn.grad(lambda X: 3.0)(X), shared, X @ shared, tn.sum(Z, axis=0)

    for arrays in (W, X), (W, np.asfortranarray(X)):
        step = compile(f, backend="llvm")
        Reference(f, *arrays).check(step(*arrays), slack=SLACK)
        assert is_in_blocks(step)


@pytest.mark.parametrize(
    "f",
    [
        lambda W, X: tn.tanh(X @ W - tn.mean(X @ W, axis=0)),  # each sample depends on all of them
        lambda W, X: X @ X.T,
        lambda W, X: (X[3] @ W, X @ W),
        lambda W, X: tn.max(X @ W, axis=0),
    ],
)
def test_samples_that_know_of_each_other(small: None, f: Any) -> None:
    W, X = random.normal(size=(3, 5)), random.normal(size=(13, 3))
    step = compile(f)
    Reference(f, W, X).check(step(W, X), slack=SLACK)
    assert not is_in_blocks(step)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_is_as_eager(small: None, bad: float) -> None:
    (X, y), p = data(11), weights()
    X[9, 1] = bad
    f = tn.value_and_grad(lambda p, X, y: tn.sum((rows(p, X) - y) ** 2))
    step = compile(f, backend="llvm")
    Reference(f, p, X, y).check(step(p, X, y), slack=SLACK)
    assert is_in_blocks(step)


def test_maps_of_many_samples_run_in_blocks_and_of_few_or_of_few_units_do_not() -> None:
    losses = tn.vmap(lambda p, x, t: (score(p, x) - t) ** 2, in_axes=(None, 0, 0))
    for count, hidden, times in ((100, 16, 0), (1000, 16, 10), (1000, 4, 0)):
        (X, y), p = data(count), weights(hidden=hidden)
        step = compile(tn.value_and_grad(lambda p, X, y: tn.mean(losses(p, X, y))))
        close(step(p, X, y), tn.value_and_grad(lambda p, X, y: tn.mean((rows(p, X) - y) ** 2))(p, X, y))
        assert is_in_blocks(step) == bool(times)
        assert f"for block in range({times}):" in step.source or not times


@pytest.mark.parametrize(("count", "each", "expected"), [(10_000, 66, 100), (10_007, 66, 124), (4_096, 66, 64)])
def test_blocks_are_alike_if_that_is_possible(count: int, each: float, expected: int) -> None:
    assert blocks.block_size(count, each) == expected
