"""Every row of the op table, compiled: the value and the gradient are those of the engine, on every back end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
from agreement import BACKENDS, Reference, compiled
from table_cases import CASES, CHOICES, FORMULAS, Case, Formula, missing

import tinygrad_notes as tn
from tinygrad_notes.compile import compile
from tinygrad_notes.ops import TABLE

ELEMENTWISE = [(name, k) for name, formulas in FORMULAS.items() for k in range(len(formulas))]
every_elementwise_row = pytest.mark.parametrize(
    ("name", "k"), ELEMENTWISE, ids=[f"{name}-{k}" for name, k in ELEMENTWISE]
)
STRUCTURAL = [(name, k) for name, cases in CASES.items() for k in range(len(cases))]

SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, -1e-310, 1.0, -1.0, 0.5, -2.0]
FLOAT32_SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-40, 1.0, -1.0, 0.5, -2.0]

COMPOSITIONS: list[Callable[[Any], Any]] = [
    lambda x: tn.where(x > 0, 1.0, 0.0) * x,
    lambda x: x * tn.where(x > 0, 0.0, 1.0),
    lambda x: 0.0 * x + x * 0.0,
    lambda x: x - x,
    lambda x: x / x,
    lambda x: tn.negative(-x) * -1.0,
    lambda x: (x * 2.0) * 0.5,
    lambda x: (x * 0.5) * 2.0,
    lambda x: (1e308 * x) * 2.0,
    lambda x: (x + 1e308) - 1e308,
    lambda x: (x - 1.0) + 1.0,
    lambda x: tn.sqrt(x) * tn.sqrt(x),
    lambda x: tn.exp(tn.log(x)),
    lambda x: tn.maximum(x, 0.0) * tn.minimum(x, 0.0),
    lambda x: tn.abs(-x) + tn.abs(x),
    lambda x: 1.0 / (1.0 + tn.exp(-x)),
    lambda x: tn.relu(x) / x,
]


@pytest.mark.parametrize("f", COMPOSITIONS)
def test_special_numbers_through_several_ops(f: Callable[[Any], Any]) -> None:
    """What a compiler may be tempted to simplify."""
    x = np.array([*SPECIAL, 1e308, -1e308, 1e-308])

    def both(x: Any) -> Any:
        return f(x), tn.grad(lambda t: tn.sum(f(t)))(x)

    with np.errstate(all="ignore"):
        expected = both(x)
        for backend in BACKENDS:
            for found, wanted in zip(compile(both, backend=backend)(x), expected, strict=True):
                np.testing.assert_array_equal(np.isfinite(found), np.isfinite(wanted))
                np.testing.assert_allclose(found, wanted, rtol=1e-15, atol=2e-323)


# --- elementwise rows -------------------------------------------------------------------------------------------------


def value_and_gradients(name: str, k: int, weights: Any) -> tuple[Callable[..., Any], int]:
    """The row's value, and its gradients by every argument under these cotangents; and the number of arguments."""
    formula = FORMULAS[name][k]
    call, count = formula.call or partial(TABLE[name], **formula.params), formula.arity or TABLE[name].arity

    def f(*xs: Any) -> Any:
        return call(*xs), tn.grad(lambda *ts: tn.sum(call(*ts) * weights), argnums=tuple(range(count)))(*xs)

    return f, count


def ordinary(name: str, k: int, shape: tuple[int, ...], argument: int, dtype: Any = np.float64) -> Any:
    """Numbers of several magnitudes in the row's domain."""
    formula: Formula = FORMULAS[name][k]
    count = formula.arity or TABLE[name].arity
    low, high = TABLE[name].domain[-count:][argument]
    generator = np.random.default_rng([len(name), k, argument])
    size = int(np.prod(shape))
    if np.isfinite(low) and np.isfinite(high):
        xs = generator.uniform(low, high, size) * 0.99
    else:
        xs = 10 ** generator.uniform(max(np.log10(formula.least), -6), np.log10(min(formula.reach, 100)), size)
        xs = xs * generator.choice([-1, 1], size) if low < -1 else low + xs
    return xs.astype(dtype).reshape(shape) if shape else float(xs[0])


def special(count: int, dtype: Any = np.float64) -> list[Any]:
    """Every combination of numbers that are easily got wrong: zeros, infinities, NaN, denormals, ties."""
    numbers = np.array(SPECIAL if dtype == np.float64 else FLOAT32_SPECIAL, dtype)
    return list(np.array(list(product(numbers, repeat=count)), dtype).T.copy())


def only_finite(f: Callable[..., Any], xs: list[Any], fill: list[Any]) -> list[Any]:
    """The same, with something ordinary where a result is not finite.

    Where any is not, a program is run again with care; here the quick way is to be seen.
    """
    value, gradients = Reference(f, *xs).value
    finite = np.isfinite(value) & np.all([np.isfinite(g) for g in gradients], axis=0)
    return [np.where(finite, x, y) for x, y in zip(xs, fill, strict=True)]


@every_elementwise_row
def test_elementwise_rows_on_arrays(name: str, k: int) -> None:
    count = value_and_gradients(name, k, 1.0)[1]
    specials = special(count)
    n = len(specials[0])
    f, _ = value_and_gradients(name, k, np.linspace(0.5, 2.0, n))
    usual = [ordinary(name, k, (n,), i) for i in range(count)]
    references = [Reference(f, *usual), Reference(f, *only_finite(f, specials, usual)), Reference(f, *specials)]
    assert references[0].finite
    assert references[1].finite
    for backend in ("llvm", "numpy", "python"):
        program = compiled(f, backend, *usual)
        assert program is not None, f"{backend} does not take {name}"
        for reference in references:
            reference.check(program(*reference.args), f"{name} by {backend}")


