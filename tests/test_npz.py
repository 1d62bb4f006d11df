"""Pickles from strangers: what the field publishes is read, everything else is refused by name."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from affectllm.errors import AffectError
from affectllm.npz import read_npy, read_npz


@pytest.mark.parametrize(
    "value",
    [
        {"a": "text", "b": ["x", 1, 2.5, None, True]},
        {np.str_("name"): np.float32(0.5), "n": np.int64(-10)},
        [["happy", "glad"], ["sad"]],
        {"v": np.arange(3), "w": np.array(["é", "中文"])},
    ],
)
def test_containers_numbers_and_arrays_come_back(tmp_path: Path, value: object) -> None:
    box = np.empty((), object)
    box[()] = value
    np.savez(tmp_path / "a.npz", corpus=box, plain=np.arange(2))
    read = read_npz(tmp_path / "a.npz")
    assert plain(read["corpus"]) == plain(value)
    assert read["plain"].tolist() == [0, 1]


def plain(value: object) -> object:
    """Arrays as lists and NumPy scalars as Python's, for comparing."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | np.ndarray):
        return [plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def test_object_arrays_become_lists(tmp_path: Path) -> None:
    array = np.empty(2, object)
    array[:] = [["happy", "glad"], ["sad"]]
    np.save(tmp_path / "g.npy", array)
    assert read_npy(tmp_path / "g.npy") == [["happy", "glad"], ["sad"]]


@pytest.mark.parametrize("protocol", range(6))
def test_every_pickle_protocol(tmp_path: Path, protocol: int) -> None:
    box = np.empty((), object)
    box[()] = {"a": np.float64(1.5), "b": np.arange(2)}
    write_npy(tmp_path / "a.npy", pickle.dumps(box, protocol=protocol))
    assert plain(read_npy(tmp_path / "a.npy")) == {"a": 1.5, "b": [0, 1]}


def write_npy(path: Path, pickled: bytes) -> None:
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        file.write(pickled)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch ran",)


@pytest.mark.parametrize(
    ("value", "named"),
    [(Evil(), "system"), (Path("x"), "pathlib"), (np.datetime64("2020-01-01"), "M8"), (1j, "complex")],
)
def test_any_other_class_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: object, named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    box = np.empty((), object)
    box[()] = {"a": value}
    np.savez("evil.npz", corpus=box)
    with pytest.raises(AffectError, match=named):
        read_npz(Path("evil.npz"))
    assert not Path("ran").exists()


@pytest.mark.parametrize("size", [0, 10, 60, 120])
def test_truncated_archives_are_named(tmp_path: Path, size: int) -> None:
    np.savez(tmp_path / "a.npz", corpus=np.arange(3))
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:size])
    with pytest.raises(AffectError, match=r"a\.npz"):
        read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("pickled", [b"", b"garbage", pickle.dumps({"a": 1})[:-3], pickle.dumps(["not an array"])])
def test_broken_pickles_are_named(tmp_path: Path, pickled: bytes) -> None:
    write_npy(tmp_path / "a.npy", pickled)
    with pytest.raises(AffectError, match=r"a\.npy"):
        read_npy(tmp_path / "a.npy")


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(AffectError, match="No file"):
        read_npz(tmp_path / "none.npz")
    with pytest.raises(AffectError, match="No file"):
        read_npy(tmp_path / "none.npy")
