"""How safe is a policy, and what does that cost? Its replies to prompts, judged by one or several guards.

`evaluate_policy` samples and judges chunk by chunk, with a journal beside the output, so the same call goes on after a
kill and writes the same file. `summary` makes the numbers of the records.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from guard_reward._version import __version__
from guard_reward.errors import UserError
from guard_reward.evaluation.agreement import agreements
from guard_reward.evaluation.before import RECORDS, RESULTS, comparable
from guard_reward.evaluation.chunks import fingerprint, journal_of, run_in_chunks, seed_of_chunk
from guard_reward.evaluation.extra import evaluation_module
from guard_reward.evaluation.failures import check_for_failures
from guard_reward.evaluation.measures import as_json, category_mix, estimates, unjudged_reasons
from guard_reward.evaluation.paired import changes
from guard_reward.evaluation.policies.replies import Policy, Reply
from guard_reward.evaluation.records import PromptRow, Record, check_names, json_line, judged_records
from guard_reward.files import replacing
from guard_reward.journal import Result
from guard_reward.reward_judge import judge_warning
from guard_reward.rewards.judge import Judge
from guard_reward.rewards.scheme_checks import check_scheme
from guard_reward.schemes import ResponsePolicy
from guard_reward.verdict import Guard

__all__ = ["Sampling", "evaluate_policy", "summary"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How replies are drawn.

    Attributes:
        samples: replies per prompt.
        seed: of their drawing.
        chunk: prompts that are answered and judged together; a kill loses at most so many.
    """

    samples: int = 1
    seed: int = 0
    chunk: int = 64

    def __post_init__(self) -> None:
        for name in ("samples", "chunk"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} should be at least 1, found {getattr(self, name)}")


def evaluate_policy(
    rows: Sequence[PromptRow],
    policy: Policy | None,
    judges: Mapping[str, Guard],
    out: Path,
    *,
    sampling: Sampling = Sampling(),
    behaviour: ResponsePolicy | None = None,
    record: Mapping[str, Any] | None = None,
    compare: Path | None = None,
    overwrite: bool = False,
    restart: bool = False,
    keep_going: bool = False,
    progress: bool = False,
) -> dict[str, Any]:
    """Sample replies, judge them, and write ``replies.jsonl`` and ``results.json`` to a folder.

    Args:
        rows: the prompts; with their replies if there is no policy.
        policy: who replies; None for recorded replies.
        judges: guards by name. The names become parts of column names.
        out: the folder.
        sampling: how many replies, and how they are drawn.
        behaviour: what is right for each prompt; compliance with it is then measured.
        record: of the run that trained the policy (``run_config.json``): it names the guard that gave the reward.
        compare: folder of an earlier evaluation on the same prompts: "before".
        overwrite: replace the results of a finished evaluation.
        restart: begin anew, even if a journal has finished prompts.
        keep_going: go on when policy or judges fail on most of a chunk; those replies have no verdict.
        progress: show a bar on standard error.

    Returns:
        What ``results.json`` has; see `summary`.

    Raises:
        UserError: names what is wrong with the arguments or files.
        OutageError: policy or judge failed on most of a chunk; the same call goes on later.
    """
    _check(rows, policy, judges, compare, out)
    asked = {name: Judge(guard) for name, guard in judges.items()}
    facts = {name: judge.describe() for name, judge in asked.items()}
    _check_behaviour(behaviour, asked)
    before = None if compare is None else comparable(compare, rows, facts)
    job = _job(rows, policy, facts, sampling) | {"behaviour": repr(behaviour)}
    with journal_of(out, (RECORDS, RESULTS), job, overwrite=overwrite, restart=restart) as journal:

        def work(chunk: Sequence[PromptRow], begin: int) -> list[Result]:
            replies = _replies(chunk, policy, sampling, begin)
            records = judged_records(chunk, replies, asked, first_id=begin, behaviour=behaviour)
            if not keep_going:
                check_for_failures([one for of_prompt in records for one in of_prompt], list(asked), begin)
            return list(records)

        run_in_chunks(journal, rows, work, size=sampling.chunk, label="evaluate", progress=progress)
        records = [one for of_prompt in journal.results() for one in of_prompt]
        write_records(out / RECORDS, records)
        made = {"policy": {"policy": "recorded replies"} if policy is None else policy.describe()}
        made |= _made(sampling, compare, behaviour)
        return _written(out / RESULTS, {**summary(records, facts, record=record, before=before), **made})


def _made(sampling: Sampling, compare: Path | None, behaviour: ResponsePolicy | None) -> dict[str, Any]:
    """How an evaluation was made."""
    return {
        "sampling": asdict(sampling),
        "compared_with": None if compare is None else str(compare),
        "response_policy": None if behaviour is None else repr(behaviour),
        "guard-reward": __version__,
    }


