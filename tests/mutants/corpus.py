"""Mutants: every row of the op table with every mistake that its rule can have.

A mutant is a function whose automatic gradient is wrong (a row whose rule was replaced), or a function with a wrong
gradient beside it (a backward pass with a mistake of its own). The forward pass is right in all of them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import table_cases
from faulty_passes import aliased, automatic, depth_first, detached_second_use, second_pass
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from points import Space, many_points, points

from tinygrad_notes import Tensor, ops
from tinygrad_notes.graph import cotangents, is_node
from tinygrad_notes.ops import TABLE, Op
from tinygrad_notes.ops.op import force
from tinygrad_notes.testing.verdicts import check_gradient

TINY = "relative 1e-6"


@dataclass(frozen=True)
class Mutant:
    """A function with a wrong gradient.

    Attributes:
        row: the op's name.
        kind: the mutation.
        label: what tells it from the row's other mutants of that kind.
        f: the function; its automatic gradient is wrong unless `gradient` is given.
        right: the same function on the row as it is.
        space: the points at which it may be checked.
        gradient: a wrong gradient beside f.
        order: 2 where only the second derivative is wrong.
    """

    row: str
    kind: str
    label: str
    f: Callable[..., Any]
    right: Callable[..., Any]
    space: Space
    gradient: Callable[..., Any] | None = None
    order: int = 1

    def __str__(self) -> str:
        return f"{self.row}-{self.kind}" + (f"-{self.label}" if self.label else "")


# --- mutations of one entry of a rule: (xp, right entry, its argument x) -> wrong entry -------------------------------

ENTRY: dict[str, Callable[[Any, Any, Any], Any]] = {
    "sign": lambda xp, p, x: -p,
    "factor 2": lambda xp, p, x: 2 * p,
    "1 %": lambda xp, p, x: 1.01 * p,
    TINY: lambda xp, p, x: (1 + 1e-6) * p,
    "offset": lambda xp, p, x: p + 0.5,
    "zero": lambda xp, p, x: 0.0 * p,
    # Not + 1: where the row has a kink at 0, the slope of the other side would be right.
    "wrong at 0": lambda xp, p, x: xp.where(x == 0, p + 3.0, p),
    "NaN at 0": lambda xp, p, x: xp.where(x == 0, math.nan, p),
    "wrong for negative": lambda xp, p, x: xp.where(x < 0, -p, p),
    "wrong beyond 10": lambda xp, p, x: xp.where(xp.abs(x) > 10, 2 * p, p),
}
SECOND = "wrong second derivative"


def _detached(p: Any) -> Any:
    return p.detach() if is_node(p) else p


def mutated_partials(op: Op, change: Callable[[Any, Any, Any], Any], position: int) -> Op:
    """The elementwise row with ∂y/∂x changed for one of its arguments."""

    def partials(xp: Any, y: Any, *xs: Any, **params: Any) -> tuple[Any, ...]:
        assert op.partials is not None
        found = list(op.partials(xp, y, *xs, **params))
        found[position] = change(xp, force(found[position]), xs[position])
        return tuple(found)

    return dataclasses.replace(op, partials=partials)


def mutated_vjp(op: Op, change: Callable[[Any, Any, Any], Any], position: int) -> Op:
    """The structural row with one of its cotangents changed."""

    def vjp(xp: Any, g: Any, y: Any, *xs: Any, **params: Any) -> list[Any]:
        assert op.vjp_rule is not None
        given = op.vjp_rule(xp, g, y, *xs, **params)
        found = list(given) if isinstance(given, (tuple, list)) else [given]
        found[position] = change(xp, force(found[position]), xs[position])
        return found

    return dataclasses.replace(op, vjp_rule=vjp)


def _all_at_ties(op: Op) -> Op:
    """maximum and minimum with the slope 1 for both arguments where they are equal."""

    def partials(xp: Any, y: Any, a: Any, b: Any) -> tuple[Any, ...]:
        return xp.where(a == y, 1.0, 0.0), xp.where(b == y, 1.0, 0.0)

    return dataclasses.replace(op, partials=partials)


def _unshared(op: Op) -> Op:
    """max and min with the whole cotangent for every element that attains the extreme (Theano 4568)."""

    def vjp(xp: Any, g: Any, y: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        kept = np.max(np.empty(x.shape), axis=axis, keepdims=True).shape
        return xp.where(x == xp.reshape(y, shape=kept), 1.0, 0.0) * xp.reshape(g, shape=kept)

    return dataclasses.replace(op, vjp_rule=vjp)


def _reordered(xp: Any, c: Any, x: Any) -> Any:
    """The cotangent's elements read in the order of the transpose."""
    return xp.flip(c) if len(c.shape) == 1 else xp.reshape(xp.permute_dims(c), shape=tuple(c.shape))


