"""Function transforms: `grad`, `value_and_grad`, `vjp`, `jvp`, `jacobian`, `hessian`, `hvp`.

Arguments are numbers, arrays, or nested lists, tuples and dicts of them. A Python float enters the function as a
`Value`, an array as a `Tensor`; plain numbers and arrays come back. A transform inside another, or one that is given
nodes, returns nodes, so transforms nest.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from . import ops
from .graph import Node, cotangents, instead_of_recording, is_node, recording, topological_order
from .ops.namespaces import is_number, is_symbol
from .tensor import Tensor
from .value import Value

Function = Callable[..., Any]
Argnums = int | tuple[int, ...]

# --- trees: nested lists, tuples and dicts ----------------------------------------------------------------------------


def tree_leaves(tree: Any) -> list[Any]:
    """The leaves of nested lists, tuples and dicts, in order."""
    if isinstance(tree, dict):
        return [leaf for item in tree.values() for leaf in tree_leaves(item)]
    if isinstance(tree, (list, tuple)):
        return [leaf for item in tree for leaf in tree_leaves(item)]
    return [] if tree is None else [tree]


def tree_build(tree: Any, leaves: Iterator[Any]) -> Any:
    """A tree of the same structure with other leaves."""
    if isinstance(tree, dict):
        return {key: tree_build(item, leaves) for key, item in tree.items()}
    if isinstance(tree, (list, tuple)):
        items = [tree_build(item, leaves) for item in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    return None if tree is None else next(leaves)


def tree_match(like: Any, tree: Any, what: str) -> list[Any]:
    """What `tree` has in place of each leaf of `like`, in the order of those; dicts are matched by key.

    Raises:
        ValueError: the structures differ; the message calls the tree `what`.
    """
    if isinstance(like, dict):
        if not isinstance(tree, dict) or tree.keys() != like.keys():
            found = f"the keys {list(tree)}" if isinstance(tree, dict) else ops.describe(tree)
            raise ValueError(f"{what}: got {found}; expected the keys {list(like)}.")
        return [leaf for key in like for leaf in tree_match(like[key], tree[key], what)]
    if isinstance(like, (list, tuple)):
        if not isinstance(tree, (list, tuple)) or len(tree) != len(like):
            found = f"{len(tree)} items" if isinstance(tree, (list, tuple)) else ops.describe(tree)
            raise ValueError(f"{what}: got {found}; expected {len(like)} items.")
        return [leaf for pair in zip(like, tree, strict=True) for leaf in tree_match(*pair, what)]
    return [] if like is None else [tree]


def tree_map(f: Function, tree: Any, *others: Any) -> Any:
    """f over the leaves of trees of one structure."""
    return tree_build(tree, map(f, tree_leaves(tree), *(tree_match(tree, other, "tree_map") for other in others)))


# --- entering and leaving a transform ---------------------------------------------------------------------------------


class _Depth(threading.local):
    now = 0


_depth = _Depth()
_runs = itertools.count()


class _Run:
    """One call of a function on fresh nodes: what went in, what came out, and whether nodes go back to the caller."""

    def __init__(self, transform: str, f: Function, args: Sequence[Any], argnums: Argnums) -> None:
        self.transform, self.f = transform, f
        self.entered: dict[int, int] = {}  # of traced arguments: how often each was met
        self.numbers: dict[int, int] = {}
        self.single = isinstance(argnums, int)
        numbers = (argnums,) if isinstance(argnums, int) else argnums
        for n in numbers:
            if not -len(args) <= n < len(args):
                raise ValueError(f"{transform}: argnums={argnums}, but {_name(f)} was given {len(args)} argument(s).")
        numbers = tuple(n % len(args) for n in numbers)
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"{transform}: argnums={argnums} names an argument twice; expected each once.")
        self.trees = [args[n] for n in numbers]
        given = [leaf for tree in self.trees for leaf in tree_leaves(tree)]
        self.nested = _depth.now > 0 or any(map(is_node, given))
        with recording(True):
            self.inputs = [self._enter(leaf) for leaf in given]
        self.nested = self.nested or any(map(is_symbol, self.inputs))
        fresh = iter(self.inputs)
        entered = {n: tree_build(args[n], fresh) for n in numbers}
        _depth.now += 1
        try:
            with recording(True):
                self.output = f(*(entered.get(i, a) for i, a in enumerate(args)))
        finally:
            _depth.now -= 1

    def _enter(self, leaf: Any) -> Node:
        if not is_symbol(leaf) and (instead := instead_of_recording()) is not None:
            leaf = instead(ops.identity, (leaf,), {})  # a constant, or something captured, in a function that is traced
        if is_symbol(leaf):
            # An argument that is given twice is two to differentiate by.
            times = self.entered[leaf.index] = self.entered.get(leaf.index, -1) + 1
            node: Node = leaf.enter(self.numbers.setdefault(times, next(_runs)))
            return node
        if is_node(leaf):
            if leaf.requires_grad:
                node = ops.identity(leaf)
                return node
            return type(leaf)(leaf.data, name=leaf.name, requires_grad=True)  # type: ignore[no-any-return]  # a kind of Node
        if is_number(leaf) and not isinstance(leaf, np.generic):
            return Value(leaf)
        try:
            return Tensor(leaf, requires_grad=True)
        except TypeError as error:
            raise TypeError(f"{self.transform} of {_name(self.f)}: {error}") from error

    def scalar(self) -> Any:
        """The output, if it is one number.

        Raises:
            TypeError: it is not a number.
            ValueError: it has several elements.
        """
        y = self.output
        if isinstance(y, (dict, list, tuple)) or not (is_node(y) or is_number(y) or hasattr(y, "dtype")):
            raise TypeError(f"{self.transform}: {_name(self.f)} returned {ops.describe(y)}; expected a scalar.")
        if math.prod(ops.shape_of(y)) != 1:
            raise ValueError(
                f"{self.transform}: {_name(self.f)} returned {ops.describe(y)}; expected a scalar. "
                "Reduce it with tn.sum or tn.mean, or use tn.jacobian."
            )
        return y

    def pull(self, seeds: Sequence[tuple[Any, Any]]) -> list[Any]:
        """The cotangent of each input; zero for an input that the seeds' nodes do not depend on."""
        live = [(y, g) for y, g in seeds if is_node(y) and y.requires_grad]
        if self.inputs and is_symbol(self.inputs[0]):  # also where the result depends on no argument
            symbol: Any = self.inputs[0]
            pullback: Callable[..., list[Any]] = type(symbol).pullback
            return pullback(live, self.inputs)
        found = dict(cotangents(live, self.inputs, create_graph=self.nested)) if live else {}
        return [self._leave_gradient(x, found.get(x)) for x in self.inputs]

    def _leave_gradient(self, x: Node, g: Any) -> Any:
        if g is None:
            g = _zero(x, self.transform)
        if self.nested:
            return g
        return x.own(g, shared=True) if not is_node(g) else g.data

    def leave(self, tree: Any) -> Any:
        """Plain numbers and arrays for the outermost caller, nodes for an enclosing transform."""
        return tree if self.nested else tree_map(_plain, tree)

    def gradients(self, flat: Sequence[Any]) -> Any:
        """Gradients in the structure of the arguments; a bare one for a single argnum."""
        leaves = iter(flat)
        built = [tree_build(tree, leaves) for tree in self.trees]
        return built[0] if self.single else tuple(built)


