"""From conversations to a training batch whose media really reach the model."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from affectllm.errors import AffectError
from affectllm.models.backbone import join_media
from affectllm.records import Conversation
from affectllm.training.store import MediaStore

IGNORED = -100


class ConversationCollator:
    """Rows of `{"conversation": JSON}` -> model inputs with labels on the assistant's turn only.

    The JSON string, rather than nested columns, keeps Arrow from filling missing keys with None, which
    processors take for media.
    """

    def __init__(self, store: MediaStore, max_tokens: int = 4096) -> None:
        self.store = store
        self.max_tokens = max_tokens

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        conversations = [Conversation.model_validate_json(row["conversation"]) for row in rows]
        samples = [self.store.sample(conversation) for conversation in conversations]
        answers = [self.store.backbone.answer_ids(answer_of(conversation)) for conversation in conversations]
        ids = [[*sample.prompt_ids, *answer] for sample, answer in zip(samples, answers, strict=True)]
        labels = [[IGNORED] * len(s.prompt_ids) + answer for s, answer in zip(samples, answers, strict=True)]
        for conversation, row in zip(conversations, ids, strict=True):
            if len(row) > self.max_tokens:
                # Cutting would drop media tokens or the answer's end; both train the wrong thing.
                raise AffectError(
                    f"Conversation '{conversation.id}' takes {len(row)} tokens, more than --max-tokens "
                    f"{self.max_tokens}. Raise --max-tokens, or use fewer frames."
                )
        pad_id = self.store.backbone.tokenizer.pad_token_id
        return {
            "input_ids": pad(ids, pad_id),
            "attention_mask": pad([[1] * len(row) for row in ids], 0),
            "labels": pad(labels, IGNORED),
            **join_media(samples),
        }


def answer_of(conversation: Conversation) -> str:
    """The text of the conversation's last assistant turn."""
    answers = [message.content for message in conversation.messages if message.role == "assistant"]
    if not answers:
        raise AffectError(f"Conversation '{conversation.id}' has no assistant turn to learn from.")
    content = answers[-1]
    return content if isinstance(content, str) else "".join(part.text or "" for part in content)


def pad(rows: Iterable[Sequence[int]], value: int) -> Tensor:
    """Rows of ids as one (B, L) tensor, filled up at the end."""
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)
