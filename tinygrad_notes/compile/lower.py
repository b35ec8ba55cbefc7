"""Lowering: ops that are compositions become the few that a back end computes, by reading their own rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from .. import ops
from ..ops import Op
from .folding import folded
from .tape import ALIAS, ASSEMBLED, CONSTANT, DETACHED, INPUT, LANES, Tape, code_of
from .trace import Symbols, Traced, constant, enter, wrap

MULTIPLY, MATMUL, MAXIMUM = map(code_of, (ops.multiply, ops.matmul, ops.maximum))
GREATER, GREATER_EQUAL = code_of(ops.greater), code_of(ops.greater_equal)
COMPOSED = {"var", "std", "norm", "logsumexp", "softmax", "log_softmax", "outer", "pad", "sum_to", "mean"}
"""Ops that move or sum elements whose forward rule is a composition; every elementwise op with a rule is one too."""

_ARITHMETIC = {"add", "subtract", "multiply", "divide", "negative", "identity"}


def lower(
    source: Tape, roots: Sequence[int], known: Collection[str], products: bool = False, masks: bool = False
) -> tuple[Tape, list[int]]:
    """The same computation in ops that the back end knows.

    Args:
        source: the tape.
        roots: the rows that are wanted.
        known: names of ops that are to be left whole although they are compositions.
        products: whether a sum of products of two arrays is a product of vectors.
        masks: whether a choice that stands for a product is one, of which NumPy does two or three in its time; then
            something is to stand behind that knows better where a number is not finite.

    Returns:
        A new tape, and the rows of the roots on it. Aliases and detachments are gone: nothing is differentiated later.
    """
    tape = Tape(folded)
    xp = Symbols(careful=True, tape=tape)
    new: dict[int, int] = {}
    live = source.live(roots)
    uses = Counter(a for i in live for a in source.arguments(i)) + Counter(roots)
    for i in live:
        code, *args = source.rows[i]
        if code in (ALIAS, DETACHED):
            new[i] = new[args[0]]
        elif code < 0:
            new[i] = carried(source, i, tape, new)
        else:
            op, params = source.operation(code)
            found = None
            if products and op in (ops.permute_dims, ops.broadcast_to):
                found = _moved(tape, new[args[0]], op, params, uses[args[0]] == 1)
            elif products and op is ops.sum:
                found = _product(tape, new[args[0]], params)
            elif products and op is ops.where:
                chosen = masks and (i in source.chosen or source.filling(args[1]) == 1)
                found = _without_choice(tape, [new[a] for a in args], source.dtype(i), chosen)
            if found is None:
                found = _expanded(tape, xp, op, [new[a] for a in args], params, known)
            new[i] = found.index if isinstance(found, Traced) else tape.constant(found)
        if i in source.names:
            tape.names.setdefault(new[i], source.names[i])
    return tape, [new[r] for r in roots]


def carried(source: Tape, i: int, tape: Tape, new: Mapping[int, int]) -> int:
    """A row that no op made, on another tape, where its arguments have new numbers."""
    code, *args = source.rows[i]
    if code == CONSTANT:
        return tape.constant(source.constants[args[0]])
    if code == INPUT:
        return tape.input(source.inputs[args[0]], source.shape(i), source.dtype(i))
    if code == LANES:
        return tape.lanes(new[args[0]], source.offsets[args[1]])
    if code == ASSEMBLED:
        return tape.assemble([(w, new[r]) for w, r in source.assembled[args[0]].parts], source.shape(i))
    return tape.row((code, new[args[0]], *args[1:]), source.shape(i), source.dtype(i))


def _expanded(
    tape: Tape, xp: Symbols, op: Op, args: Sequence[int], params: dict[str, Any], known: Collection[str]
) -> Any:
    given = [_symbol(tape, a) for a in args]
    special: Callable[..., Any] | None = _SPECIAL.get(op.name)
    if special is not None and not params and (found := special(tape, args, given)) is not None:
        return found
    if op.name == "sum_to" and "sum_to" not in known:
        summed = _summed(tape, given[0], params["shape"])
        if summed is not None:
            return summed
    whole = op.name in known or op.name in _ARITHMETIC or op.forward is None
    if op.name == "mean":
        total = ops.sum(given[0], **params)
        return total / float(_size(given[0]) / max(_size(total), 1))
    if whole or not (op.elementwise or op.name in COMPOSED):
        return wrap(tape, tape.apply(op, args, params))
    assert op.forward is not None
    found = op.forward(Lowering(tape, xp, known), *given, **params)
    return found


class Lowering:
    """The reading of a forward rule: what the rule asks for is lowered in turn."""

    def __init__(self, tape: Tape, xp: Symbols, known: Collection[str]) -> None:
        self.tape, self.xp, self.known = tape, xp, known

    def __getattr__(self, name: str) -> Any:
        if name in ("isfinite", "zeros_like", "ones_like", "asarray", "scale"):
            return getattr(self.xp, name)
        op: Op = getattr(ops, name)

        def call(*args: Any, **params: Any) -> Any:
            if not any(isinstance(a, Traced) for a in args):
                return op(*args, **params)
            params = {**op.defaults, **params} if op.defaults else params
            rows = [enter(self.tape, a) for a in args]
            return _expanded(self.tape, self.xp, op, rows, params, self.known)

        return call


def _size(x: Any) -> int:
    size: int = getattr(x, "size", 1)
    return size


def _symbol(tape: Tape, index: int) -> Any:
    """The symbol of a row, also of a constant: a rule may ask for its shape."""
    return constant(tape, tape.number(index)) if tape.is_constant(index) else wrap(tape, index)


# --- powers -----------------------------------------------------------------------------------------------------------


def _power(tape: Tape, args: Sequence[int], given: Sequence[Any]) -> Any:
    """Small whole powers by multiplication."""
    if tape.is_constant(args[1]) and given[0].dtype.kind == "f":
        x, n = given[0], float(tape.number(args[1]))
        if n in (1.0, 2.0, 3.0, 4.0):
            square = x * x if n > 1 else x
            return {1.0: lambda: x, 2.0: lambda: square, 3.0: lambda: square * x, 4.0: lambda: square * square}[n]()
        if n == -1.0:
            return 1.0 / x
    return None


def _product(tape: Tape, x: int, params: dict[str, Any]) -> Any:
    """The sum of all of a · b as a product of vectors, if that is what is summed."""
    shape, row, axis = tape.shape(x), tape.rows[x], params.get("axis")
    everything = axis is None or len(shape) == 1
    if row[0] != MULTIPLY or not shape or not everything or params.get("keepdims"):
        return None
    if any(tape.shape(a) != shape or tape.dtype(a).kind != "f" for a in row[1:]):
        return None
    a, b = (ops.reshape(wrap(tape, k), shape=(-1,)) for k in row[1:])
    return a @ b


def _above_zero(tape: Tape, args: Sequence[int], given: Sequence[Any]) -> Any:
    """x > 0 as max(x, 0) > 0, if there is such a row: nothing else may need x, which then is not kept."""
    if tape.filling(args[1]) == 0:
        positive = tape.known.get((MAXIMUM, args[0], tape.constant(0.0)))
        if positive is not None:
            return wrap(tape, positive) > 0
    return None


def _without_choice(tape: Tape, args: Sequence[int], dtype: Any, chosen: bool) -> Any:
    """Choices that are made without one, which NumPy takes long for: the processor cannot tell how they turn out.

    Where x ≥ 0, 1, else e^-|x| is the larger of e^-|x| and the sign of x. If the choice stands for a product, it is one
    with the mask; and with the sign of y, where the mask is y > 0 and y = max(x, 0).
    """
    condition, a, b = args
    code, *compared = tape.rows[condition]
    x = compared[0]
    with_zero = code >= 0 and len(compared) == 2 and tape.filling(compared[1]) == 0 and tape.dtype(x) == dtype
    if with_zero and code == GREATER_EQUAL and tape.filling(a) == 1:
        exponent = tape.made_by(b, ops.exp)
        size = None if exponent is None else tape.made_by(exponent, ops.negative)
        if size is not None and tape.made_by(size, ops.abs) in (x, tape.made_by(x, ops.negative)):
            return ops.maximum(wrap(tape, b), ops.sign(wrap(tape, x)))
    if not chosen or tape.filling(b) != 0 or tape.dtype(a) != dtype or tape.is_constant(condition):
        return None
    if tape.dtype(condition).kind != "b":  # a number that is not 0 is true as well
        return None
    if with_zero and code == GREATER and tape.rows[x][0] == MAXIMUM and tape.filling(tape.rows[x][2]) == 0:
        return ops.sign(wrap(tape, x)) * _symbol(tape, a)
    return None if tape.is_constant(a) else wrap(tape, condition) * wrap(tape, a)


def _moved(tape: Tape, x: int, op: Op, params: dict[str, Any], alone: bool) -> Any:
    """A move that leaves the numbers in their order as a reshape; (A B)ᵀ as Bᵀ Aᵀ where nothing else needs A B."""
    shape, row = tape.shape(x), tape.rows[x]
    if op is ops.broadcast_to:
        new = tuple(params["shape"])
        kept = math.prod(new) == math.prod(shape)
    else:
        axes = tuple(params.get("axes") or reversed(range(len(shape))))
        new = tuple(shape[a] for a in axes)
        long = [a for a in axes if shape[a] != 1]
        kept = long == sorted(long)
    if kept:
        return ops.reshape(_symbol(tape, x), shape=new)
    if op is ops.permute_dims and alone and axes == (1, 0) and row[0] == MATMUL:
        a, b = (wrap(tape, k) for k in row[1:])
        if len(a.shape) == len(b.shape) == 2:
            return b.T @ a.T
    return None


def _summed(tape: Tape, x: Any, shape: tuple[int, ...]) -> Any:
    """`sum_to` over leading axes only as one sum."""
    extra = len(x.shape) - len(shape)
    if extra and tuple(x.shape[extra:]) == tuple(shape):
        axes = tuple(range(extra)) if extra < len(x.shape) else None
        return ops.sum(x, axis=axes)
    return None


_SPECIAL = {
    "pow": _power,
    "square": lambda tape, args, given: given[0] * given[0] if given[0].dtype.kind == "f" else None,
    "identity": lambda tape, args, given: given[0],
    "greater": _above_zero,
}
