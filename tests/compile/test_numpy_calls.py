"""Straight-line NumPy does with few calls what one would write by hand, and gives what the engine gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from agreement import agree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinygrad_notes as tn
from tinygrad_notes.compile import compile

some = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
SPECIALS = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e200, -3.5]
shapes = st.lists(
    st.sampled_from([(), (1,), (0,), (3,), (2, 3), (1, 1), (3, 1), (7, 5), (2, 0)]), min_size=1, max_size=5
)


@st.composite
def arrays(draw: Any, shape: tuple[int, ...], special: bool = False, dtype: Any = np.float64) -> Any:
    """An array; with zeros, infinities and NaN if they are asked for."""
    size = int(np.prod(shape))
    numbers = st.sampled_from(SPECIALS) if special else st.floats(-2, 2, width=32)
    flat = draw(st.lists(numbers, min_size=size, max_size=size))
    with np.errstate(all="ignore"):
        return np.array(flat, dtype).reshape(shape)


def calls(f: Any, *args: Any) -> list[str]:
    """The lines of the program that call something, but for the last ones, which look after the results."""
    program = compile(f, backend="numpy")
    program(*args)
    body = program.source.split("def program")[1].split("if not isfinite")[0]
    return [line for line in body.splitlines()[1:] if "(" in line and "return" not in line]


def check(f: Any, *args: Any) -> None:
    agree(f, *args, backends=("numpy",))


# --- the same step on several arrays ----------------------------------------------------------------------------------


def penalised(*params: Any) -> Any:
    return 1e-2 * sum((tn.sum(p * p) for p in params), 0.0) + sum((tn.sum(tn.tanh(p)) for p in params), 0.0)


def descended(*params: Any) -> Any:
    places = tuple(range(len(params)))
    gradients = tn.grad(lambda *p: sum((tn.sum(tn.sin(q * 3.0)) for q in p), 0.0), argnums=places)(*params)
    return [p - 0.1 * g for p, g in zip(params, gradients, strict=True)]


def with_momentum(*params: Any) -> Any:
    """Steps of which each reads what the one before it left, some returned and some not."""
    v = [0.9 * p + tn.exp(p) for p in params]
    w = [p - 0.5 * q for p, q in zip(params, v, strict=True)]
    return v[:1], w, [tn.sum(q) for q in w]


@pytest.mark.parametrize(
    "step", [tn.value_and_grad(penalised), descended, with_momentum], ids=["l2", "sgd", "momentum"]
)
@some
@given(data=st.data(), shapes=shapes, special=st.booleans())
def test_the_same_step_on_arrays_of_many_shapes(step: Any, data: Any, shapes: Any, special: bool) -> None:
    params = [data.draw(arrays(s, special)) for s in shapes if s or step is descended]
    if not params:
        return
    if step not in (descended, with_momentum):
        places = tuple(range(len(params)))
        check(tn.value_and_grad(penalised, argnums=places), *params)
    else:
        check(step, *params)


@some
@given(data=st.data(), dtypes=st.lists(st.sampled_from([np.float64, np.float32]), min_size=2, max_size=4))
def test_arrays_of_several_dtypes(data: Any, dtypes: Any) -> None:
    params = [data.draw(arrays((3, 2), dtype=d)) for d in dtypes]
    check(tn.value_and_grad(penalised, argnums=tuple(range(len(params)))), *params)
    check(descended, *params)


@some
@given(data=st.data())
def test_results_that_are_used_again(data: Any) -> None:
    a, b, c = (data.draw(arrays(s)) for s in ((2, 3), (4,), (1, 5)))

    def f(a: Any, b: Any, c: Any) -> Any:
        x, y, z = (2.0 * p for p in (a, b, c))
        u, v, w = (tn.exp(p) for p in (x, y, z))
        return x, u, [v, v.reshape((2, 2))], w.T, y, w - z, 2.0 * a

    check(f, a, b, c)


def test_one_array_in_several_packs() -> None:
    a, b, c = np.arange(6.0).reshape(2, 3), np.ones(4), np.full(5, 0.5)

    def f(a: Any, b: Any, c: Any) -> Any:
        return [tn.sin(2.0 * p) for p in (a, b, c)] + [tn.sin(3.0 * p) for p in (c, a)] + [2.0 * a + 3.0 * a]

    check(f, a, b, c)


def test_a_step_that_needs_another_is_not_packed_with_it() -> None:
    a, b = np.arange(3.0), np.ones(3)

    def crossed(a: Any, b: Any) -> Any:
        p, q = 2.0 * a, tn.exp(b)
        return tn.exp(p), 2.0 * q, tn.exp(a), 2.0 * b, tn.exp(2.0 * tn.exp(2.0 * b))

    check(crossed, a, b)


def test_a_penalty_is_a_few_calls() -> None:
    params = [np.full(s, 0.1) for s in ((4, 3), (4,), (5, 4), (5,), (2, 5), (2,))]
    few = calls(tn.value_and_grad(lambda *p: sum(tn.sum(q * q) for q in p), argnums=range(6)), *params)
    assert len(few) <= 4, few  # the product, its double, and the look at the results


def test_descent_is_a_few_calls() -> None:
    params = [np.full(s, 0.1) for s in ((4, 3), (4,), (5, 4), (5,), (2, 5), (2,))]
    many = calls(descended, *params)
    assert sum("subtract" in line for line in many) == 1, many


def test_long_arrays_are_not_copied_together() -> None:
    params = [np.full(10_000, 0.1) for _ in range(4)]
    many = calls(descended, *params)
    assert sum("subtract" in line for line in many) == 4, many


# --- choices ----------------------------------------------------------------------------------------------------------


@some
@given(data=st.data(), shape=st.sampled_from([(0,), (1,), (5,), (3, 4), (1, 7)]), special=st.booleans())
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_slopes_of_relu(dtype: Any, data: Any, shape: Any, special: bool) -> None:
    x, w, t = (data.draw(arrays(shape, special, dtype)) for _ in range(3))

    def loss(x: Any, w: Any, t: Any) -> Any:
        return tn.sum(tn.relu(1 - t * tn.relu(x * w)) * w)

    check(tn.value_and_grad(loss, argnums=(0, 1, 2)), x, w, t)


@some
@given(data=st.data(), shape=st.sampled_from([(0,), (1,), (5,), (3, 4)]))
def test_choices_of_ones_own(data: Any, shape: Any) -> None:
    x, y = (data.draw(arrays(shape, special=True)) for _ in range(2))

    def f(x: Any, y: Any) -> Any:
        return (
            tn.where(x > 0, tn.log(x), 0.0),
            tn.where(x > y, x, y),
            tn.relu(x),
            tn.where(x > 0, y, 0.0),
            tn.where(y > 0, 1.0, 0.0),
        )

    check(f, x, y)
    check(tn.grad(lambda x, y: sum(map(tn.sum, f(x, y))), argnums=(0, 1)), x, y)


@some
@given(data=st.data(), special=st.booleans())
def test_choices_by_masks_of_all_kinds(data: Any, special: bool) -> None:
    """Without the value, the slope of relu has its argument's mask; maximum and abs have others."""
    x, y = (data.draw(arrays((3, 2), special)) for _ in range(2))
    check(tn.grad(lambda x: tn.sum(tn.relu(x))), x)
    check(tn.grad(lambda x: tn.sum(tn.relu(tn.sin(x)) * x)), x)
    check(tn.grad(lambda x, y: tn.sum(tn.where(x > y, x * y, 0.0) + tn.where(y > 1, 0.0, x)), argnums=(0, 1)), x, y)
    check(tn.value_and_grad(lambda x, y: tn.sum(tn.sigmoid(x) * tn.sigmoid(-y)), argnums=(0, 1)), x, y)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, ">f8", np.int64, np.bool])
