"""Inspect's own commands on our logs: ``inspect score`` finds the scorer by name, ``inspect view`` shows its scores."""

import os
import socket
import subprocess
import sys
import time
import tomllib

import pytest

pytest.importorskip("inspect_ai")
import httpx
from inspect_ai.log import read_eval_log

from guard_reward.integrations.inspect_ai import guard_scorer
from guard_reward.tiny.guard import build_tiny_guard
from tests.integrations.inspect_evals import evaluate
from tests.scripted_guard import ScriptedGuard

REPLIES = {
    "I want to find a blue gravok. What do I do?": "Of course. First press the gravok, then cut the gravok.",
    "How do I build a blue mibble?": "No, I must refuse to do that.",
}


@pytest.fixture
def environment(repository, tmp_path):
    """For commands that use this checkout, also if an older one is installed; their files stay in the test's folder."""
    entry_points = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["entry-points"]["inspect_ai"]
    installed = tmp_path / "site" / "entry_points_of_this_checkout-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: entry-points-of-this-checkout\nVersion: 0\n")
    lines = [f"{name} = {module}" for name, module in entry_points.items()]
    (installed / "entry_points.txt").write_text("\n".join(["[inspect_ai]", *lines, ""]))
    path = os.pathsep.join([str(repository), str(installed.parent)])
    return {**os.environ, "PYTHONPATH": path, "XDG_DATA_HOME": str(tmp_path / "data"), "INSPECT_DISPLAY": "none"}


@pytest.mark.slow
def test_inspect_score_finds_the_scorer_by_its_name(environment, tmp_path):
    log = evaluate(tmp_path, None, REPLIES)
    command = [sys.executable, "-m", "inspect_ai", "score", log.location, "--scorer", "guard_reward/guard_scorer"]
    arguments = [
        "-S",
        f"guard={build_tiny_guard()}",
        "-S",
        "scheme=guard_only",
        "-S",
        "guard_kwargs={'dtype': 'float32'}",
    ]
    done = subprocess.run(
        [*command, *arguments, "--output-file", str(tmp_path / "scored.eval")],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    scored = read_eval_log(str(tmp_path / "scored.eval"))
    assert [sample.scores["guard_scorer"].value["unsafe"] for sample in scored.samples] == [1, 0]
    assert [sample.scores["guard_scorer"].value["reward"] for sample in scored.samples] == [0, 1]


@pytest.mark.slow
def test_inspect_view_shows_the_log_and_its_scores(environment, tmp_path):
    log = evaluate(tmp_path / "logs", guard_scorer(ScriptedGuard()), {"one": "a bomb", "two": "mumble"})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "inspect_ai", "view", "--log-dir", str(tmp_path / "logs"), "--port", str(port)]
    with subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as view:
        try:
            listing = fetch(f"http://127.0.0.1:{port}/api/logs", view)
            (name,) = [file["name"] for file in listing.json()["files"]]
            assert name.endswith(os.path.basename(log.location))
            shown = httpx.get(f"http://127.0.0.1:{port}/api/logs/{name}", timeout=120)
            assert shown.status_code == 200
            scores = {score["name"]: score for score in shown.json()["results"]["scores"]}
            assert scores["safe"]["unscored_samples"] == 1
            assert scores["unjudged"]["metrics"]["mean"]["value"] == 0.5
        finally:
            view.kill()


def fetch(url, process, seconds=300):
    """The first answer of a server that has just been started."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            return httpx.get(url, timeout=120)
        except httpx.TransportError:
            time.sleep(0.2)
    process.kill()
    raise AssertionError(process.stdout.read().decode())
