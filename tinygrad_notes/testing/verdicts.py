"""`check_gradient`: whether a gradient is right at one point, as surely as can be said."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .. import ops
from ..graph import Node, cotangents, is_node
from ..ops.namespaces import is_number
from . import fields
from .candidates import automatic_floats, floats_by_hand, recorded_automatic, recorded_by_hand
from .fields import Dual, Duals, Field, OpaqueError
from .judging import (
    CORRECT,
    KINK,
    SHARPER,
    UNDECIDED,
    WRONG,
    Finding,
    judge_exactly,
    judge_floats,
    judge_together,
    worst,
)
from .locating import as_node, first_wrong_rule, frozen, readings
from .oracle import NotExactError, Oracle, UnclearError, is_rational, numbers
from .scalars import Tape
from .tracing import ForeignError, TieError, Traced, leaf, trace


@dataclass(frozen=True)
class Verdict:
    """What is known of a gradient at one point.

    Attributes:
        status: `correct`; `wrong`; `kink`: right, one of the subgradients between the one-sided slopes; `undecided`:
            rounding, overflow or a jump explains any difference.
        tier: what it was held against: `exact`, `certified`, `high precision` or `black box`.
        finding: the element that decides, with what was found and expected.
        node: the op's node whose rule is wrong, if the gradient is the automatic one.
        inputs: the point.
    """

    status: str
    tier: str
    finding: Finding = field(default_factory=lambda: Finding(CORRECT))
    node: Node | None = None
    inputs: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against the gradient."""
        return self.status != WRONG

    def __str__(self) -> str:
        lines = [f"gradient: {self.status} ({self.tier})"]
        at = self.finding
        if self.status in (WRONG, UNDECIDED) and at.name:
            place = f"∂/∂{at.name}" + (f"[{', '.join(map(str, at.index))}]" if at.index else "")
            low, high = at.expected
            right = f"{low!r}" if low == high or low != low else f"between {low!r} and {high!r}"
            lines.append(f"  {place}: given {at.found!r}; expected {right}")
        if at.note:
            lines.append(f"  {at.note}")
        if self.node is not None and self.node.op is not None:
            lines.append(f"  the first wrong rule on the way back is that of {self.node.op.name}")
            shown = (p.data if is_node(p) else p for p in self.node.parents)
            lines.append("    at " + ", ".join(_short(a) for a in shown))
        if self.status in (WRONG, UNDECIDED):
            lines += [f"  {name} = {_short(x)}" for name, x in self.inputs.items()]
        return "\n".join(lines)


def _short(x: Any) -> str:
    if is_number(x) or np.ndim(x) == 0:
        return repr(float(x))
    text = np.array2string(np.asarray(x), separator=", ", threshold=20).replace("\n", "")
    return " ".join(text.split())


