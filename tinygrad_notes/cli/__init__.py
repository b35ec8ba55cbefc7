"""The command line: `tinygrad-notes tour | check | derive | replay | train | predict`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

_EXTRAS = {"sklearn": "data", "matplotlib": "plot", "safetensors": "io", "sympy": "derive", "latex2mathml": "derive"}
WEIGHTS = Path("weights.safetensors")


class UserError(Exception):
    """Something that the user can mend: printed as one line, exit status 2."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tinygrad-notes", description="The calculus of neural networks: run it, check it, see it."
    )
    of_loss = argparse.ArgumentParser(add_help=False)
    of_loss.add_argument("--loss", metavar="NAME", help="what is differentiated (default: as the file says, or L)")
    of_network = argparse.ArgumentParser(add_help=False, parents=[of_loss])
    of_network.add_argument(
        "network",
        metavar="NETWORK",
        help="mlp, perceptron, softmax, residual, or FILE.py:forward with inputs as for `check`",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    tour = commands.add_parser("tour", help="train chapter 1's networks on real data, check every formula, draw")
    tour.add_argument("--out", type=Path, default=Path("tour"), metavar="DIR", help="for the pictures (default: tour)")
    tour.add_argument("--examples", type=_count, default=200, metavar="N", help="inputs a formula (default: 200)")

    check = commands.add_parser(
        "check", parents=[of_loss], help="check every forward and backward pass of your own Python file"
    )
    check.add_argument("file", type=Path, metavar="FILE.py", help="with forward_<name> and backward_<name>")
    check.add_argument("--examples", type=_count, default=100, metavar="N", help="inputs a pass (default: 100)")
    check.add_argument("--seed", type=int, metavar="N", help="of the inputs (default: always the same)")

    derive = commands.add_parser(
        "derive", parents=[of_network], help="write the backward pass of a network out, line by line"
    )
    derive.add_argument("--format", choices=["text", "latex", "md", "html", "python"], default="text")
    derive.add_argument("--wrt", metavar="NAMES", help="such as w,b (default: every input but x and y)")

    replay = commands.add_parser(
        "replay", parents=[of_network], help="a page that plays the forward and the backward pass step by step"
    )
    replay.add_argument(
        "--out", type=Path, default=Path("step.html"), metavar="FILE.html", help="for the page (default: step.html)"
    )
    replay.add_argument("--text", action="store_true", help="print the steps instead")

    train = commands.add_parser("train", help="train a perceptron or an MLP on your own CSV file")
    train.add_argument("--model", choices=["perceptron", "mlp"], required=True)
    train.add_argument("--data", type=Path, required=True, metavar="FILE.csv", help="header row, numeric features")
    train.add_argument("--target", required=True, metavar="COLUMN", help="the column to predict: two values")
    train.add_argument(
        "--out", type=Path, default=WEIGHTS, metavar="FILE", help=f"for the weights (default: {WEIGHTS})"
    )
    train.add_argument("--hidden", type=_count, default=8, metavar="H", help="hidden units (default: 8)")
    train.add_argument("--epochs", type=_count, default=500, metavar="N", help="steps of descent (default: 500)")
    train.add_argument("--lr", type=_positive, default=0.5, metavar="RATE", help="learning rate (default: 0.5)")
    train.add_argument("--test", type=_fraction, default=0.25, metavar="SHARE", help="share held out (default: 0.25)")
    train.add_argument("--seed", type=int, default=0, metavar="N", help="of the split and the weights (default: 0)")

    predict = commands.add_parser("predict", help="predict with weights that `train` saved")
    predict.add_argument("--weights", type=Path, default=WEIGHTS, metavar="FILE", help=f"(default: {WEIGHTS})")
    predict.add_argument("--data", type=Path, required=True, metavar="FILE.csv", help="a file with the same features")
    predict.add_argument("--out", type=Path, metavar="FILE.csv", help="for the predictions (default: print them)")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def _positive(text: str) -> float:
    number = _number(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return number


def _fraction(text: str) -> float:
    number = _number(text)
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1")
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the words after `tinygrad-notes`; those of this process if `None`.

    Returns:
        The exit status: 0; 1 where `check` finds a gradient that is not right; 2 where the input cannot be used.
    """
    args = _parser().parse_args(argv)
    # What Hypothesis keeps between runs does not belong into the folder where the user stands.
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(Path(tempfile.gettempdir(), "tinygrad-notes-hypothesis")))
    try:
        if args.command == "tour":
            from .tour import tour

            tour(args.out, args.examples)
        elif args.command == "check":
            from .checking import check

            return check(args)
        elif args.command == "derive":
            from .deriving import derive_network

            print(derive_network(args), end="")
        elif args.command == "replay":
            from .replaying import replay_network

            replay_network(args)
        elif args.command == "train":
            from .training import train

            train(args)
        else:
            from .training import predict

            predict(args)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        return _refuse(args.command, f"{error.name} is not installed: pip install 'tinygrad_notes[{extra}]' (or [all])")
    except (UserError, OSError) as error:
        return _refuse(args.command, str(error))
    except BrokenPipeError:
        return 0
    return 0


def _refuse(command: str, why: str) -> int:
    print(f"tinygrad-notes {command}: {why}", file=sys.stderr)
    return 2
