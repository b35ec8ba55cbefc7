"""What cannot be traced is refused in one error that names the user's line and says what to do; nothing is frozen."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinygrad_notes as tn
from tinygrad_notes.compile import compile
from tinygrad_notes.compile.trace import TraceError

OUTSIDE = np.array([1.0, 2.0])
ARRAY = np.array([1.0, 2.0, 3.0])
kept: list[Any] = []


def branch(x: Any) -> Any:
    return x if x[0] > 0 else -x


def loop_until(x: Any) -> Any:
    while x[0] < 10:
        x = x * 2
    return x


def assertion(x: Any) -> Any:
    assert x[0] == 1.0
    return x


def conjunction(x: Any) -> Any:
    return x[0] and x[1]


def as_float(x: Any) -> Any:
    return float(x[0]) * x


def as_int(x: Any) -> Any:
    return x * int(x[0])


def rounded(x: Any) -> Any:
    return x * round(x[0])


def repeated(x: Any) -> Any:
    return sum(x for _ in range(x[0]))


def printed(x: Any) -> Any:
    print(x)
    return x


def formatted(x: Any) -> Any:
    kept.append(f"{x[0]:.3f}")
    return x


def item(x: Any) -> Any:
    return x[0].item() * x


def listed(x: Any) -> Any:
    return x.tolist()


def picked(x: Any) -> Any:
    return ARRAY[x[0]]


def picked_from_traced(x: Any) -> Any:
    return x[x[0]]


def picked_by_argmax(x: Any) -> Any:
    return x[tn.argmax(x)]


def element_assigned(x: Any) -> Any:
    x[0] = 1.0
    return x


def element_added(x: Any) -> Any:
    x[0] += 1.0
    return x


def made_an_array(x: Any) -> Any:
    return np.asarray(x) * 2


def made_an_array_of_a_list(x: Any) -> Any:
    return np.array([x[0], x[1]])


def written_into_an_array(x: Any) -> Any:
    out = np.zeros(2)
    out[0] = x[0]
    return out


def added_into_an_array(x: Any) -> Any:
    total = np.zeros(3)
    total += x
    return total


def maths(x: Any) -> Any:
    import math

    return math.exp(x[0])


def data_of(x: Any) -> Any:
    return x.data.sum()


def converted(x: Any) -> Any:
    return np.sum(x.data * 2)


def scalar_of_an_array(x: Any) -> Any:
    return x * OUTSIDE[1]


def mean_of_an_array(x: Any) -> Any:
    return x * OUTSIDE.mean()


REFUSED: list[Callable[..., Any]] = [
    *(
        branch,
        loop_until,
        assertion,
        conjunction,
        as_float,
        as_int,
        rounded,
        repeated,
        printed,
        formatted,
        item,
        listed,
    ),
    *(picked, picked_from_traced, picked_by_argmax, element_assigned, element_added, made_an_array),
    *(made_an_array_of_a_list, written_into_an_array, added_into_an_array, maths, data_of, converted),
    *(scalar_of_an_array, mean_of_an_array),
]
ADVICE = ("tn.", "static", "argument", "ops of this package")


@pytest.mark.parametrize("f", REFUSED, ids=lambda f: f.__name__)
def test_what_needs_numbers_is_refused(f: Callable[..., Any], capsys: Any) -> None:
    with pytest.raises(TypeError) as caught:
        compile(f)(ARRAY.copy())
    message = str(caught.value)
    assert "compile:" in message
    assert any(a in message for a in ADVICE), message
    lines, first = inspect.getsourcelines(f)
    named = [f"{__file__}:{first + k}" for k in range(len(lines))]
    assert any(line in message for line in named), message
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("f", [branch, as_float, element_assigned, made_an_array], ids=lambda f: f.__name__)
def test_so_it_is_within_a_gradient(f: Callable[..., Any]) -> None:
    with pytest.raises(TraceError, match=r"test_refusals\.py:\d+"):
        compile(tn.grad(lambda x: tn.sum(f(x))))(ARRAY.copy())


def test_numbers_are_refused_as_elements_are() -> None:
    for f in (lambda x: x if x > 0 else -x, float, int, str, lambda x: f"{x}", bool, lambda x: [1, 2][x]):
        with pytest.raises(TraceError, match=r"test_refusals\.py:\d+|compiled\.py:\d+"):
            compile(f)(1.0)


def test_an_argument_is_as_it_was_after_a_refusal() -> None:
    x = ARRAY.copy()
    for f in (element_assigned, added_into_an_array, branch):
        with pytest.raises(TypeError):
            compile(f)(x)
    np.testing.assert_array_equal(x, ARRAY)


def test_a_refusal_leaves_nothing_behind() -> None:
    flag = True
    f = compile(lambda x: x * float(x) if flag else 2 * x)
    with pytest.raises(TraceError):
        f(3.0)
    flag = False
    assert f(3.0) == 6.0
    assert f.stats.programs == 1


# --- leaks ------------------------------------------------------------------------------------------------------------


def test_a_value_that_outlives_the_trace() -> None:
    kept.clear()

    def leak(x: Any) -> Any:
        kept.append(x * 2)
        return x

    with pytest.raises(TraceError, match="changed the items"):
        compile(leak)(1.0)
    with pytest.raises((TraceError, RuntimeError), match=r"Return it from the compiled function"):
        kept[0] + 1
    with pytest.raises((TraceError, RuntimeError), match=r"Return it from the compiled function"):
        compile(lambda x: x + kept[0])(1.0)
    with pytest.raises((TraceError, RuntimeError), match=r"another trace|Return it"):
        compile(lambda x: kept[0])(1.0)
    with pytest.raises(TraceError):
        float(kept[0])


def test_a_leaked_array() -> None:
    kept.clear()

    def leak(x: Any) -> Any:
        kept.append(tn.exp(x))
        return x

    with pytest.raises(TraceError, match="changed the items"):
        compile(leak)(ARRAY)
    for use in (lambda y: y + 1, tn.sum, lambda y: y @ ARRAY, lambda y: y[0] + 1):
        with pytest.raises((TraceError, RuntimeError), match=r"Return it from the compiled function"):
            use(kept[0])


# --- randomness -------------------------------------------------------------------------------------------------------

generator = np.random.default_rng(0)


def _closure() -> Callable[..., Any]:
    inner = np.random.default_rng(1)
    return lambda x: x * float(inner.normal())


def drawn(x: Any) -> Any:
    return x * float(generator.random())


class Noisy:
    def __init__(self) -> None:
        self.generator = np.random.default_rng(2)

    def __call__(self, x: Any) -> Any:
        return x + float(self.generator.random())

    def method(self, x: Any) -> Any:
        return self(x)


RANDOM: dict[str, Callable[..., Any]] = {
    "random": lambda x: x * random.random(),
    "np.random": lambda x: x * float(np.random.rand()),
    "global generator": lambda x: x * float(generator.random()),
    "closure": _closure(),
    "called through a function": lambda x: drawn(x) + 1,
    "default": lambda x, g=generator: x * float(g.random()),
    "attribute": Noisy(),
    "method": Noisy().method,
    "gradient": tn.grad(lambda x: x * float(generator.random())),
    "array": lambda x: tn.sum(x * generator.normal(size=3)),
}


@pytest.mark.parametrize("name", RANDOM)
def test_random_numbers_are_refused(name: str) -> None:
    with pytest.raises(TraceError, match=r"compile:.*random numbers.*argument"):
        compile(RANDOM[name])(1.5)


def test_random_numbers_that_are_given_are_fine() -> None:
    f = compile(lambda x, noise: tn.sum(x * noise))
    assert f(ARRAY, np.ones(3)) == 6.0
    assert f(ARRAY, np.zeros(3)) == 0.0


# --- what is captured is read anew ------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["llvm", "numpy", "python", "auto"])
def test_captured_arrays_are_read_in_every_call(backend: str) -> None:
    scale = np.array([1.0, 2.0, 3.0])
    f = compile(tn.value_and_grad(lambda x: tn.sum(x * scale)), backend=backend)
    value, gradient = f(ARRAY)
    assert (value, gradient.tolist()) == (14.0, [1.0, 2.0, 3.0])
    scale[:] = 0.5
    value, gradient = f(ARRAY)
    assert (value, gradient.tolist()) == (3.0, [0.5, 0.5, 0.5])


@pytest.mark.parametrize("backend", ["llvm", "numpy", "python", "auto"])
def test_captured_nodes_are_read_in_every_call(backend: str) -> None:
    w, t = tn.Value(2.0), tn.Tensor([1.0, 1.0, 1.0])
    f = compile(lambda x: tn.sum(x * t) * w, backend=backend)
    assert f(ARRAY) == 12.0
    w.data = 3.0
    assert f(ARRAY) == 18.0
    t.data = np.array([1.0, 0.0, 0.0])
    assert f(ARRAY) == 3.0
    t.data[1] = 10.0
    assert f(ARRAY) == 63.0


def test_a_captured_node_of_another_shape_is_not_read_wrongly() -> None:
    t = tn.Tensor([1.0, 1.0, 1.0])
    f = compile(lambda x: tn.sum(x * t))
    assert f(2.0) == 6.0
    t.data = np.ones(5)
    assert f(2.0) == 10.0
    t.data = np.ones(3, np.float32)
    assert f(2.0) == 6.0


def test_what_is_computed_from_captured_nodes_alone() -> None:
    w, v = tn.Tensor([1.0, 2.0]), tn.Value(2.0)
    f = compile(lambda x: (x * (w * 2), v * v, tn.sum(w), v + 1, x))
    for _ in range(2):
        found = f(1.5)
        assert found[0].tolist() == (3.0 * w.data).tolist()
        assert found[1:] == (v.data**2, np.sum(w.data), v.data + 1, 1.5)
        w.data, v.data = np.array([5.0, 6.0]), -1.0


FROZEN: dict[str, tuple[Any, Any, Callable[[Any, Any], Any]]] = {
    "an attribute that is an array": (np.ones(3), np.full(3, 2.0), lambda w, x: tn.sum(w * x)),
    "an attribute that is a float": (1.0, 2.0, lambda w, x: w * x),
    "float() of a Value": (tn.Value(1.0), 2.0, lambda w, x: float(w) * x),
    "the data of a Value": (tn.Value(1.0), 2.0, lambda w, x: w.data * x),
    "the data of a Tensor": (tn.Tensor([1.0, 1.0]), np.full(2, 2.0), lambda w, x: tn.sum(w.data * x)),
    "a part of the data": (tn.Tensor([1.0, 1.0]), np.full(2, 2.0), lambda w, x: w.data[0] * x),
    "NumPy's sum of the data": (tn.Tensor([1.0, 1.0]), np.full(2, 2.0), lambda w, x: np.sum(w.data) * x),
    "item() of a Tensor": (tn.Tensor(1.0), np.array(2.0), lambda w, x: w.item() * x),
    "int() of a Tensor": (tn.Tensor(1.0), np.array(2.0), lambda w, x: int(w) * x),
    "tolist() of a Tensor": (tn.Tensor([1.0]), np.array([2.0]), lambda w, x: w.tolist()[0] * x),
    "a constant as an array": (
        tn.Tensor([1.0], requires_grad=False),
        np.array([2.0]),
        lambda w, x: tn.sum(np.asarray(w) * x),
    ),
}


@pytest.mark.parametrize("name", FROZEN)
def test_what_is_bound_anew_is_read_or_refused(name: str) -> None:
    first, second, f = FROZEN[name]
    model = SimpleNamespace(w=first)
    try:
        program = compile(lambda x: f(model.w, x))
        before = program(1.0)
        if isinstance(first, (tn.Value, tn.Tensor)):
            first.data = second
        else:
            model.w = second
        assert program(1.0) == 2 * before
    except TraceError:
        pass  # refused: nothing is frozen


def test_assignment_to_data_is_refused() -> None:
    w = tn.Tensor([1.0, 2.0])

    def step(x: Any) -> Any:
        y = tn.sum(w * x)
        w.data = w.data - 0.1
        return y

    with pytest.raises(TraceError, match=r"assigned to the data"):
        compile(step)(1.0)
    assert w.data.tolist() == [1.0, 2.0]
    w.data = w.data - 0.1  # outside it is what it was
    assert w.data.tolist() == [0.9, 1.9]


def test_a_number_that_the_function_changes_is_refused() -> None:
    count = SimpleNamespace(n=0.0)

    def f(x: Any) -> Any:
        count.n += 1.0
        return x * count.n

    with pytest.raises(TraceError, match="changed the attribute 'n'"):
        compile(f)(2.0)


def test_compiled_functions_within_compiled_functions() -> None:
    power = compile(lambda x, n: x if n == 0 else x * power(x, n - 1), static=1)
    assert power(2.0, 4) == 32.0
    double = compile(lambda a: a * 2)
    assert compile(lambda x: double(x) + double(3.0))(1.0) == 8.0


def test_data_carries_no_gradient() -> None:
    w = tn.Value(3.0)
    assert compile(tn.grad(lambda x: w.data * x * x))(2.0) == 12.0
    assert compile(lambda x: x * tn.grad(lambda v: v * w.data * w)(x))(2.0) == 18.0


def test_other_threads_read_data_while_one_traces() -> None:
    w = tn.Tensor([1.0, 2.0])

    def f(x: Any) -> Any:
        with ThreadPoolExecutor(1) as other:
            assert type(other.submit(lambda: w.data).result()) is np.ndarray
        return tn.sum(w * x)

    assert compile(f)(2.0) == 6.0


def test_backward_in_a_compiled_function_is_refused() -> None:
    w = tn.Value(2.0)

    def step(x: Any) -> Any:
        loss = (w * x) ** 2
        loss.backward()
        return w.grad

    with pytest.raises(TypeError, match=r"compile.*tn\.(value_and_)?grad"):
        compile(step)(3.0)


# --- errors of the user's own -----------------------------------------------------------------------------------------


def test_shapes_are_refused_before_anything_runs() -> None:
    with pytest.raises(ValueError, match=r"matmul: given .*\(2, 3\).*\(4,\)"):
        compile(lambda a, b: a @ b)(np.ones((2, 3)), np.ones(4))
    with pytest.raises(ValueError, match=r"add: given .*\(3,\).*\(4,\).*; expected shapes that broadcast"):
        compile(lambda a, b: tn.exp(a) + b)(np.ones(3), np.ones(4))
    with pytest.raises(IndexError, match=r"getitem: given .*\(3,\)"):
        compile(lambda a: a[7])(np.ones(3))
    with pytest.raises(ValueError, match=r"reshape: given .*\(3,\)"):
        compile(lambda a: tn.reshape(a, shape=(2, 2)))(np.ones(3))
    with pytest.raises(ValueError, match=r"expected a scalar"):
        compile(tn.grad(lambda x: x * 2))(np.ones(3))


def test_arguments_that_cannot_be_traced() -> None:
    for x in (np.array(["a"]), np.array([1j]), object(), {1, 2}):
        with pytest.raises(TypeError, match=r"compile: argument 0 .*expected"):
            compile(lambda x: x)(x)


def test_an_error_of_the_function_is_passed_on() -> None:
    def f(x: Any) -> Any:
        raise LookupError("mine")

    program = compile(f)
    with pytest.raises(LookupError, match="mine"):
        program(1.0)
    with pytest.raises(LookupError, match="mine"):
        program(1.0)


def test_an_error_of_the_function_after_a_program_was_made() -> None:
    def f(x: Any) -> Any:
        if x.shape == (2,):
            raise KeyError("mine")
        return x

    program = compile(f)
    program(np.ones(3))
    with pytest.raises(KeyError, match="mine"):
        program(np.ones(2))


def test_no_program_has_no_source() -> None:
    with pytest.raises(RuntimeError, match="first call"):
        _ = compile(lambda x: x).source


@pytest.mark.parametrize("backend", ["numpy", "auto"])
def test_a_gradient_by_integers_is_refused_as_by_the_engine(backend: str) -> None:
    def f(x: Any) -> Any:
        return tn.sum(x * x)

    with pytest.raises(TypeError, match="expected floating-point numbers"):
        compile(tn.grad(f), backend=backend)(np.array([1, 2, 3]))
    with pytest.raises(TypeError, match="expected floating-point numbers"):
        tn.grad(f)(np.array([1, 2, 3]))
