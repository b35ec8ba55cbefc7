"""The compiler: what was traced, as fast code. See docs/compiler.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..lazy import lazily

if TYPE_CHECKING:
    from .compiled import Compiled
    from .loops import fori, scan, vmap
    from .trace import TraceError, gradients

__all__ = ["Compiled", "TraceError", "compile", "fori", "gradients", "scan", "vmap"]
_MODULES = {"Compiled": "compiled", "TraceError": "trace", "gradients": "trace"}
__getattr__ = lazily(__name__, {**_MODULES, **dict.fromkeys(("fori", "scan", "vmap"), "loops")})


def compile(
    f: Callable[..., Any],
    *,
    backend: str = "auto",
    static: int | tuple[int, ...] = (),
    donate: int | None = None,
    threads: int = 1,
    debug: bool = False,
) -> Compiled:
    """f as a program that is made in the first call, with the backward pass of `grad` and its kin in it.

    Args:
        f: a function of numbers, NumPy arrays and trees of them. It is run once on symbols for each kind of arguments
            (structure, shapes, dtypes, static values), so it may not branch on a number, print one or change anything.
        backend: "llvm" (native code, extra `fast`), "numpy", "python" (numbers only), or "auto": what is expected to be
            the quickest of what is installed.
        static: the place(s) of arguments that are no numbers to compute with; each value is traced anew.
        donate: the place of an argument whose arrays may be overwritten: f returns new values for it, in its structure,
            as its result or as the first item of its result; they are written into the argument's own arrays, and
            these are returned.
        threads: how many threads native code may use where there are many samples.
        debug: whether to run op by op and name the first one that gives NaN or an infinity.

    Returns:
        A function of the same arguments. Given nodes, it calls f itself, so that it can be differentiated from outside.

    Raises:
        ValueError: no such backend.
        ModuleNotFoundError: the backend needs an extra that is not installed.

    Example:
        >>> step = compile(lambda w, x: (w * x) ** 2)
        >>> step(3.0, 2.0)
        36.0
    """
    from .compiled import Compiled
    from .plan import BACKENDS

    if backend not in BACKENDS:
        raise ValueError(f"compile: backend={backend!r}; expected one of {', '.join(BACKENDS)}.")
    places = (static,) if isinstance(static, int) else tuple(static)
    return Compiled(f, backend=backend, static=places, donate=donate, threads=threads, debug=debug)
