"""Packing: the same step on several small arrays is one step on these arrays, one after the other in one.

What an optimizer or a penalty does to each parameter is a call of NumPy's for each; most of such a call's time is the
call. Rows of the same op at the same distance from the end are packed, since none of them can need another. Where the
arguments come from outside they are copied together first, which has to pay. Numbers that are added up are packed too:
Σ u · v over several pairs of vectors is one product.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from .. import ops
from .folding import folded
from .inference import FLOAT64
from .lower import carried
from .tape import INPUT, Tape, code_of

MOST = 1_000
"""The most numbers of an array that is packed: what is done to longer ones takes longer than the call."""
CALL, COPY = 0.6, 0.5
"""What a call less saves, and what copying an argument costs, in microseconds."""

WRITTEN = {"matmul", "sum"}
"""Ops of which a result is written where one says, a single number too."""

ADD, MULTIPLY, MATMUL = code_of(ops.add), code_of(ops.multiply), code_of(ops.matmul)


class Pack(NamedTuple):
    """Rows that are computed as one.

    Attributes:
        rows: the rows, in the order in which they lie.
        arguments: for each argument the row that all have in common, or the rows that lie one after the other.
        terms: of a sum of products, its other terms; else None.
    """

    rows: tuple[int, ...]
    arguments: tuple[int | tuple[int, ...], ...]
    terms: tuple[int, ...] | None = None

    @property
    def gathered(self) -> list[tuple[int, ...]]:
        """The arguments that lie one after the other."""
        return [a for a in self.arguments if isinstance(a, tuple)]


def pack(source: Tape, roots: Sequence[int], known: Collection[str]) -> tuple[Tape, list[int]]:
    """The same computation with rows packed.

    Args:
        source: a lowered tape.
        roots: the rows that are wanted.
        known: names of the elementwise ops that are to be packed.
    """
    found = _Finder(source, roots, known).packs()
    return _Writer(source, found).write(roots) if found else (source, list(roots))


class _Finder:
    """Finds what pays to be packed."""

    def __init__(self, tape: Tape, roots: Sequence[int], known: Collection[str]) -> None:
        self.tape, self.roots, self.known = tape, set(roots), known
        self.live = tape.live(roots)
        self.users: dict[int, list[int]] = {}
        for i in self.live:
            for a in tape.arguments(i):
                self.users.setdefault(a, []).append(i)
        self.height: dict[int, int] = {}
        for i in reversed(self.live):
            self.height[i] = max((self.height[u] + (not is_moved(tape, u)) for u in self.users.get(i, ())), default=0)

    def packs(self) -> list[Pack]:
        """The packs, each after those that it reads."""
        sums = list(self._sums())
        summed = {i for p in sums for i in p.rows}
        groups: dict[tuple[int, object], list[int]] = {}
        for i in self.live:
            key = self._kind(i)
            if key is not None and i not in summed:
                groups.setdefault((self.height[i], key), []).append(i)
        found: dict[frozenset[int], Pack] = {}
        for _, rows in sorted(groups.items(), key=lambda item: -item[0][0]):
            if len(rows) > 1 and any(self.tape.shape(i) for i in rows):
                found[frozenset(rows)] = self._pack(rows, found)
        return self._paying([*found.values(), *sums])

    def _kind(self, i: int) -> object:
        """What rows that can be packed have in common; None for those that cannot be."""
        tape = self.tape
        code, *args = tape.rows[i]
        size = math.prod(tape.shape(i))
        if code < 0 or not 0 < size <= MOST or tape.dtype(i) != FLOAT64:
            return None
        op, params = tape.operation(code)
        if op.name not in self.known or params:
            return None
        shared = [self._shared(i, a) for a in args]
        own = [a for a, s in zip(args, shared, strict=True) if not s]
        if not own or any(tape.shape(a) != tape.shape(i) or tape.dtype(a) != FLOAT64 for a in own):
            return None
        of_array = any(tape.shape(base(tape, a)) for a in own) or all(
            is_moved(tape, u) for u in self.users.get(i, (i,))
        )
        if not tape.shape(i) and not of_array:
            return None  # a number that Python computes sooner
        return (code, *(a if s else -1 for a, s in zip(args, shared, strict=True)))

    def _shared(self, i: int, a: int) -> bool:
        return self.tape.is_constant(a) or (not self.tape.shape(a) and bool(self.tape.shape(i)))

    def _pack(self, rows: Sequence[int], before: Mapping[frozenset[int], Pack]) -> Pack:
        """The pack of rows, in the order of a pack that they read, or of what they are computed from."""
        tape = self.tape
        given = list(zip(*(tape.rows[i][1:] for i in rows), strict=True))
        columns = [c[0] if self._shared(rows[0], c[0]) else tuple(base(tape, a) for a in c) for c in given]
        own = [c for c in columns if isinstance(c, tuple)]
        lead, place = own[0], {a: a for a in own[0]}
        for c in own:
            other = before.get(frozenset(c))
            if other is not None and len(other.rows) == len(c):
                lead, place = c, {a: k for k, a in enumerate(other.rows)}
        order = sorted(range(len(rows)), key=lambda n: place[lead[n]])
        arguments = [tuple(c[n] for n in order) if isinstance(c, tuple) else c for c in columns]
        return Pack(tuple(rows[n] for n in order), tuple(arguments))

    def _sums(self) -> Iterator[Pack]:
        """Sums of numbers in which products of vectors are added up."""
        tape = self.tape
        inner = {
            i
            for i in self.live
            if self._is_addition(i) and i not in self.roots and [*map(self._is_addition, self.users[i])] == [True]
        }
        for i in self.live:
            if not self._is_addition(i) or i in inner:
                continue
            terms, stack = [], [i]
            while stack:
                j = stack.pop()
                if j == i or j in inner:
                    stack += reversed(tape.rows[j][1:])
                else:
                    terms.append(j)
            products = sorted((t for t in terms if self._is_product(t)), key=lambda t: base(tape, tape.rows[t][1]))
            if len(products) > 1 and any(tape.rows[t][0] == MATMUL for t in products):
                columns = (tuple(base(tape, tape.rows[t][k]) for t in products) for k in (1, 2))
                taken = set(products)
                yield Pack((i,), tuple(columns), tuple(t for t in terms if t not in taken))

    def _is_addition(self, i: int) -> bool:
        return self.tape.rows[i][0] == ADD and not self.tape.shape(i) and self.tape.dtype(i) == FLOAT64

    def _is_product(self, i: int) -> bool:
        """Whether a row is a product of vectors, or of numbers that arrays hold, which nothing else needs."""
        tape = self.tape
        code, *args = tape.rows[i]
        if code not in (MATMUL, MULTIPLY) or tape.shape(i) or len(self.users[i]) > 1 or i in self.roots:
            return False
        held = code == MATMUL or all(tape.shape(base(tape, a)) for a in args)
        return held and all(tape.dtype(a) == FLOAT64 and 0 < math.prod(tape.shape(a)) <= MOST for a in args)

    def _paying(self, packs: Sequence[Pack]) -> list[Pack]:
        """Of packs that are connected by what they read: all, if they save a call more than they cost copies."""
        parts: dict[tuple[int, ...], list[Pack]] = {}
        for p in packs:
            keys = {p.rows, *p.gathered}
            near = {id(parts[k]): parts[k] for k in keys if k in parts}
            together = [p, *(q for part in near.values() for q in part)]
            parts |= {k: together for q in together for k in (q.rows, *q.gathered)}
        kept: list[Pack] = []
        for together in {id(part): part for part in parts.values()}.values():
            made = {p.rows for p in together}
            copied = {a for p in together for a in p.gathered if a not in made}
            saved = CALL * sum(self._calls(p) - 1 for p in together)
            spent = COPY * sum(self._is_copied(a) for rows in copied for a in rows)
            if saved - spent >= CALL:
                kept += together
        return kept

    def _is_copied(self, a: int) -> bool:
        return a in self.roots or not is_written(self.tape, a, self.known)

    def _calls(self, p: Pack) -> int:
        if p.terms is not None:
            return len(p.arguments[0])  # type: ignore[arg-type]  # a column
        return sum(bool(self.tape.shape(i)) for i in p.rows)


class _Writer:
    """Writes a tape anew, with packs."""

    def __init__(self, source: Tape, packs: Sequence[Pack]) -> None:
        self.source, self.tape = source, Tape(folded)
        self.pack_of = {i: p for p in packs for i in p.rows}
        self.new: dict[int, int] = {}
        self.laid: dict[tuple[int, ...], int] = {}
        gathered = dict.fromkeys(rows for p in packs for rows in p.gathered)
        self.given = [rows for rows in gathered if all(source.rows[a][0] == INPUT for a in rows)]

    def write(self, roots: Sequence[int]) -> tuple[Tape, list[int]]:
        """The tape, and the rows of the roots on it."""
        for rows in self.given:  # what is copied is read where it lies then, of which views are made beforehand
            for i in rows:
                self._need(i)
            self._part(self._lay(rows), rows)
        for i in self.source.live(roots):
            if i not in self.pack_of:  # packs wait until something needs them
                self._need(i)
        for r in roots:
            self._need(r)
        return self.tape, [self.new[r] for r in roots]

    def _need(self, i: int) -> None:
        """Write a row, and before it what it needs."""
        stack = [i]
        while stack:
            i = stack[-1]
            missing = [] if i in self.new else [a for a in self._arguments(i) if a not in self.new]
            if missing:
                stack += reversed(missing)
                continue
            stack.pop()
            if i not in self.new:
                if i in self.pack_of:
                    self._write_pack(self.pack_of[i])
                else:
                    self._write_row(i)

    def _arguments(self, i: int) -> Sequence[int]:
        p = self.pack_of.get(i)
        if p is None:
            return self.source.arguments(i)
        needed: list[int] = list(p.terms or ())
        for a in p.arguments:
            needed += a if isinstance(a, tuple) else (a,)
        return needed

    def _write_row(self, i: int) -> None:
        source, tape = self.source, self.tape
        code, *args = source.rows[i]
        if code < 0:
            self.new[i] = carried(source, i, tape, self.new)
        else:
            op, params = source.operation(code)
            key = (tape.code(op, params), *(self.new[a] for a in args))
            self.new[i] = tape.row(key, source.shape(i), source.dtype(i))

    def _write_pack(self, p: Pack) -> None:
        tape = self.tape
        args = [self._lay(a) if isinstance(a, tuple) else self.new[a] for a in p.arguments]
        if p.terms is not None:
            total = tape.apply(ops.matmul, args, {})
            for t in p.terms:
                total = tape.apply(ops.add, [self.new[t], total], {})
            self.new[p.rows[0]] = total
            return
        op, _ = self.source.operation(self.source.rows[p.rows[0]][0])
        self.laid[p.rows] = tape.apply(op, args, {})
        self._part(self.laid[p.rows], p.rows)

    def _part(self, whole: int, rows: Sequence[int]) -> None:
        """Make rows the parts of one in which they lie one after the other."""
        start = 0
        for i in rows:
            shape = self.source.shape(i)
            stop = start + math.prod(shape)
            part = self.tape.apply(ops.getitem, [whole], {"index": slice(start, stop)})
            self.new[i] = self.tape.apply(ops.reshape, [part], {"shape": shape})
            start = stop

    def _lay(self, rows: tuple[int, ...]) -> int:
        """The row of these rows one after the other."""
        if rows not in self.laid:
            self.laid[rows] = self.tape.apply(ops.concat, [self.new[a] for a in rows], {"axis": None})
        return self.laid[rows]


def is_written(tape: Tape, i: int, known: Collection[str]) -> bool:
    """Whether NumPy writes a row where it is told to; of numbers only products and sums, others are Python's."""
    code = tape.rows[i][0]
    name = tape.operation(code)[0].name if code >= 0 else ""
    return name in WRITTEN or (name in known and bool(tape.shape(i)))


def is_moved(tape: Tape, i: int) -> bool:
    """Whether a row is another one in another shape."""
    return tape.rows[i][0] >= 0 and tape.operation(tape.rows[i][0])[0] is ops.reshape


def base(tape: Tape, i: int) -> int:
    """The row that a row is in another shape."""
    while is_moved(tape, i):
        i = tape.rows[i][1]
    return i
