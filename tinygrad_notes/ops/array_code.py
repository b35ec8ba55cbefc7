"""Functions written from a row for NumPy's arrays: how a node records an op, and how it pulls a gradient back.

They do what `Op.on_arrays` and `Op.vjp` do, in straight-line code without a look at what is plain already, and leave to
those whatever is not: other array libraries, plain numbers at their limits, errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        plain = " and ".join(f"{v}.data.__class__ in arrays" for v, w in kinds if w)
        requires = " or ".join(f"{v}.requires_grad" for v, w in kinds if w)
        steps = [
            *(f"x{i} = {v}.data" if w else f"x{i} = {v}" for i, (v, w) in enumerate(kinds)),
            *body,
            f"if {y}.dtype in reals:",
            "    n = new(kind)",
            f"    n.data = {y}",
            "    n.grad = n.name = None",
            "    n.op = op",
            f"    n.parents = ({arguments},)",
            "    n.params = params",
            f"    n.requires_grad = {op.differentiable}",
            "    return n",
        ]
        lines += [f"        if {of_kind}:", f"            if {plain} and ({requires}) and not state.paused:"]
        lines += [f"                {step}" for step in steps]
    lines += [
        "    except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError):",
        "        pass  # computed again for an error that names the op",
        f"    return op.apply(({arguments},), params)",
    ]
    return define("\n".join(lines) + "\n", f"record_{op.name}", f"recorder of {op.name} on arrays", used)


def write_pullback(op: Op, kind: Any) -> Callable[..., Sequence[Any]]:
    """`kind.pull` for the nodes of one op, `(node, g, wanted)`.

    Returns:
        For an elementwise op without parameters a function that gives what is not plain to `kind.pull`; for the others
        `kind.pull` itself.
    """
    general: Callable[..., Sequence[Any]] = kind.pull
    if not op.elementwise or op.defaults:
        return general
    try:
        programs = [array_pullback(op, k) for k in range(op.arity)]
    except Exception:  # a user's rule may use more than operators and xp
        return general
    used = {"kinds": NODE_KINDS, "arrays": _ARRAYS, "general": general, "fit": partial(fit, numpy_reading)}
    parents, cotangents = (", ".join(f"{v}{k}" for k in range(op.arity)) for v in "pc")
    lines = [
        f"def pull_{op.name}(node, g, wanted):",
        "    y = node.data",
        "    if y.__class__ not in arrays:",
        "        return general(node, g, wanted)",
        f"    {parents}, = node.parents",
    ]
    for k in range(op.arity):
        lines += [
            f"    if p{k}.__class__ in kinds:",
            f"        x{k} = p{k}.data",
            f"        w{k} = p{k}.requires_grad if wanted is None else wanted[{k}]",
            "    else:",
            f"        x{k} = p{k}",
            f"        w{k} = False",
        ]
    lines += [*(f"    c{k} = None" for k in range(op.arity)), "    try:", "        shape = g.shape"]
    for k, (body, cotangent, functions) in enumerate(programs):
        used |= functions
        if cotangent is not None:
            lines += [
                f"        if w{k}:",
                *(f"            {line}" for line in body),
                f"            c{k} = {cotangent}",
                f"            if x{k}.shape != shape or c{k}.dtype is not x{k}.dtype:",
                f"                c{k} = fit(c{k}, x{k})",
            ]
    lines += [
        f"        return {cotangents},",
        "    except (ArithmeticError, AttributeError, TypeError):",
        "        pass  # plain numbers, which have no shape and do not follow IEEE 754",
        "    return general(node, g, wanted)",
    ]
    return define("\n".join(lines) + "\n", f"pull_{op.name}", f"pullback of {op.name} on arrays", used)
