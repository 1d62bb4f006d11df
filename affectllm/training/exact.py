"""Whether sharing prompts is exact: the first completions are scored both ways, in float32 in every precision.

In half precision rounding hides what a wrong mask does. So weights stay as they are, and every operation of the check
takes them in float32, one at a time: the memory is that of one weight more. What the shared way computes of a batch is
compared with each completion alone, with its own clip and prompt, without padding and without neighbors; that shows
rows that were exchanged as well. Both ways start from the clip itself, not from what is kept of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from affectllm.errors import AffectError
from affectllm.models.backbone import Backbone, Sample, join_media
from affectllm.records import Conversation
from affectllm.training.shared import SharedForward, group_rows
from affectllm.training.store import MediaStore

EXACT = 1e-4
"""Largest difference of a log-probability that is rounding in any case, in float32."""
ROUNDING = 4.0
"""Times what a row alone differs from itself when it is padded: rounding as well, in models that are very deep."""
BLURRED = 1e-2
"""A model that differs so much from itself cannot be checked."""
KEPT, KEPT_HALF = 1e-3, 0.05
"""Largest relative difference of media that are kept from media that are made anew, in float32 and below."""
HALF = (torch.bfloat16, torch.float16)


class InFloat32(TorchDispatchMode):
    """Within it, every operation takes numbers of half precision in float32, and gives float32.

    It lies below autocast and below custom autograd functions, so that neither leads around it. Weights themselves do
    not change. For forwards without gradients.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        known = traits(func)
        # A view of a weight is no arithmetic yet: raised here, all of the weight would be copied for a part of it.
        if known.view:
            return func(*args, **kwargs)
        if known.lookup:
            return tree_map(raised, func(*args, **kwargs))
        stand_ins: list[tuple[Tensor, Tensor]] = []

        def taken(value: Any, written: bool) -> Any:
            made = raised(value)
            if written and made is not value and isinstance(value, Tensor):
                stand_ins.append((value, made))
            return made

        given = [tree_map(lambda v, w=i in known.written: taken(v, w), value) for i, value in enumerate(args)]
        named = {key: tree_map(lambda v, w=key in known.written: taken(v, w), value) for key, value in kwargs.items()}
        result = func(*given, **named)
        for own, made in stand_ins:
            own.copy_(made)
        return tree_map(lambda value: next((own for own, made in stand_ins if made is value), value), result)


class AtTheDoor(TorchFunctionMode):
    """Convolutions compare the precision of their arguments before `InFloat32` sees them: raised here."""

    SEEN = frozenset(getattr(torch, f"conv{kind}{n}d") for kind in ("", "_transpose") for n in (1, 2, 3))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        return func(*tree_map(raised, args), **tree_map(raised, kwargs)) if func in self.SEEN else func(*args, **kwargs)


class Traits(NamedTuple):
    """What an operation does with its arguments."""

    view: bool
    lookup: bool
    """It picks rows of its first argument, so that these alone need be raised."""
    written: frozenset[int | str]
    """Arguments that it changes, by place and by name."""


@cache
def traits(func: Any) -> Traits:
    arguments = func._schema.arguments
    changed = [(i, a.name) for i, a in enumerate(arguments) if a.alias_info is not None and a.alias_info.is_write]
    view = not changed and any(a.alias_info is not None for a in arguments)
    lookup = func in (torch.ops.aten.embedding.default, torch.ops.aten.index_select.default)
    return Traits(view, lookup, frozenset(key for pair in changed for key in pair))


def raised(value: Any) -> Any:
    """A tensor or type of half precision in float32, anything else as it is.

    >>> raised(torch.float16), raised(torch.int64), raised(3)
    (torch.float32, torch.int64, 3)
    """
    if isinstance(value, Tensor) and value.dtype in HALF:
        return value.float()
    return torch.float32 if isinstance(value, torch.dtype) and value in HALF else value


@contextmanager
def in_float32() -> Iterator[None]:
    """Forwards in float32 to the last digit: no half precision, no autocast, no TF32."""
    backends: Any = torch.backends
    cudnn, mkldnn = backends.cudnn, backends.mkldnn
    parts = [backends.cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv]
    before = [part.fp32_precision for part in parts]
    for part in parts:
        part.fp32_precision = "ieee"
    try:
        with InFloat32(), AtTheDoor():
            yield
    finally:
        for part, precision in zip(parts, before, strict=True):
            part.fp32_precision = precision
        # An autocast around this one would take the copies that were made in it for its own.
        torch.clear_autocast_cache()


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


