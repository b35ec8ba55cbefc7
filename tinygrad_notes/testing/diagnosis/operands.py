"""Corrections of operands: one name for another, and factors that are missing."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from . import trees
from .setting import Edit, Setting, is_constant, places
from .trees import binary, parts, replaced, text


def operands(tree: ast.expr, setting: Setting) -> Iterator[Edit]:
    """One name where another belongs; a where 1 − a does."""
    names: dict[str, list[ast.expr]] = {}
    for part in parts(tree):
        one = ast.Constant(1)
        if isinstance(part, ast.Name) and part.id in setting.operands:
            words = f"it has {part.id} where 1 - {part.id} belongs"
            yield Edit(1.55, "operand", words, replaced(tree, part, binary(one, ast.Sub(), part)))
        if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Sub) and text(part.left) == "1":
            words = f"it has {text(part)} where {text(part.right)} belongs"
            yield Edit(1.55, "operand", words, replaced(tree, part, part.right))
        if isinstance(part, ast.Name) and part.id in setting.trials.environments[0]:
            names.setdefault(part.id, []).append(part)
    of = setting.name.removeprefix("d")
    for old, found in names.items():
        groups = [found]
        groups += [[p] for p in found] if len(found) > 1 else []
        for new in setting.operands:
            if new == old:
                continue
            pair = any({s.a, s.z} == {old, new} for s in setting.slopes)
            at = pair and (_in_slope(tree, old) or (any(s.z == of for s in setting.slopes) and of in (old, new)))
            kind = "evaluated at" if at else "operand"
            words = f"it has {old} where {new} belongs"
            if at:
                words = f"the slope is evaluated at {old} instead of {new}"
            kin = setting.dimensions(new) == setting.dimensions(old)
            for group in groups:
                price = 1.1 if at else 1.5 + 0.1 * (not kin) + 0.1 * (old[:1] != new[:1])
                price += 0.05 * (group is not groups[0])
                yield Edit(price, kind, words, replaced(tree, group, ast.Name(id=new, ctx=ast.Load())))


def _in_slope(tree: ast.expr, name: str) -> bool:
    """Whether a name stands where slopes have it: in 1 − a, a power, a comparison or a function's argument."""
    for part in parts(tree):
        inner: list[ast.expr] = []
        if isinstance(part, ast.BinOp) and (isinstance(part.op, ast.Pow) or is_constant(part.left)):
            inner = [part.left, part.right]
        elif isinstance(part, ast.Compare):
            inner = [part.left, *part.comparators]
        elif isinstance(part, ast.Call) and trees.is_reduction(part) is None and trees.is_product(part) is None:
            inner = list(part.args)
        if any(isinstance(n, ast.Name) and n.id == name for i in inner for n in ast.walk(i)):
            return True
    return False


def factors_missing(tree: ast.expr, setting: Setting) -> Iterator[Edit]:
    """A number, a size or a name that should multiply or divide the whole or a part."""
    for i, place in enumerate(places(tree)):
        if i:
            two = ast.Constant(2)
            for words, whole in (
                (f"{text(place)} in it lacks the factor 2", binary(two, ast.Mult(), place)),
                (f"{text(place)} in it lacks the factor 1/2", binary(place, ast.Div(), two)),
            ):
                yield Edit(1.35, "factor", words, replaced(tree, place, whole))
            for size in setting.trials.sizes:
                words = f"{text(place)} in it lacks the factor 1/{size}"
                new_place = binary(place, ast.Div(), trees.parse(size))
                yield Edit(1.4, "factor", words, replaced(tree, place, new_place))
        for name in setting.operands:
            new = ast.Name(id=name, ctx=ast.Load())
            made = [(f"it lacks the factor {name}", binary(place, ast.Mult(), new))]
            made.append((f"it lacks the division by {name}", binary(place, ast.Div(), new)))
            for words, whole in made:
                yield Edit(1.7 + 0.1 * (i > 0), "factor", words, replaced(tree, place, whole))
