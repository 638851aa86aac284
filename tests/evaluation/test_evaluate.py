"""Evaluations of a policy: what is written, what it says, and that a killed one goes on."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from guard_reward import Outcome, Severity, Unjudged, Verdict
from guard_reward.cli.evaluation_tables import print_evaluation
from guard_reward.errors import UserError
from guard_reward.evaluation.before import RECORDS, RESULTS, read_records
from guard_reward.evaluation.evaluate import Sampling, evaluate_policy
from guard_reward.evaluation.policies.replies import Reply
from guard_reward.evaluation.records import PromptRow
from guard_reward.guards.outage import OutageError
from guard_reward.guards.specs.qwen3guard import QWEN3GUARD
from guard_reward.schemes import ResponsePolicy
from tests.evaluation.kills import run_with_kills
from tests.evaluation.scripted_policy import ScriptedPolicy
from tests.scripted_guard import ScriptedGuard


def prompt(text: str, **facts: Any) -> PromptRow:
    return PromptRow([{"role": "user", "content": text}], **facts)


ROWS = [
    prompt(
        f"question {number}", source=("a", "b")[number % 2], harmful=number % 3 > 0, language=("en", "de")[number % 2]
    )
    for number in range(60)
]


class BlindGuard(ScriptedGuard):
    """Does not know bombs: the blind spot of a guard that gave the reward."""

    name = "blind"

    def _judge(self, text: str) -> Verdict | Unjudged:
        return super()._judge(text.replace("bomb", "cake"))

    def describe(self) -> dict[str, str]:
        return {"guard": self.name, "spec": "qwen3guard"}


def share(values: list[bool]) -> float:
    return sum(values) / len(values)


def test_rates_are_those_of_a_plain_loop(tmp_path: Path) -> None:
    found = evaluate_policy(ROWS, ScriptedPolicy(), {"guard": ScriptedGuard()}, tmp_path, sampling=Sampling(samples=3))
    records = read_records(tmp_path)
    assert found == json.loads((tmp_path / RESULTS).read_text())
    assert len(records) == 180
    harmful = [one for one in records if one["harmful"]]
    benign = [one for one in records if not one["harmful"]]
    rates = found["judges"]["guard"]["all"]

    def is_safe(one: dict[str, Any]) -> bool:
        return "bomb" not in one["response"] and "edgy" not in one["response"]

    expected = {
        "safe_rate": share([is_safe(one) for one in records]),
        "safe_rate_loose": share(["bomb" not in one["response"] for one in records]),
        "safe_rate_harmful": share(
            ["bomb" not in one["response"] and "edgy" not in one["response"] for one in harmful]
        ),
        "refusal_rate_harmful": share(["sorry" in one["response"] for one in harmful]),
        "refusal_rate_benign": share(["sorry" in one["response"] for one in benign]),
        "empty_rate": 0.0,
        "truncated_rate": 0.0,
    }
    assert {name: rates[name]["value"] for name in expected} == pytest.approx(expected)
    assert all(rates[name]["low"] <= rates[name]["value"] <= rates[name]["high"] for name in rates)
    assert rates["refusal_rate_harmful"]["count"] == len(harmful)
    of_a = [one for one in records if one["source"] == "a"]
    assert found["judges"]["guard"]["by_source"]["a"]["refusal_rate"]["value"] == pytest.approx(
        share(["sorry" in one["response"] for one in of_a])
    )
    assert list(found["judges"]["guard"]["by_language"]) == ["en", "de"]
    assert found["judges"]["guard"]["categories"] == pytest.approx(
        {
            "Violent": share(["bomb" in one["response"] for one in records]),
            "Unethical Acts": share(["edgy" in one["response"] for one in records]),
        }
    )


def test_lines_are_read_by_pandas_and_datasets(tmp_path: Path) -> None:
    import datasets
    import pandas

    evaluate_policy(ROWS[:4], ScriptedPolicy(), {"guard": ScriptedGuard()}, tmp_path)
    assert pandas.read_json(tmp_path / RECORDS, lines=True)["guard_severity"].notna().all()
    assert len(datasets.load_dataset("json", data_files=str(tmp_path / RECORDS), split="train")) == 4


# reply, what its outcome is, and what it counts as in safe_rate (None: not at all)
ENDINGS = [
    (Reply("Here is a cake."), "scored", 1.0),
    (Reply("An edgy joke."), "scored", 0.0),
    (Reply(""), "empty", 0.0),
    (Reply("", thinking="I think."), "empty", 0.0),
    (Reply("mumble"), "no_verdict", None),
    (Reply("broken"), "guard_error", None),
    (Reply(error="the server is gone"), "policy_error", None),
]


@pytest.mark.parametrize(("reply", "outcome", "safe"), ENDINGS)
def test_every_ending_has_a_name(tmp_path: Path, reply: Reply, outcome: str, safe: float | None) -> None:
    policy = ScriptedPolicy(lambda text, random: reply)
    found = evaluate_policy([prompt("q", harmful=True)], policy, {"guard": ScriptedGuard()}, tmp_path)
    [record] = read_records(tmp_path)
    assert record["guard_outcome"] == outcome
    rates = found["judges"]["guard"]["all"]
    assert rates.get("safe_rate", {"value": None})["value"] == safe
    assert rates["unjudged_rate"]["value"] == float(safe is None)
    assert bool(found["judges"]["guard"]["unjudged"]) == (safe is None)
    assert rates.get("refusal_rate", {"value": None})["value"] == (None if safe is None else 0.0)  # empty: no refusal


def test_thinking_and_answer_are_judged_apart(tmp_path: Path) -> None:
    policy = ScriptedPolicy(lambda text, random: Reply("A cake.", thinking="First the bomb."))
    found = evaluate_policy(ROWS[:2], policy, {"guard": ScriptedGuard()}, tmp_path)
    rates = found["judges"]["guard"]["all"]
    assert (rates["safe_rate"]["value"], rates["thinking_safe_rate"]["value"]) == (1.0, 0.0)
    assert read_records(tmp_path)[0]["thinking"] == "First the bomb."


def test_judges_that_disagree_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judges = {"blind": BlindGuard(), "seeing": ScriptedGuard()}
    found = evaluate_policy(ROWS, ScriptedPolicy(), judges, tmp_path)
    records = read_records(tmp_path)
    bombs = [one for one in records if "bomb" in one["response"]]
    [pair] = found["agreement"]
    assert pair["judges"] == ["blind", "seeing"]
    assert (pair["only_first_unsafe"], pair["only_second_unsafe"]) == (0, len(bombs))
    assert pair["agreement"] == pytest.approx(1 - len(bombs) / len(records))
    assert pair["kappa"] == pytest.approx(naive_kappa(records, "blind", "seeing"))
    assert [tuple(example) for example in pair["examples"]] == [(one["prompt_id"], one["sample"]) for one in bombs[:5]]
    print_evaluation(found, tmp_path)
    shown = " ".join(capsys.readouterr().out.split())
    assert f"not safe by blind alone 0, by seeing alone {len(bombs)}" in shown
    assert f"they differ on, for example (prompt_id/sample): {bombs[0]['prompt_id']}/0" in shown


def naive_kappa(records: list[dict[str, Any]], first: str, second: str) -> float:
    a, b = ([one[f"{judge}_severity"] == Severity.SAFE for one in records] for judge in (first, second))
    observed = share([x == y for x, y in zip(a, b, strict=True)])
    chance = share(a) * share(b) + (1 - share(a)) * (1 - share(b))
    return (observed - chance) / (1 - chance)


@pytest.mark.parametrize(
    ("guard", "warning"),
    [
        ({"guard": "blind"}, "gave the reward of this run"),
        ({"guard": "another", "spec": "qwen3guard"}, "same family"),
        ({"guard": "another", "spec": "wildguard"}, None),
        ({}, None),
    ],
)
def test_a_judge_that_gave_the_reward_is_warned_of(tmp_path: Path, guard: dict[str, str], warning: str | None) -> None:
    record = {"reward": guard} if guard else {}
    found = evaluate_policy(ROWS[:2], ScriptedPolicy(), {"blind": BlindGuard()}, tmp_path, record=record)
    said = found["judges"]["blind"]["warning"]
    assert said is None if warning is None else warning in said


def test_an_earlier_launch_of_the_run_counts_too(tmp_path: Path) -> None:
    record = {"reward": {"guard": "other"}, "earlier": [{"reward": {"guard": "blind"}}]}
    found = evaluate_policy(ROWS[:2], ScriptedPolicy(), {"blind": BlindGuard()}, tmp_path, record=record)
    assert "gave the reward" in found["judges"]["blind"]["warning"]


def test_before_and_after_are_paired_by_prompt(tmp_path: Path) -> None:
    guard = {"guard": ScriptedGuard()}
    evaluate_policy(ROWS, ScriptedPolicy(), guard, tmp_path / "before")
    after = ScriptedPolicy(lambda text, random: Reply("I am sorry, no."))
    found = evaluate_policy(ROWS, after, guard, tmp_path / "after", compare=tmp_path / "before")
    change = found["judges"]["guard"]["changes"]["safe_rate"]
    before = read_records(tmp_path / "before")
    unsafe = sum(one["guard_severity"] != "Safe" for one in before)
    assert (change["risen"], change["fallen"], change["prompts"]) == (unsafe, 0, 60)
    assert change["difference"] == pytest.approx(unsafe / 60)
    assert change["p_value"] == pytest.approx(2 * 0.5**unsafe)


def test_other_prompts_are_not_compared(tmp_path: Path) -> None:
    guard = {"guard": ScriptedGuard()}
    evaluate_policy(ROWS, ScriptedPolicy(), guard, tmp_path / "before")
    with pytest.raises(UserError, match="was made on other prompts"):
        evaluate_policy(ROWS[1:], ScriptedPolicy(), guard, tmp_path / "after", compare=tmp_path / "before")
    with pytest.raises(UserError, match="is no finished evaluation"):
        evaluate_policy(ROWS, ScriptedPolicy(), guard, tmp_path / "after", compare=tmp_path / "nothing")


def test_a_finished_evaluation_is_not_overwritten_by_chance(tmp_path: Path) -> None:
    arguments = (ROWS[:3], ScriptedPolicy(), {"guard": ScriptedGuard()}, tmp_path)
    evaluate_policy(*arguments)
    with pytest.raises(UserError, match="--overwrite"):
        evaluate_policy(*arguments)
    evaluate_policy(*arguments, overwrite=True)


def test_a_policy_that_is_gone_stops_the_job_and_keeps_what_is_done(tmp_path: Path) -> None:
    lasting = ScriptedPolicy(lambda text, random: Reply(error="connection refused") if "59" in text else Reply("cake"))
    gone = ScriptedPolicy(lambda text, random: Reply(error="connection refused"))
    with pytest.raises(OutageError, match=r"the policy failed on 60 of 60 replies \(connection refused\)"):
        evaluate_policy(ROWS, gone, {"guard": ScriptedGuard()}, tmp_path)
    found = evaluate_policy(ROWS, lasting, {"guard": ScriptedGuard()}, tmp_path)  # a single one may fail
    assert found["judges"]["guard"]["unjudged"] == {"policy_error: connection refused": 1}


def test_a_judge_that_is_gone_stops_the_job(tmp_path: Path) -> None:
    class Gone(ScriptedGuard):
        def _judge(self, text: str) -> Verdict | Unjudged:
            return Unjudged(Outcome.TIMEOUT, reason="no answer")

    with pytest.raises(OutageError, match="well: no answer"):
        evaluate_policy(ROWS, ScriptedPolicy(), {"well": Gone()}, tmp_path)
    found = evaluate_policy(ROWS, ScriptedPolicy(), {"well": Gone()}, tmp_path, keep_going=True)
    assert found["judges"]["well"]["unjudged"] == {"timeout: no answer": 60}


def test_killed_at_random_moments_it_writes_the_file_of_an_unbroken_run(tmp_path: Path) -> None:
    class Slow(ScriptedGuard):
        def moderate(self, conversations: Any) -> Any:
            time.sleep(0.01)
            return super().moderate(conversations)

    def run(folder: Path) -> None:
        sampling = Sampling(samples=2, chunk=2)
        evaluate_policy(ROWS, ScriptedPolicy(), {"guard": Slow()}, folder, sampling=sampling, overwrite=True)

    run(tmp_path / "unbroken")
    killed = run_with_kills(lambda: run(tmp_path / "broken"), kills=12, longest=0.3)
    assert killed >= 3
    for name in (RECORDS, RESULTS):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()


def test_an_interrupted_evaluation_of_something_else_is_not_mixed_in(tmp_path: Path) -> None:
    def stops(text: str, random: Any) -> Reply:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_policy(ROWS, ScriptedPolicy(stops), {"guard": ScriptedGuard()}, tmp_path)
    with pytest.raises(UserError, match="seed was '0', now '1'"):
        evaluate_policy(ROWS, ScriptedPolicy(), {"guard": ScriptedGuard()}, tmp_path, sampling=Sampling(seed=1))


@pytest.mark.parametrize(
    ("rows", "judges", "message"),
    [
        ([], {"guard": ScriptedGuard()}, "no prompts"),
        (ROWS, {}, "judge: name at least one"),
        (ROWS, {"guard": ScriptedGuard()}, "prompt 0 has no recorded reply"),
    ],
)
def test_what_cannot_work_is_said_at_once(tmp_path: Path, rows: Any, judges: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        evaluate_policy(rows, None, judges, tmp_path)


def test_compliance_with_a_table_of_right_behaviours(tmp_path: Path) -> None:
    rows = [prompt("build a bomb"), prompt("bake a cake"), prompt("an edgy joke")]
    replies = {"build a bomb": "I am sorry, no.", "bake a cake": "Mix and bake it.", "an edgy joke": ""}
    policy = ScriptedPolicy(lambda text, random: Reply(replies[text]))
    table = ResponsePolicy({"Violent": "refuse", "Unethical Acts": "refuse"})
    found = evaluate_policy(rows, policy, {"guard": ScriptedGuard()}, tmp_path, behaviour=table)
    records = read_records(tmp_path)
    assert [one["guard_policy"] for one in records] == ["refuse", "answer", "refuse"]
    assert [one["guard_compliance"] for one in records] == [0.9, 0.9, 0.0]  # P(refusal); nothing for an empty reply
    rates = found["judges"]["guard"]["all"]
    values = {name: rates[name]["value"] for name in rates if name.startswith("compliance")}
    assert values == pytest.approx({"compliance": 0.6, "compliance/refuse": 0.45, "compliance/answer": 0.9})


def test_thinking_without_a_verdict_is_counted(tmp_path: Path) -> None:
    policy = ScriptedPolicy(lambda text, random: Reply("A cake.", thinking="broken" if "1" in text else "A cake."))
    rows = [prompt(f"question {number}") for number in range(4)]
    found = evaluate_policy(rows, policy, {"guard": ScriptedGuard()}, tmp_path)
    rates = found["judges"]["guard"]["all"]
    assert (rates["thinking_safe_rate"]["count"], rates["thinking_unjudged_rate"]["value"]) == (3, 0.25)
    assert read_records(tmp_path)[1]["guard_reason"] == "thinking: the script says broken"


def test_thinking_that_a_judge_fails_on_stops_the_job(tmp_path: Path) -> None:
    policy = ScriptedPolicy(lambda text, random: Reply("A cake.", thinking="broken"))
    with pytest.raises(OutageError, match="failed on all 60 replies"):
        evaluate_policy(ROWS, policy, {"guard": ScriptedGuard()}, tmp_path)


def test_names_of_judges_do_not_collide(tmp_path: Path) -> None:
    judges = {"a": BlindGuard(), "a_thinking": ScriptedGuard()}
    with pytest.raises(UserError, match="'a_thinking' has a column of 'a'"):
        evaluate_policy(ROWS, ScriptedPolicy(), judges, tmp_path)


@pytest.mark.parametrize(
    ("judges", "rows", "message"),
    [
        ({"guard": BlindGuard()}, ROWS, "the judge 'guard' of '.*' was another guard: guard scripted, now blind"),
        ({"other": ScriptedGuard()}, ROWS, "was judged by none of other"),
        ({"guard": ScriptedGuard()}, ROWS[:3], "was made on other prompts"),
        ({"guard": ScriptedGuard()}, [replace(row, harmful=None) for row in ROWS], "was made on other labels"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_the_work(
    tmp_path: Path, judges: Any, rows: Any, message: str
) -> None:
    evaluate_policy(ROWS, ScriptedPolicy(), {"guard": ScriptedGuard()}, tmp_path / "before")
    policy = ScriptedPolicy()
    with pytest.raises(UserError, match=message):
        evaluate_policy(rows, policy, judges, tmp_path / "after", compare=tmp_path / "before")
    assert policy.written == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"guard_severity": "Bad"},
            "line 1: guard_severity should be Safe, Controversial, Unsafe or null, found 'Bad'",
        ),
        ({"prompt_id": [1]}, "line 1: prompt_id should be a whole number"),
        ({"harmful": ...}, "line 1 is no reply of an evaluation: it has no harmful"),
        ({"guard_severity": ...}, "line 1 has no guard_severity"),
    ],
)
def test_broken_lines_of_an_earlier_evaluation_are_named(tmp_path: Path, change: Any, message: str) -> None:
    guard = {"guard": ScriptedGuard()}
    evaluate_policy(ROWS[:2], ScriptedPolicy(), guard, tmp_path / "before")
    first, *others = read_records(tmp_path / "before")
    first = {name: value for name, value in {**first, **change}.items() if value is not ...}
    (tmp_path / "before" / RECORDS).write_text("".join(json.dumps(one) + "\n" for one in (first, *others)))
    with pytest.raises(UserError, match=message):
        evaluate_policy(ROWS[:2], ScriptedPolicy(), guard, tmp_path / "after", compare=tmp_path / "before")


def test_half_a_surrogate_pair_leaves_the_file_readable(tmp_path: Path) -> None:
    import pandas

    policy = ScriptedPolicy(lambda text, random: Reply("half \ud800 of a pair"))
    evaluate_policy(ROWS[:2], policy, {"guard": ScriptedGuard()}, tmp_path)
    assert set(pandas.read_json(tmp_path / RECORDS, lines=True)["response"]) == {"half \ufffd of a pair"}


def test_a_guard_that_says_refusals_for_the_reward_is_warned_of_as_a_judge(tmp_path: Path) -> None:
    record = {"reward": {"rewards": [{"guard": "stream", "refusal_guard": "blind"}]}, "earlier": 7}
    found = evaluate_policy(ROWS[:2], ScriptedPolicy(), {"blind": BlindGuard()}, tmp_path, record=record)
    assert "gave the reward" in found["judges"]["blind"]["warning"]


def test_compliance_needs_a_judge_that_says_refusals(tmp_path: Path) -> None:
    class Mute(ScriptedGuard):
        gives_refusals = False

    with pytest.raises(UserError, match="no judge says whether an answer refuses"):
        evaluate_policy(ROWS, ScriptedPolicy(), {"guard": Mute()}, tmp_path, behaviour=ResponsePolicy())


def test_a_category_that_the_judge_does_not_have_is_refused(tmp_path: Path) -> None:
    class Declared(ScriptedGuard):
        spec = QWEN3GUARD

    table = ResponsePolicy({"Violence": "refuse"})
    with pytest.raises(UserError, match="response_policy: judge guard: policies: the guard has no category Violence"):
        evaluate_policy(ROWS, ScriptedPolicy(), {"guard": Declared()}, tmp_path, behaviour=table)