STRETCH = TABLE["broadcast_to"]
AVERAGED = mutated_vjp(STRETCH, lambda xp, c, x: c / 2, 0)
"""Broadcasting to twice the size, undone by a mean in place of a sum."""
FIRST_ONLY = dataclasses.replace(
    STRETCH, vjp_rule=lambda xp, g, y, x, *, shape=(): xp.reshape(g[..., :1], shape=tuple(x.shape))
)
"""Broadcasting along the last axis, undone by taking the first element."""

# --- the rows as functions of what can be differentiated -------------------------------------------------------------


@dataclass(frozen=True)
class Use:
    """A row with its parameters and the points at which it is defined.

    Attributes:
        call: (op, *xs) -> y, for the row or a mutant of it.
        first: the position in the rule of the first x.
    """

    row: Op
    label: str
    call: Callable[..., Any]
    space: Space
    first: int = 0

    def function(self, op: Op | None = None) -> Callable[..., Any]:
        row = self.row if op is None else op
        return lambda *xs: self.call(row, *xs)


def _elementwise_uses(name: str) -> Iterator[Use]:
    op = TABLE[name]
    if name == "where":
        for taken in (True, False):
            yield Use(op, str(taken), lambda o, a, b, c=taken: o(c, a, b), _space(op.domain[1:]), 1)
    elif name in ("one_minus", "cross_entropy"):  # the last argument is 1 − a, and takes no gradient
        unit = ((0.0, 1.0),) * (op.arity - 1)
        yield Use(op, "", lambda o, *xs: o(*xs, 1 - xs[-1].detach() if is_node(xs[-1]) else 1 - xs[-1]), _space(unit))
    else:
        for k, formula in enumerate(table_cases.FORMULAS[name]):
            label = str(k) if k else ""
            space = _space(op.domain, min(formula.reach, 1e6), max(formula.least, 1e-6))
            yield Use(op, label, lambda o, *xs, p=formula.params: o(*xs, **p), space)


def _space(domain: tuple[tuple[float, float], ...], reach: float = 1e6, least: float = 1e-6) -> Space:
    return Space(((),) * len(domain), domain, reach, least)


def _structural_uses(name: str) -> Iterator[Use]:
    op = TABLE[name]
    for k, case in enumerate(table_cases.CASES[name]):
        space = Space(case.shapes, ((-math.inf, math.inf),) * len(case.shapes))
        if op.arity < 0:
            yield Use(op, str(k), lambda o, *xs, p=case.params: o(list(xs), **p), space)
        else:
            yield Use(op, str(k), lambda o, *xs, p=case.params: o(*xs, **p), space)


@cache
def uses(name: str) -> list[Use]:
    """All ways to call a row that the tests of the table have."""
    if not TABLE[name].differentiable:
        return []  # comparisons and searches of an index have no rule to mutate
    return list(_elementwise_uses(name) if TABLE[name].elementwise else _structural_uses(name))


# --- the corpus -------------------------------------------------------------------------------------------------------


def mutants(name: str) -> Iterator[Mutant]:
    """All mutants of a row, also those that are equivalent to it."""
    for use in uses(name):
        yield from _of_the_rule(use)
        yield from _of_the_pass(use)
        yield from _of_broadcasting(use)


