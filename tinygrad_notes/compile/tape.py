"""The tape: what was traced, as rows of integers in which equal computations are one row.

A row is `(code, *arguments)`: the arguments are numbers of earlier rows, so the tape is in topological order; the code
says which op, with which parameters. A row that would repeat an earlier one is that one (value numbering), because the
rows are their own dictionary keys. Shapes and dtypes are kept for arrays only: a row without them is a float64 number.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..ops import Op
from ..ops.namespaces import is_number
from .inference import BOOLEAN, FLOAT64, WHOLE, infer

INPUT, ALIAS, ELEMENT, LANES, CONSTANT, DETACHED, COTANGENT, LOOP, ASSEMBLED, SAMPLE, MAPPED = range(-1, -12, -1)
"""Codes of rows that no op made.

`(INPUT, k)`: an array given from outside. `(ALIAS, row, transform)`: the same numbers, as an argument of a transform
that differentiates by it. `(ELEMENT, array, offset)`: one number of an input, an alias or a gradient; `(LANES, array,
k)`: many of them, at the k-th array of offsets. `(CONSTANT, k)`: a number. `(DETACHED, row)`: the same, with no
gradient flowing through it. `(COTANGENT, pull, k)`: a gradient that is still to be worked out. `(LOOP, loop, k)`: what
a loop leaves. `(ASSEMBLED, k)`: an array put together from numbers and lanes. `(SAMPLE, array, k)`: any one sample of
an array, by the k-th map; `(MAPPED, row, k)`: what a row is for each sample, as an array."""

ARGUMENTS: dict[int, tuple[int, ...]] = {
    INPUT: (),
    ALIAS: (1,),
    ELEMENT: (1,),
    LANES: (1,),
    CONSTANT: (),
    DETACHED: (1,),
    SAMPLE: (1,),
    MAPPED: (1,),
}
"""Which entries of such a row are rows."""

_PLAIN: dict[Op, int] = {}
_OPS: list[Op] = []
_WITH_PARAMS = 1_000_000  # codes from here on are of one tape: an op with parameters
BOOLEAN_OPS = {"less", "less_equal", "greater", "greater_equal", "equal", "not_equal"}
BOOLEAN_OPS |= {"logical_and", "logical_or", "logical_not"}


def code_of(op: Op) -> int:
    """The code of an op without parameters."""
    code = _PLAIN.get(op)
    if code is None:
        code = _PLAIN[op] = len(_OPS)
        _OPS.append(op)
    return code


_SPREADING = {ops.reshape, ops.broadcast_to, ops.expand_dims}


class DeclinedError(Exception):
    """A back end cannot run a program, or should not; the message says why."""


class Assembled(NamedTuple):
    """An array that is the sum of parts: each a row of one number or of many, and the offset(s) it belongs to."""

    parts: list[tuple[int | np.ndarray[Any, Any], int]]


class Map(NamedTuple):
    """A function of one sample, traced once: how many samples, and along which axis of an array they lie."""

    size: int
    axis: int
    number: int


class Pull(NamedTuple):
    """A backward pass that is still to be worked out: rows with their cotangents' rows, and the rows asked for."""

    seeds: list[tuple[int, int]]
    targets: list[int]


