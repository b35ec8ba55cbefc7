"""From rows to jobs: what is computed together, and in which order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..entries import COMPUTED
from ..native.primitives import CHEAP
from ..tape import CONSTANT, ELEMENT, INPUT, LANES, DeclinedError, Tape
from .jobs import VIEWS, Chain, Copy, Fill, Fold, Held, Job, Matrices, View, offset_of, offsets_of
from .samples import AFTER, WITHIN, Samples

LEAST = 2_000
"""The fewest multiplications of the largest product: below, lanes in straight-line code are quicker."""
FOR_EACH = 100
"""The same for each sample of a map, which could run in lanes as well."""
MOST = {32: (20_000_000, 20_000_000), 64: (100_000_000, 1_000_000_000)}
"""The most, of a block where samples run in blocks, by the bytes of a vector: for one thread and for several. Above,
BLAS is quicker, which also cuts the inner axis to fit the cache, and always uses all processors."""
FOLDED = 32
"""The longest axis along which a greatest or least number is found in straight-line code."""

LONGEST = 24
"""The most rows that are computed on a product's tiles: they are written for each vector of a tile."""
FOLDS = {"max": "maximum", "min": "minimum"}


class Schedule:
    """The jobs of an array program.

    Elementwise rows of one shape are collected into a chain until something needs what is in it; a sum of a whole array
    is added up in the loop that makes it. Comparisons are written again where they are used. A product takes
    part in the chain of its shape, or of the shape that a view of it has, if all of that can be computed on its tiles.

    Args:
        tape: the program, lowered.
        roots: the rows to return.
        whole: how many of them lie in the results, one after the other; the others have a part for each step.
        least: the fewest multiplications of the largest product.
        samples: what is computed before the samples, with them and after them, if that is told apart.

    Attributes:
        names: the op of each row.
        held: where each row lies.
        inputs: the rows that are given.
        stored: the rows that other jobs read from memory.
        jobs: the jobs, in order.
        ends: how many of them there are at the end of each phase.
        largest: the multiplications of the largest product.
        returned: for a row that is computed where a root is to be: which root.

    Raises:
        DeclinedError: it holds something that is not computed here, or another back end is quicker.
    """

    def __init__(
        self, tape: Tape, roots: Sequence[int], whole: int, least: int = 0, samples: Samples | None = None
    ) -> None:
        self.tape, self.roots, self.whole, self.least, self.samples = tape, roots, whole, least, samples
        self.live = tape.live(roots)
        self.names = {i: tape.operation(code)[0].name for i in self.live if (code := tape.rows[i][0]) >= 0}
        self._look()
        self.inputs = [i for i in self.live if tape.rows[i][0] == INPUT]
        self.held: dict[int, Held] = {}
        self.stored: set[int] = set()
        self.jobs: list[Job] = []
        self.ends: list[int] = []
        self.open: dict[tuple[int, ...], Chain] = {}
        self.returned: dict[int, int] = {}
        self._schedule()

    # --- what a row is ----------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Refuse what cannot be computed, or is better computed otherwise."""
        tape, self.largest = self.tape, 0
        self.users: dict[int, list[int]] = {}
        for i in self.live:
            code, shape, dtype = tape.rows[i][0], tape.shape(i), tape.dtype(i)
            for a in tape.arguments(i):
                self.users.setdefault(a, []).append(i)
            if not math.prod(shape):
                raise DeclinedError("an array without elements")
            if dtype not in (np.float64, np.bool) and not (code == INPUT and dtype.kind in "iu"):
                raise DeclinedError(f"numbers of {dtype}")
            if dtype.kind == "b" and (code < 0 or self.names[i] not in COMPUTED):
                raise DeclinedError("truth values that are given or moved")
            if code < 0:
                if code not in (INPUT, CONSTANT, ELEMENT, LANES):
                    raise DeclinedError("an input or an array of another kind")
            elif self.names[i] == "matmul":
                self.largest = max(self.largest, math.prod(shape) * tape.shape(tape.rows[i][1])[-1])
        if self.largest < self.least:
            raise DeclinedError(f"products of up to {self.largest} multiplications")

    def number(self, i: int) -> float | None:
        """The number that is in all places of a row, if it is known; a truth value is 0 or 1."""
        while self.names.get(i) in VIEWS:
            i = self.tape.rows[i][1]
        found = self.tape.number(i) if self.tape.is_constant(i) else self.tape.filling(i)
        return None if found is None else float(found)

    def is_mask(self, i: int) -> bool:
        """Whether a row is truth values."""
        return self.tape.dtype(i).kind == "b"

    def _sources(self, a: int) -> Iterator[int]:
        """The computed rows that an argument is read from: a comparison is written again from its own arguments."""
        if self.number(a) is not None:
            return
        if self.is_mask(a):
            for b in self.tape.rows[a][1:]:
                yield from self._sources(b)
            return
        root, _ = self.held[a]
        if root not in self.inputs:
            yield root

    def _need(self, rows: Sequence[int]) -> None:
        """Rows are about to be read from memory."""
        for i in rows:
            for source in self._sources(i):
                self.stored.add(source)
                for shape, chain in list(self.open.items()):
                    if chain.makes(source):
                        self.jobs.append(self.open.pop(shape))

    # --- jobs -------------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        tape = self.tape
        for i in sorted(self.live, key=self._phase):
            row = tape.rows[i]
            if row[0] == CONSTANT:
                continue
            while self._phase(i) > len(self.ends):
                self._close()
            if row[0] == INPUT:
                self._own(i)
            elif row[0] in (ELEMENT, LANES):
                self._pick(i, row[1], np.array(row[2]) if row[0] == ELEMENT else tape.offsets[row[2]])
            else:
                self._row(i, self.names[i], row[1:], tape.operation(row[0])[1])
        while len(self.ends) <= (AFTER if self.samples else 0):
            self._close()

    def _is_apart(self, r: int) -> bool:
        """Whether the numbers of a root that belong to some samples do not lie together among those of all."""
        return self.samples is not None and math.prod(self.tape.shape(r)[: self.samples.axes.get(r, 0)]) > 1

    def _phase(self, i: int) -> int:
        """When a row is computed."""
        return self.samples.phases[i] if self.samples else 0

    def _close(self) -> None:
        """The end of a phase."""
        self.jobs += self.open.values()
        self.open.clear()
        self._return()
        self.ends.append(len(self.jobs))

    def _own(self, i: int) -> None:
        """A row has memory of its own, in C order; some samples of an input lie among all of them."""
        shape, full = self.tape.shape(i), self.samples.tape.shape(i) if self.samples else ()
        among = self.tape.rows[i][0] == INPUT and len(full) > 0
        self.held[i] = i, np.empty(full)[tuple(map(slice, shape))] if among else np.empty(shape)

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
        if not base.flags.c_contiguous:
            raise DeclinedError("numbers of a part of an array that is not in order")
        start = base.reshape(-1)[offset_of(view, base) + first :]
        found = np.lib.stride_tricks.as_strided(start, offsets.shape, [8 * s for s in steps])
        if not (offsets_of(found, offsets.shape) == offsets - first).all():
            raise DeclinedError("numbers at irregular places")
        return found

    def _row(self, i: int, name: str, args: Sequence[int], given: dict[str, Any]) -> None:
        shape = self.tape.shape(i)
        if self.number(i) is not None:
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
        elif name in COMPUTED and not given:
            self._join(i, shape, args)
        elif name == "matmul":
            self._matmul(i, args)
        elif name == "sum":
            self._sum(i, args[0], given)
        elif name in FOLDS:
            apart, count = self._apart(args[0], given)
            if count > FOLDED:
                raise DeclinedError(f"{name} along {count} numbers")
            self._need(args)
            self._own(i)
            self.jobs.append(Fold(i, FOLDS[name], apart))
        else:
            raise DeclinedError(name)

    def _join(self, i: int, shape: tuple[int, ...], args: Sequence[int]) -> None:
        """Add a row to the chain of its shape."""
        args = self.inlined(args)
        self._follow(shape, args)
        chain = self.open.get(shape)
        if chain is not None and chain.product and not self._fits(i, chain):
            self.jobs.append(self.open.pop(shape))
            chain = None
        inner = [a for a in args if chain is not None and a in chain.rows]
        self._need([a for a in args if a not in inner])
        if chain is not None and self.open.get(shape) is not chain:  # something else needed it closed
            self._need(inner)
        self.open.setdefault(shape, Chain(shape)).rows[i] = None
        self._own(i)

    def inlined(self, args: Sequence[int]) -> list[int]:
        """Arguments, comparisons replaced by their own."""
        found = []
        for a in args:
            found += self.inlined(self.tape.rows[a][1:]) if self.is_mask(a) else [a]
        return found

    def _sum(self, i: int, x: int, given: dict[str, Any]) -> None:
        if self.number(x) is not None or self.is_mask(x):
            raise DeclinedError("a sum of a constant or of truth values")
        self._own(i)
        shape = self.tape.shape(x)
        if math.prod(self.tape.shape(i)) == 1 and not (self.samples and i in self.samples.axes):
            chain = self.open.get(shape)
            if chain is not None and chain.product:
                self.jobs.append(self.open.pop(shape))
                chain = None
            if chain is None or x not in chain.rows:
                self._need([x])
                chain = self.open.setdefault(shape, Chain(shape))
            chain.sums.append(i)
            return
        (root, view), _ = self._apart(x, given)
        self._need([x])
        self._multiply(Matrices(i, None, (root, view.T)))

    def _apart(self, x: int, given: dict[str, Any]) -> tuple[Held, int]:
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

    def _matmul(self, i: int, args: Sequence[int]) -> None:
        if any(self.number(a) is not None or self.is_mask(a) for a in args):
            raise DeclinedError("a product with a constant or with truth values")
        self._need(args)
        (a_root, a), (b_root, b) = (self.held[k] for k in args)
        if max(a.ndim, b.ndim) > 2:
            raise DeclinedError("products of more than two axes")
        self._own(i)
        a = a if a.ndim == 2 else a[None, :]
        self._multiply(Matrices(i, (a_root, a), (b_root, b if b.ndim == 2 else b[:, None])))

    def _multiply(self, product: Matrices, shape: tuple[int, ...] | None = None, views: Sequence[int] = ()) -> None:
        """Open a chain for a product, or let it take part in the one that is open."""
        chain = Chain(self.tape.shape(product.row) if shape is None else shape, product, views)
        before = self.open.pop(chain.shape, None)
        if before is not None:
            if before.product or before.sums or not all(self._fits(i, chain) for i in before.rows):
                self.jobs.append(before)
            else:
                chain.rows |= before.rows
        chain.rows[views[0] if views else product.row] = None
        self.open[chain.shape] = chain

    def _follow(self, shape: tuple[int, ...], args: Sequence[int]) -> None:
        """Where an argument is a view of a product that stands alone, that joins the chain of the view's shape."""
        for a in args:
            root, views = a, list[int]()
            while self.names.get(root) in VIEWS:
                views.append(root)
                root = self.tape.rows[root][1]
            own = self.tape.shape(root)
            chain = self.open.get(own)
            if not views or chain is None or not chain.product or [*chain.rows] != [root]:
                continue
            whole = self.tape.shape(a) == shape and math.prod(own) == math.prod(shape)
            if whole and self.matrix(np.empty(shape), Chain(shape, chain.product, views)) is not None:
                del self.open[own]
                self._multiply(chain.product, shape, views)

    def _fits(self, i: int, chain: Chain) -> bool:
        """Whether a row can be computed on the tiles of a chain's product: it is cheap, and its arguments lie so."""
        outer = [a for a in self.inlined(self.tape.rows[i][1:]) if a not in chain.rows and self.number(a) is None]
        cheap = self.names[i] in CHEAP and len(chain.rows) < LONGEST
        return cheap and all(self.matrix(self.held[a][1], chain) is not None for a in outer)

    def matrix(self, view: View, chain: Chain) -> View | None:
        """How an array of a chain's shape lies in the rows and columns of its product; None if not at strides."""
        assert chain.product
        found = np.broadcast_to(view, chain.shape)
        for v in chain.views:
            if self.names[v] == "permute_dims":
                axes = self.tape.operation(self.tape.rows[v][0])[1]["axes"]
                found = found.transpose(np.argsort([a % found.ndim for a in axes]))
            else:
                found = found.reshape(self.tape.shape(self.tape.rows[v][1]))
        found = found.reshape(chain.product.size)
        return found if np.may_share_memory(found, view) else None

    # --- results ----------------------------------------------------------------------------------------------------

    def _return(self) -> None:
        """Where the roots of a phase are: a computed row lies in its segment of the results; others are copied there.

        What is not there for each sample is copied when all samples are done.
        """
        for k, r in enumerate(self.roots):
            if self.samples and len(self.ends) != (WITHIN if r in self.samples.axes else AFTER):
                continue
            if self.is_mask(r):
                raise DeclinedError("a result that is a truth value")
            if (number := self.number(r)) is not None:
                self.jobs.append(Fill(k, number))
                continue
            root, view = self.held[r]
            self.stored.add(root)
            whole = view.flags.c_contiguous and view.size == self.held[root][1].size
            own = self._phase(root) == len(self.ends) and root not in self.inputs and root not in self.returned
            if k < self.whole and whole and own and not self._is_apart(r):
                self.returned[root] = k
            else:
                self.jobs.append(Copy(r, (root, view), k))
