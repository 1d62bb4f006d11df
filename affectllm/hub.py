"""Sending a folder to the Hugging Face hub."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from affectllm.errors import AffectError


def send(folder: Path, name: str, kind: Literal["model", "dataset"], leave_out: Sequence[str] = ()) -> str:
    """Upload a folder as a repository `owner/name`, without the files that match `leave_out`; return its address.

    A repository that is not there yet is made private, since many data sets, and models trained on them, may not be
    passed on: its owner decides who sees it. Raises AffectError where the hub cannot be reached or refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    hub = HfApi()
    # The hub's client has been requests, httpx and httpx2: its errors are known by what the hub's own derives from.
    unreachable: Any = HfHubHTTPError.__bases__[0]
    try:
        hub.create_repo(name, repo_type=kind, exist_ok=True, private=True)
        done = hub.upload_folder(repo_id=name, repo_type=kind, folder_path=folder, ignore_patterns=list(leave_out))
    except (unreachable, OSError, ValueError) as error:
        raise AffectError(
            f"The hub did not take {name} ({' '.join(str(error).split())}). {folder} is whole: log in with "
            f"`hf auth login`, then `hf upload {name} {folder} --repo-type {kind}`."
        ) from error
    return str(done.commit_url)
