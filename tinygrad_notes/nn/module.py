"""`Module`: what a layer is. Its fields are found by themselves: parameters, modules, and lists and dicts of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .. import ops
from ..calculus import tree_leaves
from ..compile import compile
from ..graph import Node, is_node
from ..ops import Op, namespace_of
from ..ops.namespaces import dtype_name
from ..origin import scoped
from ..value import Value

if TYPE_CHECKING:
    from ..compile import Compiled


class Module:
    """A layer or a network: a class whose attributes hold parameters or other modules.

    A parameter is a leaf of the graph (a `Tensor` or `Value` that no op made), also one that takes no gradient for now.
    A nested list of Values that forms a grid is one array of the state, so scalar and array models exchange weights.
    What is shared is found once, under its first name. A result that a forward pass keeps on `self` is no parameter,
    but under `no_grad` it is a leaf too: keep its `.data` instead.

    A subclass sets its attributes and defines `__call__`; it needs no `super().__init__()`.

    Attributes:
        training: True, until `eval()` sets it to False for this module and all within.

    Example:
        >>> from tinygrad_notes import Tensor
        >>> class Scale(Module):
        ...     factor: Tensor  # (n,)
        ...
        ...     def __init__(self, n):
        ...         self.factor = Tensor(np.ones(n), name="factor")
        ...
        ...     def __call__(self, x):
        ...         return x * self.factor
        >>> Scale(3)
        Scale(factor=(3,))
        >>> Scale(3).state_dict()
        {'factor': array([1., 1., 1.])}
    """

    training: bool = True

    def __init_subclass__(cls) -> None:
        # Pictures show what a call computed in a cluster of its own: the call marks what it returns.
        if "__call__" in vars(cls):
            cls.__call__ = scoped(cls.__call__)  # type: ignore[method-assign]

    def parameters(self) -> Iterator[Node]:
        """Each parameter once, in order of definition; a scalar layer has one for each number."""
        return (node for _, node in self.named_parameters())

    def named_parameters(self) -> Iterator[tuple[str, Node]]:
        """Each parameter once with its dotted name: `layers.0.weight`; `layers.0.weight.2.1` in a scalar layer."""
        seen: set[int] = set()
        for name, array in self._arrays():
            for full_name, node in _numbered(name, array):
                if id(node) not in seen:
                    seen.add(id(node))
                    yield full_name, node

    def modules(self) -> Iterator[Module]:
        """This module and all within, each once."""
        return (module for _, module in self.named_modules())

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """This module and all within, each once with its dotted name: `""`, `layers.0`."""
        yield "", self
        yield from ((name, part) for name, part in _walk(self, "", {id(self)}) if isinstance(part, Module))

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of all parameters as NumPy arrays, by their dotted names."""
        return {name: to_numpy(_data(array)) for name, array in self._arrays()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> tuple[list[str], list[str]]:
        """Set the parameters; all of them, or none if anything does not fit. Each keeps its dtype and array library.

        Args:
            state: arrays by dotted name, as `state_dict` gives them.
            strict: whether every parameter must be given and every name be known.

        Returns:
            The missing and the unexpected names; both empty if strict.

        Raises:
            ValueError: names or shapes do not fit; the message lists them all.
            TypeError: `state` is no mapping.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"load_state_dict: got {ops.describe(state)}; expected a dict of arrays by name.")
        arrays = dict(self._arrays())
        missing = [name for name in arrays if name not in state]
        unexpected = [name for name in state if name not in arrays]
        problems = [f"missing: {', '.join(missing)}"] if strict and missing else []
        problems += [f"unexpected: {', '.join(map(str, unexpected))}"] if strict and unexpected else []
        assignments: list[tuple[Node, Any]] = []
        for name, array in arrays.items():
            if name in state:
                try:
                    assignments += _assignments(array, state[name])
                except (TypeError, ValueError) as error:
                    problems.append(f"{name}: {error}")
        if problems:
            raise ValueError(
                f"load_state_dict: the state does not fit this {type(self).__name__}, which is unchanged:\n  "
                + "\n  ".join(problems)
                + "\nBuild the module with the sizes it was saved with, or give strict=False to skip unknown names."
            )
        for node, data in assignments:
            node.data = data
        return missing, unexpected

    def compile(self, loss: Callable[[Any, Any], Any] | None = None, **options: Any) -> Compiled:
        """This module as a program; its parameters are read anew in every call.

        Args:
            loss: of a target and the module's output, such as `binary_cross_entropy`.
            options: of `tinygrad_notes.compile`.

        Returns:
            Without a loss, a function of the module's inputs that gives its output as plain numbers or arrays. With
            one, a function of the input and the target that gives the loss and a dict with the gradient of each
            parameter by its dotted name.

        Example:
            >>> from tinygrad_notes import nn
            >>> model = nn.Perceptron(2, rng=0)
            >>> step = model.compile(nn.binary_cross_entropy)
            >>> loss, gradients = step(np.array([[0.0, 1.0]]), np.array([1.0]))
            >>> {name: np.shape(g) for name, g in gradients.items()}
            {'weight': (2,), 'bias': ()}
        """
        model: Callable[..., Any] = self  # type: ignore[assignment]  # a subclass defines __call__
        if loss is None:
            return compile(model, **options)

        from ..compile import gradients

        def step(x: Any, y: Any) -> tuple[Any, dict[str, Any]]:
            value = loss(y, model(x))
            parameters = dict(self.named_parameters())
            return value, dict(zip(parameters, gradients(value, list(parameters.values())), strict=True))

        return compile(step, **options)

    def train(self, mode: bool = True) -> Self:
        """Set `.training` of this module and all within; returns it."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Set `.training` to False here and in all modules within; returns this one."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget all gradients: back to `None`."""
        for node in self.parameters():
            node.zero_grad()

    def _arrays(self) -> Iterator[tuple[str, Any]]:
        """Each array of the state once, with its name: a leaf node, or a grid of Values as nested lists."""
        names: set[str] = set()
        for name, part in _walk(self, "", {id(self)}):
            if not isinstance(part, Module):
                if name in names:
                    raise ValueError(
                        f"{type(self).__name__}: two parameters are called {name!r}; rename a field or dict key."
                    )
                names.add(name)
                yield name, part

    def __repr__(self) -> str:
        return _picture(self, frozenset())


# --- finding what a module holds --------------------------------------------------------------------------------------


def _walk(module: Module, prefix: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """The modules and parameter arrays below a module, each once, depth first."""
    for field, item in vars(module).items():
        for name, part in _parts(field, item):
            marks = {id(part)} if isinstance(part, Module) else {id(node) for node in tree_leaves(part)}
            if marks <= seen:
                continue
            seen |= marks
            yield prefix + name, part
            if isinstance(part, Module):
                yield from _walk(part, f"{prefix}{name}.", seen)


def _parts(name: str, item: Any) -> Iterator[tuple[str, Any]]:
    """The modules and parameter arrays in a field, through lists, tuples and dicts."""
    if isinstance(item, Module) or _is_leaf(item) or _grid_shape(item) is not None:
        yield name, item
    elif isinstance(item, (list, tuple, dict)):
        for key, inner in item.items() if isinstance(item, dict) else enumerate(item):
            yield from _parts(f"{name}.{key}", inner)


def _is_leaf(x: Any) -> bool:
    return is_node(x) and x.op is None


def _grid_shape(x: Any) -> tuple[int, ...] | None:
    """The shape of nested lists of leaf Values, all rows of one length; `None` for anything else."""
    if isinstance(x, Value):
        return () if x.op is None else None
    if not isinstance(x, (list, tuple)) or not x:
        return None
    inner = {_grid_shape(item) for item in x}
    shape = inner.pop()
    return (len(x), *shape) if shape is not None and not inner else None


def _numbered(name: str, array: Any) -> Iterator[tuple[str, Node]]:
    if is_node(array):
        yield name, array
    else:
        for i, item in enumerate(array):
            yield from _numbered(f"{name}.{i}", item)


# --- their data -------------------------------------------------------------------------------------------------------


def _data(array: Any) -> Any:
    """The numbers of a leaf, or of nested lists of Values as nested lists."""
    return array.data if is_node(array) else [_data(item) for item in array]


def to_numpy(data: Any) -> np.ndarray:
    """A copy of an array of any library (or of nested lists of numbers) as a NumPy array.

    Raises:
        TypeError: it holds no numbers.
    """
    data = data.data if is_node(data) else data
    if hasattr(data, "detach"):  # PyTorch: off the graph and off the device
        data = data.detach().cpu().numpy()
    array = np.array(data, order="C")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"given {ops.describe(data)}; expected real numbers")
    return array


def _assignments(array: Any, given: Any) -> list[tuple[Node, Any]]:
    """What to set each node of a parameter array to.

    Raises:
        TypeError, ValueError: what was given is no array of numbers, or its shape differs.
    """
    new = to_numpy(given)
    shape = array.shape if is_node(array) else _grid_shape(array)
    if new.shape != shape:
        raise ValueError(f"given {new.shape}, expected {shape}")
    if isinstance(array, Node) and not isinstance(array, Value):
        xp = namespace_of([array.data], "load_state_dict")
        return [(array, xp.asarray(new, dtype=array.data.dtype, device=array.data.device))]
    return list(zip(tree_leaves(array), map(float, new.ravel()), strict=True))


# --- the picture in text ----------------------------------------------------------------------------------------------


def _picture(module: Module, above: frozenset[int]) -> str:
    """`Name(field=…, …)`, or one line a field where other modules stand inside."""
    if id(module) in above:
        return f"{type(module).__name__}(…)"
    above |= {id(module)}
    lines, nested = [], False
    for field, item in vars(module).items():
        if field == "training" and item:
            continue
        parts = list(_parts(field, item))
        for name, part in parts:
            if isinstance(part, Module):
                nested = True
                lines.append(f"{name}: {_picture(part, above)}")
            else:
                lines.append(f"{name}={_array_text(part)}")
        if not parts:
            lines.append(f"{field}={_text(item)}")
    if nested:
        inside = "\n".join(lines).replace("\n", "\n  ")
        return f"{type(module).__name__}(\n  {inside}\n)"
    return f"{type(module).__name__}({', '.join(lines)})"


def _array_text(array: Any) -> str:
    if not is_node(array) or isinstance(array, Value):
        return f"{_grid_shape(array)} of Value"
    dtype = dtype_name(array)
    return f"{array.shape}" if dtype == "float64" else f"{array.shape} {dtype}"


def _text(x: Any) -> str:
    if isinstance(x, Op):
        return x.name
    return x.__name__ if callable(x) and hasattr(x, "__name__") else ops.describe(x)
