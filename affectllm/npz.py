"""NumPy archives from strangers: plain arrays as they are, pickled ones through a reader that runs no code.

Predictions, labels and vocabularies of this field are published as `.npz` with pickled dictionaries inside. Loading
those the usual way runs whatever the file says. Here a pickle may hold dictionaries, lists, strings, numbers, NumPy
scalars and arrays of these. Any other name in a pickle is an error that shows it.
"""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from affectllm.errors import AffectError


def read_npz(path: Path) -> dict[str, Any]:
    """Arrays of an archive by name; a pickled array becomes a list, a pickled 0-d array the object in it.

    Raises AffectError for a file that is not a whole archive, or holds a class that is not allowed.
    """
    if not path.is_file():
        raise AffectError(f"No file {path}. Give the path of an .npz archive.")
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            return {name.removesuffix(".npy"): read_array(archive.read(name), f"{path}:{name}") for name in names}
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise AffectError(f"{path} is not a whole .npz archive ({error}). Fetch it again.") from error


def read_npy(path: Path) -> Any:
    """The array of one `.npy` file, under the same rules."""
    if not path.is_file():
        raise AffectError(f"No file {path}. Give the path of an .npy file.")
    return read_array(path.read_bytes(), str(path))


def read_array(data: bytes, where: str) -> Any:
    """One array in NumPy's own file format; `where` names it in errors."""
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = read_header(file)
        if not kind.hasobject:
            file.seek(0)
            return np.lib.format.read_array(file, allow_pickle=False)
        items = SafeUnpickler(file).load()
    except (ValueError, TypeError, EOFError, IndexError, KeyError, AttributeError, pickle.UnpicklingError) as error:
        raise AffectError(f"{where} cannot be read: {error}. Fetch it again, from its authors.") from error
    if not isinstance(items, Items):
        raise AffectError(f"{where} holds a pickled {type(items).__name__}, a NumPy array was expected.")
    return items[0] if shape == () else list(items)


class SafeUnpickler(pickle.Unpickler):
    """An unpickler that knows only the few names that a pickled NumPy array needs."""

    def find_class(self, module: str, name: str) -> Any:
        core = module.replace("numpy._core", "numpy.core")
        known = {
            ("numpy.core.multiarray", "_reconstruct"): empty_items,
            ("numpy.core.multiarray", "scalar"): scalar,
            ("numpy.core.numeric", "_frombuffer"): items_of_buffer,
            ("numpy", "ndarray"): "ndarray",
            ("numpy", "dtype"): Kind,
            ("_codecs", "encode"): encode_latin1,
        }
        if (core, name) not in known:
            raise pickle.UnpicklingError(f"its pickle names {module}.{name}, which is neither a container nor a number")
        return known[core, name]


class Kind:
    """Replacement for numpy.dtype: it takes the letter code and the byte order, and nothing that could reach memory."""

    def __init__(self, code: str, *_: Any) -> None:
        self.dtype = np.dtype(code)
        if self.dtype.kind not in "biufSUO":
            raise pickle.UnpicklingError(f"its pickle holds values of type {code}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if self.dtype.kind == "O":
            return
        order, size = state[1], state[5]
        code = f"{self.dtype.kind}{size // 4 if self.dtype.kind == 'U' else size}" if size > 0 else self.dtype.str[1:]
        self.dtype = np.dtype(code).newbyteorder(order if order in "<>" else "=")

    def decode(self, raw: bytes) -> list[Any]:
        return list(np.frombuffer(raw, self.dtype).tolist())


class Items(list[Any]):
    """Replacement for an array that is being unpickled: its items, flat."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, _, kind, _, raw = state
        self.extend(raw if kind.dtype.kind == "O" else kind.decode(raw))


def empty_items(*_: Any) -> Items:
    return Items()


def items_of_buffer(raw: Any, kind: Kind, *_: Any) -> Items:
    """How pickle protocol 5 writes arrays of numbers."""
    return Items(kind.decode(bytes(raw)))


def scalar(kind: Kind, raw: Any) -> Any:
    return kind.decode(raw)[0]


def encode_latin1(text: str, encoding: str) -> bytes:
    """How pickle protocol 2 writes bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"its pickle encodes text as {encoding}")
    return text.encode("latin1")