def _of_the_rule(use: Use) -> Iterator[Mutant]:
    op, right = use.row, use.function()
    mutate = mutated_partials if op.elementwise else mutated_vjp
    changes = dict(ENTRY)
    if not op.elementwise:
        changes["transposed"] = _reordered
    for k in range(len(use.space.shapes)):
        label = f"{use.label}/{k}"
        position = k + use.first
        for kind, change in changes.items():
            if kind == "transposed" and not use.space.shapes[k]:
                continue
            yield Mutant(op.name, kind, label, use.function(mutate(op, change, position)), right, use.space)
        wrong = use.function(mutate(op, lambda xp, p, x: _detached(p), position))
        yield Mutant(
            op.name,
            SECOND,
            label,
            lambda *xs, wrong=wrong: ops.square(wrong(*xs)),
            lambda *xs: ops.square(right(*xs)),
            use.space,
            order=2,
        )
        if op.elementwise and len(use.space.shapes) > 1 and op.name not in ("maximum", "minimum"):

            def at_ties(xp: Any, y: Any, *xs: Any, k: int = position, **params: Any) -> tuple[Any, ...]:
                assert op.partials is not None
                found = [force(p) for p in op.partials(xp, y, *xs, **params)]
                found[k] = xp.where(xs[use.first] == xs[use.first + 1], found[k] + 1.0, found[k])
                return tuple(found)

            wrong = use.function(dataclasses.replace(op, partials=at_ties))
            yield Mutant(op.name, "wrong at ties", label, wrong, right, use.space)
    if op.name in ("maximum", "minimum", "max", "min"):
        wrong = use.function(_all_at_ties(op) if op.elementwise else _unshared(op))
        yield Mutant(op.name, "wrong at ties", use.label, wrong, right, use.space)


def _weighted(f: Callable[..., Any]) -> Callable[..., Any]:
    """Elements that count differently, as in a check of the automatic gradient."""

    def weighted(*xs: Any) -> Any:
        y = f(*xs)
        return y * np.cos(np.arange(math.prod(y.shape))).reshape(y.shape) if y.shape else y

    return weighted


def _of_the_pass(use: Use) -> Iterator[Mutant]:
    """Rows whose rules are right, in backward passes that are wrong."""
    name, right, space = use.row.name, _weighted(use.function()), use.space

    def mutant(kind: str, f: Callable[..., Any], gradient: Callable[..., Any], space: Space = space) -> Mutant:
        return Mutant(name, kind, use.label, f, f, space, gradient)

    def diamond(*xs: Any) -> Any:
        u = right(*xs)
        return ops.square(u) + u

    def doubled(*xs: Any) -> Any:
        return 2.0 * right(*xs)

    yield mutant("wrong topological order", diamond, depth_first(diamond))
    yield mutant("double-counted second backward", doubled, second_pass(doubled))
    total = lambda *xs: ops.sum(right(*xs))  # noqa: E731
    yield mutant("aliased", lambda *xs: total(*xs) + ops.sum(xs[0]), aliased(total))
    if use.row.elementwise and len(space.shapes) == 2:
        both = (max(low for low, _ in space.intervals), min(high for _, high in space.intervals))
        one = Space(((),), (both,), space.reach, space.least)
        zero = mutated_partials(use.row, lambda xp, p, x: 0, use.first + 1)
        f = use.function(zero)
        yield Mutant(
            name, "second use of a shared input", use.label, lambda x: f(x, x), lambda x: use.function()(x, x), one
        )
    else:
        yield mutant(
            "second use of a shared input", lambda *xs: total(*xs) * ops.sum(xs[0]), detached_second_use(total)
        )
    if use.row.elementwise:
        square = Space(((2, 2),) * len(space.shapes), space.intervals, space.reach, space.least)

        def turned(*xs: Any) -> tuple[Any, ...]:
            return tuple(ops.permute_dims(g) for g in automatic(right)(*xs))

        yield mutant("transposed", right, turned, square)


