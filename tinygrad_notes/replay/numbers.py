"""Numbers as text and as HTML: an array as a small table, a large one by its shape and range."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

from ..draw import labels
from ..graph import is_node
from .names import minus

TABLE = 48
"""Arrays of more elements are summarised."""
LINE = 12
"""Of so many the numbers still stand in a line."""
WIDEST = 12
"""So many columns stand beside each other."""


def array(x: Any) -> np.ndarray[Any, Any]:
    """A number, node or array of any library as NumPy's."""
    data = x.data if is_node(x) else x
    return np.asarray(data.detach().cpu() if hasattr(data, "detach") else data)


def is_table(x: Any) -> bool:
    """Whether an array is shown element by element."""
    shape = np.shape(x)
    return len(shape) <= 2 and 0 < np.size(x) <= TABLE and (not shape or shape[-1] <= WIDEST)


def agree(a: Any, b: Any) -> bool:
    """Whether two gradients are equal but for rounding."""
    return bool(np.allclose(array(a), array(b), rtol=1e-9, atol=0, equal_nan=True))


def number(x: Any) -> str:
    """A number to four digits; a zero without its sign."""
    return minus(labels.number(x if x else abs(x)))


def text(x: Any) -> str:
    """In one line: the digits, or the shape and the range."""
    data = array(x)
    return _nested(data.tolist()) if data.size <= LINE and data.ndim <= 2 else _summary(data)


def _nested(x: Any) -> str:
    return f"[{', '.join(map(_nested, x))}]" if isinstance(x, list) else number(x)


def brief(x: Any) -> str:
    """What fits into a node of the picture: a number, or the shape."""
    data = array(x)
    return number(data.item()) if data.size == 1 else f"{data.shape}"


def html_of(x: Any) -> str:
    """A number, a table of numbers (each with all its digits as its tooltip), or a summary."""
    data = array(x)
    if not is_table(data):
        return f'<span class="summary">{html.escape(_summary(data))}</span>'
    if data.ndim == 0:
        return _cell("span", data.item())
    rows = data.reshape(1, -1) if data.ndim == 1 else data
    body = "".join(f"<tr>{''.join(_cell('td', e) for e in row)}</tr>" for row in rows.tolist())
    return f'<table class="array" data-shape="{data.shape}"><tbody>{body}</tbody></table>'


def _cell(tag: str, x: Any) -> str:
    return f'<{tag} class="number" title="{x!r}">{number(x)}</{tag}>'


def _summary(data: np.ndarray[Any, Any]) -> str:
    """`(8, 455), from −2.1 to 3.4`."""
    finite = data[np.isfinite(data)] if data.dtype.kind == "f" else data.reshape(-1)
    said = f"{tuple(data.shape)}"
    if finite.size:
        low, high = number(finite.min().item()), number(finite.max().item())
        said += f", all {low}" if low == high else f", from {low} to {high}"
    lost = data.size - finite.size
    return said + (f", {lost:,} not finite" if lost else "")
