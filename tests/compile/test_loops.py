"""`fori`, `scan`, `vmap`, `donate`, `bind` and `debug`: loops in a program do what the Python loops do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_notes as tn
from tinygrad_notes.calculus import tree_leaves
from tinygrad_notes.compile import compile, entries, reverse

BACKENDS = ["llvm", "numpy", "python", "auto"]
random = np.random.default_rng(0)


def close(found: Any, expected: Any) -> None:
    for a, b in zip(tree_leaves(found), tree_leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def network() -> list[Any]:
    return [random.normal(size=(4, 3)), np.zeros((4, 1)), random.normal(size=(1, 4)), np.zeros((1, 1))]


def loss(p: Any, x: Any, y: Any) -> Any:
    w1, b1, w2, b2 = p
    a = tn.sigmoid(w2 @ tn.sigmoid(w1 @ x + b1) + b2)
    return tn.mean(tn.cross_entropy(y, a))


def descend(p: Any, x: Any, y: Any) -> tuple[Any, Any]:
    value, gradient = tn.value_and_grad(loss)(p, x, y)
    return [q - 0.5 * g for q, g in zip(p, gradient, strict=True)], value


X, Y = random.normal(size=(3, 5)), np.array([[0.0, 1.0, 1.0, 0.0, 1.0]])
LOOPS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "training": (lambda p, x, y: tn.fori(10, lambda k, p: descend(p, x, y)[0], p), (network(), X, Y)),
    "a recurrent unit": (
        lambda h, xs: tn.scan(lambda h, x: (tn.tanh(0.5 * h + x), h * 2.0), h, xs),
        (np.zeros(3), random.normal(size=(7, 3))),
    ),
    "numbers": (lambda h, xs: tn.scan(lambda h, x: (tn.tanh(0.5 * h + x), h), h, xs), (0.1, random.normal(size=7))),
    "the number of the step": (lambda x: tn.fori(3, lambda k, s: (s[0] * x + k, s[1] + 1.0), (x, 0.0)), (1.5,)),
    "what is around it": (
        lambda p, x: 2.0 * tn.sum(tn.fori(3, lambda k, q: q * x + tn.sum(p), p * 2.0)),
        (np.ones(3), np.arange(3.0)),
    ),
    "a loop in a loop": (
        lambda x: tn.fori(3, lambda i, s: tn.fori(2, lambda j, t: t * x + j, s) + i, x),
        (0.7,),
    ),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_does_what_pythons_does(name: str, backend: str) -> None:
    f, args = LOOPS[name]
    program = compile(f, backend=backend)
    for _ in range(2):
        close(program(*args), f(*args))


def test_a_state_of_another_shape_is_refused() -> None:
    with pytest.raises(TypeError, match=r"after a step \(2, 2\)"):
        compile(lambda x: tn.fori(2, lambda k, s: tn.stack([s, s]), x))(np.ones(2))
    with pytest.raises(TypeError, match=r"scan: 2\.5 steps"):
        tn.scan(lambda s, x: (s, x), 0.0, length=2.5)  # type: ignore[arg-type]  # refused
    with pytest.raises(ValueError, match="arrays of one length"):
        tn.scan(lambda s, x: (s, x), 0.0, [np.ones(2), np.ones(3)])


def squares(f: Callable[..., Any]) -> Callable[..., Any]:
    """The sum of the squares of all that f gives."""
    return lambda *args: sum(tn.sum(y * y) for y in tree_leaves(f(*args)))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", LOOPS)
def test_a_gradient_through_a_loop_is_that_of_pythons(name: str, backend: str) -> None:
    f, args = LOOPS[name]
    gradient = tn.value_and_grad(squares(f), argnums=tuple(range(len(args))))
    program = compile(gradient, backend=backend)
    for _ in range(2):
        close(program(*args), gradient(*args))


W, C, H, XS = random.normal(size=(3, 3)), tn.Value(0.7), np.zeros(3), random.normal(size=(6, 3))


def recurrent(W: Any, h: Any, xs: Any) -> Any:
    """Of a captured node, too."""
    last, ys = tn.scan(lambda h, x: (tn.tanh(W @ h + x) * C, tn.sum(h * h)), h, xs)
    return tn.sum(last * last) + tn.sum(ys)


TRANSFORMS: dict[str, Callable[..., Any]] = {
    "hessian": tn.hessian(lambda h: recurrent(W, h, XS)),
    "hvp": lambda h: tn.hvp(lambda h: recurrent(W, h, XS), (h,), (np.arange(3.0),)),
    "jvp": lambda h: tn.jvp(lambda h: recurrent(W, h, XS), (h,), (np.arange(3.0),)),
    "jacobian": tn.jacobian(lambda h: tn.scan(lambda s, x: (s * h, s + x), h, XS)[1]),
    "cut": tn.grad(lambda h: tn.sum(tn.fori(3, lambda k, s: s * (h + h.detach()), h))),
    "a gradient in the body": lambda h: tn.grad(
        lambda r: tn.sum(tn.fori(3, lambda k, h: h - r * tn.grad(lambda h: recurrent(W, h, XS))(h), h))
    )(0.1),
    "whole numbers as parts": tn.grad(lambda h: tn.sum(tn.scan(lambda s, k: (s * h + k, s), h, np.arange(4))[1])),
}


@pytest.mark.parametrize("backend", ["llvm", "numpy"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_of_loops(name: str, backend: str) -> None:
    f = TRANSFORMS[name]
    h = np.array([0.3, -0.2, 0.5])
    close(compile(f, backend=backend)(h), f(h))


def test_gradients_through_scan_like_jax() -> None:
    import jax

    jnp = jax.numpy

    def theirs(W: Any, h: Any, xs: Any) -> Any:
        last, ys = jax.lax.scan(lambda h, x: (jnp.tanh(W @ h + x) * 0.7, jnp.sum(h * h)), h, xs)
        return jnp.sum(last * last) + jnp.sum(ys)

    with jax.enable_x64(True):
        close(
            compile(tn.value_and_grad(recurrent, argnums=(0, 1, 2)))(W, H, XS),
            jax.value_and_grad(theirs, argnums=(0, 1, 2))(W, H, XS),
        )


def test_a_gradient_through_loops_that_a_python_loop_makes() -> None:
    """Each step is traced once more for the gradient, when the variables around it have changed."""

    def layers(ws: Any, x: Any) -> Any:
        for w in ws:
            x = tn.fori(2, lambda k, s: tn.tanh(w @ s), x)  # noqa: B023  # on purpose
        return tn.sum(x)

    ws, x = [0.5 * np.eye(2), 0.7 * np.ones((2, 2))], np.array([1.0, 2.0])
    close(compile(tn.grad(layers, argnums=(0, 1)))(ws, x), tn.grad(layers, argnums=(0, 1))(ws, x))


@pytest.mark.parametrize("outer", [lambda f: f, tn.grad])
def test_a_gradient_in_a_body_by_what_is_around_the_loop(outer: Any) -> None:
    f = outer(lambda x: tn.fori(3, lambda k, s: s - 0.1 * tn.grad(lambda t: t * t * s * x)(x), x))
    close(compile(f)(0.7), f(0.7))


def test_a_loop_whose_gradient_is_asked_for_runs_forwards_once() -> None:
    program = compile(tn.value_and_grad(lambda x: tn.fori(5, lambda k, s: s * x, x)), backend="numpy")
    assert program(2.0) == (64.0, 192.0)
    assert program.source.count("# 5 times") == 2


# --- maps -------------------------------------------------------------------------------------------------------------


def one(w: Any, x: Any, t: Any) -> Any:
    return (tn.tanh(w[0] * x[0] + w[1] * x[1]) - t) ** 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_map_whose_result_depends_on_no_sample(backend: str) -> None:
    assert compile(tn.vmap(lambda x: 2.0), backend=backend)(np.ones(64)).tolist() == [2.0] * 64


@pytest.mark.parametrize("backend", ["auto", "llvm", "numpy"])
def test_a_map_of_a_map(backend: str) -> None:
    f = compile(lambda a: tn.vmap(lambda x: x * x)(tn.vmap(lambda x: x + 1)(a)), backend=backend)
    assert f(np.arange(64.0)).tolist() == ((np.arange(64.0) + 1) ** 2).tolist()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("samples", [1, 5, 64, 101])  # up to 63 one by one, from 64 on at once
def test_a_map_and_its_gradient(samples: int, backend: str) -> None:
    w, x, t = random.normal(size=2), random.normal(size=(samples, 2)), random.normal(size=samples)

    def total(w: Any, x: Any, t: Any) -> Any:
        return tn.sum(tn.vmap(one, in_axes=(None, 0, 0))(w, x, t))

    for f in (total, tn.value_and_grad(total, argnums=(0, 1))):
        program = compile(f, backend=backend)
        close(program(w, x, t), f(w, x, t))
    by_columns = compile(tn.vmap(one, in_axes=(None, 1, 0)), backend=backend)(w, x.T.copy(), t)
    close(by_columns, np.array([one(w, *sample) for sample in zip(x, t, strict=True)]))


def test_a_map_is_traced_once() -> None:
    few, many = (compile(tn.vmap(lambda v: tn.exp(v[0]) * v[1])) for _ in range(2))
    few(np.ones((64, 2)))
    many(np.ones((5000, 2)))
    assert many.stats.nodes == few.stats.nodes


@pytest.mark.parametrize("backend", ["numpy", "auto"])
def test_maps_that_cannot_be_traced_once_are_unrolled(backend: str) -> None:
    x = random.normal(size=(70, 3))
    for f in (
        tn.vmap(lambda v: tn.sum(v * v) * v[0]),
        tn.vmap(lambda v: tn.grad(lambda a: a**3)(v[0])),
        tn.vmap(lambda v: v * 2.0, out_axes=1),
    ):
        close(compile(f, backend=backend)(x), f(x))


def test_a_map_says_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="2 in_axes for 1 argument"):
        tn.vmap(lambda x: x, in_axes=(0, 1))(np.ones(3))
    with pytest.raises(ValueError, match="expected one number of them"):
        tn.vmap(lambda x, y: x + y)(np.ones(3), np.ones(4))


# --- in place, bound, op by op ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_donated_arrays_are_updated_in_place(backend: str) -> None:
    step, p, expected = compile(descend, backend=backend, donate=0), network(), None
    expected = [q.copy() for q in p]
    held = list(p)
    for _ in range(4):
        expected, value = descend(expected, X, Y)
        p, found = step(p, X, Y)
        assert all(a is b for a, b in zip(p, held, strict=True))
        close((p, found), (expected, value))


def steep(p: Any) -> Any:
    """A step whose fast program multiplies 0 by ∞, at p = 0, on the path that is not taken."""
    return p - 0.5 * tn.grad(lambda p: tn.sum(tn.where(p > 0, tn.sqrt(tn.abs(p)), p * p) * (p + 2.0)))(p) - 1.0


@pytest.mark.parametrize("backend", BACKENDS)
def test_donated_arrays_are_what_they_were_where_care_is_needed(backend: str) -> None:
    step, p = compile(steep, backend=backend, donate=0), np.array([1.0, 0.0, 4.0])
    expected = steep(p)
    assert np.isfinite(expected).all()
    assert step(p) is p
    close(p, expected)
    close(step(p), steep(expected))
    loop = compile(lambda p: tn.fori(2, lambda k, q: steep(q), p), backend=backend)
    close(loop(np.array([1.0, 0.0, 4.0])), steep(expected))


def test_nodes_are_bound_to_the_function_itself() -> None:
    assert compile(lambda x: x * x).bind(tn.Value(3.0))().data == 9.0


def test_what_cannot_be_donated_is_refused() -> None:
    with pytest.raises(TypeError, match="writeable arrays of float64"):
        compile(lambda p: [q * 2 for q in p], donate=0)([1.0, 2.0])
    with pytest.raises(ValueError, match="donate=1, but"):
        compile(lambda p: p * 2, donate=1)(np.ones(2))
    with pytest.raises(ValueError, match=r"a result of shape \(\) for an array \(2,\)"):
        compile(tn.sum, donate=0)(np.ones(2))


@pytest.mark.parametrize("backend", ["llvm", "numpy", "python", "auto"])
def test_a_donated_result_that_is_returned_once_more(backend: str) -> None:
    """It is an array of its own there."""

    def step(p: Any, x: Any) -> Any:
        new = p[0] * 2 + x
        return [new], {"again": new, "first": new[0], "flat": tn.reshape(new, shape=(-1,))}

    p, x = [np.ones(3)], np.arange(3.0)
    program = compile(step, donate=0, backend=backend)
    for _ in range(3):
        expected = 2 * p[0] + x
        _, found = program(p, x)
        close([p[0], found["again"], found["flat"], found["first"]], [expected, expected, expected, expected[0]])
        assert not np.may_share_memory(found["again"], p[0])
        assert not np.may_share_memory(found["flat"], found["again"])


@pytest.mark.parametrize("backend", ["llvm", "numpy", "python", "auto"])
@pytest.mark.parametrize(
    "step",
    [
        lambda p, x: [p[0] * 2, x + 1],
        lambda p, x: [x * 1.5, p[0] + 1],
        lambda p, x: [x * 1.5, x + 1],
        lambda p, x: [p[1] * 1.0, p[0] * 1.0],
        lambda p, x: ([p[0] + x, p[1] * 0.5], tn.sum(x)),
    ],
)
def test_donated_arrays_that_the_results_do_not_depend_on(backend: str, step: Any) -> None:
    """They are updated as well; the results may also change places."""
    p, x = [np.ones(5), np.arange(5.0)], np.linspace(0, 1, 5)
    expected = [a.copy() for a in p]
    program = compile(step, donate=0, backend=backend)
    for _ in range(3):
        program(p, x)
        new = step(expected, x)
        expected = [np.asarray(a) for a in (new[0] if isinstance(new, tuple) else new)]
    close(p, expected)


OVERLAPS: dict[str, Callable[[Any], Any]] = {
    "the same twice": lambda base: ([base, base], np.ones(2)),
    "one and a part of it": lambda base: ([base[:4], base[2:]], np.ones(2)),
    "one and another argument": lambda base: ([base[:3], np.ones(3)], base[2:]),
    "another argument, the other way round": lambda base: ([np.ones(3), base], base[::-1]),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", OVERLAPS)
def test_donated_arrays_that_share_memory_are_refused(name: str, backend: str) -> None:
    step = compile(lambda p, x: ([p[0] * 2, p[1] + 1], tn.sum(x)), donate=0, backend=backend)
    base = np.arange(6.0)
    p, x = OVERLAPS[name](base)
    apart = [q.copy() for q in p], x.copy()
    for call in (lambda: step(p, x), lambda: step.bind(p, x), lambda: step(p, x)):
        with pytest.raises(ValueError, match=r"donate: an array .* shares memory with another"):
            call()
        step(*apart)
    assert base.tolist() == list(range(6))
    interleaved = np.arange(6.0)
    step([interleaved[::2], interleaved[1::2]], np.ones(2))  # which share none
    assert interleaved.tolist() == [0, 2, 4, 4, 8, 6]
    p[0] = np.broadcast_to(1.0, p[0].shape)
    with pytest.raises(ValueError, match=r"donate: an array .* is read-only"):
        step(p, np.ones(x.shape))


@pytest.mark.parametrize("backend", BACKENDS)
def test_donated_arrays_may_change_places_with_others(backend: str) -> None:
    step = compile(lambda p, x: p + x, donate=0, backend=backend)
    a, b = np.ones(3), np.full(3, 2.0)
    for _ in range(2):
        assert step(a, b) is a
        assert step(b, a) is b
    assert (a.tolist(), b.tolist()) == ([8.0] * 3, [13.0] * 3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_bound_arguments_are_read_anew(backend: str) -> None:
    x = np.ones(3)
    again = compile(lambda x, s: tn.sum(x * x) * s, backend=backend).bind(x, 2.0)
    assert again() == 6.0
    x[:] = 2.0
    assert again() == 24.0


@settings(max_examples=20)
@given(st.integers(0, 4), st.sampled_from([-1.0, 0.0]))
def test_debug_names_the_first_op_that_is_not_finite(place: int, bad: float) -> None:
    x = np.full(5, 2.0)
    x[place] = bad
    with pytest.raises(FloatingPointError, match=rf"log gave (nan|-inf) at \[{place}\], at .*test_loops.py:\d+"):
        compile(lambda x: tn.sum(tn.log(x) * 3.0), debug=True)(x)
    assert compile(lambda x: tn.sum(tn.log(x)), debug=True)(np.ones(5)) == 0.0


def test_debug_looks_into_gradients() -> None:
    with pytest.raises(FloatingPointError, match=r"divide gave inf.*in the gradient of sqrt"):
        compile(tn.grad(tn.sqrt), debug=True)(0.0)


def test_threads_give_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "SHARED", 0)
    w, x, t = random.normal(size=2), random.normal(size=(501, 2)), random.normal(size=501)
    f = tn.value_and_grad(lambda w, x, t: tn.sum(tn.vmap(one, in_axes=(None, 0, 0))(w, x, t)))
    program = compile(f, threads=2)
    close(program(w, x, t), f(w, x, t))
    first = program(w, x, t)
    assert all(np.array_equal(a, b) for a, b in zip(first, program(w, x, t), strict=True))


@pytest.mark.parametrize("backend", ["llvm", "numpy"])
def test_an_output_that_is_not_finite(backend: str) -> None:
    """0 · ∞ is 0 in what each step leaves, too."""

    def slopes(xs: Any, zero: Any) -> Any:
        return tn.scan(lambda s, x: (s, tn.grad(lambda x: tn.exp(800.0 * x) * zero + 2.0 * x)(x)), 0.0, xs)[1]

    assert compile(slopes, backend=backend)(np.array([0.5, 1.0, 0.25]), 0.0).tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("backend", ["llvm", "numpy", "python"])
def test_states_that_nothing_needs(backend: str) -> None:
    """They are left out, but for what others or the outputs are computed from."""

    def step(state: Any, x: Any) -> Any:
        a, b, c, d, unused = state
        return (a + 1.0, b + c, c * 2.0, d + x, unused * a), d * x

    def f(xs: Any, a: Any) -> Any:
        last, outputs = tn.scan(step, (a, 1.0, 0.5, 0.25, 3.0), xs)
        return last[1], outputs

    xs = np.array([1.0, 2.0, 3.0])
    value, outputs = compile(f, backend=backend)(xs, 2.0)
    assert (value, outputs.tolist()) == (4.5, [0.25, 2.5, 9.75])


@pytest.mark.parametrize("backend", ["llvm", "numpy", "python"])
def test_a_gradient_that_is_compared(backend: str) -> None:
    """0 · ∞ is 0 in it, also where a comparison is all that comes of it."""

    def is_steep(x: Any, zero: Any) -> Any:
        return tn.where(tn.grad(lambda x: tn.exp(800.0 * x) * zero + 2.0 * x)(x) * 2 > 0.5, 1.0, 0.0)

    assert compile(is_steep, backend=backend)(1.0, 0.0) == 1.0
    loop = compile(lambda x, zero: tn.fori(3, lambda _, x: x + is_steep(x, zero), x), backend=backend)
    assert loop(1.0, 0.0) == 4.0


@pytest.mark.parametrize("backend", ["llvm", "numpy"])
def test_a_step_that_is_not_finite_and_heals(backend: str) -> None:
    """0 · ∞ is 0 in the backward pass of every step, also where what the last one leaves is finite without it."""

    def body(_: Any, state: Any) -> Any:
        x, slope, zero = state
        new = tn.grad(lambda x: tn.exp(800.0 * x) * zero + 2.0 * x)(x)
        return tn.where(slope > 0.5, slope * 1e-3, 0.0), new, zero

    assert compile(lambda x: tn.fori(2, body, (x, 0.0, 0.0)), backend=backend)(1.0) == (0.002, 2.0, 0.0)


@pytest.mark.parametrize("beside", [0.0, 1.0])
def test_each_of_many_loops_is_gone_through_once(beside: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ways lead past loops and through them, a gradient has one loop backwards for each."""
    backwards: list[int] = []
    original = reverse._backwards
    monkeypatch.setattr(reverse, "_backwards", lambda *given: backwards.append(given[1]) or original(*given))
    rng = np.random.default_rng(0)
    z, s, way = rng.normal(size=(4, 2)), rng.normal(size=2), rng.normal(size=(4, 2))

    def loss(z: Any, s: Any) -> Any:
        for _ in range(5):
            z = beside * z + tn.scan(lambda c, x: (tn.tanh(c * s + x), c * 0.5 + x), s, z)[1]
        return tn.mean(z * z)

    gradient = tn.grad(loss, argnums=(0, 1))
    for found, wanted in zip(compile(gradient)(z, s), gradient(z, s), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-10)
    assert sorted(backwards) == [0, 1, 2, 3, 4]

    def second(z: Any, s: Any) -> Any:
        return tn.hvp(lambda z: loss(z, s), (z,), (way,))[0]

    np.testing.assert_allclose(compile(second)(z, s), second(z, s), rtol=1e-10)


