"""Every single correction of a formula: each undoes one mistake that learners make."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .operands import factors_missing, operands
from .setting import Edit, Setting
from .shapes import products, sums, transposes
from .slopes import slopes_elsewhere, slopes_extra, slopes_missing, slopes_of_softmax
from .terms import dropped, numbers, signs

OF_A_VALUE = (slopes_missing, factors_missing, sums, transposes)
OF_A_FORMULA = (signs, dropped, slopes_extra, slopes_elsewhere, slopes_of_softmax, operands, products, numbers)


def edits(tree: ast.expr, setting: Setting) -> Iterator[Edit]:
    """Every single correction, in no order."""
    for maker in (*OF_A_VALUE, *(OF_A_FORMULA if setting.own else ())):
        yield from maker(tree, setting)
