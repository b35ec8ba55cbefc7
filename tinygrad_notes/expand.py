"""`expand`: a small tensor graph as the equivalent scalar graph, in which every multiplication is a node.

Each op is read once more, with arrays of `Value`s: an elementwise op is applied element by element, a structural one is
what NumPy does with objects that add and multiply.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from . import ops
from .graph import Node, is_node, topological_order
from .ops import NODE_KINDS, TABLE, Op
from .ops.namespaces import Namespace, is_number, shape_of
from .origin import Call, Origin, origin_of
from .value import Value

LIMIT = 20_000
"""A graph of more scalar ops is not expanded."""


def expand(root: Node, *, limit: int = LIMIT) -> Any:
    """The scalar graph that computes what a tensor graph computes, for pictures and derivations that show every weight.

    Args:
        root: a node; what it was computed from is expanded, too.
        limit: how many scalar ops the result may have.

    Returns:
        A `Value` for a scalar; for an array nested lists of `Value`s in its shape. Leaves are `Value`s too, named after
        their tensor and their place in it: w1_2_3 is row 2, column 3 of w1 (axes of size 1 are left out). Values and
        gradients are those of the tensor graph; gradients are computed when the result's `backward` is called.

    Raises:
        ValueError: the scalar graph would have more ops than the limit.
        TypeError: root is no node; the graph has an op that cannot be read element by element.

    Example:
        >>> import numpy as np, tinygrad_notes as tn
        >>> w = tn.Tensor([[1.0, -2.0]], name="w")
        >>> loss = expand(tn.sum((w @ np.array([[3.0], [4.0]])) ** 2))
        >>> loss.backward()
        >>> sorted((n.name, n.grad) for n in tn.topological_order(loss) if n.op is None)
        [('w1', -30.0), ('w2', -40.0)]
    """
    if not is_node(root):
        raise TypeError(f"expand: got {ops.describe(root)}; expected a Value or Tensor.")
    found = expanded([root], limit=limit)[root]
    return found.tolist() if found.shape else found.item()


def expanded(roots: Sequence[Node], *, limit: int = LIMIT) -> dict[Node, np.ndarray[Any, Any]]:
    """For every node of a graph its elements, an array of `Value`s (and of numbers where nothing is recorded)."""
    order = topological_order(*roots)
    size = sum(_cost(node) for node in order)
    if size > limit:
        raise ValueError(
            f"expand: the scalar graph would have about {size:,} ops; at most {limit:,} are expanded. Take fewer "
            f"examples or units, or give a larger limit: expand(loss, limit={size})."
        )
    found: dict[Node, np.ndarray[Any, Any]] = {}
    calls: dict[Call, Call] = {}
    for node in order:
        if node.op is None:
            found[node] = _leaves(node)
            continue
        args = [found[p] if is_node(p) else _array(p) for p in node.parents]
        try:
            elements = _array(_apply(node.op, args, node.params)).reshape(node.shape)
        except (TypeError, AttributeError, NotImplementedError) as error:
            raise TypeError(f"expand: {node.op.name} cannot be read element by element. ({error})") from error
        found[node] = _finished(node, elements, found, calls)
    return found


def element_name(name: str, place: Sequence[int]) -> str:
    """What to call an element: `w1` at (2, 0) is w1_3_1, `w` is w3_1; places count from 1."""
    for i in place:
        name += f"_{i + 1}" if name[-1].isdigit() else str(i + 1)
    return name


def _leaves(node: Node) -> np.ndarray[Any, Any]:
    data = np.asarray(node.data if not hasattr(node.data, "detach") else node.data.detach().cpu())
    found = np.empty(data.shape, object)
    for place in np.ndindex(data.shape):
        x = data[place].item()
        if isinstance(x, bool):
            found[place] = x
        else:
            found[place] = Value(x, name=_name(node, place), requires_grad=node.requires_grad)
    return found


def _name(node: Node, place: Sequence[int]) -> str | None:
    """The name of an element; axes of size 1 are left out."""
    kept = [i for i, n in zip(place, node.shape, strict=True) if n > 1]
    return element_name(node.name, kept) if node.name else None


def _finished(
    node: Node, elements: np.ndarray[Any, Any], found: dict[Node, np.ndarray[Any, Any]], calls: dict[Call, Call]
) -> np.ndarray[Any, Any]:
    """The elements with their names, and marked with the call that returned them."""
    origin = origin_of(node)
    mark = Origin(_call(origin.call, found, calls), origin.line) if origin is not None and origin.call else None
    if not node.requires_grad and node.op is not None and not node.op.differentiable:
        elements = _each(_detached)(elements)
    for place in np.ndindex(elements.shape):
        x = elements[place]
        if isinstance(x, Value) and x.op is not None:
            if node.name and x.name is None:
                x.name = _name(node, place)
            if mark is not None and origin_of(x) is None:
                x.origin = mark
    return elements


def _call(call: Call, found: dict[Node, np.ndarray[Any, Any]], calls: dict[Call, Call]) -> Call:
    """The same call, given the elements of what it was given."""
    if call not in calls:
        given = tuple(found[n].ravel().tolist() for n in call.inputs if n in found)
        outer = _call(call.outer, found, calls) if call.outer is not None else None
        calls[call] = call.like(given, outer)
    return calls[call]


def _detached(x: Any) -> Any:
    return Value(x.data, requires_grad=False) if isinstance(x, Value) and x.requires_grad else x


def _cost(node: Node) -> int:
    """About how many scalar ops a node becomes."""
    if node.op is None:
        return 0
    size = math.prod(node.shape)
    if node.op.name == "matmul":
        return 2 * size * int(shape_of(node.parents[0])[-1])
    if node.op.name == "einsum":
        return size + math.prod(math.prod(shape_of(p)) for p in node.parents)
    return max([size, *(math.prod(shape_of(p)) for p in node.parents)])


# --- the reading ------------------------------------------------------------------------------------------------------


def _array(x: Any) -> np.ndarray[Any, Any]:
    """An array of objects; numbers stay numbers."""
    if isinstance(x, np.ndarray) and x.dtype == object:
        return x
    if is_node(x) or is_number(x):
        found = np.empty((), object)
        found[()] = x
        return found
    return np.asarray(x.tolist() if hasattr(x, "tolist") else x, dtype=object).reshape(np.shape(x))


def _each(function: Any) -> Any:
    """A function of numbers and Values on arrays of them."""

    def call(*args: Any, **params: Any) -> Any:
        arrays = np.broadcast_arrays(*map(_array, args))
        found = np.empty(arrays[0].shape, object)
        for place in np.ndindex(found.shape):
            found[place] = function(*(a[place] for a in arrays), **params)
        return found

    return call


def _scalar(op: Op) -> Any:
    def apply(*args: Any, **params: Any) -> Any:
        if not op.differentiable:
            args = tuple(a.data if is_node(a) else a for a in args)
            return op.on_floats(args, params)
        if any(type(a) in NODE_KINDS for a in args):
            return op(*args, **params)
        return op.on_floats(args, params)

    return apply


def _apply(op: Op, args: list[Any], params: dict[str, Any]) -> Any:
    if op.elementwise:
        return _each(_scalar(op))(*args, **params)
    function = getattr(_READING, op.name)
    return function(args, **params) if op.arity < 0 else function(*args, **params)


class _Reading(Namespace):
    """The `xp` of arrays of Values."""

    def __init__(self) -> None:
        super().__init__(np)

    def __getattr__(self, name: str) -> Any:
        op = TABLE.get(name)
        if op is not None and op.elementwise:
            return _each(_scalar(op))
        return super().__getattr__(name)

    def sum(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        """Σ, from left to right."""
        return _folded(operator.add, x, axis, keepdims, 0.0)

    def prod(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        """Π, from left to right."""
        return _folded(operator.mul, x, axis, keepdims, 1.0)

    def mean(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        """The mean."""
        total = _array(self.sum(x, axis=axis, keepdims=keepdims))
        count = x.size // max(total.size, 1)
        return total if count == 1 else total / count

    def max(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        """The largest; elements that tie share its gradient evenly, as in the row."""
        return _extreme(x, axis, keepdims, 1)

    def min(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        """The smallest."""
        return _extreme(x, axis, keepdims, -1)

    def argmax(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        """The place of the largest."""
        return np.argmax(_numbers(x), axis=axis, keepdims=keepdims)

    def isfinite(self, x: Any) -> Any:
        """Where a number is finite."""
        return np.isfinite(_numbers(x))

    def matmul(self, a: Any, b: Any) -> Any:
        """The product of matrices."""
        return a @ b

    def scatter(self, x: Any, *, index: Any = (), shape: tuple[int, ...] = ()) -> Any:
        """Zeros with x added at an index."""
        places = np.arange(math.prod(shape)).reshape(shape)[index]
        added: dict[int, Any] = {}
        for place, value in zip(np.ravel(places), np.broadcast_to(_array(x), np.shape(places)).flat, strict=True):
            added[place] = added[place] + value if place in added else value
        found = np.full(math.prod(shape), 0.0, object)
        for place, value in added.items():
            found[place] = value
        return found.reshape(shape)

    def cumulative_sum(self, x: Any, *, axis: Any = None) -> Any:
        """Running sums."""
        return np.add.accumulate(x, axis=0 if axis is None else axis)

    def astype(self, x: Any, *, dtype: Any = None) -> Any:
        """The same: a Value is a float64."""
        return x

    def asarray(self, x: Any, **options: Any) -> Any:
        """An array of Values and numbers."""
        return _array(x)

    def ones_like(self, x: Any) -> Any:
        """Ones."""
        return _array(np.ones(np.shape(x)))

    def norm(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        """The Euclidean norm; at 0 its gradient is 0, as in the row."""
        return self.sqrt_or_zero(self.sum(x * x, axis=axis, keepdims=keepdims))

    def std(self, x: Any, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
        """The standard deviation; at 0 its gradient is 0, as in the row."""
        return self.sqrt_or_zero(self.var(x, axis=axis, correction=correction, keepdims=keepdims))

    @staticmethod
    def sqrt_or_zero(x: Any) -> Any:
        """√x, and a constant where x is 0."""
        return _each(lambda e: 0.0 * e if (e.data if is_node(e) else e) == 0 else ops.sqrt(e))(x)


def _numbers(x: Any) -> np.ndarray[Any, Any]:
    found = np.empty(np.shape(x))
    for place in np.ndindex(found.shape):
        e = x[place]
        found[place] = e.data if is_node(e) else e
    return found


def _rows(x: Any, axis: Any, keepdims: bool) -> tuple[Any, tuple[int, ...]]:
    """x with the axes that go last and flattened, and the shape of the result."""
    x = _array(x)
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    gone = tuple(a % x.ndim for a in axes) if x.ndim else ()
    kept = tuple(i for i in range(x.ndim) if i not in gone)
    count = math.prod(x.shape[i] for i in gone)
    rows = np.transpose(x, (*kept, *gone)).reshape(*(x.shape[i] for i in kept), count)
    shape = tuple(1 if i in gone else n for i, n in enumerate(x.shape)) if keepdims else rows.shape[:-1]
    return rows, shape


def _folded(function: Any, x: Any, axis: Any, keepdims: bool, empty: float) -> Any:
    rows, shape = _rows(x, axis, keepdims)
    found = np.empty(rows.shape[:-1], object)
    for place in np.ndindex(found.shape):
        row = rows[place]
        found[place] = reduce(function, row) if len(row) else empty
    return found.reshape(shape)


def _extreme(x: Any, axis: Any, keepdims: bool, side: int) -> Any:
    rows, shape = _rows(x, axis, keepdims)
    found = np.empty(rows.shape[:-1], object)
    for place in np.ndindex(found.shape):
        numbers = side * _numbers(rows[place])
        ties = [e for e, n in zip(rows[place], numbers, strict=True) if n == numbers.max()]
        if not ties:  # NaN, which is equal to nothing
            ties = list(rows[place])
        found[place] = ties[0] if len(ties) == 1 else reduce(operator.add, ties) / len(ties)
    return found.reshape(shape)


_READING = _Reading()
