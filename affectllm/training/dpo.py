"""TRL's DPOTrainer over pairs of answers to a question about a clip.

TRL's own preparation knows text and images. It is skipped: a collator gives clip and answers to the forward, which
passes on every key that it gets.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from datasets import Dataset
from torch import Tensor
from trl import DPOTrainer

from affectllm.errors import AffectError
from affectllm.models.base.backbone import join_media
from affectllm.models.store import MediaStore
from affectllm.records import Conversation
from affectllm.training.collator import pad
from affectllm.training.spread import reference_left_out

SWAP = "_swap"
OTHER = {"a1": "a2", "a2": "a1"}


class ClipDPOTrainer(DPOTrainer):
    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset

    def _save(self, *args: Any, **kwargs: Any) -> None:
        with reference_left_out(self):
            super()._save(*args, **kwargs)


class PairCollator:
    """Rows of `{"conversation": JSON}` -> the preferred answers to all questions, then the others, with the clips."""

    def __init__(self, store: MediaStore, max_tokens: int) -> None:
        self.store = store
        self.max_tokens = max_tokens

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        conversations = [msgspec.json.decode(row["conversation"], type=Conversation) for row in rows]
        samples = [self.store.sample(conversation) for conversation in conversations]
        answers = [str(conversation.target.preference) for conversation in conversations]
        answer_ids = [self.store.backbone.answer_ids(text) for text in (*answers, *(OTHER[text] for text in answers))]
        prompts = [sample.prompt_ids for sample in (*samples, *samples)]
        ids = [[*prompt, *answer] for prompt, answer in zip(prompts, answer_ids, strict=True)]
        for conversation, row in zip(conversations, ids, strict=False):
            if len(row) > self.max_tokens:
                raise AffectError(
                    f"Conversation '{conversation.id}' takes {len(row)} tokens, more than --max-tokens "
                    f"{self.max_tokens}. Raise --max-tokens, or use fewer frames."
                )
        said = [[0] * len(prompt) + [1] * len(answer) for prompt, answer in zip(prompts, answer_ids, strict=True)]
        return {
            "input_ids": pad(ids, self.store.backbone.tokenizer.pad_token_id),
            "attention_mask": pad([[1] * len(row) for row in ids], 0),
            "completion_mask": pad(said, 0),
            **join_media([*samples, *samples]),
        }


def decided_pairs(conversations: Sequence[Conversation]) -> list[Conversation]:
    """The pairs with a preferred description, each in both orders.

    Undecided pairs are left out. A judge that is trained on one order learns the order, so this raises AffectError,
    which names the first pair whose mirror image is missing.
    """
    asked = [conversation for conversation in conversations if conversation.task == "preference"]
    found = {conversation.id: conversation for conversation in asked if conversation.target.preference in OTHER}
    if not found:
        raise AffectError("No conversation has a preferred description. Build them with: affectllm build emoprefer")
    for name in found:
        mirror = name.removesuffix(SWAP) if name.endswith(SWAP) else name + SWAP
        if mirror not in found:
            raise AffectError(
                f"Pair '{name}' is there in one order only, so a judge could learn the order. Build with: affectllm "
                "build emoprefer --swap"
            )
    return list(found.values())
