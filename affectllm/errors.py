"""The one exception a user is meant to read."""


class AffectError(Exception):
    """Something the user can mend: the message says what was seen, where, and what to do next.

    Commands print it as one line and leave with exit code 2; no traceback.
    """


def missing_package(feature: str, extra: str) -> AffectError:
    """The error for a feature whose optional packages are not installed."""
    return AffectError(
        f"{feature} needs packages that are not installed. Install them with: pip install 'affectllm[{extra}]'"
    )
