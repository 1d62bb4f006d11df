"""Qwen2.5-Omni-7B at full size with random weights: SFT, GRPO both ways, memory, answers, 4-bit weights.

Clips are noise that is in memory already, and answers have a fixed length, so that every run computes the same. Model
and processor are made once; each run gets a fresh adapter.

**MFU** is the share of the card's stated bfloat16 rate that useful arithmetic takes. Two operations per weight and
token are counted for the forward, and two for the gradients of activations: base weights are frozen and have no
gradients of their own. Attention (each token attends to half of the earlier ones) and the head on answers are added.
What checkpointing computes again is not counted. Encoders are counted only in `mfu_with_encoders`, and only where they
run: the features of a clip that was seen before come from the cache.
"""

import importlib.util
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import PrinterCallback

from affectllm.errors import AffectError
from affectllm.media.cache import FeatureCache
from affectllm.models import FAMILIES, check_layout
from affectllm.models.base import segments
from affectllm.models.base.backbone import Backbone, Look, Media, join_media
from affectllm.models.base.lora import LeanLinear
from affectllm.models.store import MediaStore
from affectllm.options import grouped
from affectllm.records import Clip, Conversation, Message
from affectllm.training.plan import GIB, Work, flops, memory_gib
from affectllm.training.seam import score_labels_only
from affectllm.training.setup import complete
from affectllm.training.tuning import Tuning, make_trainable
from benchmarks.gpu_book import Book, free, peak_tflops, synchronise
from benchmarks.grpo_step import SHAPES, costs_of, greatest_difference, question, random_omni
from benchmarks.media_read import draw
from benchmarks.sft_epoch import Clock
from eval.predict import Sampling, answer_batch, read_ahead
from tests.trainers import grpo_trainer, sft_trainer
from train.grpo import GRPO
from train.grpo import work_of as grpo_work
from train.sft import SFT

MER_UNIBENCH = 12799
"""Number of clips of MER-UniBench's nine sets."""


class View(NamedTuple):
    """A clip of noise."""

    frames: int
    side: int
    """Pixels of a frame's width and height."""
    seconds: float


# A token is 28 x 28 pixels of two frames, or 40 ms; the question has about 200 of its own.
SHORT, LONG = View(8, 364, 5.0), View(32, 448, 5.0)
TINY_SHORT, TINY_LONG = View(2, 56, 1.0), View(4, 56, 1.0)


@dataclass
class Bench:
    """What the sections share."""

    book: Book
    folder: Path
    peak: float | None
    """The card's stated rate in TFLOP/s."""
    tiny: bool

    @classmethod
    @contextmanager
    def make(cls, book: Book, peak: float | None, tiny: bool) -> Iterator["Bench"]:
        with tempfile.TemporaryDirectory(prefix="gpu-benchmark-", ignore_cleanup_errors=True) as folder:
            yield cls(book, Path(folder), peak or peak_tflops(), tiny)

    @property
    def device(self) -> str:
        return "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def shape(self) -> str:
        return "mini" if self.tiny else "7b"

    @cached_property
    def omni(self) -> Backbone:
        """The model without an adapter, in bfloat16 on the device."""
        begun = time.perf_counter()
        check_layout(next(family for family in FAMILIES if family.name == "Qwen2.5-Omni Thinker"), "Qwen2.5-Omni-7B")
        shape = {**SHAPES["mini"], "text": (64, 2, 4, 2, 128)} if self.tiny else SHAPES[self.shape]
        backbone = random_omni(shape, torch.bfloat16)
        # Frames keep the size that they are drawn in.
        backbone.processor.videos_kwargs = {"size": {"shortest_edge": 28 * 28, "longest_edge": 1024 * 1024}}
        synchronise()
        weights = sum(p.numel() for p in backbone.model.parameters())
        self.book.row("omni made", time.perf_counter() - begun, "s", 1, parameters=weights)
        return backbone

    def adapted(self, rank: int = 16) -> Backbone:
        """The model with a fresh adapter, as a run begins."""
        backbone = self.bare()
        make_trainable(backbone, Tuning(rank=rank), 7)
        return backbone

    def bare(self) -> Backbone:
        """Restore the model as it was made: what adapters and trainers have left on it is removed."""
        backbone = self.omni
        if backbone.model is not backbone.core:
            backbone.model = backbone.model.unload()
        core = backbone.core
        core.gradient_checkpointing_disable()
        # TRL's fused head is put on the model itself.
        vars(core).pop("forward", None)
        if hasattr(core, "disable_input_require_grads") and hasattr(core, "_require_grads_hook"):
            core.disable_input_require_grads()
        core.requires_grad_(False).train()
        free()
        return backbone


