"""What a function reads from outside of its arguments: where it changes, the result does, or there is an error."""

from __future__ import annotations

import array
import functools
import itertools
import math
import sys
import types
import weakref
from collections import ChainMap, deque
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinygrad_notes as tn
from tinygrad_notes import compile
from tinygrad_notes.compile.trace import TraceError
from tinygrad_notes.nn import MLP

RATE: Any = 2.0
TRUTH: Any = True
WORD: Any = "double"
SOURCE: Any = SimpleNamespace(w=2.0)
ACTIVATION: Any = tn.tanh
settings: Any = types.ModuleType("settings")
X = np.array([0.5, -1.0, 2.0])


class Base:
    rate = 2.0

    def __call__(self, x: Any) -> Any:
        return x * self.rate


class Derived(Base):
    pass


class Slots:
    __slots__ = ("w",)

    def __init__(self, w: Any) -> None:
        self.w = w


class Scaled:
    """An object whose property and whose items are computed from what it holds."""

    def __init__(self) -> None:
        self._factor, self.table, self.history = 2.0, {"a": 2.0}, [0.0]

    @property
    def factor(self) -> Any:
        return self._factor + 1

    def __getitem__(self, name: str) -> Any:
        return self.table[name]

    def loss(self, x: Any) -> Any:
        return x * self.factor


def set_global(name: str, what: Any) -> None:
    globals()[name] = what


Case = Callable[[], tuple[Callable[[Any], Any], Callable[[], Any]]]
CASES: dict[str, Case] = {}


def case(make: Case) -> Case:
    """A function, and what changes something that it reads."""
    CASES[make.__name__] = make
    return make


def cases_of_globals(name: str, after: Any, f: Callable[[Any], Any]) -> None:
    CASES[f"global_{name}"] = lambda: (f, lambda: set_global(name, after))


cases_of_globals("RATE", 3, lambda x: x * RATE)
cases_of_globals("TRUTH", False, lambda x: x * 2 if TRUTH else x)
cases_of_globals("WORD", "other", lambda x: x * 2 if WORD == "double" else x)
cases_of_globals("SOURCE", SimpleNamespace(w=3.0), lambda x: x * SOURCE.w)
cases_of_globals("ACTIVATION", tn.exp, lambda x: 1.0 * ACTIVATION(x))
CASES["global_in_a_comprehension"] = lambda: (
    lambda x: sum([x * RATE for _ in range(2)]),
    lambda: set_global("RATE", 5.0),
)


@case
def item_of_a_list() -> Any:
    w = [1.0, 2.0]
    return lambda x: w[0] * x + w[1], lambda: w.__setitem__(0, 3.0)


@case
def item_of_another_sign() -> Any:
    w = [0.0]
    return lambda x: x * math.copysign(2.0, w[0]), lambda: w.__setitem__(0, -0.0)


@case
def length_of_a_list() -> Any:
    w = [1.0, 2.0]
    return lambda x: sum(v * x for v in w), lambda: w.append(3.0)


@case
def item_of_a_long_list() -> Any:
    w = [float(k) for k in range(200)]
    return lambda x: sum(v * x for v in w), lambda: w.__setitem__(100, 3.0)


@case
def length_of_a_long_list() -> Any:
    w = [(float(k), k) for k in range(200)]
    return lambda x: sum(v * x for v, _ in w), lambda: w.append((3.0, 1))


@case
def nested_lists() -> Any:
    w = [[1.0, 2.0], [3.0]]
    return lambda x: sum(v * x for row in w for v in row), lambda: w[1].__setitem__(0, 7.0)


@case
def value_in_a_list() -> Any:
    w = [tn.Value(1.0), tn.Value(2.0)]
    return lambda x: w[0] * x + w[1], lambda: w.__setitem__(1, tn.Value(5.0))


@case
def item_of_a_dictionary() -> Any:
    w = {"a": 1.0}
    return lambda x: w["a"] * x, lambda: w.update(a=3.0)


@case
def key_of_a_dictionary() -> Any:
    w = {"a": 1.0}
    return lambda x: sum(v * x for v in w.values()), lambda: w.update(b=3.0)


