"""Turns conversations into training batches whose media really reach the model."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import torch
from torch import Tensor

from affectllm.answers import THINK_END
from affectllm.errors import AffectError
from affectllm.models.base.backbone import Sample, join_media
from affectllm.models.store import MediaStore, TrainingSample
from affectllm.records import Conversation
from affectllm.training.quarantine import Quarantine

IGNORED = -100
ROW, WEIGHTS = "row", "loss_weights"
"""What a batch holds in addition to the model's inputs: `ClipSFTTrainer` takes them out."""


class Weights(NamedTuple):
    """How much each token of an answer counts in the loss."""

    think: float = 1.0
    """Up to </think>."""
    answer: float = 1.0


EQUAL = Weights()


class ConversationCollator:
    """Rows of `{"conversation": JSON}` -> model inputs with labels on every assistant turn, and on nothing else.

    The JSON string, rather than nested columns, keeps Arrow from filling missing keys with None, which
    processors take for media. Rows that carry their `row` number keep it. With weights other than 1 the batch has a
    weight for each label.

    With a `quarantine`, a row whose clip cannot be read is left out of its batch and written down. A batch that would
    be empty takes the next row of the data (`spare`) that can be read. Without a quarantine it is an error.
    """

    def __init__(
        self,
        store: MediaStore,
        max_tokens: int = 4096,
        weights: Weights = EQUAL,
        quarantine: Quarantine | None = None,
        spare: Any = (),
    ) -> None:
        self.store = store
        self.max_tokens = max_tokens
        self.weights = weights
        self.quarantine = quarantine
        self.spare = spare

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        backbone = self.store.backbone
        found = self.read_rows(rows)
        rows, written = [row for row, _ in found], [it for _, it in found]
        batch = {
            "input_ids": pad([row.ids for row in written], backbone.tokenizer.pad_token_id),
            "attention_mask": pad([[1] * len(row.ids) for row in written], 0),
            "labels": pad([row.labels for row in written], IGNORED),
            **join_media([Sample(row.ids, row.media) for row in written]),
        }
        if self.weights != EQUAL:
            batch[WEIGHTS] = pad([row.weights for row in written], 0.0)
        if ROW in rows[0]:
            batch[ROW] = torch.tensor([row[ROW] for row in rows])
        return batch

    def read_rows(self, rows: Sequence[dict[str, Any]]) -> "list[tuple[dict[str, Any], Written]]":
        """The rows that can be read, each with its sample. There is always at least one."""
        found = [(row, written) for row in rows if (written := self.attempt(row)) is not None]
        if found:
            return found
        for number in range(1, len(self.spare)):
            row = self.spare[(rows[0][ROW] + number) % len(self.spare)]
            if (written := self.attempt(row)) is not None:
                return [(row, written)]
        raise AffectError(f"None of {len(self.spare)} clips can be read any more. Check that the disk is mounted.")

    def attempt(self, row: dict[str, Any]) -> "Written | None":
        """The row, or None if its clip is in quarantine or is put there now."""
        conversation = msgspec.json.decode(row["conversation"], type=Conversation)
        if not any(message.role == "assistant" for message in conversation.messages):
            raise AffectError(f"Conversation '{conversation.id}' has no assistant turn to learn from.")
        if self.quarantine is None:
            return self.write(conversation, self.store.training_sample(conversation))
        if conversation.id in self.quarantine.ids:
            return None
        try:
            sample = self.store.training_sample(conversation)
        except AffectError as error:
            self.quarantine.add(conversation, str(error), "its batches go on without it")
            return None
        return self.write(conversation, sample)

    def write(self, conversation: Conversation, sample: TrainingSample) -> "Written":
        """One conversation as ids, labels and weights, with its media as a forward takes them."""
        pieces, media = sample
        ids, labels, weights = list[int](), list[int](), list[float]()
        for piece in pieces:
            ids += piece.ids
            asked = piece.answer is None
            labels += [IGNORED] * len(piece.ids) if asked else piece.ids
            weights += [0.0] * len(piece.ids) if piece.answer is None else self.weigh(piece.answer, len(piece.ids))
        if len(ids) > self.max_tokens:
            raise AffectError(self.too_long(conversation, ids))
        return Written(ids, labels, weights, media)

    def weigh(self, answer: str, tokens: int) -> list[float]:
        """A weight for each token of an answer. A token across the end of </think> belongs to the reasoning."""
        end = answer.find(THINK_END)
        thought = 0
        if end >= 0 and self.weights.think != self.weights.answer:
            spans = self.store.backbone.tokenizer(answer, add_special_tokens=False, return_offsets_mapping=True)
            thought = sum(start < end + len(THINK_END) for start, _ in spans["offset_mapping"])
        return [self.weights.think] * thought + [self.weights.answer] * (tokens - thought)

    def too_long(self, conversation: Conversation, ids: Sequence[int]) -> str:
        # Cutting would drop media tokens or the end of the answer, and the model would learn the wrong thing.
        backbone = self.store.backbone
        counts = {name: ids.count(token) for name, token in backbone.placeholders.items()}
        media = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none of media"
        clip = conversation.media.video or conversation.media.audio
        return (
            f"Conversation '{conversation.id}' (clip {clip}) takes {len(ids)} tokens ({media}), more than --max-tokens "
            f"{self.max_tokens}. Raise --max-tokens to {len(ids)}, or show less of the clip: fewer --frames or "
            "--max-pixels, or cut it with start_s and end_s."
        )


class Written(NamedTuple):
    ids: list[int]
    labels: list[int]
    weights: list[float]
    media: dict[str, Tensor]


def answer_of(conversation: Conversation) -> str:
    """The text of the conversation's last assistant turn."""
    answers = [message.content for message in conversation.messages if message.role == "assistant"]
    if not answers:
        raise AffectError(f"Conversation '{conversation.id}' has no assistant turn to learn from.")
    content = answers[-1]
    return content if isinstance(content, str) else "".join(part.text or "" for part in content)


def pad(rows: Iterable[Sequence[float]], value: float) -> Tensor:
    """Rows as one (B, L) tensor, filled up at the end."""
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)
