"""Array programs as stages of native code: products of matrices, and loops over chains of elementwise ops between them.

What NumPy would do call by call is one call here: no result goes back to Python, and what is small stays in the cache.
A row is in memory, at strides that NumPy's own views give: a transpose, a reshape or a part costs nothing.

Elementwise rows of one shape are collected into a chain until something needs what is in it; a sum of a whole array is
added up in the loop that makes it. Comparisons are written again where they are used. A product whose result is added
to something starts from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .lanes import Code, closing, describe, padded
from .loops import Slice
from .lower import lower
from .native import Access, Product, Stage, build
from .native.primitives import MASK, NUMBER, PRIMITIVES
from .roll import Roller, number_of
from .tape import CONSTANT, ELEMENT, INPUT, LANES, DeclinedError
from .trace import Traced

KNOWN = {*PRIMITIVES, "where"} - {"sigmoid", "softplus"}  # by their rows: σ(x) and σ(-x) share an exponential
LEAST = 2_000
"""The fewest multiplications of the largest product: below, lanes in straight-line code are quicker."""
MOST = 20_000_000
"""The most: above, BLAS is, which also cuts the inner axis to fit the cache."""
FOLDED = 32
"""The longest axis along which a greatest or least number is found in straight-line code."""

View = np.ndarray[Any, Any]
VIEWS: dict[str, Callable[[View, dict[str, Any]], View]] = {
    "reshape": lambda x, given: x.reshape(given["shape"]),
    "permute_dims": lambda x, given: x.transpose(given["axes"]),
    "broadcast_to": lambda x, given: np.broadcast_to(x, given["shape"]),
    "expand_dims": lambda x, given: np.expand_dims(x, given["axis"]),
    "squeeze": lambda x, given: np.squeeze(x, given["axis"]),
}
FOLDS = {"max": "maximum", "min": "minimum"}


class Chain:
    """Elementwise rows of one shape, and sums of them, that one loop computes.

    Attributes:
        rows: the rows, in order.
        sums: rows that are sums over all of one of them.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.rows: dict[int, None] = {}
        self.sums: list[int] = []


class Matrices(NamedTuple):
    """A product: the row that holds its result and the matrices, as views; without a, the columns of b are summed."""

    row: int
    a: tuple[int, View] | None
    b: tuple[int, View]
    c: View
    start: tuple[int, View] | None


class Fold(NamedTuple):
    """The greatest or least numbers along the last axis of a view."""

    row: int
    op: str
    x: tuple[int, View]


class Copy(NamedTuple):
    """A copy of a view: to a row of its own, or to a root's segment."""

    row: int
    x: tuple[int, View]
    root: int | None = None


class Fill(NamedTuple):
    """A root that is one number in all places."""

    root: int
    number: float


Job = Chain | Matrices | Fold | Copy | Fill


class Memory(NamedTuple):
    """In an entry the buffer that a row's numbers are in, before places are given out."""

    row: int


