"""Log-probabilities row by row: every completion is a row that reads its own clip and its own prompt."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from affectllm.models.base.backbone import Sample, join_media


class Scores(NamedTuple):
    """What a forward gives for completions."""

    log_probs: Tensor
    """(rows, tokens)"""
    entropies: Tensor | None
    """(rows, tokens)"""
    auxiliary: Tensor | None
    """The router's loss, for models with experts."""


def score_rows(
    model: nn.Module, samples: Sequence[Sample], ids: Tensor, mask: Tensor, keep: int, router: bool = False
) -> Scores:
    """Scores of the last `keep` tokens of each row. With `router`, the router's loss too."""
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :-keep] = -100
    media = {name: tensor.to(ids.device) for name, tensor in join_media(samples).items()}
    asked = {"output_router_logits": True} if router else {}
    output = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True, **media, **asked)
    entropies = None if output.entropy is None else output.entropy[:, -keep:]
    return Scores(output.log_probs[:, -keep:], entropies, output.aux_loss)


def score_alone(
    model: nn.Module, samples: Sequence[Sample], ids: Tensor, mask: Tensor, keep: int, pad: int = 0
) -> Tensor:
    """Log-probabilities (rows, keep) of each row on its own, with `pad` positions of padding in front of it."""
    found = torch.zeros(len(ids), keep, device=ids.device)
    for row, sample in enumerate(samples):
        said = int(mask[row, -keep:].sum())
        if said:
            alone = nn.functional.pad(ids[row][mask[row].bool()], (pad, 0))[None]
            seen = torch.ones_like(alone)
            seen[:, :pad] = 0
            found[row, :said] = score_rows(model, [sample], alone, seen, said)[0][0]
    return found
