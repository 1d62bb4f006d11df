"""A server with vLLM's endpoints around a small Qwen2.5-Omni that transformers runs.

It renders prompts, decodes media and loads adapters by itself, from what arrives alone, so that agreement with the
trainer's log-probabilities says that all of it arrived.
"""

import base64
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy.io import wavfile

from affectllm.models import load
from affectllm.models.adapters import attach
from affectllm.models.base.backbone import Media, Sample, join_media
from affectllm.models.base.generation import left_padded

KINDS = {"video_url": "video", "audio_url": "audio"}


class Server:
    """What was asked of it is kept; `version`, `root` and `shift` (of its log-probabilities) may lie."""

    def __init__(self, model: Path) -> None:
        self.model = str(model)
        self.version, self.root, self.shift = "0.31.0", str(model), 0.0
        self.url = ""
        self.adapters: dict[str, Any] = {}
        self.weights: list[dict[str, torch.Tensor]] = []
        self.asked: list[dict[str, Any]] = []
        self.media: list[Media] = []
        self.completions: list[list[int]] = []
        self._lock = threading.Lock()

    def get(self, path: str) -> Any:
        card = {"id": "served", "root": self.root, "parent": None}
        return {"/version": {"version": self.version}, "/v1/models": {"data": [card]}}[path]

    def post(self, path: str, body: dict[str, Any]) -> Any:
        # One at a time: forwards share the generator that seeds set.
        with self._lock:
            if path == "/v1/load_lora_adapter":
                folder = Path(body["lora_path"])
                self.weights.append(load_file(folder / "adapter_model.safetensors"))
                backbone = load(self.model, "float32")
                backbone.model = attach(backbone.model, folder).eval()
                self.adapters[body["lora_name"]] = backbone
                return "Success"
            if path == "/v1/unload_lora_adapter":
                del self.adapters[body["lora_name"]]
                return "Success"
            assert path == "/v1/chat/completions"
            self.asked.append(body)
            return self.complete(body, self.adapters[body["model"]])

    @torch.inference_mode()
    def complete(self, body: dict[str, Any], backbone: Any) -> dict[str, Any]:
        media = decode(body)
        self.media.append(media)
        backbone.processor.videos_kwargs = {"size": body["mm_processor_kwargs"]["size"]}
        prepared = backbone.preprocess(media)
        messages = [
            {**message, "content": [{**part, "type": KINDS.get(part["type"], "text")} for part in message["content"]]}
            for message in body["messages"]
        ]
        text = backbone.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        sample = Sample(backbone.expand(text, prepared), backbone.inputs(prepared))
        ids, mask = left_padded([sample] * body["n"], 0)
        torch.manual_seed(body["seed"])
        made = backbone.model.generate(
            input_ids=ids,
            attention_mask=mask,
            **join_media([sample] * body["n"]),
            max_new_tokens=body["max_completion_tokens"],
            do_sample=True,
            temperature=body["temperature"],
            top_k=body["top_k"],
            top_p=body["top_p"],
            suppress_tokens=[int(token) for token, bias in body["logit_bias"].items() if bias == -100],
            output_logits=True,
            return_dict_in_generate=True,
        )
        said = made.sequences[:, ids.shape[1] :]
        # Before the barred tokens are taken out: then they are the trainer's to the last digits, at temperature 1.
        log_probs = torch.stack(made.logits, 1).log_softmax(-1).gather(2, said[..., None])[..., 0] + self.shift
        choices = []
        for index, (row, values) in enumerate(zip(said.tolist(), log_probs.tolist(), strict=True)):
            end = row.index(backbone.tokenizer.eos_token_id) + 1 if backbone.tokenizer.eos_token_id in row else len(row)
            self.completions.append(row[:end])
            content = [{"token": f"token_id:{row[i]}", "logprob": values[i]} for i in range(end)]
            choices.append({"index": index, "token_ids": row[:end], "logprobs": {"content": content}})
        # The order of choices is nobody's promise.
        return {"prompt_token_ids": sample.prompt_ids, "choices": choices[::-1]}


def decode(body: dict[str, Any]) -> Media:
    """The clip in a request, as vLLM takes it apart (vllm/multimodal/media)."""
    parts = {part["type"]: part for message in body["messages"] for part in message["content"]}
    kind, _, frames = parts["video_url"]["video_url"]["url"].partition(",")
    assert kind == "data:video/jpeg;base64"
    video = body["media_io_kwargs"]["video"]
    assert (video["num_frames"], video["do_sample_frames"]) == (-1, False)
    assert body["mm_processor_kwargs"]["fps"] == video["fps"]
    shown = [np.asarray(Image.open(BytesIO(base64.b64decode(frame, validate=True)))) for frame in frames.split(",")]
    kind, _, sound = parts["audio_url"]["audio_url"]["url"].partition(",")
    assert kind == "data:audio/wav;base64"
    rate_hz, wave = wavfile.read(BytesIO(base64.b64decode(sound, validate=True)))
    assert rate_hz == 16000
    return Media(np.stack(shown), np.arange(len(shown)) / video["fps"], wave)


@contextmanager
def serving(server: Server) -> Any:
    """The address at which `server` answers meanwhile."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(lambda: server.get(self.path))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.answer(lambda: server.post(self.path, body))

        def answer(self, made: Any) -> None:
            try:
                code, said = 200, json.dumps(made())
            except Exception as error:
                code, said = 500, json.dumps({"error": repr(error)})
            self.send_response(code)
            self.end_headers()
            self.wfile.write(said.encode())

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}"
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
