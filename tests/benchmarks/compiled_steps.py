"""W3: a step of gradient descent on the notes' two-layer network, in four sizes, loss and update included.

The hidden layer is σ(x w1 + b1). One output has a binary cross-entropy on logits, several a softmax cross-entropy. A
call does one step or, where a library has a loop of its own, many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from compiled_moons import compile_note
from contenders import OURS, Contender, Run

RATE = 0.1


@dataclass(frozen=True)
class Training:
    """Data, labels (one-hot where there are several), and the parameters w1, b1, w2, b2 to start from."""

    x: np.ndarray[Any, Any]
    y: np.ndarray[Any, Any]
    start: list[np.ndarray[Any, Any]]

    @property
    def params(self) -> list[np.ndarray[Any, Any]]:
        """Copies of the parameters to start from."""
        return [p.copy() for p in self.start]

    def reference(self, steps: int) -> list[Any]:
        """The last step's loss, which is before its update, and the parameters after it."""
        params = self.params
        for _ in range(steps):
            loss = numpy_step(params, self.x, self.y)
        return [loss, *params]


def training(sizes: tuple[int, int, int], batch: int) -> Training:
    """A network's data, at random."""
    random = np.random.default_rng(0)
    i, h, o = sizes
    x = random.normal(size=(batch, i))
    y = random.integers(0, 2, (batch, 1)).astype(float) if o == 1 else np.eye(o)[random.integers(0, o, batch)]
    start = [random.normal(size=(i, h)) / i**0.5, np.zeros(h), random.normal(size=(h, o)) / h**0.5, np.zeros(o)]
    return Training(x, y, start)


# --- NumPy ------------------------------------------------------------------------------------------------------------


def numpy_step(params: list[Any], x: Any, y: Any) -> Any:
    """A step by hand; the parameters are changed in place."""
    w1, b1, w2, b2 = params
    n = len(x)
    a1 = 1 / (1 + np.exp(-(x @ w1 + b1)))
    z2 = a1 @ w2 + b2
    if z2.shape[1] == 1:
        loss = (np.logaddexp(0, z2) - z2 * y).mean()
        dz2 = (1 / (1 + np.exp(-z2)) - y) / n
    else:
        z2 = z2 - z2.max(1, keepdims=True)
        e = np.exp(z2)
        total = e.sum(1, keepdims=True)
        loss = (np.log(total).sum() - (z2 * y).sum()) / n
        dz2 = (e / total - y) / n
    dz1 = (dz2 @ w2.T) * a1 * (1 - a1)
    for p, g in zip(params, (x.T @ dz1, dz1.sum(0), a1.T @ dz2, dz2.sum(0)), strict=True):
        np.subtract(p, RATE * g, out=p)
    return loss


def numpy_make(work: Training) -> Run:
    params = work.params
    return Run(lambda: numpy_step(params, work.x, work.y), lambda loss: [loss, *params])


def numpy_buffers(work: Training) -> Run:
    """The yardstick: NumPy as fast as we could write it.

    As in W1: samples are columns, a row of ones makes a bias a column of its weights, parameters and gradients are
    views of one array each, nothing is allocated. 1/n and the rate are one factor, applied in the update.
    """
    x, n = np.concatenate([work.x.T, np.ones((1, len(work.x)))]), len(work.x)
    w1, b1, w2, b2 = work.start
    (i, h), o = w1.shape, len(b2)
    middle, end = h * (i + 1), h * (i + 1) + o * (h + 1)
    theta, gradient = np.empty((2, end))
    W1, g1 = (flat[:middle].reshape(h, i + 1) for flat in (theta, gradient))
    W2, g2 = (flat[middle:].reshape(o, h + 1) for flat in (theta, gradient))
    W1[:, :-1], W1[:, -1], W2[:, :-1], W2[:, -1] = w1.T, b1, w2.T, b2
    a1 = np.ones((h + 1, n))
    a, d1, t1 = a1[:-1], np.empty((h, n)), np.empty((h, n))
    z2, d2, t2, r = np.empty((o, n)), np.empty((o, n)), np.empty((o, n)), np.empty(n)
    xT, a1T, W2T, y = x.T, a1.T, W2[:, :-1].T, np.ascontiguousarray(work.y.T)
    not_y, rate = 1 - y, RATE / n
    dot, vdot, add, subtract, multiply, divide = np.dot, np.vdot, np.add, np.subtract, np.multiply, np.divide
    negative, exp, log, reciprocal = np.negative, np.exp, np.log, np.reciprocal
    total, largest = np.add.reduce, np.maximum.reduce

    if o == 1:

        def loss_and_slope() -> Any:
            negative(z2, d2)
            exp(d2, d2)
            add(d2, 1.0, d2)
            log(d2, t2)
            loss = (total(t2, None) + vdot(z2, not_y)) / n
            reciprocal(d2, d2)
            subtract(d2, y, d2)
            return loss

    else:

        def loss_and_slope() -> Any:
            largest(z2, 0, None, r)
            subtract(z2, r, z2)
            exp(z2, d2)
            total(d2, 0, None, r)
            divide(d2, r, d2)
            log(r, r)
            subtract(d2, y, d2)
            return (total(r) - vdot(z2, y)) / n

    def step() -> Any:
        dot(W1, x, a)
        negative(a, a)
        exp(a, a)
        add(a, 1.0, a)
        reciprocal(a, a)
        dot(W2, a1, z2)
        loss = loss_and_slope()
        dot(d2, a1T, g2)
        dot(W2T, d2, d1)
        multiply(d1, a, d1)
        multiply(d1, a, t1)
        subtract(d1, t1, d1)
        dot(d1, xT, g1)
        multiply(gradient, rate, gradient)
        subtract(theta, gradient, theta)
        return loss

    return Run(step, lambda loss: [loss, W1[:, :-1].T, W1[:, -1], W2[:, :-1].T, W2[:, -1]])


