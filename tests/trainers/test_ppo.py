"""`PPOTrainer` on a small random policy: its numbers against naive loops, its checkpoints, its company."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from guard_reward.trainers import PPOTrainer  # noqa: E402
from guard_reward.trainers.ppo import check_seam  # noqa: E402
from tests.trainers.conftest import brevity, count_of_letter  # noqa: E402

METRICS = {"kl", "value/loss", "value/explained_variance", "value/mean", "returns/mean", "returns/std"}


def last_log(trainer):
    return next(log for log in reversed(trainer.state.log_history) if "returns/mean" in log)


@pytest.mark.parametrize("form", ["string", "conversational"])
def test_it_trains_with_several_rewards_and_logs_its_numbers(make_trainer, form):
    trainer = make_trainer(
        form,
        [count_of_letter, brevity],
        gradient_accumulation_steps=2,
        num_iterations=2,
        max_steps=4,
        eval_strategy="steps",
        eval_steps=4,
        log_completions=True,
    )
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    trainer.train()
    log = last_log(trainer)
    assert set(log) >= METRICS
    assert all(math.isfinite(log[name]) for name in METRICS - {"value/explained_variance"})
    assert trainer.critic.head.weight.abs().sum() > 0
    assert any(not torch.equal(before[name], tensor) for name, tensor in trainer.model.state_dict().items())
    evaluation = next(log for log in trainer.state.log_history if "eval_loss" in log)
    assert {f"eval_{name}" for name in METRICS} <= set(evaluation)
    table = trainer._logs
    assert len(table["advantages"]) == len(table["prompt"])


def test_with_lora_only_adapters_and_the_value_head_are_saved(make_trainer, tmp_path):
    from peft import LoraConfig

    trainer = make_trainer(peft_config=LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    trainer.train()
    assert set(last_log(trainer)) >= METRICS
    trainer.save_model(str(tmp_path / "saved"))
    weights = {str(path.relative_to(tmp_path / "saved")) for path in (tmp_path / "saved").rglob("*.safetensors")}
    assert weights == {"adapter_model.safetensors", "critic/value_head.safetensors"}


def test_the_saved_policy_has_the_base_models_keys(make_trainer, policy_folder, tmp_path):
    from safetensors import safe_open

    trainer = make_trainer()
    trainer.train()
    trainer.save_model(str(tmp_path / "saved"))

    def keys(folder):
        with safe_open(Path(folder) / "model.safetensors", framework="pt") as file:
            return set(file.keys())

    assert keys(tmp_path / "saved") == keys(policy_folder)
    # Loaders such as vLLM's read every weight file in the folder itself.
    assert [path.name for path in (tmp_path / "saved").glob("*.safetensors")] == ["model.safetensors"]
    assert {name for name, _ in trainer.model.named_parameters()} == {
        name for name, _ in type(trainer.model).from_pretrained(policy_folder).named_parameters()
    }  # and so has what is sent to vLLM


def test_one_sample_per_prompt(make_trainer):
    trainer = make_trainer(num_generations=1)
    trainer.train()
    assert last_log(trainer)["returns/std"] > 0
    assert len(set(map(str, trainer._logs["prompt"]))) == 4  # four different prompts in a batch of four


def test_a_resumed_run_is_the_run_that_was_not_interrupted(make_trainer, tmp_path):
    whole = make_trainer(max_steps=4, save_strategy="steps", save_steps=2)
    whole.train()
    checkpoint = tmp_path / "run" / "checkpoint-2"
    assert (checkpoint / "critic" / "value_head.safetensors").is_file()
    resumed = make_trainer(max_steps=4)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert torch.allclose(resumed.critic.head.weight, whole.critic.head.weight, atol=1e-6)
    assert resumed.critic.scale.moments.tolist() == whole.critic.scale.moments.tolist()
    for mine, other in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=1e-6)


def test_the_best_models_critic_comes_back_with_it(make_trainer, tmp_path):
    trainer = make_trainer(
        max_steps=4,
        save_strategy="steps",
        save_steps=2,
        eval_strategy="steps",
        eval_steps=2,
        load_best_model_at_end=True,
        metric_for_best_model="reward",
    )
    trainer.train()
    from safetensors.torch import load_file

    saved = load_file(Path(trainer.state.best_model_checkpoint) / "critic" / "value_head.safetensors")
    assert torch.equal(saved["weight"], trainer.critic.head.weight)


def test_another_trainers_checkpoint_is_refused(make_trainer, tmp_path):
    trainer = make_trainer(max_steps=2, save_strategy="steps", save_steps=1)
    trainer.train()
    (tmp_path / "run" / "checkpoint-1" / "critic" / "value_head.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="only checkpoints of PPOTrainer can be resumed by it"):
        make_trainer(max_steps=2).train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-1"))


def test_a_grpo_config_is_refused(policy_folder):
    from trl import GRPOConfig

    with pytest.raises(TypeError, match=r"args should be a guard_reward\.trainers\.PPOConfig, found GRPOConfig"):
        PPOTrainer(policy_folder, count_of_letter, GRPOConfig("runs/ppo", use_cpu=True, bf16=False))


# Numbers ------------------------------------------------------------------------------------------------------------


def rollouts_of(trainer):
    """One batch of rollouts, as training gets it, made by hand."""
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    batch = next(iter(trainer.get_train_dataloader()))
    return trainer._generate_and_score_completions(batch)


def forward(trainer, inputs):
    """Log-probabilities and values of the completion's tokens, from the model's own logits and hidden states."""
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
    output = trainer.model(ids, attention_mask=mask, output_hidden_states=True)
    columns = inputs["completion_ids"].size(1)
    logits = output.logits[:, -columns - 1 : -1] / trainer.temperature
    logps = logits.log_softmax(-1).gather(-1, inputs["completion_ids"].unsqueeze(-1)).squeeze(-1)
    hidden = output.hidden_states[-1][:, -columns - 1 : -1]
    values = trainer.critic.head(hidden / hidden.pow(2).mean(-1, keepdim=True).sqrt()).squeeze(-1)
    return logps, values


def make_different(trainer):
    """Move policy and critic, so that ratios are not 1 and values not 0."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
        trainer.critic.head.weight += 0.3 * torch.randn_like(trainer.critic.head.weight)


