"""How fast clips are read, compared with decord, plain PyAV and qwen-vl-utils, all in one run; one JSON line a measure.

    python benchmarks/media_read.py --clips FOLDER

`ratio` says how many times better ours is: peer / ours of times, ours / peer of counts.

Without --clips, clips are drawn: 5 s of 640x360 H.264 with sound, and a long one. Times are the least of several
rounds, in which the readers take turns, so that a busy machine slows all readers.
"""

import json
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from affectllm.media import Guard, read_audio, read_frames
from affectllm.media.cache import FeatureCache
from affectllm.media.probe import content_hash
from affectllm.options import command


@dataclass(frozen=True)
class Benchmark:
    clips: Path | None = None
    """Folder of .mp4 clips to read. Without it, clips are drawn."""
    n: int = 8
    """Number of frames per clip."""
    rounds: int = 15
    """Number of rounds. The fastest one counts."""


def main(run: Benchmark) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = (
            sorted(run.clips.glob("*.mp4")) if run.clips else [draw(folder / f"clip{i}.mp4", 125, i) for i in range(4)]
        )
        for clip in clips:
            check_equal(clip, run.n)
            first_read(clip, run)
        second_read(clips, folder / "cache", run)
        mel_stage(run)
        long_clip(draw(folder / "long.mp4", 6000, 9, (1920, 1080), 10), run)
        two_workers(clips, run)


