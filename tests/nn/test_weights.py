"""Files of weights: whole or not at all, and every damage told."""

import os
import pickle
import stat
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import tinygrad_notes.nn as nn
from tinygrad_notes import Tensor, Value

safetensors = pytest.importorskip("safetensors")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
dtypes = st.sampled_from([np.float64, np.float32, np.float16, np.int64, np.int8, np.uint8, np.bool_, ">f8", ">i4"])
states = st.dictionaries(
    texts.filter(lambda s: s != "__metadata__"),
    dtypes.flatmap(lambda d: arrays(d, array_shapes(min_dims=0, min_side=0, max_side=3))),
    min_size=1,
    max_size=4,
)
notes = st.dictionaries(
    texts.filter(lambda s: s not in ("format", "version", "tinygrad_notes_sha256")), texts, max_size=3
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """A good file's bytes."""
    file = tmp_path_factory.mktemp("good") / "net.safetensors"
    nn.save(nn.MLP([2, 2, 1], rng=0), file, metadata={"epoch": "3"})
    return file.read_bytes()


@given(states, notes)
def test_what_is_saved_is_loaded(state, metadata):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "w"
        nn.save(state, file, metadata=metadata)
        found, found_notes = nn.load(file)
        assert os.listdir(folder) == ["w"]
    assert found_notes == metadata
    assert found.keys() == state.keys()
    for name, a in state.items():
        assert found[name].dtype == a.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found[name], a)


@given(st.data())
def test_transposed_and_strided_arrays_are_saved_as_they_read(data):
    a = data.draw(arrays(float, (3, 4)))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "w"
        nn.save({"t": a.T, "s": a[:, ::2], "f": np.asfortranarray(a)}, file)
        found, _ = nn.load(file)
    np.testing.assert_array_equal(found["t"], a.T)
    np.testing.assert_array_equal(found["s"], a[:, ::2])
    np.testing.assert_array_equal(found["f"], a)


def test_a_module_comes_back_also_as_the_other_kind(path):
    net = nn.MLP([3, 2, 1], rng=0)
    nn.save(net, str(path), metadata={"epoch": "3"})
    x = [1.0, -2.0, 0.5]
    for of in (Tensor, Value):
        other = nn.MLP([3, 2, 1], of=of, rng=1)
        _, metadata = nn.load(path, other)
        assert metadata == {"epoch": "3"}
        assert all(np.array_equal(a, other.state_dict()[name]) for name, a in net.state_dict().items())
        assert np.allclose([float(v) for v in other(x)], net(x).data, rtol=1e-14)


def test_the_file_is_plain_safetensors_with_format_and_version(path):
    net = nn.Linear(2, 1)
    nn.save(net, path)
    with safetensors.safe_open(path, framework="numpy") as file:
        assert file.metadata()["format"] == "tinygrad_notes"
        assert file.metadata()["version"]
        np.testing.assert_array_equal(file.get_tensor("weight"), net.weight.data)


def test_files_of_other_tools_are_read(path):
    from safetensors.numpy import save_file

    save_file({"weight": np.ones((1, 2), np.float32)}, path, metadata={"format": "pt", "sha256": "theirs"})
    state, metadata = nn.load(path)
    assert state["weight"].tolist() == [[1.0, 1.0]]
    assert metadata == {"format": "pt", "sha256": "theirs"}


def test_weights_of_another_shape_name_the_file_and_change_nothing(path):
    nn.save(nn.MLP([3, 2, 1]), path)
    other = nn.MLP([3, 4, 1], rng=0)
    before = other.state_dict()
    with pytest.raises(ValueError, match=r"net\.safetensors[\s\S]*given \(2, 3\), expected \(4, 3\)"):
        nn.load(path, other)
    assert all(np.array_equal(a, before[name]) for name, a in other.state_dict().items())


# --- a failure while saving -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where", ["os.replace", "os.fsync", "safetensors.numpy.save", "safetensors.numpy.serialize", "shutil.copymode"]
)
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_save_leaves_the_old_file_and_no_litter(path, monkeypatch, where, error):
    def fail(*_args, **_kwargs):
        raise error("injected")

    nn.save(nn.Linear(2, 1, rng=0), path)
    before = path.read_bytes()
    monkeypatch.setattr(where, fail)
    with pytest.raises(error, match="injected"):
        nn.save(nn.Linear(2, 1, rng=1), path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]
    nn.load(path)


