"""Tracing: a function is run once on symbols, which write what it computes onto a tape.

A symbol has a shape and a dtype and no numbers. `Symbol` stands for an array, `Number` for a single float; both are
nodes, so the ops of the table, NumPy's functions, `grad` and its kin take them as they take a `Tensor` and a `Value`.
"""

from . import numbers  # gives numbers their operators
from .context import tracing
from .reading import Symbols, symbols
from .refusals import TraceError, refuse, refuse_assignment, refuse_frozen, returned, user_line
from .symbol import Number, Symbol, Traced, constant, contiguous, enter, gradients, wrap
from .thread import current, unrolls

__all__ = ["Number", "Symbol", "Symbols", "TraceError", "Traced", "constant", "contiguous", "current", "enter"]
__all__ += ["gradients", "numbers", "refuse", "refuse_assignment", "refuse_frozen", "returned", "symbols"]
__all__ += ["tracing", "unrolls", "user_line", "wrap"]
