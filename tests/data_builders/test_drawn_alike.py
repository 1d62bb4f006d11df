"""Drawn clips are the same on every machine: frames and waves by hash, bytes over encoders' code paths and under load.

python -m tests.data_builders.test_drawn_alike     prints the hashes, to compare machines
"""

import ctypes
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectllm.media.audio import read_audio
from affectllm.synthetic import clips
from affectllm.synthetic.clips import encode, planes, render, write_clip
from affectllm.synthetic.exact import bell, noise, saturate, sine
from affectllm.synthetic.script import ClipPlan, plan_clip
from affectllm.synthetic.voices import FULL_SCALE, RATE_HZ, resample

pytest.importorskip("espeakng_loader", reason="espeakng-loader comes with the extra 'train'")
SEED, SIZE, FPS = 7, 48, 10
# Of frames and of 16-bit samples; the clips show every expression and speak with every prosody.
GOLDEN = {
    "train_0000": ["3d87b1356edd48f7", "15d3ede501dcc0bb"],
    "dev_0000": ["1b2566e0f7893aec", "e211d2f6392758f7"],
    "test_0001": ["cd3237afae780b72", "01424cc2ef98c9a3"],
    "test_0002": ["1722c2aad75ca8ad", "ecd2120576e908b4"],
    "test_0003": ["2af6fe1bc7df5da7", "9d950f2bf0e28cc5"],
    "test_0004": ["a89e5d3b9990b82d", "c0700d8a5fcfdb90"],
    "test_0005": ["a52d2c951f195149", "77cbb25313e2b8e3"],
    "test_0006": ["775aea23eca49027", "fbb7422086375491"],
}


def plans() -> list[ClipPlan]:
    return [plan_clip(SEED, *name) for name in (("train", 0), ("dev", 0), *(("test", i) for i in range(1, 7)))]


def short_hash(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]


def drawn() -> dict[str, list[str]]:
    """Name of each clip -> hashes of its frames and samples before any encoder has seen them."""
    found = {}
    for plan in plans():
        frames, wave = render(plan, SEED, SIZE, FPS)
        found[plan.name] = [short_hash(frames), short_hash(np.asarray(wave * FULL_SCALE, "<i2"))]
    return found


def encoded(folder: Path) -> dict[str, str]:
    """Name of each clip -> hash of its file."""
    found = {}
    for plan in plans():
        write_clip(folder / f"{plan.name}.mp4", plan, SEED, SIZE, FPS)
        found[plan.name] = hashlib.sha256((folder / f"{plan.name}.mp4").read_bytes()).hexdigest()
    return found


def test_frames_and_waves_are_those_of_every_machine() -> None:
    assert drawn() == GOLDEN


def numpy_features() -> str:
    """What numpy finds in this CPU beyond the least it runs on."""
    core = np._core if hasattr(np, "_core") else np.core
    known = core._multiarray_umath
    return " ".join(name for name in known.__cpu_dispatch__ if known.__cpu_features__.get(name))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"NPY_DISABLE_CPU_FEATURES": numpy_features()}, id="numpy-without-simd"),
        pytest.param({"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX,-FMA,-FMA4"}, id="libm-without-fma"),
        pytest.param({"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "PYTHONHASHSEED": "1"}, id="other-threads"),
    ],
)
def test_frames_and_waves_do_not_depend_on_cpu_features(other: dict[str, str]) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.data_builders.test_drawn_alike"],
        env={**os.environ, **other},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(run.stdout) == GOLDEN


def test_bytes_are_equal_over_repeats(tmp_path: Path) -> None:
    first = encoded(tmp_path)
    assert len(set(first.values())) == len(first)
    assert all(encoded(tmp_path) == first for _ in range(3))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names of x86 instruction sets")
@pytest.mark.parametrize("sets", ["SSE2", "SSE2,SSSE3", "SSE2,SSSE3,SSE4.2"])
def test_picture_settings_need_no_one_instruction_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sets: str
) -> None:
    plain = encoded(tmp_path)
    monkeypatch.setitem(clips.H264, "x264-params", f"asm={sets}")
    assert encoded(tmp_path) == plain