def test_a_write_that_stops_half_way(path, monkeypatch):
    nn.save(nn.Linear(2, 1, rng=0), path)
    before = path.read_bytes()
    real = open

    def half(name, mode="r", *args, **kwargs):
        file = real(name, mode, *args, **kwargs)
        if "x" in mode:
            whole = file.write

            class Half:
                def __enter__(self):
                    return self

                def __exit__(self, *exc):
                    file.close()

                def write(self, content):
                    whole(content[: len(content) // 2])
                    raise OSError(28, "No space left on device")

            return Half()
        return file

    monkeypatch.setattr("builtins.open", half)
    with pytest.raises(OSError, match="No space left"):
        nn.save(nn.Linear(2, 1, rng=1), path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize(
    ("what", "metadata", "error", "message"),
    [
        ({}, None, ValueError, "holds no parameters"),
        (nn.Module(), None, ValueError, r"Module\(\) holds no parameters"),
        ([1.0], None, TypeError, r"got \[1\.0\]; expected a module or a dict"),
        ({"a": "text"}, None, TypeError, "a: given 'text'; expected real numbers"),
        ({"a": np.ones(2, complex)}, None, TypeError, "a: given array .* of complex128"),
        ({"a": [[1], [1, 2]]}, None, TypeError, "a: "),
        ({1: np.ones(2)}, None, TypeError, "the name 1 cannot be used"),
        ({"__metadata__": np.ones(2)}, None, TypeError, "__metadata__"),
        ({"a": np.ones(1)}, {"epoch": 3}, TypeError, "metadata is .*json"),
        ({"a": np.ones(1)}, [1], TypeError, "metadata is"),
        ({"a": np.ones(1)}, {"format": "x"}, ValueError, "metadata has format"),
    ],
)
def test_what_cannot_be_saved_leaves_the_old_file(path, what, metadata, error, message):
    path.write_bytes(b"old")
    with pytest.raises(error, match=f"save: .*{message}"):
        nn.save(what, path, metadata=metadata)
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == [path.name]


def test_numbers_wider_than_the_format(path):
    if np.dtype(np.longdouble).itemsize > 8:
        with pytest.raises(TypeError, match=r"save: a is array .*at most 64 bits"):
            nn.save({"a": np.ones(1, np.longdouble)}, path)


def test_places_that_are_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the folder .*nowhere does not exist; make it first"):
        nn.save(nn.Linear(1, 1), tmp_path / "nowhere" / "w")
    with pytest.raises(IsADirectoryError, match=r" is a folder; expected"):
        nn.save(nn.Linear(1, 1), tmp_path)
    with pytest.raises(nn.WeightsError, match=r"load: .* is a folder"):
        nn.load(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions and links")
def test_permissions_and_links_are_kept(path):
    nn.save(nn.Linear(1, 1), path)
    path.chmod(0o640)
    link = path.with_name("link")
    link.symlink_to(path)
    nn.save(nn.Linear(2, 1), link)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert nn.load(path)[0]["weight"].shape == (1, 2)


# --- files that are no weights ----------------------------------------------------------------------------------------


def test_a_missing_file(path):
    with pytest.raises(FileNotFoundError, match=r"load: there is no file .*net\.safetensors; check the path"):
        nn.load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "is a PNG picture"),
        (pickle.dumps({"weight": [1.0]}), "is a pickle, which is never read here"),
        (b"PK\x03\x04" + bytes(100), "is a zip archive"),
        (b"\x93NUMPY" + bytes(100), r"is a file of np\.save"),
        (b"short", "no safetensors file, or it is cut off or damaged"),
        (b"epoch,loss\n1,0.5\n" * 20, "no safetensors file, or it is cut off or damaged"),
        (bytes(100), "no safetensors file, or it is cut off or damaged"),
        (b"\xff" * 100, "no safetensors file, or it is cut off or damaged"),
    ],
)
def test_foreign_files(path, content, message):
    path.write_bytes(content)
    with pytest.raises(nn.WeightsError, match=rf"load: .*net\.safetensors.* {message}.*(expected|save)"):
        nn.load(path)
    assert path.read_bytes() == content


def test_a_pickle_is_never_run(path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(path.with_name("trap")),))

    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(nn.WeightsError):
        nn.load(path)
    assert not path.with_name("trap").exists()


def test_every_cut_is_told(path, content):
    for n in range(len(content)):
        path.write_bytes(content[:n])
        with pytest.raises(nn.WeightsError, match=r"load: .*net\.safetensors"):
            nn.load(path)


@given(st.data())
def test_a_flipped_bit_anywhere_is_told(content, data):
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    damaged = bytearray(content)
    damaged[bit // 8] ^= 1 << bit % 8
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "w"
        file.write_bytes(damaged)
        with pytest.raises(nn.WeightsError, match=r"load: .*(damaged|lacks)"):
            nn.load(file)


@given(st.data())
def test_damage_leaves_the_module_as_it_was(content, data):
    net = nn.MLP([2, 2, 1], rng=5)
    before = net.state_dict()
    start = data.draw(st.integers(0, len(content)))
    damaged = content[:start] + data.draw(st.binary(min_size=1, max_size=20)) + content[start:]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "w"
        file.write_bytes(damaged)
        with pytest.raises(nn.WeightsError):
            nn.load(file, net)
    assert all(np.array_equal(a, before[name]) for name, a in net.state_dict().items())


def test_a_missing_package_names_the_extra(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    for call in (lambda: nn.save(nn.Linear(1, 1), path), lambda: nn.load(path)):
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'tinygrad_notes\[io\]'"):
            call()
