"""Where a word lands on every wheel, and how much of a data set's labels our vocabulary maps.

affectllm vocab WORD [--json]
affectllm vocab coverage FILE [--json]     csv with an 'openset' column, jsonl with 'labels', or one list a line
"""

import json
from dataclasses import dataclass
from pathlib import Path

import tyro

from affectllm.commands.verbs import ALONE, Verb
from affectllm.errors import AffectError
from affectllm.vocabulary import lexicon


@dataclass(frozen=True)
class Word:
    words: tyro.conf.Positional[tuple[str, ...]]
    """An emotion word, or several that make one label."""
    json: bool = False
    """Print the result as one JSON object."""


@dataclass(frozen=True)
class Coverage:
    file: tyro.conf.Positional[Path]
    """A csv with a column 'openset' or 'labels', a jsonl with 'labels', or a text file with one list a line."""
    json: bool = False
    """Print the result as one JSON object."""


def show_word(options: Word) -> None:
    """Where a word lands on every wheel, and why.

    affectllm vocab heartbroken
    """
    if not options.words:
        raise AffectError("Give a word, as in: affectllm vocab heartbroken")
    found = lexicon.explain(" ".join(options.words))
    if options.json:
        places = {wheel: place._asdict() for wheel, place in found.groups.items()}
        print(json.dumps(found._asdict() | {"groups": places}, ensure_ascii=False, indent=2))
        return
    if found.base is None:
        print(f"{found.form}: not in the vocabulary; it counts as a group of its own on every wheel")
        return
    print(f"{found.word} -> {found.base} ({found.rule}; source: {found.source}) -> concept '{found.concept}'")
    print(f"valence   {found.valence:+d}")
    print(f"synonyms  {', '.join(found.synonyms[:12])}{' ...' if len(found.synonyms) > 12 else ''}")
    for wheel, place in found.groups.items():
        print(f"{wheel:<11}{place.level1} / {place.level2}   ({place.why})")


def show_coverage(options: Coverage) -> None:
    """How much of the labels in a file our vocabulary maps, and the labels that it does not, most frequent first.

    affectllm vocab coverage openset.csv --json
    """
    from affectllm.answers.coverage import coverage

    found = coverage(options.file)
    if options.json:
        print(json.dumps(found, ensure_ascii=False))
        return
    for name in ("tokens", "types"):
        mapped, total = found[f"mapped_{name}"], found[name]
        print(f"{name}  {mapped} of {total} mapped ({mapped / total:.1%})")
    print(f"unmapped  {', '.join(found['unmapped'][:40]) or 'none'}")


VERBS = {ALONE: Verb(Word, show_word), "coverage": Verb(Coverage, show_coverage)}
