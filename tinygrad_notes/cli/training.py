"""Training on a table, and predicting with what was trained."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import nn
from ..files import write_whole
from ..graph import no_grad
from ..optim import SGD
from . import UserError
from .table import read_table, two_classes


def progress(steps: Iterable[int], label: str) -> Iterable[int]:
    """The steps with a progress bar on a terminal, if tqdm is installed."""
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        return steps
    bar: Iterable[int] = tqdm(steps, desc=label, file=sys.stderr, disable=None, leave=False)
    return bar


def fit(
    model: Any, x: Any, y: Any, *, epochs: int, lr: float, momentum: float = 0.0, label: str = "training"
) -> list[float]:
    """Gradient descent on the mean cross-entropy over all examples.

    Args:
        model: a module from (m, n) to probabilities (m,) or (m, 1).
        x: examples (m, n), standardised.
        y: labels 0 or 1 (m,).
        epochs: how many steps.
        lr, momentum: of `optim.SGD`.
        label: what the progress bar says.

    Returns:
        The loss before each step.
    """
    parameters = dict(model.named_parameters())
    optimiser = SGD(parameters.values(), lr=lr, momentum=momentum)
    with no_grad():
        y = y.reshape(model(x).shape)
    # NumPy's code is made in milliseconds; native code would take longer than the training.
    step = model.compile(nn.binary_cross_entropy, backend="numpy")
    losses = []
    for _ in progress(range(epochs), label):
        loss, gradients = step(x, y)
        for name, parameter in parameters.items():
            parameter.grad = gradients[name]
        optimiser.step()
        losses.append(loss)
    return losses


def probabilities(model: Any, x: Any) -> Any:
    """The probability of class 1 for each example: (m, n) -> (m,)."""
    with no_grad():
        return np.asarray(model(x).data).reshape(len(x))


def build(kind: str, n_features: int, hidden: int, seed: int) -> Any:
    """The notes' perceptron, or their two-layer network."""
    if kind == "perceptron":
        return nn.Perceptron(n_features, rng=seed)
    return nn.MLP([n_features, hidden, 1], activation="sigmoid", output="sigmoid", rng=seed)


def split_and_scale(x: Any, y: Any, test: float, seed: int) -> tuple[Any, Any, Any, Any, Any]:
    """Held-out split, stratified by class, standardised by the training part; and the scaler."""
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    try:
        x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=test, random_state=seed, stratify=y)
    except ValueError as error:
        raise UserError(f"the rows cannot be split into training and held-out parts: {error}") from error
    scaler = StandardScaler().fit(x_train)
    return scaler.transform(x_train), scaler.transform(x_test), y_train, y_test, scaler


def train(args: argparse.Namespace) -> None:
    """`tinygrad-notes train`: read, split, standardise, train, report, save."""
    table = read_table(args.data)
    classes, y = two_classes(table, args.target)
    features = [name for name in table.header if name != args.target]
    if not features:
        raise UserError(f"{args.data} has no column beside the target {args.target!r}; expected numeric features.")
    x = table.numbers(features)
    if args.out.is_dir() or not args.out.resolve().parent.is_dir():
        raise UserError(f"--out {args.out}: expected a file name in a folder that exists.")
    x_train, x_test, y_train, y_test, scaler = split_and_scale(x, y, args.test, args.seed)
    model = build(args.model, len(features), args.hidden, args.seed)
    losses = fit(model, x_train, y_train, epochs=args.epochs, lr=args.lr, label=args.model)
    if not np.isfinite(losses[-1]):
        raise UserError(f"the loss became {losses[-1]}: try a smaller --lr than {args.lr}.")

    def accuracy(x: Any, y: Any) -> float:
        return float(np.mean((probabilities(model, x) > 0.5) == y))

    usual = int(y_train.mean() > 0.5)
    print(f"{args.data}: {len(y)} rows, {len(features)} features")
    print(f"{args.target!r} is {classes[0]!r} (0) or {classes[1]!r} (1)")
    print(
        f"{args.model}: {len(y_train)} rows to train, {len(y_test)} held out, {args.epochs} steps of gradient descent"
    )
    print(f"loss                {losses[0]:.4f} -> {losses[-1]:.4f}")
    print(f"training accuracy   {accuracy(x_train, y_train):.1%}")
    always = np.mean(y_test == usual)
    print(f"held-out accuracy   {accuracy(x_test, y_test):.1%}  (always {classes[usual]!r}: {always:.1%})")
    description = {
        "model": args.model,
        "hidden": args.hidden,
        "features": features,
        "target": args.target,
        "classes": classes,
        "mean": scaler.mean_.tolist(),
        "scale": scaler.scale_.tolist(),
    }
    nn.save(model, args.out, metadata={"table": json.dumps(description)})
    print(f"weights saved to    {args.out}")


def predict(args: argparse.Namespace) -> None:
    """`tinygrad-notes predict`: one row of output a row of input, with its probability and class."""
    try:
        state, metadata = nn.load(args.weights)
        about = json.loads(metadata["table"])
        model = build(about["model"], len(about["features"]), about["hidden"], seed=0)
        model.load_state_dict(state)
        mean, scale, classes = np.array(about["mean"]), np.array(about["scale"]), about["classes"]
    except KeyError as error:
        raise UserError(f"{args.weights} was not saved by `tinygrad-notes train`: it lacks {error}.") from error
    except ValueError as error:
        raise UserError(str(error)) from error
    table = read_table(args.data)
    a = probabilities(model, (table.numbers(about["features"]) - mean) / scale)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", f"probability of {classes[1]}", about["target"]])
    writer.writerows([i + 1, f"{p:.6f}", classes[int(p > 0.5)]] for i, p in enumerate(a))
    if args.out is None:
        sys.stdout.write(text.getvalue())
    else:
        write_whole(args.out, text.getvalue().encode())
        print(f"{len(a)} predictions written to {args.out}", file=sys.stderr)
