"""`tinygrad-notes check`: every backward pass of a user's file held against the true gradients."""

from __future__ import annotations

import argparse
import inspect
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from hypothesis import configuration, strategies

from ..testing.derivations import SEED, check_derivation
from ..testing.reports import DerivationReport
from ..testing.strategies import Shaped
from . import UserError


@dataclass(frozen=True)
class Pair:
    """A forward pass and the backward pass derived by hand for it, as they stand in a file.

    Attributes:
        suffix: what follows `forward` in its name: empty, or `_<name>`.
        inputs: for every parameter of forward its strategy or array, and the sizes that are fixed.
        loss: the name of the loss.
    """

    suffix: str
    forward: Callable[..., Any]
    backward: Any
    inputs: Mapping[str, Any]
    loss: str

    @property
    def title(self) -> str:
        """Both names."""
        return f"forward{self.suffix}, backward{self.suffix}"


def check(args: argparse.Namespace) -> int:
    """Check every pair of the file `args.file`, print the reports and a summary.

    Returns:
        The exit status: 0 if every gradient is right, else 1.

    Raises:
        UserError: the file cannot be used.
    """
    settings = {"max_examples": args.examples, "seed": SEED if args.seed is None else args.seed}
    with _nothing_stored(), imported(args.file) as module:
        pairs = find_pairs(module, args.file, args.loss)
        verdicts = {}
        for pair in pairs:
            report = _checked(pair, args.file, settings)
            print(f"{pair.title}: the gradients of {pair.loss}\n\n{report}\n")
            verdicts[pair.title] = _verdict(report)
    width = max(map(len, verdicts))
    for title, verdict in verdicts.items():
        print(f"{title:{width}}  {verdict}")
    return 0 if all(v.startswith("right") for v in verdicts.values()) else 1


def _verdict(report: DerivationReport) -> str:
    if not report.links:
        return "undecided: backward returned no gradient d<name> of a name of forward"
    if report.wrong:
        return f"wrong: {', '.join(report.wrong)}"
    if undecided := [link.name for link in report.links if link.status == "undecided"]:
        return f"undecided on every input: {', '.join(undecided)}"
    return f"right: {', '.join(link.name for link in report.links)}"


def _checked(pair: Pair, file: Path, settings: Mapping[str, Any]) -> DerivationReport:
    with refused(f"{file}: {pair.title}", file):
        return check_derivation(pair.forward, pair.backward, loss=pair.loss, settings=settings, **pair.inputs)


