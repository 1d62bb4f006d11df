"""The probe tells what the packets say, where the header says something else."""

import hashlib
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from affectllm.media import Unreadable, probe
from affectllm.media.limits import show
from affectllm.media.probe import content_hash
from tests.media.hostile import bitten, cover, frame_folder
from tests.media.make import clip, picture, tone


def test_a_plain_clip(tmp_path: Path) -> None:
    found = probe(clip(tmp_path / "c.mp4", sound=np.stack([tone(2)] * 2)), verify=True, digest=True)
    assert found.video is not None
    assert found.audio is not None
    assert (found.video.codec, found.video.width, found.video.height) == ("h264", 64, 48)
    assert (found.video.fps, found.video.variable_rate) == (25, False)
    assert (found.video.frames, found.video.frames_decoded) == (50, 50)
    assert found.video.duration_s == pytest.approx(2)
    assert (found.audio.codec, found.audio.rate_hz, found.audio.channels) == ("aac", 16000, 2)
    assert found.audio.layout == "stereo"
    assert found.defects == []
    assert found.sha256 == hashlib.sha256((tmp_path / "c.mp4").read_bytes()).hexdigest()


def test_rotation_is_part_of_the_size(tmp_path: Path) -> None:
    found = probe(clip(tmp_path / "c.mp4", rotation=90)).video
    assert found is not None
    assert (found.width, found.height, found.rotation) == (48, 64, 90)


def test_variable_rate(tmp_path: Path) -> None:
    found = probe(clip(tmp_path / "c.mp4", frames=5, pts=[0, 1, 2, 10, 20])).video
    assert found is not None
    # 4 steps in 20 / 25 s.
    assert found.fps == pytest.approx(5)
    assert found.variable_rate


@pytest.mark.parametrize(("pts", "base"), [([0, 1024, 2048], Fraction(1)), ([0], Fraction(1, 25))])
def test_rates_that_no_camera_has_are_none(tmp_path: Path, pts: list[int], base: Fraction) -> None:
    found = probe(clip(tmp_path / "c.mkv", frames=len(pts), pts=pts, time_base=base)).video
    assert found is not None
    assert found.fps is None


def test_cover_art_is_listed_and_is_not_video(tmp_path: Path) -> None:
    found = probe(cover("song.mp3", "libmp3lame")(tmp_path))
    assert found.video is None
    assert found.audio is not None
    assert sorted(stream.kind for stream in found.streams) == ["audio", "cover"]


def test_late_tracks_and_late_clocks(tmp_path: Path) -> None:
    found = probe(clip(tmp_path / "c.mkv", sound=tone(1), sound_delay_s=0.75, start_s=3600, sound_codec="pcm_s16le"))
    assert found.start_s == pytest.approx(3600, abs=0.01)
    assert found.audio is not None
    assert found.audio.start_s == pytest.approx(0.75, abs=0.01)
    assert found.duration_s == pytest.approx(2, abs=0.01)
    assert found.defects == ["The audio starts 0.75 s late."]


def test_what_cannot_be_decoded_is_counted(tmp_path: Path) -> None:
    found = probe(bitten(0.5)(tmp_path), verify=True)
    assert found.video is not None
    assert found.video.frames == 50
    assert found.video.frames_decoded is not None
    assert found.video.frames_decoded < 50
    assert found.defects == [f"{50 - found.video.frames_decoded} of 50 frames cannot be decoded."]


def test_cut_clip_is_told(tmp_path: Path) -> None:
    path = clip(tmp_path / "c.mp4", muxer={"movflags": "faststart"})
    os.truncate(path, path.stat().st_size * 2 // 3)
    assert any("it was cut off" in defect for defect in probe(path).defects)


def test_stills_are_video(tmp_path: Path) -> None:
    folder = probe(frame_folder(tmp_path)).video
    assert folder is not None
    assert (folder.frames, folder.fps, folder.duration_s) == (50, 25, 2)
    np.save(tmp_path / "face.npy", np.stack([picture(i) for i in range(5)]))
    crops = probe(tmp_path / "face.npy", verify=True).video
    assert crops is not None
    assert (crops.frames, crops.width, crops.height) == (5, 64, 48)


def test_hash_follows_content_and_not_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").write_bytes(b"x")
    assert content_hash(tmp_path / "a") == content_hash(tmp_path / "b")
    folder = frame_folder(tmp_path)
    before = content_hash(folder)
    (folder / "frame7.png").write_bytes((folder / "frame8.png").read_bytes())
    assert content_hash(folder) != before
    with pytest.raises(Unreadable, match="No such file"):
        content_hash(tmp_path / "nothing")


def test_paths_fit_on_a_line() -> None:
    assert show(Path("a\nb\x1b[31m\u202e.mp4")) == "a\\nb\\x1b[31m\\u202e.mp4"
    assert show(Path(os.fsdecode(b"\xff.mp4"))) == "\\xff.mp4"
    assert show(Path("情感 😀.mp4")) == "情感 😀.mp4"