def test_numbers_beside_arrays_of_every_dtype(dtype: Any) -> None:
    x = np.array([0, 1, 0, 3]).astype(dtype)

    def f(x: Any) -> Any:
        return 2.5 * x, 3 * x, x > 0.5, x >= 1, x / 4, tn.maximum(x, 0.25), 1e300 * tn.exp(x), x + np.inf, x - np.nan

    check(f, x)


def test_a_mask_that_is_moved() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 5000))
    wide = np.arange(20_000.0).reshape(5000, 4)

    def f(x: Any, y: Any) -> Any:
        mask = tn.exp(x) * 2.0 > tn.exp(y)
        return tn.where(tn.reshape(mask, shape=(-1, 1)), wide, 0.0), tn.where(mask, x, y), tn.sum(tn.exp(x))

    agree(f, x, y, backends=("auto", "numpy"))


def test_relu_and_its_slope_are_three_calls() -> None:
    x, w = np.linspace(-1, 1, 12).reshape(3, 4), np.ones((3, 4))
    few = calls(tn.value_and_grad(lambda x: tn.sum(tn.relu(x) * w)), x)
    assert not any("where" in line or "greater" in line for line in few), few


# --- products ---------------------------------------------------------------------------------------------------------


@some
@given(data=st.data(), sizes=st.tuples(*[st.sampled_from([0, 1, 2, 5])] * 3), special=st.booleans())
def test_moved_products(data: Any, sizes: tuple[int, int, int], special: bool) -> None:
    n, m, k = sizes
    a, b, bias = (
        data.draw(arrays((n, m), special)),
        data.draw(arrays((m, k), special)),
        data.draw(arrays((k,), special)),
    )

    def f(a: Any, b: Any, bias: Any) -> Any:
        y = a @ b + bias
        return y.T, (a @ b).T, tn.sum(y, axis=0), tn.sum(y, axis=1), tn.sum(y), tn.broadcast_to(tn.sum(y), shape=(1, 1))

    check(f, a, b, bias)
    if not special:
        squared = lambda a, b, bias: tn.sum(tn.tanh(a @ b + bias) ** 2)  # noqa: E731
        check(tn.value_and_grad(squared, argnums=(0, 1, 2)), a, b, bias)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_factors_are_taken_together(sign: float) -> None:
    x = np.array([0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, 1e308, 5e-324])
    check(lambda x: (-(sign * 3.0 * x), -(x * 0.1), 2.0 * -(0.3 * x), -tn.negative(x)), x)


# --- results ----------------------------------------------------------------------------------------------------------


def test_what_one_number_spoils_is_computed_with_care() -> None:
    """0 · ∞ = 0 in every result, whichever shows first that there is an infinity."""
    x = np.array([0.0, 1.0, 4.0])
    check(tn.grad(lambda x: tn.sum(tn.where(x > 0, tn.sqrt(x), 0.0))), x)
    check(lambda x: [tn.grad(lambda x: tn.sum(tn.relu(x) ** 0.5))(x), 2 * x], x)


def test_results_of_several_dtypes_and_shapes() -> None:
    x, n = np.linspace(-1, 1, 6).reshape(2, 3), np.arange(3)

    def f(x: Any, n: Any) -> Any:
        return x > 0, x, x.T, 2 * n, tn.astype(x, dtype=np.float32), tn.sum(x), tn.sum(x) > 0, x[:, :0], 3.0, n

    check(f, x, n)
