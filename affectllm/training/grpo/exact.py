"""Checks that sharing prompts is exact: the first completions are scored both ways, in float32 in every precision.

In half precision rounding hides the effect of a wrong mask. Weights therefore stay as they are, and every operation of
the check reads them in float32, one at a time: this takes the memory of one more weight. The result of the shared way
is compared with each completion alone, with its own clip and prompt, without padding and without neighbours; this also
shows rows that were exchanged. Both ways start from the clip itself, not from what is kept of it.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from affectllm.errors import AffectError
from affectllm.models.base.backbone import Backbone, Sample
from affectllm.models.store import MediaStore
from affectllm.records import Conversation
from affectllm.training.grpo.batch import group_rows
from affectllm.training.grpo.float32 import in_float32
from affectllm.training.grpo.rows import score_alone, score_rows
from affectllm.training.grpo.shared import SharedForward

if TYPE_CHECKING:
    from accelerate import Accelerator

EXACT = 1e-4
"""Largest difference of a log-probability that always counts as rounding, in float32."""
ROUNDING = 4.0
"""Difference that also counts as rounding in very deep models, as a multiple of the one that padding makes to a row."""
BLURRED = 1e-2
"""A model that differs from itself by this much cannot be checked."""
KEPT, KEPT_HALF = 1e-3, 0.05
"""Largest relative difference between kept media and newly made media, in float32 and in half precision."""


class ExactCheck:
    """Scores the first batch with completions both ways, and stops the run where they differ by more than rounding."""

    def __init__(self, store: MediaStore, accelerator: "Accelerator", spread: bool) -> None:
        self.store = store
        self.accelerator = accelerator
        self.spread = spread
        self.done = False
        self._asked: dict[int, tuple[Sample, Conversation]] = {}

    def note(self, sample: Sample, conversation: Conversation) -> None:
        """Remember the conversation of a sample until the check is done."""
        if not self.done:
            self._asked[id(sample)] = (sample, conversation)

    def check(self, model: nn.Module, samples: Sequence[Sample], ids: Tensor, mask: Tensor, keep: int) -> None:
        """Check these rows, unless the check is done or no row has a token. Raises AffectError for a difference."""
        if self.done:
            return
        backbone = self.store.backbone
        if self.spread:
            refuse_half(self.store)
            with self.accelerator.autocast():
                difference = compare(model, backbone, samples, ids, mask, keep, spread=True)
        else:
            rows = first_rows(samples, mask[:, -keep:])
            if not rows:
                return
            own = made_anew(self.store, [samples[row] for row in rows], self._asked)
            model = self.accelerator.unwrap_model(model, keep_torch_compile=False)
            difference = compare(model, backbone, own, ids[rows], mask[rows], keep)
        self.done = True
        self._asked.clear()
        print(f"Shared and row-by-row log-probabilities differ by at most {difference:.1e}.", file=sys.stderr)


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """The model without dropout, which would make any two forwards differ."""
    # On some CPUs a 4-bit layer that does not train repacks its weights for kernels of lower precision.
    learning = [m for m in model.modules() if m.training and type(m).__name__ != "Linear4bit"]
    for module in learning:
        module.training = False
    try:
        yield
    finally:
        for module in learning:
            module.training = True


def compare(
    model: nn.Module,
    backbone: Backbone,
    samples: Sequence[Sample],
    ids: Tensor,
    mask: Tensor,
    keep: int,
    spread: bool = False,
) -> float:
    """The largest difference that sharing prompts makes to a log-probability of these rows; AffectError above rounding.

    `samples` holds one sample a row, the same object for rows of one prompt, with the media as preprocessed; `ids` and
    `mask` (rows, prompt + keep) are padded as the trainer pads them. `spread` is for weights whose parts are on
    several processes: all rows are taken at once, in the precision of the run, since every process must call the same
    layers as often as the others.
    """
    completions, valid = ids[:, -keep:], mask[:, -keep:]
    check_prompts(samples, ids[:, :-keep], mask[:, :-keep])
    with torch.no_grad():
        if spread:
            one = SharedForward(backbone).score(model, samples, completions, valid)[0]
            other, limit = score_rows(model, samples, ids, mask, keep)[0], EXACT
        else:
            with at_rest(model), in_float32():
                one = SharedForward(backbone).score(model, samples, completions, valid)[0]
                other = score_alone(model, samples, ids, mask, keep)
                limit = EXACT
                if not (one - other).abs().max() <= EXACT:
                    padded = score_alone(model, samples, ids, mask, keep, pad=8)
                    limit = max(EXACT, ROUNDING * float((padded - other).abs().max()))
    gaps = (one - other).abs()
    difference = float(gaps.max())
    if limit > ROUNDING * BLURRED:
        raise AffectError(
            f"{backbone.name} cannot be checked: a completion alone differs from itself by {limit / ROUNDING:.1e} when "
            "it is padded, so that the check would not see a fault. Leave out --check-exact, or train with "
            "--grpo-step rows and another --out."
        )
    if not difference <= limit:
        row, token = divmod(int(gaps.nan_to_num(torch.inf).argmax()), keep)
        raise AffectError(
            f"Sharing prompts changes log-probabilities of {backbone.name} by up to {difference:.1e} (allowed: "
            f"{limit:.0e}), most at token {token + 1} of completion {row + 1}. Train with --grpo-step rows and "
            "another --out."
        )
    return difference


def check_prompts(samples: Sequence[Sample], ids: Tensor, mask: Tensor) -> None:
    """Raise AffectError if a row (rows, prompt) holds another prompt than its clip's."""
    for row, sample in enumerate(samples):
        if ids[row][mask[row].bool()].tolist() != sample.prompt_ids:
            raise AffectError(
                f"Completion {row + 1} of the batch has another prompt than that of its clip: rows were "
                "exchanged. Train with --grpo-step rows and another --out."
            )


