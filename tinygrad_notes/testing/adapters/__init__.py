"""Backward passes of other libraries: `torch.autograd.Function` and `jax.custom_vjp`, run as they are.

Each is made a pair of functions on float64 arrays, so that it can be held against differences or against a reference.
Neither library is imported here unless it already is: who has a function of theirs has it.
"""

from .foreign import foreign_verdict, pair_for
from .pair import BackwardError, Pair

__all__ = ["BackwardError", "Pair", "foreign_verdict", "pair_for"]