class GradientError(AssertionError):
    """A gradient is wrong; `verdict` says where and by how much."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(str(verdict))
        self.verdict = verdict


def check_gradient(
    f: Callable[..., Any],
    *inputs: Any,
    gradient: Callable[..., Any] | None = None,
    order: int = 1,
    cotangent: Any = None,
    reference: Callable[..., Any] | None = None,
    names: Sequence[str] | None = None,
) -> Verdict:
    """Whether a gradient of f is right at one point.

    The strongest oracle that applies is taken: fractions (no rounding at all) where f is made of + − × ÷, whole powers,
    maximum, comparisons; FLINT's balls (extra `certify`), else mpmath, where f is recorded; differences where it is
    foreign. A gradient that is recorded too is judged as a formula, in the same numbers; one that gives plain floats is
    granted the rounding that a backward pass of f has.

    Args:
        f: a function of numbers or arrays: plain Python, NumPy's functions, this project's ops; or a
            `torch.autograd.Function` or `jax.custom_vjp`, whose own backward pass is checked (in float64).
        inputs: the point: floats, float arrays or nodes.
        gradient: the hand-derived one: takes what f takes, returns one gradient for each argument (a bare one for one
            argument). Without it the automatic gradient of f is checked.
        order: 2 checks the second derivatives: of the automatic gradient, or those that follow from `gradient`.
        cotangent: ∂L/∂f in the shape of f's result. If it is not given: ones with `gradient` (the gradient of the sum),
            and generic weights without.
        reference: for a function of PyTorch or JAX, the same in this project's ops: it is then held against certified
            numbers instead of differences.
        names: of the arguments, for the report; f's own if not given.

    Returns:
        The verdict; `print` it.

    Raises:
        ValueError: order is not 1 or 2, or a gradient has the wrong shape.
        TypeError: an input is no number or array, or `gradient` gives not one gradient for each argument.

    Example:
        >>> check_gradient(lambda x: x * x, 3.0, gradient=lambda x: 2 * x).status
        'correct'
        >>> print(check_gradient(lambda x: x * x, 3.0, gradient=lambda x: x))
        gradient: wrong (exact)
          ∂/∂x: given 3.0; expected 6.0
          x = 3.0
    """
    if order not in (1, 2):
        raise ValueError(f"check_gradient: given order={order!r}; expected 1 or 2.")
    if not inputs:
        raise TypeError("check_gradient: given no input; expected the point at which to check.")
    names = list(names) if names is not None else _names(f, len(inputs))
    if len(names) != len(inputs):
        raise ValueError(f"check_gradient: given {len(names)} name(s) for {len(inputs)} input(s).")
    if gradient is None and ("torch" in sys.modules or "jax" in sys.modules):
        from .adapters import foreign_verdict, pair_for

        if (pair := pair_for(f, inputs)) is not None:
            return foreign_verdict(pair, names, order, cotangent, reference)
    points = [_point(x, name) for x, name in zip(inputs, names, strict=True)]
    leaves = [leaf(p, name) for p, name in zip(points, names, strict=True)]
    try:
        root = trace(f, leaves)
    except ForeignError as error:
        return _foreign(f, points, names, gradient, order, cotangent, error)
    weights = _weights(root.shape, cotangent, gradient is None)
    case = Case(f, root, leaves, points, names, weights, gradient)
    return case.first() if order == 1 else case.second()


def assert_gradient(
    f: Callable[..., Any],
    *inputs: Any,
    gradient: Callable[..., Any] | None = None,
    order: int = 1,
    cotangent: Any = None,
    reference: Callable[..., Any] | None = None,
    names: Sequence[str] | None = None,
) -> Verdict:
    """As `check_gradient`; composes with Hypothesis's `@given`.

    Raises:
        GradientError: the gradient is wrong (an AssertionError with the report).
    """
    __tracebackhide__ = True  # pytest shows the caller
    verdict = check_gradient(
        f, *inputs, gradient=gradient, order=order, cotangent=cotangent, reference=reference, names=names
    )
    if not verdict.ok:
        raise GradientError(verdict)
    return verdict


def _names(f: Callable[..., Any], count: int) -> list[str]:
    """The names of f's arguments, as far as it has any."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):  # no function, or one that is not written in Python
        parameters = []
    own = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [own[i] if i < len(own) else f"x{i}" for i in range(count)]


def _point(x: Any, name: str) -> Any:
    """An input as a float64 array (0-d for a number).

    Raises:
        TypeError: it is neither.
    """
    data = x.data if is_node(x) else x
    try:
        array = np.asarray(data)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"an array of {array.dtype}")
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"check_gradient: given {ops.describe(x)} for {name}; expected a number or an array."
        ) from error
    return np.array(array, dtype=float)


def _weights(shape: tuple[int, ...], cotangent: Any, generic: bool) -> Any:
    if cotangent is not None:
        try:
            given = np.asarray(cotangent, dtype=float)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"check_gradient: given cotangent={ops.describe(cotangent)}; expected a number or an array."
            ) from error
        if given.shape != tuple(shape):
            raise ValueError(f"check_gradient: the cotangent has shape {given.shape}; expected that of f, {shape}.")
        return given
    return generic_weights(shape) if generic else np.ones(shape)


def generic_weights(shape: tuple[int, ...]) -> Any:
    """Weights of a result that differ, so that no transposition or sum hides; 1 for a number."""
    if not shape:
        return np.ones(())
    return np.round(np.random.default_rng(0).uniform(0.5, 2.0, shape) * 2**20) / 2**20  # short: fractions stay short


