"""GRPO's completions sampled by a vLLM server, in an environment of its own, on the prompts that are trained on.

The server is the one that `vllm serve` starts, asked through its OpenAI-compatible endpoints. TRL's own client does not
serve here: it needs vLLM in the trainer's environment, whose torch and transformers are pinned to others than ours, and
it carries images only. Only the adapter of the model is sent. It is written into the run's folder after every step,
with names as the published checkpoint has them, and the server loads it.

Three things are checked. The server's version and model are checked before anything is trained. The ids of every
prompt, media placeholders included, are compared with those that training reads. The server's log-probabilities are
compared with the trainer's: vLLM silently ignores an adapter whose names fit no layer.
"""

import json
import shutil
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from affectllm.errors import AffectError
from affectllm.models.base.backbone import Backbone, Media, Sample, used_modalities
from affectllm.models.store import MediaStore
from affectllm.records import Conversation
from affectllm.training.grpo.batch import group_rows
from affectllm.training.grpo.vllm_request import request_of, sampling
from affectllm.training.grpo.vllm_server import HOW, VLLMServer, check_model

if TYPE_CHECKING:
    from peft import PeftModel
    from trl import GRPOConfig

PREFIX = "base_model.model."
# Mean difference, in nats, between the server's and the trainer's log-probabilities of the sampled tokens. bfloat16
# and other kernels differ by some hundredths; another adapter, clip or temperature differs by more than this.
GAP = 0.25
# vLLM's value for a log-probability that it does not know.
UNKNOWN = -9999.0
AT_ONCE = 16
"""Number of prompts that are sent at the same time; the server puts them into batches."""


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


def connect(url: str, config: "GRPOConfig", quantised: bool) -> VLLMServer:
    """The server at this address. Raises AffectError when it is none that this run can use."""
    check_options(config, quantised)
    return VLLMServer(url)


class VLLMSampler:
    """Completions of prompts from a server that holds the newest adapter.

    `folder` is where adapters are written for the server, which must see it under the same path.
    """

    def __init__(self, server: VLLMServer, store: MediaStore, folder: Path, config: "GRPOConfig") -> None:
        self.server = server
        self.store = store
        self.folder = folder.resolve()
        self.names = names_of(store.backbone)
        check_model(server, store.backbone.name)
        self._sampling = sampling(config, store.backbone)
        self._run = uuid.uuid4().hex[:8]
        self._step = -1
        self._requests: dict[int, dict[str, Any]] = {}
        if self.folder.is_dir():
            # An adapter of a run that was killed may be there.
            shutil.rmtree(self.folder)

    @property
    def adapter(self) -> str:
        """The server's name of the newest adapter. Every step has its own name, so that the server does not reuse what
        it computed with an older adapter (vLLM's prefix cache goes by this name)."""
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
        """Remove the adapter, so that the server is as it was before."""
        self._drop(self.adapter)
        shutil.rmtree(self.folder)

    def _drop(self, adapter: str) -> None:
        self.server.post("/v1/unload_lora_adapter", {"lora_name": adapter})
        shutil.rmtree(self.folder / adapter)

    def sample(self, samples: Sequence[Sample]) -> tuple[list[list[int]], list[list[float | None]]]:
        """One completion a row, as token ids, and the log-probabilities they were sampled with."""
        groups = group_rows(samples)
        # The seeds come from the generator that every checkpoint holds: a resumed run asks with the same ones.
        seeds = torch.randint(2**31, (len(groups.samples),)).tolist()
        options = [
            self._requests[id(sample)] | self._sampling | {"model": self.adapter, "n": len(members), "seed": seed}
            for sample, members, seed in zip(groups.samples, groups.members, seeds, strict=True)
        ]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(self._complete, options, groups.samples))
        completions: list[list[int]] = [[] for _ in samples]
        log_probs: list[list[float | None]] = [[] for _ in samples]
        for members, choices in zip(groups.members, answers, strict=True):
            for row, choice in zip(members, choices, strict=True):
                completions[row] = choice["token_ids"]
                values = [token["logprob"] for token in choice["logprobs"]["content"]]
                log_probs[row] = [None if value <= UNKNOWN else value for value in values]
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
        """Raise AffectError if the server's log-probabilities are, in the mean, not those of the trained model."""
        if not gap <= GAP:
            raise AffectError(
                f"The server's log-probabilities differ from the trainer's by {gap:.2f} nats a token (allowed: {GAP}), "
                "so it does not sample from the model that is trained. Its weights, --logprobs-mode "
                f"processed_logprobs and --generation-config vllm are the first things to look at. {HOW}"
            )


def names_of(backbone: Backbone) -> dict[str, str]:
    if not backbone.vllm_names:
        raise AffectError(
            f"{backbone.name} is of the family '{backbone.core.config.model_type}', whose adapters a vLLM server "
            "does not take, or not from here. Train with: --rollout transformers"
        )
    return backbone.vllm_names


def vllm_name(name: str, names: dict[str, str]) -> str:
    """An adapter's weight as the published checkpoint would name it.

    >>> names = {"model.language_model.": "thinker.model."}
    >>> vllm_name("base_model.model.model.language_model.layers.0.mlp.up_proj.lora_A.weight", names)
    'base_model.model.thinker.model.layers.0.mlp.up_proj.lora_A.weight'
    """
    for ours, theirs in names.items():
        if name.startswith(PREFIX + ours):
            return PREFIX + theirs + name.removeprefix(PREFIX + ours)
    raise AffectError(f"The adapter has a weight {name}, which a vLLM server has no place for.")


def save_adapter(model: "PeftModel", folder: Path, names: dict[str, str]) -> None:
    """The trained adapter, as a folder for vLLM."""
    from peft import get_peft_model_state_dict

    weights = get_peft_model_state_dict(model, adapter_name="default", save_embedding_layers=False)
    folder.mkdir(parents=True)
    model.peft_config["default"].save_pretrained(str(folder))
    tensors = {vllm_name(name, names): weight.detach().cpu().contiguous() for name, weight in weights.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
