"""The native back end: straight-line code over lanes, written as LLVM IR and compiled by llvmlite (the extra `fast`).

`Stage` is straight-line code over lanes, `Product` a product of matrices; `build` compiles a list of them, some of
which may be run for many `Blocks` of samples, and `Native.bind` ties the result to arrays. `Desk` is a quicker way in
for small programs. `Sweep` runs scalar graphs that are too long for that. Nothing here knows of graphs or of the op
table.
"""

from .binding import Native, build
from .blocks import Blocks
from .engine import vector_bytes
from .stage import Access, Product, Stage
from .sweep import Rule, Sweep

__all__ = ["Access", "Blocks", "Native", "Product", "Rule", "Stage", "Sweep", "build", "vector_bytes"]