class Case:
    """One recorded function at one point, held against each field in turn until one can decide."""

    def __init__(
        self,
        f: Callable[..., Any],
        root: Traced,
        leaves: Sequence[Traced],
        points: Sequence[Any],
        names: Sequence[str],
        weights: Any,
        gradient: Callable[..., Any] | None,
    ) -> None:
        self.f, self.root, self.leaves, self.points, self.names = f, root, leaves, points, names
        self.weights, self.gradient = weights, gradient
        self.shown = dict(zip(names, points, strict=True))
        self.reason = "it needs more than fractions: pip install 'tinygrad_notes[certify]'"

    def _decided(self, roots: Sequence[Node], decide: Callable[[Field], Verdict]) -> Verdict | None:
        """The verdict of the first field that can decide; `None` where there is no field at all."""
        found = None
        for field_ in fields.fields_for(is_rational([self.root, *roots])):
            try:
                found = decide(field_)
            except OpaqueError as error:
                self.reason = str(error)
                return None
            except (NotExactError, UnclearError) as error:
                found = self._verdict([Finding(UNDECIDED, note=str(error))], field_.tier)
                continue
            if found.finding.note not in SHARPER:
                break
        return found

    def _verdict(self, findings: list[Finding], tier: str, node: Node | None = None) -> Verdict:
        decides = worst(findings)
        return Verdict(decides.status, tier, decides, node, self.shown)

    def _foreign(self, order: int) -> Verdict:
        points, names = list(self.points), list(self.names)
        return _foreign(self.f, points, names, self.gradient, order, self.weights, ForeignError(self.reason))

    def candidate(self, constants: bool = False) -> list[Node] | None:
        """The gradient to judge, as nodes; `None` if it can be had as floats only, which may serve as `constants`."""
        if self.gradient is None:
            return recorded_automatic(self.root, self.leaves, self.weights)
        return recorded_by_hand(self.gradient, self.leaves, self.names, constants)

    def first(self) -> Verdict:
        """The gradient itself."""
        candidate, raised = self.candidate(), ""
        floats = automatic_floats(self.f, self.points, self.weights) if self.gradient is None else None
        if candidate is None:
            assert self.gradient is not None
            try:
                floats = floats_by_hand(self.gradient, self.points, self.names)
            except (ArithmeticError, ValueError) as error:
                if "check_gradient" in str(error):
                    raise
                raised = f"the gradient itself fails here: {type(error).__name__}: {error}"
                if isinstance(error, OverflowError):
                    return self._verdict([Finding(UNDECIDED, note=raised)], "certified")
                floats = [np.full(p.shape, np.nan) for p in self.points]
        verdict = self._decided(candidate or (), lambda numbers_: self._first(numbers_, candidate, floats))
        if verdict is not None and raised and verdict.status == WRONG:
            verdict = replace(verdict, finding=replace(verdict.finding, note=raised))
        if verdict is None or (not fields.reals() and verdict.status == UNDECIDED):
            return self._foreign(1)
        return verdict

    def _first(self, numbers_: Field, candidate: list[Any] | None, floats: list[Any] | None) -> Verdict:
        oracle = Oracle(self.root, self.leaves, numbers_, self.weights)
        if reason := oracle.undecidable():
            return self._verdict([Finding(UNDECIDED, note=reason)], numbers_.tier)
        sides = [oracle.gradients(leaf) for leaf in self.leaves]
        findings: list[Finding] = []
        if candidate is not None:
            values = self._read(candidate, oracle)
            findings += [
                judge_exactly(n, oracle, s, v, x)
                for n, s, v, x in zip(self.names, sides, values, self.leaves, strict=True)
            ]
            findings.append(judge_together(oracle, sides, values, None))
        if floats is not None:
            bounds = [oracle.rounding(leaf) for leaf in self.leaves]
            strict = [4 * oracle.rounding(leaf, False) if candidate is None else None for leaf in self.leaves]
            findings += [
                judge_floats(n, oracle, s, v, 4 * b, narrow)
                for n, s, v, b, narrow in zip(self.names, sides, floats, bounds, strict, strict=True)
            ]
            findings.append(judge_together(oracle, sides, floats, [4 * b for b in bounds]))
            if candidate is not None:  # what the formula decides is decided, however it rounds
                findings = findings[: len(sides) + 1] + [f for f in findings[len(sides) + 1 :] if f.status == WRONG]
        node = None
        if self.gradient is None and any(f.status == WRONG for f in findings):
            node = first_wrong_rule(self.root, oracle)
        return self._verdict(findings, numbers_.tier, node)

    def _read(self, candidate: list[Any], oracle: Oracle) -> list[Any]:
        tape = Tape(oracle.tape.field)
        return readings(candidate, tape, frozen(oracle, tape))

    def second(self) -> Verdict:
        """The second derivatives, along each direction of the inputs in turn."""
        candidate = self.candidate(constants=True)
        if candidate is None:
            return self._foreign(2)
        verdict = self._decided(candidate, lambda numbers_: self._second(numbers_, candidate))
        return self._foreign(2) if verdict is None else verdict

    def _second(self, numbers_: Field, candidate: list[Any]) -> Verdict:
        base = Oracle(self.root, self.leaves, numbers_, self.weights)
        if reason := base.undecidable():
            return self._verdict([Finding(UNDECIDED, note=reason)], numbers_.tier)
        if len(base.sides) > 1 or base.tape.intervals:
            return self._verdict([Finding(KINK, note="a kink has no second derivative")], numbers_.tier)
        tape = Tape(numbers_)
        known = frozen(base, tape)
        findings = []
        sizes = [p.size for p in self.points]
        for along in directions(sum(sizes)):
            parts = [
                part.reshape(p.shape)
                for part, p in zip(np.split(along, np.cumsum(sizes)[:-1]), self.points, strict=True)
            ]
            moved = {leaf: _duals(numbers_, leaf.data, part) for leaf, part in zip(self.leaves, parts, strict=True)}
            oracle = Oracle(self.root, self.leaves, Duals(numbers_), self.weights, moved)
            with np.errstate(all="ignore"):
                seeds = [
                    (g, Traced(v, requires_grad=False))
                    for g, v in zip(candidate, parts, strict=True)
                    if g.requires_grad
                ]
                found = dict(cotangents(seeds, self.leaves, create_graph=True)) if seeds else {}
            nodes = [as_node(found.get(leaf), leaf.shape) for leaf in self.leaves]
            for name, leaf_, value in zip(self.names, self.leaves, readings(nodes, tape, known), strict=True):
                sides = [
                    np.frompyfunc(lambda d: d.b if type(d) is Dual else d, 1, 1)(s) for s in oracle.gradients(leaf_)
                ]
                findings.append(judge_exactly(name, base, [numbers(s) for s in sides], value))
        return self._verdict(findings, numbers_.tier)


