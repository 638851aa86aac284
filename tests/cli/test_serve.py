"""``guard-reward serve``: prints commands, or becomes them."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from guard_reward.cli import app
from tests.processes import REPOSITORY

GUARD = "Qwen/Qwen3Guard-Gen-4B"
SECRET = "not-to-be-seen"
SERVE = importlib.import_module("guard_reward.cli.serve")  # the package has the function by this name

# Writes down how it was started, then ends if its port is said to fail, or when it is asked to.
FAKE_SERVER = """#!{python}
import json, os, pathlib, signal, sys, time

port = sys.argv[sys.argv.index("--port") + 1]
state = pathlib.Path(os.environ["STATE"])

def stop(number, _):
    (state / f"stopped-{{port}}").write_text(str(number))
    if port not in os.environ.get("DEAF", ""):
        sys.exit(0)

for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, stop)
names = {{"key": "VLLM_API_KEY", "gpus": "CUDA_VISIBLE_DEVICES"}}
facts = {{"arguments": sys.argv[1:], **{{name: os.environ.get(variable) for name, variable in names.items()}}}}
(state / f"new-{{port}}").write_text(json.dumps(facts))
(state / f"new-{{port}}").rename(state / f"started-{{port}}")
if port in os.environ.get("FAILS", ""):
    sys.exit(7)
while True:
    time.sleep(0.05)
