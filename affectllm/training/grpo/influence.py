"""How much each sampled answer depends on what the clip shows: its likelihood with and without the decisive modality.

It takes two more forwards per completion, and gives a reward that an answer copied from the subtitle cannot earn.
"""

from collections.abc import Sequence

from affectllm.models.base.backbone import Sample, used_modalities
from affectllm.models.base.generation import answer_log_probabilities
from affectllm.models.store import MediaStore
from affectllm.records import Conversation


def decisive(conversation: Conversation, used: Sequence[str]) -> list[str]:
    """The modality that the data set names, else the only one with clues, else everything that was shown and heard."""
    target = conversation.target
    if target.decisive and target.decisive in used:
        return [target.decisive]
    if target.clues and bool(target.clues.visual) != bool(target.clues.audio):
        found = "video" if target.clues.visual else "audio"
        return [found] if found in used else []
    return list(used)


def influence(
    store: MediaStore, conversations: Sequence[Conversation], answers: Sequence[Sequence[int]]
) -> list[float | None]:
    """Nats a token that each answer (token ids) loses without its clip's decisive modality. None without any medium."""
    whole: list[Sample] = []
    without: list[Sample] = []
    places: list[int] = []
    for place, conversation in enumerate(conversations):
        used = used_modalities(conversation, store.modalities)
        lost = decisive(conversation, used)
        if lost and answers[place]:
            places.append(place)
            whole.append(store.sample(conversation))
            without.append(store.sample(conversation, [name for name in used if name not in lost]))
    tokens = [answers[place] for place in places]
    kept = answer_log_probabilities(store.backbone, whole, tokens)
    less = answer_log_probabilities(store.backbone, without, tokens)
    found: list[float | None] = [None] * len(conversations)
    for place, a, b in zip(places, kept, less, strict=True):
        found[place] = a - b
    return found
