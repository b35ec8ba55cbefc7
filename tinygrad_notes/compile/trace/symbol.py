"""Symbols: nodes with a shape and a dtype and no number, each the row of a tape."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ... import ops
from ...graph import cotangents, is_node
from ...ops import Op, shape_of
from ...ops.namespaces import is_number
from ...tensor import Tensor
from ...value import Value
from ..inference import BOOLEAN
from ..tape import ALIAS, CONSTANT, COTANGENT, DETACHED, ELEMENT, INPUT, SAMPLE, Pull, Tape
from .refusals import CHOOSE, StandIn, TraceError, no_number, refuse, user_line
from .refused import Refusing
from .thread import current


class Traced(Refusing):
    """What `Symbol` and `Number` share: a place on a tape."""

    __slots__ = ()

    traced = True
    tape: Tape
    index: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return self.tape.shapes.get(self.index, ())

    @property
    def dtype(self) -> Any:
        """The dtype."""
        return self.tape.dtype(self.index)

    @property
    def data(self) -> Any:
        """A stand-in without numbers."""
        return StandIn(self.shape, self.dtype)

    @property
    def op(self) -> Op | None:
        """The op that made it."""
        code = self.tape.rows[self.index][0]
        return self.tape.operation(code)[0] if code >= 0 else None

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of the op."""
        code = self.tape.rows[self.index][0]
        return self.tape.operation(code)[1] if code >= 0 else {}

    @property
    def parents(self) -> tuple[Any, ...]:
        """The arguments of the op, as symbols and plain numbers."""
        code, *args = self.tape.rows[self.index]
        return tuple(wrap(self.tape, a) for a in args) if code >= 0 else ()

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to it."""
        return self.tape.rows[self.index][0] != DETACHED and self.dtype.kind == "f"

    @property
    def name(self) -> str | None:
        """What the user called it."""
        return self.tape.names.get(self.index)

    @name.setter
    def name(self, name: str | None) -> None:
        if name is not None:
            self.tape.names.setdefault(self.index, name)

    @classmethod
    def record(cls, op: Op, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Write an op onto the tape of its first symbol."""
        tape: Tape = next(a.tape for a in args if isinstance(a, Traced))
        for a in args:  # within a loop's body, the innermost
            if isinstance(a, Traced) and a.tape is not tape and _encloses(tape, a.tape):
                tape = a.tape
        now = current()
        if now is not None and now is not tape and any(is_node(a) and not isinstance(a, Traced) for a in args):
            tape = now if _encloses(tape, now) else tape
        return wrap(tape, tape.apply(op, [enter(tape, a) for a in args], params))

    def enter(self, transform: int) -> Any:
        """This value as an argument of a transform: the same numbers, to differentiate by.

        Raises:
            TypeError: it holds integers or truth values.
        """
        if self.dtype.kind != "f":
            raise TypeError(
                f"compile: a gradient by an array of {self.dtype}; expected floating-point numbers. "
                "Convert first: x.astype(float)."
            )
        now = current()
        if now is not None and now is not self.tape and _encloses(self.tape, now):  # of the tape around a loop's body
            inside: Traced = wrap(now, enter(now, self))
            return inside.enter(transform)
        tape, row = self.tape, self.tape.rows[self.index]
        if row[0] == ELEMENT:
            array = tape.row((ALIAS, row[1], transform), tape.shape(row[1]), tape.dtype(row[1]))
            return wrap(tape, tape.row((ELEMENT, array, row[2])))
        return wrap(tape, tape.row((ALIAS, self.index, transform), self.shape, self.dtype))

    @classmethod
    def pullback(cls, seeds: Sequence[tuple[Any, Any]], targets: Sequence[Any]) -> list[Any]:
        """The cotangent of each target, noted to be worked out when the program is lowered.

        What is asked of elements is asked of their whole array, once.
        """
        tape: Tape = targets[0].tape
        seeds = [(_inside(tape, y), g) for y, g in seeds]
        if tape.loops:
            seeds = tape.loops[0].differentiate(tape, seeds, targets)
        return cls.pullback_between_loops(seeds, targets)

    @staticmethod
    def pullback_between_loops(seeds: Sequence[tuple[Any, Any]], targets: Sequence[Any]) -> list[Any]:
        """The same, but for what comes through loops."""
        tape: Tape = targets[0].tape
        pull = Pull([(y.index, enter(tape, g)) for y, g in seeds], [])
        tape.pulls.append(pull)
        number = len(tape.pulls) - 1
        places: dict[int, int] = {}

        def gradient(target: int) -> int:
            if target not in places:
                places[target] = len(pull.targets)
                pull.targets.append(target)
            return tape.row((COTANGENT, number, places[target]), tape.shape(target), tape.array_dtype(target))

        found = []
        for x in targets:
            row = tape.rows[x.index]
            if row[0] == ELEMENT:
                found.append(wrap(tape, tape.row((ELEMENT, gradient(row[1]), row[2]))))
            else:
                found.append(wrap(tape, gradient(x.index)))
        return found

    def detach(self) -> Any:
        """The same, with no gradient flowing through it."""
        return wrap(self.tape, self.tape.row((DETACHED, self.index), self.shape, self.dtype))

    def seed(self) -> Any:
        """The cotangent 1."""
        if math.prod(self.shape) != 1:
            raise ValueError(f"grad: {ops.describe(self)} has {math.prod(self.shape)} elements; expected a scalar.")
        return filled_like(self, 1.0)

    def own(self, g: Any, shared: bool) -> Any:
        """The gradient as it is."""
        return g

    def as_cotangent(self, g: Any) -> Any:
        """A cotangent from the user, checked against the shape."""
        g = np.asarray(g, self.dtype) if isinstance(g, (list, tuple)) else g
        if tuple(shape_of(g)) != self.shape:
            raise ValueError(f"vjp: the cotangent has shape {tuple(shape_of(g))}; expected {self.shape}.")
        return wrap(self.tape, enter(self.tape, g))

    @classmethod
    def pushforward(
        cls, outputs: Sequence[Any], inputs: Sequence[Any], tangents: Sequence[Any], transforms: Iterator[int]
    ) -> list[Any]:
        """The tangents of the outputs, by two backward passes: a cotangent is linear in those it starts from."""
        tape: Tape = inputs[0].tape
        outputs = [_inside(tape, y) if isinstance(y, Traced) else y for y in outputs]
        live = [y for y in outputs if isinstance(y, Traced)]
        if not live:
            return [0.0 for _ in outputs]
        starts = []
        for y in live:
            zero = filled_like(y, 0.0)
            starts.append((zero if isinstance(zero, Traced) else constant(tape, zero)).enter(next(transforms)))
        pulled = cls.pullback(list(zip(live, starts, strict=True)), inputs)
        seeds = [(c, t) for c, t in zip(pulled, tangents, strict=True) if isinstance(c, Traced)]
        found = iter(cls.pullback(seeds, starts))
        return [next(found) if isinstance(y, Traced) else 0.0 for y in outputs]

    def __repr__(self) -> str:
        return f"<traced {self.dtype} {self.shape}>"


