"""The native back end: straight-line code over lanes, written as LLVM IR and compiled by llvmlite (the extra `fast`).

`Stage` is what it takes, `build` compiles a list of stages, and `Native.bind` ties the result to arrays. Nothing here
knows of graphs or of the op table.
"""

from .binding import Native, build
from .stage import Stage

__all__ = ["Native", "Stage", "build"]
