"""The tour: both networks of chapter 1 on real data, every formula of the notes checked, the graphs drawn."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .. import nn
from ..draw import draw
from ..notes import perceptron, two_layer
from ..tensor import Tensor
from ..testing import check_derivation
from ..value import Value
from . import UserError
from .training import build, fit, probabilities, split_and_scale

SEED = 0


def tour(out: Path, examples: int) -> None:
    """Run the whole tour and write its pictures to the folder `out`.

    Args:
        out: a folder; made if it is not there.
        examples: how many generated inputs each formula is held against.
    """
    started = time.perf_counter()
    import matplotlib as mpl
    from sklearn.datasets import load_breast_cancer, make_moons

    mpl.use("Agg")
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; expected a folder, or a name for a new one.")
    out.mkdir(parents=True, exist_ok=True)

    print("1. Real data: the Wisconsin breast-cancer set (scikit-learn's copy: 569 tumours, 30 features)\n")
    cancer = load_breast_cancer()
    curves = {}
    print(f"   {'':12s} {'loss':>18s}   {'held-out loss':>13s}   held-out accuracy")
    x, x_test, y, y_test, _ = split_and_scale(cancer.data, cancer.target.astype(float), 0.25, SEED)
    for kind in ("perceptron", "mlp"):
        model = build(kind, x.shape[1], hidden=8, seed=SEED)
        curves[kind] = fit(model, x, y, epochs=400, lr=0.5, label=kind)
        a = probabilities(model, x_test)
        print(
            f"   {kind:12s} {curves[kind][0]:8.4f} → {curves[kind][-1]:.4f}   {_loss(y_test, a):13.4f}   "
            f"{np.mean((a > 0.5) == y_test):.1%}"
        )

    print("\n2. What a perceptron cannot do: two moons (no straight line parts them)\n")
    points, side = make_moons(400, noise=0.15, random_state=SEED)
    x, x_test, y, y_test, _ = split_and_scale(points, side.astype(float), 0.25, SEED)
    fitted = {}
    for kind in ("perceptron", "mlp"):
        fitted[kind] = build(kind, 2, hidden=8, seed=SEED)
        fit(fitted[kind], x, y, epochs=3000 if kind == "mlp" else 400, lr=1.0, momentum=0.9, label=kind)
        print(f"   {kind:12s} held-out accuracy {np.mean((probabilities(fitted[kind], x_test) > 0.5) == y_test):.1%}")

    print(f"\n3. The formulas of the notes against the true gradient, {examples} generated inputs each\n")
    for title, chapter in (("perceptron", perceptron), ("two-layer network", two_layer)):
        _print_report(title, chapter, examples)

    print("\n4. Pictures\n")
    written = [
        draw(perceptron_graph()).save(out / "perceptron.svg"),
        draw(mlp_graph()).save(out / "mlp.svg"),
        plot_losses(curves, out / "loss.png"),
        plot_boundaries(fitted, x, y, out / "boundary.png"),
    ]
    for path in written:
        print(f"   {path}")
    print(f"\nDone in {time.perf_counter() - started:.0f} s.")


def _loss(y: Any, a: Any) -> float:
    return float(nn.binary_cross_entropy(y, a))


def _print_report(title: str, chapter: ModuleType, examples: int) -> None:
    report = check_derivation(chapter.forward, chapter.backward, settings={"max_examples": examples}, **chapter.inputs)
    print(f"   {title}")
    print(textwrap.indent(str(report), "     ") + "\n")


def perceptron_graph() -> Value:
    """The notes' perceptron on one example, scalar by scalar, with its gradients."""
    x = [Value(0.5, name="x1", requires_grad=False), Value(-1.0, name="x2", requires_grad=False)]
    w = [Value(0.8, name="w1"), Value(-0.3, name="w2")]
    b = Value(0.1, name="b")
    Z = (w[0] * x[0] + w[1] * x[1] + b).named("Z")
    a = Z.sigmoid().named("a")
    L = nn.binary_cross_entropy(1.0, a).named("L")
    L.backward()
    return L  # type: ignore[no-any-return]  # a loss of Values is a Value


def mlp_graph() -> Tensor:
    """The notes' two-layer network, 2-3-1 on one example, with its gradients."""
    rng = np.random.default_rng(SEED)
    shapes = {"w1": (3, 2), "b1": (3, 1), "w2": (1, 3), "b2": (1, 1)}
    given = {name: Tensor(rng.normal(size=shape), name=name) for name, shape in shapes.items()}
    x = Tensor([[0.5], [-1.0]], name="x", requires_grad=False)
    y = Tensor([[1.0]], name="y", requires_grad=False)
    known = two_layer.forward(x, y, **given)
    for name in ("Z1", "a1", "Z2", "a2", "L"):
        known[name].named(name)
    known["L"].backward()
    return known["L"]  # type: ignore[no-any-return]  # a loss of Tensors is a Tensor


def plot_losses(curves: dict[str, list[float]], path: Path) -> Path:
    """The training loss of each model by step, saved as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for (name, losses), style in zip(curves.items(), ("-", "--"), strict=True):
        axes.plot(losses, style, label=name)
    axes.set(
        xlabel="step of gradient descent", ylabel="mean cross-entropy", yscale="log", title="Training, breast cancer"
    )
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)
    return path


def plot_boundaries(models: dict[str, Any], x: Any, y: Any, path: Path) -> Path:
    """The probability that each model gives every point of the plane, with the data on top, saved as a picture."""
    from matplotlib.figure import Figure

    low, high = x.min(axis=0) - 0.5, x.max(axis=0) + 0.5
    grid = np.stack(np.meshgrid(np.linspace(low[0], high[0], 200), np.linspace(low[1], high[1], 200)), axis=-1)
    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, len(models), sharey=True)
    for axes, (name, model) in zip(panels, models.items(), strict=True):
        a = probabilities(model, grid.reshape(-1, 2)).reshape(200, 200)
        shades = axes.contourf(grid[..., 0], grid[..., 1], a, levels=np.linspace(0, 1, 11), cmap="RdBu", alpha=0.7)
        axes.contour(grid[..., 0], grid[..., 1], a, levels=[0.5], colors="black")
        for label, marker in ((0.0, "o"), (1.0, "^")):
            axes.scatter(
                *x[y == label].T,
                s=14,
                marker=marker,
                edgecolor="black",
                linewidth=0.4,
                color="#b2182b" if label == 0 else "#2166ac",
                label=f"class {label:.0f}",
            )
        axes.set(title=name, xlabel="feature 1 (standardised)")
    panels[0].set_ylabel("feature 2 (standardised)")
    panels[0].legend(loc="upper right")
    figure.colorbar(shades, ax=panels, label="probability of class 1")
    figure.savefig(path, dpi=150)
    return path
