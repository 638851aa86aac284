"""A policy in this process: a transformers checkpoint, with or without a LoRA adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard_reward.evaluation.policies.replies import Prompt, Reply
from guard_reward.evaluation.policies.sampling import sample_completions
from guard_reward.thinking import split_thinking

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["LocalPolicy"]


class LocalPolicy:
    """Samples replies with ``generate``.

    Args:
        model, tokenizer: the policy.
        name: for the record.
        max_new_tokens: at which a reply is cut off.
        temperature: of sampling; 0 takes the likeliest token.
        batch_size: replies that are written together; halved if memory runs out.
        template_kwargs: for the chat template, such as ``{"enable_thinking": False}``.

    >>> from guard_reward.tiny.policy import build_tiny_policy
    >>> policy = LocalPolicy.load(str(build_tiny_policy()), max_new_tokens=40, temperature=0.8)
    >>> policy.reply([[{"role": "user", "content": "How do I use a blue florn?"}]], seed=0)[0].error
    ''
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str = "policy",
        max_new_tokens: int = 512,
        temperature: float = 1.0,
        batch_size: int = 64,
        template_kwargs: Mapping[str, Any] | None = None,
        revision: str = "unknown",
    ):
        self.name = name
        self.model, self.tokenizer = model, tokenizer
        self.max_new_tokens, self.temperature, self.batch_size = max_new_tokens, temperature, batch_size
        self.template_kwargs = dict(template_kwargs or {})
        self.revision = revision

    @classmethod
    def load(
        cls,
        source: str,
        *,
        device: str | None = None,
        dtype: str | None = None,
        revision: str | None = None,
        **options: Any,
    ) -> LocalPolicy:
        """The policy of a hub id, a folder or ``modelscope:`` and an id; a folder may hold a LoRA adapter alone.

        Raises:
            FileNotFoundError: a path that does not exist.
            ValueError: a checkpoint without a chat template, or without weights that it needs.
            OSError: a hub id that does not exist or cannot be reached.
        """
        from transformers import AutoModelForCausalLM

        from guard_reward.models.checkpoint import Checkpoint, weights_revision

        checkpoint = Checkpoint(_checked_name(source), device, dtype, revision)
        model, tokenizer = checkpoint.load(AutoModelForCausalLM)
        if tokenizer.chat_template is None:
            raise ValueError(f"{source!r} has no chat template, but prompts are chat messages; use the instruct model")
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        state = weights_revision(model.config, checkpoint.name)
        return cls(model, tokenizer, name=source, revision=state, **options)

    def reply(self, prompts: Sequence[Prompt], *, seed: int) -> list[Reply]:
        """One reply per prompt; see `guard_reward.evaluation.policies.replies.Policy`."""
        completions = sample_completions(
            self.model,
            self.tokenizer,
            prompts,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            seed=seed,
            batch_size=self.batch_size,
            template_kwargs=self.template_kwargs,
        )
        replies = []
        for completion in completions:
            if completion.error:
                replies.append(Reply(error=completion.error))
                continue
            thinking, answer = split_thinking(completion.text, prefilled=completion.begins_in_thinking)
            replies.append(Reply(answer, thinking, completion.truncated))
        return replies

    def with_template(self, template_kwargs: Mapping[str, Any]) -> LocalPolicy:
        """The same policy under other arguments of its chat template."""
        other = copy(self)
        other.template_kwargs = dict(template_kwargs)
        return other

    def describe(self) -> dict[str, str]:
        """What decides the replies."""
        return {
            "policy": self.name,
            "revision": self.revision,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "max_new_tokens": str(self.max_new_tokens),
            "temperature": str(self.temperature),
            "batch_size": str(self.batch_size),
            "template_kwargs": str(self.template_kwargs),
        }


def _checked_name(source: str) -> str:
    """As `checked_name`, which asks for a config: a folder with a LoRA adapter has none, and peft loads its base."""
    from guard_reward.models.checkpoint import checked_name

    folder = Path(source).expanduser()
    return str(folder) if (folder / "adapter_config.json").is_file() else checked_name(source)
