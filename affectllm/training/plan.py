"""The plan of a run, computed before it starts: what reaches the model, what is trained, memory and arithmetic.

A trainer that drops media shows an ordinary loss curve; only the inputs show the fault. The formulas are written out in
docs/training.md; they count what dominates and leave out what does not (norms, biases, allocator, CUDA context).
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from torch import Tensor, nn

from affectllm.errors import AffectError
from affectllm.media.audio import RATE_HZ
from affectllm.models.base.backbone import Backbone, Media, Sample, used_modalities
from affectllm.records import Conversation
from affectllm.training.tuning import part_of

GIB = 1 << 30
# TRL's fused head scores this many entries of the vocabulary at a time.
HEAD_CHUNK = 32768
# Bytes of optimiser state for each byte of a trained weight; 8-bit optimisers keep two bytes a weight.
ADAMW_STATES = 2
# NF4 with double quantisation: 4 bits, 8 for every 64 weights, 32 for every 64 x 256 (arXiv 2305.14314, section 3).
NF4_BYTES = (4 + 8 / 64 + 32 / (64 * 256)) / 8


class Work(NamedTuple):
    """What one optimiser step of one device computes."""

    prompts: int
    """Prompts, with their clips, that are read in one forward and backward."""
    answers: int
    """Answers to these prompts: one per prompt, or G if a group shares it."""
    answer_tokens: int
    forwards: int = 0
    """Whole forwards in addition to the one that is trained on: generation, reference."""
    accumulation: int = 1
    """Number of forwards and backwards that are summed up in one step."""
    checkpointing: bool = False
    """Whether activations of the layers are computed again in the backward."""
    optimizer: str = "adamw_torch"
    quantised: bool = False
    """Whether the language model's layers are in 4 bits."""


@dataclass(frozen=True)
class Plan:
    model: str
    conversations: int
    """Number of conversations in all data sets together."""
    tokens: dict[str, int]
    """Tokens of the row that was examined: text, each medium, the answer, total."""
    frames: int
    audio_s: float
    media: dict[str, list[int]]
    """Shapes of the model inputs."""
    parameters: dict[str, int]
    trainable: dict[str, int]
    """Number of parameters by part of the model."""
    dtype: str
    memory_gib: float
    memory_parts_gib: dict[str, float]
    flops: float
    """FLOPs of one optimiser step on one device."""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def show(self) -> None:
        tokens = ", ".join(f"{count} {kind}" for kind, count in self.tokens.items())
        media = ", ".join(f"{name} {tuple(shape)}" for name, shape in self.media.items()) or "none"
        trained = ", ".join(f"{part} {count:,}" for part, count in self.trainable.items() if count) or "nothing"
        parts = ", ".join(f"{name} {size:.2f}" for name, size in self.memory_parts_gib.items())
        total, trainable = sum(self.parameters.values()), sum(self.trainable.values())
        print(f"{self.conversations} conversations; tokens of the first with all media: {tokens}")
        print(f"its media: {self.frames} frames, {self.audio_s:.1f} s of audio; {media}")
        print(f"trained parameters: {trainable:,} of {total:,} ({trained}; {self.dtype})")
        print(f"estimated memory: {self.memory_gib:.2f} GiB ({parts}); {self.flops:.2e} FLOPs a step", flush=True)


def make_plan(
    backbone: Backbone, conversations: Sequence[Conversation], root: Path, modalities: Sequence[str], work: Work
) -> Plan:
    """The plan of a run over these conversations; `work.answer_tokens` 0 means the row's own answer.

    Raises AffectError if a modality that is asked for does not reach the model.
    """
    row, *others = rows_to_look_at(conversations, modalities)
    decoded, sample, media_tokens = look_at(backbone, row, root, modalities)
    for other in others:
        look_at(backbone, other, root, modalities)
    answer = work.answer_tokens or len(backbone.answer_ids(last_answer(row)))
    work = work._replace(answer_tokens=answer)
    text = len(sample.prompt_ids) - sum(media_tokens.values())
    everything = {"text": text, **media_tokens, "answer": answer, "total": len(sample.prompt_ids) + answer}
    memory = memory_gib(backbone, len(sample.prompt_ids), sample.media, work)
    return Plan(
        model=backbone.name,
        conversations=len(conversations),
        tokens=everything,
        frames=0 if decoded.frames_THWC is None else len(decoded.frames_THWC),
        audio_s=0.0 if decoded.wave is None else len(decoded.wave) / RATE_HZ,
        media={name: list(tensor.shape) for name, tensor in sample.media.items()},
        parameters=count_parameters(backbone),
        trainable=count_parameters(backbone, trained=True),
        dtype=str(backbone.core.dtype).removeprefix("torch."),
        memory_gib=sum(memory.values()),
        memory_parts_gib=memory,
        flops=flops(backbone, len(sample.prompt_ids), sample.media, work),
    )


