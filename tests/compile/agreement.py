"""What it means that a compiled function gives what the eager one gives.

A program may compute in another order than the engine, so results may differ by roundings, and a rounding of an
intermediate is passed on by its slope. That is what adjoints say: an element y of the result may differ by

    ULPS · Σ |∂y/∂v| · ulp(v)

over every number v of the eager graph: the inputs, the intermediates, those of the recorded backward pass, y itself,
and constants that are added, since a sum may be taken in another order.
NaN and infinities are to be the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_notes as tn
from tinygrad_notes.calculus import tree_build, tree_leaves
from tinygrad_notes.compile import compile
from tinygrad_notes.graph import cotangents, is_node

ULPS = 4
BACKENDS = ("llvm", "numpy", "python", "auto")


def structure(tree: Any) -> Any:
    """The types of a tree, with the shape and dtype of every leaf; numbers are numbers."""
    if isinstance(tree, dict):
        return type(tree), {key: structure(item) for key, item in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree), [structure(item) for item in tree]
    if isinstance(tree, np.ndarray) and tree.ndim:
        return tree.shape, tree.dtype
    return type(tree) if tree is None or isinstance(tree, str) else bool if isinstance(tree, (bool, np.bool)) else float


class Reference:
    """The eager results of f on numbers, arrays and trees of them, and how far others may be from them."""

    def __init__(self, f: Callable[..., Any], *args: Any) -> None:
        self.f, self.args = f, args
        with np.errstate(all="ignore"):
            self.value = _plain(f(*args))
        self._nodes: list[Any] | None = None

    @property
    def finite(self) -> bool:
        """Whether every number of the result is."""
        return all(np.all(np.isfinite(leaf)) for leaf in tree_leaves(self.value))

    def check(self, found: Any, what: str = "", slack: float = 0.0) -> None:
        """Raise AssertionError unless `found` is the same, up to roundings (and `slack`)."""
        assert structure(found) == structure(self.value), f"{what}: {structure(found)}, not {structure(self.value)}"
        for k, (given, wanted) in enumerate(zip(tree_leaves(found), tree_leaves(self.value), strict=True)):
            if isinstance(wanted, str):
                assert given == wanted
                continue
            y, expected = np.asarray(given), np.asarray(wanted)
            for place in np.argwhere(~((y == expected) | (np.isnan(y) & np.isnan(expected)))):
                index = tuple(int(i) for i in place)
                bound = self.bound(k, index, expected[index]) + slack
                if not abs(float(y[index]) - float(expected[index])) <= bound:  # NaN too
                    raise AssertionError(
                        f"{what}: result {k} at {index}: {y[index]!r}, not {expected[index]!r}; "
                        f"allowed is {bound:.2g}.\narguments: {self.args!r}"
                    )

    def bound(self, leaf: int, index: tuple[int, ...], expected: Any) -> float:
        """How far an element of a leaf of the result may be off."""
        if self._nodes is None:
            entered = [tree_build(a, iter([_enter(x) for x in tree_leaves(a)])) for a in self.args]
            with np.errstate(all="ignore"):
                self._nodes = tree_leaves(self.f(*entered))
        y = self._nodes[leaf]
        if not is_node(y) or not y.requires_grad:  # a number that no argument changes
            return ULPS * float(np.spacing(np.abs(expected)))
        seed: Any = 1.0
        if isinstance(y, tn.Tensor):
            seed = np.zeros(y.shape, y.dtype)
            seed[index] = 1.0
        total = 0.0
        with np.errstate(all="ignore"):
            for node, g in cotangents([(y, seed)]):
                numbers = [node.data]
                if node.op is not None and node.op.name in ("add", "subtract"):
                    numbers += [p for p in node.parents if not (is_node(p) and p.requires_grad)]
                for v in numbers:
                    size = np.abs(np.asarray(v.data if is_node(v) else v, dtype=np.asarray(node.data).dtype))
                    terms = np.abs(np.asarray(g, float)) * np.spacing(size).astype(float)
                    total += float(np.sum(terms, where=np.isfinite(terms)))
        return ULPS * total


def _enter(x: Any) -> Any:
    if isinstance(x, np.ndarray) and x.dtype.kind == "f":
        return tn.Tensor(x)
    return tn.Value(x) if type(x) in (int, float) else x


def _plain(tree: Any) -> Any:
    leaves = [x.data if is_node(x) else x for x in tree_leaves(tree)]
    return tree_build(tree, iter(leaves))


def compiled(f: Callable[..., Any], backend: str, *args: Any, threads: int = 1) -> Any:
    """f, compiled for these arguments, or `None` where this backend says that it cannot run such a program.

    Only "llvm" and "python" may say so.
    """
    program = compile(f, backend=backend, threads=threads)
    try:
        program(*args)
    except ValueError as error:
        if backend in ("llvm", "python") and f"backend={backend!r} cannot run this program (" in str(error):
            return None
        raise
    return program


def agree(f: Callable[..., Any], *args: Any, backends: tuple[str, ...] = BACKENDS) -> dict[str, Any]:
    """Check that f compiled gives what f gives, twice; the compiled functions of the backends that run it."""
    reference = Reference(f, *args)
    found = {}
    for backend in backends:
        program = compiled(f, backend, *args)
        if program is None:
            continue
        found[backend] = program
        reference.check(program(*args), f"{backend}, first")
        reference.check(program(*args), f"{backend}, second")
    return found
