"""Choosing prompts to train on: those on which a policy's own samples differ in reward.

GRPO learns from differences within a group: a prompt whose samples all get the same reward teaches nothing, and costs
as much as one that does. Qwen3Guard's report trains on prompts whose samples are mixed (arXiv 2510.14276); DAPO drops
groups without spread while it trains (arXiv 2503.14476, section 3.2). Here they are dropped before.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard_reward._version import __version__
from guard_reward.errors import UserError
from guard_reward.evaluation.chunks import fingerprint, journal_of, run_in_chunks, seed_of_chunk
from guard_reward.evaluation.evaluate import Sampling
from guard_reward.evaluation.failures import check_for_failures
from guard_reward.evaluation.policies.replies import Policy, Reply
from guard_reward.evaluation.records import POLICY_ERROR, PromptRow, Record
from guard_reward.journal import Journal, Result
from guard_reward.prompts.selection_files import FILES, write_selection
from guard_reward.verdict import Severity

if TYPE_CHECKING:
    from guard_reward.rewards.reward import GuardReward

__all__ = ["Decision", "Reason", "decide", "select_prompts"]

_MIN_REWARDS = 2  # a single sample has no spread


class Reason(StrEnum):
    """Why a prompt is dropped. "Differ too little": see `decide`.

    | reason | meaning |
    |---|---|
    | ``all_safe`` | every judged sample is Safe, and their rewards differ too little |
    | ``all_unsafe`` | none is Safe, and their rewards differ too little |
    | ``no_spread`` | some are Safe and some are not, but their rewards differ too little |
    | ``no_verdict`` | fewer than two samples have a reward, or none has a verdict and the rewards differ too little |
    """

    ALL_SAFE = "all_safe"
    ALL_UNSAFE = "all_unsafe"
    NO_SPREAD = "no_spread"
    NO_VERDICT = "no_verdict"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a prompt is kept, and the samples' statistics.

    Attributes:
        keep: whether it is.
        reason: why not; None if it is kept.
        rewarded: samples with a reward.
        safe_rate: share of the samples with a verdict that are Safe; None without one.
        reward_mean: mean of the rewarded samples; None without a reward.
        reward_spread: their standard deviation (of all of them, not estimated); None without a reward.
    """

    keep: bool
    reason: Reason | None
    rewarded: int
    safe_rate: float | None
    reward_mean: float | None
    reward_spread: float | None


def decide(rewards: Sequence[float | None], severities: Sequence[str | None], *, min_spread: float) -> Decision:
    """Whether to train on a prompt.

    Args:
        rewards: of its samples; None for a sample without one.
        severities: of their answers; None for a sample without a verdict.
        min_spread: the standard deviation that the rewards must have at least.

    >>> decide([1.0, 0.0], ["Safe", "Unsafe"], min_spread=0.05).keep
    True
    >>> decide([1.0, 1.0], ["Safe", "Safe"], min_spread=0.05).reason
    <Reason.ALL_SAFE: 'all_safe'>
    """
    known = [reward for reward in rewards if reward is not None]
    judged = [severity for severity in severities if severity is not None]
    safe = [severity == Severity.SAFE for severity in judged]
    safe_rate = sum(safe) / len(safe) if safe else None
    if len(known) < _MIN_REWARDS:
        return Decision(False, Reason.NO_VERDICT, len(known), safe_rate, known[0] if known else None, None)
    mean, spread = statistics.fmean(known), statistics.pstdev(known)
    if spread >= min_spread:
        return Decision(True, None, len(known), safe_rate, mean, spread)
    if not safe:
        return Decision(False, Reason.NO_VERDICT, len(known), None, mean, spread)
    reason = Reason.ALL_SAFE if all(safe) else Reason.NO_SPREAD if any(safe) else Reason.ALL_UNSAFE
    return Decision(False, reason, len(known), safe_rate, mean, spread)