def draw(path: Path, frames: int, seed: int, size: tuple[int, int] = (640, 360), fps: int = 25) -> Path:
    """A clip of moving noise with a tone."""
    import av

    rng = np.random.default_rng(seed)
    base = np.kron(
        rng.integers(0, 256, (size[1] // 20, size[0] // 20 + 50, 3), np.uint8), np.ones((20, 20, 1), np.uint8)
    )
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream("libx264", rate=fps)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        video.codec_context.options = {"preset": "veryfast" if fps == 25 else "ultrafast"}
        audio: Any = out.add_stream("aac", rate=16000, layout="mono")
        for i in range(frames):
            view = base[: size[1], i % 900 : i % 900 + size[0]]
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(view), format="rgb24")
            out.mux(video.encode(picture))
        out.mux(video.encode(None))
        for i in range(frames * 16000 // fps // 1024):
            moments = (np.arange(1024) + 1024 * i) / 16000
            sound = av.AudioFrame.from_ndarray(np.sin(2764 * moments)[None].astype(np.float32), "fltp", "mono")
            sound.sample_rate, sound.pts, sound.time_base = 16000, 1024 * i, Fraction(1, 16000)
            out.mux(audio.encode(sound))
        out.mux(audio.encode(None))
    return path


def with_pyav(path: Path, n: int) -> np.ndarray:
    """Decode everything and keep what is wanted: the shortest correct loop for a constant frame rate."""
    import av

    with av.open(str(path)) as media:
        stream = media.streams.video[0]
        stream.thread_type = "AUTO"
        wanted = set(places(stream.frames, n))
        return np.stack(
            [frame.to_ndarray(format="rgb24") for i, frame in enumerate(media.decode(stream)) if i in wanted]
        )


def with_decord(path: Path, n: int) -> np.ndarray:
    import decord

    reader = decord.VideoReader(str(path))
    return reader.get_batch(places(len(reader), n)).asnumpy()


def with_qwen(path: Path, n: int) -> Any:
    from qwen_vl_utils import process_vision_info

    video = {"type": "video", "video": str(path), "nframes": n}
    return process_vision_info([{"role": "user", "content": [video]}])


def places(frames: int, n: int) -> list[int]:
    return [int((i + 0.5) * frames / n + 1e-6) for i in range(n)]


def check_equal(path: Path, n: int) -> None:
    ours = read_frames(path, n=n)
    assert ours is not None
    for name, other in (("decord", with_decord(path, n)), ("PyAV", with_pyav(path, n))):
        same = sum(bool((a == b).all()) for a, b in zip(ours.frames_THWC, other, strict=True))
        report(f"{path.name}: frames equal {name}'s, byte for byte", same, n, "frames", n)


def fastest_ms(rounds: int, **readers: Callable[[], object]) -> dict[str, float]:
    """Least milliseconds of each reader; they take turns."""
    times: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(rounds):
        for name, read in readers.items():
            begun = time.perf_counter()
            read()
            times[name].append(1000 * (time.perf_counter() - begun))
    return {name: min(spent) for name, spent in times.items()}


def first_read(path: Path, run: Benchmark) -> None:
    with Guard(timeout_s=60) as guard:
        found = fastest_ms(
            run.rounds,
            ours=lambda: read_frames(path, n=run.n),
            guarded=lambda: guard(read_frames, path, n=run.n),
            decord=lambda: with_decord(path, run.n),
            pyav=lambda: with_pyav(path, run.n),
        )
    peer = min(found["decord"], found["pyav"])
    report(f"{path.name}: first read, faster of decord and PyAV", found["ours"], peer, "ms", run.n)
    report(f"{path.name}: first read in the guard's worker", found["guarded"], peer, "ms", run.n)


def second_read(clips: list[Path], folder: Path, run: Benchmark) -> None:
    """A clip's frames and sound from the cache, the file hashed once a run, against decoding them each time."""
    cache = FeatureCache(folder)
    keys = {clip: cache.key(content_hash(clip), {"n": run.n}, "benchmark") for clip in clips}
    for clip, key in keys.items():
        frames, sound = read_frames(clip, n=run.n, longest_side=336), read_audio(clip)
        assert frames is not None
        assert sound is not None
        cache.put(key, {"frames": frames.frames_THWC, "sound": sound})
    found = fastest_ms(
        run.rounds,
        cache=lambda: [cache.get(key) for key in keys.values()],
        qwen_vl_utils=lambda: [(with_qwen(clip, run.n), read_audio(clip)) for clip in clips],
    )
    report("second read, qwen-vl-utils decoding again", found["cache"], found["qwen_vl_utils"], "ms", len(clips))


def mel_stage(run: Benchmark) -> None:
    """Mel features of 5 s of sound, padded to 300 s as Qwen2.5-Omni's processor asks for, and at true length.

    On one thread, as in a loader's worker.
    """
    import torch
    from transformers import WhisperFeatureExtractor

    from affectllm.models.families.qwen_omni import true_length_mel

    torch.set_num_threads(1)
    extractor = WhisperFeatureExtractor(feature_size=128, chunk_length=300, nb_max_frames=30000)
    wave = np.sin(np.arange(5 * 16000) / 11).astype(np.float32)
    padded = extractor(wave, sampling_rate=16000, padding="max_length", return_tensors="pt")["input_features"]
    ours = true_length_mel(extractor, wave)
    assert np.array_equal(padded[..., : ours.shape[-1]].numpy(), ours.numpy()), "mel frames differ"
    found = fastest_ms(
        run.rounds,
        ours=lambda: true_length_mel(extractor, wave),
        padded=lambda: extractor(wave, sampling_rate=16000, padding="max_length", return_tensors="pt"),
    )
    report("mel of 5 s, padded to 300 s", found["ours"], found["padded"], "ms", 1)


def long_clip(path: Path, run: Benchmark) -> None:
    found = fastest_ms(
        2,
        ours=lambda: read_frames(path, n=run.n),
        decord=lambda: with_decord(path, run.n),
    )
    with Guard(timeout_s=120, memory_bytes=600 << 20) as guard:  # raises beyond 600 MiB
        guard(read_frames, path, n=run.n)
        guard(read_audio, path)
    report("10 minutes of 1080p, decord", found["ours"], found["decord"], "ms", run.n)


def read_once(path: Path, n: int) -> float:
    """CPU seconds of this process for reading one clip's frames and sound."""
    begun = time.process_time()
    read_frames(path, n=n)
    read_audio(path)
    return time.process_time() - begun


def two_workers(clips: list[Path], run: Benchmark) -> None:
    """Clips in turn from one queue, as a data loader's workers take them."""
    queue = [clips[i % len(clips)] for i in range(120)]
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(read_once, queue[:8], [run.n] * 8))  # both workers have started and imported
        begun = time.perf_counter()
        used = sum(pool.map(read_once, queue, [run.n] * len(queue)))
        busy = used / (time.perf_counter() - begun)
        report("cores kept busy by 2 workers", busy, 2, "cores", len(queue))


def report(name: str, ours: float, peer: float, unit: str, n: int) -> None:
    ratio = peer / ours if unit == "ms" else ours / peer
    line = {"name": name, "ours": round(ours, 3), "peer": round(peer, 3), "ratio": round(ratio, 2), "unit": unit}
    print(json.dumps({**line, "n": n}), flush=True)


if __name__ == "__main__":
    command(main)
