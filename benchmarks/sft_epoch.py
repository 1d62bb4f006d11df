"""Epochs of SFT after the first, compared with the same trainer decoding and encoding every clip each time.

    python -m benchmarks.sft_epoch                                   # on a CPU: tiny, embedded and encoder-heavy shapes
    python -m benchmarks.sft_epoch --shapes 7b --dtype bfloat16 --clips 32 --batch 8 --checkpointing
                                                                     # full size, random weights: needs a large GPU

The peer is TRL's own trainer, patched so that clips reach it: a collator decodes frames and audio in the same
process and gives them to the forward, which runs the encoders. Rows, order and adapter are the same for both. A line
is one measure as JSON: samples a second (of CPU time on one thread; on a GPU of wall time, synchronised), the share of
padding with and without batches of similar length, and seconds from the start of a process to its first optimiser step.
With a GPU, also the share of its peak that the language model's useful arithmetic reaches (MFU, without recomputation).

Shapes: tiny is a composed model of a few thousand parameters; embedded is nano; heavy is nano's language model, with
random weights, after CLIP ViT-B/16 on 8 frames and a HuBERT of base size; mini, 3b and 7b are Qwen2.5-Omni's.
"""

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PrinterCallback, TrainerCallback

from affectllm import jsonl
from affectllm.errors import AffectError
from affectllm.media import read_audio, read_frames
from affectllm.media.cache import FeatureCache
from affectllm.models.base.backbone import Backbone, Media, used_modalities
from affectllm.models.store import MediaStore
from affectllm.options import command, grouped
from affectllm.records import Clip, Conversation
from affectllm.training.order import BatchOrder, Mix, padding_share
from affectllm.training.plan import Work, flops
from affectllm.training.tuning import Tuning, make_trainable

# Scripts and tests of the repository are not installed.
sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.media_read import draw
from tests.clips import conversation
from tests.trainers import sft_trainer
from train.sft import SFT


@dataclass(frozen=True)
class Benchmark:
    shapes: tuple[str, ...] = ("tiny", "embedded", "heavy")
    """Shapes to measure: tiny, embedded (nano, if it is set up), heavy, mini, 3b, 7b."""
    clips: int = 6
    """Number of clips of 5 s, 640 x 360."""
    batch: int = 2
    """Number of conversations per step."""
    epochs: int = 3
    """Number of our epochs; those after the first count. The peer runs one epoch after a step that warms up."""
    dtype: str = "float32"
    """Precision of the weights: float32 or bfloat16."""
    checkpointing: bool = False
    """Compute activations again in the backward."""
    peak_tflops: float = 989.0
    """Peak TFLOP/s of the GPU in this precision, for MFU. The default is that of an H200 in bfloat16."""
    threads: int = 1
    """Number of CPU threads."""
    start: bool = True
    """Measure the start of a process, on nano where it is set up."""