def select_prompts(
    rows: Sequence[PromptRow],
    policies: Mapping[str, Policy],
    reward: GuardReward,
    out: Path,
    *,
    sampling: Sampling = Sampling(samples=8),  # noqa: B008  frozen
    min_spread: float = 0.05,
    overwrite: bool = False,
    restart: bool = False,
    keep_going: bool = False,
    progress: bool = False,
) -> dict[str, Any]:
    """Sample, reward and choose; write a data set to a folder (`guard_reward.prompts.selection_files`).

    Args:
        rows: the prompts.
        policies: who replies, by mode: one, or the same policy with and without thinking. Each gives
            ``sampling.samples`` replies per prompt, and all of a prompt's replies are decided on together.
        reward: the reward of the run to come. Its circuit breaker does not count here.
        out: the folder.
        sampling: how many replies, and how they are drawn.
        min_spread: see `decide`.
        overwrite: replace a finished selection.
        restart: begin anew, even if a journal has finished prompts.
        keep_going: go on when policy or guard fail on most of a chunk.
        progress: show a bar on standard error.

    Returns:
        What ``selection.json`` has, ``prompts``, ``unlabelled`` (prompts that do not say whether they are harmful),
        ``policy_errors`` (mode → samples), ``kept``, ``dropped`` (reason → prompts), the same ``by_source``, and how it
        was made.

    Raises:
        UserError: names what is wrong with the arguments or files.
        OutageError: policy or guard failed on most of a chunk; the same call goes on later.
    """
    if not rows or not policies:
        raise UserError("there are no prompts to select from" if not rows else "there is no policy to sample from")
    if not min_spread > 0:
        raise UserError(f"min_spread should be above 0, found {min_spread}: rewards that are equal teach nothing")
    made = _how_it_is_made(policies, reward, sampling, min_spread)
    labelled = all(row.harmful is not None for row in rows)
    job = {"prompts": fingerprint([asdict(row) for row in rows]), **_flat(made)}
    with journal_of(out, FILES, job, overwrite=overwrite, restart=restart) as journal:

        def work(chunk: Sequence[PromptRow], begin: int) -> list[Result]:
            records = _sampled(chunk, policies, _Rewarder(reward, labelled), sampling, begin)
            for mode in {} if keep_going else policies:
                of_mode = [one for of_prompt in records for one in of_prompt if one["mode"] == mode]
                check_for_failures(of_mode, [reward.name], begin)
            return [[_decided(of_prompt, reward.name, min_spread), *of_prompt] for of_prompt in records]

        with _without_breaker(reward):
            run_in_chunks(journal, rows, work, size=sampling.chunk, label="select", progress=progress)
        found = {**_numbers(rows, journal), "made_with": made}
        write_selection(out, rows, journal.results(), found)
    return found


def _how_it_is_made(
    policies: Mapping[str, Policy], reward: GuardReward, sampling: Sampling, min_spread: float
) -> dict[str, Any]:
    """What decides the selection: of another one, the journal is not this one's."""
    return {
        "policies": {mode: _without_place(policy.describe()) for mode, policy in policies.items()},
        "reward": {**_without_place(reward.describe()), "helpfulness": _name_of(reward.helpfulness)},
        "sampling": asdict(sampling),
        "min_spread": min_spread,
        "guard-reward": __version__,
    }


