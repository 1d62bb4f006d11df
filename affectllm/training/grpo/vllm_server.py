"""A running vLLM server, asked over HTTP: its version, the model that it serves, and what it answers."""

import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from affectllm.errors import AffectError

# The oldest and the newest vLLM whose front end and adapter loader accepted what is sent here.
OLDEST, NEWEST = (0, 22), (0, 33)
HOW = "docs/grpo.md, 'Sampling on a vLLM server', has the command that starts it."


class VLLMServer:
    """A running server of a known version. AffectError if there is none."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        # A proxy that is set for the outside world must not be used between two machines of one cluster.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.version = self.get("/version").get("version", "none")
        found = re.match(r"(\d+)\.(\d+)", self.version)
        if not found or not OLDEST <= (int(found[1]), int(found[2])) <= NEWEST:
            raise AffectError(
                f"{self.url} runs vLLM {self.version}, and --rollout vllm-server is written for "
                f"{'.'.join(map(str, OLDEST))} to {'.'.join(map(str, NEWEST))}. {HOW}"
            )
        self.models: list[dict[str, Any]] = self.get("/v1/models")["data"]

    def get(self, path: str) -> Any:
        said = self._ask(path, None, 10.0)
        try:
            return json.loads(said)
        except ValueError as error:
            raise AffectError(f"{self.url}{path} is not a vLLM server: it answers {said[:80]!r}. {HOW}") from error

    def post(self, path: str, body: dict[str, Any], timeout_s: float = 600.0) -> str:
        return self._ask(path, json.dumps(body).encode(), timeout_s)

    def _ask(self, path: str, body: bytes | None, timeout_s: float) -> str:
        request = urllib.request.Request(self.url + path, body, {"Content-Type": "application/json"})
        try:
            with self._opener.open(request, timeout=timeout_s) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")[:500]
            raise AffectError(f"{self.url}{path} answers with {error.code}: {said} {HOW}") from error
        except (OSError, ValueError) as error:
            raise AffectError(f"No vLLM server answers at {self.url}{path}: {error}. {HOW}") from error


def check_model(server: VLLMServer, name: str) -> None:
    """Check that the server serves the base model of this name or folder: its path or its alias must fit."""
    base = [card for card in server.models if not card.get("parent")]
    served = [value for card in base for value in (card.get("root"), card["id"]) if value]
    if Path(name).expanduser().resolve() not in {Path(value).expanduser().resolve() for value in served}:
        raise AffectError(
            f"{server.url} serves {' alias '.join(dict.fromkeys(served))}, and the model that is trained is {name}. "
            f"Start it with: vllm serve {name} ..."
        )