class NoiseStore(MediaStore):
    """The trainer's store over clips of noise that are in memory, each encoded once."""

    def __init__(self, backbone: Backbone, folder: Path, view: View) -> None:
        super().__init__(backbone, folder, FeatureCache(folder / "unused"))
        self.view = view
        self.made: dict[tuple[str, bool], dict[str, Tensor]] = {}

    def media(self, clip: Clip, used: Sequence[str]) -> dict[str, Tensor]:
        key = (str(clip.video), False)
        if key not in self.made:
            rng = np.random.default_rng(len(self.made))
            frames, side, seconds = self.view
            self.made[key] = self.backbone.preprocess(
                Media(
                    rng.integers(0, 255, (frames, side, side, 3), dtype=np.uint8),
                    np.arange(frames) * seconds / frames,
                    rng.standard_normal(int(16000 * seconds)).astype(np.float32),
                )
            )
        return self.made[key]

    def encoded(self, clip: Clip, used: Sequence[str]) -> dict[str, Tensor]:
        key = (str(clip.video), True)
        if key not in self.made:
            with self.autocast():
                encoded = self.backbone.encode(self.media(clip, used))
            self.made[key] = {name: tensor.cpu() for name, tensor in encoded.items()}
        return self.made[key]

    def look(self, clip: Clip) -> Look:
        return Look(self.view.side, self.view.side, self.view.seconds)