def score_rows(
    model: nn.Module, samples: Sequence[Sample], ids: Tensor, mask: Tensor, keep: int, aux: bool = False
) -> tuple[Tensor, Any, Any]:
    """Log-probabilities, entropies (rows, keep) and the router's loss, every row with its clip and prompt."""
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :-keep] = -100
    media = {name: tensor.to(ids.device) for name, tensor in join_media(samples).items()}
    router = {"output_router_logits": True} if aux else {}
    output = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True, **media, **router)
    entropies = None if output.entropy is None else output.entropy[:, -keep:]
    return output.log_probs[:, -keep:], entropies, output.aux_loss


def score_alone(
    model: nn.Module, samples: Sequence[Sample], ids: Tensor, mask: Tensor, keep: int, pad: int = 0
) -> Tensor:
    """Log-probabilities (rows, keep) of each row on its own, with `pad` places of padding in front of it."""
    found = torch.zeros(len(ids), keep, device=ids.device)
    for row, sample in enumerate(samples):
        said = int(mask[row, -keep:].sum())
        if said:
            alone = nn.functional.pad(ids[row][mask[row].bool()], (pad, 0))[None]
            seen = torch.ones_like(alone)
            seen[:, :pad] = 0
            found[row, :said] = score_rows(model, [sample], alone, seen, said)[0][0]
    return found


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
    `mask` (rows, prompt + keep) are padded as the trainer pads them. `spread` is for weights that lie in parts on
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
            "padding stands in front of it, so that a fault would not show. Leave out --check-exact, or train with "
            "--grpo-step rows and another --out."
        )
    if not difference <= limit:
        row, token = divmod(int(gaps.nan_to_num(torch.inf).argmax()), keep)
        raise AffectError(
            f"Sharing prompts changes log-probabilities of {backbone.name} by up to {difference:.1e} (allowed: "
            f"{limit:.0e}), most of all at token {token + 1} of completion {row + 1}. Train with --grpo-step rows and "
            "another --out."
        )
    return difference


def check_prompts(samples: Sequence[Sample], ids: Tensor, mask: Tensor) -> None:
    """Raise AffectError where a row (rows, prompt) holds another prompt than its clip's."""
    for row, sample in enumerate(samples):
        if ids[row][mask[row].bool()].tolist() != sample.prompt_ids:
            raise AffectError(
                f"Completion {row + 1} of the batch lies with another prompt than that of its clip: rows were "
                "exchanged. Train with --grpo-step rows and another --out."
            )


def first_rows(samples: Sequence[Sample], valid: Tensor) -> list[int]:
    """Rows that have tokens: all of the first prompt, and two of the next, so that an exchange shows."""
    said = [row for row, tokens in enumerate(valid.sum(1).tolist()) if tokens]
    members = group_rows([samples[row] for row in said]).members
    return sorted(said[place] for group, most in zip(members, (len(said), 2), strict=False) for place in group[:most])


def refuse_half(store: MediaStore) -> None:
    """Raise AffectError where weights that are spread over processes, or forwards over them, are not float32."""
    if store.precision != "no" or store.backbone.core.dtype != torch.float32:
        raise AffectError(
            "--check-exact cannot take weights in float32 that are spread over processes (FSDP, ZeRO-3), and in half "
            "precision it would see nothing. Check with --dtype float32, with one process, or with "
            "train/accelerate/ddp.yaml, each in another --out; then leave out --check-exact here."
        )


def made_anew(
    store: MediaStore, samples: Sequence[Sample], asked: Mapping[int, tuple[Sample, Conversation]]
) -> list[Sample]:
    """The same samples with their clips read again; AffectError where a run has kept something else of them.

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
        check_kept(store, conversation.id, sample.media, media, KEPT_HALF if half else KEPT)
        fresh.append(made)
    return [fresh[of] for of in groups.of_row]


def check_kept(
    store: MediaStore, name: str, kept: Mapping[str, Tensor], made: Mapping[str, Tensor], limit: float
) -> None:
    """Raise AffectError where the media kept of conversation `name` are not those that its clip gives now."""
    for key in kept.keys() | made.keys():
        gap = difference_of(kept[key], made[key]) if key in kept and key in made else float("inf")
        if not gap <= limit:
            raise AffectError(
                f"What is kept of the clip of conversation '{name}' ({key}) differs from what the clip gives now, by "
                f"{gap:.1e} of its size (allowed: {limit:.0e}). Empty the cache with 'affectllm cache prune "
                "--max-gib 0', and start again."
            )


def difference_of(kept: Tensor, made: Tensor) -> float:
    """The norm of what two tensors differ by, as a part of the second; infinite where their shapes differ."""
    if kept.shape != made.shape:
        return float("inf")
    gap, size = (kept.cpu().double() - made.cpu().double()).norm(), made.cpu().double().norm()
    return 0.0 if gap == 0 else float(gap / size)