class Symbol(Traced, Tensor):  # type: ignore[override]  # properties in place of slots
    """An array that is traced."""

    __slots__ = ("index", "tape", "view")

    rank = 4

    view: tuple[int, int, tuple[int, ...]] | None
    """Where its elements are, if it is a part of an input: the input's row, an offset, and strides, in elements."""

    __hash__ = Traced.__hash__

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len: a traced scalar has no length.")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        n = len(self)
        if self.view is None or self.ndim > 1 or not _is_number(self.dtype):
            return (self[i] for i in range(n))
        base, offset, (stride,) = self.view
        return iter([_element(self.tape, base, offset + i * stride) for i in range(n)])

    def __getitem__(self, index: Any) -> Any:
        parts = index if type(index) is tuple else (index,)
        if self.view is None or not all(type(i) is int for i in parts):
            return self._part(index)
        base, offset, strides = self.view
        if len(parts) > len(strides):
            return self._part(index)  # refused there
        for i, n, stride in zip(parts, self.shape, strides, strict=False):
            if not -n <= i < n:
                return self._part(index)  # refused there
            offset += (i + n if i < 0 else i) * stride
        if len(parts) == len(strides) and _is_number(self.dtype):
            return _element(self.tape, base, offset)
        key = (self.index, parts)
        known = self.tape.parts.get(key)
        if known is None:
            part = self._part(index)
            known = self.tape.parts[key] = part.index
        part = wrap(self.tape, known)
        if len(parts) < len(strides):
            part.view = (base, offset, strides[len(parts) :])
        return part

    def _part(self, index: Any) -> Any:
        for part in index if isinstance(index, tuple) else (index,):
            if isinstance(part, Traced):
                refuse("an index that is traced", f"Instead, {CHOOSE}")
        return super().__getitem__(index)


