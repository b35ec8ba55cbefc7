"""Checking derivatives: one gradient at a point, a whole derivation over generated inputs, and strategies for both."""

from .derivations import assert_derivation, check_derivation
from .diagnosis import Diagnosis
from .formulas import formulas_of
from .hypothesis_types import register
from .programs import Program, graphs
from .reports import DerivationError, DerivationReport, Link
from .strategies import arrays_of, inputs, labels, one_hot, positives, reals
from .verdicts import GradientError, Verdict, assert_gradient, check_gradient

__all__ = [
    "DerivationError",
    "DerivationReport",
    "Diagnosis",
    "GradientError",
    "Link",
    "Program",
    "Verdict",
    "arrays_of",
    "assert_derivation",
    "assert_gradient",
    "check_derivation",
    "check_gradient",
    "formulas_of",
    "graphs",
    "inputs",
    "labels",
    "one_hot",
    "positives",
    "reals",
]

register()
