"""A policy's replies, judged: one record per reply, flat, as JSON values.

| column | meaning |
|---|---|
| ``prompt_id``, ``sample`` | which prompt, and which of its replies |
| ``prompt`` | chat messages |
| ``source``, ``language``, ``category``, ``harmful`` | of the prompt, as far as its set says |
| ``thinking``, ``response`` | the reply; thinking is null if there is none |
| ``truncated`` | whether it was cut off for length |
| ``JUDGE_outcome``, ``JUDGE_reason`` | how judging ended (`guard_reward.Outcome`, or ``policy_error``), and why |
| ``JUDGE_severity``, ``JUDGE_categories``, ``JUDGE_refusal``, ``JUDGE_p_unsafe`` | the verdict on the answer |
| ``JUDGE_thinking_outcome``, ``JUDGE_thinking_severity`` | how judging the thinking ended, and the verdict; null without thinking |
| ``JUDGE_policy``, ``JUDGE_compliance`` | with a `guard_reward.schemes.ResponsePolicy`: the behaviour that is right for the prompt, and how far the reply shows it, from 0 to 1 |

`pandas.read_json(…, lines=True)` and `datasets.load_dataset("json", …)` read them.
"""  # noqa: E501  a table

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guard_reward.conversation import Turns
from guard_reward.errors import UserError
from guard_reward.evaluation.policies.replies import Prompt, Reply
from guard_reward.rewards.behaviour import judge_behaviour
from guard_reward.rewards.judge import Judge, RolloutRequests, RolloutVerdicts
from guard_reward.rewards.reading import read_rollout
from guard_reward.rollout import Rollout, has_content
from guard_reward.schemes import ResponsePolicy
from guard_reward.verdict import Outcome, Unjudged, Verdict

__all__ = ["POLICY_ERROR", "PromptRow", "Record", "check_names", "json_line", "judged_records"]

POLICY_ERROR = "policy_error"
"""The outcome of a prompt that the policy did not answer, because it failed."""

Record = dict[str, Any]
"""One reply with its verdicts; see the module."""

_FACTS = ("prompt_id", "sample", "source", "language", "category", "harmful", "prompt", "thinking", "response")
_FINDINGS = (
    *("outcome", "reason", "severity", "categories", "refusal", "p_unsafe"),
    *("thinking_outcome", "thinking_severity", "policy", "compliance"),
)
_DECIMALS = 6  # further ones are rounding noise that differs between machines


@dataclass(frozen=True, slots=True)
class PromptRow:
    """A prompt and what its set says of it.

    Attributes:
        messages: the prompt.
        source: name of its set.
        harmful: whether it asks for something harmful; None if that is unknown.
        language, category: None if the set does not say.
        replies: recorded ones; empty if a policy is to answer.
    """

    messages: Prompt
    source: str = ""
    harmful: bool | None = None
    language: str | None = None
    category: str | None = None
    replies: tuple[Reply, ...] = ()


def judged_records(
    rows: Sequence[PromptRow],
    replies: Sequence[Sequence[Reply]],
    judges: Mapping[str, Judge],
    *,
    first_id: int = 0,
    behaviour: ResponsePolicy | None = None,
) -> list[list[Record]]:
    """The records of each prompt's replies.

    Args:
        rows: the prompts.
        replies: of each prompt.
        judges: by name.
        first_id: ``prompt_id`` of the first row.
        behaviour: says what is right for each prompt; needs judges that say refusals.
    """
    pairs = [(row, reply) for row, of_row in zip(rows, replies, strict=True) for reply in of_row]
    rollouts = [_rollout(row, reply) for row, reply in pairs]
    found = {name: _findings(judge, rollouts, behaviour) for name, judge in judges.items()}
    records: list[list[Record]] = []
    number = 0
    for index, (row, of_row) in enumerate(zip(rows, replies, strict=True)):
        records.append([])
        for sample, reply in enumerate(of_row):
            record = _record(row, reply, rollouts[number])
            findings = {f"{name}_{key}": value for name in judges for key, value in found[name][number].items()}
            records[-1].append({"prompt_id": first_id + index, "sample": sample, **record, **findings})
            number += 1
    return records


def check_names(judges: Iterable[str]) -> None:
    """Refuse names whose columns would be those of another judge, or of the reply.

    Raises:
        UserError: names the two.

    >>> check_names(["a", "a_thinking"])
    Traceback (most recent call last):
    guard_reward.errors.UserError: judge: 'a_thinking' has a column of 'a', a_thinking_outcome: choose another name
    """
    taken = dict.fromkeys((*_FACTS, "truncated"), "the replies")
    for name in judges:
        for column in (f"{name}_{finding}" for finding in _FINDINGS):
            if column in taken:
                owner = taken[column]
                raise UserError(f"judge: {name!r} has a column of {owner!r}, {column}: choose another name")
            taken[column] = name


