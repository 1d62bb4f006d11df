"""The records that travel between stages: one JSON object per line, checked when it is read.

Annotation    what a data set says about a clip, cleaned
Conversation  an annotation with the question asked and the answer wanted: all that training and evaluation read
Rejected      a row that could not be used, and why
Answer        what a model answered
Score         what one answer scored
"""

from typing import Annotated, Any, Literal, dataclass_transform

from msgspec import DecodeError, Struct, field
from msgspec import Meta as Limits


# Subclasses are frozen too, which type checkers do not take from msgspec itself.
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Record(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Unknown keys are errors: a typo in a file must not pass for a missing value.

    `msgspec.convert(values, kind)` and `msgspec.json.decode(line, type=kind)` check what comes from outside; a record
    made in code is not checked before it is written. None is left out of files; empty lists are not.
    """


def nothing() -> list[Any]:
    """An empty list that is written to files. One made by `list` itself would be left out, as None is."""
    return []


def problem_of(error: DecodeError | UnicodeError) -> str:
    """What is wrong with a record: the field, or a text that holds half a character and cannot be written.

    >>> problem_of(DecodeError("Expected `str`, got `int` - at `$.target.labels[0]`"))
    "field 'target.labels[0]': Expected `str`, got `int`"
    """
    if isinstance(error, UnicodeError):
        return "it holds half a character, as of a broken emoji"
    problem, _, place = str(error).partition(" - at `$")
    field = place.strip(".`")
    return f"field '{field}': {problem}" if field else problem


class Clip(Record):
    """Where the media are (paths relative to a root that the user names) and which seconds are meant."""

    video: str | None = None
    audio: str | None = None
    """Separate audio. Without it, the video's own track is used."""
    image: str | None = None
    face: str | None = None
    """Face crops made elsewhere, e.g. OpenFace's .npy of shape (frames, height, width, 3), uint8."""
    start_s: Annotated[float, Limits(ge=0)] | None = None
    end_s: Annotated[float, Limits(gt=0)] | None = None


class Turn(Record):
    """One earlier utterance of a dialogue."""

    speaker: str
    text: str


class Part(Record):
    """One piece of a message in Hugging Face chat form; media parts take their path from the conversation's clip."""

    type: Literal["text", "video", "audio", "image"]
    text: str | None = None


class Message(Record):
    role: Literal["system", "user", "assistant"]
    content: str | list[Part]


class Clues(Record):
    """Evidence statements per modality, e.g. visual: ["a wide smile"]."""

    visual: list[str] = field(default_factory=nothing)
    audio: list[str] = field(default_factory=nothing)
    text: list[str] = field(default_factory=nothing)


class Target(Record):
    """What the annotators said; every field is optional, since data sets differ in what they hold."""

    labels: list[str] = field(default_factory=nothing)
    """Open-vocabulary emotion words, most relevant first where the data set orders them."""
    basic: str | None = None
    """The one label of a closed set (MELD, MER2023 ...), or the letter of the right option."""
    options: dict[str, str] | None = None
    """What each letter of a multiple-choice question means, or what a1 and a2 of a preference say."""
    sentiment: Literal["positive", "negative", "neutral"] | None = None
    valence: float | None = None
    vad: tuple[float, float, float] | None = None
    description: str | None = None
    clues: Clues | None = None
    decisive: Literal["video", "audio"] | None = None
    """The modality that the emotion is read from, where the data set says it (face and voice disagree)."""
    preference: Literal["a1", "a2", "same"] | None = None
    pairs: list[tuple[int, str, int]] | None = None
    """Emotion-cause pairs of a dialogue: number of the emotional utterance, its emotion, number of the cause."""
    raters: list[list[str]] | None = None
    """The labels of each rater, where they are published."""
    distribution: dict[str, float] | None = None
    """Share of the raters' votes that each label got."""


class Meta(Record):
    licence: str
    defects: list[str] = field(default_factory=nothing)
    """What is odd about this row, or was corrected in it, e.g. 'leaked-prompt-prefix'."""
    hash: str | None = None
    """Checksum of the source row, so that a change of the source shows."""


Task = Literal[
    "describe", "labels", "basic", "choice", "sentiment", "valence", "vad", "preference", "cause", "clues",
    "listener", "person", "next", "distribution", "progressive",
]  # fmt: skip


class Annotation(Record, kw_only=True):
    """One usable row of a data set. `id` is unique within the data set over all splits."""

    id: Annotated[str, Limits(min_length=1)]
    dataset: str
    split: str
    media: Clip = field(default_factory=Clip)
    subtitle: str | None = None
    language: str | None = None
    """ISO 639-1 code of the subtitle and the answer."""
    context: list[Turn] = field(default_factory=nothing)
    """Earlier turns of the dialogue only, oldest first; never a later one."""
    person: str | None = None
    """The person whose emotion is asked for, where the clip shows several people or the dialogue names the speaker."""
    perspective: Literal["expressed", "induced"] | None = None
    """Whether the labels say what the people in the clip show, or what it makes its viewers and readers feel. None
    means what is shown."""
    target: Target
    meta: Meta


class Conversation(Annotation, kw_only=True):
    """What training and evaluation read: an annotation, its question and the answer wanted."""

    messages: list[Message]
    task: Task


class Rejected(Record, kw_only=True):
    """A row that could not be used. No row is lost silently."""

    id: str
    row: int | None = None
    """1-based data row of the source (the header is row 0); None if the clip is at fault, not the row."""
    reason: str
    source: str
    data: dict[str, Any] = field(default_factory=dict)
    """The row as it was read, or where its clip was looked for."""


class Answer(Record):
    """What a model answered to one conversation. `answers.parse` reads `text`."""

    id: str
    text: str
    model: str
    seconds: float
    tokens: int
    prompt_hash: str
    error: str | None = None
    """The reason why there is no answer (the clip could not be read, ...). `text` is then empty."""


class Score(Record, kw_only=True):
    """The scores of one answer, with what explains them."""

    id: str
    status: Literal["ok", "recovered", "failed"]
    said: list[str]
    gold: list[str]
    hits: list[str] = field(default_factory=nothing)
    misses: list[str] = field(default_factory=nothing)
    extras: list[str] = field(default_factory=nothing)
    values: dict[str, float]
    """Per-clip numbers by metric name, each in 0..1 unless its metric's page says otherwise."""
    skipped: str | None = None
    """Why this clip does not count, e.g. gold labels that no wheel maps."""
