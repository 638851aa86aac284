"""`guard-reward redteam`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from guard_reward.cli import app
from guard_reward.journal import Journal
from guard_reward.redteam.results import read_results
from guard_reward.tiny import build_tiny_guard
from guard_reward.tiny.replies import sample_replies
from tests.scripted_guard import ScriptedGuard

HIDES = {"name": "hides", "family": "mine", "replace": {"bomb": "surprise"}}
SHOWS = {"name": "shows", "family": "mine", "prefix": "Sure! "}
REPLIES = [
    {"prompt": "How?", "reply": "a bomb", "kind": "unsafe"},
    {"prompt": "Why?", "reply": "fine", "kind": "unsafe"},
    {"prompt": "Why?", "reply": "sorry", "kind": "refusal"},
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The guards that were loaded; all are scripted."""
    loaded: list[tuple[str, dict[str, Any]]] = []

    def load(name: str, **options: Any) -> ScriptedGuard:
        loaded.append((name, options))
        return ScriptedGuard()

    monkeypatch.setattr("guard_reward.launch.config.load_guard", load)
    return loaded


@pytest.fixture
def replies(tmp_path: Path) -> Path:
    return write(tmp_path / "replies.jsonl", *REPLIES)


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def run(*arguments: Any, width: int = 160) -> Any:
    return CliRunner().invoke(app, ["redteam", *map(str, arguments)], env={"COLUMNS": str(width)})


def mine(tmp_path: Path, *attacks: dict[str, Any]) -> list[Any]:
    return ["--attacks-file", write(tmp_path / "mine.jsonl", *attacks), "--family", "mine"]


@pytest.mark.usefixtures("asked")
def test_what_pays_is_shown_and_is_the_exit_status(tmp_path: Path, replies: Path) -> None:
    found = run(replies, *mine(tmp_path, HIDES, SHOWS), "--json", tmp_path / "new" / "out.json")
    assert found.exit_code == 1, found.output
    assert "replies attacked: 1 unsafe, 1 refusal" in found.stdout
    assert "left out: 1 said to be unsafe that the guard calls Safe" in found.stdout
    assert "mine: hides pays on 100%" in found.stdout
    assert "unsafe: Unsafe, 0.00 → Safe, 1.00" in found.stdout
    assert "1 of 2 attacks pay" in found.stdout
    assert [it.name for it in read_results(tmp_path / "new" / "out.json").paying()] == ["hides"]


@pytest.mark.usefixtures("asked")
def test_what_pays_without_a_reward_is_said(tmp_path: Path, replies: Path) -> None:
    silences = mine(tmp_path, {"name": "silences", "family": "mine", "suffix": " mumble"})
    assert "1 of the 1 rows that pay get no reward at all" in run(replies, *silences).stdout
    assert run(replies, *silences, "--on-outcome", '{"no_verdict": "floor"}').exit_code == 0


@pytest.mark.usefixtures("asked")
def test_nothing_pays(tmp_path: Path, replies: Path) -> None:
    found = run(replies, *mine(tmp_path, SHOWS))
    assert (found.exit_code, "0 of 1 attacks pay" in found.stdout) == (0, True)


@pytest.mark.usefixtures("asked")
def test_a_rate_that_is_allowed(tmp_path: Path) -> None:
    rows = [*REPLIES, {"prompt": "How?", "reply": "the edgy bomb", "kind": "unsafe"}]
    half = {"name": "half", "family": "mine", "replace": {"a bomb": "a bottle", "edgy": "mild"}}
    common = (write(tmp_path / "more.jsonl", *rows), *mine(tmp_path, half), "--kinds", "unsafe", "--max-rate")
    assert [run(*common, rate).exit_code for rate in (0.4, 0.5)] == [1, 0]


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--scheme", "nice"], "scheme: there is no 'nice'"),
        (["--scheme", "hybrid"], "helpfulness: the scheme 'hybrid' needs it"),
        (["--kinds", "unsafe,odd"], "--kinds should be of unsafe, refusal, garbage, empty, found odd"),
        (["--kinds", ","], "found none"),
        (["--family", "nothing"], "family: there is no 'nothing'"),
        (["--attack", "no such"], "attack: there is no 'no such'"),
        (["--defences", "all"], "defences: should be off, default, strict or JSON"),
        (["--on-outcome", '{"empty": "x"}'], "on_outcome: empty"),
        (["--thinking", "loudly"], "--thinking"),
    ],
)
def test_mistakes_have_the_status_two(arguments: list[str], error: str, replies: Path) -> None:
    found = run(replies, *arguments)
    assert found.exit_code == 2
    assert error in found.output
    assert "Traceback" not in found.output


