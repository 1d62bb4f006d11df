"""HumanOmniV2's emer_rewrite.json: questions about EMER's clips with several right options and worked-out reasoning.

    affectllm build emer-rewrite --source emer_rewrite.json --out data/emer-rewrite --exclude check-openset.csv

Every item asks its own question. The letters of the options are dropped: the answer is the labels themselves, which are
read and scored like any other labels. The clips are those of EMER and OV-MERD. Leave out what you test on (--exclude).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

import msgspec

from affectllm.answers.lists import clean_label
from affectllm.data.builder import Build, Built, build, item_of, need_file, row_hash, rows_of, usable
from affectllm.data.data_sets import DataSet
from affectllm.data.descriptions import names_in
from affectllm.data.tables import Row, find_source, read_list
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.prompts import Mode, compose
from affectllm.records import Annotation, Clip, Meta, Target

DATA_SETS = {
    "emer-rewrite": DataSet(
        title="EMER rewritten (HumanOmniV2)",
        task="labels",
        language="en",
        licence="Apache-2.0, derived from EMER (CC BY-NC 4.0)",
        url="https://github.com/HumanMLLM/HumanOmniV2",
        citation="Yang et al., arXiv 2506.21277",
        status="verified",
        rows={"train": 150},
    ),
}
LICENCE = "Apache-2.0 (HumanOmniV2); derived from EMER, CC BY-NC 4.0"
FILES = ("emer_rewrite.json",)
PUBLISHED = 150
OPTION = re.compile(r"\s*([A-Z])[.)]\s*(.+)", re.DOTALL)
SOLUTION = re.compile(
    r"\s*<context>(?P<context>.*?)</context>\s*<think>(?P<think>.*?)</think>\s*<answer>(?P<answer>.*?)</answer>\s*",
    re.DOTALL,
)


@dataclass(frozen=True, kw_only=True)
class EmerRewrite(Build):
    exclude: tuple[Path, ...] = ()
    """Csv files with a column `name`. Their clips are left out: name the files that you test on."""
    mode: Mode = "think"
    """Form of the answer: labels, describe, think or json."""
    split: str = "train"
    """Split that the items get."""


class Item(msgspec.Struct):
    """What an item must hold; data_type and path are not used."""

    problem: str
    problem_type: Literal["emer_ov_mc"]
    options: list[str]
    solution: str
    answer: str
    clean_list: list[str]
    video: str


def main(options: EmerRewrite) -> None:
    path = find_source(options.source, FILES)
    items = read_list(path)
    build(
        options,
        usable(named(rows_of(items)), options.shard, options.source, partial(ask, options, names_in(options.exclude))),
        sources=[path, *options.exclude],
        licence=LICENCE,
        notes={"published_rows": PUBLISHED, "table_rows": len(items)},
    )


def named(rows: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """Each item with the name of its clip, numbered from the second item about a clip on."""
    seen: Counter[str] = Counter()
    for row in rows:
        clip = clip_name(row)
        seen[clip] += 1
        yield (clip if seen[clip] == 1 else f"{clip}_{seen[clip]}"), row


def clip_name(row: Row) -> str:
    return PurePosixPath(str(row.values.get("video", ""))).stem


def ask(options: EmerRewrite, held_out: set[str], name: str, row: Row) -> Built:
    """The question of an item; an AffectError says why it cannot be asked."""
    if clip_name(row) in held_out:
        raise AffectError("also in a file given with --exclude")
    item = item_of(row, Item)
    choices = {found[1]: clean_label(found[2]) for found in map(OPTION.fullmatch, item.options) if found}
    if len(choices) < len(item.options):
        raise AffectError("an option is not written as 'A. word'")
    solution = SOLUTION.fullmatch(item.solution)
    if solution is None:
        raise AffectError("the solution is not <context>, <think> and <answer>")
    letters = re.findall(r"[A-Z]", item.answer)
    if not letters or not set(letters) <= set(choices):
        raise AffectError(f"the answer {item.answer!r} names no option, or one that is not there")
    labels = [choices[letter] for letter in letters]
    checks = {
        "answer-differs-from-list": sorted(labels) != sorted(map(clean_label, item.clean_list)),
        "answer-differs-from-solution": letters != re.findall(r"[A-Z]", solution["answer"]),
    }
    defects = [kind for kind, there in checks.items() if there]
    annotation = Annotation(
        id=name,
        dataset="emer-rewrite",
        split=options.split,
        media=Clip(video=need_file(options.media, item.video, "")),
        language="en",
        target=Target(labels=labels, description=f"{solution['context'].strip()}\n{solution['think'].strip()}"),
        meta=Meta(licence=LICENCE, defects=defects, hash=row_hash(row.values)),
    )
    candidates, asked = list(choices.values()), item.problem.strip()
    yield compose(annotation, "labels", options.mode, options.seed, candidates=candidates, asked=asked)


if __name__ == "__main__":
    command(main)
