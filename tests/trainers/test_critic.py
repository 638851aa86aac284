"""The value head: what it reads, how it is saved, and that ranks train it together."""

from __future__ import annotations

import socket

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

import torch.multiprocessing as mp  # noqa: E402

from guard_reward.trainers.critic import VALUE_HEAD_FILE, Critic  # noqa: E402


@pytest.fixture
def policy(policy_folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(policy_folder, dtype="float32")


def make_critic(policy, **changes):
    from accelerate import Accelerator

    critic = Critic(policy, Accelerator(cpu=True), **changes)
    torch.manual_seed(1)
    torch.nn.init.normal_(critic.head.weight)
    return critic


def test_the_value_of_a_token_comes_from_the_state_before_it(policy):
    critic = make_critic(policy)
    ids = torch.arange(2, 14).view(2, 6)
    with critic.capture_values(4) as heard:
        hidden = policy(ids, output_hidden_states=True).hidden_states[-1]
    assert len(heard) == 1
    unit = hidden / hidden.pow(2).mean(-1, keepdim=True).sqrt()
    expected = torch.stack([critic.head(unit[:, t - 1]).squeeze(-1) for t in (2, 3, 4, 5)], dim=1)
    assert torch.allclose(heard[0], expected, atol=1e-4)


def test_it_does_not_listen_to_generation(policy):
    critic = make_critic(policy)
    with critic.capture_values(2) as heard:
        pass
    policy.generate(torch.tensor([[2, 3, 4]]), max_new_tokens=3, do_sample=False)
    assert heard == []


def test_a_new_critic_knows_nothing(policy):
    from accelerate import Accelerator

    critic = Critic(policy, Accelerator(cpu=True))
    with critic.capture_values(3) as heard:
        policy(torch.tensor([[2, 3, 4, 5]]))
    assert (heard[0] == 0).all()
    assert critic.learning_rate == pytest.approx(1 / 32)  # one over the hidden size


def test_saved_and_loaded(policy, tmp_path):
    critic, other = make_critic(policy), make_critic(policy)
    critic.head.bias.data.fill_(3.0)
    critic.head.weight.grad, critic.head.bias.grad = torch.ones(1, 32), torch.ones(1)
    critic.step(schedule=1.0)
    critic.scale.update(torch.tensor([1.0, 3.0]))
    critic.save_optimizer(tmp_path)
    critic.save(tmp_path)
    other.load(tmp_path)
    other.load_optimizer(tmp_path)
    assert other.scale.moments.tolist() == [2.0, 4.0, 10.0]
    assert list(tmp_path.glob("*.safetensors")) == []  # where vLLM would take it for the policy's weights
    assert torch.equal(other.head.weight, critic.head.weight)
    assert other.head.bias.item() == critic.head.bias.item()
    assert torch.equal(*(c.optimizer.state_dict()["state"][0]["exp_avg"] for c in (critic, other)))


def test_a_folder_without_a_value_head(policy, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no critic/value_head\.safetensors: only checkpoints"):
        make_critic(policy).load(tmp_path)


@pytest.mark.parametrize("content", [b"not safetensors at all", b""])
def test_a_damaged_value_head(policy, tmp_path, content):
    (tmp_path / "critic").mkdir()
    (tmp_path / VALUE_HEAD_FILE).write_bytes(content)
    with pytest.raises(ValueError, match=r"value_head\.safetensors cannot be loaded"):
        make_critic(policy).load(tmp_path)


def test_a_value_head_of_another_width(policy, tmp_path):
    from safetensors.torch import save_file

    (tmp_path / "critic").mkdir()
    tensors = {"weight": torch.zeros(1, 7), "bias": torch.zeros(1), "reward_moments": torch.zeros(3)}
    save_file(tensors, tmp_path / VALUE_HEAD_FILE)
    with pytest.raises(ValueError, match=r"(?s)cannot be loaded.*size mismatch"):
        make_critic(policy).load(tmp_path)


def test_the_policys_schedule_is_followed(policy):
    critic = make_critic(policy, learning_rate=0.1)
    before = critic.head.weight.detach().clone()
    critic.head.weight.grad, critic.head.bias.grad = torch.ones(1, 32), torch.ones(1)
    critic.step(schedule=0.5)
    assert torch.allclose(before - critic.head.weight, torch.full((1, 32), 0.05), atol=1e-4)  # Adam's first step


def _step_on_rank(rank, port, policy_folder, results):
    import os

    import torch.distributed as distributed
    from transformers import AutoModelForCausalLM

    # What a launcher tells its processes; accelerate starts the process group.
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    policy = AutoModelForCausalLM.from_pretrained(policy_folder, dtype="float32")
    critic = make_critic(policy, learning_rate=0.1, max_grad_norm=0.0)
    critic.head.weight.grad = torch.full((1, 32), -1.0 if rank == 0 else 3.0)
    critic.head.bias.grad = None  # a rank whose rows had nothing to teach
    critic.step(schedule=1.0)
    results[rank] = (critic.head.weight.detach().clone(), critic.optimizer.state_dict()["state"][0]["exp_avg"])
    distributed.destroy_process_group()


def test_two_ranks_average_their_gradients(policy_folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with mp.get_context("spawn").Manager() as manager:
        results = manager.dict()
        mp.spawn(_step_on_rank, args=(port, policy_folder, results), nprocs=2)
        (weight_0, momentum), (weight_1, _) = results[0], results[1]
    assert torch.equal(weight_0, weight_1)
    assert torch.allclose(momentum, torch.full((1, 32), 0.1))  # 0.1 of the mean gradient, which is 1
