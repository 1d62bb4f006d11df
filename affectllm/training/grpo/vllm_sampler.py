"""GRPO's completions sampled by a vLLM server, in an environment of its own, on the prompts that are trained on.

It is the server that `vllm serve` starts, asked through its OpenAI-compatible endpoints. TRL's own client is no way
here: it needs vLLM in the trainer's environment, whose torch and transformers are pinned to others than ours, and it
carries images alone. Of the model only the adapter moves: it is written beside the run after every step, with names
as the published checkpoint has them, and the server loads it.

Three things are checked rather than hoped for. The server's version and model, before anything is trained. The ids of
every prompt, media placeholders included, against those that training reads. And the log-probabilities the server
tells, against the trainer's: an adapter whose names fit no layer is ignored by vLLM without a word.
"""

import base64
import json
import re
import shutil
import urllib.error
import urllib.request
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save_file

from affectllm.errors import AffectError
from affectllm.models.backbone import Backbone, Media, Sample, chat_message, question_of, used_modalities
from affectllm.models.qwen import frame_step_s
from affectllm.models.tokens import metadata
from affectllm.records import Conversation
from affectllm.training.shared import group_rows

if TYPE_CHECKING:
    from peft import PeftModel
    from trl import GRPOConfig

    from affectllm.models.store import MediaStore
    from affectllm.training.grpo import ClipGRPOTrainer

# The oldest and the newest vLLM whose own front end and adapter loader took what is sent here.
OLDEST, NEWEST = (0, 22), (0, 33)
HOW = "docs/grpo.md, 'Sampling on a vLLM server', has the command that starts it."
PREFIX = "base_model.model."
# Where the layers of our models are, and how the published checkpoint of the whole model names them: vLLM turns these
# names into its own, whatever they are in its version.
THINKER = {
    "model.language_model.": "thinker.model.",
    "model.visual.": "thinker.visual.",
    "model.audio_tower.": "thinker.audio_tower.",
    "lm_head.": "thinker.lm_head.",
}
VISION = {name: name for name in ("model.language_model.", "model.visual.", "lm_head.")}
NAMES = {
    "qwen2_5_omni_thinker": THINKER,
    "qwen3_omni_moe_thinker": THINKER,
    "qwen2_5_vl": VISION,
    "qwen3_vl": VISION,
}
# Mean difference, in nats, between the server's and the trainer's log-probabilities of the sampled tokens. bfloat16
# and other kernels make some hundredths; another adapter, clip or temperature makes more than this.
GAP = 0.25
# What vLLM tells where it knows no log-probability.
UNKNOWN = -9999.0
# Of the waves that `Backbone.read` gives.
RATE_HZ = 16000
AT_ONCE = 16
"""Prompts that are on their way at the same time; the server puts them into batches."""


def check_options(config: "GRPOConfig", quantised: bool) -> None:
    """Raise AffectError for options that a run with a server cannot follow."""
    if config.world_size > 1:
        raise AffectError(
            f"--rollout vllm-server trains on one process, and {config.world_size} were started. Give the other GPUs "
            "to the server (--tensor-parallel-size), or leave the option out."
        )
    if quantised:
        raise AffectError("--quantise trains on weights in 4 bits, which are not those a server samples from.")
    if config.generation_kwargs:
        raise AffectError(
            "trainer.generation_kwargs are options of transformers' own generation. With --rollout vllm-server, give "
            "temperature, top_p, top_k, min_p and repetition_penalty alone."
        )
    if config.loss_type == "vespo" and config.vllm_importance_sampling_mode.startswith("sequence"):
        raise AffectError(
            "trainer.loss_type vespo corrects for the server token by token. Add: "
            "--trainer.vllm_importance_sampling_mode token_truncate"
        )