def rows_to_look_at(conversations: Sequence[Conversation], modalities: Sequence[str]) -> list[Conversation]:
    """The row with the most modalities first, then a row for each modality that it lacks."""
    richest = max(conversations, key=lambda row: len(used_modalities(row, modalities)))
    rows = [richest]
    for kind in modalities:
        if kind not in used_modalities(richest, modalities):
            having = [row for row in conversations if used_modalities(row, [kind])]
            if not having:
                raise AffectError(
                    f"Modality {kind} was asked for, but none of {len(conversations)} conversations brings it to the "
                    f"model. Build the data with {kind} parts, or name with --modalities what the data have."
                )
            rows.append(having[0])
    return rows


def look_at(
    backbone: Backbone, row: Conversation, root: Path, modalities: Sequence[str]
) -> tuple[Media, Sample, dict[str, int]]:
    """A row's decoded clip, its sample, and the tokens of each medium; 0 tokens for a modality is an error."""
    used = used_modalities(row, modalities)
    decoded = backbone.read(row.media, root, used)
    sample = backbone.assemble(row, used, backbone.preprocess(decoded) if used else {})
    counts = Counter(sample.prompt_ids)
    tokens = {name: counts[token] for name, token in backbone.placeholders.items() if counts[token]}
    for kind in used:
        if not tokens.get(kind):
            raise AffectError(
                f"Conversation '{row.id}' asks about its {kind}, but 0 {kind} tokens of it reach {backbone.name}. "
                "Check the model's chat template, or leave it out of --modalities."
            )
    return decoded, sample, tokens


def last_answer(row: Conversation) -> str:
    from affectllm.training.collator import answer_of

    return answer_of(row)


def count_parameters(backbone: Backbone, trained: bool = False) -> dict[str, int]:
    counts: Counter[str] = Counter(dict.fromkeys([*backbone.parts, "adapter"], 0))
    for name, parameter in backbone.model.named_parameters():
        # A part that is trained whole together with an adapter is there twice: the old weights and the new ones.
        if (parameter.requires_grad or not trained) and "original_module." not in name:
            counts[part_of(backbone, name)] += count_of(parameter)
    return dict(counts)


def memory_gib(backbone: Backbone, prompt: int, media: dict[str, Tensor], work: Work) -> dict[str, float]:
    """Estimated memory in GiB, by what it is used for."""
    weights = sum(
        NF4_BYTES * p.numel() if work.quantised and goes_to_4_bits(name, p) else size_of(p)
        for name, p in backbone.model.named_parameters()
    )
    trained = [p for p in backbone.model.parameters() if p.requires_grad]
    gradients = sum(size_of(p) for p in trained)
    states = sum(p.numel() * 2 if "8bit" in work.optimizer else ADAMW_STATES * size_of(p) for p in trained)
    rows = rows_of(prompt, work)
    parts = {
        "weights": weights,
        "gradients": gradients,
        "optimizer": states,
        "activations": activations(backbone, rows, work) + encoder_working_set(backbone, media, work),
        "head": work.answers * work.answer_tokens * min(text_config(backbone).vocab_size, HEAD_CHUNK) * 8,
    }
    if work.forwards:
        parts["kv_cache"] = kv_cache(backbone, prompt, work)
    return {name: size / GIB for name, size in parts.items()}


def size_of(parameter: nn.Parameter) -> int:
    return parameter.numel() * parameter.element_size()


def count_of(parameter: nn.Parameter) -> int:
    """Weights of 4 bits lie two in a byte."""
    return parameter.numel() * (1 if parameter.is_floating_point() else 2)


def goes_to_4_bits(name: str, parameter: nn.Parameter) -> bool:
    """A layer of the language model that --quantise will pack, and that is not packed yet."""
    adapted = "lora_" in name or "embed_tokens" in name
    return ".language_model." in name and parameter.ndim == 2 and parameter.is_floating_point() and not adapted


def rows_of(prompt: int, work: Work) -> int:
    """Number of tokens that pass through the language model in one forward."""
    return work.prompts * prompt + work.answers * work.answer_tokens


