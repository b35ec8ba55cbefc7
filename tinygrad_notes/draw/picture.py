"""`Picture`: a drawn graph that shows itself in a notebook and saves itself."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..files import write_whole
from . import render, tex
from .page import page

SUFFIXES = (".svg", ".png", ".pdf", ".dot", ".html")
SHOWN = 1500
"""A notebook is not made to lay out more nodes than this unasked."""


@dataclass(frozen=True, repr=False)
class Picture:
    """What `draw` returns.

    Attributes:
        source: the DOT text.
        nodes: how many nodes it has, constants included.
        edges: how many edges.
        note: how the graph was folded, if it was.
        formulas: what stands in the SVG in place of the marks of the source.
    """

    source: str
    nodes: int
    edges: int
    note: str = ""
    formulas: Mapping[str, tex.Formula] = field(default_factory=dict)

    def svg(self) -> str:
        """The picture as SVG text, from `<svg` to `</svg>`.

        Raises:
            RenderError: no renderer is installed (the text says what to install), or it failed.
        """
        return tex.put(render.svg(self.source), self.formulas)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture to a file; an old file stays as it is until the new one is whole.

        Args:
            path: where; its suffix says what: .svg, .png (192 dots an inch), .pdf, .dot or .html (a page that needs
                nothing else).

        Returns:
            The path.

        Raises:
            ValueError: another suffix.
            FileNotFoundError: the folder does not exist.
            RenderError: no renderer for this kind is installed, or it failed; the DOT source is then saved beside the
                path, as its error says.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            raise ValueError(
                f"Picture.save: {path.name!r} ends in {path.suffix!r}; expected one of {', '.join(SUFFIXES)}."
            )
        if not path.parent.is_dir():
            raise FileNotFoundError(f"Picture.save: there is no folder {str(path.parent)!r}; create it first.")
        if suffix == ".dot":
            content = self.source.encode()
        else:
            try:
                content = self._rendered(suffix)
            except render.RenderError as error:
                kept = self._keep_source(path)
                raise render.RenderError(f"Picture.save: {error} The DOT source is saved in {str(kept)!r}.") from error
        write_whole(path, content)
        return path

    def _rendered(self, suffix: str) -> bytes:
        if suffix == ".svg":
            return self.svg().encode()
        if suffix == ".html":
            return page(self.svg(), repr(self)).encode()
        if self.formulas:
            return tex.convert(self.svg(), suffix[1:])
        return render.render(self.source, suffix[1:])

    def _keep_source(self, path: Path) -> Path:
        """Save the source beside `path`; a file that is there already and says something else stays."""
        content = self.source.encode()
        kept, n = path.with_suffix(".dot"), 1
        while kept.exists() and not (kept.is_file() and kept.read_bytes() == content):
            n += 1
            kept = path.with_name(f"{path.stem}-{n}.dot")
        write_whole(kept, content)
        return kept

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, str]:
        """What a notebook shows: the SVG, or why there is none in words."""

        def wanted(kind: str) -> bool:
            return (not include or kind in include) and (not exclude or kind not in exclude)

        text, bundle = repr(self), {}
        if wanted("image/svg+xml"):
            if self.nodes > SHOWN:
                text += f" Not shown: more than {SHOWN} nodes. Draw a part, or save it: picture.save('graph.svg')."
            else:
                try:
                    bundle["image/svg+xml"] = self.svg()
                except render.RenderError as error:
                    text += f" Not shown. {error}"
        if wanted("text/plain"):
            bundle["text/plain"] = text
        return bundle

    def __repr__(self) -> str:
        """`Picture(nodes=7, edges=6)`, with the note."""
        return f"Picture(nodes={self.nodes}, edges={self.edges})" + (f": {self.note}" if self.note else "")
