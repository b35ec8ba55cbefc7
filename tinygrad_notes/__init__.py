"""The calculus of neural networks, run, checked and seen: see `docs/` and the README."""

from . import ops
from .calculus import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from .graph import Node, no_grad, topological_order
from .ops import *  # noqa: F403
from .tensor import Tensor
from .value import Value


def __getattr__(name):  # temporary, while nn and optim are being built
    from importlib import import_module

    if name in ("notes", "testing", "nn", "optim"):
        return import_module(f".{name}", __name__)
    raise AttributeError(name)
