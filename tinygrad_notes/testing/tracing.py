"""Running a function once to record it, refusing what would lose the graph on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graph import is_node
from ..ops import describe
from ..tensor import Tensor


class ForeignError(TypeError):
    """A function leaves the graph, so that it can only be watched from outside."""


class Traced(Tensor):
    """A tensor that does not let itself be turned into a plain number, where the graph would end unnoticed."""

    __slots__ = ()
    rank = 3

    def _refuse(self, *_: Any) -> Any:
        raise ForeignError("the function turns its input into a plain number")

    item = tolist = __float__ = __int__ = _refuse

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self._refuse()

    def __bool__(self) -> bool:
        # A branch is taken as it falls, unless it falls on its very edge.
        if self.op is not None and self.op.symbol in ("<", "<=", ">", ">=", "==", "!="):
            a, b = (p.data if is_node(p) else p for p in self.parents)
            if self.data.size != 1 or np.any(a == b):
                raise ForeignError("the function branches on a tie")
        return bool(np.all(self.data))


Traced.__name__ = Tensor.__name__  # what messages call it


def leaf(x: Any, name: str | None = None) -> Traced:
    """A float64 leaf with the data of a number, array or node."""
    data = x.data if is_node(x) else x
    return Traced(np.array(data, dtype=float), name=name)


def trace(f: Callable[..., Any], inputs: Sequence[Any]) -> Traced:
    """f's result on traced inputs.

    Raises:
        ForeignError: f is no function of this project's ops, operators and NumPy's functions; the cause says why.
    """
    try:
        with np.errstate(all="ignore"):
            y = f(*inputs)
    except ForeignError:
        raise
    except Exception as error:
        raise ForeignError(f"{type(error).__name__}: {error}") from error
    if not isinstance(y, Traced):
        if isinstance(y, (int, float, np.ndarray, np.generic)):  # a constant
            return leaf(y)
        raise ForeignError(f"the function gave {describe(y)}")
    return y
