"""Corrections of shapes: sums over the batch, transposes and products of matrices."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator

from . import trees
from .setting import Edit, Setting, places
from .trees import binary, parts, replaced, text


def sums(tree: ast.expr, setting: Setting) -> Iterator[Edit]:
    """Sums over the batch: missing, a mean instead, over another axis, without keepdims."""
    dimensions = max((e.ndim for e in setting.trials.expected), default=0)
    axes = range(-1 if dimensions > 2 else 0, max(dimensions, 2))
    for i, place in enumerate(places(tree)):
        for axis, keepdims in itertools.product([*axes, None], (True, False)):
            if axis is None and keepdims:
                continue
            along = f"over axis {axis}" if axis is not None else "over all axes"
            if axis is not None and axis == setting.trials.batch_axis:
                along = f"over the batch, axis {axis}"
            words = f"it is not summed {along}: what is broadcast forward is added up backward"
            new = trees.reduction("sum", place, axis, keepdims)
            yield Edit(1.1 + 0.3 * (i > 0), "not summed", words, replaced(tree, place, new))
    for part in parts(tree) if setting.own else ():
        if (found := trees.is_reduction(part)) is None:
            continue
        name, of, keywords = found
        if name == "mean":
            new = ast.Call(func=ast.Attribute(value=of, attr="sum", ctx=ast.Load()), args=[], keywords=keywords)
            words = "it is averaged over the batch and should be summed"
            yield Edit(0.7, "averaged", words, replaced(tree, part, new))
        yield Edit(1.4, "shape", f"it should not be reduced by {name}", replaced(tree, part, of))
        old = {k.arg: k.value for k in keywords}
        was = text(old["axis"]) if "axis" in old else None
        for axis, keepdims in itertools.product([*axes, None], (True, False)):
            if axis is None and keepdims:
                continue
            if name == "mean" and str(axis) == str(was):
                words = f"it is averaged and should be summed; and its shape is wrong: {keepdims=} is needed"
                yield Edit(0.85, "averaged", words, replaced(tree, part, trees.reduction("sum", of, axis, keepdims)))
            if str(axis) == str(was):
                words = f"its shape is wrong: keepdims={keepdims} is needed"
                kind, price = "shape", 0.9
            else:
                kind, price = "not summed", 1.1
                words = f"it is reduced over {'all axes' if was is None else f'axis {was}'} instead of "
                words += "all axes" if axis is None else f"axis {axis}"
            yield Edit(price, kind, words, replaced(tree, part, trees.reduction(name, of, axis, keepdims)))


def transposes(tree: ast.expr, setting: Setting) -> Iterator[Edit]:
    """A transpose too many or too few."""
    for part in parts(tree):
        if part is tree:
            yield Edit(1.0, "transposed", "it is the transpose of the right one", trees.transposed(tree))
            if setting.own and isinstance(part, ast.BinOp) and isinstance(part.op, ast.MatMult):
                continue
        elif trees.is_transpose(part):
            words = f"{text(part)} should not be transposed"
            yield Edit(1.1, "transposed", words, replaced(tree, part, trees.untransposed(part)))
        elif isinstance(part, (ast.Name, ast.BinOp, ast.Subscript)):
            words = f"{text(part)} should be transposed"
            yield Edit(1.15, "transposed", words, replaced(tree, part, trees.transposed(part)))
    # The same slip in every term of a sum.
    for side in (0, 1):
        changed: dict[int, ast.expr] = {}
        which = []
        for part in parts(tree):
            if (found := trees.is_product(part)) is not None and found[0] == "@":
                operand = found[2] if side else found[1]
                which.append(text(operand))
                changed[id(operand)] = trees.transposed(operand)
        if len(which) > 1:
            words = f"{' and '.join(which)} are transposed wrongly"
            yield Edit(1.3, "transposed", words, trees.exchanged(tree, changed))


def products(tree: ast.expr, setting: Setting) -> Iterator[Edit]:
    """Products the wrong way round, and elementwise for matrix products or the reverse."""
    for part in parts(tree):
        if (found := trees.is_product(part)) is None:
            continue
        op, left, right = found
        forms = [left, right, *(trees.untransposed(s) for s in (left, right))]
        bare_left, bare_right = forms[2], forms[3]
        for a, b in itertools.product(
            (bare_left, trees.transposed(bare_left)), (bare_right, trees.transposed(bare_right))
        ):
            for swapped in (False, True):
                new = binary(b, ast.MatMult(), a) if swapped else binary(a, ast.MatMult(), b)
                changed = (text(a) != text(left)) + (text(b) != text(right))
                if op == "*":
                    price, kind = 1.3 + 0.05 * (changed + swapped), "elementwise product"
                    words = f"{text(part)} is an elementwise product where the matrix product {text(new)} belongs"
                elif swapped:
                    price, kind = 1.2 + 0.05 * changed, "swapped product"
                    words = f"the operands of the product {text(part)} are the wrong way round: it is {text(new)}"
                elif changed == 2:
                    price, kind = 1.25, "transposed"
                    words = f"both operands of {text(part)} are transposed wrongly: it is {text(new)}"
                else:
                    continue
                yield Edit(price, kind, words, replaced(tree, part, new))
        if op == "@":
            for a, b in ((left, right), (bare_left, bare_right)):
                new = binary(a, ast.Mult(), b)
                words = f"{text(part)} is a matrix product where the elementwise product {text(new)} belongs"
                yield Edit(1.4, "elementwise product", words, replaced(tree, part, new))
