"""What a function reads from outside of its arguments, and whether a later call finds it as it was.

A traced function is run once, so whatever it reads by itself would stay as it was then: the number behind a global
name, the items of a list, an attribute of a model. So before tracing we go where its code can go: the names that its
instructions load, from the closure, the globals and the attributes of every object on the way, and the functions and
methods that it reaches so. Each binding found is a condition that later calls check; where one fails, the function is
traced anew. What is only computed with, arrays and nodes, is captured instead, and may change its numbers freely.

What the function changes there is refused, but for what it makes and keeps when it is first used, and for traced values
that it leaves in places which it writes before it reads them, as a class does that keeps its last activations.
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
from typing import TYPE_CHECKING, Any

import numpy as np

from ..graph import is_node
from .remembered import MISSING, PLAIN, Binding, Items, Numbers, alike, is_traced
from .trace import TraceError
from .trace.refusals import PACKAGE

if TYPE_CHECKING:
    from .capture import Captures

LIBRARIES = (PACKAGE, "<frozen", "<tinygrad_notes", sysconfig.get_paths()["stdlib"])
LOADS = {"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "STORE_ATTR", "DELETE_ATTR", "IMPORT_FROM"}
GLOBALS = {"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"}
UNNAMED = {"getattr", "setattr", "vars", "__dict__", "__getattribute__", "attrgetter"}
"""Whatever uses these may read any attribute."""
ASKING = {"hasattr", "getattr"}
"""Whatever uses these may ask for an attribute that is not there; its name is among the strings that are used."""
SILENT = {"__init__", "__new__", "__repr__", "__str__", "__del__", "__reduce__"}
"""Methods that no use of an object that is there already runs; or none that computes."""
AT_ONCE = {*PLAIN} - {np.generic}


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
            stays = id(a) not in bases or a.dtype.kind != "f"
            if a.dtype != object and (stays or made):
                numbers = Numbers(a, (a.shape, a.dtype), a.tobytes())
                self._kept.append(numbers.hold if stays else numbers.insist)

    def changed(self) -> str | None:
        """What is no longer as it was, in words."""
        for binding in self.bindings.values():
            now = binding.now()
            if now is not binding.what and not alike(now, binding.what):
                return str(binding)
        for holder, _ in self._holders:
            for name in self._names.intersection(_namespace(holder)):
                if (id(holder), name) not in self.bindings:
                    return str(Binding(holder, name, None))
        return self.items.changed()

    def conditions(self, bind: Callable[[Any], str]) -> Iterator[str]:
        """What later calls check, as source; `bind` gives names to objects."""
        for binding in self.bindings.values():
            if not (isinstance(binding.what, types.ModuleType) or is_traced(binding.what)):
                yield binding.source(bind)
        for hold in [self.items.hold] * bool(self.items.containers or self.items.long) + self._kept:
            yield f"{bind(hold)}()"

    # --- before -----------------------------------------------------------------------------------------------------

    def _visit(self, x: Any) -> None:
        if isinstance(x, np.generic):
            self.plain[id(x)] = x
        if isinstance(x, PLAIN) or id(x) in self._seen:
            return
        self._seen[id(x)] = x
        if isinstance(x, np.random.Generator):
            self.generators.append(x)
        elif isinstance(x, np.ndarray):
            self.arrays.append(x)
            if x.dtype == object:
                self._push(self.items.add(x))
        elif is_node(x):
            pass  # read anew, as its data is
        elif isinstance(x, tuple):
            self._push(x)
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
                self._push(self.items.add(x))
            if type(x).__module__ != "builtins":
                self._holders.append((x, self._class(type(x), SILENT)))

    def _push(self, items: Sequence[Any]) -> None:
        """Visit these later; numbers, and tuples of them, of which there may be very many, need no visit."""
        kinds = set(map(type, items))
        if kinds == {tuple}:
            kinds = set(map(type, chain.from_iterable(items)))
        if not kinds <= AT_ONCE:
            self._stack += items

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
        """Bind the attributes that may be read; where a class of this package is extended, any may be."""
        own, names = _namespace(holder), self._names
        if self._reads_all:
            names = own.keys() | {name for name in of_class if not name.startswith("__")}
        elif any(base.__module__.startswith("tinygrad_notes.") for base in type(holder).__mro__):
            names = names | {name for name, what in own.items() if not _is_record(what)}
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


def _is_record(x: Any) -> bool:
    """Whether something is a number or a list of numbers, as of steps and losses: no part of a network."""
    return isinstance(x, PLAIN) or (isinstance(x, (list, tuple)) and AT_ONCE.issuperset(map(type, x)))


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
