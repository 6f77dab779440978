"""The parts of vLLM's protocol that asking a merged model uses, with transformers behind them."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

NAME = "merged"
MOST_LOG_PROBS = 20


class RefusalError(Exception):
    """An answer of another status than 200."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class VllmServer:
    """A model, and how its server behaves.

    Attributes:
        enabled: Started with --enable-prompt-embeds.
        deaf: Ignores ``prompt_embeds``, as servers do that do not know it.
        processed: Log-probabilities are those after restrictions.
        delay_s: Waits this long before each answer.
        bodies: Every request that came, without its embeddings.
    """

    def __init__(self, folder: Path) -> None:
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.names = [NAME]
        self.enabled, self.deaf, self.processed = True, False, False
        self.delay_s = 0.0
        self.bodies: list[dict[str, Any]] = []
        self.address = ""
        self.lock = threading.Lock()

    def models(self) -> dict[str, Any]:
        return {"object": "list", "data": [{"id": n, "max_model_len": 4096} for n in self.names]}

    def written(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield an answer's tokens, each with its log-probabilities."""
        embeds = self._embeds(body)
        draws = torch.Generator().manual_seed(body.get("seed") or 0)
        for _ in range(body["max_tokens"]):
            with self.lock, torch.no_grad():
                logits = self.model(inputs_embeds=embeds[None]).logits[0, -1].float()
            allowed = torch.full_like(logits, -torch.inf)
            allowed[body.get("allowed_token_ids") or slice(None)] = 0
            restricted = logits + allowed
            token = int(restricted.argmax())
            if body["temperature"]:
                probs = (restricted / body["temperature"]).softmax(-1)
                token = int(torch.multinomial(probs, 1, generator=draws))
            told = (restricted if self.processed else logits).log_softmax(-1)
            best = told.topk(min(body["logprobs"], len(told)))
            top = {int(t): float(v) for v, t in zip(*best, strict=True)}
            pairs = {token: float(told[token]), **top}
            yield {
                "tokens": [f"token_id:{token}"],
                "token_logprobs": [float(told[token])],
                "top_logprobs": [{f"token_id:{t}": max(v, -9999.0) for t, v in pairs.items()}],
            }
            if token in body.get("stop_token_ids", []):
                return
            with torch.no_grad():
                more = self.model.get_input_embeddings()(torch.tensor([token]))
            embeds = torch.cat([embeds, more])

    def num_prompt(self, body: dict[str, Any]) -> int:
        return 1 if self.deaf else len(self._embeds(body))

    def _embeds(self, body: dict[str, Any]) -> Tensor:
        if self.deaf:
            return torch.zeros(1, self.model.config.hidden_size)
        if not self.enabled:
            raise RefusalError(
                400, "You must set `--enable-prompt-embeds` to input `prompt_embeds`."
            )
        content = io.BytesIO(base64.b64decode(body["prompt_embeds"], validate=True))
        embeds: Tensor = torch.load(content, weights_only=True)
        if embeds.shape[-1] != self.model.config.hidden_size:
            raise RefusalError(400, "`prompt_embeds` hidden_size does not match the model's")
        return embeds.to(self.model.dtype)

    def check(self, body: dict[str, Any]) -> None:
        if body["model"] not in self.names:
            raise RefusalError(404, f"The model `{body['model']}` does not exist.")
        if body.get("echo"):
            raise RefusalError(400, "Echo is unsupported with prompt embeds.")
        if body.get("prompt_logprobs") is not None:
            raise RefusalError(400, "prompt_logprobs is not compatible with prompt embeds.")
        if body["logprobs"] > MOST_LOG_PROBS:
            raise RefusalError(400, f"logprobs is more than the maximum, {MOST_LOG_PROBS}")
        assert body["repetition_penalty"] == 1
        assert body["return_tokens_as_token_ids"] is True


def _handler(server: VllmServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, content: Any, code: int = 200) -> None:
            data = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with suppress(BrokenPipeError):  # who asked has given up
                self.wfile.write(data)

        def do_GET(self) -> None:
            self.answer(server.models() if self.path == "/v1/models" else {}, 200)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.bodies.append({name: v for name, v in body.items() if name != "prompt_embeds"})
            time.sleep(server.delay_s)
            try:
                server.check(body)
                usage = {"prompt_tokens": server.num_prompt(body)}
                steps = server.written(body)
                if body.get("stream"):
                    return self.stream(steps)
                found = list(steps)
            except RefusalError as error:
                message = {"message": str(error), "type": "BadRequestError"}
                return self.answer({"error": message}, error.code)
            whole = {name: [v for step in found for v in step[name]] for name in found[0]}
            choice = {"index": 0, "text": "", "logprobs": whole}
            return self.answer({"choices": [choice], "usage": usage})

        def stream(self, steps: Iterator[dict[str, Any]]) -> None:
            self.send_response(200)
            self.end_headers()
            for step in steps:
                piece = {"choices": [{"index": 0, "text": "", "logprobs": step}]}
                self.wfile.write(b"data: " + json.dumps(piece).encode() + b"\n\n")
            self.wfile.write(b"data: [DONE]\n\n")

    return Handler


@contextmanager
def serving(folder: Path) -> Iterator[VllmServer]:
    """Serve a merged folder while the block runs."""
    model = VllmServer(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(model))
    server.daemon_threads = True
    model.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