def test_rollouts_have_the_advantages_and_returns_of_a_naive_loop(make_trainer):
    trainer = make_trainer(gamma=0.9, lam=0.8, beta=0.5, whiten_advantages=False, scale_rewards="none")
    make_different(trainer)  # policy and reference differ, so there is a KL penalty
    inputs = rollouts_of(trainer)
    with torch.no_grad():
        logps, values = forward(trainer, inputs)
    assert torch.allclose(inputs["old_per_token_logps"], logps, atol=1e-4)
    scores = trainer._captured.rewards.nansum(1)
    for row, length in enumerate(inputs["completion_mask"].sum(1).tolist()):
        rewards = [-0.5 * (logps[row, t] - inputs["ref_per_token_logps"][row, t]).item() for t in range(length)]
        rewards[-1] += scores[row].item()
        following = advantage = 0.0
        for t in reversed(range(length)):
            delta = rewards[t] + 0.9 * following - values[row, t].item()
            advantage = delta + 0.9 * 0.8 * advantage
            following = values[row, t].item()
            assert inputs["advantages"][row, t].item() == pytest.approx(advantage, abs=1e-3)
            assert inputs["returns"][row, t].item() == pytest.approx(advantage + following, abs=1e-3)
        assert (inputs["advantages"][row, length:] == 0).all()


@pytest.mark.parametrize(("cliprange_value", "loss_type"), [(None, "dapo"), (0.05, "dapo"), (0.05, "bnpo")])
def test_the_loss_is_that_of_a_naive_loop(make_trainer, cliprange_value, loss_type):
    trainer = make_trainer(vf_coef=0.7, cliprange_value=cliprange_value, epsilon=0.05, beta=0.5, loss_type=loss_type)
    inputs = rollouts_of(trainer)
    make_different(trainer)
    loss = trainer._compute_loss(trainer.model, inputs)
    logps, values = forward(trainer, inputs)
    policy_loss = value_loss = tokens = clipped = 0.0
    for row, length in enumerate(inputs["completion_mask"].sum(1).tolist()):
        for t in range(length):
            tokens += 1
            advantage, target = inputs["advantages"][row, t].item(), inputs["returns"][row, t].item()
            ratio = math.exp(logps[row, t].item() - inputs["old_per_token_logps"][row, t].item())
            policy_loss -= min(ratio * advantage, min(max(ratio, 0.95), 1.05) * advantage)
            value, old = values[row, t].item(), inputs["old_values"][row, t].item()
            error = (value - target) ** 2
            if cliprange_value is not None:
                near = old + min(max(value - old, -cliprange_value), cliprange_value)
                clipped += (near - target) ** 2 > error
                error = max(error, (near - target) ** 2)
            value_loss += 0.5 * error
    assert loss.item() == pytest.approx((policy_loss + 0.7 * value_loss) / tokens, rel=1e-3, abs=1e-4)
    if cliprange_value is not None:
        assert clipped > 0
        assert trainer._metrics["train"]["value/clip_ratio"][-1] == pytest.approx(clipped / tokens)
        assert trainer._metrics["train"]["clip_ratio/region_mean"][-1] > 0


def test_the_kl_penalty_is_applied_once(make_trainer):
    """It is in the rewards; the loss must not have it as well."""
    trainer = make_trainer(beta=0.5)
    inputs = rollouts_of(trainer)
    make_different(trainer)
    loss = trainer._compute_loss(trainer.model, inputs)
    far = {**inputs, "ref_per_token_logps": inputs["ref_per_token_logps"] + 5.0}
    assert torch.equal(loss, trainer._compute_loss(trainer.model, far))
    assert trainer.beta == 0.5


def half_judged(completions, **columns):
    return [None if index % 2 else float(index) for index in range(len(completions))]


