"""Trying candidate formulas on samples: a correction is right if it gives the expected gradient on all of them."""

from __future__ import annotations

import ast
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...graph import is_node
from . import trees
from .facts import Network, Sample

TOLERANCE = 1e-6
"""Of the largest element: far above rounding, far below any mistake on generic values."""


@dataclass(frozen=True)
class Constant:
    """A number that a formula is off by: `number` · product of sizes / product of sizes.

    Attributes:
        number: ±1, ±2, ….
        above, below: sizes of axes as source, such as `x.shape[1]`.
    """

    number: float = 1.0
    above: tuple[str, ...] = ()
    below: tuple[str, ...] = ()

    @property
    def is_sign(self) -> bool:
        """Whether it is −1."""
        return self.number == -1 and not self.above and not self.below

    @property
    def price(self) -> float:
        """How far-fetched it is."""
        return 1.0 + 0.3 * (len(self.above) + len(self.below) > 1) + 0.5 * (self.number not in (1, -1, 2, 0.5))

    def applied(self, source: str) -> str:
        """The formula times this constant."""
        tree = trees.parse(source)
        chain = isinstance(tree, ast.BinOp) and isinstance(tree.op, (ast.Mult, ast.Div))
        text = source if chain or not isinstance(tree, (ast.BinOp, ast.UnaryOp, ast.Compare)) else f"({source})"
        size = abs(self.number)
        part = 1 / size
        divides = size < 1 and part == int(part) and part <= 4
        if size != 1 and not divides:
            text = f"{size:g} * {text}"
        text += "".join(f" * {s}" for s in self.above) + "".join(f" / {s}" for s in self.below)
        if divides:
            text += f" / {part:g}"
        return trees.text(trees.negative(trees.parse(text)) if self.number < 0 else trees.parse(text))

    def __str__(self) -> str:
        size = abs(self.number)
        divides = size < 1 and 1 / size == int(1 / size)
        up = [f"{size:g}"] if size != 1 and not divides else []
        down = [f"{1 / size:g}"] if divides else []
        over = " * ".join([*up, *self.above]) or "1"
        below = " * ".join([*down, *self.below])
        return f"{over}/{f'({below})' if ' ' in below else below}" if below else over


_NUMBERS = [1, -1, 2, 0.5, -2, -0.5]


