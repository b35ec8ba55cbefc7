"""The compiler: what was traced, as fast code. See docs/compiler.md."""

from .compiled import Compiled, compile

__all__ = ["Compiled", "compile"]