class DenseProgram:
    """An array program as native code; what it takes and gives is as of a `LaneProgram`.

    Args:
        roller: what rolls it up, with deep=True.
        roots: the rows to return, of the traced tape.
        feedback, stacked, shared: as of a `LaneProgram`.

    Raises:
        DeclinedError: it holds something that is not computed here, or another back end is quicker.
    """

    def __init__(
        self,
        roller: Roller,
        roots: Sequence[int],
        feedback: Sequence[tuple[int, Any]] = (),
        stacked: int = 0,
        shared: bool = False,
    ) -> None:
        found = [number_of(roller.row(r)) for r in roots]
        rows = [y.index if isinstance(y, Traced) else roller.tape.constant(y) for y in found]
        self.tape, self.roots = lower(roller.tape, rows, known=KNOWN)
        self.live = self.tape.live(self.roots)
        self.names = {i: self.tape.operation(code)[0].name for i in self.live if (code := self.tape.rows[i][0]) >= 0}
        memory = [i for i in self.live if self.tape.rows[i][0] == INPUT]
        self.inputs = [self.tape.inputs[self.tape.rows[i][1]] for i in memory]
        self.indices: list[np.ndarray[Any, Any]] = []
        self._look()
        self.out, self.kept, self.whole = len(memory), len(memory) + 1, len(self.roots) - stacked
        self.stacks = list(range(self.kept + 1, self.kept + 1 + stacked))
        self.place: dict[int, tuple[int, int]] = {i: (k, 0) for k, i in enumerate(memory)}
        self.strides = {k: math.prod(self.tape.shape(i)) for k, i in enumerate(memory) if _is_slice(self.inputs[k])}
        self.held: dict[int, tuple[int, View]] = {}  # where a row is: in whose memory, and how there
        self.stored: set[int] = set()
        self.jobs: list[Job] = []
        self.open: dict[tuple[int, ...], Chain] = {}
        self._schedule()
        self._return()
        self._allot()
        self.stages: list[Stage | Product] = [self._placed(stage) for stage in self.staged]
        places = [(*self.segments[k], self.inputs.index(what)) for k, what in feedback if what in self.inputs]
        self.stages += closing(self.out, self.flag, places, bool(roller.source.pulls))
        self.instructions = sum(len(s.code) or 1 for s in self.stages)
        self.flops = sum(map(_flops, self.stages))
        desk = None if shared else (self.out, self.flag if roller.source.pulls else None)
        self.native = build(self.stages, self.kept + 1 + stacked, shared=shared, desk=desk)

    # --- what a row is ----------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Refuse what cannot be computed, or is better computed otherwise."""
        tape, largest = self.tape, 0
        self.users: dict[int, list[int]] = {}
        for i in self.live:
            code, shape, dtype = tape.rows[i][0], tape.shape(i), tape.dtype(i)
            for a in tape.arguments(i):
                self.users.setdefault(a, []).append(i)
            if not math.prod(shape):
                raise DeclinedError("an array without elements")
            if dtype not in (np.float64, bool) and not (code == INPUT and dtype.kind in "iu"):
                raise DeclinedError(f"numbers of {dtype}")
            if dtype == bool and (code < 0 or self.names[i] not in KNOWN):
                raise DeclinedError("truth values that are given or moved")
            if code < 0:
                if code not in (INPUT, CONSTANT, ELEMENT, LANES):
                    raise DeclinedError("an input or an array of another kind")
            elif self.names[i] == "matmul":
                largest = max(largest, math.prod(shape) * tape.shape(tape.rows[i][1])[-1])
        if not LEAST <= largest <= MOST:
            raise DeclinedError(f"products of up to {largest} multiplications")

    def _number(self, i: int) -> float | None:
        """The number that is in all places of a row, if it is known; a truth value is 0 or 1."""
        while self.names.get(i) in VIEWS:
            i = self.tape.rows[i][1]
        found = self.tape.number(i) if self.tape.is_constant(i) else self.tape.filling(i)
        return None if found is None else float(found)

    def _is_mask(self, i: int) -> bool:
        return self.tape.dtype(i).kind == "b"

    def _sources(self, a: int) -> Iterator[int]:
        """The computed rows that an argument is read from: a comparison is written again from its own arguments."""
        if self._number(a) is not None:
            return
        if self._is_mask(a):
            for b in self.tape.rows[a][1:]:
                yield from self._sources(b)
            return
        root, _ = self.held[a]
        if root not in self.place:
            yield root

    def _need(self, rows: Sequence[int]) -> None:
        """Rows are about to be read from memory."""
        for i in rows:
            for source in self._sources(i):
                self.stored.add(source)
                for shape, chain in list(self.open.items()):
                    if source in chain.rows or source in chain.sums:
                        self.jobs.append(self.open.pop(shape))

    # --- jobs -------------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        tape = self.tape
        self.moved: dict[int, list[int]] = {}  # the views between a product and the sum that takes it in
        self.started: dict[int, tuple[int, int]] = {}  # a sum with a product → the product, and what it starts from
        inside = set()
        for i in self.live:
            found = self._product_to_start(i)
            if found is not None:
                self.started[i] = found
                inside |= {found[0], *self.moved[i]}
        for i in self.live:
            row = tape.rows[i]
            if row[0] == CONSTANT or i in inside:
                continue
            if row[0] == INPUT:
                self._own(i)
            elif row[0] in (ELEMENT, LANES):
                self._pick(i, row[1], np.array(row[2]) if row[0] == ELEMENT else tape.offsets[row[2]])
            elif i in self.started:
                self._matmul(i, *self.started[i])
            else:
                self._row(i, self.names[i], row[1:], tape.operation(row[0])[1])
        self.jobs += self.open.values()

    def _own(self, i: int) -> None:
        """A row has memory of its own, in C order."""
        self.held[i] = i, np.empty(self.tape.shape(i))

    def _pick(self, i: int, array: int, offsets: np.ndarray[Any, Any]) -> None:
        """Numbers of an array, at strides."""
        root, view = self.held[array]
        if not view.flags.c_contiguous:
            raise DeclinedError("numbers of an array that is not in order")
        self.held[i] = root, self._strided(root, view, offsets)

    def _strided(self, root: int, view: View, offsets: np.ndarray[Any, Any]) -> View:
        """The elements that are so far from the first of a view, if they are at strides."""
        first = int(offsets.flat[0])
        steps = [int(np.take(offsets, 1, k).flat[0]) - first if n > 1 else 0 for k, n in enumerate(offsets.shape)]
        base = self.held[root][1]
        start = base.reshape(-1)[_offset(view, base) + first :]
        found = np.lib.stride_tricks.as_strided(start, offsets.shape, [8 * s for s in steps])
        if not (_offsets(found, offsets.shape) == offsets - first).all():
            raise DeclinedError("numbers at irregular places")
        return found

    def _row(self, i: int, name: str, args: Sequence[int], given: dict[str, Any]) -> None:
        shape = self.tape.shape(i)
        if self._number(i) is not None:
            return
        if name in VIEWS:
            root, x = self.held[args[0]]
            view = VIEWS[name](x, given)
            if np.may_share_memory(view, x):
                self.held[i] = root, view
            else:
                self._need(args)
                self._own(i)
                self.jobs.append(Copy(i, (root, x)))
        elif name in KNOWN and (not given):
            self._join(i, shape, args)
        elif name == "matmul":
            self._matmul(i, i, None)
        elif name == "sum":
            self._sum(i, args[0], given)
        elif name in FOLDS:
            x, count = self._apart(args[0], given)
            if count > FOLDED:
                raise DeclinedError(f"{name} along {count} numbers")
            self._need(args)
            self._own(i)
            self.jobs.append(Fold(i, FOLDS[name], x))
        else:
            raise DeclinedError(name)

    def _join(self, i: int, shape: tuple[int, ...], args: Sequence[int]) -> None:
        """Add a row to the chain of its shape."""
        chain = self.open.get(shape)
        inner = [a for a in self._inlined(args) if chain is not None and a in chain.rows]
        self._need([a for a in self._inlined(args) if a not in inner])
        if chain is not None and self.open.get(shape) is not chain:  # something else needed it closed
            self._need(inner)
        self.open.setdefault(shape, Chain(shape)).rows[i] = None
        self._own(i)

    def _inlined(self, args: Sequence[int]) -> list[int]:
        """Arguments, comparisons replaced by their own."""
        found = []
        for a in args:
            found += self._inlined(self.tape.rows[a][1:]) if self._is_mask(a) and self.tape.rows[a][0] >= 0 else [a]
        return found

    def _sum(self, i: int, x: int, given: dict[str, Any]) -> None:
        if self._number(x) is not None or self._is_mask(x):
            raise DeclinedError("a sum of a constant or of truth values")
        self._own(i)
        shape = self.tape.shape(x)
        if math.prod(self.tape.shape(i)) == 1:
            chain = self.open.get(shape)
            if chain is None or x not in chain.rows:
                self._need([x])
                chain = self.open.setdefault(shape, Chain(shape))
            chain.sums.append(i)
            return
        (root, view), _ = self._apart(x, given)
        self._need([x])
        self.jobs.append(Matrices(i, None, (root, view.T), self.held[i][1].reshape(1, -1), None))

    def _apart(self, x: int, given: dict[str, Any]) -> tuple[tuple[int, View], int]:
        """A view of a row as a matrix whose rows are reduced, and their length."""
        root, view = self.held[x]
        axis = given.get("axis")
        axes = range(view.ndim) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
        gone = sorted(int(a) % view.ndim for a in axes)
        stay = [k for k in range(view.ndim) if k not in gone]
        count = math.prod(view.shape[k] for k in gone)
        apart = view.transpose(*stay, *gone).reshape(-1, count)
        if not np.may_share_memory(apart, view):
            raise DeclinedError("a sum along axes that do not lie together")
        return (root, apart), count

    # --- products ---------------------------------------------------------------------------------------------------

    def _product_to_start(self, i: int) -> tuple[int, int] | None:
        """For a sum of a product and something else: the product and the other, if nothing else needs the product."""
        if self.names.get(i) != "add" or not self.tape.shape(i):
            return None
        row, shape = self.tape.rows[i], self.tape.shape(i)
        for term, other in (row[1:], row[:0:-1]):
            product, moved = term, []
            while self.names.get(product) in VIEWS and self._serves_only(product, moved[-1] if moved else i):
                moved.append(product)
                product = self.tape.rows[product][1]
            if (
                self.names.get(product) == "matmul"
                and self._serves_only(product, moved[-1] if moved else i)
                and math.prod(self.tape.shape(product)) == math.prod(shape)
                and self.tape.shape(term) == shape
                and self._number(other) is None
            ):
                self.moved[i] = moved
                return product, other
        return None

    def _serves_only(self, i: int, user: int) -> bool:
        return self.users[i] == [user] and i not in self.roots

    def _matmul(self, i: int, product: int, start: int | None) -> None:
        """The product in row i, with what it starts from."""
        tape = self.tape
        args = tape.rows[product][1:]
        if any(self._number(a) is not None or self._is_mask(a) for a in args):
            raise DeclinedError("a product with a constant or with truth values")
        self._need([*args, start] if start is not None else args)
        (a_root, a), (b_root, b) = (self.held[k] for k in args)
        if max(a.ndim, b.ndim) > 2:
            raise DeclinedError("products of more than two axes")
        self._own(i)
        a = a if a.ndim == 2 else a[None, :]
        b = b if b.ndim == 2 else b[:, None]
        size = (a.shape[0], b.shape[1])
        order = np.arange(math.prod(size)).reshape(tape.shape(product))  # the place of each number of the product in i
        for view in reversed(self.moved.get(i, ())):
            order = VIEWS[self.names[view]](order, tape.operation(tape.rows[view][0])[1])
        place = np.argsort(order, axis=None).reshape(size)
        c = self._strided(i, self.held[i][1], place)
        begin = None
        if start is not None:
            root, view = self.held[start]
            begin = root, self._strided(root, view, _offsets(view, tape.shape(i)).ravel()[place])
        in_order = c.strides[1] == 8 or c.strides[0] != 8
        if c.shape[0] >= 4 and (c.shape[1] < 4 or not in_order):  # vectors along what is long, and in order
            (a_root, a), (b_root, b), c = (b_root, b.T), (a_root, a.T), c.T
            begin = begin and (begin[0], begin[1].T)
        self.jobs.append(Matrices(i, (a_root, a), (b_root, b), c, begin))

    # --- results and memory -------------------------------------------------------------------------------------------

    def _return(self) -> None:
        """Where roots are: a computed row lies in its segment of the results; others are copied there."""
        self.returned: dict[int, int] = {}  # a computed row → the root that it is
        for k, r in enumerate(self.roots):
            if self._is_mask(r):
                raise DeclinedError("a result that is a truth value")
            if (number := self._number(r)) is not None:
                self.jobs.append(Fill(k, number))
                continue
            root, view = self.held[r]
            self.stored.add(root)
            whole = view.flags.c_contiguous and view.size == self.held[root][1].size
            if k < self.whole and whole and root not in self.place and root not in self.returned:
                self.returned[root] = k
            else:
                self.jobs.append(Copy(r, (root, view), k))

    def _allot(self) -> None:
        """Write the stages, and give out memory: what is read for the last time makes room for others."""
        self.sizes, self.segments, free = [0, 0], [], {}
        for k, r in enumerate(self.roots):
            count = math.prod(self.tape.shape(r))
            self.segments.append((self.sizes[0] if k < self.whole else 0, count))
            if k < self.whole:
                self.sizes[0] += count
        self.place |= {row: self._segment(k) for row, k in self.returned.items()}
        self.strides |= {b: self.segments[self.whole + k][1] for k, b in enumerate(self.stacks)}
        self.flag = padded(self.sizes[0])
        self.sizes[0] = self.flag + 1
        self.staged: list[Stage | Product] = []
        touched = []
        for job in self.jobs:
            self.reads: set[int] = set()
            self.writes: set[int] = set()
            self.staged.append(self._stage(job))
            touched.append((self.reads, self.writes))
        last = {root: k for k, (reads, writes) in enumerate(touched) for root in (*reads, *writes)}
        for k, (reads, writes) in enumerate(touched):
            for root in writes:
                if root not in self.place:
                    size = math.prod(self.tape.shape(root))
                    if not free.get(size):
                        free.setdefault(size, []).append(self.sizes[1])
                        self.sizes[1] += size + -size % 8
                    self.place[root] = self.kept, free[size].pop()
            for root in reads | writes:
                if last[root] == k and self.place[root][0] == self.kept:
                    free[math.prod(self.tape.shape(root))].append(self.place[root][1])

    def _placed(self, stage: Stage | Product) -> Stage | Product:
        """A stage with buffers in place of rows."""
        if isinstance(stage, Product):
            moved = [None if m is None else self._moved(m) for m in (stage.a, stage.b, stage.c, stage.start)]
            return Product(stage.rows, stage.lanes, stage.inner, *moved)  # type: ignore[arg-type]
        code: list[tuple[Any, ...]] = []
        for kind, *rest in stage.code:
            if kind == "load":
                code.append((kind, *self._moved(Access(*rest))))
            elif kind in ("store", "total"):
                place = self._moved(Access(*rest[1:]))
                code.append((kind, rest[0], *place[: 5 if kind == "store" else 4]))
            else:
                code.append((kind, *rest))
        return Stage(stage.lanes, stage.rows, code)

    def _moved(self, at: Access) -> Access:
        row: Any = at.buffer
        if not isinstance(row, Memory):
            return at
        buffer, base = self.place[row.row]
        return at._replace(buffer=buffer, offset=base + at.offset, step_stride=self.strides.get(buffer, 0))

    # --- stages -----------------------------------------------------------------------------------------------------

    def _stage(self, job: Job) -> Stage | Product:
        if isinstance(job, Chain):
            return self._chain(job)
        if isinstance(job, Matrices):
            a, start = (None if m is None else self._at(m) for m in (job.a, job.start))
            (m, n), inner = job.c.shape, job.b[1].shape[0]
            return Product(m, n, inner, a, self._at(job.b), self._at((job.row, job.c), write=True), start)
        if isinstance(job, Fold):
            code = Code()
            root, x = job.x
            total = None
            for k in range(x.shape[1]):
                value = code.entry("load", *self._at((root, x[:, k]))[:3], *self._at((root, x[:, k]))[3:])
                total = value if total is None else code.entry(job.op, total, value)
            code.put("store", total, *self._at((job.row, np.empty(x.shape[0])), write=True))
            return Stage(x.shape[0], 1, code.entries)
        if isinstance(job, Fill):
            code = Code()
            number = code.put("constant", job.number)
            code.put("store", number, *self._segment(job.root), 0, 1, self.strides.get(self._segment(job.root)[0], 0))
            return Stage(self.segments[job.root][1], 1, code.entries)
        root, x = job.x
        grid = _grid(x.shape, [x.strides])
        code = Code()
        value = code.entry("load", *self._at((root, x), grid))
        if job.root is None:
            target = self._at((job.row, np.empty(x.shape)), grid, write=True)
        else:
            buffer, offset = self._segment(job.root)
            strides = (s // 8 for s in grid.strides(_in_order(x.shape)))
            target = Access(buffer, offset, *strides, self.strides.get(buffer, 0))
        code.put("store", value, *target)
        return Stage(grid.lanes, grid.rows, code.entries)

    def _segment(self, root: int) -> tuple[int, int]:
        """The buffer of a root, and where in it it begins."""
        return (self.out if root < self.whole else self.stacks[root - self.whole]), self.segments[root][0]

    def _at(self, held: tuple[int, View], grid: Grid | None = None, write: bool = False) -> Access:
        """Where a view is, in the memory of its row."""
        root, view = held
        (self.writes if write else self.reads).add(root)
        offset = 0 if write else _offset(view, self.held[root][1])
        strides = grid.strides(view.strides) if grid else ((0,) * 2 + view.strides)[-2:]
        return Access(Memory(root), offset, strides[0] // 8, strides[1] // 8)  # type: ignore[arg-type]

    def _chain(self, chain: Chain) -> Stage:
        """The loop of a chain."""
        tape, shape = self.tape, chain.shape
        wanted = {i for i in chain.rows if i in self.stored} | {tape.rows[s][1] for s in chain.sums}
        for i in reversed(chain.rows):
            if i in wanted:
                wanted |= set(self._inlined(tape.rows[i][1:]))
        outer = {}
        for a in wanted:
            if a not in chain.rows and self._number(a) is None:
                outer[a] = np.broadcast_to(self.held[a][1], shape)
        grid = _grid(shape, [v.strides for v in outer.values()])
        code = Code()

        def value(i: int, kind: str = NUMBER) -> int:
            if i not in code.values:
                code.values[i] = write(i)
            entry = code.values[i]
            name = code.entries[entry][0]
            given = PRIMITIVES[name].result if name in PRIMITIVES else NUMBER
            if given == kind:
                return entry
            if kind == MASK:
                return code.entry("not_equal", entry, code.entry("constant", 0.0))
            return code.entry("number", entry)

        def write(i: int) -> int:
            number = self._number(i)
            if number is not None:
                return code.entry("constant", number)
            if i in chain.rows or self._is_mask(i):
                args = zip(tape.rows[i][1:], PRIMITIVES[self.names[i]].takes, strict=True)
                return code.entry(self.names[i], *(value(a, kind) for a, kind in args))
            return code.entry("load", *self._at((self.held[i][0], outer[i]), grid))

        for i in chain.rows:
            if i in wanted and not self._is_mask(i):
                value(i)
        for i in chain.rows:
            if i in self.stored:
                code.put("store", value(i), *self._at((i, np.empty(shape)), grid, write=True))
        for s in chain.sums:
            at = self._at((s, np.empty(())), write=True)
            code.put("total", value(tape.rows[s][1]), *at[:2], 0, 0)
        return Stage(grid.lanes, grid.rows, code.entries)

    # --- text -------------------------------------------------------------------------------------------------------

    @property
    def source(self) -> str:
        """The stages, a line for each product and each entry."""
        names = (
            [f"input{k}" for k in range(self.out)] + ["out", "kept"] + [f"stack{k}" for k in range(len(self.stacks))]
        )
        return describe(self.stages, names)


class Grid(NamedTuple):
    """How an array's axes become rows and lanes."""

    rows: int
    lanes: int
    kept: tuple[int, ...]
    flat: bool

    def strides(self, given: Sequence[int]) -> tuple[int, int]:
        """The strides of rows and lanes, in bytes, of an array with these."""
        found = [given[k] for k in self.kept]
        if not found:
            return 0, 0
        return (0, found[-1]) if self.flat or len(found) == 1 else (found[-2], found[-1])


def _grid(shape: tuple[int, ...], strides: Sequence[Sequence[int]]) -> Grid:
    """Rows and lanes for arrays of one shape: all in one row if they lie in order."""
    kept = tuple(k for k, n in enumerate(shape) if n > 1)
    sizes = [shape[k] for k in kept]

    def joins(axes: Sequence[int]) -> bool:
        return all(
            s[j] == s[k] * shape[k] for s in [*strides, _in_order(shape)] for j, k in zip(axes, axes[1:], strict=False)
        )

    if joins(kept):
        return Grid(1, math.prod(sizes), kept, True)
    if joins(kept[:-1]):
        return Grid(math.prod(sizes[:-1]), sizes[-1], kept, False)
    raise DeclinedError("arrays of many axes that do not lie in order")


def _offsets(view: View, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """How far from the first element of a view, broadcast to a shape, each of its elements is."""
    strides = np.broadcast_to(view, shape).strides
    return sum(
        (
            np.arange(n).reshape(-1, *[1] * (len(shape) - 1 - k)) * (s // 8)
            for k, (n, s) in enumerate(zip(shape, strides, strict=True))
        ),
        np.zeros(shape, int),
    )


def _in_order(shape: tuple[int, ...]) -> tuple[int, ...]:
    return np.empty(shape).strides


def _offset(view: View, base: View) -> int:
    return int(view.__array_interface__["data"][0] - base.__array_interface__["data"][0]) // 8


def _is_slice(what: Any) -> bool:
    return isinstance(what, Slice)


def _flops(stage: Stage | Product) -> int:
    if isinstance(stage, Product):
        return (2 if stage.a else 1) * stage.rows * stage.lanes * stage.inner
    moves = ("load", "store", "gather", "constant")
    return stage.rows * stage.lanes * sum(e[0] not in moves for e in stage.code)
