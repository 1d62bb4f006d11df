"""The prompt of a group is read once: one prefill for generation, one packed row for log-probabilities.

GRPO compares the G completions of one prompt. Row by row, a prompt of P tokens and its clip are read G times over.
Here the completions follow their prompt in one row,

    prompt without its last token | last token, completion 1 | last token, completion 2 | ...

and a block mask lets each completion see the prompt and itself only. The prompt's last token begins every block, since
it predicts each completion's first token; only G - 1 copies of one token are computed twice. Position ids are those of
the row on its own, so that log-probabilities and gradients are equal to those of the row path except for rounding.
Prior art for text: PrefixGrouper (arXiv 2506.05433).

Shapes: R rows (completions), U unique prompts, P prompt tokens, C completion tokens, L tokens of a packed row.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from affectllm.models.base import seam
from affectllm.models.base.backbone import Backbone, Sample, join_media
from affectllm.training.grpo.batch import Groups, group_rows

IGNORED = -100


def obstacle(backbone: Backbone) -> str | None:
    """Why this model cannot share prompts, or None if it can."""
    text = backbone.core.config.get_text_config()
    attention = text._attn_implementation
    if attention not in ("sdpa", "eager"):
        return f"{attention} takes no mask of blocks (sdpa and eager do)"
    kinds = set(getattr(text, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"} or getattr(text, "sliding_window", None):
        return f"its layers are not all of full attention ({', '.join(sorted(kinds))})"
    if getattr(text, "use_bidirectional_attention", None):
        return "its media tokens see what follows them"
    return None


class Packed(NamedTuple):
    """Groups as rows of one forward, every tensor on the CPU."""

    input_ids: Tensor
    """(U, L)"""
    position_ids: Tensor
    """(U, L) or (axes, U, L)"""
    sees: Tensor
    """(U, 1, L, L), true where a token (third axis) attends to another (fourth)."""
    labels: Tensor
    """(U, L): the token that each position predicts, -100 where none counts."""
    places: Tensor
    """(R, C): where in the flattened (U x L) each completion token is predicted; 0 for padding."""


def pack(groups: Groups, positions: Sequence[Tensor], completions: Tensor, valid: Tensor, pad_id: int) -> Packed:
    """Lay the rows of each group after their prompt.

    `positions` holds the position ids of each unique prompt, (P,) or (axes, P); `completions` (R, C) are padded at
    the end and `valid` (R, C) is 1 on their tokens.
    """
    lengths = valid.sum(1).tolist()
    rows = [pack_group(groups, u, positions[u], completions, lengths) for u in range(len(groups.samples))]
    longest = max(len(row.ids) for row in rows)
    places = torch.zeros_like(completions)
    for u, row in enumerate(rows):
        for member, start in zip(groups.members[u], row.starts, strict=True):
            places[member, : lengths[member]] = u * longest + start + torch.arange(lengths[member])
    # Padding is a block of its own after all others. It sees itself, since a softmax over nothing is not a number.
    blocks = stack([row.blocks for row in rows], longest, -1)
    reached = (blocks[:, None, :] == 0) | (blocks[:, None, :] == blocks[:, :, None])
    sees = reached & torch.ones(longest, longest, dtype=torch.bool).tril()
    return Packed(
        stack([row.ids for row in rows], longest, pad_id),
        stack([row.positions for row in rows], longest, 0),
        sees[:, None],
        stack([row.labels for row in rows], longest, IGNORED),
        places,
    )


class PackedRow(NamedTuple):
    ids: Tensor
    positions: Tensor
    blocks: Tensor
    """0 for the prompt, then 1, 2 ... for its completions."""
    labels: Tensor
    starts: list[int]
    """Where each completion begins."""


def pack_group(groups: Groups, u: int, positions: Tensor, completions: Tensor, lengths: list[int]) -> PackedRow:
    prompt = torch.tensor(groups.samples[u].prompt_ids)
    head = len(prompt) - 1
    ids, places, blocks = [prompt[:-1]], [positions[..., :-1]], [torch.zeros(head, dtype=torch.long)]
    labels, starts, length = [torch.full((head,), IGNORED)], [], head
    for number, member in enumerate(groups.members[u], 1):
        completion = completions[member, : lengths[member]]
        # A completion that is masked out as a whole has no tokens and no block.
        starts.append(length)
        length += len(completion)
        ids.append(torch.cat([prompt[-1:], completion])[: len(completion)])
        places.append(positions[..., -1:] + torch.arange(len(completion)))
        blocks.append(torch.full((len(completion),), number))
        labels.append(completion)
    return PackedRow(torch.cat(ids), torch.cat(places, -1), torch.cat(blocks), torch.cat(labels), starts)


def stack(rows: Sequence[Tensor], length: int, value: int) -> Tensor:
    """Rows (..., n) filled up at the end to `length`, as (..., U, length)."""
    return torch.stack([torch.nn.functional.pad(row, (0, length - row.shape[-1]), value=value) for row in rows], -2)


def padded_left(rows: Sequence[Tensor], length: int) -> Tensor:
    """Rows (..., n) filled up in front with zeros to `length`, as (..., U, length)."""
    return torch.stack([torch.nn.functional.pad(row, (length - row.shape[-1], 0)) for row in rows], -2)


def attention_mask(sees: Tensor, backbone: Backbone) -> Tensor:
    """The mask as the model's attention wants it: booleans, or what is added to the scores."""
    if backbone.core.config.get_text_config()._attn_implementation == "sdpa":
        return sees
    dtype = backbone.core.dtype
    return torch.zeros(sees.shape, dtype=dtype, device=sees.device).masked_fill(~sees, torch.finfo(dtype).min)


