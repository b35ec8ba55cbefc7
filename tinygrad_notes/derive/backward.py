"""The chain rule on a recorded graph: for each named node the formula of its gradient, step by step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..graph import Node, is_node
from ..ops import Op, describe
from . import algebra
from .formula import Formula
from .letters import DeriveError, Letters, arguments, shown_parents
from .reading import Reading
from .sizes import Size
from .symbols import Count, Gradient, Local, Name

# Between two named nodes stand a few ops. A formula of more symbols is one that nobody reads.
_MOST_OPS, _MOST_SYMBOLS = 2000, 1000


@dataclass
class Step:
    """The derivation of one gradient.

    Attributes:
        node: the node whose gradient this is.
        name: its name.
        gradient: the symbol ∂L/∂node.
        chain: the chain rule, Σ ∂L/∂u ⊙ ∂u/∂node; `None` where it says no more than `local`.
        local: the same with the local derivatives put in.
        substituted: with upstream gradients put in as well; `None` where that leads to nothing shorter.
        simplified: what remains.
        probabilities: constants that sum to 1 along an axis, and the axis, where the formula relies on that.
    """

    node: Node
    name: str
    gradient: Any
    chain: Any
    local: Formula
    substituted: Formula | None
    simplified: Formula
    probabilities: dict[str, int] = field(default_factory=dict)


class Backward:
    """The steps from a loss back to its parameters.

    Args:
        letters: the names of the graph.
        wanted: the nodes whose gradients are asked for; every named node on the way to them has a step.
    """

    def __init__(self, letters: Letters, wanted: Sequence[Node]) -> None:
        self.letters, self.sheet = letters, Reading()
        self.root = letters.order[-1]
        self.leads = _leading_to(wanted, letters.order)
        self._read: dict[int, Formula] = {}
        self._sizes: dict[int, int] = {}
        self._found: dict[int, list[tuple[Node, Formula]]] = {}
        self._final: dict[Any, Any] = {}
        self._places = {name: i for i, name in enumerate(letters.things)}
        for node in letters.order:
            if node.op is not None and letters.name(node):
                self.sheet.define(self.symbol(node), self.sheet.clean(self._made(node)).expr)
        self._sum_to_one: dict[tuple[Any, int], str] = {}
        self._note_probabilities()
        self.steps = self._steps()

    # --- forward: what every node is in terms of named ones -----------------------------------------------------------

    def shape(self, x: Any) -> tuple[int, ...]:
        """The shape of a node or constant, its sizes with their letters."""
        shape: list[int] = []
        for axis, n in enumerate(getattr(x, "shape", ())):
            letter = self.letters.size(x, axis)
            shape.append(n if letter is None else Size(n, self.sheet.symbol(Count(letter), ())))
        return tuple(shape)

    def symbol(self, x: Any) -> Any:
        """The symbol of a named node or array."""
        name = self.letters.name(x)
        assert name is not None
        return self.sheet.symbol(Name(name, self._places[name]), self.shape(x))

    def gradient(self, node: Node) -> Any:
        """The symbol ∂L/∂node."""
        name = self.letters.name(node)
        assert name is not None
        return self.sheet.symbol(Gradient(name, self._places[name]), self.shape(node))

    def read(self, x: Any) -> Formula:
        """A node or constant as a formula: its symbol if it has a name, else what it was computed from."""
        found = self._read.get(id(x))
        if found is None:
            if self.letters.name(x):
                found = Formula(self.sheet, self.symbol(x), self.shape(x))
            elif (number := self.letters.number(x)) is not None:
                found = Formula(self.sheet, algebra.expression(number), self.shape(x))
            elif id(x) in self.letters.follows:
                thing, computed = self.letters.follows[id(x)]
                found = computed(self.read(thing))
            else:
                found = self.sheet.clean(self._made(x))
            self._read[id(x)] = found
        return found

    def _made(self, node: Node) -> Formula:
        """A node as its op on its arguments; iterative over unnamed ones, as graphs are deep."""
        todo = [node]
        while todo:
            last = todo[-1]
            missing = [
                p
                for p in shown_parents(last)
                if is_node(p) and p.op is not None and not self.letters.name(p) and id(p) not in self._read
            ]
            if missing:
                todo += missing
                continue
            todo.pop()
            size = 1 + sum(self._sizes.get(id(p), 1) for p in shown_parents(last))
            if size > _MOST_SYMBOLS:
                raise self._too_long(node, f"more than {_MOST_SYMBOLS} symbols")
            self._sizes[id(last)] = size if not self.letters.name(last) else 1
            made = self._apply(last)
            if last is not node:
                self._read[id(last)] = self.sheet.clean(made)
        return made

    def _apply(self, node: Node) -> Formula:
        assert node.op is not None
        args = arguments(node, self._read_argument, lambda a: 1 - a)
        found = self.sheet.apply(node.op, args, node.params)
        return Formula(self.sheet, found.expr, self.shape(node))

    def _read_argument(self, x: Any) -> Any:
        known = self.letters.name(x) or self.letters.number(x) is not None or id(x) in self.letters.follows
        return self.read(x) if known or (is_node(x) and x.op is not None) else None

    def _note_probabilities(self) -> None:
        """Constants that sum to 1 along an axis, as one-hot labels do."""
        for name, x in self.letters.things.items():
            if is_node(x) and (x.op is not None or x in self.leads):
                continue
            data = np.asarray(x.data if is_node(x) else x)
            if not data.size or not np.issubdtype(data.dtype, np.number) or data.min() < 0:
                continue
            for axis in range(data.ndim):
                if data.shape[axis] > 1 and np.allclose(data.sum(axis=axis), 1, rtol=1e-12):
                    self._sum_to_one[self.symbol(x), axis] = name

    # --- backward -----------------------------------------------------------------------------------------------------

    def _steps(self) -> list[Step]:
        """Intermediates from the loss back; after each one the leaves that get their last contribution from it."""
        inner = [n for n in reversed(self.letters.order) if n.op is not None and self.letters.name(n)]
        inner = [n for n in inner if n is self.root or n in self.leads]
        consumers: dict[int, set[int]] = {}
        parts = {}
        for u in inner:
            parts[id(u)] = self._contributions(u)
            for v, _ in parts[id(u)]:
                consumers.setdefault(id(v), set()).add(id(u))
        steps = []
        for u in inner:
            if u is not self.root:
                steps.append(self._step(u))
            for v, formula in parts[id(u)]:
                self._found.setdefault(id(v), []).append((u, formula))
            for v, _ in sorted(parts[id(u)], key=lambda part: self._places[self.letters.name(part[0]) or ""]):
                consumers[id(v)].discard(id(u))
                if v.op is None and not consumers[id(v)]:
                    steps.append(self._step(v))
        return steps

    def _contributions(self, u: Node) -> list[tuple[Node, Formula]]:
        """What u's gradient contributes to the gradient of each named node that it was computed from directly."""
        seed = Formula(self.sheet, algebra.expression(1) if u is self.root else self.gradient(u), self.shape(u))
        stretch = self._stretch(u)
        flight: dict[int, Formula] = {id(u): seed}
        found: dict[int, tuple[Node, Formula]] = {}
        for node in reversed(stretch):
            g = flight.pop(id(node), None)
            if g is None:
                continue
            for parent, c in zip(node.parents, self._pull(node, g), strict=True):
                if c is None:
                    continue
                if self.letters.name(parent):
                    before = found.get(id(parent))
                    found[id(parent)] = (parent, c if before is None else before[1] + c)
                else:
                    flight[id(parent)] = flight[id(parent)] + c if id(parent) in flight else c
        return list(found.values())

    def _stretch(self, u: Node) -> list[Node]:
        """u and the unnamed nodes between it and the named ones, each after its parents."""
        order: list[Node] = []
        seen: set[int] = set()
        stack: list[tuple[Node, bool]] = [(u, False)]
        while stack:
            node, done = stack.pop()
            if done:
                order.append(node)
            elif id(node) not in seen:
                seen.add(id(node))
                stack.append((node, True))
                stack += [
                    (p, False)
                    for p in shown_parents(node)
                    if is_node(p) and p.op is not None and p in self.leads and not self.letters.name(p)
                ]
        if len(order) > _MOST_OPS:
            raise self._too_long(u, f"{len(order)} ops")
        return order

    def _too_long(self, node: Node, what: str) -> DeriveError:
        return DeriveError(
            f"derive: the formula at {self.letters.name(node) or node.op} would have {what}; name the steps on the "
            'way, as in Z1 = (w1 @ x + b1).named("Z1"), or give names=.'
        )

    def _pull(self, node: Node, g: Formula) -> list[Formula | None]:
        """The rule of the node's op, read with formulas."""
        op: Op | None = node.op
        assert op is not None
        wanted = [is_node(p) and p in self.leads for p in node.parents]
        args = arguments(node, self._read_argument, lambda a: 1 - a)
        args = [self.sheet.formula(0) if a is None else a for a in args]
        try:
            found = op.vjp(self.sheet, g, self.read(node), args, wanted, node.params)
        except (AttributeError, TypeError) as error:
            raise DeriveError(
                f"derive: {op.name}: its rule cannot be read with symbols; it may use operators and xp only. ({error})"
            ) from error
        return [
            None if c is None else Formula(self.sheet, c.expr, self.shape(p)) if self.letters.name(p) else c
            for c, p in zip(found, node.parents, strict=True)
        ]

    def _step(self, v: Node) -> Step:
        """Chain rule, local derivatives, substitution, simplification."""
        name, shape = self.letters.name(v), self.shape(v)
        assert name is not None
        terms = [(u, self.sheet.clean(c)) for u, c in self._found[id(v)]]
        total = sum((c.expr for _, c in terms), algebra.expression(0))
        local = Formula(self.sheet, total, shape)
        if algebra.beyond_reals(total):
            raise DeriveError(
                f"derive: the gradient of {name} is no real number: an op on the way is out of its domain everywhere."
            )
        if self.cost(local) > _MOST_SYMBOLS:
            raise self._too_long(v, f"{self.cost(local)} symbols")
        plain, relies_on = self._simplest(local)
        put_in = {g: self._final[g] for g in self._upstream(total)}
        shorter, relies_on_more = (
            self._simplest(self.sheet.replace(local, put_in, self.settle)) if put_in else (plain, {})
        )
        better = bool(put_in) and self.cost(shorter) < self.cost(plain)
        chosen = shorter if better else plain
        substituted = self.sheet.replace(local, put_in, lambda e: e) if better else None
        symbol = self.gradient(v)
        self._final[symbol] = chosen.expr
        return Step(
            v,
            name,
            symbol,
            self._chain(v, terms),
            local,
            substituted,
            chosen,
            relies_on_more if better else relies_on,
        )

    def cost(self, x: Formula) -> int:
        """How many symbols a reader reads."""
        return algebra.cost(x.expr, self.sheet.weigh)

    def settle(self, expr: Any) -> Any:
        """An expression simplified, in terms of the named intermediates."""
        return algebra.named(
            algebra.simplest(algebra.named(expr, self.sheet.definitions), self.sheet.weigh), self.sheet.definitions
        )

    def _simplest(self, x: Formula) -> tuple[Formula, dict[str, int]]:
        """A formula simplified, and what its structures are given; and which sums of probabilities were taken for 1."""
        self.sheet.sums_to_one = self._sum_to_one
        self.sheet.used_sums.clear()
        try:
            inner = self.sheet.replace(x, {}, self.settle, everywhere=True)
            return Formula(self.sheet, self.settle(inner.expr), x.shape), dict(self.sheet.used_sums)
        finally:
            self.sheet.sums_to_one = {}

    def _upstream(self, expr: Any) -> list[Any]:
        """The gradients that an expression mentions, inside structures too."""
        return [g for g in self.sheet.within(expr) if g in self._final]

    def _chain(self, v: Node, terms: Iterable[tuple[Node, Formula]]) -> Any:
        """Σ ∂L/∂u ⊙ ∂u/∂v, where u depends on v element by element; `None` if no u does."""
        found, said = algebra.expression(0), False
        name = self.letters.name(v)
        for u, c in terms:
            g = self.gradient(u)
            if u is not self.root and c.expr.has(g):
                slope = c.expr.coeff(g)
                if algebra.sympy().expand(c.expr - slope * g) == 0 and g not in self.sheet.within(slope):
                    local = Local(self.letters.name(u) or "", name or "")
                    found, said = found + g * self.sheet.symbol(local, self.shape(v)), said or slope != 1
                    continue
            found = found + c.expr
        return found if said else None


def _leading_to(wanted: Sequence[Node], order: Sequence[Node]) -> set[Node]:
    """The nodes that the wanted ones contribute to, and these."""
    leads = set(wanted)
    for node in order:
        if node.op is not None and node.requires_grad and any(is_node(p) and p in leads for p in node.parents):
            leads.add(node)
    return leads


def check_root(loss: Any) -> Node:
    """The loss, if a derivation can start from it.

    Raises:
        TypeError: it is no node.
        DeriveError: it is no scalar, or no gradient flows to anything from it.
    """
    if not is_node(loss):
        raise TypeError(f"derive: got {describe(loss)}; expected a Value or Tensor, the loss.")
    if int(np.prod(loss.shape, dtype=int)) != 1:
        raise DeriveError(f"derive: {describe(loss)} is no scalar; sum it first, with tn.sum or tn.mean.")
    if not loss.requires_grad or loss.op is None:
        raise DeriveError(
            f"derive: no gradient path leads from {describe(loss)} to a parameter; "
            "make one with requires_grad=True, and compute outside no_grad()."
        )
    return loss  # type: ignore[no-any-return]  # is_node says so
