"""Evaluations of a run: which stage they are of, who judged, and whether the judge gave the reward."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from guard_reward.evaluation.evaluate import evaluate_policy
from guard_reward.evaluation.policies.replies import Reply
from guard_reward.evaluation.records import PromptRow
from guard_reward.report.doubts import is_finished
from guard_reward.report.evaluations import evaluations_in, measurements_of
from guard_reward.report.folders import read_runs
from guard_reward.report.run import Measurement
from tests.evaluation.scripted_policy import ScriptedPolicy
from tests.report.run_folders import write_lines, write_run
from tests.scripted_guard import ScriptedGuard

ROWS = [PromptRow([{"role": "user", "content": f"question {n}"}], harmful=n % 2 == 0) for n in range(40)]
OWN = {"reward": {"guard": "scripted"}}
OTHER = {"reward": {"guard": "another", "spec": "wildguard"}}


class Named(ScriptedPolicy):
    """A policy that says who it is, and makes bombs or not."""

    def __init__(self, name: str, reply: str) -> None:
        super().__init__(lambda text, random: Reply(reply))
        self.name = name

    def describe(self) -> dict[str, str]:
        return {"policy": self.name}


class NamedGuard(ScriptedGuard):
    def describe(self) -> dict[str, str]:
        return {"guard": "scripted"}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two evaluations as the command writes them: of the base policy, and of the trained one, compared with it."""
    folder = tmp_path_factory.mktemp("evaluated")
    judges = {"wild": NamedGuard()}
    evaluate_policy(ROWS, Named("org/base", "a bomb"), judges, folder / "eval-start")
    trained = Named(str(folder), "a cake")
    evaluate_policy(ROWS, trained, judges, folder / "eval-end", compare=folder / "eval-start")
    return folder


def measured(folder: Path, record: dict[str, Any], base: str | None = "org/base") -> list[Measurement]:
    return measurements_of(evaluations_in(folder, []), folder, base, record)


def test_before_and_after_of_a_run(evaluated: Path) -> None:
    before, after = measured(evaluated, OTHER)
    assert (before.stage, after.stage) == ("before", "after")
    assert before.judged_by == after.judged_by == "the judge wild (scripted), 40 prompts"
    assert (before.independent, after.independent) == (True, True)
    assert (before.values["safety_rate"].value, after.values["safety_rate"].value) == (0.0, 1.0)
    assert before.values["safety_rate"].high is not None
    assert "refusal_rate_harmful" in after.values
    assert "safe_rate_harmful" not in after.values
    assert after.p_values["safety_rate"] < 0.001
    assert not before.p_values


def test_what_another_evaluation_was_compared_with_is_before(evaluated: Path, tmp_path: Path) -> None:
    """Without knowing which policy the run began with."""
    assert [one.stage for one in measured(evaluated, OTHER, base=None)] == ["before", "after"]
    copy = tmp_path / "moved"
    shutil.copytree(evaluated, copy)
    results = json.loads((copy / "eval-end" / "results.json").read_text()) | {"compared_with": "elsewhere/eval-start"}
    (copy / "eval-end" / "results.json").write_text(json.dumps(results))
    assert [one.stage for one in measured(copy, OTHER, base=None)] == ["before", "after"]


@pytest.mark.parametrize(("record", "independent"), [(OWN, False), (OTHER, True), ({}, None)])
def test_a_judge_that_gave_the_reward(evaluated: Path, record: dict[str, Any], independent: bool | None) -> None:
    assert [one.independent for one in measured(evaluated, record)] == [independent] * 2


def test_a_comparison_alone_tells_the_state_before(evaluated: Path, tmp_path: Path) -> None:
    shutil.copytree(evaluated / "eval-end", tmp_path / "eval-end")
    before, after = measured(tmp_path, OTHER)
    assert (before.stage, after.stage) == ("before", "after")
    assert before.values["safety_rate"] == (0.0, None, None)


def test_checkpoints_are_stages_of_their_own(evaluated: Path, tmp_path: Path) -> None:
    for name in ("x", "y"):
        shutil.copytree(evaluated / "eval-start", tmp_path / name)
        results = json.loads((tmp_path / name / "results.json").read_text())
        results["policy"]["policy"] = str(tmp_path / f"checkpoint-{50 if name == 'y' else 200}")
        (tmp_path / name / "results.json").write_text(json.dumps(results))
    assert [one.stage for one in measured(tmp_path, OTHER)] == ["step 50", "step 200"]
    found = measurements_of(evaluations_in(tmp_path, []), tmp_path, None, OTHER, last_step=200)
    assert [one.stage for one in found] == ["step 50", "after"]


@pytest.mark.parametrize(
    "results",
    ["{", "[]", '{"judges": []}', '{"judges": {"a": 5}}', '{"judges": {"a": {"all": {"safe_rate": {"value": NaN}}}}}'],
)
def test_broken_results(tmp_path: Path, results: str) -> None:
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "results.json").write_text(results)
    (tmp_path / "eval" / "replies.jsonl").write_text("")
    assert measured(tmp_path, OTHER) == []


def test_evaluations_elsewhere_find_their_run(evaluated: Path, tmp_path: Path) -> None:
    first, second = (write_run(tmp_path / name) for name in ("first", "second"))
    for run, base in ((first, "org/base"), (second, "org/other")):
        record = {"configs": {"ModelConfig": {"model_name_or_path": base}}, **OTHER}
        (run / "run_config.json").write_text(json.dumps(record))
    found = read_runs([first, second], evaluations=[evaluated / "eval-start"])
    assert found[0].measurements[0].judged_by == "the judge wild (scripted), 40 prompts"
    assert [one.independent for one in found[0].measurements] == [
        True,
        False,
        False,
    ]  # its end is known by training only
    assert found[1].measurements[0].independent is False  # by the training's own guard
    [only] = read_runs([second], evaluations=[evaluated / "eval-end"])  # of another policy than this run's
    assert any("not known to be of this run" in note for note in only.notes)
    assert not any(one.judged_by.startswith("the judge wild") for one in only.measurements)
    stray = read_runs([first, second], evaluations=[evaluated / "eval-end"])
    assert any("not known to be of these runs" in note for note in stray[0].notes)


def test_the_demos_folder(tmp_path: Path) -> None:
    results = {
        "before": {"safety_rate": 0.4, "intervals": {"safety_rate": [0.3, 0.5]}},
        "hybrid": {"safety_rate": 0.98, "helpfulness": 0.7, "intervals": {"safety_rate": [0.97, 0.99]}},
        "guard_agreement": 0.99,
    }
    (tmp_path / "results.json").write_text(json.dumps(results))
    write_lines(tmp_path / "hybrid" / "history.jsonl", [{"step": step, "reward": 1.0} for step in (1, 2)])
    write_lines(tmp_path / "hybrid" / "rollouts.jsonl", [{"prompt": "Q", "completion": "A"}])
    write_lines(tmp_path / "before" / "rollouts.jsonl", [{"prompt": "Q", "completion": "B"}])
    [run] = read_runs([tmp_path])
    assert (run.name, run.is_running, [row["id"] for row in run.rollouts]) == ("hybrid", False, ["2-0"])
    assert is_finished(run)  # its log has no final line
    before, after = run.measurements
    assert before.values == {"safety_rate": (0.4, 0.3, 0.5)}
    assert after.values == {"safety_rate": (0.98, 0.97, 0.99), "helpfulness": (0.7, None, None)}