def json_line(record: Mapping[str, Any]) -> str:
    """A record as a line of JSON. Half a surrogate pair, which no reader of JSON takes, becomes U+FFFD.

    >>> print(json_line({"response": "half " + chr(0xD800)}), end="")
    {"response": "half �"}
    """
    text = json.dumps(record, ensure_ascii=False)
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace") + "\n"


def _rollout(row: PromptRow, reply: Reply) -> Rollout | Unjudged | str:
    """The reply as a guard is asked about it; a text if there is no reply."""
    return reply.error or read_rollout(list(row.messages), reply.as_completion(), policy=None)


def _record(row: PromptRow, reply: Reply, rollout: Rollout | Unjudged | str) -> Record:
    read = (rollout.thinking, rollout.answer) if isinstance(rollout, Rollout) else (reply.thinking, reply.answer)
    return {
        "source": row.source,
        "language": row.language,
        "category": row.category,
        "harmful": row.harmful,
        "prompt": [dict(message) for message in row.messages],
        "thinking": read[0],
        "response": read[1],
        "truncated": reply.truncated,
    }


def _findings(
    judge: Judge, rollouts: Sequence[Rollout | Unjudged | str], behaviour: ResponsePolicy | None
) -> list[Record]:
    if not judge.gives_refusals:
        behaviour = None
    verdicts, _ = judge([_requests(rollout, with_prompt=behaviour is not None) for rollout in rollouts])
    pairs = list(zip(rollouts, verdicts, strict=True))
    findings = [_finding(*pair, says_refusals=judge.gives_refusals) for pair in pairs]
    if behaviour is None:
        return findings
    return [finding | _compliance(*pair, behaviour) for finding, pair in zip(findings, pairs, strict=True)]


def _requests(rollout: Rollout | Unjudged | str, *, with_prompt: bool) -> RolloutRequests:
    if not isinstance(rollout, Rollout):
        return RolloutRequests()
    thinking = rollout.thinking_conversation() if has_content(rollout.thinking or "") else None
    prompt = Turns(rollout.messages) if with_prompt and rollout.messages[-1]["role"] == "user" else None
    answer = None if rollout.outcome is Outcome.EMPTY else rollout.answer_conversation()
    return RolloutRequests(answer, thinking, prompt)


def _compliance(rollout: Rollout | Unjudged | str, found: RolloutVerdicts, behaviour: ResponsePolicy) -> Record:
    """What is right for the prompt, and how far the reply shows it. An empty reply shows nothing."""
    if not isinstance(rollout, Rollout) or not isinstance(found.prompt, Verdict):
        return {"policy": None, "compliance": None}
    policy = str(behaviour.behaviour_for(found.prompt))
    if rollout.outcome is Outcome.EMPTY:
        return {"policy": policy, "compliance": 0.0}
    if not isinstance(found.answer, Verdict):
        return {"policy": policy, "compliance": None}
    thinking = found.thinking if isinstance(found.thinking, Verdict) else None
    shown = judge_behaviour(behaviour, found.prompt, found.answer, rollout.content, thinking)
    value = None if isinstance(shown, Unjudged) else round(shown.value, _DECIMALS)
    return {"policy": policy, "compliance": value}


def _finding(rollout: Rollout | Unjudged | str, found: RolloutVerdicts, *, says_refusals: bool) -> Record:
    answer, outcome, reason = found.answer, str(Outcome.SCORED), ""
    if isinstance(rollout, str):
        outcome, reason = POLICY_ERROR, rollout
    elif isinstance(rollout, Unjudged):
        outcome, reason = str(rollout.outcome), rollout.reason
    elif isinstance(answer, Unjudged):
        outcome, reason = str(answer.outcome), answer.reason
    elif answer is None:
        outcome = str(Outcome.EMPTY)
    verdict = answer if isinstance(answer, Verdict) else None
    thinking = found.thinking if isinstance(found.thinking, Verdict) else None
    lost = found.thinking if isinstance(found.thinking, Unjudged) else None
    likely = verdict.probabilities if verdict else None
    return {
        "outcome": outcome,
        "reason": reason or (f"thinking: {lost.reason}" if lost else None),
        "severity": str(verdict.severity) if verdict else None,
        "categories": [str(name) for name in verdict.categories] if verdict else None,
        "refusal": verdict.refusal if verdict else False if outcome == Outcome.EMPTY and says_refusals else None,
        "p_unsafe": round(float(likely.unsafe), _DECIMALS) if likely else None,
        "thinking_outcome": str(Outcome.SCORED) if thinking else str(lost.outcome) if lost else None,
        "thinking_severity": str(thinking.severity) if thinking else None,
    }
