"""A small HTTP server that answers like vLLM, SGLang or a plain OpenAI-compatible server; the tiny guard behind it.

The answers are real: the guard's engine scores the token ids, or the rendered messages. The real servers have tests of
their own (`make test-served`); this one takes no seconds to start.
"""

from __future__ import annotations

import json
import math
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

CONTEXT_LENGTH = 2048


class StandIn(ThreadingHTTPServer):
    """The server.

    Args:
        guard: whose engine answers.
        owner: how it calls itself: ``vllm``, ``sglang``, or anything else for a plain server.
        top: how many log-probabilities it gives at most; 0 for none.
        takes_ids: whether completions take token ids.
        api_key: that requests must have.
        listing: what it answers at ``/v1/models`` instead of a list of models; None for 404, 500 for that.
        model: its name.
        ignores_log_probs: whether it leaves them out without a word.
        of_response: what inputs contain that ask about a response.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        guard: Any,
        *,
        owner: str = "vllm",
        top: int = 20,
        takes_ids: bool = True,
        api_key: str = "",
        listing: Any = "models",
        model: str = "tiny/guard",
        ignores_log_probs: bool = False,
        of_response: str = "THE LAST ASSISTANT",
    ):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.guard, self.owner, self.top, self.takes_ids, self.api_key = guard, owner, top, takes_ids, api_key
        self.model, self.listing, self.ignores_log_probs = model, listing, ignores_log_probs
        self.of_response = of_response
        self.seen: list[tuple[str, Any]] = []  # path and body of every request
        self.connections = 0
        self._waiting: queue.SimpleQueue[_Question | None] = queue.SimpleQueue()
        self._engine_thread = threading.Thread(target=self._answer_in_batches, daemon=True)
        self._engine_thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def bodies(self, path: str) -> list[Any]:
        """The requests to a path, but for the probes."""
        found = [body for seen, body in self.seen if seen == path]
        return [body for body in found if "Hello." not in self._text(body)]

    def _text(self, body: dict[str, Any]) -> str:
        return json.dumps(body.get("messages")) + self.guard.tokenizer.decode(body.get("prompt") or [])

    def answer(self, ids: list[int]) -> tuple[list[int], list[dict[int, float]]]:
        """The guard's tokens, the end token among them, and at each place the log-probabilities of its decision."""
        grammar = self.guard._parts.codec.grammar(is_response=self.of_response in self.guard.tokenizer.decode(ids))
        question = _Question(ids, grammar, Future())
        self._waiting.put(question)
        generation = question.generation.result()
        tokens, places, state = [*generation.token_ids, self.guard.tokenizer.eos_token_id], [], grammar.start
        for token in tokens:
            decision = grammar.decision(state)
            values = generation.log_probs[decision.name] if decision else []
            known = dict(zip(decision.token_ids, values, strict=True)) if decision else {token: -0.001}
            places.append({token: -1.0} | known)
            state = grammar.step(state, token)
        return tokens, places

    def server_close(self) -> None:
        super().server_close()
        self._waiting.put(None)
        self._engine_thread.join()

    def _answer_in_batches(self) -> None:
        """All requests that wait go through the model together."""
        while question := self._waiting.get():
            batch = [question]
            while not self._waiting.empty():
                if (more := self._waiting.get()) is None:
                    return
                batch.append(more)
            generations = self.guard.engine.generate([one.ids for one in batch], [one.grammar for one in batch])
            for one, generation in zip(batch, generations, strict=True):
                one.generation.set_result(generation)


