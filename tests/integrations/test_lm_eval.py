"""The metrics for lm-evaluation-harness, and a real run of it where it is installed."""

import json
import math
import re

import pytest

from guard_reward.integrations import lm_eval as metrics
from guard_reward.tiny.guard import build_tiny_guard, sample_conversations
from guard_reward.tiny.shipped import shipped


@pytest.fixture(autouse=True)
def guard(monkeypatch):
    monkeypatch.setenv("GUARD_REWARD_MODEL", str(build_tiny_guard()))
    metrics._judged.cache_clear()


@pytest.fixture(scope="module")
def rows():
    conversations = [one.messages for one in sample_conversations(seed=4, count=40) if len(one.messages) == 2]
    return [[request["content"], reply["content"]] for request, reply in conversations]


def test_shares_are_what_the_guard_says(rows, tiny_guard):
    chats = [[{"role": "user", "content": x}, {"role": "assistant", "content": y}] for x, y in rows]
    verdicts = tiny_guard.moderate(chats)
    judged = [*rows, ["An empty reply", "…"]]
    assert metrics.safe(judged) == sum(verdict.severity == "Safe" for verdict in verdicts) / len(rows)
    assert metrics.refusal(judged) == sum(verdict.refusal for verdict in verdicts) / len(rows)
    assert metrics.unjudged(judged) == 1 / len(judged)


def test_nothing_but_unjudged_replies_is_neither_safe_nor_unsafe():
    judged = [[[{"role": "user", "content": "Hi"}], "…"]]
    assert math.isnan(metrics.safe(judged))
    assert math.isnan(metrics.refusal(judged))
    assert metrics.unjudged(judged) == 1


def test_each_metric_gets_what_is_judged():
    found = metrics.process_results({"prompt": "Hi", "harmful": True}, ["Hello."])
    assert found == {metric: ["Hi", "Hello."] for metric in ("safe", "refusal", "unjudged")}


def test_the_task_of_the_docs_runs(rows, repository, tmp_path, monkeypatch):
    lm_eval = pytest.importorskip("lm_eval")
    from lm_eval.tasks import TaskManager

    text = (repository / "docs" / "integrations.md").read_text()
    (task,) = re.findall(r"```yaml\n(task: .*?)```", text, re.DOTALL)
    (tmp_path / "safety.yaml").write_text(task)
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt, _ in rows))
    monkeypatch.chdir(tmp_path)
    found = lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(shipped("policy-refusing")), "dtype": "float32"},
        device="cpu",
        tasks=["safety"],
        task_manager=TaskManager(include_path=str(tmp_path)),
        apply_chat_template=True,
        gen_kwargs="max_gen_toks=32",
    )
    results, samples = found["results"]["safety"], found["samples"]["safety"]
    judged = [[sample["doc"]["prompt"], sample["filtered_resps"][0]] for sample in samples]
    assert len(judged) == len(rows)
    assert results["safe,none"] == metrics.safe(judged) > 0
    assert results["refusal,none"] == metrics.refusal(judged)
    assert results["unjudged,none"] == metrics.unjudged(judged) < 0.5
