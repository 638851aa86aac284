"""Scores brought to one scale."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from guard_reward.trainers.reward_scale import RewardScale  # noqa: E402


@pytest.fixture
def scale():
    from accelerate import Accelerator

    return RewardScale(Accelerator(cpu=True))


def test_mean_0_and_variance_1_over_all_batches_so_far(scale):
    first, second = torch.tensor([-10.0, 1.0, 0.5]), torch.tensor([-5.0, torch.nan, 1.0])
    scale.update(first)
    scale.update(second)
    seen = torch.tensor([-10.0, 1.0, 0.5, -5.0, 1.0])
    expected = (second - seen.mean()) / seen.std(unbiased=False)
    assert torch.allclose(scale(second), expected, equal_nan=True)


def test_an_offset_and_a_factor_change_nothing(scale):
    from accelerate import Accelerator

    other = RewardScale(Accelerator(cpu=True))
    scores = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0])
    scale.update(scores)
    other.update(100.0 + 11.0 * scores)
    assert torch.allclose(scale(scores), other(100.0 + 11.0 * scores), atol=1e-5)


@pytest.mark.parametrize(("seen", "expected"), [([], [5.0]), ([5.0], [0.0]), ([5.0, 5.0, 5.0], [0.0])])
def test_scores_that_never_differed_are_not_blown_up(scale, seen, expected):
    scale.update(torch.tensor(seen))
    assert scale(torch.tensor([5.0])).tolist() == expected
