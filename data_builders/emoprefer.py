"""EmoPrefer (Lian et al., ICLR 2026): which of two descriptions of a clip people prefer.

    affectllm build emoprefer --source preference_emoprefer.csv --out data/emoprefer --swap

Takes the files with and without model names, both versions, and MER2026's candidates without a preference (asked, but
without an answer). `--swap` adds each pair the other way round, which shows whether a judge looks at the order.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from affectllm.data.builder import Build, Built, build, find_clip, reject, row_hash
from affectllm.data.dataset_cards import DataSet
from affectllm.data.reading import in_shard
from affectllm.data.tables import Row, find_source, read_table
from affectllm.options import command
from affectllm.prompts import compose
from affectllm.records import Annotation, Clip, Conversation, Meta, Target

DATA_SETS = {
    "emoprefer": DataSet(
        title="EmoPrefer v1",
        task="preference",
        language="en",
        licence="CC BY-NC 4.0",
        url="https://github.com/zeroQiaoba/AffectGPT",
        citation="Lian et al., ICLR 2026",
        status="verified",
        rows={"train": 574},
    ),
}
LICENCE = "CC BY-NC 4.0"
FILES = ("preference_emoprefer.csv", "track3_emoprefer.csv", "track3_emopreferv2.csv", "track3_candidate.csv")
# The shipped run script of the challenge writes 'tie' where the data say 'same'.
PREFERENCES = {"a1": "a1", "a2": "a2", "same": "same", "tie": "same", "": None}
SWAPPED = {"a1": "a2", "a2": "a1", "same": "same", None: None}


@dataclass(frozen=True, kw_only=True)
class EmoPrefer(Build):
    swap: bool = False
    """Add every pair with its descriptions exchanged; its id ends in _swap."""
    split: str = "train"
    """Split the rows are put in."""


def main(run: EmoPrefer) -> None:
    path = find_source(run.source, FILES)
    rows = read_table(path, ("name", "a1", "a2"))
    build(
        run,
        converse(run, rows),
        sources=[path],
        licence=LICENCE,
        rows_in=sum(in_shard(row.number, run.shard) for row in rows),
    )


def converse(run: EmoPrefer, rows: Iterable[Row]) -> Built:
    pairs: Counter[str] = Counter()
    for row in rows:
        name = row.values["name"].strip()
        pairs[name] += 1
        # A clip may be judged with several pairs of descriptions.
        pair = name if pairs[name] == 1 else f"{name}_{pairs[name]}"
        if not in_shard(row.number, run.shard):
            continue
        if problem := problem_with(run, row):
            yield reject(row, run.source, pair, problem)
            continue
        yield ask(run, row, pair, swapped=False)
        if run.swap:
            yield ask(run, row, f"{pair}_swap", swapped=True)


def problem_with(run: EmoPrefer, row: Row) -> str:
    """Why a row cannot be used, or nothing."""
    values = row.values
    if not values["name"].strip():
        return "no name"
    if not (values["a1"].strip() and values["a2"].strip()):
        return "a description is empty"
    if values.get("preference", "").strip() not in PREFERENCES:
        return f"preference is {values['preference']!r}, not a1, a2 or same"
    return "" if find_clip(run.media, values["name"].strip()) else f"no clip under {run.media}"


def ask(run: EmoPrefer, row: Row, name: str, swapped: bool) -> Conversation:
    values = row.values
    preference = PREFERENCES[values.get("preference", "").strip()]
    clip = find_clip(run.media, values["name"].strip())
    choices = (values["a2"], values["a1"]) if swapped else (values["a1"], values["a2"])
    told = {
        "preference": SWAPPED[preference] if swapped else preference,
        "options": dict(zip(("a1", "a2"), choices, strict=True)),
    }
    annotation = Annotation(
        id=name,
        dataset="emoprefer",
        split=run.split,
        media=clip or Clip(),
        language="en",
        target=msgspec.convert(told, Target),
        meta=Meta(
            licence=LICENCE,
            defects=["undecided"] if preference == "same" else [],
            hash=row_hash(values),
        ),
    )
    return compose(annotation, task="preference", mode="labels", seed=run.seed, choices=choices)


if __name__ == "__main__":
    command(main)
