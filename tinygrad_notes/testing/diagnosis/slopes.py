"""Corrections of slopes: missing, too many, of another function, at another value."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Sequence

from . import trees
from .facts import SHAPES_OF_SLOPES
from .setting import Edit, Setting, places
from .trees import parts, replaced, text
from .trials import same


def slopes_missing(tree: ast.expr, setting: Setting) -> Iterator[Edit]:
    """A slope, or a factor of it, that is missing from the whole or a part."""
    for i, place in enumerate(places(tree)):
        for slope in setting.slopes:
            ours = slope.z == setting.name.removeprefix("d")
            price = 1.0 + 0.1 * (i > 0) + 0.1 * (not ours)
            words = f"it lacks the factor {slope.source}, the slope of {slope.function}"
            one = isinstance(place, ast.Constant) and place.value == 1
            new = trees.parse(slope.source) if one else trees.times(place, *slope.factors)
            yield Edit(price, "missing slope", words, replaced(tree, place, new))
            if len(slope.factors) > 1:
                for factor in slope.factors:
                    plain = factor.removeprefix("(").removesuffix(")")
                    words = f"it lacks the factor {plain}"
                    words += f": the slope of {slope.function} is {slope.source}" if ours else ""
                    new = replaced(tree, place, trees.times(place, factor))
                    yield Edit(price + 0.1, "missing slope" if ours else "factor", words, new)


def slopes_extra(tree: ast.expr, setting: Setting) -> Iterator[Edit]:
    """A slope that does not belong there."""
    values = [(s, setting.trials.value(s.source)) for s in setting.slopes]
    for whole in _outermost(tree):
        for chosen, left in _chosen(whole):
            if not left:
                continue
            gone = trees.product(chosen)
            value = setting.trials.value(text(gone))
            for slope, expected in values:
                if value is not None and expected is not None and same(value, expected):
                    words = f"it has the factor {text(gone)} too many, the slope of {slope.function}"
                    words += "; it is in the gradient that the formula starts from already" if _starts(left) else ""
                    yield Edit(0.95, "extra slope", words, replaced(tree, whole, trees.product(left)))
            if value is None or value.ndim == 0:
                continue
            for v, shape in itertools.product(setting.network.intermediates, tuple(SHAPES_OF_SLOPES.values())[:3]):
                elsewhere = setting.trials.value(shape.format(v=v))
                if elsewhere is not None and same(value, elsewhere):
                    words = f"it has the factor {text(gone)} too many, a slope that does not belong here"
                    yield Edit(0.98, "extra slope", words, replaced(tree, whole, trees.product(left)))


def slopes_elsewhere(tree: ast.expr, setting: Setting) -> Iterator[Edit]:
    """A slope at the wrong value, and another function's slope."""
    wholes = [*_outermost(tree)]
    singles = [p for p in parts(tree) if isinstance(p, (ast.BinOp, ast.Compare, ast.Call))]
    for slope in setting.slopes:
        for v, (function, shape) in itertools.product((slope.z, slope.a), SHAPES_OF_SLOPES.items()):
            wrong = setting.trials.value(shape.format(v=v))
            right = setting.trials.value(slope.source)
            if wrong is None or right is None or same(wrong, right):
                continue
            extra = 0.1 * (function == "a")  # where a factor is missing, that is the better name for it
            at = function == slope.function
            kind = "evaluated at" if at else "missing slope"
            words = f"the slope of {slope.function} is {slope.source}; the formula has {shape.format(v=v)}"
            words += f", evaluated at {v} instead of {slope.a if v == slope.z else slope.z}" if at else ""
            for whole in wholes:
                for chosen, left in _chosen(whole):
                    value = setting.trials.value(text(trees.product(chosen)))
                    if value is not None and same(value, wrong):
                        new = trees.times(trees.product(left), *slope.factors) if left else trees.parse(slope.source)
                        yield Edit(1.05 + extra, kind, words, replaced(tree, whole, new))
            for part in singles:
                value = setting.trials.value(text(part))
                if value is not None and same(value, wrong):
                    yield Edit(1.1 + extra, kind, words, replaced(tree, part, trees.parse(slope.source)))


def slopes_of_softmax(tree: ast.expr, setting: Setting) -> Iterator[Edit]:
    """The slope of a softmax taken for an elementwise factor."""
    for a, z, axis in setting.softmaxes:
        if setting.name != f"d{z}":
            continue
        known = [setting.trials.value(shape.format(v=a)) for shape in ("{v} * (1 - {v})", "{v}", "1 - {v}")]
        over = f"axis={axis}, keepdims=True" if setting.dimensions(a) > 1 else ""
        for whole in _outermost(tree):
            for chosen, left in _chosen(whole):
                value = setting.trials.value(text(trees.product(chosen)))
                if not left or value is None or not any(v is not None and same(value, v) for v in known):
                    continue
                g = text(trees.product(left))
                g = g if isinstance(trees.product(left), (ast.Name, ast.Call, ast.Attribute)) else f"({g})"
                new = trees.parse(f"{a} * ({g} - ({a} * {g}).sum({over}))")
                words = f"the slope of softmax is no elementwise factor {text(trees.product(chosen))}: it divides by a "
                words += f"sum, so every element of {a} depends on every one of {z}, and each adds a term"
                yield Edit(1.0, "missing term", words, replaced(tree, whole, new))


def _chosen(tree: ast.expr) -> Iterator[tuple[list[ast.expr], list[ast.expr]]]:
    """One or two factors of an elementwise product, and the factors that are left."""
    own = trees.factors(tree)
    for size in (1, 2):
        for chosen in itertools.combinations(range(len(own)), size):
            yield [own[i] for i in chosen], [f for i, f in enumerate(own) if i not in chosen]


def _outermost(tree: ast.expr) -> Iterator[ast.expr]:
    """Whole products: none is part of a longer one."""
    inner: set[int] = set()
    for part in parts(tree):
        if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Mult):
            if id(part) not in inner:
                yield part
            inner |= {id(part.left), id(part.right)}


def _starts(left: Sequence[ast.expr]) -> bool:
    """Whether the rest starts from an upstream gradient."""
    return any(isinstance(n, ast.Name) and n.id.startswith("d") for f in left for n in ast.walk(f))
