"""Whether a judge gave the reward of the run that it evaluates: then its numbers are those of the policy's teacher."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["guard_id", "judge_warning"]


def judge_warning(judge: Mapping[str, str], record: Mapping[str, Any]) -> str | None:
    """What a table must say of a judge.

    Args:
        judge: the judge's facts, as its ``describe`` gives them.
        record: of the run that trained the policy (``run_config.json``); empty if there is none.

    Returns:
        A warning if the judge gave the reward, or is of the same family; None if neither is known.

    >>> run = {"reward": {"guard": "Qwen/Qwen3Guard-Gen-4B", "spec": "qwen3guard"}}
    >>> judge_warning({"guard": "vllm:Qwen/Qwen3Guard-Gen-4B"}, run)
    'gave the reward of this run: the policy was trained to please it'
    >>> judge_warning({"guard": "Qwen/Qwen3Guard-Gen-0.6B", "spec": "qwen3guard"}, run)
    "is of the same family as the reward's guard: it may have the same blind spots"
    """
    earlier = record.get("earlier")
    runs = [record, *(earlier if isinstance(earlier, list) else [])]
    rewards = [guard for run in runs if isinstance(run, Mapping) for guard in _guards(run.get("reward"))]
    if any(_is_same(judge, reward) for reward in rewards):
        return "gave the reward of this run: the policy was trained to please it"
    if any(judge.get("spec") and judge.get("spec") == reward.get("spec") for reward in rewards):
        return "is of the same family as the reward's guard: it may have the same blind spots"
    return None


def guard_id(facts: Any) -> str:
    """Which guard judged, as its facts say: the name, and the revision if it is known; empty if neither is."""
    if not isinstance(facts, Mapping) or not facts.get("guard"):
        return ""
    return " ".join(str(facts[key]) for key in ("guard", "revision") if facts.get(key))


def _guards(reward: Any) -> Iterator[Mapping[str, Any]]:
    """The guards that gave a reward: its own, the one that says refusals, and those of a combination's members."""
    if isinstance(reward, Mapping):
        yield reward
        refusal = {name: fact for name, fact in reward.items() if name.startswith("refusal_guard")}
        yield {name.removeprefix("refusal_").removeprefix("guard/"): fact for name, fact in refusal.items()}
        members = reward.get("rewards")
        for member in members if isinstance(members, list) else []:
            yield from _guards(member)


def _is_same(judge: Mapping[str, str], reward: Mapping[str, Any]) -> bool:
    """The same name, or the same weights: a folder's revision says which files it has."""
    names = _names(judge) & _names(reward)
    revision = judge.get("revision", "")
    return bool(names) or (revision.startswith("files ") and revision == reward.get("revision"))


def _names(facts: Mapping[str, Any]) -> set[str]:
    found = {str(facts[key]) for key in ("guard", "served_model") if facts.get(key)}
    return {name.removeprefix("vllm:").removeprefix("modelscope:").rstrip("/").lower() for name in found}
