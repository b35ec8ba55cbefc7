"""`Op` and the two functions that make a row of the op table: `elementwise` and `structural`.

A row is mathematics and nothing else. Its rules take an array namespace `xp` first and use operators and `xp` only, so
that the same rule is read with floats, NumPy arrays, PyTorch or JAX arrays, graph nodes, or Python source text.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import OpError, OpIndexError, OpTypeError, OpValueError, describe
from .namespaces import NODE_KINDS, TABLE, floats, is_number, namespace_of, numpy_reading, shape_of, to_arrays

Interval = tuple[float, float]
REALS: Interval = (-math.inf, math.inf)
POSITIVE: Interval = (0.0, math.inf)


@dataclass(frozen=True, eq=False)
class Op:
    """One operation: how it is computed, what its derivative is, and how it is written.

    Attributes:
        name: the name in the op table and, unless `forward` is given, in the array namespace (Array API names).
        symbol: the infix operator, if the op has one (`"*"`).
        forward: `(xp, *xs, **params) -> y`, or `None` where `xp.<name>` is it.
        partials: elementwise ops: `(xp, y, *xs, **params) -> (∂y/∂x0, ∂y/∂x1, …)`.
        vjp_rule: structural ops: `(xp, g, y, *xs, **params)` -> the cotangent of each `x`.
        tex: LaTeX template; `{0}`, `{1}`, … are the arguments.
        arity: how many arrays it takes; -1 for a list of any length.
        defaults: its keyword parameters with their defaults.
        domain: for each argument the open interval in which it is differentiable (for tests and strategies).
        expects: what the arguments must be, in words, for error messages.
        differentiable: False for comparisons and index searches, whose result takes no gradient.
        method: whether nodes carry it as a method (`t.tanh()`).
        recorders: for a kind of node, the function that records the op on plain arguments of this kind, made when first
            used: `(*args)`, or `(*args, params)` if the op has parameters. What is not plain it gives to `apply`.
        pullbacks: for a kind of node, the function `(node, g, flight, active)` that takes the backward pass over a node
            of this op, made when first used: see `Node.pullback_of`.
    """

    name: str
    symbol: str | None
    forward: Callable[..., Any] | None
    partials: Callable[..., tuple[Any, ...]] | None
    vjp_rule: Callable[..., Any] | None
    tex: str
    arity: int
    defaults: dict[str, Any]
    domain: tuple[Interval, ...]
    expects: str
    differentiable: bool
    method: bool
    __doc__: str | None = field(default=None, repr=False)
    recorders: dict[type, Callable[..., Any]] = field(default_factory=dict, init=False, repr=False)
    pullbacks: dict[type, Callable[..., Any]] = field(default_factory=dict, init=False, repr=False)

    @property
    def elementwise(self) -> bool:
        """Whether each element of the result depends on the same element of the (broadcast) arguments only."""
        return self.vjp_rule is None

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __reduce__(self) -> str | tuple[Any, ...]:
        return _row, (self.name,)  # an op is its row: copies and pickles find it again by name

    def __call__(self, *args: Any, **params: Any) -> Any:
        """Apply the op to numbers, arrays, `Value`s or `Tensor`s; anything but a node gives a plain result."""
        if len(args) != self.arity:
            args, params = self._sort_out(args, params)
        if params or self.defaults:
            params = self._complete(params)
        recorders = self.recorders
        if recorders and args:
            fast = recorders.get(args[0].__class__) or recorders.get(args[-1].__class__)
            if fast is not None:
                return fast(*args, params) if params else fast(*args)
        return self.apply(args, params)

    def _complete(self, params: dict[str, Any]) -> dict[str, Any]:
        """The parameters with the defaults of those that are not given."""
        for p in params.values():
            if p.__class__ in NODE_KINDS:
                raise OpTypeError(
                    f"{self.name}: given a Value or Tensor for one of {', '.join(self.defaults)}; expected plain "
                    "data: no gradient flows to a parameter. Give its .data, or build the same from other ops."
                )
        completed = {**self.defaults, **params}
        if len(completed) != len(self.defaults):
            unknown = ", ".join(sorted(params.keys() - self.defaults.keys()))
            raise TypeError(f"{self.name}: no parameter {unknown}; it takes {', '.join(self.defaults) or 'none'}.")
        return completed

    def apply(self, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """What a call does once arguments and parameters are told apart, for arguments of every kind."""
        kind = None
        for arg in args:
            k = NODE_KINDS.get(type(arg))
            if k is None:
                if type(arg) is list or type(arg) is tuple:
                    arrays = [to_arrays(a, self.name) if isinstance(a, (list, tuple)) else a for a in args]
                    return self.apply(arrays, params)
            elif kind is None or k.rank > kind.rank:
                kind = k
        if kind is not None:
            return kind.record(self, args, params)
        if self.elementwise and all(is_number(a) for a in args):
            return self.on_floats(args, params)
        return self.on_arrays(args, params, args)[0]

    def _sort_out(self, args: tuple[Any, ...], params: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Tell arrays from parameters given by position, as in `sum(x, 0)` or `concat([a, b], 1)`."""
        arrays, rest = args[: self.arity], args[self.arity :]
        if self.arity < 0:
            if args and isinstance(args[0], Sequence) and not isinstance(args[0], str):
                arrays, rest = tuple(args[0]), args[1:]
            else:
                arrays, rest = args, ()
        names = list(self.defaults)
        if len(arrays) < max(self.arity, 1) or len(rest) > len(names):
            takes = f"{self.arity} array(s)" if self.arity > 0 else "a list of arrays"
            takes += f" and {', '.join(names)}" if names else ""
            raise TypeError(f"{self.name}: got {len(args)} argument(s); it takes {takes}.")
        return arrays, {**dict(zip(names, rest, strict=False)), **params}

    def on_floats(self, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """The result on Python floats; where Python raises (1/0, log 0, exp 1000) IEEE's answer: ±inf or NaN."""
        try:
            y = getattr(floats, self.name)(*args, **params)
            return y if type(y) is bool else float(y)
        except _NOT_IN_PYTHON:
            with numpy_reading.quiet():
                return float(getattr(numpy_reading, self.name)(*numpy_reading.floats(args), **params))

    def partials_on_floats(self, y: float, args: Sequence[Any], params: dict[str, Any]) -> tuple[float | None, ...]:
        """The local derivatives on Python floats, with IEEE's answers at the edges; `None` where there is none."""
        assert self.partials is not None
        try:
            return _slopes(self.partials(floats, y, *args, **params))
        except _NOT_IN_PYTHON:
            with numpy_reading.quiet():
                y, *args = numpy_reading.floats([y, *args])
                return _slopes(self.partials(numpy_reading, y, *args, **params))

    def on_arrays(self, args: Sequence[Any], params: dict[str, Any], shown: Sequence[Any]) -> tuple[Any, Any]:
        """The result on arrays (and numbers), and the namespace that it was computed in.

        Args:
            args: the data.
            params: the op's parameters.
            shown: what the user gave (nodes have names), for the message of an error.

        Raises:
            ValueError, TypeError, IndexError: naming the op, what was given and what it expects.
        """
        xp = namespace_of(args, self.name)
        try:
            function = getattr(xp, self.name)
            if self.vjp_rule is not None:
                args = _arrays(args)
            return (function(args, **params) if self.arity < 0 else function(*args, **params)), xp
        except OpError:
            raise
        except (ValueError, TypeError, IndexError, RuntimeError) as error:
            raise self.complaint(error, shown, params) from error

    def complaint(self, error: Exception, args: Sequence[Any], params: dict[str, Any]) -> Exception:
        """The error for the user: the op, what was given, what was expected."""
        given = " and ".join(describe(a) for a in args)
        kwargs = "".join(f", {k}={v!r}" for k, v in params.items() if v is not self.defaults.get(k))
        expected = self.expects
        if self.elementwise:
            try:
                np.broadcast_shapes(*map(shape_of, args))
            except ValueError:
                expected = "shapes that broadcast: aligned from the right, sizes equal or one of them 1"
                error = ValueError(*error.args)  # JAX raises a TypeError
        kind: type[OpError] = OpTypeError if isinstance(error, TypeError) else OpValueError
        if isinstance(error, IndexError):
            kind = OpIndexError
        return kind(f"{self.name}: given {given}{kwargs}; expected {expected}. ({error})")

    def vjp(
        self, xp: Any, g: Any, y: Any, args: Sequence[Any], wanted: Sequence[bool], params: dict[str, Any]
    ) -> list[Any]:
        """The cotangent of each wanted argument, given the cotangent `g` of the result; `None` for the others.

        A cotangent has the shape and dtype of its argument: broadcasting is undone here, for every op, by `sum_to`.
        """
        if self.vjp_rule is not None:
            given = self.vjp_rule(xp, g, y, *_arrays(args), **params)
            given = given if isinstance(given, (tuple, list)) else (given,)
            found = [force(c) if w else None for c, w in zip(given, wanted, strict=True)]
        else:
            found = [scaled(xp, g, p) for p in self.slopes(xp, y, args, wanted, params)]
        return [None if c is None else fit(xp, c, a) for c, a in zip(found, args, strict=True)]

    def slopes(self, xp: Any, y: Any, args: Sequence[Any], wanted: Sequence[bool], params: dict[str, Any]) -> list[Any]:
        """∂y/∂x for each wanted argument of an elementwise op; `None` for the others."""

        def read(xs: Sequence[Any]) -> list[Any]:
            assert self.partials is not None
            partials = self.partials(xp, y, *xs, **params)
            return [force(p) if w else None for p, w in zip(partials, wanted, strict=True)]

        try:
            return read(args)
        except ZeroDivisionError:  # by a plain number; NumPy's numbers follow IEEE 754
            with numpy_reading.quiet():
                return [float(p) if isinstance(p, np.floating) else p for p in read(numpy_reading.floats(args))]

    def jvp(self, xp: Any, tangents: Sequence[Any], y: Any, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """The tangent of the result, given the tangent of each argument (`None` where it is zero).

        This is Σ ∂y/∂x · ẋ, for an elementwise op. For a structural one the vjp is linear in its cotangent, and its
        transpose is the jvp: `Tensor.push` takes it.
        """
        total = None
        slopes = self.slopes(xp, y, args, [t is not None for t in tangents], params)
        for p, t in zip(slopes, tangents, strict=True):
            term = scaled(xp, t, p)
            total = term if total is None else total if term is None else total + term
        if total is not None and shape_of(total) != shape_of(y):
            total = xp.broadcast_to(total, shape=shape_of(y))
        return None if total is None else _cast(xp, total, y)


def _arrays(args: Sequence[Any]) -> list[Any]:
    """A rule that asks for shapes is given arrays, also where the user gave a number."""
    return [np.asarray(a) if is_number(a) else a for a in args]


# What Python's floats lack: 1/0 and log 0, complex roots (no float), functions that only NumPy has.
_NOT_IN_PYTHON = (ArithmeticError, ValueError, TypeError, AttributeError)


def _slopes(partials: Sequence[Any]) -> tuple[float | None, ...]:
    return tuple(None if (p := force(entry)) is None else float(p) for entry in partials)


def force(x: Any) -> Any:
    """A rule may give a function of no arguments in place of a costly entry: it is called only if it is wanted."""
    return x() if callable(x) and type(x) not in NODE_KINDS else x


def scaled(xp: Any, g: Any, slope: Any) -> Any:
    """g · slope; `None` for no slope."""
    if slope is None:
        return None
    if type(slope) is int and -1 <= slope <= 1:  # a slope of ±1 is not multiplied, a slope of 0 is exactly 0
        return xp.zeros_like(g) if slope == 0 else g if slope == 1 else -g
    return xp.scale(g, slope)


def fit(xp: Any, cotangent: Any, arg: Any) -> Any:
    """Undo broadcasting and promotion: the cotangent in the shape and dtype of its argument."""
    shape = shape_of(arg)
    if shape_of(cotangent) != shape:
        cotangent = xp.sum_to(cotangent, shape=tuple(shape))
    return _cast(xp, cotangent, arg)


def _cast(xp: Any, x: Any, like: Any) -> Any:
    """x in the dtype of `like`; a number has none."""
    dtype = getattr(like, "dtype", None)
    return x if dtype is None or getattr(x, "dtype", dtype) == dtype else xp.astype(x, dtype=dtype)


def _row(name: str) -> Op:
    op: Op = TABLE[name]
    return op


def _enter(op: Op) -> Op:
    if not op.name.isidentifier():
        raise ValueError(f"op {op.name!r}: expected a name that is a Python identifier, such as 'leaky_relu'.")
    if op.name in TABLE:
        raise ValueError(f"op {op.name!r} is in the table already: choose another name.")
    TABLE[op.name] = op
    for tell in _told:
        tell(op)
    return op


_told: list[Callable[[Op], None]] = []


def for_each_row(function: Callable[[Op], None]) -> None:
    """Call a function with every row of the table, and with those to come as they enter."""
    for op in TABLE.values():
        function(op)
    _told.append(function)


def _signature(rule: Callable[..., Any], leading: int) -> tuple[int, dict[str, Any]]:
    """How many arrays a rule takes (-1: any number) and its keyword parameters with their defaults."""
    parameters = list(inspect.signature(rule).parameters.values())[leading:]
    keywords = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return -1 if variadic else len(parameters) - len(keywords), keywords


def elementwise(
    name: str,
    symbol: str | None = None,
    *,
    partials: Callable[..., tuple[Any, ...]] | None,
    forward: Callable[..., Any] | None = None,
    tex: str = "",
    domain: Sequence[Interval] = (),
    arity: int | None = None,
    method: bool = True,
    doc: str | None = None,
) -> Op:
    """Enter an elementwise op: its row is its local derivative, the formula that stands in the notes.

    From the one formula come the vjp (g · ∂y/∂x, with broadcasting undone), the jvp (Σ ∂y/∂x · ẋ), second derivatives
    (the rule read with nodes), and the scalar reading on Python floats. In those products 0 · ∞ = 0: a branch that
    `where` did not take contributes nothing.

    Args:
        name: the op's name; `xp.<name>` computes it unless `forward` is given. It must be new.
        symbol: its infix operator, if any.
        partials: `(xp, y, *xs, *, **params)` -> a tuple with ∂y/∂x for each x. Operators and `xp` only. An entry may be
            the integer 1, −1 or 0 (not multiplied), `None` (takes no gradient) or a function of no arguments (called
            only if it is wanted). `None` instead of the rule: the op is not differentiable; then `arity` is needed.
        forward: `(xp, *xs, **params) -> y`.
        tex: LaTeX with `{0}`, `{1}` for the arguments (LaTeX's own braces doubled).
        domain: for each argument the open interval on which it is differentiable; all reals by default.
        method: whether nodes carry it as a method.
        doc: one line for `help`.

    Returns:
        The op, a function of numbers, arrays, `Value`s and `Tensor`s.

    Example:
        >>> import tinygrad_notes as tn
        >>> cube = tn.elementwise("cube", forward=lambda xp, x: x * x * x, partials=lambda xp, y, x: (3 * x * x,))
        >>> tn.grad(cube)(2.0)
        12.0
    """
    found, defaults = _signature(partials, 2) if partials is not None else (arity or 0, {})
    if found < 1:
        raise TypeError(f"elementwise({name!r}): partials must take (xp, y, x, …), with at least one x.")
    return _enter(
        Op(
            name=name,
            symbol=symbol,
            forward=forward,
            partials=partials,
            vjp_rule=None,
            tex=tex or _call_tex(name, found),
            arity=found,
            defaults=defaults,
            domain=tuple(domain) or (REALS,) * found,
            expects=f"{found} number(s) or array(s) of numbers",
            differentiable=partials is not None,
            method=method,
            __doc__=doc,
        )
    )


def structural(
    name: str,
    symbol: str | None = None,
    *,
    vjp: Callable[..., Any],
    forward: Callable[..., Any] | None = None,
    tex: str = "",
    domain: Sequence[Interval] = (),
    expects: str = "an array of numbers",
    differentiable: bool = True,
    method: bool = True,
    doc: str | None = None,
) -> Op:
    """Enter an op that moves, joins or sums elements: its row gives the vjp.

    Args:
        name, symbol, forward, tex, domain, method, doc: as for `elementwise`.
        vjp: `(xp, g, y, *xs, *, **params)` -> one cotangent for each x (a bare one for one x), in the shape of x or one
            that broadcasting made of it. An entry may be a function of no arguments, called only if it is wanted. The
            keyword-only parameters of the rule, with their defaults, are the op's parameters; `*xs` makes an op that
            takes a list of arrays. The jvp is the transpose of this rule and need not be written.
        expects: what the arguments must be, in words, for error messages.
        differentiable: False if the result takes no gradient.

    Returns:
        The op, a function of arrays and `Tensor`s; parameters go by keyword.

    Example:
        >>> import numpy as np, tinygrad_notes as tn
        >>> roll = tn.structural(
        ...     "roll",
        ...     forward=lambda xp, x, *, by=1: xp.concat([x[-by:], x[:-by]]),
        ...     vjp=lambda xp, g, y, x, *, by=1: xp.concat([g[by:], g[:by]]),
        ... )
        >>> tn.grad(lambda x: tn.sum(roll(x) * np.array([1.0, 2.0, 3.0])))(np.zeros(3))
        array([2., 3., 1.])
    """
    arity, defaults = _signature(vjp, 3)
    if arity == 0:
        raise TypeError(f"structural({name!r}): vjp must take (xp, g, y, x, …), with at least one x.")
    return _enter(
        Op(
            name=name,
            symbol=symbol,
            forward=forward,
            partials=None,
            vjp_rule=vjp,
            tex=tex or _call_tex(name, max(arity, 1)),
            arity=arity,
            defaults=defaults,
            domain=tuple(domain) or (REALS,) * max(arity, 1),
            expects=expects,
            differentiable=differentiable,
            method=method,
            __doc__=doc,
        )
    )


def _call_tex(name: str, arity: int) -> str:
    escaped = name.replace("_", r"\_")
    arguments = ", ".join(f"{{{i}}}" for i in range(arity))
    return rf"\operatorname{{{{{escaped}}}}}\left({arguments}\right)"
