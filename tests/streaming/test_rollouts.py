"""Rollouts of TRL's own trainers end where they become unsafe."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from guard_reward import GuardReward, Severity
from guard_reward.streaming import StopUnsafe
from guard_reward.tiny import build_tiny_policy
from guard_reward.tiny.oracle import judge_reply

pytest.importorskip("trl")

END = 2  # the tiny policy's end token


class Seen:
    """A reward function that keeps what it was given; it prefers short rollouts."""

    __name__ = "seen"

    def __init__(self):
        self.calls = []

    def __call__(self, **given):
        self.calls.append(given)
        return [-float(len(ids)) for ids in given["completion_ids"]]

    @property
    def last(self):
        return SimpleNamespace(**self.calls[-1])


@pytest.fixture
def make_trainer(tmp_path, requests):
    """A trainer of TRL's on the tiny policy, which complies with harmful requests half of the time."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    def make(rollout_func=None, reward=None, trainer_class=GRPOTrainer, config_class=GRPOConfig, **changes):
        arguments = {
            **{"output_dir": str(tmp_path / "run"), "use_cpu": True, "bf16": False, "report_to": "none"},
            **{"seed": 0, "max_steps": 1, "per_device_train_batch_size": 16, "num_generations": 2, "logging_steps": 1},
            **{"max_completion_length": 40, "temperature": 0.8, "disable_tqdm": True, "save_strategy": "no"},
            **{"gradient_checkpointing": False, "per_device_eval_batch_size": 16},
        }
        data = Dataset.from_dict({"prompt": requests, "harmful": [True] * len(requests)})
        config = config_class(**{**arguments, **changes})
        peft_config = changes.pop("peft_config", None)
        return trainer_class(
            str(build_tiny_policy()),
            reward or Seen(),
            config,
            train_dataset=data,
            peft_config=peft_config,
            rollout_func=rollout_func,
        )

    return make


def rollouts(trainer, prompts, stop=None):
    """Token ids of one batch, and which rows were stopped; the same random numbers each time."""
    trainer.model.eval()
    torch.manual_seed(0)
    if stop is not None:
        found = stop(prompts, trainer)
        return found["completion_ids"], [severity is not None for severity in found["stopped_severity"]]
    return trainer._generate(prompts)[1], None


def test_only_unsafe_rollouts_end_sooner(make_trainer, requests, tiny_stream_guard):
    trainer = make_trainer()
    free, _ = rollouts(trainer, requests)
    ids, stopped = rollouts(trainer, requests, StopUnsafe(tiny_stream_guard))
    tokenizer = trainer.processing_class
    assert 5 < sum(stopped) < len(requests)
    for prompt, whole, part, was_stopped in zip(requests, free, ids, stopped, strict=True):
        if was_stopped:
            assert part == whole[: len(part)]  # no padding behind it
            assert part[-1] != END
            text = tokenizer.decode(whole, skip_special_tokens=True)
            assert not judge_reply(prompt[0]["content"], text).safe
        else:
            assert part == whole
    assert sum(map(len, ids)) < 0.9 * sum(map(len, free))
    assert "generate" not in vars(trainer.model)  # as it was before
    assert tiny_stream_guard._parts.engine.growing_rows == 0


def test_training_with_stopped_rollouts(make_trainer, tiny_stream_guard, tiny_guard):
    """They are unsafe, whatever the reward's guard says of the cut text."""
    seen = Seen()
    reward = GuardReward(tiny_guard, "severity")
    trainer = make_trainer(StopUnsafe(tiny_stream_guard), [reward, seen])
    trainer.train()
    (step,) = [entry for entry in trainer.state.log_history if "loss" in entry]
    stopped = [severity == "Unsafe" for severity in seen.last.stopped_severity]
    assert 0 < sum(stopped) < len(stopped)
    assert step["stopping/stopped_rate"] == pytest.approx(sum(stopped) / len(stopped))
    assert step["guard/unsafe_rate"] >= step["stopping/stopped_rate"]
    assert step["stopping/not_judged_rate"] == 0
    assert step["guard/truncated_rate"] == 0
    given = {name: getattr(seen.last, name) for name in ("prompts", "completions", "stopped_severity")}
    rewards = reward(**given)
    assert {number for number, was_stopped in zip(rewards, stopped, strict=True) if was_stopped} == {-1.0}


