"""The one exception that a user is meant to read, and hints for its text."""

import difflib
from collections.abc import Iterable


class AffectError(Exception):
    """A problem that the user can fix: the message says what was seen, where, and what to do next.

    Commands print it as one line without a traceback, and exit with code 2.
    """


def missing_package(feature: str, extra: str) -> AffectError:
    """The error for a feature whose optional packages are not installed."""
    return AffectError(
        f"{feature} needs packages that are not installed. Install them with: pip install 'affectllm[{extra}]'"
    )


def closest(word: str, known: Iterable[str]) -> str:
    """A sentence with the known word that a mistyped one is closest to, or nothing.

    >>> closest("trian", ["train", "eval"])
    " Perhaps you meant 'train'."
    """
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" Perhaps you meant '{near[0]}'." if near else ""