@case
def a_set() -> Any:
    names = {"a"}
    return lambda x: x * 2 if "b" in names else x, lambda: names.add("b")


@case
def a_queue() -> Any:
    w = deque([1.0, 2.0])
    return lambda x: w[0] * x, lambda: w.rotate(1)


@case
def a_closure() -> Any:
    n = 2

    def change() -> None:
        nonlocal n
        n = 3

    return lambda x: x**n, change


@case
def a_holder() -> Any:
    model = SimpleNamespace(part=SimpleNamespace(w=[2.0]))

    def change() -> None:
        model.part = SimpleNamespace(w=[3.0])

    return lambda x: x * model.part.w[0], change


@case
def deep_attributes() -> Any:
    deep = SimpleNamespace(a=SimpleNamespace(b=SimpleNamespace(c=SimpleNamespace(d=SimpleNamespace(w=2)))))
    return lambda x: x * deep.a.b.c.d.w, lambda: setattr(deep.a.b.c.d, "w", 3)


@case
def slots() -> Any:
    model = Slots(2.0)
    return lambda x: x * model.w, lambda: setattr(model, "w", 3.0)


@case
def an_attribute_of_the_class() -> Any:
    model = Derived()
    return lambda x: 1.0 * model(x), lambda: setattr(Base, "rate", Base.rate + 1)


@case
def a_class() -> Any:
    return lambda x: x * Derived.rate, lambda: setattr(Derived, "rate", Base.rate + 3)


@case
def a_class_beside_an_object_of_it() -> Any:
    model = Derived()
    return lambda x: model(x) + type(model).rate + Derived.rate, lambda: setattr(Derived, "rate", Base.rate + 3)


@case
def an_attribute_that_hides_the_class() -> Any:
    model = Base()
    return lambda x: 1.0 * model(x), lambda: setattr(model, "rate", 9.0)


@case
def a_property() -> Any:
    model = Scaled()
    return model.loss, lambda: setattr(model, "_factor", 3.0)


@case
def items_by_a_method_without_a_name() -> Any:
    model = Scaled()
    return lambda x: x * model["a"], lambda: model.table.update(a=5.0)


@case
def a_dynamic_name() -> Any:
    model = Scaled()
    name = "_factor"
    return lambda x: x * getattr(model, name), lambda: setattr(model, "_factor", 3.0)


@case
def all_attributes() -> Any:
    model = SimpleNamespace(a=1.0, b=2.0)
    return lambda x: x * sum(vars(model).values()), lambda: setattr(model, "b", 3.0)


@case
def defaults() -> Any:
    def f(x: Any, scale: float = 2.0) -> Any:
        return x * scale

    return f, lambda: setattr(f, "__defaults__", (3.0,))


@case
def what_a_default_holds() -> Any:
    w = [2.0]

    def f(x: Any, *, scale: Any = w) -> Any:
        return x * scale[0]

    return f, lambda: w.__setitem__(0, 4.0)


@case
def a_module() -> Any:
    settings.rate = 2.0
    return lambda x: x * settings.rate, lambda: setattr(settings, "rate", 3.0)


@case
def a_partial_function() -> Any:
    w = [2.0]
    f = functools.partial(lambda w, x, n: x * w[0] * n, w, n=1)
    return f, lambda: f.keywords.update(n=3)


@case
def a_cached_function() -> Any:
    w = [2.0]

    @functools.lru_cache
    def scale() -> float:
        return w[0]

    return lambda x: x * scale(), lambda: (w.__setitem__(0, 3.0), scale.cache_clear())


@case
def a_function_in_a_list() -> Any:
    layers = [tn.tanh]
    return lambda x: 1.0 * layers[0](x), lambda: layers.__setitem__(0, tn.exp)


@case
def a_decorated_function() -> Any:
    w = [2.0]

    def twice(f: Any) -> Any:
        return lambda x: f(f(x))

    return twice(lambda x: x * w[0]), lambda: w.append(w.pop() + 1)


