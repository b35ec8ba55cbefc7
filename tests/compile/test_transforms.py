"""`compile` among the function transforms: trees, argnums, static arguments, signatures, threads, nesting."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
import pytest
from agreement import agree

import tinygrad_notes as tn
from tinygrad_notes.calculus import tree_leaves
from tinygrad_notes.compile import compile


def cubic(x: Any) -> Any:
    return x * x * x + 2 * x


def bowl(x: Any) -> Any:
    return tn.sum(tn.sin(x) * x[0]) + tn.exp(x[1] * x[2])


POINT = np.array([0.3, -1.2, 0.7])


class Layer(NamedTuple):
    W: Any
    b: Any


# --- transforms inside ------------------------------------------------------------------------------------------------


def test_grad_of_numbers() -> None:
    agree(tn.grad(cubic), 1.5)
    agree(tn.grad(tn.grad(cubic)), 1.5)
    agree(tn.grad(tn.grad(tn.grad(cubic))), 1.5)
    assert compile(tn.grad(tn.grad(cubic)))(2.0) == 12.0


@pytest.mark.parametrize("transform", [tn.grad, tn.value_and_grad, tn.hessian, tn.jacobian])
def test_transforms_of_arrays(transform: Any) -> None:
    agree(transform(bowl), POINT)


def test_jacobians() -> None:
    agree(tn.jacobian(lambda x: tn.exp(x) * x[0]), POINT)
    agree(tn.jacobian(lambda x, A: A @ x, argnums=(0, 1)), POINT, np.arange(6.0).reshape(2, 3))
    agree(tn.jacobian(lambda x: {"a": x * x, "b": tn.sum(x)}), POINT)
    agree(tn.jacobian(lambda x, y: x * y, argnums=1), 2.0, 3.0)


TENSOR, VALUE, ARRAY = tn.Tensor([1.0, 2.0]), tn.Value(3.0), np.array([1.0, 4.0])
INFINITE = float("inf")


@pytest.mark.parametrize(
    "f",
    [
        lambda x: tn.grad(lambda r: r * r * x)(0.3),
        lambda x: tn.grad(lambda u: tn.sum(u * u) * x)(TENSOR),
        lambda x: tn.grad(lambda u: u * u * x)(VALUE),
        lambda x: tn.grad(lambda u: tn.sum(u * u) * x)(ARRAY),
        lambda x: tn.grad(lambda a, b: a * b * b, argnums=(1, 0))(x, 2.0),
        lambda x: tn.grad(lambda p: p["a"] * p["b"])({"a": 2.0, "b": x}),
        lambda x: tn.jvp(lambda a, b: a * b, (x, 2.0), (1.0, 3.0)),
        lambda x: tn.hessian(lambda a: a * a * a * x)(2.0),
        lambda x: tn.value_and_grad(lambda a: a * a * x)(0.5),
        lambda x: tn.vjp(lambda a: a * a * x, 0.5)[0],
        lambda x: x * INFINITE,
        lambda x: tn.jvp(lambda a: 3.0, (x,), (1.0,)),
    ],
)
def test_gradients_by_what_is_no_argument_of_the_compiled_function(f: Any) -> None:
    expected = tn.calculus.tree_map(lambda y: getattr(y, "data", y), f(1.5))
    for backend in ("llvm", "numpy"):
        for a, b in zip(tree_leaves(compile(f, backend=backend)(1.5)), tree_leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-14)


@pytest.mark.parametrize("backend", ["auto", "llvm", "numpy"])
def test_a_choice_between_numbers_is_kept_when_its_memory_is_used_again(backend: str) -> None:
    random = np.random.default_rng(0)
    W, x = random.normal(size=(3, 2)), random.normal(size=2)

    def f(W: Any, x: Any) -> Any:
        def units(W: Any) -> Any:
            h = [tn.relu(sum(w * v for w, v in zip(r, x, strict=True))) for r in W]
            return h[0] + sum(q * 0.7 for q in h[1:])

        return tn.jvp(units, (W,), (np.ones((3, 2)),))[1]

    np.testing.assert_allclose(compile(f, backend=backend)(W, x), f(W, x), rtol=1e-13)


@pytest.mark.parametrize("backend", ["auto", "llvm", "numpy", "python"])
def test_what_matters_only_where_numbers_are_not_finite(backend: str) -> None:
    """The gradient of std at one element is 0/0: then the program runs again, with inputs that it had done without."""
    f = tn.value_and_grad(lambda a, b: tn.std(a) + tn.sum(tn.tril(b, k=-1)), argnums=(0, 1))
    value, gradients = compile(f, backend=backend)(0.0, np.zeros((1, 1)))
    assert (value, gradients[0], gradients[1].tolist()) == (0.0, 0.0, [[0.0]])


@pytest.mark.parametrize("backend", ["auto", "llvm", "numpy", "python"])
def test_truths_are_counted_as_python_counts_them(backend: str) -> None:
    def f(x: Any) -> Any:
        above = [x > 1, x > 0, x > 3]
        return sum(above), above[0] + above[1], above[1] + 0, above[1] * x, tn.exp(above[0]), -above[1]

    for x in (2.0, 0.5, -1.0):
        np.testing.assert_allclose(compile(f, backend=backend)(x), np.array(f(x), dtype=float), rtol=1e-15)


def test_vjp_and_hvp() -> None:
    def pulled(x: Any, g: Any) -> Any:
        y, pull = tn.vjp(lambda t: tn.tanh(t) * t[0], x)
        return y, pull(g)

    agree(pulled, POINT, np.array([1.0, -2.0, 0.5]))
    agree(lambda x, v: tn.grad(lambda t: tn.sum(tn.grad(bowl)(t) * v))(x), POINT, np.array([1.0, 0.0, 2.0]))


def test_argnums() -> None:
    def f(a: Any, b: Any, c: Any) -> Any:
        return tn.sum(a * b) * c

    arguments = POINT, np.array([1.0, 2.0, 3.0]), 0.5
    for argnums in (0, 2, (0, 1), (2, 0), (0, 1, 2), -1):
        agree(tn.grad(f, argnums), *arguments)


def test_the_same_argument_twice() -> None:
    agree(lambda x: tn.grad(lambda a, b: tn.sum(a * a * b), argnums=(0, 1))(x, x), POINT)
    agree(lambda x: tn.grad(lambda a, b: a * a * b, argnums=(0, 1))(x, x), 1.5)
    agree(tn.grad(lambda a, b: tn.sum(a * b), argnums=(0, 1)), POINT, POINT)


def test_a_gradient_used_in_a_value() -> None:
    agree(lambda x: x - 0.1 * tn.grad(bowl)(x), POINT)
    agree(tn.grad(lambda x: tn.sum(tn.grad(bowl)(x) ** 2)), POINT)


# --- trees ------------------------------------------------------------------------------------------------------------


def test_trees_in_and_out() -> None:
    params = {"first": Layer(np.arange(6.0).reshape(2, 3), np.zeros(2)), "rest": [(1.5, None), []], "n": 3}

    def f(p: Any, x: Any) -> Any:
        h = tn.tanh(p["first"].W @ x + p["first"].b)
        return tn.sum(h) * p["rest"][0][0] + p["n"]

    found = agree(tn.value_and_grad(f), params, POINT)["auto"](params, POINT)
    assert type(found[1]["first"]) is Layer
    assert found[1]["rest"][0][1] is None
    assert list(found[1]) == list(params)
    agree(lambda p: {"again": p, 3: [p["first"], None, True, "text"]}, params)


def test_other_structures_are_traced_anew() -> None:
    total = compile(lambda p: sum(p.values()) if isinstance(p, dict) else sum(p))
    assert total([1.0, 2.0]) == 3.0
    assert total([1.0, 2.0, 3.0]) == 6.0
    assert total((1.0, 2.0)) == 3.0
    assert total({"a": 1.0, "b": 2.0}) == 3.0
    assert total({"a": 1.0}) == 1.0
    assert total([1.0, 5.0]) == 6.0
    assert total.stats.programs == 5


def test_keys_in_another_order() -> None:
    f = compile(lambda p: p["a"] - p["b"])
    assert f({"a": 3.0, "b": 1.0}) == 2.0
    assert f({"b": 1.0, "a": 3.0}) == 2.0


# --- signatures -------------------------------------------------------------------------------------------------------


def test_shapes_and_dtypes_are_told_apart() -> None:
    f = compile(lambda x: tn.sum(x * 2))
    for x in (np.ones(3), np.ones((2, 2)), np.ones(3, np.float32), np.arange(3), 4.0, np.ones(0)):
        assert f(x) == np.sum(x) * 2
    assert f.stats.programs == 6
    assert f(np.full(3, 2.0)) == 12.0
    assert f(5) == 10.0  # an int is a number like a float
    assert f.stats.programs == 6


def test_hits_are_counted() -> None:
    f = compile(cubic)
    for k in range(5):
        f(float(k))
    assert (f.stats.programs, f.stats.hits) == (1, 4)


def test_traced_once_for_every_kind() -> None:
    g = compile(lambda x: x * 2)
    for _ in range(3):
        g(1.0)
        g(np.ones(2))
    assert g.stats.programs == 2


def test_static_arguments() -> None:
    def power(x: Any, n: int, how: str) -> Any:
        return x**n if how == "power" else n * x

    f = compile(power, static=(1, 2))
    assert [f(2.0, 3, "power"), f(2.0, 4, "power"), f(2.0, 3, "times"), f(3.0, 3, "power")] == [8.0, 16.0, 6.0, 27.0]
    assert f.stats.programs == 3
    g = compile(lambda x, flag: x if flag else -x)
    assert [g(1.0, True), g(1.0, False)] == [1.0, -1.0]


def test_static_values_of_another_type_are_traced_anew() -> None:
    f = compile(lambda x, n: x + (10.0 if isinstance(n, bool) else n), static=1)
    assert [f(1.0, True), f(1.0, 1), f(1.0, 1.0)] == [11.0, 2.0, 2.0]


def test_static_arrays_are_compared_by_value() -> None:
    f = compile(lambda x, index: tn.sum(x[index]), static=1)
    first, second = np.array([0, 2]), np.array([1, 1])
    assert f(POINT, first) == POINT[0] + POINT[2]
    assert f(POINT, second) == 2 * POINT[1]
    assert f(POINT, first) == POINT[0] + POINT[2]
    assert f.stats.programs == 2


def test_keywords_are_refused() -> None:
    with pytest.raises(TypeError, match=r"compile.*by position"):
        compile(lambda x, y: x * y)(1.0, y=2.0)


def test_a_wrong_number_of_arguments_is_the_functions_own_error() -> None:
    f = compile(lambda x: x)
    assert f(1.0) == 1.0
    with pytest.raises(TypeError, match=r"takes 1 positional argument but 2 were given"):
        f(1.0, 2.0)


def test_no_such_backend() -> None:
    with pytest.raises(ValueError, match="backend='fortran'; expected one of auto, llvm, numpy, python"):
        compile(cubic, backend="fortran")


# --- within and around other transforms -------------------------------------------------------------------------------


def test_a_compiled_function_is_differentiated_from_outside() -> None:
    f = compile(cubic)
    assert f(2.0) == 12.0
    assert tn.grad(f)(2.0) == 14.0
    assert tn.grad(tn.grad(f))(2.0) == 12.0
    x = tn.Value(2.0)
    f(x).backward()
    assert x.grad == 14.0
    np.testing.assert_allclose(tn.hessian(compile(bowl))(POINT), tn.hessian(bowl)(POINT), rtol=1e-13)
    t = tn.Tensor(POINT)
    compile(bowl)(t).backward()
    np.testing.assert_allclose(t.grad, tn.grad(bowl)(POINT), rtol=1e-13)


def test_compiled_within_compiled() -> None:
    inner = compile(tn.grad(bowl))
    outer = compile(lambda x: tn.sum(inner(x) * 2))
    np.testing.assert_allclose(outer(POINT), 2 * np.sum(tn.grad(bowl)(POINT)), rtol=1e-13)
    assert inner.stats.programs == 0
    assert compile(compile(cubic))(2.0) == 12.0
    again = compile(lambda x: compile(cubic)(x) + x)
    assert again(2.0) == 14.0


# --- threads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["llvm", "numpy", "python"])
def test_threads(backend: str) -> None:
    def f(W: Any, x: Any) -> Any:
        return tn.value_and_grad(lambda W: tn.sum(tn.tanh(W @ x) ** 2))(W)

    arguments = [(np.full((4, 3), 0.1 * k), np.arange(3.0) + k) for k in range(6)]
    expected = [f(*a) for a in arguments]
    program = compile(f, backend=backend)
    barrier, wrong = threading.Barrier(6), []

    def work(k: int) -> None:
        barrier.wait()  # the first call is raced for
        for _ in range(60):
            value, gradient = program(*arguments[k])
            if abs(value - expected[k][0]) > 1e-12 or np.max(np.abs(gradient - expected[k][1])) > 1e-12:
                wrong.append(k)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert wrong == []
    assert program.stats.programs == 1


def test_several_kinds_from_several_threads() -> None:
    program = compile(lambda x: tn.sum(x * x))
    found: dict[int, float] = {}

    def work(n: int) -> None:
        for _ in range(20):
            found[n] = program(np.ones(n))

    workers = [threading.Thread(target=work, args=(n,)) for n in range(1, 6)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert found == {n: float(n) for n in range(1, 6)}
    assert program.stats.programs == 5