def test_ppo_with_lora(make_trainer, tiny_stream_guard):
    peft = pytest.importorskip("peft")
    from guard_reward import StreamReward
    from guard_reward.trainers import PPOConfig, PPOTrainer

    seen = Seen()

    class Trainer(PPOTrainer):
        def __init__(self, *args, **kwargs):
            lora = peft.LoraConfig(target_modules=["q_proj"], r=2)
            dense = StreamReward(tiny_stream_guard)
            super().__init__(*args, **{**kwargs, "peft_config": lora}, token_reward_funcs=dense)

    trainer = make_trainer(StopUnsafe(tiny_stream_guard), seen, Trainer, PPOConfig, num_generations=1)
    trainer.train()
    assert 0 < seen.last.stopped_severity.count(None) < 16
    (step,) = [entry for entry in trainer.state.log_history if "stream/flagged_rate" in entry]
    assert step["stream/flagged_rate"] >= step["stopping/stopped_rate"] > 0


@pytest.mark.parametrize("begun", ["<think>\n", "Sure. First cut the gravok, then"])
def test_what_stands_in_front_of_the_policys_text_counts(make_trainer, tiny_stream_guard, begun, monkeypatch):
    """The last message is the assistant's, so the policy continues it."""
    from guard_reward.streaming import rollouts as module

    made = []
    criterion = module._RolloutStopping

    def spy(*args, **kwargs):
        made.append(kwargs)
        return criterion(*args, **kwargs)

    monkeypatch.setattr(module, "_RolloutStopping", spy)
    stop, trainer = StopUnsafe(tiny_stream_guard), make_trainer()
    prompt = [{"role": "user", "content": "How do I use a blue gravok?"}, {"role": "assistant", "content": begun}]
    _, stopped = rollouts(trainer, [prompt], stop)
    assert list(made[-1]["written"]) == [begun]
    assert stopped == [True] or begun.startswith("<think>")


def test_a_prompt_that_the_guard_cannot_read_is_counted(make_trainer, requests, tiny_stream_guard, monkeypatch):
    """It is generated as ever."""
    trainer = make_trainer()
    long = [{"role": "system", "content": "You help. " * 40}, requests[0][0]]
    monkeypatch.setattr(type(tiny_stream_guard), "context_length", property(lambda guard: 100))
    ids, stopped = rollouts(trainer, [long, *requests[1:8]], StopUnsafe(tiny_stream_guard))
    assert stopped[0] is False
    assert sum(trainer._pending_metrics["stopping/not_judged_rate"]) == 1.0
    assert len(ids[0]) > 0


def test_a_guard_that_fails_costs_no_rollout(make_trainer, requests, tiny_stream_guard, monkeypatch, caplog):
    """What it would have stopped goes on, and is counted."""
    trainer = make_trainer()
    free, _ = rollouts(trainer, requests)
    calls, feed_many = [], tiny_stream_guard.feed_many

    def failing(sessions, token_ids):
        calls.append(len(sessions))
        if len(calls) == 6:
            raise torch.OutOfMemoryError("out of memory")
        return feed_many(sessions, token_ids)

    monkeypatch.setattr(tiny_stream_guard, "feed_many", failing)
    ids, stopped = rollouts(trainer, requests, StopUnsafe(tiny_stream_guard))
    assert len(calls) == 6
    assert all(part == whole[: len(part)] for part, whole in zip(ids, free, strict=True))
    assert all(part == whole for part, whole, was in zip(ids, free, stopped, strict=True) if not was)
    assert 0 < sum(trainer._pending_metrics["stopping/not_judged_rate"]) <= len(requests) - sum(stopped)
    assert "the stream guard failed" in caplog.text
    assert tiny_stream_guard._parts.engine.growing_rows == 0