class VLLMServer:
    """A running server of a version that is known; AffectError when there is none."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        # A proxy set for the way out must not stand between two machines of one cluster.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.version = self.get("/version").get("version", "none")
        found = re.match(r"(\d+)\.(\d+)", self.version)
        if not found or not OLDEST <= (int(found[1]), int(found[2])) <= NEWEST:
            raise AffectError(
                f"{self.url} runs vLLM {self.version}, and --rollout vllm-server is written for "
                f"{'.'.join(map(str, OLDEST))} to {'.'.join(map(str, NEWEST))}. {HOW}"
            )
        self.models: list[dict[str, Any]] = self.get("/v1/models")["data"]

    def get(self, path: str) -> Any:
        said = self._ask(path, None, 10.0)
        try:
            return json.loads(said)
        except ValueError as error:
            raise AffectError(f"{self.url}{path} is no vLLM server's: it answers {said[:80]!r}. {HOW}") from error

    def post(self, path: str, body: dict[str, Any], timeout_s: float = 600.0) -> str:
        return self._ask(path, json.dumps(body).encode(), timeout_s)

    def _ask(self, path: str, body: bytes | None, timeout_s: float) -> str:
        request = urllib.request.Request(self.url + path, body, {"Content-Type": "application/json"})
        try:
            with self._opener.open(request, timeout=timeout_s) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")[:500]
            raise AffectError(f"{self.url}{path} answers with {error.code}: {said} {HOW}") from error
        except (OSError, ValueError) as error:
            raise AffectError(f"No vLLM server answers at {self.url}{path}: {error}. {HOW}") from error


class VLLMRollout:
    """Completions of a trainer's prompts from a server that holds the newest adapter.

    `folder` is where adapters are written for the server, which must see it under the same path.
    """

    def __init__(self, server: VLLMServer, store: "MediaStore", folder: Path) -> None:
        self.server = server
        self.store = store
        self.folder = folder.resolve()
        self.names = names_of(store.backbone)
        check_model(server, store.backbone.name)
        self._run = uuid.uuid4().hex[:8]
        self._step = -1
        self._requests: dict[int, dict[str, Any]] = {}
        if self.folder.is_dir():
            # Of a run that was killed.
            shutil.rmtree(self.folder)

    @property
    def adapter(self) -> str:
        """The server's name of the newest adapter: one of its own for every step, so that nothing which the server
        computed with an older one is taken for it (vLLM's prefix cache goes by this name)."""
        return f"affectllm-{self._run}-{self._step}"

    def note(self, sample: Sample, conversation: Conversation) -> None:
        """Read a question's clip for the server. Raises AffectError for one that cannot be read."""
        used = used_modalities(conversation, self.store.modalities)
        backbone = self.store.backbone
        media = backbone.read(conversation.media, self.store.root, used) if used else Media(None, None, None)
        self._requests[id(sample)] = request_of(backbone, conversation, used, media)

    def forget(self) -> None:
        """Drop all questions."""
        self._requests = {}

    def upload(self, model: "PeftModel", step: int) -> None:
        """Let the server sample with the adapter as it is now."""
        if step == self._step:
            return
        old, known = self.adapter, self._step >= 0
        self._step = step
        save_adapter(model, self.folder / self.adapter, self.names)
        self.server.post(
            "/v1/load_lora_adapter", {"lora_name": self.adapter, "lora_path": str(self.folder / self.adapter)}
        )
        if known:
            self._drop(old)

    def close(self) -> None:
        """Leave the server as it was."""
        self._drop(self.adapter)
        shutil.rmtree(self.folder)

    def _drop(self, adapter: str) -> None:
        self.server.post("/v1/unload_lora_adapter", {"lora_name": adapter})
        shutil.rmtree(self.folder / adapter)

    def sample(
        self, trainer: "ClipGRPOTrainer", samples: Sequence[Sample]
    ) -> tuple[list[list[int]], list[list[float | None]]]:
        """One completion a row, as token ids, and the log-probabilities they were sampled with."""
        self.upload(trainer.accelerator.unwrap_model(trainer.model), trainer.state.global_step)
        groups = group_rows(samples)
        # From the generator that every checkpoint holds: a resumed run asks with the same seeds.
        seeds = torch.randint(2**31, (len(groups.samples),)).tolist()
        options = [
            self._requests[id(sample)]
            | sampling(trainer, self.store.backbone)
            | {"model": self.adapter, "n": len(members), "seed": seed}
            for sample, members, seed in zip(groups.samples, groups.members, seeds, strict=True)
        ]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(self._complete, options, groups.samples))
        completions: list[list[int]] = [[] for _ in samples]
        log_probs: list[list[float | None]] = [[] for _ in samples]
        for members, choices in zip(groups.members, answers, strict=True):
            for row, choice in zip(members, choices, strict=True):
                completions[row] = choice["token_ids"]
                told = [token["logprob"] for token in choice["logprobs"]["content"]]
                log_probs[row] = [None if value <= UNKNOWN else value for value in told]
        return completions, log_probs

    def _complete(self, request: dict[str, Any], sample: Sample) -> list[dict[str, Any]]:
        """The choices of one prompt, in the server's order."""
        answer = json.loads(self.server.post("/v1/chat/completions", request))
        if answer["prompt_token_ids"] != sample.prompt_ids:
            raise AffectError(
                f"The server reads a prompt as {len(answer['prompt_token_ids'])} tokens where training reads "
                f"{len(sample.prompt_ids)}, or as others: its processor is not that of {self.store.backbone.name} "
                "here, or its transformers prepares clips in another way. Train with: --rollout transformers"
            )
        return sorted(answer["choices"], key=lambda choice: choice["index"])

    def compare(self, gap: float) -> None:
        """Raise AffectError when the server's log-probabilities are, in the mean, not those of the model trained."""
        if not gap <= GAP:
            raise AffectError(
                f"The server's log-probabilities differ from the trainer's by {gap:.2f} nats a token (allowed: {GAP}), "
                "so it does not sample from the model that is trained. Its weights, --logprobs-mode "
                f"processed_logprobs and --generation-config vllm are the first things to look at. {HOW}"
            )


def names_of(backbone: Backbone) -> dict[str, str]:
    kind = backbone.core.config.model_type
    if kind not in NAMES:
        raise AffectError(
            f"{backbone.name} is of the family '{kind}', whose adapters a vLLM server takes not at all, or not from "
            f"here (it does of: {', '.join(NAMES)}). Train with: --rollout transformers"
        )
    return NAMES[kind]


