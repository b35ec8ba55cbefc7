"""Rolling up: the unrolled graph of a loop becomes a program on arrays.

A Python loop over samples, units or features leaves a sum of terms that are equal up to the numbers they start from.
Such terms are found by hashing every row together with the hashes of its arguments, where an element of an array counts
only as "some element of this array". The terms of one class become one term whose rows are arrays of rows, walked in
step; the sum becomes a sum along a new axis. Within such a term the same happens again, so that a scalar network comes
out as `sum((X[:, None, :] * W).T …)`, and where the index arrays of the two factors vary along different axes, the sum
of products is a matrix product.

Gradients are worked out after the rolling, on the few rows that are left.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from .classes import ADD, Classes
from .differentiate import cotangents
from .folding import folded
from .looping import LoopResult
from .places import Ids, strided, varying
from .tape import (
    ASSEMBLED,
    CONSTANT,
    COTANGENT,
    DETACHED,
    ELEMENT,
    INPUT,
    LOOP,
    MAPPED,
    SAMPLE,
    DeclinedError,
    Tape,
    code_of,
)
from .trace import Symbols, Traced, constant, contiguous, enter, wrap

MULTIPLY, STACK = code_of(ops.multiply), ops.stack


class Lane(NamedTuple):
    """The key of a row, or of an array of rows, for all samples of a map."""

    key: Any
    map: int


class Roller:
    """Reads one tape and writes another.

    Args:
        source: what was traced.
        roots: the rows that are wanted.
        careful: see `Symbols`.
        deep: whether sums within rolled terms are rolled too (for arrays), or written out term by term (for lanes).
        least: the fewest equal terms that are rolled.
    """

    def __init__(self, source: Tape, roots: Sequence[int], *, careful: bool, deep: bool, least: int = 2) -> None:
        self.source, self.deep, self.least = source, deep, least
        self.tape = Tape(folded)
        self.xp = Symbols(careful, self.tape)
        self.live = source.live(roots)
        self.done: dict[Any, Any] = {}
        self.ids: dict[Any, Ids] = {}
        self.sampled: dict[int, bytearray] = {}
        self.pulled: dict[int, list[Any]] = {}
        self.classes = Classes(source, self.live, deep)

    # --- the walk ---------------------------------------------------------------------------------------------------

    def row(self, index: int) -> Any:
        """The symbol (or number) on the new tape of a row of the old one."""
        return self._run(index)

    def index(self, root: int, as_number: bool = False) -> int:
        """The row on the new tape of a row of the old one; a truth value as 0 or 1 if that is asked for."""
        y = self.row(root)
        y = number_of(y) if as_number else y
        return y.index if isinstance(y, Traced) else self.tape.constant(y)

    def many(self, indices: Ids) -> Any:
        """The array of many rows of one class."""
        return self._run(self._key(indices))

    def _key(self, ids: Ids, number: int | None = None) -> Any:
        """The key of an array of rows without axes along which nothing changes; a single row is its own key.

        Args:
            ids: the rows.
            number: the map that they are in, if any; rows that no sample is in are as they are without it.
        """
        key: Any = int(ids.flat[0])
        if ids.size > 1:
            key = (ids.shape, ids.tobytes())
            self.ids.setdefault(key, ids)
        return key if number is None or not self._depends(ids, number) else Lane(key, number)

    def _rows(self, key: Any) -> Ids:
        """The rows of a key."""
        return np.array(key) if isinstance(key, int) else self.ids[key]

    def _run(self, key: Any) -> Any:
        """The result of a job and of all the jobs it waits for; a stack of its own, since graphs are deep."""
        if key in self.done:
            return self.done[key]
        stack, send = [(key, self._job(key))], None
        while stack:
            key, job = stack[-1]
            try:
                need = job.send(send)
            except StopIteration as stop:
                self.done[key] = send = stop.value
                stack.pop()
                continue
            if need in self.done:
                send = self.done[need]
            else:
                stack.append((need, self._job(need)))
                send = None
        return send

    def _job(self, key: Any) -> Generator[Any, Any, Any]:
        if isinstance(key, Lane):
            return self._mapped(self._rows(key.key), key.map)
        if not isinstance(key, int):
            return self._array(self._rows(key))
        return self._noted(key) if key in self.source.lines or key in self.source.names else self._single(key)

    def _noted(self, index: int) -> Generator[Any, Any, Any]:
        """A row of which the name, or the line that wrote it, is known."""
        found = yield from self._single(index)
        if isinstance(found, Traced):
            if index in self.source.lines:
                self.tape.lines.setdefault(found.index, self.source.lines[index])
            if index in self.source.names:
                self.tape.names.setdefault(found.index, self.source.names[index])
        return found

    # --- one row ----------------------------------------------------------------------------------------------------

    def _single(self, index: int) -> Generator[Any, Any, Any]:
        source, tape = self.source, self.tape
        row = source.rows[index]
        code, shape, dtype = row[0], source.shape(index), source.dtype(index)
        if code == INPUT:
            return wrap(tape, tape.input(source.inputs[row[1]], shape, dtype))
        if code == CONSTANT:
            return source.constants[row[1]]
        if code == MAPPED:
            many = source.maps[row[2]]
            found = yield self._key(np.array(row[1]), many.number)
            found = found if isinstance(found, Traced) else constant(tape, found)
            if self._depends(np.array(row[1]), many.number):
                return found
            return ops.broadcast_to(found, shape=(many.size, *found.shape))
        if code == SAMPLE:
            raise DeclinedError("a sample outside of its map")
        if code == LOOP:
            return wrap(tape, tape.input(LoopResult(*row[1:]), shape, dtype))
        if code == COTANGENT:
            gradients = yield from self._pull(row[1])
            return gradients[row[2]]
        if code == ELEMENT:
            array = yield row[1]
            return self._places(array, source.shape(row[1]), np.array(row[2]))
        if code < 0:
            inner = yield row[1]
            if not isinstance(inner, Traced):
                inner = constant(tape, inner)
            return wrap(tape, tape.row((code, inner.index, *row[2:]), shape, dtype))
        if code == ADD and index not in source.shapes:
            return (yield from self._sum(np.array(index)))
        op, params = source.operation(code)
        if op is STACK:
            ids = np.array(row[1:])
            if (
                len(set(row[1:])) >= self.least
                and len({self.classes.kinds[i] for i in row[1:]}) == 1
                and self.classes.kinds[row[1]] >= 0
            ):
                array = yield self._key(ids)
                return array
        args = []
        for a in row[1:]:
            args.append((yield a))  # noqa: PERF401  # no comprehension may wait
        if op is STACK and not self.deep:
            return self._assembled(list(enumerate(args)), shape)
        return self._apply(op, args, params)

    def _apply(self, op: Any, args: Sequence[Any], params: dict[str, Any]) -> Any:
        if not any(isinstance(a, Traced) for a in args):
            if op.elementwise:
                return op(*args, **params)
            args = [constant(self.tape, a) for a in args]
        return wrap(self.tape, self.tape.apply(op, [enter(self.tape, a) for a in args], params))

    def _pull(self, number: int) -> Generator[Any, Any, list[Any]]:
        """The gradients of a backward pass, in the order of its targets."""
        if number in self.pulled:
            return self.pulled[number]
        pull = self.source.pulls[number]
        seeds = []
        for y, g in pull.seeds:
            at = yield y
            start = yield g
            if isinstance(at, Traced):
                seeds.append((at.index, start if isinstance(start, Traced) else constant(self.tape, start)))
        targets = []
        for target in pull.targets:
            targets.append((yield target))  # noqa: PERF401  # no comprehension may wait
        whole, parts = cotangents(self.tape, seeds, [t.index for t in targets], self.xp) if seeds else ({}, {})
        found = [self._gradient(t, whole.get(t.index), parts.get(t.index, [])) for t in targets]
        self.pulled[number] = found
        return found

    def _gradient(self, target: Any, whole: Any, pieces: list[Any]) -> Any:
        if not self.deep and target.shape:
            if whole is not None:
                pieces = [*pieces, (np.arange(target.size) if target.shape else 0, whole)]
            return self._assembled(pieces, target.shape)
        total = self.xp.zeros_like(target) if whole is None else whole
        for where, g in pieces:
            index = np.unravel_index(where, target.shape)
            piece = ops.scatter(g, index=index, shape=target.shape) if target.shape else g
            total = total + piece
        return total

    def _assembled(self, pieces: Sequence[tuple[Any, Any]], shape: tuple[int, ...]) -> Any:
        parts = []
        for where, g in pieces:
            at = where.ravel().tolist() if isinstance(where, np.ndarray) and where.size < 2 else [where]
            parts += [(place, enter(self.tape, number_of(g))) for place in at]
        return wrap(self.tape, self.tape.assemble(parts, shape))

    # --- for all samples --------------------------------------------------------------------------------------------

    def _mapped(self, ids: Ids, number: int) -> Generator[Any, Any, Any]:
        """Rows of one class for each sample of a map: an array whose first axis is the samples."""
        source = self.source
        index = int(ids.flat[0])
        row = source.rows[index]
        plain = row[0] >= 0 or row[0] == DETACHED or (row[0] == ELEMENT and source.rows[row[1]][0] == SAMPLE)
        if index in source.shapes or not plain or len(row) > 4:  # a class knows three arguments
            raise DeclinedError("a map of a function of arrays, of a gradient or of a map")
        if row[0] != ELEMENT:
            found, whole = (yield from self._array(ids, number)), (source.maps[number].size, *ids.shape)
            simplified = isinstance(found, Traced) and found.shape not in ((), whole)
            return ops.broadcast_to(found, shape=whole) if simplified else found
        _, array, k = source.rows[row[1]]
        many, shape = source.maps[k], source.shape(array)
        strides = contiguous(shape)
        rest, steps = (x[: many.axis] + x[many.axis + 1 :] for x in (shape, strides))
        places = np.unravel_index(self.classes.args[1][ids], rest) if rest else ()
        starts = sum((p * s for p, s in zip(places, steps, strict=True)), np.zeros(ids.shape, int))
        samples = (strides[many.axis] * np.arange(many.size)).reshape(-1, *[1] * ids.ndim)
        return self._places((yield array), shape, starts + samples)

    def _depends(self, ids: Ids, number: int | None) -> bool:
        """Whether rows of one class are computed from a sample of a map."""
        if number is None:
            return False
        if number not in self.sampled:
            source = self.source
            marks = self.sampled[number] = bytearray(len(source.rows))
            for i in self.live:
                row = source.rows[i]
                if row[0] == SAMPLE:
                    marks[i] = source.maps[row[2]].number == number
                elif row[0] != MAPPED or source.maps[row[2]].number != number:
                    marks[i] = any(marks[a] for a in source.arguments(i))
        return bool(self.sampled[number][int(ids.flat[0])])

    # --- many rows in step ------------------------------------------------------------------------------------------

    def _array(self, ids: Ids, number: int | None = None) -> Generator[Any, Any, Any]:
        """The array whose elements are these rows, all of one class; in the shape of `ids`, behind that of samples."""
        source = self.source
        row = source.rows[int(ids.flat[0])]
        code = row[0]
        if code == ELEMENT:
            array = yield row[1]
            return self._places(array, source.shape(row[1]), self.classes.args[1][ids])
        if code == ADD and self.deep:
            return (yield from self._sum(ids, number))
        args = []
        for k in range(len(row) - 1):
            args.append((yield from self._argument(self.classes.args[k][ids], number)))  # noqa: PERF401  # no comprehension may wait
        if code == DETACHED:
            return wrap(self.tape, self.tape.row((code, args[0].index), args[0].shape, args[0].dtype))
        op, params = source.operation(code)
        return self._apply(op, args, params)

    def _argument(self, ids: Ids, number: int | None) -> Generator[Any, Any, Any]:
        """An array of rows as an argument: computed once where it does not change, and broadcast along there."""
        varies = varying(ids)
        found = yield self._key(ids[tuple(slice(None) if v else 0 for v in varies)], number)
        if all(varies) or not isinstance(found, Traced) or not found.shape:
            return found
        samples = (self.source.maps[number].size,) if number is not None and self._depends(ids, number) else ()
        if not samples and all(varies[varies.index(True) :]):  # broadcasting adds axes in front by itself
            return found
        return ops.reshape(found, shape=(*samples, *(n if v else 1 for n, v in zip(ids.shape, varies, strict=True))))

    def _sum(self, ids: Ids, number: int | None = None) -> Generator[Any, Any, Any]:
        """A sum (or many, in step): terms of one class become a sum along an axis."""
        terms = np.array([self.classes.terms(int(i)) for i in ids.flat]).reshape(*ids.shape, -1)
        first = terms.reshape(-1, terms.shape[-1])[0].tolist()
        total: Any = None
        for group in self._groups(first):
            if len(group) >= self.least and self.classes.kinds[first[group[0]]] >= 0:
                part = yield from self._rolled(terms[..., group], number)
                total = part if total is None else total + part
                continue
            for t in group:
                part = yield from self._argument(terms[..., t], number)
                total = part if total is None else total + part
        return total

    def _groups(self, terms: Sequence[int]) -> list[list[int]]:
        """The places of terms of one class together.

        For lanes the parameters of a gradient are first held to be different: lanes that share them add up their
        gradients in registers.
        """
        groups: list[list[int]] = []
        rest = list(range(len(terms)))
        for of in (self.classes.kinds,) if self.deep else (self.classes.kept, self.classes.kinds):
            classes: dict[int, list[int]] = {}
            for t in rest:
                classes.setdefault(of[terms[t]], []).append(t)
            last = of is self.classes.kinds
            groups += [g for g in classes.values() if last or len(g) >= self.least]
            rest = [] if last else [t for g in classes.values() if len(g) < self.least for t in g]
        return sorted(groups, key=lambda g: g[0])  # in the order in which they were written

    def _rolled(self, ids: Ids, number: int | None) -> Generator[Any, Any, Any]:
        """Terms of one class, summed along the last axis of `ids`."""
        row = self.source.rows[int(ids.flat[0])]
        if self.deep and row[0] == MULTIPLY and not self.xp.careful:  # the rule of a product of matrices asks nothing
            product = yield from self._product(self.classes.args[0][ids], self.classes.args[1][ids], number)
            if product is not None:
                return product
        if not varying(ids)[-1]:  # one term, many times
            return (yield from self._argument(ids[..., 0], number)) * float(ids.shape[-1])
        return ops.sum((yield from self._argument(ids, number)), axis=-1)

    def _product(self, a: Ids, b: Ids, number: int | None) -> Generator[Any, Any, Any]:
        """Σ a · b along the last axis as a matrix product, where a and b vary along different other axes; else None.

        The axis of a map's samples is the one before the first.
        """
        size = a.shape[-1]
        extent = dict(enumerate(a.shape[:-1]))
        if number is not None:
            extent = {-1: self.source.maps[number].size, **extent}
        in_a, in_b = varying(a), varying(b)
        if not (in_a[-1] and in_b[-1]):
            return None
        rows, columns = (
            [k for k in extent if (varies[k] if k >= 0 else self._depends(ids, number))]
            for ids, varies in ((a, in_a), (b, in_b))
        )
        if set(rows) & set(columns) or not (rows or columns):
            return None
        if columns and (not rows or columns[0] < rows[0]):  # the factor of the first axes stands on the left
            a, b, in_a, in_b, rows, columns = b, a, in_b, in_a, columns, rows
        left = yield self._key(a[tuple(slice(None) if v else 0 for v in in_a)], number)
        right = yield self._key(b[tuple(slice(None) if v else 0 for v in in_b)], number)
        left = ops.reshape(left, shape=(-1, size)) if rows else left
        right = ops.reshape(right, shape=(-1, size)).T if columns else right
        product = left @ right
        where = rows + columns
        product = ops.reshape(product, shape=tuple(extent[k] for k in where))
        order = sorted(range(len(where)), key=where.__getitem__)
        if order != list(range(len(where))):
            product = ops.permute_dims(product, axes=tuple(order))
        there = [k for k in extent if k >= 0 or k in where]
        return ops.reshape(product, shape=tuple(extent[k] if k in where else 1 for k in there))

    # --- elements of arrays -----------------------------------------------------------------------------------------

    def _places(self, array: Any, shape: tuple[int, ...], offsets: Any) -> Any:
        """The elements of an array at these offsets."""
        if not self.deep:
            row = self.tape.rows[array.index]
            if row[0] == ASSEMBLED and not offsets.ndim:
                at = int(offsets)
                parts = self.tape.assembled[row[1]].parts
                if not any(at in where for where, _ in parts if not isinstance(where, int)):
                    return functools.reduce(
                        operator.add, (wrap(self.tape, r) for w, r in parts if isinstance(w, int) and w == at), 0.0
                    )
            if offsets.ndim:
                return wrap(self.tape, self.tape.lanes(array.index, offsets))
            return wrap(self.tape, self.tape.row((ELEMENT, array.index, int(offsets))))
        if not offsets.ndim and array.size == 1:
            return ops.reshape(array, shape=())
        if not offsets.ndim:
            return array[tuple(int(i) for i in np.unravel_index(int(offsets), shape))] if shape else array
        return strided(array, shape, offsets)


def number_of(y: Any) -> Any:
    """A truth value as 0 or 1, to be kept in memory."""
    return ops.where(y, 1.0, 0.0) if isinstance(y, Traced) and y.dtype.kind == "b" else y
