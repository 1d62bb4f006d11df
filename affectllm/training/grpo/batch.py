"""The rows of a batch: their order, which rows share a prompt, and how rows are exchanged and joined."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from trl.trainer.utils import RepeatSampler

from affectllm.models.base.backbone import Sample


class EpochSampler(RepeatSampler):
    """TRL's sampler with an order that depends on seed and epoch only.

    TRL draws each epoch's order from one running generator, which a resumed run starts anew: it would repeat the
    first epoch's order.
    """

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate at the start of every epoch, resumed or not."""
        if self.shuffle:
            self.generator.manual_seed((self.seed or 0) + epoch)


class Groups(NamedTuple):
    """Which rows have the same prompt."""

    samples: list[Sample]
    """One per unique prompt (U), in order of appearance."""
    members: list[list[int]]
    """The rows of each prompt."""
    of_row: list[int]
    """Index of each row's prompt (R)."""


def group_rows(samples: Sequence[Sample]) -> Groups:
    """Rows that hold the very same sample object belong together."""
    index: dict[int, int] = {}
    groups = Groups([], [], [])
    for row, sample in enumerate(samples):
        if id(sample) not in index:
            index[id(sample)] = len(index)
            groups.samples.append(sample)
            groups.members.append([])
        groups.members[index[id(sample)]].append(row)
        groups.of_row.append(index[id(sample)])
    return groups


def put_rows(into: Tensor, rows: slice, new: Tensor, left: bool, pad: int) -> Tensor:
    """`into` with these rows replaced. The narrower one is padded to the width of the other, in front or at the end."""
    if into.ndim == 2:
        width = max(into.shape[1], new.shape[1])
        into, new = (
            torch.nn.functional.pad(t, (width - t.shape[1], 0) if left else (0, width - t.shape[1]), value=pad)
            for t in (into, new)
        )
    into = into.clone()
    into[rows] = new
    return into


def regroup(batches: Sequence[dict[str, Any]], samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """The same rows in as many micro-batches, the completions of one prompt together.

    TRL shuffles rows before it splits them, which would spread each prompt over all micro-batches; groups keep the
    order in which the shuffle first meets them.
    """
    order = torch.cat([batch["media_row"] for batch in batches]).tolist()
    of_row = group_rows(samples).of_row
    turn: dict[int, int] = {}
    for row in order:
        turn.setdefault(of_row[row], len(turn))
    places = torch.tensor(sorted(range(len(order)), key=lambda place: turn[of_row[order[place]]]))
    size = len(order) // len(batches)
    return [
        {
            key: value
            if value is None or value.ndim == 0
            else torch.cat([batch[key] for batch in batches])[places[i * size : (i + 1) * size].to(value.device)]
            for key, value in batches[0].items()
        }
        for i in range(len(batches))
    ]
