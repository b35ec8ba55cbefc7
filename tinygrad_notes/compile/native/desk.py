"""The quick way in: a function of no arguments that finds memory for the results, runs the program there and returns.

Python's own way into machine code costs half a microsecond with arguments, and looking after the results' memory two
more; a small program takes less. So what a call needs is in a table, the desk: the bound program's context, and sets
of result arrays. A set is free when the counts of references to its arrays are what they were when nobody else held
them. The function holds the interpreter's lock: counts do not change meanwhile, but no other thread runs either.

The desk, in words of 8 bytes: the context's address, how many sets there are, how many objects each has; then for each
set the address of its numbers, and for each object its address and the count that says it is free.
"""

from __future__ import annotations

import ctypes
import platform
import sys
import sysconfig
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .engine import MachineCode

HEAD = 3
NONE_FREE, NOT_FINITE = -1, -2
"""What `enter` returns in place of a set's number."""

POSSIBLE = (
    platform.python_implementation() == "CPython"
    and not sysconfig.get_config_var("Py_GIL_DISABLED")
    and not hasattr(sys, "getobjects")  # with Py_TRACE_REFS something else comes first
    and sys.byteorder == "little"
)
"""Whether counts of references stand where they are looked for: in the first 4 bytes of an object."""


def enter_text(out: int, flag: int | None, buffers: int, totals: int, element: str) -> str:
    """The function `enter`, as LLVM IR.

    Args:
        out: the buffer of the results.
        flag: the place in it that is 0 if all results are finite; None if it does not matter.
        buffers, totals: the words of the context that hold the tables of buffers.
        element: the type of numbers.
    """
    check = f"""  %flag.at = getelementptr {element}, ptr %numbers, i64 {flag}
  %flag = load {element}, ptr %flag.at
  %finite = fcmp oeq {element} %flag, 0.0
  %number = trunc i64 %set to i32
  %result = select i1 %finite, i32 %number, i32 {NOT_FINITE}"""
    if flag is None:
        check = "  %result = trunc i64 %set to i32"
    return f"""
@desk = global ptr null
define i32 @enter() nounwind {{
entry:
  %desk.at = load ptr, ptr @desk
  %context = load ptr, ptr %desk.at
  %sets.at = getelementptr i64, ptr %desk.at, i64 1
  %sets = load i64, ptr %sets.at
  %objects.at = getelementptr i64, ptr %desk.at, i64 2
  %objects = load i64, ptr %objects.at
  %pairs = mul i64 %objects, 2
  %size = add i64 %pairs, 1
  %first = getelementptr i64, ptr %desk.at, i64 {HEAD}
  br label %look
look:
  %set = phi i64 [0, %entry], [%set.next, %taken]
  %at = phi ptr [%first, %entry], [%at.next, %taken]
  %some = icmp slt i64 %set, %sets
  br i1 %some, label %object, label %none
object:
  %k = phi i64 [1, %look], [%k.next, %count]
  %more = icmp slt i64 %k, %size
  br i1 %more, label %count, label %free
count:
  %object.at = getelementptr i64, ptr %at, i64 %k
  %address = load ptr, ptr %object.at
  %found = load i32, ptr %address
  %wanted.at = getelementptr i64, ptr %object.at, i64 1
  %wanted = load i32, ptr %wanted.at
  %same = icmp eq i32 %found, %wanted
  %k.next = add i64 %k, 2
  br i1 %same, label %object, label %taken
taken:
  %set.next = add i64 %set, 1
  %at.next = getelementptr i64, ptr %at, i64 %size
  br label %look
none:
  ret i32 {NONE_FREE}
free:
  %numbers = load ptr, ptr %at
  %buffers.at = getelementptr i64, ptr %context, i64 {buffers}
  %buffers = load ptr, ptr %buffers.at
  %totals.at = getelementptr i64, ptr %context, i64 {totals}
  %totals = load ptr, ptr %totals.at
  %out.at = getelementptr i64, ptr %buffers, i64 {out}
  %out.total.at = getelementptr i64, ptr %totals, i64 {out}
  %out = load ptr, ptr %out.at
  store ptr %numbers, ptr %out.at
  store ptr %numbers, ptr %out.total.at
  call void @once(ptr %context)
  store ptr %out, ptr %out.at
  store ptr %out, ptr %out.total.at
{check}
  ret i32 %result
}}
"""


class Desk:
    """The desk of one bound program.

    Args:
        code: its machine code.
        context: the address of what it is bound to, which the caller keeps alive.
        most: so many sets at most.
        objects: so many in each.

    Attributes:
        enter: the quick way in. Without arguments; returns the number of the set that it filled, or one of the above.
        sets: the arrays of each set.
        memories: the numbers of each set, to read single ones.
    """

    def __init__(self, code: MachineCode, context: int, most: int, objects: int) -> None:
        self.code = code
        self.words = np.zeros(HEAD + most * (1 + 2 * objects), np.int64)
        self.words[0], self.words[2] = context, objects
        self.sets: list[Sequence[Any]] = []
        self.memories: list[memoryview[float]] = []
        self.enter: Callable[[], int] = ctypes.PYFUNCTYPE(ctypes.c_int32)(code.address("enter"))
        ctypes.c_int64.from_address(code.variable("desk")).value = self.words.ctypes.data

    def add(self, numbers: np.ndarray[Any, Any], arrays: Sequence[Any]) -> None:
        """A set: its numbers, and the arrays that are parts of them. Nobody else may hold any of them yet."""
        self.sets.append(arrays)
        self.memories.append(memoryview(numbers))  # type: ignore[arg-type]  # an array is a buffer
        size = 1 + int(2 * self.words[2])
        at = HEAD + (len(self.sets) - 1) * size
        self.words[at] = numbers.ctypes.data
        if arrays:
            self.words[at + 1 : at + size : 2] = [*map(id, arrays), id(numbers)]

    def open(self) -> None:
        """Let the set that was added last be used. The counts of references are now what they are when it is free."""
        size = 1 + int(2 * self.words[2])
        at = HEAD + (len(self.sets) - 1) * size
        addresses = self.words[at + 1 : at + size : 2].tolist()
        self.words[at + 2 : at + size : 2] = [ctypes.c_uint32.from_address(address).value for address in addresses]
        self.words[1] = len(self.sets)
