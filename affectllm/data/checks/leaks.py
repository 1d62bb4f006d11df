"""The same clip or the same words in training and in held-out rows, and rows that repeat each other.

Texts are compared without case, marks and spaces; near-duplicates by the word pairs they share. Candidates for a near
match come from MinHash signatures (Broder, 1997) cut into bands, so that no row is compared with all others; what is
reported is the true Jaccard similarity.
"""

import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from affectllm import jsonl
from affectllm.data.checks.scripts import CHINESE
from affectllm.records import Conversation

# Shorter utterances ("Yeah, sure.") recur in any two splits without being the same one.
FEWEST_WORDS, FEWEST_CHINESE = 6, 8
NEAR = 0.8
"""Jaccard similarity of word pairs from which two texts count as nearly the same."""
BANDS, ROWS = 16, 4
"""Size of a signature: pairs at similarity 0.8 share a band with probability 0.9998, pairs at 0.3 with 0.12."""
WORD = re.compile(r"\w+")
# Some lists name clips with the suffix of the file, others without it.
ENDINGS = {".mp4", ".avi", ".mkv", ".mov", ".webm", ".wav", ".mp3", ".flac", ".jpg", ".jpeg", ".png"}


def text_key(text: str | None) -> str:
    """A text without case, marks and spaces; empty when it is too short to identify the text.

    >>> text_key("I did NOT expect -- to see you!")
    'ididnotexpecttoseeyou'
    """
    words = WORD.findall((text or "").casefold())
    key = "".join(words)
    long_enough = len(words) >= FEWEST_WORDS or len(CHINESE.findall(key)) >= FEWEST_CHINESE
    return key if long_enough else ""


def name_key(name: str) -> str:
    """A clip's id as other lists may spell it: without folder, media ending and case.

    >>> name_key("clips/Sample_00001.MP4"), name_key("dia1_utt2")
    ('sample_00001', 'dia1_utt2')
    """
    path = PurePosixPath(name.lower())
    return path.stem if path.suffix in ENDINGS else path.name


def shared_between_splits(keyed: Iterable[tuple[str, Conversation]]) -> list[str]:
    """`train id = test id` for every held-out row whose key a training row has too; empty keys are no keys.

    Only the first such training row is named: acted sentences are in thousands of rows.
    """
    trained: dict[str, str] = {}
    held_out: list[tuple[str, str]] = []
    for key, row in keyed:
        if key and row.split == "train":
            trained.setdefault(key, row.id)
        elif key:
            held_out.append((key, row.id))
    return [f"{trained[key]} = {name}" for key, name in held_out if key in trained]


class Near(NamedTuple):
    """Two rows whose texts are nearly the same."""

    first: Conversation
    second: Conversation
    similarity: float


def near_duplicates(rows: Sequence[Conversation]) -> list[Near]:
    """Pairs of rows whose texts share most word pairs without being equal, the most similar first.

    For each text, one training row and one held-out row are compared. Time and memory grow with the number of rows,
    not with the number of pairs.
    """
    first: dict[tuple[str, bool], Conversation] = {}
    for row in rows:
        if key := text_key(row.subtitle):
            first.setdefault((key, row.split == "train"), row)
    keys, distinct = list(first), list(first.values())
    pieces = [shingles(row.subtitle or "") for row in distinct]
    found = []
    for i, j in sorted(candidates(pieces, [trained for _, trained in keys])):
        similarity = len(pieces[i] & pieces[j]) / len(pieces[i] | pieces[j])
        if similarity >= NEAR and keys[i][0] != keys[j][0]:
            found.append(Near(distinct[i], distinct[j], similarity))
    return sorted(found, key=lambda pair: -pair.similarity)


def shingles(text: str) -> frozenset[str]:
    """Neighbouring words of a text in pairs; a Chinese character counts as a word."""
    words = WORD.findall(CHINESE.sub(lambda found: f" {found[0]} ", text.casefold()))
    return frozenset(f"{a} {b}" for a, b in pairwise(words)) or frozenset(words)


def candidates(pieces: Sequence[frozenset[str]], trained: Sequence[bool]) -> set[tuple[int, int]]:
    """Pairs of texts (numbers, the lower first) whose signatures agree in a band.

    Of each band every text meets the first training text and the first held-out one: families of repeats give two
    stars, not all pairs, and a repeat within one split hides no leak.
    """
    random = np.random.default_rng(0)
    # Multiplication modulo 2^64 by odd numbers: each is an order of all hashes, and the first in it the signature.
    factors = random.integers(0, 1 << 63, BANDS * ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    found: set[tuple[int, int]] = set()
    bands: list[tuple[dict[bytes, int], dict[bytes, int]]] = [({}, {}) for _ in range(BANDS)]
    for i, (parts, side) in enumerate(zip(pieces, trained, strict=True)):
        hashes = np.fromiter((zlib.crc32(part.encode()) for part in parts), np.uint64, len(parts))
        signature = (hashes[:, None] * factors).min(0)
        for band, known in enumerate(bands):
            key = signature[band * ROWS : (band + 1) * ROWS].tobytes()
            found.update((first[key], i) for first in known if key in first)
            known[side].setdefault(key, i)
    return found


def repeats(rows: Iterable[Conversation]) -> Iterator[list[str]]:
    """Ids of rows of one split with the same clip, words, person and answer; of text alone, when it is long enough."""
    places: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for row in rows:
        clip, text = jsonl.dumps(row.media), text_key(row.subtitle)
        if text or clip != "{}":
            answer = jsonl.dumps(row.target)
            places[row.split, row.task, clip, text or row.subtitle, row.person, answer].append(row.id)
    return (ids for ids in places.values() if len(ids) > 1)
