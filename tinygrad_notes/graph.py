"""The graph: `Node`, its topological order, the backward pass, and `no_grad`."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from . import mutation, ops
from .numpy_protocol import NumPyProtocol
from .ops import NODE_KINDS, Op
from .ops.namespaces import is_number
from .origin import Origin


class Node(NumPyProtocol):
    """A value and how it came about: the op, its arguments and its parameters. A leaf has no op.

    Attributes:
        data: the value (a float for `Value`, an array for `Tensor`).
        grad: ∂root/∂self of the backward passes: summed over the calls for a leaf, of the last call for the others;
            `None` until computed.
        op: the row of the op table that made it, `None` for a leaf.
        name: what to call it in pictures, derivations and errors.
        requires_grad: whether gradients flow to it.
        origin: the call and the line that it came from, where that is known; mostly unset: see `origin_of`.
    """

    __slots__ = ("data", "grad", "origin")

    rank: ClassVar[int] = 0
    """An op on nodes of several kinds is recorded by the kind of highest rank."""
    array_kind: ClassVar[type[Node]]
    """The kind that holds arrays, for ops that a scalar node cannot record."""

    data: Any
    grad: Any
    name: str | None
    requires_grad: bool
    origin: Origin

    if TYPE_CHECKING:  # the kinds make their operators from the rows, at the end of value.py and tensor.py

        def __add__(self, other: Any, /) -> Any: ...
        def __radd__(self, other: Any, /) -> Any: ...
        def __sub__(self, other: Any, /) -> Any: ...
        def __rsub__(self, other: Any, /) -> Any: ...
        def __mul__(self, other: Any, /) -> Any: ...
        def __rmul__(self, other: Any, /) -> Any: ...
        def __truediv__(self, other: Any, /) -> Any: ...
        def __rtruediv__(self, other: Any, /) -> Any: ...
        def __pow__(self, other: Any, /) -> Any: ...
        def __rpow__(self, other: Any, /) -> Any: ...
        def __lt__(self, other: Any, /) -> Any: ...
        def __le__(self, other: Any, /) -> Any: ...
        def __gt__(self, other: Any, /) -> Any: ...
        def __ge__(self, other: Any, /) -> Any: ...
        def __neg__(self) -> Any: ...
        def __abs__(self) -> Any: ...

    def __init_subclass__(cls) -> None:
        NODE_KINDS[cls] = cls

    @property
    def op(self) -> Op | None:
        """The row of the op table that made it, `None` for a leaf."""
        raise NotImplementedError

    @property
    def parents(self) -> tuple[Any, ...]:
        """The arguments of the op, in order; one that is no node is a constant and stands here as itself."""
        raise NotImplementedError

    @property
    def params(self) -> dict[str, Any]:
        """The op's parameters (`axis`, `shape`, …)."""
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the data."""
        raise NotImplementedError

    @classmethod
    def record(cls, op: Op, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Compute `op` on the arguments and return the node that remembers it."""
        raise NotImplementedError

    def pull(self, g: Any, wanted: Sequence[bool] | None) -> Sequence[Any]:
        """The contribution of this node's cotangent `g` to each wanted argument's, as plain data.

        For `wanted=None` these are the arguments that require a gradient.
        """
        raise NotImplementedError

    @classmethod
    def pullback_of(cls, op: Op) -> Callable[..., None]:
        """The function that takes the backward pass over a node of this kind and op.

        It is given the node, its cotangent, the cotangents in flight by node, to which it adds what each argument is
        owed, and the set of nodes on the way to a target (`None`: all that require a gradient).
        """
        return _pull_back

    def push(self, tangents: Sequence[Any], create_graph: bool) -> Any:
        """The tangent of this node, given those of its arguments (`None` for zero)."""
        raise NotImplementedError

    def seed(self) -> Any:
        """The cotangent 1 in the form of this node's data.

        Raises:
            ValueError: the node is no scalar.
        """
        raise NotImplementedError

    def own(self, g: Any, shared: bool) -> Any:
        """The gradient as this node keeps it; `shared` says that other nodes hold the same memory."""
        return g

    def _now(self) -> Any:
        """The data for Python to read; while a function is traced, what stands for it, which refuses to be read."""
        instead = instead_of_recording()
        return self.data if instead is None else instead(ops.identity, (self,), {})

    def named(self, name: str) -> Self:
        """Name this node; returns it."""
        self.name = name  # type: ignore[misc]  # a slot of Tensor, a property of Value
        return self

    def zero_grad(self) -> None:
        """Forget the gradient: back to `None`, "not computed yet"."""
        self.grad = None

    def detach(self) -> Self:
        """A leaf with the same data, through which no gradient flows."""
        return type(self)(self.data, name=self.name, requires_grad=False)  # type: ignore[call-arg]  # both kinds take these

    def backward(self, cotangent: Any = None, *, create_graph: bool = False) -> None:
        """Fill `.grad` of every node that this one was computed from.

        Args:
            cotangent: ∂L/∂self, in the shape of the data; 1 for a scalar if it is not given.
            create_graph: record the backward pass too, so that gradients are nodes and can be differentiated.

        Raises:
            ValueError: the node is no scalar and no cotangent is given, or its shape is wrong.
            RuntimeError: nothing that it was computed from requires a gradient.
        """
        if not self.requires_grad:
            raise RuntimeError(
                f"backward: {ops.describe(self)} does not depend on anything that requires a gradient; "
                "make a parameter with requires_grad=True, and compute outside no_grad()."
            )
        g = self.seed() if cotangent is None else self.as_cotangent(cotangent)
        if is_node(g) and not create_graph:
            g = g.data
        found = cotangents([(self, g)], create_graph=create_graph)
        for node, g in found:
            if node.op is None:
                # Three know an array that nobody else holds: `found`, `g` and the call that counts.
                own = node.own(g, shared=sys.getrefcount(g) > 3)
                node.grad = own if node.grad is None else node.grad + own
            else:  # an intermediate array may be shared
                node.grad = g if node.rank > 1 else node.own(g, shared=True)

    def as_cotangent(self, g: Any) -> Any:
        """A cotangent from the user, checked against this node's shape.

        Raises:
            ValueError: the shape differs.
            TypeError: it is no number, array or node.
        """
        if not (is_node(g) or is_number(g) or hasattr(g, "shape")):
            raise TypeError(f"backward: got {ops.describe(g)} as the cotangent; expected a number or an array.")
        if tuple(ops.shape_of(g)) != self.shape:
            raise ValueError(
                f"backward: the cotangent has shape {tuple(ops.shape_of(g))}; expected {self.shape}, "
                f"as {ops.describe(self)}."
            )
        return g


