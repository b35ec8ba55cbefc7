"""Array programs as straight-line NumPy: results in buffers made beforehand, no graph and no allocation in a call.

The program is a function with one line for each op. A buffer is used again once nothing needs what is in it; an
elementwise op writes over its own argument where it can. Views (transposes, reshapes, parts) of buffers are taken once.
"""

from __future__ import annotations

import contextvars
import itertools
import linecache
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..ops.namespaces import numpy_reading
from .folding import is_basic
from .lower import lower
from .pack import base, is_written, pack
from .placing import Placing
from .tape import CONSTANT, ELEMENT, INPUT, LANES, Tape

UFUNCS: dict[str, str] = {
    **{name: name for name in ("add", "subtract", "multiply", "divide", "negative", "sqrt", "sign", "maximum")},
    **{name: name for name in ("minimum", "hypot", "exp", "expm1", "log", "log1p", "logaddexp", "sin", "cos", "tan")},
    **{name: name for name in ("sinh", "cosh", "tanh", "less", "less_equal", "greater", "greater_equal", "equal")},
    **{name: name for name in ("not_equal", "logical_and", "logical_or", "logical_not")},
    "abs": "absolute",
    "pow": "power",
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "atan2": "arctan2",
}
"""NumPy's function for an op, which takes `out`."""

_REDUCTIONS = {"sum": "add", "max": "maximum", "min": "minimum", "prod": "multiply"}
_VIEWS = {"reshape", "permute_dims", "expand_dims", "squeeze", "broadcast_to", "getitem"}
_MAY_VIEW = {*_VIEWS, "flip", "astype", "einsum"}
_counter = itertools.count()
SPREAD = 4_000
"""Up to so many numbers a row is copied for each row of a matrix before the two are computed with."""
EXACT = 2_000
"""So many numbers BLAS may add up: it rounds more often than NumPy, which adds up parts, and then these."""