WITHOUT_THE_STATE: dict[str, Any] = {
    "a gradient": lambda w, x: tn.grad(lambda w: tn.sum(x * x))(w),
    "of a result from before": lambda w, x: (lambda y: tn.grad(lambda w: y)(w))(tn.sum(x * x)),
    "of a map": lambda w, x: tn.grad(lambda w: tn.sum(tn.vmap(lambda x: x * x)(x)))(w),
    "a tangent": lambda w, x: tn.jvp(lambda w: tn.sum(x * x), (w,), (w,))[1],
    "a second derivative": lambda w, x: tn.hvp(lambda w: tn.sum(x * x), (w,), (w,))[0],
}


@pytest.mark.parametrize("name", WITHOUT_THE_STATE)
def test_what_does_not_depend_on_the_state_of_a_loop_has_no_gradient_by_it(name: str) -> None:
    """What is computed from outside of a loop alone is on another tape."""
    slope = WITHOUT_THE_STATE[name]

    def f(w: Any, x: Any) -> Any:
        return tn.fori(3, lambda k, w: w - 0.1 * slope(w, x), w)

    w, x = np.ones((1, 1)), random.normal(size=(70, 1))
    for backend in ("auto", "numpy"):
        close(compile(f, backend=backend)(w, x), f(w, x))