def _flat(made: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """The same as one mapping of texts, so that a journal can say which fact differs."""
    found: dict[str, str] = {}
    for name, value in made.items():
        found |= _flat(value, f"{prefix}{name}: ") if isinstance(value, Mapping) else {f"{prefix}{name}": str(value)}
    return found


def _name_of(helpfulness: Any) -> str:
    """The same in every process, which a default ``repr`` is not."""
    if helpfulness is None:
        return "None"
    if " at 0x" not in repr(helpfulness):
        return repr(helpfulness)
    named = helpfulness if hasattr(helpfulness, "__qualname__") else type(helpfulness)
    return f"{named.__module__}.{named.__qualname__}"


@contextmanager
def _without_breaker(reward: GuardReward) -> Iterator[None]:
    """Failures are counted per chunk here; the reward is the caller's, who may train with it later."""
    before, reward.breaker = reward.breaker, None
    try:
        yield
    finally:
        reward.breaker = before


def _without_place(facts: Mapping[str, str]) -> dict[str, str]:
    return {name: fact for name, fact in facts.items() if name != "served_by"}  # the same model may move


def _sampled(
    chunk: Sequence[PromptRow], policies: Mapping[str, Policy], reward: _Rewarder, sampling: Sampling, begin: int
) -> list[list[Record]]:
    """The records of each prompt's replies, of all modes."""
    prompts = [row.messages for row in chunk for _ in range(sampling.samples)]
    owners = [number for number, _ in enumerate(chunk) for _ in range(sampling.samples)]
    records: list[list[Record]] = [[] for _ in chunk]
    for number, (mode, policy) in enumerate(policies.items()):
        replies = policy.reply(prompts, seed=seed_of_chunk(sampling.seed + number, begin))
        rows = [chunk[owner] for owner in owners]
        for owner, found in zip(owners, reward(rows, replies), strict=True):
            place = {"prompt_id": begin + owner, "sample": len(records[owner]), "mode": mode}
            records[owner].append({**place, **found})
    return records


@dataclass(frozen=True, slots=True)
class _Rewarder:
    """Rewards replies as a trainer would.

    Attributes:
        reward: the reward function.
        labelled: whether every prompt says if it is harmful.
    """

    reward: GuardReward
    labelled: bool

    def __call__(self, rows: Sequence[PromptRow], replies: Sequence[Reply]) -> list[Record]:
        """Each reply with its reward and the reward's columns."""
        columns: dict[str, list[Any]] = {}
        there = [number for number, reply in enumerate(replies) if not reply.error]
        facts: dict[str, Any] = {"source": [rows[number].source for number in there]}
        if self.labelled:
            facts["harmful"] = [rows[number].harmful for number in there]
        rewards = self.reward(
            prompts=[list(rows[number].messages) for number in there],
            completions=[replies[number].as_completion() for number in there],
            log_extra=columns.__setitem__,
            **facts,
        )
        found: list[Record] = [{**_reply_of(reply), "reward": None, **dict.fromkeys(columns)} for reply in replies]
        for place, number in enumerate(there):
            found[number] |= {"reward": rewards[place], **{name: values[place] for name, values in columns.items()}}
        for record, reply in zip(found, replies, strict=True):
            if reply.error:
                name = self.reward.name
                record |= {f"{name}_outcome": POLICY_ERROR, f"{name}_reason": reply.error, f"{name}_severity": None}
        return found


def _reply_of(reply: Reply) -> Record:
    return {"thinking": reply.thinking, "response": reply.answer, "truncated": reply.truncated}


def _decided(records: Sequence[Record], name: str, min_spread: float) -> Record:
    decision = decide(
        [record["reward"] for record in records],
        [record[f"{name}_severity"] for record in records],
        min_spread=min_spread,
    )
    return {**asdict(decision), "samples": len(records)}


def _numbers(rows: Sequence[PromptRow], journal: Journal) -> dict[str, Any]:
    """How many prompts are kept, why the others are not, and how many samples the policy failed to give."""
    total: Counter[str] = Counter()
    by_source: dict[str, Counter[str]] = {}
    errors: Counter[str] = Counter()
    for row, (decision, *records) in zip(rows, journal.results(), strict=True):
        ending = decision["reason"] or "kept"
        total[ending] += 1
        by_source.setdefault(row.source, Counter())[ending] += 1
        errors.update(record["mode"] for record in records if POLICY_ERROR in record.values())
    return {
        "prompts": len(rows),
        "unlabelled": sum(row.harmful is None for row in rows),
        "policy_errors": dict(errors),
        **_split(total),
        "by_source": {name: _split(of) for name, of in by_source.items()},
    }


def _split(endings: Mapping[str, int]) -> dict[str, Any]:
    return {"kept": endings.get("kept", 0), "dropped": {str(reason): endings.get(reason, 0) for reason in Reason}}