def answered(name: str, tokens: int) -> Conversation:
    """A question about a clip with an answer of this many tokens. Each letter is one token here."""
    row = question(name)
    text = ("<think>The face is tense, and the voice is low. </think>" * (1 + tokens // 50))[: tokens - 1]
    row.messages[-1:] = [Message(role="assistant", content=text)]
    return row


# SFT


class Setting(NamedTuple):
    batch: int
    checkpointing: bool | None
    """Whether activations are checkpointed. None is the trainer's default."""
    answer_tokens: int = 200
    fresh: bool = False
    """Whether every step sees new clips, so that encoders run, as in the first epoch."""
    stock: bool = False
    """Whether the adapter's layers use PEFT's own forward."""

    def named(self) -> str:
        checkpointing = {None: "default checkpointing", True: "checkpointing", False: "no checkpointing"}
        more = (", new clips" if self.fresh else "") + (", PEFT's own layers" if self.stock else "")
        return f"batch {self.batch}, {checkpointing[self.checkpointing]}{more}"


# The first is the default of `affectllm train sft`; the best of the rest is the setting to recommend.
SETTINGS = (
    Setting(8, None),
    Setting(4, False),
    Setting(4, False, stock=True),
    Setting(6, False),
    Setting(16, True),
    Setting(8, None, fresh=True),
    Setting(2, False),
)


def sft(bench: Bench) -> None:
    matrix_rate(bench)
    best: tuple[float, str] = (0.0, "")
    steps = 1 if bench.tiny else 4
    for setting in (Setting(2, None, 20), Setting(1, False, 20)) if bench.tiny else SETTINGS:
        with bench.book.part(setting.named()):
            try:
                rate = sft_rate(bench, setting, steps)
            except AffectError as error:
                if "Out of memory" not in str(error):
                    raise
                bench.book.row(f"sft, {setting.named()}", None, "out of memory", 0, batch=setting.batch)
                continue
            best = max(best, (rate, setting.named()))
    bench.book.row("sft best", best[0], "tokens/s", steps, setting=best[1])


def sft_rate(bench: Bench, setting: Setting, steps: int) -> float:
    view = TINY_SHORT if bench.tiny else SHORT
    done = sft_steps(bench, setting, view, steps)
    cost = float(np.median(done.seconds))
    tokens = setting.batch * (done.prompt + setting.answer_tokens)
    more: dict[str, Any] = {}
    if bench.peak:
        more["mfu"] = round(done.flops / cost / bench.peak / 1e12, 4)
        if setting.fresh:
            more["mfu_with_encoders"] = round(done.flops_with_encoders / cost / bench.peak / 1e12, 4)
    bench.book.row(
        f"sft, {setting.named()}", tokens / cost, "tokens/s", len(done.seconds), step_s=round(cost, 4),
        slowest_s=round(max(done.seconds), 4), batch=setting.batch, prompt_tokens=done.prompt,
        answer_tokens=setting.answer_tokens, flops=done.flops, shape=bench.shape, dtype="bfloat16", **more,
        **done.memory,
    )  # fmt: skip
    return tokens / cost


class Done(NamedTuple):
    seconds: list[float]
    prompt: int
    flops: float
    flops_with_encoders: float
    memory: dict[str, Any]


def sft_steps(bench: Bench, setting: Setting, view: View, steps: int, backbone: Backbone | None = None) -> Done:
    """Steps of the real trainer, after two that warm up."""
    backbone = backbone or bench.adapted()
    if setting.stock:
        for module in backbone.model.modules():
            if isinstance(module, LeanLinear):
                module.__class__ = LeanLinear.__base__  # type: ignore[assignment]
    warm = 1 if bench.tiny else 2
    with tempfile.TemporaryDirectory(dir=bench.folder) as name:
        folder = Path(name)
        clips = setting.batch * ((steps + warm) if setting.fresh else 1)
        rows = [answered(f"clip{i}", setting.answer_tokens) for i in range(clips)]
        store = NoiseStore(backbone, folder, view)
        for row in rows:
            store.media(row.media, store.modalities)
        options = grouped(
            SFT, data=folder / "none", out=folder, steps=steps + warm, batch=setting.batch, dtype="bfloat16",
            max_tokens=8192,
            trainer={"save_strategy": "no", **checkpointing(setting.checkpointing)},
        )  # fmt: skip
        score_labels_only()
        trainer = sft_trainer(store, rows, options)
        trainer.remove_callback(PrinterCallback)
        clock = Clock()
        trainer.add_callback(clock)
        with peaks() as peak:
            trainer.train()
    sample = store.sample(rows[0])
    work = Work(prompts=setting.batch, answers=setting.batch, answer_tokens=setting.answer_tokens)
    # The real options say what the run did, as --dry-run reads them.
    planned = complete(work, options.runtime.trainer, options.model.quantise)
    prompt = len(sample.prompt_ids)
    return Done(
        [b - a for a, b in zip(clock.times, clock.times[1:], strict=False)][warm:],
        prompt,
        flops(backbone, prompt, {}, work),
        flops(backbone, prompt, sample.media, work),
        compared(memory_gib(backbone, prompt, sample.media, planned), peak),
    )


def checkpointing(chosen: bool | None) -> dict[str, Any]:
    return {} if chosen is None else {"gradient_checkpointing": chosen}


@contextmanager
def peaks() -> Iterator[dict[str, float]]:
    """Memory of the GPU in GiB: allocated before, and the highest within."""
    found: dict[str, float] = {}
    if not torch.cuda.is_available():
        yield found
        return
    free()
    torch.cuda.reset_peak_memory_stats()
    found["before"] = torch.cuda.memory_allocated() / GIB
    try:
        yield found
    finally:
        found["peak"] = torch.cuda.max_memory_allocated() / GIB
        found["reserved"] = torch.cuda.max_memory_reserved() / GIB


def compared(planned: dict[str, float], peak: dict[str, float]) -> dict[str, Any]:
    """What a row says about memory, in GiB: the plan with its parts, and what was measured."""
    found: dict[str, Any] = {"planned_gib": round(sum(planned.values()), 2)}
    found["planned_parts_gib"] = {name: round(size, 2) for name, size in planned.items()}
    if peak:
        found |= {"peak_gib": round(peak["peak"], 2), "before_gib": round(peak["before"], 2)}
        found["reserved_gib"] = round(peak["reserved"], 2)
        found["planned_over_peak"] = round(found["planned_gib"] / peak["peak"], 3)
    return found


def matrix_rate(bench: Bench) -> None:
    """The card's rate on a plain matrix product. The stated rate is an upper bound of it."""
    side = 256 if bench.tiny else 8192
    a, b = (torch.randn(side, side, device=bench.device, dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(8):
        synchronise()
        begun = time.perf_counter()
        a @ b
        synchronise()
        times.append(time.perf_counter() - begun)
    rate = 2 * side**3 / float(np.median(times[3:])) / 1e12
    bench.book.row("matrix product", rate, "TFLOP/s", 5, side=side, stated=bench.peak)


# GRPO


def grpo(bench: Bench) -> None:
    """A step both ways, as train/configs/qwen2_5_omni_7b_grpo.yaml asks, except for the length of completions."""
    grpo_both_ways(bench, TINY_SHORT if bench.tiny else SHORT, 1 if bench.tiny else 2)


def grpo_long(bench: Bench) -> None:
    grpo_both_ways(bench, TINY_LONG if bench.tiny else LONG, 1)


def grpo_both_ways(bench: Bench, view: View, rounds: int) -> None:
    backbone = bench.adapted()
    group, tokens = (4, 6) if bench.tiny else (8, 128)
    rows = [question("clip0")]
    score_labels_only()
    with tempfile.TemporaryDirectory(dir=bench.folder) as name:
        store = NoiseStore(backbone, Path(name), view)
        options = grouped(
            GRPO, data=Path(name) / "none", out=Path(name), prompts=1, group=group, max_new_tokens=tokens, rate=0.0,
            steps=2 * (rounds + 1), dtype="bfloat16", rewards="benchmarks.grpo_step:different",
            trainer={"save_strategy": "no"},
        )  # fmt: skip
        trainer = grpo_trainer(store, rows, options)
        trainer.remove_callback(PrinterCallback)
        fixed_length(trainer, tokens)
        found = costs_of(trainer)
        report_step(bench, options, store, rows, found, rounds)
        # This comes last: what was measured is kept if the section's time ends here.
        difference = greatest_difference(trainer, rows, group, tokens)
    bench.book.row("grpo exactness", difference, "largest difference of a log-probability", group, prompts=len(rows))


def report_step(
    bench: Bench, options: GRPO, store: NoiseStore, rows: Sequence[Conversation], found: dict[str, Any], rounds: int
) -> None:
    """Times and peaks of a step both ways, as `costs_of` gives them."""
    backbone, group, tokens = store.backbone, options.sampling.group, options.sampling.max_new_tokens
    sample = store.sample(rows[0])
    prompt = len(sample.prompt_ids)
    more = {"prompt_tokens": prompt, "group": group, "new_tokens": tokens, "shape": bench.shape, "dtype": "bfloat16"}
    parts = ("step", "generation", "training")
    least = {way: {part: min(costs[part][1:]) for part in parts} for way, costs in found.items()}
    for part in parts:
        ours, rows_way = least["ours"][part], least["peer"][part]
        bench.book.row(
            f"grpo {part}, prompt {prompt}", ours, "s", rounds, rows_s=round(rows_way, 4),
            times_as_fast=round(rows_way / ours, 2), **more,
        )  # fmt: skip
    bench.book.row(f"grpo completions, prompt {prompt}", group / least["ours"]["step"], "completions/s", rounds, **more)
    for way, name in (("ours", "shared"), ("peer", "rows")):
        work = grpo_work(options.optimisation.prompts, options.sampling, options.loss.beta, name)
        work = complete(work, options.runtime.trainer, options.model.quantise)
        planned = memory_gib(backbone, prompt, sample.media, work)
        peak = max(found[way]["peak"][1:]) / GIB if found[way].get("peak") else None
        bench.book.row(
            f"grpo peak memory, {name}, prompt {prompt}", peak, "GiB", rounds, **more,
            planned_gib=round(sum(planned.values()), 2),
            planned_parts_gib={part: round(size, 2) for part, size in planned.items()},
            planned_over_peak=round(sum(planned.values()) / peak, 3) if peak else None,
        )  # fmt: skip


def fixed_length(trainer: Any, tokens: int) -> None:
    """Random weights end an answer at random, and so the time of a step would be random."""
    trainer.generation_config.min_new_tokens = tokens
    trainer.generation_kwargs = {**(trainer.generation_kwargs or {}), "min_new_tokens": tokens}


# Memory


def memory(bench: Bench) -> None:
    """Peaks of supervised runs of several sizes, compared with the plan. Those of GRPO are in its own rows."""
    view = TINY_SHORT if bench.tiny else SHORT
    long = TINY_LONG if bench.tiny else LONG
    settings = ((Setting(1, True), view), (Setting(2, True), long), (Setting(1, False), long))
    for setting, seen in settings[1:2] if bench.tiny else settings:
        with bench.book.part(f"memory, {setting.named()}"):
            done = sft_steps(bench, setting, seen, 1)
            bench.book.row(
                f"memory of sft, {setting.named()}, prompt {done.prompt}", done.memory.get("peak_gib"), "GiB", 1,
                batch=setting.batch, prompt_tokens=done.prompt, answer_tokens=setting.answer_tokens, **done.memory,
            )  # fmt: skip


# Answers

BATCHES = 3
"""Number of batches of `eval predict`. The first one is read before anything can be answered."""


def predict(bench: Bench) -> None:
    """The path of `eval predict` over clips on the disk: decoding, encoders, and answers of 64 tokens."""
    backbone = bench.bare()
    backbone.model.eval()
    folder = bench.folder / "predict"
    folder.mkdir()
    batch = 2 if bench.tiny else Sampling().batch
    rows = [question(f"clip{i}") for i in range(BATCHES * batch)]
    size, length, different = ((80, 60), 10, 2) if bench.tiny else ((640, 360), 125, 8)
    drawn = [draw(folder / f"drawn{i}.mp4", length, i, size) for i in range(different)]
    for i, row in enumerate(rows):
        # Drawing a clip takes longer than reading it; a byte at the end makes each another file to the cache.
        (folder / str(row.media.video)).write_bytes(drawn[i % len(drawn)].read_bytes() + bytes([i]))
    before = backbone.core.generation_config.min_new_tokens
    tokens = 4 if bench.tiny else 64
    backbone.core.generation_config.min_new_tokens = tokens
    try:
        answers(bench, backbone, folder, rows[: 1 if bench.tiny else 4], batch, tokens, "warm-up")
        with bench.book.part("encoders"):
            encoders(bench, backbone, batch)
        with bench.book.part(f"predict, batch {batch}"):
            answers(bench, backbone, folder, rows, batch, tokens, f"predict, batch {batch}")
    finally:
        backbone.core.generation_config.min_new_tokens = before
        backbone.model.train()


def encoders(bench: Bench, backbone: Backbone, clips: int) -> None:
    """A batch through vision and audio encoders, with one kernel for all stretches of a length, then one for each."""
    store = NoiseStore(backbone, bench.folder, TINY_SHORT if bench.tiny else SHORT)
    media = join_media([store.sample(question(f"clip{i}")) for i in range(clips)])
    seconds = {}
    for name in (segments.NAME, "sdpa"):
        for tower in backbone.towers():  # type: ignore[attr-defined]
            tower.config._attn_implementation = name
        for _ in range(2):
            synchronise()
            begun = time.perf_counter()
            backbone.encode(media)
            synchronise()
            seconds[name] = time.perf_counter() - begun
    segments.use(backbone.towers())  # type: ignore[attr-defined]
    ours, stock = seconds.values()
    more = {"stretch_by_stretch_s": round(stock, 4), "times_as_fast": round(stock / ours, 2)}
    bench.book.row("encoders", ours, "s", clips, **more)


def answers(
    bench: Bench, backbone: Backbone, folder: Path, rows: Sequence[Conversation], batch: int, tokens: int, name: str
) -> None:
    """Batches of clips that were not read before, each read while the one before is answered, then from the cache."""
    sampling = Sampling(batch=batch, max_new_tokens=tokens)
    batches = [rows[i : i + batch] for i in range(0, len(rows), batch)]
    with tempfile.TemporaryDirectory(dir=bench.folder) as cache:
        store = MediaStore(backbone, folder, FeatureCache(Path(cache)))
        with peaks() as peak:
            times = []
            for _ in range(2):
                synchronise()
                begun = time.perf_counter()
                read = read_ahead(store, batches)
                found = [answer for clips in read for answer in answer_batch(store, clips, sampling, bench.shape)]
                synchronise()
                times.append(time.perf_counter() - begun)
    wrong = [answer.error for answer in found if answer.error]
    if wrong:
        raise AssertionError(f"{len(wrong)} of {len(found)} answers are errors: {wrong[0]}")
    if name == "warm-up":
        return
    said = [answer.tokens for answer in found]
    bench.book.row(
        name, len(rows) / times[0], "clips/s", len(rows), seconds=round(times[0], 3),
        seconds_from_cache=round(times[1], 3), clips_s_from_cache=round(len(rows) / times[1], 2),
        hours_for_mer_unibench=round(MER_UNIBENCH * times[0] / len(rows) / 3600, 3), clips=MER_UNIBENCH,
        answer_tokens=max(said), shortest_answer=min(said), prompt_tokens=len(store.sample(rows[0]).prompt_ids),
        shape=bench.shape, dtype="bfloat16", peak_gib=round(peak["peak"], 2) if peak else None,
    )  # fmt: skip


# 4 bits


def qlora(bench: Bench) -> None:
    """Peak of SFT over a language model in NF4; goal: a card of 24 GB."""
    if importlib.util.find_spec("bitsandbytes") is None:
        return bench.book.skip("qlora", "bitsandbytes is not installed")
    if bench.device == "cpu" and not bench.tiny:
        return bench.book.skip("qlora", "7 billion weights in 4 bits need a GPU")
    backbone = bench.bare()
    quantise(backbone)
    make_trainable(backbone, Tuning(rank=16), 7)
    for setting in (Setting(1, True), Setting(4, True)):
        with bench.book.part(f"qlora, {setting.named()}"):
            done = sft_steps(bench, setting, TINY_SHORT if bench.tiny else SHORT, 2, backbone)
            bench.book.row(
                f"qlora peak memory, {setting.named()}", done.memory.get("peak_gib"), "GiB", 2, batch=setting.batch,
                prompt_tokens=done.prompt, answer_tokens=setting.answer_tokens, step_s=round(min(done.seconds), 3),
                **done.memory,
            )  # fmt: skip
    return None


def quantise(backbone: Backbone) -> None:
    """Put the linear layers of the language model into NF4 in place, as `--quantise` loads them."""
    import bitsandbytes as bnb
    from transformers.quantizers import AutoHfQuantizer

    from affectllm.models.base import quantise as bits

    core = backbone.core
    layers = [
        (name, module)
        for name, module in core.named_modules()
        if isinstance(module, torch.nn.Linear) and "language_model" in name
    ]
    for name, module in layers:
        packed = bnb.nn.Linear4bit(
            module.in_features, module.out_features, module.bias is not None, compute_dtype=core.dtype,
            compress_statistics=True, quant_type="nf4", device="meta",
        )  # fmt: skip
        device = module.weight.device
        packed.weight = bnb.nn.Params4bit(
            module.weight.data.cpu(), requires_grad=False, compress_statistics=True, quant_type="nf4"
        ).to(device)
        packed.bias = module.bias
        owner, _, last = name.rpartition(".")
        setattr(core.get_submodule(owner), last, packed)
    # What transformers' loader leaves on a model, and PEFT, TRL and the trainer look for.
    core.is_loaded_in_4bit = core.is_quantized = True
    core.hf_quantizer = AutoHfQuantizer.from_config(bits.nf4(backbone.never_quantised, core.dtype), pre_quantized=False)
    bits.check(core, backbone.name)
    free()
