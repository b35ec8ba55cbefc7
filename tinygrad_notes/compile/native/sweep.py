"""Sweeps over scalar graphs that are too long for straight-line code: a table of nodes, read by compiled loops.

The machine code knows the rules of the ops and nothing of the graph: it is compiled once for a set of rules, and a
graph of a million nodes costs no more to set up than its table. Nodes of one op that do not depend on each other form a
group, which one loop computes, a vector at a time.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from .engine import MachineCode
from .lines import BYTES, Lines, Module
from .primitives import PRIMITIVES

ELEMENTS = {"float64": "double", "float32": "float"}
Entry = tuple[Any, ...]
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Rule:
    """An op of numbers and its slopes, as straight-line code. The last entry of a code is its result.

    An entry is `("operand", j)`, `("result",)`, `("constant", number)` or `(primitive, a, b, ...)` on earlier entries.

    Attributes:
        operands: How many numbers the op takes.
        value: The op.
        slopes: For each operand the derivative by it, which may use the result; or a number; or None, if nothing is
            handed on to it.

    Example: `Rule(1, (("operand", 0), ("exp", 0)), ((("result",),),))`
    """

    operands: int
    value: tuple[Entry, ...]
    slopes: tuple[tuple[Entry, ...] | float | None, ...]


class Sweep:
    """A graph in a table, ready to be computed forward and backward. Not for two threads at once.

    Nodes are numbered: first the leaves, whose values are given, then the nodes group by group.

    Args:
        rules: The ops that the graph uses.
        groups: int32, of shape (groups, 2): a rule's number, and how many nodes it computes.
        operands: int32, of shape (most operands of any rule, nodes): for each node its operands' numbers. They come
            before its whole group. What a rule does not use can be anything.
        values: The values of leaves and nodes; `forward` fills in the nodes'.
        adjoints: The derivatives of the result by leaves and nodes; `backward` adds to them.

    Raises:
        ValueError: An array has the wrong shape or dtype, or an operand does not come before its group.
        ImportError: llvmlite is missing.
    """

    def __init__(self, rules: tuple[Rule, ...], groups: Array, operands: Array, values: Array, adjoints: Array) -> None:
        _check(rules, groups, operands, values, adjoints)
        self._code = _machine_code(rules, str(values.dtype))
        self._keep = (groups, operands, values, adjoints)
        nodes = operands.shape[1]
        addresses = [a.ctypes.data for a in self._keep]
        self._arguments = np.array([*addresses, len(groups), values.size - nodes, values.size, nodes], np.int64)
        self._pointer = self._arguments.ctypes.data_as(ctypes.c_void_p)
        function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
        self._forward = function(self._code.address("forward"))
        self._backward = function(self._code.address("backward"))

    def forward(self) -> None:
        """Compute the nodes' values from the leaves'."""
        self._forward(self._pointer)

    def backward(self) -> None:
        """Hand adjoints on from the last node to the leaves, as g · slope, where 0 · ∞ = 0.

        Before, set `adjoints` to 0, and to 1 at the result.
        """
        self._backward(self._pointer)


def _check(rules: tuple[Rule, ...], groups: Array, operands: Array, values: Array, adjoints: Array) -> None:
    """Raise ValueError for what would read or write outside the arrays."""
    for rule in rules:
        if len(rule.slopes) != rule.operands:
            raise ValueError(f"{len(rule.slopes)} slopes for {rule.operands} operands: {rule}")
    if groups.dtype != np.int32 or groups.ndim != 2 or groups.shape[1] != 2:
        raise ValueError(f"groups are int32 of shape (groups, 2); given {groups.dtype} of {groups.shape}")
    kinds, counts = groups[:, 0], groups[:, 1].astype(np.int64)
    if ((kinds < 0) | (kinds >= len(rules)) | (counts < 0)).any():
        raise ValueError(f"a group's rule is between 0 and {len(rules) - 1}, and its count is not below 0")
    arity = np.array([rule.operands for rule in rules], np.int64)
    most = arity[kinds].max(initial=0)
    if operands.dtype != np.int32 or operands.ndim != 2 or len(operands) < most:
        raise ValueError(f"operands are int32 of shape ({most}, nodes); given {operands.dtype} of {operands.shape}")
    for name, array in (("values", values), ("adjoints", adjoints)):
        if str(array.dtype) not in ELEMENTS or array.dtype != values.dtype or array.shape != (values.size,):
            raise ValueError(f"{name} are float64 or float32, in one dimension; given {array.dtype} of {array.shape}")
    for array in (groups, operands, values, adjoints):
        if not array.flags.c_contiguous or not array.flags.aligned:
            raise ValueError("all arrays must be contiguous, in C's order, and aligned")
    if not values.flags.writeable or not adjoints.flags.writeable or np.may_share_memory(values, adjoints):
        raise ValueError("values and adjoints are written: they must be writable, and share no memory")
    nodes = operands.shape[1]
    if counts.sum() != nodes or nodes > values.size or values.size > np.iinfo(np.int32).max:
        raise ValueError(f"the groups count {counts.sum()} nodes, for operands of {nodes} and {values.size} values")
    first = values.size - nodes + np.cumsum(counts) - counts  # of each group
    limit, kind = np.repeat(first, counts), np.repeat(kinds, counts)
    for j, numbers in enumerate(operands[:most]):
        wrong = (arity[kind] > j) & ((numbers < 0) | (numbers >= limit)) if nodes else np.zeros(0, bool)
        if wrong.any():
            node = int(np.argmax(wrong))
            raise ValueError(
                f"node {values.size - nodes + node}: operand {j} is {numbers[node]}; expected an earlier one than its "
                f"group, which begins at {limit[node]}"
            )


@cache
def _machine_code(rules: tuple[Rule, ...], dtype: str) -> MachineCode:
    """The two sweeps for a set of rules."""
    module, element = Module(), ELEMENTS[dtype]
    for number, rule in enumerate(rules):
        for direction in (_Forward, _Backward):
            name = f"rule{number}.{direction.__name__[1:].lower()}"
            loops = Lines(module, element, 1)
            width = 32 // BYTES[element]
            last = loops.value(f"add i64 %first, {'%count'}", "last")
            whole = loops.value(f"and i64 %count, {-width}", "whole")
            whole = loops.value(f"add i64 %first, {whole}", "whole")
            for w, start, end in ((Lines(module, element, width), "%first", whole), (loops, whole, last)):
                w.lines, w._used, w.block = loops.lines, loops._used, loops.block
                with w.loop(f"node.{w.width}", start, end, w.width) as node:
                    direction(rule, w, node).write()
                loops.block = w.block
            module.functions[name] = "\n".join(
                [f"define internal void @{name}({ARGUMENTS}) nounwind {{\nentry:", *loops.lines, "  ret void", "}", ""]
            )
    for name, backward in (("forward", False), ("backward", True)):
        _sweep(module, element, rules, name, backward=backward)
    return MachineCode(module.text())


ARGUMENTS = (
    "ptr noalias %operands, ptr noalias %values, ptr noalias %adjoints, i64 %leaves, i64 %nodes, i64 %first, i64 %count"
)


class _Forward:
    """Writes a rule for a vector of nodes."""

    def __init__(self, rule: Rule, w: Lines, node: str) -> None:
        self.rule, self.w, self.node = rule, w, node
        self.numbers: dict[int, list[str]] = {}  # operand → where it stands, for each node of the vector
        self.gathered: dict[int, str] = {}
        self.in_table = w.value(f"sub i64 {node}, %leaves", "in.table")

    def write(self) -> None:
        """Compute the values."""
        result = self.code(self.rule.value)
        self.w.line(f"store {self.w.number} {result}, ptr {self.at('%values', self.node)}, {self.align}")

    @property
    def align(self) -> str:
        """Vectors may begin at any node."""
        return f"align {BYTES[self.w.element]}"

    def at(self, array: str, number: str) -> str:
        """The address of a node's value or adjoint."""
        return self.w.value(f"getelementptr {self.w.element}, ptr {array}, i64 {number}", "at")

    def contiguous(self, array: str) -> str:
        """The nodes' own values or adjoints."""
        return self.w.value(f"load {self.w.number}, ptr {self.at(array, self.node)}, {self.align}", array[1:-1])

    def numbers_of(self, operand: int) -> list[str]:
        """The numbers of an operand, for each node of the vector."""
        if operand not in self.numbers:
            w = self.w
            index = self.in_table
            if operand:
                index = w.value(f"add i64 {index}, {w.value(f'mul i64 %nodes, {operand}', 'column')}", "in.table")
            row = w.value(f"getelementptr i32, ptr %operands, i64 {index}", "row")
            self.numbers[operand] = []
            for place in range(w.width):
                at = w.value(f"getelementptr i32, ptr {row}, i64 {place}", "at")
                number = w.value(f"load i32, ptr {at}", "operand")
                self.numbers[operand].append(w.value(f"zext i32 {number} to i64", "operand"))
        return self.numbers[operand]

    def operand(self, operand: int) -> str:
        """The values of an operand."""
        if operand not in self.gathered:
            w = self.w
            parts = [w.value(f"load {w.element}, ptr {self.at('%values', n)}") for n in self.numbers_of(operand)]
            self.gathered[operand] = w.join(parts)
        return self.gathered[operand]

    def code(self, code: tuple[Entry, ...]) -> str:
        """Write a code and give its result."""
        values: list[str] = []
        for kind, *rest in code:
            if kind == "operand":
                values.append(self.operand(*rest))
            elif kind == "result":
                values.append(self.contiguous("%values"))
            elif kind == "constant":
                values.append(self.w.constant(*rest))
            else:
                values.append(PRIMITIVES[kind].write(self.w, *(values[a] for a in rest)))
        return values[-1]


