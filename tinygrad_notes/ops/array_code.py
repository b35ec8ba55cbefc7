"""Functions written from a row for NumPy's arrays: how a node records an op, and how it pulls a gradient back.

They do what `Op.on_arrays` and `Op.vjp` do, in straight-line code without a look at what is plain already, and leave to
those whatever is not: other array libraries, plain numbers at their limits, errors.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .namespaces import NODE_KINDS, numpy_reading
from .op import Op, fit
from .source import array_program, array_pullback, define

_ARRAYS = frozenset((np.ndarray, np.float64, np.float32))  # the scalars stand for arrays without axes
_REAL = frozenset(map(np.dtype, np.typecodes["AllInteger"] + np.typecodes["Float"] + "?"))
_NO_PARAMS: dict[str, Any] = {}


def write_recorder(op: Op, kind: type, state: Any) -> Callable[..., Any]:
    """The function that records an op of one or two arguments, `(*args, params)`.

    Args:
        op: the op.
        kind: the class of its arguments and of its result.
        state: `paused` is not 0 while some thread does not record.

    Returns:
        The function. Where nothing is recorded, or its arguments are not plain, it gives what `op.apply` gives.
    """
    names = "ab"[: op.arity]
    arguments, xs = ", ".join(names), ", ".join(f"x{i}" for i in range(op.arity))
    arrays = _ARRAYS if op.elementwise else frozenset((np.ndarray,))  # the others read shapes
    used = {"kind": kind, "new": kind.__new__, "state": state, "op": op, "no_params": _NO_PARAMS, "arrays": arrays}
    used |= {"array": np.ndarray, "float64": np.dtype(float)}
    used |= {"constants": arrays | {float, int} if op.elementwise else arrays, "reals": _REAL}
    try:
        if not op.elementwise or op.defaults:
            raise TypeError("only the rule of an elementwise op without parameters is written out")
        body, y, functions = array_program(op)
    except Exception:  # so the rule is called
        body, y = [f"y = forward({xs}{', **params' if op.defaults else ''})"], "y"
        functions = {"forward": getattr(numpy_reading, op.name)}
    used |= functions
    lines = [f"def record_{op.name}({arguments}, params=no_params):", "    try:"]
    for wanted in [(True,)] if op.arity == 1 else [(True, True), (True, False), (False, True)]:
        kinds = list(zip(names, wanted, strict=True))
        of_kind = " and ".join(f"{v}.__class__ {'is kind' if w else 'in constants'}" for v, w in kinds)
        plain = " and ".join(
            f"(x{i}.__class__ is array or x{i}.__class__ in arrays)" for i in range(op.arity) if wanted[i]
        )
        requires = " or ".join(f"{v}.requires_grad" for v, w in kinds if w)
        steps = [
            *body,
            f"dtype = {y}.dtype",
            "if dtype is float64 or dtype in reals:",
            "    n = new(kind)",
            f"    n.data = {y}",
            "    n.grad = n.name = None",
            "    n.op = op",
            f"    n.parents = ({arguments},)",
            "    n.params = params",
            f"    n.requires_grad = {op.differentiable}",
            "    return n",
        ]
        lines += [
            f"        if {of_kind} and not state.paused and ({requires}):",
            *(f"            x{i} = {v}.data" if w else f"            x{i} = {v}" for i, (v, w) in enumerate(kinds)),
            f"            if {plain}:",
        ]
        lines += [f"                {step}" for step in steps]
    lines += [
        "    except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError):",
        "        pass  # computed again for an error that names the op",
        f"    return op.apply(({arguments},), params)",
    ]
    return define("\n".join(lines) + "\n", f"record_{op.name}", f"recorder of {op.name} on arrays", used)


def write_pullback(op: Op, kind: type, general: Callable[..., None]) -> Callable[..., None]:
    """`kind.pullback_of(op)` for NumPy's arrays; what is not plain goes to `general`, as do ops on lists of arrays."""
    if op.arity < 0:
        return general
    used = {"kind": kind, "kinds": NODE_KINDS, "arrays": _ARRAYS, "general": general, "xp": numpy_reading}
    used |= {"array": np.ndarray, "fit": partial(fit, numpy_reading), "vjp": op.vjp}
    each = range(op.arity)
    parents, xs, wanted, cotangents = (", ".join(f"{v}{k}" for k in each) + "," for v in "pxwc")
    lines = [
        f"def pull_back_{op.name}(node, g, flight, active):",
        "    y = node.data",
        "    if not y.__class__ is g.__class__ is array:",
        "        if y.__class__ not in arrays or g.__class__ not in arrays:",
        "            return general(node, g, flight, active)",
        f"    {parents} = node.parents",
    ]
    for k in each:
        lines += [
            f"    if p{k}.__class__ is kind or p{k}.__class__ in kinds:",
            f"        x{k} = p{k}.data",
            f"        w{k} = p{k}.requires_grad if active is None else p{k} in active",
            "    else:",
            f"        x{k} = p{k}",
            f"        w{k} = False",
        ]
    try:
        if not op.elementwise or op.defaults:
            raise TypeError("only the rule of an elementwise op without parameters is written out")
        programs = [array_pullback(op, k) for k in each]
        body = [f"{' = '.join(f'c{k}' for k in each)} = None", "shape = g.shape"]
        for k, (steps, cotangent, functions) in enumerate(programs):
            used |= functions
            if cotangent is not None:
                body += [
                    f"if w{k}:",
                    *(f"    {step}" for step in steps),
                    f"    c{k} = {cotangent}",
                    f"    if x{k}.shape != shape or c{k}.dtype is not x{k}.dtype:",
                    f"        c{k} = fit(c{k}, x{k})",
                ]
    except Exception:  # a user's rule may use more than operators and xp; so it is called
        body = [f"{cotangents} = vjp(xp, g, y, ({xs}), ({wanted}), node.params)"]
    lines += [
        "    try:",
        *(f"        {line}" for line in body),
        "    except (ArithmeticError, AttributeError, TypeError):  # plain numbers have no shape, nor IEEE 754's rules",
        "        return general(node, g, flight, active)",
    ]
    for k in each:
        lines += [
            f"    if c{k} is not None:",
            f"        before = flight.get(p{k})",
            f"        flight[p{k}] = c{k} if before is None else before + c{k}",
        ]
    return define("\n".join(lines) + "\n", f"pull_back_{op.name}", f"pullback of {op.name} on arrays", used)
