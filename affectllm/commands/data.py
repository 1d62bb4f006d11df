"""Check data folders, ask other questions about them, and exchange them with other trainers.

    affectllm data check data/meld data/meld-test --media clips     what is in folders, and what is wrong with them
    affectllm data ask data/meld --tasks next --out data/meld-next  other questions about the same annotations
    affectllm data export data/meld --to ms-swift --out export/meld
    affectllm data import export/meld/train.jsonl --from ms-swift --out data/again

Each of the four answers --help.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from affectllm import hub, jsonl
from affectllm.commands.verbs import Verb
from affectllm.data import exporting, folder, importing
from affectllm.data.ask import How, Known, ask_all, candidates_of, demonstrations, target_of, without_definition
from affectllm.data.checks.labels import read_scores
from affectllm.data.questions import Asked
from affectllm.data.reading import CONVERSATIONS, in_shard, read_folder
from affectllm.data.report import as_text, check
from affectllm.errors import AffectError
from affectllm.prompts import Mode
from affectllm.records import Conversation


@dataclass(frozen=True, kw_only=True)
class Check:
    folders: tyro.conf.Positional[tuple[Path, ...]]
    """Data folders to check, which `affectllm build` wrote."""
    media: Path | None = None
    """Root of the clips. With it, the report lists missing and broken clips, and content that is in train and test."""
    verify: bool = False
    """Decode every frame of every clip. This finds damage in the middle of a clip and takes many times as long."""
    notes: Path | None = None
    """File that remembers what was found about each clip. Without it, media_probe.jsonl in the first folder."""
    scores: Path | None = None
    """Scores of a model not trained on these rows, as lines {id, scores: {label: p}}. Doubtful labels are ranked."""
    html: Path | None = None
    """Also write the report as one HTML page that needs no other file."""
    json: bool = False
    """Print the report as JSON."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    folder: tyro.conf.Positional[Path]
    """Data folder to read, which `affectllm build` wrote."""
    tasks: tuple[Asked, ...]
    """Questions to ask about each row. Several questions give one row each."""
    out: Path
    """Folder for conversations.jsonl, rejected.jsonl and manifest.json."""
    mode: Mode | None = None
    """Form of the answer, for tasks that have several. Without it, the description for describe, labels for others."""
    target: Literal["given", "majority", "all", "distribution"] = "given"
    """Which of the raters' labels to take: the most frequent, all, or the share of each. `given` keeps the target."""
    classes: tuple[str, ...] = ()
    """Labels to choose from. Without it, those of the folder's closed set, in alphabetical order."""
    definitions: bool = False
    """Say in the prompt what the labels to choose from mean."""
    demonstrations: int = 0
    """Number of training rows shown with their answers before the question: those most like its text."""
    pool: Path | None = None
    """Folder whose training split gives the demonstrations. Without it, the folder itself."""
    dialogue: str | None = None
    """Regular expression on the id whose group names the dialogue, such as '^(.+)_utt'. Without it, our own ids."""
    seed: int = 7
    """Seed that draws each row's wording of the question."""
    shard: str = "1/1"
    """Part i of n of the rows, as i/n. Use it to spread the rows over machines."""


@dataclass(frozen=True, kw_only=True)
class Export:
    folder: tyro.conf.Positional[Path]
    """Data folder to read, which `affectllm build` wrote."""
    to: exporting.Form
    """Trainer whose form is written. parquet is that of TRL and Hugging Face datasets."""
    out: Path
    """Folder that gets one file per split, and rejected.jsonl."""
    media: Path | None = None
    """Root of the clips, put before every path. Without it, paths stay relative."""
    push: str | None = None
    """Repository on the Hugging Face hub, as name/dataset, that gets the Parquet files and their page. A new
    repository is private."""


@dataclass(frozen=True, kw_only=True)
class Import:
    file: tyro.conf.Positional[Path]
    """File with messages to read: .jsonl, .json or .parquet."""
    source: Annotated[exporting.Form, tyro.conf.arg(name="from")]
    """Trainer whose form the file has."""
    out: Path
    """Folder for conversations.jsonl, rejected.jsonl and manifest.json."""
    split: str = "train"
    """Split of the rows that do not name one."""
    language: str | None = None
    """ISO 639-1 code of the language of rows that do not name one."""
    licence: str = "not stated"
    """Licence of the rows that do not name one."""


def check_folders(asked: Check) -> int:
    """What is in data folders, and what is wrong with them together: one report before any training.

        affectllm data check data/meld data/meld-test --media clips

    The exit code is 0 when nothing is wrong and 1 when something is.
    """
    if not asked.folders:
        raise AffectError("Name at least one folder that affectllm build wrote: affectllm data check DIR...")
    scores = read_scores(asked.scores) if asked.scores else None
    report = check(asked.folders, asked.media, scores, asked.notes, asked.verify)
    if asked.html:
        from affectllm.reports.render import page

        jsonl.write_text(asked.html, page("data.html.jinja", report=report, shown=20))
    print(json.dumps(report, ensure_ascii=False, indent=2) if asked.json else "\n".join(as_text(report)))
    return 1 if report["problems"] else 0


