"""Formulas as Python with NumPy: what a student would hand in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import ops
from ..ops import Op
from .formula import broadcast
from .symbols import Structure
from .text import index
from .writing import ATOM, COMPARISONS, LOGIC, MATMUL, POWER, PRODUCT, SUM, Piece, Writing, symbol_of

_IN_NUMPY = {"exp", "expm1", "log", "log1p", "logaddexp", "sqrt", "abs", "sign", "maximum", "minimum", "hypot", "where"}
_IN_NUMPY |= {"sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh"}


class Code(Writing):
    """Python.

    Attributes:
        arrays: from a shape to the name of a node that has it, for reshaping to it.
        used: the modules that the code calls, `np` and `tn`.
        clashing: the names whose gradient cannot be called d<name>, since a node is called so.
    """

    fraction = ATOM

    arrays: Callable[[Sequence[int]], str | None]
    clashing: frozenset[str] = frozenset()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.used: set[str] = set()
        self.arrays = lambda shape: None
        self._within = 0  # structures: elsewhere a row is as good as a vector, by broadcasting

    def _np(self, call: str) -> str:
        self.used.add("np")
        return f"np.{call}"

    def number(self, x: Any) -> Piece:
        """A literal."""
        if x.is_Integer:
            return str(x), ATOM
        return repr(float(x)), ATOM

    def name(self, name: str) -> str:
        """As it is."""
        return name

    def gradient(self, name: str) -> str:
        """dZ2."""
        return f"d{self.root}_d{name}" if name in self.clashing else f"d{name}"

    def local(self, of: str, by: str) -> str:
        """Never in code: a local derivative is put in."""
        raise NotImplementedError

    def times(self, factors: Sequence[tuple[str, Any]]) -> str:
        """Factors with * between them."""
        return " * ".join(text for text, _ in factors)

    def over(self, above: Piece, below: Piece) -> Piece:
        """a / b."""
        return f"{self.fit(above, PRODUCT)} / {self.fit(below, POWER)}", PRODUCT

    def power(self, base: Piece, exponent: Any) -> Piece:
        """a**2."""
        return f"{self.fit(base, ATOM)}**{self.at_least(exponent, ATOM)}", POWER

    def term(self, expr: Any) -> str:
        """A term; booleans as numbers."""
        text = super().term(expr)
        return f"1.0 * {text}" if is_mask(expr) else text

    def function(self, name: str, args: Sequence[Any]) -> Piece:
        """NumPy's function; the project's where NumPy has none."""
        if name in COMPARISONS or name in LOGIC:
            written = [self.at_least(a, POWER if name in LOGIC else SUM) for a in args]
            sign = symbol_of(name)
            return f"({sign}{written[0]})" if len(written) == 1 else f"({written[0]} {sign} {written[1]})", ATOM
        if name == "sigmoid":
            return f"1 / (1 + {self._np('exp')}({self(-args[0])}))", PRODUCT
        if name == "relu":
            return f"{self._np('maximum')}({self(args[0])}, 0)", ATOM
        if name == "softplus":
            return f"{self._np('logaddexp')}(0, {self(args[0])})", ATOM
        written = [self(a) for a in args]
        if name in _IN_NUMPY:
            return f"{self._np(name)}({', '.join(written)})", ATOM
        return f"{self._own_name(name)}({', '.join(written)})", ATOM

    def structure(self, made: Structure) -> Piece:
        """w2.T @ dZ2, dZ2.sum(axis=1, keepdims=True)."""
        if made.op == "row":
            return (
                (f"{self.at_least(made.args[0], ATOM)}.reshape(1, -1)", ATOM)
                if self._within
                else self.piece(made.args[0])
            )
        self._within += 1
        try:
            return self._structure(made)
        finally:
            self._within -= 1

    def _structure(self, made: Structure) -> Piece:
        args, params = made.args, made.params
        if made.op == "matmul":
            return f"{self.at_least(args[0], POWER)} @ {self.at_least(args[1], POWER)}", MATMUL
        if made.op == "outer":
            return f"{self._np('outer')}({self(args[0])}, {self(args[1])})", ATOM
        inner = self.at_least(args[0], ATOM) if args else ""
        if made.op == "permute_dims":
            axes = params["axes"]
            back = axes is None or tuple(axes) == tuple(reversed(range(len(axes))))
            return f"{inner}.T" if back else f"{inner}.transpose({', '.join(map(str, axes))})", ATOM
        if made.op == "sum":
            return f"{inner}.sum({self._sum_over(made)})", ATOM
        if made.op == "column":
            return f"{inner}.reshape(-1, 1)", ATOM
        if made.op == "broadcast_to":
            return f"{self._np('broadcast_to')}({self(args[0])}, {self._shape(params['shape'])})", ATOM
        if made.op == "reshape":
            shape = params["shape"]
            return f"{inner}.reshape({'-1' if len(shape) == 1 else self._shape(shape)})", ATOM
        if made.op == "getitem":
            return f"{inner}[{index(params['index'])}]", ATOM
        if made.op == "softmax":
            e = f"{self._np('exp')}({self(args[0])})"
            return f"{e} / {e}.sum(axis={params['axis']}, keepdims=True)", PRODUCT
        return self._own(made), ATOM

    def shape(self, expr: Any) -> tuple[int, ...]:
        """The shape of what the code computes: a row is written as the vector that it is made of."""
        made = [(s, self.sheet.meaning[s]) for s in expr.free_symbols]
        return broadcast(
            *(
                self.sheet.natural(m.args[0]) if isinstance(m, Structure) and m.op == "row" else self.sheet.natural(s)
                for s, m in made
            )
        )

    def _sum_over(self, made: Structure) -> str:
        axes, keep = made.params["axis"], made.params["keepdims"]
        every = len(axes) == len(self.sheet.natural(made.args[0]))
        axis = "" if every else f"axis={axes[0] if len(axes) == 1 else axes}"
        return ", ".join(part for part in (axis, "keepdims=True" if keep else "") if part)

    def _shape(self, shape: Sequence[int]) -> str:
        name = self.arrays(shape)
        return f"{name}.shape" if name else str(tuple(int(n) for n in shape))

    def _own(self, made: Structure) -> str:
        """A call of the project's op, which takes plain arrays too."""
        written = [self(a) for a in made.args]
        if made.op in ("concat", "stack", "einsum"):
            written = [f"[{', '.join(written)}]"]
        if made.op == "einsum":
            self.used.add("tn")
            return f"tn.einsum({made.params['subscripts']!r}, {written[0][1:-1]})"
        given = [f"{k}={self._parameter(k, v)}" for k, v in made.params.items()]
        return f"{self._own_name(made.op)}({', '.join([*written, *given])})"

    def _own_name(self, op: str) -> str:
        """How an op of the project is called; a row that the package does not export is found in the table."""
        self.used.add("tn")
        return f"tn.{op}" if isinstance(getattr(ops, op, None), Op) else f"tn.ops.TABLE[{op!r}]"

    def _parameter(self, name: str, x: Any) -> str:
        if name == "index":
            items = x if isinstance(x, tuple) else (x,)
            return "(" + ", ".join(map(self._position, items)) + ",)"
        if name == "shape":
            return self._shape(x)
        return repr(x)

    def _position(self, x: Any) -> str:
        if isinstance(x, slice):
            return f"slice({x.start}, {x.stop}, {x.step})"
        return repr(x.tolist()) if hasattr(x, "tolist") else repr(x)

    def brackets(self, text: str) -> str:
        """( … )."""
        return f"({text})"


def is_mask(expr: Any) -> bool:
    """Whether an expression is booleans alone, which NumPy neither negates nor subtracts, and adds as it does `or`."""
    if expr.is_Mul:
        return all(map(is_mask, expr.args))
    return bool(expr.is_Function) and expr.func.__name__ in COMPARISONS | LOGIC