def _duals(field_: Field, data: Any, part: Any) -> Any:
    made = np.frompyfunc(lambda x, v: Dual(field_.number(float(x)), field_.number(float(v))), 2, 1)(data, part)
    return numbers(made)


def directions(size: int, most: int = 6) -> list[Any]:
    """Each axis, or a few generic directions where there are many."""
    if size <= most:
        return list(np.eye(size))
    return [np.random.default_rng(k).choice([-1.0, 1.0, 2.0], size) for k in range(most)]


def _foreign(
    f: Callable[..., Any],
    points: list[Any],
    names: list[str],
    gradient: Callable[..., Any] | None,
    order: int,
    cotangent: Any,
    reason: ForeignError,
) -> Verdict:
    """What can be said of a function that was not recorded, and why not."""
    if isinstance(reason, TieError) and order == 2:
        finding = Finding(UNDECIDED, note=f"{reason}, where there may be no second derivative")
        return Verdict(UNDECIDED, "black box", finding, None, dict(zip(names, points, strict=True)))
    if gradient is None and order == 1:
        weights = None if cotangent is None else np.asarray(cotangent, dtype=float)
        try:
            known = automatic_floats(f, points, weights) is not None
        except Exception:
            known = False
        if known:  # the engine's own, as floats

            def gradient(*xs: Any) -> Any:
                return tuple(automatic_floats(f, [np.asarray(x, dtype=float) for x in xs], weights) or ())

    if gradient is not None:
        return _black_box(f, points, names, gradient, order, cotangent)
    raise TypeError(
        f"check_gradient: given {ops.describe(f)}, which cannot be recorded ({reason}), so it has no automatic "
        "gradient; give gradient=, or write f with this project's ops or NumPy's functions on its argument."
    ) from reason


def _black_box(
    f: Callable[..., Any],
    points: list[Any],
    names: list[str],
    gradient: Callable[..., Any] | None,
    order: int,
    cotangent: Any,
) -> Verdict:
    """A foreign function against differences of its own values."""
    from .watching import watch

    return watch(f, points, names, gradient, order, cotangent)