def main(run: Benchmark) -> None:
    torch.set_num_threads(run.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [conversation(f"clip{i}", ["happy", "proud"]) for i in range(run.clips)]
        for i, row in enumerate(rows):
            draw(folder / f"{row.id}.mp4", 125, i)
        jsonl.write(folder / "conversations.jsonl", rows)
        for shape in run.shapes:
            epochs(shape, rows, folder, run)
        padding()
        if run.start and Path(nano_folder()).is_dir():
            first_step(folder)


def nano_folder() -> Path:
    from affectllm.models import nano

    return nano.folder()


def build(shape: str, folder: Path, dtype: str) -> Backbone:
    from affectllm.models import load
    from tests.tiny_models import save_tiny_affect

    if shape in ("mini", "3b", "7b"):
        from benchmarks.grpo_step import SHAPES, random_omni

        return random_omni(SHAPES[shape], getattr(torch, dtype))
    if shape == "embedded":
        return load("nano", dtype)
    if shape == "heavy":
        return heavy(getattr(torch, dtype))
    if shape == "tiny":
        return load(str(save_tiny_affect(folder / shape)), dtype)
    raise AffectError(f"No shape '{shape}'. Known: tiny, embedded, heavy, mini, 3b, 7b.")


# SmolLM2-135M (HuggingFaceTB), CLIP ViT-B/16 (OpenAI) and HuBERT base (Facebook), by their published configs.
HEAVY: dict[str, Any] = {
    "text_config": {
        "model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
        "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": True,
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    },
    "vision_config": {
        "model_type": "clip_vision_model", "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
        "num_attention_heads": 12, "image_size": 224, "patch_size": 16,
    },
    "audio_config": {"model_type": "hubert"},
}  # fmt: skip


def heavy(dtype: torch.dtype) -> Backbone:
    """A composed model of these parts, made in place on the device."""
    from affectllm.models.families.affect import (
        AffectConfig,
        AffectFeatureExtractor,
        AffectForConditionalGeneration,
        AffectProcessor,
    )
    from affectllm.models.families.affect.backbone_affect import AffectBackbone
    from affectllm.models.families.affect.processing_affect import FACE, FUSION, VOICE
    from tests.tiny_models import END, START, byte_tokenizer

    tokenizer = byte_tokenizer(["<|endoftext|>", START, END, FACE, VOICE, FUSION])
    face, voice, fusion = tokenizer.convert_tokens_to_ids([FACE, VOICE, FUSION])
    config = AffectConfig(
        **HEAVY, face_token_id=face, voice_token_id=voice, fusion_token_id=fusion, eos_token_id=2, pad_token_id=0
    )
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AffectForConditionalGeneration(config).to(dtype)
    extractor = AffectFeatureExtractor.of(config, {"size": 224, "mean": [0.5] * 3, "std": [0.5] * 3})
    return AffectBackbone(model, AffectProcessor(extractor, tokenizer), "heavy")


def epochs(shape: str, rows: Sequence[Conversation], folder: Path, run: Benchmark) -> None:
    backbone = build(shape, folder, run.dtype)
    make_trainable(backbone, Tuning(rank=16), 7)
    used = used_modalities(rows[0], backbone.modalities)
    steps = -(-len(rows) // run.batch)
    store = MediaStore(backbone, folder, FeatureCache(folder / f"cache-{shape}"))
    ours = step_seconds(store, rows, folder, run, steps * run.epochs)[steps:]
    assert store.reads == len(rows), "a clip was decoded twice"
    peer = step_seconds(EachTime(backbone, folder), rows, folder, run, steps + 1)[1:]
    rates = [len(rows) * len(costs) / steps / sum(costs) for costs in (ours, peer)]
    prompt = len(store.sample(rows[0]).prompt_ids)
    more = {"clips": len(rows), "batch": run.batch, "prompt_tokens": prompt, "dtype": run.dtype}
    emit(f"sft_epoch/samples, {shape}", *rates, "samples/s", len(ours), more)
    if torch.cuda.is_available():
        work = Work(prompts=run.batch, answers=run.batch, answer_tokens=answer_tokens(backbone, rows[0]))
        # Encoders ran in the first epoch: what is left is the language model's.
        useful = flops(backbone, prompt, {} if store.encodes else store.media(rows[0].media, used), work)
        shares = [useful * len(costs) / sum(costs) / run.peak_tflops / 1e12 for costs in (ours, peer)]
        emit(f"sft_epoch/MFU, {shape}", *shares, "share of peak", len(ours), more)


def answer_tokens(backbone: Backbone, row: Conversation) -> int:
    return len(backbone.answer_ids(str(row.messages[-1].content)))


class EachTime(MediaStore):
    """The peer: nothing is kept, and encoders run in the forward."""

    def __init__(self, backbone: Backbone, root: Path) -> None:
        super().__init__(backbone, root, FeatureCache(root / "unused"))
        self.__dict__["encodes"] = False

    def media(self, clip: Clip, used: Sequence[str]) -> dict[str, Tensor]:
        path = self.root / str(clip.video)
        # In this process, as a collator of TRL's would: the guard's worker would not count.
        frames, wave = read_frames(path, n=self.backbone.num_frames), read_audio(path)
        assert frames is not None
        decoded = Media(frames.frames_THWC, frames.times_s, wave)
        if self.backbone.encoders_in_forward:
            return self.backbone.preprocess(decoded)
        return dict(self.backbone.processor.feature_extractor([decoded.frames_THWC], [decoded.wave]))


def step_seconds(
    store: MediaStore, rows: Sequence[Conversation], folder: Path, run: Benchmark, steps: int
) -> list[float]:
    """What each step of a run costs, with the making of its batch."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as out:
        options = grouped(
            SFT, data=folder / "conversations.jsonl", out=Path(out), steps=steps, batch=run.batch, dtype=run.dtype,
            trainer={
                "save_strategy": "no", "gradient_checkpointing": run.checkpointing, "bf16": run.dtype == "bfloat16",
            },
        )  # fmt: skip
        trainer = sft_trainer(store, rows, options)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(clock)
        trainer.train()
    return [b - a for a, b in zip(clock.times, clock.times[1:], strict=False)]


class Clock(TrainerCallback):
    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.times.append(now())

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.times.append(now())


def now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def padding() -> None:
    """Answers of describe mode, by lengths as they occur: most of some 200 tokens, some several times as long."""
    rng = random.Random(7)
    lengths = [60 + int(rng.lognormvariate(5.0, 0.7)) for _ in range(4000)]
    one = Mix([0] * len(lengths), [1])
    for batch in (4, 16):
        ours, peer = (
            padding_share([lengths[row] for row in BatchOrder(lengths, one, batch, 7, grouped)], batch)
            for grouped in (True, False)
        )
        emit(f"sft_epoch/padding, batches of {batch}", ours, peer, "share of tokens", len(lengths), {"bar": 0.1})


def first_step(folder: Path) -> None:
    """Seconds of a fresh process until its first step is logged, clips in the cache; TRL has no such command."""
    found, cpu_s = [], []
    for i in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        out = folder / f"start{i}"
        arguments = ["--model", "nano", "--data", str(folder / "conversations.jsonl"), "--out", str(out)]
        begun = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "affectllm.train.sft", *arguments, "--steps", "1", "--batch", "2"],
            stdout=subprocess.DEVNULL,
            env=os.environ | {"AFFECTLLM_CACHE": os.environ.get("AFFECTLLM_CACHE", str(nano_folder().parent))},
        )
        while process.poll() is None and not (out / "log.jsonl").is_file():
            time.sleep(0.02)
        found.append(time.perf_counter() - begun)
        process.wait()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    # CPU seconds are of the whole process; they tell a busy machine from a slow start.
    more = {"bar": 15, "cpu_s": round(min(cpu_s[1:]), 2)}
    emit("sft_epoch/start to first step, nano", min(found[1:]), None, "s", len(found) - 1, more)


def emit(name: str, ours: float, peer: float | None, unit: str, n: int, more: dict[str, Any]) -> None:
    higher = unit in ("samples/s", "share of peak")
    ratio = None if peer is None else round(ours / peer if higher else peer / ours, 2)
    line = {"name": name, "ours": round(ours, 4), "peer": None if peer is None else round(peer, 4), "ratio": ratio}
    print(json.dumps({**line, "unit": unit, "n": n, **more}), flush=True)


if __name__ == "__main__":
    command(main)
