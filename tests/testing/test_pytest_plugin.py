"""The pytest plugin shows what a failed check found, once, and costs nothing where it is not used."""

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

# The file in the tree, not the copy that was installed.
PLUGIN = ("-p", "no:cacheprovider", "-p", "no:tinygrad_notes", "-p", "tinygrad_notes.pytest_plugin", "-n", "0")
FAILING = """
import pytest
from tinygrad_notes.testing.verdicts import GradientError, Verdict
from tinygrad_notes.testing.reports import DerivationError, DerivationReport

class Report(DerivationReport):
    wrong = ["dz"]

    def __str__(self):
        return "dz  2 * z  wrong\\n\\ndz is wrong: its sign."

def error():
    return DerivationError(Report([]))
"""
BODIES = {
    "raised": "raise error()",
    "cause": "raise ValueError('other') from error()",
    "context": """
    try:
        raise error()
    except AssertionError:
        raise ValueError('other')""",
    "group": "raise ExceptionGroup('two', [ValueError('other'), error()])",
}


def section(result):
    """The lines below the title of the section."""
    lines = result.outlines
    titles = [i for i, line in enumerate(lines) if line.strip("- ") == "gradient check"]
    assert len(titles) == 1
    return lines[titles[0] + 1 : titles[0] + 4]


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("options", [(), ("--show-capture=no",), ("--tb=short",)])
def test_the_report_stands_in_a_section(pytester, body, options):
    pytester.makepyfile(FAILING + f"\ndef test_it():\n    {body}\n")
    result = pytester.runpytest_inprocess(*PLUGIN, *options)
    result.assert_outcomes(failed=1)
    assert section(result) == ["derivation: wrong: dz", "dz  2 * z  wrong", ""]


@pytest.mark.parametrize("body", [BODIES["raised"], BODIES["context"]])
@pytest.mark.parametrize("summary", ["cut", "whole"])
def test_the_report_is_shown_once(pytester, monkeypatch, body, summary):
    # pytest shows the whole message of the error in its summary where CI is set.
    monkeypatch.delenv("CI", raising=False)
    if summary == "whole":
        monkeypatch.setenv("CI", "true")
    pytester.makepyfile(FAILING + f"\ndef test_it():\n    {body}\n")
    result = pytester.runpytest_inprocess(*PLUGIN)
    assert result.stdout.str().count("dz is wrong: its sign.") == 1
    assert "DerivationError" in result.stdout.str()


def test_a_verdict_under_hypothesis(pytester):
    pytester.makepyfile("""
from hypothesis import given, settings, strategies as st
from tinygrad_notes.testing.verdicts import assert_gradient

@settings(database=None)
@given(st.integers(-3, 3))
def test_square(x):
    assert_gradient(lambda x: x * x, float(x), gradient=lambda x: 3 * x)
""")
    result = pytester.runpytest_inprocess(*PLUGIN)
    result.assert_outcomes(failed=1)
    assert section(result)[0] == "gradient: wrong (exact)"
    assert result.stdout.str().count("given ") == 1
    result.stdout.fnmatch_lines(["*test_square(*"])


def test_other_failures_and_expected_ones_are_left_alone(pytester):
    pytester.makepyfile(
        FAILING
        + """
def test_other():
    assert 1 == 2

def test_expected():
    with pytest.raises(DerivationError):
        raise error()
"""
    )
    result = pytester.runpytest_inprocess(*PLUGIN)
    result.assert_outcomes(failed=1, passed=1)
    assert "gradient check" not in result.stdout.str()


def test_an_unused_plugin_imports_nothing(tmp_path):
    """As pytest loads it from the wheel: by its own name, through the entry point."""
    (tmp_path / "test_nothing.py").write_text(
        "import sys\n\ndef test_it():\n"
        "    assert 'tinygrad_notes_pytest' in sys.modules\n"
        "    assert not {'numpy', 'tinygrad_notes', 'hypothesis'} & sys.modules.keys()\n"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_nothing.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
