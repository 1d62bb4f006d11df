"""Models: which can be trained, judged and shown, and how a new one is composed.

affectllm models list                                                     families, and what of them is tested
affectllm models compose --llm NAME --vision NAME --audio NAME --out DIR  a model of your own parts
affectllm models affectgpt CHECKPOINT.pth --llm NAME ... --out DIR        published AffectGPT weights in such a model
"""

import json
from dataclasses import dataclass
from pathlib import Path

import tyro

from affectllm.errors import AffectError
from affectllm.models.families import FAMILIES
from affectllm.options import parse


@dataclass(frozen=True)
class List:
    json: bool = False
    """Print one JSON array."""


@dataclass(frozen=True, kw_only=True)
class Compose:
    llm: str
    """Any causal language model: a folder or a hub name, e.g. Qwen/Qwen2.5-7B-Instruct."""
    vision: str
    """A CLIP, SigLIP or DINOv2, e.g. openai/clip-vit-large-patch14."""
    audio: str
    """A HuBERT, WavLM or Whisper, e.g. TencentGameMate/chinese-hubert-large."""
    out: Path
    """Folder for the composed model."""
    fusion: str = "queries"
    """How modalities meet: queries, attention, attention_softmax, qformer, affectgpt or none; see docs/training.md."""
    num_frames: int = 8
    """Frames of a clip, evenly over its time."""
    face_tokens: int = 0
    """Tokens of the frames, where the fusion pools; 0 for one a frame."""
    voice_tokens: int = 0
    """Tokens of the voice, where the fusion pools; 0 for one a slice of time."""
    fusion_tokens: int = 4
    """Tokens in which both modalities have met; 0 with the fusion none."""
    fusion_size: int = 256
    """Width in which they meet; AffectGPT's is 1024."""
    audio_layers: int = 4
    """First layers of Whisper, which alone are run, or last layers of HuBERT and WavLM, whose mean is taken."""
    dtype: str = "auto"
    """Precision of the stored weights: float32, bfloat16 or float16; auto takes that of the language model's files. The
    fusion is stored in float32."""


@dataclass(frozen=True, kw_only=True)
class AffectGPT:
    checkpoint: tyro.conf.Positional[Path]
    """AffectGPT's .pth file, attention fusion; it is read as plain tensors and never run."""
    out: Path
    """Folder for the model."""
    llm: str = "Qwen/Qwen2.5-7B-Instruct"
    """The language model it was trained on."""
    vision: str = "openai/clip-vit-large-patch14"
    """The image tower it was trained on."""
    audio: str = "TencentGameMate/chinese-hubert-large"
    """The speech encoder it was trained on."""
    alpha: float = 32.0
    """Of its adapter; the rank is read from the weights."""
    dtype: str = "auto"
    """Precision of the stored weights: float32, bfloat16 or float16; auto takes that of the language model's files. The
    fusion is stored in float32."""


def run(words: list[str]) -> int:
    verbs = {"list": (List, show_list), "compose": (Compose, make), "affectgpt": (AffectGPT, bring_in)}
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    if words[0] not in verbs:
        raise AffectError(f"No '{words[0]}' under 'affectllm models'. Known: {', '.join(verbs)}.")
    options, action = verbs[words[0]]
    return action(parse(options, words[1:]))  # type: ignore[operator]


def make(run: Compose) -> int:
    from affectllm.models import quiet
    from affectllm.models.families.affect.compose import compose

    quiet()
    names = ("fusion", "num_frames", "face_tokens", "voice_tokens", "fusion_tokens", "fusion_size", "audio_layers")
    options = {name: getattr(run, name) for name in names}
    compose(run.llm, run.vision, run.audio, run.out, run.dtype, **options)
    print(f"Composed model written to {run.out}. Its fusion is untrained: begin with affectllm train sft.")
    return 0


def bring_in(run: AffectGPT) -> int:
    from affectllm.models import quiet
    from affectllm.models.families.affect import affectgpt

    if run.out.exists():
        raise AffectError(f"{run.out} exists. Choose another --out, or delete it.")
    quiet()
    affectgpt.bring_in(run.checkpoint, run.llm, run.vision, run.audio, run.out, run.dtype, run.alpha)
    print(f"Model written to {run.out}: AffectGPT's fusion, its adapter merged.")
    return 0


def show_list(options: List) -> int:
    rows = [
        {
            "name": family.name,
            "model_types": list(family.types),
            "class": family.model.partition(":")[2],
            "backbone": family.backbone.partition(":")[2],
            "modalities": [*family.modalities, "text"],
            "example": family.example,
            "tested": family.tested,
            "untested": family.untested,
        }
        for family in FAMILIES
    ]
    if options.json:
        print(json.dumps(rows))
        return 0
    for row in rows:
        print(f"{row['name']:<22} {' + '.join(row['modalities']):<22} --model {row['example']}")
    print(f"\nTested on a {FAMILIES[0].tested}. Not tested: published weights.")
    return 0
