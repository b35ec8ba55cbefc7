"""Rows for products of matrices and their generalisation, einsum."""

from __future__ import annotations

from typing import Any

import numpy as np

from .op import structural

__all__ = ["matmul", "outer"]  # the function `einsum` is in compositions.py: it takes its subscripts first


def _transposed(xp: Any, x: Any) -> Any:
    """The last two axes swapped."""
    return xp.permute_dims(x, axes=(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def _matmul_vjp(xp: Any, g: Any, y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    # A vector is a row on the left, a column on the right; the product loses that axis, and g gets it back.
    row, column = a.ndim == 1, b.ndim == 1
    a_ = xp.reshape(a, shape=(1, *a.shape)) if row else a
    b_ = xp.reshape(b, shape=(*b.shape, 1)) if column else b
    shape = tuple(g.shape)
    shape = (*shape, 1) if column else shape
    shape = (*shape[:-1], 1, shape[-1]) if row else shape
    g_ = xp.reshape(g, shape=shape) if row or column else g

    def of_a() -> Any:
        da = g_ @ _transposed(xp, b_)
        return xp.reshape(xp.sum_to(da, shape=tuple(a_.shape)), shape=tuple(a.shape)) if row else da

    def of_b() -> Any:
        db = _transposed(xp, a_) @ g_
        return xp.reshape(xp.sum_to(db, shape=tuple(b_.shape)), shape=tuple(b.shape)) if column else db

    return of_a, of_b


matmul = structural(
    "matmul",
    "@",
    forward=lambda xp, a, b: a @ b,
    vjp=_matmul_vjp,
    tex="{0} {1}",
    expects="matrices (or vectors, or stacks of matrices) whose inner sizes agree: (…, n, k) @ (…, k, m)",
)


def _outer(xp: Any, a: Any, b: Any) -> Any:
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError(f"{a.ndim} and {b.ndim} axes; flatten first, or use einsum")
    return xp.reshape(a, shape=(-1, 1)) * b


outer = structural(
    "outer",
    forward=_outer,
    vjp=lambda xp, g, y, a, b: (lambda: g @ b, lambda: a @ g),
    tex=r"{0} \otimes {1}",
    expects="two vectors",
)


# --- einsum -----------------------------------------------------------------------------------------------------------


def _spelled(subscripts: str, ndims: list[int]) -> tuple[list[str], str]:
    """The letters of each operand and of the result, with `...` written out and the result always given."""
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if len(terms) != len(ndims):
        raise ValueError(f"einsum {subscripts!r}: {len(terms)} terms for {len(ndims)} operands")
    spare = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" if c not in subscripts]
    if not arrow:  # NumPy's rule: the letters that stand once, in order, after the broadcast axes
        letters = inputs.replace(",", "").replace(".", "")
        output = ("..." if "..." in inputs else "") + "".join(sorted(c for c in letters if letters.count(c) == 1))
    width = max((n - len(t.replace("...", "")) for t, n in zip(terms, ndims, strict=True) if "..." in t), default=0)
    dots = "".join(spare[:width])
    full = [
        t.replace("...", dots[width - (n - len(t) + 3) :] if "..." in t else "")
        for t, n in zip(terms, ndims, strict=True)
    ]
    for term, n in zip(full, ndims, strict=True):
        if len(term) != n:
            raise ValueError(f"einsum {subscripts!r}: term {term!r} has {len(term)} indices for {n} axes")
    return full, output.replace("...", dots)


def _einsum(xp: Any, *operands: Any, subscripts: str = "") -> Any:
    terms, output = _spelled(subscripts, [o.ndim for o in operands])
    return xp.native.einsum(",".join(terms) + "->" + output, *operands)


def _einsum_vjp(xp: Any, g: Any, y: Any, *operands: Any, subscripts: str = "") -> list[Any]:
    terms, output = _spelled(subscripts, [o.ndim for o in operands])
    spare = [c for c in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in "".join([*terms, output])]

    def ones(k: int, size: int) -> Any:
        return xp.broadcast_to(xp.ones_like(xp.sum(operands[k])), shape=(size,))

    def of(k: int) -> Any:
        term = terms[k]
        factors: list[tuple[str, Any]] = [(output, g)]
        factors += [(t, o) for j, (t, o) in enumerate(zip(terms, operands, strict=True)) if j != k]
        # An index that stands twice in the operand is its diagonal: the second gets its own letter and a unit matrix.
        wanted = ""
        for place, letter in enumerate(term):
            if letter in wanted:
                size = operands[k].shape[place]
                diagonal = (np.arange(size), np.arange(size))
                factors.append((letter + spare[place], xp.scatter(ones(k, size), index=diagonal, shape=(size, size))))
            wanted += spare[place] if letter in wanted else letter
        # An index that only this operand has (or all others with size 1): its cotangent is the same all along it.
        for letter, size in zip(wanted, operands[k].shape, strict=True):
            if size not in [f.shape[t.index(letter)] for t, f in factors if letter in t]:
                factors.append((letter, ones(k, size)))
        return xp.einsum([f for _, f in factors], subscripts=",".join(t for t, _ in factors) + "->" + wanted)

    return [lambda k=k: of(k) for k in range(len(operands))]


einsum = structural(
    "einsum",
    forward=_einsum,
    vjp=_einsum_vjp,
    tex=r"\operatorname{{einsum}}\left({0}, \dots\right)",
    expects="subscripts such as 'ij,jk->ik' and one array for each term",
    method=False,
)
