"""The policy's end tokens and thinking, read from its tokenizer and configuration. No weights are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from guard_reward.errors import UserError, one_line
from guard_reward.models.modelscope import find_snapshot, is_modelscope
from guard_reward.rewards.policy import PolicyFacts, opens_thinking, parses_thinking

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from trl import GRPOConfig, ModelConfig

__all__ = ["model_init_kwargs", "policy_source", "read_policy"]

_TRL_DEFAULT_REVISION = "main"


def policy_source(model: ModelConfig) -> str:
    """What the trainer loads the policy from: its hub id or folder; for one on ModelScope the downloaded folder.

    Args:
        model: TRL's settings of the policy.

    Raises:
        UserError: the policy has no name, or cannot be downloaded from ModelScope.
    """
    name: str | None = model.model_name_or_path
    if not name:
        raise UserError("model_name_or_path: name the policy, a hub id or a folder")
    if not is_modelscope(name):
        return name
    # What nobody chose is ModelScope's own default, which has another name.
    revision = None if model.model_revision == _TRL_DEFAULT_REVISION else model.model_revision
    try:
        return find_snapshot(name, revision).folder
    except (ImportError, OSError, ValueError) as error:
        raise UserError(f"model_name_or_path: {one_line(error)}") from error


def read_policy(model: ModelConfig, args: GRPOConfig) -> PolicyFacts:
    """The facts of the policy that `model` names, under the chat template settings of `args`.

    Args:
        model: TRL's settings of the policy.
        args: the trainer's settings.

    Raises:
        UserError: the policy has no name, cannot be found, or has no chat template.
    """
    source = policy_source(model)
    options = {"revision": model.model_revision, "trust_remote_code": args.trust_remote_code}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
    except (OSError, ValueError) as error:
        raise UserError(f"model_name_or_path: {one_line(error)}") from error
    if tokenizer.chat_template is None:
        raise UserError(
            f"model_name_or_path: {model.model_name_or_path!r} has no chat template, but prompts are chat messages; "
            "use the instruct model"
        )
    return PolicyFacts(
        eos_token_ids=_end_ids(source, tokenizer, options),
        thinking_prefilled=opens_thinking(tokenizer, args.chat_template_kwargs or {}),
        thinking_parsed=parses_thinking(tokenizer),
    )


def model_init_kwargs(model: ModelConfig, args: GRPOConfig) -> dict[str, Any]:
    """How to load the policy: `ModelConfig`'s fields, overridden by the trainer config's ``model_init_kwargs``.

    Args:
        model: TRL's settings of the policy.
        args: the trainer's settings.
    """
    return {
        "revision": model.model_revision,
        "dtype": model.dtype,
        "attn_implementation": model.attn_implementation,
        **(args.model_init_kwargs or {}),
    }


def _end_ids(name: str, tokenizer: PreTrainedTokenizerBase, options: Mapping[str, Any]) -> tuple[int, ...]:
    """The tokenizer's end token and all ids at which generation stops."""
    try:
        declared = GenerationConfig.from_pretrained(name, revision=options["revision"]).eos_token_id
    except OSError:  # a model without a generation config: its config has the ids
        declared = AutoConfig.from_pretrained(name, **options).get_text_config().eos_token_id
    ends = [] if declared is None else [declared] if isinstance(declared, int) else declared
    return tuple(dict.fromkeys([*ends, tokenizer.eos_token_id]))
