"""Helpfulness H(x, y): what a policy should not lose while it becomes safe.

H comes from a sequence-classification reward model (`RewardModel`, e.g. Skywork-Reward) or from any callable with
TRL's reward signature.

    reward = GuardReward(guard, scheme="hybrid", helpfulness="Skywork/Skywork-Reward-V2-Qwen3-0.6B")
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from guard_reward.conversation import Message
from guard_reward.rewards.policy import PolicyFacts, policy_of_trainer
from guard_reward.rewards.reading import check_lengths, read_rollout
from guard_reward.verdict import Unjudged

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from guard_reward.models.chat_template import Prompter

__all__ = ["Helpfulness", "RewardModel", "make_helpfulness", "scores_conversations"]

logger = logging.getLogger(__name__)

Helpfulness = Callable[..., Sequence[float | None]]
"""``f(prompts=, completions=, **columns)`` → one number per completion, or None if it has no opinion."""


class RewardModel:
    """A sequence-classification reward model as a helpfulness function with TRL's reward signature.

    It scores the prompt's conversation with the answer (thinking removed) through the model's own chat template. The
    score is the model's single logit, on its own scale. Frozen, whole under ZeRO-3, and pickled by name like a guard.

    Args:
        model: hub id, ``modelscope:`` and an id, or folder of a checkpoint with one label (``num_labels=1``) and a
            chat template.
        device: as in `guard_reward.load_guard`.
        dtype: as in `guard_reward.load_guard`.
        revision: branch, tag or commit on the hub.
        thinking_prefilled: as in `guard_reward.GuardReward`, which reads the rows itself; for other uses.
        token_budget: most tokens, padding included, in one forward pass; halved when memory runs out.

    Raises:
        FileNotFoundError: a folder that does not exist.
        ValueError: a checkpoint with more than one label, or without a chat template.

    >>> RewardModel("Skywork/Skywork-Reward-V2-Qwen3-0.6B")(                      # doctest: +SKIP
    ...     prompts=["What is 2+2?"], completions=["4."])
    [7.1]
    """

    def __init__(
        self,
        model: str | Path,
        *,
        device: str | None = None,
        dtype: str | torch.dtype | None = None,
        revision: str | None = None,
        thinking_prefilled: bool | None = None,
        token_budget: int = 8_192,
    ):
        from guard_reward.models.checkpoint import Checkpoint, checked_name
        from guard_reward.models.lazy import LazyModel
        from guard_reward.scoring import BatchRunner, plan_padded_batches

        checkpoint = Checkpoint(checked_name(model), device, dtype, revision)
        self.thinking_prefilled = thinking_prefilled
        self._token_budget = token_budget
        self._runner: BatchRunner[float] = BatchRunner(self._budget, plan_padded_batches)
        self._lazy = LazyModel(checkpoint, "AutoModelForSequenceClassification", _assemble)
        self._lazy.load()  # now: a missing checkpoint should fail on the user's own line

    @property
    def __name__(self) -> str:
        return self.checkpoint.name.rstrip("/").split("/")[-1]

    @property
    def checkpoint(self) -> Any:
        """Where the model comes from."""
        return self._lazy.source

    @property
    def _parts(self) -> _Parts:
        return self._lazy.load()

    def _budget(self) -> int:
        return self._token_budget

    def sleep(self) -> None:
        """Give the accelerator's memory back; see `guard_reward.TransformersGuard.sleep`."""
        self._lazy.sleep()

    def wake(self) -> None:
        """Bring the weights back to where they were before `sleep`."""
        self._lazy.wake()

    def __call__(self, /, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """H for each completion; None for a row that could not be scored (logged, with the reason).

        Raises:
            ValueError: another number of completions than of prompts.
        """
        check_lengths(prompts, completions, None)
        policy = policy_of_trainer(columns.get("log_metric"))
        return self.score([self._read(*row, policy) for row in zip(prompts, completions, strict=True)])

    def score(self, conversations: Sequence[Sequence[Message] | None]) -> list[float | None]:
        """H of each conversation's last message; None for a conversation that is None or could not be scored."""
        from guard_reward.models.sleep import MODEL_LOCK

        encoded = [None if conversation is None else self._encode(conversation) for conversation in conversations]
        rows = [row for row in encoded if row is not None]
        with MODEL_LOCK:
            self.wake()
            scores = iter(self._runner.run(rows, lambda indices: self._forward([rows[index] for index in indices])))
        values = [None if row is None else next(scores) for row in encoded]
        return [None if isinstance(value, Exception) else value for value in values]

    def _forward(self, rows: list[list[int]]) -> list[float]:
        """The model's logit for each row of token ids, in one pass."""
        import torch

        model = self._parts.model
        width = max(map(len, rows))
        # The model reads its score at the last token that is not the pad: no row may end in it.
        ends = {row[-1] for row in rows}
        pad = next(token for token in range(len(ends) + 1) if token not in ends)
        model.config.get_text_config().pad_token_id = pad
        ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])  # (rows, width)
        mask = (torch.arange(width) < torch.tensor([[len(row)] for row in rows])).long()
        with torch.inference_mode(), torch.autocast(model.device.type, enabled=False):
            logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits
        scores: list[float] = logits[:, 0].float().tolist()
        return scores

    def _read(self, prompt: Any, completion: Any, policy: PolicyFacts | None) -> Sequence[Message] | None:
        rollout = read_rollout(prompt, completion, policy=policy, thinking_prefilled=self.thinking_prefilled)
        if isinstance(rollout, Unjudged):
            logger.error("a row cannot be shown to the reward model: %s", rollout.reason)
            return None
        return rollout.answer_conversation()

    def _encode(self, conversation: Sequence[Message]) -> list[int] | None:
        """What the model reads of one conversation; None if its template cannot show it."""
        try:
            return self._parts.prompter.encode(conversation)
        except Exception as error:  # a template may raise anything; one bad row must not stop the others
            logger.error("a row cannot be shown to the reward model: %r", error)
            return None


