"""Elements of an array by their offsets, as views of it where the offsets are regular."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from .trace import contiguous

Ids = np.ndarray[Any, np.dtype[np.int64]]


def varying(ids: Ids) -> list[bool]:
    """Along which axes the ids change."""
    return [n > 1 and bool((ids != ids.take([0], axis=k)).any()) for k, n in enumerate(ids.shape)]


def strided(array: Any, shape: tuple[int, ...], offsets: Any) -> Any:
    """The elements of an array at offsets, as views of it where the offsets are regular."""
    steps = [int(offsets.take(1, axis=k).flat[0] - offsets.flat[0]) for k in range(offsets.ndim)]
    start = int(offsets.flat[0])
    regular = start + sum(
        (np.arange(n) * s).reshape([-1 if j == k else 1 for j in range(offsets.ndim)])
        for k, (n, s) in enumerate(zip(offsets.shape, steps, strict=True))
    )
    order = sorted(range(offsets.ndim), key=lambda k: -steps[k])
    packed = tuple(offsets.shape[k] for k in order)
    size = offsets.size
    if (regular == offsets).all() and tuple(steps[k] for k in order) == contiguous(packed):
        whole = size == int(np.prod(shape))
        flat = array if whole and len(shape) == len(packed) else ops.reshape(array, shape=(-1,))
        if not whole:
            flat = flat[start : start + size]
        found = ops.reshape(flat, shape=packed)
        axes = tuple(int(k) for k in np.argsort(order))
        return ops.permute_dims(found, axes=axes) if axes != tuple(range(len(axes))) else found
    return _columns(array, shape, offsets, start, steps, regular)


def _columns(array: Any, shape: tuple[int, ...], offsets: Any, start: int, steps: list[int], regular: Any) -> Any:
    """Offsets along some axes of the array only, such as a column; a gather where that does not fit either."""
    if (regular == offsets).all():
        strides = contiguous(shape)
        first = np.unravel_index(start, shape)
        index: list[Any] = [int(i) for i in first]
        used = []
        for n, step in zip(offsets.shape, steps, strict=True):
            fits = [k for k, s in enumerate(strides) if s == step and k not in used and index[k] + n <= shape[k]]
            if not fits:
                break
            index[fits[0]] = slice(index[fits[0]], index[fits[0]] + n)
            used.append(fits[0])
        else:
            part = array[tuple(index)]
            axes = tuple(sorted(used).index(k) for k in used)
            return ops.permute_dims(part, axes=axes) if axes != tuple(range(len(axes))) else part
    return ops.getitem(ops.reshape(array, shape=(-1,)), index=offsets)
