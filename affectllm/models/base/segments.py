"""Attention of encoders over many short stretches at once: windows of a picture, seconds of a wave.

transformers calls its kernels once for each stretch, where flash-attn is not installed: a batch of clips has thousands
of windows in each layer, and launching takes longer than computing. Here all stretches of one length are one call, with
the same numbers except for rounding.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

# Models pass all stretches at once only to what they take for a flash kernel, by its name.
NAME = "affectllm_flash_segments"


class Plan:
    """Where the tokens of each length of stretch are. It is kept for later layers, which have the same ones."""

    lengths: tuple[int, ...] = ()
    device: torch.device | None = None
    places: list[tuple[int, Tensor | None]]

    def of(self, lengths: tuple[int, ...], device: torch.device) -> list[tuple[int, Tensor | None]]:
        """(length, places of the tokens of all stretches of it), in the order of the stretches; no places for all."""
        if (lengths, device) != (self.lengths, self.device):
            self.places = [(length, found.to(device)) for length, found in places_of(lengths)]
            if len(self.places) == 1:
                self.places = [(self.places[0][0], None)]
            self.lengths, self.device = lengths, device
        return self.places


PLAN = Plan()


def places_of(lengths: Sequence[int]) -> list[tuple[int, Tensor]]:
    """
    >>> [(length, places.tolist()) for length, places in places_of([2, 1, 2])]
    [(2, [0, 1, 3, 4]), (1, [2])]
    """
    of_token = torch.repeat_interleave(torch.tensor(lengths), torch.tensor(lengths))
    return [(length, (of_token == length).nonzero()[:, 0]) for length in dict.fromkeys(lengths) if length]


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    cu_seq_lens_q: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention (1, tokens, heads, width) of (1, heads, tokens, width) within stretches that `cu_seq_lens_q` bounds."""
    assert cu_seq_lens_q is not None
    bounds = cu_seq_lens_q.tolist()
    lengths = tuple(end - start for start, end in pairwise(bounds))
    parts, order = [], []
    for length, places in PLAN.of(lengths, query.device):
        q, k, v = (
            stretches(tensor if places is None else tensor.index_select(2, places), length)
            for tensor in (query, key, value)
        )
        found = nn.functional.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scaling)
        # (stretches, heads, length, width) to (tokens, heads, width)
        parts.append(found.transpose(1, 2).flatten(0, 1))
        order.append(places)
    if order[0] is None:
        return parts[0][None], None
    joined = torch.empty_like(query[0].transpose(0, 1), memory_format=torch.contiguous_format)
    joined = joined.index_copy(0, torch.cat([places for places in order if places is not None]), torch.cat(parts))
    return joined[None], None


def stretches(tensor: Tensor, length: int) -> Tensor:
    """(1, heads, tokens, width) as (stretches, heads, length, width)."""
    heads, _, width = tensor.shape[1:]
    return tensor[0].reshape(heads, -1, length, width).transpose(0, 1)


ALL_ATTENTION_FUNCTIONS.register(NAME, attend)


def use(towers: Sequence[nn.Module]) -> None:
    """Make these encoders use this attention, if they would call a kernel for each stretch."""
    for tower in towers:
        config: Any = tower.config
        if config._attn_implementation == "sdpa":
            config._attn_implementation = NAME