@dataclass(frozen=True, slots=True)
class _Parts:
    """A loaded reward model."""

    model: PreTrainedModel
    prompter: Prompter


def _assemble(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> _Parts:
    from guard_reward.models.chat_template import Prompter

    if model.config.num_labels != 1:
        raise ValueError(f"{model.name_or_path} has {model.config.num_labels} labels; a reward model has one")
    return _Parts(model, Prompter(tokenizer))


def make_helpfulness(source: str | Path | Helpfulness, *, thinking_prefilled: bool | None = None) -> Helpfulness:
    """A helpfulness function from a reward model's hub id or folder, or from the callable itself.

    Args:
        source: what `guard_reward.GuardReward` takes as `helpfulness`.
        thinking_prefilled: for a reward model that is loaded here, see `RewardModel`.

    >>> make_helpfulness(len)
    <built-in function len>
    """
    if isinstance(source, str | Path):
        return RewardModel(source, thinking_prefilled=thinking_prefilled)
    is_module = hasattr(source, "named_parameters")  # a torch.nn.Module, without importing torch
    if is_module or not callable(source):
        raise ValueError(
            "helpfulness should be a reward model's hub id or folder, or a callable with TRL's reward signature, "
            f"found {type(source).__name__}"
        )
    return source


def scores_conversations(helpfulness: Helpfulness, *, thinking_prefilled: bool | None) -> TypeGuard[RewardModel]:
    """Whether `RewardModel.score` on the rows that a `GuardReward` has read gives what calling `helpfulness` gives.

    Not so for a subclass that changes what a call does, or for a model that was told another `thinking_prefilled`.
    """
    return (
        isinstance(helpfulness, RewardModel)
        and type(helpfulness).__call__ is RewardModel.__call__
        and helpfulness.thinking_prefilled in (None, thinking_prefilled)
    )
