"""The compiler: what was traced, as fast code. See docs/compiler.md."""

from .compiled import Compiled, compile
from .loops import fori, scan, vmap
from .trace import TraceError, gradients

__all__ = ["Compiled", "TraceError", "compile", "fori", "gradients", "scan", "vmap"]
