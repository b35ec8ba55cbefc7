"""Small array programs written out number by number, so that they too can run in lanes.

An array is an array of symbols, and NumPy itself moves, joins and multiplies them: the forward rules are read with a
namespace whose elementwise functions are the ops on numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..ops import TABLE
from ..ops.namespaces import Namespace
from .folding import folded
from .looping import LoopResult
from .roll import Roller
from .tape import ALIAS, CONSTANT, COTANGENT, DETACHED, ELEMENT, INPUT, LOOP, DeclinedError, Pull, Tape, code_of
from .trace import Symbols, Traced, enter, wrap

MOST = 60_000
"""The most numbers that a program is written out in."""


def is_scalar(tape: Tape, live: Sequence[int]) -> bool:
    """Whether no op of a program computes an array."""
    arrays = [i for i in tape.shapes if tape.rows[i][0] >= 0 and not _is_stack(tape, i)]
    return not arrays or set(arrays).isdisjoint(live)


def _is_stack(tape: Tape, i: int) -> bool:
    return tape.operation(tape.rows[i][0])[0] is ops.stack and not any(a in tape.shapes for a in tape.rows[i][1:])


SHARING = {ops.max, ops.min, ops.logsumexp, ops.log_softmax}
"""Ops whose gradient at ties is shared evenly, which it is not when they are differentiated number by number."""


def written_out(source: Tape, roots: Sequence[int]) -> tuple[Tape, list[int]]:
    """`expand`, of the backward passes too where these are better worked out on arrays."""
    rows = source.rows
    if source.pulls and any(rows[i][0] >= 0 and source.operation(rows[i][0])[0] in SHARING for i in source.live(roots)):
        roller = Roller(source, roots, careful=False, deep=True)
        found = [roller.row(r) for r in roots]
        source, roots = roller.tape, [y.index if isinstance(y, Traced) else roller.tape.constant(y) for y in found]
    return expand(source, roots)


def expand(source: Tape, roots: Sequence[int]) -> tuple[Tape, list[int]]:
    """The same program on numbers.

    Returns:
        The new tape, and the row of each root on it: of an array, one that stacks its numbers in C order.

    Raises:
        DeclinedError: it would have too many.
    """
    live = source.live(roots)
    sizes = sum(int(np.prod(source.shape(i))) for i in live)
    if sizes > MOST:
        raise DeclinedError(f"{sizes} numbers")
    expander = _Expander(source)
    for i in live:
        expander.values[i] = expander.value(i)
        if len(expander.tape.rows) > 4 * MOST:
            raise DeclinedError(f"{len(expander.tape.rows)} rows")
    return expander.tape, [expander.root(r) for r in roots]


class _Expander:
    def __init__(self, source: Tape) -> None:
        self.source, self.tape = source, Tape(folded)
        self.values: dict[int, Any] = {}
        self.arrays: dict[int, int] = {}  # rows of arrays that are in memory, or gradients of such
        self.pulls: dict[int, tuple[int, list[Any]]] = {}

    def _elements(self, i: int, row: int, shape: tuple[int, ...]) -> Any:
        """An array in memory as the symbols of its numbers."""
        self.arrays[i] = row
        if not shape:
            return wrap(self.tape, self.tape.row((ELEMENT, row, 0)) if self.tape.rows[row][0] == INPUT else row)
        count = int(np.prod(shape))
        return _filled([wrap(self.tape, self.tape.row((ELEMENT, row, k))) for k in range(count)], shape)

    def value(self, i: int) -> Any:
        """A row as a symbol or an array of symbols."""
        source, tape = self.source, self.tape
        code, *args = source.rows[i]
        shape = source.shape(i)
        if code == CONSTANT:
            return source.constants[args[0]]
        if code == INPUT:
            if source.dtype(i) not in (np.float64, np.int64, np.int32, np.bool):
                raise DeclinedError(f"an input of {source.dtype(i)}")
            return self._elements(i, tape.input(source.inputs[args[0]], shape, np.dtype(float)), shape)
        if code == ELEMENT:
            if args[0] not in self.arrays:  # of the argument of a gradient, which was computed
                return self.values[args[0]].ravel()[args[1]]
            return wrap(tape, tape.row((ELEMENT, self.arrays[args[0]], args[1])))
        if code in (ALIAS, DETACHED):
            if args[0] in self.arrays and shape and code == ALIAS:
                return self._elements(i, tape.row((ALIAS, self.arrays[args[0]], args[1]), shape), shape)
            # Each element of what is differentiated by is one of its own, also where two are one row.
            count = itertools.count()
            mark = (lambda: (next(count),)) if code == ALIAS else tuple
            return _each(
                lambda x: wrap(tape, tape.row((code, enter(tape, x), *args[1:], *mark()))), self.values[args[0]]
            )
        if code == COTANGENT:
            return self._cotangent(i, args[0], args[1])
        if code == LOOP:
            return self._elements(i, tape.input(LoopResult(*args), shape, np.dtype(float)), shape)
        if code < 0:
            raise DeclinedError("a map")
        op, params = source.operation(code)
        if op.differentiable is False and not op.elementwise:
            raise DeclinedError(op.name)
        counted = source.dtype(i) not in (np.float64, np.bool) or (source.dtype(i) == np.bool and op in SHARING)
        if counted and not op.elementwise:
            raise DeclinedError(f"{op.name} of {source.dtype(i)}")
        given = [self.values[a] if op.elementwise else _boxed(self.values[a]).view(_Array) for a in args]
        function = getattr(objects, op.name)
        try:
            found = function(given, **params) if op.arity < 0 else function(*given, **params)
        except (TypeError, ValueError, AttributeError) as error:
            raise DeclinedError(f"{op.name}: {error}") from error
        if not isinstance(found, np.ndarray):
            return found
        return found.view(_Array) if shape else found.item()

    def _cotangent(self, i: int, number: int, k: int) -> Any:
        source, tape = self.source, self.tape
        if number not in self.pulls:
            pull = source.pulls[number]
            seeds = []
            for y, g in pull.seeds:
                ys, gs = np.broadcast_arrays(_boxed(self.values[y]), _boxed(self.values[g]))
                seeds += [(enter(tape, a), enter(tape, b)) for a, b in zip(ys.ravel(), gs.ravel(), strict=True)]
            new = Pull(seeds, [])
            tape.pulls.append(new)
            at: list[Any] = []
            for target in pull.targets:
                if target in self.arrays and source.shape(target):
                    at.append(len(new.targets))
                    new.targets.append(self.arrays[target])
                else:
                    elements = [enter(tape, x) for x in _boxed(self.values[target]).ravel()]
                    at.append(range(len(new.targets), len(new.targets) + len(elements)))
                    new.targets.extend(elements)
            self.pulls[number] = len(tape.pulls) - 1, at
        new_number, places = self.pulls[number]
        place, shape = places[k], source.shape(i)
        if isinstance(place, int):
            return self._elements(i, tape.row((COTANGENT, new_number, place), shape), shape)
        found = [wrap(tape, tape.row((COTANGENT, new_number, p))) for p in place]
        return _filled(found, shape) if shape else found[0]

    def root(self, r: int) -> int:
        """A root as one row."""
        if r in self.arrays and self.source.shape(r):
            return self.arrays[r]
        value = self.values[r]
        if not self.source.shape(r):
            return enter(self.tape, value)
        rows = [enter(self.tape, x) for x in value.ravel()]
        return self.tape.row((code_of(ops.stack), *rows), (len(rows),))


class _Array(np.ndarray[Any, Any]):
    """An array of symbols; its comparisons are symbols too, where NumPy's would ask each for its truth."""


