"""The cache gives back what was put, or nothing; never something else, whatever is killed or overwritten."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectllm.commands import verbs
from affectllm.errors import AffectError
from affectllm.media.cache import FeatureCache

pytest.importorskip("safetensors")

TENSORS = {"frames": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "grid": np.array([[1, 2, 3]])}


def key(name: str = "clip") -> str:
    return FeatureCache.key(name, {"n": 8, "start_s": None}, "processor-1")


def same(found: object, wanted: dict[str, np.ndarray]) -> bool:
    assert isinstance(found, dict)
    assert found.keys() == wanted.keys()
    return all(found[k].dtype == wanted[k].dtype and np.array_equal(found[k], wanted[k]) for k in wanted)


def test_what_is_put_comes_back(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    assert cache.get(key()) is None
    cache.put(key(), TENSORS)
    assert same(cache.get(key()), TENSORS)
    assert same(FeatureCache(tmp_path).get(key()), TENSORS)
    assert cache.stat().entries == 1
    assert cache.stat().bytes == cache.path(key()).stat().st_size


def test_odd_shapes_and_orders(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    odd = {
        "scalar": np.float64(3),
        "none": np.empty((0, 4)),
        "turned": np.arange(6).reshape(2, 3).T,
        "flags": np.array([True]),
    }
    cache.put(key(), {name: np.asarray(array) for name, array in odd.items()})
    assert same(cache.get(key()), {name: np.asarray(array) for name, array in odd.items()})


def test_torch_tensors_come_back_as_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    cache = FeatureCache(tmp_path)
    tensors = {"pixels": torch.randn(3, 4).to(torch.bfloat16), "turned": torch.arange(6).reshape(2, 3).T}
    cache.put(key(), tensors)
    found = cache.get(key())
    assert found is not None
    assert found["pixels"].dtype == torch.bfloat16
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


def test_files_are_plain_safetensors(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    cache = FeatureCache(tmp_path)
    cache.put(key(), TENSORS)
    assert same(load_file(cache.path(key())), TENSORS)


def test_keys_differ_in_every_part() -> None:
    keys = {
        FeatureCache.key("a", {"n": 8}, "p"),
        FeatureCache.key("b", {"n": 8}, "p"),
        FeatureCache.key("a", {"n": 9}, "p"),
        FeatureCache.key("a", {"fps": 8}, "p"),
        FeatureCache.key("a", {"n": 8}, "q"),
        FeatureCache.key("a", {"n": 8, "end_s": None}, "p"),
    }
    assert len(keys) == 6
    assert FeatureCache.key("a", {"x": 1, "y": 2}, "p") == FeatureCache.key("a", {"y": 2, "x": 1}, "p")


def test_only_keys_are_names(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"what FeatureCache\.key returns"):
        FeatureCache(tmp_path).get("../../etc/passwd")


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7), cut=st.booleans())
@settings(max_examples=150, deadline=None)
def test_no_corruption_gets_through(tmp_path_factory: pytest.TempPathFactory, at: int, bit: int, cut: bool) -> None:
    """Wherever a bit flips or the file ends: a miss and a clean place, or the right tensors; never wrong ones."""
    cache = FeatureCache(tmp_path_factory.mktemp("cache"))
    cache.put(key(), TENSORS)
    content = bytearray(cache.path(key()).read_bytes())
    if cut:
        content = content[: at % len(content)]
    else:
        content[at % len(content)] ^= 1 << bit
    cache.path(key()).write_bytes(content)
    found = cache.get(key())
    assert found is None or same(found, TENSORS)
    if found is None:
        assert not cache.path(key()).exists()
    cache.put(key(), TENSORS)
    assert same(cache.get(key()), TENSORS)


def test_verify_removes_what_is_corrupt_and_nothing_else(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    for name in "abc":
        cache.put(key(name), TENSORS)
    with cache.path(key("b")).open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    assert cache.verify() == [cache.path(key("b"))]
    assert cache.verify() == []
    assert cache.stat().entries == 2


def test_longest_unused_entries_go_first(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    for i, name in enumerate("abcd"):
        cache.put(key(name), TENSORS)
        os.utime(cache.path(key(name)), (i, i))
    cache.get(key("a"))
    size = cache.stat().bytes // 4
    left = cache.prune(3 * size)
    # 90 % of three entries hold two.
    assert left.entries == 2
    assert [name for name in "abcd" if cache.get(key(name)) is not None] == ["a", "d"]


def test_the_folder_keeps_its_size(tmp_path: Path) -> None:
    block = {"x": np.zeros(1000, np.uint8)}
    cache = FeatureCache(tmp_path, max_bytes=20_000)
    for i in range(100):
        cache.put(key(str(i)), block)
        assert cache.stat().bytes <= 20_000 * (1 + 1 / 16) + 1200
    assert cache.get(key("99")) is not None
    assert cache.stat().entries >= 14


def test_what_exceeds_the_cache_is_not_kept(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, max_bytes=1000)
    cache.put(key("small"), {"x": np.zeros(100, np.uint8)})
    cache.put(key("large"), {"x": np.zeros(2000, np.uint8)})
    assert cache.get(key("small")) is not None
    assert cache.get(key("large")) is None


def test_a_folder_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AffectError, match="Cannot create folder"):
        FeatureCache(tmp_path / "file").put(key(), TENSORS)


def write_and_read(folder: Path, seed: int) -> None:
    """200 puts and gets of ten keys in a folder that holds about five; every get must be whole."""
    rng = random.Random(seed)
    cache = FeatureCache(folder, max_bytes=50_000)
    for _ in range(200):
        number = rng.randrange(10)
        if rng.random() < 0.5:
            cache.put(key(str(number)), {"x": np.full(10_000, number, np.uint8)})
        found = cache.get(key(str(number)))
        assert found is None or (found["x"] == number).all()


def test_writers_may_race(tmp_path: Path) -> None:
    workers = [multiprocessing.get_context("fork").Process(target=write_and_read, args=(tmp_path, i)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert FeatureCache(tmp_path).verify() == []


ENDLESS = """
import sys, numpy as np
from affectllm.media.cache import FeatureCache
cache = FeatureCache(sys.argv[1])
print("ready", flush=True)
for i in range(10**9):
    cache.put(FeatureCache.key(str(i % 5), {}, ""), {"x": np.full(3_000_000, i % 5, np.uint8)})
