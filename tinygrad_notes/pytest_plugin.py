"""A pytest plugin: what a failed gradient check found, in a section of its own under the failure.

pytest loads this file as the top-level module `tinygrad_notes_pytest` (see pyproject.toml): a module of the package
would import the package, and NumPy with it, into every run of pytest. So nothing of the package is imported here, and
its errors are looked for only once a test has imported the checker.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from typing import Any

import pytest

TITLE = "gradient check"
_ERRORS = (("tinygrad_notes.testing.verdicts", "GradientError"), ("tinygrad_notes.testing.reports", "DerivationError"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Move the report of a failed check from the message of the error to a section."""
    report = yield
    kinds = tuple(getattr(sys.modules[module], name) for module, name in _ERRORS if module in sys.modules)
    if report.failed and call.excinfo is not None and kinds:
        texts = [str(error) for error in _within(call.excinfo.value, set()) if isinstance(error, kinds)]
        _show(report, list(dict.fromkeys(texts)))
    return report


def _within(error: BaseException | None, seen: set[int]) -> Iterator[BaseException]:
    """An error, what it was raised from or beside, and the members of a group."""
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    yield error
    for member in getattr(error, "exceptions", ()):
        yield from _within(member, seen)
    yield from _within(error.__cause__, seen)
    if not error.__suppress_context__:
        yield from _within(error.__context__, seen)


def _show(report: Any, texts: list[str]) -> None:
    # A section of the traceback is shown by --show-capture=no, editors and JUnit files too; one of the report is not.
    sections = getattr(report.longrepr, "sections", report.sections)
    if not texts or any(section[0] == TITLE for section in sections):
        return
    for text in texts:
        _cut(report.longrepr, text)
    content = "\n\n".join(text.strip("\n") for text in texts)
    if hasattr(report.longrepr, "addsection"):
        report.longrepr.addsection(TITLE, content)
    else:
        report.sections.append((TITLE, content))


def _cut(longrepr: Any, text: str) -> None:
    """Take all but the first line of an error's message out of the traceback and out of the summary."""
    message = text.split("\n")
    crash = getattr(longrepr, "reprcrash", None)
    if crash is not None:
        crash.message = crash.message.replace(text, message[0])
    for traceback, *_ in getattr(longrepr, "chain", ()):
        for entry in traceback.reprentries:
            lines: list[str] = entry.lines
            for start in range(len(lines) - len(message) + 1):
                shown = lines[start : start + len(message)]
                if shown[0].endswith(message[0]) and all(
                    line.startswith("E") and line[1:].strip() == part.strip()
                    for line, part in zip(shown[1:], message[1:], strict=True)
                ):
                    del lines[start + 1 : start + len(message)]
                    break
