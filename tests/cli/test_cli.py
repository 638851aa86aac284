"""The command line: quick to answer, clear when something is wrong, readable by machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from guard_reward import __version__
from guard_reward.cli import app
from tests.processes import imported_by
from tests.scripted_guard import ScriptedGuard

HEAVY = ("torch", "transformers", "trl", "accelerate", "datasets", "pandas", "plotly", "numpy")


@pytest.fixture
def guards(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """Replaces the loading of a guard; the arguments of every call."""
    calls: list[tuple[Any, Any]] = []

    def load_guard(model: str, **options: Any) -> ScriptedGuard:
        calls.append((model, options))
        return ScriptedGuard()

    monkeypatch.setattr("guard_reward.load_guard", load_guard, raising=False)
    monkeypatch.delenv("GUARD_REWARD_MODEL", raising=False)
    return calls


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text('{"prompt": "Q?", "response": "bomb"}\n{"prompt": "Q?", "response": "mumble"}\n')
    return path


def run(*arguments: object, **options: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], **options)


@pytest.mark.parametrize(
    "code",
    [
        "import guard_reward",
        "import guard_reward.cli",
        "import guard_reward.verdict",
        "from guard_reward.cli import app; app(['--help'], standalone_mode=False)",
        "from guard_reward.cli import app; app(['moderate', '--help'], standalone_mode=False)",
        "from guard_reward.cli import app; app(['serve', 'some/guard'], standalone_mode=False)",
    ],
)
def test_importing_and_helping_is_light(code: str) -> None:
    heavy, seconds = imported_by(code, HEAVY)
    assert heavy == []
    assert seconds < 1.0  # measured: 0.2


def test_version() -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"guard-reward {__version__}\n")


@pytest.mark.parametrize("command", ["demo", "grade", "init", "moderate", "ping", "redteam", "serve", "speed", "tiny"])
def test_help_has_examples_and_a_json_option(command: str) -> None:
    result = run(command, "--help", env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert f"guard-reward {command}" in result.stdout
    assert "--json" in result.stdout


def test_moderate(guards: Any, source: Path, tmp_path: Path) -> None:
    summary = tmp_path / "new" / "summary.json"
    result = run("moderate", source, tmp_path / "out.jsonl", "--json", summary, "--dtype", "float32", "--device", "cpu")
    assert result.exit_code == 0, result.output
    options = {"dtype": "float32", "device": "cpu"}
    assert guards == [("Qwen/Qwen3Guard-Gen-0.6B", options)]
    assert "severity Unsafe" in result.stdout
    assert "2/2" in result.stderr  # the progress bar
    assert "1 of 2 rows could not be judged: see guard_reason" in result.stderr
    facts = json.loads(summary.read_text())
    assert facts["rows"] == 2
    assert facts["outcomes"]["scored"] == 1
    assert facts["severities"]["Unsafe"] == 1
    assert facts["guard"]["guard"] == "scripted"


def test_moderate_quietly_with_the_guard_of_the_environment(guards: Any, source: Path, tmp_path: Path) -> None:
    result = run("moderate", source, tmp_path / "out.jsonl", "--quiet", env={"GUARD_REWARD_MODEL": "some/guard"})
    assert guards[0][0] == "some/guard"
    assert result.stdout == ""


def test_moderate_fails_where_no_row_could_be_judged(guards: Any, source: Path, tmp_path: Path) -> None:
    source.write_text('{"prompt": "Q?", "response": "mumble"}\n')
    result = run("moderate", source, tmp_path / "out.jsonl", "--json", tmp_path / "summary.json")
    assert result.exit_code == 1
    assert (tmp_path / "out.jsonl").exists()  # the reasons are in it
    assert json.loads((tmp_path / "summary.json").read_text())["outcomes"]["no_verdict"] == 1
    assert "1 of 1 rows could not be judged: see guard_reason\n  1: no_verdict: the script says mumble" in result.stderr


@pytest.mark.parametrize("response", ['""', '"…"', "null"])
def test_moderate_fails_where_no_row_had_a_text(guards: Any, source: Path, tmp_path: Path, response: str) -> None:
    source.write_text(f'{{"prompt": "Q?", "response": {response}}}\n')
    result = run("moderate", source, tmp_path / "out.jsonl", "--quiet")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "1: empty: column 'response'" in result.stderr
    assert (tmp_path / "out.jsonl").exists()


def test_moderate_has_nothing_to_say_about_a_file_without_rows(guards: Any, source: Path, tmp_path: Path) -> None:
    source.write_text("")
    result = run("moderate", source, tmp_path / "out.jsonl", "--quiet")
    assert (result.exit_code, result.output) == (0, "")


def test_moderate_names_the_commonest_reasons_and_obeys_none_of_them(guards: Any, source: Path, tmp_path: Path) -> None:
    texts = ["mumble"] * 4 + ["broken"] * 3 + ["oversize"] * 2 + [None] + ["fine"]
    rows = [{"prompt": "Q?", "response": text} for text in texts]
    rows += [{"prompt": "Q?", "response": [{"role": "\x1b[31m\nassistant"}]}] * 5
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = run("moderate", source, tmp_path / "out.jsonl", "--quiet")
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    assert lines[0] == "guard-reward: 15 of 16 rows could not be judged: see guard_reason"
    assert lines[1].startswith("  5: guard_error: column 'response': message 0: 'role' should be one of")
    assert lines[2:] == [
        "  4: no_verdict: the script says mumble",
        "  3: guard_error: the script says broken",
        "  3: other reasons",
    ]
    assert "\x1b" not in result.stderr


def test_moderate_judges_chosen_and_rejected(guards: Any, source: Path, tmp_path: Path) -> None:
    source.write_text('{"prompt": "Q?", "chosen": "A.", "rejected": "bomb"}\n{"prompt": "Q?", "chosen": "mumble"}\n')
    arguments = ("moderate", source, tmp_path / "out.jsonl", "--response-column", "chosen,rejected")
    result = run(*arguments, "--json", tmp_path / "summary.json")
    assert result.exit_code == 0, result.output
    assert "2 of 4 responses could not be judged: see guard_chosen_reason, guard_rejected_reason" in result.stderr
    assert "rejected" in result.stdout
    facts = json.loads((tmp_path / "summary.json").read_text())
    assert facts["columns"]["chosen"]["severities"] == {"Safe": 1, "Controversial": 0, "Unsafe": 0}
    assert facts["columns"]["rejected"]["severities"] == {"Safe": 0, "Controversial": 0, "Unsafe": 1}
    assert facts["reasons"] == {"no_verdict: the script says mumble": 1, "empty: column 'rejected' is missing": 1}


@pytest.mark.parametrize("command", ["demo", "init", "moderate", "ping", "redteam", "serve", "speed", "tiny"])
@pytest.mark.parametrize(
    ("path", "message"),
    [("a file/results.json", "is not a folder"), ("folder", "is a directory"), ("n" * 300, "File name too long")],
)
def test_a_json_file_that_cannot_be_written_is_refused_before_the_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, path: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a file").write_text("mine")
    Path("folder").mkdir()
    arguments = {
        "init": ["new"],
        "tiny": ["new"],
        "serve": ["some/guard"],
        "moderate": ["in.jsonl", "out.jsonl"],
    }.get(command, [])
    result = run(command, *arguments, "--json", path, env={"COLUMNS": "1000"})
    assert (result.exit_code, message in result.stderr) == (2, True), result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a file", "folder"]


@pytest.mark.parametrize(("path", "name"), [("in.jsonl", "IN"), ("./out.jsonl", "OUT")])
def test_the_summary_does_not_replace_the_data(
    guards: Any, source: Path, monkeypatch: pytest.MonkeyPatch, path: str, name: str
) -> None:
    monkeypatch.chdir(source.parent)
    before = source.read_text()
    result = run("moderate", "in.jsonl", "out.jsonl", "--json", path)
    assert (result.exit_code, f"is {name}: write the summary to another file" in result.stderr) == (1, True)
    assert source.read_text() == before
    assert not guards


def test_a_summary_of_a_file_whose_name_is_not_unicode(guards: Any, source: Path, tmp_path: Path) -> None:
    odd = source.rename(tmp_path / b"caf\xe9.jsonl".decode(errors="surrogateescape"))
    result = run("moderate", odd, tmp_path / "out.jsonl", "--json", tmp_path / "summary.json")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "summary.json").read_text())["source"] == str(odd)


@pytest.mark.parametrize(
    ("arguments", "name", "printed"),
    [
        (["init", "project"], "folder", "wrote project/recipes/grpo.py"),
        (["tiny", "world"], "folder", "next: python recipes"),
        (["serve", "some/guard"], "engine", "vllm serve"),
        (["moderate", "in.jsonl", "out.jsonl"], "outcomes", ""),
    ],
)
def test_results_on_standard_output_stand_there_alone(
    guards: Any, source: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], name: str, printed: str
) -> None:
    monkeypatch.chdir(source.parent)
    result = run(*arguments, "--json", "-")
    assert result.exit_code == 0, result.output
    assert name in json.loads(result.stdout)
    assert printed in result.stderr
    assert not Path("-").exists()
    assert run("--version").stdout  # standard output is there again


def test_a_page_is_not_written_to_a_file_of_the_name_of_standard_output(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("report", ".", "--out", "-", env={"COLUMNS": "1000"})
    assert (result.exit_code, "only --json writes to standard output" in result.stderr) == (2, True)


def test_init_copies_recipes_and_configs_and_says_how_to_go_on(tmp_path: Path) -> None:
    project, summary = tmp_path / "project", tmp_path / "written.json"
    result = run("init", project, "--json", summary)
    assert result.exit_code == 0, result.output
    assert f"wrote {project}/recipes/grpo.py\n" in result.stdout
    assert (project / "configs" / "accelerate" / "zero3.yaml").is_file()
    lines = result.stdout.splitlines()
    assert lines[-1].startswith(f"next: cd {project} && guard-reward tiny runs/tiny && python recipes/grpo.py")
    facts = json.loads(summary.read_text())
    assert facts["folder"] == str(project)
    assert "recipes/grpo.py" in facts["written"]
    assert len(facts["written"]) == sum(line.startswith("wrote ") for line in lines)


def test_init_names_a_folder_as_a_shell_reads_it(tmp_path: Path) -> None:
    result = run("init", tmp_path / "my project")
    assert f"next: cd '{tmp_path}/my project' && guard-reward tiny" in result.stdout


def test_init_never_overwrites_unless_forced(tmp_path: Path) -> None:
    assert run("init", tmp_path).exit_code == 0
    (tmp_path / "recipes" / "grpo.py").write_text("mine")
    result = run("init", tmp_path)
    assert result.exit_code == 1
    assert "guard-reward: error: " in result.stderr
    assert "nothing was written; --force replaces them" in result.stderr
    assert (tmp_path / "recipes" / "grpo.py").read_text() == "mine"
    assert run("init", tmp_path, "--force").exit_code == 0
    assert (tmp_path / "recipes" / "grpo.py").read_text() != "mine"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none.jsonl", "out.jsonl"], 1, "guard-reward: error: input file 'none.jsonl' does not exist\n"),
        (["in.jsonl", "out.txt"], 1, "unknown suffix '.txt'; use one of .jsonl, .csv, .parquet"),
        (["in.jsonl", "out.jsonl", "--prompt-column", "q"], 1, "no prompt column 'q'; the input has 'prompt'"),
        (["in.jsonl", "out.jsonl", "--guard", "./none"], 1, "'./none' could not be loaded: model folder"),
        (
            ["in.jsonl", "out.jsonl", "--guard", "https://host/v1"],
            1,
            "'https://host/v1' could not be loaded: no server says which model it serves: https://host/v1/models",
        ),
        (["in.jsonl", "out.jsonl", "--judge", "both"], 2, "'both' is not one of"),
        (["in.jsonl"], 2, "Missing argument"),
    ],
)
def test_mistakes_are_answered_in_one_line(
    source: Path, arguments: list[str], code: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source.parent)
    result = run("moderate", *arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(path.name for path in source.parent.iterdir()) == ["in.jsonl"]


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, source: Path, tmp_path: Path) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise KeyError("a bug")

    monkeypatch.setattr("guard_reward.moderation.moderate.moderate_file", broken)
    assert isinstance(run("moderate", source, tmp_path / "out.jsonl").exception, KeyError)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "guard-reward: stopped"),
        (OSError("No space left on device"), 1, "error: No space left on device"),
        (ModuleNotFoundError("no", name="plotly.offline"), 1, "pip install 'guard-reward[report]'"),
    ],
)
def test_what_can_happen_to_anyone(
    monkeypatch: pytest.MonkeyPatch, source: Path, tmp_path: Path, error: BaseException, code: int, message: str
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr("guard_reward.moderation.moderate.moderate_file", broken)
    result = run("moderate", source, tmp_path / "out.jsonl")
    assert (result.exit_code, message in result.stderr) == (code, True)


def test_tiny_writes_what_the_recipes_read(tmp_path: Path) -> None:
    target = tmp_path / "world.json"
    result = run("tiny", tmp_path / "tiny", "--json", target)
    assert result.exit_code == 0, result.output
    assert "next: python recipes/grpo.py" in result.stdout
    facts = json.loads(target.read_text())
    assert facts["written"] == ["guard", "stream-guard", "policy", "train.jsonl", "eval.jsonl", "replies.jsonl"]
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == sorted(facts["written"])
    assert (tmp_path / "tiny" / "guard" / "model.safetensors").is_file()
    rows = [json.loads(line) for line in (tmp_path / "tiny" / "train.jsonl").read_text().splitlines()]
    assert {type(row["prompt"]) for row in rows} == {str}
    assert {row["harmful"] for row in rows} == {True, False}
