"""`Value`: a node on a Python float. One number, its gradient, and the op that made it.

The local derivatives are floats, computed forward and stored on the node, so that the backward pass is a multiplication
and an addition an edge. The functions that record an op are written by the op's own row (see `ops/source.py`): read
`recorder(op).source`.
"""

from __future__ import annotations

import linecache
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from . import graph, ops
from .graph import Node, is_node
from .ops import Op
from .ops.namespaces import floats, is_number
from .ops.source import scalar_program


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
    # the garbage collector takes. A slope of None: the parent takes no gradient, and may be a plain number.
    __slots__ = ("a", "b", "da", "db")

    rank = 1

    a: Any
    b: Any
    da: float | None
    db: float | None

    def __init__(self, data: Any, *, name: str | None = None, requires_grad: bool = True) -> None:
        if not is_number(data):
            advice = "; use Tensor for an array" if hasattr(data, "shape") or isinstance(data, (list, tuple)) else ""
            raise TypeError(f"Value: got {ops.describe(data)}; expected a real number{advice}.")
        self.data = float(data)
        self.grad = None
        self.op = None
        self.name = name
        self.requires_grad = requires_grad
        self.a = self.b = self.da = self.db = None

    shape = ()  # a number has no axes, whatever the node
    ndim = 0

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
        if self.op is None:
            return []
        pairs = [(self.a, self.da)]
        node = self
        for left in range(self.op.arity - 1, 0, -1):
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
        if not params and op.differentiable and op.arity <= 2:
            return recorder(op)(*args)
        return record(op, args, params)

    def pull(self, g: Any, wanted: Sequence[bool]) -> Sequence[Any]:
        """g times each wanted local derivative; 0 · ∞ = 0."""
        return [
            floats.scale(g, d) if w and d is not None else None for (_, d), w in zip(self.edges, wanted, strict=True)
        ]

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
        # Node.backward's pass for a graph of Values only: in-flight gradients stand on the nodes themselves.
        order: list[Value] = []
        leaves: list[tuple[Value, float | None]] = []
        seen: set[Value | None] = set()
        stack: list[Any] = [self]
        pop, push, know, place = stack.pop, stack.append, seen.add, order.append
        while stack:
            n = pop()
            if n is None:  # the marker above a node whose parents are all in the order
                place(pop())
            elif n not in seen:
                know(n)
                if n.op is None:
                    leaves.append((n, n.grad))
                    n.grad = 0.0
                else:
                    n.grad = 0.0
                    push(n)
                    push(None)
                    if n.da is not None:
                        push(n.a)
                    if n.db is not None:
                        push(n.b)
        self.grad = g
        for n in reversed(order):
            g = n.grad
            if g:  # here and below also what keeps 0 · ∞ = 0
                d = n.da
                if d:
                    n.a.grad += g * d
                d = n.db
                if d:
                    n.b.grad += g * d
        for n, before in leaves:
            if not n.requires_grad:
                n.grad = None
            elif before is not None:
                n.grad = n.grad + before

    def __getattr__(self, name: str) -> Any:
        # A row of one argument is a method at the speed of an operator.
        op = ops.TABLE.get(name)
        if op is None or not op.method or not op.elementwise or op.arity != 1 or op.defaults:
            return super().__getattr__(name)
        setattr(Value, name, recorder(op))
        return getattr(self, name)

    def __float__(self) -> float:
        return float(self.data)

    def __int__(self) -> int:
        return int(self.data)

    def __bool__(self) -> bool:
        return bool(self.data)

    def item(self) -> float:
        """The number."""
        return float(self.data)

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
    if not all(isinstance(a, Value) or is_number(a) for a in args):
        return Node.array_kind.record(op, args, params)
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
    node.op = op
    (node.a, node.da), *rest = edges
    holder = node
    while len(rest) > 1:
        pair = _Pair(0.0)
        pair.op = op
        (pair.a, pair.da), *rest = rest
        holder.b, holder.db = pair, 1.0
        holder = pair
    if rest:
        ((holder.b, holder.db),) = rest
    graph.show(op, args, node)
    return node


_RECORDERS: dict[Op, Callable[..., Any]] = {}


def recorder(op: Op) -> Callable[..., Any]:
    """The function that records `op` (of one or two arguments, without parameters) on Values and numbers.

    It is generated from the row on first use, and falls back to `record` for whatever is not plain. `.source` is its
    text.
    """
    found = _RECORDERS.get(op)
    if found is None:
        found = _RECORDERS[op] = _generate(op)
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
        used.update({name: getattr(floats, name) for name in functions})
        checks = [
            f"{v}.__class__ is Value" if w else f"({v}.__class__ is float or {v}.__class__ is int)"
            for v, w in zip(names, wanted, strict=True)
        ]
        loads = [
            f"x{i} = {v}.data" if w else f"x{i} = float({v})"
            for i, (v, w) in enumerate(zip(names, wanted, strict=True))
        ]
        tracked = " or ".join(f"{v}.requires_grad" for v, w in zip(names, wanted, strict=True) if w)
        # Only the lines up to y run where nothing is recorded.
        value = next((k for k, line in enumerate(body, start=1) if line.startswith(f"{y} = ")), 0)
        steps = [
            *loads,
            *body[:value],
            f"if state.paused or not ({tracked}):",
            f"    {fallback}",
            *body[value:],
            "n = new(Value)",
            f"n.data = {y}",
            "n.grad = n.name = None",
            "n.op = op",
            "n.requires_grad = True",
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
    source = "\n".join(lines) + "\n"
    file = f"<tinygrad_notes recorder of {op.name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), used)
    function: Callable[..., Any] = used[f"record_{op.name}"]  # type: ignore[assignment]  # exec put it there
    function.source = source  # type: ignore[attr-defined]  # generated code is kept readable
    return function


# --- operators --------------------------------------------------------------------------------------------------------


def _reversed(fast: Callable[..., Any]) -> Callable[[Value, Any], Any]:
    def method(self: Value, other: Any) -> Any:
        return fast(other, self)

    return method


for _name, _op in {
    "add": ops.add,
    "sub": ops.subtract,
    "mul": ops.multiply,
    "truediv": ops.divide,
    "pow": ops.pow,
}.items():
    setattr(Value, f"__{_name}__", recorder(_op))
    setattr(Value, f"__r{_name}__", _reversed(recorder(_op)))
for _name, _op in {"neg": ops.negative, "abs": ops.abs}.items():
    setattr(Value, f"__{_name}__", recorder(_op))


def _comparison(compare: Callable[[Any, Any], Any]) -> Callable[[Value, Any], Any]:
    def method(self: Value, other: Any) -> Any:
        return compare(self.data, other.data if isinstance(other, Value) else other)

    return method


for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Value, f"__{_name}__", _comparison(getattr(operator, _name)))
