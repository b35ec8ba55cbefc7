"""Formulas as syntax trees: reading them, and putting one part in another's place."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Node = ast.expr


def parse(source: str) -> Node:
    """The tree of an expression."""
    return ast.parse(source.strip(), mode="eval").body


def text(tree: Node) -> str:
    """The source of an expression."""
    return ast.unparse(tree)


def replaced(tree: Node, old: Node | Iterable[Node], new: Node) -> Node:
    """The tree with a part, or each of several parts, replaced; the tree itself is left alone."""
    return exchanged(tree, {id(part): new for part in ([old] if isinstance(old, ast.expr) else old)})


def exchanged(tree: Node, new: Mapping[int, Node]) -> Node:
    """The tree with parts replaced, by the identity of the old ones."""

    def copy(node: ast.AST) -> ast.AST:
        if id(node) in new:
            return new[id(node)]
        return type(node)(**{k: copied(v) for k, v in ast.iter_fields(node)})

    def copied(field: Any) -> Any:
        if isinstance(field, list):
            return [copied(v) for v in field]
        return copy(field) if isinstance(field, ast.AST) else field

    made = copy(tree)
    assert isinstance(made, ast.expr)
    return made


def parts(tree: Node) -> Iterator[Node]:
    """Every part of a formula that is a value: no functions, no `.T` of a name's own, no keywords."""
    yield tree
    if isinstance(tree, ast.Call):
        if isinstance(tree.func, ast.Attribute) and not is_module(tree.func.value):
            yield from parts(tree.func.value)
        for argument in tree.args:
            yield from parts(argument)
    elif isinstance(tree, (ast.Attribute, ast.Subscript)):
        yield from parts(tree.value)
    elif isinstance(tree, ast.BinOp):
        yield from parts(tree.left)
        yield from parts(tree.right)
    elif isinstance(tree, ast.UnaryOp):
        yield from parts(tree.operand)
    elif isinstance(tree, ast.Compare) and len(tree.comparators) == 1:
        yield from parts(tree.left)
        yield from parts(tree.comparators[0])


def is_module(tree: Node) -> bool:
    """Whether a name is that of an array library rather than a value."""
    return isinstance(tree, ast.Name) and tree.id in {"np", "numpy", "jnp", "torch", "xp", "math"}


def binary(left: Node, op: ast.operator, right: Node) -> Node:
    """An operation of two operands."""
    return ast.BinOp(left=left, op=op, right=right)


def negative(tree: Node) -> Node:
    """Minus the expression."""
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        return tree.operand
    return ast.UnaryOp(op=ast.USub(), operand=tree)


def times(tree: Node, *factors: str) -> Node:
    """The expression times factors, written after it."""
    for factor in factors:
        tree = binary(tree, ast.Mult(), parse(factor))
    return tree


def transposed(tree: Node) -> Node:
    """The transpose; that of a product of matrices is the product of the transposes the other way round."""
    if is_transpose(tree):
        assert isinstance(tree, ast.Attribute)
        return tree.value
    if (found := is_product(tree)) is not None and found[0] == "@":
        return binary(transposed(found[2]), ast.MatMult(), transposed(found[1]))
    return ast.Attribute(value=tree, attr="T", ctx=ast.Load())


def is_transpose(tree: Node) -> bool:
    """Whether it is `….T`."""
    return isinstance(tree, ast.Attribute) and tree.attr == "T"


def untransposed(tree: Node) -> Node:
    """The expression without its `.T`."""
    return tree.value if isinstance(tree, ast.Attribute) and tree.attr == "T" else tree


def factors(tree: Node) -> list[Node]:
    """The factors of an elementwise product, left to right."""
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Mult):
        return [*factors(tree.left), *factors(tree.right)]
    return [tree]


def product(parts: list[Node]) -> Node:
    """The elementwise product of factors."""
    made = parts[0]
    for part in parts[1:]:
        made = binary(made, ast.Mult(), part)
    return made


def is_product(tree: Node) -> tuple[str, Node, Node] | None:
    """`@` or `*` with both operands, however the product is written; `None` if it is none."""
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, (ast.MatMult, ast.Mult)):
        return ("@" if isinstance(tree.op, ast.MatMult) else "*"), tree.left, tree.right
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Attribute):
        return None
    operands = tree.args if is_module(tree.func.value) else [tree.func.value, *tree.args]
    written = {"dot": "@", "matmul": "@", "multiply": "*"}.get(tree.func.attr)
    return (written, operands[0], operands[1]) if written and len(operands) == 2 else None


def is_reduction(tree: Node) -> tuple[str, Node, list[ast.keyword]] | None:
    """`sum` or `mean`, what it reduces and its keywords; `None` if it is none."""
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Attribute):
        return None
    if tree.func.attr not in ("sum", "mean"):
        return None
    operands = tree.args if is_module(tree.func.value) else [tree.func.value, *tree.args]
    if not operands or len(operands) > 2:
        return None
    keywords = list(tree.keywords)
    if len(operands) == 2:
        keywords.append(ast.keyword(arg="axis", value=operands[1]))
    return tree.func.attr, operands[0], keywords


def reduction(name: str, of: Node, axis: int | None, keepdims: bool) -> Node:
    """`of.sum(axis=…, keepdims=True)`."""
    keywords = [] if axis is None else [ast.keyword(arg="axis", value=ast.Constant(axis))]
    if keepdims:
        keywords.append(ast.keyword(arg="keepdims", value=ast.Constant(True)))
    return ast.Call(func=ast.Attribute(value=of, attr=name, ctx=ast.Load()), args=[], keywords=keywords)
