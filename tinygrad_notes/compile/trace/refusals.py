"""What a function that is traced may not do, as errors that name its line and say what to do instead."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ... import ops
from ...ops.errors import OpError
from ...ops.namespaces import BY_TYPE, is_number, numpy_reading

PACKAGE = str(Path(__file__).parents[2])


class TraceError(OpError, TypeError):
    """Something that needs numbers, where there are only symbols."""


def is_ours(frame: Any) -> bool:
    """Whether a frame runs code of this package, which knows what a symbol is."""
    return bool(frame.f_code.co_filename.startswith((PACKAGE, "<tinygrad_notes")))


def user_line() -> str:
    """`file:line` of the innermost frame outside of this package and of libraries."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not is_ours(frame) and not file.startswith("<__array_function__") and "site-packages" not in file:
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]  # the outermost frame has none
    return "?"


def refuse(what: str, instead: str) -> NoReturn:
    """Raise the error of a traced value that was asked for its number."""
    raise TraceError(
        f"compile: {what} at {user_line()}, while the function was traced: it has a shape but no number yet. {instead}"
    )


def refuse_frozen(what: str) -> NoReturn:
    """Raise the error of a number whose origin is not known."""
    raise TraceError(
        f"compile: {what} was used at {user_line()} while the function was traced: it may come from an array, and "
        "would stay the same in every later call. Give the array as an argument; a constant is float(...)."
    )


def refuse_assignment(node: Any, attribute: str = "data") -> NoReturn:
    """Raise the error of a function that sets the data (or the gradient) of a node while it is traced."""
    raise TraceError(
        f"compile: the function assigned to the {attribute} of {ops.describe(node)}, which would happen once and not "
        "in every call. Return the new value, and take parameters as arguments (donate= updates in place)."
    )


def refuse_gradient(node: Any) -> NoReturn:
    """Raise the error of a function that reads what a backward pass has left on a node."""
    raise TraceError(
        f"compile: .grad of {ops.describe(node)} was read at {user_line()} while the function was traced: it would "
        "stay the same in every later call. Use tn.value_and_grad, which returns the gradients, or give this one as "
        "an argument."
    )


def returned(x: Any) -> Any:
    """A leaf of a traced function's result that is computed from nothing; refused where it may hold traced values."""
    if isinstance(x, np.generic) and not isinstance(x, np.bool):
        refuse_frozen(f"np.{type(x).__name__} {x!r}")
    if is_number(x) or isinstance(x, (str, bytes, type, np.dtype, Enum)):
        return x
    raise TraceError(
        f"compile: the function returned a {type(x).__name__}; expected numbers, arrays, strings, and lists, tuples "
        "and dictionaries of them. Return such a list in its place, and make the rest of it outside."
    )


class StandIn:
    """What a symbol has for `.data`: a shape and a dtype, and nothing to compute with."""

    traced = True

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype, self.ndim, self.device = shape, dtype, len(shape), "cpu"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__array"):
            raise AttributeError(name)
        refuse(
            f".data.{name} of a traced value was asked for",
            "Compute with the value itself, by the ops of this package.",
        )


BRANCH = (
    "Choose with tn.where, tn.maximum or tn.minimum; or make what the branch depends on a static argument (static=)."
)
PLAIN = (
    "Return it from the function and look at it there; or make the argument it comes from a static argument (static=)."
)
IN_PLACE = "Build the new array by tn.where, tn.concat or tn.stack, and return it."
CHOOSE = "choose by tn.where or a one-hot product, or make it a static argument (static=)."
KEYS = "Keep it in a list, or under a name or a number of yours; equal numbers are not one key before they are known."
NO_OP = "There is no op for it: compute it outside and give it as an argument, or make its argument static (static=)."


def no_number(what: str, instead: str) -> Callable[..., NoReturn]:
    """A method that refuses."""

    def method(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
        refuse(what, instead)

    return method


for _name in ("add", "sub", "mul", "truediv", "pow", "matmul", "lt", "le", "gt", "ge", "neg", "getitem"):
    for _reverse in ("", "r"):
        setattr(StandIn, f"__{_reverse}{_name}__", lambda self, *other: self.__getattr__("_"))
for _name in ("__array__", "__index__"):
    setattr(StandIn, _name, no_number("an index (or a NumPy array) was made of a traced value", f"Instead, {CHOOSE}"))

BY_TYPE[StandIn] = numpy_reading  # for what only asks for the dtype
