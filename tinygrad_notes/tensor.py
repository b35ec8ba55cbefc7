"""`Tensor`: a node on an array, of NumPy or of any library with the Array API (PyTorch, JAX)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from . import ops
from .graph import Node, cotangents, instead_of_recording, is_node, is_recording, recording, show, state
from .numpy_protocol import on_booleans
from .ops import NODE_KINDS, Op, namespace_of
from .ops.arithmetic import BINARY, COMPARISONS, UNARY
from .ops.array_code import write_pullback, write_recorder
from .ops.namespaces import dtype_name, holds_nodes, is_number, numpy_reading


class Tensor(Node):
    """An array that remembers how it was computed.

    Args:
        data: a number, a (nested) list, or an array. Numbers and lists of numbers become float64; an array keeps its
            dtype and its library and is not copied. It is never written to.
        name: what to call it.
        requires_grad: whether gradients flow to it; by default for floating-point data.

    Raises:
        TypeError: strings, objects, complex numbers, or a gradient asked of integers.
        ValueError: a ragged list.

    Example:
        >>> w = Tensor([[1.0, 2.0]], name="w")
        >>> (w @ np.array([[3.0], [4.0]])).backward(np.ones((1, 1)))
        >>> w.grad
        array([[3., 4.]])
    """

    __slots__ = ("__weakref__", "name", "op", "params", "parents", "requires_grad")

    rank = 2

    op: Op | None  # slots in place of the properties of Node
    parents: tuple[Any, ...]
    params: dict[str, Any]

    def __init__(self, data: Any, *, name: str | None = None, requires_grad: bool | None = None) -> None:
        self.data, floating = _as_data(data)
        if requires_grad and not floating:
            raise TypeError(
                f"Tensor: requires_grad=True with data of {self.data.dtype}; expected floating-point numbers. "
                "Convert first: x.astype(float)."
            )
        self.grad = None
        self.op = None
        self.name = name
        self.requires_grad = floating if requires_grad is None else requires_grad
        self.parents = ()
        self.params = {}

    @classmethod
    def record(cls, op: Op, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Apply an op to nodes, arrays and numbers."""
        if state.paused and (instead := instead_of_recording()) is not None:
            return instead(op, args, params)
        if 0 < op.arity <= 2:
            recorder(op)  # for the next call
        tracked = requires = False
        data = []
        for a in args:
            if type(a) in NODE_KINDS:
                data.append(a.data)
                if a.requires_grad:
                    tracked = requires = True
                elif a.op is not None:
                    tracked = True
            else:
                data.append(a)
        y, xp = op.on_arrays(data, params, args)
        if xp is numpy_reading and y.dtype.kind not in "fiub":
            raise op.complaint(TypeError(f"the result would be of {y.dtype}"), args, params)
        node = cls.__new__(cls)
        node.data = y
        node.grad = node.name = None
        if tracked and is_recording():
            node.op, node.parents, node.params = op, tuple(args), params
            node.requires_grad = requires and op.differentiable
        else:
            node.op, node.parents, node.params = None, (), {}
            node.requires_grad = False
        if state.paused:
            show(op, args, node)
        return node

    def pull(self, g: Any, wanted: Sequence[bool] | None) -> Sequence[Any]:
        """The vjp as the row says it, whatever the op and the array library."""
        op = self.op
        assert op is not None
        args = [p.data if is_node(p) else p for p in self.parents]
        if wanted is None:
            wanted = [is_node(p) and p.requires_grad for p in self.parents]
        return op.vjp(namespace_of([self.data], op.name), g, self.data, args, wanted, self.params)

    @classmethod
    def pullback_of(cls, op: Op) -> Callable[..., None]:
        """Straight-line code from the row, for NumPy's arrays; see `Node.pullback_of`."""
        return write_pullback(op, cls, super().pullback_of(op))

    def push(self, tangents: Sequence[Any], create_graph: bool) -> Any:
        """The jvp of the op: by its partials, or for a structural op by transposing its vjp, which is linear in g."""
        assert self.op is not None
        if self.op.elementwise:
            if create_graph:
                return self.op.jvp(ops.nodes, tangents, self, self.parents, self.params)
            args = [p.data if is_node(p) else p for p in self.parents]
            return self.op.jvp(namespace_of([self.data], self.op.name), tangents, self.data, args, self.params)
        y, parents = self, self.parents
        if not create_graph:  # cut from their history, which the pass below need not walk
            y, parents = self.detach(), tuple(p.detach() if is_node(p) else p for p in self.parents)
        with recording(True):
            u = Tensor(namespace_of([self.data], "jvp").zeros_like(self.data), requires_grad=True)
            wanted = [t is not None for t in tangents]
            pulled = self.op.vjp(ops.nodes, u, y, parents, wanted, self.params)
        seeds = [
            (c, t if is_node(t) else c.as_cotangent(t))
            for c, t in zip(pulled, tangents, strict=True)
            if t is not None and is_node(c) and c.requires_grad
        ]
        found = cotangents(seeds, [u], create_graph=create_graph) if seeds else []
        return next((g for node, g in found if node is u), None)

    def seed(self) -> Any:
        """1, if this is a scalar."""
        if self.size != 1:
            raise ValueError(
                f"backward: {ops.describe(self)} has {self.size} elements; expected a scalar. Reduce it first "
                "(tn.sum, tn.mean), or give the cotangent: backward(g) with g in its shape."
            )
        return namespace_of([self.data], "backward").ones_like(self.data)

    def own(self, g: Any, shared: bool) -> Any:
        """A leaf's gradient in memory of its own, so that changing it in place changes nothing else."""
        if is_node(g):
            return g
        if isinstance(g, np.ndarray) and not shared and g.base is None and g.flags.writeable:
            return g
        return namespace_of([g], "backward").asarray(g, copy=True)

    def as_cotangent(self, g: Any) -> Any:
        """A cotangent from the user, as an array of this tensor's dtype; a number for a tensor of one element."""
        if not is_node(g):
            if isinstance(g, (list, tuple)) or is_number(g):
                g = namespace_of([self.data], "backward").asarray(g, dtype=self.data.dtype)
            elif isinstance(g, np.ndarray) and isinstance(self.data, np.ndarray):
                g = g.astype(self.data.dtype)
        return super().as_cotangent(g)

    # --- what it is -------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the data."""
        return tuple(self.data.shape)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.data.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.data.shape)

    @property
    def dtype(self) -> Any:
        """The dtype of the data."""
        return self.data.dtype

    @property
    def T(self) -> Any:  # noqa: N802  # NumPy's name
        """The axes reversed: the transpose of a matrix."""
        return recorder(ops.permute_dims)(self, {"axes": None})

    @property
    def mT(self) -> Any:  # noqa: N802  # NumPy's name
        """The last two axes swapped."""
        return ops.matrix_transpose(self)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len: a Tensor without axes has no length.")
        return int(self.data.shape[0])

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def item(self) -> Any:
        """The only element, as a Python number.

        Raises:
            ValueError: there are more, or none.
        """
        if self.size != 1:
            raise ValueError(f"item: {ops.describe(self)} has {self.size} elements; expected one.")
        return self._now().item()

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        return self._now().tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        index = self.item()
        if not isinstance(index, int):
            raise TypeError(f"index: got {index!r}; expected an integer.")
        return index

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"bool: the truth of {ops.describe(self)} is ambiguous: it has {self.size} elements. "
                "Compare its data, or use tn.where to choose element by element."
            )
        return bool(self.item())

    def __repr__(self) -> str:
        text = np.array2string(self.data, prefix="Tensor(", separator=", ") if _is_numpy(self.data) else repr(self.data)
        notes = [f"name={self.name!r}"] if self.name else []
        if dtype_name(self) != "float64":
            notes.append(f"dtype={self.dtype}")
        return f"Tensor({', '.join([text, *notes])})"

    # --- operators --------------------------------------------------------------------------------------------------

    __hash__ = object.__hash__  # a node is itself; == compares element by element

    def __getitem__(self, index: Any) -> Any:
        return recorder(ops.getitem)(self, {"index": index if type(index) is int else _plain_index(index)})

    def __setitem__(self, index: Any, item: Any) -> None:
        raise TypeError(
            "A Tensor cannot be changed in place: the graph remembers it. Build a new one with tn.where, tn.concat or "
            "tn.stack; to set a parameter, assign its .data."
        )

    def __pos__(self) -> Tensor:
        return self

    def __invert__(self) -> Any:
        return on_booleans(ops.logical_not, self)

    # --- the functions of NumPy that are compositions of rows ---------------------------------------------------------

    def reshape(self, *shape: Any) -> Any:
        """The same elements in another shape, given as a tuple or as arguments; one size may be -1."""
        given = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        return recorder(ops.reshape)(self, {"shape": given})

    def transpose(self, *axes: Any) -> Any:
        """The axes in another order, given as a tuple or as arguments; reversed if none is given."""
        given = axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list, type(None))) else axes or None
        return ops.permute_dims(self, axes=given)

    def flatten(self) -> Any:
        """All elements in one axis."""
        return ops.reshape(self, shape=(-1,))

    def astype(self, dtype: Any) -> Any:
        """The elements in another floating-point dtype; the gradient comes back in this one."""
        return ops.astype(self, dtype=np.dtype(dtype) if _is_numpy(self.data) else dtype)


