"""The commands as a user runs them: what they print and write, their exit status, and bad input."""

import csv
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from tinygrad_notes import cli, nn


@pytest.fixture(scope="module")
def tumours(tmp_path_factory):
    """Ten features of the breast-cancer set as a user's CSV file, with words for the target."""
    cancer = load_breast_cancer()
    path = tmp_path_factory.mktemp("data") / "tumours.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*cancer.feature_names[:10], "diagnosis"])
        writer.writerows([*row[:10], cancer.target_names[t]] for row, t in zip(cancer.data, cancer.target, strict=True))
    return path


def run(*args):
    try:
        return cli.main([str(a) for a in args])
    except SystemExit as error:  # argparse's way out
        return error.code


@pytest.mark.parametrize("model", ["perceptron", "mlp"])
def test_train_then_predict(model, tumours, tmp_path, capsys):
    weights = tmp_path / "w.safetensors"
    assert (
        run("train", "--model", model, "--data", tumours, "--target", "diagnosis", "--out", weights, "--epochs", 300)
        == 0
    )
    report = capsys.readouterr().out
    assert "569 rows, 10 features\n'diagnosis' is 'benign' (0) or 'malignant' (1)\n" in report
    assert float(report.split("held-out accuracy")[1].split("%")[0]) > 88

    assert run("predict", "--weights", weights, "--data", tumours) == 0
    rows = list(csv.reader(capsys.readouterr().out.splitlines()))
    assert rows[0] == ["row", "probability of malignant", "diagnosis"]
    truth = [row[-1] for row in csv.reader(tumours.read_text().splitlines())][1:]
    assert np.mean([row[2] == t for row, t in zip(rows[1:], truth, strict=True)]) > 0.9

    out = tmp_path / "p.csv"
    assert run("predict", "--weights", weights, "--data", tumours, "--out", out) == 0
    assert list(csv.reader(out.read_text().splitlines())) == rows


def test_the_perceptron_is_logistic_regression():
    """The same split, the same loss: at its optimum gradient descent finds what scikit-learn finds."""
    from tinygrad_notes.cli.training import build, fit, probabilities

    cancer = load_breast_cancer()
    x, y = cancer.data[:, [0, 1, 4, 8]], cancer.target.astype(float)  # not the columns that say the same thing
    x, _, y, _ = train_test_split(StandardScaler().fit_transform(x), y, random_state=0)
    model = build("perceptron", 4, 0, seed=0)
    fit(model, x, y, epochs=3000, lr=1.0, momentum=0.9)
    oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(x, y)
    np.testing.assert_allclose(probabilities(model, x), oracle.predict_proba(x)[:, 1], atol=1e-3)


def test_training_is_reproducible(tumours, tmp_path):
    files = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
    for path in files:
        run(
            "train",
            "--model",
            "mlp",
            "--data",
            tumours,
            "--target",
            "diagnosis",
            "--out",
            path,
            "--epochs",
            20,
            "--seed",
            3,
        )
    (first, about), (second, about_second) = (nn.load(path) for path in files)
    assert about == about_second
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


TRAIN = ("train", "--model", "mlp", "--epochs", "5")
BAD_TABLES = {
    "three classes": ("a,t\n1,x\n2,y\n3,z\n4,x\n", "has 3 distinct value(s)"),
    "NaN": ("a,t\n1,x\nnan,y\n2,x\n3,y\n", "line 3: column 'a' holds 'nan'"),
    "words": ("a,t\n1,x\nred,y\n2,x\n3,y\n", "line 3: column 'a' holds 'red'"),
    "empty": ("", "is empty"),
    "missing column": ("a,b\n1,2\n", "has no column 't'; its columns are a, b"),
    "no features": ("t\nx\ny\n", "has no column beside the target"),
    "too few rows": ("a,t\n1,x\n2,y\n", "cannot be split"),
}


