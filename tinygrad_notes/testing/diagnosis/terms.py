"""Corrections of signs, terms, factors that are too many, and numbers."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from . import trees
from .setting import Edit, Setting, is_constant
from .trees import binary, parts, replaced, text


def signs(tree: ast.expr, _: Setting) -> Iterator[Edit]:
    """A sign, a comparison or a difference the wrong way round."""
    for part in parts(tree):
        if isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.USub):
            words = "its sign is wrong" if part is tree else f"the sign of {text(part.operand)} is wrong"
            yield Edit(0.8 if part is tree else 0.95, "sign", words, replaced(tree, part, part.operand))
        if isinstance(part, ast.Compare) and len(part.ops) == 1:
            turned: dict[type, ast.cmpop] = {ast.Lt: ast.Gt(), ast.LtE: ast.Gt(), ast.Gt: ast.Lt(), ast.GtE: ast.Lt()}
            if type(part.ops[0]) in turned:
                new = ast.Compare(left=part.left, ops=[turned[type(part.ops[0])]], comparators=part.comparators)
                words = f"the comparison {text(part)} is the wrong way round"
                yield Edit(1.1, "sign", words, replaced(tree, part, new))
        if isinstance(part, ast.BinOp) and isinstance(part.op, (ast.Add, ast.Sub)):
            subtracts = isinstance(part.op, ast.Sub)
            turned_op: ast.operator = ast.Add() if subtracts else ast.Sub()
            words = f"the sign of the term {text(part.right)} is wrong"
            yield Edit(1.1, "sign", words, replaced(tree, part, binary(part.left, turned_op, part.right)))
            if not subtracts and not is_constant(part.left):
                words = f"the sign of the term {text(part.left)} is wrong"
                yield Edit(1.15, "sign", words, replaced(tree, part, binary(part.right, ast.Sub(), part.left)))
            if subtracts and (part is tree or not is_constant(part.left)):
                words = f"its sign is wrong: the difference {text(part)} is the wrong way round"
                yield Edit(0.9, "sign", words, replaced(tree, part, binary(part.right, ast.Sub(), part.left)))
            elif subtracts:
                words = f"the difference {text(part)} is the wrong way round"
                yield Edit(1.2, "sign", words, replaced(tree, part, binary(part.right, ast.Sub(), part.left)))
            if isinstance(part.left, ast.UnaryOp) and isinstance(part.left.op, ast.USub):
                both = binary(part.left.operand, turned_op, part.right)
                yield Edit(0.9, "sign", "its sign is wrong", replaced(tree, part, both))


def dropped(tree: ast.expr, setting: Setting) -> Iterator[Edit]:
    """A term, factor, divisor or power too many; a product that should be a quotient."""
    for part in parts(tree):
        if not isinstance(part, ast.BinOp):
            continue
        if isinstance(part.op, (ast.Add, ast.Sub)):
            for kept, gone in ((part.left, part.right), (part.right, part.left)):
                minus = kept is part.right and isinstance(part.op, ast.Sub)
                words = f"it has the term {text(gone)} too many"
                yield Edit(1.4, "extra term", words, replaced(tree, part, trees.negative(kept) if minus else kept))
        elif isinstance(part.op, (ast.Mult, ast.MatMult)):
            for kept, gone in ((part.left, part.right), (part.right, part.left)):
                price = 0.85 if is_constant(gone) else 1.0 if isinstance(part.op, ast.Mult) else 1.6
                words = f"it has the factor {text(gone)} too many"
                yield Edit(price, "factor", words, replaced(tree, part, kept))
        elif isinstance(part.op, ast.Div):
            yield Edit(0.9, "factor", _divided_too_often(part.right, setting), replaced(tree, part, part.left))
            words = f"it divides by {text(part.right)} where it should multiply"
            yield Edit(1.5, "factor", words, replaced(tree, part, binary(part.left, ast.Mult(), part.right)))
        elif isinstance(part.op, ast.Pow):
            words = f"{text(part)} should not be a power"
            yield Edit(0.95, "factor", words, replaced(tree, part, part.left))
        if isinstance(part.op, ast.Mult) and not is_constant(part.left):
            words = f"it multiplies by {text(part.right)} where it should divide"
            yield Edit(1.5, "factor", words, replaced(tree, part, binary(part.left, ast.Div(), part.right)))


def _divided_too_often(by: ast.expr, setting: Setting) -> str:
    words = f"it is divided by {text(by)} and should not be"
    if text(by) in setting.trials.sizes or text(by).endswith(".size"):
        words += ": the mean of the loss is in the gradients that it starts from already"
    return words


def numbers(tree: ast.expr, setting: Setting) -> Iterator[Edit]:
    """A number near the one written; a square that is missing."""
    for part in parts(tree):
        if isinstance(part, ast.Constant) and isinstance(part.value, (int, float)) and not isinstance(part.value, bool):
            n = part.value
            for new in dict.fromkeys([n + 1, n - 1, -n, 2 * n, n / 2]):
                if new != n:
                    words = f"the number {n:g} in it should be {new:g}"
                    tree_of = trees.negative(ast.Constant(-new)) if new < 0 else ast.Constant(new)
                    yield Edit(1.6, "factor", words, replaced(tree, part, tree_of))
        if isinstance(part, ast.Name) and part.id in setting.operands:
            squared = binary(part, ast.Pow(), ast.Constant(2))
            slope = next((s for s in setting.slopes if s.a == part.id and s.function == "tanh"), None)
            if slope is not None:
                words = f"the slope of tanh is {slope.source}; it lacks the square"
                yield Edit(1.1, "missing slope", words, replaced(tree, part, squared))
            else:
                yield Edit(1.7, "factor", f"{part.id} should be squared", replaced(tree, part, squared))