Node.array_kind = Tensor


# --- operators --------------------------------------------------------------------------------------------------------


def recorder(op: Op) -> Callable[..., Any]:
    """The function that records `op`, of one or two arguments, on NumPy's arrays; generated from the row on first use.

    What is not plain it leaves to `op.apply`. `.source` is its text.
    """
    found = op.recorders.get(Tensor)
    if found is None:
        found = op.recorders[Tensor] = write_recorder(op, Tensor, state)
    return found


def _operator(dunder: str, op: Op) -> Callable[..., Any]:
    def first(*args: Any) -> Any:  # replaces itself by the recorder
        setattr(Tensor, dunder, recorder(op))
        return recorder(op)(*args)

    return first


def _reversed(op: Op) -> Callable[..., Any]:
    def method(self: Tensor, other: Any) -> Any:
        return recorder(op)(other, self)

    return method


_BINARY = {**BINARY, "matmul": ops.matmul}
for _name, _op in {**_BINARY, **UNARY, **COMPARISONS}.items():
    setattr(Tensor, f"__{_name}__", _operator(f"__{_name}__", _op))


def _add_method(op: Op) -> None:
    """An elementwise row is a method at the speed of an operator."""
    if op.method and op.elementwise and op.arity <= 2 and not op.defaults:
        setattr(Tensor, op.name, _operator(op.name, op))


