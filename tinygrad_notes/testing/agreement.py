"""How well formulas derived by hand agree with the automatic gradient, over inputs that Hypothesis chooses."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings

from ..graph import Node, is_node
from ..ops import describe
from ..tensor import Tensor
from .rounding import UNIT, rounding_bound
from .strategies import inputs


@dataclass
class Agreement:
    """One formula against the automatic gradient.

    Attributes:
        name: the gradient's name, such as `dZ2`.
        formula: its source, such as `a2 - y`.
        examples: how many inputs decided.
        undecided: inputs on which the forward pass or the formula itself overflows.
        largest_error: the largest |formula − automatic| seen.
        largest_ratio: the same in units of what rounding alone explains; agreement is a ratio of at most 1.
        worst: the inputs of the largest ratio.
    """

    name: str
    formula: str
    examples: int = 0
    undecided: int = 0
    largest_error: float = 0.0
    largest_ratio: float = 0.0
    worst: dict[str, Any] | None = field(default=None, repr=False)

    @property
    def agrees(self) -> bool:
        """Whether some input decided and rounding explains every difference."""
        return self.examples > 0 and self.largest_ratio <= 1.0


def formulas_of(backward: Callable[..., Any]) -> dict[str, str]:
    """The formulas of a backward pass by name, in order, as they are written in its source.

    Example:
        >>> def backward(a, y):
        ...     dZ = a - y
        ...     return locals()
        >>> formulas_of(backward)
        {'dZ': 'a - y'}
    """
    body = ast.parse(textwrap.dedent(inspect.getsource(backward))).body[0]
    assert isinstance(body, ast.FunctionDef)
    return {
        line.targets[0].id: ast.unparse(line.value)
        for line in body.body
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name)
    }


# The hand-derived formula and the automatic pass each round; the automatic one multiplies a few more factors.
_GRANTED = 4.0


def compare(
    forward: Callable[..., Mapping[str, Any]],
    backward: Callable[..., Mapping[str, Any]],
    values: Mapping[str, Any],
    loss: str = "L",
) -> dict[str, tuple[Any, Any, Any]] | None:
    """Each formula of `backward` at one input.

    Args:
        forward: computes named intermediates from named inputs and returns them all by name (`return locals()`).
        backward: takes inputs and intermediates by name and returns gradients `d<name>` by name.
        values: the inputs, arrays of float64 by name.
        loss: the name of the scalar that is differentiated.

    Returns:
        By name: the formula's value, the automatic gradient, and the difference that rounding explains, arrays of one
        shape; `None` if the loss is not finite.

    Raises:
        KeyError: `backward` asks for or gives a name that `forward` does not have.
    """
    with np.errstate(all="ignore"):
        known: dict[str, Any] = {**values, **forward(**{k: Tensor(v, name=k) for k, v in values.items()})}
    if loss not in known or not is_node(known[loss]):
        raise KeyError(f"forward returned no {loss!r} that was computed from its inputs; it has {', '.join(known)}.")
    if not np.isfinite(known[loss].data):
        return None
    known[loss].backward()
    # Fresh leaves: what the formulas compute is a graph of its own, from which their rounding is read.
    leaves = {k: Tensor(v.data, name=k) for k, v in known.items() if isinstance(v, Node)}
    inexact: dict[Node, Any] = {leaf: UNIT * np.abs(leaf.data) for k, leaf in leaves.items() if k not in values}
    wanted = list(inspect.signature(backward).parameters)
    if missing := [k for k in wanted if k not in leaves]:
        raise KeyError(f"backward takes {', '.join(missing)}, which forward does not have; it has {', '.join(leaves)}.")
    with np.errstate(all="ignore"):
        found = backward(**{k: leaves[k] for k in wanted})
    compared = {}
    for name in formulas_of(backward):
        of = known.get(name[1:]) if name.startswith("d") else None
        if not isinstance(of, Node):
            raise KeyError(f"backward gives {name}, but forward has no {name[1:]}; it has {', '.join(leaves)}.")
        formula = found[name]
        automatic = np.zeros(of.shape) if of.grad is None else of.grad
        if formula.shape != of.shape:
            raise ValueError(f"{name}: {describe(formula)}; expected the shape of {name[1:]}, {of.shape}.")
        compared[name] = (formula.data, automatic, _GRANTED * rounding_bound(formula, inexact))
    return compared


def measure_agreement(
    forward: Callable[..., Mapping[str, Any]],
    backward: Callable[..., Mapping[str, Any]],
    given_inputs: Mapping[str, Any],
    *,
    loss: str = "L",
    examples: int = 100,
    largest: int = 4,
) -> list[Agreement]:
    """Hold every formula of a backward pass against the automatic gradient over generated inputs.

    Args:
        forward, backward, loss: as for `compare`.
        given_inputs: for each input an `arrays_of`, `labels`, Hypothesis strategy or fixed array.
        examples: how many inputs to generate (always the same ones).
        largest: the largest size of an axis.

    Returns:
        A row for each formula, in the order of `backward`.
    """
    rows = [Agreement(name, formula) for name, formula in formulas_of(backward).items()]

    # No shrinking: the rows report the largest error, not the smallest input.
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs(given_inputs, largest))
    def run(values: dict[str, Any]) -> None:
        compared = compare(forward, backward, values, loss)
        for row in rows:
            if compared is None:
                row.undecided += 1
                continue
            formula, automatic, granted = compared[row.name]
            with np.errstate(all="ignore"):
                decided = np.isfinite(granted)
                error = np.where(decided, np.abs(formula - automatic), 0.0)
                ratio = np.where(error == 0, 0.0, error / granted)
                ratio = np.where(decided & np.isnan(error), np.inf, ratio)
            if not decided.all():
                row.undecided += 1
                if not decided.any():
                    continue
            row.examples += 1
            if row.worst is None or np.max(ratio) > row.largest_ratio:
                row.worst, row.largest_ratio = values, float(np.max(ratio))
            row.largest_error = max(row.largest_error, float(np.max(error)))

    run()
    return rows
