"""The right correction is named first, in words; nothing that is right is corrected, and nothing crashes."""

from __future__ import annotations

import inspect
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tinygrad_notes.testing.diagnosis import Network, Sample, diagnose

sys.path.insert(0, str(Path(__file__).parent))
from classic_mistakes import ALL, LATER, LATER_MISTAKES, MISTAKES, NETWORKS, SCOPE


def samples_of(network, line, seeds=range(4)):
    made = []
    for seed in seeds:
        names = dict(network.sample(seed).names)
        expected = names.pop(line)
        made.append(Sample(names, expected))
    return made


def evaluated(formula, sample):
    with np.errstate(all="ignore"):
        return eval(formula, {**SCOPE, **sample.names})


def diagnosed(mistake):
    network = NETWORKS[mistake.network]
    return diagnose(mistake.line, mistake.formula, samples_of(network, mistake.line), network.known(), scope=SCOPE)


def holds(correction, network, line):
    """Whether a correction is right on inputs that were not used in the search."""
    for fresh in samples_of(network, line, [98, 99]):
        value = np.asarray(evaluated(correction, fresh))
        if value.shape != fresh.expected.shape or not np.allclose(value, fresh.expected, rtol=1e-6, atol=1e-9):
            return False
    return True


def missed(mistakes):
    """The mistakes whose kind or correction is not among the right ones, with what was said."""
    misses = []
    for mistake in mistakes:
        diagnosis = diagnosed(mistake)
        right = diagnosis is not None and diagnosis.kind in mistake.kinds and diagnosis.correction
        if not right or not holds(diagnosis.correction, NETWORKS[mistake.network], mistake.line):
            misses.append((mistake, diagnosis))
    return misses


