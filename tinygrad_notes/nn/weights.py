"""Files of weights, in the safetensors format: plain numbers, which cannot run code as a pickle can."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import ops
from ..files import write_whole
from .module import Module, to_numpy

_FORMAT = "tinygrad_notes"
_CHECKSUM = "tinygrad_notes_sha256"
_RESERVED = ("format", "version", _CHECKSUM)
_KNOWN_STARTS = {
    b"\x89PNG": "a PNG picture",
    b"\x80": "a pickle, which is never read here because it could run code",
    b"PK\x03\x04": "a zip archive, as torch.save and np.savez write",
    b"\x93NUMPY": "a file of np.save",
}


class WeightsError(ValueError):
    """A file that holds no weights, or damaged ones."""


def save(
    what: Module | Mapping[str, Any], path: str | os.PathLike[str], *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write weights to a file, whole or not at all: a file that stood there before survives a failure.

    Args:
        what: a module, or arrays by name as `state_dict` gives them.
        path: the file, in a folder that exists. Its usual ending is `.safetensors`.
        metadata: strings by name, which `load` gives back.

    Raises:
        TypeError: `what` or `metadata` is or holds something else.
        ValueError: there is nothing to save, or `metadata` uses a name that this format uses itself.
        OSError: the file cannot be written (FileNotFoundError: the folder does not exist).
        ModuleNotFoundError: the extra `io` is not installed.
    """
    safetensors = _safetensors()
    state = _state(what)
    notes = _checked_metadata(metadata or {})
    import importlib.metadata  # here, since it takes a third of the time that the package takes to import

    try:
        version = importlib.metadata.version("tinygrad_notes")
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    notes |= {"format": _FORMAT, "version": version}
    content = safetensors.save(state, metadata=notes | {_CHECKSUM: _digest(state, notes)})
    write_whole(path, content)


def load(path: str | os.PathLike[str], module: Module | None = None) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read a file of weights, of this package or any other safetensors file; see `save`.

    Args:
        path: the file.
        module: set its parameters too; all or none.

    Returns:
        The arrays by name, and the metadata that was given to `save`.

    Raises:
        FileNotFoundError: there is no such file.
        WeightsError: (a ValueError) the file is empty, damaged, cut off, or of another kind.
        ValueError: the weights do not fit the module, which is then unchanged.
        ModuleNotFoundError: the extra `io` is not installed.
    """
    state, notes = _read(Path(path))
    if notes.get("format") == _FORMAT or _CHECKSUM in notes:
        digest = notes.pop(_CHECKSUM, "")
        if digest != _digest(state, notes):
            raise WeightsError(
                f"load: {path} is damaged: its content does not match its checksum. Copy it again, or save anew."
            )
        notes = {key: text for key, text in notes.items() if key not in _RESERVED}
    if module is not None:
        try:
            module.load_state_dict(state)
        except ValueError as error:
            raise ValueError(f"load: {path}: {error}") from error
    return state, notes


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Files of weights need safetensors: pip install 'tinygrad_notes[io]'.", name="safetensors"
        ) from error
    return safetensors.numpy


# --- writing ----------------------------------------------------------------------------------------------------------


def _state(what: Any) -> dict[str, np.ndarray]:
    given = what.state_dict() if isinstance(what, Module) else what
    if not isinstance(given, Mapping):
        raise TypeError(f"save: got {ops.describe(what)}; expected a module or a dict of arrays by name.")
    if not given:
        raise ValueError(f"save: {ops.describe(what)} holds no parameters; expected at least one.")
    state = {}
    for name, data in given.items():
        if not isinstance(name, str) or name == "__metadata__":
            raise TypeError(f"save: the name {name!r} cannot be used; expected a string other than '__metadata__'.")
        try:
            array = to_numpy(data)
        except (TypeError, ValueError) as error:
            raise TypeError(f"save: {name}: {error}.") from error
        if array.dtype.itemsize > 8:
            raise TypeError(
                f"save: {name} is {ops.describe(array)}; expected at most 64 bits a number: x.astype(float)."
            )
        state[name] = array.astype(array.dtype.newbyteorder("="), copy=False)
    return state


def _checked_metadata(metadata: Any) -> dict[str, str]:
    if not isinstance(metadata, Mapping) or not all(isinstance(s, str) for pair in metadata.items() for s in pair):
        raise TypeError(
            f"save: metadata is {metadata!r}; expected strings by strings: write other things with json.dumps."
        )
    if taken := [key for key in _RESERVED if key in metadata]:
        raise ValueError(
            f"save: metadata has {', '.join(taken)}, which this format writes itself; choose another name."
        )
    return dict(metadata)


def _digest(state: Mapping[str, np.ndarray], notes: Mapping[str, str]) -> str:
    """SHA-256 of all that the file says."""
    digest = hashlib.sha256(repr(sorted(notes.items())).encode("utf-8", "surrogatepass"))
    for name, array in sorted(state.items()):
        digest.update(repr((name, array.dtype.name, array.shape)).encode("utf-8", "surrogatepass"))
        digest.update(array.tobytes())
    return digest.hexdigest()


# --- reading ----------------------------------------------------------------------------------------------------------


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    _safetensors()
    from safetensors import SafetensorError, safe_open

    try:
        with open(path, "rb") as file:
            start = file.read(8)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"load: there is no file {path}; check the path, or save weights there first."
        ) from error
    except IsADirectoryError as error:
        raise WeightsError(f"load: {path} is a folder; expected a file of weights.") from error
    if not start:
        raise WeightsError(
            f"load: {path} is empty; expected a file that save wrote. Copy it again, or save the weights anew."
        )
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118  # no dict
    except (KeyError, TypeError) as error:
        raise WeightsError(
            f"load: {path} holds numbers that NumPy lacks ({error}); convert them to float32."
        ) from error
    except SafetensorError as error:
        for known, kind in _KNOWN_STARTS.items():
            if start.startswith(known):
                raise WeightsError(f"load: {path} is {kind}; expected a file that save wrote.") from error
        raise WeightsError(
            f"load: {path} is no safetensors file, or it is cut off or damaged ({error}). "
            "Copy it again, or save the weights anew."
        ) from error
