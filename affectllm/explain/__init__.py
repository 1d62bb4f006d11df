"""One clip in, an explanation out: labels, reasoning, and what face, voice and words each contribute.

Two kinds of evidence are kept apart. *Statements* are what the model says it saw and heard. *Influence* is
measured: how much less likely the model finds its own answer when that modality is taken away. A fluent
statement about a modality without influence is a sign of made-up reasoning.
"""

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from affectllm import answers, precision
from affectllm.errors import AffectError
from affectllm.media import probe, read_audio
from affectllm.prompts import compose
from affectllm.records import Annotation, Clip, Conversation, Meta, Record, Target
from affectllm.vocabulary import lexicon

if TYPE_CHECKING:
    from affectllm.models.base.backbone import Backbone, Sample
    from affectllm.models.speech import Transcript

MODALITY_WORDS = {
    "face": {
        "face",
        "facial",
        "smile",
        "smiling",
        "brow",
        "brows",
        "eye",
        "eyes",
        "mouth",
        "lips",
        "gaze",
        "nose",
        "frown",
        "expression",
        "head",
        "gesture",
        "video",
    },
    "voice": {
        "voice",
        "tone",
        "pitch",
        "loud",
        "quiet",
        "speaks",
        "speaking",
        "speech",
        "vocal",
        "volume",
        "trembling",
        "audio",
    },
    "words": {"says", "said", "words", "word", "subtitle", "text", "sentence", "mentions"},
}
EVIDENCE = {"face": "video", "voice": "audio", "words": "text"}


class Evidence(Record):
    """What one modality contributes to an answer."""

    statements: list[str]
    """Sentences of the reasoning that speak of this modality."""
    influence: float | None
    """Drop of the answer's mean log-probability per token without this modality, in nats. None if it is absent."""


class Explanation(Record, omit_defaults=False):
    clip: str
    labels: list[str]
    reasoning: str
    evidence: dict[str, Evidence]
    """Evidence by `face`, `voice` and `words`."""
    wheel: dict[str, str]
    """Label -> its sector on the first wheel of our vocabulary."""
    valence: dict[str, int | None]
    """Label -> -1, 0 or 1. None for a word that the vocabulary does not know."""
    status: str
    """How well the answer could be read: ok, recovered or failed."""
    answer: str
    """The model's text, unchanged."""
    model: str
    seconds: float
    notes: list[str] = []
    """What was missing or assumed, e.g. a clip without sound."""


