"""Small real clips and conversations for tests, made here."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from affectllm import jsonl
from affectllm.records import Clip, Clues, Conversation, Message, Meta, Part, Target

RATE_HZ = 16000


def write_clip(
    path: Path,
    seed: int = 0,
    seconds: float = 1.0,
    video: bool = True,
    audio: bool = True,
    size: int = 64,
    fps: int = 10,
) -> Path:
    """An mp4 of drifting colour and a tone that both depend on the seed."""
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=fps) if video else None
        sound = container.add_stream("aac", rate=RATE_HZ, layout="mono") if audio else None
        if picture is not None:
            picture.width = picture.height = size
            picture.pix_fmt = "yuv420p"
            base = rng.integers(0, 255, (size // 8, size // 8, 3)).repeat(8, 0).repeat(8, 1)
            for i in range(int(seconds * fps)):
                frame = ((base + 12 * i) % 256).astype(np.uint8)
                container.mux(picture.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(picture.encode())
        if sound is not None:
            time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
            wave = 0.4 * np.sin(2 * np.pi * rng.uniform(100, 900) * time_s) + 0.05 * rng.standard_normal(len(time_s))
            samples = av.AudioFrame.from_ndarray((wave * 32767).astype(np.int16)[None], format="s16", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
            container.mux(sound.encode(samples))
            container.mux(sound.encode())
    return path


def conversation(
    name: str, labels: list[str], split: str = "train", parts: tuple[str, ...] = ("video", "audio")
) -> Conversation:
    """A question about clip `name`.mp4 with a think-mode answer."""
    question = [*(Part(type=part) for part in parts), Part(type="text", text="Which emotions does the person show?")]  # type: ignore[arg-type]
    answer = (
        f"<think>The face shows {labels[0]}. The voice is {labels[-1]}.</think>\n<answer>{', '.join(labels)}</answer>"
    )
    return Conversation(
        id=name,
        dataset="toy",
        split=split,
        media=Clip(video=f"{name}.mp4"),
        subtitle="A line.",
        language="en",
        target=Target(labels=labels, clues=Clues(visual=[f"a {labels[0]} face"], audio=[f"a {labels[-1]} voice"])),
        meta=Meta(licence="CC0-1.0"),
        messages=[Message(role="user", content=question), Message(role="assistant", content=answer)],
        task="labels",
    )


def write_toy_data(folder: Path, count: int = 4) -> Path:
    """A data folder with `count` clips; the path of its conversations."""
    labels = [["happy"], ["sad"], ["angry", "sad"], ["surprised"]]
    rows = [conversation(f"clip{i}", labels[i % len(labels)]) for i in range(count)]
    for i, row in enumerate(rows):
        write_clip(folder / f"{row.id}.mp4", seed=i)
    data = folder / "conversations.jsonl"
    data.write_text("".join(jsonl.dumps(row) + "\n" for row in rows))
    return data
