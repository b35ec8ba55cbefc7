"""Check, see and run the calculus of neural networks.

`Value` and `Tensor` record a computation graph; `grad` and its kin differentiate functions; every named op of the
table (`exp`, `sum`, `matmul`, …) is a function here. `nn` and `optim` build and train networks, `draw` shows their
graphs, `derive` writes their backward pass out, `testing` holds formulas derived by hand against the automatic
gradient, `notes` are the chapters. Start with the README.
"""

from typing import TYPE_CHECKING

from . import nn, ops, optim
from .calculus import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp

# These functions stand for the folders of the same names; whoever needs the modules imports from them.
from .compile import compile
from .derive import derive
from .draw import detect_anomaly, draw, record_lines
from .expand import expand
from .graph import Node, no_grad, topological_order
from .lazy import lazily
from .ops import *  # noqa: F403  # every public op, by ops.__all__
from .replay import replay
from .tensor import Tensor
from .value import Value

if TYPE_CHECKING:
    from . import notes as notes
    from . import testing as testing
    from .compile.loops import fori, scan, vmap

__version__ = "0.1.0"
__all__ = [
    "Node",
    "Tensor",
    "Value",
    "compile",
    "derive",
    "detect_anomaly",
    "draw",
    "expand",
    "fori",
    "grad",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "nn",
    "no_grad",
    "ops",
    "optim",
    "record_lines",
    "replay",
    "scan",
]
__all__ += ["topological_order", "value_and_grad", "vjp", "vmap"]
__all__ += ops.__all__

# `notes` and `testing` need Hypothesis, which takes longer to import than everything else here.
__getattr__ = lazily(__name__, {"notes": "", "testing": "", **dict.fromkeys(("fori", "scan", "vmap"), "compile.loops")})
