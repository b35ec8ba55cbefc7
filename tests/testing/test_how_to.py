"""The how-to pages: their blocks run in order, and print what the page says."""

import contextlib
import io
import linecache
import re
from pathlib import Path

import pytest

from tinygrad_notes.cli import main

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
BLOCK = re.compile(r"^```(python|bash|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("page", "package"),
    [("check-a-homework.md", "numpy"), ("check-a-torch-function.md", "torch"), ("check-a-jax-custom-vjp.md", "jax")],
)
def test_the_page_prints_what_it_says(page, package, tmp_path, monkeypatch):
    pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall((PAGES / page).read_text(encoding="utf-8"))
    shown = [text for kind, text in blocks if kind == "text"]
    assert shown, "a page that shows no output proves nothing"
    printed = run([(kind, text) for kind, text in blocks if kind != "text"])
    assert printed == shown


def run(blocks):
    """What each block prints, if anything. Python blocks share their names; the first is the file of a command."""
    known: dict[str, object] = {"__name__": "page"}
    printed: list[str] = []
    for number, (kind, text) in enumerate(blocks):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            if kind == "bash":
                program, command, file = text.split()
                assert program == "tinygrad-notes"
                Path(file).write_text(blocks[0][1], encoding="utf-8")
                assert main([command, file]) == 1, "the page's file holds a mistake"
            else:
                name = f"<block {number}>"
                lines = text.splitlines(keepends=True)
                linecache.cache[name] = (len(text), None, lines, name)  # the checker reads the formulas' source
                exec(compile(text, name, "exec"), known)
        if output.getvalue():
            printed.append(output.getvalue())
    return printed