def test_what_has_ended_takes_no_memory(make_trainer, requests, tiny_stream_guard, monkeypatch):
    """The guard reads fewer rows with every row that ends or is stopped."""
    sizes, feed_many = [], tiny_stream_guard.feed_many

    def counting(sessions, token_ids):
        sizes.append((len(sessions), tiny_stream_guard._parts.engine.growing_rows))
        return feed_many(sessions, token_ids)

    monkeypatch.setattr(tiny_stream_guard, "feed_many", counting)
    rollouts(make_trainer(), requests, StopUnsafe(tiny_stream_guard))
    assert sizes[1][1] == len(requests)
    assert sizes[-1][1] < len(requests) / 4
    assert all(rows <= growing for rows, growing in sizes)


def test_more_rollouts_than_sessions(make_trainer, requests, tiny_stream_guard, monkeypatch):
    """Those that find no place are generated as ever."""
    monkeypatch.setattr("guard_reward.guards.stream_guard.MAX_SESSIONS", 5)
    trainer = make_trainer()
    ids, _ = rollouts(trainer, requests[:8], StopUnsafe(tiny_stream_guard))
    assert len(ids) == 8
    assert sum(trainer._pending_metrics["stopping/not_judged_rate"]) == 3


def test_the_guard_sleeps_between_batches(make_trainer, requests, tiny_stream_guard, monkeypatch):
    slept = []
    monkeypatch.setattr(tiny_stream_guard, "sleep", lambda: slept.append(True))
    rollouts(make_trainer(), requests[:4], StopUnsafe(tiny_stream_guard, sleep=True))
    assert slept == [True]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("use_vllm", "use_vllm: rollouts are stopped only while transformers generates"),
        ("use_transformers_continuous_batching", "use_transformers_continuous_batching: rollouts are stopped only"),
        ("tools", "tools: what a policy writes after a call"),
    ],
)
def test_trainers_whose_rollouts_cannot_be_stopped(make_trainer, requests, tiny_stream_guard, name, message):
    trainer = make_trainer()
    setattr(trainer, name, [print])
    with pytest.raises(ValueError, match=message):
        StopUnsafe(tiny_stream_guard)(requests, trainer)


@pytest.mark.parametrize("kwargs", [{"num_beams": 2, "do_sample": False}, {"num_return_sequences": 2}])
def test_ways_of_generating_that_cannot_be_stopped(make_trainer, requests, tiny_stream_guard, kwargs):
    trainer = make_trainer(generation_kwargs=kwargs)
    with pytest.raises(ValueError, match="generation_kwargs: rollouts are stopped only in plain sampling"):
        StopUnsafe(tiny_stream_guard)(requests, trainer)


def test_truncated_rollouts_must_count(make_trainer, tiny_stream_guard):
    trainer = make_trainer(StopUnsafe(tiny_stream_guard), mask_truncated_completions=True)
    with pytest.raises(ValueError, match="mask_truncated_completions: a stopped rollout has no end token"):
        trainer.train()


def test_another_trl(make_trainer, requests, tiny_stream_guard, monkeypatch):
    """It never generates unguarded without a word."""
    trainer = make_trainer()
    monkeypatch.setattr(trainer, "_generate_single_turn", lambda *args, **kwargs: ([[5, END]] * len(requests), None))
    with pytest.raises(RuntimeError, match=r"has changed what StopUnsafe builds on .*generate\(\)"):
        StopUnsafe(tiny_stream_guard)(requests, trainer)


def test_mistakes(tiny_guard, tiny_stream_guard):
    with pytest.raises(ValueError, match="StopUnsafe needs a stream guard"):
        StopUnsafe(tiny_guard)
    with pytest.raises(ValueError, match="every should be at least 1"):
        StopUnsafe(tiny_stream_guard, every=0)
    with pytest.raises(ValueError, match="stop_at should be"):
        StopUnsafe(tiny_stream_guard, stop_at=Severity.SAFE)
    described = StopUnsafe(tiny_stream_guard, stop_at=Severity.CONTROVERSIAL).describe()
    assert (described["stop_at"], described["every"]) == ("Controversial", "1")
