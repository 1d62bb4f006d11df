"""Several people keep their ids, the one who speaks is told from the one who listens, and what is said is written."""

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest

from affectllm.commands.cli import main
from affectllm.errors import AffectError
from affectllm.media.faces import FaceDetector, Faces
from affectllm.media.tracks import Track, shared, speaking, track_faces
from affectllm.models import nano, speech
from affectllm.synthetic.clips import encode
from affectllm.synthetic.faces import EXPRESSIONS, draw_face, draw_identity

SIZE, FRAMES, FPS = 160, 20, 5


class Given(FaceDetector):
    """Says what it is told, frame by frame."""

    def __init__(self, boxes: list[list[tuple[float, float, float, float]]]) -> None:
        super().__init__()
        self.told = iter(boxes)

    def detect(self, frame_HWC: np.ndarray) -> Faces:
        boxes = next(self.told)
        return Faces(np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), 0.9, np.float32))


def blank(frames: int) -> np.ndarray:
    return np.zeros((frames, 100, 200, 3), np.uint8)


def test_ids_follow_the_faces_and_not_their_order() -> None:
    left, right = (10.0, 20.0, 50.0, 60.0), (120.0, 10.0, 190.0, 80.0)
    first, second = track_faces(blank(4), Given([[left, right], [right, left], [left], [right, left]]))
    assert (first.id, second.id) == (0, 1)
    assert first.boxes[1].tolist() == list(right)  # the larger one is the main face
    assert first.seen.tolist() == [True, True, False, True]
    assert np.isnan(first.boxes[2]).all()
    assert second.seen.all()


def test_a_face_seen_once_is_no_person() -> None:
    steady, flash = (10.0, 20.0, 50.0, 60.0), (150.0, 50.0, 190.0, 90.0)
    assert len(track_faces(blank(3), Given([[steady], [steady, flash], [steady]]))) == 1
    assert len(track_faces(blank(1), Given([[steady]]))) == 1
    assert track_faces(blank(2), Given([[], []])) == []


def test_a_face_that_jumps_is_another() -> None:
    a, b = (10.0, 20.0, 50.0, 60.0), (150.0, 20.0, 190.0, 60.0)
    assert [track.seen.tolist() for track in track_faces(blank(4), Given([[a], [a], [b], [b]]))] == [
        [True, True, False, False],
        [False, False, True, True],
    ]


def test_overlap_by_hand() -> None:
    assert shared(np.array([0, 0, 2, 2]), np.array([1, 0, 3, 2])) == pytest.approx(2 / 6)
    assert shared(np.array([0, 0, 1, 1]), np.array([2, 2, 3, 3])) == 0


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    if nano.find() is None:
        nano.set_up()
    return FaceDetector.load(nano.require() / "face_detector.safetensors")


def two_people() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A speaker on the left, a listener on the right, and the sound that opens the speaker's mouth."""
    loudness = np.array([0.9 * (i % 4 < 2) for i in range(FRAMES)])
    people = [draw_identity(Random(seed)) for seed in (3, 8)]
    calm = EXPRESSIONS["neutral"]
    frames = [
        np.concatenate(
            [
                draw_face(people[0], calm, i / FPS, 0.9 * (i % 2) * (loudness[i] > 0), SIZE),
                draw_face(people[1], calm, i / FPS, 0.0, SIZE),
            ],
            1,
        )
        for i in range(FRAMES)
    ]
    wave = np.repeat(loudness, 16000 // FPS) * np.sin(np.arange(FRAMES * 16000 // FPS) / 9)
    return np.stack(frames), np.arange(FRAMES) / FPS, wave.astype(np.float32)


def test_two_drawn_people_and_who_speaks(detector: FaceDetector) -> None:
    frames, times_s, wave = two_people()
    tracks = track_faces(frames, detector)
    assert len(tracks) == 2
    left = [float(np.nanmean(track.boxes[:, [0, 2]])) < SIZE for track in tracks]
    assert sorted(left) == [False, True]
    voices = speaking(tracks, frames, times_s, wave)
    talks, listens = voices[left.index(True)], voices[left.index(False)]
    assert talks is not None
    assert talks > 0.3
    assert listens is None or listens < talks - 0.2


def test_too_few_frames_tell_nothing() -> None:
    track = Track(0, np.tile([10.0, 10.0, 50.0, 50.0], (3, 1)), np.ones(3))
    assert speaking([track], blank(3), np.arange(3.0), np.ones(48000, np.float32)) == [None]


def call(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    with pytest.raises(SystemExit) as left:
        main(["media", *map(str, words)])
    printed = capsys.readouterr()
    assert left.value.code in (0, None), printed.err
    return printed.out


def test_the_command_lists_faces(detector: FaceDetector, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames, _, wave = two_people()
    path = tmp_path / "two.mp4"
    encode(path, frames, wave, FPS)
    found = json.loads(call(capsys, "faces", path, "--json", "--out", tmp_path / "crops"))
    assert [face["id"] for face in found["faces"]] == [0, 1]
    assert {"first_s", "last_s", "speaking", "boxes"} <= found["faces"][0].keys()
    assert len(list((tmp_path / "crops").glob("face1_*.png"))) == len(found["faces"][1]["boxes"])
    assert "2 faces" in call(capsys, "faces", path)


def test_what_is_said(detector: FaceDetector, shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A German sentence read by an English recogniser: words, if not the right ones."""
    found = json.loads(call(capsys, "subtitle", shared_data / "clips_emodb" / "03a01Fa.wav", "--json"))
    assert found["automatic"] is True
    assert found["model"] == "nano"
    assert len(found["subtitle"].split()) > 2


def test_silence_has_no_subtitle(detector: FaceDetector) -> None:
    assert speech.transcribe(np.zeros(16000, np.float32)).text == ""


def test_a_speech_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AffectError, match="Speech model"):
        speech.transcribe(np.ones(16000, np.float32), str(tmp_path))
