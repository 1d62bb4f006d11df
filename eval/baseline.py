"""Answer every clip with the same words: the best constant answer of the training split.

    affectllm eval baseline --train data/conversations.jsonl --gold data/conversations.jsonl --out runs/constant

The words are chosen on the training split only, so the score on the test split is one that a blind answer really gets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from affectllm import jsonl, vocabulary
from affectllm.data.reading import read_split
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.records import Answer, Conversation
from affectllm.scores.engine import baselines
from affectllm.scores.families.wheel_constants import ConstantScore
from affectllm.scores.summary import gold_labels
from affectllm.vocabulary import OURS, Wheels


@dataclass(frozen=True)
class Options:
    train: Path
    """Conversations from which the words are chosen."""
    gold: Path
    """Conversations to answer. This may be the same file."""
    out: Path
    """Folder for answers.jsonl."""
    train_split: str = "train"
    """Split of --train from which the words are chosen."""
    split: str = "test"
    """Split of --gold that is answered."""
    protocol: str = OURS
    """Emotion wheels and rules by which the words are scored."""
    assets: Path | None = None
    """Your copy of MERTools' emotion_wheel folder, for its protocols."""
    level: str = "level1"
    """Inner (level1) or outer (level2) ring of the wheels."""


def main(options: Options) -> None:
    wheels = vocabulary.load(options.protocol, options.assets)
    constant = choose(read_split(options.train, options.train_split), wheels, options.level)
    text = ", ".join(constant.labels)
    clips = read_split(options.gold, options.split)
    answers = [Answer(id=clip.id, text=text, model="constant", seconds=0.0, tokens=0, prompt_hash="") for clip in clips]
    path = options.out / "answers.jsonl"
    n = jsonl.write(path, answers)
    print(f"'{text}' to {n} clips (train set F1 {constant.value:.4f}, {wheels.protocol}): {path}")


def choose(clips: Sequence[Conversation], wheels: Wheels, level: str) -> baselines.Constant:
    """The best constant answer of up to 8 words on these clips."""
    gold = [labels for clip in clips if (labels := gold_labels(clip))]
    found = baselines.best(baselines.best_constants(gold, ConstantScore(gold, wheels, level).f1))
    if found is None:
        raise AffectError(f"None of the {len(clips)} training clips has a label to choose words from.")
    return found


if __name__ == "__main__":
    command(main)
