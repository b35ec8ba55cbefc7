"""Lines of LLVM IR: vectors of one width, a name for each new value, loops."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field

BYTES = {"double": 8, "float": 4}
FEW = 64  # calls of a function: its constants then stay in registers, and what is computed next need not wait for it


@dataclass
class Module:
    """What the functions of a module share: declarations, and functions that are written when first called."""

    declarations: set[str] = field(default_factory=set)
    functions: dict[str, str] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)

    def text(self) -> str:
        """The whole module. A function that is called in few places becomes part of them."""
        for name, count in self.calls.items():
            if count <= FEW:
                self.functions[name] = self.functions[name].replace(" nounwind {", " nounwind alwaysinline {", 1)
        return "\n".join([*sorted(self.declarations), "", *self.functions.values()])


class Lines:
    """The body of a function on vectors of `width` elements, under way; a width of 1 stands for plain scalars.

    A value is held by its name, or by its text if it is a constant. New names begin with `stem`.
    """

    def __init__(self, module: Module, element: str, width: int) -> None:
        self.module, self.width = module, width
        self._set_element(element)
        self.mask = self.of("i1")
        self.suffix = f"v{width}" if width > 1 else ""
        self.lines: list[str] = []
        self.arguments: dict[str, str] = {}  # name → type, in the order of their first use
        self.stem = "t"
        self.block = "entry"
        self._used: dict[str, int] = {}

    def _set_element(self, element: str) -> None:
        self.element = element
        self.number = self.of(element)
        self.integer = self.of(f"i{8 * BYTES[element]}")

    @contextmanager
    def elements(self, element: str) -> Iterator[None]:
        """Numbers are of another type for a while."""
        before = self.element
        self._set_element(element)
        yield
        self._set_element(before)

    def wide(self, width: int) -> Lines:
        """The same lines, for values that are vectors of another width."""
        other = copy(self)
        other.width = width
        other._set_element(self.element)
        other.mask, other.suffix = other.of("i1"), f"v{width}" if width > 1 else ""
        return other

    def of(self, element: str) -> str:
        """The type of a vector of these."""
        return f"<{self.width} x {element}>" if self.width > 1 else element

    def argument(self, kind: str, name: str) -> str:
        """An argument of the function; it gets those that its body asks for."""
        self.arguments.setdefault(name, kind)
        return f"%{name}"

    def line(self, text: str) -> None:
        """One line as it stands."""
        self.lines.append("  " + text)

    def value(self, text: str, stem: str | None = None) -> str:
        """A new value."""
        stem = stem or self.stem
        count = self._used[stem] = self._used.get(stem, -1) + 1
        name = f"%{stem}" if "." in stem and not count else f"%{stem}_{count}"  # no dot, no number: arguments and loops
        self.lines.append(f"  {name} = {text}")
        return name

    # Constants

    def constant(self, x: float) -> str:
        """The same number in all places."""
        if self.element == "float":
            x = struct.unpack("f", struct.pack("f", x))[0]
        return self.splat(self.element, "0x" + struct.pack(">d", x).hex().upper())

    def is_known(self, value: str) -> bool:
        """Whether a value is a constant, and not NaN."""
        found = re.search(r"0x([0-9A-F]{16})\b", value)
        return found is not None and not math.isnan(struct.unpack(">d", bytes.fromhex(found[1]))[0])

    def bits(self, n: int) -> str:
        """The same integer in all places."""
        return self.splat(f"i{8 * BYTES[self.element]}", str(n))

    def splat(self, element: str, text: str) -> str:
        """A constant in all places."""
        return f"splat ({element} {text})" if self.width > 1 else text

    # Arithmetic

    def binary(self, operation: str, a: str, b: str) -> str:
        """`operation` on two numbers."""
        return self.value(f"{operation} {self.number} {a}, {b}")

    def add(self, a: str, b: str) -> str:
        """a + b, rounded."""
        return self.binary("fadd", a, b)

    def subtract(self, a: str, b: str) -> str:
        """a − b, rounded."""
        return self.binary("fsub", a, b)

    def multiply(self, a: str, b: str) -> str:
        """a · b, rounded."""
        return self.binary("fmul", a, b)

    def divide(self, a: str, b: str) -> str:
        """a / b, rounded."""
        return self.binary("fdiv", a, b)

    def negative(self, a: str) -> str:
        """−a."""
        return self.value(f"fneg {self.number} {a}")

    def fma(self, a: str, b: str, c: str) -> str:
        """a · b + c, rounded once."""
        return self.intrinsic("fma", a, b, c)

    def intrinsic(self, name: str, *operands: str) -> str:
        """One of LLVM's functions on numbers."""
        full = f"@llvm.{name}.{self.suffix}f{8 * BYTES[self.element]}"
        self.module.declarations.add(f"declare {self.number} {full}({', '.join([self.number] * len(operands))})")
        return self.call(full, *operands)

    def call(self, function: str, *operands: str) -> str:
        """A function from numbers to a number."""
        return self.value(f"call {self.number} {function}({', '.join(f'{self.number} {a}' for a in operands)})")

    def compare(self, condition: str, a: str, b: str) -> str:
        """A mask; `condition` is LLVM's: olt is less, oeq equal, une not equal, uno either is NaN."""
        return self.value(f"fcmp {condition} {self.number} {a}, {b}")

    def logical(self, operation: str, a: str, b: str) -> str:
        """`and`, `or` or `xor` of two masks."""
        return self.value(f"{operation} {self.mask} {a}, {b}")

    def select(self, mask: str, a: str, b: str) -> str:
        """A where the mask is set, else b."""
        return self.value(f"select {self.mask} {mask}, {self.number} {a}, {self.number} {b}")

    # The bits of a number, as integers of the same size

    def to_bits(self, a: str) -> str:
        """The bits of a number."""
        return self.value(f"bitcast {self.number} {a} to {self.integer}")

    def of_bits(self, n: str) -> str:
        """The number with these bits."""
        return self.value(f"bitcast {self.integer} {n} to {self.number}")

    def integers(self, operation: str, n: str, m: str) -> str:
        """An operation on integers."""
        return self.value(f"{operation} {self.integer} {n}, {m}")

    # Places of a vector

    def join(self, parts: Iterable[str]) -> str:
        """A vector of numbers."""
        vector = "poison"
        for place, part in enumerate(parts):
            if self.width == 1:
                return part
            vector = self.value(f"insertelement {self.number} {vector}, {self.element} {part}, i64 {place}")
        return vector

    def part(self, vector: str, place: int) -> str:
        """The number in one place."""
        return vector if self.width == 1 else self.value(f"extractelement {self.number} {vector}, i64 {place}")

    def total(self, vector: str) -> str:
        """The sum of the numbers in all places, in any order."""
        if self.width == 1:
            return vector
        name = f"@llvm.vector.reduce.fadd.{self.suffix}f{8 * BYTES[self.element]}"
        self.module.declarations.add(f"declare {self.element} {name}({self.element}, {self.number})")
        return self.value(f"call reassoc {self.element} {name}({self.element} 0.0, {self.number} {vector})")

    def totals(self, vectors: Sequence[str]) -> str:
        """The sums of the numbers in so many vectors as there are places in each: those of the first come first."""
        rows, bit = list(vectors), 1
        while bit < self.width:
            rows = [self.add(*self.exchanged(a, b, bit)) for a, b in zip(rows[::2], rows[1::2], strict=True)]
            bit *= 2
        return rows[0]

    def broadcast(self, number: str) -> str:
        """A vector that holds one number in all places."""
        if self.width == 1:
            return number
        first = self.value(f"insertelement {self.number} poison, {self.element} {number}, i64 0")
        return self.value(
            f"shufflevector {self.number} {first}, {self.number} poison, {self.of('i32')} zeroinitializer"
        )

    def transposed(self, rows: list[str]) -> list[str]:
        """The columns of a square whose rows are given: squares within it change places, ever larger ones."""
        bit = 1
        while bit < self.width:
            after = list(rows)
            for i in (i for i in range(self.width) if not i & bit):
                after[i], after[i | bit] = self.exchanged(rows[i], rows[i | bit], bit)
            rows, bit = after, 2 * bit
        return rows

    def exchanged(self, a: str, b: str, bit: int) -> tuple[str, str]:
        """Two vectors of which the first one's odd parts and the second one's even ones, so wide, change places."""
        upper = [self.width + c - bit if c & bit else c for c in range(self.width)]
        lower = [self.width + c if c & bit else c + bit for c in range(self.width)]
        return self.shuffle(a, b, upper), self.shuffle(a, b, lower)

    def shuffle(self, a: str, b: str, places: list[int]) -> str:
        """The numbers in these places of two vectors, of which the second one's come after the first one's."""
        mask = ", ".join(f"i32 {place}" for place in places)
        return self.value(f"shufflevector {self.number} {a}, {self.number} {b}, {self.of('i32')} <{mask}>")

    # Control

    def label(self, name: str) -> None:
        """A new block begins."""
        self.lines.append(f"{name}:")
        self.block = name

    @contextmanager
    def loop(self, name: str, first: str, last: str, step: int = 1) -> Iterator[str]:
        """`for name in range(first, last, step)` over 64-bit integers."""
        before = self.block
        self.line(f"br label %{name}.test")
        self.label(f"{name}.test")
        self.line(f"%{name} = phi i64 [{first}, %{before}], [%{name}.next, %{name}.end]")
        self.line(f"%{name}.more = icmp slt i64 %{name}, {last}")
        self.line(f"br i1 %{name}.more, label %{name}.do, label %{name}.done")
        self.label(f"{name}.do")
        yield f"%{name}"
        self.line(f"br label %{name}.end")
        self.label(f"{name}.end")
        self.line(f"%{name}.next = add i64 %{name}, {step}")
        self.line(f"br label %{name}.test")
        self.label(f"{name}.done")

    @contextmanager
    def when(self, name: str, condition: str) -> Iterator[None]:
        """`if condition`."""
        self.line(f"br i1 {condition}, label %{name}.do, label %{name}.done")
        self.label(f"{name}.do")
        yield
        self.line(f"br label %{name}.done")
        self.label(f"{name}.done")


class Functions:
    """Functions of a module that call one another."""

    def __init__(self, module: Module, element: str) -> None:
        self.module, self.element = module, element
        self.arguments: dict[str, dict[str, str]] = {}  # of each function

    @contextmanager
    def function(self, name: str, width: int = 1, linkage: str = "internal ", inline: bool = False) -> Iterator[Lines]:
        """A new function. Its arguments are those that its body asks for."""
        w = Lines(self.module, self.element, width)
        yield w
        self.arguments[name] = w.arguments
        arguments = ", ".join(f"{kind} %{argument}" for argument, kind in w.arguments.items())
        head = f"define {linkage}void @{name}({arguments}) nounwind{' alwaysinline' * inline} {{\nentry:"
        self.module.functions[name] = "\n".join([head, *w.lines, "  ret void", "}", ""])

    def call(self, w: Lines, name: str, **given: str) -> None:
        """Call a function, with the arguments given and the caller's own under the same names."""
        arguments = [
            f"{kind.split()[0]} {given.get(argument) or w.argument(kind, argument)}"
            for argument, kind in self.arguments[name].items()
        ]
        w.line(f"call void @{name}({', '.join(arguments)})")
