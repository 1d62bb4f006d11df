"""Models: which can be trained, judged and shown, and how a new one is composed.

affectllm models list                                                     families, and what is tested of each
affectllm models compose --llm NAME --vision NAME --audio NAME --out DIR  a model of your own parts
affectllm models affectgpt CHECKPOINT.pth --out DIR                       published AffectGPT weights in one
"""

import json
from dataclasses import dataclass
from pathlib import Path

import tyro

from affectllm.commands.verbs import Verb
from affectllm.errors import AffectError
from affectllm.models.families import FAMILIES


@dataclass(frozen=True)
class List:
    json: bool = False
    """Print the families as one JSON array."""


@dataclass(frozen=True, kw_only=True)
class Compose:
    llm: str
    """Language model, any causal one: a folder or a hub name, e.g. Qwen/Qwen2.5-7B-Instruct."""
    vision: str
    """Image tower, a CLIP, SigLIP or DINOv2: a folder or a hub name, e.g. openai/clip-vit-large-patch14."""
    audio: str
    """Speech encoder, a HuBERT, WavLM or Whisper: a folder or a hub name, e.g. TencentGameMate/chinese-hubert-large."""
    out: Path
    """Folder for the composed model."""
    fusion: str = "queries"
    """How modalities are fused: queries, attention, attention_softmax, qformer, affectgpt, none (docs/training.md)."""
    num_frames: int = 8
    """Number of frames of a clip, evenly spread over its time."""
    face_tokens: int = 0
    """Number of tokens of the frames, if the fusion pools. 0 gives one token per frame."""
    voice_tokens: int = 0
    """Number of tokens of the voice, if the fusion pools. 0 gives one token per slice of time."""
    fusion_tokens: int = 4
    """Number of tokens in which both modalities are fused. It must be 0 with the fusion none."""
    fusion_size: int = 256
    """Width of the fusion. AffectGPT's is 1024."""
    audio_layers: int = 4
    """Number of layers that are used: of Whisper the first ones, of HuBERT and WavLM the mean of the last ones."""
    dtype: str = "auto"
    """Precision of the stored weights: float32, bfloat16 or float16. auto takes that of the language model's files. The
    fusion is stored in float32."""


@dataclass(frozen=True, kw_only=True)
class AffectGPT:
    checkpoint: tyro.conf.Positional[Path]
    """AffectGPT's .pth file of the attention fusion. It is read as plain tensors and never run."""
    out: Path
    """Folder for the model that is written."""
    llm: str = "Qwen/Qwen2.5-7B-Instruct"
    """The language model that the checkpoint was trained on."""
    vision: str = "openai/clip-vit-large-patch14"
    """The image tower that the checkpoint was trained on."""
    audio: str = "TencentGameMate/chinese-hubert-large"
    """The speech encoder that the checkpoint was trained on."""
    alpha: float = 32.0
    """Scale of the checkpoint's adapter (LoRA's alpha). The rank is read from the weights."""
    dtype: str = "auto"
    """Precision of the stored weights: float32, bfloat16 or float16. auto takes that of the language model's files. The
    fusion is stored in float32."""


def make(options: Compose) -> None:
    """Put a language model, an image tower and a speech encoder together with a fusion that is not trained yet.

    affectllm models compose --llm Qwen/Qwen2.5-7B-Instruct --vision openai/clip-vit-large-patch14 \\
        --audio openai/whisper-small --out models/mine
    """
    from affectllm.models import quiet
    from affectllm.models.families.affect.compose import compose

    quiet()
    names = ("fusion", "num_frames", "face_tokens", "voice_tokens", "fusion_tokens", "fusion_size", "audio_layers")
    settings = {name: getattr(options, name) for name in names}
    compose(options.llm, options.vision, options.audio, options.out, options.dtype, **settings)
    print(f"Composed model written to {options.out}. Its fusion is untrained: begin with affectllm train sft.")


def convert(options: AffectGPT) -> None:
    """Build a model of AffectGPT's parts with the weights that its authors published.

    affectllm models affectgpt checkpoint_000030_loss_0.751.pth --out models/affectgpt
    """
    from affectllm.models import quiet
    from affectllm.models.families.affect import affectgpt

    if options.out.exists():
        raise AffectError(f"{options.out} exists. Choose another --out, or delete it.")
    quiet()
    affectgpt.import_checkpoint(
        options.checkpoint, options.llm, options.vision, options.audio, options.out, options.dtype, options.alpha
    )
    print(f"Model written to {options.out}: AffectGPT's fusion, its adapter merged.")


def show_list(options: List) -> None:
    """The families of models, what each takes in, and what is tested of it."""
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
        return
    for row in rows:
        print(f"{row['name']:<22} {' + '.join(row['modalities']):<22} --model {row['example']}")
    print(f"\nTested on a {FAMILIES[0].tested}. Not tested: published weights.")


VERBS = {"list": Verb(List, show_list), "compose": Verb(Compose, make), "affectgpt": Verb(AffectGPT, convert)}