@case
def a_compiled_function() -> Any:
    w = [2.0]
    inner = compile(lambda x: x * w[0])
    return lambda x: inner(x) + 1, lambda: w.__setitem__(0, 3.0)


@case
def a_method_that_is_replaced() -> Any:
    class Model:
        def forward(self, x: Any) -> Any:
            return x * 2.0

    model = Model()
    return lambda x: model.forward(x) + 1, lambda: setattr(Model, "forward", lambda self, x: x * 3.0)


@case
def a_call_that_is_replaced() -> Any:
    class Model:
        def __call__(self, x: Any) -> Any:
            return x * 2.0

    return Model(), lambda: setattr(Model, "__call__", lambda self, x: x * 3.0)


@case
def an_attribute_of_a_function() -> Any:
    def f(x: Any) -> Any:
        return x * f.rate  # type: ignore[attr-defined]  # set below

    f.rate = 2.0  # type: ignore[attr-defined]  # a function may have any
    return f, lambda: setattr(f, "rate", 3.0)


@case
def a_module_that_is_imported_within() -> Any:
    sys.modules["settings_of_the_test"] = settings
    settings.rate = 2.0

    def f(x: Any) -> Any:
        from settings_of_the_test import rate  # type: ignore[import-not-found]  # made here

        return x * rate

    return f, lambda: setattr(settings, "rate", 4.0)


@case
def an_array_of_the_standard_library() -> Any:
    w = array.array("d", [1.0, 2.0])
    return lambda x: x * w[1], lambda: w.__setitem__(1, 3.0)


@case
def a_chain_of_dictionaries() -> Any:
    w = ChainMap({"a": 1.0}, {"b": 2.0})
    return lambda x: x * w["b"], lambda: w.maps[1].update(b=3.0)


@case
def a_dictionary_with_attributes() -> Any:
    class Table(dict[str, float]):
        rate = 2.0

    w = Table(a=1.0)
    return lambda x: x * w["a"] * w.rate, lambda: setattr(w, "rate", 3.0)


@case
def an_index() -> Any:
    index = np.array([0, 1])
    return lambda x: tn.sum(x[index]), lambda: index.__setitem__(0, 2)


@case
def a_taken_index() -> Any:
    index = np.array([0, 1])
    return lambda x: tn.sum(tn.take(x, index)), lambda: index.__setitem__(0, 2)


@case
def a_mask() -> Any:
    mask = np.array([True, False, True])
    return lambda x: tn.sum(x[mask]), lambda: mask.__setitem__(0, False)


@case
def an_index_that_is_also_a_number() -> Any:
    index = np.array([0, 1])
    return lambda x: tn.sum(x[index]) + tn.sum(x * tn.sum(tn.Tensor(1.0) * index)), lambda: index.__setitem__(0, 2)


@case
def a_number_of_an_array() -> Any:
    w = np.array([2.0, 3.0])
    return lambda x: x * float(w[0]), lambda: w.__setitem__(0, 5.0)


@case
def an_item_of_an_array() -> Any:
    w = np.array([2.0, 3.0])
    return lambda x: x * w.item(0), lambda: w.__setitem__(0, 5.0)


@case
def a_branch_on_an_array() -> Any:
    w = np.array([2.0, 3.0])
    return lambda x: x * 2 if w[0] > 0 else -x, lambda: w.__setitem__(0, -5.0)


@case
def the_size_of_an_array_that_is_bound_anew() -> Any:
    model = SimpleNamespace(w=np.ones(2))
    return lambda x: x * model.w.size, lambda: setattr(model, "w", np.ones(3))


@case
def numpys_result_of_an_array() -> Any:
    w = np.array([2.0, 3.0, 4.0])
    return lambda x: tn.sum(x * np.log(w)), lambda: w.__setitem__(0, 5.0)


@case
def numpys_result_of_an_array_beside_it() -> Any:
    w = np.array([2.0, 3.0, 4.0])
    return lambda x: tn.sum(x * np.log(w) + w), lambda: w.__setitem__(0, 5.0)