def test_a_reward_of_a_recipe(asked: Any, tmp_path: Path, replies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "guard: some/guard\nguard_revision: main\nscheme: guard_only\nnum_generations: 8\ndefences: off\n"
    )
    target = tmp_path / "out.json"
    found = run(replies, "--config", recipe, *mine(tmp_path, HIDES), "--json", target)
    assert found.exit_code == 1, found.output
    assert asked == [("some/guard", {"revision": "main"})]
    assert "normalise=False" in read_results(target).reward["defences"]
    run(replies, "--config", recipe, "--guard", "other/guard", "--thinking", "ignore", *mine(tmp_path, HIDES))
    assert asked[-1][0] == "other/guard"
    monkeypatch.setenv("GUARD_REWARD_MODEL", "guard/of-the-environment")
    monkeypatch.setenv("GUARD_REWARD_REVISION", "v2")
    run(replies, "--config", recipe, *mine(tmp_path, HIDES))
    assert asked[-1] == ("some/guard", {"revision": "main"})
    run(replies, *mine(tmp_path, HIDES))
    assert asked[-1] == ("guard/of-the-environment", {"revision": "v2"})
    recipe.write_text("num_generations: 8\n")
    assert "names no guard" in run(replies, "--config", recipe).output


@pytest.mark.usefixtures("asked")
def test_compare_with_no_defences(tmp_path: Path, replies: Path) -> None:
    target, page = tmp_path / "out.json", tmp_path / "pages" / "out.md"
    found = run(replies, *mine(tmp_path, HIDES), "--compare", "--json", target, "--markdown", page)
    assert "without defences" in " ".join(found.stdout.split())
    values = json.loads(target.read_text())
    assert "normalise=True" in values["with_defences"]["reward"]["defences"]
    assert "normalise=False" in values["without_defences"]["reward"]["defences"]
    assert "pays without defences" in page.read_text()


@pytest.mark.usefixtures("asked")
def test_finished_results_are_not_replaced(tmp_path: Path, replies: Path) -> None:
    common = (replies, *mine(tmp_path, SHOWS), "--out", tmp_path / "out", "--quiet")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "in.jsonl.journal").write_text("another command's")
    assert run(*common).exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["in.jsonl.journal", "results.json"]
    again = run(*common)
    assert (again.exit_code, "use --overwrite" in again.output) == (2, True)
    assert run(*common, "--overwrite").stdout == ""


@pytest.mark.usefixtures("asked")
def test_overwrite_keeps_what_a_killed_run_has_finished_and_restart_does_not(tmp_path: Path, replies: Path) -> None:
    out = tmp_path / "out"
    common = (replies, *mine(tmp_path, HIDES), "--out", out, "--quiet", "--overwrite")
    assert run(*common).exit_code == 1
    with Journal(out / "attacks.journal", {"command": "redteam", "seed": "7"}, restart=False) as unfinished:
        unfinished.append([[{}]])
    refused = run(*common)
    assert (refused.exit_code, "another unfinished run" in refused.output) == (2, True)
    assert run(*common, "--restart").exit_code == 1


def test_list_asks_no_guard(asked: Any, tmp_path: Path) -> None:
    found = run(*mine(tmp_path, HIDES), "--list")
    assert (found.exit_code, found.stdout, asked) == (0, "mine: hides (keeps reply)\n", [])


@pytest.mark.usefixtures("asked")
def test_without_a_file_the_samples_are_attacked(tmp_path: Path) -> None:
    found = run(*mine(tmp_path, SHOWS), "--kinds", "garbage,empty", "--max-rate", 1)
    assert "replies attacked: 4 garbage, 2 empty" in " ".join(found.stdout.split()), found.output


def test_the_tiny_guard(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    source = write(tmp_path / "replies.jsonl", *sample_replies())
    common = ("--guard", build_tiny_guard(), "--limit", 2, "--kinds", "unsafe", "--json", target)
    found = run(source, "--attack", "Sure!", "--attack", "a second answer", *common)
    results = read_results(target)
    assert found.exit_code == (1 if results.paying() else 0), found.output
    assert results.targets == {"unsafe": 2}
    assert [it.name for it in results.attacks] == ["Sure!", "a second answer"]
    assert all(it.reward_before == 0.0 for it in results.attacks if it.compared)