@contextmanager
def ffmpeg_limited_to(flags: int) -> Iterator[None]:
    """FFmpeg as on a CPU with these features only (libavutil/cpu.h); 0 is plain C."""
    loaded = Path("/proc/self/maps").read_text().split()
    library = ctypes.CDLL(next(word for word in loaded if "/libavutil" in word))
    library.av_force_cpu_flags(flags)
    try:
        yield
    finally:
        library.av_force_cpu_flags(-1)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="finds the loaded FFmpeg as Linux lists it")
def test_bytes_and_samples_do_not_depend_on_ffmpegs_code_paths(tmp_path: Path) -> None:
    plain = encoded(tmp_path)
    plan = plans()[0]
    wave = read_audio(tmp_path / f"{plan.name}.mp4")
    with ffmpeg_limited_to(0):
        assert encoded(tmp_path) == plain
        assert np.array_equal(read_audio(tmp_path / f"{plan.name}.mp4"), wave)


def test_every_sample_is_read_back(tmp_path: Path) -> None:
    plan = plans()[0]
    write_clip(tmp_path / "clip.mp4", plan, SEED, SIZE, FPS)
    assert np.array_equal(read_audio(tmp_path / "clip.mp4"), render(plan, SEED, SIZE, FPS)[1])


def test_decord_reads_picture_and_audio(tmp_path: Path) -> None:
    decord = pytest.importorskip("decord")
    plan = plans()[0]
    frames, wave = render(plan, SEED, SIZE, FPS)
    encode(tmp_path / "clip.mp4", frames, wave, FPS)
    assert len(decord.VideoReader(str(tmp_path / "clip.mp4"))) == len(frames)
    read = decord.AudioReader(str(tmp_path / "clip.mp4"), sample_rate=RATE_HZ, mono=True)[:].asnumpy()[0]
    assert np.array_equal(read[: len(wave)], wave)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_bytes_are_equal_a_hundred_times_under_load(tmp_path: Path) -> None:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        first = encoded(tmp_path)
        assert all(encoded(tmp_path) == first for _ in range(99))
    finally:
        for process in busy:
            process.kill()
            process.wait()


def test_planes_are_those_of_bt_601() -> None:
    colors = {(0, 0, 0): (16, 128, 128), (255, 255, 255): (235, 128, 128), (255, 0, 0): (82, 90, 240)}
    for color, (luma, blueness, redness) in colors.items():
        got = planes(np.full((4, 6, 3), color, np.uint8))
        assert got.shape == (6, 6)
        assert (got[:4] == luma).all()
        assert [*got[4:].ravel()] == [blueness] * 6 + [redness] * 6


def test_chroma_is_the_mean_of_four_pixels() -> None:
    frame = np.zeros((2, 2, 3), np.uint8)
    frame[0, 0] = 255, 0, 0
    assert planes(frame)[2].tolist() == [128 - round(38 * 255 / 1024), 128 + round(112 * 255 / 1024)]


@given(st.floats(-1e3, 1e3))
def test_sine_is_the_sine(x: float) -> None:
    assert sine(x) == pytest.approx(np.sin(x), abs=1e-9)
    assert sine(np.array([x]))[0] == sine(x)


@given(st.floats(-4, 4))
def test_saturation_is_the_tanh(x: float) -> None:
    assert saturate(x) == pytest.approx(np.tanh(x), abs=2e-5)


def test_noise_is_nearly_normal() -> None:
    drawn = noise(3, 99_999)
    assert (drawn.shape, drawn.dtype) == ((99_999,), np.float32)
    assert [drawn.mean(), drawn.std(), (drawn**4).mean()] == pytest.approx([0, 1, 3], abs=0.4)
    assert not np.array_equal(drawn, noise(4, 99_999))
    rng = Random(5)
    assert np.std([bell(rng) for _ in range(5000)]) == pytest.approx(1, abs=0.03)


def test_resampling_keeps_a_tone_and_its_sums_are_exact() -> None:
    tone = np.rint(8000 * np.sin(2 * np.pi * 440 * np.arange(22050) / 22050)) / FULL_SCALE
    got = resample(tone.astype(np.float32), 22050)
    assert len(got) == RATE_HZ
    wanted = 8000 / FULL_SCALE * np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)
    assert np.abs(got - wanted)[500:-500].max() < 1e-3
    # Sums of 16-bit samples times 30-bit taps: nothing is left below their last digit.
    assert np.array_equal(got * 2.0**45, np.rint(got * 2.0**45))


if __name__ == "__main__":
    print(json.dumps(drawn(), indent=4))