def text_config(backbone: Backbone) -> Any:
    return backbone.core.config.get_text_config()


class Attention(NamedTuple):
    layers: int
    query: float
    key: float
    """Mean width over the layers: head size times heads."""


def attention_of(backbone: Backbone) -> Attention:
    """It is measured on the layers themselves: in some families head size and sharing of keys differ between layers."""
    queries: list[int] = []
    keys: list[int] = []
    for name, module in backbone.model.named_modules():
        if ".language_model." in name and name.endswith(("self_attn.q_proj", "self_attn.k_proj")):
            (queries if name.endswith("q_proj") else keys).append(module.out_features)
    return Attention(len(queries), fmean(queries), sum(keys) / len(queries))


def feed_forward_size(text: Any) -> int:
    """Width of the feed-forward for one token. With several experts, only its own ones count."""
    if getattr(text, "moe_intermediate_size", None) and getattr(text, "num_experts", None):
        return text.moe_intermediate_size * (getattr(text, "num_experts_per_tok", None) or text.top_k_experts)
    return text.intermediate_size


def activations(backbone: Backbone, rows: int, work: Work) -> int:
    """Bytes kept for the backward: those of all layers, or the input of each layer and one whole layer."""
    text, bytes_each = text_config(backbone), backbone.core.dtype.itemsize
    width = text.hidden_size
    attention = attention_of(backbone)
    each = 4 * width + 2 * attention.query + 2 * attention.key + 4 * feed_forward_size(text)
    layer = int(rows * each * bytes_each)
    if work.checkpointing:
        return rows * width * bytes_each * attention.layers + layer
    return layer * attention.layers


def encoder_working_set(backbone: Backbone, media: dict[str, Tensor], work: Work) -> int:
    """Bytes of one layer of the larger encoder, which keeps nothing for a backward while it is frozen."""
    sizes = [0]
    for part, rows in backbone.encoder_rows(media).items():
        sub = getattr(backbone.core.config, f"{part}_config")
        width = getattr(sub, "d_model", None) or sub.hidden_size
        inner = getattr(sub, "encoder_ffn_dim", None) or getattr(sub, "intermediate_size", 4 * width)
        sizes.append(work.prompts * rows * (6 * width + 2 * inner) * backbone.core.dtype.itemsize)
    return max(sizes)


def kv_cache(backbone: Backbone, prompt: int, work: Work) -> int:
    """Bytes of keys and values while answers are generated: every answer has its own copy of the prompt's."""
    attention = attention_of(backbone)
    each = 2 * attention.key * attention.layers * backbone.core.dtype.itemsize
    return int(work.answers * (prompt + work.answer_tokens) * each)


def flops(backbone: Backbone, prompt: int, media: dict[str, Tensor], work: Work) -> float:
    """Multiplications and additions of one optimiser step on one device."""
    body, head = language_model_parameters(backbone)
    rows, scored = rows_of(prompt, work), work.answers * work.answer_tokens
    per_prompt = work.answers // work.prompts
    # On average each token attends to half of the tokens before it; answers of a group do not attend to each other.
    seen = work.prompts * (prompt**2 / 2 + per_prompt * work.answer_tokens * (prompt + work.answer_tokens / 2))
    attention = attention_of(backbone)
    layers = 2 * body * rows + 4 * attention.layers * attention.query * seen
    forward = layers + 2 * head * scored
    counts = count_parameters(backbone)
    encoders = sum(2 * counts[part] * n * work.prompts for part, n in backbone.encoder_rows(media).items())
    trains_weights = count_parameters(backbone, trained=True)["llm"] > 0
    backward = forward * (2 if trains_weights else 1) + (layers if work.checkpointing else 0)
    return work.accumulation * (backward + (1 + work.forwards) * (forward + encoders))


def language_model_parameters(backbone: Backbone) -> tuple[float, int]:
    """Weights that multiply each token in the layers (its own experts only), and those of the head."""
    text = text_config(backbone)
    experts = getattr(text, "num_experts", None)
    share = (getattr(text, "num_experts_per_tok", None) or text.top_k_experts) / experts if experts else 1.0
    body = 0.0
    for name, parameter in backbone.model.named_parameters():
        if ".language_model." in name and "embed_tokens" not in name:
            body += count_of(parameter) * (share if ".experts." in name else 1.0)
    return body, text.vocab_size * text.hidden_size
