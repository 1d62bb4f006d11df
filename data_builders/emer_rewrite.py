"""HumanOmniV2's emer_rewrite.json: questions about EMER's clips with several right options and worked-out reasoning.

    affectllm build emer-rewrite --source emer_rewrite.json --out data/emer-rewrite --exclude check-openset.csv

Every item asks its own question. The letters of options are dropped: the answer wanted is the labels themselves, which
are read and scored like any other. The clips are those of EMER and OV-MERD: leave out what you test on (--exclude).
"""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec

from affectllm.answers.lists import clean_label
from affectllm.data.builder import Build, Built, build, reject, row_hash
from affectllm.data.dataset_cards import DataSet
from affectllm.data.reading import in_shard
from affectllm.data.tables import Row, find_source, read_json, read_table
from affectllm.errors import AffectError
from affectllm.options import command
from affectllm.prompts import Mode, compose
from affectllm.records import Annotation, Clip, Conversation, Meta, Target, problem_of

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
Asked = Literal["emer_ov_mc"]


@dataclass(frozen=True, kw_only=True)
class EmerRewrite(Build):
    exclude: tuple[Path, ...] = ()
    """Csvs with a column name whose clips are left out, so that nothing tested on is trained on."""
    mode: Mode = "think"
    """Form of the answer."""
    split: str = "train"
    """Split the items are put in."""


class Item(msgspec.Struct):
    """What an item must hold; data_type and path are not used."""

    problem: str
    problem_type: Asked
    options: list[str]
    solution: str
    answer: str
    clean_list: list[str]
    video: str


def main(run: EmerRewrite) -> None:
    path = find_source(run.source, FILES)
    items = read_json(path)
    if not isinstance(items, list):
        raise AffectError(f"{path} must hold a list of items, it holds a {type(items).__name__}.")
    held_out = {row.values["name"] for other in run.exclude for row in read_table(other, ("name",))}
    build(
        run,
        converse(run, items, held_out),
        sources=[path, *run.exclude],
        licence=LICENCE,
        notes={"published_rows": PUBLISHED, "table_rows": len(items)},
    )


def converse(run: EmerRewrite, items: list[Any], held_out: set[str]) -> Built:
    seen: Counter[str] = Counter()
    for number, values in enumerate(items, 1):
        row = Row(number, values if isinstance(values, dict) else {"value": values})
        clip = PurePosixPath(str(row.values.get("video", ""))).stem
        seen[clip] += 1
        # A clip may be asked about several times.
        name = clip if seen[clip] == 1 else f"{clip}_{seen[clip]}"
        if not in_shard(number, run.shard):
            continue
        if clip in held_out:
            yield reject(row, run.source, name, "also in a file given with --exclude")
            continue
        try:
            yield ask(run, msgspec.convert(values, Item), name, row_hash(row.values))
        except msgspec.ValidationError as error:
            yield reject(row, run.source, name, problem_of(error))
        except AffectError as problem:
            yield reject(row, run.source, name, str(problem))


def ask(run: EmerRewrite, item: Item, name: str, hashed: str) -> Conversation:
    """An item as a conversation; an AffectError says why it cannot be one."""
    options = {found[1]: clean_label(found[2]) for found in map(OPTION.fullmatch, item.options) if found}
    if len(options) < len(item.options):
        raise AffectError("an option is not written as 'A. word'")
    solution = SOLUTION.fullmatch(item.solution)
    if solution is None:
        raise AffectError("the solution is not <context>, <think> and <answer>")
    letters = re.findall(r"[A-Z]", item.answer)
    if not letters or not set(letters) <= set(options):
        raise AffectError(f"the answer {item.answer!r} names no option, or one that is not there")
    if run.media and not (run.media / item.video).is_file():
        raise AffectError(f"no {item.video} under {run.media}")
    labels = [options[letter] for letter in letters]
    checks = {
        "answer-differs-from-list": sorted(labels) != sorted(map(clean_label, item.clean_list)),
        "answer-differs-from-solution": letters != re.findall(r"[A-Z]", solution["answer"]),
    }
    annotation = Annotation(
        id=name,
        dataset="emer-rewrite",
        split=run.split,
        media=Clip(video=item.video),
        language="en",
        target=Target(labels=labels, description=f"{solution['context'].strip()}\n{solution['think'].strip()}"),
        meta=Meta(licence=LICENCE, defects=[kind for kind, there in checks.items() if there], hash=hashed),
    )
    return compose(
        annotation, "labels", run.mode, run.seed, candidates=list(options.values()), asked=item.problem.strip()
    )


if __name__ == "__main__":
    command(main)
