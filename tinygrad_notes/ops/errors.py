"""The errors of ops, and how they name what was given."""

from __future__ import annotations

from typing import Any

import numpy as np


class OpError(Exception):
    """What every error of an op is, beside `ValueError`, `TypeError` or `IndexError`."""


class OpValueError(OpError, ValueError):
    """Shapes or values that an op cannot take."""


class OpTypeError(OpError, TypeError):
    """Types or dtypes that an op cannot take."""


class OpIndexError(OpError, IndexError):
    """An index or axis that is not there."""


def describe(x: Any) -> str:
    """What an argument is, in a few words: `Tensor w1 (2, 3) of float64`, `Value(0.5)`, `2.0`."""
    shape, dtype = getattr(x, "shape", None), getattr(x, "dtype", None)
    if shape is None or dtype is None:
        text = repr(x)
        return text if len(text) <= 40 else text[:37] + "…"
    named = f" {name}" if (name := getattr(x, "name", None)) else ""
    kind = "array" if isinstance(x, np.ndarray) else type(x).__name__
    return f"{kind}{named} {tuple(shape)} of {dtype}"
