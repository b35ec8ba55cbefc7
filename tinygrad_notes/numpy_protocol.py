"""NumPy's protocols for nodes: `np.exp(t)`, `np.sum(t)`, `np.array([…]) * t` record ops, or raise a `TypeError`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from . import ops
from .ops.namespaces import dtype_name

_UFUNCS = {
    "power": "pow",
    "float_power": "pow",
    "true_divide": "divide",
    "absolute": "abs",
    "fabs": "abs",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arctan2": "atan2",
}
_ON_BOOLEANS = {"bitwise_and": ops.logical_and, "bitwise_or": ops.logical_or, "invert": ops.logical_not}
_REDUCTIONS = {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min", "logaddexp": "logsumexp"}


class NoOpError(TypeError):
    """A function of NumPy that no op of this package stands for.

    Attributes:
        what: its name, with what is asked of it.
    """

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} does not take a Value or Tensor: use the op of this package, or .data for the plain array."
        )
        self.what = what


def _no(what: str, instead: str = "") -> NoReturn:
    if instead:
        raise TypeError(f"{what} does not take a Value or Tensor: {instead}.")
    raise NoOpError(what)


def on_booleans(op: ops.Op, *args: Any) -> Any:
    """`&`, `|` and `~` as logic.

    Raises:
        TypeError: an argument is not boolean: NumPy would combine the bits of integers, which no op here does.
    """
    for arg in args:
        if not (isinstance(arg, (bool, np.bool)) or dtype_name(arg) == "bool"):
            raise TypeError(
                f"{op.symbol}: got {ops.describe(arg)}; expected booleans, such as t > 0. "
                f"For the truth of numbers use tn.{op.name}."
            )
    return op(*args)


def _moment(op: ops.Op) -> Callable[..., Any]:
    """`np.var` and `np.std` call the correction `ddof`."""

    def call(x: Any, axis: Any = None, *, ddof: float = 0.0, correction: float = 0.0, keepdims: bool = False) -> Any:
        return op(x, axis=axis, correction=ddof or correction, keepdims=keepdims)

    return call


def _pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: float = 0.0) -> Any:
    if mode != "constant":
        _no(f"np.pad with mode={mode!r}", "only mode='constant' has a derivative here")
    return ops.pad(x, widths=pad_width, value=constant_values)


def _clip(x: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    return ops.clip(x, min=a_min if min is None else min, max=a_max if max is None else max)


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    if ord is not None and not (ord == 2 and (isinstance(axis, int) or len(ops.shape_of(x)) == 1)):
        _no(f"np.linalg.norm with ord={ord!r}", "only the Euclidean norm is in the op table")
    return ops.norm(x, axis=axis, keepdims=keepdims)


def _cumsum(x: Any, axis: Any = None) -> Any:
    return ops.cumulative_sum(x.reshape(-1) if axis is None else x, axis=0 if axis is None else axis)


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.concatenate: ops.concat,
    np.amax: ops.max,
    np.amin: ops.min,
    np.cumsum: _cumsum,
    np.var: _moment(ops.var),
    np.std: _moment(ops.std),
    np.clip: _clip,
    np.pad: _pad,
    np.linalg.norm: _norm,
    np.einsum: ops.einsum,
    np.shape: lambda x: x.shape,
    np.ndim: lambda x: len(x.shape),
    np.size: lambda x: int(np.prod(x.shape)),
}
_SAME_NAME = {
    *("sum", "mean", "prod", "max", "min", "argmax", "cumulative_sum", "dot", "outer", "trace", "diag", "tril", "triu"),
    *("reshape", "broadcast_to", "expand_dims", "squeeze", "flip", "permute_dims", "transpose", "matrix_transpose"),
    *("concat", "stack", "split", "take", "where"),
}


class NumPyProtocol:
    """What makes NumPy's functions and operators record ops on nodes, or refuse by name."""

    __slots__ = ()

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """A ufunc call or reduction as the op of the same meaning."""
        if options.get("out") is not None:
            _no(f"np.{ufunc.__name__} with out= (or an in-place operator on an array)", "write a = a + t, not a += t")
        if method == "__call__" and not options:
            name = _UFUNCS.get(ufunc.__name__, ufunc.__name__)
            if name in ops.TABLE:
                return ops.TABLE[name](*inputs)
            if name in _ON_BOOLEANS:
                return on_booleans(_ON_BOOLEANS[name], *inputs)
            if ufunc is np.matmul:
                return ops.matmul(*inputs)
        if method == "reduce" and ufunc.__name__ in _REDUCTIONS and options.keys() <= {"axis", "keepdims"}:
            return ops.TABLE[_REDUCTIONS[ufunc.__name__]](*inputs, **{"axis": 0, **options})
        how = "" if method == "__call__" else f".{method}"
        _no(f"np.{ufunc.__name__}{how}" + (f" with {', '.join(options)}" if options else ""))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """A NumPy function as the op of the same meaning."""
        name = function.__name__
        found = _FUNCTIONS.get(function)
        if found is None and name in _SAME_NAME and getattr(np, name, None) is function:
            found = getattr(ops, name)
        if found is None:
            _no(f"{function.__module__}.{name}")
        return found(*args, **kwargs)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """Refused while a gradient could be lost without a word; a constant gives its data."""
        if self.requires_grad:  # type: ignore[attr-defined]  # every node has it
            _no(
                "np.asarray (or np.array, or a plain NumPy array around it)",
                "use tn.stack for nodes, .data for the plain array",
            )
        return np.array(self._now(), dtype=dtype, copy=copy)  # type: ignore[attr-defined]  # every node has it