# --- the corpus -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", [*ALL, *LATER], ids=lambda n: n.name)
def test_the_right_backward_pass_agrees_with_the_engine(network):
    for seed in range(3):
        names = network.sample(seed).names
        function = network.backward
        found = function(**{k: names[k] for k in inspect.signature(function).parameters})
        for line in network.lines:
            assert np.shape(found[line]) == np.shape(names[line])
            np.testing.assert_allclose(found[line], names[line], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("network", [*ALL, *LATER], ids=lambda n: n.name)
def test_the_mistakes_are_mistakes(network):
    for mistake in network.mistakes:
        assert not holds_safely(mistake.formula, network, mistake.line), mistake
        assert f"    {mistake.line} = {mistake.formula}\n" in inspect.getsource(mistake.backward())


def holds_safely(formula, network, line):
    try:
        return holds(formula, network, line)
    except ValueError:  # shapes do not fit
        return False


def test_a_right_formula_is_not_corrected():
    for network in (*ALL, *LATER):
        for line, formula in network.lines.items():
            if line.startswith("d"):
                assert diagnose(line, formula, samples_of(network, line), network.known(), scope=SCOPE) is None


# --- the share that is named right ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mistakes", [MISTAKES, LATER_MISTAKES], ids=["classic", "written later"])
def test_nine_in_ten_are_named_right_first(mistakes):
    misses = missed(mistakes)
    assert len(mistakes) >= 40
    assert len(misses) <= len(mistakes) / 10, misses


def test_what_is_said():
    wanted = ["da1", "dZ2 @ x.T", "w2 @ dZ2", "dZ2.sum(axis=0, keepdims=True)", "a2 - y"]
    mistakes = [m for m in NETWORKS["two_layer_sigmoid"].mistakes if m.formula in wanted]
    said = {(m.line, m.formula): diagnosed(m) for m in mistakes}
    assert said["dZ1", "da1"].words == "it lacks the factor a1 * (1 - a1), the slope of the sigmoid."
    assert said["dZ1", "da1"].correction == "da1 * a1 * (1 - a1)"
    assert said["dw2", "dZ2 @ x.T"].words == "it has x where a1 belongs."
    assert said["da1", "w2 @ dZ2"].words == "w2 should be transposed."
    assert said["db2", "dZ2.sum(axis=0, keepdims=True)"].words == "it is reduced over axis 0 instead of axis 1."
    assert said["dZ2", "a2 - y"].words.startswith("it is the per-example gradient, Z2.size times too large")
    assert str(said["dZ1", "da1"]) == said["dZ1", "da1"].words


def test_a_mistake_is_found_without_names_of_ops():
    """`made_by` is a help, not a need."""
    for mistake in MISTAKES[::9]:
        network = NETWORKS[mistake.network]
        known = network.known()
        bare = Network(known.inputs, known.intermediates, {})
        diagnosis = diagnose(mistake.line, mistake.formula, samples_of(network, mistake.line), bare, scope=SCOPE)
        assert diagnosis is not None
        assert diagnosis.kind in mistake.kinds, (mistake, diagnosis)


# --- without source ---------------------------------------------------------------------------------------------------

VALUES = [
    ("dZ1", "-da1 * a1 * (1 - a1)", "sign"),
    ("dZ1", "da1", "missing slope"),
    ("dw1", "x @ dZ1.T", "transposed"),
    ("db1", "dZ1", "not summed"),
    ("dw2", "dZ2 @ a1.T / m", "factor"),
    ("da1", "2 * w2.T @ dZ2", "factor"),
]


@pytest.mark.parametrize(("line", "formula", "kind"), VALUES)
def test_values_without_source(line, formula, kind):
    network = NETWORKS["two_layer_sigmoid"]
    samples = samples_of(network, line)
    found = [evaluated(formula, s) for s in samples]
    diagnosis = diagnose(line, None, samples, network.known(), found=found)
    assert (diagnosis.kind, diagnosis.correction) == (kind, "")
    assert "_found_" not in diagnosis.words


def test_names_that_are_not_known_here():
    """A formula that needs a helper of the caller's: its value is corrected, and the formula shown within."""
    network = NETWORKS["two_layer_sigmoid"]
    samples = samples_of(network, "dw2")
    found = [2 * s.expected for s in samples]
    diagnosis = diagnose("dw2", "helper(dZ2) * 2", samples, network.known(), found=found)
    assert (diagnosis.kind, diagnosis.correction) == ("factor", "helper(dZ2) * 2 / 2")


# --- odd formulas -----------------------------------------------------------------------------------------------------

ODD = ["(lambda v: v * 3 + 1)(da1)", "[da1]", "da1 if True else a1", "a1 < Z1 < da1", "nothing", "1 / 0", "", "da1 +"]
ODD += ["{'a': da1}['a'] * y[0]", "f'{da1}'", "da1[:, None]", "np.where(Z1 > 0, da1, 0)", "(q := da1)"]


@pytest.mark.parametrize("formula", ODD)
def test_odd_formulas_do_not_crash(formula):
    network = NETWORKS["two_layer_sigmoid"]
    samples = samples_of(network, "dZ1")
    start = time.thread_time()
    diagnosis = diagnose("dZ1", formula, samples, network.known(), scope=SCOPE, found=[ValueError("no value")] * 4)
    assert time.thread_time() - start < 2  # the cap is 1 s
    assert diagnosis is not None
    if diagnosis.correction:
        assert holds(diagnosis.correction, network, "dZ1")
    else:
        assert diagnosis.kind == "unknown"
        assert diagnosis.words == "it raises ValueError: no value."


def test_samples_are_not_changed():
    network = NETWORKS["two_layer_sigmoid"]
    samples = samples_of(network, "dZ1")
    before = [{k: np.copy(v) for k, v in s.names.items()} for s in samples]
    changes = "da1.__imul__(2) * np.multiply(a1, 0, out=a1)"
    diagnose("dZ1", changes, samples, network.known(), scope=SCOPE)
    for sample, names in zip(samples, before, strict=True):
        for k, v in names.items():
            np.testing.assert_array_equal(sample.names[k], v)
            assert isinstance(sample.names[k], (float, int)) or np.asarray(sample.names[k]).flags.writeable


def test_no_correction_uses_a_gradient_from_further_back():
    """da1 follows from dZ2; dZ1, which follows from da1, is no way to it."""
    network = NETWORKS["two_layer_sigmoid"]
    samples = [Sample(s.names, s.names["dZ1"] / s.names["a1"] * 3 + 1) for s in samples_of(network, "da1")]
    diagnosis = diagnose("da1", "dZ2 * 7", samples, network.known(), scope=SCOPE)
    assert diagnosis.kind == "unknown"
    assert diagnosis.words == f"it has shape {np.shape(samples[3].names['dZ2'])}; a1 has {samples[3].expected.shape}."


def test_a_coincidence_on_one_sample_is_not_taken():
    """On the largest sample alone, 5 is as good as x.shape[1]; the others tell."""
    names = [{"x": np.ones((2, m)) * m, "g": np.arange(2.0 * m).reshape(2, m) + 1} for m in (3, 4, 5)]
    samples = [Sample(n, n["g"] * 5) for n in names]
    diagnosis = diagnose("dx", "g", samples, Network(("x",), (), {}))
    assert diagnosis.correction == "5 * g"
    samples = [Sample(n, n["g"] / np.shape(n["x"])[1]) for n in names]
    diagnosis = diagnose("dx", "g", samples, Network(("x",), (), {}))
    assert diagnosis.correction == "g / x.shape[1]"
