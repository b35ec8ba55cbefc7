"""`detect_anomaly` finds the first node that went NaN or infinite; `record_lines` notes the line of each node."""

from __future__ import annotations

import contextlib
import linecache
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import ops
from ..graph import Node, Watcher, is_node, watching
from ..ops import Op
from ..ops.namespaces import is_traced
from ..origin import Line, Origin, caller, origin_of
from . import labels

if TYPE_CHECKING:
    from .picture import Picture


class AnomalyError(ArithmeticError):
    """A number went NaN or infinite within `detect_anomaly`.

    Attributes:
        node: the first node that did; where a gradient did, the node whose vjp gave it.
        line: the line of the program that made it.
        path: the nodes that lead to it, from a leaf on.
    """

    def __init__(self, message: str, node: Any, line: Line | None) -> None:
        super().__init__(message)
        self.node, self.line = node, line
        self.path: list[Node] = _path(node)

    def draw(self, **options: Any) -> Picture:
        """The graph of the node, with the path to it in red. Options are those of `draw`."""
        from . import draw

        return draw(self.node, path=self.path, **options)


class _Lines(Watcher):
    """Notes the line that made each node."""

    def made(self, op: Op, args: Sequence[Any], node: Any) -> None:
        if is_node(node):
            node.origin = Origin(line=caller())


class _Anomalies(_Lines):
    """Stops at the first number that is not finite."""

    def made(self, op: Op, args: Sequence[Any], node: Any) -> None:
        super().made(op, args, node)
        if not is_node(node) or is_traced(node.data):
            return
        bad = _not_finite(node.data)
        if not bad or (bad == "infinite" and any(_not_finite(a) == "infinite" for a in args)):
            return  # what was infinite may stay so: masks are
        given = next((a for a in args if _not_finite(a) == "NaN"), None) if bad == "NaN" else None
        if node.op is None:  # it is not recorded: show it with its arguments all the same
            node.op, node.requires_grad = op, False
            if node.rank > 1:
                node.parents = tuple(args)
        line = caller()
        told = f"{op.name} gave {_places(node, bad)}{_named(node)}{_at(line)}"
        if given is not None:
            told = f"{_described(given)} is NaN already where {op.name} uses it{_at(line)}"
        raise AnomalyError(f"{told}\n  inputs: {'; '.join(map(_described, args))}", node, line)

    def pulled(self, node: Node, contributions: Sequence[Any]) -> None:
        for parent, c in zip(node.parents, contributions, strict=True):
            if c is None or is_traced(c):
                continue
            bad = _not_finite(c)
            if bad:
                origin = origin_of(node)
                line = origin.line if origin is not None else None
                assert node.op is not None
                raise AnomalyError(
                    f"backward: the vjp of {node.op.name} gave {_places(c, bad)} for the gradient of "
                    f"{_described(parent)}{_at(line)}\n  inputs: {'; '.join(map(_described, node.parents))}",
                    node,
                    line,
                )


def detect_anomaly() -> contextlib.AbstractContextManager[None]:
    """Within the block, stop at the first node whose value goes NaN or infinite.

    The error names the op, the node, its inputs and the line of the program that made it; `error.draw()` is the picture
    of the path to it, in red. An infinity that was given, such as that of a mask, is let through; a NaN never is. In a
    backward pass the same holds for each gradient, and every pass looks for arrays that were changed in place.

    Within the block an op costs several times as much.

    Raises:
        AnomalyError: in the block, where it happens.

    Example:
        >>> import tinygrad_notes as tn
        >>> with detect_anomaly():
        ...     p = tn.Value(0.0, name="p")
        ...     loss = tn.log(p * 2)
        Traceback (most recent call last):
            ...
        tinygrad_notes.draw.anomaly.AnomalyError: log gave -∞, in <module>
          inputs: 0
    """
    return watching(_Anomalies())


@contextlib.contextmanager
def record_lines() -> Iterator[None]:
    """Within the block, note for every node the line of the program that made it: tooltips of pictures show it.

    Looking a line up costs about as much as a scalar op, so it is not done always.

    Example:
        >>> import tinygrad_notes as tn
        >>> with record_lines():
        ...     y = tn.Value(2.0) * 3
        >>> y.origin.line.function
        '<module>'
    """
    with watching(_Lines()):
        yield


def _numbers(x: Any) -> np.ndarray[Any, Any]:
    """The data of a node, an array of any library or a number, in NumPy's float64."""
    data = x.data if is_node(x) else x
    if hasattr(data, "detach"):  # PyTorch: off the graph and off the device
        data = data.detach().cpu().double().numpy()
    return np.asarray(data, dtype=float)


def _not_finite(x: Any) -> str:
    """NaN, infinite, or nothing where all is finite."""
    numbers = _numbers(x)
    if np.all(np.isfinite(numbers)):
        return ""
    return "NaN" if np.any(np.isnan(numbers)) else "infinite"


def _places(x: Any, bad: str) -> str:
    """What is not finite, where, and how much of it there is."""
    numbers = _numbers(x)
    wrong = np.isnan(numbers) if bad == "NaN" else np.isinf(numbers)
    first = tuple(np.argwhere(wrong)[0].tolist())
    what = labels.number(float(numbers[first]))
    if not numbers.shape:
        return what
    return f"{what} at [{', '.join(map(str, first))}] ({wrong.sum():,} of {numbers.size:,} elements)"


def _described(x: Any) -> str:
    """An input in a few words: its name, its shape, what numbers it holds."""
    numbers = _numbers(x)
    name = x.name if is_node(x) else ""
    if not numbers.shape:
        return (f"{name} = " if name else "") + labels.number(float(numbers))
    shape = f"{name or 'array'} {numbers.shape}"
    finite = numbers[np.isfinite(numbers)]
    if finite.size:
        shape += f" from {labels.number(float(finite.min()))} to {labels.number(float(finite.max()))}"
    lost = numbers.size - finite.size
    return shape + (f", {lost:,} not finite" if lost else "")


def _named(node: Any) -> str:
    return f" in {ops.describe(node)}" if ops.shape_of(node.data) else ""


def _at(line: Line | None) -> str:
    if line is None:
        return ""
    text = linecache.getline(line.file, line.number).strip()
    return f", {line}" + (f": {text}" if text else "") if not line.file.startswith("<") else f", in {line.function}"


def _path(node: Any) -> list[Node]:
    """From a node back to a leaf, by the argument that is most extreme at each step: near 0, or large."""
    path = [node]
    while path[-1].op is not None:
        parents = [p for p in path[-1].parents if is_node(p)]
        if not parents:
            break
        path.append(max(parents, key=_extremity))
    return path[::-1]


def _extremity(node: Node) -> float:
    """How far from 1 the numbers of a node lie, in powers of e."""
    with np.errstate(divide="ignore"):
        sizes = np.abs(np.log(np.abs(_numbers(node))))
    return float(np.max(np.where(np.isnan(sizes), np.inf, sizes), initial=0.0))
