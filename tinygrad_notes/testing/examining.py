"""A backward pass at one input: every formula held against the true gradient."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph import Node, is_node, topological_order
from ..ops import describe
from ..tensor import Tensor
from . import fields
from .diagnosis import Network, raised
from .formulas import Backward, as_value
from .judging import SHARPER, UNDECIDED, WRONG, Finding, judge_exactly, judge_floats
from .locating import frozen, readings
from .oracle import NotExactError, Oracle, UnclearError, is_rational, numbers
from .scalars import Scalar, Tape
from .tracing import ForeignError, Traced, leaf

_PLAIN = 1e-6
"""Relative; only the search for a small counterexample uses it, and what it finds is confirmed."""


@dataclass(frozen=True)
class Outcome:
    """What became of one formula at one input.

    Attributes:
        status: `correct`, `wrong`, `kink` or `undecided`.
        note: why, in words.
        found, expected: the formula's value and the true gradient, in floats.
    """

    status: str
    note: str = ""
    found: Any = None
    expected: Any = None


class Examiner:
    """Runs a forward pass, and judges formulas on it."""

    def __init__(self, forward: Callable[..., Mapping[str, Any]], backward: Backward, loss: str) -> None:
        self.forward, self.backward, self.loss = forward, backward, loss
        self.texts = backward.texts
        self.names: frozenset[str] = frozenset()  # of the forward pass
        self.summed = False  # whether the loss has several elements
        self.failed: dict[str, Exception] = {}  # helpers that fail, though no gradient need be wrong by it

    # --- the forward pass ---------------------------------------------------------------------------------------------

    def record(self, values: Mapping[str, Any], kind: type[Tensor] = Traced) -> tuple[list[Any], dict[str, Any]]:
        """The leaves, and everything that forward names, on nodes.

        Raises:
            TypeError, ValueError: an input is no number or array; forward returns no mapping, or no loss.
        """
        leaves = {}
        for k, v in values.items():
            try:
                leaves[k] = kind(np.array(v, dtype=float), name=k)
            except (TypeError, ValueError) as error:
                raise TypeError(f"check_derivation: given {describe(v)} for {k}; expected numbers.") from error
        try:
            with np.errstate(all="ignore"):
                made = self.forward(**leaves)
        except ForeignError as error:
            raise TypeError(
                f"forward: it cannot be recorded, for {error}; use operators, NumPy's functions or this project's ops "
                "on its inputs as they come."
            ) from error
        if not isinstance(made, Mapping):
            raise TypeError(f"forward: it returned {describe(made)}; expected its names, by `return locals()`.")
        known: dict[str, Any] = {**leaves, **made}
        root: Any = known.get(self.loss)
        if not is_node(root):
            raise ValueError(
                f"forward: no {self.loss!r} was computed from its inputs; it has {', '.join(known)}. "
                "Say which name is the loss with loss=."
            )
        if not self.names:
            self._check_names(known)
            self.names = frozenset(known)
        return list(leaves.values()), known

    def _check_names(self, known: Mapping[str, Any]) -> None:
        gradients = {f"d{k}" for k, v in known.items() if is_node(v)} if self.backward.apart else set()
        if missing := [n for n in self.backward.takes if n not in known and n not in gradients]:
            raise ValueError(
                f"backward: it takes {', '.join(missing)}, which forward does not have; it has {', '.join(known)}."
            )
        judged = [name for name in self.texts if self._judged(name, known)]
        if self.backward.steps and not judged:
            raise ValueError(
                f"backward: none of {', '.join(self.texts)} is d<name> of a name of forward; it has {', '.join(known)}."
            )
        if self.backward.apart and (strange := [name for name in self.texts if name not in judged]):
            raise ValueError(f"backward: {', '.join(strange)}: forward has no such name; it has {', '.join(known)}.")

    def _judged(self, name: str, known: Mapping[str, Any]) -> bool:
        """Whether it is the name of a gradient; a name of the forward pass is not, though it may begin with d."""
        return name.startswith("d") and name not in known and is_node(known.get(name[1:]))

    # --- judging ------------------------------------------------------------------------------------------------------

    def examine(self, values: Mapping[str, Any]) -> dict[str, Outcome]:
        """Every formula at one input."""
        leaves, known = self.record(values)
        traced, found = self._found(known)
        root = known[self.loss]
        if root.data.size != 1:  # a loss for each example: the gradients are those of the sum
            root = root.sum()
            self.summed = True
        candidates = [v for v in found.values() if is_node(v)]
        reason = "python-flint or mpmath is needed for this loss: pip install 'tinygrad_notes[certify]'"
        outcomes = None
        for field_ in fields.fields_for(is_rational([root, *candidates])):
            try:
                oracle = Oracle(root, leaves, field_)
                if reason := oracle.undecidable():
                    break
                outcomes = self._judge(oracle, known, found, traced)
            except (NotExactError, UnclearError) as error:
                reason = str(error)
                continue
            if not any(o.note in SHARPER for o in outcomes.values()):
                break
        if outcomes is not None:
            return outcomes
        return {name: Outcome(UNDECIDED, reason) for name in found}

    def _found(self, known: Mapping[str, Any]) -> tuple[bool, dict[str, Any]]:
        """What the formulas give (an exception where one fails), and whether that could be recorded.

        A formula that fails on recorded names may do so because NumPy has more functions and methods than nodes have:
        it is wrong only if it fails on plain arrays too.
        """
        try:
            found = self._own(known)
        except Exception:
            return False, self._own_in_floats(known)
        failing = {name for name, value in (found | self.failed).items() if isinstance(value, Exception)}
        if failing:
            in_floats = self._own_in_floats(known)
            if any(not isinstance((in_floats | self.failed).get(name), Exception) for name in failing):
                return False, in_floats
        elif self.backward.in_place:
            # Arrays are changed in place and nodes are not: what another name sees of that shows on arrays only.
            in_floats = self._own_in_floats(known)
            if any(_differ(v, np.asarray(_data(found[k]))) for k, v in in_floats.items() if k in found):
                return False, in_floats
        return True, found

    def _gradient_leaves(self, known: Mapping[str, Any]) -> dict[str, Traced]:
        """Leaves for the right upstream gradients, which formulas of a mapping ask for."""
        if not self.backward.apart:
            return {}
        gradients = self._engine(known)
        return {f"d{k}": Traced(g) for k, g in gradients.items() if f"d{k}" in self.backward.takes}

    def _engine(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """Gradients by the engine, in floats."""
        if not known[self.loss].requires_grad:
            return {k: np.zeros(v.shape) for k, v in known.items() if is_node(v)}
        nodes = {k: v for k, v in known.items() if is_node(v)}
        for v in nodes.values():
            v.zero_grad()
        with np.errstate(all="ignore"):
            known[self.loss].backward(np.ones(known[self.loss].shape))
        return {k: np.zeros(v.shape) if v.grad is None else np.array(v.grad) for k, v in nodes.items()}

    def _leaves_of(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """Every name as a leaf of its own, so that formulas are no part of the forward graph."""
        return {k: Traced(v.data, name=k) if is_node(v) and v.data.dtype.kind == "f" else v for k, v in known.items()}

    def _own(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """What the formulas give on recorded names: nodes, or an exception where a formula fails."""
        self.leaves = {**self._leaves_of(known), **self._gradient_leaves(known)}
        return self._run(self.leaves, known)

    def _own_in_floats(self, known: Mapping[str, Any]) -> dict[str, Any]:
        names: dict[str, Any] = {k: np.array(v.data) if is_node(v) else v for k, v in known.items()}
        if self.backward.apart:
            names |= {f"d{k}": g for k, g in self._engine(known).items()}
        return self._run(names, known)

    def _run(self, names: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
        right = names if self.backward.apart else {}
        with np.errstate(all="ignore"):
            if not self.backward.steps:
                found = {k: as_value(v) for k, v in self._called(names).items()}
                return {k: v for k, v in found.items() if k not in names and self._judged(k, known)}
            values = {k: v for k, v, _ in self.backward.values(names, right)}
        judged = {k for k in values if self._judged(k, known)}
        self.failed = {k: v for k, v in values.items() if isinstance(v, Exception) and k not in judged}
        return {k: as_value(v) for k, v in values.items() if k in judged}

    def _called(self, names: Mapping[str, Any]) -> Mapping[str, Any]:
        assert self.backward.whole is not None
        try:
            own = {k: np.array(v) if isinstance(v, np.ndarray) else v for k, v in names.items()}  # it may change them
            given = self.backward.whole(**self.backward.arguments(own))
        except ForeignError:
            raise
        except Exception as error:
            if any(type(v) is Traced for v in names.values()):
                raise ForeignError(str(error)) from error
            raise
        if not isinstance(given, Mapping):
            raise TypeError(f"backward: it returned {describe(given)}; expected its names, by `return locals()`.")
        return given

    def _judge(
        self, oracle: Oracle, known: Mapping[str, Any], found: Mapping[str, Any], traced: bool
    ) -> dict[str, Outcome]:
        outcomes = {}
        tape = Tape(oracle.tape.field)
        constants = frozen(oracle, tape)
        given: dict[Node, Any] = {}
        if traced:
            given = {
                own: constants[known[k]]
                for k, own in self.leaves.items()
                if is_node(own) and k in known and known[k] in constants
            }
            for k, own in self.leaves.items():
                if k not in known:
                    exact = oracle.gradients(known[k[1:]])[0]
                    given[own] = numbers(np.frompyfunc(lambda v: Scalar(tape, v), 1, 1)(exact))
        for name, value in found.items():
            of = known[name[1:]]
            if of not in oracle.values:  # nothing that the loss depends on
                expected: Any = np.zeros(of.shape)
                sides: list[Any] = [numbers(np.frompyfunc(oracle.tape.number, 1, 1)(expected))]
            else:
                sides = oracle.gradients(of)
                expected = oracle.as_floats(sides[0])
            if isinstance(value, Exception):
                outcomes[name] = Outcome(WRONG, raised(value), None, expected)
                continue
            node = value if is_node(value) else None
            data = np.asarray(node.data if node is not None else value, dtype=float)
            if data.shape != expected.shape:
                note = f"it has shape {data.shape}; {name[1:]} has {expected.shape}"
                outcomes[name] = Outcome(WRONG, note, data, expected)
                continue
            finding = self._finding(name, oracle, sides, node, data, of, tape, given)
            outcomes[name] = Outcome(finding.status, finding.note, data, expected)
        return outcomes

    def _finding(
        self, name: str, oracle: Oracle, sides: list[Any], node: Any, data: Any, of: Any, tape: Tape, given: Any
    ) -> Finding:
        if node is not None:
            (value,) = readings([node], tape, given)
            # A right formula stays right where floats overflow in it.
            return judge_exactly(name, oracle, sides, value, of if of in oracle.values else None)
        bound = oracle.rounding(of) if of in oracle.values else np.zeros(data.shape)
        return judge_floats(name, oracle, sides, data, 4 * bound)

    # --- one link, quickly --------------------------------------------------------------------------------------------

    def is_wrong(self, name: str, values: Mapping[str, Any]) -> bool:
        """Whether a formula is wrong at an input."""
        outcome = self.examine(values).get(name)
        return outcome is not None and outcome.status == WRONG

    def plainly_wrong(self, name: str, values: Mapping[str, Any]) -> bool:
        """Whether a formula is off by more than a millionth in plain floats: quick, for the search."""
        known = self.known_floats(values)
        if known is None:
            return False
        names = known if self.backward.apart else {k: known[k] for k in self.names}
        return _differ(self._value(name, names, names if self.backward.apart else {})[0], known[name])

    def _value(self, name: str, names: Mapping[str, Any], right: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """A formula's value (an exception if it fails; `None` if there is none), and all names before it."""
        with np.errstate(all="ignore"):
            try:
                if not self.backward.steps:
                    return as_value(self._called(names).get(name)), {}
                for done, value, env in self.backward.values(names, right):
                    if done == name:
                        return as_value(value), env
            except Exception as error:
                return error, {}
        return None, {}

    def known_floats(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Every name and every right gradient `d<name>` in floats; `None` where the forward pass overflows."""
        _, known = self.record(values, Tensor)
        if not np.all(np.isfinite(known[self.loss].data)):
            return None
        gradients = self._engine(known)
        floats = {k: np.asarray(v.data) if is_node(v) else v for k, v in known.items()}
        return {**{f"d{k}": g for k, g in gradients.items()}, **floats}

    def alone(self, name: str, known: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """A formula's value given right upstream gradients (an exception if it fails), and the helpers before it."""
        names = known if self.backward.apart else {k: known[k] for k in self.names}
        right = {k: v for k, v in known.items() if k not in self.names and k != name}
        value, env = self._value(name, names, right)
        return value, {k: env[k] for step in self.backward.steps for k in step.binds if k in env and k not in known}

    def alone_is_wrong(self, name: str, inputs: Sequence[Mapping[str, Any]]) -> bool:
        """Whether a formula is wrong on some input although its upstream gradients are right."""
        for values in inputs:
            known = self.known_floats(values)
            if known is not None and _differ(self.alone(name, known)[0], known[name]):
                return True
        return False

    def names_in(self, name: str) -> set[str]:
        """The names that a formula uses."""
        text = self.texts.get(name, "")
        return {n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name)}

    def network(self, samples: Sequence[Mapping[str, Any]]) -> Network:
        """What is known of the forward pass, from its recorded graph."""
        own = list(inspect.signature(self.forward).parameters)
        _, known = self.record({k: samples[0][k] for k in own}, Tensor)
        names = {id(v): k for k, v in known.items() if is_node(v)}
        made_by = {}
        for k, v in known.items():
            if is_node(v) and v.op is not None:
                made_by[k] = (v.op.name, tuple(dict.fromkeys(_named_parents(v, names))))
        made = [k for k in known if k not in own and is_node(known[k])]
        unnamed = {
            (op, names[id(p)])
            for node in topological_order(known[self.loss])
            if id(node) not in names and (op := _activation(node))
            for p in node.parents
            if id(p) in names
        }
        return Network(tuple(own), tuple(made), made_by, tuple(sorted(unnamed)))


