"""One GRPO step with the prompt shared among its completions, compared with the same step row by row.

    python benchmarks/grpo_step.py                                  # a small Qwen2.5-Omni, and nano where it is set up
    python benchmarks/grpo_step.py --shapes 7b --dtype bfloat16     # full size, random weights: needs a large GPU

Both ways run in one process and one trainer, step by step in turn, over the same clips, with the learning rate at 0 so
that the policy stays the same. The peer is TRL's own path, patched so that clips reach every forward. A line is one
measure as JSON, `ours` the shared way. Clips are in memory already, so that reading counts for neither way.

Times are CPU seconds (on a GPU: wall seconds, synchronised), the least of `n` steps after one that warms up. Memory
is what the training forward keeps for its backward pass: on a CPU the bytes of all tensors that autograd saves, each
storage once and parameters left out; on a GPU the peak of allocated memory above what was there before the step's
loss.
"""

import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from affectllm.errors import AffectError
from affectllm.models.base.backbone import Backbone, Media, Sample
from affectllm.options import command, grouped
from affectllm.prompts import compose
from affectllm.records import Annotation, Clip, Conversation, Meta, Target
from affectllm.training.grpo.trainer import ClipGRPOTrainer
from affectllm.training.seam import score_labels_only
from affectllm.training.tuning import Tuning, make_trainable

# Scripts and tests of the repository are not installed.
sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.tiny_models import OMNI_TEMPLATE, OMNI_TOKENS, byte_tokenizer
from tests.trainers import grpo_trainer
from train.grpo import GRPO

