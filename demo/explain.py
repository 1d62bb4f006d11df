"""Explain the emotion in one clip: labels, reasoning, and evidence from face, voice and words.

affectllm explain clip.mp4 --subtitle "I did not expect you here." --model runs/quickstart/grpo
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from affectllm.options import command


@dataclass(frozen=True)
class Explain:
    clip: Annotated[Path, tyro.conf.Positional]
    """Video or audio file to explain."""
    subtitle: str | None = None
    """Words that are said in the clip. Without them, the model sees and hears only."""
    asr: str | None = None
    """Speech model that writes a missing subtitle: nano (English), or a folder or hub name of a Whisper."""
    language: str = "en"
    """Language of the subtitle and of the answer: en or zh."""
    model: str | None = None
    """Adapter folder, model folder or hub name of the model. Without it, the newest quickstart adapter."""
    json: bool = False
    """Print the explanation as one JSON object."""


def main(options: Explain) -> None:
    import msgspec

    from affectllm.explain import default_model, load

    explanation = load(options.model or default_model()).explain(
        options.clip, options.subtitle, options.language, options.asr
    )
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(explanation)).decode())
        return
    labels = ", ".join(explanation.labels) or "(no label could be read)"
    print(f"{labels}\n\n{explanation.reasoning or explanation.answer}\n")
    for name, evidence in explanation.evidence.items():
        weight = "absent" if evidence.influence is None else f"{evidence.influence:+.2f} nats"
        print(f"  {name:<6}{weight:>12}  {' '.join(evidence.statements)}")
    for note in explanation.notes:
        print(f"  note: {note}")


if __name__ == "__main__":
    command(main)