ops.for_each_row(_add_method)
for _name, _op in _BINARY.items():
    setattr(Tensor, f"__r{_name}__", _reversed(_op))


def _on_booleans(op: Op) -> tuple[Callable[..., Any], Callable[..., Any]]:
    return lambda self, other: on_booleans(op, self, other), lambda self, other: on_booleans(op, other, self)


for _name, _op in {"and": ops.logical_and, "or": ops.logical_or}.items():
    for _dunder, _method in zip((f"__{_name}__", f"__r{_name}__"), _on_booleans(_op), strict=True):
        setattr(Tensor, _dunder, _method)


def _is_numpy(data: Any) -> bool:
    return isinstance(data, (np.ndarray, np.generic))


def _plain_index(index: Any) -> Any:
    """An index without nodes: their data stands for them."""
    if isinstance(index, tuple):
        return tuple(_plain_index(i) for i in index)
    if is_node(index):
        return index.data
    if isinstance(index, list):
        positions = np.asarray(index)
        return positions if positions.size else positions.astype(int)  # NumPy's empty list is of floats
    return index


def _as_data(data: Any) -> tuple[Any, bool]:
    """The array that a Tensor holds, and whether it is floating-point."""
    if is_node(data):
        if data.requires_grad:
            raise TypeError(f"Tensor: got {ops.describe(data)}, whose graph would be lost; use it or its .data.")
        data = data.data
    elif isinstance(data, (list, tuple)):
        if holds_nodes(data):
            raise TypeError("Tensor: got a list with nodes in it, whose graph would be lost; use tn.stack.")
        try:
            data = np.asarray(data)
        except ValueError as error:
            raise ValueError(f"Tensor: got a ragged list; expected rows of equal length. ({error})") from error
        if data.dtype.kind in "iu":
            data = data.astype(float)
    if is_number(data) and not isinstance(data, np.generic):
        data = np.asarray(data, dtype=float)
    if _is_numpy(data):
        if isinstance(data, np.ma.MaskedArray):
            raise TypeError("Tensor: got a masked array, whose mask would be lost; fill it first, or use tn.where.")
        if data.dtype.kind not in "fiub":
            raise TypeError(f"Tensor: got data of {data.dtype}; expected real numbers. Convert or encode it first.")
        return np.asarray(data), data.dtype.kind == "f"
    xp = namespace_of([data], "Tensor")
    if xp.isdtype(data.dtype, "complex floating"):
        raise TypeError(f"Tensor: got data of {data.dtype}; expected real numbers.")
    return data, xp.isdtype(data.dtype, "real floating")