@pytest.mark.parametrize("backend", ["auto", "numpy"])
@pytest.mark.parametrize("number", [1.0, np.inf, np.nan])
def test_a_result_of_a_loop_that_no_finite_number_needs(backend: str, number: float) -> None:
    """What is folded for finite numbers is computed with care for others, where what that takes is given."""

    def loss(x: Any) -> Any:
        each = tn.vmap(lambda x: tn.fori(2, lambda k, s: tn.abs(s * 0.5 + x[0]), x), in_axes=-1)(x)
        return tn.sum(each * each)

    f, x = tn.value_and_grad(loss), np.array([[number, -0.5], [0.5, 0.25], [2.0, -1.0]])
    with np.errstate(all="ignore"):
        close(compile(f, backend=backend)(x), f(x))


@pytest.mark.parametrize("backend", ["auto", "numpy"])
def test_an_argument_returned_beside_a_loop_that_is_written_over_it(backend: str) -> None:
    def f(p: Any) -> Any:
        return tn.fori(3, lambda k, p: [q * 0.5 for q in p], p), p[0], p[1][0]

    p = [np.ones(3), np.ones(2)]
    new, before, first = compile(f, donate=0, backend=backend)(p)
    close([*new, before, first], [np.full(3, 0.125), np.full(2, 0.125), np.ones(3), 1.0])
    assert new[0] is p[0]
    assert not np.shares_memory(compile(f, backend=backend)(p)[1], p[0])
