"""Matrix structure on formulas: sums, transposes, shapes and products, kept as short as a person writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ops import TABLE, Op
from .algebra import expression, sympy
from .formula import Formula, Shape
from .sheet import Sheet
from .sizes import Size
from .symbols import Structure


class Matrices(Sheet):
    """The structural ops of the namespace that rules are read with."""

    def structural(self, op: Op, args: Sequence[Formula], params: dict[str, Any]) -> Formula:
        """A structural op on formulas: simplified where the project knows how, else a structure of its own."""
        params = {**op.defaults, **params}
        own: Any = getattr(type(self), op.name, None)
        if own is not None:
            return own(self, *args, **params)  # type: ignore[no-any-return]
        if op.name == "sum_to":
            assert op.forward is not None
            return op.forward(self, *args, **params)  # type: ignore[no-any-return]
        if op.name in ("expand_dims", "squeeze"):
            return self.reshape(args[0], shape=self._shape_after(op, args, params))
        solid = [self.solid(a) for a in args]
        return self.structure(op.name, solid, params, self._shape_after(op, args, params))

    def _shape_after(self, op: Op, args: Sequence[Formula], params: dict[str, Any]) -> Shape:
        """The shape of a result: the op's own, on an array of ones; sizes keep the letters that they come with."""
        ones = [np.ones([int(n) for n in a.shape]) for a in args]
        found = np.shape(op.on_arrays(ones, params, ones)[0])
        letters = {int(n): n for a in args for n in a.shape}
        if args and found == args[0].shape:
            return args[0].shape
        return tuple(letters.get(n, n) for n in found)

    def sum(self, x: Formula, *, axis: Any = None, keepdims: bool = False) -> Formula:
        """Σ along axes: what is constant there comes before the sum, and a sum of probabilities is 1."""
        axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
        axes = tuple(sorted(a % x.ndim for a in axes)) if x.ndim else ()
        kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
        shape = kept if keepdims else tuple(n for i, n in enumerate(x.shape) if i not in axes)
        if all(x.shape[i] == 1 for i in axes):
            return self.reshape(x, shape=shape)
        terms = [self._sum_of_term(Formula(self, t, x.shape), axes, kept) for t in self._terms(x, axes)]
        total = sympy().Add(*terms)
        return self.reshape(Formula(self, total, kept), shape=shape)

    def _terms(self, x: Formula, axes: tuple[int, ...]) -> list[Any]:
        """The terms to sum apart: those of which one has a known sum; else the whole."""
        expanded = sympy().expand(x.expr)
        terms = list(sympy().Add.make_args(expanded))
        if len(terms) > 1 and any(self._known_sum(Formula(self, t, x.shape), axes) is not None for t in terms):
            return terms
        return [x.expr]

    def _known_sum(self, x: Formula, axes: tuple[int, ...]) -> Any:
        outside, inside = self.apart(x, self._along(axes, x.ndim))
        if inside == 1:
            return outside
        if len(axes) == 1 and (name := self.sums_to_one.get((inside, axes[0]))) is not None:
            self.used_sums[name] = axes[0]
            return outside
        return None

    def _along(self, axes: tuple[int, ...], ndim: int) -> Callable[[Shape], bool]:
        return lambda natural: any(a - ndim >= -len(natural) and natural[a - ndim] != 1 for a in axes)

    def _sum_of_term(self, x: Formula, axes: tuple[int, ...], kept: Shape) -> Any:
        outside, inside = self.apart(x, self._along(axes, x.ndim))
        if len(axes) == 1 and (name := self.sums_to_one.get((inside, axes[0]))) is not None:
            self.used_sums[name] = axes[0]
            return outside
        natural = self.natural(inside)
        missing = x.ndim - len(natural)
        varying = [a - missing for a in axes if a >= missing and natural[a - missing] != 1]
        for a in axes:
            if a - missing not in varying:
                outside = outside * expression(x.shape[a])
        if not varying:
            return outside * inside
        shape = tuple(1 if i in varying else n for i, n in enumerate(natural))
        return outside * self.structure("sum", [inside], {"axis": tuple(varying), "keepdims": True}, shape).expr

    def mean(self, x: Formula, *, axis: Any = None, keepdims: bool = False) -> Formula:
        """Σ, divided by the number of elements."""
        total: Any = self.sum(x, axis=axis, keepdims=keepdims)
        count: Any = 1
        axes = range(x.ndim) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
        for a in axes:
            count = count * x.shape[a]
        mean: Formula = total / count
        return mean

    def broadcast_to(self, x: Formula, *, shape: Shape) -> Formula:
        """The same expression, more often."""
        return Formula(self, x.expr, shape)

    def astype(self, x: Formula, *, dtype: Any) -> Formula:
        """Formulas have no dtype."""
        return x

    def permute_dims(self, x: Formula, *, axes: Any = None) -> Formula:
        """A transpose: taken into products of matrices, twice it is nothing."""
        order = tuple(reversed(range(x.ndim))) if axes is None else tuple(a % x.ndim for a in axes)
        shape = tuple(x.shape[a] for a in order)
        if order == tuple(range(x.ndim)) or not self.natural(x.expr):
            return Formula(self, x.expr, shape)
        outside, inside = self.apart(x, bool)
        made = self.meaning.get(inside)
        if isinstance(made, Structure) and made.op == "permute_dims":
            before = made.params["axes"]
            found = self.permute_dims(self.whole(made.args[0]), axes=tuple(before[a] for a in order))
        elif isinstance(made, Structure) and made.op == "matmul" and order == (1, 0):
            a, b = (self.whole(arg) for arg in made.args)
            found = self.matmul(self.permute_dims(b), self.permute_dims(a))
        else:
            solid = self.solid(Formula(self, inside, x.shape))
            if made is not None and isinstance(made, Structure) and made.op in ("row", "column") and order == (1, 0):
                flipped = "column" if made.op == "row" else "row"
                found = self.structure(flipped, made.args, {}, shape)
            else:
                found = self.structure("permute_dims", [solid], {"axes": order}, shape)
        return Formula(self, outside * found.expr, shape)

    def reshape(self, x: Formula, *, shape: Any) -> Formula:
        """The same elements in another shape; what broadcasting does by itself is not written."""
        shape = self._spelled(x, shape)
        natural = self.natural(x.expr)
        if shape == x.shape or not natural:
            return Formula(self, x.expr, shape)
        if len(natural) <= len(shape) and shape[len(shape) - len(x.shape) :] == x.shape and len(shape) > len(x.shape):
            if x.ndim == 1:  # a vector as a row: products know it
                return self.lifted("row", x, shape)
            return Formula(self, x.expr, shape)
        made = self.meaning.get(x.expr)
        if isinstance(made, Structure) and made.op in ("row", "column") and len(shape) == 1:
            return self.whole(made.args[0])
        if x.ndim == 1 and len(shape) == 2 and shape[1] == 1:
            return self.lifted("column", x, shape)
        outside, inside = self.apart(x, bool)
        if outside != 1:
            found = self.reshape(Formula(self, inside, x.shape), shape=shape)
            return Formula(self, outside * found.expr, shape)
        if isinstance(made, Structure) and made.op == "sum" and made.params["keepdims"]:
            before = self.natural(made.args[0])
            single = tuple(i for i, n in enumerate(before) if n == 1 or i in made.params["axis"])
            for axes in (made.params["axis"], single):
                if tuple(n for i, n in enumerate(before) if i not in axes) == shape:
                    return self.structure("sum", made.args, {"axis": axes, "keepdims": False}, shape)
        return self.structure("reshape", [self.solid(x)], {"shape": shape}, shape)

    def lifted(self, kind: str, x: Formula, shape: Shape) -> Formula:
        """A vector as a row or column."""
        outside, inside = self.apart(x, bool)
        solid = self.solid(Formula(self, inside, x.shape))
        return Formula(self, outside * self.structure(kind, [solid], {}, shape).expr, shape)

    @staticmethod
    def _spelled(x: Formula, shape: Any) -> Shape:
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if -1 not in shape:
            letters = {int(n): n for n in x.shape}
            return tuple(n if isinstance(n, Size) else letters.get(n, n) for n in shape)
        rest: Any = 1
        for n in x.shape:
            rest = rest * n
        known = int(np.prod([int(n) for n in shape if n != -1], dtype=int))
        return tuple((rest if known == 1 else int(rest) // known) if n == -1 else n for n in shape)

    def matmul(self, a: Formula, b: Formula) -> Formula:
        """A product of matrices: numbers come before it, a column by a row is an outer product, a vector stays one."""
        shape = (*a.shape[:-1], *b.shape[:-2], *b.shape[-1:]) if b.ndim > 1 else a.shape[:-1]
        if max(a.ndim, b.ndim) > 2:
            shape = self._shape_after(TABLE["matmul"], [a, b], {})
        before, left = self.apart(a, bool)
        after, right = self.apart(b, bool)
        outside = before * after
        if outside == 0:
            return Formula(self, sympy().S.Zero, shape)
        if a.shape[-1:] == (1,) and b.ndim == 2 and (left == 1 or right == 1):  # a number by a row, a column by one
            if a.ndim == 1 and left == 1:  # the row itself, as a vector
                return Formula(self, outside * self.reshape(Formula(self, right, b.shape), shape=shape).expr, shape)
            return Formula(self, outside * left * right, shape)
        if a.ndim == b.ndim == 2 and a.shape[-1] != 1:
            if not self._along((1,), 2)(self.natural(left)):  # constant along what is summed
                total = self.sum(Formula(self, right, b.shape), axis=0, keepdims=True)
                return Formula(self, outside * left * total.expr, shape)
            if not self._along((0,), 2)(self.natural(right)):
                total = self.sum(Formula(self, left, a.shape), axis=1, keepdims=True)
                return Formula(self, outside * right * total.expr, shape)
        x, y = (self.solid(Formula(self, e, f.shape)) for e, f in ((left, a), (right, b)))
        made_x, made_y = self._lift(x), self._lift(y)
        if made_x == "column" and made_y == "row":
            found = self.structure("outer", [self._under(x), self._under(y)], {}, shape)
        elif made_x == "row" and made_y == "column":
            found = self.structure("matmul", [self._under(x), self._under(y)], {}, ())
        elif made_x == "row" and b.ndim == 2:  # of a stack it is one row for each matrix
            inner = self.structure("matmul", [self._under(x), y], {}, b.shape[-1:])
            found = self.structure("row", [inner.expr], {}, shape)
        elif made_y == "column" and a.ndim == 2:
            inner = self.structure("matmul", [x, self._under(y)], {}, a.shape[:-1])
            found = self.structure("column", [inner.expr], {}, shape)
        else:
            found = self.structure("matmul", [x, y], {}, shape)
        return Formula(self, outside * found.expr, shape)

    def _lift(self, expr: Any) -> str | None:
        made = self.meaning.get(expr)
        return made.op if isinstance(made, Structure) and made.op in ("row", "column") else None

    def _under(self, expr: Any) -> Any:
        made = self.meaning[expr]
        assert isinstance(made, Structure)
        return made.args[0]
