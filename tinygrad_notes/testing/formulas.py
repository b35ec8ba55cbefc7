"""A backward pass as its formulas: read from the source of a function, or given one by one in a mapping."""

from __future__ import annotations

import ast
import inspect
import linecache
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..graph import is_node
from ..ops import describe
from .tracing import ForeignError

Names = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One statement of a backward pass.

    Attributes:
        binds: the names that it assigns or changes.
        texts: the formula of each name that no later step changes: `{"dZ2": "a2 - y"}`. It is an expression where one
            assignment gives the name, else all the statements that do; empty where there is no source.
        run: does the statement, on the names that it is given.
    """

    binds: tuple[str, ...]
    texts: Mapping[str, str]
    run: Callable[[Names], None] = field(repr=False)


@dataclass(frozen=True)
class Backward:
    """A backward pass.

    Attributes:
        steps: its statements in order; empty if it cannot be taken apart (a `return` inside an `if`, no source).
        takes: the names that it asks for.
        returns: the names that it returns; `None` for all that it has.
        apart: whether each formula asks for its own upstream gradients (a mapping of functions).
        whole: the function itself, for what cannot be taken apart.
        scope: the globals, closure and defaults that the formulas see.
        optional: the parameters that have a default.
        rest: the parameter that takes all other names (`**names`), if there is one.
        in_place: whether a statement may change an array, as `dZ -= y` does.
    """

    steps: tuple[Step, ...]
    takes: tuple[str, ...]
    returns: frozenset[str] | None
    apart: bool
    whole: Callable[..., Any] | None
    scope: Mapping[str, Any]
    optional: frozenset[str] = frozenset()
    rest: str = ""
    in_place: bool = False

    @property
    def texts(self) -> dict[str, str]:
        """The formulas by name, in order."""
        return {name: text for step in self.steps for name, text in step.texts.items()}

    def arguments(self, names: Mapping[str, Any]) -> Names:
        """Of these names, what the function is called with."""
        own = {k: v for k, v in names.items() if k in self.takes or k in self.optional}
        return own | ({k: v for k, v in names.items() if k not in own} if self.rest else {})

    def values(self, names: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[tuple[str, Any, Names]]:
        """Run it step by step.

        Args:
            names: the values of the names of the forward pass; arrays are copied, so that a step may change its own.
            right: once a formula is done, later ones see this value of its name instead, if there is one.

        Yields:
            A name, its value (an exception if its formula fails) and all names as they stand then.
        """
        own = {k: np.array(v) if isinstance(v, np.ndarray) else v for k, v in names.items()}
        taken = own if self.apart else self.arguments(own)
        known = {**self.scope, **taken}
        if self.rest:
            known[self.rest] = {k: v for k, v in taken.items() if k not in self.takes}
        for step in self.steps:
            try:
                step.run(known)
            except (ForeignError, NameError):
                raise
            except Exception as error:
                if not step.binds:  # an assertion
                    raise
                known |= dict.fromkeys(step.binds, error)
            for name in step.texts:
                yield name, known.get(name), known
                if name in right:
                    known[name] = right[name]


class NoArrayError(TypeError):
    """A formula gives something else than a number or an array."""


def as_value(value: Any) -> Any:
    """What a formula gives: a number, array or node; a list as an array; an exception if it is anything else.

    Raises:
        ForeignError: it is a list of nodes.
    """
    if isinstance(value, (int, float, np.ndarray, np.generic, Exception)) or is_node(value):
        return value
    try:
        return np.array(value, dtype=float) if value is not None else NoArrayError("None")
    except ForeignError:
        raise
    except (TypeError, ValueError):
        return NoArrayError(describe(value))


def formulas_of(backward: Callable[..., Any] | Mapping[str, Callable[..., Any]]) -> dict[str, str]:
    """The formulas of a backward pass by name, in order, as they are written in its source.

    Example:
        >>> def backward(a, y):
        ...     dZ = a - y
        ...     return locals()
        >>> formulas_of(backward)
        {'dZ': 'a - y'}
    """
    return backward_of(backward).texts


def backward_of(backward: Callable[..., Any] | Mapping[str, Callable[..., Any]]) -> Backward:
    """Take a backward pass apart.

    Raises:
        TypeError: it is neither a function nor a mapping of functions, or takes `*arguments` without names.
    """
    if isinstance(backward, Mapping):
        if not backward:
            raise TypeError('backward: given no formulas; expected some, such as {"dw": lambda dZ, x: dZ @ x.T}.')
        steps, takes = [], set()
        for name, function in backward.items():
            if not callable(function):
                raise TypeError(f"backward[{name!r}]: given {function!r}; expected a function of named values.")
            steps.append(Step((name,), {name: _returned(function)}, _by_parameters(name, function)))
            needed, _, rest = _parameters(function, f"backward[{name!r}]")
            if rest:
                raise TypeError(f"backward[{name!r}]: given the parameter **{rest}; expected the names that it uses.")
            takes |= set(needed)
        return Backward(tuple(steps), tuple(sorted(takes)), None, True, None, {})
    if not callable(backward):
        raise TypeError(f"backward: given {backward!r}; expected a function or a mapping of functions.")
    needed, defaults, rest = _parameters(backward, "backward")
    steps_of, returns = _statements(backward)
    scope = {**scope_of(backward), **defaults}
    in_place = _changes_arrays(backward)
    return Backward(steps_of, tuple(needed), returns, False, backward, scope, frozenset(defaults), rest, in_place)


def _parameters(function: Callable[..., Any], what: str) -> tuple[list[str], Names, str]:
    """The names that a function needs, the values of those it does not, and the name of its `**names`."""
    needed, defaults, rest = [], {}, ""
    for p in inspect.signature(function).parameters.values():
        if p.kind in (p.VAR_POSITIONAL, p.POSITIONAL_ONLY):
            raise TypeError(f"{what}: its parameter {p} has no name to be given by; expected names of forward.")
        if p.kind is p.VAR_KEYWORD:
            rest = p.name
        elif p.default is p.empty:
            needed.append(p.name)
        else:
            defaults[p.name] = p.default
    return needed, defaults, rest


def scope_of(function: Callable[..., Any]) -> dict[str, Any]:
    """What a function sees beside its arguments."""
    seen = dict(getattr(function, "__globals__", {}))
    closure = inspect.getclosurevars(function).nonlocals if inspect.isfunction(function) else {}
    return {**seen, **closure}


def _by_parameters(name: str, function: Callable[..., Any]) -> Callable[[Names], None]:
    names = list(inspect.signature(function).parameters)

    def run(known: Names) -> None:
        known[name] = function(**{n: known[n] for n in names if n in known})

    return run


def _tree(function: Callable[..., Any]) -> ast.Module | None:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):  # no source, or a lambda in the middle of a line
        return None


def _returned(function: Callable[..., Any]) -> str:
    """The expression that a lambda or a function of one line returns, as source; empty where it cannot be read."""
    code = getattr(function, "__code__", None)
    if code is None:
        return ""
    try:
        tree = ast.parse("".join(linecache.getlines(code.co_filename)))
    except (SyntaxError, ValueError):  # no Python source, such as a notebook's magic
        return ""
    places = set(code.co_positions())
    for node in ast.walk(tree):
        body: Any = None
        if isinstance(node, ast.Lambda):
            body = node.body
        elif isinstance(node, ast.FunctionDef) and len(node.body) == 1 and isinstance(node.body[0], ast.Return):
            body = node.body[0].value
        if body is not None and (body.lineno, body.end_lineno, body.col_offset, body.end_col_offset) in places:
            return ast.unparse(body)
    return ""


# --- a function, statement by statement -------------------------------------------------------------------------------

_OWN_FRAME = {"locals", "vars", "eval", "exec"}
"""Functions that look at the frame they are called in; only `return locals()` is understood."""
_ELSEWHERE = (ast.Return, ast.Yield, ast.YieldFrom, ast.Await, ast.Global, ast.Nonlocal)


def _statements(function: Callable[..., Any]) -> tuple[tuple[Step, ...], frozenset[str] | None]:
    """The steps of a function and the names it returns; no steps if it cannot be taken apart."""
    tree = _tree(function)
    cannot: tuple[tuple[Step, ...], None] = ((), None)
    if tree is None or not isinstance(tree.body[0], ast.FunctionDef) or not inspect.isfunction(function):
        return cannot
    body = list(tree.body[0].body)
    if hasattr(function, "__wrapped__") or not isinstance(body[-1], ast.Return) or body[-1].value is None:
        return cannot
    *body, last = body
    assert isinstance(last, ast.Return)
    assert last.value is not None
    if any(isinstance(n, _ELSEWHERE) or _named(n) in _OWN_FRAME for s in body for n in _within(s)):
        return cannot
    returned = _entries(last.value)
    if returned is None:
        return cannot
    body = [part for statement in body for part in _split(statement)]
    parameters = set(inspect.signature(function).parameters)
    bound: list[tuple[str, ...]] = []
    for statement in body:
        before = {name for names in bound for name in names}
        bound.append(tuple(dict.fromkeys(_bound(statement, before | parameters, parameters))))
    computed = {key: value for key, value in returned.items() if _named(value) != key}
    local = {name for names in bound for name in names}
    if computed.keys() & (local | parameters):
        return cannot
    texts = _texts(body, bound)
    first = function.__code__.co_firstlineno - 1
    filename = inspect.getsourcefile(function) or "<backward>"
    steps = [
        Step(names, {n: texts[n] for n in names if not any(n in later for later in bound[i + 1 :])}, _run(code))
        for i, (statement, names) in enumerate(zip(body, bound, strict=True))
        for code in [_compiled(ast.Module([statement], []), first, filename)]
    ]
    for key, value in computed.items():
        assign = ast.copy_location(ast.Assign([ast.Name(key, ast.Store())], value), value)
        run = _run(_compiled(ast.fix_missing_locations(ast.Module([assign], [])), first, filename))
        steps.append(Step((key,), {key: ast.unparse(value)}, run))
    return tuple(steps), (frozenset(returned) if returned else None)


def _changes_arrays(function: Callable[..., Any]) -> bool:
    """Whether a statement may change an array in place; unknown source may."""
    tree = _tree(function)
    return tree is None or any(
        isinstance(n, ast.AugAssign)
        or (isinstance(n, ast.Subscript) and isinstance(n.ctx, ast.Store))
        or (isinstance(n, ast.Expr) and isinstance(n.value, ast.Call))
        for n in ast.walk(tree)
    )


def _compiled(tree: ast.Module, first: int, filename: str) -> Any:
    return compile(ast.increment_lineno(tree, first), filename, "exec", dont_inherit=True)


def _run(code: Any) -> Callable[[Names], None]:
    return lambda known: exec(code, known)


def _named(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _within(node: ast.AST) -> Iterator[ast.AST]:
    """A node and its parts, without the insides of functions that are defined in it."""
    yield node
    if not isinstance(node, (ast.FunctionDef, ast.Lambda)):
        for child in ast.iter_child_nodes(node):
            yield from _within(child)


def _entries(value: ast.expr) -> dict[str, ast.expr] | None:
    """What `return {"dw": …}` or `return dict(dw=…)` returns; nothing for `locals()`, `None` for anything else."""
    if isinstance(value, ast.Call) and _named(value.func) == "locals" and not value.args:
        return {}
    if isinstance(value, ast.Call) and _named(value.func) == "dict" and not value.args and value.keywords:
        entries = [(k.arg, k.value) for k in value.keywords]
    elif isinstance(value, ast.Dict) and value.keys:
        entries = [(getattr(k, "value", None), v) for k, v in zip(value.keys, value.values, strict=True)]
    else:
        return None
    return dict(entries) if all(isinstance(k, str) for k, _ in entries) else None  # type: ignore[arg-type]


def _split(statement: ast.stmt) -> list[ast.stmt]:
    """`dw, db = p, q` as two statements, unless one needs what the other changes."""
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return [statement]
    target, value = statement.targets[0], statement.value
    if not isinstance(target, ast.Tuple) or not isinstance(value, ast.Tuple) or len(target.elts) != len(value.elts):
        return [statement]
    names = {_named(t) for t in target.elts}
    if "" in names or names & {_named(n) for n in ast.walk(value)}:
        return [statement]
    return [ast.copy_location(ast.Assign([t], v), statement) for t, v in zip(target.elts, value.elts, strict=True)]


def _bound(statement: ast.stmt, known: set[str], parameters: set[str]) -> Iterator[str]:
    """The names that a statement assigns, or whose arrays it may change."""
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        yield statement.name
        return
    for node in _within(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            yield from (n.id for n in ast.walk(node.value) if isinstance(n, ast.Name) and n.id in known)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((a.asname or a.name).split(".")[0] for a in node.names)
        elif isinstance(node, ast.Expr):  # such as np.add.at(dw, index, g)
            yield from (_named(n) for n in ast.walk(node) if _named(n) in known - parameters)


def _texts(body: Sequence[ast.stmt], bound: Sequence[tuple[str, ...]]) -> dict[str, str]:
    """The formula of each name: one expression if assignments give it, else the statements that do."""
    texts: dict[str, str] = {}
    statements: dict[str, list[str]] = {}
    expressions: dict[str, ast.expr] = {}  # those whose names still have the values that they had
    for statement, names in zip(body, bound, strict=True):
        name, value = _assigned(statement, expressions)
        for changed in names:
            expressions = {k: e for k, e in expressions.items() if k != changed and changed not in _uses(e)}
            # A plain assignment starts anew.
            earlier = [] if isinstance(statement, ast.Assign | ast.AnnAssign) and value else statements.get(changed, [])
            statements[changed] = [*earlier, ast.unparse(statement)]
            texts[changed] = "\n".join(statements[changed])
        if value is not None:
            expressions[name] = value
            texts[name] = ast.unparse(value)
    return texts


def _assigned(statement: ast.stmt, expressions: Mapping[str, ast.expr]) -> tuple[str, ast.expr | None]:
    """A name and the one expression that a statement gives it, `dw /= m` after `dw = …` included; else `None`."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        name, value = _named(statement.targets[0]), statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        name, value = _named(statement.target), statement.value
    elif isinstance(statement, ast.AugAssign):
        name, before = _named(statement.target), expressions.get(_named(statement.target))
        return name, ast.BinOp(before, statement.op, statement.value) if before is not None else None
    else:
        return "", None
    return (name, value) if name and name not in _uses(value) else ("", None)


def _uses(expression: ast.expr) -> set[str]:
    return {_named(n) for n in ast.walk(expression)} - {""}