def _zero(x: Any, transform: str) -> Any:
    """Zero in the form of a number, array or node."""
    data = x.data if is_node(x) else x
    return 0.0 if is_number(data) else ops.namespace_of([data], transform).zeros_like(data)


def _plain(x: Any) -> Any:
    if is_node(x):
        x = x.data
    return float(x) if isinstance(x, (np.ndarray, np.floating)) and x.shape == () else x


def _name(f: Function) -> str:
    return getattr(f, "__name__", repr(f))


# --- the transforms ---------------------------------------------------------------------------------------------------


def value_and_grad(f: Function, argnums: Argnums = 0) -> Function:
    """The function that computes f and its gradient in one pass.

    Args:
        f: a function whose result is a scalar.
        argnums: the argument(s) to differentiate by; a tuple gives a tuple of gradients.

    Returns:
        A function of f's arguments that returns `(f(…), gradient)`; the gradient has the structure of the argument.

    Raises (when called):
        TypeError: an argument holds integers arrays or no numbers; f returns no scalar.
        ValueError: f returns several elements; argnums is out of range.
    """

    @functools.wraps(f)
    def transformed(*args: Any) -> tuple[Any, Any]:
        run = _Run("value_and_grad", f, args, argnums)
        y = run.scalar()
        g = run.pull([(y, y.seed())] if is_node(y) else [])
        return run.leave(y), run.gradients(g)

    return transformed


def grad(f: Function, argnums: Argnums = 0) -> Function:
    """The gradient of a scalar function; see `value_and_grad`.

    Example:
        >>> grad(lambda x: x**3)(2.0)
        12.0
        >>> grad(grad(lambda x: x**3))(2.0)
        12.0
        >>> grad(lambda p: p["w"] * 2 + p["b"])({"w": 1.0, "b": 0.0})
        {'w': 2.0, 'b': 1.0}
    """
    both = value_and_grad(f, argnums)

    @functools.wraps(f)
    def transformed(*args: Any) -> Any:
        return both(*args)[1]

    return transformed


