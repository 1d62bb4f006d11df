"""Frames come from the right moments, whatever the timestamps look like and wherever decoding begins."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affectllm.media import Limits, Unreadable, read_frames, source
from affectllm.media.sampler import Sampler
from tests.media.make import clip, number, numbers, picture, tone


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10 s at 25 fps with a keyframe every 2 s; frame i carries i."""
    return clip(tmp_path_factory.mktemp("clips") / "long.mp4", frames=250, gop=50, sound=tone(10))


def test_frames_are_those_at_segment_centres(long_clip: Path) -> None:
    found = read_frames(long_clip, n=4)
    assert found is not None
    # Segments of 2.5 s with centres 1.25, 3.75 ...; frame i is shown from i / 25 s on.
    assert found.times_s.tolist() == [1.25, 3.75, 6.25, 8.75]
    assert numbers(found.frames_THWC) == [31, 93, 156, 218]
    assert found.frames_THWC.shape == (4, 48, 64, 3)
    assert found.frames_THWC.dtype == np.uint8


def test_fps_cuts_the_span_into_segments(long_clip: Path) -> None:
    found = read_frames(long_clip, fps=2, start_s=3, end_s=5)
    assert found is not None
    assert found.times_s.tolist() == [3.25, 3.75, 4.25, 4.75]
    assert numbers(found.frames_THWC) == [81, 93, 106, 118]


def test_a_slow_rate_still_gives_one_frame(long_clip: Path) -> None:
    found = read_frames(long_clip, fps=0.01)
    assert found is not None
    assert numbers(found.frames_THWC) == [125]


def test_every_frame_of_a_span(long_clip: Path) -> None:
    found = read_frames(long_clip, start_s=7.96, end_s=8.2)
    assert found is not None
    assert numbers(found.frames_THWC) == [199, 200, 201, 202, 203, 204]


def test_more_moments_than_frames_repeat_frames(tmp_path: Path) -> None:
    found = read_frames(clip(tmp_path / "c.mp4", frames=2), n=4)
    assert found is not None
    assert numbers(found.frames_THWC) == [0, 0, 1, 1]


def test_end_behind_the_clip_means_its_end(long_clip: Path) -> None:
    found = read_frames(long_clip, n=1, start_s=8, end_s=99)
    assert found is not None
    assert found.times_s.tolist() == [9.0]


def test_span_behind_the_clip_is_refused(long_clip: Path) -> None:
    with pytest.raises(Unreadable, match=r"ends at 10\.00 s, and 12\.00 s was asked for"):
        read_frames(long_clip, n=1, start_s=12, end_s=13)