def check_model(server: VLLMServer, name: str) -> None:
    """The server must serve the base model of this name or folder, by what it was started with or calls it."""
    base = [card for card in server.models if not card.get("parent")]
    served = [value for card in base for value in (card.get("root"), card["id"]) if value]
    if Path(name).expanduser().resolve() not in {Path(value).expanduser().resolve() for value in served}:
        raise AffectError(
            f"{server.url} serves {' alias '.join(dict.fromkeys(served))}, and the model that is trained is {name}. "
            f"Start it with: vllm serve {name} ..."
        )


def vllm_name(name: str, names: dict[str, str]) -> str:
    """An adapter's weight as the published checkpoint would name it.

    >>> vllm_name("base_model.model.model.language_model.layers.0.mlp.up_proj.lora_A.weight", THINKER)
    'base_model.model.thinker.model.layers.0.mlp.up_proj.lora_A.weight'
    """
    for ours, theirs in names.items():
        if name.startswith(PREFIX + ours):
            return PREFIX + theirs + name.removeprefix(PREFIX + ours)
    raise AffectError(f"The adapter has a weight {name}, which a vLLM server has no place for.")


def save_adapter(model: "PeftModel", folder: Path, names: dict[str, str]) -> None:
    """The adapter that is trained, as a folder for vLLM."""
    from peft import get_peft_model_state_dict

    weights = get_peft_model_state_dict(model, adapter_name="default", save_embedding_layers=False)
    folder.mkdir(parents=True)
    model.peft_config["default"].save_pretrained(str(folder))
    tensors = {vllm_name(name, names): weight.detach().cpu().contiguous() for name, weight in weights.items()}
    save_file(tensors, folder / "adapter_model.safetensors")


def sampling(trainer: "ClipGRPOTrainer", backbone: Backbone) -> dict[str, Any]:
    """How completions are drawn, every field told, since a server's defaults are those of the model's own files."""
    return {
        "max_completion_tokens": trainer.max_completion_length,
        "temperature": trainer.temperature,
        "top_p": trainer.top_p,
        "top_k": trainer.top_k,
        "min_p": trainer.min_p or 0.0,
        "repetition_penalty": trainer.repetition_penalty,
        # The least that the endpoint takes, and by far enough: a sampled placeholder breaks the next forward.
        "logit_bias": {str(token): -100.0 for token in backbone.media_token_ids},
        "logprobs": True,
        "top_logprobs": 0,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
    }


def request_of(backbone: Backbone, conversation: Conversation, used: Sequence[str], media: Media) -> dict[str, Any]:
    """A question and its clip as the server takes them: frames and sound are those that training reads."""
    data: dict[str, dict[str, Any]] = {}
    options: dict[str, Any] = {}
    if media.frames_THWC is not None and media.times_s is not None:
        data["video"] = {"type": "video_url", "video_url": {"url": frames_url(media.frames_THWC)}}
        options = video_options(backbone, media.times_s)
    if media.wave is not None:
        data["audio"] = {"type": "audio_url", "audio_url": {"url": wave_url(media.wave)}}
    messages = [chat_message(message, used) for message in question_of(conversation)]
    for message in messages:
        message["content"] = [data.get(part["type"], part) for part in message["content"]]
    return {"messages": messages, **options}


def video_options(backbone: Backbone, times_s: np.ndarray) -> dict[str, Any]:
    """What makes the server take the frames as they are, all of them, at their times and in the size of training."""
    size: dict[str, Any] = {"size": backbone.frame_size} if hasattr(backbone, "frame_size") else {}
    if backbone.core.config.model_type == "qwen3_vl":
        times = metadata(torch.from_numpy(times_s))
        seen = {"fps": times.fps, "frames_indices": times.frames_indices, "total_num_frames": times.total_num_frames}
    else:
        seen = {"fps": 1 / frame_step_s(times_s)}
        # Qwen-Omni's processor looks at this rate alone for the seconds of its positions.
        size |= seen
    return {
        # Of a sequence of frames the server keeps the first 32 unless told otherwise.
        "media_io_kwargs": {"video": {"num_frames": -1, "do_sample_frames": False, **seen}},
        "mm_processor_kwargs": {"do_sample_frames": False, **size},
    }


def frames_url(frames_THWC: np.ndarray) -> str:
    """Frames as vLLM's sequence of images; the type must say JPEG, the images are PNG so that no pixel changes."""
    from PIL import Image

    coded = []
    for frame in frames_THWC:
        buffer = BytesIO()
        Image.fromarray(frame).save(buffer, "PNG", compress_level=1)
        coded.append(base64.b64encode(buffer.getvalue()).decode())
    return f"data:video/jpeg;base64,{','.join(coded)}"


def wave_url(wave: np.ndarray) -> str:
    """A 16 kHz wave as a WAV file of float32 samples, so that none is rounded."""
    from scipy.io import wavfile

    buffer = BytesIO()
    wavfile.write(buffer, RATE_HZ, wave.astype(np.float32))
    return f"data:audio/wav;base64,{base64.b64encode(buffer.getvalue()).decode()}"
