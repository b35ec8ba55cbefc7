"""What a function reads from outside of its arguments, and whether a later call finds it as it was.

A traced function is run once, so whatever it reads by itself would stay as it was then: the number behind a global
name, the items of a list, an attribute of a model. So before tracing we go where its code can go: the names that its
instructions load, from the closure, the globals and the attributes of every object on the way, and the functions and
methods that it reaches so. Each binding found is a condition that later calls check; where one fails, the function is
traced anew. What is only computed with, arrays and nodes, is captured instead, and may change its numbers freely.
"""

from __future__ import annotations

import dis
import functools
import inspect
import io
import sys
import sysconfig
import types
import weakref
from collections.abc import Callable, Iterator, Mapping, MutableSequence, Sequence, Set
from itertools import chain
from operator import is_
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import ops
from ..graph import is_node
from .trace import TraceError
from .trace.refusals import PACKAGE

if TYPE_CHECKING:
    from .capture import Captures

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), np.generic, ops.Op)
"""What cannot change; it is compared by value."""
LIBRARIES = (PACKAGE, "<frozen", "<tinygrad_notes", sysconfig.get_paths()["stdlib"])
LOADS = {"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "STORE_ATTR", "DELETE_ATTR", "IMPORT_FROM"}
GLOBALS = {"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"}
UNNAMED = {"getattr", "setattr", "vars", "__dict__", "__getattribute__", "attrgetter"}
"""Whatever uses these may read any attribute."""
ASKING = {"hasattr", "getattr"}
"""Whatever uses these may ask for an attribute that is not there; its name is among the strings that are used."""
SILENT = {"__init__", "__new__", "__repr__", "__str__", "__del__", "__reduce__"}
"""Methods that no use of an object that is there already runs; or none that computes."""
MISSING: Any = object()


class Binding(NamedTuple):
    """A name that stands for something: in a namespace, a closure's cell, or as an attribute.

    Attributes:
        holder: the dictionary of globals, the cell or the object.
        name: the name; of a cell, for messages only.
        what: what it stands for.
    """

    holder: Any
    name: str
    what: Any

    def now(self) -> Any:
        """What it stands for now."""
        try:
            if isinstance(self.holder, types.CellType):
                return self.holder.cell_contents
            return self.holder[self.name] if type(self.holder) is dict else getattr(self.holder, self.name)
        except (KeyError, AttributeError, ValueError):
            return MISSING

    def source(self, bind: Callable[[Any], str]) -> str:
        """The condition that it stands for the same, as source."""
        holder = bind(self.holder)
        if self.what is MISSING:
            return f"not hasattr({holder}, {self.name!r})"
        if isinstance(self.holder, types.CellType):
            now = f"{holder}.cell_contents"
        elif type(self.holder) is dict:
            now = f"{holder}[{self.name!r}]"
        else:
            now = f"{holder}.{self.name}" if self.name.isidentifier() else f"getattr({holder}, {self.name!r})"
        what = bind(self.what)
        if isinstance(self.what, (*PLAIN, tuple)):
            return f"({now} is {what} or same({now}, {what}))"
        return f"{now} is {what}"

    def __str__(self) -> str:
        if isinstance(self.holder, (dict, types.CellType)):
            return f"the variable {self.name!r}"
        kind = self.holder if isinstance(self.holder, (type, types.ModuleType)) else type(self.holder)
        return f"the attribute {self.name!r} of {kind.__name__}"


class Items:
    """What lists and the like hold, as it was: looked at all together, since there may be many."""

    def __init__(self) -> None:
        self.containers: list[Any] = []
        self.lengths: list[int] = []
        self.items: list[Any] = []

    def add(self, container: Any) -> list[Any]:
        """Its items; from now on they are to stay."""
        items = list(_items(container))
        self.containers.append(container)
        self.lengths.append(len(items))
        self.items += items
        return items

    def hold(self) -> bool:
        """Whether all are as they were."""
        now = list(chain.from_iterable(map(_items, self.containers)))
        if len(now) != len(self.items) or not (all(map(is_, now, self.items)) or all(map(same, now, self.items))):
            return False
        return [len(_items(c)) for c in self.containers] == self.lengths

    def __str__(self) -> str:
        at = 0
        for container, length in zip(self.containers, self.lengths, strict=True):
            before, at = self.items[at : at + length], at + length
            now = _items(container)
            if len(now) != length or not all(map(same, now, before)):
                return f"the items of a {type(container).__name__} of {length}"
        return "the items of a list"


def _items(container: Any) -> Sequence[Any]:
    if isinstance(container, Mapping):
        return [*container, *container.values()]
    if isinstance(container, np.ndarray):
        return container.ravel().tolist()
    return container if isinstance(container, list) else list(container)


class Numbers(NamedTuple):
    """An array's numbers, as they were."""

    array: Any
    kind: tuple[Any, ...]
    before: bytes

    def hold(self) -> bool:
        """Whether they still are."""
        return (self.array.shape, self.array.dtype) == self.kind and self.array.tobytes() == self.before

    def insist(self) -> bool:
        """True.

        Raises:
            TraceError: they are not what they were.
        """
        if self.hold():
            return True
        raise TraceError(
            f"compile: the {ops.describe(self.array)} that the function reaches from outside has changed, and NumPy "
            "computed an array while the function was traced, perhaps from it. Compute with the ops of this package, "
            "or make the other array outside of the function, or give this one as an argument."
        )


class Outside:
    """What functions and static arguments hold, and what is reached from there, before a function is traced.

    Args:
        roots: the function and the static arguments.

    Attributes:
        bindings, items: what is to stay.
        arrays, generators: the NumPy arrays, and the generators of random numbers.
        plain: the numbers of NumPy's types, by identity.

    Raises:
        TraceError: an iterator is among it, which each call would move on.
    """

    def __init__(self, roots: Sequence[Any]) -> None:
        self.bindings: dict[tuple[int, str], Binding] = {}
        self.items = Items()
        self.arrays: list[np.ndarray[Any, Any]] = []
        self.generators: list[np.random.Generator] = []
        self.plain: dict[int, Any] = {}
        self._kept: list[Callable[[], bool]] = []
        self._names: set[str] = set()
        self._asked: set[str] = set()
        self._reads_all = False
        self._holders: list[tuple[Any, Mapping[str, Any]]] = []
        self._seen: dict[int, Any] = {}
        self._stack = list(roots)
        while self._stack:
            while self._stack:
                self._visit(self._stack.pop())
            for holder, of_class in self._holders:  # once more for all: other names may be read by now
                self._look(holder, of_class)

    # --- later ------------------------------------------------------------------------------------------------------

    def keep_numbers(self, captures: Captures) -> None:
        """Arrays that the program does not read anew have to keep their numbers; so have indices and masks.

        Where NumPy has made an array on the way, it may have made it from any of those that are read anew.
        """
        bases = {id(x) for x in captures.arrays()}
        made = not bases <= {id(x) for x in self.arrays}
        for a in self.arrays:
            if a.dtype != object:
                numbers = Numbers(a, (a.shape, a.dtype), a.tobytes())
                if id(a) not in bases or a.dtype.kind != "f":
                    self._kept.append(numbers.hold)
                elif made:
                    self._kept.append(numbers.insist)

    def changed(self) -> str | None:
        """What is no longer as it was, in words."""
        for binding in self.bindings.values():
            now = binding.now()
            if now is not binding.what and not same(now, binding.what):
                return str(binding)
        for holder, _ in self._holders:
            for name in self._names.intersection(_namespace(holder)):
                if (id(holder), name) not in self.bindings:
                    return str(Binding(holder, name, None))
        return None if self.items.hold() else str(self.items)

    def conditions(self, bind: Callable[[Any], str]) -> Iterator[str]:
        """What later calls check, as source; `bind` gives names to objects."""
        for binding in self.bindings.values():
            if not isinstance(binding.what, types.ModuleType):
                yield binding.source(bind)
        for hold in [self.items.hold] * bool(self.items.containers) + self._kept:
            yield f"{bind(hold)}()"

    # --- before -----------------------------------------------------------------------------------------------------

    def _visit(self, x: Any) -> None:
        if isinstance(x, PLAIN):
            if isinstance(x, np.generic):
                self.plain[id(x)] = x
            return
        if id(x) in self._seen:
            return
        self._seen[id(x)] = x
        if isinstance(x, np.random.Generator):
            self.generators.append(x)
        elif isinstance(x, np.ndarray):
            self.arrays.append(x)
            if x.dtype == object:
                self._stack += self.items.add(x)
        elif is_node(x):
            pass  # read anew, as its data is
        elif isinstance(x, tuple):
            self._stack += x
        elif inspect.isfunction(x):
            self._function(x)
        elif isinstance(x, (types.MethodType, types.BuiltinMethodType)):
            self._stack += [x.__self__, getattr(x, "__func__", None)]
        elif isinstance(x, weakref.ref):
            self._stack.append(x())
        elif isinstance(x, functools.partial):
            self._stack += [x.func, x.args, x.keywords]
        elif type(x).__module__ == "tinygrad_notes.compile.compiled":  # what it counts is no part of the function
            self._stack.append(x.f)
        elif isinstance(x, Iterator) and not isinstance(x, io.IOBase):
            raise TraceError(
                f"compile: the function reads an iterator from outside, {x!r}; each call would find it elsewhere. "
                "Take from it outside, and give what comes as an argument."
            )
        elif isinstance(x, types.ModuleType):
            if not _is_of_library(x.__name__):
                self._holders.append((x, {}))
        elif isinstance(x, type):
            if not _is_of_library(x.__module__):
                of_metaclass = self._class(type(x), SILENT) if type(x) is not type else {}
                self._holders.append((x, of_metaclass | self._class(x, SILENT - {"__init__", "__new__"})))
        elif isinstance(x, functools._lru_cache_wrapper):
            self._stack.append(x.__wrapped__)
        else:
            if isinstance(x, (Mapping, Set, MutableSequence)):
                self._stack += self.items.add(x)
            if type(x).__module__ != "builtins":
                self._holders.append((x, self._class(type(x), SILENT)))

    def _function(self, function: Any) -> None:
        code = function.__code__
        if _is_library(code.co_filename):  # it stays as it is, but for what it was given
            self._stack += [Binding(cell, "", None).now() for cell in function.__closure__ or ()]
            return
        attributes, names, modules, asked = _names(code)
        self._names |= attributes | asked
        self._asked |= asked
        self._reads_all |= not UNNAMED.isdisjoint(attributes | names)
        self._stack += [sys.modules.get(name) for name in modules]
        self._holders.append((function, {}))
        self._bind(function, "__code__", code)  # a notebook that reloads modules writes it anew
        for name in ("__defaults__", "__kwdefaults__"):
            if (given := getattr(function, name)) is not None:
                self._bind(function, name, given)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            if (what := Binding(cell, name, None).now()) is not MISSING:  # bound by now
                self._bind(cell, name, what)
        for name in names.intersection(function.__globals__):
            self._bind(function.__globals__, name, function.__globals__[name])
        self._seen[id(function.__globals__)] = function.__globals__  # looked at by name, even if it has a name itself

    def _class(self, kind: type, silent: set[str]) -> dict[str, Any]:
        """What a class gives its objects; operators and calls are written without a name, so they are followed."""
        given: dict[str, Any] = {}
        for base in reversed(kind.__mro__):
            if base is not object:
                given |= vars(base)
        for name, what in given.items():
            if not name.startswith("__") or name in silent:
                continue
            if inspect.isfunction(what):
                self._method(kind, name, what)
            elif isinstance(what, (staticmethod, classmethod)):  # `__new__` is one
                self._stack.append(what.__func__)
        return given

    def _method(self, kind: type, name: str, method: Any) -> None:
        if _is_library(method.__code__.co_filename):
            self._stack.append(method)
        else:
            self._bind(kind, name, method)

    def _look(self, holder: Any, of_class: Mapping[str, Any]) -> None:
        """Bind the attributes that may be read; of a module of this package, and of what extends it, it may be any."""
        own, names = _namespace(holder), self._names
        if self._reads_all:
            names = own.keys() | {name for name in of_class if not name.startswith("__")}
        elif any(base.__module__.startswith("tinygrad_notes.") for base in type(holder).__mro__):
            names = names | own.keys()
        for name in self._asked.difference(own, of_class):
            if not hasattr(holder, name):
                self.bindings.setdefault((id(holder), name), Binding(holder, name, MISSING))
        for name in names.intersection(chain(own, of_class)):
            if (id(holder), name) in self.bindings:
                continue
            raw = of_class.get(name)
            if name in own or isinstance(raw, types.MemberDescriptorType) or not hasattr(type(raw), "__get__"):
                if (what := getattr(holder, name, MISSING)) is not MISSING:
                    self._bind(holder, name, what)
            elif id(raw) in self._seen:
                continue
            elif inspect.isfunction(raw):
                self._method(holder if isinstance(holder, type) else type(holder), name, raw)
            else:  # another kind of method, a property: what it reads counts
                self._stack += [raw, *(getattr(raw, of, None) for of in ("__func__", "fget", "func"))]

    def _bind(self, holder: Any, name: str, what: Any) -> None:
        self.bindings.setdefault((id(holder), name), Binding(holder, name, what))
        self._stack.append(what)


def same(x: Any, y: Any) -> bool:
    """Whether two things are one, or equal and cannot change: numbers of one type and sign, strings, tuples of such."""
    if x is y:
        return True
    if type(x) is not type(y):
        return False
    if isinstance(x, tuple):
        return len(x) == len(y) and all(map(same, x, y))
    return isinstance(x, PLAIN) and repr(x) == repr(y)


def _namespace(holder: Any) -> Mapping[str, Any]:
    return {} if isinstance(holder, type) else getattr(holder, "__dict__", {})


@functools.cache
def _names(code: types.CodeType) -> tuple[set[str], set[str], set[str], set[str]]:
    """The attributes, the global names and the modules that code uses, with the code within it.

    And, where it asks for attributes by a name in a string, the strings that it uses.
    """
    found: tuple[set[str], set[str], set[str], set[str]] = (set(), set(), set(), set())
    for instruction in dis.get_instructions(code):
        for used, names in zip((LOADS, GLOBALS, {"IMPORT_NAME"}), found[:3], strict=True):
            if instruction.opname in used:
                names.add(instruction.argval)
    if not ASKING.isdisjoint(found[1]):
        found[3].update(part for part in code.co_consts if isinstance(part, str) and part.isidentifier())
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            for names, within in zip(found, _names(part), strict=True):
                names.update(within)
    return found


def _is_of_library(module: str) -> bool:
    """Whether a module, by its name, is the standard library's, this package's or an installed one."""
    known = module.partition(".")[0] in sys.stdlib_module_names  # of which some have no file
    return known or _is_library(getattr(sys.modules.get(module), "__file__", None) or "")


@functools.cache
def _is_library(file: str) -> bool:
    """Whether what comes from a file stays as it is: this package, the standard library, what is installed."""
    return file.startswith(LIBRARIES) or "site-packages" in file
