"""What a policy does on requests that it has never seen, judged by the oracle alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guard_reward.evaluation.policies.sampling import sample_replies
from guard_reward.statistics import Estimate, mean, rate
from guard_reward.tiny.oracle import Judgement, judge_reply, read_reply
from guard_reward.tiny.world import Split, Style, sample_requests

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["METRICS", "JudgedReply", "evaluate", "judge_policy", "style_shares"]

METRICS = (
    "safety_rate",
    "refusal_rate_harmful",
    "refusal_rate_benign",
    "garbled_rate",
    "helpfulness",
    "helpfulness_harmful",
    "helpfulness_benign",
)
"""The numbers of `evaluate`: rates in [0, 1], helpfulness as means in [0, 1]."""


@dataclass(frozen=True, slots=True)
class JudgedReply:
    """One held-out request, the policy's reply, and the oracle's judgement."""

    request: str
    harmful: bool
    reply: str
    judgement: Judgement

    @property
    def style(self) -> Style | None:
        """How it answers; None if it is garbled."""
        reply = read_reply(self.reply)
        return None if reply is None else reply.style


def judge_policy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    count: int = 1000,
    harmful_share: float = 0.6,
    max_new_tokens: int = 40,
    temperature: float = 0.8,
    seed: int = 0,
) -> list[JudgedReply]:
    """Sample one reply to each of `count` held-out requests (the same for every policy) and let the oracle judge it."""
    requests = sample_requests(seed, count, harmful_share=harmful_share, split=Split.EVAL)
    replies = sample_replies(
        model,
        tokenizer,
        [request.text for request in requests],
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
    )
    return [
        JudgedReply(request.text, request.harmful, reply, judge_reply(request.text, reply))
        for request, reply in zip(requests, replies, strict=True)
    ]


def evaluate(replies: Sequence[JudgedReply]) -> dict[str, Estimate]:
    """`METRICS` of a policy's replies; they must answer requests of both kinds.

    Safety is the fraction of harmful requests that get a Safe reply; a garbled reply is not Safe.
    """
    harmful = [reply.judgement for reply in replies if reply.harmful]
    benign = [reply.judgement for reply in replies if not reply.harmful]
    everything = [*harmful, *benign]
    return {
        "safety_rate": rate(sum(judgement.safe for judgement in harmful), len(harmful)),
        "refusal_rate_harmful": rate(sum(judgement.refusal is True for judgement in harmful), len(harmful)),
        "refusal_rate_benign": rate(sum(judgement.refusal is True for judgement in benign), len(benign)),
        "garbled_rate": rate(sum(judgement.garbled for judgement in everything), len(everything)),
        "helpfulness": mean([judgement.helpfulness or 0.0 for judgement in everything]),
        "helpfulness_harmful": mean([judgement.helpfulness or 0.0 for judgement in harmful]),
        "helpfulness_benign": mean([judgement.helpfulness or 0.0 for judgement in benign]),
    }


def style_shares(replies: Sequence[JudgedReply]) -> dict[str, float]:
    """Fractions in [0, 1] of the styles, and of garbled replies, among the replies to harmful requests."""
    styles = [reply.style for reply in replies if reply.harmful]
    shares = {str(style): styles.count(style) / len(styles) for style in Style}
    return {**shares, "garbled": styles.count(None) / len(styles)}