class Number(Traced, Value):  # type: ignore[misc, override]  # properties in place of slots
    """A float (or the truth of a comparison) that is traced."""

    __slots__ = ("index", "tape")

    rank = 3
    size = 1
    T = mT = property(lambda self: self)  # noqa: N815  # NumPy's names

    __hash__ = Traced.__hash__
    __iter__ = no_number("a loop over a single traced number", "Loop over an array, or over a range that is static.")
    __init__: Callable[..., None] = object.__init__  # Number() is made empty, and sooner than by __new__

    def reshape(self, *shape: Any) -> Any:
        """The number as an array of one element."""
        return ops.reshape(
            self, shape=tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        )

    def __getitem__(self, index: Any) -> Any:
        return ops.getitem(self, index=index)


Symbol.array_kind = Number.array_kind = Symbol
Symbol.__name__, Number.__name__ = "traced array", "traced number"  # as errors call them, Python's own too


def wrap(tape: Tape, index: int) -> Any:
    """The symbol of a row; a CONSTANT row is its plain number."""
    row = tape.rows[index]
    if row[0] == CONSTANT:
        return tape.constants[row[1]]
    if index not in tape.shapes and tape.dtypes.get(index, BOOLEAN) is BOOLEAN:
        number = Number()
        number.tape, number.index = tape, index
        return number
    symbol = Symbol.__new__(Symbol)
    symbol.tape, symbol.index = tape, index
    symbol.view = None
    if row[0] in (INPUT, ALIAS, COTANGENT, SAMPLE):
        symbol.view = (index, 0, contiguous(tape.shape(index)))
    return symbol


def constant(tape: Tape, x: Any) -> Any:
    """A plain number as a symbol, for rules that ask for a node."""
    number = Number.__new__(Number)
    number.tape, number.index = tape, tape.constant(x)
    return number


def _is_number(dtype: np.dtype[Any]) -> bool:
    """Whether elements of such an array are traced as numbers, of which loops can be rolled up."""
    return dtype == np.float64 or dtype.kind in "iub"


def _element(tape: Tape, array: int, offset: int) -> Any:
    """One number of an input, an alias or a gradient."""
    key = (ELEMENT, array, offset)
    if array in tape.dtypes:
        return wrap(tape, tape.row(key, (), tape.dtype(array)))
    index = tape.known.get(key)
    if index is None:
        index = tape.known[key] = len(tape.rows)
        tape.rows.append(key)
    number: Number = Number()
    number.tape, number.index = tape, index
    return number


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of an array in C order, in elements."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def _encloses(outer: Tape, tape: Tape) -> bool:
    """Whether a tape is that of a loop's body within another."""
    while tape.capture is not None and tape.capture.outer is not None:
        tape = tape.capture.outer
        if tape is outer:
            return True
    return False


def enter(tape: Tape, x: Any) -> int:
    """The row of an argument of an op: a symbol's, a constant's, or that of something captured."""
    if isinstance(x, Traced):
        if x.tape is not tape:
            if _encloses(x.tape, tape):
                return int(tape.capture(x))
            raise TraceError(
                f"compile: a value that another trace made was used at {user_line()}; it was kept in a global, an "
                "attribute or a closure. Return it from the compiled function instead."
            )
        return x.index
    if tape.capture is not None:
        return int(tape.capture(x))
    if is_number(x):
        return tape.constant(x.item() if isinstance(x, np.generic) else x)
    raise TypeError(f"compile: got {ops.describe(x)}; expected a number or a traced value.")


def _inside(tape: Tape, y: Traced) -> Any:
    """A symbol on a tape; within a loop's body a result may be of the tape around it, which depends on nothing here."""
    return y if y.tape is tape else wrap(tape, enter(tape, y))


def gradients(y: Any, nodes: Sequence[Any]) -> list[Any]:
    """The gradient of a scalar by leaves that it was computed from; while tracing, of captured ones."""
    if isinstance(y, Traced):
        targets = [node if isinstance(node, Traced) else wrap(y.tape, enter(y.tape, node)) for node in nodes]
        return type(y).pullback([(y, y.seed())], targets)
    found = dict(cotangents([(y, y.seed())], nodes))
    return [found.get(node, 0.0 * node.data) for node in nodes]


def filled_like(x: Any, number: float) -> Any:
    """A number in the shape and dtype of a symbol."""
    if not isinstance(x, Traced) or not (x.shape or x.dtype != np.float64):
        return number
    tape = x.tape
    index = tape.constant(number)
    if x.dtype not in (np.float64, BOOLEAN):
        index = tape.row((tape.code(ops.astype, {"dtype": x.dtype}), index), (), x.dtype)
    if x.shape:
        index = tape.row((tape.code(ops.broadcast_to, {"shape": x.shape}), index), x.shape, tape.dtype(index))
    return wrap(tape, index)