class Trials:
    """Evaluates formulas, counts and caps how many.

    Args:
        samples: the first is searched on, the others only confirm.
        scope: the globals of the formulas.
        of: the name whose gradient is wanted; its own size is named first.
        most, seconds: the caps; seconds of this thread's own time, so that a busy machine changes no diagnosis.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        network: Network,
        scope: Mapping[str, Any],
        of: str = "",
        most: int = 3000,
        seconds: float = 1.0,
    ) -> None:
        self.samples = samples
        self.expected = [np.asarray(s.expected, dtype=float) for s in samples]
        self.environments = [{**scope, **{k: _frozen(v) for k, v in s.names.items()}} for s in samples]
        self.left, self.deadline = most, time.thread_time() + seconds
        self.sizes = self._sizes(network, of)

    @property
    def spent(self) -> bool:
        """Whether the caps are reached."""
        return self.left <= 0 or time.thread_time() > self.deadline

    def value(self, source: str, at: int = 0) -> Any:
        """What a formula gives on a sample, as an array of floats; `None` if it fails or is not finite."""
        self.left -= at == 0
        try:
            return as_floats(eval(compile(source, "<correction>", "eval"), dict(self.environments[at])))
        except Exception:  # whatever a wrong formula raises
            return None

    def constant(self, source: str) -> Constant | None:
        """The constant that makes a formula right on all samples: 1 if it is right as it stands; `None` if none."""
        ratios = []
        for at, expected in enumerate(self.expected):
            ratio = proportion(self.value(source, at), expected)
            if ratio is None:
                return None
            ratios.append(ratio)
        return self.named(ratios)

    def named(self, ratios: Sequence[float]) -> Constant | None:
        """A constant that has these values on the samples; NaN where any would do."""
        known = np.array(ratios)
        if np.all(np.isnan(known)):
            return None
        one = np.ones(len(known))
        if best := _fits(known, _NUMBERS, one):
            return Constant(best)
        for numbers in (_NUMBERS[:2], _NUMBERS):
            for source, size in self.sizes.items():
                for above, below in (((), (source,)), ((source,), ())):
                    if best := _fits(known, numbers, size if above else 1 / size):
                        return Constant(best, above, below)
        for source, size in self.sizes.items():  # the √d of attention and of initial weights
            for above, below in (((), (source,)), ((source,), ())):
                root = tuple(f"{s} ** 0.5" for s in above), tuple(f"{s} ** 0.5" for s in below)
                if best := _fits(known, _NUMBERS, size**0.5 if above else size**-0.5):
                    return Constant(best, *root)
        for (s, n), (t, k) in itertools.product(self.sizes.items(), repeat=2):
            if best := _fits(known, _NUMBERS, n / k):
                return Constant(best, (s,), (t,))
            if best := _fits(known, _NUMBERS, 1 / (n * k)):
                return Constant(best, (), (s, t))
        # Any other number, if the sizes rule out that it is one of them.
        number = float(f"{known[~np.isnan(known)][0]:.6g}")
        return Constant(number) if len(known) > 1 and number and _fits(known, [number], one) else None

    def _sizes(self, network: Network, of: str) -> dict[str, Any]:
        """The sizes of axes over the samples, each under the plainest source for it."""
        sizes: dict[str, Any] = {}
        taken: list[Any] = []
        names = {k: v for k, v in self.samples[0].names.items() if not callable(v)}
        order = [*(k for k in names if np.ndim(names[k]) == 0), *network.inputs, *network.intermediates, *names]
        for k in dict.fromkeys(order):
            if any(k not in s.names or np.ndim(s.names[k]) != np.ndim(names[k]) for s in self.samples):
                continue
            if k not in names or (np.ndim(names[k]) == 0 and k in (*network.inputs, *network.intermediates)):
                continue
            if np.ndim(names[k]) == 0:
                values = [float(np.asarray(s.names[k])) for s in self.samples]
                if all(v == int(v) and v > 0 for v in values if np.isfinite(v)) and np.all(np.isfinite(values)):
                    _take(sizes, taken, k, values)
                continue
            for axis in range(np.ndim(names[k])):
                _take(sizes, taken, f"{k}.shape[{axis}]", [np.shape(s.names[k])[axis] for s in self.samples])
        for k in (of, *network.intermediates):
            if k in names and np.ndim(names[k]) > 1:
                _take(sizes, taken, f"{k}.size", [np.size(s.names[k]) for s in self.samples])
        # Helpers first, then the axis that most intermediates share: the batch.
        shared = {s: _occurrences(v, network.intermediates or tuple(names), self.samples) for s, v in sizes.items()}
        return dict(sorted(sizes.items(), key=lambda item: (not item[0].isidentifier(), -shared[item[0]])))

    @property
    def batch_axis(self) -> int | None:
        """The axis along which the examples lie, if that can be guessed."""
        if not self.sizes:
            return None
        size = next(iter(self.sizes.values()))[0]
        shapes = [np.shape(v) for v in self.samples[0].names.values() if np.ndim(v) == 2]
        counts = [sum(shape[axis] == size for shape in shapes) for axis in (0, 1)]
        return None if counts[0] == counts[1] else int(counts[1] > counts[0])


def _occurrences(size: Any, names: Sequence[str], samples: Sequence[Sample]) -> int:
    first = samples[0].names
    return sum(size[0] in np.shape(first[k]) for k in names if k in first)


def _take(sizes: dict[str, Any], taken: list[Any], source: str, values: Sequence[float]) -> None:
    if list(values) not in taken and set(values) != {1}:
        taken.append(list(values))
        sizes[source] = np.array(values, dtype=float)


def _fits(ratios: Any, numbers: Sequence[float], size: Any) -> float:
    """The number for which number · size is the ratio everywhere; 0 if there is none."""
    for number in numbers:
        with np.errstate(all="ignore"):
            off = np.abs(ratios / (number * size) - 1)
        if np.all((off <= TOLERANCE) | np.isnan(ratios)):
            return float(number)
    return 0.0


def _frozen(x: Any) -> Any:
    """A read-only copy, so that no candidate changes a sample."""
    if not isinstance(x, np.ndarray):
        return x
    x = x.copy()
    x.flags.writeable = False
    return x


def as_floats(x: Any) -> Any:
    """An array of finite floats, or `None`."""
    if x is None or isinstance(x, Exception):
        return None
    try:
        x = np.asarray(x.data if is_node(x) else x, dtype=float)
    except (TypeError, ValueError):
        return None
    return x if np.all(np.isfinite(x)) else None


def same(value: Any, expected: Any) -> bool:
    """Whether two arrays agree, shapes included."""
    if value is None or value.shape != expected.shape:
        return False
    return bool(np.max(np.abs(value - expected), initial=0) <= TOLERANCE * np.max(np.abs(expected), initial=0) + 1e-14)


def proportion(value: Any, expected: Any) -> float | None:
    """The c with c · value = expected; NaN if both are 0, `None` if there is none."""
    if value is None or value.shape != expected.shape:
        return None
    square = float(np.sum(value * value))
    if not np.isfinite(square):
        return None
    if square == 0 or not np.any(expected):
        return float("nan") if not np.any(value) and not np.any(expected) else None
    ratio = float(np.sum(value * expected)) / square
    return ratio if same(ratio * value, expected) else None
