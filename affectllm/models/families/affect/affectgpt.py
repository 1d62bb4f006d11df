"""Puts a published AffectGPT checkpoint in the place of a composed model's untrained fusion, its adapter merged.

AffectGPT (arXiv 2501.16566) saves what it trains: single linear maps for each modality and for both, and a LoRA of
rank 16 (alpha 32) on Qwen2.5. The maps go into the fusion `affectgpt` of a model composed of the same parts, the
adapter into the language model's weights. Its input is not taken over: eight windows of two seconds of sound
rather than slices of all of it, face crops by OpenFace, and its prompt.
"""

import re
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from affectllm.errors import AffectError
from affectllm.models.families.affect.compose import compose
from affectllm.models.families.affect.modeling_affect import AffectForConditionalGeneration

MAPS = {
    "video_attention_mlp": "weigh_face",
    "affectgpt_proj": "face_out",
    "audio_attention_mlp": "weigh_voice",
    "audio_llama_proj": "voice_out",
    "multi_video_embs": "meet_face",
    "multi_audio_embs": "meet_voice",
    "attention_mlp": "mix",
    "fc_att": "share",
    "multi_llama_proj": "both_out",
}
"""AffectGPT's linear maps -> ours."""
UNUSED = ("image_llama_proj.weight", "image_llama_proj.bias")
"""Weights for single images, which no clip has."""
ADAPTED = re.compile(r"llama_model\.base_model\.model\.model\.(layers\..+)\.lora_([AB])(?:\.default)?\.weight")
SHOWN = 5


def import_checkpoint(
    checkpoint: Path, llm: str, vision: str, audio: str, out: Path, dtype: str, alpha: float = 32.0
) -> None:
    """Compose a model of these parts in folder `out`, with the weights of an AffectGPT checkpoint (.pth).

    Raises AffectError for a file that holds more than tensors and plain values, and for weights that are missing, left
    over, or of another size, with their names.
    """
    given = read(checkpoint)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    compose(llm, vision, audio, partial, dtype, fusion="affectgpt")
    model = AffectForConditionalGeneration.from_pretrained(partial, dtype="auto")
    body: Any = model.model
    fill(body.fusion, {name: tensor for name, tensor in given.items() if not ADAPTED.fullmatch(name)}, checkpoint)
    merge(body.language_model, {name: tensor for name, tensor in given.items() if ADAPTED.fullmatch(name)}, alpha)
    model.save_pretrained(partial)
    partial.rename(out)


def read(checkpoint: Path) -> dict[str, Tensor]:
    """The tensors under `model` in a .pth file, which is never run."""
    if not checkpoint.is_file():
        raise AffectError(f"No checkpoint {checkpoint}. Give AffectGPT's .pth file.")
    try:
        stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:
        raise AffectError(
            f"{checkpoint} cannot be read as plain tensors: {str(error).strip().partition(chr(10))[0][:200]}"
        ) from error
    model = stored.get("model") if isinstance(stored, dict) else None
    if not isinstance(model, dict):
        raise AffectError(f"{checkpoint} holds no 'model'. Is it a checkpoint of AffectGPT's training?")
    return model


def fill(fusion: torch.nn.Module, given: dict[str, Tensor], checkpoint: Path) -> None:
    """Put the linear maps where they belong."""
    wanted = {f"{theirs}.{part}": f"{ours}.{part}" for theirs, ours in MAPS.items() for part in ("weight", "bias")}
    places = fusion.state_dict()
    missing = [name for name in wanted if name not in given]
    over = [name for name in given if name not in wanted and name not in UNUSED]
    if missing or over:
        raise AffectError(
            f"{checkpoint} is not an AffectGPT with attention fusion. Missing: {', '.join(missing[:SHOWN]) or 'none'} "
            f"({len(missing)}); without a place: {', '.join(over[:SHOWN]) or 'none'} ({len(over)})."
        )
    for theirs, ours in wanted.items():
        if given[theirs].shape != places[ours].shape:
            raise AffectError(
                f"{theirs} in {checkpoint} is {tuple(given[theirs].shape)}, these parts need "
                f"{tuple(places[ours].shape)}. Compose it of the parts it was trained with: Qwen2.5-7B-Instruct, "
                "clip-vit-large-patch14, chinese-hubert-large."
            )
    fusion.load_state_dict({ours: given[theirs].to(places[ours].dtype) for theirs, ours in wanted.items()})


@torch.no_grad()
def merge(language_model: torch.nn.Module, given: dict[str, Tensor], alpha: float) -> None:
    """Add the adapter's products to the layers they belong to: W + alpha / r B A."""
    pairs: dict[str, dict[str, Tensor]] = {}
    for name, tensor in given.items():
        found = ADAPTED.fullmatch(name)
        assert found is not None
        pairs.setdefault(found[1], {})[found[2]] = tensor
    if not pairs:
        raise AffectError("The checkpoint holds no adapter of the language model.")
    layers = dict(language_model.named_modules())
    for name, pair in pairs.items():
        if set(pair) != {"A", "B"} or name not in layers:
            raise AffectError(f"The adapter of '{name}' is incomplete, or the language model has no such layer.")
        weight: Tensor = layers[name].weight
        product = pair["B"].float() @ pair["A"].float()
        if product.shape != weight.shape:
            raise AffectError(
                f"The adapter of '{name}' is for {tuple(product.shape)}, the layer {tuple(weight.shape)}."
            )
        weight += (alpha / pair["A"].shape[0] * product).to(weight.dtype)
