"""wandb, trackio and TensorBoard have every metric of the reward, under its name, at its step, with its value.

The values are counted again from the rollouts, by a guard that is asked again.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("trl")
wandb = pytest.importorskip("wandb")
pytest.importorskip("trackio")
pytest.importorskip("tensorboard")

from guard_reward.log_lines import exact_rates, is_total  # noqa: E402
from guard_reward.monitoring.exact_rates import ExactRates, exact_rates_first  # noqa: E402
from guard_reward.monitoring.log_file import LogFile  # noqa: E402
from guard_reward.monitoring.signals.table import SIGNALS  # noqa: E402
from tests.integration.dashboards import (  # noqa: E402
    STEP,
    by_step,
    history,
    tensorboard_metrics,
    trackio_rows,
    trackio_tables,
    wandb_tables,
)
from tests.integration.recounting import (  # noqa: E402
    MoodyGuard,
    Recorder,
    exact,
    means_of_calls,
    recount,
    rows_of,
    trainer_of,
)

DASHBOARDS = ("wandb", "trackio", "tensorboard")
# Whether the run has exact rates; "several" calls of 8 rows per log line, with 20 rows per evaluation, or "one".
SETTINGS = {
    "plain": {"logging_steps": 1, "eval_prompts": 2},
    "exact": {"logging_steps": 2, "eval_prompts": 5, "gradient_accumulation_steps": 2, "steps_per_generation": 1},
}


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Kind → a real run of four steps with two evaluations."""
    return cache(lambda kind: train(kind, tmp_path_factory.mktemp(kind)))


@pytest.fixture(scope="module", params=SETTINGS)
def run(request: pytest.FixtureRequest, run_of: Callable[[str], Any]) -> Any:
    """Each of them."""
    return run_of(request.param)


def train(kind: str, folder: Path) -> Any:
    """A run: what the trainer knows, and what each dashboard kept."""
    settings: dict[str, Any] = dict(SETTINGS[kind])
    recorder = Recorder(settings.pop("logging_steps"))
    callbacks = [ExactRates(), LogFile()] if kind == "exact" else [LogFile()]
    project = f"dashboards-{kind}-{folder.parent.name}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_DIR", str(folder))
        patch.setenv("WANDB_SILENT", "true")
        patch.setenv("TENSORBOARD_LOGGING_DIR", str(folder / "tensorboard"))
        trainer = trainer_of(folder / "out", recorder, callbacks=callbacks, project=project, **settings)
        exact_rates_first(trainer)
        trainer.train()
        kept = Path(wandb.run.dir)
        wandb.finish()
    (file,) = kept.parent.glob("*.wandb")
    in_wandb, in_trackio = history(file), trackio_rows(project)
    return SimpleNamespace(
        kind=kind,
        history=trainer.state.log_history,
        calls=recorder.calls,
        labels={row["prompt"][-1]["content"]: row["harmful"] for row in trainer.train_dataset},
        metrics={
            "wandb": by_step(in_wandb),
            "trackio": by_step(in_trackio),
            "tensorboard": tensorboard_metrics(folder / "tensorboard"),
        },
        tables={"wandb": wandb_tables(in_wandb, kept), "trackio": trackio_tables(in_trackio)},
        out=folder / "out",
        logs=folder / "tensorboard",
        project=project,
    )


@pytest.fixture(scope="module")
def guard() -> MoodyGuard:
    return MoodyGuard()


def lines_of(run: Any) -> dict[tuple[str, int], dict[str, Any]]:
    """The trainer's log lines, by mode and step, with names as dashboards have them."""
    lines = {}
    for entry in run.history:
        if "reward" in entry:
            lines["train", entry["step"]] = {f"train/{name}": value for name, value in entry.items()}
        elif "eval_reward" in entry:
            values = {name: value for name, value in entry.items() if name.startswith("eval_")}
            lines["eval", entry["step"]] = {f"eval/{name.removeprefix('eval_')}": v for name, v in values.items()}
    return lines


def test_the_run_can_tell_things_apart(run: Any) -> None:
    """Both modes have several lines, and rows of each outcome, and calls differ: else the tests below prove little."""
    lines = lines_of(run)
    assert [step for mode, step in lines if mode == "eval"] == [2, 4]
    assert [step for mode, step in lines if mode == "train"] == ([1, 2, 3, 4] if run.kind == "plain" else [2, 4])
    assert set(run.calls) == set(lines)
    for outcome in ("empty", "no_verdict", "scored"):
        assert any(line[f"{mode}/guard/outcome/{outcome}"] for (mode, _), line in lines.items())
    if run.kind == "exact":
        assert [len(call) for call in run.calls["train", 2]] == [8] * 4
        assert [len(call) for call in run.calls["eval", 2]] == [8, 8, 4]
        off = [
            name for name, rate in exact_rates(lines["train", 2]).items() if abs(lines["train", 2][name] - rate) > 0.01
        ]
        assert len(off) > 3


