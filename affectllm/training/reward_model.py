"""A reward model from preferences: how well a description fits a clip, by the likelihood of 'yes' over 'no'.

No new head is needed: the score of a description is the logit of "yes" less that of "no" after the question whether
it fits, so that any backbone is a reward model before it is trained, and an adapter is one afterwards. Trainer and loss
are TRL's (Bradley-Terry: -log sigmoid of the preferred description's score less the other's).
"""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import torch
from datasets import Dataset
from torch import Tensor
from trl import RewardTrainer

from affectllm.errors import AffectError
from affectllm.models.base.backbone import Backbone, Sample, join_media
from affectllm.models.base.generation import left_padded
from affectllm.models.store import MediaStore
from affectllm.prompts import compose, families
from affectllm.records import Conversation
from affectllm.training.dpo import OTHER

WORDS = {"en": ("yes", "no"), "zh": ("是", "否")}
BATCH = 8
"""Descriptions scored together."""


def fit_question(pair: Conversation, name: str) -> Conversation:
    """Whether description `name` (a1 or a2) of a pair fits its clip."""
    text = (pair.target.options or {}).get(name)
    if text is None:
        raise AffectError(f"Pair '{pair.id}' does not hold its descriptions. Build it again: affectllm build emoprefer")
    language = pair.language if pair.language in WORDS else "en"
    parts = [part.type for part in pair.messages[0].content if not isinstance(part, str) and part.type != "text"]
    asked = families()["fits"][language].format(text=text)
    bare = msgspec.structs.replace(pair, target=msgspec.structs.replace(pair.target, description=None, labels=[]))
    return compose(bare, "describe", "describe", seed=0, parts=parts, asked=asked)


def answer_tokens(backbone: Backbone, language: str | None) -> tuple[int, int]:
    """The tokens with which this model begins the answers 'yes' and 'no'."""
    yes, no = (backbone.answer_ids(word)[0] for word in WORDS.get(language or "en", WORDS["en"]))
    return yes, no


def question_batch(backbone: Backbone, samples: Sequence[Sample], languages: Sequence[str | None]) -> dict[str, Tensor]:
    """Prompts that end together, their media, and the two tokens whose logits are compared."""
    ids, mask = left_padded(samples, backbone.tokenizer.pad_token_id)
    tokens = torch.tensor([answer_tokens(backbone, language) for language in languages])
    return {"input_ids": ids, "attention_mask": mask, "yes_no": tokens, **join_media(samples)}


def fit_logits(model: torch.nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    """Scores (B, 1): logit of 'yes' less that of 'no' after the last prompt token."""
    yes_no = inputs["yes_no"]
    last = model(**{name: value for name, value in inputs.items() if name != "yes_no"}).logits[:, -1]
    chosen = last.gather(1, yes_no.to(last.device))
    return chosen[:, :1] - chosen[:, 1:]


class FitCollator:
    """Rows of `{"conversation": JSON}` -> questions about the preferred descriptions, then about the others."""

    def __init__(self, store: MediaStore) -> None:
        self.store = store

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        pairs = [msgspec.json.decode(row["conversation"], type=Conversation) for row in rows]
        preferred = [str(pair.target.preference) for pair in pairs]
        asked = [fit_question(pair, name) for pair, name in zip(pairs, preferred, strict=True)]
        asked += [fit_question(pair, OTHER[name]) for pair, name in zip(pairs, preferred, strict=True)]
        samples = [self.store.sample(question) for question in asked]
        return question_batch(self.store.backbone, samples, [question.language for question in asked])


class ClipRewardTrainer(RewardTrainer):
    """TRL's reward trainer over questions about clips; its model is a language model that says yes or no."""

    def __init__(self, model: Any, *args: Any, **kwargs: Any) -> None:
        # TRL wants the configuration of a sequence classifier with one output, which `fit_logits` gives.
        labels = model.config.num_labels
        model.config.num_labels = 1
        super().__init__(model, *args, **kwargs)
        model.config.num_labels = labels

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset

    def compute_loss(self, model: torch.nn.Module, inputs: dict[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        def scored(**batch: Any) -> SimpleNamespace:
            return SimpleNamespace(logits=fit_logits(model, batch))

        return super().compute_loss(scored, inputs, *args, **kwargs)


@torch.inference_mode()
def fit_scores(store: MediaStore, questions: Sequence[Conversation]) -> list[float]:
    """How well each description fits its clip, in nats; higher is better."""
    backbone, values = store.backbone, list[float]()
    for start in range(0, len(questions), BATCH):
        batch = questions[start : start + BATCH]
        samples = [store.sample(question) for question in batch]
        inputs = question_batch(backbone, samples, [question.language for question in batch])
        moved = {name: value.to(backbone.model.device) for name, value in inputs.items()}
        values += fit_logits(backbone.model, moved)[:, 0].float().tolist()
    return values
