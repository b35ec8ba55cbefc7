"""W1: micrograd's demo, a network 2-16-16-1 on two moons; the max-margin loss with L2, and all gradients.

`loss_by_loops` is written number by number with Python loops, and run as it stands by this project, XAD and micrograd;
`score` within it also by JAX's vmap and CasADi. Everything else is vectorised by hand, for each library in its own way.
"""

from __future__ import annotations

import itertools
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from contenders import OURS, Contender, Run

ALPHA = 1e-4


@dataclass(frozen=True)
class Moons:
    """The data, the parameters, a pair (W, b) for each layer, and the activation: "relu" or "tanh"."""

    X: np.ndarray[Any, Any]
    y: np.ndarray[Any, Any]
    params: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]
    activation: str

    def reference(self, steps: int) -> list[Any]:
        """Loss and gradients."""
        loss, grads = numpy_by_hand(self.params, self.X, self.y, self.activation)
        return [loss, *(g for pair in grads for g in pair)]

    @property
    def flat(self) -> list[np.ndarray[Any, Any]]:
        """The parameters one after the other."""
        return [p for pair in self.params for p in pair]


def moons(activation: str, samples: int) -> Moons:
    """Two moons with noise, labels −1 and 1."""
    random = np.random.default_rng(0)
    t = np.linspace(0, np.pi, samples // 2)
    X = np.concatenate([np.c_[np.cos(t), np.sin(t)], np.c_[1 - np.cos(t), 0.5 - np.sin(t)]])
    X += random.normal(0, 0.1, X.shape)
    y = np.repeat([-1.0, 1.0], samples // 2)
    sizes = (2, 16, 16, 1)
    params = [(random.uniform(-1, 1, (o, i)), random.uniform(-0.1, 0.1, o)) for i, o in itertools.pairwise(sizes)]
    return Moons(X, y, params, activation)


# --- number by number -------------------------------------------------------------------------------------------------


def score(params: Any, x: Any, activation: Callable[[Any], Any]) -> Any:
    """The network's answer to one sample."""
    a = list(x)
    for k, (W, b) in enumerate(params):
        z = [sum(w * q for w, q in zip(row, a)) + c for row, c in zip(W, b)]  # noqa: B905  # as one writes it
        a = [activation(u) for u in z] if k < len(params) - 1 else z
    return a[0]


def loss_by_loops(params: Any, X: Any, y: Any, activation: Callable[[Any], Any], relu: Callable[[Any], Any]) -> Any:
    """Max-margin loss with L2, number by number."""
    total = 0.0
    for x, t in zip(X, y):  # noqa: B905
        total = total + relu(1 - t * score(params, x, activation))
    weights = sum(w * w for W, _ in params for row in W for w in row)
    biases = sum(c * c for _, b in params for c in b)
    return total / len(X) + ALPHA * (weights + biases)


def _listed(value_and_grads: Any) -> list[Any]:
    loss, grads = value_and_grads
    return [loss, *(g for pair in grads for g in pair)]


# --- this project -----------------------------------------------------------------------------------------------------


def ours(backend: str = "auto") -> Callable[[Moons], Run]:
    def make(work: Moons) -> Run:
        import tinygrad_notes as tn
        from tinygrad_notes.compile import compile

        activation = getattr(tn, work.activation)

        def loss(params: Any, X: Any, y: Any) -> Any:
            return loss_by_loops(params, X, y, activation, tn.relu)

        step = compile(tn.value_and_grad(loss), backend=backend)
        params, X, y = work.params, work.X, work.y
        return Run(lambda: step(params, X, y), _listed, lambda: compile_note(step))

    return make


def ours_mapped(threads: int) -> Callable[[Moons], Run]:
    """One sample's loss, mapped over the batch."""

    def make(work: Moons) -> Run:
        import tinygrad_notes as tn
        from tinygrad_notes.compile import compile
        from tinygrad_notes.compile.loops import vmap

        activation = getattr(tn, work.activation)
        losses = vmap(lambda params, x, t: tn.relu(1 - t * score(params, x, activation)), in_axes=(None, 0, 0))

        def loss(params: Any, X: Any, y: Any) -> Any:
            squares = sum(w * w for W, _ in params for row in W for w in row) + sum(c * c for _, b in params for c in b)
            return tn.mean(losses(params, X, y)) + ALPHA * squares

        step = compile(tn.value_and_grad(loss), threads=threads)
        params, X, y = work.params, work.X, work.y
        return Run(lambda: step(params, X, y), _listed, lambda: compile_note(step))

    return make


def compile_note(step: Any) -> str:
    """What this project's compiler says about a program."""
    s = step.stats
    return (
        f"{s.backend}, {s.nodes:,} nodes traced in {s.trace_seconds:.2f} s, "
        f"{s.instructions:,} instructions compiled in {s.compile_seconds:.2f} s"
    )


# --- NumPy ------------------------------------------------------------------------------------------------------------


def numpy_by_hand(params: Any, X: Any, y: Any, activation: str) -> Any:
    """Loss and gradients, vectorised and derived by hand."""
    (W1, b1), (W2, b2), (W3, b3) = params
    relu = activation == "relu"
    z1 = X @ W1.T + b1
    a1 = np.maximum(z1, 0) if relu else np.tanh(z1)
    z2 = a1 @ W2.T + b2
    a2 = np.maximum(z2, 0) if relu else np.tanh(z2)
    s = (a2 @ W3.T + b3)[:, 0]
    m = 1 - y * s
    loss = np.maximum(m, 0).mean() + ALPHA * sum((W * W).sum() + (b * b).sum() for W, b in params)
    ds = (-y * (m > 0) / len(X))[:, None]
    da2 = ds @ W3
    dz2 = da2 * (a2 > 0) if relu else da2 * (1 - a2 * a2)
    da1 = dz2 @ W2
    dz1 = da1 * (a1 > 0) if relu else da1 * (1 - a1 * a1)
    grads = [(dz1.T @ X, dz1.sum(0)), (dz2.T @ a1, dz2.sum(0)), (ds.T @ a2, ds.sum(0))]
    return loss, [(dW + 2 * ALPHA * W, db + 2 * ALPHA * b) for (dW, db), (W, b) in zip(grads, params, strict=True)]


def numpy_make(work: Moons) -> Run:
    return Run(lambda: numpy_by_hand(work.params, work.X, work.y, work.activation), _listed)


def numpy_buffers(tanh_by_exp: bool = False) -> Callable[[Moons], Run]:
    """The yardstick: NumPy as fast as we could write it.

    Samples are columns, so that all slices are contiguous; a row of ones makes each bias a column of its weights, which
    saves an addition and a sum a layer; parameters and gradients are views of one array each, so that L2 is two calls;
    nothing is allocated; sign gives the derivative of relu as floats, and quicker than a comparison would. Where
    processors lack AVX-512, NumPy's tanh is slower than 1 − 2/(e²ᶻ + 1), which is less accurate near 0: `tanh_by_exp`.
    """

    def make(work: Moons) -> Run:
        n = len(work.X)
        shapes = [(len(b), W.shape[1] + 1) for W, b in work.params]
        ends = np.cumsum([a * b for a, b in shapes])
        theta, gradient, scratch = np.empty((3, ends[-1]))

        def views(flat: Any) -> list[Any]:
            return [part.reshape(s) for part, s in zip(np.split(flat, ends[:-1]), shapes, strict=True)]

        for view, (W, b) in zip(views(theta), work.params, strict=True):
            view[:, :-1], view[:, -1] = W, b
        W1, W2, W3 = views(theta)
        g1, g2, g3 = views(gradient)
        W2T, w3 = W2[:, :-1].T, W3[:, :-1].T
        x = np.concatenate([work.X.T, np.ones((1, n))])
        a1, a2 = np.ones((2, 17, n))
        z1, z2 = a1[:-1], a2[:-1]
        d1, d2, t = np.empty((3, 16, n))
        m, ds = np.empty((2, 1, n))
        xT, a1T, a2T = x.T, a1.T, a2.T
        minus_y, slope, mean, decay = -work.y, -work.y / n, 1 / n, 2 * ALPHA
        dot, multiply, add, subtract, divide = np.dot, np.multiply, np.add, np.subtract, np.divide
        maximum, sign, exp, total = np.maximum, np.sign, np.exp, np.add.reduce

        if work.activation == "relu":

            def activate(z: Any) -> None:
                maximum(z, 0.0, out=z)

            def pull(a: Any, d: Any) -> None:
                sign(a, t)
                multiply(d, t, d)

        else:

            def pull(a: Any, d: Any) -> None:
                multiply(a, a, t)
                subtract(1.0, t, t)
                multiply(d, t, d)

            if tanh_by_exp:

                def activate(z: Any) -> None:
                    add(z, z, z)
                    exp(z, z)
                    add(z, 1.0, z)
                    divide(-2.0, z, z)
                    add(z, 1.0, z)

            else:

                def activate(z: Any) -> None:
                    np.tanh(z, z)

        def step() -> Any:
            dot(W1, x, z1)
            activate(z1)
            dot(W2, a1, z2)
            activate(z2)
            dot(W3, a2, m)
            multiply(m, minus_y, m)
            add(m, 1.0, m)
            maximum(m, 0.0, out=m)
            loss = total(m, None) * mean + ALPHA * dot(theta, theta)
            sign(m, ds)
            multiply(ds, slope, ds)
            dot(ds, a2T, g3)
            multiply(w3, ds, d2)
            pull(z2, d2)
            dot(d2, a1T, g2)
            dot(W2T, d2, d1)
            pull(z1, d1)
            dot(d1, xT, g1)
            multiply(theta, decay, scratch)
            add(gradient, scratch, gradient)
            return loss

        return Run(step, lambda loss: [loss, *(g for v in (g1, g2, g3) for g in (v[:, :-1], v[:, -1]))])

    return make


# --- array libraries --------------------------------------------------------------------------------------------------


def _loss(xp: Any, params: Any, X: Any, y: Any, activation: Callable[[Any], Any], relu: Callable[[Any], Any]) -> Any:
    """The loss, vectorised, in any array library."""
    a = X
    for k, (W, b) in enumerate(params):
        z = a @ W.T + b
        a = activation(z) if k < len(params) - 1 else z
    margin = relu(1 - y * a[:, 0])
    return xp.mean(margin) + ALPHA * sum((W * W).sum() + (b * b).sum() for W, b in params)


def torch_make(work: Moons) -> Run:
    import torch

    tensors = [[torch.tensor(p, requires_grad=True) for p in pair] for pair in work.params]
    leaves = [p for pair in tensors for p in pair]
    X, y = torch.tensor(work.X), torch.tensor(work.y)
    activation = getattr(torch, work.activation)

    def call() -> Any:
        loss = _loss(torch, tensors, X, y, activation, torch.relu)
        return loss, torch.autograd.grad(loss, leaves)

    return Run(call, lambda r: [r[0].item(), *(g.numpy() for g in r[1])])


def jax_make(work: Moons) -> Run:
    import jax
    import jax.numpy as jnp

    activation = getattr(jax.nn, work.activation)
    step = jax.jit(jax.value_and_grad(lambda params, X, y: _loss(jnp, params, X, y, activation, jax.nn.relu)))
    given = jax.device_put((work.params, work.X, work.y))
    return Run(lambda: jax.block_until_ready(step(*given)), _listed)


def jax_vmap(work: Moons) -> Run:
    """jit(vmap) of the function of one sample, number by number."""
    import jax
    import jax.numpy as jnp

    activation = getattr(jax.nn, work.activation)
    losses = jax.vmap(lambda params, x, t: jax.nn.relu(1 - t * score(params, x, activation)), in_axes=(None, 0, 0))

    def loss(params: Any, X: Any, y: Any) -> Any:
        return jnp.mean(losses(params, X, y)) + ALPHA * sum((W * W).sum() + (b * b).sum() for W, b in params)

    step = jax.jit(jax.value_and_grad(loss))
    given = jax.device_put((work.params, work.X, work.y))
    return Run(lambda: jax.block_until_ready(step(*given)), _listed)


def autograd_make(work: Moons) -> Run:
    import autograd
    import autograd.numpy as anp

    activation = anp.tanh if work.activation == "tanh" else lambda z: anp.maximum(z, 0)
    step = autograd.value_and_grad(lambda p: _loss(anp, p, work.X, work.y, activation, lambda z: anp.maximum(z, 0)))
    return Run(lambda: step(work.params), _listed)


def mygrad_make(work: Moons) -> Run:
    import mygrad

    tensors = [[mygrad.tensor(p) for p in pair] for pair in work.params]
    activation = mygrad.tanh if work.activation == "tanh" else lambda z: mygrad.maximum(z, 0)

    def call() -> Any:
        loss = _loss(mygrad, tensors, work.X, work.y, activation, lambda z: mygrad.maximum(z, 0))
        loss.backward()
        return loss

    return Run(call, lambda loss: [loss.item(), *(p.grad for pair in tensors for p in pair)])


# --- scalar libraries -------------------------------------------------------------------------------------------------


def casadi_make(in_c: bool) -> Callable[[Moons], Run]:
    """CasADi: the function of one sample as symbols, its gradient, mapped over the batch and added up.

    Run by its virtual machine, or as C code through gcc -O3 -march=native. Arrays are read in place, without a copy.
    """

    def make(work: Moons) -> Run:
        import casadi

        n = len(work.X)
        sizes = [p.shape for p in work.flat]
        theta, x, t = casadi.SX.sym("theta", sum(p.size for p in work.flat)), casadi.SX.sym("x", 2), casadi.SX.sym("t")
        numbers = iter(casadi.vertsplit(theta))
        params = [
            ([[next(numbers) for _ in range(W.shape[1])] for _ in range(W.shape[0])], [next(numbers) for _ in b])
            for W, b in work.params
        ]
        activation = casadi.tanh if work.activation == "tanh" else lambda z: casadi.fmax(z, 0)
        one = casadi.fmax(1 - t * score(params, casadi.vertsplit(x), activation), 0)
        sample = casadi.Function("sample", [theta, x, t], [one, casadi.gradient(one, theta)])
        batch = sample.map("batch", "serial", n, [0], [0, 1])
        all_theta, X, y = casadi.MX.sym("theta", theta.shape[0]), casadi.MX.sym("X", 2, n), casadi.MX.sym("y", 1, n)
        total, gradient = batch(all_theta, X, y)
        function = casadi.Function(
            "loss",
            [all_theta, X, y],
            [total / n + ALPHA * casadi.dot(all_theta, all_theta), gradient / n + 2 * ALPHA * all_theta],
        )
        note = ""
        if in_c:
            function, note = through_gcc(function)
        given = [np.concatenate([p.ravel() for p in work.flat]), work.X, work.y]
        loss, grads = np.zeros(1), np.zeros(theta.shape[0])
        call = run_in_place(function, given, [loss, grads])
        ends = np.cumsum([int(np.prod(s)) for s in sizes])[:-1]
        return Run(
            call,
            lambda _: [loss[0], *(g.reshape(s) for g, s in zip(np.split(grads, ends), sizes, strict=True))],
            lambda: note,
        )

    return make


def through_gcc(function: Any) -> tuple[Any, str]:
    """A CasADi function as C code, compiled."""
    import casadi

    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "made.c"), Path(folder, "made.so")
        generator = casadi.CodeGenerator("made.c")
        generator.add(function)
        source.write_text(generator.dump())
        subprocess.run(
            ["gcc", "-O3", "-march=native", "-fPIC", "-shared", str(source), "-o", str(library), "-lm"], check=True
        )
        made = casadi.external(function.name(), str(library))
    return made, f"C code {time.perf_counter() - start:.1f} s"


def run_in_place(function: Any, given: list[Any], results: list[Any]) -> Callable[[], Any]:
    """A call of a CasADi function on arrays, with nothing copied."""
    buffer, run = function.buffer()
    for k, array in enumerate(given):
        buffer.set_arg(k, memoryview(np.ascontiguousarray(array).reshape(-1)))
    for k, array in enumerate(results):
        buffer.set_res(k, memoryview(array))
    return lambda keep=(buffer, given, results): run()


def xad_make(work: Moons) -> Run:
    """XAD: the loops on its numbers, recorded on its tape (C++) in every call."""
    import xad
    import xad.math
    from xad.adj_1st import Real, Tape

    plain = [(W.tolist(), b.tolist()) for W, b in work.params]
    X, y = work.X.tolist(), work.y.tolist()
    activation = xad.math.tanh if work.activation == "tanh" else lambda z: xad.math.fmax(z, 0.0)

    def call() -> Any:
        params = [([[Real(w) for w in row] for row in W], [Real(c) for c in b]) for W, b in plain]
        inputs = [q for W, b in params for q in (*(w for row in W for w in row), *b)]
        with Tape() as tape:
            tape.registerInputs(inputs)
            tape.newRecording()
            loss = loss_by_loops(params, X, y, activation, lambda z: xad.math.fmax(z, 0.0))
            tape.registerOutput(loss)
            loss.derivative = 1.0
            tape.computeAdjoints()
            return loss.value, [q.derivative for q in inputs]

    return Run(call, lambda r: [r[0], *_shaped(r[1], work)])


def micrograd_make(work: Moons) -> Run:
    from micrograd.engine import Value

    plain = [(W.tolist(), b.tolist()) for W, b in work.params]
    X, y = work.X.tolist(), work.y.tolist()

    def call() -> Any:
        params = [([[Value(w) for w in row] for row in W], [Value(c) for c in b]) for W, b in plain]
        loss = loss_by_loops(params, X, y, Value.relu, Value.relu)
        loss.backward()
        return loss.data, [q.grad for W, b in params for q in (*(w for row in W for w in row), *b)]

    return Run(call, lambda r: [r[0], *_shaped(r[1], work)])


def _shaped(numbers: list[float], work: Moons) -> list[Any]:
    """The numbers of the parameters, as their arrays."""
    ends = np.cumsum([p.size for p in work.flat])[:-1]
    return [g.reshape(p.shape) for g, p in zip(np.split(np.array(numbers), ends), work.flat, strict=True)]


# --- who takes part ---------------------------------------------------------------------------------------------------


def contenders(activation: str, samples: int) -> list[Contender]:
    """For 100 samples on one thread, or for many on two."""
    by_exp = [Contender("NumPy, out=, tanh by exp", numpy_buffers(True))] if activation == "tanh" else []
    numpy = [Contender("NumPy by hand", numpy_make), Contender("NumPy, out=", numpy_buffers()), *by_exp]
    if samples > 1000:
        return [
            Contender("ours, vmap", ours_mapped(1), OURS, ours=True),
            Contender("ours, vmap, two threads", ours_mapped(2), OURS, "two", ours=True),
            *numpy,
            Contender("torch, two threads", torch_make, ("torch",), "two"),
            Contender("JAX jit, two threads", jax_make, ("jax",), "two"),
            Contender("JAX jit(vmap), by loops, two threads", jax_vmap, ("jax",), "two", quick=False),
        ]
    scalar = [
        Contender("JAX jit(vmap), by loops", jax_vmap, ("jax",), quick=False),
        Contender("CasADi, by loops, its VM", casadi_make(in_c=False), ("casadi",)),
        Contender("CasADi, by loops, gcc -O3", casadi_make(in_c=True), ("casadi",), quick=False),
        Contender("XAD, by loops", xad_make, ("xad",)),
    ]
    if activation == "relu":  # the one that micrograd has
        scalar += [
            Contender("micrograd, by loops", micrograd_make, ("micrograd",)),
            Contender("micrograd, by loops, collector off", micrograd_make, ("micrograd",), collector=False),
        ]
    return [
        Contender("ours, by loops", ours(), OURS, ours=True),
        Contender("ours, by loops, NumPy backend", ours("numpy"), OURS, ours=True),
        *numpy,
        Contender("torch", torch_make, ("torch",)),
        Contender("JAX jit", jax_make, ("jax",)),
        Contender("JAX jit, pinned", jax_make, ("jax",), "pinned"),
        Contender("autograd", autograd_make, ("autograd",)),
        Contender("MyGrad", mygrad_make, ("mygrad",)),
        *scalar,
    ]
