"""The op table: every operation, once, as the formula that stands in the notes.

Each module of rows holds one subject and lists its rows in `__all__`; `op.py` makes them, `namespaces.py` and
`source.py` read them, `compositions.py` has named functions that need no row.
"""

from . import activations, arithmetic, compositions, functions, products, reductions, shapes
from .activations import *  # noqa: F403  # the rows, by their own __all__
from .arithmetic import *  # noqa: F403
from .compositions import *  # noqa: F403
from .errors import OpError, describe
from .functions import *  # noqa: F403
from .namespaces import NODE_KINDS, TABLE, Namespace, namespace_of, nodes, shape_of
from .op import POSITIVE, REALS, Op, elementwise, for_each_row, structural
from .products import *  # noqa: F403
from .reductions import *  # noqa: F403
from .shapes import *  # noqa: F403

__all__ = ["NODE_KINDS", "POSITIVE", "REALS", "TABLE", "Namespace", "Op", "OpError", "describe", "elementwise"]
__all__ += ["for_each_row", "namespace_of", "nodes", "shape_of", "structural"]
__all__ += activations.__all__
__all__ += arithmetic.__all__
__all__ += functions.__all__
__all__ += products.__all__
__all__ += reductions.__all__
__all__ += shapes.__all__
__all__ += compositions.__all__