# --- this project -----------------------------------------------------------------------------------------------------


def _ours_step(params: Any, x: Any, y: Any) -> Any:
    """A training step as array code; new parameters and the loss."""
    import tinygrad_notes as tn

    def loss_of(params: Any) -> Any:
        w1, b1, w2, b2 = params
        z2 = tn.sigmoid(x @ w1 + b1) @ w2 + b2
        if z2.shape[1] == 1:
            return tn.mean(tn.softplus(z2) - z2 * y)
        return -tn.mean(tn.sum(y * tn.log_softmax(z2), axis=1))

    loss, grads = tn.value_and_grad(loss_of)(params)
    return [p - RATE * g for p, g in zip(params, grads, strict=True)], loss


def ours(backend: str = "auto", threads: int = 1, bound: bool = False) -> Callable[[Training], Run]:
    """The parameters are donated; `bound` makes the checks of a call once."""

    def make(work: Training) -> Run:
        from tinygrad_notes.compile import compile

        step = compile(_ours_step, donate=0, backend=backend, threads=threads)
        params, x, y = work.params, work.x, work.y
        call: Callable[[], Any] = lambda: step(params, x, y)  # noqa: E731
        if bound:
            step([p.copy() for p in params], x, y)  # traces and compiles
            call = step.bind(params, x, y)
        return Run(call, lambda r: [r[1], *params], lambda: compile_note(step))

    return make


def ours_loop(steps: int, threads: int = 1) -> Callable[[Training], Run]:
    """`fori`: many steps in a call."""

    def make(work: Training) -> Run:
        from tinygrad_notes.compile import compile
        from tinygrad_notes.compile.loops import fori

        def train(state: Any, x: Any, y: Any) -> Any:
            return fori(steps, lambda k, state: _ours_step(state[0], x, y), state)

        program = compile(train, threads=threads)
        state: list[Any] = [(work.params, 0.0)]

        def call() -> None:
            state[0] = program(state[0], work.x, work.y)

        return Run(call, lambda _: [state[0][1], *state[0][0]], lambda: compile_note(program))

    return make


# --- array libraries --------------------------------------------------------------------------------------------------


def torch_make(work: Training) -> Run:
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

    params = [torch.tensor(p, requires_grad=True) for p in work.start]
    x, y = torch.tensor(work.x), torch.tensor(work.y)
    w1, b1, w2, b2 = params
    loss_of = binary_cross_entropy_with_logits if len(b2) == 1 else cross_entropy

    def call() -> Any:
        loss = loss_of(torch.addmm(b2, torch.sigmoid(torch.addmm(b1, x, w1)), w2), y)
        grads = torch.autograd.grad(loss, params)
        with torch.no_grad():
            for p, g in zip(params, grads, strict=True):
                p.sub_(g, alpha=RATE)
        return loss

    return Run(call, lambda loss: [loss.item(), *(p.detach().numpy() for p in params)])


def _jax_step(params: Any, x: Any, y: Any) -> Any:
    import jax
    import jax.numpy as jnp

    def loss_of(params: Any) -> Any:
        w1, b1, w2, b2 = params
        z2 = jax.nn.sigmoid(x @ w1 + b1) @ w2 + b2
        if z2.shape[1] == 1:
            return jnp.mean(jax.nn.softplus(z2) - z2 * y)
        return -jnp.mean(jnp.sum(y * jax.nn.log_softmax(z2), axis=1))

    loss, grads = jax.value_and_grad(loss_of)(params)
    return [p - RATE * g for p, g in zip(params, grads, strict=True)], loss


