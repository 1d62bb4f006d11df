"""Tensors that are made from a clip once and kept by content: same bytes, options and processor, same entry.

An entry is one safetensors file with a checksum. It is written whole or not at all, so writers may race and be killed.
Reading marks an entry as used. When the folder outgrows its size, the entries that were unused for longest are removed.
"""

import hashlib
import json
import os
import re
import time
import uuid
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from affectllm import jsonl
from affectllm.errors import AffectError, missing_package

if TYPE_CHECKING:
    import numpy as np
    import torch

# Part of every key: raise it when readers make something else from the same file.
FORMAT = 1
DEFAULT_BYTES = 20 << 30
# A full folder is emptied to this share, so that not every write has to look for entries to remove.
KEPT_SHARE = 0.9
# Each writer looks at the folder again after writing this share of its size.
LOOK_SHARE = 1 / 16
# A half-written file this old belongs to a writer that was killed.
ABANDONED_S = 3600.0


class Stat(NamedTuple):
    entries: int
    bytes: int
    abandoned: int
    """Half-written files of writers that were killed."""


class Entry(NamedTuple):
    path: Path
    bytes: int
    used_at: float


class FeatureCache:
    """A folder of tensors by key, of about `max_bytes` at most (each writer may exceed it by 1/16 before it checks)."""

    def __init__(self, folder: Path | str, max_bytes: int = DEFAULT_BYTES) -> None:
        self.folder, self.max_bytes = Path(folder), max_bytes
        self._until_look = 0.0

    @staticmethod
    def key(content_hash: str, options: Mapping[str, Any], fingerprint: str) -> str:
        """Name of what a processor (`fingerprint`) makes from a file (`content_hash`) read with these options."""
        parts = [FORMAT, content_hash, dict(options), fingerprint]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def get(self, key: str) -> "dict[str, np.ndarray] | dict[str, torch.Tensor] | None":
        """The tensors as they were put, NumPy's or torch's, or None. A corrupt entry is removed and is absent."""
        path = self.path(key)
        try:
            blob = path.read_bytes()
            os.utime(path)
        except FileNotFoundError:
            return None
        if checksum_fits(blob):
            return unpack(blob)
        path.unlink(missing_ok=True)
        return None

    def put(self, key: str, tensors: "Mapping[str, np.ndarray] | Mapping[str, torch.Tensor]") -> None:
        """Keep tensors under a key, in place of what was there. Tensors larger than the whole cache are not kept."""
        blob = pack(tensors)
        if len(blob) > self.max_bytes:
            return
        path = self.path(key)
        jsonl.make_folder(path.parent)
        partial = path.with_name(f"{path.stem}.{uuid.uuid4().hex}.partial")
        try:
            partial.write_bytes(blob)
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise AffectError(
                f"Cannot write the media cache {self.folder}: {error.strerror}. Make room with 'affectllm cache "
                "prune', or name another folder in AFFECTLLM_CACHE."
            ) from error
        self._until_look -= len(blob)
        if self._until_look < 0:
            self._until_look = min(self.max_bytes * LOOK_SHARE, self.max_bytes - self.prune(self.max_bytes).bytes)

    def path(self, key: str) -> Path:
        if not re.fullmatch("[0-9a-f]{64}", key):
            raise ValueError(f"a cache key is what FeatureCache.key returns, not {key!r}")
        return self.folder / key[:2] / f"{key}.safetensors"

    def prune(self, max_bytes: int) -> Stat:
        """Remove abandoned files and, above `max_bytes`, the longest unused entries; return what is left."""
        for partial in self.abandoned():
            partial.unlink(missing_ok=True)
        entries = sorted(self.entries(), key=lambda entry: entry.used_at)
        total = sum(entry.bytes for entry in entries)
        goal = total if total <= max_bytes else max_bytes * KEPT_SHARE
        gone = 0
        while total > goal:
            entries[gone].path.unlink(missing_ok=True)
            total -= entries[gone].bytes
            gone += 1
        return Stat(len(entries) - gone, total, 0)

    def stat(self) -> Stat:
        entries = list(self.entries())
        return Stat(len(entries), sum(entry.bytes for entry in entries), len(list(self.abandoned())))

    def verify(self) -> list[Path]:
        """Read every entry and remove those whose checksum does not fit; return their paths."""
        corrupt = []
        for entry in self.entries():
            try:
                sound = checksum_fits(entry.path.read_bytes())
            except FileNotFoundError:
                continue
            if not sound:
                corrupt.append(entry.path)
                entry.path.unlink(missing_ok=True)
        return corrupt

    def entries(self) -> Iterator[Entry]:
        for path in self.folder.glob("??/*.safetensors"):
            try:
                status = path.stat()
            except FileNotFoundError:
                # Another process has just removed it.
                continue
            yield Entry(path, status.st_size, status.st_mtime)

    def abandoned(self) -> Iterator[Path]:
        for path in self.folder.glob("??/*.partial"):
            try:
                age_s = time.time() - path.stat().st_mtime
            except FileNotFoundError:
                continue
            if age_s > ABANDONED_S:
                yield path


def pack(tensors: "Mapping[str, np.ndarray] | Mapping[str, torch.Tensor]") -> bytes:
    """A safetensors file; its metadata hold the library of the tensors and a checksum over all that is stored."""
    try:
        import safetensors.numpy
    except ImportError as error:
        raise missing_package("The media cache", "train") from error
    library = "torch" if any(type(tensor).__module__.startswith("torch") for tensor in tensors.values()) else "numpy"
    if library == "torch":
        import safetensors.torch

        blob = safetensors.torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})  # type: ignore[union-attr]
    else:
        import numpy as np

        blob = safetensors.numpy.save(
            {name: np.ascontiguousarray(tensor).reshape(np.shape(tensor)) for name, tensor in tensors.items()}
        )
    header, values = split(blob)
    header["__metadata__"] = {"library": library}
    header["__metadata__"]["crc32"] = str(checksum(header, values))
    text = json.dumps(header).encode()
    # The format wants values to begin at a multiple of 8 bytes; blanks may follow the JSON.
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bytes(values)


def unpack(blob: bytes) -> "dict[str, np.ndarray] | dict[str, torch.Tensor]":
    if split(blob)[0]["__metadata__"]["library"] == "torch":
        import safetensors.torch

        return safetensors.torch.load(blob)
    import safetensors.numpy

    return safetensors.numpy.load(blob)


def split(blob: bytes) -> tuple[dict[str, Any], memoryview]:
    """Header and values of a safetensors file: 8 bytes of header length, JSON, values."""
    length = int.from_bytes(blob[:8], "little")
    return json.loads(blob[8 : 8 + length]), memoryview(blob)[8 + length :]


def checksum(header: dict[str, Any], values: memoryview) -> int:
    return zlib.crc32(values, zlib.crc32(json.dumps(header, sort_keys=True).encode()))


def checksum_fits(blob: bytes) -> bool:
    """False for an entry that was cut off or changed somewhere."""
    try:
        header, values = split(blob)
        written = header["__metadata__"].pop("crc32")
        return written == str(checksum(header, values))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
