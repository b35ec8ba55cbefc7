"""W2c: a random, irregular and deep graph of scalar ops: no two parts are alike, so there is nothing to roll up."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from compiled_moons import compile_note, run_in_place
from contenders import OURS, Contender, Run

LEAVES = 100


@dataclass(frozen=True)
class Graph:
    """Ops on numbers, and the numbers to start from.

    Attributes:
        ops: (op, i, j): number i and, where the op takes two, number j; the results are numbered on from the leaves.
        x: the leaves.
        gradient: whether the gradient is asked for, too.
    """

    ops: list[tuple[str, int, int]]
    x: np.ndarray[Any, Any]
    gradient: bool

    def reference(self, steps: int) -> list[Any]:
        """The value and, if asked for, the gradient: one loop forward and one backward."""
        numbers = self.x.tolist()
        for op, i, j in self.ops:
            numbers.append(APPLY[op](numbers[i], numbers[j]))
        if not self.gradient:
            return [numbers[-1]]
        adjoint = [0.0] * len(numbers)
        adjoint[-1] = 1.0
        for k, (op, i, j) in reversed(list(enumerate(self.ops, LEAVES))):
            g = adjoint[k]
            if op == "tanh":
                adjoint[i] += g * (1 - numbers[k] ** 2)
            else:
                adjoint[i] += g * numbers[j] if op == "multiply" else g
                adjoint[j] += g * numbers[i] if op == "multiply" else -g if op == "subtract" else g
        return [numbers[-1], np.array(adjoint[:LEAVES])]


def graph(nodes: int, gradient: bool) -> Graph:
    """So many ops: sums, differences, products, and the tanh of what would grow too large.

    One argument is the result of an op that nothing has used yet, the other any number at all, near or far. So all ops
    count, the graph is about nodes/100 deep, and the last ops add up what is left.
    """
    choose = random.Random(0)
    x = np.random.default_rng(0).normal(size=LEAVES)
    numbers, unused = x.tolist(), list(range(LEAVES))
    ops: list[tuple[str, int, int]] = []

    def emit(op: str, i: int, j: int) -> None:
        ops.append((op, i, j))
        numbers.append(APPLY[op](numbers[i], numbers[j]))

    while len(ops) < nodes - LEAVES + 1:
        place = choose.randrange(LEAVES)
        i, j, op = unused[place], choose.randrange(len(numbers)), choose.choice(("add", "subtract", "multiply"))
        if abs(APPLY[op](numbers[i], numbers[j])) > 2:
            op, j = "tanh", i
        emit(op, i, j)
        unused[place] = len(numbers) - 1
    while len(unused) > 1:
        emit("add", unused.pop(), unused.pop())
        unused.append(len(numbers) - 1)
    return Graph(ops, x, gradient)


APPLY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "tanh": lambda a, _: math.tanh(a),
}


def ours(work: Graph) -> Run:
    import tinygrad_notes as tn
    from tinygrad_notes.compile import compile

    value = _value(work, tn.tanh)
    step = compile(tn.value_and_grad(value) if work.gradient else value)
    return Run(lambda: step(work.x), lambda r: list(r) if work.gradient else [r], lambda: compile_note(step))


def _value(work: Graph, tanh: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The graph as a function of its leaves."""
    apply = {**APPLY, "tanh": lambda a, _: tanh(a)}

    def value(x: Any) -> Any:
        numbers = list(x)
        for op, i, j in work.ops:
            numbers.append(apply[op](numbers[i], numbers[j]))
        return numbers[-1]

    return value


def casadi_make(work: Graph) -> Run:
    """CasADi's virtual machine."""
    import casadi

    x = casadi.SX.sym("x", LEAVES)
    y = _value(work, casadi.tanh)(casadi.vertsplit(x))
    function = casadi.Function("graph", [x], [y, casadi.gradient(y, x)] if work.gradient else [y])
    results = [np.zeros(1), np.zeros(LEAVES)][: 1 + work.gradient]
    call = run_in_place(function, [work.x], results)
    note = f"{function.n_instructions():,} instructions"
    return Run(call, lambda _: [results[0][0], *results[1:]], lambda: note)


def xad_make(work: Graph) -> Run:
    """XAD: recorded on its tape (C++) in every call."""
    import xad.math
    from xad.adj_1st import Real, Tape

    value = _value(work, xad.math.tanh)
    leaves = work.x.tolist()

    def call() -> Any:
        inputs = [Real(v) for v in leaves]
        with Tape() as tape:
            tape.registerInputs(inputs)
            tape.newRecording()
            y = value(inputs)
            tape.registerOutput(y)
            y.derivative = 1.0
            tape.computeAdjoints()
            return y.value, [v.derivative for v in inputs]

    return Run(call, lambda r: [r[0], np.array(r[1])])


def python_make(work: Graph) -> Run:
    """The loop itself, on floats."""
    value = _value(work, math.tanh)
    leaves = work.x.tolist()
    return Run(lambda: value(leaves), lambda y: [y])


def contenders(nodes: int, gradient: bool) -> list[Contender]:
    """A step is an op of the graph: seconds are those of one op, the backward pass on it included."""
    found = [Contender("ours", ours, OURS, steps=nodes, ours=True)]
    if nodes <= 100_000:  # it takes a minute and more to build a million
        found.append(Contender("CasADi, its VM", casadi_make, ("casadi",), steps=nodes))
    if gradient:
        return [*found, Contender("XAD", xad_make, ("xad",), steps=nodes)]
    return [*found, Contender("Python, on floats", python_make, steps=nodes)]
