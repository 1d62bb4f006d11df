"""Look after the cache of media features.

affectllm cache stat                  entries and size
affectllm cache prune --max-gib 5     remove the entries that were unused for longest
affectllm cache verify                read everything, remove what is corrupt
"""

from dataclasses import dataclass
from pathlib import Path

from affectllm.commands.verbs import Verb
from affectllm.media.cache import DEFAULT_BYTES, FeatureCache, Stat
from affectllm.paths import cache_folder

GIB = 1 << 30


@dataclass(frozen=True)
class Cache:
    folder: Path | None = None
    """Folder of the cache. Without it, the one that training and evaluation use ($AFFECTLLM_CACHE)."""


@dataclass(frozen=True)
class Prune(Cache):
    max_gib: float = DEFAULT_BYTES / GIB
    """Size in GiB that the cache is shrunk to."""


def stat(options: Cache) -> None:
    """The number of entries in the cache and their size."""
    cache = opened(options.folder)
    show(cache, cache.stat())


def prune(options: Prune) -> None:
    """Remove the entries that were unused for longest, until the cache is no larger than --max-gib."""
    cache = opened(options.folder)
    show(cache, cache.prune(int(options.max_gib * GIB)))


def verify(options: Cache) -> None:
    """Read every entry, and remove those that are corrupt."""
    cache = opened(options.folder)
    corrupt = cache.verify()
    for path in corrupt:
        print(f"removed {path}")
    print(f"{len(corrupt)} corrupt entries")
    show(cache, cache.stat())


def opened(folder: Path | None) -> FeatureCache:
    return FeatureCache(folder or cache_folder() / "features")


def show(cache: FeatureCache, size: Stat) -> None:
    print(f"{size.entries} entries, {size.bytes / GIB:.3f} GiB, {size.abandoned} abandoned files in {cache.folder}")


VERBS = {"stat": Verb(Cache, stat), "prune": Verb(Prune, prune), "verify": Verb(Cache, verify)}
