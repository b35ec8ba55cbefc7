"""What a symbol of a derivation can stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Name:
    """A symbol that stands for a named node or constant array."""

    name: str
    place: int  # in the order of the graph: what comes first is written first


@dataclass(frozen=True)
class Gradient:
    """A symbol that stands for ∂L/∂(the named node)."""

    name: str
    place: int


@dataclass(frozen=True)
class Local:
    """A symbol that stands for ∂of/∂by, the local derivative of one named node by another."""

    of: str
    by: str


@dataclass(frozen=True)
class Count:
    """A symbol that stands for a size."""

    letter: str


class Parameters(dict[str, Any]):
    """The parameters of an op, as part of a key."""

    def __hash__(self) -> int:  # type: ignore[override]  # never changed once it is a key
        return hash(_hashable(tuple(sorted(self.items()))))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Parameters) and _hashable(sorted(self.items())) == _hashable(sorted(other.items()))


@dataclass(frozen=True)
class Structure:
    """A symbol that stands for a structural op (or an op with parameters) on expressions."""

    op: str
    args: tuple[Any, ...]
    params: Parameters


Meaning = Name | Gradient | Local | Count | Structure


def _hashable(x: Any) -> Any:
    """A parameter as part of a key: slices and arrays are not hashable."""
    if isinstance(x, (list, tuple)):
        return tuple(_hashable(i) for i in x)
    if isinstance(x, slice):
        return ("slice", x.start, x.stop, x.step)
    if isinstance(x, np.ndarray):
        return ("array", x.shape, tuple(x.ravel().tolist()))
    return x