def test_a_row_without_a_reward_teaches_nothing(make_trainer):
    trainer = make_trainer(reward_funcs=half_judged)
    inputs = rollouts_of(trainer)
    make_different(trainer)
    assert (inputs["advantages"][1::2] == 0).all()
    assert (inputs["advantages"][0::2] != 0).any()
    changed = {**inputs, "returns": inputs["returns"].clone()}
    changed["returns"][1::2] = 99.0
    assert torch.equal(trainer._compute_loss(trainer.model, inputs), trainer._compute_loss(trainer.model, changed))


def nothing_judged(completions, **columns):
    return [None] * len(completions)


def test_a_batch_without_any_reward_moves_nothing(make_trainer):
    trainer = make_trainer(reward_funcs=nothing_judged, max_steps=1, weight_decay=0.0)
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    trainer.train()
    assert all(torch.equal(old, new) for old, new in zip(before, trainer.model.parameters(), strict=True))
    assert trainer.critic.head.weight.abs().sum() == 0


def test_masked_truncated_completions_teach_nothing(make_trainer):
    trainer = make_trainer(mask_truncated_completions=True, max_completion_length=2)
    inputs = rollouts_of(trainer)
    truncated = inputs["completion_mask"].sum(1) == 0
    assert truncated.any()
    assert (inputs["advantages"][truncated] == 0).all()
    assert torch.isfinite(trainer._compute_loss(trainer.model, inputs))


@pytest.mark.parametrize("steps_per_generation", [2, 4])
def test_accumulated_gradients_are_those_of_one_large_batch(make_trainer, steps_per_generation):
    """Two accumulated steps of two rows and one step of four; a round of rollouts may feed several optimizer steps."""

    def gradient(accumulation):
        trainer = make_trainer(
            per_device_train_batch_size=4 // accumulation,
            gradient_accumulation_steps=accumulation,
            steps_per_generation=steps_per_generation * accumulation // 2,
            num_iterations=1,
            max_steps=1,
            max_grad_norm=0.0,
        )
        inputs = rollouts_of(trainer)
        trainer.current_gradient_accumulation_steps = accumulation
        for start in range(0, 4, 4 // accumulation):
            part = {
                name: value if value.dim() == 0 else value[start : start + 4 // accumulation]
                for name, value in inputs.items()
            }
            trainer._compute_loss(trainer.model, part).backward()
        return trainer.critic.head.weight.grad, trainer.model.get_input_embeddings().weight.grad

    for whole, in_parts in zip(gradient(1), gradient(2), strict=True):
        assert torch.allclose(whole, in_parts, atol=1e-6)


def test_rewards_are_brought_to_one_scale(make_trainer):
    trainer = make_trainer(scale_rewards="batch", beta=0.0, gamma=1.0, lam=1.0, whiten_advantages=False)
    inputs = rollouts_of(trainer)
    scores = trainer._captured.rewards.nansum(1)
    expected = (scores - scores.mean()) / scores.std(unbiased=False)
    assert torch.allclose(inputs["returns"][:, 0], expected, atol=1e-5)
    trainer.model.eval()
    seen = trainer.critic.scale.moments.tolist()
    trainer._generate_and_score_completions(next(iter(trainer.get_eval_dataloader())))
    assert trainer.critic.scale.moments.tolist() == seen  # an evaluation is not learnt from


# The contract with TRL ----------------------------------------------------------------------------------------------


def test_trl_has_the_seam():
    check_seam()


def test_a_moved_seam_is_named():
    class Moved:
        def _generate_and_score_completions(self, inputs): ...
        def _calculate_rewards(self, rollouts): ...

    with pytest.raises(RuntimeError, match=r"TRL \S+ has changed .*Moved\._calculate_rewards has no inputs, prompts"):
        check_seam(Moved)
    with pytest.raises(RuntimeError, match=r"it has no object\._generate_and_score_completions"):
        check_seam(object)


def test_a_forward_that_the_critic_cannot_see_is_named(make_trainer):
    trainer = make_trainer()
    inputs = rollouts_of(trainer)
    for hooks in (module._forward_hooks for module in trainer.model.modules()):
        hooks.clear()
    with pytest.raises(RuntimeError, match="has changed what PPOTrainer builds on"):
        trainer._compute_loss(trainer.model, inputs)


def test_trl_takes_advantages_per_token(make_trainer):
    """The seam itself: GRPOTrainer's loss is linear in (B, T) advantages, token by token, where nothing is clipped."""
    from trl import GRPOTrainer

    trainer = make_trainer(beta=0.0)
    inputs = rollouts_of(trainer)
    only_one = torch.zeros_like(inputs["advantages"])
    only_one[0, 0] = 1.0
    inputs["advantages"] = only_one
    loss = GRPOTrainer._compute_loss(trainer, trainer.model, inputs)
    tokens = inputs["completion_mask"].sum()
    assert loss.item() == pytest.approx(-1.0 / tokens.item(), rel=1e-4)