# Hidden width, layers, heads, key heads and feed-forward width of the language model, then of vision and of audio.
SHAPES: dict[str, dict[str, Any]] = {
    "mini": {
        "text": (256, 6, 4, 2, 1024), "vision": (192, 4, 4, 512, [3], 112),
        "audio": (192, 4, 4, 768), "vocabulary": None,
    },
    "3b": {
        "text": (2048, 36, 16, 2, 11008), "vision": (1280, 32, 16, 3420, [7, 15, 23, 31], 112),
        "audio": (1280, 32, 20, 5120), "vocabulary": 151936,
    },
    "7b": {
        "text": (3584, 28, 28, 4, 18944), "vision": (1280, 32, 16, 3420, [7, 15, 23, 31], 112),
        "audio": (1280, 32, 20, 5120), "vocabulary": 152064,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Benchmark:
    shapes: tuple[str, ...] = ("mini", "nano")
    """Models. mini, 3b, 7b: Qwen2.5-Omni of that size with random weights; nano: the embedded one, if set up."""
    cases: tuple[str, ...] = ("8x32", "4x64")
    """Completions per clip x tokens per completion."""
    prompts: int = 1
    """Number of clips per step."""
    rounds: int = 3
    """Number of steps. The fastest one counts."""
    dtype: str = "float32"
    """Precision of the weights: float32 or bfloat16."""
    beta: float = 0.0
    """Weight of the KL term. Above 0, each step also asks the reference for log-probabilities."""
    threads: int = 1
    """Number of CPU threads. One gives the steadiest times if others use the machine too."""


def main(run: Benchmark) -> None:
    torch.set_num_threads(run.threads)
    for shape in run.shapes:
        backbone = build(shape, run.dtype)
        for case in run.cases:
            group, tokens = map(int, case.split("x"))
            measure(backbone, f"{shape} G={group} C={tokens}", group, tokens, run)


def build(shape: str, dtype: str) -> Backbone:
    from affectllm.models import load

    if shape == "nano":
        backbone = load("nano", dtype=dtype)
    elif shape in SHAPES:
        backbone = random_omni(SHAPES[shape], getattr(torch, dtype))
    else:
        raise AffectError(f"No shape '{shape}'. Known: nano, {', '.join(SHAPES)}.")
    make_trainable(backbone, Tuning(rank=8), 7)
    return backbone


def random_omni(shape: dict[str, Any], dtype: torch.dtype) -> Backbone:
    """A Qwen2.5-Omni Thinker of this shape, made in place on the device."""
    from transformers import (
        Qwen2_5OmniProcessor,
        Qwen2_5OmniThinkerConfig,
        Qwen2_5OmniThinkerForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
        WhisperFeatureExtractor,
    )

    from affectllm.models.families.qwen_omni import QwenOmniBackbone

    tokenizer = byte_tokenizer(["<|endoftext|>", "<|im_start|>", "<|im_end|>", *OMNI_TOKENS.values()], **OMNI_TOKENS)
    ids = tokenizer.convert_tokens_to_ids
    width, layers, heads, key_heads, inner = shape["text"]
    half = width // heads // 2
    sections = [half // 4, half * 3 // 8, half - half // 4 - half * 3 // 8]
    v_width, v_layers, v_heads, v_inner, full, window = shape["vision"]
    a_width, a_layers, a_heads, a_inner = shape["audio"]
    config = Qwen2_5OmniThinkerConfig(
        text_config={
            "vocab_size": shape["vocabulary"] or len(tokenizer), "hidden_size": width, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": key_heads, "intermediate_size": inner,
            "max_position_embeddings": 32768, "tie_word_embeddings": False, "bos_token_id": None,
            "pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": sections},
        },
        vision_config={
            "depth": v_layers, "hidden_size": v_width, "intermediate_size": v_inner, "num_heads": v_heads,
            "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": window,
            "out_hidden_size": width, "fullatt_block_indexes": full,
        },
        audio_config={
            "num_mel_bins": 128, "encoder_layers": a_layers, "encoder_attention_heads": a_heads,
            "encoder_ffn_dim": a_inner, "d_model": a_width, "max_source_positions": 1500, "n_window": 100,
            "output_dim": width,
        },
        audio_token_index=ids("<|AUDIO|>"), image_token_index=ids("<|IMAGE|>"), video_token_index=ids("<|VIDEO|>"),
        audio_start_token_id=ids("<|audio_bos|>"), audio_end_token_id=ids("<|audio_eos|>"), user_token_id=ids("u"),
    )  # fmt: skip
    config.vision_start_token_id, config.vision_end_token_id = ids("<|vision_bos|>"), ids("<|vision_eos|>")
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = Qwen2_5OmniThinkerForConditionalGeneration(config)
    torch.set_default_dtype(torch.float32)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    processor = Qwen2_5OmniProcessor(
        image_processor=Qwen2VLImageProcessor(),
        video_processor=Qwen2VLVideoProcessor(cap_pixels_per_frame=True),
        feature_extractor=WhisperFeatureExtractor(feature_size=128, chunk_length=30, return_attention_mask=True),
        tokenizer=tokenizer,
        chat_template=OMNI_TEMPLATE,
    )
    processor.videos_kwargs = {"size": {"shortest_edge": 4 * 28 * 28, "longest_edge": 8 * 280 * 280}}
    return QwenOmniBackbone(model, processor, "random Qwen2.5-Omni")


class DrawnStore:
    """The trainer's media store, over clips of noise: eight frames of 252 x 280 and five seconds of sound."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self._samples: dict[str, Sample] = {}

    def sample(self, row: Conversation) -> Sample:
        if row.id not in self._samples:
            rng = np.random.default_rng(len(self._samples))
            frames = rng.integers(0, 255, (8, 252, 280, 3), dtype=np.uint8)
            media = self.backbone.preprocess(
                Media(frames, np.arange(8) * 0.5, rng.standard_normal(80000).astype(np.float32))
            )
            self._samples[row.id] = self.backbone.assemble(row, ("video", "audio"), media)
        # This is a new object each time, as from the trainer's own store, so that earlier results for it are not found.
        return Sample(*self._samples[row.id])

    encoded_sample = sample
    """Encoding counts for both ways here; in a run, frozen encoders are cached for the shared way."""


def different(completions: list[str], **_: object) -> list[float]:
    """A reward that is never the same in a group: timing needs a signal, not a meaning."""
    return [float(i % 5) for i in range(len(completions))]


def question(name: str) -> Conversation:
    """The question that training puts about a clip with a subtitle."""
    row = Annotation(
        id=name, dataset="drawn", split="train", media=Clip(video=f"{name}.mp4"), language="en",
        subtitle="I did not expect to see you here, not after all these years.",
        target=Target(labels=["happy"]), meta=Meta(licence="CC0-1.0"),
    )  # fmt: skip
    return compose(row, task="labels", mode="think", seed=7)


def measure(backbone: Backbone, name: str, group: int, tokens: int, run: Benchmark) -> None:
    rows = [question(f"clip{i}") for i in range(run.prompts)]
    score_labels_only()
    with tempfile.TemporaryDirectory() as folder:
        options = grouped(
            GRPO, data=Path(folder) / "none", out=Path(folder), prompts=run.prompts, group=group, max_new_tokens=tokens,
            steps=2 * (run.rounds + 1), beta=run.beta, rate=0.0, dtype=run.dtype,
            rewards="benchmarks.grpo_step:different",
            trainer={"save_strategy": "no", "gradient_checkpointing": False, "bf16": run.dtype == "bfloat16"},
        )  # fmt: skip
        trainer = grpo_trainer(DrawnStore(backbone), rows, options)  # type: ignore[arg-type]
        trainer.generation_config.min_new_tokens = tokens
        trainer.generation_kwargs = {**(trainer.generation_kwargs or {}), "min_new_tokens": tokens}
        found = costs_of(trainer)
        difference = greatest_difference(trainer, rows, group, tokens)
    line = {"prompt_tokens": len(trainer.store.sample(rows[0]).prompt_ids), "clips": run.prompts}
    for part in ("step", "generation", "training"):
        emit(f"grpo_step/{part}, {name}", {way: min(found[way][part][1:]) for way in found}, "s", run.rounds, line)
    memory = {way: max(found[way]["memory"]) / 2**20 for way in found}
    emit(f"grpo_step/training memory, {name}", memory, "MiB", run.rounds, line)
    calls = {way: max(found[way]["clips encoded"]) for way in found}
    emit(f"grpo_step/clips encoded a step, {name}", calls, "clips", 1, line)
    exact = {"name": f"grpo_step/exactness, {name}", "ours": difference, "peer": 0.0, "ratio": None}
    print(
        json.dumps({**exact, "unit": "largest difference of a log-probability", "n": group * run.prompts}), flush=True
    )


def emit(name: str, values: dict[str, float], unit: str, n: int, more: dict[str, Any]) -> None:
    ratio = round(values["peer"] / values["ours"], 2) if values["ours"] else None
    ours, peer = (round(values[way], 4) for way in ("ours", "peer"))
    print(
        json.dumps({"name": name, "ours": ours, "peer": peer, "ratio": ratio, "unit": unit, "n": n, **more}), flush=True
    )


def costs_of(trainer: ClipGRPOTrainer) -> dict[str, dict[str, list[float]]]:
    """One run whose steps go the two ways in turn, so that a busy machine slows both; what each step cost."""
    found: dict[str, dict[str, list[float]]] = {"peer": defaultdict(list), "ours": defaultdict(list)}
    shared, way = trainer.log_probs.shared, "ours"
    stock = {name: getattr(trainer, name) for name in ("training_step", "_generate_single_turn", "_compute_loss")}

    def step(*args: Any, **kwargs: Any) -> Any:
        nonlocal way
        way = "peer" if way == "ours" else "ours"
        trainer.log_probs.shared = shared if way == "ours" else None
        PEAK.begin()
        with counted_clips(trainer.store.backbone) as clips:
            result = clocked(stock["training_step"], found[way]["step"])(*args, **kwargs)
        found[way]["clips encoded"].append(clips[0])
        if torch.cuda.is_available():
            found[way]["peak"].append(PEAK.highest())
        return result

    def generation(*args: Any, **kwargs: Any) -> Any:
        return clocked(stock["_generate_single_turn"], found[way]["generation"])(*args, **kwargs)

    def loss(*args: Any, **kwargs: Any) -> Any:
        return kept_bytes(stock["_compute_loss"], found[way]["memory"], trainer.model)(*args, **kwargs)

    for name, method in zip(stock, (step, generation, loss), strict=True):
        setattr(trainer, name, method)
    torch.manual_seed(7)
    trainer.train()
    trainer.log_probs.shared = shared
    for costs in found.values():
        costs["training"] = [a - b for a, b in zip(costs["step"], costs["generation"], strict=True)]
    return found


class Peak:
    """The GPU's highest allocated memory since `begin`, also where the counter is set back in between."""

    def __init__(self) -> None:
        self.before = 0

    def begin(self) -> None:
        self.before = 0
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def highest(self) -> int:
        return max(self.before, torch.cuda.max_memory_allocated())

    def set_back(self) -> None:
        self.before = self.highest()
        torch.cuda.reset_peak_memory_stats()


PEAK = Peak()


def now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def clocked(method: Callable[..., Any], costs: list[float]) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        start = now()
        result = method(*args, **kwargs)
        costs.append(now() - start)
        return result

    return timed


def kept_bytes(method: Callable[..., Any], costs: list[float], model: torch.nn.Module) -> Callable[..., Any]:
    """Note what the loss keeps for its backward pass (CPU), or the peak of allocated memory (GPU)."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}

    def measured(*args: Any, **kwargs: Any) -> Any:
        if torch.cuda.is_available():
            PEAK.set_back()
            before = torch.cuda.memory_allocated()
            result = method(*args, **kwargs)
            costs.append(torch.cuda.max_memory_allocated() - before)
            return result
        kept: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            result = method(*args, **kwargs)
        costs.append(sum(kept.values()))
        return result

    return measured


@contextmanager
def counted_clips(backbone: Backbone) -> Iterator[list[int]]:
    """A list whose one item counts the clips given to the vision encoder; it stays 0 where features are cached."""
    counter = [0]

    def count(module: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        counter[0] += len(kwargs["grid_thw"])

    visual = getattr(backbone.core.model, "visual", None)
    handle = visual.register_forward_pre_hook(count, with_kwargs=True) if visual is not None else None
    yield counter
    if handle is not None:
        handle.remove()


def greatest_difference(trainer: ClipGRPOTrainer, rows: list[Conversation], group: int, tokens: int) -> float:
    """Largest difference of a log-probability between the two ways, over random completions."""
    # The very same object for each completion of a clip: that is what makes them a group.
    samples = [sample for row in rows for sample in [trainer.store.sample(row)] * group]
    device = trainer.accelerator.device
    said = torch.randint(20, 250, (len(samples), tokens), generator=torch.Generator().manual_seed(3)).to(device)
    ids = torch.cat([torch.tensor([sample.prompt_ids for sample in samples], device=device), said], 1)
    trainer.model.eval()
    assert trainer.log_probs.shared is not None
    with torch.no_grad(), trainer.accelerator.autocast():
        ours = trainer.log_probs.shared.score(trainer.model, samples, said, torch.ones_like(said))[0]
        peer = trainer.log_probs.score_each(trainer.model, samples, ids, torch.ones_like(ids), tokens)[0]
    return float((ours - peer).abs().max())


if __name__ == "__main__":
    command(main)
