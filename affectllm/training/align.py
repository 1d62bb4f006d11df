"""Warm-up of a composed model's fusion: media tokens learn to lie near the words that describe them.

No forward of the language model is needed, so a few hundred steps take seconds. Each step is a symmetric
contrastive loss (as CLIP's, arXiv 2103.00020 fig. 3) between pooled media tokens and the mean word embedding,
in the language model's own table, of what the annotation says: face tokens and visual clues, voice tokens and
audio clues, fused tokens and labels. Clips that say the same words count as positives of each other.
"""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from affectllm.errors import AffectError
from affectllm.models.base.backbone import Backbone, Sample, join_media
from affectllm.progress import progress
from affectllm.records import Conversation
from affectllm.training.quarantine import Quarantine

if TYPE_CHECKING:
    from affectllm.models.store import MediaStore

SHARPNESS = 15.0


def align_fusion(
    store: "MediaStore",
    conversations: Sequence[Conversation],
    steps: int,
    seed: int,
    quarantine: Quarantine,
    batch: int = 32,
) -> float:
    """Train `fusion` in place for `steps`; return the mean loss of their last tenth. Unreadable clips are left out."""
    backbone = store.backbone
    rng = random.Random(seed)
    words = WordSpace(backbone)
    fusion = backbone.core.model.fusion
    optimizer = torch.optim.AdamW(fusion.parameters(), lr=1e-3, weight_decay=0.05)
    losses: list[float] = []
    fusion.train()
    for _ in progress(range(steps), "Aligning media with words", total=steps):
        drawn = rng.sample(conversations, min(batch, len(conversations)))
        picked, samples = read_clips(store, drawn, quarantine)
        loss = alignment_loss(backbone, samples, picked, words)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    fusion.eval()
    return sum(losses[-max(1, steps // 10) :]) / max(1, len(losses[-max(1, steps // 10) :]))


def read_clips(
    store: "MediaStore", drawn: Sequence[Conversation], quarantine: Quarantine
) -> tuple[list[Conversation], list[Sample]]:
    """The conversations whose clips can be read, and their samples."""
    picked, samples = [], []
    for conversation in drawn:
        if conversation.id in quarantine.ids:
            continue
        try:
            samples.append(store.sample(conversation))
        except AffectError as error:
            quarantine.add(conversation, str(error), "training goes on without it")
            continue
        picked.append(conversation)
    if not picked:
        raise AffectError(f"None of {len(drawn)} clips drawn for the alignment can be read. Is the disk mounted?")
    return picked, samples


class WordSpace:
    """Mean word embedding of a text, centred over the vocabulary so that common directions cancel."""

    def __init__(self, backbone: Backbone) -> None:
        self.tokenizer = backbone.tokenizer
        table = backbone.core.get_input_embeddings().weight.detach().float()
        self.table = table - table.mean(0)
        self._known: dict[str, Tensor] = {}

    def __call__(self, text: str) -> Tensor:
        if text not in self._known:
            ids = self.tokenizer(" " + text, add_special_tokens=False)["input_ids"]
            self._known[text] = F.normalize(self.table[ids].mean(0), dim=0)
        return self._known[text]


def alignment_loss(
    backbone: Backbone, samples: Sequence[Sample], conversations: Sequence[Conversation], words: WordSpace
) -> Tensor:
    media = join_media(samples)
    has_face = torch.tensor(["face_features" in sample.media for sample in samples])
    has_voice = torch.tensor(["voice_features" in sample.media for sample in samples])
    face, voice, fused = backbone.core.model.fusion(
        media.get("face_features"), media.get("voice_features"), media.get("prosody"), has_face, has_voice
    )
    clues = [conversation.target.clues for conversation in conversations]
    visual = ["; ".join(clue.visual) if clue else "" for clue in clues]
    audio = ["; ".join(clue.audio) if clue else "" for clue in clues]
    labels = [", ".join(conversation.target.labels) for conversation in conversations]
    losses = [] if fused is None else [contrast(fused, pick(labels, has_face | has_voice), words)]
    if face is not None:
        losses.append(contrast(face, pick(visual, has_face), words))
    if voice is not None:
        losses.append(contrast(voice, pick(audio, has_voice), words))
    return torch.stack(losses).sum()


def pick(texts: Sequence[str], rows: Tensor) -> list[str]:
    return [text for text, kept in zip(texts, rows.tolist(), strict=True) if kept]


def contrast(tokens: Tensor, texts: Sequence[str], words: WordSpace) -> Tensor:
    """Symmetric contrastive loss of (N, T, D) tokens against their texts; clips without a text are left out."""
    said = [i for i, text in enumerate(texts) if text]
    if len(said) < 2:
        return tokens.sum() * 0.0
    media = F.normalize(tokens[said].float().mean(1), dim=1)
    target = torch.stack([words(texts[i]) for i in said]).to(media.device)
    same = torch.tensor([[texts[i] == texts[j] for j in said] for i in said], device=media.device).float()
    logits = SHARPNESS * media @ target.T
    share = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, share) + F.cross_entropy(logits.T, share)) / 2