@case
def a_view_of_an_array() -> Any:
    w = np.array([2.0, 3.0, 4.0])
    return lambda x: tn.sum(x * w[::-1]), lambda: w.__setitem__(0, 5.0)


@case
def an_array_of_nodes() -> Any:
    w = np.empty(2, object)
    w[0], w[1] = tn.Value(1.0), tn.Value(2.0)
    return lambda x: w[0] * x + w[1], lambda: w.__setitem__(0, tn.Value(3.0))


@case
def a_number_of_numpys_type() -> Any:
    model = SimpleNamespace(rate=np.float64(2.0))
    return lambda x: x * model.rate, lambda: setattr(model, "rate", np.float64(3.0))


@case
def parameters_of_a_module() -> Any:
    model = MLP([3, 2, 1], rng=0)

    def change() -> None:
        model.layers[0].weight = tn.Tensor(np.ones((3, 2)))

    return lambda x: sum(tn.sum(p * p) for p in model.parameters()) * x, change


@case
def a_bound_method() -> Any:
    model = Scaled()
    by_name = {"f": model.loss}
    return lambda x: 1.0 * by_name["f"](x), lambda: by_name.update(f=lambda x: x)


def plain(x: Any) -> Any:
    """The numbers of a result."""
    return x.data if isinstance(x, (tn.Value, tn.Tensor)) else x


@pytest.fixture(autouse=True)
def _restored() -> Any:
    before = dict(globals())
    yield
    globals().update(before)
    Base.rate = 2.0
    if "rate" in vars(Derived):
        del Derived.rate
    sys.modules.pop("settings_of_the_test", None)


class Registry(type):
    """A metaclass: what it gives its classes is found through them."""

    def __getitem__(cls, k: int) -> Any:
        return cls.table[k]

    @property
    def first(cls) -> Any:
        return cls.table[0]


class Registered(metaclass=Registry):
    table = (2.0, 2.0)


class Static:
    """A class that is called for its own sake, and has a method that Python calls by itself."""

    rate = 2.0

    def __new__(cls) -> Any:
        made = object.__new__(cls)
        made.made = cls.rate
        return made

    def __call__(self, x: Any) -> Any:
        return x

    @staticmethod
    def times(x: Any) -> Any:
        return x * Static.rate


@case
def an_attribute_read_by_a_static_method() -> Any:
    model: Any = Static()
    model.rate = 1.0  # not what the method reads
    return lambda x: 1.0 * model.times(x), lambda: setattr(Static, "rate", Static.rate + 1)


@case
def an_attribute_read_while_an_object_is_made() -> Any:
    return lambda x: x * Static().made, lambda: setattr(Static, "rate", Static.rate + 1)


@case
def an_operator_of_a_metaclass() -> Any:
    return lambda x: x * Registered[1], lambda: setattr(Registered, "table", (4.0, Registered[1] + 1))


@case
def a_property_of_a_metaclass() -> Any:
    return lambda x: x * Registered.first, lambda: setattr(Registered, "table", (Registered.first + 1, 5.0))


@case
def an_attribute_that_may_be_there() -> Any:
    model = Base()
    return lambda x: x * 2 if hasattr(model, "half") else x, lambda: setattr(model, "half", 0.5)


@case
def an_attribute_that_may_be_gone() -> Any:
    model = SimpleNamespace(half=0.5)
    return lambda x: x * 2 if hasattr(model, "half") else x, lambda: delattr(model, "half")


@case
def an_attribute_with_another_in_its_place() -> Any:
    model = SimpleNamespace()
    return lambda x: x * getattr(model, "half", 1.0), lambda: setattr(model, "half", 0.5)


@case
def a_weak_reference() -> Any:
    model: Any = Base()
    model.w = 2.0
    weak = weakref.ref(model)

    def f(x: Any) -> Any:
        found = weak()
        return x * found.w if found else x

    return f, lambda: setattr(model, "w", 3.0)


@case
def code_that_is_loaded_anew() -> Any:
    def helper(x: Any) -> Any:
        return x * 2.0

    def other(x: Any) -> Any:
        return x * 3.0

    return lambda x: 1.0 * helper(x), lambda: setattr(helper, "__code__", other.__code__)


