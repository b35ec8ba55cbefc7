"""The readings of a rule: the namespace `xp` that an op's rule is given for floats, arrays and graph nodes.

A namespace looks a name up in three places: what is special to that kind of array, the op table (a row that brings its
own `forward`), and the array library itself. Names are the Array API standard's.
"""

from __future__ import annotations

import contextlib
import math
import numbers
import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import numpy as np

TABLE: dict[str, Any] = {}
"""The op table: every row by name."""

NODE_KINDS: dict[type, Any] = {}
"""Every node class by itself: an op that is given a node is recorded by its class (the one of highest `rank`)."""


class Namespace:
    """An array library (or plain floats) as the `xp` of a rule.

    Args:
        native: the library's module, or anything with functions of the Array API's names.
        special: functions that replace the library's or the table's.
    """

    def __init__(self, native: Any, **special: Callable[..., Any]) -> None:
        self.native = native
        self.__dict__.update(special)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        op = TABLE.get(name)
        found: Any
        if op is not None and op.forward is not None:
            found = partial(op.forward, self) if op.arity >= 0 else partial(_on_list, op.forward, self)
        else:
            found = getattr(self.native, name, None)
            if found is None:
                raise AttributeError(f"{name!r} is neither in the op table nor in {self.native!r}.")
        setattr(self, name, found)
        return found

    def quiet(self) -> contextlib.AbstractContextManager[Any]:
        """A context in which infinities and NaN are values, not warnings."""
        return contextlib.nullcontext()


def _on_list(forward: Callable[..., Any], xp: Namespace, arrays: Sequence[Any], **params: Any) -> Any:
    """An op on any number of arrays takes them as a list, as the Array API's `concat` does."""
    return forward(xp, *arrays, **params)


class NumPyNamespace(Namespace):
    """NumPy's reading."""

    def quiet(self) -> contextlib.AbstractContextManager[Any]:
        """Infinities and NaN are values here, not warnings."""
        return np.errstate(all="ignore")

    @staticmethod
    def floats(args: Sequence[Any]) -> list[Any]:
        """Python numbers as NumPy's, which follow IEEE 754 where Python raises."""
        return [np.float64(a) if is_number(a) and type(a) is not bool else a for a in args]

    @staticmethod
    def scale(g: Any, slope: Any) -> Any:
        """g · slope, where 0 · ∞ = 0: a path that is not taken contributes nothing."""
        product = g * slope
        # The cheapest look at every product; where the squares overflow, the next line is right too, only slower.
        if math.isfinite(np.vdot(product, product)):
            return product
        return np.where((g == 0) | (slope == 0), 0.0, product)

    @staticmethod
    def scatter(g: Any, *, index: Any, shape: tuple[int, ...]) -> Any:
        """Zeros of `shape` with `g` added at `index`; what is indexed twice gets both."""
        total = np.zeros(shape, np.asarray(g).dtype)
        parts = index if isinstance(index, tuple) else (index,)
        if all(isinstance(p, (int, np.integer, slice, type(None), type(Ellipsis))) for p in parts):
            total[index] = g
        else:
            np.add.at(total, index, g)
        return total


def _where(native: Callable[..., Any]) -> Callable[..., Any]:
    """`where` that keeps plain numbers plain, for rules that ask something of an argument that is a number."""

    def where(condition: Any, a: Any, b: Any) -> Any:
        if (condition is True or condition is False) and is_number(a) and is_number(b):
            return a if condition else b
        return native(condition, a, b)

    return where


def _over_floats(function: Callable[[float], float]) -> Callable[[Any], Any]:
    """A function of `math` over a NumPy array, for what NumPy lacks."""

    def over(x: Any) -> Any:
        x = np.asarray(x)
        kept = x.dtype if x.dtype.kind == "f" else np.dtype(float)
        return np.array([function(v) for v in x.ravel().tolist()], dtype=kept).reshape(x.shape)[()]

    return over


