"""`load_policy`: the policy that replies, in this process or behind a server. Importing it loads no torch."""

from __future__ import annotations

from typing import Any

from guard_reward.evaluation.policies.replies import Policy
from guard_reward.guards.loading import is_served

__all__ = ["THINKING", "load_policy", "template_kwargs_of"]

THINKING = {"on": {"enable_thinking": True}, "off": {"enable_thinking": False}}
"""How Qwen3's chat template, and those that follow it, are told whether to think."""


def load_policy(
    source: str,
    *,
    model: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    revision: str | None = None,
    batch_size: int | None = None,
    **options: Any,
) -> Policy:
    """The policy of a hub id, a folder (a LoRA adapter's too), ``modelscope:`` and an id, or a server's URL.

    Args:
        source: where it is; several URLs, separated by commas, are replicas.
        model: a served policy's name at its servers.
        device, dtype, revision, batch_size: of a policy in this process.
        **options: ``max_new_tokens``, ``temperature``, ``template_kwargs``.

    Raises:
        ValueError: an option that this kind of policy does not have; a checkpoint without a chat template.
        OSError: a folder, hub id or server that cannot be reached.
    """
    local = {"device": device, "dtype": dtype, "revision": revision, "batch_size": batch_size}
    given: dict[str, Any] = {name: value for name, value in local.items() if value is not None}
    if is_served(source):
        if given:
            raise ValueError(f"{', '.join(given)}: a served policy has no such option; its server decides that")
        try:
            from guard_reward.evaluation.policies.served import ServedPolicy
        except ModuleNotFoundError as error:
            message = f"a served policy needs {error.name}: pip install 'guard-reward[served]'"
            raise ModuleNotFoundError(message, name=error.name) from error
        return ServedPolicy(source, model=model, **options)
    if model is not None:
        raise ValueError("model: a policy in this process has no such option; its name is what it is loaded from")
    from guard_reward.evaluation.policies.local import LocalPolicy

    return LocalPolicy.load(source, **given, **options)


def template_kwargs_of(thinking: str | None) -> dict[str, bool]:
    """The chat template's arguments for ``on``, ``off`` or None (the template's own way).

    >>> template_kwargs_of("off"), template_kwargs_of(None)
    ({'enable_thinking': False}, {})
    """
    return {} if thinking is None else dict(THINKING[thinking])
