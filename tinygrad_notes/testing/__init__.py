"""Checking derivatives: input strategies for Hypothesis, rounding bounds, and agreement of formulas with the engine."""

from .agreement import Agreement, formulas_of, measure_agreement
from .rounding import rounding_bound
from .strategies import arrays_of, inputs, labels, reals

__all__ = [
    "Agreement",
    "arrays_of",
    "formulas_of",
    "inputs",
    "labels",
    "measure_agreement",
    "reals",
    "rounding_bound",
]
