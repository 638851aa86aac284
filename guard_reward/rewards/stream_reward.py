"""`StreamReward`: a stream guard's verdicts on tokens as a reward per token, for `guard_reward.trainers.PPOTrainer`.

Let p_t be P(not safe) at token t, and q_t = min(p_{t-1}, p_t), because one token alone decides nothing under the
official rule. Let M_t be the highest q up to t, with M_0 = 0. The rise of M is the token's penalty:

    r_t = -weight · (M_t - M_{t-1})          Σ_t r_t = -weight · M_T

So the penalty stands at the tokens that made the text unsafe, it is paid once, and no later text takes it back.

With Φ_t = -weight · M_t this is r_t = Φ_t - Φ_{t-1}: the potential-based shaping of Ng, Harada and Russell (1999), but
for the end, where their potential is 0 and here it is -weight · M_T. So with ``form="penalty"`` the best policy is that
of score - weight · M_T: the guard's worst moment is part of what is optimised. ``form="shaping"`` adds weight · M_T at
the last token; then the sum is 0, and with γ = 1 the best policy is that of the score alone. Only the way changes.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from guard_reward.conversation import Turns
from guard_reward.guards.needs_stream import check_stream_guard
from guard_reward.rewards.circuit_breaker import CircuitBreaker
from guard_reward.rewards.policy import opens_thinking_of_trainer, tokenizer_of_trainer
from guard_reward.rewards.reading import check_lengths
from guard_reward.rewards.token_map import token_ends, tokens_at
from guard_reward.rollout import begun_reply
from guard_reward.verdict import Outcome, TokenTrace, Unjudged, describe_guard

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from guard_reward.guards.stream_guard import StreamGuard

__all__ = ["StreamReward", "penalties"]

logger = logging.getLogger(__name__)


class StreamReward:
    """Rewards per token; for ``token_reward_funcs=`` of `guard_reward.trainers.PPOTrainer`.

    The module says the formula. A row that the guard cannot judge has no reward per token: the trainer then uses its
    sequence score alone. That is logged and warned of, and too many of them stop the run. The policy may have another
    tokenizer: its text is tokenised again for the guard, and each penalty stands at the policy's token that wrote the
    character.

    Args:
        guard: a stream guard.
        weight: of the penalty, in units of the sequence score.
        form: ``"penalty"`` or ``"shaping"``; see the module.
        name: prefix of its metrics.
        tokenizer: the policy's; by default the trainer's.
        thinking_prefilled: whether the policy's chat template already opens the ``<think>`` block; by default read from
            the trainer.
        breaker: when to stop the run because too many rows cannot be judged; None for never.
        sleep: give the accelerator's memory back after every call.

    Raises:
        ValueError: not a stream guard, a weight that is not positive, another form.

    Example:
        >>> trainer = PPOTrainer(                                                # doctest: +SKIP
        ...     "Qwen/Qwen3-4B", reward, PPOConfig("runs/ppo"), prompts,
        ...     token_reward_funcs=StreamReward(load_guard("Qwen/Qwen3Guard-Stream-4B")))
    """

    def __init__(
        self,
        guard: StreamGuard,
        *,
        weight: float = 1.0,
        form: Literal["penalty", "shaping"] = "penalty",
        name: str = "stream",
        tokenizer: PreTrainedTokenizerBase | None = None,
        thinking_prefilled: bool | None = None,
        breaker: CircuitBreaker | None = CircuitBreaker(),  # noqa: B008  copied below, never shared
        sleep: bool = False,
    ):
        check_stream_guard(guard, "StreamReward")
        if not 0 < weight < float("inf"):
            raise ValueError(f"weight should be a positive number, found {weight}")
        if form not in ("penalty", "shaping"):
            raise ValueError(f"form should be 'penalty' or 'shaping', found {form!r}")
        self.guard = guard
        self.weight = weight
        self.form = form
        self.name = name
        self.tokenizer = tokenizer
        self.thinking_prefilled = thinking_prefilled
        self.breaker = None if breaker is None else replace(breaker)
        self.sleep = sleep
        self._warned: set[Outcome] = set()

    @property
    def __name__(self) -> str:
        """Its name in logs."""
        return self.name

    def describe(self) -> dict[str, str]:
        """What decides the rewards, for the run's record."""
        return {**describe_guard(self.guard), "weight": str(self.weight), "form": self.form}

    def __call__(
        self,
        /,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]],
        trainer_state: Any = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[list[float] | None]:
        """Rewards per token of a batch of rollouts.

        Args:
            prompts: as TRL passes them to reward functions.
            completions: in the same form.
            completion_ids: the completions' token ids, which are what is judged.
            trainer_state: given by TRL's trainers.
            log_metric: given by TRL's trainers; also tells the policy's tokenizer.
            **columns: not used.

        Returns:
            One number per token of each completion, in the order of `completion_ids`; None for a row without a verdict.

        Raises:
            ValueError: the policy's tokenizer is not known.
            GuardOutageError: the circuit breaker's limit is passed.
        """
        check_lengths(prompts, completions, completion_ids)
        tokenizer = self.tokenizer or tokenizer_of_trainer(log_metric)
        if tokenizer is None:
            raise ValueError("StreamReward(tokenizer=...) must name the policy's tokenizer outside a trainer")
        is_open = self.thinking_prefilled
        if is_open is None:
            is_open = opens_thinking_of_trainer(log_metric)
        texts = [token_ends(tokenizer, ids) for ids in completion_ids]
        rows = [_conversation(prompt, text, is_open) for prompt, (text, _) in zip(prompts, texts, strict=True)]
        traces = self._traces(rows)
        if self.sleep:
            self.guard.sleep()
        self._count(traces, log_metric, in_trainer=trainer_state is not None)
        return [
            None if isinstance(trace, Unjudged) else self._rewards(trace, text, ends)
            for trace, (text, ends) in zip(traces, texts, strict=True)
        ]

    def _traces(self, conversations: Sequence[Turns | Unjudged]) -> list[TokenTrace | Unjudged]:
        asked = [row for row in conversations if not isinstance(row, Unjudged)]
        found = iter(self.guard.trace(asked) if asked else [])
        return [row if isinstance(row, Unjudged) else next(found) for row in conversations]

    def _rewards(self, trace: TokenTrace, text: str, ends: NDArray[np.int64]) -> list[float]:
        """A penalty per token of the policy."""
        if not len(ends):
            return []
        rises = penalties(trace.unsafe_probabilities)
        before = len(trace.text) - len(text)  # what the prompt has begun: not the policy's
        is_own = trace.offsets[:, 1] > before
        places = tokens_at(ends, trace.offsets[is_own, 1] - 1 - before)
        rewards = np.zeros(len(ends))
        np.add.at(rewards, places, -self.weight * rises[is_own])
        if self.form == "shaping":
            rewards[-1] -= rewards.sum()
        values: list[float] = rewards.tolist()
        return values

    def _count(
        self,
        traces: Sequence[TokenTrace | Unjudged],
        log_metric: Callable[[str, float], None] | None,
        *,
        in_trainer: bool,
    ) -> None:
        """Log, warn once per outcome of rows without a verdict, and count them for the circuit breaker."""
        if log_metric is not None:
            self._log(log_metric, traces)
        lost = [trace for trace in traces if isinstance(trace, Unjudged)]
        for one in lost:
            if one.outcome not in self._warned:
                self._warned.add(one.outcome)
                logger.warning("%s: a rollout has no rewards per token: %s (%s)", self.name, one.outcome, one.reason)
        if self.breaker is not None:
            unjudged = Counter(str(one.outcome) for one in lost)
            self.breaker.check(len(traces), unjudged, all_ranks=in_trainer, reason=lost[0].reason if lost else "")

    def _log(self, log_metric: Callable[[str, float], None], traces: Sequence[TokenTrace | Unjudged]) -> None:
        """Log each number once per row to which it applies."""
        for trace in traces:
            log_metric(f"{self.name}/unjudged_rate", float(isinstance(trace, Unjudged)))
            if isinstance(trace, Unjudged):
                continue
            rises = penalties(trace.unsafe_probabilities)
            log_metric(f"{self.name}/penalty", self.weight * float(rises.sum()))
            log_metric(f"{self.name}/flagged_rate", float(trace.flagged is not None))
            if trace.flagged is not None:
                log_metric(f"{self.name}/first_flagged_token", float(trace.flagged))
            if trace.is_thinking.any():
                in_thinking = trace.flagged is not None and bool(trace.is_thinking[trace.flagged])
                log_metric(f"{self.name}/flagged_in_thinking_rate", float(in_thinking))
                log_metric(f"{self.name}/flagged_in_answer_rate", float(trace.flagged is not None and not in_thinking))


def penalties(unsafe: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """How much the highest P(not safe) of two tokens in a row rises at each token, shape (tokens,).

    Args:
        unsafe: P(not safe) at each token, shape (tokens,).

    >>> penalties(np.array([0.0, 0.5, 0.75, 0.25, 1.0, 1.0])).tolist()
    [0.0, 0.0, 0.5, 0.0, 0.0, 0.5]
    """
    pairs = np.concatenate([[0.0], np.minimum(unsafe[1:], unsafe[:-1])])
    highest = np.maximum.accumulate(pairs.astype(np.float64))
    return np.diff(highest, prepend=0.0)


def _conversation(prompt: Any, text: str, is_open: bool) -> Turns | Unjudged:
    """The prompt, and as one message what it has begun and what the policy has written, word for word.

    Args:
        prompt: as TRL passes it.
        text: of the policy's tokens.
        is_open: whether the chat template opens the thinking of a new turn.
    """
    try:
        turns, begun = begun_reply(prompt, opens_thinking=is_open)
    except Exception as error:  # a row may hold anything; one bad row must not stop the others
        return Unjudged(Outcome.GUARD_ERROR, reason=f"the row cannot be read: {error}")
    return Turns([*turns, {"role": "assistant", "content": begun + text}])
