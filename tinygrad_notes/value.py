"""`Value`: a node on a Python float. One number, its gradient, and the op that made it.

The local derivatives are floats, computed forward and stored on the node, so that the backward pass is a multiplication
and an addition an edge. The functions that record an op are written by the op's own row (see `ops/source.py`): read
`recorder(op).source`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from . import graph, ops
from .graph import Node, is_node
from .ops import Op
from .ops.arithmetic import BINARY, COMPARISONS, UNARY
from .ops.namespaces import floats, is_number
from .ops.source import define, scalar_program


class Value(Node):
    """A number that remembers how it was computed.

    Args:
        data: a real number.
        name: what to call it.
        requires_grad: False for a constant that shall stand in the graph.

    Raises:
        TypeError: data is no real number.

    Example:
        >>> x = Value(3.0, name="x")
        >>> y = x * x + 2 * x
        >>> y.backward()
        >>> y.data, x.grad
        (15.0, 8.0)
    """

    # An edge is a parent and ∂self/∂parent, flat in the node: a tuple an edge would double its size and the time that
    # the garbage collector takes. A slope of None: the parent takes no gradient, and may be a plain number. A leaf has
    # no edge; it takes a gradient if its own slope `da` is 1. `made` is the op, or (op, name) for the few with a name.
    __slots__ = ("a", "b", "da", "db", "made")

    rank = 1

    a: Any
    b: Any
    da: float | None
    db: float | None
    made: Any

    def __init__(self, data: Any, *, name: str | None = None, requires_grad: bool = True) -> None:
        if not is_number(data):
            advice = "; use Tensor for an array" if hasattr(data, "shape") or isinstance(data, (list, tuple)) else ""
            raise TypeError(f"Value: got {ops.describe(data)}; expected a real number{advice}.")
        self.data = float(data)
        self.grad = self.a = self.b = self.db = None
        self.da = 1.0 if requires_grad else None
        self.made = None if name is None else (None, name)

    shape = ()  # a number has no axes, whatever the node
    ndim = 0

    @property
    def op(self) -> Op | None:
        """The row of the op table that made it, `None` for a leaf."""
        made = self.made
        return made[0] if type(made) is tuple else made  # type: ignore[no-any-return]  # an op, as the slot says

    @property
    def name(self) -> str | None:
        """What to call it."""
        return self.made[1] if type(self.made) is tuple else None

    @name.setter
    def name(self, name: str | None) -> None:
        self.made = self.op if name is None else (self.op, name)

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to it; can be set for a leaf."""
        return self.a is not None or self.da is not None

    @requires_grad.setter
    def requires_grad(self, on: bool) -> None:
        if self.a is None:
            self.da = 1.0 if on else None
        elif not on:
            raise RuntimeError(
                f"requires_grad: {ops.describe(self)} was computed by {self.op}; expected a leaf. "
                "To cut the graph here, use its detach()."
            )

    @property
    def params(self) -> dict[str, Any]:
        """The op's parameters; only a few ops have any."""
        return {}

    @property
    def parents(self) -> tuple[Any, ...]:
        """The arguments of the op, in order; a plain number is a constant."""
        return tuple(parent for parent, _ in self.edges)

    @property
    def edges(self) -> list[tuple[Any, float | None]]:
        """Each argument with ∂self/∂argument (`None` where it takes no gradient)."""
        op = self.op
        if op is None:
            return []
        pairs = [(self.a, self.da)]
        node = self
        for left in range(op.arity - 1, 0, -1):
            if left > 1:  # more than two arguments: the later ones hang on a pair
                node = node.b
                pairs.append((node.a, node.da))
            else:
                pairs.append((node.b, node.db))
        return pairs

    @classmethod
    def record(cls, op: Op, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Apply an op to `Value`s and numbers; ops on arrays go to `Tensor`."""
        if not op.elementwise or any(ops.shape_of(p) for p in params.values()):
            return cls.array_kind.record(op, args, params)
        if not op.defaults and op.differentiable and op.arity <= 2:
            recorder(op)  # for the next call
        return record(op, args, params)

    def pull(self, g: Any, wanted: Sequence[bool] | None) -> Sequence[Any]:
        """g times each wanted local derivative; 0 · ∞ = 0."""
        edges = self.edges
        if wanted is None:
            wanted = [d is not None and p.requires_grad for p, d in edges]
        return [floats.scale(g, d) if w and d is not None else None for (_, d), w in zip(edges, wanted, strict=True)]

    def push(self, tangents: Sequence[Any], create_graph: bool) -> Any:
        """Σ ∂self/∂parent · tangent."""
        assert self.op is not None
        if create_graph:
            return self.op.jvp(ops.nodes, tangents, self, self.parents, self.params)
        terms = [
            floats.scale(t, d)
            for (_, d), t in zip(self.edges, tangents, strict=True)
            if t is not None and d is not None
        ]
        return math.fsum(terms) if terms else None

    def seed(self) -> float:
        """1."""
        return 1.0

    def own(self, g: Any, shared: bool) -> Any:
        """A cotangent that came from an array, as a float."""
        return g if type(g) is float or is_node(g) else float(g)

    def backward(self, cotangent: Any = None, *, create_graph: bool = False) -> None:
        """Fill `.grad` of every node that this one was computed from; see `Node.backward`."""
        if create_graph or not self.requires_grad or is_node(cotangent) or graph.state.paused:
            super().backward(cotangent, create_graph=create_graph)
            return
        g = 1.0 if cotangent is None else float(self.as_cotangent(cotangent))
        # Node.backward's pass for a graph of Values only: in-flight gradients stand on the nodes themselves. There also
        # stands how far the order has come: `entered` while a node's parents are put into it, `zero` once it is there.
        entered, zero = object(), float("0")  # made for this pass: their identity counts
        order: list[Value] = []
        leaves: list[tuple[Value, float | None]] = []
        stack: list[Any] = [self]
        pop, push, place = stack.pop, stack.append, order.append
        while stack:
            n = pop()
            state = n.grad
            if state is entered:
                n.grad = zero
                place(n)
            elif state is not zero:
                if n.a is None:
                    leaves.append((n, state))
                    n.grad = zero
                    continue
                n.grad = entered
                push(n)
                if n.da is not None and n.a.grad is not zero:
                    push(n.a)
                if n.db is not None and n.b.grad is not zero:
                    push(n.b)
        self.grad = g
        for n in reversed(order):
            g = n.grad
            if g:  # here and below also what keeps 0 · ∞ = 0
                d = n.da
                if d:
                    p = n.a
                    before = p.grad
                    c = g if d == 1.0 else g * d  # a slope of 1 hands on the same float: 32 bytes less
                    p.grad = c if before is zero else before + c
                d = n.db
                if d:
                    p = n.b
                    before = p.grad
                    c = g if d == 1.0 else g * d
                    p.grad = c if before is zero else before + c
        for n, before in leaves:
            if n.da is None:
                n.grad = None
            elif before is not None:
                n.grad += before

    def __float__(self) -> float:
        return float(self._now())

    def __int__(self) -> int:
        return int(self._now())

    def __bool__(self) -> bool:
        return bool(self._now())

    def item(self) -> float:
        """The number."""
        return float(self._now())

    __hash__ = object.__hash__  # a node is itself, whatever its number; == compares numbers

    def __repr__(self) -> str:
        return f"Value({self.data!r}" + (f", name={self.name!r})" if self.name else ")")

    def __pos__(self) -> Value:
        return self


class _Pair(Value):
    """Holds the later arguments of an op that takes more than two; the order sees it as a node of slope 1."""

    __slots__ = ()


class _ParametricValue(Value):
    """The result of an op with parameters."""

    __slots__ = ("params",)  # in place of the property that says "none"

    def __init__(self, data: Any, **options: Any) -> None:
        super().__init__(data, **options)
        self.params: dict[str, Any] = {}


def record(op: Op, args: Sequence[Any], params: dict[str, Any]) -> Any:
    """Any elementwise op on Values and numbers, by reading its row; what `recorder(op)` does for the common ones.

    With an array among the arguments the op is recorded by `Tensor`.
    """
    if (instead := graph.instead_of_recording()) is not None:
        return instead(op, args, params)
    if not all(isinstance(a, Value) or is_number(a) for a in args):
        listed = any(isinstance(a, (list, tuple)) for a in args)
        return op.apply(args, params) if listed else Node.array_kind.record(op, args, params)
    data = [a.data if isinstance(a, Value) else a if type(a) is bool else float(a) for a in args]
    y = op.on_floats(data, params)
    if not op.differentiable:
        return y
    if not graph.is_recording() or not any(isinstance(a, Value) and a.requires_grad for a in args):
        node = Value(y, requires_grad=False)
        graph.show(op, args, node)
        return node
    slopes = op.partials_on_floats(y, data, params)
    edges = [(a, d if isinstance(a, Value) else None) for a, d in zip(args, slopes, strict=True)]
    node = (_ParametricValue if params else Value)(y)
    if params:
        node.params = params  # type: ignore[misc]  # the slot of _ParametricValue
    node.made = op
    (node.a, node.da), *rest = edges
    holder = node
    while len(rest) > 1:
        pair = _Pair(0.0)
        pair.made = op
        (pair.a, pair.da), *rest = rest
        holder.b, holder.db = pair, 1.0
        holder = pair
    if rest:
        ((holder.b, holder.db),) = rest
    graph.show(op, args, node)
    return node


def recorder(op: Op) -> Callable[..., Any]:
    """The function that records `op` (of one or two arguments, without parameters) on Values and numbers.

    It is generated from the row on first use, and falls back to `record` for whatever is not plain. `.source` is its
    text.
    """
    found = op.recorders.get(Value)
    if found is None:
        found = op.recorders[Value] = _generate(op)
    return found


def _generate(op: Op) -> Callable[..., Any]:
    """Write, compile and register the recorder of an op."""
    try:
        kinds = [(True,)] if op.arity == 1 else [(True, True), (True, False), (False, True)]
        programs = [(wanted, *scalar_program(op, wanted)) for wanted in kinds]
    except Exception:  # a user's rule may use more than operators and xp; then it is read anew at each call
        return lambda *args: record(op, args, {})
    names = "ab"[: op.arity]
    fallback = f"return record(op, ({', '.join(names)},), {{}})"
    used = {"Value": Value, "new": Value.__new__, "state": graph.state, "op": op, "record": record}
    lines = [f"def record_{op.name}({', '.join(names)}):", "    try:"]
    for wanted, body, y, slopes, functions in programs:
        used.update(functions)
        checks = [
            f"{v}.__class__ is Value" if w else f"({v}.__class__ is float or {v}.__class__ is int)"
            for v, w in zip(names, wanted, strict=True)
        ]
        loads = [
            f"x{i} = {v}.data" if w else f"x{i} = float({v})"
            for i, (v, w) in enumerate(zip(names, wanted, strict=True))
        ]
        untracked = " and ".join(f"{v}.da is None and {v}.a is None" for v, w in zip(names, wanted, strict=True) if w)
        # Only the lines up to y run where nothing is recorded.
        value = next((k for k, line in enumerate(body, start=1) if line.startswith(f"{y} = ")), 0)
        steps = [
            *loads,
            *body[:value],
            f"if {untracked} or state.paused:",
            f"    {fallback}",
            *body[value:],
            "n = new(Value)",
            f"n.data = {y}",
            "n.grad = None",
            "n.made = op",
        ]
        edges = [(v if w else f"x{i}", d) for i, (v, w, d) in enumerate(zip(names, wanted, slopes, strict=True))]
        for v, (parent, slope) in zip("ab", [*edges, (None, None)], strict=False):
            steps += [f"n.{v} = {parent}", f"n.d{v} = {slope}"]
        lines.append(f"        if {' and '.join(checks)}:")
        lines += [f"            {step}" for step in [*steps, "return n"]]
    lines += [
        "    except (ArithmeticError, ValueError):",
        "        pass  # where Python raises, IEEE 754 has ±inf or NaN",
        f"    {fallback}",
    ]
    return define("\n".join(lines) + "\n", f"record_{op.name}", f"recorder of {op.name}", used)


# --- operators --------------------------------------------------------------------------------------------------------


def _add_method(op: Op) -> None:
    """A row of one argument is a method at the speed of an operator."""

    def method(self: Value) -> Any:  # replaces itself by the recorder
        setattr(Value, op.name, recorder(op))
        return recorder(op)(self)

    method.__name__, method.__doc__ = op.name, op.__doc__
    if op.method and op.elementwise and op.arity == 1 and not op.defaults:
        setattr(Value, op.name, method)


ops.for_each_row(_add_method)


def _reversed(fast: Callable[..., Any]) -> Callable[[Value, Any], Any]:
    def method(self: Value, other: Any) -> Any:
        return fast(other, self)

    return method


for _name, _op in BINARY.items():
    setattr(Value, f"__{_name}__", recorder(_op))
    setattr(Value, f"__r{_name}__", _reversed(recorder(_op)))
for _name, _op in UNARY.items():
    setattr(Value, f"__{_name}__", recorder(_op))


def _comparison(compare: Callable[[Any, Any], Any], op: Op) -> Callable[[Value, Any], Any]:
    def method(self: Value, other: Any) -> Any:
        if (instead := graph.instead_of_recording()) is not None:
            return instead(op, (self, other), {})
        return compare(self.data, other.data if isinstance(other, Value) else other)

    return method


for _name, _op in COMPARISONS.items():
    setattr(Value, f"__{_name}__", _comparison(getattr(operator, _name), _op))
