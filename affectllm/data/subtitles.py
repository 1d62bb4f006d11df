"""Subtitle tables of the MER series: the words of a clip by its name, from whichever column has them."""

from pathlib import Path
from typing import Any, NamedTuple

from affectllm.data.checks.scripts import CHINESE
from affectllm.data.tables import columns_of, stream_table
from affectllm.errors import AffectError

COLUMNS = ("english", "sentence", "subtitles", "chinese")
# Only these tables write 'nan' for a missing translation.
ABSENT = ("", "nan")


class Subtitle(NamedTuple):
    """What is said in a clip, its language, and what had to be done to get it."""

    text: str | None
    language: str
    defects: tuple[str, ...]


NONE = Subtitle(None, "en", ())


def read_subtitles(path: Path) -> dict[str, Subtitle]:
    """The subtitle of each clip, by its name."""
    if not set(COLUMNS) & set(seen := columns_of(path)):
        raise AffectError(f"{path} has no text column. Columns there: {', '.join(seen)}; wanted: {', '.join(COLUMNS)}.")
    return {row.values["name"]: subtitle_of(row.values) for row in stream_table(path, ("name",))}


def subtitle_of(values: dict[str, Any]) -> Subtitle:
    """English first, Chinese where it is missing, which is marked."""
    for column in COLUMNS:
        text = values.get(column, "").strip()
        if text.lower() not in ABSENT:
            language = "zh" if CHINESE.search(text) else "en"
            return Subtitle(text, language, ("chinese-subtitle-used",) if column == "chinese" else ())
    return Subtitle(None, "en", ("no-subtitle",))