@pytest.mark.parametrize("name", CASES)
def test_what_changes_is_noticed(name: str) -> None:
    f, change = CASES[name]()
    compiled = compile(f)
    try:
        before = compiled(X)
        np.testing.assert_allclose(before, plain(f(X)), rtol=1e-12)
        compiled(X)
        assert compiled.stats.programs == 1  # nothing has changed
        change()
        np.testing.assert_allclose(compiled(X), plain(f(X)), rtol=1e-12)
    except TraceError:
        assert name == "numpys_result_of_an_array_beside_it"
    else:
        assert not np.array_equal(before, plain(f(X)))  # the change was one


# --- what is not looked at --------------------------------------------------------------------------------------------


def test_what_is_not_read_may_change() -> None:
    """A step of a class that writes a history is not traced anew in every call."""

    class Trainer(Scaled):
        def __init__(self) -> None:
            super().__init__()
            self.step = compile(tn.value_and_grad(self.loss))
            self.epoch = 0

        def fit(self, x: float) -> None:
            for self.epoch in range(5):
                self.history.append(self.step(x)[0])

    trainer = Trainer()
    trainer.fit(2.0)
    assert trainer.history == [0.0] + [6.0] * 5
    assert trainer.step.stats.programs == 1


def test_a_module_may_count() -> None:
    class Network(MLP):
        def __init__(self) -> None:
            super().__init__([3, 2, 1], rng=0)
            self.steps, self.losses = 0, [0.5]

        def loss(self, x: Any) -> Any:
            return tn.mean(self(x) ** 2) + sum(tn.sum(p * p) for p in self.parameters())

    network = Network()
    f = compile(network.loss)
    for _ in range(3):
        network.losses.append(f(X[None]))
        network.steps += 1
    assert f.stats.programs == 1
    network.layers[0].weight = tn.Tensor(np.ones(network.layers[0].weight.shape))
    np.testing.assert_allclose(f(X[None]), network.loss(X[None]).data)


def test_values_of_before_are_found_again() -> None:
    w = [2.0]
    f = compile(lambda x: x * w[0])
    for _ in range(3):
        for number in (2.0, 3.0):
            w[0] = number
            assert f(2.0) == 2 * number
    assert f.stats.programs == 2


def test_equal_items_in_other_objects_are_no_change() -> None:
    long, short = [float(k) for k in range(300)], [0.5, (1.5, "a")]
    f = compile(lambda x: sum(v * x for v in long) + short[0])
    assert f(1.0) == 44850.5
    long[:] = [float(k) for k in range(300)]
    short[:] = [float("0.5"), (float("1.5"), "a")]
    assert (f(1.0), f.stats.programs) == (44850.5, 1)
    long[7] = 7  # an int
    assert (f(1.0), f.stats.programs) == (44850.5, 2)


def test_arrays_that_are_computed_with_keep_no_number() -> None:
    w = [np.ones(3), {"b": np.ones(3)}]
    f = compile(lambda x: tn.sum(x * w[0] + w[1]["b"]))
    for k in range(4):
        w[0][:] = k
        w[1]["b"][:] = -k
        assert f(X) == np.sum(X * k - k)
    assert f.stats.programs == 1


# --- what a function changes ------------------------------------------------------------------------------------------


def test_what_a_function_changes_is_refused() -> None:
    kept: list[Any] = []
    table: dict[str, Any] = {}
    model = SimpleNamespace(count=0)

    def count(x: Any) -> Any:
        model.count += 1
        return x * model.count

    def rebind(x: Any) -> Any:
        global RATE
        RATE = RATE + 1
        return x * RATE

    changes: dict[str, Callable[[Any], Any]] = {
        "the items of a list": lambda x: (kept.append(x), x)[1],
        "the items of a dict": lambda x: (table.update({str(len(table)): x}), x)[1],
        "the attribute 'count' of SimpleNamespace": count,
        "the variable 'RATE'": rebind,
    }
    for what, f in changes.items():
        with pytest.raises(TraceError, match=f"compile: the function changed {what}.*argument and return"):
            compile(f)(1.0)