def _add_method(op: Op) -> None:
    def method(self: Node, *args: Any, **params: Any) -> Any:
        return op(self, *args, **params)

    method.__name__, method.__doc__ = op.name, op.__doc__
    if op.method and not hasattr(Node, op.name):
        setattr(Node, op.name, method)


# No __getattr__ that finds the row when it is asked for: a class that has one reads every attribute ten times slower.
ops.for_each_row(_add_method)


def is_node(x: Any) -> bool:
    """Whether x is a node of any kind."""
    return type(x) in NODE_KINDS


def topological_order(*roots: Node) -> list[Node]:
    """Every node that the roots were computed from, each after its parents. Iterative: a long chain works."""
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[Node | None] = list(reversed(roots))
    pop, push = stack.pop, stack.append
    while stack:
        node = pop()
        if node is None:  # the marker above a node whose parents are all in the order
            order.append(pop())  # type: ignore[arg-type]  # below a marker lies its node
        elif node not in seen:
            seen.add(node)
            if node.op is None:
                order.append(node)
            else:
                push(node)
                push(None)
                for p in node.parents:
                    if type(p) in NODE_KINDS and p not in seen:
                        push(p)
    return order


def cotangents(
    seeds: Sequence[tuple[Node, Any]], targets: Iterable[Node] | None = None, *, create_graph: bool = False
) -> list[tuple[Node, Any]]:
    """The backward pass: every node with its cotangent Σ (∂seed node/∂node)ᵀ · seed, the seeds' nodes first.

    Args:
        seeds: nodes with the cotangents to start from.
        targets: only paths to these are followed, and not beyond them; all that require a gradient if it is not given.
        create_graph: record the pass, so that the cotangents are nodes.
    """
    order = topological_order(*(node for node, _ in seeds))
    watchers = _thread.watchers if state.paused else ()
    if mutation.is_due(len(order)) or watchers:
        mutation.check(order)
    active: set[Any] | None = None
    ends: frozenset[Any] = frozenset()
    if targets is not None:
        active = set(targets)
        ends = frozenset(active)
        for n in order:
            if n.op is not None and n.requires_grad and not active.isdisjoint(p for p in n.parents if is_node(p)):
                active.add(n)
    flight: dict[Node, Any] = {}
    for node, g in seeds:
        flight[node] = flight[node] + g if node in flight else g
    found = []
    with ops.namespace_of([order[-1].data], "backward").quiet(), recording(create_graph):
        for node in reversed(order):
            g = flight.pop(node, None)
            if g is None or (active is not None and node not in active):
                continue
            found.append((node, g))
            op = node.op
            if op is None or (ends and node in ends):
                continue
            if create_graph or watchers:
                _pull_back(node, g, flight, active, create_graph, watchers)
                continue
            pull_back = op.pullbacks.get(node.__class__)
            if pull_back is None:
                pull_back = op.pullbacks[node.__class__] = node.pullback_of(op)
            pull_back(node, g, flight, active)
    return found


