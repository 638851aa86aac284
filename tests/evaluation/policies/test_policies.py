"""Policies: what a transformers model and a server reply, and how it is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
import torch

from guard_reward.evaluation.policies import sampling
from guard_reward.evaluation.policies.loading import load_policy
from guard_reward.evaluation.policies.local import LocalPolicy
from guard_reward.evaluation.policies.replies import Reply
from guard_reward.evaluation.policies.served import ServedPolicy
from guard_reward.tiny.policy import build_tiny_policy

PROMPTS = [[{"role": "user", "content": f"How do I use a {colour} florn?"}] for colour in ("blue", "red", "green")]


@pytest.fixture(scope="module")
def policy() -> LocalPolicy:
    return LocalPolicy.load(str(build_tiny_policy()), max_new_tokens=40, temperature=0.8)


def other(policy: LocalPolicy, **options: Any) -> LocalPolicy:
    return LocalPolicy(policy.model, policy.tokenizer, **{"max_new_tokens": 40, "temperature": 0.8, **options})


def test_at_temperature_0_it_is_greedy_generate(policy):
    replies = other(policy, temperature=0.0).reply(PROMPTS, seed=0)
    for prompt, reply in zip(PROMPTS, replies, strict=True):
        ids = policy.tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_tensors="pt")["input_ids"]
        output = policy.model.generate(ids, do_sample=False, max_new_tokens=40)[0, ids.shape[1] :]
        assert reply == Reply(policy.tokenizer.decode(output, skip_special_tokens=True), None, truncated=False)


def test_the_seed_decides_the_replies(policy):
    first, again, another = (policy.reply(PROMPTS * 4, seed=seed) for seed in (0, 0, 1))
    assert first == again != another
    assert len(set(first)) > 3  # several replies to the same prompt


def test_it_leaves_the_random_numbers_of_others_alone(policy):
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    policy.reply(PROMPTS, seed=0)
    assert torch.equal(torch.rand(2), expected)


def test_replies_that_are_cut_off_are_known(policy):
    assert all(reply.truncated for reply in other(policy, max_new_tokens=2).reply(PROMPTS, seed=0))


def test_when_memory_runs_out_fewer_are_written_at_a_time(policy, monkeypatch):
    sizes, generate = [], sampling._generate

    def small(model, tokenizer, prompts, **options):
        sizes.append(len(prompts))
        if len(prompts) > 2:
            raise torch.OutOfMemoryError
        return generate(model, tokenizer, prompts, **options)

    monkeypatch.setattr(sampling, "_generate", small)
    assert len(policy.reply(PROMPTS * 2, seed=0)) == 6
    assert sizes == [6, 3, 1, 1, 1, 1, 1, 1]


def test_thinking_that_the_template_opens_is_thinking(policy):
    template = policy.tokenizer.chat_template
    opened = template + "{% if add_generation_prompt and enable_thinking %}<think>\n{% endif %}"
    policy.tokenizer.chat_template = opened
    try:
        [thinks] = other(policy, template_kwargs={"enable_thinking": True}).reply(PROMPTS[:1], seed=0)
        [answers] = policy.with_template({"enable_thinking": False}).reply(PROMPTS[:1], seed=0)
    finally:
        policy.tokenizer.chat_template = template
    assert thinks.answer == ""
    assert thinks.thinking
    assert answers.answer
    assert answers.thinking is None


def test_a_lora_adapter_is_loaded_over_its_base(policy, tmp_path):
    peft = pytest.importorskip("peft")
    base = LocalPolicy.load(str(build_tiny_policy())).model
    torch.manual_seed(0)
    config = peft.LoraConfig(target_modules=["q_proj"], lora_alpha=64, init_lora_weights=False)
    adapted = peft.get_peft_model(base, config)
    adapted.save_pretrained(tmp_path / "adapter")
    policy.tokenizer.save_pretrained(tmp_path / "adapter")
    loaded = LocalPolicy.load(str(tmp_path / "adapter"), max_new_tokens=40, temperature=0.0)
    plain = other(policy, temperature=0.0)
    expected = other(LocalPolicy(adapted, policy.tokenizer), temperature=0.0)
    assert loaded.reply(PROMPTS, seed=0) == expected.reply(PROMPTS, seed=0) != plain.reply(PROMPTS, seed=0)


@contextmanager
def server(answer: Callable[[dict[str, Any]], tuple[int, Any]]) -> Iterator[str]:
    """A chat server; ``answer(body)`` says the status and the JSON."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(200, {"data": [{"id": "the-policy"}]})

        def do_POST(self) -> None:
            self._send(*answer(json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

        def _send(self, status: int, value: Any) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=listening.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}/v1"
    finally:
        listening.shutdown()
        listening.server_close()


def choice(content: str | None, finish_reason: str = "stop", **message: Any) -> tuple[int, Any]:
    return 200, {"choices": [{"message": {"content": content, **message}, "finish_reason": finish_reason}]}


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (choice("A cake."), Reply("A cake.", None, False)),
        (choice("A cake.", reasoning_content="Hm."), Reply("A cake.", "Hm.", False)),
        (choice("A cake.", reasoning="Hm."), Reply("A cake.", "Hm.", False)),
        (choice("<think>Hm.</think>A cake."), Reply("A cake.", "Hm.", False)),
        (choice("A ca", "length"), Reply("A ca", None, True)),
        (choice(None, "length", reasoning_content="Hm"), Reply("", "Hm", True)),
    ],
)
def test_what_a_server_answers_is_read(answer, reply):
    with server(lambda body: answer) as url:
        assert ServedPolicy(url, model="p").reply(PROMPTS[:1], seed=0) == [reply]