def first_rows(samples: Sequence[Sample], valid: Tensor) -> list[int]:
    """Rows that have tokens: all of the first prompt, and two of the next, so that an exchange shows."""
    said = [row for row, tokens in enumerate(valid.sum(1).tolist()) if tokens]
    members = group_rows([samples[row] for row in said]).members
    return sorted(said[place] for group, most in zip(members, (len(said), 2), strict=False) for place in group[:most])


def refuse_half(store: MediaStore) -> None:
    """Raise AffectError if weights that are spread over processes, or forwards over these weights, are not float32."""
    if store.precision != "no" or store.backbone.core.dtype != torch.float32:
        raise AffectError(
            "--check-exact cannot take weights in float32 that are spread over processes (FSDP, ZeRO-3), and in half "
            "precision it would not see a fault. Check with --dtype float32, with one process, or with "
            "train/accelerate/ddp.yaml, each in another --out; then leave out --check-exact here."
        )


def made_anew(
    store: MediaStore, samples: Sequence[Sample], asked: Mapping[int, tuple[Sample, Conversation]]
) -> list[Sample]:
    """The same samples with their clips read again. AffectError if what the run has kept of a clip differs.

    `asked` holds the conversation of each, by the sample's identity. Both ways would learn alike from what is kept, so
    comparing them cannot show that it is wrong.
    """
    half = store.precision != "no" or store.backbone.core.dtype != torch.float32
    groups = group_rows(samples)
    fresh = []
    for sample in groups.samples:
        conversation = asked[id(sample)][1]
        made = store.backbone.sample(conversation, store.root, store.modalities)
        media = made.media
        if store.encodes:
            with torch.no_grad(), store.autocast():
                media = store.backbone.encode(media)
        check_kept(conversation.id, sample.media, media, KEPT_HALF if half else KEPT)
        fresh.append(made)
    return [fresh[of] for of in groups.of_row]


def check_kept(name: str, kept: Mapping[str, Tensor], made: Mapping[str, Tensor], limit: float) -> None:
    """Raise AffectError if the media kept of conversation `name` are not those that its clip gives now."""
    for key in kept.keys() | made.keys():
        gap = difference_of(kept[key], made[key]) if key in kept and key in made else float("inf")
        if not gap <= limit:
            raise AffectError(
                f"The media kept of the clip of conversation '{name}' ({key}) differ from what the clip gives now, by "
                f"{gap:.1e} of their size (allowed: {limit:.0e}). Empty the cache with 'affectllm cache prune "
                "--max-gib 0', and start again."
            )


def difference_of(kept: Tensor, made: Tensor) -> float:
    """The norm of the difference of two tensors, relative to the second one. It is infinite if their shapes differ."""
    if kept.shape != made.shape:
        return float("inf")
    gap, size = (kept.cpu().double() - made.cpu().double()).norm(), made.cpu().double().norm()
    return 0.0 if gap == 0 else float(gap / size)
