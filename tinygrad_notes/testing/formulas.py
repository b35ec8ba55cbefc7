"""A backward pass as its formulas: read from the source of a function, or given one by one in a mapping."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import CodeType
from typing import Any


@dataclass(frozen=True)
class Formula:
    """One line of a backward pass.

    Attributes:
        name: what it assigns.
        text: its source, such as `a2 - y`; empty where there is none.
        evaluate: from the values of names to its value.
    """

    name: str
    text: str
    evaluate: Callable[[Mapping[str, Any]], Any] = field(repr=False)


@dataclass(frozen=True)
class Backward:
    """A backward pass.

    Attributes:
        lines: its formulas in order, helpers among them; empty if its source is not a plain list of assignments.
        takes: the names that it asks for.
        apart: whether each formula asks for its own upstream gradients (a mapping of functions).
        whole: the function itself, for what cannot be taken apart.
        scope: the globals and closure that the formulas see.
    """

    lines: tuple[Formula, ...]
    takes: tuple[str, ...]
    apart: bool
    whole: Callable[..., Any] | None
    scope: Mapping[str, Any]


def formulas_of(backward: Callable[..., Any]) -> dict[str, str]:
    """The formulas of a backward pass by name, in order, as they are written in its source.

    Example:
        >>> def backward(a, y):
        ...     dZ = a - y
        ...     return locals()
        >>> formulas_of(backward)
        {'dZ': 'a - y'}
    """
    return {f.name: f.text for f in backward_of(backward).lines}


def backward_of(backward: Callable[..., Any] | Mapping[str, Callable[..., Any]]) -> Backward:
    """Take a backward pass apart.

    Raises:
        TypeError: it is neither a function nor a mapping of functions.
    """
    if isinstance(backward, Mapping):
        lines = []
        for name, function in backward.items():
            if not callable(function):
                raise TypeError(f"backward[{name!r}]: given {function!r}; expected a function of named values.")
            lines.append(Formula(name, _returned(function), _by_parameters(function)))
        takes = {p for function in backward.values() for p in inspect.signature(function).parameters}
        return Backward(tuple(lines), tuple(sorted(takes)), True, None, {})
    if not callable(backward):
        raise TypeError(f"backward: given {backward!r}; expected a function or a mapping of functions.")
    return Backward(
        _lines(backward), tuple(inspect.signature(backward).parameters), False, backward, scope_of(backward)
    )


def scope_of(function: Callable[..., Any]) -> dict[str, Any]:
    """What a function sees beside its arguments."""
    seen = dict(getattr(function, "__globals__", {}))
    closure = inspect.getclosurevars(function).nonlocals if inspect.isfunction(function) else {}
    return {**seen, **closure}


def _by_parameters(function: Callable[..., Any]) -> Callable[[Mapping[str, Any]], Any]:
    names = list(inspect.signature(function).parameters)
    return lambda known: function(**{n: known[n] for n in names})


def _tree(function: Callable[..., Any]) -> ast.Module | None:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):  # no source, or a lambda in the middle of a line
        return None


def _returned(function: Callable[..., Any]) -> str:
    """The expression that a one-line function or lambda returns, as source; empty where it cannot be read."""
    own = list(inspect.signature(function).parameters)
    try:
        source = textwrap.dedent(inspect.getsource(function)).strip()
    except (OSError, TypeError):
        return ""
    for text in (source, "{" + source.rstrip(",") + "}", f"f({source.rstrip(',')})", source.rstrip(",)")):
        try:
            tree = ast.parse(text)
        except SyntaxError:
            continue
        found = [
            ast.unparse(n.body)
            for n in ast.walk(tree)
            if isinstance(n, ast.Lambda) and [a.arg for a in n.args.args] == own
        ]
        found += [
            ast.unparse(n.body[-1].value)
            for n in ast.walk(tree)
            if isinstance(n, ast.FunctionDef)
            and isinstance(n.body[-1], ast.Return)
            and n.body[-1].value is not None
            and len(n.body) == 1
        ]
        return found[0] if len(found) == 1 else ""
    return ""


def _lines(function: Callable[..., Any]) -> tuple[Formula, ...]:
    tree = _tree(function)
    if tree is None or not isinstance(tree.body[0], ast.FunctionDef):
        return ()
    lines = []
    first = getattr(getattr(function, "__code__", None), "co_firstlineno", 1)
    filename = inspect.getsourcefile(function) or "<backward>"
    scope = scope_of(function)
    for position, statement in enumerate(tree.body[0].body):
        if isinstance(statement, ast.Return):
            break
        if position == 0 and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target: Any = statement.targets[0]
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            target = statement.target
        else:
            return ()
        if not isinstance(target, ast.Name) or statement.value is None:
            return ()
        expression = ast.increment_lineno(ast.Expression(statement.value), first - 1)
        code = compile(expression, filename, "eval")
        lines.append(Formula(target.id, ast.unparse(statement.value), _by_scope(code, scope)))
    return tuple(lines)


def _by_scope(code: CodeType, scope: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], Any]:
    return lambda known: eval(code, {**scope, **known})