def test_each_request_has_its_seed_and_the_settings():
    bodies = []

    def answer(body: dict[str, Any]) -> tuple[int, Any]:
        bodies.append(body)
        return choice("A cake.")

    with server(answer) as url:
        policy = load_policy(url, max_new_tokens=7, temperature=0.5, template_kwargs={"enable_thinking": False})
        policy.reply(PROMPTS, seed=10)
    assert sorted(body["seed"] for body in bodies) == [10, 11, 12]
    [settings] = {(body["model"], body["max_tokens"], body["temperature"]) for body in bodies}
    assert settings == ("the-policy", 7, 0.5)
    assert all(body["chat_template_kwargs"] == {"enable_thinking": False} for body in bodies)


def test_a_begun_answer_is_continued():
    with server(lambda body: choice(str(body.get("continue_final_message")))) as url:
        begun = [*PROMPTS[0], {"role": "assistant", "content": "Sure,"}]
        replies = ServedPolicy(url, model="p").reply([PROMPTS[0], begun], seed=0)
    assert [reply.answer for reply in replies] == ["None", "True"]


def test_a_server_that_fails_now_and_then_is_asked_again():
    calls = []

    def answer(body: dict[str, Any]) -> tuple[int, Any]:
        calls.append(body)
        return (503, {"error": "busy"}) if len(calls) == 1 else choice("A cake.")

    with server(answer) as url:
        assert ServedPolicy(url, model="p").reply(PROMPTS[:1], seed=0)[0].answer == "A cake."


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((400, {"error": "no such template"}), "no such template"),
        ((200, {"choices": []}), "it has no choices"),
        ((200, {"text": "hello"}), "no chat completion: choices"),
    ],
)
def test_what_is_no_reply_has_a_reason(answer, reason):
    with server(lambda body: answer) as url:
        [reply] = ServedPolicy(url, model="p", deadline=1).reply(PROMPTS[:1], seed=0)
    assert reply.answer == ""
    assert reason in reply.error


def test_a_server_that_is_gone_fails_within_the_deadline():
    [reply] = ServedPolicy("http://127.0.0.1:9/v1", model="p", deadline=1).reply(PROMPTS[:1], seed=0)
    assert "127.0.0.1:9" in reply.error


@pytest.mark.parametrize(
    ("source", "options", "error"),
    [
        ("http://127.0.0.1:9/v1", {"device": "cpu"}, "device: a served policy has no such option"),
        ("some/model", {"model": "x"}, "model: a policy in this process"),
        ("./nowhere", {}, "does not exist"),
    ],
)
def test_wrong_options_are_named(source, options, error):
    with pytest.raises((ValueError, OSError), match=error):
        load_policy(source, **options)


def test_a_prompt_that_the_template_refuses_or_that_is_too_long_has_a_reason(policy):
    template = policy.tokenizer.chat_template
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + template
    policy.tokenizer.chat_template = refusing
    long = [{"role": "user", "content": "florn " * 4000}]
    try:
        replies = policy.reply([PROMPTS[0], [{"role": "system", "content": "Be kind."}, *PROMPTS[0]], long], seed=0)
    finally:
        policy.tokenizer.chat_template = template
    assert replies[0].answer
    assert replies[0].error == ""
    assert "no system role" in replies[1].error
    assert "tokens, and the policy's context" in replies[2].error


def test_an_answer_that_is_none_is_not_asked_for_until_the_deadline():
    calls = []

    def answer(body: dict[str, Any]) -> tuple[int, Any]:
        calls.append(body)
        return 200, {"choices": [{"message": {"content": ["a", "list"]}}]}

    with server(answer) as url:
        [reply] = ServedPolicy(url, model="p", deadline=60).reply(PROMPTS[:1], seed=0)
    assert len(calls) == 3
    assert "no chat completion" in reply.error