class ArrayProgram:
    """A tape as a NumPy function.

    Args:
        tape: the program.
        roots: the rows to return.
        read: rows of results that the caller has read before the next run; their memory is used again.
        checked: whether a result that is not finite is not believed: see `lower`.

    Attributes:
        source: the text of the function.
        run: takes the arrays of the INPUT rows, in order, and returns a list of results; `None` if one that is checked
            is not finite.
    """

    def __init__(self, tape: Tape, roots: Sequence[int], read: Sequence[int] = (), checked: bool = False) -> None:
        self.tape, self.roots = self._lowered(tape, roots, checked)
        self.checked = checked
        self.read = [root in read for root in roots]
        self.lines: list[str] = []
        self.scope: dict[str, Any] = {"np": np, "inf": math.inf, "nan": math.nan}
        self.names: dict[int, str] = {}
        self.held: dict[int, np.ndarray[Any, Any]] = {}
        self.root_of: dict[int, int] = {}
        self.pool: dict[Any, list[str]] = {}
        self.ones: dict[Any, str] = {}
        self.spread: dict[Any, str] = {}
        self.numbers: dict[str, str] = {}
        self.inputs: list[Any] = []
        self.instructions = 0
        self.flops = 0
        # NumPy's warnings are a matter of the context; entering one that is ready costs less than `np.errstate`.
        self.quiet = contextvars.Context()
        self.quiet.run(np.seterr, all="ignore")
        self.quiet.run(self._write)

    def _lowered(self, tape: Tape, roots: Sequence[int], checked: bool) -> tuple[Tape, list[int]]:
        """The program in ops that are computed here."""
        return pack(*lower(tape, roots, known=UFUNCS.keys(), products=True, masks=checked), UFUNCS.keys())

    def _write(self) -> None:
        tape = self.tape
        live = tape.live(self.roots)
        order = {i: k for k, i in enumerate(live)}
        self.results = set(self.roots)
        self._lay_out_parts(live)
        for i in live:  # a view lives in the memory of what it is a view of, a part in that of the whole
            row = tape.rows[i]
            if i in self.parts:
                self.root_of[i] = self.parts[i][0]
                continue
            viewed = row[0] >= 0 and tape.operation(row[0])[0].name in _MAY_VIEW
            self.root_of[i] = self.root_of[row[1]] if viewed and row[1] in self.root_of else i
        self.last: dict[int, int] = {}
        for i in live:
            for a in tape.arguments(i):
                self.last[self.root_of[a]] = max(self.last.get(self.root_of[a], 0), order[i])
        for r in self.roots:
            self.last[self.root_of[r]] = len(live)
        self.placing = Placing(tape, self.roots, self.read)
        self.users: dict[int, list[int]] = {}
        for i in live:
            for a in tape.arguments(i):
                self.users.setdefault(a, []).append(i)
        self._rows(live)
        self._return()
        arguments = ", ".join(self.names[i] for i in live if tape.rows[i][0] == INPUT)
        constants = "".join(f"{name} = np.array({value})\n" for value, name in self.numbers.items())
        body = "\n".join(f"    {line}" for line in self.lines)
        self.source = f"{constants}def program({arguments}):\n{body}\n"
        file = f"<tinygrad_notes compiled {next(_counter)}>"
        linecache.cache[file] = (len(self.source), None, self.source.splitlines(keepends=True), file)
        exec(compile(self.source, file, "exec"), self.scope)
        self.run: Callable[..., list[Any]] = self.scope["program"]

    def __call__(self, arrays: Sequence[Any]) -> list[Any] | None:
        """The results, as of `run`; infinities and NaN are values, not warnings."""
        return self.quiet.run(self.run, *arrays)

    # --- rows -------------------------------------------------------------------------------------------------------

    def _rows(self, live: Sequence[int]) -> None:
        """The lines of these rows."""
        for k, i in enumerate(live):
            self._row(i, k)

    def _row(self, i: int, k: int) -> None:
        tape = self.tape
        code, *args = tape.rows[i]
        if code == CONSTANT:
            self.names[i] = repr(tape.number(i)) if _is_plain(tape.number(i)) else self._bind("c", tape.number(i))
            return
        if code == INPUT:
            self.names[i] = f"x{i}"
            self.inputs.append(tape.inputs[args[0]])
            return
        if code == ELEMENT:
            index = np.unravel_index(args[1], tape.shape(args[0]))
            self._define(i, f"{self.names[args[0]]}[{', '.join(str(int(n)) for n in index)}]")
            return
        if code == LANES:
            places = self._bind("places", tape.offsets[args[1]])
            self._define(i, f"{self.names[args[0]]}.reshape(-1)[{places}]")
            return
        op, params = tape.operation(code)
        self.instructions += 1
        names = [self.names[a] for a in args]
        if op.name in _VIEWS and self._view(i, op.name, args, params):
            return
        shape, size = tape.shape(i), math.prod(tape.shape(i))
        if op.name in UFUNCS:
            self.flops += size
            if not shape and op.symbol and len(args) < 3 and op.symbol not in "&|~":
                self._define(i, f"{names[0]} {op.symbol} {names[1]}" if len(args) == 2 else f"-{names[0]}")
                return
            self._free(i, args, k, elementwise=True)
            self._ufunc(i, UFUNCS[op.name], names, args)
        elif op.name == "where":
            self._where(i, names, args, k)
        elif op.name in _REDUCTIONS:
            x = names[0]
            self.flops += math.prod(tape.shape(args[0]))
            if op.name == "sum" and self._as_product(i, args[0], params):
                self._free(i, args, k)
                return
            axis = _axes(params.get("axis"), len(tape.shape(args[0])))
            keep = ", keepdims=True" if params.get("keepdims") else ""
            dtype = f", dtype=np.{tape.dtype(i)}" if tape.dtype(i) != tape.dtype(args[0]) else ""
            self._call(i, f"np.{_REDUCTIONS[op.name]}.reduce({x}, axis={axis}{dtype}{keep}{{out}})", shape)
            self._free(i, args, k)
        elif i in self.wholes:
            whole = self.held.get(i)
            if whole is None:
                self._buffer(i)
                whole = self.held[i]
            for part, start in self.wholes[i]:
                size = math.prod(tape.shape(part))
                name = self._bind("p", whole[start : start + size].reshape(tape.shape(part)))
                self.lines.append(f"{name}[...] = {self.names[part]}")
            self._free(i, args, k)
        elif op.name == "matmul":
            inner = tape.shape(args[0])[-1]
            self.flops += 2 * size * inner
            # Of matrices `dot` gives the same in less time; but with one number for an argument 0 · ∞ is 0 there.
            if all(len(tape.shape(a)) <= 2 and math.prod(tape.shape(a)) != 1 for a in args):
                self._call(i, f"{names[0]}.dot({names[1]}{{into}})", shape)
            else:
                self._call(i, f"np.matmul({', '.join(names)}{{into}})", shape)
            self._free(i, args, k)
        else:
            function = getattr(numpy_reading, op.name)
            if not op.elementwise:  # a number may be Python's; the rule asks for shapes
                names = [n if tape.shape(a) else f"np.asarray({n})" for n, a in zip(names, args, strict=True)]
            given = f"[{', '.join(names)}]" if op.arity < 0 else ", ".join(names)
            values = "".join(f", {n}={self._literal(v)}" for n, v in params.items())
            self._define(i, f"{self._bind(op.name, function)}({given}{values})")
            self._free(i, args, k)

    def _ufunc(self, i: int, name: str, names: list[str], args: Sequence[int]) -> None:
        """A call of a ufunc, as short as it can be: each name that is looked up in it, and each keyword, takes time."""
        tape, dtype = self.tape, self.tape.dtype(i)
        self.scope[name] = getattr(np, name)
        if not tape.shape(i) and i not in self.parts:
            self._define(i, f"{name}({', '.join(names)})")
            return
        names = [self._spread(a, n, tape.shape(i)) for a, n in zip(args, names, strict=True)]
        if dtype.kind == "b":
            dtype = next((tape.dtype(a) for a in args if not tape.is_constant(a)), dtype)
        if dtype.kind == "f":
            names = [self._number(a, dtype) if tape.is_constant(a) else n for a, n in zip(args, names, strict=True)]
        out = self._buffer(i)
        last = f"out={out}" if name in ("maximum", "minimum") else out  # by position these complain
        self.lines.append(f"{name}({', '.join(names)}, {last})")

    def _spread(self, a: int, name: str, shape: tuple[int, ...]) -> str:
        """The name of an argument; of a short row that meets every row of a matrix, of as many copies of it.

        NumPy takes its time to begin each row anew, but not where it copies, nor where two matrices lie alike.
        """
        row = self.tape.shape(a)
        is_short = len(shape) == 2 and shape[0] >= 16 and 1 < shape[1] <= 32 and math.prod(shape) <= SPREAD
        if not is_short or math.prod(row) != shape[1] or row[-1:] != shape[1:] or shape[0] == 1:
            return name
        if (a, shape) not in self.spread:
            self.spread[a, shape] = self._bind("w", np.empty(shape, self.tape.dtype(a)))
            self.lines.append(f"{self.spread[a, shape]}[...] = {name}")
        return self.spread[a, shape]

    def _number(self, a: int, dtype: np.dtype[Any]) -> str:
        """The name of a constant as an array without axes; NumPy takes a quarter of a microsecond to make one of it."""
        x = float(self.tape.number(a))
        value = repr(x) if dtype == np.float64 else f"{x!r}, np.{dtype.name}"
        if value not in self.numbers:
            self.numbers[value] = self._bind("c", np.array(x, dtype))
        return self.numbers[value]

    def _as_product(self, i: int, x: int, params: dict[str, Any]) -> bool:
        """A sum of all numbers of an array, or along an axis of a matrix, as a product: BLAS adds faster."""
        tape = self.tape
        shape, axis, held = tape.shape(x), params.get("axis"), self.held.get(x)
        if held is None or held.dtype not in (np.float64, np.float32) or params.get("keepdims") or not held.size:
            return False
        axes = {a % len(shape) for a in (range(len(shape)) if axis is None else np.atleast_1d(axis).tolist())}
        name = self.names[x]
        if len(axes) == len(shape):
            if held.size > EXACT or not held.flags.c_contiguous:
                return False
            name, size = (name if len(shape) == 1 else self._bind("v", held.reshape(-1))), held.size
        elif len(shape) == 2 and (axes == {0} or shape[1] <= EXACT):
            (along,) = axes
            size = shape[along]
        else:
            return False
        ones = self._ones(size, held.dtype)
        template = f"{name}.dot({ones}{{into}})" if axes == {1} else f"{ones}.dot({name}{{into}})"
        self._call(i, template, tape.shape(i))
        return True

    def _ones(self, size: int, dtype: np.dtype[Any]) -> str:
        """The name of a vector of ones."""
        if (size, dtype) not in self.ones:
            self.ones[size, dtype] = self._bind("ones", np.ones(size, dtype))
        return self.ones[size, dtype]

    def _where(self, i: int, names: list[str], args: Sequence[int], k: int) -> None:
        tape = self.tape
        shape = tape.shape(i)
        self.flops += math.prod(shape)
        if not shape:
            # The number, not a view of a buffer, which will be used again; NumPy's, which may be divided by 0.
            names[1:] = [
                self._bind("c", np.asarray(tape.number(a))[()]) if tape.is_constant(a) else n
                for n, a in zip(names[1:], args[1:], strict=True)
            ]
            taken, other = (f"{n}[()]" if a in self.held else n for n, a in zip(names[1:], args[1:], strict=True))
            self._define(i, f"({taken} if {names[0]} else {other})")
        elif self._is_mask(args[0], shape) and tape.filling(args[1]) == 1 and tape.filling(args[2]) == 0:
            self.lines.append(f"{self._buffer(i)}[...] = {names[0]}")
        else:  # takes half the time of two copies, of which one goes by the mask
            self._define(i, f"np.where({', '.join(names)})")
        self._free(i, args, k)

    def _is_mask(self, i: int, shape: tuple[int, ...]) -> bool:
        """Whether a row is truth values of this shape."""
        return self.tape.dtype(i).kind == "b" and self.tape.shape(i) == shape

    def _view(self, i: int, name: str, args: Sequence[int], params: dict[str, Any]) -> bool:
        """A part, a transpose or a reshape: taken once of a buffer, in every call of what comes from outside."""
        shape = self.tape.shape(i)
        x = self.names[args[0]]
        if name == "getitem" and not is_basic(params["index"]):
            return False
        if name == "permute_dims":
            how = f".transpose({', '.join(map(str, params['axes']))})"
        elif name == "getitem":
            how = f"[{_index_text(params['index'])}]"
        elif name == "broadcast_to":
            how = ""
        else:
            how = f".reshape({shape})" if len(shape) != 1 else f".reshape({shape[0]})"
        if self.tape.is_constant(args[0]):
            self._define(i, self._bind("c", np.broadcast_to(np.float64(self.tape.number(args[0])), shape).copy()))
            return True
        if not self.tape.shape(args[0]) and args[0] not in self.held:  # may be a Python number, which has no views
            self._define(i, f"np.full({shape}, {x}, np.{self.tape.dtype(i).name})" if shape else x)
            return True
        held = self.held.get(args[0])
        if held is not None:
            view = eval(f"x{how}", {"x": held}) if how else np.broadcast_to(held, shape)
            if not view.size or np.shares_memory(view, held):
                self.names[i] = self._bind("v", view)
                self.held[i] = view
                return True
        if name == "getitem" and not shape:
            self._define(i, f"{x}{how}")
        else:
            self._define(i, f"{x}{how}" if how else f"np.broadcast_to({x}, {shape})")
        return True

    # --- names and buffers ------------------------------------------------------------------------------------------

    def _bind(self, hint: str, what: Any) -> str:
        name = f"{hint}_{len(self.scope)}"
        self.scope[name] = what
        return name

    def _literal(self, value: Any) -> str:
        plain = isinstance(value, (int, str, type(None))) or (
            isinstance(value, tuple) and all(type(v) is int for v in value)
        )
        return repr(value) if plain else self._bind("p", value)

    def _define(self, i: int, expression: str) -> None:
        self.names[i] = f"t{i}"
        self.lines.append(f"t{i} = {expression}")

    def _call(self, i: int, template: str, shape: tuple[int, ...]) -> None:
        if not shape and i not in self.parts:
            self._define(i, template.format(out="", into=""))
        else:
            out = self._buffer(i)
            self.lines.append(template.format(out=f", out={out}", into=f", {out}"))  # by position it is quicker

    def _buffer(self, i: int) -> str:
        """A buffer for a row: its place among the results, or one that nothing needs any more."""
        shape, dtype = self.tape.shape(i), self.tape.dtype(i)
        if i in self.parts:
            whole, start = self.parts[i]
            if whole not in self.held:
                self._buffer(whole)
            name = self._bind("p", self.held[whole][start : start + math.prod(shape)].reshape(shape))
        elif i in self.placing.places:
            name = self._bind("r", self.placing.places[i])
        else:
            free = self.pool.get((shape, dtype))
            name = free.pop() if free else self._bind("b", np.empty(shape, dtype))
        self.names[i] = name
        self.held[i] = self.scope[name]
        return name

    def _free(self, i: int, args: Sequence[int], k: int, elementwise: bool = False) -> None:
        """Give back the buffers that this row is the last to need."""
        for root in {self.root_of[a] for a in args}:
            if self.last.get(root) == k and root in self.held and root not in self.results:
                if elementwise and any(self.root_of[a] == root and a != root for a in args):
                    continue  # a view of it is read in another order than it would be written
                self._release(root)

    def _release(self, root: int) -> None:
        """Give back a buffer."""
        if root in self.held and root not in self.results and self.last.get(root) != -1:
            held = self.held[root]
            self.pool.setdefault((held.shape, held.dtype), []).append(self.names[root])
            self.last[root] = -1

    def _lay_out_parts(self, live: Sequence[int]) -> None:
        """What is put together from parts that are computed there, each in its place, and of others as they come."""
        tape = self.tape
        self.parts: dict[int, tuple[int, int]] = {}
        self.wholes: dict[int, list[tuple[int, int]]] = {}
        for i in live:
            code, *args = tape.rows[i]
            op, params = tape.operation(code) if code >= 0 else (None, {})
            if op is not ops.concat or params.get("axis") is not None:
                continue
            others = self.wholes[i] = []
            start = 0
            for part in (base(tape, a) for a in args):
                fits = is_written(tape, part, UFUNCS.keys()) and tape.dtype(part) == tape.dtype(i)
                if fits and part not in self.parts and part not in self.results:
                    self.parts[part] = i, start
                else:
                    others.append((part, start))
                start += math.prod(tape.shape(part))

    # --- results ----------------------------------------------------------------------------------------------------

    def _return(self) -> None:
        """Put the rest of the results in their places, and return them in memory that the caller may keep."""
        tape, returned, named = self.tape, self.placing.returned, {}
        for k, r in enumerate(self.roots):
            if k not in returned:
                kind = {"b": "bool", "i": "int", "u": "int"}.get(tape.dtype(r).kind, "float")
                plain = tape.rows[r][0] == CONSTANT
                named[k] = self.names[r] if plain else f"{kind}({self.names[r]})"
            else:
                named[k] = self._bind("r", returned[k])
                held = self.held.get(r)
                if held is None or _place(held) != _place(returned[k]):
                    self.lines.append(f"{named[k]}[...] = {self.names[r]}")
        if self.checked:
            self.scope["isfinite"] = math.isfinite
            found = [named[k] for k, r in enumerate(self.roots) if not tape.shape(r) and tape.dtype(r).kind == "f"]
            for numbers, _ in self.placing.blocks:
                if numbers.dtype.kind == "f":
                    name = self._bind("all", numbers)
                    found.append(f"{name}.dot({name})")
            if found:
                self.lines.append(f"if not isfinite({' + '.join(found)}):")
                self.lines.append("    return None")
        for _, (own, fresh) in self.placing.blocks:
            if own:
                name = f"y{len(self.scope)}"
                self.lines.append(f"{name} = {self._bind('fresh', fresh.take)}()")
                named |= {k: f"{name}[{j}]" for j, k in enumerate(own)}
        self.lines.append(f"return [{', '.join(named[k] for k in range(len(self.roots)))}]")


def _place(x: np.ndarray[Any, Any]) -> Any:
    """Where an array's numbers lie."""
    return x.__array_interface__["data"][0], x.strides


def _is_plain(x: Any) -> bool:
    return isinstance(x, (bool, int)) or (isinstance(x, float) and math.isfinite(x))


def _index_text(index: Any) -> str:
    def part(p: Any) -> str:
        if isinstance(p, slice):
            ends = [("" if e is None else str(int(e))) for e in (p.start, p.stop)]
            return ":".join(ends) + (f":{int(p.step)}" if p.step is not None else "")
        return "None" if p is None else "..." if p is Ellipsis else str(int(p))

    return ", ".join(map(part, index if isinstance(index, tuple) else (index,))) or "()"


def _axes(axis: Any, ndim: int) -> Any:
    return None if axis is None else tuple(int(a) for a in axis) if isinstance(axis, (tuple, list)) else int(axis)