def ask_folder(asked: Ask) -> int:
    """Ask other questions about data that are built already.

        affectllm data ask data/meld --tasks next --out data/meld-next
        affectllm data ask data/emer --tasks clues progressive --out data/emer-evidence
        affectllm data ask data/iemocap --tasks vad --out data/iemocap-vad
        affectllm data ask data/emotionlines --tasks distribution --target distribution --out data/emotionlines-votes
        affectllm data ask data/meld-test --tasks basic --demonstrations 4 --pool data/meld --out data/meld-icl

    A row whose annotation does not answer a question is rejected with the reason. Rows without any label, such as
    those of a test set, keep their question open.
    """
    if asked.demonstrations < 0:
        raise AffectError(f"--demonstrations {asked.demonstrations} must be 0 or more.")
    if asked.demonstrations and "next" in asked.tasks:
        raise AffectError("Demonstrations are found by the text that task next must not show: ask for it without them.")
    source = asked.folder / CONVERSATIONS
    rows = read_folder(asked.folder)
    if not rows:
        raise AffectError(f"{source} holds no conversations.")
    targets = [target_of(row, None if asked.target == "given" else asked.target) for row in rows]
    closed = asked.classes or candidates_of(targets)
    shown = demonstrations_of(asked, rows)
    how = How(asked.tasks, asked.mode, asked.seed, closed, asked.definitions)
    manifest = folder.write(
        asked.out,
        ask_all(map(Known, rows, targets, shown), how, source, asked.shard),
        sources=[source],
        options=asdict(asked),
        licence=", ".join(dict.fromkeys(row.meta.licence for row in rows)),
        rows_in=sum(in_shard(number, asked.shard) for number in range(1, len(rows) + 1)),
    )
    print("\n".join(folder.summary(manifest, asked.out)))
    if asked.definitions and (lost := without_definition(closed)):
        print(f"  note: no definition of {', '.join(lost)}")
    if asked.definitions and not closed:
        print("  note: there is no closed set of labels to define: name it with --classes")
    if few := sum(len(its) < asked.demonstrations for its in shown):
        print(f"  note: {few} rows have fewer than {asked.demonstrations} demonstrations: no more texts share a word")
    return 0


def demonstrations_of(asked: Ask, rows: Sequence[Conversation]) -> list[list[Conversation]]:
    """The training rows shown before each row's question; none unless they are asked for."""
    if not asked.demonstrations:
        return [[] for _ in rows]
    pool = rows if asked.pool in (None, asked.folder) else read_folder(asked.pool)
    return demonstrations(rows, pool, asked.demonstrations, asked.dialogue, asked.pool or asked.folder)


def export_folder(asked: Export) -> int:
    """Write conversations in the form of another trainer.

        affectllm data export data/meld --to parquet --out export/meld
        affectllm data export data/meld --to ms-swift --out export/meld
        affectllm data export data/meld --to llama-factory --out export/meld

    parquet is for TRL and Hugging Face datasets and comes with a page for the hub; llama-factory comes with its
    dataset_info.json.
    """
    if asked.push and asked.to != "parquet":
        raise AffectError("--push sends Parquet files: export with --to parquet.")
    done = exporting.export(asked.folder, asked.to, asked.out, asked.media)
    shown = ", ".join(f"{split} {n}" for split, n in done.counts.items())
    print(f"{shown or 'nothing'} -> {asked.out}, {done.rejected} rejected")
    if asked.push:
        print(f"Sent to {hub.send(asked.out, asked.push, 'dataset', leave_out=[exporting.REJECTED])}")
    return 0


def import_file(asked: Import) -> int:
    """Read conversations that were exported, or that another trainer uses.

        affectllm data import export/meld/train.jsonl --from ms-swift --out data/again

    Rows that cannot be read are rejected with the reason.
    """
    if not asked.file.is_file():
        raise AffectError(f"No file {asked.file}. Give a .jsonl, .json or .parquet file with messages.")
    unnamed = importing.Unnamed(asked.split, asked.language, asked.licence)
    manifest = folder.write(
        asked.out,
        importing.conversations(asked.file, unnamed),
        sources=[asked.file],
        options=asdict(asked),
        licence=asked.licence,
    )
    print("\n".join(folder.summary(manifest, asked.out)))
    return 0


VERBS = {
    "check": Verb(Check, check_folders),
    "ask": Verb(Ask, ask_folder),
    "export": Verb(Export, export_folder),
    "import": Verb(Import, import_file),
}
