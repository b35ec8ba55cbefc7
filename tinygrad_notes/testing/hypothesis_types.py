"""Strategies for the types of this package, for `st.from_type(Tensor)` and for tests that are `@given(...)` by types.

Registered when `tinygrad_notes.testing` is imported, or by the entry point in hypothesis_plugin.py.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from ..tensor import Tensor
    from ..value import Value


def register() -> None:
    """Tell Hypothesis how to draw a `Value` and a `Tensor`.

    A `Value` is a leaf on a number; a `Tensor` a leaf of float64 with up to two axes of up to three elements; both as
    `reals()` draws them. The strategies are made when a type is first asked for.
    """
    from hypothesis import strategies as st

    from ..tensor import Tensor
    from ..value import Value

    st.register_type_strategy(Value, _values)
    st.register_type_strategy(Tensor, _tensors)


def _values(kind: type[Value]) -> SearchStrategy[Value]:
    from .strategies import reals

    return reals().map(kind)


def _tensors(kind: type[Tensor]) -> SearchStrategy[Tensor]:
    import numpy as np
    from hypothesis.extra import numpy as hnp

    from .strategies import reals

    shapes = hnp.array_shapes(min_dims=0, max_dims=2, max_side=3)
    return hnp.arrays(np.float64, shapes, elements=reals(), fill=None).map(kind)