def _pull_back(
    node: Node,
    g: Any,
    flight: dict[Node, Any],
    active: set[Any] | None,
    create_graph: bool = False,
    watchers: Sequence[Watcher] = (),
) -> None:
    """Take the backward pass over any node, as its row says; see `Node.pullback_of`."""
    assert node.op is not None
    parents = node.parents
    wanted = [is_node(p) and (p.requires_grad if active is None else p in active) for p in parents]
    if create_graph:
        contributions: Sequence[Any] = node.op.vjp(ops.nodes, g, node, parents, wanted, node.params)
    else:
        contributions = node.pull(g, wanted)
    for watcher in watchers:
        watcher.pulled(node, contributions)
    for p, c in zip(parents, contributions, strict=True):
        if c is not None:
            flight[p] = flight[p] + c if p in flight else c


# --- whether operations are recorded ----------------------------------------------------------------------------------


class Watcher:
    """Is shown what a thread records, within `watching(watcher)`."""

    def made(self, op: Op, args: Sequence[Any], node: Any) -> None:
        """`node` is the result of `op` on `args`; it may be one that is not recorded."""

    def pulled(self, node: Node, contributions: Sequence[Any]) -> None:
        """`contributions` is what a backward pass hands on from `node` to each of its arguments."""


class _State:
    """`paused` counts the blocks of all threads that stop, watch or replace recording; while it is 0, nobody asks."""

    __slots__ = ("paused",)

    def __init__(self) -> None:
        self.paused = 0


class _Thread(threading.local):
    off = False
    recorder: Callable[..., Any] | None = None
    watchers: tuple[Watcher, ...] = ()


state = _State()
_thread = _Thread()
_lock = threading.Lock()


def is_recording() -> bool:
    """Whether ops on nodes are recorded in this thread."""
    return not (state.paused and _thread.off)


def show(op: Op, args: Sequence[Any], node: Any) -> None:
    """Show a new node to those who watch in this thread."""
    for watcher in _thread.watchers:
        watcher.made(op, args, node)


@contextlib.contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Within the block, show every op of this thread to the watcher."""
    before = _thread.watchers
    with _lock:
        state.paused += 1
    _thread.watchers = (*before, watcher)
    try:
        yield
    finally:
        _thread.watchers = before
        with _lock:
            state.paused -= 1


@contextlib.contextmanager
def recording(on: bool) -> Iterator[None]:
    """Within the block, record operations (`on`) or compute only, in this thread."""
    before = _thread.off
    with _lock:
        state.paused += not on
    _thread.off = not on
    try:
        yield
    finally:
        _thread.off = before
        with _lock:
            state.paused -= not on


def instead_of_recording() -> Callable[..., Any] | None:
    """What takes the place of recording in this thread: a function of an op, its arguments and its parameters."""
    return _thread.recorder if state.paused else None


@contextlib.contextmanager
def recorded_by(function: Callable[..., Any]) -> Iterator[None]:
    """Within the block, ops on nodes are given to a function, in this thread."""
    before = _thread.recorder
    with _lock:
        state.paused += 1
    _thread.recorder = function
    try:
        yield
    finally:
        _thread.recorder = before
        with _lock:
            state.paused -= 1


def no_grad() -> contextlib.AbstractContextManager[None]:
    """`with no_grad():` computes without recording; results require no gradient. Also a decorator, `@no_grad()`."""
    return recording(False)
