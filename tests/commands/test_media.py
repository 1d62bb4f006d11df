"""`affectllm media`: a record and exit 0, or one line and exit 2."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from affectllm import jsonl
from affectllm.commands.cli import main
from affectllm.media.probe import Probe
from tests.media.make import clip, number, tone


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("command") / "c.mp4", sound=tone(2))


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(["media", *map(str, words)])
    assert isinstance(left.value.code, int)
    return left.value.code


def test_probe_prints_a_record(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("probe", path, "--json", "--verify", "--hash") == 0
    found = msgspec.json.decode(capsys.readouterr().out, type=Probe)
    assert found.video is not None
    assert found.video.frames_decoded == 50
    assert found.sha256 is not None


def test_probe_prints_lines(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("probe", path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"bytes        {path.stat().st_size}" in lines
    assert any(line.startswith("video") and '"codec": "h264"' in line for line in lines)


def test_errors_are_one_line_and_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.mp4").touch()
    for words in (["probe"], ["frames", "--out", tmp_path / "x"], ["audio", "--out", tmp_path / "x.wav"]):
        assert call(words[0], tmp_path / "empty.mp4", *words[1:]) == 2
        heard = capsys.readouterr().err
        assert heard.count("\n") == 1
        assert heard.startswith(f"affectllm: Cannot read {tmp_path / 'empty.mp4'}: it is empty (0 bytes). ")
    assert call("play") == 2


def test_frames_are_saved(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("frames", path, "--n", 2, "--out", tmp_path / "out") == 0
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == ["0000_00000.500s.png", "0001_00001.500s.png"]
    assert [number(np.asarray(Image.open(file))) for file in files] == [12, 37]


def test_sound_is_saved(path: Path, tmp_path: Path) -> None:
    assert call("audio", path, "--out", tmp_path / "a.wav", "--start-s", 0.5, "--end-s", 1) == 0
    rate_hz, samples = wavfile.read(tmp_path / "a.wav")
    assert rate_hz == 16000
    assert samples.dtype == np.float32
    assert samples.shape == (8000,)


@pytest.mark.parametrize(
    ("words", "say"),
    [
        (["frames", "--n", "0"], "Give --n 1 or more"),
        (["frames", "--n", "2", "--fps", "1"], "not both"),
        (["frames", "--start-s", "2", "--end-s", "1"], "A span needs"),
        (["audio", "--rate-hz", "0"], "--rate-hz must be"),
    ],
)
def test_impossible_wishes(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], say: str
) -> None:
    assert call(words[0], path, *words[1:], "--out", tmp_path / "x") == 2
    assert say in capsys.readouterr().err


def test_clip_without_the_wanted_track(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mute, blind = clip(tmp_path / "mute.mp4"), clip(tmp_path / "blind.mp4", frames=0, sound=tone(1))
    assert call("audio", mute, "--out", tmp_path / "a.wav") == 2
    assert "has no audio" in capsys.readouterr().err
    assert call("frames", blind, "--out", tmp_path / "f") == 2
    assert "has no video" in capsys.readouterr().err


def test_importing_media_loads_no_decoder() -> None:
    code = "import sys, affectllm.media; print(sorted({'av', 'torch', 'safetensors', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_probe_json_is_what_the_library_says(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from affectllm.media import probe

    assert call("probe", path, "--json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads(jsonl.dumps(probe(path)))
