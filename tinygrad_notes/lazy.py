"""Importing a name's module when the name is first asked for, so that `import tinygrad_notes` stays light."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazily(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__`.

    Args:
        package: its name.
        modules: for each name the module of the package that has it; "" where the name is a module's own.

    Example:
        >>> find = lazily("tinygrad_notes", {"notes": "", "fori": "compile.loops"})
        >>> find("notes").__name__, find("fori").__name__
        ('tinygrad_notes.notes', 'fori')
    """

    def find(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = modules[name]
        return getattr(import_module(f"{package}.{module}"), name) if module else import_module(f"{package}.{name}")

    return find