"""


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GUARD_REWARD_API_KEY", "GUARD_REWARD_REVISION", "CUDA_VISIBLE_DEVICES", "VLLM_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts a program named vllm into the path; the folder in which it tells what happened to it."""
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text(FAKE_SERVER.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STATE", str(tmp_path))
    return tmp_path


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command in a process of its own."""
    processes = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "guard_reward.cli", "serve", *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=REPOSITORY,
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def run(*arguments: object, **options: Any) -> Any:
    return CliRunner().invoke(app, ["serve", *map(str, arguments)], **options)


def wait_for(*paths: Path) -> None:
    deadline = time.monotonic() + 30
    while not all(path.exists() for path in paths):
        assert time.monotonic() < deadline, paths
        time.sleep(0.05)


def test_the_command_goes_to_standard_output_and_the_rest_to_standard_error() -> None:
    result = run(GUARD, "--context-length", 4096, "--", "--max-num-seqs", 512)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"vllm serve {GUARD} --host 127.0.0.1 --port 8000 ")
    assert result.stdout.endswith(" --max-model-len 4096 --max-num-seqs 512\n")
    assert result.stdout.count("\n") == 1
    assert result.stderr.splitlines()[:2] == [
        "# check it:    guard-reward ping http://127.0.0.1:8000/v1",
        '# in Python:   load_guard("http://127.0.0.1:8000/v1")',
    ]


def test_options_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    monkeypatch.setenv("GUARD_REWARD_REVISION", "abc")
    lines = run(GUARD, "--replicas", 2, "--engine", "sglang").stdout.splitlines()
    assert [line.split()[0] for line in lines[2:4]] == ["CUDA_VISIBLE_DEVICES=4", "CUDA_VISIBLE_DEVICES=5"]
    assert all(line.endswith("--revision abc &") for line in lines[2:4])


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_the_key_is_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, engine: str) -> None:
    monkeypatch.setenv("GUARD_REWARD_API_KEY", SECRET)
    facts = tmp_path / "facts.json"
    result = run(GUARD, "--engine", engine, "--host", "0.0.0.0", "--replicas", 2, "--json", facts)
    assert result.exit_code == 0, result.output
    assert "GUARD_REWARD_API_KEY" in result.stdout
    assert SECRET not in result.output + facts.read_text()
    assert json.loads(facts.read_text())["engine"] == engine


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([GUARD, "--host", "0.0.0.0"], 1, "there is no API key: export GUARD_REWARD_API_KEY"),
        ([GUARD, "--run", "--engine", "sglang"], 1, "sglang is not installed here: pip install sglang, best in"),
        ([GUARD, "--run"], 1, "vllm is not installed here: pip install vllm, best in"),
        (["./none"], 1, "model folder './none' does not exist"),
        ([GUARD, "--engine", "tgi"], 2, "'tgi' is not one of"),
        ([], 2, "Missing argument"),
    ],
)
def test_mistakes_are_answered_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    monkeypatch.setattr(SERVE, "which", lambda *_, **__: None)
    monkeypatch.setattr(SERVE, "find_spec", lambda _: None)
    result = run(*arguments, "--json", tmp_path / "facts.json")
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "facts.json").exists()


def test_run_becomes_the_server(state: Path, monkeypatch: pytest.MonkeyPatch, start: Callable[..., Any]) -> None:
    monkeypatch.setenv("GUARD_REWARD_API_KEY", SECRET)
    process = start(GUARD, "--run", "--port", "8123")
    wait_for(state / "started-8123")
    facts = json.loads((state / "started-8123").read_text())
    assert facts["arguments"][:6] == ["serve", GUARD, "--host", "127.0.0.1", "--port", "8123"]
    assert (facts["key"], facts["gpus"]) == (SECRET, None)
    process.send_signal(signal.SIGINT)  # reaches the server itself
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (0, "")
    assert (state / "stopped-8123").read_text() == str(int(signal.SIGINT))
    assert errors.startswith('+ VLLM_API_KEY="${GUARD_REWARD_API_KEY:?}" vllm serve')
    assert SECRET not in errors


def test_a_module_runs_in_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(SERVE, "find_spec", lambda name: name)
    monkeypatch.setattr("os.execvpe", lambda *arguments: calls.append(arguments))
    assert run(GUARD, "--run", "--engine", "sglang").exit_code == 0
    [(program, arguments, environment)] = calls
    assert program == arguments[0] == sys.executable
    assert arguments[1:3] == ["-m", "sglang.launch_server"]
    assert environment == dict(os.environ)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_all_servers(state: Path, start: Callable[..., Any], number: signal.Signals) -> None:
    process = start(GUARD, "--run", "--replicas", "2")
    wait_for(state / "started-8000", state / "started-8001")
    gpus = [json.loads((state / f"started-{port}").read_text())["gpus"] for port in (8000, 8001)]
    assert gpus == ["0", "1"]
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert [(state / f"stopped-{port}").read_text() for port in (8000, 8001)] == [str(int(number))] * 2


def test_all_servers_stop_if_one_fails(state: Path, monkeypatch: pytest.MonkeyPatch, start: Callable[..., Any]) -> None:
    monkeypatch.setenv("FAILS", "8001")
    process = start(GUARD, "--run", "--replicas", "3")
    process.communicate(timeout=30)
    assert process.returncode == 7
    for port in (8000, 8002):  # a server that had not come so far was stopped by the signal's own effect
        assert (state / f"stopped-{port}").exists() or not (state / f"started-{port}").exists()


def test_a_server_that_does_not_stop_is_killed(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from guard_reward.cli.child_processes import run_together

    monkeypatch.setenv("DEAF", "8000")
    server = [str(state / "bin" / "vllm"), "--port", "8000"]
    fails = ["bash", "-c", f"until [ -e '{state / 'started-8000'}' ]; do sleep 0.05; done; exit 3"]
    begun = time.monotonic()
    assert run_together([(server, os.environ), (fails, os.environ)], seconds_to_stop=0.5) == 3
    assert time.monotonic() - begun < 20
    assert (state / "stopped-8000").read_text() == str(int(signal.SIGTERM))


def test_a_program_that_cannot_start_stops_the_others(state: Path) -> None:
    from guard_reward.cli.child_processes import run_together

    before = signal.getsignal(signal.SIGTERM)
    server = [str(state / "bin" / "vllm"), "--port", "8000"]
    with pytest.raises(FileNotFoundError):
        run_together([(server, os.environ), (["/no/such/program"], os.environ)])
    assert signal.getsignal(signal.SIGTERM) is before
