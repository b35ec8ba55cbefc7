"""The derivation of every supported network: as it was last read, accepted by the checker, equal to `.grad`."""

import ast
from xml.etree import ElementTree

import numpy as np
import pytest
from derived_networks import FORMATS, NETWORKS, snapshot
from pylatexenc.latexwalker import LatexWalker

import tinygrad_notes as tn
from tinygrad_notes.testing import check_derivation

DERIVED = {name: network.derive() for name, network in NETWORKS.items()}

# What the notes and the literature say; the snapshots hold the rest of each line.
KNOWN = {
    "perceptron": {"a": "−y/a + (1 − y)/(1 − a)", "Z": "a − y", "w": "∂L/∂Z · xᵀ", "b": "Σ_batch ∂L/∂Z"},
    "two_layer": {
        "a2": "−y/a2 + (1 − y)/(1 − a2)",
        "Z2": "a2 − y",
        "w2": "∂L/∂Z2 · a1ᵀ",
        "b2": "Σ_batch ∂L/∂Z2",
        "a1": "w2ᵀ ∂L/∂Z2",
        "Z1": "∂L/∂a1 ⊙ a1 ⊙ (1 − a1)",
        "w1": "∂L/∂Z1 · xᵀ",
        "b1": "Σ_batch ∂L/∂Z1",
    },
    "softmax": {"p": "−y/p", "Z": "p − y"},
    "softmax_logits": {"Z": "(softmax(Z) − y)/m"},
    "linear_regression": {"p": "2 (p − y)/(k · m)"},
    "kernel_svm": {"s": "−∂L/∂h ⊙ y ⊙ [1 − s ⊙ y > 0]"},
    "deep": {
        "Z4": "a4 − y",
        "Z_l": "∂L/∂a_l ⊙ (1 − a_l²)   for l = 3 … 1",
        "w_l": "∂L/∂Z_l · a_{l−1}ᵀ   for l = 4 … 1, a0 = x",
    },
    "recurrent": {"h_t": "Wᵀ ∂L/∂Z_{t+1}   for t = 2 … 1", "W": "Σ_{t=1…3} ∂L/∂Z_t · h_{t−1}ᵀ"},
    "relu_rows": {"Z1": "∂L/∂a1 ⊙ [Z1 > 0]", "w1": "(∂L/∂Z1)ᵀ · x"},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_what_the_notes_say(name):
    found = {line.name: line.forms[-1] for line in DERIVED[name].lines}
    assert {k: found[k] for k in KNOWN[name]} == KNOWN[name]
    assert all(line.verified for line in DERIVED[name].lines)


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("name", NETWORKS)
def test_as_it_was_last_read(name, ending):
    assert FORMATS[ending](DERIVED[name]).rstrip() + "\n" == snapshot(name, ending)


def test_the_order_is_that_of_the_notes():
    assert [line.name for line in DERIVED["two_layer"].lines] == ["a2", "Z2", "w2", "b2", "a1", "Z1", "w1", "b1"]
    assert list(DERIVED["two_layer"].backward.__code__.co_varnames[:5]) == ["x", "y", "w2", "a1", "a2"]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_checker_accepts_the_python(name):
    network = NETWORKS[name]
    settings = {"max_examples": 15, **network.settings}
    report = check_derivation(network.forward, DERIVED[name].backward, settings=settings, **network.inputs)
    assert report.ok, str(report)
    nodes = [node for line in DERIVED[name].lines for node in line.nodes]
    assert len(report.links) == len(nodes), "a verdict for every line"


@pytest.mark.parametrize("name", NETWORKS)
def test_the_python_gives_the_automatic_gradient_on_other_numbers(name):
    network = NETWORKS[name]
    known = network.record(seed=1)
    known["L"].backward()
    takes = DERIVED[name].backward.__code__.co_varnames[: DERIVED[name].backward.__code__.co_argcount]
    found = DERIVED[name].backward(**{k: v.data if isinstance(v := known[k], tn.Tensor) else v for k in takes})
    gradients = {k: v.grad for k, v in known.items() if isinstance(v, tn.Tensor) and v.grad is not None and k != "L"}
    assert gradients.keys() == {k[1:] for k in found.keys() - set(takes) if k[1:] in known}
    for k, expected in gradients.items():
        assert found[f"d{k}"].shape == expected.shape
        np.testing.assert_allclose(found[f"d{k}"], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_latex_is_parsed_by_a_parser_of_latex(name):
    """Strictly: an unknown environment, a bracket or \\left without its partner raise."""
    for tex in (DERIVED[name].latex(), *(line.latex for line in DERIVED[name].lines)):
        nodes, _, length = LatexWalker(f"${tex}$", tolerant_parsing=False).get_latex_nodes()
        assert length == len(tex) + 2
        assert len(nodes) == 1
        assert tex.count(r"\left") == tex.count(r"\right")
    assert DERIVED[name]._repr_latex_() == f"$$\n{DERIVED[name].latex()}\n$$"
    assert DERIVED[name].markdown().count("$$") == 2 * len(DERIVED[name].lines)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_mathml_is_well_formed_and_knows_every_command(name):
    page = ElementTree.fromstring(DERIVED[name].html().replace("&nbsp;", " "))
    formulas = page.findall(".//{http://www.w3.org/1998/Math/MathML}math")
    assert len(formulas) == len(DERIVED[name].lines)
    # A command that latex2mathml does not know comes out as its own text, backslash and all.
    assert "\\" not in "".join(page.itertext())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_line_s_python_is_a_part_of_the_whole(name):
    whole = DERIVED[name].python()
    ast.parse(whole)
    for line in DERIVED[name].lines:
        assert all(f"    {statement}\n" in whole for statement in line.python.splitlines())
