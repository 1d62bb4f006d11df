"""What a model follows when face and voice disagree (CA-MER, MoSEAR 2025).

Every clip is tagged by which modality its gold emotion agrees with.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from affectllm.errors import AffectError

Tag = Literal["video", "audio", "consistent"]
TAGS = ("video", "audio", "consistent")


class Conflict(NamedTuple):
    video: float
    """Mean value of the clips whose gold follows the picture."""
    audio: float
    """Mean value of the clips whose gold follows the sound."""
    consistent: float
    conflict: float
    """Mean of `video` and `audio`, so that neither subset's size decides."""
    gap: float
    """`consistent` less `conflict`: what disagreement costs."""
    preference: float
    """`video` less `audio`: above 0 the model trusts the picture more, in -1..1 for values in 0..1."""
    n: dict[str, int]


def score(values: Sequence[float], tags: Sequence[Tag]) -> Conflict:
    """From one value a clip (right or wrong, or a set F1) and the clips' tags; every tag must occur."""
    if len(values) != len(tags):
        raise AffectError(f"{len(values)} values for {len(tags)} tags; give one each.")
    unknown = set(tags) - set(TAGS)
    if unknown:
        raise AffectError(f"Unknown tags {sorted(unknown)}; known: {', '.join(TAGS)}.")
    groups = {tag: [v for v, own in zip(values, tags, strict=True) if own == tag] for tag in TAGS}
    empty = [tag for tag, found in groups.items() if not found]
    if empty:
        raise AffectError(f"No clip is tagged {' or '.join(empty)}: the comparison needs all three.")
    video, audio, consistent = (float(np.mean(groups[tag])) for tag in TAGS)
    conflict = (video + audio) / 2
    counts = {tag: len(found) for tag, found in groups.items()}
    return Conflict(video, audio, consistent, conflict, consistent - conflict, video - audio, counts)