for _name, _ufunc in {"lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal}.items():
    setattr(_Array, f"__{_name}__", lambda a, b, _ufunc=_ufunc: _ufunc(a, b, dtype=object))
for _name, _ufunc in {"eq": np.equal, "ne": np.not_equal}.items():
    setattr(_Array, f"__{_name}__", lambda a, b, _ufunc=_ufunc: _ufunc(a, b, dtype=object))


def _filled(items: Sequence[Any], shape: tuple[int, ...]) -> Any:
    """An array of objects; one by one, since NumPy would ask a symbol for its numbers."""
    found = np.empty(len(items), object)
    for k, x in enumerate(items):
        found[k] = x
    return found.reshape(shape).view(_Array)


def _boxed(x: Any) -> Any:
    """x as an array of objects."""
    if isinstance(x, np.ndarray):
        return x
    box = np.empty((), object)
    box[()] = x
    return box


def _each(f: Callable[[Any], Any], x: Any) -> Any:
    return np.frompyfunc(f, 1, 1)(x) if isinstance(x, np.ndarray) else f(x)


# --- the reading of a forward rule on arrays of symbols ---------------------------------------------------------------


class _Objects(Namespace):
    """NumPy on arrays of symbols: elementwise ops element by element, the others by NumPy."""

    def __getattr__(self, name: str) -> Any:
        op = TABLE.get(name)
        if op is None or not op.elementwise:
            return super().__getattr__(name)

        def call(*args: Any, **params: Any) -> Any:
            function = (lambda *a: op(*a, **params)) if params else op
            if not any(isinstance(a, np.ndarray) for a in args):
                return function(*args)
            return np.frompyfunc(function, len(args), 1)(*map(_boxed, args))

        setattr(self, name, call)
        return call


def _reduction(op: Callable[..., Any], identity: float | None = None) -> Callable[..., Any]:
    ufunc = np.frompyfunc(op, 2, 1, identity=identity)

    def reduce(x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        axes = tuple(range(x.ndim)) if axis is None else axis
        if isinstance(axes, tuple):  # one by one: NumPy does not reorder these
            for a in sorted((a % x.ndim for a in axes), reverse=True):
                x = ufunc.reduce(x, axis=a, keepdims=True)
            return x if keepdims else np.squeeze(x, axis=axes)
        return ufunc.reduce(x, axis=axes, keepdims=keepdims)

    return reduce


def _scatter(g: Any, *, index: Any, shape: tuple[int, ...]) -> Any:
    total = np.full(shape, 0.0, object)
    np.add.at(total, index, g)
    return total


def _mean(x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    total = objects.sum(x, axis=axis, keepdims=keepdims)
    return total * (np.size(total) / x.size if x.size else np.nan)


objects = _Objects(
    np,
    sum=_reduction(ops.add, 0.0),
    prod=_reduction(ops.multiply, 1.0),
    max=_reduction(ops.maximum),
    min=_reduction(ops.minimum),
    mean=_mean,
    scatter=_scatter,
    isfinite=np.frompyfunc(Symbols.isfinite, 1, 1),
    zeros_like=lambda x: np.full(np.shape(x), 0.0, object),
    ones_like=lambda x: np.full(np.shape(x), 1.0, object),
    astype=lambda x, *, dtype: x,
    asarray=lambda x: x,
    stack=lambda xs, *, axis=0: np.stack([_boxed(x) for x in xs], axis=axis),
    cumulative_sum=lambda x, *, axis=None: np.add.accumulate(x, axis=0 if axis is None else axis),
)
