"""Mutants of the gradients written by hand: recorded, in floats, and of functions in floats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from corpus import ENTRY, Mutant
from right_gradients import Right
from right_gradients import by_hand as rights

from tinygrad_notes import ops
from tinygrad_notes.graph import is_node
from tinygrad_notes.ops.namespaces import floats

ARMS = ("recorded", "gradient in floats", "black box")


def _wrong(right: Right, change: Callable[[Any, Any, Any], Any], position: int) -> Callable[..., Any]:
    """The right gradient with one of its entries changed."""

    def gradient(*xs: Any) -> Any:
        assert right.gradient is not None
        given = right.gradient(*xs)
        found = list(given) if isinstance(given, tuple) else [given]
        xp = ops.nodes if is_node(xs[0]) else floats
        found[position] = change(xp, found[position], xs[position])
        return tuple(found)

    return gradient


def mutants_by_hand(arm: str) -> Iterator[Mutant]:
    """All mutants of one arm, also those that are equivalent to the right gradient."""
    for right, recorded in zip((r for r in rights() if r.arm == arm), _recorded(), strict=True):
        for k in range(len(right.space.shapes)):
            for kind, change in ENTRY.items():
                yield Mutant(right.name, kind, f"{arm}/{k}", right.f, recorded, right.space, _wrong(right, change, k))


def _recorded() -> list[Callable[..., Any]]:
    return [r.f for r in rights() if r.arm == "recorded"]
