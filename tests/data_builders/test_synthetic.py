"""Drawn clips: real files, the same from the same seed, resumable, and honest about what is in which split."""

import hashlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing import active_children
from pathlib import Path
from random import Random

import av
import numpy as np
import pytest

from affectllm import answers, jsonl
from affectllm.errors import AffectError
from affectllm.records import Conversation
from affectllm.synthetic import script
from affectllm.synthetic.clips import PARTIAL, envelope, is_whole, person_of, write_clip
from affectllm.synthetic.drawing import Job, drawn
from affectllm.synthetic.faces import EXPRESSIONS, draw_face, draw_identity
from affectllm.synthetic.voices import PROSODIES, RATE_HZ, Speaker, pronounce, speak
from data_builders.synthetic import Synthetic, main

pytest.importorskip("espeakng_loader", reason="espeakng-loader comes with the extra 'train'")
SIZE, FPS = 48, 10


def options(out: Path, **changes: int) -> Synthetic:
    return Synthetic(**{"out": out, "clips": 12, "size": SIZE, "fps": FPS, "workers": 1} | changes)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    main(options(folder))
    return folder


def decode(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with av.open(str(path)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    with av.open(str(path)) as container:
        wave = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    return frames, wave


def contents(folder: Path) -> dict[str, str]:
    """Name of each clip -> hash of its decoded frames and samples."""
    found = {}
    for path in sorted((folder / "clips").glob("*.mp4")):
        frames, wave = decode(path)
        found[path.name] = hashlib.sha256(frames.tobytes() + wave.tobytes()).hexdigest()
    return found


def test_data_folder_is_whole(built: Path) -> None:
    conversations = list(jsonl.read(built / "conversations.jsonl", Conversation))
    assert Counter(row.split for row in conversations) == {"train": 9, "dev": 1, "test": 2}
    recipe = {row["id"]: row for row in jsonl.read_dicts(built / "recipe.jsonl")}
    for row in conversations:
        assert row.media.video
        assert (built / row.media.video).is_file()
        made = recipe[row.id]
        assert row.target.labels == list(dict.fromkeys([made["face"], made["voice"]]))
        assert row.subtitle == made["sentence"]
        assert row.target.clues
        assert row.target.clues.visual == [script.FACE_CLUES[made["face"]]]
        assert row.target.clues.audio == [script.VOICE_CLUES[made["voice"]]]
        assert row.target.clues.text == []
    assert (built / "rejected.jsonl").read_text() == ""


def test_wanted_answer_is_read_back_as_the_target(built: Path) -> None:
    for row in jsonl.read(built / "conversations.jsonl", Conversation):
        wanted = row.messages[-1].content
        assert isinstance(wanted, str)
        read = answers.parse(wanted)
        assert read.status == "ok"
        assert read.labels == row.target.labels
        assert read.reasoning
        assert all(clue in read.reasoning for clue in row.target.clues.visual + row.target.clues.audio)


def test_clip_is_a_real_video_with_sound(built: Path) -> None:
    with av.open(str(built / "clips" / "test_0000.mp4")) as container:
        picture, sound = container.streams.video[0], container.streams.audio[0]
        assert (picture.codec_context.name, sound.codec_context.name) == ("h264", "flac")
        assert (picture.width, picture.height, picture.average_rate) == (SIZE, SIZE, FPS)
        assert (sound.rate, sound.channels) == (RATE_HZ, 1)
    frames, wave = decode(built / "clips" / "test_0000.mp4")
    assert len(frames) / FPS == pytest.approx(len(wave) / RATE_HZ, abs=0.2)
    assert 1 < len(wave) / RATE_HZ < 4.5
    assert np.abs(wave).max() > 0.1
    assert np.abs(np.diff(frames.astype(int), axis=0)).max() > 40, "the face does not move"


def test_clips_do_not_depend_on_the_number_of_processes(built: Path, tmp_path: Path) -> None:
    main(options(tmp_path, workers=2))
    assert contents(tmp_path) == contents(built)
    assert (tmp_path / "conversations.jsonl").read_bytes() == (built / "conversations.jsonl").read_bytes()


def test_killed_run_goes_on_and_keeps_what_is_whole(built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    shutil.copytree(built, folder)
    clips = sorted((folder / "clips").glob("*.mp4"))
    for path in clips[::2]:
        path.unlink()
    cut_short, *kept = clips[1::2]
    cut_short.write_bytes(cut_short.read_bytes()[:2000])
    left_over = folder / "clips" / f"{PARTIAL}train_0000.4711.mp4"
    left_over.write_bytes(b"half a clip")
    times = [path.stat().st_mtime_ns for path in kept]
    main(options(folder))
    assert contents(folder) == contents(built)
    assert [path.stat().st_mtime_ns for path in kept] == times
    assert not left_over.exists()


def test_kill_takes_the_drawing_processes_along(tmp_path: Path) -> None:
    words = ["-m", "affectllm", "build", "synthetic", "--out", str(tmp_path), "--clips", "400", "--workers", "2"]
    run = subprocess.Popen([sys.executable, *words], start_new_session=True, stderr=subprocess.DEVNULL)
    assert waits_for(lambda: any(tmp_path.glob("clips/train_*.mp4"))), "no clip within 20 s"
    run.kill()
    run.wait()
    gone = waits_for(lambda: group_is_gone(run.pid))
    if not gone:
        os.killpg(run.pid, signal.SIGKILL)
    assert gone, "drawing processes outlive the command"
    assert not (tmp_path / "conversations.jsonl").exists()


def test_killed_drawing_process_is_one_sentence(tmp_path: Path) -> None:
    plans = [script.plan_clip(7, "train", i) for i in range(40)]
    clips = drawn([Job(tmp_path / f"{plan.name}.mp4", plan, 7, SIZE, FPS) for plan in plans], workers=2)
    next(clips)
    for worker in active_children():
        worker.kill()
    with pytest.raises(AffectError, match="A drawing process was killed"):
        list(clips)


def waits_for(condition: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


def group_is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("change", [{"seed": 8}, {"size": 64}, {"fps": 5}])
def test_clips_made_another_way_are_never_relabelled(built: Path, tmp_path: Path, change: dict[str, int]) -> None:
    folder = tmp_path / "again"
    shutil.copytree(built, folder)
    with pytest.raises(AffectError, match="drawn with another seed, size, rate or version"):
        main(options(folder, **change))
    for name in ("recipe.jsonl", "conversations.jsonl", "manifest.json"):
        assert (folder / name).read_bytes() == (built / name).read_bytes()


@pytest.mark.parametrize("change", [{"clips": 2}, {"size": 49}, {"size": 8}, {"fps": 0}, {"workers": 0}])
def test_impossible_number_is_named(tmp_path: Path, change: dict[str, int]) -> None:
    (name, value), *_ = change.items()
    with pytest.raises(AffectError, match=f"--{name} {value} must be"):
        main(options(tmp_path / "out", **change))
    assert not (tmp_path / "out").exists()


def test_missing_synthesiser_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(AffectError, match=r"affectllm\[train\]"):
        main(options(tmp_path))
    assert not list((tmp_path / "clips").iterdir())
    assert not (tmp_path / "conversations.jsonl").exists()


def test_unwritable_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(AffectError, match="Cannot create folder"):
        main(options(tmp_path / "taken"))
    with pytest.raises(AffectError, match=r"Cannot write .*nowhere"):
        write_clip(tmp_path / "nowhere" / "a.mp4", script.plan_clip(7, "train", 0), 7, SIZE, FPS)


def test_is_whole_tells_a_clip_from_a_torn_one(built: Path, tmp_path: Path) -> None:
    clip = (built / "clips" / "dev_0000.mp4").read_bytes()
    for size, whole in ((len(clip), True), (len(clip) - 500, False), (len(clip) // 2, False), (0, False)):
        (tmp_path / "clip.mp4").write_bytes(clip[:size])
        assert is_whole(tmp_path / "clip.mp4") is whole, f"{size} of {len(clip)} bytes"
    assert not is_whole(tmp_path / "absent.mp4")


def sentences(split: str) -> list[str]:
    emotional = itertools.chain.from_iterable(script.EMOTIONAL_SENTENCES[split].values())
    return [*script.NEUTRAL_SENTENCES[split], *emotional]


def test_no_person_voice_or_sentence_is_in_two_splits() -> None:
    spoken = [sentence for split in script.SPLITS for sentence in sentences(split)]
    assert len(set(spoken)) == len(spoken)
    for given in (script.VOICES, script.VARIANTS):
        names = list(itertools.chain.from_iterable(given.values()))
        assert len(set(names)) == len(names)
    people = [person_of(7, split, i)[0] for split in script.SPLITS for i in range(script.IDENTITIES[split])]
    assert len(set(people)) == len(people) == sum(script.IDENTITIES.values())


def test_every_split_says_enough_and_every_emotion_has_clues() -> None:
    assert len(script.NEUTRAL_SENTENCES["train"]) >= 24
    for split in script.SPLITS:
        assert set(script.EMOTIONAL_SENTENCES[split]) == set(script.EMOTIONS)
    for table in (script.FACE_CLUES, script.VOICE_CLUES, EXPRESSIONS, PROSODIES):
        assert set(table) == set(script.EMOTIONS)
        assert len(set(table.values())) == len(script.EMOTIONS)


def test_mixture_is_as_stated() -> None:
    plans = [script.plan_clip(1, "train", i) for i in range(4000)]
    assert np.mean([plan.face == plan.voice for plan in plans]) == pytest.approx(0.65, abs=0.03)
    modes = Counter(plan.text_mode for plan in plans)
    assert [modes[mode] / 4000 for mode in ("neutral", "congruent", "conflicting")] == pytest.approx(
        [0.7, 0.15, 0.15], abs=0.03
    )
    for plan in plans:
        said = [emotion for emotion, lines in script.EMOTIONAL_SENTENCES["train"].items() if plan.sentence in lines]
        if plan.text_mode == "neutral":
            assert plan.sentence in script.NEUTRAL_SENTENCES["train"]
        else:
            assert (said == [plan.face]) == (plan.text_mode == "congruent")
            assert plan.text_mode == "congruent" or said[0] not in plan.labels


def test_plan_is_the_same_in_a_larger_set() -> None:
    assert script.split_sizes(600) == {"train": 456, "dev": 24, "test": 120}
    assert script.split_sizes(3) == {"train": 1, "dev": 1, "test": 1}
    assert script.plan_clip(7, "test", 5) == script.plan_clip(7, "test", 5)
    assert script.plan_clip(7, "test", 5) != script.plan_clip(8, "test", 5)


def test_expressions_differ_in_every_face() -> None:
    for seed in range(8):
        person = draw_identity(Random(seed))
        drawn = {emotion: draw_face(person, face, 1.0, 0.2, 96).astype(int) for emotion, face in EXPRESSIONS.items()}
        for (one, a), (other, b) in itertools.combinations(drawn.items(), 2):
            # A difference that lighting and camera noise (standard deviation 4) cannot hide, over 1 % of the picture.
            assert (np.abs(a - b).max(-1) > 25).mean() > 0.01, f"{one} and {other} look alike on person {seed}"


def test_lips_follow_the_sound_and_eyes_blink() -> None:
    person, rest = draw_identity(Random(3)), EXPRESSIONS["neutral"]
    silent, loud = (draw_face(person, rest, 1.0, loudness, 96).astype(int) for loudness in (0.0, 1.0))
    changed = np.argwhere((silent != loud).any(-1))[:, 0]
    assert changed.size
    assert changed.min() > 96 * 0.6, "the lower part of the face only"
    shut = draw_face(person, rest, 2.3, 0.0, 96)
    assert (shut > 245).all(-1).sum() < (silent > 245).all(-1).sum(), "less of the white of the eye"


def test_envelope_is_the_loudness_of_each_frame() -> None:
    wave = np.concatenate([np.full(1600, 0.5), np.full(1600, -0.25), np.zeros(1600), np.ones(100)])
    assert envelope(wave, 10) == pytest.approx([1, 0.5, 0], abs=1e-4)


def say(emotion: str) -> np.ndarray:
    speaker = Speaker("en-us+m1", 45, 165)
    return speak("The keys are in the drawer on the left.", speaker, PROSODIES[emotion], Random(5))


def test_prosody_is_heard() -> None:
    waves = {emotion: say(emotion) for emotion in script.EMOTIONS}
    length_s = {emotion: len(wave) / RATE_HZ for emotion, wave in waves.items()}
    loudness = {emotion: float(np.sqrt((wave**2).mean())) for emotion, wave in waves.items()}
    assert length_s["sad"] > 1.2 * length_s["neutral"] > 1.2 * length_s["fearful"]
    assert loudness["angry"] > 1.5 * loudness["neutral"] > 1.5 * loudness["sad"]
    assert pitch_hz(waves["surprised"]) > 1.15 * pitch_hz(waves["neutral"]) > 1.15 * pitch_hz(waves["sad"])


def pitch_hz(wave: np.ndarray) -> float:
    """Median pitch of the louder stretches, by the highest peak of the autocorrelation between 60 and 400 Hz."""
    found = []
    for start in range(0, len(wave) - 1024, 512):
        piece = wave[start : start + 1024]
        if piece.std() > 0.5 * wave.std():
            same = np.correlate(piece, piece, "full")[1023:]
            found.append(RATE_HZ / (40 + same[40:267].argmax()))
    return float(np.median(found))


def test_sentence_sounds_the_same_whatever_was_spoken_before() -> None:
    first = pronounce("We had this conversation before.", "en-us+f2", 160, 50, 40)[0]
    pronounce("How dare you speak to me like that.", "en-gb-x-rp+m5", 190, 70, 90)
    again = pronounce("We had this conversation before.", "en-us+f2", 160, 50, 40)[0]
    assert np.array_equal(first, again)


def test_every_voice_is_its_own() -> None:
    # espeak-ng takes an unknown variant without a word, and speaks with the plain voice.
    names = [
        f"{voice}+{variant}" for s in script.SPLITS for voice in script.VOICES[s] for variant in script.VARIANTS[s]
    ]
    heard = {pronounce("Good morning.", name, 160, 50, 40)[0].tobytes() for name in names}
    assert len(heard) == len(names)


def test_unknown_voice_is_named() -> None:
    with pytest.raises(AffectError, match="no voice 'xx-klingon'"):
        pronounce("Good morning.", "xx-klingon", 160, 50, 40)
