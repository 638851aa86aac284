"""What a report must not say: changes between different judges, prompts, datasets and stages, or by chance."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from guard_reward.report.change import Pair, before_and_after
from guard_reward.report.doubts import doubts_of
from guard_reward.report.evaluations import evaluations_in, is_of_run, measurements_of
from guard_reward.report.folders import read_runs
from guard_reward.report.measurements import comparison
from guard_reward.report.run import Alarm, Run
from guard_reward.report.summary import summary
from guard_reward.report.tables import Table
from guard_reward.report.training_measures import judge_measurements, training_measurements
from tests.report.run_folders import log_line, rollout_row, write_completions, write_lines, write_run
from tests.report.test_summary import around, judged, policy, run


def judge_line(step: int, safe: float, dataset: str = "") -> dict[str, Any]:
    name = f"eval_{dataset}_runtime" if dataset else "eval_runtime"
    return {"step": step, name: 1.0, "eval_judge/sum/safe_rate": safe * 200, "eval_judge/rows/judged": 200.0}


def test_each_evaluation_dataset_is_measured_for_itself() -> None:
    lines = [judge_line(step, safe, name) for step in (0, 9) for name, safe in (("harmful", 0.3), ("benign", 0.99))]
    found = judge_measurements(lines, {})
    assert [(one.stage, one.values["safe_rate"].value) for one in found] == [
        ("before", 0.3),
        ("after", 0.3),
        ("before", 0.99),
        ("after", 0.99),
    ]
    assert [one.judged_by.rsplit(" ", 1)[1] for one in found] == ["harmful", "harmful", "benign", "benign"]


def evaluation(folder: Path, safe: float, policy: str = "recorded replies", **more: Any) -> Path:
    rate = {"value": safe, "low": safe - 0.02, "high": safe + 0.02}
    results = {"prompts": 2, "judges": {"wild": {"all": {"safe_rate": rate}, "guard": {"guard": "wild"}}}}
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps({**results, "policy": {"policy": policy}, **more}))
    write_lines(folder / "replies.jsonl", [{"prompt": "a"}, {"prompt": "b"}])
    return folder


# names of the folders → stages
NAMES = [
    (("eval_before", "eval_after"), ["before", "after"]),
    (("eval-before", "gspo-after"), ["before", "after"]),
    (("base-eval", "trained"), ["before", "after"]),
    (("one", "two"), ["one", "two"]),  # nobody knows
    (("eval_after", "two"), ["two", "after"]),  # one says so
]


@pytest.mark.parametrize(("names", "stages"), NAMES)
def test_folders_names_say_the_stage(tmp_path: Path, names: tuple[str, ...], stages: list[str]) -> None:
    for name, safe in zip(names, (0.3, 0.9), strict=True):
        evaluation(tmp_path / name, safe)
    notes: list[str] = []
    found = measurements_of(evaluations_in(tmp_path, []), tmp_path, None, {}, notes=notes)
    assert sorted(one.stage for one in found) == sorted(stages)
    assert bool(notes) == (set(stages) != {"before", "after"})
    _, rows = comparison([Run("run", "run", measurements=found)])
    assert len(rows) == (1 if set(stages) == {"before", "after"} else 2)


def test_a_hubs_name_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not is_of_run("Qwen/Qwen3-4B", Path())
    (tmp_path / "checkpoint-5").mkdir()
    assert is_of_run("checkpoint-5", Path())
    assert is_of_run("old/runs/hybrid/checkpoint-5", tmp_path / "runs" / "hybrid")


def test_evaluations_of_other_prompts_are_not_compared(tmp_path: Path) -> None:
    evaluation(tmp_path / "before", 0.3)
    write_lines(evaluation(tmp_path / "after", 0.9) / "replies.jsonl", [{"prompt": "a"}, {"prompt": "c"}])
    found = measurements_of(evaluations_in(tmp_path, []), tmp_path, None, {})
    assert before_and_after(Run("run", "run", measurements=found)).before is None  # type: ignore[union-attr]


def test_an_independent_judge_without_step_0_wins_and_contradictions_are_said() -> None:
    own = [judged(stage, policy(safe), False, "own") for stage, safe in (("before", 0.2), ("after", 0.98))]
    other = [judged("step 50", policy(0.6)), judged("after", policy(0.3))]
    log = [{"step": step, "loss": 1.0, "guard/safe_rate/harmful": 0.2 if step < 10 else 0.98} for step in range(20)]
    found = summary([run(*own, *other, log=log)])
    assert found[0].startswith("The run got less safe")
    assert "at step 50" in found[0]
    assert "half of the change" not in found[0]
    assert "the reward's guard says the opposite: 20% → 98%" in found[2]


def clustered(seed: int, steps: int = 40) -> list[dict[str, Any]]:
    """A run in which nothing changes; the 8 rollouts of a prompt are alike."""
    draw = random.Random(seed)
    counts = [sum(8 * (draw.random() < 0.7) for _ in range(4)) for _ in range(steps)]
    return [log_line(step, count / 32, 32) for step, count in enumerate(counts, 1)]


def test_nothing_has_changed() -> None:
    pairs = [Pair(*training_measurements(clustered(seed), [])) for seed in range(200)]
    assert sum(pair.is_clear("safe_rate") is True for pair in pairs) <= 10  # 5%


def test_an_outage_of_the_guard_is_seen(tmp_path: Path) -> None:
    silent = {"guard/sum/safe_rate": 0.0, "guard/rows/judged": 0.0, "guard/sum/outcome/scored": 0.0}
    silent |= {"guard/sum/safe_rate/harmful": 0.0, "guard/rows/judged/harmful": 0.0}
    lines = [log_line(step, 0.9, **(silent if step > 60 else {})) for step in range(1, 101)]
    write_lines(tmp_path / "log.jsonl", lines)
    [found] = read_runs([tmp_path])
    assert found.measurements[1].values["unjudged_rate"].value > 0.7
    assert "no verdict" in summary([found])[2]
    assert any("no verdict after step 60" in note for note in found.notes)


def test_runs_that_cannot_be_ranked() -> None:
    def end(**more: Any) -> Run:
        return run(judged("after", policy(0.9), **more), name=more.get("guard", "") + more.get("prompts", "") or "x")

    assert "different guards" in summary([end(guard="a"), end(guard="b")])[0]
    assert "different prompts" in summary([end(prompts="a"), end(prompts="b")])[0]


def test_doubts_of_several_runs_are_told_by_kind() -> None:
    goes_on = [
        run(judged("before", policy(0.5)), judged("after", policy(0.9)), name=f"n{at}", is_running=True)
        for at in range(4)
    ]
    runs = [
        Run(**{**{k: getattr(one, k) for k in one.__slots__}, "log": [{"step": at, "loss": 1.0}]})
        for at, one in enumerate(goes_on)
    ]
    assert summary(runs)[2].endswith("trust it with care: the run goes on (all).")
    relative = run(judged("before", policy(0.5)), judged("after", policy(0.9), is_relative=True))
    assert "same family" in doubts_of(relative, before_and_after(relative))[0].text


def test_a_run_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    [found] = read_runs([tmp_path / "missing", write_run(tmp_path / "run")])
    assert any("left out" in note and "missing" in note for note in found.notes)


def test_tables_of_an_earlier_attempt_do_not_count(tmp_path: Path) -> None:
    write_completions(tmp_path, 500, [rollout_row()] * 3)
    write_run(tmp_path)
    [found] = read_runs([tmp_path])
    assert found.rollout_total == 2
    assert any("1 rollouts table is left out" in note for note in found.notes)


def test_one_huge_text_that_many_rows_share_is_there_once(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 500, pa.int32()), pa.array(["x" * 2_000_000]))
    pq.write_table(pa.table({"prompt": text}), tmp_path / "t.parquet", compression="zstd")
    before = pa.total_allocated_bytes()
    rows = Table(tmp_path / "t.parquet", 1).rows(range(500))
    assert len(next(rows)[1]["prompt"]) == 200_000
    assert pa.total_allocated_bytes() - before < 50_000_000


def test_what_is_unlabelled_is_not_called_harmful() -> None:
    found = summary([run(judged("before", {"safe_rate": around(0.5)}), judged("after", {"safe_rate": around(0.9)}))])
    assert "of the replies, 50.0%" in found[0]
    mixed = run(judged("before", {"safe_rate": around(0.5)}), judged("after", {"safety_rate": around(0.9)}))
    assert "unknown" in summary([mixed])[0]


def test_a_run_that_a_second_guard_doubts_only_looks_safer() -> None:
    alarms = [Alarm(17, "second_guard_disagreement", "")]
    own = (judged("before", policy(0.3), False), judged("after", policy(0.9), False))
    hacked = run(*own, name="hacked", alarms=alarms)
    assert summary([hacked])[0].startswith(
        "The run looks safer to the guard that gave the reward, but a second guard disagrees since step 17: of the"
    )
    honest = run(*own, name="honest")
    assert summary([honest, hacked])[0].startswith(
        "honest got safer, hacked only looked safer, as a second guard disagreed: safe"
    )
    # An independent judge has the last word, and an alarm of another kind is a doubt only.
    confirmed = run(judged("before", policy(0.3)), judged("after", policy(0.9)), alarms=alarms)
    assert summary([confirmed])[0].startswith("The run got safer: ")
    assert summary([run(*own, alarms=[Alarm(17, "length", "")])])[0].startswith("The run got safer: ")