class Explainer:
    """A loaded model that explains clips; see `load`."""

    def __init__(self, backbone: "Backbone", name: str | None = None) -> None:
        self.backbone = backbone
        self.name = name or backbone.name

    def explain(
        self,
        clip: str | Path,
        subtitle: str | None = None,
        language: str = "en",
        asr: str | None = None,
        max_new_tokens: int = 96,
    ) -> Explanation:
        """Labels, reasoning and evidence for one clip of up to a few minutes.

        `subtitle` is what is said in the clip. Without it the words are not used and a note says so, unless `asr` names
        a speech model that writes them down, which is noted too.
        Raises AffectError when the file cannot be read or has nothing that the model can see or hear.
        """
        from affectllm.models.base.backbone import MODALITIES, used_modalities
        from affectllm.models.base.generation import generate

        start = time.monotonic()
        path = Path(clip)
        heard = listen(path, asr, language) if asr and not subtitle else None
        conversation, notes = ask(path, subtitle or (heard and heard.text), language)
        if heard:
            notes.append(f"subtitle by {heard.model}, automatic: {heard.text or 'nothing was said'}")
        there, taken = used_modalities(conversation, MODALITIES), self.backbone.modalities
        notes += [f"the model takes no {kind}: that of the clip was not used" for kind in there if kind not in taken]
        if not set(there) & set(taken):
            raise AffectError(f"{self.name} takes {' and '.join(taken)}, and {path} has only {' and '.join(there)}.")
        sample = self.backbone.sample(conversation, path.parent, taken)
        (text,), _ = generate(self.backbone, [sample], max_new_tokens)
        parsed = answers.parse(text)
        wheels = lexicon.load_wheels()
        statements = by_modality(parsed.reasoning or "")
        influence = self.influence(conversation, path.parent, sample, text)
        return Explanation(
            clip=str(path),
            labels=parsed.labels,
            reasoning=parsed.reasoning or "",
            evidence={name: Evidence(statements=statements[name], influence=influence[name]) for name in EVIDENCE},
            wheel={label: str(wheels.groups(label)[0]) for label in parsed.labels},
            valence={label: lexicon.valence(label) for label in parsed.labels},
            status=parsed.status,
            answer=text,
            model=self.name,
            seconds=round(time.monotonic() - start, 2),
            notes=notes,
        )

    def influence(
        self, conversation: Conversation, root: Path, sample: "Sample", answer: str
    ) -> dict[str, float | None]:
        """How much the model's own answer loses without each modality, in nats per token."""
        from affectllm.models.base.backbone import used_modalities
        from affectllm.models.base.generation import answer_log_probabilities

        used = used_modalities(conversation, self.backbone.modalities)
        answer_ids = self.backbone.answer_ids(answer)

        def likelihood(sample: "Sample") -> float:
            return answer_log_probabilities(self.backbone, [sample], [answer_ids])[0]

        whole = likelihood(sample)

        def without(changed: Conversation, kept: list[str]) -> float:
            return round(whole - likelihood(self.backbone.sample(changed, root, kept)), 4)

        silent = ask(
            root / Path(str(conversation.media.video or conversation.media.audio)).name,
            None,
            conversation.language or "en",
        )[0]
        return {
            "face": without(conversation, [m for m in used if m != "video"]) if "video" in used else None,
            "voice": without(conversation, [m for m in used if m != "audio"]) if "audio" in used else None,
            "words": without(silent, used) if conversation.subtitle else None,
        }


def listen(path: Path, asr: str, language: str) -> "Transcript | None":
    """What a speech model hears in a clip. None if the clip has no audio."""
    from affectllm.models.speech import transcribe

    wave = read_audio(path)
    return None if wave is None else transcribe(wave, asr, language)


def ask(path: Path, subtitle: str | None, language: str) -> tuple[Conversation, list[str]]:
    """The question about one clip, as training puts it, and notes on what the clip lacks."""
    found = probe(path)
    parts = [kind for kind, there in (("video", found.video), ("audio", found.audio)) if there]
    notes = [f"the clip has no {kind}" for kind in ("video", "audio") if kind not in parts]
    if not subtitle:
        notes.append("no subtitle was given: what is said was not used")
    annotation = Annotation(
        id=path.name,
        dataset="user",
        split="none",
        media=Clip(video=path.name if "video" in parts else None, audio=None if "video" in parts else path.name),
        subtitle=subtitle,
        language=language,
        target=Target(),
        meta=Meta(licence="user"),
    )
    return compose(annotation, task="labels", mode="think", seed=0, parts=parts), notes


def by_modality(reasoning: str) -> dict[str, list[str]]:
    """The sentences of a reasoning by the modality that they speak of. One that names several is listed under each."""
    found: dict[str, list[str]] = {name: [] for name in MODALITY_WORDS}
    for sentence in re.split(r"(?<=[.!?;。！？；])\s*", reasoning):
        words = set(re.findall(r"[a-z]+", sentence.lower()))
        for name, known in MODALITY_WORDS.items():
            if words & known:
                found[name].append(sentence.strip())
    return found


def load(path: str, dtype: str = "auto") -> Explainer:
    """An explainer from "nano", an adapter folder trained here, a model folder or a hub name."""

    from affectllm.models import load as load_backbone

    backbone = load_backbone(path, dtype=dtype)
    backbone.model.to(precision.device()).eval()
    return Explainer(backbone, path)


def default_model() -> str:
    """The adapter that `make quickstart` wrote here; the last stage is preferred."""
    for folder in (
        Path("runs/quickstart/grpo"),
        Path("runs/quickstart/sft"),
        Path("runs/quickstart-mini/grpo"),
        Path("runs/quickstart-mini/sft"),
    ):
        if (folder / "run.json").is_file():
            return str(folder)
    raise AffectError("No --model given and no quickstart adapter under runs/. Train one with: make quickstart")