def _activation(node: Node) -> str:
    """The name of a node's op; a maximum with 0 is a relu. Empty for a leaf, and for any other op of two operands."""
    if node.op is None:
        return ""
    constants = [p for p in node.parents if not is_node(p)]
    if node.op.name == "maximum" and len(constants) == 1:
        return "" if np.any(constants[0]) else "relu"
    return node.op.name if len(node.parents) == 1 else ""


def _named_parents(node: Node, names: Mapping[int, str]) -> list[str]:
    """The nearest named nodes that a node was made of."""
    found: list[str] = []
    for p in node.parents:
        if id(p) in names:
            found.append(names[id(p)])
        elif is_node(p) and p.op is not None:
            found += _named_parents(p, names)
    return found


def _data(value: Any) -> Any:
    """The array of a node; anything else as it is."""
    return value.data if is_node(value) else value


def _differ(value: Any, expected: Any) -> bool:
    if value is None or isinstance(value, Exception):
        return isinstance(value, Exception)
    value = np.asarray(value.data if is_node(value) else value, dtype=float)
    if value.shape != expected.shape:
        return True
    largest = np.max(np.abs(expected), initial=0.0)
    with np.errstate(all="ignore"):
        off = np.max(np.abs(value - expected), initial=0.0)
    return bool(off > _PLAIN * largest + 1e-12)


__all__ = ["Examiner", "Outcome", "leaf"]
