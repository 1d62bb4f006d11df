"""MTMEUR (Hu et al., 2025): multiple-choice questions that lead from one to the next over a video.

    affectllm build mtmeur --source data.json --out data/mtmeur

Reads a list of `{video_path, questions: [{question, options: {A..D}, correct_answer}]}`. Each question becomes a
conversation that begins with the earlier questions and their right answers, as the benchmark means its turns; its own
script forgets them. Score it with `eval score --metric mcq`. All rows get split `test`.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec

from affectllm.data.builder import Build, Built, build, item_of, need_file, reject, row_hash, rows_of, usable
from affectllm.data.data_sets import DataSet
from affectllm.data.tables import Row, find_source, read_list
from affectllm.options import command
from affectllm.prompts import compose
from affectllm.records import Annotation, Clip, Message, Meta, Target

DATA_SETS = {
    "mtmeur": DataSet(
        title="MTMEUR (multi-turn questions)",
        task="choice",
        language="en",
        licence="Apache-2.0 (questions)",
        url="https://huggingface.co/datasets/MindIntLab/MTMEUR",
        citation="Hu et al., arXiv 2508.16859",
        status="documented",
        rows={"test": 5101},
    ),
}
LICENCE = "Apache-2.0 (questions); the videos under their own"
PUBLISHED = {"videos": 1451, "questions": 5101}


@dataclass(frozen=True, kw_only=True)
class MTMEUR(Build):
    history: bool = True
    """Show the earlier questions of the video with their right answers. --no-history asks each question alone."""


class Question(msgspec.Struct):
    question: Annotated[str, msgspec.Meta(min_length=1)]
    options: Annotated[dict[str, str], msgspec.Meta(min_length=2)]
    correct_answer: str


class Video(msgspec.Struct):
    video_path: Annotated[str, msgspec.Meta(min_length=1)]
    questions: list[Question]


def main(options: MTMEUR) -> None:
    path = find_source(options.source, ("data.json", "MTMEUR.json", "example.json"))
    items = read_list(path, "videos")
    # Some copies wrap the list into another one.
    videos = items[0] if len(items) == 1 and isinstance(items[0], list) else items
    named = ((Path(str(row.values.get("video_path", ""))).stem, row) for row in rows_of(videos))
    build(
        options,
        usable(named, options.shard, path, partial(ask, options, path)),
        sources=[path],
        licence=LICENCE,
        notes={"published_rows": PUBLISHED, "table_rows": {"videos": len(videos)}},
    )


def ask(options: MTMEUR, path: Path, name: str, row: Row) -> Built:
    """The questions about a video, each after the earlier ones with their right answers."""
    video = item_of(row, Video)
    media = Clip(video=need_file(options.media, video.video_path))
    asked: list[Message] = []
    for turn, question in enumerate(video.questions, 1):
        letter = question.correct_answer.strip().upper()
        if letter not in question.options:
            reason = f"the right answer {question.correct_answer!r} is none of {', '.join(question.options)}"
            yield reject(row, path, f"{name}_q{turn}", reason)
            continue
        annotation = Annotation(
            id=f"{name}_q{turn}",
            dataset="mtmeur",
            split="test",
            media=media,
            language="en",
            target=Target(basic=letter, options=question.options),
            meta=Meta(licence=LICENCE, hash=row_hash(msgspec.structs.asdict(question))),
        )
        # The clip is shown once, in the first turn.
        parts = () if asked else ("video", "audio")
        conversation = compose(annotation, "choice", "labels", options.seed, parts=parts, asked=question.question)
        messages = [*asked, *conversation.messages]
        yield msgspec.structs.replace(conversation, messages=messages)
        asked = messages if options.history else []


if __name__ == "__main__":
    command(main)
