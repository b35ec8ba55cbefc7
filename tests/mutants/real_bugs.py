"""The classes of wrong gradients that public trackers report, each with the right gradient beside it.

The numbers are those of the projects' issues and pull requests; the code is written for the checker, not theirs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from faulty_passes import automatic, second_pass
from points import Space

import tinygrad_notes as tn

REALS, POSITIVE = (-math.inf, math.inf), (0.0, math.inf)


@dataclass(frozen=True)
class Bug:
    """A function with a wrong and a right gradient.

    Attributes:
        name: what is wrong, with where it was reported.
        space: the points at which to look.
        order: 2 where only the second derivative is wrong.
        points: more points, which random ones do not meet.
    """

    name: str
    f: Callable[..., Any]
    wrong: Callable[..., Any]
    right: Callable[..., Any]
    space: Space
    order: int = 1
    points: tuple[tuple[Any, ...], ...] = ()

    def __str__(self) -> str:
        return self.name


def _numbers(*intervals: tuple[float, float], reach: float = 1e6, least: float = 1e-6) -> Space:
    return Space(((),) * len(intervals), intervals, reach, least)


def _arrays(*shapes: tuple[int, ...], reach: float = 1e6) -> Space:
    return Space(shapes, (REALS,) * len(shapes), reach)


# --- a sign, a formula ------------------------------------------------------------------------------------------------


def _covariance(x: Any, y: Any) -> Any:
    return tn.mean((x - tn.mean(x)) * (y - tn.mean(y)))


def _covariance_gradient(sign: float) -> Callable[..., Any]:
    return lambda x, y: ((y - tn.mean(y)) / 4, sign * (x - tn.mean(x)) / 4)


def _power_naively(a: Any, b: Any) -> tuple[Any, Any]:
    a, b = float(a), float(b)
    slope = math.nan if a == 0 and b < 1 else b * a ** (b - 1)  # 0 · ∞ for 0**0
    return slope, (math.nan if a == 0 else a**b * math.log(a))


def _softplus_threshold(x: Any) -> Any:
    return tn.where(x > 20, 1.0, tn.sigmoid(x))


# --- backward passes --------------------------------------------------------------------------------------------------


def _overwritten(x: Any) -> Any:
    """u = x², L = u + 3u: the second use of u overwrites the gradient of the first."""
    return 3 * 2 * x


def _same_input_twice(a: Any) -> Any:
    """a − a: both contributions are written into one array, and the second is the negative of the first in place."""
    gradient = np.ones(np.shape(np.asarray(a)))
    first = gradient
    second = gradient
    np.negative(second, out=second)
    return first + second


def _wrong_strides(x: Any) -> Any:
    """The gradient of x.T · w, read in the order of memory instead of that of the axes."""
    return np.ascontiguousarray(2 * np.asarray(x).T).reshape(np.shape(np.asarray(x)))


# --- ties, edges, NaN -------------------------------------------------------------------------------------------------


def _all_maxima(x: Any) -> Any:
    return tn.where(x == tn.max(x), 1.0, 0.0)


def _one_maximum(x: Any) -> Any:
    return np.eye(np.size(np.asarray(x)))[np.argmax(np.asarray(x))]


def _logaddexp_gradient(at_ties: float) -> Callable[..., Any]:
    def gradient(a: Any, b: Any) -> Any:
        return (
            tn.where(a == b, at_ties, tn.sigmoid(a - b)),
            tn.where(a == b, at_ties, tn.sigmoid(b - a)),
        )

    return gradient


def _root_where_positive(x: Any) -> Any:
    return tn.where(x > 0, tn.sqrt(x), 0.0)


def _masked(x: Any) -> Any:
    """A logsumexp of which every term is masked out: −∞ whatever x is, so that its derivative is 0."""
    return tn.exp(tn.logsumexp(x + np.array([-math.inf, -math.inf])))


def _softmax_of_masked(x: Any) -> Any:
    x = np.asarray(x) + np.array([-math.inf, -math.inf])
    with np.errstate(all="ignore"):
        return np.exp(x - np.max(x)) / np.sum(np.exp(x - np.max(x)))


def _saturated(x: Any) -> Any:
    a = 1 / (1 + math.exp(-float(x)))
    return a * (1 - a)


def _kept(x: Any) -> Any:
    x = float(x)
    return 1 / (1 + math.exp(-x)) / (1 + math.exp(x))


def _direction(x: Any) -> Any:
    x = np.asarray(x)
    with np.errstate(all="ignore"):
        return x / np.sqrt(np.sum(x * x))


def _direction_or_zero(x: Any) -> Any:
    return np.asarray(x) / (np.linalg.norm(np.asarray(x)) or 1.0)


def _centred_over_std(x: Any) -> Any:
    x = np.asarray(x)
    with np.errstate(all="ignore"):
        return (x - x.mean()) / (x.size * x.std())


INDEX = np.array([0, 0, 2])


def _assigned(x: Any) -> Any:
    """The cotangents of x[[0, 0, 2]] put back by assignment: of two that fall on one place the last one stays."""
    gradient = np.zeros(3)
    gradient[INDEX] = [1.0, 2.0, 3.0]
    return gradient


def _wrong_axis(x: Any) -> Any:
    """The cumulative sum along axis −1, run back along axis 0."""
    g = np.arange(6.0).reshape(2, 3)
    return np.flip(np.cumsum(np.flip(g, 0), 0), 0)


def _right_axis(x: Any) -> Any:
    g = np.arange(6.0).reshape(2, 3)
    return np.flip(np.cumsum(np.flip(g, -1), -1), -1)


def _cube_with_saved_square(x: Any) -> Any:
    """3x² from a square that was saved as a number: right, and a constant for whoever differentiates it again."""
    return 3.0 * tn.square(x).detach()


def _reused(x: Any) -> Any:
    u = tn.square(x)
    return u + 3.0 * u


BUGS = [
    Bug(
        "sign in a covariance rule (HIPS/autograd pull 412)",
        _covariance,
        _covariance_gradient(-1.0),
        _covariance_gradient(1.0),
        _arrays((4,), (4,), reach=1e3),
    ),
    Bug(
        "formula copied from another function (ChainRules pull 74)",
        tn.cosh,
        lambda x: -tn.sinh(x),
        tn.sinh,
        _numbers(REALS, reach=700.0),
    ),
    Bug(
        "0**0 and 0**b (pytorch 8940, 27134)",
        lambda a, b: tn.pow(a, b) * 1.0,
        _power_naively,
        automatic(tn.pow),
        _numbers(POSITIVE, POSITIVE, reach=20.0, least=1e-3),
        points=((0.0, 0.0), (0.0, 2.0), (0.0, 1.0)),
    ),
    Bug(
        "softplus at its threshold (pytorch 61568)",
        tn.softplus,
        _softplus_threshold,
        tn.sigmoid,
        _numbers(REALS, reach=30.0),
    ),
    Bug("reused intermediate overwritten (micrograd 2)", _reused, _overwritten, lambda x: 8 * x, _numbers(REALS)),
    Bug(
        "second backward counts the first again (micrograd pull 102)",
        _reused,
        lambda x: second_pass(_reused)(x)[0],
        lambda x: 8 * x,
        _numbers(REALS),
    ),
    Bug("a − a", lambda a: a - a, _same_input_twice, lambda a: 0 * a, _arrays((2,))),
    Bug(
        "broadcasting not summed (pytorch 13669, oneflow 8769)",
        lambda x, b: x * b,
        lambda x, b: (b + 0 * x, tn.mean(x, axis=0)),
        lambda x, b: (b + 0 * x, tn.sum(x, axis=0)),
        _arrays((3, 2), (2,)),
    ),
    Bug(
        "strides of a transposed array (pytorch 30303)",
        lambda x: tn.square(tn.permute_dims(x)),
        _wrong_strides,
        lambda x: 2 * x,
        _arrays((2, 3)),
    ),
    Bug("ties in max (Theano 4568)", tn.max, _all_maxima, _one_maximum, _arrays((3,))),
    Bug(
        "logaddexp at ties",
        tn.logaddexp,
        _logaddexp_gradient(1.0),
        _logaddexp_gradient(0.5),
        _numbers(REALS, REALS, reach=300.0),
    ),
    Bug(
        "NaN through where (pytorch 68425)",
        _root_where_positive,
        lambda x: tn.where(x > 0, 1.0, 0.0) * (0.5 / tn.sqrt(x)),
        lambda x: tn.where(x > 0, 0.5 / tn.sqrt(tn.where(x > 0, x, 1.0)), 0.0),
        _numbers(REALS),
    ),
    Bug(
        "logsumexp at −∞ (pytorch 31829)",
        _masked,
        _softmax_of_masked,
        lambda x: np.zeros(2),
        _arrays((2,)),
    ),
    Bug("slope of the sigmoid lost for large x", tn.sigmoid, _saturated, _kept, _numbers(REALS, reach=300.0)),
    Bug("norm at 0", tn.norm, _direction, _direction_or_zero, _arrays((2,)), points=((np.zeros(2),),)),
    Bug(
        "standard deviation at 0",
        tn.std,
        _centred_over_std,
        lambda x: automatic(tn.std)(x)[0],
        _arrays((3,), reach=1e3),
        points=((np.ones(3),),),
    ),
    Bug(
        "duplicate indices (pytorch 57006)",
        lambda x: x[INDEX] * np.array([1.0, 2.0, 3.0]),
        _assigned,
        lambda x: np.array([3.0, 0.0, 3.0]),
        _arrays((3,)),
    ),
    Bug(
        "negative axis (HIPS/autograd 350)",
        lambda x: tn.cumulative_sum(x, axis=-1) * np.arange(6.0).reshape(2, 3),
        _wrong_axis,
        _right_axis,
        _arrays((2, 3)),
    ),
    Bug(
        "second derivative of a rule of one's own (pytorch 79609)",
        lambda x: x * x * x,
        _cube_with_saved_square,
        lambda x: 3.0 * x * x,
        _numbers(REALS),
        order=2,
    ),
]


@dataclass(frozen=True)
class Policy:
    """A choice where mathematics leaves one: a subgradient at a kink. None of them is an alarm."""

    name: str
    f: Callable[..., Any]
    point: tuple[Any, ...]
    answers: tuple[Any, ...]
    wrong: tuple[Any, ...]

    def __str__(self) -> str:
        return self.name


POLICIES = [
    Policy("relu at 0", tn.relu, (0.0,), (0.0, 0.5, 1.0), (-0.1, 1.1, math.nan)),
    Policy("absolute value at 0", tn.abs, (0.0,), (-1.0, 0.0, 0.3, 1.0), (1.5, math.inf)),
    Policy(
        "maximum of equals",
        tn.maximum,
        (2.0, 2.0),
        ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (0.25, 0.75)),
        ((1.0, 1.0), (0.0, 0.0), (1.5, -0.5)),
    ),
    Policy("clip on its bound", lambda x: tn.clip(x, min=-1.0, max=2.0), (2.0,), (0.0, 1.0), (2.0,)),
    Policy(
        "max of equals",
        tn.max,
        (np.array([1.0, 3.0, 3.0]),),
        (np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.5, 0.5])),
        (np.array([0.0, 1.0, 1.0]), np.array([0.5, 0.5, 0.0])),
    ),
    Policy("norm at 0", tn.norm, (np.zeros(2),), (np.zeros(2), np.array([1.0, 0.0])), (np.array([1.5, 0.0]),)),
    Policy("√(x²) at 0", lambda x: tn.sqrt(tn.square(x)), (0.0,), (-1.0, 0.0, 1.0), ()),
]