"""


def kill_at_random_points(folder: Path, times: int) -> None:
    rng = random.Random(0)
    for _ in range(times):
        writer = subprocess.Popen([sys.executable, "-c", ENDLESS, str(folder)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(rng.random() * 0.05)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        cache = FeatureCache(folder)
        assert cache.verify() == []
        for i in range(5):
            found = cache.get(FeatureCache.key(str(i), {}, ""))
            assert found is None or (found["x"] == i).all()


def test_cache_survives_kills(tmp_path: Path) -> None:
    kill_at_random_points(tmp_path, 5)


@pytest.mark.slow
def test_cache_survives_many_kills(tmp_path: Path) -> None:
    kill_at_random_points(tmp_path, 100)


def test_abandoned_files_are_swept(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.put(key(), TENSORS)
    folder = cache.path(key()).parent
    old, young = folder / "x.1.partial", folder / "x.2.partial"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert cache.stat().abandoned == 1
    cache.prune(1 << 30)
    assert not old.exists()
    assert young.exists()
    assert same(cache.get(key()), TENSORS)


def test_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("AFFECTLLM_CACHE", str(tmp_path))
    cache = FeatureCache(tmp_path / "features")
    for name in "ab":
        cache.put(key(name), TENSORS)
    assert verbs.run("cache", ["stat"]) == 0
    assert capsys.readouterr().out.startswith("2 entries, 0.000 GiB, 0 abandoned files in ")
    cache.path(key("a")).write_bytes(b"rubbish")
    assert verbs.run("cache", ["verify"]) == 0
    assert capsys.readouterr().out.splitlines()[1:2] == ["1 corrupt entries"]
    assert verbs.run("cache", ["prune", "--max-gib", "0"]) == 0
    assert capsys.readouterr().out.startswith("0 entries")
    with pytest.raises(AffectError, match="No 'clear' under 'affectllm cache'"):
        verbs.run("cache", ["clear"])
