"""`tinygrad-notes derive`: what it prints in each format, and files it cannot use."""

from pathlib import Path

import pytest

from tinygrad_notes import cli

FILE = """
import tinygrad_notes as tn
from tinygrad_notes.testing import arrays_of

inputs = {"x": arrays_of("n", "m"), "y": arrays_of(1, "m"), "w": arrays_of(1, "n")}

def forward(x, y, w):
    p = w @ x
    L = tn.mean((p - y) ** 2)
    return locals()

def forward_sum(x, y, w):
    p = w @ x
    J = tn.sum((p - y) ** 2)
    return locals()

loss_sum = "J"

def forward_vector(x, y, w):
    L = w @ x
    return locals()

def forward_data(x: arrays_of("n")):
    L = tn.sum(x * x)
    return locals()

def forward_lost(x, y, w):
    p = w @ x
    return locals()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("homework.py").write_text(FILE)


def derive(capsys, *words):
    assert cli.main(["derive", *words]) == 0
    return capsys.readouterr().out


def test_the_networks_of_the_notes(capsys):
    assert derive(capsys, "perceptron").splitlines()[1:] == [
        "∂L/∂Z = ∂L/∂a ⊙ ∂a/∂Z = ∂L/∂a ⊙ a ⊙ (1 − a) = a ⊙ (1 − a) ⊙ (−y/a + (1 − y)/(1 − a)) = a − y",
        "∂L/∂w = ∂L/∂Z · xᵀ",
        "∂L/∂b = Σ_batch ∂L/∂Z",
    ]
    assert "∂L/∂Z1 = ∂L/∂a1 ⊙ ∂a1/∂Z1 = ∂L/∂a1 ⊙ a1 ⊙ (1 − a1)\n" in derive(capsys, "mlp")
    assert " = p − y\n    (as the elements of y sum to 1 along axis 0)\n" in derive(capsys, "softmax")


def test_formats(capsys):
    assert derive(capsys, "mlp", "--format", "latex").startswith("\\begin{aligned}\n\\frac{\\partial L}{\\partial a_2}")
    assert derive(capsys, "mlp", "--format", "md").startswith("$$\n\\frac{\\partial L}{\\partial a_2}")
    assert derive(capsys, "mlp", "--format", "html").startswith('<div class="derivation">\n<p id="da2"><math')
    python = derive(capsys, "mlp", "--format", "python")
    assert python.startswith("def backward(x, y, w2, a1, a2):\n")
    assert "    dw1 = dZ1 @ x.T\n" in python


def test_a_file(capsys):
    assert derive(capsys, "homework.py:forward") == "∂L/∂p = 2 (p − y)/m\n∂L/∂w = ∂L/∂p · xᵀ\n"
    assert derive(capsys, "homework.py:forward_sum") == "∂J/∂p = 2 (p − y)\n∂J/∂w = ∂J/∂p · xᵀ\n"
    assert derive(capsys, "homework.py:forward", "--wrt", "x").endswith("∂L/∂x = wᵀ ∂L/∂p\n")
    assert derive(capsys, "homework.py:forward_data", "--wrt", "x") == "∂L/∂x = 2 x\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["lstm"], "'lstm' is no network; expected mlp, perceptron, softmax, residual or FILE.py:forward."),
        (["nowhere.py:forward"], "nowhere.py is not there; expected a Python file."),
        (["homework.py:forward_x"], "it has no function forward_x; of that kind it has forward, forward_sum"),
        (["homework.py:backward"], "'homework.py:backward' is no network"),
        (["homework.py:forward_vector"], "is no scalar; sum it first"),
        (["homework.py:forward_lost"], "it returned no 'L'; return locals(), and name the loss L or give --loss."),
        (["homework.py:forward_data"], "every input is called x or y; say by which to derive with --wrt."),
        (["perceptron", "--wrt", "q"], "no gradient path leads from the loss to q"),
        (["perceptron", "--loss", "J"], "it returned no 'J'"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(words, says, capsys):
    assert cli.main(["derive", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("tinygrad-notes derive: ")
    assert says in error
    assert error.count("\n") == 1
