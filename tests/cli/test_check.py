"""`tinygrad-notes check`: which pairs it finds in a file, what it prints, its exit status, and files it cannot use."""

import sys
from pathlib import Path

import pytest

from tinygrad_notes import cli

HEADER = """
from tinygrad_notes.testing.strategies import arrays_of

inputs = {"x": arrays_of("n"), "w": arrays_of("n")}

def forward(x, w):
    z = (x * w).sum()
    L = z * z
    return locals()
"""
RIGHT = (
    HEADER
    + """
def backward(x, z):
    dz = 2 * z
    dw = dz * x
    return locals()
"""
)
WRONG = RIGHT.replace("2 * z", "-2 * z")
REPORT_RIGHT = """\
forward, backward: the gradients of L

dz  2 * z   correct  10 inputs
dw  dz * x  correct  10 inputs

forward, backward  right: dz, dw
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(text, *options, name="homework.py"):
    Path(name).write_text(text)
    return cli.main(["check", name, "--examples", "10", *options])


def test_a_right_file(folder, capsys):
    assert check(RIGHT) == 0
    assert capsys.readouterr().out == REPORT_RIGHT
    assert [p.name for p in folder.iterdir()] == ["homework.py"], "it leaves nothing behind"


def test_a_wrong_file(folder, capsys):
    assert check(WRONG) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [
        "forward, backward: the gradients of L",
        "",
        "dz  -2 * z  wrong            10 inputs",
        "dw  dz * x  follows from dz  10 inputs",
        "",
    ]
    assert lines[5].startswith("dz is wrong: ")
    assert any(line.startswith("  smallest case: x=[") for line in lines)
    assert lines[-1] == "forward, backward  wrong: dz, dw"
    assert [p.name for p in folder.iterdir()] == ["homework.py"]


def test_every_pair_has_its_own_inputs_and_loss(capsys):
    text = """
from __future__ import annotations
from typing import Annotated, Any
from tinygrad_notes.testing.strategies import arrays_of, reals
from slopes import double

inputs = {"c": reals(), "n": 2}
inputs_line = {"x": arrays_of("n", "m")}
loss = "J"
loss_unit = "L"

def forward_line(x):
    J = (x * x).sum()
    return locals()

def backward_line(x):
    dx = double(x)
    return locals()

def forward_unit(x: arrays_of("n"), w: Annotated[Any, arrays_of("n")], c: float) -> Undefined:
    z = (x * w).sum()
    L = c * z
    return locals()

backward_unit = {"dz": lambda c: -c, "dw": lambda dz, x: dz * x}
"""
    Path("slopes.py").write_text("def double(x):\n    return 2 * x\n")
    before = (list(sys.path), set(sys.modules))
    assert check(text) == 1
    assert (list(sys.path), {"homework", "slopes"} & sys.modules.keys()) == (before[0], set())
    out = capsys.readouterr().out
    assert "forward_line, backward_line: the gradients of J\n" in out
    assert out.endswith("forward_line, backward_line  right: dx\nforward_unit, backward_unit  wrong: dz\n")


def test_what_cannot_be_decided_is_not_right(capsys):
    assert check(HEADER + "def backward(x):\n    return {}\n") == 1
    assert "forward, backward  undecided: backward returned no gradient" in capsys.readouterr().out


def test_the_seed_chooses_the_inputs(capsys):
    text = RIGHT.replace("    z = (x", "    print(x.data)\n    z = (x")
    printed = []
    for seed in ("1", "1", "2"):
        assert check(text, "--seed", seed) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert printed[0] != printed[2]


UNUSABLE = {
    "syntax": ("x = 1\ny = (\n", "homework.py, line 2: it is no Python: '(' was never closed"),
    "raises": ("x = 1\n1 / 0\n", "homework.py, line 2: its import raises ZeroDivisionError: division by zero"),
    "exits": ("import sys\nsys.exit(3)\n", "line 2: its import raises SystemExit: 3"),
    "import": ("import no_such_module_here\n", "ModuleNotFoundError: No module named 'no_such_module_here'"),
    "no pair": ("x = 1\n", "it has no functions forward and backward"),
    "no backward": (RIGHT + "def forward_two(x):\n    return {}\n", "forward_two has no backward_two; write one"),
    "no forward": (RIGHT + "backward_tow = {}\n", "backward_tow has no forward_tow"),
    "no inputs": (RIGHT.replace('"w": ', '"v": '), 'no inputs for w; write inputs = {"w": arrays_of("n", "m")}'),
    "annotation": ("def forward(x: 'nope'): ...\ndef backward(x): ...\n", "the annotation of x, nope: name 'nope' is"),
    "forward fails": (RIGHT.replace("z * z", "z * u"), "line 8 raises NameError: name 'u' is not defined"),
    "null": ("x\0", "it is no Python"),
}


@pytest.mark.parametrize(("text", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_files_that_cannot_be_used_are_refused_in_one_line(text, message, capsys):
    path = list(sys.path)
    assert check(text) == 2
    error = capsys.readouterr().err
    assert error.startswith("tinygrad-notes check: homework.py")
    assert message in error
    assert error.count("\n") == 1
    assert sys.path == path
    assert "homework" not in sys.modules


def test_no_file_and_another_loss(folder, capsys):
    assert cli.main(["check", "none.py"]) == 2
    assert "none.py is not there; expected a Python file" in capsys.readouterr().err
    assert cli.main(["check", str(folder)]) == 2
    assert "is a folder" in capsys.readouterr().err
    assert check(RIGHT, "--loss", "M") == 2
    assert "loss=" in capsys.readouterr().err


def test_a_file_may_have_the_name_of_a_module(capsys):
    import csv

    assert check(RIGHT, name="csv.py") == 0
    assert sys.modules["csv"] is csv


def test_a_helper_that_raises(capsys):
    """The gradients would be right, were there any."""
    assert check(RIGHT.replace("    dz =", "    helper = 1 / 0\n    dz =")) == 2
    line = 1 + RIGHT[: RIGHT.index("    dz =")].count("\n")
    assert capsys.readouterr().err.strip().endswith(f"line {line} raises ZeroDivisionError: division by zero")


def test_a_loss_for_each_example(capsys):
    assert check(RIGHT.replace("L = z * z", "L = z * x").replace("2 * z", "x.sum()")) == 0
    assert "L has several elements: the gradients are those of their sum." in capsys.readouterr().out