@contextmanager
def refused(title: str, file: Path | None) -> Iterator[None]:
    """Errors in the block as one line: those of the user's file with their place in it, and what is refused."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        line = _line_in(file, error) if file is not None else None
        if line is None and not isinstance(error, TypeError | ValueError):
            raise
        words = _one_line(error) if line is None else f"line {line} raises {type(error).__name__}: {_one_line(error)}"
        raise UserError(f"{title}: {words}") from error


# --- the file ---------------------------------------------------------------------------------------------------------


@contextmanager
def _nothing_stored() -> Iterator[None]:
    """Let Hypothesis keep what it stores in a folder that does not last."""
    before = configuration.storage_directory(intent_to_write=False).path
    with tempfile.TemporaryDirectory() as folder:
        configuration.set_hypothesis_home_dir(folder)
        try:
            yield
        finally:
            configuration.set_hypothesis_home_dir(before)


@contextmanager
def imported(file: Path) -> Iterator[ModuleType]:
    """A file as a module, for as long as it is in use; afterwards nothing of its folder is left in `sys`."""
    path = file.resolve()
    if not path.is_file():
        raise UserError(f"{file} is {'a folder' if path.is_dir() else 'not there'}; expected a Python file.")
    folder, name = str(path.parent), path.stem
    loader = SourceFileLoader(name, str(path))
    spec = spec_from_loader(name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    try:
        # Compiled here and not by the loader, which would write its __pycache__ beside the user's file.
        code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        where = f"{file}, line {error.lineno}" if error.lineno else f"{file}"
        raise UserError(f"{where}: it is no Python: {error.msg}") from error
    except ValueError as error:
        raise UserError(f"{file}: it is no Python: {error}") from error
    before = dict(sys.modules)
    sys.path.insert(0, folder)
    sys.modules[name] = module
    try:
        try:
            exec(code, vars(module))
        except (Exception, SystemExit) as error:
            line = _line_in(file, error)
            raise UserError(
                f"{file}{f', line {line}' if line else ''}: its import raises {type(error).__name__}: "
                f"{_one_line(error)}"
            ) from error
        yield module
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
        for new in [n for n, m in sys.modules.items() if m is not before.get(n) and _stands_in(m, folder)]:
            del sys.modules[new]
        if name in before:
            sys.modules[name] = before[name]


def _stands_in(module: ModuleType, folder: str) -> bool:
    origin = getattr(module, "__file__", None)
    return isinstance(origin, str) and os.path.dirname(os.path.abspath(origin)) == folder


def _line_in(file: Path, error: BaseException) -> int | None:
    """The last line of the file that an error passed through."""
    frames = traceback.extract_tb(error.__traceback__)
    line = next((f.lineno for f in reversed(frames) if f.filename == str(file.resolve())), None)
    return _line_in(file, error.__cause__) if line is None and error.__cause__ is not None else line


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


# --- the pairs --------------------------------------------------------------------------------------------------------


def find_pairs(module: ModuleType, file: Path, loss: str | None = None) -> list[Pair]:
    """Every `forward`, `backward` and `forward_<name>`, `backward_<name>` of a module, in its order.

    Args:
        module: the imported file.
        file: its path, for messages.
        loss: the name of the loss, whatever the module says.

    Raises:
        UserError: there is no pair, one of a pair is missing, or an input is.
    """
    known = vars(module)
    forwards = _suffixes(known, "forward")
    backwards = _suffixes(known, "backward")
    if not forwards and not backwards:
        raise UserError(f"{file}: it has no functions forward and backward, nor forward_<name> and backward_<name>.")
    for one, other, name in (("forward", "backward", backwards), ("backward", "forward", forwards)):
        for suffix in forwards if one == "forward" else backwards:
            if suffix not in name:
                raise UserError(f"{file}: {one}{suffix} has no {other}{suffix}; write one, or rename {one}{suffix}.")
    return [_pair(known, suffix, file, loss) for suffix in forwards]


def _suffixes(known: Mapping[str, Any], word: str) -> list[str]:
    """What follows `forward` or `backward` in the names of functions (and of mappings, for `backward`)."""
    kinds = Mapping if word == "backward" else ()
    return [
        name.removeprefix(word)
        for name, value in known.items()
        if (name == word or name.startswith(f"{word}_")) and (callable(value) or isinstance(value, kinds))
    ]


def _pair(known: Mapping[str, Any], suffix: str, file: Path, loss: str | None) -> Pair:
    named = [known.get(f"loss{suffix}"), known.get("loss")]
    return Pair(
        suffix,
        known[f"forward{suffix}"],
        known[f"backward{suffix}"],
        inputs_of(known, suffix, file),
        loss or next((name for name in named if isinstance(name, str)), "L"),
    )


def inputs_of(known: Mapping[str, Any], suffix: str, file: Path) -> dict[str, Any]:
    """What a file says about the inputs of `forward<suffix>`: a strategy or array for each, and fixed sizes.

    Raises:
        UserError: an input is missing.
    """
    forward = known[f"forward{suffix}"]
    try:
        parameters = list(inspect.signature(forward).parameters)
    except (TypeError, ValueError) as error:
        raise UserError(f"{file}: forward{suffix}: its parameters cannot be read: {error}") from error
    given = known.get(f"inputs{suffix}")
    inputs = dict(given) if isinstance(given, Mapping) else {}
    if missing := [p for p in parameters if p not in inputs]:
        inputs |= _annotated(forward, missing, f"{file}: forward{suffix}")
    shared = known.get("inputs")
    if suffix and isinstance(shared, Mapping):
        inputs |= {p: shared[p] for p in parameters if p not in inputs and p in shared}
        letters = {s for spec in inputs.values() if isinstance(spec, Shaped) for s in spec.sizes}
        inputs |= {letter: shared[letter] for letter in letters & shared.keys() - inputs.keys()}
    if missing := [p for p in parameters if p not in inputs]:
        example = ", ".join(f'"{p}": arrays_of("n", "m")' for p in missing)
        raise UserError(
            f"{file}: forward{suffix}: no inputs for {', '.join(missing)}; "
            f"write inputs{suffix} = {{{example}}} with the right sizes (from tinygrad_notes.testing import arrays_of)."
        )
    return inputs


def _annotated(forward: Callable[..., Any], parameters: list[str], where: str) -> dict[str, Any]:
    """The annotations that are inputs: `x: arrays_of("n", "m")`, or `x: Annotated[Any, arrays_of("n", "m")]`."""
    annotations = inspect.get_annotations(forward)
    found = {}
    for name in parameters:
        annotation = annotations.get(name)
        if isinstance(annotation, str):  # of a file with `from __future__ import annotations`
            try:
                annotation = eval(annotation, getattr(forward, "__globals__", {}))
            except Exception as error:
                raise UserError(f"{where}: the annotation of {name}, {annotation}: {_one_line(error)}") from error
        for candidate in (annotation, *getattr(annotation, "__metadata__", ())):
            if isinstance(candidate, Shaped | strategies.SearchStrategy | np.ndarray):
                found[name] = candidate
    return found
