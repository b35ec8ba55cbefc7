"""Draw the gallery anew: run the examples of docs/pictures.md, and save what they call `picture` at each image.

    python docs/pictures/make.py [FOLDER]

The code in the page is what is drawn, so the two cannot come apart.
"""

import contextlib
import doctest
import io
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "pictures.md"


def make(folder: Path) -> list[Path]:
    """Run the page and save its pictures.

    Args:
        folder: where to.

    Returns:
        The files.
    """
    text = PAGE.read_text(encoding="utf-8")
    steps = [(example.lineno, example) for example in doctest.DocTestParser().get_examples(text)]
    steps += [(n, found[1]) for n, line in enumerate(text.splitlines()) if (found := re.match(r"!\[.*\]\(pictures/(.+)\)", line))]
    made, names = [], {"__name__": "__main__"}
    for _, step in sorted(steps, key=lambda pair: pair[0]):
        if isinstance(step, str):
            made.append(names["picture"].save(folder / step))
            continue
        expected = [Exception] if step.exc_msg else []  # the tests hold what is printed and raised against the page
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(*expected):
            exec(compile(step.source, "<module>", "single"), names)
    return made


if __name__ == "__main__":
    for path in make(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE):
        print(path)
