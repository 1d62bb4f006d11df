"""Reader of CTranslate2's model.bin: named arrays, one after the other, little-endian."""

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from affectllm.errors import AffectError

TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def read_variables(path: Path) -> dict[str, np.ndarray]:
    """Every array of the file by its name, aliases included.

    Layout: version, specification name, revision, count; then per array its name, rank, dimensions, type, size in
    bytes and content; then the aliases.
    """
    with path.open("rb") as file:
        (version,) = unpack(file, "I")
        if version < 6:
            raise AffectError(f"{path} is CTranslate2 format {version}; 6 or newer was expected.")
        text(file), unpack(file, "I")
        (count,) = unpack(file, "I")
        found = dict(variable(file) for _ in range(count))
        (aliases,) = unpack(file, "I")
        for _ in range(aliases):
            alias, name = text(file), text(file)
            found[alias] = found[name]
    return found


def variable(file: BinaryIO) -> tuple[str, np.ndarray]:
    name = text(file)
    (rank,) = unpack(file, "B")
    shape = unpack(file, "I" * rank)
    (kind,) = unpack(file, "B")
    (size,) = unpack(file, "I")
    return name, np.frombuffer(file.read(size), TYPES[kind]).reshape(shape)


def text(file: BinaryIO) -> str:
    (length,) = unpack(file, "H")
    return file.read(length).rstrip(b"\0").decode()


def unpack(file: BinaryIO, layout: str) -> tuple[int, ...]:
    layout = "<" + layout
    return struct.unpack(layout, file.read(struct.calcsize(layout)))