class _Question(NamedTuple):
    ids: list[int]
    grammar: Any
    generation: Future[Any]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StandIn

    def setup(self) -> None:
        self.server.connections += 1
        super().setup()

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.seen.append((self.path, None))
        if not self.has_key():
            return
        if self.server.listing not in ("models", None):
            broken = self.server.listing == 500
            self.send(500 if broken else 200, {"detail": "broken"} if broken else self.server.listing)
            return
        if self.path != "/v1/models" or self.server.listing is None:
            self.send(404, {"detail": "Not Found"})
            return
        listed = {"id": self.server.model, "object": "model", "owned_by": self.server.owner}
        if self.server.owner in ("vllm", "sglang"):
            listed["max_model_len"] = CONTEXT_LENGTH
        self.send(200, {"object": "list", "data": [listed]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, body))
        if self.server.ignores_log_probs:
            body = {name: value for name, value in body.items() if "logprobs" not in name}
        if not self.has_key():
            return
        if body.get("model", self.server.model) != self.server.model:
            self.send(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
        elif (body.get("logprobs") or 0) > self.server.top or body.get("top_logprobs", 0) > self.server.top:
            self.send(400, {"error": {"message": f"at most {self.server.top} logprobs"}})
        elif self.path == "/v1/completions":
            self.completions(body)
        elif self.path == "/v1/chat/completions":
            self.chat(body)
        elif self.path == "/tokenize" and self.server.owner == "vllm":
            self.send(200, {"tokens": self.rendered(body)})
        elif self.path == "/generate" and self.server.owner == "sglang":
            self.generate(body)
        else:
            self.send(404, {"detail": "Not Found"})

    def has_key(self) -> bool:
        key, sent = self.server.api_key, self.headers.get("Authorization")
        if key and sent != f"Bearer {key}":
            self.send(401, {"error": {"message": f"no such key: {sent}"}})
            return False
        return True

    def completions(self, body: dict[str, Any]) -> None:
        if not self.server.takes_ids:
            self.send(400, {"detail": "prompt must be a string."})
            return
        if len(body["prompt"]) + body["max_tokens"] > CONTEXT_LENGTH:
            self.send(400, {"error": {"message": f"maximum context length is {CONTEXT_LENGTH} tokens"}})
            return
        tokens, places = self.server.answer(body["prompt"])
        choice: dict[str, Any] = {"index": 0, "text": self.decode(tokens), "finish_reason": "stop"}
        if body.get("logprobs"):
            name = self.placeholder if body.get("return_tokens_as_token_ids") else self.decode_one
            choice["logprobs"] = {
                "tokens": [name(token) for token in tokens],
                "top_logprobs": [{name(token): value for token, value in place.items()} for place in places],
            }
        if body.get("return_token_ids"):
            choice["token_ids"] = tokens
        self.send(200, {"object": "text_completion", "model": self.server.model, "choices": [choice]})

    def chat(self, body: dict[str, Any]) -> None:
        tokens, places = self.server.answer(self.rendered(body))
        choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": self.decode(tokens)}}
        if body.get("logprobs"):
            choice["logprobs"] = {
                "content": [
                    {
                        "token": self.decode_one(token),
                        "logprob": place[token],
                        "top_logprobs": [{"token": self.decode_one(t), "logprob": v} for t, v in place.items()],
                    }
                    for token, place in zip(tokens, places, strict=True)
                ]
            }
        self.send(200, {"object": "chat.completion", "model": self.server.model, "choices": [choice]})

    def generate(self, body: dict[str, Any]) -> None:
        tokens, places = self.server.answer(body["input_ids"])
        asked = body["token_ids_logprob"]
        listed = [[[place.get(token, -math.log(1e9)), token, None] for token in asked] for place in places]
        meta = {"output_token_ids_logprobs": listed, "finish_reason": {"type": "stop"}}
        self.send(200, {"text": self.decode(tokens), "output_ids": tokens, "meta_info": meta})

    def rendered(self, body: dict[str, Any]) -> list[int]:
        given = {"add_generation_prompt": True, **body.get("chat_template_kwargs", {})}
        return self.server.guard.tokenizer.apply_chat_template(body["messages"], tokenize=True, **given)["input_ids"]

    def decode(self, tokens: list[int]) -> str:
        return self.server.guard.tokenizer.decode(tokens, skip_special_tokens=True)

    def decode_one(self, token: int) -> str:
        return self.server.guard.tokenizer.decode([token])

    @staticmethod
    def placeholder(token: int) -> str:
        return f"token_id:{token}"

    def send(self, status: int, answer: Any) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def running(server: StandIn) -> Iterator[StandIn]:
    """The server, until it is left."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