def vjp(f: Function, *args: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """f(*args) and the function that pulls a cotangent of the result back to one of each argument.

    Args:
        f: a function of numbers, arrays or trees; its result may be an array or a tree too.
        args: where to evaluate it.

    Returns:
        The result, and `pull(g)`, which gives a tuple with a cotangent for every argument; g has the structure of the
        result.

    Example:
        >>> y, pull = vjp(lambda a, b: a * b, 3.0, 4.0)
        >>> y, pull(1.0)
        (12.0, (4.0, 3.0))
    """
    run = _Run("vjp", f, args, tuple(range(len(args))))
    outputs = tree_leaves(run.output)

    def pull(g: Any) -> tuple[Any, ...]:
        given = tree_match(run.output, g, f"vjp: the cotangent of {_name(f)}")
        run.nested = run.nested or any(map(is_node, given))
        seeds = [(y, y.as_cotangent(c)) for y, c in zip(outputs, given, strict=True) if is_node(y)]
        return tuple(run.gradients(run.pull(seeds)))

    return run.leave(run.output), pull


def jvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """f(*primals) and its directional derivative along the tangents (forward mode).

    Args:
        f: a function of numbers, arrays or trees.
        primals: its arguments.
        tangents: one for each argument, of the same structure and shapes.

    Returns:
        The result and its tangent, of one structure.

    Example:
        >>> jvp(lambda a, b: a * b, (3.0, 4.0), (1.0, 0.0))
        (12.0, 4.0)
    """
    if len(primals) != len(tangents):
        raise ValueError(f"jvp: {len(primals)} primals and {len(tangents)} tangents; expected as many.")
    run = _Run("jvp", f, tuple(primals), tuple(range(len(primals))))
    directions = tree_match(list(primals), list(tangents), "jvp: the tangent")
    nested = run.nested = run.nested or any(map(is_node, directions))
    tangent: dict[Node, Any] = {}
    for x, t in zip(run.inputs, directions, strict=True):
        if tuple(np.shape(t) if isinstance(t, (list, tuple)) else ops.shape_of(t)) != x.shape:
            raise ValueError(f"jvp: a tangent is {ops.describe(t)}; expected shape {x.shape}, as its primal.")
        tangent[x] = t if is_node(t) else float(t) if isinstance(x, Value) else x.as_cotangent(t)
    if run.inputs and is_symbol(run.inputs[0]):
        first: Any = run.inputs[0]
        pushed = first.pushforward(tree_leaves(run.output), run.inputs, list(tangent.values()), _runs)
        return run.output, tree_build(run.output, iter(pushed))
    outputs = [y for y in tree_leaves(run.output) if is_node(y)]
    with (
        ops.namespace_of([run.inputs[0].data], "jvp").quiet() if run.inputs else contextlib.nullcontext(),
        recording(nested),
    ):
        for node in topological_order(*outputs):
            if node.op is None or not node.requires_grad or node in tangent:
                continue
            given = [tangent.get(p) if is_node(p) else None for p in node.parents]
            if any(t is not None for t in given):
                t = node.push(given, nested)
                if t is not None:
                    tangent[node] = t

    def of(y: Any) -> Any:
        t = tangent.get(y) if is_node(y) else None
        return _zero(y, "jvp") if t is None else t

    return run.leave(run.output), run.leave(tree_map(of, run.output))


def jacobian(f: Function, argnums: Argnums = 0) -> Function:
    """All partial derivatives of a function with array (or tree) results, one backward pass an output element.

    Returns:
        A function that gives, for every leaf of f's result, the derivative by the argument(s): for arrays y and x an
        array of shape (*y.shape, *x.shape).

    Example:
        >>> jacobian(lambda x: x * x)(np.array([1.0, 2.0]))
        array([[2., 0.],
               [0., 4.]])
    """

    @functools.wraps(f)
    def transformed(*args: Any) -> Any:
        run = _Run("jacobian", f, args, argnums)

        def rows(y: Any) -> Any:
            shape = tuple(ops.shape_of(y))
            if shape == ():
                return run.gradients(run.pull([(y, y.seed())] if is_node(y) else []))
            count = math.prod(shape)
            xp = ops.namespace_of([y.data if is_node(y) else y], "jacobian")
            found = []
            for k in range(count):
                one = np.zeros(count)
                one[k] = 1.0
                g = xp.asarray(one.reshape(shape), dtype=y.dtype)
                found.append(run.pull([(y, g)] if is_node(y) else []))
            join = ops.stack if run.nested else xp.stack
            return run.gradients(
                [
                    ops.reshape(join([row[i] for row in found]), shape=(*shape, *x.shape))
                    if found
                    else np.zeros((*shape, *x.shape))
                    for i, x in enumerate(run.inputs)
                ]
            )

        return tree_build(run.output, iter([rows(y) for y in tree_leaves(run.output)]))

    return transformed


def hessian(f: Function, argnums: Argnums = 0) -> Function:
    """The matrix of second derivatives of a scalar function: the jacobian of its gradient.

    Example:
        >>> hessian(lambda x: x[0] * x[1] ** 2)(np.array([1.0, 3.0]))
        array([[0., 6.],
               [6., 2.]])
    """
    return jacobian(grad(f, argnums), argnums)


def hvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """The Hessian of a scalar function times a direction, without the Hessian: the jvp of the gradient.

    Args:
        f: a scalar function.
        primals: its arguments.
        tangents: a direction for each, of the same structure.

    Returns:
        ∇²f · v for each argument; a bare one for a function of one argument.

    Example:
        >>> hvp(lambda x: x[0] * x[1] ** 2, [np.array([1.0, 3.0])], [np.array([1.0, 0.0])])
        array([0., 6.])
    """
    argnums: Argnums = 0 if len(primals) == 1 else tuple(range(len(primals)))
    return jvp(grad(f, argnums), primals, tangents)[1]