class _Backward(_Forward):
    """Writes a rule's slopes for a vector of nodes."""

    def write(self) -> None:
        """Hand the adjoints on. Two nodes may share an operand, so that is done one by one."""
        w, zero = self.w, self.w.constant(0.0)
        adjoint = self.contiguous("%adjoints")
        handed: list[tuple[int, str]] = []
        for operand, slope in enumerate(self.rule.slopes):
            if slope is None:
                continue
            if isinstance(slope, tuple):
                number = self.code(slope)
                product = w.multiply(adjoint, number)
                nothing = w.logical("or", w.compare("oeq", adjoint, zero), w.compare("oeq", number, zero))
                handed.append((operand, w.select(nothing, zero, product)))
            else:
                handed.append((operand, adjoint if slope == 1 else w.multiply(adjoint, w.constant(slope))))
        for operand, vector in handed:
            for place, number in enumerate(self.numbers_of(operand)):
                part = w.part(vector, place)
                at = self.at("%adjoints", number)
                before = w.value(f"load {w.element}, ptr {at}")
                w.line(f"store {w.element} {w.value(f'fadd {w.element} {before}, {part}')}, ptr {at}")


def _sweep(module: Module, element: str, rules: tuple[Rule, ...], name: str, *, backward: bool) -> None:
    """The loop over the groups, from the first or from the last."""
    w = Lines(module, element, 1)
    words = ["groups", "operands", "values", "adjoints", "count", "leaves", "end", "nodes"]
    for word, stem in enumerate(words):
        at = w.value(f"getelementptr i64, ptr %arguments, i64 {word}", "at")
        w.line(f"%{stem} = load {'ptr' if word < 4 else 'i64'}, ptr {at}")
    first = "%end" if backward else "%leaves"
    w.line("br label %group")
    w.label("group")
    w.line("%g = phi i64 [0, %entry], [%g.next, %next]")
    w.line(f"%here = phi i64 [{first}, %entry], [%there, %next]")
    w.line("%more = icmp slt i64 %g, %count")
    w.line("br i1 %more, label %do, label %done")
    w.label("do")
    w.line("%g.next = add i64 %g, 1")
    row = w.value("sub i64 %count, %g.next", "row") if backward else "%g"
    at = w.value(f"getelementptr [2 x i32], ptr %groups, i64 {row}", "at")
    w.line(f"%rule = load i32, ptr {at}")
    at = w.value(f"getelementptr i32, ptr {at}, i64 1", "at")
    w.line(f"%size.32 = load i32, ptr {at}")
    w.line("%size = sext i32 %size.32 to i64")
    w.line(f"%there = {'sub' if backward else 'add'} i64 %here, %size")
    w.line("%single = icmp eq i64 %size, 1")
    w.line("br i1 %single, label %one, label %many")
    direction = _Backward if backward else _Forward
    for label in ("one", "many"):
        w.label(label)
        w.line(f"switch i32 %rule, label %next [{' '.join(f'i32 {r}, label %{label}.{r}' for r in range(len(rules)))}]")
        for number, rule in enumerate(rules):
            w.label(f"{label}.{number}")
            if label == "one":  # deep graphs have many groups of one node, for which a call would be dear
                direction(rule, w, "%there" if backward else "%here").write()
            else:
                given = ARGUMENTS.replace(" noalias", "").replace("%first", "%there" if backward else "%here")
                w.line(f"call void @rule{number}.{name}({given.replace('%count', '%size')})")
            w.line("br label %next")
    w.label("next")
    w.line("br label %group")
    w.label("done")
    head = f"define void @{name}(ptr %arguments) nounwind {{\nentry:"
    module.functions[name] = "\n".join([head, *w.lines, "  ret void", "}", ""])
