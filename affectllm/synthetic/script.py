"""Who says what, and with which face and voice: the plan of each clip, drawn from its seed, split and index only.

Identities, voices and sentences of one split never appear in another, and what is said is drawn independently of
the emotion, so that words alone cannot give it away.
"""

from dataclasses import dataclass
from random import Random
from typing import Literal

DRAWING = 2
"""Version of the drawing: a folder is never continued with another version."""
SPLITS = ("train", "dev", "test")
EMOTIONS = ("neutral", "happy", "sad", "angry", "fearful", "surprised", "disgusted")
FACE_CLUES = {
    "neutral": "a relaxed look",
    "happy": "a wide smile",
    "sad": "drooping mouth corners",
    "angry": "lowered brows and tight lips",
    "fearful": "wide eyes and a tense mouth",
    "surprised": "raised brows and an open mouth",
    "disgusted": "a wrinkled nose and curled lip",
}
VOICE_CLUES = {
    "neutral": "even",
    "happy": "bright and lively",
    "sad": "slow and quiet",
    "angry": "loud and harsh",
    "fearful": "high and trembling",
    "surprised": "high and sweeping",
    "disgusted": "low and drawn out",
}
# espeak-ng voices and variants (the letter is the speaker's sex, the number a timbre).
VOICES = {
    "train": ("en-us", "en", "en-gb-scotland", "en-us-nyc"),
    "dev": ("en-029",),
    "test": ("en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-gb-x-rp"),
}
VARIANTS = {"train": ("m1", "m2", "m3", "m4", "f1", "f2", "f3"), "dev": ("m7", "f4"), "test": ("m5", "m6", "m8", "f5")}
NEUTRAL_SENTENCES = {
    "train": (
        "I saw the letter on the table this morning.", "They told me about it yesterday afternoon.",
        "The train leaves at seven from the main station.", "You are standing right in front of the door.",
        "So this is what you wanted to show me.", "I have been waiting here since two o'clock.",
        "He said he would call us after dinner.", "We are going to the house by the river.",
        "That is the third time this week.", "She put the box in the back of the car.",
        "Everyone in the office knows about it now.", "I did not expect to see you here.",
        "The keys are in the drawer on the left.", "My brother works at the bank downtown.",
        "It was on the radio an hour ago.", "The shop on the corner opens at nine.",
        "You can leave your coat over there.", "They moved into the flat upstairs.",
        "I read the whole thing last night.", "The doctor wants to speak with you.",
        "There is a package for you at the gate.", "We had this conversation before.",
        "Someone left the window open again.", "Your sister is already on her way.",
    ),
    "dev": (
        "The bus was full when it came by.", "He keeps his tools in the garage.",
        "I will be back before the lesson starts.", "The new neighbours have two dogs.",
    ),
    "test": (
        "The bridge is closed until next month.", "She has changed the number of the room.",
        "I found your name on the list.", "We are meeting them at the harbour.",
        "The bill came with the morning mail.", "You brought the wrong book with you.",
        "They painted the kitchen over the weekend.", "He asked me the same question twice.",
        "The lights in the hall are still on.", "I know the man who lives there.",
        "That was the last ticket they had.", "The others are already at the table.",
    ),
}  # fmt: skip
EMOTIONAL_SENTENCES: dict[str, dict[str, tuple[str, ...]]] = {
    "train": {
        "neutral": ("The meeting is at ten o'clock.", "The report has twelve pages."),
        "happy": ("This is the best day of my life.", "I am so glad that you came."),
        "sad": ("I miss her so much every single day.", "Nothing is the same without him."),
        "angry": ("I told you never to touch my things.", "How dare you speak to me like that."),
        "fearful": ("Someone is following us, please hurry.", "I am scared of what is down there."),
        "surprised": ("Wait, what, you actually won the prize?", "I had no idea that you were here!"),
        "disgusted": ("There is mould all over the bread.", "That smell makes me sick."),
    },
    "dev": {
        "neutral": ("The form is on the second page.",),
        "happy": ("We made it, this is wonderful!",),
        "sad": ("I cannot stop crying about it.",),
        "angry": ("Get out of my house right now.",),
        "fearful": ("Please don't let them find me.",),
        "surprised": ("You did all this in one day?",),
        "disgusted": ("I found a hair in my soup again.",),
    },
    "test": {
        "neutral": ("The parcel weighs two kilos.", "The lift is on the right."),
        "happy": ("I could dance all night long.", "What a lovely present, thank you!"),
        "sad": ("We had to say goodbye for ever.", "I feel so alone in this place."),
        "angry": ("I am sick of your lies.", "You ruined everything, do you hear?"),
        "fearful": ("I heard footsteps in the dark.", "Don't go in there, it is not safe."),
        "surprised": ("No way, is that really you?", "I never thought they would say yes!"),
        "disgusted": ("The rubbish has been rotting for weeks.", "I will not eat that slimy thing."),
    },
}
IDENTITIES = {"train": 40, "dev": 6, "test": 16}
SINGLE_SHARE = 0.65
TextMode = Literal["neutral", "congruent", "conflicting"]


@dataclass(frozen=True)
class ClipPlan:
    """Everything about one clip that is drawn by chance."""

    split: str
    index: int
    face: str
    voice: str
    text_mode: TextMode
    sentence: str
    identity: int
    intensity: float
    """How far face and voice are from neutral towards the emotion, 0.75 to 1.05."""
    seed: int
    """Seed of noise, light and small variations."""

    @property
    def name(self) -> str:
        return f"{self.split}_{self.index:04d}"

    @property
    def labels(self) -> list[str]:
        """Emotions shown, the face's first; one when face and voice agree."""
        return list(dict.fromkeys([self.face, self.voice]))


def split_sizes(clips: int) -> dict[str, int]:
    """Clips of each split: a fifth for the test, a twenty-fifth for development, the rest to learn from."""
    test, dev = max(1, clips // 5), max(1, clips // 25)
    return {"train": clips - test - dev, "dev": dev, "test": test}


def plan_clip(seed: int, split: str, index: int) -> ClipPlan:
    """The plan of one clip. It does not depend on the other clips that are generated."""
    rng = Random(f"{seed}/{split}/{index}")
    if rng.random() < SINGLE_SHARE:
        face = voice = EMOTIONS[index % len(EMOTIONS)]
    else:
        face, voice = rng.sample(EMOTIONS[1:], 2)
    text_mode, sentence = draw_sentence(rng, split, face, voice)
    return ClipPlan(
        split=split,
        index=index,
        face=face,
        voice=voice,
        text_mode=text_mode,
        sentence=sentence,
        identity=rng.randrange(IDENTITIES[split]),
        intensity=rng.uniform(0.75, 1.05),
        seed=rng.getrandbits(31),
    )


def draw_sentence(rng: Random, split: str, face: str, voice: str) -> tuple[TextMode, str]:
    """70 % say something neutral, 15 % something that fits, 15 % something that belongs to another emotion."""
    draw = rng.random()
    if draw < 0.7:
        return "neutral", rng.choice(NEUTRAL_SENTENCES[split])
    if draw < 0.85:
        return "congruent", rng.choice(EMOTIONAL_SENTENCES[split][face])
    other = rng.choice([emotion for emotion in EMOTIONS if emotion not in (face, voice)])
    return "conflicting", rng.choice(EMOTIONAL_SENTENCES[split][other])
