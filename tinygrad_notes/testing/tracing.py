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


class TieError(ForeignError):
    """A function branches in Python where a comparison falls on its very edge, so that either branch may be meant."""


class Traced(Tensor):
    """A tensor that does not let itself be turned into a plain number, where the graph would end unnoticed."""

    __slots__ = ()
    rank = 3

    def _refuse(self, *_: Any) -> Any:
        raise ForeignError("the function turns its input into a plain number")

    item = tolist = __float__ = __int__ = __reduce_ex__ = _refuse  # the last one is what copies are made by

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self._refuse()

    def __bool__(self) -> bool:
        if self.data.size != 1:
            raise ForeignError("the function branches on an array")
        if _on_the_edge(self):
            raise TieError("the function branches on a tie")
        return bool(np.all(self.data))


Traced.__name__ = Tensor.__name__  # what messages call it


def _on_the_edge(node: Any) -> bool:
    """Whether the truth of a node is that of equal numbers compared, or of a 0."""
    if node.op is not None and node.op.symbol in ("<", "<=", ">", ">=", "==", "!="):
        a, b = (p.data if is_node(p) else p for p in node.parents)
        return bool(np.any(a == b))
    if node.data.dtype.kind == "b":  # made of comparisons by & | ~
        return any(_on_the_edge(p) for p in node.parents if is_node(p))
    return bool(np.any(node.data == 0))


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