@every_elementwise_row
def test_elementwise_rows_on_single_precision(name: str, k: int) -> None:
    count = value_and_gradients(name, k, 1.0)[1]
    specials = special(count, np.float32)
    n = len(specials[0])
    f, _ = value_and_gradients(name, k, np.linspace(0.5, 2.0, n, dtype=np.float32))
    usual = [ordinary(name, k, (n,), i, np.float32) for i in range(count)]
    for backend in ("numpy", "python", "auto"):
        program = compiled(f, backend, *usual)
        assert program is not None or backend == "python"
        if program is not None:
            for xs in (usual, specials):
                Reference(f, *xs).check(program(*xs), f"{name} by {backend}")


@every_elementwise_row
def test_elementwise_rows_on_floats(name: str, k: int) -> None:
    f, count = value_and_gradients(name, k, 1.5)
    usual = [[float(x) for x in ordinary(name, k, (7,), i)] for i in range(count)]
    programs = {backend: compile(f, backend=backend) for backend in ("python", "numpy")}
    for xs in [*zip(*usual, strict=True), *product(SPECIAL, repeat=count)]:
        if name == "pow" and xs == (-np.inf, 0.5):
            continue  # ∞ to Python and C, NaN to NumPy, which takes the square root: the engine gives either
        reference = Reference(f, *xs)
        for backend, program in programs.items():
            reference.check(program(*xs), f"{name}{xs} by {backend}")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shapes", [[()] * 2, [(0,)] * 2, [(1,)] * 2, [(3, 1), (1, 2)]], ids=str)
def test_all_elementwise_rows_in_one_program(shapes: list[tuple[int, ...]], backend: str) -> None:
    shape = np.broadcast_shapes(*shapes)
    rows, arguments = {}, {}
    for name, k in ELEMENTWISE:
        size = int(np.prod(shape))
        f, count = value_and_gradients(name, k, np.linspace(0.5, 2.0, size).reshape(shape) if shape else 1.5)
        rows[f"{name}-{k}"] = f
        given = shapes if count == 2 else [shape] * count
        arguments[f"{name}-{k}"] = [ordinary(name, k, s, i) for i, s in enumerate(given)]

    def all_rows(xs: dict[str, Any]) -> dict[str, Any]:
        return {key: f(*xs[key]) for key, f in rows.items()}

    program = compiled(all_rows, backend, arguments)
    assert program is not None
    found = program(arguments)
    for key, f in rows.items():
        Reference(f, *arguments[key]).check(found[key], f"{key} by {backend}")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CHOICES)
def test_choices(name: str, backend: str) -> None:
    op = TABLE[name]
    a, b = special(2)
    xs = [a, b][: op.arity]
    if name.startswith("logical"):
        xs = [x > 0 for x in xs]

    def f(*xs: Any) -> Any:
        chosen = op(*xs)
        return chosen, tn.where(chosen, 1.0, 2.0)

    program = compiled(f, backend, *xs)
    if program is None:
        return
    Reference(f, *xs).check(program(*xs), f"{name} by {backend}")
    on_numbers = compile(f, backend=backend)  # truth values are static: each is a program
    some = zip(*(x[::9].tolist() for x in xs), strict=True) if name.startswith("logical") else zip(*xs, strict=True)
    for given in some:
        numbers = [x if isinstance(x, bool) else float(x) for x in given]
        Reference(f, *numbers).check(on_numbers(*numbers), f"{name}{numbers} by {backend}")


# --- structural rows --------------------------------------------------------------------------------------------------

NOT_NATIVE = {"argmax"}
"""Rows of which a case is not written out in numbers: there "llvm" and "python" say so, and "auto" uses NumPy."""


def structural(name: str, case: Case) -> Callable[..., Any]:
    op = TABLE[name]
    call: Callable[..., Any] = partial(op, **case.params)
    if op.arity < 0:
        call = lambda *xs: op(list(xs), **case.params)  # noqa: E731  # a function either way
    if not op.differentiable:
        return call
    shape = np.shape(call(*case.arrays()))
    weights = np.linspace(0.5, 2.0, int(np.prod(shape))).reshape(shape) if shape else 1.5

    def f(*xs: Any) -> Any:
        gradients = tn.grad(lambda *ts: tn.sum(call(*ts) * weights), argnums=tuple(range(len(xs))))
        return call(*xs), gradients(*xs)

    return f


def few_values(arrays: list[Any], values: list[float]) -> list[Any]:
    """Arrays of the same shapes in which a few values stand again and again."""
    generator = np.random.default_rng(len(values))
    return [generator.choice(np.array(values), a.shape).astype(a.dtype) for a in arrays]


@pytest.mark.parametrize(("name", "k"), STRUCTURAL, ids=[f"{name}-{k}" for name, k in STRUCTURAL])
def test_structural_rows(name: str, k: int) -> None:
    case = CASES[name][k]
    f, arrays = structural(name, case), case.arrays()
    inputs = [
        arrays,
        few_values(arrays, [1.0]),
        few_values(arrays, [-1.0, 0.0, 1.0]),
        few_values(arrays, [*SPECIAL, 1.5, 2.5, -3.0]),
    ]
    references = [Reference(f, *xs) for xs in inputs]
    declined = set()
    for backend in ("llvm", "numpy", "python"):
        program = compiled(f, backend, *arrays)
        if program is None:
            declined.add(backend)
            program = compiled(f, "auto", *arrays)
        for reference in references:
            reference.check(program(*reference.args), f"{name} by {backend}")
    assert not declined or name in NOT_NATIVE, f"{name} is not taken by {declined}"
    single = case.arrays(np.float32)
    Reference(f, *single).check(compile(f)(*single), f"{name} in single precision")


def test_no_row_is_left_out() -> None:
    assert missing() == []