def summary(
    records: Sequence[Record],
    judges: Mapping[str, Mapping[str, str]],
    *,
    record: Mapping[str, Any] | None = None,
    before: Sequence[Record] | None = None,
) -> dict[str, Any]:
    """The numbers of judged replies, as JSON values.

    Args:
        records: of all replies.
        judges: name → the judge's facts.
        record: see `evaluate_policy`.
        before: records of another policy on the same prompts.

    Returns:
        ``prompts``, ``replies``, ``agreement`` (of each pair of judges), and per judge in ``judges``: ``guard``
        (facts), ``warning``, ``all``, ``by_source``, ``by_language`` and ``by_category`` (measure → value, low, high,
        count), ``categories`` (of what is not safe), ``unjudged`` (reason → replies), and ``changes`` if there is a
        before.
    """
    return {
        "prompts": len({one["prompt_id"] for one in records}),
        "replies": len(records),
        "judges": {
            name: {
                "guard": dict(facts),
                "warning": judge_warning(facts, record or {}),
                "all": as_json(estimates(records, name)),
                **{f"by_{part}": _by(records, name, part) for part in ("source", "language", "category")},
                "categories": category_mix(records, name),
                "unjudged": unjudged_reasons(records, name),
                "changes": _changes(before, records, name),
            }
            for name, facts in judges.items()
        },
        "agreement": [asdict(one) for one in agreements(records, list(judges))],
    }


def write_records(target: Path, records: Sequence[Record]) -> None:
    """Write records as JSON lines, in one step."""
    with replacing(target) as part, part.open("w", encoding="utf-8") as file:
        file.writelines(map(json_line, records))


def _check(
    rows: Sequence[PromptRow],
    policy: Policy | None,
    judges: Mapping[str, Guard],
    compare: Path | None,
    out: Path,
) -> None:
    """Refuse what cannot work before anything is sampled, packages that are missing included."""
    if not rows:
        raise UserError("there are no prompts to evaluate on")
    if not judges:
        raise UserError("judge: name at least one guard")
    check_names(judges)
    missing = [number for number, row in enumerate(rows) if not row.replies]
    if policy is None and missing:
        raise UserError(f"prompt {missing[0]} has no recorded reply, and there is no policy to write one")
    if compare is not None and compare.resolve() == out.resolve():
        raise UserError(f"compare: '{compare}' is the folder that is written: choose another one for this evaluation")
    for name in [*(["scipy.stats"] if compare is not None else []), *(["sklearn.metrics"] if len(judges) > 1 else [])]:
        evaluation_module(name)


def _check_behaviour(behaviour: ResponsePolicy | None, judges: Mapping[str, Judge]) -> None:
    if behaviour is None:
        return
    able = {name: judge for name, judge in judges.items() if judge.gives_refusals}
    if not able:
        raise UserError("response_policy: no judge says whether an answer refuses, so compliance cannot be measured")
    for name, judge in able.items():
        try:
            check_scheme(behaviour, judge, name)
        except ValueError as error:
            raise UserError(f"response_policy: judge {name}: {error}") from error


def _replies(
    chunk: Sequence[PromptRow], policy: Policy | None, sampling: Sampling, begin: int
) -> list[tuple[Reply, ...]]:
    if policy is None:
        return [row.replies for row in chunk]
    prompts = [row.messages for row in chunk for _ in range(sampling.samples)]
    replies = policy.reply(prompts, seed=seed_of_chunk(sampling.seed, begin))
    if len(replies) != len(prompts):
        raise ValueError(f"the policy gave {len(replies)} replies to {len(prompts)} prompts")
    return [tuple(replies[at : at + sampling.samples]) for at in range(0, len(replies), sampling.samples)]


def _job(
    rows: Sequence[PromptRow], policy: Policy | None, facts: Mapping[str, Mapping[str, str]], sampling: Sampling
) -> dict[str, str]:
    """What the journal of this evaluation must have been written for."""
    described = {} if policy is None else policy.describe()
    judged = {
        f"judge {name}: {key}": fact
        for name, of_judge in facts.items()
        for key, fact in of_judge.items()
        if key != "served_by"
    }
    return {
        "prompts": fingerprint([asdict(row) for row in rows]),
        **{key: fact for key, fact in described.items() if key != "served_by"},
        **judged,
        "judges": ", ".join(facts),  # their order is that of the columns
        **({} if policy is None else {key: str(value) for key, value in asdict(sampling).items()}),
        "chunk": str(sampling.chunk),
        "guard-reward": __version__,
    }


def _by(records: Sequence[Record], judge: str, part: str) -> dict[str, Any]:
    """The measures of each value of a column."""
    groups: dict[str, list[Record]] = {}
    for one in records:
        if one[part] is not None:
            groups.setdefault(str(one[part]), []).append(one)
    return {name: as_json(estimates(group, judge)) for name, group in groups.items()}


def _changes(before: Sequence[Record] | None, records: Sequence[Record], judge: str) -> dict[str, Any] | None:
    if before is None or f"{judge}_outcome" not in before[0]:
        return None
    return {name: asdict(change) for name, change in changes(before, records, judge).items()}


def _written(target: Path, results: Any) -> dict[str, Any]:
    """The results as they are in the file."""
    text = json.dumps(results, indent=2, ensure_ascii=False)
    with replacing(target) as part:
        part.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    return dict(json.loads(text))
