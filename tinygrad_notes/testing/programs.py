"""Random programs: directed acyclic graphs of rows of the op table, with inputs, drawn and shrunk by Hypothesis.

A program is drawn as a list of instructions in which operands are counted from the latest result backwards, or among
the inputs. Whatever Hypothesis deletes from the list, the rest is a program again: an instruction that fits nothing is
left out, and one on inputs stays as it was.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from hypothesis import strategies as st

from .. import ops as rows
from ..ops import TABLE, Op, OpError, describe, shape_of
from ..ops.namespaces import numpy_reading
from .strategies import Elements, reals

LARGEST = 1e6
"""No number of a program, and by this measure no slope, is larger."""

_MOST_ELEMENTS = 36
_BACK, _AMONG_INPUTS = 12, 4
"""An operand is drawn from so many latest results, or else from so many inputs (the first ones, counted round)."""


@dataclass(frozen=True)
class Instruction:
    """One op of a program.

    Attributes:
        op: the row, or a copy of it with a fault planted.
        operands: positions: the inputs come first (0, 1, …), then the results of the instructions in order.
        params: the op's parameters.
    """

    op: Op
    operands: tuple[int, ...]
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Program:
    """A function made of ops, with the inputs drawn for it. Call it on numbers, arrays or nodes.

    Attributes:
        inputs: Python floats and float64 arrays.
        instructions: the ops in order.
    """

    inputs: tuple[Any, ...]
    instructions: tuple[Instruction, ...]

    def __call__(self, *inputs: Any) -> Any:
        """The scalar result: the sum of what no instruction uses.

        Args:
            inputs: as many as `self.inputs`, of the same shapes.

        Raises:
            TypeError: another number of inputs.
        """
        if len(inputs) != len(self.inputs):
            raise TypeError(f"program: given {len(inputs)} input(s); expected {len(self.inputs)}.")
        tape = self.run(*inputs)
        total = None
        for position in self.left_over:
            y = tape[position]
            y = rows.sum(y) if shape_of(y) else y
            total = y if total is None else total + y
        return total

    def run(self, *inputs: Any) -> list[Any]:
        """The inputs and the result of every instruction, by position."""
        tape = list(inputs)
        for step in self.instructions:
            tape.append(step.op(*(tape[i] for i in step.operands), **step.params))
        return tape

    @property
    def left_over(self) -> list[int]:
        """The positions that no instruction uses: they are summed."""
        used = {i for step in self.instructions for i in step.operands}
        return [i for i in range(len(self.inputs) + len(self.instructions)) if i not in used]

    def replace(self, position: int, op: Op) -> Program:
        """The same program with another op in the instruction `self.instructions[position]`."""
        changed = list(self.instructions)
        changed[position] = dataclasses.replace(changed[position], op=op)
        return dataclasses.replace(self, instructions=tuple(changed))

    @property
    def source(self) -> str:
        """The program as a function in Python; `tn` is `tinygrad_notes`, `np` NumPy."""
        shapes = [shape_of(y) for y in self.run(*self.inputs)]
        count = len(self.inputs)
        names = [f"x{i + 1}" for i in range(count)] + [f"y{i + 1}" for i in range(len(self.instructions))]
        lines = [f"def program({', '.join(names[:count])}):"]
        for name, step in zip(names[count:], self.instructions, strict=True):
            lines.append(f"    {name} = {_call(step, [names[i] for i in step.operands])}")
        terms = [f"tn.sum({names[i]})" if shapes[i] else names[i] for i in self.left_over]
        return "\n".join([*lines, f"    return {' + '.join(terms)}"])

    def __str__(self) -> str:
        return f"{self.source}\n\nprogram({', '.join(map(_shown, self.inputs))})"

    def __repr__(self) -> str:
        return str(self)  # what Hypothesis prints as the falsifying example


_INFIX = frozenset({"add", "subtract", "multiply", "divide", "pow", "matmul"})


def _call(step: Instruction, names: Sequence[str]) -> str:
    if step.op.name in _INFIX:
        return f" {step.op.symbol} ".join(names)
    params = [f"{k}={_shown(v)}" for k, v in step.params.items()]
    # A row that the package does not export by its name is found in the table.
    exported = isinstance(getattr(rows, step.op.name, None), Op)
    function = f"tn.{step.op.name}" if exported else f"tn.ops.TABLE[{step.op.name!r}]"
    return f"{function}({', '.join([*names, *params])})"


def _shown(x: Any) -> str:
    """x as it is written in Python."""
    if isinstance(x, np.ndarray):
        return f"np.array({x.tolist()})"
    return f"({', '.join(map(_shown, x))},)" if isinstance(x, tuple) and x else repr(x)


# --- parameters -------------------------------------------------------------------------------------------------------


def _axis(x: Any) -> list[dict[str, Any]]:
    """Ways to reduce: everything, or along one axis, with and without keeping it."""
    ways: list[dict[str, Any]] = [{}]
    for axis in dict.fromkeys([0, -1][: x.ndim]):
        ways += [{"axis": axis}, {"axis": axis, "keepdims": True}]
    return ways


def _one_axis(x: Any) -> list[dict[str, Any]]:
    return [{"axis": axis} for axis in dict.fromkeys([-1, 0][: x.ndim])]


def _getitem(x: Any) -> list[dict[str, Any]]:
    indices: list[Any] = [0, -1, slice(None, None, -1), slice(1, None), np.array([0, 0]), np.array([-1, 0, -1])]
    return [{"index": i} for i in indices] if x.ndim else []


def _scatter(x: Any) -> list[dict[str, Any]]:
    if not x.ndim:
        return []
    size, *rest = x.shape
    return [
        {"index": slice(1, None), "shape": (size + 1, *rest)},
        {"index": np.zeros(size, dtype=np.int64), "shape": (2, *rest)},  # all of them at one place
    ]


def _sum_to(x: Any) -> list[dict[str, Any]]:
    shapes = dict.fromkeys([(), x.shape[1:], (1, *x.shape[1:]), (*x.shape[:-1], 1)] if x.ndim else [()])
    return [{"shape": shape} for shape in shapes]


# What each row may be given beside its operands, simplest first; a row that is not here is given nothing.
_PARAMS: dict[str, Callable[..., list[dict[str, Any]]]] = {
    "clip": lambda x: [{"min": 0.0}, {"max": 1.0}, {"min": -1.0, "max": 2.0}],
    "leaky_relu": lambda x: [{}, {"slope": 0.5}],
    "elu": lambda x: [{}, {"alpha": 0.5}],
    **dict.fromkeys(("sum", "mean", "max", "min", "var", "std", "norm", "prod", "logsumexp"), _axis),
    **dict.fromkeys(("softmax", "log_softmax", "cumulative_sum", "flip"), _one_axis),
    "broadcast_to": lambda x: [{"shape": (2, *x.shape)}, {"shape": (2, 1, *x.shape)}],
    "sum_to": _sum_to,
    "reshape": lambda x: [{"shape": (-1,)}, {"shape": (-1, 1)}, {"shape": (1, *x.shape)}, {"shape": x.shape[::-1]}],
    "permute_dims": lambda x: [{}],
    "expand_dims": lambda x: [{"axis": 0}, {"axis": -1}],
    "tril": lambda x: [{}, {"k": 1}, {"k": -1}],
    "triu": lambda x: [{}, {"k": 1}, {"k": -1}],
    "concat": lambda a, b: [{"axis": 0}, {"axis": -1}],
    "stack": lambda a, b: [{"axis": 0}, {"axis": -1}],
    "getitem": _getitem,
    "scatter": _scatter,
    "pad": lambda x: [{"widths": 1}, {"widths": (0, 1), "value": -1.0}] if x.ndim else [],
    "einsum": lambda a, b: [{"subscripts": "ij,jk->ik"}, {"subscripts": "ij,jk->kj"}],
}
# Rows that take at least so many axes.
_AXES = {"matmul": 1, "outer": 1, "concat": 1, "einsum": 2, "tril": 2, "triu": 2}
_PRODUCTS = ("matmul", "einsum")

# Drawn only by name: two of them change nothing, and the last argument of the others must belong to the one before it.
_LEFT_OUT = frozenset({"astype", "identity", "one_minus", "cross_entropy"})
_SIMPLEST = ("add", "multiply", "subtract", "square", "negative", "sum")


def _arity(op: Op) -> int:
    return 2 if op.arity < 0 else op.arity


def _fit(op: Op, args: Sequence[Any]) -> bool:
    """Whether the shapes are such as the op takes. What slips through is refused by the op itself."""
    least = _AXES.get(op.name, 0)
    shapes = [shape_of(a) for a in args]
    if any(len(s) < least for s in shapes) or (op.name in ("outer", "einsum") and any(len(s) > least for s in shapes)):
        return False
    if op.name in _PRODUCTS:
        a, b = shapes
        return a[-1] == b[max(len(b) - 2, 0)]
    if op.name == "stack":
        return shapes[0] == shapes[1]
    if op.elementwise and len(set(shapes)) > 1:
        try:
            np.broadcast_shapes(*shapes)
        except ValueError:
            return False
    return True


# --- drawing ----------------------------------------------------------------------------------------------------------


class _Builder:
    """A program as it grows: instruction by instruction, each tried on the inputs before it is taken."""

    def __init__(self, inputs: Sequence[Any]) -> None:
        self.count = len(inputs)
        self.tape = list(inputs)
        self.slopes = [1.0] * self.count  # how steeply each result may depend on an input
        self.open = list(range(self.count))  # positions that may be operands: those of real numbers
        self.steps: list[Instruction] = []

    def add(self, op: Op, offsets: Sequence[int], choice: int) -> None:
        """Append the op on the first operands, from the given ones backwards, that fit; else leave it out."""
        arity, size = _arity(op), len(self.open)
        if op.name == "where":
            arity = 2
        first = [size - 1 - (o - _BACK) % self.count if o >= _BACK else o for o in offsets]
        for shift in product(range(size), repeat=arity):
            operands = [self.open[-1 - (o + s) % size] for o, s in zip(first, shift, strict=False)]
            if _fit(op, [self.tape[i] for i in operands]):
                break
        else:
            return
        if op.name == "where":  # its condition is a comparison
            if self.take(TABLE["greater"], operands, {}):
                self.take(op, [len(self.tape) - 1, *operands], {})
            return
        params = self._params(op, operands, choice)
        if params is None or self.take(op, operands, params):
            return
        guarded = [self._guard(i, interval) for i, interval in zip(operands, op.domain, strict=False)]
        if guarded != operands:
            self.take(op, guarded, params)

    def _params(self, op: Op, operands: Sequence[int], choice: int) -> dict[str, Any] | None:
        recipe = _PARAMS.get(op.name)
        if recipe is None:
            return {}
        ways = recipe(*(np.asarray(self.tape[i]) for i in operands))
        return ways[choice % len(ways)] if ways else None

    def _guard(self, position: int, interval: tuple[float, float]) -> int:
        """A position with numbers inside the interval: the given one, or a smooth function of it."""
        low, high = interval
        if np.all((low < np.asarray(self.tape[position])) & (np.asarray(self.tape[position]) < high)):
            return position
        guard = "softplus" if high == math.inf else "sigmoid" if low >= 0 else "sin"
        return len(self.tape) - 1 if self.take(TABLE[guard], [position], {}) else position

    def take(self, op: Op, operands: Sequence[int], params: dict[str, Any]) -> bool:
        """Append an instruction if its result and its slopes are moderate numbers."""
        args = [self.tape[i] for i in operands]
        try:
            with np.errstate(all="ignore"):
                y = op(*args, **params)
                steep = _steepness(op, y, args, params) if op.differentiable else 0.0
        except (OpError, ArithmeticError, ValueError, TypeError, IndexError):
            return False
        slope = (steep if steep > 1 else 1.0) * max(self.slopes[i] for i in operands)
        # Written so that NaN is refused.
        if not (np.all(np.abs(y) <= LARGEST) and steep <= LARGEST and slope <= LARGEST) or np.size(y) > _MOST_ELEMENTS:
            return False
        if op.differentiable:
            self.open.append(len(self.tape))
        self.tape.append(y)
        self.slopes.append(slope)
        self.steps.append(Instruction(op, tuple(operands), params))
        return True

    def program(self) -> Program:
        """The program, without the inputs and comparisons that nothing uses."""
        used = {i for step in self.steps for i in step.operands}
        kept = [
            i
            for i in range(len(self.tape))
            if i in used or (i >= self.count and self.steps[i - self.count].op.differentiable)
        ]
        kept = kept if self.steps else list(range(self.count))
        new = {old: i for i, old in enumerate(kept)}
        steps = [self.steps[i - self.count] for i in kept if i >= self.count]
        return Program(
            tuple(self.tape[i] for i in kept if i < self.count),
            tuple(dataclasses.replace(s, operands=tuple(new[i] for i in s.operands)) for s in steps),
        )


def _steepness(op: Op, y: Any, args: Sequence[Any], params: dict[str, Any]) -> float:
    """How steep the op is here: its largest slope, NaN where it has none; of a structural op its vjp of ones."""
    params = {**op.defaults, **params}
    xs, result = [np.asarray(a, dtype=np.float64) for a in args], np.asarray(y, dtype=np.float64)
    wanted = [True] * len(xs)
    if op.elementwise:
        found = op.slopes(numpy_reading, result, xs, wanted, params)
    else:
        found = op.vjp(numpy_reading, np.ones_like(result), result, xs, wanted, params)
    return float(np.max([np.max(np.abs(s), initial=0.0) for s in found if s is not None], initial=0.0))


def _usable(ops: Iterable[Op | str] | None, arrays: bool) -> list[Op]:
    """The rows to draw from, simplest first."""
    if ops is None:
        chosen = [op for op in TABLE.values() if op.differentiable and op.name not in _LEFT_OUT]
        chosen = [op for op in chosen if arrays or op.elementwise]
    else:
        chosen = []
        for given in ops:
            op = TABLE.get(given) if isinstance(given, str) else given
            if not isinstance(op, Op):
                raise ValueError(f"graphs: given the op {given!r}; expected a row of the table or its name.")
            if not op.differentiable or not (arrays or op.elementwise):
                kind = "a differentiable op" if not op.differentiable else "an elementwise op, since arrays=False"
                raise ValueError(f"graphs: given {op.name}; expected {kind}.")
            chosen.append(op)
        if not chosen:
            raise ValueError("graphs: given no op; expected at least one, or None for all of the table.")
    order = {name: i for i, name in enumerate(_SIMPLEST)}
    return sorted(chosen, key=lambda op: order.get(op.name, len(order)))


def graphs(
    max_ops: int = 12,
    inputs: int = 3,
    ops: Iterable[Op | str] | None = None,
    arrays: bool = True,
    elements: Elements | None = None,
    min_ops: int = 1,
) -> st.SearchStrategy[Program]:
    """Random programs: graphs of ops with shared nodes, the same node twice, broadcasting, ties and zeros.

    A program is safe on its own inputs: every number is at most 1e6 in magnitude, and so are the slopes. Where an
    argument is outside of the domain of its op, softplus, sigmoid or sin brings it there (whatever `ops` says). Kinks
    are not avoided. A failing program shrinks to few ops, the simplest ones, on small whole numbers.

    Args:
        max_ops: how many ops are drawn at most; those that guard a domain, and the comparison that `where` needs, come
            in addition, those that fit no operand are left out.
        inputs: how many inputs there are at most.
        ops: rows of the table, or their names, to draw from; by default every differentiable row.
        arrays: whether inputs may be arrays, and ops on them are drawn; otherwise all is numbers.
        elements: the numbers of the inputs; by default in [-10, 10], many of them small whole numbers.
        min_ops: how many ops are drawn at least; those that fit no operand are left out of these too.

    Raises:
        ValueError: an op that cannot be drawn, a number of ops or inputs below 1, or min_ops above max_ops.
    """
    for name, number in (("max_ops", max_ops), ("inputs", inputs), ("min_ops", min_ops)):
        if not isinstance(number, int) or number < 1:
            raise ValueError(f"graphs: given {name}={describe(number)}; expected a whole number of at least 1.")
    if min_ops > max_ops:
        raise ValueError(f"graphs: given min_ops={min_ops} and max_ops={max_ops}; expected no more than max_ops.")
    numbers = st.integers(-3, 3).map(float) | reals() if elements is None else elements
    offset = st.integers(0, _BACK + _AMONG_INPUTS - 1)
    step = st.tuples(st.sampled_from(_usable(ops, arrays)), offset, offset, offset)
    steps = st.lists(step, min_size=min_ops, max_size=max_ops)

    @st.composite
    def programs(draw: st.DrawFn) -> Program:
        # Two lengths, so that arrays that are drawn apart fit together.
        n, m = (draw(st.integers(1, 3)), draw(st.integers(1, 3))) if arrays else (1, 1)
        shapes = [(), (n,), (m,), (n, m), (m, n), (1, m), (n, 1)] if arrays else [()]
        drawn: list[Any] = []
        for _ in range(draw(st.integers(1, inputs))):
            shape = draw(st.sampled_from(shapes))
            values = [draw(numbers) for _ in range(math.prod(shape))]
            drawn.append(np.array(values).reshape(shape) if shape else values[0])
        builder = _Builder(drawn)
        for op, *offsets in draw(steps):
            builder.add(op, offsets[: _arity(op)], offsets[-1])
        return builder.program()

    return programs()


st.register_type_strategy(Program, lambda kind: graphs())
