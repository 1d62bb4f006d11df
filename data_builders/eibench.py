"""EIBench (Lin et al., 2025): what triggers the emotion in an image, as a numbered list.

    affectllm build eibench --source EIBench/EI_Basic --questions user.jsonl --out data/eibench
    affectllm build eibench --source EIBench/EI_Complex/ec_complex.jsonl --out data/eibench-complex

The basic part has its references in basic_ground_truth.json, `{image: "1. ... 2. ..."}`, and its questions in a file of
lines `{image: question}`. The complex part has both in lines `{image: {question: "1. ..."}}`, and may ask twice about
an image. The images are EmoSet-118k's and CAER-S's, by their paths there. All rows get split `test`.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from affectllm import jsonl
from affectllm.data.builder import Build, Built, build, need_file, row_hash, usable
from affectllm.data.data_sets import DataSet
from affectllm.data.tables import Row, find_source, read_object
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.prompts import compose
from affectllm.records import Annotation, Clip, Meta, Target

DATA_SETS = {
    "eibench": DataSet(
        title="EIBench (triggers of emotions in images)",
        task="describe",
        language="en",
        licence="Apache-2.0 (questions and references); the images under EmoSet's and CAER's terms",
        url="https://github.com/Lum1104/EIBench",
        citation="Lin et al., arXiv 2504.07521",
        status="documented",
        rows={"test": 1665},
    ),
}
LICENCE = DATA_SETS["eibench"].licence
PUBLISHED = {"basic": 1615, "complex": 50}
BASIC, COMPLEX = "basic_ground_truth.json", "ec_complex.jsonl"


@dataclass(frozen=True, kw_only=True)
class EIBench(Build):
    questions: Path | None = None
    """JSON lines `{image: question}` for the basic part. Without them, every image gets our own question about
    causes."""


class Item(NamedTuple):
    image: str
    question: str
    """Empty where none is known."""
    triggers: str


def main(options: EIBench) -> None:
    path = find_source(options.source, (BASIC, COMPLEX))
    items = list(complex_items(path) if path.suffix == ".jsonl" else basic_items(path, options.questions))
    build(
        options,
        usable(named(items), options.shard, path, partial(ask, options)),
        sources=[path, *([options.questions] if options.questions else [])],
        licence=LICENCE,
        notes={"published_rows": PUBLISHED, "table_rows": len(items)},
    )


def basic_items(path: Path, questions: Path | None) -> Iterator[Item]:
    lines = jsonl.read_dicts(questions) if questions else ()
    asked = {image: str(text) for line in lines for image, text in line.items()}
    for image, triggers in read_object(path, "an entry per image").items():
        yield Item(image, asked.get(image, ""), str(triggers))


def complex_items(path: Path) -> Iterator[Item]:
    for line in jsonl.read_dicts(path):
        for image, entries in line.items():
            pairs: dict[str, Any] = entries if isinstance(entries, dict) else {"": entries}
            for question, triggers in pairs.items():
                yield Item(image, question, str(triggers))


def named(items: list[Item]) -> Iterator[tuple[str, Row]]:
    """Each item with its image, numbered from the second question about an image on."""
    seen: Counter[str] = Counter()
    for number, item in enumerate(items, 1):
        seen[item.image] += 1
        name = item.image if seen[item.image] == 1 else f"{item.image}#{seen[item.image]}"
        yield name, Row(number, item._asdict())


def ask(options: EIBench, name: str, row: Row) -> Built:
    """The question about an image; an AffectError says why there is none."""
    item = Item(**row.values)
    triggers = numbered_triggers(item.triggers)
    if not triggers:
        raise AffectError("no numbered triggers")
    defects = [] if item.question else ["no-question"]
    annotation = Annotation(
        id=name,
        dataset="eibench",
        split="test",
        media=Clip(image=need_file(options.media, item.image, "image ")),
        language="en",
        target=Target(description="\n".join(f"{i}. {trigger}" for i, trigger in enumerate(triggers, 1))),
        meta=Meta(licence=LICENCE, defects=defects, hash=row_hash(row.values)),
    )
    asked = item.question or "What may have caused the emotion in this image? List the causes, numbered."
    yield compose(annotation, "describe", "describe", options.seed, parts=("image",), asked=asked)


def numbered_triggers(text: str) -> list[str]:
    """The statements of a numbered list, without their numbers and final stops.

    >>> numbered_triggers("1. Radiant smile.\\n2. Playing the guitar")
    ['Radiant smile', 'Playing the guitar']
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    found = [line.partition(".")[2].strip().rstrip(".") for line in lines if line.partition(".")[0].isdigit()]
    return [statement for statement in found if statement]


if __name__ == "__main__":
    command(main)