def _of_broadcasting(use: Use) -> Iterator[Mutant]:
    """The row on a first argument that was stretched from size 1 along its last axis."""
    space, right = use.space, use.function()
    shape = space.shapes[0] if not use.row.elementwise else (2,)
    if not shape or shape[-1] == 1:
        return
    small = (*shape[:-1], 1)
    shapes = (small, *space.shapes[1:]) if not use.row.elementwise else (small, *((2,) for _ in space.shapes[1:]))
    narrow = Space(shapes, space.intervals, space.reach, space.least)
    # Of equal elements a softmax or a deviation would be constant.
    scale = np.linspace(1.0, 0.5, math.prod(shape)).reshape(shape)
    for label, stretch in (("mean", AVERAGED), ("first", FIRST_ONLY)):
        yield Mutant(
            use.row.name,
            "missing un-broadcast",
            f"{use.label}/{label}",
            lambda x, *xs, stretch=stretch: right(stretch(x, shape=shape) * scale, *xs),
            lambda x, *xs: right(STRETCH(x, shape=shape) * scale, *xs),
            narrow,
        )


# --- what is no mutant after all --------------------------------------------------------------------------------------

NO_RIGHT_ANSWER = {
    ("sign", "wrong at 0"): "sign jumps at 0: no derivative there is right, so that none is wrong",
    ("sign", "NaN at 0"): "sign jumps at 0: no derivative there is right, so that none is wrong",
}
"""Mutants that differ from the row only where mathematics has no answer."""


def _gradients(f: Callable[..., Any], order: int, point: list[Any]) -> list[Any]:
    leaves = [Tensor(np.asarray(x, dtype=float)) for x in point]
    with np.errstate(all="ignore"):
        found = automatic(f)(*leaves)
        if order == 2:
            weighted = [(g, g.detach()) for g in found if g.requires_grad]
            second = dict(cotangents(weighted, leaves, create_graph=True)) if weighted else {}
            found = [second.get(x, x.detach() * 0.0) for x in leaves]
    return [np.asarray(g.data) for g in found]


@cache
def is_equivalent(mutant: Mutant, count: int = 60) -> bool:
    """Whether the mutant's gradient is that of the right function at very many points, so that nothing is wrong.

    Such are the double of a slope 0, a mistake for negative numbers where the domain has none, the transpose of a
    constant gradient.
    """
    if (mutant.row, mutant.kind) in NO_RIGHT_ANSWER:
        return True
    weighted = _weighted if mutant.gradient is None else lambda f: f
    for point in many_points(mutant.space, count):
        with np.errstate(all="ignore"):
            y = mutant.right(*(Tensor(np.asarray(x, dtype=float)) for x in point)).data
        if mutant.gradient is not None and not np.all(np.isfinite(y)):
            continue  # such as a sum over a padding of −∞
        right = _gradients(weighted(mutant.right), mutant.order, point)
        with np.errstate(all="ignore"):
            if mutant.gradient is None:
                wrong = _gradients(weighted(mutant.f), mutant.order, point)
            else:
                wrong = [np.asarray(getattr(g, "data", g)) for g in mutant.gradient(*point)]
        if not all(np.allclose(a, b, rtol=1e-9, atol=0, equal_nan=True) for a, b in zip(right, wrong, strict=True)):
            return False
    return True


# --- the search -------------------------------------------------------------------------------------------------------


class Found(Exception):  # noqa: N818  # it ends the search
    """An input on which the check says "wrong"."""


def find(mutant: Mutant, examples: int = 100, seed: int = 0) -> bool:
    """Whether the check says "wrong" for one of so many inputs that Hypothesis draws."""

    @seeded(seed)
    @settings(
        max_examples=examples,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(points(mutant.space))
    def search(point: list[Any]) -> None:
        if check_gradient(mutant.f, *point, gradient=mutant.gradient, order=mutant.order).status == "wrong":
            raise Found

    try:
        search()
    except Found:
        return True
    return False
