"""EmoPrefer (Lian et al., ICLR 2026): which of two descriptions of a clip people prefer.

    affectllm build emoprefer --source preference_emoprefer.csv --out data/emoprefer --swap

Reads the files with and without model names, versions 1 and 2, and MER2026's candidates, which have no preference and
become questions without an answer. `--swap` adds each pair the other way round, which shows whether a judge depends on
the order. A preference of `same` is kept and listed as a defect.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import msgspec

from affectllm.data.builder import Build, Built, build, count_in_shard, need_clip, row_hash, usable
from affectllm.data.data_sets import DataSet
from affectllm.data.tables import Row, find_source, read_table
from affectllm.errors import AffectError
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
LICENCE = DATA_SETS["emoprefer"].licence
FILES = ("preference_emoprefer.csv", "track3_emoprefer.csv", "track3_emopreferv2.csv", "track3_candidate.csv")
# The shipped run script of the challenge writes 'tie' where the data say 'same'.
PREFERENCES = {"a1": "a1", "a2": "a2", "same": "same", "tie": "same", "": None}
SWAPPED = {"a1": "a2", "a2": "a1", "same": "same", None: None}


@dataclass(frozen=True, kw_only=True)
class EmoPrefer(Build):
    swap: bool = False
    """Also ask every pair with its descriptions exchanged, under an id that ends in _swap."""
    split: str = "train"
    """Split that the rows get."""


def main(options: EmoPrefer) -> None:
    path = find_source(options.source, FILES)
    rows = read_table(path, ("name", "a1", "a2"))
    build(
        options,
        usable(named(rows), options.shard, options.source, partial(ask, options)),
        sources=[path],
        licence=LICENCE,
        rows_in=count_in_shard(rows, options.shard),
    )


def named(rows: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """Each pair with the name of its clip, numbered from the second pair about a clip on."""
    pairs: Counter[str] = Counter()
    for row in rows:
        clip = row.values["name"].strip()
        pairs[clip] += 1
        yield (clip if pairs[clip] == 1 else f"{clip}_{pairs[clip]}"), row


def ask(options: EmoPrefer, name: str, row: Row) -> Built:
    """The pair and, with --swap, the same pair the other way round; an AffectError says why there is none."""
    clip, a1, a2 = row.values["name"].strip(), row.values["a1"], row.values["a2"]
    preference = row.values.get("preference", "").strip()
    if not clip:
        raise AffectError("no name")
    if not (a1.strip() and a2.strip()):
        raise AffectError("a description is empty")
    if preference not in PREFERENCES:
        raise AffectError(f"preference is {row.values['preference']!r}, not a1, a2 or same")
    media = need_clip(options.media, clip, shown="")
    yield pair(options, name, row, media, (a1, a2), PREFERENCES[preference])
    if options.swap:
        yield pair(options, f"{name}_swap", row, media, (a2, a1), SWAPPED[PREFERENCES[preference]])


def pair(
    options: EmoPrefer, name: str, row: Row, media: Clip, choices: tuple[str, str], preference: str | None
) -> Conversation:
    """The question which of two descriptions people prefer."""
    target = {"preference": preference, "options": dict(zip(("a1", "a2"), choices, strict=True))}
    defects = ["undecided"] if preference == "same" else []
    annotation = Annotation(
        id=name,
        dataset="emoprefer",
        split=options.split,
        media=media,
        language="en",
        target=msgspec.convert(target, Target),
        meta=Meta(licence=LICENCE, defects=defects, hash=row_hash(row.values)),
    )
    return compose(annotation, task="preference", mode="labels", seed=options.seed, choices=choices)


if __name__ == "__main__":
    command(main)
