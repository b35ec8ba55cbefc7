"""Strategies for the types of this package, for `st.from_type(Tensor)` and for `@given(...)` by annotations.

Hypothesis finds `register` by the entry point group `hypothesis` and calls it when it is itself imported.
"""

# Nothing is imported here: whoever imports Hypothesis loads this module.


def register() -> None:
    """Tell Hypothesis how to draw a `Value`, a `Tensor` and a `Program`.

    Their strategies are made when one of them is first asked for.
    """
    from hypothesis import strategies as st

    from ..tensor import Tensor
    from ..value import Value

    st.register_type_strategy(Value, lambda kind: _values())
    st.register_type_strategy(Tensor, lambda kind: _tensors())


def _values():
    from ..value import Value
    from .strategies import reals

    return reals().map(Value)
