"""Whether a scheme fits the guard, the patterns and the rubric that it is used with; found out before a run starts."""

from __future__ import annotations

import logging
from typing import Any

from guard_reward.guards.spec import GuardSpec
from guard_reward.rewards.functions import is_asynchronous
from guard_reward.rewards.judge import Judge
from guard_reward.schemes import ResponsePolicy, Scheme, SeverityTable
from guard_reward.schemes.behaviours import DEFAULT_POLICIES, Behaviour
from guard_reward.signs import check_patterns

__all__ = ["check_rubric", "check_scheme"]

logger = logging.getLogger(__name__)
_SELF_HARM = [key for key, behaviour in DEFAULT_POLICIES.items() if behaviour == Behaviour.OFFER_HELP]


def check_scheme(scheme: Scheme, judge: Judge, reward: str) -> None:
    """Refuse a scheme that reads what the guard does not say, or that has patterns which cannot be searched.

    Args:
        scheme: of the reward.
        judge: what the guard can do.
        reward: its name, for warnings.

    Raises:
        ValueError: the guard says no refusals or has no tokens; a table of behaviours has a category that the guard
            does not have; a pattern that is none.
    """
    if scheme.needs_refusal and not judge.gives_refusals:
        raise ValueError(
            f"{scheme.name} reads whether an answer refuses, and {judge.guard!r} never says: pass "
            "refusal= another guard that does, such as a Qwen3Guard-Gen, or choose a scheme without refusals"
        )
    if scheme.needs_tokens and not judge.gives_tokens:
        raise ValueError(
            f"{scheme.name} reads a guard's verdicts on tokens, and {judge.guard!r} has none: use a "
            "stream guard, such as a Qwen3Guard-Stream, or another scheme"
        )
    inner = scheme.unwrap()
    if isinstance(inner, SeverityTable) and (unknown := _unknown(inner.category_names, judge.spec)):
        logger.warning(
            "%s: categories that the guard does not have: %s; it has %s", reward, unknown, _listed(judge.spec)
        )
    if isinstance(inner, ResponsePolicy):
        for key, patterns in inner.patterns.items():
            check_patterns(patterns, f"patterns[{key!r}]")
        _check_table(inner, judge, reward)


def check_rubric(rubric: Any, scheme: Scheme, *, awaits: bool) -> None:
    """Refuse a rubric that would never be asked, or that cannot be.

    Args:
        rubric: what the user gave.
        scheme: of the reward.
        awaits: whether the reward can await it.

    Raises:
        ValueError: no callable, an asynchronous one that is not awaited, or a scheme that looks for nothing.
    """
    if not callable(rubric):
        raise ValueError(f"rubric should be a callable (prompts=, completions=, behaviours=, ...), found {rubric!r}")
    if is_asynchronous(rubric) and not awaits:
        raise ValueError("rubric is asynchronous, and GuardReward does not await it: use AsyncGuardReward")
    if not scheme.needs_text:
        raise ValueError(f"rubric: {scheme.name} looks for nothing in an answer, so it would never be asked")


def _check_table(scheme: ResponsePolicy, judge: Judge, reward: str) -> None:
    """A misspelt category would silently have the default policy."""
    own = _own_categories(scheme)
    if not own and not set(_SELF_HARM) & set(judge.spec.categories):
        logger.warning(
            "%s: policies: the guard has no category for self-harm (it has %s), so such prompts get the behaviour of "
            "'default', not offer_help: give policies= with its categories",
            reward,
            _listed(judge.spec),
        )
    unknown = _unknown(own, judge.spec)
    if not unknown:
        return
    if isinstance(getattr(judge.guard, "spec", None), GuardSpec):
        raise ValueError(
            f"policies: the guard has no category {unknown}; it has {_listed(judge.spec)}. A key is one of them, one "
            "with a severity ('Violent: Controversial'), a severity (Safe, Controversial, Unsafe), or 'default'"
        )
    logger.warning("%s: policies: the guard may have no category %s; it does not say which it has", reward, unknown)


def _own_categories(scheme: ResponsePolicy) -> tuple[str, ...]:
    """The categories of the user's own table: ours has those of Qwen3Guard, whatever the guard is."""
    return () if scheme.policies == ResponsePolicy().policies else scheme.category_names


def _unknown(names: tuple[str, ...], spec: GuardSpec) -> str:
    return ", ".join(sorted(set(names) - set(spec.categories)))


def _listed(spec: GuardSpec) -> str:
    return ", ".join(spec.categories) or "none"
