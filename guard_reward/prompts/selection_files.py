"""The files of a selection: a data set that the recipes take, every sample, and a card that says how it was made.

| file | one line per | columns |
|---|---|---|
| ``selected.jsonl`` | kept prompt | ``prompt``, ``source``, ``harmful``, ``language``, ``category`` (as far as they are known), ``safe_rate``, ``reward_mean``, ``reward_spread`` |
| ``decisions.jsonl`` | prompt | ``prompt_id``, ``source``, ``keep``, ``reason``, ``samples``, ``rewarded``, the statistics |
| ``samples.jsonl`` | sample | ``prompt_id``, ``sample``, ``mode``, ``thinking``, ``response``, ``truncated``, ``reward``, the reward's columns (``guard_severity``, …) |
| ``selection.json`` | | the numbers, and how they were made |
| ``README.md`` | | the data set's card |
"""  # noqa: E501  a table

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from guard_reward.evaluation.records import PromptRow, json_line
from guard_reward.files import replacing
from guard_reward.journal import Result

__all__ = ["CARD", "DECISIONS", "FILES", "NUMBERS", "SAMPLES", "SELECTED", "write_selection"]

SELECTED, DECISIONS, SAMPLES = "selected.jsonl", "decisions.jsonl", "samples.jsonl"
NUMBERS, CARD = "selection.json", "README.md"
FILES = (SELECTED, DECISIONS, SAMPLES, NUMBERS, CARD)
_FACTS = ("harmful", "language", "category")
_STATISTICS = ("safe_rate", "reward_mean", "reward_spread")


def write_selection(
    out: Path, rows: Sequence[PromptRow], results: Iterable[Result], numbers: Mapping[str, Any]
) -> None:
    """Write all files, each in one step, ``selected.jsonl`` last.

    Args:
        out: the folder.
        rows: all prompts.
        results: of each prompt, its decision and the records of its samples.
        numbers: what ``selection.json`` has.
    """
    # The same columns in every line: readers take them from the first ones.
    known = [name for name in _FACTS if any(getattr(row, name) is not None for row in rows)]
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(stack.enter_context(replacing(out / name)).open("w", encoding="utf-8"))
            for name in (SELECTED, DECISIONS, SAMPLES)
        }
        for number, (row, (decision, *records)) in enumerate(zip(rows, results, strict=True)):
            facts = _facts(row, known)
            _write(files[DECISIONS], {"prompt_id": number, "source": row.source, **decision})
            for record in records:
                _write(files[SAMPLES], record)
            if decision["keep"]:
                statistics = {name: decision[name] for name in _STATISTICS}
                _write(files[SELECTED], {"prompt": [dict(it) for it in row.messages], **facts, **statistics})
        for name, text in ((NUMBERS, json.dumps(numbers, indent=2)), (CARD, _card(numbers))):
            with replacing(out / name) as part:
                part.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def _facts(row: PromptRow, known: Sequence[str]) -> dict[str, Any]:
    return {"source": row.source, **{name: getattr(row, name) for name in known}}


def _write(file: IO[str], record: Mapping[str, Any]) -> None:
    file.write(json_line(record))


def _card(numbers: Mapping[str, Any]) -> str:
    """The data set's card; its header tells `datasets` which file is which."""
    made = numbers["made_with"]
    policies = [f"- policy, mode `{mode}`: {_listed(facts)}" for mode, facts in made["policies"].items()]
    reasons = list(numbers["dropped"])
    table = [
        f"| source | prompts | kept | {' | '.join(reasons)} |",
        "|---|" + "---:|" * (2 + len(reasons)),
        *(_table_row(name, of) for name, of in numbers["by_source"].items()),
        _table_row("all", numbers),
    ]
    return "\n".join(
        [
            "---",
            "configs:",
            "- config_name: default",
            f"  data_files: {SELECTED}",
            "- config_name: decisions",
            f"  data_files: {DECISIONS}",
            "- config_name: samples",
            f"  data_files: {SAMPLES}",
            "---",
            "",
            "# Prompts on which a policy's samples differ in reward",
            "",
            f"Of {numbers['prompts']:,} prompts, {numbers['kept']:,} are kept: the rewards of their samples have a "
            f"standard deviation of at least {made['min_spread']:g}.",
            "",
            *table,
            "",
            f"`{SELECTED}` has the kept prompts, `{DECISIONS}` what was decided on each prompt, `{SAMPLES}` every "
            "sample with its verdict and reward.",
            "",
            *_warnings(numbers),
            "## How it was made",
            "",
            *policies,
            f"- reward: {_listed(made['reward'])}",
            f"- sampling: {_listed(made['sampling'])}",
            f"- guard-reward {made['guard-reward']}",
        ]
    )


def _warnings(numbers: Mapping[str, Any]) -> list[str]:
    """What a user of the data set must know, a paragraph each."""
    found = []
    if unlabelled := numbers["unlabelled"]:
        found.append(f"{unlabelled:,} of the prompts do not say whether they are harmful.")
    for mode, count in numbers["policy_errors"].items():
        found.append(f"The policy failed to give {count:,} samples in the mode `{mode}`.")
    return [line for text in found for line in (text, "")]


def _table_row(name: str, numbers: Mapping[str, Any]) -> str:
    dropped = numbers["dropped"]
    total = numbers["kept"] + sum(dropped.values())
    cells = [f"{count:,}" for count in (total, numbers["kept"], *dropped.values())]
    return f"| {_escaped(name)} | {' | '.join(cells)} |"


def _listed(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{_escaped(name)} `{_escaped(fact)}`" for name, fact in facts.items())


def _escaped(text: object) -> str:
    """On one line, without marks that would end a cell or a code span."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("`", "'")
