"""Quarantine of clips that can no longer be read: each is written down with the reason and not tried again."""

import sys
from pathlib import Path

from affectllm import jsonl
from affectllm.records import Conversation
from affectllm.training.callbacks import append

QUARANTINE = "quarantine.jsonl"


class Quarantine:
    """The clips that a run, or its part before a kill, has lost. `ids` names the conversations."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / QUARANTINE
        self.ids: set[str] = {row["id"] for row in jsonl.read_dicts(self.path)} if self.path.is_file() else set()

    def add(self, conversation: Conversation, reason: str, instead: str, step: int | None = None) -> None:
        """Never try this clip again in this run, and say so; `instead` is what happens without it."""
        self.ids.add(conversation.id)
        clip = clip_path(conversation)
        known = {} if step is None else {"step": step}
        jsonl.make_folder(self.path.parent)
        append(self.path, [{**known, "id": conversation.id, "clip": clip, "reason": reason}])
        print(f"Quarantined '{conversation.id}', {instead}: {reason}", file=sys.stderr, flush=True)


def clip_path(conversation: Conversation) -> str:
    clip = conversation.media
    return clip.video or clip.audio or clip.image or clip.face or ""
