"""What is known about a data set before its files are read."""

from typing import Literal

from affectllm.records import Record, Task


class DataSet(Record, kw_only=True):
    """What the list of data sets says about one (`affectllm build --list`)."""

    title: str
    task: Task
    language: str
    """ISO 639-1 code, or `mul` for several: then give --language."""
    licence: str
    url: str
    citation: str
    status: Literal["verified", "documented"]
    """verified: built from the data set's real files; documented: written from its documentation only."""
    rows: dict[str, int] = {}
    """Published number of rows by split."""
    files: dict[str, str] = {}
    """File under the source -> split."""