def jax_make(work: Training) -> Run:
    import jax

    step = jax.jit(_jax_step, donate_argnums=0)
    params, x, y = jax.device_put((work.params, work.x, work.y))
    state = [(params, 0.0)]

    def call() -> None:
        state[0] = jax.block_until_ready(step(state[0][0], x, y))

    return Run(call, lambda _: [state[0][1], *state[0][0]])


def jax_scan(steps: int) -> Callable[[Training], Run]:
    def make(work: Training) -> Run:
        import jax

        def train(params: Any, x: Any, y: Any) -> Any:
            params, losses = jax.lax.scan(lambda p, _: _jax_step(p, x, y), params, None, length=steps)
            return params, losses[-1]

        program = jax.jit(train, donate_argnums=0)
        params, x, y = jax.device_put((work.params, work.x, work.y))
        state = [(params, 0.0)]

        def call() -> None:
            state[0] = jax.block_until_ready(program(state[0][0], x, y))

        return Run(call, lambda _: [state[0][1], *state[0][0]])

    return make


def autograd_make(work: Training) -> Run:
    import autograd
    import autograd.numpy as anp

    x, y = work.x, work.y

    def loss_of(params: Any) -> Any:
        w1, b1, w2, b2 = params
        z2 = anp.dot(1 / (1 + anp.exp(-(anp.dot(x, w1) + b1))), w2) + b2
        if z2.shape[1] == 1:
            return anp.mean(anp.logaddexp(0.0, z2) - z2 * y)
        z2 = z2 - anp.max(z2, axis=1, keepdims=True)
        return anp.mean(anp.log(anp.sum(anp.exp(z2), axis=1))) - anp.sum(z2 * y) / len(x)

    gradient = autograd.value_and_grad(loss_of)
    params = work.params

    def call() -> Any:
        loss, grads = gradient(params)
        for p, g in zip(params, grads, strict=True):
            np.subtract(p, RATE * g, out=p)
        return loss

    return Run(call, lambda loss: [loss, *params])


def mygrad_make(work: Training) -> Run:
    import mygrad

    x, y = work.x, work.y
    params = [mygrad.tensor(p) for p in work.start]

    def call() -> Any:
        w1, b1, w2, b2 = params
        z2 = mygrad.nnet.activations.sigmoid(x @ w1 + b1) @ w2 + b2
        loss = mygrad.mean(mygrad.logaddexp(0.0, z2) - z2 * y)
        loss.backward()
        for p in params:
            p.data -= RATE * p.grad
        return loss

    return Run(call, lambda loss: [loss.item(), *(p.data for p in params)])


# --- who takes part ---------------------------------------------------------------------------------------------------


def contenders(threads: int, steps: int) -> list[Contender]:
    """On one thread (small networks) or two; loops run so many steps a call."""
    if threads == 1:
        return [
            Contender("ours, a call", ours(), OURS, ours=True),
            Contender("ours, bound", ours(bound=True), OURS, ours=True),
            Contender("ours, fori", ours_loop(steps), OURS, steps=steps, ours=True),
            Contender("ours, NumPy backend", ours("numpy"), OURS, ours=True),
            Contender("NumPy by hand", numpy_make),
            Contender("NumPy, out=", numpy_buffers),
            Contender("torch", torch_make, ("torch",)),
            Contender("JAX jit", jax_make, ("jax",)),
            Contender("JAX jit, pinned", jax_make, ("jax",), "pinned"),
            Contender("JAX scan", jax_scan(steps), ("jax",), steps=steps),
            Contender("JAX scan, pinned", jax_scan(steps), ("jax",), "pinned", steps=steps),
            Contender("autograd", autograd_make, ("autograd",)),
            Contender("MyGrad", mygrad_make, ("mygrad",)),
        ]
    return [
        Contender("ours, a call", ours(threads=2), OURS, "two", ours=True),
        Contender("ours, fori", ours_loop(steps, 2), OURS, "two", steps=steps, ours=True),
        Contender("NumPy by hand", numpy_make, (), "two"),
        Contender("NumPy, out=", numpy_buffers, (), "two"),
        Contender("torch", torch_make, ("torch",), "two"),
        Contender("JAX jit", jax_make, ("jax",), "two"),
        Contender("JAX scan", jax_scan(steps), ("jax",), "two", steps=steps),
    ]
