"""A hub of this machine: it takes repositories and files as the real one does, and remembers them."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest


class Hub(ThreadingHTTPServer):
    """What was made and sent: `repositories` as they were asked for, `files` by path."""

    def __init__(self, refuses: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.refuses = refuses
        self.repositories: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.refuses:
            return self.answer(401, {"error": "Invalid credentials"})
        self.answer(200, self.found(body))

    def found(self, body: bytes) -> dict[str, Any]:
        """What the hub says; large files would go elsewhere, here all come with the commit."""
        hub = self.server
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            hub.repositories.append(asked)
            kind = "datasets/" if asked.get("type") == "dataset" else ""
            return {"url": f"{hub.url}/{kind}{asked['organization']}/{asked['name']}"}
        if "/preupload/" in self.path:
            paths = [file["path"] for file in json.loads(body)["files"]]
            return {"files": [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths]}
        if "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    hub.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            oid = "0" * 40
            return {"commitOid": oid, "commitUrl": f"{hub.url}{self.path.removeprefix('/api')}/{oid}"}
        return {}

    def answer(self, status: int, found: dict[str, Any]) -> None:
        body = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serve(monkeypatch: pytest.MonkeyPatch, refuses: bool = False) -> Iterator[Hub]:
    """A hub to which `huggingface_hub` speaks in this process."""
    from huggingface_hub import constants

    with Hub(refuses) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", "hf_nobody")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        Thread(target=hub.serve_forever, daemon=True).start()
        yield hub
        hub.shutdown()
