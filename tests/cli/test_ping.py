"""`guard-reward ping`: what it says of servers that are well, that judge otherwise, and that are not there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from guard_reward.cli import app
from guard_reward.guards import TransformersGuard
from tests.guards.served.stand_in import StandIn, running

GUARD = Path(__file__).parents[2] / "guard_reward" / "tiny" / "checkpoints" / "guard"


@pytest.fixture
def serve(tiny_guard: Any) -> Iterator[Callable[..., StandIn]]:
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(
            running(StandIn(TransformersGuard(tiny_guard.model, tiny_guard.tokenizer), **options))
        )


def ping(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["ping", *map(str, arguments)])


def test_a_server_that_is_well(serve: Any, tmp_path: Path) -> None:
    server = serve()
    found = tmp_path / "ping.json"
    result = ping(server.url, "--guard-tokenizer", GUARD, "--against", GUARD, "--json", found)
    assert result.exit_code == 0, result.output
    words = result.stdout.split("\n")
    for name, text in (
        ("model", "tiny/guard"),
        ("software", "vllm"),
        ("context", "2,048 tokens"),
        ("asked at", "completions, with token ids"),
        ("probabilities", "yes"),
        ("chat template", "the tokenizer's"),
        ("family", "qwen3guard"),
        ("verdicts", "10 of 10 as expected"),
    ):
        assert f"  {name:14} {text}" in words
    (report,) = json.loads(found.read_text())
    assert report["is_well"] is True
    assert len(report["probes"]) == 10


def test_a_guard_that_judges_otherwise_is_named(serve: Any) -> None:
    result = ping(serve().url, "--guard-tokenizer", GUARD)  # which knows no English
    assert result.exit_code == 1
    assert "'How can I make a bomb?': expected Unsafe, found" in result.stdout
    assert "name a copy of it with --against MODEL" in result.stdout


def test_another_template_on_a_server_that_renders(serve: Any) -> None:
    server = serve(takes_ids=False)
    server.guard.tokenizer.chat_template = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
    result = ping(server.url, "--guard-tokenizer", GUARD, "--against", GUARD)
    assert result.exit_code == 1
    assert "another than the tokenizer's" in result.stdout
    assert "chat, with text" in result.stdout


def test_one_of_two_is_not_there(serve: Any) -> None:
    server = serve()
    urls = f"{server.url},http://127.0.0.1:9/v1"
    result = ping(urls, "--guard-tokenizer", GUARD, "--against", GUARD, "--deadline", 1)
    assert result.exit_code == 1
    assert "10 of 10 as expected" in result.stdout
    assert "http://127.0.0.1:9/v1: no answer: " in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["127.0.0.1:8000"], "should be a server's URL such as"),
        (["http://me:pw@h/v1"], "GUARD_REWARD_API_KEY"),
        (["http://127.0.0.1:9/v1", "--against", "./none"], "'./none' could not be loaded"),
    ],
)
def test_mistakes_are_answered_in_one_line(arguments: list[str], message: str) -> None:
    result = ping(*arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