def test_a_class_that_keeps_its_activations() -> None:
    """What is left there is no number: whoever reads it is told to return it."""

    class Net:
        def __init__(self) -> None:
            self.cache: dict[str, Any] = {}

        def forward(self, w: Any, x: Any) -> Any:
            self.Z = w * x
            self.cache["a"] = (tn.tanh(self.Z), "tanh")
            return self.cache["a"][0]

        def backward(self) -> Any:
            return 1 - self.cache["a"][0] ** 2 + 0 * self.Z

        def step(self, w: Any, x: Any) -> Any:
            return self.forward(w, x), self.backward()

    net = Net()
    eager = net.step(0.5, X)
    program = compile(net.step)
    for _ in range(3):
        for found, expected in zip(program(0.5, X), eager, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert program.stats.programs == 1
    for kept in (net.Z, net.cache["a"][0]):
        with pytest.raises((TraceError, RuntimeError), match="Return it"):
            kept + 1
    net.step(0.5, X)  # without compile it is a number again
    np.testing.assert_allclose(program(0.5, X)[0], eager[0])


def test_a_state_that_is_kept_outside_is_refused() -> None:
    cell = SimpleNamespace(h=0.0)

    def step(x: Any) -> Any:
        cell.h = tn.tanh(cell.h + x)
        return cell.h

    with pytest.raises((TraceError, RuntimeError), match=r"Return it|changed"):
        compile(step)(1.0)


def test_what_is_made_when_it_is_first_used_is_no_change() -> None:
    class Model:
        def __init__(self) -> None:
            self.index: Any = None

        @functools.cached_property
        def scale(self) -> float:
            return 2.0

        def __call__(self, x: Any) -> Any:
            if self.index is None:
                self.index = np.array([0, 2])
            return tn.sum(x[self.index]) * self.scale

    model = Model()
    f = compile(model)
    assert f(X) == 5.0
    model.index[0] = 1
    assert f(X) == 2.0


@pytest.mark.parametrize("source", [itertools.count(), iter([1.0, 2.0]), (k for k in range(3))])
def test_iterators_are_refused(source: Any) -> None:
    with pytest.raises(TraceError, match=r"iterator.*argument"):
        compile(lambda x: x * next(source))(1.0)


# --- static arguments -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Options:
    rate: float


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (0.0, -0.0),
        ([1.0], [1]),
        ((1, [2.0]), (1, [2])),
        ({"a": 1}, {"a": True}),
        ([0.0], [-0.0]),
        (Options(1.0), Options(2.0)),
        (np.array([1.0]), np.array([1])),
    ],
    ids=repr,
)
def test_static_arguments_that_differ(first: Any, second: Any) -> None:
    f = compile(lambda x, how: [x, repr(how)], static=1)
    for how in (first, second, first):
        assert f(1.0, how) == [1.0, repr(how)]
    assert f.stats.programs == 2


@pytest.mark.parametrize(
    "make", [lambda: [1, (2.0, "a")], lambda: {"a": [1]}, lambda: Options(1.0), lambda: np.ones(3)]
)
def test_static_arguments_that_are_equal(make: Callable[[], Any]) -> None:
    f = compile(lambda x, how: x, static=1)
    for _ in range(3):
        f(1.0, make())
    assert f.stats.programs == 1


def test_static_arguments_that_are_changed_in_place() -> None:
    f = compile(lambda x, how: x * how["n"][0], static=1)
    how = {"n": [2.0]}
    assert f(1.0, how) == 2.0
    how["n"][0] = 3.0
    assert f(1.0, how) == 3.0
    assert f(1.0, {"n": [2.0]}) == 2.0
    g = compile(lambda x, model: x * model.w, static=1)
    model = SimpleNamespace(w=2)
    assert g(1.0, model) == 2.0
    model.w = 3
    assert g(1.0, model) == 3.0
    h = compile(lambda x, index: tn.sum(x[index]), static=1)
    index = np.array([0, 1])
    assert h(X, index) == -0.5
    index[0] = 2
    assert h(X, index) == 1.0
