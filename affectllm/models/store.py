"""The store of media: each clip is read once per run, and encoded once for all if the encoders are frozen."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch

from affectllm.media.cache import FeatureCache
from affectllm.media.limits import Unreadable
from affectllm.media.probe import content_hash, probe
from affectllm.models.base.backbone import MODALITIES, Backbone, Look, Piece, Sample, used_modalities
from affectllm.records import Clip, Conversation

MEMORY_BYTES = 4 << 30
"""Size of the clips kept in memory, in addition to the disk cache; the longest unused ones are dropped first."""


class TrainingSample(NamedTuple):
    pieces: list[Piece]
    media: dict[str, torch.Tensor]


class MediaStore:
    """Samples by conversation; media come from memory, then the disk cache, then the clip itself.

    `reads` counts the clips decoded, `encodings` those that went through frozen encoders ahead of the forward: a run
    over n clips should exceed n in neither.
    """

    def __init__(
        self, backbone: Backbone, root: Path, cache: FeatureCache, modalities: Sequence[str] = MODALITIES
    ) -> None:
        self.backbone = backbone
        self.root = root
        self.cache = cache
        self.modalities = tuple(modalities)
        self.fingerprint = backbone.fingerprint
        self.autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
        self.precision = "no"
        """How the trainer runs forwards. Encoders that run before a forward run in the same way."""
        self.reads = self.encodings = 0
        self._media: OrderedDict[str, dict[str, torch.Tensor]] = OrderedDict()
        self._bytes = 0
        self._hashes: dict[Path, str] = {}
        self._looks: dict[Path, tuple[int, int, float]] = {}

    def sample(self, conversation: Conversation, modalities: Sequence[str] | None = None) -> Sample:
        """A conversation as the model reads it, with the run's modalities or fewer."""
        used = used_modalities(conversation, self.modalities if modalities is None else modalities)
        media = self.media(conversation.media, used) if used else {}
        return self.backbone.assemble(conversation, used, media)

    def encoded_sample(self, conversation: Conversation) -> Sample:
        """As `sample`, but with the outputs of frozen encoders in place of the media: no forward runs them then."""
        if not self.encodes:
            return self.sample(conversation)
        used = used_modalities(conversation, self.modalities)
        media = self.encoded(conversation.media, used) if used else {}
        return self.backbone.assemble(conversation, used, media)

    def training_sample(self, conversation: Conversation) -> TrainingSample:
        """All turns of a conversation, and its media as one forward takes them: encoded, where encoders are frozen."""
        used = used_modalities(conversation, self.modalities)
        media = (self.encoded if self.encodes else self.media)(conversation.media, used) if used else {}
        return TrainingSample(self.backbone.turns(conversation, used, media), self.backbone.inputs(media))

    @cached_property
    def encodes(self) -> bool:
        """Whether encoders run ahead of the forward. Call it when it is decided what learns."""
        return bool(self.backbone.frozen_encoders())

    @cached_property
    def encoder_fingerprint(self) -> str:
        """A key that changes with any weight of the frozen encoders, and with the precision that they run in."""
        digest = hashlib.sha256(self.precision.encode())
        for encoder in self.backbone.frozen_encoders():
            for name, weight in encoder.state_dict().items():
                digest.update(f"{name} {tuple(weight.shape)} {checksum(weight)}".encode())
        return digest.hexdigest()[:16]

    def media(self, clip: Clip, used: Sequence[str]) -> dict[str, torch.Tensor]:
        """A clip preprocessed."""
        key = self.key(clip, used, self.fingerprint)
        media = self._known(key)
        if media is None:
            media = self._read(clip, used)
            self._keep(key, media)
        return media

    def encoded(self, clip: Clip, used: Sequence[str]) -> dict[str, torch.Tensor]:
        """The frozen encoders' outputs for a clip; their inputs are not kept."""
        key = self.key(clip, used, self.fingerprint + self.encoder_fingerprint)
        media = self._known(key)
        if media is None:
            read = self._known(self.key(clip, used, self.fingerprint)) or self._read(clip, used)
            self.encodings += 1
            with self.autocast():
                media = {name: tensor.cpu() for name, tensor in self.backbone.encode(read).items()}
            self._keep(key, media)
        return media

    def _read(self, clip: Clip, used: Sequence[str]) -> dict[str, torch.Tensor]:
        self.reads += 1
        return self.backbone.preprocess(self.backbone.read(clip, self.root, used))

    def _known(self, key: str) -> dict[str, torch.Tensor] | None:
        if key not in self._media:
            found = cast("dict[str, torch.Tensor] | None", self.cache.get(key))
            if found is None:
                return None
            self._remember(key, found)
        self._media.move_to_end(key)
        return self._media[key]

    def _keep(self, key: str, media: dict[str, torch.Tensor]) -> None:
        self.cache.put(key, media)
        self._remember(key, media)

    def _remember(self, key: str, media: dict[str, torch.Tensor]) -> None:
        self._media[key] = media
        self._bytes += size_of(media)
        while self._bytes > MEMORY_BYTES and len(self._media) > 1:
            self._bytes -= size_of(self._media.popitem(last=False)[1])

    def key(self, clip: Clip, used: Sequence[str], fingerprint: str) -> str:
        """Content of the files, seconds used, modalities, and how the backbone preprocesses."""
        contents = [self.content_hash(self.root / name) for name in (clip.video, clip.audio) if name]
        options = {"start_s": clip.start_s, "end_s": clip.end_s, "used": list(used)}
        return self.cache.key("+".join(contents), options, fingerprint)

    def content_hash(self, path: Path) -> str:
        if path not in self._hashes:
            self._hashes[path] = content_hash(path)
        return self._hashes[path]

    def expected_bytes(self, conversations: Sequence[Conversation]) -> int:
        """About how many bytes all clips of these conversations take in the cache, if they are like the first one."""
        clips = {conversation.media: conversation for conversation in conversations if self._used(conversation)}
        if not clips:
            return 0
        first = next(iter(clips.values()))
        return len(clips) * size_of(self.training_sample(first).media)

    def _used(self, conversation: Conversation) -> list[str]:
        return used_modalities(conversation, self.modalities)

    def lengths(self, conversations: Sequence[Conversation]) -> list[int]:
        """About how many tokens each conversation takes, without decoding a clip; see `Backbone.media_tokens`.

        A clip that cannot be opened counts as 0 here. Whoever reads it reports the error.
        """
        texts = ["".join(text_of(conversation)) for conversation in conversations]
        ids = self.backbone.tokenizer(texts, add_special_tokens=False)["input_ids"]
        found = []
        for conversation, row in zip(conversations, ids, strict=True):
            used = used_modalities(conversation, self.modalities)
            media = self.backbone.media_tokens(used, lambda clip=conversation.media: self.look(clip)) if used else 0  # type: ignore[misc]
            found.append(len(row) + media)
        return found

    def look(self, clip: Clip) -> Look:
        """A clip's size and seconds of sound, from its packets."""
        paths = [self.root / name for name in (clip.video, clip.audio) if name]
        for path in paths:
            if path not in self._looks:
                try:
                    found = self.backbone.guard(probe, path)
                except Unreadable:
                    self._looks[path] = (0, 0, 0.0)
                    continue
                width, height = (found.video.width, found.video.height) if found.video else (0, 0)
                self._looks[path] = (width, height, found.audio.duration_s if found.audio else 0.0)
        width, height = self._looks[paths[0]][:2]
        whole_s = self._looks[paths[-1]][2]
        start_s = clip.start_s or 0.0
        return Look(width, height, max(0.0, min(clip.end_s or whole_s, whole_s) - start_s))


def text_of(conversation: Conversation) -> list[str]:
    contents = [message.content for message in conversation.messages]
    return [
        text
        for content in contents
        for text in ([content] if isinstance(content, str) else [part.text or "" for part in content])
    ]


def checksum(weight: torch.Tensor) -> int:
    """Checksum of the bits and their order, on the weight's own device, to avoid copying gigabytes to the CPU."""
    bits = weight.detach().contiguous().view(-1).view(torch.uint8).view(-1, weight.element_size())
    places = torch.arange(len(bits), device=weight.device) % 65521 + 1
    return int(sum((bits[:, i].long() * places).sum() * (257 * i + 1) for i in range(bits.shape[1])))


def size_of(media: dict[str, torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in media.values())