@pytest.mark.parametrize(("text", "message"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_train_refuses_bad_tables_in_one_line(tmp_path, capsys, text, message):
    data, out = tmp_path / "d.csv", tmp_path / "w.safetensors"
    data.write_text(text)
    out.write_bytes(b"an older file")
    assert run(*TRAIN, "--data", data, "--target", "t", "--out", out) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("tinygrad-notes train: ")
    assert error.count("\n") == 1
    assert out.read_bytes() == b"an older file"


def test_train_refuses_an_out_that_cannot_be_written(tumours, tmp_path, capsys):
    for out in (tmp_path, tmp_path / "no" / "w.safetensors"):
        assert run(*TRAIN, "--data", tumours, "--target", "diagnosis", "--out", out) == 2
        assert "expected a file name in a folder that exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flag", [("--epochs", "0"), ("--lr", "nan"), ("--lr", "-1"), ("--test", "1"), ("--hidden", "two")]
)
def test_bad_options(flag, tumours, capsys):
    assert run(*TRAIN, "--data", tumours, "--target", "diagnosis", *flag) == 2
    assert flag[0] in capsys.readouterr().err


def test_a_diverging_loss_is_reported_or_survived(tumours, tmp_path, capsys):
    out = tmp_path / "w.safetensors"
    status = run(*TRAIN, "--data", tumours, "--target", "diagnosis", "--out", out, "--lr", "1e300")
    assert (status, out.exists()) in {(0, True), (2, False)}
    assert "Traceback" not in capsys.readouterr().err


def test_predict_refuses_foreign_weights_and_tables(tumours, tmp_path, capsys):
    weights = tmp_path / "w.safetensors"
    run(*TRAIN, "--data", tumours, "--target", "diagnosis", "--out", weights)
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    capsys.readouterr()
    assert run("predict", "--weights", weights, "--data", other) == 2
    assert "has no column 'mean radius'" in capsys.readouterr().err
    damaged = tmp_path / "damaged.safetensors"
    for content in (b"", b"not weights", weights.read_bytes()[:-9], weights.read_bytes()[:40]):
        damaged.write_bytes(content)
        assert run("predict", "--weights", damaged, "--data", tumours) == 2
        error = capsys.readouterr().err
        assert "damaged.safetensors" in error
        assert error.count("\n") == 1
    assert run("predict", "--weights", tmp_path / "none", "--data", tumours) == 2
    assert "none" in capsys.readouterr().err


def test_weights_that_train_did_not_save(tumours, tmp_path, capsys):
    path = tmp_path / "own.safetensors"
    nn.save(nn.Linear(2, 1), path)
    assert run("predict", "--weights", path, "--data", tumours) == 2
    assert "was not saved by `tinygrad-notes train`" in capsys.readouterr().err


def test_no_command_and_help(capsys):
    assert run() == 2
    assert run("--help") == 0
    assert "tour" in capsys.readouterr().out


def test_a_missing_extra_is_named(tumours, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.preprocessing", None)
    assert run(*TRAIN, "--data", tumours, "--target", "diagnosis") == 2
    assert "pip install 'tinygrad_notes[data]'" in capsys.readouterr().err


def test_tour_refuses_a_file_for_a_folder(tmp_path, capsys):
    out = tmp_path / "tour"
    out.write_text("an older file")
    assert run("tour", "--out", out) == 2
    assert "is a file; expected a folder" in capsys.readouterr().err
    assert out.read_text() == "an older file"


def test_tour(tmp_path, capsys):
    out = tmp_path / "tour"
    assert run("tour", "--out", out, "--examples", 10) == 0
    report = capsys.readouterr().out
    for name in ("da2", "dZ2", "dw2", "db2", "da1", "dZ1", "dw1", "db1"):
        (line,) = [line for line in report.splitlines() if line.strip().startswith(f"{name} ")]
        assert " correct " in line
    assert "wrong" not in report
    trained = report.partition("3. The formulas")[0].splitlines()
    accuracy = [float(line.split()[-1].rstrip("%")) for line in trained if line.endswith("%")]
    perceptron_cancer, mlp_cancer, perceptron_moons, mlp_moons = accuracy
    assert min(perceptron_cancer, mlp_cancer) > 93
    assert mlp_moons > 95 > perceptron_moons
    assert sorted(p.name for p in out.iterdir()) == ["boundary.png", "loss.png", "mlp.svg", "perceptron.svg"]
    for picture, names in {"perceptron.svg": ["w1", "Z", "L"], "mlp.svg": ["Z2", "a2"]}.items():
        text = " ".join(ET.parse(out / picture).getroot().itertext())
        assert all(name in text for name in names)
        assert "grad" in text
