"""A policy behind a real server replies as the same policy in this process."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from benchmarks.server_process import free_port, serving, transformers_command, vllm_command
from guard_reward.evaluation.policies.loading import load_policy
from guard_reward.tiny.policy import build_tiny_policy
from guard_reward.tiny.world import Split, sample_requests
from tests.served.servers import API_KEY, served_python

pytestmark = pytest.mark.served
FOLDER = Path(build_tiny_policy()).absolute()
COMMANDS = {"vllm": partial(vllm_command, context_length=512), "transformers": transformers_command}
PROMPTS = [
    [{"role": "user", "content": request.text}]
    for request in sample_requests(0, 12, harmful_share=0.5, split=Split.EVAL)
]


@pytest.fixture(scope="module", params=list(COMMANDS))
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    python, port = served_python(), free_port()
    folder = tmp_path_factory.mktemp(request.param)
    command = COMMANDS[request.param](python, FOLDER, port)
    with serving(command, port, folder, {"VLLM_API_KEY": API_KEY}) as found:
        yield found


def test_at_temperature_0_the_replies_are_those_of_the_policy_here(url: str) -> None:
    served = load_policy(url, model=str(FOLDER), max_new_tokens=40, temperature=0.0).reply(PROMPTS, seed=0)
    local = load_policy(str(FOLDER), max_new_tokens=40, temperature=0.0).reply(PROMPTS, seed=0)
    assert [reply.error for reply in served] == [""] * len(PROMPTS)
    assert [reply.answer.strip() for reply in served] == [reply.answer.strip() for reply in local]
    assert not any(reply.truncated for reply in served)


def test_a_reply_that_is_cut_off_is_known(url: str) -> None:
    [reply] = load_policy(url, model=str(FOLDER), max_new_tokens=2, temperature=0.0).reply(PROMPTS[:1], seed=0)
    assert reply.truncated