@pytest.mark.parametrize("dashboard", DASHBOARDS)
def test_every_metric_of_the_reward_is_there_and_no_other(run: Any, dashboard: str) -> None:
    kept = run.metrics[dashboard]
    for (mode, step), line in lines_of(run).items():
        names = {
            name for name in line if name.startswith(f"{mode}/guard/") and not (run.kind == "exact" and is_total(name))
        }
        assert len(names) > 30
        assert {name for name in kept if name.startswith(f"{mode}/guard/") and step in kept[name]} == names
        exact_line = line | exact_rates(line) if run.kind == "exact" else line
        assert {name: kept[name][step] for name in names} == pytest.approx({n: exact_line[n] for n in names}, rel=1e-6)


@pytest.mark.parametrize("dashboard", DASHBOARDS)
def test_the_values_are_those_of_a_recount_of_the_rollouts(run: Any, guard: MoodyGuard, dashboard: str) -> None:
    rates_of = exact if run.kind == "exact" else means_of_calls
    for (mode, step), calls in run.calls.items():
        expected = {f"{mode}/guard/{name}": rate for name, rate in rates_of(calls, guard).items()}
        found = {name: run.metrics[dashboard][name][step] for name in expected}
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6), (mode, step)


def test_what_the_trainer_keeps_is_what_trl_logged(run: Any, guard: MoodyGuard) -> None:
    """With exact rates in dashboards, its history still has the means of calls and the totals."""
    for (mode, step), line in lines_of(run).items():
        prefix = f"{mode}/guard/"
        plain, all_rows = means_of_calls(run.calls[mode, step], guard), exact(run.calls[mode, step], guard)
        assert {name: line[prefix + name] for name in plain} == pytest.approx(plain, rel=1e-5, abs=1e-6)
        rates = exact_rates(line)
        assert {name: rates[prefix + name] for name in all_rows} == pytest.approx(all_rows, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("dashboard", ["wandb", "trackio"])
def test_rollouts_tables(run: Any, guard: MoodyGuard, dashboard: str) -> None:
    """One per log line and one at the end, with TRL's last generation batch (8 rows) and the reward's columns."""
    tables = run.tables[dashboard]
    lines = list(lines_of(run))
    assert len(tables) == len(lines) + 1
    for (mode, step), table in zip(lines, tables, strict=False):
        rows = rows_of(table, run.labels)
        assert rows == [row for call in run.calls[mode, step] for row in call][-8:]
        for row, told in zip(rows, table, strict=True):
            counted = recount([row], guard)
            assert counted[f"outcome/{told['guard_outcome']}"] == [1.0]
            if told["guard_severity"] is None:
                assert "safe_rate" not in counted
            else:
                assert counted[f"{told['guard_severity'].lower()}_rate"] == [1.0]
                assert counted["refusal_rate"] == [float(told["guard_refusal"])]
                assert counted["p_unsafe_mean"] == pytest.approx([told["guard_p_unsafe"]], abs=1e-6)
                named = {name.partition("/")[2] for name, found in counted.items() if "category/" in name and found[0]}
                assert set(filter(None, told["guard_categories"].split(", "))) >= named


@pytest.mark.parametrize("dashboard", ["wandb", "trackio"])
def test_metrics_are_those_of_the_rollouts_tables(run: Any, guard: MoodyGuard, dashboard: str) -> None:
    """Where a table has all rows of its line, the dashboard's own table and metrics agree."""
    whole = 0
    for (mode, step), table in zip(lines_of(run), run.tables[dashboard], strict=False):
        if sum(map(len, run.calls[mode, step])) == len(table):
            whole += 1
            expected = {f"{mode}/guard/{n}": v for n, v in exact([rows_of(table, run.labels)], guard).items()}
            found = {name: run.metrics[dashboard][name][step] for name in expected}
            assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert whole == (6 if run.kind == "plain" else 0)


def test_the_file_of_a_step_with_an_evaluation_has_the_evaluations_rows(run: Any) -> None:
    """As TRL writes it: a step's file is replaced. Said in the documentation."""
    pandas = pytest.importorskip("pandas")
    table = pandas.read_parquet(run.out / "completions" / "completions_00002.parquet").to_dict("records")
    assert rows_of(table, run.labels) == [row for call in run.calls["eval", 2] for row in call][-8:]


def test_the_log_file_has_the_whole_history(run: Any) -> None:
    lines = [json.loads(line) for line in (run.out / "log.jsonl").read_text().splitlines()]
    assert lines == json.loads(json.dumps(run.history))


@pytest.fixture
def dashboards(repository: Path) -> Iterator[Path]:
    """The folder of the layouts, whose scripts import each other."""
    folder = repository / "configs" / "dashboards"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder


# These runs have neither a monitor nor a judge of evaluations.
OF_THE_ALARM = {f"train/monitor/{name}" for name in (*SIGNALS, "alarms", "share_of_step")} | {"eval/judge/safe_rate"}


def logged_names(run: Any, dashboard: str) -> set[str]:
    return set(run.metrics[dashboard])


def test_charts_show_what_is_logged(run_of: Callable[[str], Any], dashboards: Path) -> None:
    """Every chart has each of its metrics in a real run; only thinking, which this policy does not do, is absent."""
    import sections

    names = logged_names(run_of("exact"), "wandb") | OF_THE_ALARM
    found = [chart for charts in sections.sections("guard").values() for chart in charts]
    missing = [name for chart in found for name in chart.metrics if name not in names]
    empty = [chart.title for chart in found if chart.pattern and not any(re.search(chart.pattern, n) for n in names)]
    assert missing == []
    assert empty == ["Thinking"]


def test_the_wandb_workspace(run_of: Callable[[str], Any], dashboards: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb_workspaces")
    script = [sys.executable, str(dashboards / "wandb_workspace.py"), "--entity", "me", "--project", "safety"]
    environment = {**os.environ, "HOME": str(tmp_path), "WANDB_API_KEY": "", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*script, "--dry-run"], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    view = json.loads(done.stdout)
    assert (view["entity"], view["project"], view["displayName"]) == ("me", "safety", "Guard reward")
    found = view["spec"]["section"]["panelBankConfig"]["sections"]
    assert [section["name"] for section in found] == [
        *("Safety", "Refusals", "Helpfulness and KL", "Categories", "Outcomes and attacks", "The alarm", "Speed"),
        "Rollouts",
    ]
    names = logged_names(run_of("exact"), "wandb") | OF_THE_ALARM
    panels = [panel["config"] for section in found[:-1] for panel in section["panels"]]
    assert {panel["xAxis"] for panel in panels} == {STEP}
    for panel in panels:
        assert set(panel.get("metrics", ())) <= names
    assert '"completions"' in json.dumps(found[-1])  # the rollouts table, by the name under which TRL logs it


@pytest.fixture
def trackio_links(run_of: Callable[[str], Any], dashboards: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Section → link, of a dashboard that the script has really started."""
    script = [sys.executable, str(dashboards / "trackio_dashboard.py"), "--project", run_of("exact").project]
    environment = {**os.environ, "HOME": str(tmp_path), "HF_HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(script, text=True, env=environment, **pipes) as server:
        try:
            links: dict[str, str] = {}
            for line in server.stdout or ():
                name, found, address = line.strip().partition(": http://127.0.0.1")
                if found and "Trackio" not in name:
                    links[name] = f"http://127.0.0.1{address}"
                if name == "Speed":
                    break
            yield links
            server.communicate("\n", timeout=30)
            assert server.returncode == 0
        finally:
            server.kill()


@pytest.mark.slow
def test_the_trackio_dashboard_shows_the_sections(
    trackio_links: dict[str, str], dashboards: Path, browser: Any
) -> None:
    import sections

    assert list(trackio_links) == list(sections.SECTIONS)
    page = browser.new_page(viewport={"width": 1500, "height": 1100})
    for section, shown, hidden in (
        ("Refusals", ["refusal_rate/benign", "refusal_rate/harmful", "refusal_rate"], "safe_rate"),
        ("Categories", ["category/Suicide & Self-Harm", "category/unknown"], "refusal_rate"),
    ):
        page.goto(trackio_links[section])
        for text in shown:
            page.get_by_text(text, exact=True).first.wait_for(timeout=30_000)
        chosen = f"[...document.querySelectorAll('input')].some(input => input.value === '{STEP}')"
        page.wait_for_function(chosen, timeout=30_000)
        assert page.get_by_text(hidden, exact=True).count() == 0
    page.get_by_text("Media & Tables", exact=True).first.click()
    page.get_by_text("guard_severity", exact=True).first.wait_for(timeout=30_000)
    page.close()


def test_tensorboard_lists_the_tags(run_of: Callable[[str], Any]) -> None:
    from tensorboard import program

    run = run_of("exact")
    board = program.TensorBoard()
    board.configure(
        argv=[None, "--logdir", str(run.logs), "--port", "0", "--host", "127.0.0.1", "--load_fast", "false"]
    )
    address = f"{board.launch()}data/plugin/scalars/tags"
    tags: dict[str, Any] = {}
    for _ in range(100):  # it reads in the background
        with urllib.request.urlopen(address, timeout=10) as response:
            tags = json.load(response)
        if any(found.keys() >= logged_names(run, "tensorboard") for found in tags.values()):
            return
        time.sleep(0.1)
    pytest.fail(f"not all tags: {tags}")
