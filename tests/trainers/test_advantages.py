"""Per-token rewards, GAE and whitening against loops that a reader can check by eye."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from guard_reward.trainers.advantages import (  # noqa: E402
    explained_variance,
    generalized_advantages,
    token_rewards,
    whiten,
)


def naive_gae(rewards, values, gamma, lam):
    """One episode, from the definition: A_t = Σ (γλ)^k δ_{t+k}."""
    n = len(rewards)
    following = [*values[1:], 0.0]
    deltas = [rewards[t] + gamma * following[t] - values[t] for t in range(n)]
    return [sum((gamma * lam) ** k * deltas[t + k] for k in range(n - t)) for t in range(n)]


@st.composite
def episodes(draw):
    """Rows of (mask, rewards, values), gaps and empty rows among them."""
    width = draw(st.integers(1, 8))
    number = st.floats(-5, 5, width=32)
    rows = draw(st.lists(st.tuples(*[st.lists(st.booleans(), min_size=width, max_size=width)]), min_size=1, max_size=4))
    masks = [row[0] for row in rows]
    draw_numbers = st.lists(st.lists(number, min_size=width, max_size=width), min_size=len(rows), max_size=len(rows))
    return masks, draw(draw_numbers), draw(draw_numbers)


@given(episodes(), st.floats(0, 1), st.floats(0, 1))
def test_advantages_are_those_of_each_rows_own_tokens(case, gamma, lam):
    masks, rewards, values = case
    mask = torch.tensor(masks).long()
    advantages, returns = generalized_advantages(
        torch.tensor(rewards) * mask, torch.tensor(values), mask, gamma=gamma, lam=lam
    )
    for row, own in enumerate(masks):
        tokens = [t for t, is_own in enumerate(own) if is_own]
        expected = naive_gae([rewards[row][t] for t in tokens], [values[row][t] for t in tokens], gamma, lam)
        found = [advantages[row, t].item() for t in tokens]
        assert found == pytest.approx(expected, abs=1e-3)
        assert [returns[row, t].item() for t in tokens] == pytest.approx(
            [a + values[row][t] for a, t in zip(expected, tokens, strict=True)], abs=1e-3
        )
        padding = [t for t, is_own in enumerate(own) if not is_own]
        assert all(advantages[row, t] == 0 and returns[row, t] == 0 for t in padding)


def test_with_lambda_and_gamma_1_the_return_is_the_sum_of_what_is_to_come():
    rewards = torch.tensor([[-0.1, -0.2, 2.0, 0.0]])
    mask = torch.tensor([[1, 1, 1, 0]])
    values = torch.tensor([[0.3, -0.4, 0.9, 7.0]])
    advantages, returns = generalized_advantages(rewards, values, mask, gamma=1.0, lam=1.0)
    assert torch.allclose(returns, torch.tensor([[1.7, 1.8, 2.0, 0.0]]))
    assert torch.allclose(advantages, torch.tensor([[1.4, 2.2, 1.1, 0.0]]))


def test_what_stands_in_the_padding_does_not_matter():
    mask = torch.tensor([[1, 1, 0, 0]])
    first = generalized_advantages(torch.ones(1, 4) * mask, torch.ones(1, 4), mask, gamma=0.9, lam=0.8)
    noisy = torch.tensor([[1.0, 1.0, 99.0, -99.0]])
    second = generalized_advantages(torch.ones(1, 4) * mask, noisy, mask, gamma=0.9, lam=0.8)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("mask", "kl", "expected"),
    [
        ([1, 1, 1, 1], None, [0, 0, 0, 2]),  # an end token or a truncation at the limit: the score is at the last token
        ([1, 1, 0, 0], None, [0, 2, 0, 0]),  # padding behind the end
        ([1, 0, 1, 0], None, [0, 0, 2, 0]),  # a tool's token between the policy's own
        ([0, 0, 0, 0], None, [0, 0, 0, 0]),  # a masked truncated completion
        ([1, 1, 1, 0], [1.0, -2.0, 3.0, 50.0], [-0.5, 1.0, 0.5, 0]),  # the penalty is on every token, the last included
    ],
)
def test_token_rewards(mask, kl, expected):
    kl = None if kl is None else torch.tensor([kl])
    rewards = token_rewards(torch.tensor([2.0]), kl, torch.tensor([mask]), beta=0.5)
    assert rewards.tolist() == [pytest.approx(expected)]


def test_whitening_looks_at_the_masked_tokens_only():
    x = torch.tensor([[1.0, 2.0, 100.0], [3.0, 6.0, -100.0]])
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    inside = x[mask.bool()]
    moments = torch.stack([torch.tensor(4.0), inside.sum(), (inside**2).sum()]).double()
    whitened = whiten(x, mask, moments)
    expected = (inside - inside.mean()) / inside.std(unbiased=False)
    assert torch.allclose(whitened[mask.bool()], expected, atol=1e-5)
    assert (whitened[~mask.bool()] == 0).all()


@pytest.mark.parametrize("value", [3.3333, 0.7, 1.1])
def test_whitening_does_not_blow_up_what_rounding_leaves(value):
    x = torch.full((64, 511), value)
    mask = torch.ones_like(x)
    moments = torch.stack([mask.double().sum(), x.double().sum(), (x.double() ** 2).sum()])
    assert whiten(x, mask, moments).abs().max() < 0.01


@pytest.mark.parametrize(
    ("returns", "values", "expected"),
    [
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 1.0),
        ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0], 0.0),
        ([1.0, 2.0, 3.0], [11.0, 12.0, 13.0], 1.0),  # a constant error does not count: it is variance that is explained
        ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0], -3.0),
        ([2.0, 2.0], [1.0, 3.0], math.nan),
    ],
)
def test_explained_variance(returns, values, expected):
    def moments(x):
        return torch.tensor([len(x), sum(x), sum(y * y for y in x)])

    errors = [r - v for r, v in zip(returns, values, strict=True)]
    assert explained_variance(moments(returns), moments(errors)) == pytest.approx(expected, nan_ok=True)