class Tape:
    """Rows, and what they refer to.

    Args:
        folding: what simplifies ops as they are written, if anything does: see `folding.py`.

    Attributes:
        rows: `(code, *arguments)`, each argument an earlier row (or an index into one of the lists below).
        constants: the numbers of CONSTANT rows.
        inputs: what INPUT rows stand for: a path into the arguments, or a captured array or node.
        pulls, loops: what COTANGENT and LOOP rows stand for.
        maps: what SAMPLE and MAPPED rows belong to.
        offsets: the places of LANES rows.
        assembled: what ASSEMBLED rows are put together from.
        shapes, dtypes: of the rows that are no float64 number.
        parts: the rows of parts of arrays, by the row of the array and the index.
        capture: gives the row of something from outside of the arguments; `None` where nothing may come from there.
        chosen: rows of choices between something and 0 that stand for its product with 1 or 0.
        names: what the user called a row.
        lines: where a row was written, in words; filled by `line`, which is None unless somebody wants to know.
    """

    def __init__(self, folding: Callable[..., int | None] | None = None) -> None:
        self.folding = folding
        self.rows: list[tuple[int, ...]] = []
        self.known: dict[tuple[int, ...], int] = {}
        self.constants: list[Any] = []
        self.inputs: list[Any] = []
        self.pulls: list[Pull] = []
        self.loops: list[Any] = []
        self.assembled: list[Assembled] = []
        self.maps: list[Map] = []
        self.offsets: list[np.ndarray[Any, Any]] = []
        self.shapes: dict[int, tuple[int, ...]] = {}
        self.dtypes: dict[int, np.dtype[Any]] = {}
        self.chosen: set[int] = set()
        self.names: dict[int, str] = {}
        self.lines: dict[int, str] = {}
        self.line: Callable[[], str] | None = None
        self.parts: dict[tuple[int, tuple[int, ...]], int] = {}
        self.capture: Any = None
        self._constants: dict[tuple[type, str], int] = {}
        self._applied: list[tuple[Op, dict[str, Any]]] = []
        self._codes: dict[Any, int] = {}
        self._live: dict[tuple[int, ...], list[int]] | None = None  # what was asked for, once nothing can change it
        self._plain: list[type | None] = []

    def close(self) -> None:
        """Nothing is written any more."""
        self.known = _Closed()
        self._live = {}

    # --- rows -------------------------------------------------------------------------------------------------------

    def row(self, key: tuple[int, ...], shape: tuple[int, ...] = (), dtype: np.dtype[Any] = FLOAT64) -> int:
        """The number of a row, new or known."""
        index = self.known.get(key)
        if index is None:
            index = self.known[key] = len(self.rows)
            self.rows.append(key)
            if self.line is not None:
                self.lines[index] = self.line()
            if shape:
                self.shapes[index] = shape
            if dtype is not FLOAT64 and dtype != FLOAT64:
                self.dtypes[index] = dtype
        return index

    def constant(self, x: Any) -> int:
        """The row of a plain number."""
        key = (type(x), repr(x))
        k = self._constants.get(key)
        if k is None:
            k = self._constants[key] = len(self.constants)
            self.constants.append(x)
        return self.row((CONSTANT, k))

    def input(self, what: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
        """The row of an array that is given from outside; asked for twice, it is two."""
        self.inputs.append(what)
        return self.row((INPUT, len(self.inputs) - 1), shape, dtype)

    def lanes(self, array: int, offsets: np.ndarray[Any, Any]) -> int:
        """The row of many numbers of an array (C order), in the shape of their offsets."""
        key = (LANES, array, offsets.shape, offsets.tobytes())
        k = self._codes.get(key)
        if k is None:
            k = self._codes[key] = len(self.offsets)
            self.offsets.append(offsets)
        return self.row((LANES, array, k), offsets.shape)

    def assemble(self, parts: list[tuple[int | np.ndarray[Any, Any], int]], shape: tuple[int, ...]) -> int:
        """The row of an array that is put together."""
        self.assembled.append(Assembled(parts))
        return self.row((ASSEMBLED, len(self.assembled) - 1), shape)

    def arguments(self, index: int) -> tuple[int, ...]:
        """The rows that a row is computed from; of a COTANGENT its seeds, of a LOOP what goes in."""
        row = self.rows[index]
        code = row[0]
        if code >= 0:
            return row[1:]
        if code == COTANGENT:
            pull = self.pulls[row[1]]
            return (*(i for seed in pull.seeds for i in seed), *pull.targets)
        if code == ASSEMBLED:
            return tuple(part for _, part in self.assembled[row[1]].parts)
        if code == LOOP:
            return tuple(self.loops[row[1]].arguments)
        return tuple(row[k] for k in ARGUMENTS[code])

    def live(self, roots: Sequence[int]) -> list[int]:
        """The rows that the roots are computed from, in order."""
        if self._live is None:
            return self._find_live(roots)
        key = tuple(roots)
        if key not in self._live:
            self._live[key] = self._find_live(roots)
        return self._live[key]

    def _find_live(self, roots: Sequence[int]) -> list[int]:
        rows = self.rows
        needed = bytearray(len(rows))
        for root in roots:
            needed[root] = 1
        for index in range(len(rows) - 1, -1, -1):
            if needed[index]:
                row = rows[index]
                if len(row) == 3 and row[0] >= 0:  # most rows of long tapes
                    needed[row[1]] = needed[row[2]] = 1
                    continue
                for a in self.arguments(index):
                    needed[a] = 1
        return list(itertools.compress(range(len(rows)), needed))

    def compared_gradients(self, roots: Sequence[int]) -> list[int]:
        """The rows computed from gradients that comparisons read: what is not a number there shows in no result."""
        from_gradients, found = bytearray(len(self.rows)), dict[int, None]()
        live = self.live(roots) if self.pulls else []
        for i in itertools.dropwhile(lambda i: self.rows[i][0] != COTANGENT, live):
            arguments = self.arguments(i)
            if self.rows[i][0] == COTANGENT or any(from_gradients[a] for a in arguments):
                from_gradients[i] = 1
                if self.dtype(i).kind == "b":
                    found |= dict.fromkeys(a for a in arguments if from_gradients[a] and self.dtype(a).kind == "f")
        return list(found)

    def shape(self, index: int) -> tuple[int, ...]:
        """The shape of a row."""
        return self.shapes.get(index, ())

    def dtype(self, index: int) -> np.dtype[Any]:
        """The dtype of a row."""
        return self.dtypes.get(index, FLOAT64)

    def is_constant(self, index: int) -> bool:
        """Whether a row is a plain number."""
        return self.rows[index][0] == CONSTANT

    def number(self, index: int) -> Any:
        """The plain number of a CONSTANT row."""
        return self.constants[self.rows[index][1]]

    def array_dtype(self, index: int) -> np.dtype[Any]:
        """The dtype of an array of such rows, in the processor's order of bytes; constants are as NumPy has them."""
        dtype = np.asarray(self.number(index)).dtype if self.is_constant(index) else self.dtype(index)
        return dtype.newbyteorder("=")

    def plain(self, index: int) -> type | None:
        """What Python would have in place of a row, a float, an int or a bool, where no NumPy is in what it comes from.

        Such a number takes the dtype of the arrays that it meets.
        """
        known = self._plain
        for i in range(len(known), index + 1):
            code, *args = self.rows[i]
            found: type | None = None
            if code == CONSTANT:
                found = type(self.number(i)) if type(self.number(i)) in (float, int, bool) else None
            elif code == INPUT:
                found = getattr(self.inputs[args[0]], "plain", None)
            elif code == COTANGENT:
                found = known[self.pulls[args[0]].targets[args[1]]]
            elif code == LOOP:
                found = self.loops[args[0]].plain(args[1])
            elif code in (ELEMENT, ALIAS, DETACHED):
                found = known[args[0]]
            elif code >= 0:
                op, given = self.operation(code)[0], {known[a] for a in args}
                if (op.elementwise or op is ops.flip) and None not in given:
                    whole = op in WHOLE and op is not ops.pow and float not in given
                    found = bool if op.name in BOOLEAN_OPS else int if whole else float
            known.append(found)
        return known[index]

    # --- ops --------------------------------------------------------------------------------------------------------

    def code(self, op: Op, params: dict[str, Any]) -> int:
        """The code of an op with its parameters."""
        if not params:
            return code_of(op)
        key = (op, *((name, _hashable(p)) for name, p in params.items()))
        code = self._codes.get(key)
        if code is None:
            code = self._codes[key] = _WITH_PARAMS + len(self._applied)
            self._applied.append((op, params))
        return code

    def operation(self, code: int) -> tuple[Op, dict[str, Any]]:
        """The op and the parameters of a code from 0 on."""
        return self._applied[code - _WITH_PARAMS] if code >= _WITH_PARAMS else (_OPS[code], {})

    def apply(self, op: Op, args: Sequence[int], params: dict[str, Any]) -> int:
        """The row of an op on rows; its shape is worked out, and refused as the op itself would refuse it."""
        if self.folding is not None:
            found = self.folding(self, op, args, params)
            if found is not None:
                return found
        if not params and op.elementwise and not any(a in self.shapes or a in self.dtypes for a in args):
            dtype = BOOLEAN if op.name in BOOLEAN_OPS else FLOAT64
            return self.row((code_of(op), *args), (), dtype)
        key = (self.code(op, params), *args)
        index = self.known.get(key)
        return self.row(key, *infer(self, op, args, params)) if index is None else index

    def filling(self, index: int) -> float | None:
        """The number that an array is filled with, if it is one constant, broadcast."""
        while True:
            code, *args = self.rows[index]
            if code == CONSTANT:
                x = self.constants[args[0]]
                return x if type(x) in (float, int) else None
            if code < 0 or self.operation(code)[0] not in _SPREADING:
                return None
            index = args[0]

    def made_by(self, index: int, op: Op) -> int | None:
        """The argument of a row, if it is this op of one argument."""
        row = self.rows[index]
        return row[1] if row[0] >= 0 and self.operation(row[0])[0] is op else None


class _Closed(dict[tuple[int, ...], int]):
    """In place of the rows of a tape that is complete."""

    def get(self, key: Any, default: Any = None) -> Any:
        raise RuntimeError(
            "compile: a traced value was used after the function had returned; it was kept in a global, an attribute "
            "or a closure. Return it from the compiled function instead."
        )


def _hashable(x: Any) -> Any:
    """A parameter as a dictionary key; an array by its identity, since it is kept on the tape."""
    if isinstance(x, (tuple, list)):
        return (type(x), *map(_hashable, x))
    if isinstance(x, slice):
        return (slice, x.start, x.stop, x.step)
    if is_number(x):
        return (type(x), x, math.copysign(1.0, x) if isinstance(x, float) else 1.0)
    return x if isinstance(x, (str, type(None), type(Ellipsis), np.dtype)) else id(x)
