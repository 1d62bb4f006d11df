"""The folder in which things that are made once are kept."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """$AFFECTLLM_CACHE, else the user's cache directory (XDG)."""
    if chosen := os.environ.get("AFFECTLLM_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "affectllm"
