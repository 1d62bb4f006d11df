"""Look after the cache of media features.

affectllm cache stat                  entries and size
affectllm cache prune --max-gib 5     remove what was unused for longest
affectllm cache verify                read everything, remove what is corrupt
"""

from dataclasses import dataclass
from pathlib import Path

from affectllm.errors import AffectError
from affectllm.media.cache import DEFAULT_BYTES, FeatureCache
from affectllm.options import parse
from affectllm.paths import cache_folder

GIB = 1 << 30


@dataclass(frozen=True)
class Cache:
    folder: Path | None = None
    """The cache to look at; without, the one that training and evaluation use ($AFFECTLLM_CACHE)."""
    max_gib: float = DEFAULT_BYTES / GIB
    """prune: size to shrink to."""


def run(words: list[str]) -> int:
    verbs = ("stat", "prune", "verify")
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    if words[0] not in verbs:
        raise AffectError(f"No '{words[0]}' under 'affectllm cache'. Known: {', '.join(verbs)}.")
    options = parse(Cache, words[1:])
    cache = FeatureCache(options.folder or cache_folder() / "features")
    if words[0] == "verify":
        corrupt = cache.verify()
        for path in corrupt:
            print(f"removed {path}")
        print(f"{len(corrupt)} corrupt entries")
    found = cache.prune(int(options.max_gib * GIB)) if words[0] == "prune" else cache.stat()
    print(f"{found.entries} entries, {found.bytes / GIB:.3f} GiB, {found.abandoned} abandoned files in {cache.folder}")
    return 0
