"""Helpfulness H(x, y): what a policy should not lose while it becomes safe.

H comes from a sequence-classification reward model (`RewardModel`, e.g. Skywork-Reward) or from any callable with
TRL's reward signature.

    reward = GuardReward(guard, scheme="hybrid", helpfulness="Skywork/Skywork-Reward-V2-Qwen3-0.6B")
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from guard_reward.models.chat_template import Prompter
from guard_reward.models.checkpoint import Checkpoint, checked_name
from guard_reward.models.sleep import MODEL_LOCK, Sleeper
from guard_reward.rollout import Rollout
from guard_reward.scoring import BatchRunner, plan_padded_batches

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Helpfulness", "RewardModel", "make_helpfulness"]

logger = logging.getLogger(__name__)

Helpfulness = Callable[..., Sequence[float | None]]
"""``f(prompts=, completions=, **columns)`` → one number a completion, or None where it has no opinion."""


class RewardModel(Sleeper):
    """A sequence-classification reward model as a helpfulness function with TRL's reward signature.

    It scores the prompt's conversation with the answer (thinking removed) through the model's own chat template; the
    score is the model's single logit, on its own scale. Frozen, whole under ZeRO-3, and pickled by name like a guard.

    Args:
        model: hub id or folder of a checkpoint with one label (``num_labels=1``) and a chat template.
        device, dtype, revision: as in `guard_reward.load_guard`.
        thinking_prefilled: as in `guard_reward.GuardReward`, which passes its own on to a model that it loads.
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
        self.checkpoint = Checkpoint(checked_name(model), device, dtype, revision)
        self.thinking_prefilled = thinking_prefilled
        self._token_budget = token_budget
        self._runner: BatchRunner[float] = BatchRunner(self._budget, plan_padded_batches)
        self._loaded: tuple[PreTrainedModel, Prompter] | None = None
        self._parts  # noqa: B018  load now: a missing checkpoint should fail on the user's own line

    @property
    def __name__(self) -> str:
        return self.checkpoint.name.rstrip("/").split("/")[-1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loaded": None, "_awake_on": None}

    def _budget(self) -> int:
        return self._token_budget

    def _model_in_memory(self) -> PreTrainedModel | None:
        return None if self._loaded is None else self._loaded[0]

    @property
    def _parts(self) -> tuple[PreTrainedModel, Prompter]:
        if self._loaded is None:
            from transformers import AutoModelForSequenceClassification

            model, tokenizer = self.checkpoint.load(AutoModelForSequenceClassification)
            if model.config.num_labels != 1:
                raise ValueError(f"{self.checkpoint.name} has {model.config.num_labels} labels; a reward model has one")
            self._loaded = model, Prompter(tokenizer)
        return self._loaded

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """H for each completion; None for a row that could not be scored (logged, with the reason)."""
        model, _ = self._parts
        encoded = [self._encode(prompt, completion) for prompt, completion in zip(prompts, completions, strict=True)]
        rows = [row for row in encoded if row is not None]

        @torch.inference_mode()
        def score(indices: list[int]) -> list[float]:
            width = max(len(rows[index]) for index in indices)
            # The model reads its score at the last token that is not the pad: no row may end in it.
            ends = {rows[index][-1] for index in indices}
            pad = next(token for token in range(len(ends) + 1) if token not in ends)
            model.config.get_text_config().pad_token_id = pad
            ids = torch.tensor([rows[index] + [pad] * (width - len(rows[index])) for index in indices])
            lengths = torch.tensor([[len(rows[index])] for index in indices])
            mask = (torch.arange(width) < lengths).long()  # (rows, width)
            with torch.autocast(model.device.type, enabled=False):
                logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits
            return logits[:, 0].float().tolist()

        with MODEL_LOCK:
            self.wake()
            scores = iter(self._runner.run(rows, score))
        values = [None if row is None else next(scores) for row in encoded]
        return [None if isinstance(value, Exception) else value for value in values]

    def _encode(self, prompt: Any, completion: Any) -> list[int] | None:
        """What the model reads of one row; None where the row cannot be read."""
        _, prompter = self._parts
        try:
            rollout = Rollout.from_trl(prompt, completion, thinking_prefilled=self.thinking_prefilled)
            return prompter.encode(rollout.answer_conversation())
        except Exception as error:  # a template may raise anything, and one bad row must not stop the others
            logger.error("a row cannot be shown to the reward model: %r", error)
            return None


def make_helpfulness(source: str | Path | Helpfulness, *, thinking_prefilled: bool | None = None) -> Helpfulness:
    """A helpfulness function from a reward model's hub id or folder, or from the callable itself.

    Args:
        source: what `guard_reward.GuardReward` takes as `helpfulness`.
        thinking_prefilled: for a reward model that is loaded here, see `RewardModel`.

    >>> make_helpfulness(len)
    <built-in function len>
    """
    if isinstance(source, (str, Path)):
        return RewardModel(source, thinking_prefilled=thinking_prefilled)
    if isinstance(source, torch.nn.Module) or not callable(source):
        raise ValueError(
            "helpfulness should be a reward model's hub id or folder, or a callable with TRL's reward signature, "
            f"found {type(source).__name__}"
        )
    return source
