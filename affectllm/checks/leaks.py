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

from affectllm.records import Conversation

# Shorter utterances ("Yeah, sure.") recur in any two splits without being the same one.
FEWEST_WORDS, FEWEST_CHINESE = 6, 8
NEAR = 0.8
"""Jaccard similarity of word pairs from which two texts count as nearly the same."""
BANDS, ROWS = 16, 4
"""Of a signature: pairs at similarity 0.8 share a band with probability 0.9998, pairs at 0.3 with 0.12."""
WORD = re.compile(r"\w+")
CHINESE = re.compile(r"[\u4e00-\u9fff]")
# The lists of data sets name clips with and without their ending.
ENDINGS = {".mp4", ".avi", ".mkv", ".mov", ".webm", ".wav", ".mp3", ".flac", ".jpg", ".jpeg", ".png"}


def text_key(text: str | None) -> str:
    """A text without case, marks and spaces; empty when it is too short to be told apart.

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
    """`train id = test id` for every key that a training and another split have in common; empty keys are no keys."""
    places: dict[str, list[Conversation]] = defaultdict(list)
    for key, row in keyed:
        if key:
            places[key].append(row)
    return [
        f"{trained.id} = {held_out.id}"
        for rows in places.values()
        for trained in rows
        for held_out in rows
        if trained.split == "train" and held_out.split != "train"
    ]


class Near(NamedTuple):
    """Two rows whose texts are nearly the same."""

    first: Conversation
    second: Conversation
    similarity: float


def near_duplicates(rows: Sequence[Conversation]) -> list[Near]:
    """Pairs of rows whose texts share most word pairs without being equal, the likest first.

    One row stands for all of one text. Time and memory grow with the number of rows, not with that of pairs.
    """
    first: dict[str, Conversation] = {}
    for row in rows:
        if key := text_key(row.subtitle):
            first.setdefault(key, row)
    distinct = list(first.values())
    pieces = [shingles(row.subtitle or "") for row in distinct]
    found = []
    for i, j in sorted(candidates(pieces)):
        similarity = len(pieces[i] & pieces[j]) / len(pieces[i] | pieces[j])
        if similarity >= NEAR:
            found.append(Near(distinct[i], distinct[j], similarity))
    return sorted(found, key=lambda pair: -pair.similarity)


def shingles(text: str) -> frozenset[str]:
    """Neighbouring words of a text in pairs; Chinese characters stand for words."""
    words = WORD.findall(CHINESE.sub(lambda found: f" {found[0]} ", text.casefold()))
    return frozenset(f"{a} {b}" for a, b in pairwise(words)) or frozenset(words)


def candidates(pieces: Sequence[frozenset[str]]) -> set[tuple[int, int]]:
    """Pairs of texts (numbers, the lower first) whose signatures agree in a band."""
    random = np.random.default_rng(0)
    # Multiplication modulo 2^64 by odd numbers: each is an order of all hashes, and the first in it the signature.
    factors = random.integers(0, 1 << 63, BANDS * ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    found = set()
    bands: list[dict[bytes, int]] = [{} for _ in range(BANDS)]
    for i, parts in enumerate(pieces):
        hashes = np.fromiter((zlib.crc32(part.encode()) for part in parts), np.uint64, len(parts))
        signature = (hashes[:, None] * factors).min(0)
        for band, known in enumerate(bands):
            # Every text is compared with the first of its band: families of repeats give a star, not all pairs.
            first = known.setdefault(signature[band * ROWS : (band + 1) * ROWS].tobytes(), i)
            if first != i:
                found.add((first, i))
    return found


def repeats(rows: Iterable[Conversation]) -> Iterator[list[str]]:
    """Ids of rows of one split with the same text, media and labels."""
    places: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for row in rows:
        if key := text_key(row.subtitle):
            places[key, row.split, row.task, row.media.model_dump_json(), tuple(row.target.labels)].append(row.id)
    return (ids for ids in places.values() if len(ids) > 1)
