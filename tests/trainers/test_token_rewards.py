"""Rewards per token in PPO: added to the tokens' rewards, beside the sequence score."""

from __future__ import annotations

import pytest
import torch

from guard_reward.trainers.advantages import generalized_advantages, token_rewards
from guard_reward.trainers.token_rewards import padded
from tests.trainers.conftest import brevity, count_of_letter


class Dense:
    """A reward that depends on the token and its place, and remembers what it was asked."""

    def __init__(self, name="dense", skips=()):
        self.__name__ = name
        self.skips = skips
        self.calls = []

    def __call__(self, prompts, completions, completion_ids, log_metric, **columns):
        self.calls.append((prompts, completions, completion_ids, columns))
        log_metric(f"{self.__name__}/rows", float(len(prompts)))
        return [
            None if row in self.skips else [0.01 * (token % 7) - 0.02 * place for place, token in enumerate(ids)]
            for row, ids in enumerate(completion_ids)
        ]


@pytest.mark.parametrize("scale", ["none", "batch"])
def test_advantages_are_those_of_the_sum(make_trainer, scale):
    """Recomputed from TRL's tensors: KL, sequence score and token rewards, then GAE."""
    dense = Dense(skips=(1,))
    trainer = make_trainer(
        reward_funcs=count_of_letter, token_reward_funcs=dense, scale_rewards=scale, whiten_advantages=False, beta=0.05
    )
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.train()
    found = trainer._generate_and_score_completions(batch)
    mask = found["loss_mask"]
    scores = torch.tensor(count_of_letter(dense.calls[-1][1]))
    scaled = trainer.critic.scale(scores) if scale == "batch" else scores
    per_token = padded([values or [] for values in dense_values(dense)], like=mask)
    per_token = per_token / (trainer.critic.scale.deviation if scale == "batch" else 1.0)
    kl = found["old_per_token_logps"] - found["ref_per_token_logps"]
    rewards = token_rewards(scaled, kl, mask, 0.05) + per_token * mask
    advantages, _ = generalized_advantages(rewards, found["old_values"], mask, 1.0, 0.95)
    torch.testing.assert_close(found["advantages"], advantages, atol=1e-5, rtol=1e-5)


def dense_values(dense):
    prompts, completions, ids, columns = dense.calls[-1]
    return dense(prompts, completions, ids, lambda *_: None, **columns)


def test_it_trains_and_logs(make_trainer):
    dense = Dense()
    trainer = make_trainer(
        reward_funcs=[count_of_letter, brevity], token_reward_funcs=[dense, Dense("more")], max_steps=2
    )
    trainer.train()
    assert {"dense/rows", "more/rows", "value/loss"} <= set(trainer.state.log_history[0])
    assert len(dense.calls) >= 1


@pytest.mark.parametrize("changes", [{"lora": True}, {"gradient_accumulation_steps": 2}], ids=str)
def test_with_adapters_and_accumulation(make_trainer, changes):
    changes = dict(changes)
    adapter = None
    if changes.pop("lora", False):
        peft = pytest.importorskip("peft")
        adapter = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    dense = Dense()
    trainer = make_trainer(token_reward_funcs=dense, peft_config=adapter, max_steps=2, **changes)
    before = {name: weight.clone() for name, weight in trainer.model.named_parameters() if weight.requires_grad}
    trainer.train()
    assert dense.calls
    assert any(
        not torch.equal(weight, before[name]) for name, weight in trainer.model.named_parameters() if name in before
    )


class Wrong(Dense):
    def __call__(self, **arguments):
        rows = super().__call__(**arguments)
        return {"few": rows[1:], "short": [row[1:] for row in rows], "nan": [[float("nan")] * len(r) for r in rows]}[
            self.__name__
        ]


@pytest.mark.parametrize(
    ("name", "message"), [("few", "and there are"), ("short", "finite number per token"), ("nan", "finite number")]
)
def test_mistakes_are_named(make_trainer, name, message):
    with pytest.raises(ValueError, match=message):
        make_trainer(token_reward_funcs=Wrong(name), max_steps=1).train()


def test_tools_are_refused(make_trainer):
    """What a tool writes is not the policy's, and must neither cost nor earn it anything."""
    with pytest.raises(ValueError, match="leave out the tools"):
        make_trainer(token_reward_funcs=Dense(), tools=[print])


def test_two_functions_need_two_names(make_trainer):
    with pytest.raises(ValueError, match="have the name 'dense'"):
        make_trainer(token_reward_funcs=[Dense(), Dense()])


def test_what_is_no_list_per_row(make_trainer):
    with pytest.raises(ValueError, match=r"should return a list of numbers per row, one per token: row 0 is 0\.1"):
        make_trainer(token_reward_funcs=lambda completions, **columns: [0.1] * len(completions)).train()
    with pytest.raises(TypeError, match="token_reward_funcs: pass a function"):
        make_trainer(token_reward_funcs="runs/tiny/stream-guard")