def _reduction(ufunc: Any) -> Callable[..., Any]:
    def reduce(x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        return ufunc.reduce(x, axis, None, None, keepdims)

    return reduce


# Array API calls it `pow`; the operator has NumPy's fast ways for exponents like 2.
numpy_reading = NumPyNamespace(
    np,
    where=_where(np.where),
    pow=lambda a, b: a**b,
    erf=_over_floats(math.erf),
    erfc=_over_floats(math.erfc),
    # As methods of arrays and ufuncs: NumPy's functions look for other kinds of arrays first, for a microsecond or two.
    reshape=lambda x, *, shape: x.reshape(shape) if type(x) is np.ndarray else np.reshape(x, shape),
    permute_dims=lambda x, *, axes=None: x.transpose(axes) if type(x) is np.ndarray else np.transpose(x, axes),
    sum=_reduction(np.add),
    max=_reduction(np.maximum),
    min=_reduction(np.minimum),
)


def _maximum(a: float, b: float) -> float:
    return a if a >= b or a != a else b


def _minimum(a: float, b: float) -> float:
    return a if a <= b or a != a else b


def _logaddexp(a: float, b: float) -> float:
    return a + math.log(2.0) if a == b else max(a, b) + math.log1p(math.exp(-abs(a - b)))


def _sign(x: float) -> float:
    return x if x != x else float((x > 0) - (x < 0))


_MATH = (
    *("exp", "expm1", "log", "log1p", "sqrt", "pow", "hypot", "erf", "erfc", "floor", "ceil"),
    *("sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "isfinite", "isnan", "isinf"),
)
floats = Namespace(
    SimpleNamespace(
        **{name: getattr(math, name) for name in _MATH},
        add=lambda a, b: a + b,
        subtract=lambda a, b: a - b,
        multiply=lambda a, b: a * b,
        divide=lambda a, b: a / b,
        negative=lambda a: -a,
        square=lambda a: a * a,
        abs=abs,
        sign=_sign,
        round=lambda a: float(round(a)),
        maximum=_maximum,
        minimum=_minimum,
        logaddexp=_logaddexp,
        less=lambda a, b: a < b,
        less_equal=lambda a, b: a <= b,
        greater=lambda a, b: a > b,
        greater_equal=lambda a, b: a >= b,
        equal=lambda a, b: a == b,
        not_equal=lambda a, b: a != b,
        logical_and=lambda a, b: bool(a and b),
        logical_or=lambda a, b: bool(a or b),
        logical_not=lambda a: not a,
        zeros_like=lambda a: 0.0,
        ones_like=lambda a: 1.0,
    ),
    where=lambda condition, a, b: a if condition else b,
    scale=lambda g, slope: g * slope if g and slope else 0.0,
)
"""Python floats, with `math`'s functions: no NumPy on this path."""


class NodeNamespace:
    """Graph nodes: `xp.exp` is the op `exp`, so that reading a rule records it."""

    def __getattr__(self, name: str) -> Any:
        if name not in TABLE:
            raise AttributeError(f"no op {name!r} in the table.")
        return TABLE[name]

    @staticmethod
    def scale(g: Any, slope: Any) -> Any:
        """As NumPy's `scale`, recorded as a plain product wherever that is finite."""
        product = g * slope
        x, y, z = (n.data if type(n) in NODE_KINDS else n for n in (g, slope, product))
        if is_number(z):
            dead = ((x == 0) | (y == 0)) & (not math.isfinite(z))
        else:
            dead = ((x == 0) | (y == 0)) & ~namespace_of([z], "backward").isfinite(z)
        if dead is False or (isinstance(dead, (np.ndarray, np.generic)) and not dead.any()):
            return product
        return TABLE["where"](dead, 0.0, product)

    @staticmethod
    def zeros_like(x: Any) -> Any:
        """Zeros in the shape, dtype and array library of x, as a constant."""
        return _constant("zeros_like", x)

    @staticmethod
    def ones_like(x: Any) -> Any:
        """Ones in the shape, dtype and array library of x, as a constant."""
        return _constant("ones_like", x)

    @staticmethod
    def isfinite(x: Any) -> Any:
        """Where x is finite, as a constant."""
        return _constant("isfinite", x)


def _constant(name: str, x: Any) -> Any:
    data = x.data if type(x) in NODE_KINDS else x
    xp = namespace_of([data], name)
    return getattr(xp, name)(xp.asarray(data) if is_number(data) else data)


nodes = NodeNamespace()


# --- Other array libraries, through array-api-compat ------------------------------------------------------------------


@cache
def _torch() -> Namespace:
    import array_api_compat.torch as xp
    import torch

    def where(condition: Any, a: Any, b: Any) -> Any:
        # Two numbers would become float32, PyTorch's default; float64 keeps them, and the cotangent is cast at the end.
        like = next((x.dtype for x in (a, b) if isinstance(x, torch.Tensor)), torch.float64)
        chosen = (torch.as_tensor(x, dtype=like) if is_number(x) else x for x in (a, b))
        return torch.where(torch.as_tensor(condition), *chosen)

    def with_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
        # PyTorch's functions of two arrays take no number for one of them.
        def call(a: Any, b: Any) -> Any:
            like = a if isinstance(a, torch.Tensor) else b
            return function(
                *(torch.as_tensor(x, dtype=like.dtype, device=like.device) if is_number(x) else x for x in (a, b))
            )

        return call

    def plain(index: Any) -> Any:
        # PyTorch reads a tuple of NumPy arrays as one array.
        if isinstance(index, tuple):
            return tuple(plain(i) for i in index)
        return torch.as_tensor(index) if isinstance(index, np.ndarray) else index

    def scatter(g: Any, *, index: Any, shape: tuple[int, ...]) -> Any:
        position = torch.arange(math.prod(shape), device=g.device).reshape(shape)[plain(index)]
        return (
            torch.zeros(math.prod(shape), dtype=g.dtype, device=g.device)
            .index_add(0, position.reshape(-1), g.broadcast_to(position.shape).reshape(-1))
            .reshape(shape)
        )

    return Namespace(
        xp,
        where=_where(where),
        pow=lambda a, b: a**b,
        maximum=with_numbers(torch.maximum),
        minimum=with_numbers(torch.minimum),
        hypot=with_numbers(torch.hypot),
        atan2=with_numbers(torch.atan2),
        logaddexp=with_numbers(torch.logaddexp),
        erf=torch.erf,
        erfc=torch.erfc,
        log=lambda x: torch.log(torch.as_tensor(x, dtype=torch.float64) if is_number(x) else x),
        getitem=lambda x, *, index: x[plain(index)],
        scale=lambda g, slope: where((g == 0) | (slope == 0), 0.0, g * slope),
        scatter=scatter,
    )


@cache
def _jax() -> Namespace:
    import jax.numpy as jnp
    import jax.scipy.special as special

    def scatter(g: Any, *, index: Any, shape: tuple[int, ...]) -> Any:
        return jnp.zeros(shape, g.dtype).at[index].add(g)

    return Namespace(
        jnp,
        where=_where(jnp.where),
        pow=lambda a, b: a**b,
        erf=special.erf,
        erfc=special.erfc,
        scale=lambda g, slope: jnp.where((g == 0) | (slope == 0), 0.0, g * slope),
        scatter=scatter,
    )


BY_TYPE: dict[type, Namespace] = {np.ndarray: numpy_reading}
"""The namespace of each type of array that was met."""


def namespace_of(args: Sequence[Any], op: str) -> Namespace:
    """The namespace for these arrays and numbers: NumPy's, unless one of them is another library's array.

    Raises:
        TypeError: an argument is neither a number nor an array; the message names the op and the type.
        ModuleNotFoundError: the array needs the extra `xp`.
    """
    found: Namespace = numpy_reading
    for arg in args:
        xp = BY_TYPE.get(type(arg))
        if xp is None:
            xp = _new_type(arg, op)
        if xp is not numpy_reading:
            found = xp
    return found


def _new_type(arg: Any, op: str) -> Namespace:
    kind = type(arg)
    library = kind.__module__.partition(".")[0]
    if isinstance(arg, (numbers.Real, np.generic, np.ndarray)):
        xp: Namespace = numpy_reading
    elif library == "torch" or library.startswith("jax"):
        try:
            xp = _torch() if library == "torch" else _jax()
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"{op}: a {library} array needs array-api-compat: pip install 'tinygrad_notes[xp]'."
            ) from error
    elif hasattr(arg, "__array_namespace__"):
        xp = Namespace(arg.__array_namespace__())
    else:
        shown = text if len(text := repr(arg)) <= 80 else text[:77] + "…"
        raise TypeError(f"{op}: got {shown} of type {kind.__name__}; expected a number, an array, a Value or a Tensor.")
    BY_TYPE[kind] = xp
    return xp


# --- What a rule may be given -----------------------------------------------------------------------------------------


def is_number(x: Any) -> bool:
    """Whether `x` is a plain real number (Python's or NumPy's scalar)."""
    kind = type(x)
    return kind is float or kind is int or isinstance(x, (numbers.Real, np.bool))


def is_symbol(x: Any) -> bool:
    """Whether x stands for an array or a number that `compile` is tracing."""
    return getattr(type(x), "traced", False)


def is_traced(x: Any) -> bool:
    """Whether x stands for an array that JAX or `compile` is tracing: it has a shape and a dtype, no numbers yet."""
    if is_symbol(x):
        return True
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(x, jax.core.Tracer)


def dtype_name(x: Any) -> str:
    """The dtype by its bare name (`float32`, for NumPy, PyTorch and JAX alike); empty for a plain number."""
    return str(getattr(x, "dtype", "")).rpartition(".")[2]


def shape_of(x: Any) -> tuple[int, ...]:
    """The shape of an array or node; `()` for a number."""
    return getattr(x, "shape", ())


def to_arrays(items: Any, op: str) -> Any:
    """A (nested) list as one array; where it holds nodes, as one node, by `stack`.

    Raises:
        ValueError: the list is ragged.
        TypeError: it holds something that is not a number.
    """
    if any(holds_nodes(i) for i in items):
        parts = [to_arrays(i, op) if isinstance(i, (list, tuple)) else i for i in items]
        return TABLE["stack"](parts)
    try:
        array = np.asarray(items)
    except ValueError as error:
        raise ValueError(f"{op}: got a ragged list; expected rows of equal length. ({error})") from error
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{op}: got a list of {array.dtype}; expected numbers.")
    return array


def holds_nodes(x: Any) -> bool:
    """Whether x is a node, or a (nested) list with one in it."""
    return any(holds_nodes(i) for i in x) if isinstance(x, (list, tuple)) else type(x) in NODE_KINDS
