"""Each clip is read and encoded once per run, and once for all where the encoders are frozen."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch

from affectllm.media.cache import FeatureCache
from affectllm.media.probe import content_hash
from affectllm.models.backbone import MODALITIES, Backbone, Sample, used_modalities
from affectllm.records import Clip, Conversation


class MediaStore:
    """Samples by conversation; media come from memory, then the disk cache, then the clip itself.

    `reads` counts the clips decoded: a run over n clips should not exceed n.
    """

    def __init__(
        self, backbone: Backbone, root: Path, cache: FeatureCache, modalities: Sequence[str] = MODALITIES
    ) -> None:
        self.backbone = backbone
        self.root = root
        self.cache = cache
        self.modalities = tuple(modalities)
        self.fingerprint = backbone.fingerprint
        self.reads = 0
        self._media: dict[str, dict[str, torch.Tensor]] = {}
        self._hashes: dict[Path, str] = {}

    def sample(self, conversation: Conversation, modalities: Sequence[str] | None = None) -> Sample:
        """A conversation as the model reads it, with the run's modalities or fewer."""
        used = used_modalities(conversation, self.modalities if modalities is None else modalities)
        media = self.media(conversation.media, used) if used else {}
        return self.backbone.assemble(conversation, used, media)

    def media(self, clip: Clip, used: Sequence[str]) -> dict[str, torch.Tensor]:
        key = self.key(clip, used)
        if key not in self._media:
            media = cast("dict[str, torch.Tensor] | None", self.cache.get(key))
            if media is None:
                self.reads += 1
                media = self.backbone.preprocess(self.backbone.read(clip, self.root, used))
                self.cache.put(key, media)
            self._media[key] = media
        return self._media[key]

    def key(self, clip: Clip, used: Sequence[str]) -> str:
        """Content of the files, seconds used, modalities, and how the backbone preprocesses."""
        contents = [self.content_hash(self.root / name) for name in (clip.video, clip.audio) if name]
        options = {"start_s": clip.start_s, "end_s": clip.end_s, "used": list(used)}
        return self.cache.key("+".join(contents), options, self.fingerprint)

    def content_hash(self, path: Path) -> str:
        if path not in self._hashes:
            self._hashes[path] = content_hash(path)
        return self._hashes[path]