@pytest.mark.parametrize(
    "wrong",
    [{"n": 0}, {"fps": 0.0}, {"n": 1, "fps": 1.0}, {"start_s": -1.0}, {"start_s": 2.0, "end_s": 1.0}, {"fps": np.nan}],
)
def test_impossible_requests_are_mistakes_of_the_caller(long_clip: Path, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"frames are asked for|a span needs"):
        read_frames(long_clip, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_rotated_clips_are_turned_upright(tmp_path: Path, rotation: int) -> None:
    found = read_frames(clip(tmp_path / "c.mp4", frames=12, rotation=rotation), n=1)
    assert found is not None
    # The display matrix says by how much to turn counterclockwise, which is what np.rot90 does.
    upright = np.rot90(found.frames_THWC[0], -rotation // 90)
    assert number(upright) == 6
    assert upright.shape == (48, 64, 3)
    assert np.abs(upright[:8].astype(int) - 128).max() < 20


def test_longest_side_scales_down_and_never_up(tmp_path: Path) -> None:
    path = clip(tmp_path / "c.mp4", frames=3, size=(320, 160))
    small, same = read_frames(path, n=1, longest_side=80), read_frames(path, n=1, longest_side=4000)
    assert small is not None
    assert same is not None
    assert small.frames_THWC.shape == (1, 40, 80, 3)
    assert same.frames_THWC.shape == (1, 160, 320, 3)
    assert number(small.frames_THWC[0]) == 1


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_jumping_gives_the_same_frames_as_decoding_all(tmp_path: Path, suffix: str) -> None:
    path = clip(tmp_path / f"c.{suffix}", frames=250, gop=50)
    all_frames = read_frames(path)
    assert all_frames is not None
    assert numbers(all_frames.frames_THWC) == list(range(250))
    for n in (1, 2, 3, 7):
        found = read_frames(path, n=n)
        assert found is not None
        wanted = [int((i + 0.5) / n * 250) for i in range(n)]
        assert (found.frames_THWC == all_frames.frames_THWC[wanted]).all()


def test_an_index_that_lies_is_not_used(long_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seek that lands behind the keyframe must not shift frames: decoding then goes from the start."""
    import av

    seeks: list[int] = []

    class Late:
        """A demuxer whose seeks overshoot by 4 s."""

        def __init__(self, media: av.container.InputContainer) -> None:
            self.media = media

        def __getattr__(self, name: str) -> object:
            return getattr(self.media, name)

        def seek(self, moment: int, stream: object) -> None:
            seeks.append(moment)
            self.media.seek(moment + int(4 / stream.time_base), stream=stream)  # type: ignore[attr-defined, arg-type]

    made = Sampler.__init__

    def with_late_media(self: Sampler, path: Path, media: object, *rest: object) -> None:
        made(self, path, Late(media), *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Sampler, "__init__", with_late_media)
    found = read_frames(long_clip, n=1, start_s=4.2, end_s=4.6)
    assert found is not None
    assert seeks
    assert numbers(found.frames_THWC) == [110]


@given(steps=st.lists(st.integers(1, 40), min_size=1, max_size=12), n=st.integers(1, 9))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_timestamps_give_the_frame_shown_then(tmp_path: Path, steps: list[int], n: int) -> None:
    pts = [0, *np.cumsum(steps).tolist()]
    path = clip(
        tmp_path / "c.mkv", frames=len(pts), pts=pts, time_base=Fraction(1, 100), codec="ffv1", pix_fmt="yuv444p"
    )
    found = read_frames(path, n=n)
    assert found is not None
    wanted = np.searchsorted(np.array(pts) / 100, found.times_s + 1e-6, side="right") - 1
    assert numbers(found.frames_THWC) == wanted.tolist()


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(file_bytes=1000), "more than the limit of 0 MiB"),
        (Limits(duration_s=5), "longer than the limit of 5 s"),
        (Limits(pixels=1000), "64x48 pixels, more than the limit of 1000"),
        (Limits(packets=100), "more than 100 packets"),
        (Limits(decoded_bytes=20_000), "Ask for fewer frames"),
        (Limits(timeout_s=0), "took longer than 0 s"),
    ],
)
def test_limits_refuse_in_words(long_clip: Path, limits: Limits, words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        read_frames(long_clip, n=8, limits=limits)


def test_absurd_counts_are_refused_before_memory_is_asked_for(long_clip: Path) -> None:
    with pytest.raises(Unreadable, match="the result would take"):
        read_frames(long_clip, n=10**12)
    with pytest.raises(Unreadable, match="the result would take"):
        read_frames(long_clip, fps=1e15)


@pytest.mark.parametrize("suffix", ["mp4", "ts"])
def test_file_deleted_while_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """An open file stays readable; where it has to be opened again, the error says that it is gone."""
    path = clip(tmp_path / f"c.{suffix}")
    read = source.Tap.read

    def delete_then_read(self: source.Tap, size: int) -> bytes:
        path.unlink(missing_ok=True)
        return read(self, size)

    monkeypatch.setattr(source.Tap, "read", delete_then_read)
    if suffix == "mp4":
        found = read_frames(path, n=5)
        assert found is not None
        assert numbers(found.frames_THWC) == [5, 15, 25, 35, 45]
    else:
        with pytest.raises(Unreadable, match="No such file"):
            read_frames(path, n=5)


def test_no_later_picture_stands_for_a_lost_beginning(tmp_path: Path) -> None:
    """The first 2 s of pictures are gone: a moment there is an error, a moment behind them is read."""
    import av

    path = clip(tmp_path / "c.mp4", frames=150, gop=50)
    with av.open(str(path)) as media:
        places = [(packet.pos, packet.size) for packet in media.demux(video=0) if packet.size]
    with path.open("r+b") as file:
        for start, size in places[:50]:
            file.seek(start or 0)
            file.write(bytes(size))
    with pytest.raises(Unreadable, match=r"the picture at 1\.00 s cannot be decoded"):
        read_frames(path, n=1, end_s=2)
    found = read_frames(path, n=1, start_s=4, end_s=5)
    assert found is not None
    assert numbers(found.frames_THWC) == [112]


def test_file_cut_while_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = clip(tmp_path / "c.mp4", frames=1500, muxer={"movflags": "faststart"})
    assert path.stat().st_size > 60_000
    monkeypatch.setattr(source, "READ_BYTES", 4096)

    def cut(*args: object) -> Sampler:
        with path.open("r+b") as file:
            file.truncate(20_000)
        return Sampler(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("affectllm.media.decode.Sampler", cut)
    with pytest.raises(Unreadable, match="cannot be decoded"):
        read_frames(path, n=5)


def test_full_decode_of_drawn_clip_matches_a_plain_pyav_loop(long_clip: Path) -> None:
    import av

    with av.open(str(long_clip)) as media:
        plain = np.stack([frame.to_ndarray(format="rgb24") for frame in media.decode(video=0)])
    ours = read_frames(long_clip)
    assert ours is not None
    np.testing.assert_array_equal(ours.frames_THWC, plain)


def test_frames_equal_decords(long_clip: Path) -> None:
    decord = pytest.importorskip("decord")
    reader = decord.VideoReader(str(long_clip), num_threads=1)
    ours = read_frames(long_clip, n=8)
    assert ours is not None
    # decord numbers frames; at a constant rate the frame at a moment is the moment times the rate.
    theirs = reader.get_batch([int(moment_s * 25 + 1e-6) for moment_s in ours.times_s]).asnumpy()
    np.testing.assert_array_equal(ours.frames_THWC, theirs)


def test_face_crops_play_at_25_frames_a_second(tmp_path: Path) -> None:
    np.save(tmp_path / "face.npy", np.stack([picture(i, 16, 16) for i in range(50)]))
    found = read_frames(tmp_path / "face.npy", n=2, start_s=1, end_s=2)
    assert found is not None
    assert found.times_s.tolist() == [1.25, 1.75]
    assert numbers(found.frames_THWC) == [31, 43]
