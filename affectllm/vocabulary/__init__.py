"""Emotion words: from a word to its group on every wheel, under a named protocol."""

from pathlib import Path

from affectllm.errors import AffectError
from affectllm.vocabulary.wheels import Groups, Wheels

__all__ = ["PROTOCOLS", "Groups", "Wheels", "load"]

OURS = "affectllm-1"
MERTOOLS = ("ovmer", "mer2025", "mer2026", "unibench")
PROTOCOLS = (OURS, *MERTOOLS)


def load(protocol: str = OURS, assets: Path | None = None) -> Wheels:
    """The wheels of a protocol; those of MERTools need the user's copy of its `emotion_wheel` folder."""
    if protocol == OURS:
        from affectllm.vocabulary import lexicon

        return lexicon.load_wheels()
    if protocol not in MERTOOLS:
        raise AffectError(f"No protocol '{protocol}'. Known: {', '.join(PROTOCOLS)}.")
    if assets is None:
        raise AffectError(
            f"Protocol {protocol} needs MERTools' vocabulary, which we may not ship: point --assets at the "
            "emotion_wheel folder of your copy of github.com/zeroQiaoba/MERTools."
        )
    from affectllm.vocabulary import mertools

    return mertools.load(protocol, assets)