class SharedForward:
    """Forwards over groups. What is known about a prompt (encoded media, positions) is kept until `forget`."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        # The key is the sample's id. The sample is kept with its results, so that no other object can get its id.
        self._known: dict[int, tuple[Sample, Sample, Tensor]] = {}

    def forget(self, kept: Sequence[Sample]) -> None:
        """Drop all prompts except those of `kept`."""
        ids = {id(sample) for sample in kept}
        self._known = {key: value for key, value in self._known.items() if key in ids}

    def encoded(self, sample: Sample) -> Sample:
        """The sample with its media as a forward takes them; each clip is encoded once where encoders are frozen."""
        return self._look_up(sample)[1]

    def positions(self, sample: Sample) -> Tensor:
        """Position ids of the prompt on its own, (P,) or (axes, P), on the CPU."""
        return self._look_up(sample)[2]

    def _look_up(self, sample: Sample) -> tuple[Sample, Sample, Tensor]:
        if id(sample) not in self._known:
            ids = torch.tensor([sample.prompt_ids], device=self.backbone.core.device)
            raw = {name: tensor.to(ids.device) for name, tensor in sample.media.items()}
            positions = self.backbone.positions(ids, torch.ones_like(ids), raw)[..., 0, :].cpu()
            encoded = Sample(sample.prompt_ids, self.backbone.encode(sample.media))
            self._known[id(sample)] = (sample, encoded, positions)
        return self._known[id(sample)]

    def media(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        joined = join_media([self.encoded(sample) for sample in samples])
        return {name: tensor.to(self.backbone.core.device) for name, tensor in joined.items()}

    def score(
        self, model: torch.nn.Module, samples: Sequence[Sample], completions: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Log-probabilities and entropies (R, C) of the completions, zero on padding; gradients flow as usual.

        `samples` holds one sample a row, the same object for rows of one prompt; `valid` (R, C) is 1 on tokens.
        """
        groups = group_rows(samples)
        positions = [self.positions(sample) for sample in groups.samples]
        packed = pack(groups, positions, completions.cpu(), valid.cpu(), self.backbone.tokenizer.pad_token_id)
        device = completions.device
        output = model(
            input_ids=packed.input_ids.to(device),
            attention_mask=attention_mask(packed.sees.to(device), self.backbone),
            position_ids=packed.position_ids.to(device),
            shift_labels=packed.labels.to(device),
            fused_lm_head=True,
            **self.media(groups.samples),
        )
        places, kept = packed.places.to(device), valid.bool()
        log_probs, entropies = (
            None if values is None else torch.where(kept, values.flatten()[places], 0.0)
            for values in (output.log_probs, output.entropy)
        )
        assert log_probs is not None
        return log_probs, entropies

    @contextmanager
    def one_prefill_a_prompt(self, samples: Sequence[Sample]) -> Iterator[None]:
        """Inside it, the model's `generate` over these rows reads each prompt once and copies its keys and values."""
        core = self.backbone.core
        stock = core.generate
        groups = group_rows(samples)

        def generate(input_ids: Tensor, attention_mask: Tensor, **options: Any) -> Any:
            first = torch.tensor([members[0] for members in groups.members], device=input_ids.device)
            of_row = torch.tensor(groups.of_row, device=input_ids.device)
            ids, mask = input_ids[first], attention_mask[first]
            positions = padded_left([self.positions(sample) for sample in groups.samples], ids.shape[1]).to(ids.device)
            # The last token is left to `generate`, which begins by reading it for every row. The body alone is
            # called, since nobody needs the prompt's logits.
            read = core.base_model(
                input_ids=ids[:, :-1],
                attention_mask=mask[:, :-1],
                position_ids=positions[..., :-1],
                use_cache=True,
                **self.media(groups.samples),
            )
            cache = getattr(read, seam.CACHE)
            cache.batch_select_indices(of_row)
            return stock(
                input_ids=input_ids,
                attention_mask=attention_mask,
                position_ids=positions.index_select(-2, of_row),
                **{seam.CACHE: cache},
                **options,
            )

        core.generate = generate
        try:
            yield
        finally:
            del core.generate
