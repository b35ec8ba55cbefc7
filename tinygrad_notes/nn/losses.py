"""Losses. All take the target y first, then the prediction, as the notes and scikit-learn's metrics do.

The prediction is a Tensor, an array, a Value, or a (nested) list of Values and numbers; with Values the loss is written
with Python's arithmetic, so that its graph is one of Values. Target and prediction have the same shape (but for classes
in `softmax_cross_entropy`): a target (m,) against a prediction (m, 1) would broadcast to (m, m) and train on nonsense.

`reduction` is "mean" or "sum" over all elements, or "none" for a loss an element. An infinite loss is inf, without a
warning.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from .. import ops
from ..calculus import tree_leaves, tree_map
from ..graph import is_node
from ..ops import namespace_of
from ..ops.namespaces import is_number, is_traced, to_arrays
from ..tensor import Tensor
from ..value import Value
from .module import to_numpy

Reduction = Literal["mean", "sum", "none"]

_quiet = np.errstate(all="ignore")


@_quiet
def binary_cross_entropy(y: Any, a: Any, *, reduction: Reduction = "mean") -> Any:
    """−[y ln a + (1 − y) ln(1 − a)] for probabilities a.

    Where a comes from `sigmoid`, 1 − a keeps all digits (see `ops.cross_entropy`). A unit that is wrong beyond
    |z| ≈ 745 has an infinite loss and no gradient, as a or 1 − a is then 0 in float64;
    `binary_cross_entropy_with_logits` has no such end.

    Args:
        y: labels or probabilities in [0, 1], in the shape of a.
        a: the predicted probability of class 1.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: shapes differ, or y or a leaves [0, 1].
        TypeError: y or a holds no numbers.

    Example:
        >>> round(float(binary_cross_entropy([1, 0], [0.8, 0.4])), 4)
        0.367
    """
    name = "binary_cross_entropy"
    y, a = _pair(name, y, a, "a")
    _require(name, "y", y, _in_unit, _BINARY)
    _require(name, "a", a, lambda v: _in_unit(v) | (v != v), _PROBABILITIES)
    losses = _each(ops.cross_entropy, y, a)
    return _reduced(name, losses, reduction)


@_quiet
def binary_cross_entropy_with_logits(y: Any, z: Any, *, reduction: Reduction = "mean") -> Any:
    """`binary_cross_entropy` of a = σ(z), exact for every z: y · softplus(−z) + (1 − y) · softplus(z).

    This is softplus(z) − y z without its cancellation, and its gradient σ(z) − y likewise.

    Args:
        y: labels or probabilities in [0, 1], in the shape of z.
        z: logits.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: shapes differ, or y leaves [0, 1].
        TypeError: y or z holds no numbers.

    Example:
        >>> float(binary_cross_entropy_with_logits([1.0, 1.0], [-1000.0, 1000.0], reduction="sum"))
        1000.0
    """
    name = "binary_cross_entropy_with_logits"
    y, z = _pair(name, y, z, "z")
    _require(name, "y", y, _in_unit, _BINARY)
    return _reduced(name, _each(lambda y, z: y * ops.softplus(-z) + (1 - y) * ops.softplus(z), y, z), reduction)


@_quiet
def mse(y: Any, prediction: Any, *, reduction: Reduction = "mean") -> Any:
    """(prediction − y)², the squared error.

    Args:
        y: the target, in the shape of the prediction.
        prediction: numbers.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: shapes differ.
        TypeError: y or the prediction holds no numbers.

    Example:
        >>> float(mse([1.0, 2.0], [1.5, 4.0], reduction="sum"))
        4.25
    """
    y, prediction = _pair("mse", y, prediction, "the prediction")
    return _reduced("mse", _each(lambda y, p: ops.square(p - y), y, prediction), reduction)


@_quiet
def hinge(y: Any, score: Any, *, reduction: Reduction = "mean") -> Any:
    """max(0, 1 − y · score). At the kink, where y · score = 1, the slope is 0.

    Args:
        y: labels −1 or 1, in the shape of the score.
        score: positive for class 1.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: shapes differ, or a label is not ±1.
        TypeError: y or the score holds no numbers.

    Example:
        >>> float(hinge([1, -1], [0.5, -2.0], reduction="sum"))
        0.5
    """
    y, score = _pair("hinge", y, score, "the score")
    _require("hinge", "y", y, lambda v: (v == 1) | (v == -1), _SIGNS)
    return _reduced("hinge", _each(lambda y, s: ops.relu(1 - y * s), y, score), reduction)


@_quiet
def softmax_cross_entropy(y: Any, logits: Any, *, reduction: Reduction = "mean") -> Any:
    """−Σ_k y_k ln softmax(logits)_k over the last axis; for a class c, −ln softmax(logits)_c.

    Args:
        y: integer classes 0 … k − 1, of shape (…); or probabilities (…, k) that sum to 1, such as one-hot labels.
        logits: (…, k); for one example a list of k Values, for m a list of m such lists.
        reduction: over the examples; "mean", "sum" or "none".

    Raises:
        ValueError: shapes do not fit, a class is out of range, or probabilities leave [0, 1] or do not sum to 1.
        TypeError: y or the logits hold no numbers, or classes are no integers.

    Example:
        >>> float(softmax_cross_entropy(0, [1000.0, 0.0]))
        0.0
        >>> float(softmax_cross_entropy([1, 1], [[1000.0, 0.0], [0.0, 1000.0]], reduction="sum"))
        1000.0
    """
    name = "softmax_cross_entropy"
    scalar = _has_values(logits) and not isinstance(y, Tensor)
    logits = logits if scalar else _array(name, logits)
    shape, given = _shape(name, logits), _shape(name, y)
    if not shape or shape[-1] == 0 or given not in (shape, shape[:-1]):
        raise ValueError(
            f"{name}: y has shape {given}, the logits {shape}; expected logits (…, k) for k classes, and y as integer "
            "classes (…) or probabilities (…, k)."
        )
    if given == shape:
        y, logits = _pair(name, y, logits, "the logits")
        _require(name, "y", y, _in_unit, "probabilities in [0, 1], or integer classes without the last axis")
        if not is_traced(numbers := _numbers(y)):
            _require(name, "y, summed over the last axis,", numbers.sum(-1), lambda v: abs(v - 1) < 1e-3, "1")
        losses = _rows(y, logits) if scalar else -ops.sum(y * ops.log_softmax(logits), axis=-1)
    else:
        classes = _classes(name, y, shape[-1])
        if scalar:
            losses = _rows(classes.tolist(), logits)
        else:
            losses = -ops.getitem(ops.log_softmax(logits), index=(*np.indices(classes.shape), classes))
    return _reduced(name, losses, reduction)


def _rows(y: Any, z: Any) -> Any:
    """The loss of each innermost list of logits; ln Σ e^z is folded by logaddexp, which never overflows."""
    if isinstance(z[0], (list, tuple)):
        return [_rows(yi, zi) for yi, zi in zip(y, z, strict=True)]
    total = functools.reduce(ops.logaddexp, z)
    if isinstance(y, int):
        return total - z[y]
    return functools.reduce(operator.add, [p * (total - zk) for p, zk in zip(y, z, strict=True)])


# --- target and prediction --------------------------------------------------------------------------------------------


def _has_values(x: Any) -> bool:
    """Whether x is a Value, or a (nested) list of Values and numbers."""
    leaves = tree_leaves(x) if isinstance(x, (list, tuple, Value)) else []
    return any(isinstance(v, Value) for v in leaves) and all(isinstance(v, Value) or is_number(v) for v in leaves)


def _shape(loss: str, x: Any) -> tuple[int, ...]:
    """The shape of an array, a node, or nested lists.

    Raises:
        ValueError: the lists are ragged.
    """
    if not isinstance(x, (list, tuple)):
        return tuple(ops.shape_of(x))
    inner = {_shape(loss, item) for item in x}
    if len(inner) > 1:
        raise ValueError(f"{loss}: got a ragged list; expected rows of equal length.")
    return (len(x), *inner.pop()) if inner else (0,)


def _pair(loss: str, y: Any, prediction: Any, called: str) -> tuple[Any, Any]:
    """Target and prediction of one shape: both nested lists of Values and floats, or both arrays of one dtype.

    Raises:
        ValueError: the shapes differ.
        TypeError: one of them holds no numbers.
    """
    scalar = _has_values(prediction) and not isinstance(y, Tensor)
    if not scalar:
        prediction = _array(loss, prediction)
    given, expected = _shape(loss, y), _shape(loss, prediction)
    if given != expected:
        raise ValueError(
            f"{loss}: y has shape {given}, {called} {expected}; expected the same shape."
            + _broadcasting(given, expected)
        )
    return (_floats(loss, y) if scalar else _target(loss, y, prediction)), prediction


def _broadcasting(given: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """A warning where NumPy would stretch both shapes without a word."""
    try:
        both = np.broadcast_shapes(given, expected)
    except ValueError:
        return ""
    if both in (given, expected):
        return ""
    return f" They would broadcast to {both}, every target against every prediction; reshape one, as in y[:, None]."


def _array(loss: str, x: Any) -> Any:
    """A prediction as an array of floating-point numbers, or a node on one."""
    x = to_arrays(x, loss) if isinstance(x, (list, tuple)) else np.asarray(x) if is_number(x) else x
    data = x.data if is_node(x) else x
    xp = namespace_of([data], loss)
    return x if is_number(data) or xp.isdtype(data.dtype, "real floating") else x * 1.0


def _target(loss: str, y: Any, prediction: Any) -> Any:
    """The target in the array library and dtype of the prediction, which shall not become float64 by the labels."""
    if isinstance(y, (list, tuple)):
        y = to_arrays(y, loss)
    data = prediction.data if is_node(prediction) else prediction
    if isinstance(y, Value) or isinstance(prediction, Value):
        return y
    if is_node(y):
        return y if y.dtype == data.dtype else ops.astype(y, dtype=data.dtype)
    if not (is_number(y) or hasattr(y, "__array__")):
        raise TypeError(f"{loss}: y is {ops.describe(y)}; expected numbers.")
    try:
        place = {} if is_traced(data) else {"device": data.device}
        return namespace_of([data], loss).asarray(y, dtype=data.dtype, **place)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{loss}: y is {ops.describe(y)}; expected numbers. ({error})") from error


def _floats(loss: str, y: Any) -> Any:
    """The target as a float, a Value or nested lists of them."""
    if isinstance(y, Value):
        return y
    if hasattr(y, "tolist"):
        y = y.tolist()
    if isinstance(y, (list, tuple)):
        return [_floats(loss, item) for item in y]
    if not is_number(y):
        raise TypeError(f"{loss}: y holds {ops.describe(y)}; expected numbers.")
    return float(y)


# --- what they may hold -----------------------------------------------------------------------------------------------

_PROBABILITIES = "probabilities in [0, 1]; logits go to binary_cross_entropy_with_logits"
_SIGNS = "labels -1 or 1; labels 0 and 1 become these by 2 * y - 1"
_BINARY = "labels or probabilities in [0, 1]; labels -1 and 1 become 0 and 1 by (y + 1) / 2"


def _in_unit(v: Any) -> Any:
    return (v >= 0) & (v <= 1)


def _numbers(x: Any) -> Any:
    """The plain numbers in a target or prediction, as an array; what stands for them, if one is traced."""
    traced = next(filter(is_traced, tree_leaves(x)), None)
    if traced is not None:
        return traced
    if isinstance(x, (list, tuple, Value)) or is_number(x):
        return np.array(tree_map(float, x))
    return x.data if is_node(x) else x


def _require(loss: str, called: str, x: Any, allowed: Callable[[Any], Any], expected: str) -> None:
    """Raise a ValueError if any number in x is not allowed."""
    data = _numbers(x)
    if is_traced(data):
        return  # under jax.jit or compile there are no numbers to look at
    wrong = ~allowed(data)
    if bool(wrong.any()):
        example = float(data.reshape(-1)[wrong.reshape(-1)][0])
        raise ValueError(f"{loss}: {called} has {example:g}; expected {expected}.")


def _classes(loss: str, y: Any, k: int) -> Any:
    """Integer classes as a NumPy array.

    Raises:
        TypeError: they are no integers.
        ValueError: one is out of range.
    """
    try:
        classes = to_numpy(y)
    except TypeError as error:
        raise TypeError(f"{loss}: y is {ops.describe(y)}; expected integer classes.") from error
    if classes.dtype.kind not in "iu":
        raise TypeError(f"{loss}: y is {ops.describe(y)}; expected integer classes: y.astype(int).")
    expected = f"classes 0 to {k - 1}, as there are {k} logits an example"
    _require(loss, "y", classes, lambda c: (c >= 0) & (c < k), expected)
    return classes


# --- putting together -------------------------------------------------------------------------------------------------


def _each(formula: Callable[[Any, Any], Any], y: Any, prediction: Any) -> Any:
    """The formula on arrays as they are; on lists element by element."""
    if isinstance(prediction, (list, tuple)):
        return tree_map(lambda p, y: formula(y, p), prediction, y)
    return formula(y, prediction)


def _reduced(loss: str, losses: Any, reduction: Reduction) -> Any:
    """Mean or sum of the losses, or the losses themselves."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{loss}: reduction={reduction!r}; expected 'mean', 'sum' or 'none'.")
    if reduction == "none" or isinstance(losses, Value):
        return losses
    if 0 in _shape(loss, losses):
        raise ValueError(f"{loss}: no examples, y has shape {_shape(loss, losses)}; expected at least one.")
    if not isinstance(losses, list):
        return ops.mean(losses) if reduction == "mean" else ops.sum(losses)
    parts = tree_leaves(losses)
    total = functools.reduce(operator.add, parts)
    return total / len(parts) if reduction == "mean" and len(parts) > 1 else total
