"""Generated inputs: the recorded graph is run again with fresh leaves, and formulas are held against its gradients.

Fresh data keep the character of the recorded: labels stay labels, signs stay signs, columns that sum to 1 still do,
positive numbers stay positive, integers and masks are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..graph import Node, cotangents, is_node, recording
from ..tensor import Tensor
from ..value import Value
from .letters import Letters, arguments

SEED = 20240229
# Of each element, relative to the largest of its array: far above rounding, far below any wrong formula.
_TOLERANCE = 1e-7


def fresh(data: Any, random: np.random.Generator) -> Any:
    """Other numbers of the same character and shape."""
    data = np.asarray(data)
    if data.dtype.kind != "f" or not data.size:
        return data
    values = set(np.unique(data).tolist())
    for axis in range(data.ndim):
        if data.shape[axis] > 1 and data.min() >= 0 and np.allclose(data.sum(axis=axis), 1, rtol=1e-12):
            return random.permuted(data, axis=axis)
    if len(values) == 2 and (values <= {0.0, 1.0} or values <= {-1.0, 1.0}):
        return random.choice([-1.0, 1.0] if -1.0 in values else [0.0, 1.0], size=data.shape)
    if data.min() > 0:
        if data.max() < 1:
            return random.uniform(0.05, 0.95, size=data.shape)
        return np.exp(random.normal(size=data.shape))
    return random.normal(size=data.shape)


def near(data: Any, random: np.random.Generator) -> Any:
    """The recorded numbers, moved a little off ties and zeros; whole numbers and labels stay."""
    data = np.asarray(data)
    if data.dtype.kind != "f" or (np.unique(data).size > 1 and set(np.unique(data).tolist()) <= {-1.0, 0.0, 1.0}):
        return data
    return data + 1e-3 * (1 + np.abs(data)) * random.uniform(-1, 1, size=data.shape)


class Trials:
    """Runs of the graph of a loss: the value and the gradient of every name in each."""

    def __init__(self, letters: Letters) -> None:
        self.letters = letters
        random = np.random.default_rng(SEED)
        # The recorded numbers lie where the loss is defined, which others need not.
        self.runs = [self._run(random, change) for change in (fresh, fresh, fresh, near)]

    def _run(self, random: np.random.Generator, change: Callable[[Any, np.random.Generator], Any]) -> dict[str, Any]:
        made: dict[int, Any] = {}

        def again(x: Any) -> Any:
            if id(x) not in made:
                if id(x) in self.letters.follows:
                    thing, computed = self.letters.follows[id(x)]
                    source = again(thing)
                    data = computed(source.data if is_node(source) else source)
                    made[id(x)] = type(x)(data, requires_grad=False) if is_node(x) else data
                elif is_node(x):
                    kind: Any = Value if isinstance(x, Value) else Tensor
                    constant = self.letters.name(x) is None  # a number, or 1 − a, which `complement` replaces
                    data = x.data if constant else change(x.data, random)
                    data = float(data) if kind is Value else data
                    made[id(x)] = kind(data, name=x.name, requires_grad=x.requires_grad)
                else:
                    made[id(x)] = change(x, random) if self.letters.name(x) else x
            return made[id(x)]

        with np.errstate(all="ignore"), recording(True):
            for node in self.letters.order:
                if node.op is not None:
                    args = arguments(node, again, _complement)
                    called = [args] if node.op.arity < 0 else args
                    made[id(node)] = node.op(*called, **node.params)
            root = made[id(self.letters.order[-1])]
            found = {id(n): g for n, g in cotangents([(root, root.seed())])}
        known: dict[str, Any] = {}
        for name, x in self.letters.things.items():
            new = made[id(x)]
            data = new.data if is_node(new) else new
            known[name] = np.float64(data) if isinstance(data, float) else data
            if is_node(new):
                known[f"∂{name}"] = np.asarray(found.get(id(new), np.zeros(new.shape)))[()]
        return known

    def agrees(self, name: str, code: str, gradients: Mapping[str, str]) -> bool | None:
        """Whether statements compute the gradient of a name in every run; `None` where no run can tell.

        Args:
            name: whose gradient.
            code: statements that assign it.
            gradients: for every name what its gradient is called in code.
        """
        import tinygrad_notes as tn

        decided = None
        for known in self.runs:
            env: dict[str, Any] = {"np": np, "tn": tn, **{k: v for k, v in known.items() if not k.startswith("∂")}}
            env |= {d: known[f"∂{k}"] for k, d in gradients.items() if f"∂{k}" in known and k != name}
            expected = np.asarray(known[f"∂{name}"], dtype=float)
            try:
                with np.errstate(all="ignore"):
                    exec(code, env)
            except (ArithmeticError, AttributeError, IndexError, TypeError, ValueError):
                return False  # such a line is no better than one with a wrong value, and is shown as such
            found = np.asarray(env[gradients[name]], dtype=float)
            if found.shape != expected.shape:
                return False
            if not np.all(np.isfinite(expected)) or not np.all(np.isfinite(found)):
                continue  # outside of the domain of an op, or at a 0/0 that its rule guards against
            decided = True
            off = np.abs(found - expected)
            # Where contributions cancel, what is left of them is rounding, as large as they were.
            largest = max(np.max(np.abs(g), initial=0.0) for k, g in known.items() if k.startswith("∂"))
            rounding = 1e-12 + (1e-14 * largest if np.isfinite(largest) else 0.0)
            if not np.all(off <= _TOLERANCE * np.max(np.abs(expected), initial=0.0) + rounding):
                return False
        return decided


def _complement(a: Any) -> Any:
    return type(a)(1 - a.data, requires_grad=False) if is_node(a) else 1 - a


def recorded_gradients(root: Node) -> dict[int, Any]:
    """The gradient of every node at the recorded numbers, by its id; `.grad` is left alone."""
    with np.errstate(all="ignore"):
        return {id(n): g for n, g in cotangents([(root, root.seed())])}
