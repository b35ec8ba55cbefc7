"""What every traced value refuses: to be read as a number, and what Python and NumPy do that no op stands for."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

import numpy as np

from ...numpy_protocol import NoOpError, NumPyProtocol
from .refusals import BRANCH, CHOOSE, IN_PLACE, KEYS, NO_OP, PLAIN, is_ours, no_number, refuse


class Refusing(NumPyProtocol):
    """The methods that refuse."""

    __slots__ = ()

    def backward(self, cotangent: Any = None, *, create_graph: bool = False) -> NoReturn:
        """Refused: it writes to `.grad`."""
        refuse("backward() was called on a traced value", "Use tn.value_and_grad, which returns the gradients.")

    __bool__ = no_number("a branch (if, while, and, or, assert) on a traced value", BRANCH)
    __float__ = no_number("float() of a traced value", PLAIN)
    __int__ = no_number("int() of a traced value", PLAIN)
    __index__ = no_number("an index or a range() from a traced value", PLAIN)
    __round__ = no_number("round() of a traced value", PLAIN)
    __str__ = no_number("printing (str) of a traced value", PLAIN)
    __format__ = no_number("formatting of a traced value", PLAIN)
    __array__ = no_number(
        "a NumPy array (or an index of one) was made of a traced value, or a traced value was written into one",
        f"{IN_PLACE} An index: {CHOOSE}",
    )
    __setitem__ = no_number("an assignment to elements of a traced array", IN_PLACE)
    __reduce_ex__ = no_number("pickling of a traced value", PLAIN)

    def __hash__(self) -> int:
        if not is_ours(sys._getframe(1)):
            refuse("the hash of a traced value (in a set, as a key of a dictionary, in a cache)", KEYS)
        return object.__hash__(self)

    def __copy__(self, memo: Any = None) -> Any:
        return self  # nothing can change it

    __deepcopy__ = __copy__

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if options.get("out") is not None:
            refuse(f"an in-place operator or out= of np.{ufunc.__name__} with a traced value", IN_PLACE)
        try:
            return super().__array_ufunc__(ufunc, method, *inputs, **options)
        except NoOpError as error:
            refuse(f"{error.what} of a traced value", NO_OP)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        try:
            return super().__array_function__(function, types, args, kwargs)
        except NoOpError as error:
            refuse(f"{error.what} of a traced value", NO_OP)

    item = no_number("item() of a traced value", PLAIN)
    tolist = no_number("tolist() of a traced value", PLAIN)


_LACKING = {"trunc": "math.trunc()", "floor": "math.floor()", "ceil": "math.ceil()", "divmod": "divmod()"}
_LACKING |= {"floordiv": "//", "mod": "%", "lshift": "<<", "rshift": ">>", "xor": "^"}
for _name, _what in _LACKING.items():
    for _reverse in ("", "r"):
        setattr(Refusing, f"__{_reverse}{_name}__", no_number(f"{_what} of a traced value", NO_OP))
