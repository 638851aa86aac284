"""A guard in vLLM gives the verdicts of the same guard in this process.

The tests marked ``served`` run vLLM: by the interpreter in the environment variable ``GUARD_REWARD_VLLM_PYTHON``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from guard_reward import GuardReward, load_guard
from guard_reward.guards.vllm_engine import Requests
from guard_reward.guards.vllm_start import _no_launcher, _no_main_module
from tests.guards.served.conversations import conversation, varied
from tests.guards.verdict_facts import ROLLOUTS, verdict_facts
from tests.processes import REPOSITORY

PYTHON = os.environ.get("GUARD_REWARD_VLLM_PYTHON")
served = pytest.mark.skipif(not PYTHON, reason="needs GUARD_REWARD_VLLM_PYTHON, an interpreter with vLLM")
without_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed here")
CHECKPOINT = REPOSITORY / "guard_reward" / "tiny" / "checkpoints" / "guard"
CONTEXT = 256


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("vllm:some/guard", {"device": "cuda"}, "device: a guard in vLLM has no such option"),
        ("vllm:some/guard", {"token_budget": 5}, "token_budget: a guard in vLLM has no such option"),
        ("vllm:some/guard", {"compile": True}, "compile: a guard in vLLM has no such option"),
        ("vllm:some/guard", {"attn_implementation": "sdpa"}, "attn_implementation: a guard in vLLM"),
        ("vllm:some/guard", {"quantization_config": object()}, "quantization_config: a guard in vLLM"),
        ("vllm:some/guard", {"spec": "none"}, "spec: there is no guard family 'none'"),
        ("vllm:", {}, "names no guard"),
        ("some/guard", {"gpu_memory_utilization": 0.3}, "gpu_memory_utilization: a guard in this process"),
    ],
)
def test_options_of_other_guards_are_refused(source, options, message):
    with pytest.raises(ValueError, match=message):
        load_guard(source, **options)


def test_a_missing_folder_is_named():
    with pytest.raises(FileNotFoundError, match=r"'\./nowhere' does not exist"):
        load_guard("vllm:./nowhere")


@without_vllm
def test_without_vllm_it_is_said_what_to_install():
    with pytest.raises(ModuleNotFoundError, match=r"vllm:some/guard needs vLLM: pip install 'guard-reward\[vllm\]'"):
        load_guard("vllm:some/guard")
    done = subprocess.run(
        [sys.executable, "-m", "guard_reward.cli", "moderate", __file__, "out.jsonl", "--guard", "vllm:some/guard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


@without_vllm
def test_a_recipe_names_the_guard_in_vllm():
    from guard_reward.errors import UserError
    from guard_reward.launch.config import GuardRewardConfig, build_reward
    from guard_reward.rewards.policy import PolicyFacts

    policy = PolicyFacts(eos_token_ids=(2,), thinking_prefilled=False)
    with pytest.raises(UserError, match="needs vLLM: pip install"):
        build_reward(GuardRewardConfig(f"vllm:{CHECKPOINT}", guard_dtype="float32"), policy)
    with pytest.raises(UserError, match="device: a guard in vLLM has no such option"):
        build_reward(GuardRewardConfig(f"vllm:{CHECKPOINT}", guard_device="cuda:1"), policy)


def test_an_engine_starts_without_the_launchers_environment(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT", "TORCHELASTIC_USE_AGENT_STORE"):
        monkeypatch.setenv(name, "1")
    before, main = dict(os.environ), dict(vars(sys.modules["__main__"]))
    with _no_launcher(has_process=False), _no_main_module():
        assert not {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT", "TORCHELASTIC_USE_AGENT_STORE"} & {*os.environ}
        assert os.environ["VLLM_WORKER_MULTIPROC_METHOD"] == "spawn"
        assert sys.modules["__main__"].__spec__ is None
        os.environ["LOCAL_WORLD_SIZE"] = "1"  # vLLM does so on a CPU
    assert dict(os.environ) == before
    assert vars(sys.modules["__main__"]) == main


class Engine:
    """What `Requests` uses of vLLM's engine: it answers one request a step."""

    def __init__(self, tiny_guard: Any):
        self.answer = tiny_guard.tokenizer.encode("Safety: Safe\nCategories: None", add_special_tokens=False)
        self.queue: list[str] = []
        self.taken_back: list[str] = []
        self.error: Exception | None = None

    def add_request(self, name: str, prompt: Any, params: Any) -> None:
        if len(prompt["prompt_token_ids"]) > 700:
            raise ValueError("too long")
        self.queue.append(name)

    def step(self) -> list[Any]:
        if self.error:
            raise self.error
        completion = SimpleNamespace(token_ids=self.answer, logprobs=None, finish_reason="stop")
        return [SimpleNamespace(request_id=self.queue.pop(0), finished=True, outputs=[completion])]

    def abort_request(self, names: list[str]) -> None:
        self.taken_back += names


@pytest.fixture
def engine(tiny_guard):
    return Engine(tiny_guard)


@pytest.fixture
def requests_to(tiny_guard):
    """Makes the requests of a call."""
    return lambda engine: Requests(engine, {False: None, True: None}, tiny_guard._parts.codec, threading.Event())


@pytest.fixture
def windows(tiny_guard):
    """Three inputs, of which the engine refuses the second."""
    rows = [conversation("How?"), conversation("How? " * 600), conversation("Why?")]
    return [reading[0] for [reading] in tiny_guard._parts.encoder.encode(rows)]


def test_a_refused_input_and_a_failed_engine_cost_only_their_rows(engine, requests_to, windows):
    with requests_to(engine) as requests:
        requests.add(windows)
        requests.wait(at_most=1)
        engine.error = type("EngineDeadError", (Exception,), {})("see above")
        requests.wait()
    first, second, third = map(requests.answer, windows)
    assert first.token_ids == engine.answer
    assert str(second) == "too long"
    assert str(third) == "the guard's vLLM engine has died; close() the guard to start a new one (see above)"


def test_an_interrupted_call_takes_its_inputs_back(engine, requests_to, windows):
    def interrupted() -> None:
        with requests_to(engine) as requests:
            requests.add(windows)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert engine.taken_back == engine.queue
    left = engine.queue[0]
    with requests_to(engine) as requests:
        requests.add(windows[:1])
        requests.wait()  # an answer to the interrupted call comes first, and is nobody's
    assert left not in engine.queue
    assert requests.answer(windows[0]).token_ids == engine.answer


def environment(**more: str) -> dict[str, str]:
    """Of an interpreter with vLLM, small enough for a laptop."""
    small = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}
    own = {"HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "WARNING", "VLLM_NO_USAGE_STATS": "1"}
    return {**os.environ, **small, **own, "PYTHONPATH": str(REPOSITORY), **more}


def started(arguments: list[str], **more: str) -> subprocess.Popen[str]:
    """The interpreter with vLLM, in a session of its own."""
    return subprocess.Popen(
        [str(PYTHON), *arguments],
        cwd=REPOSITORY,
        env=environment(**more),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(process: subprocess.Popen[str], *, status: int = 0) -> str:
    """Its output. It must leave no process behind; Python's own resource tracker ends a moment later."""
    try:
        output, _ = process.communicate(timeout=500)
    finally:
        left = _alive_after(10, [one.pid for one in psutil.process_iter() if _session(one.pid) == process.pid])
        for one in left:
            os.kill(one, signal.SIGKILL)
    assert process.returncode == status, output
    assert left == []
    return output


def _alive_after(seconds: float, numbers: list[int]) -> list[int]:
    """Those of the processes that have not ended by then."""
    end = time.monotonic() + seconds
    while (alive := [one for one in numbers if _is_alive(one)]) and time.monotonic() < end:
        time.sleep(0.2)
    return alive


def _is_alive(number: int) -> bool:
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _session(number: int) -> int | None:
    try:
        return os.getsid(number)
    except OSError:
        return None


def run_scenario(folder: Path, name: str, rows: list[Any]) -> dict[str, Any]:
    process = start_scenario(folder, name, rows)
    finished(process)
    return json.loads((folder / "out.json").read_text(encoding="utf-8"))


def start_scenario(folder: Path, name: str, rows: list[Any], **more: str) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    (folder / "in.json").write_text(json.dumps(rows), encoding="utf-8")
    script = ["tests/guards/vllm_scenarios.py", name, str(CHECKPOINT), str(folder / "in.json")]
    return started([*script, str(folder / "out.json")], **more)


def assert_same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(found) == len(expected)
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert {**one, "numbers": None} == {**other, "numbers": None}, number
        assert one["numbers"] == pytest.approx(other["numbers"], abs=1e-4), number


@pytest.fixture(scope="module")
def rows() -> list[Any]:
    """Varied ones; text for many windows, of an answer and of a prompt; equal ones."""
    long = [conversation("How?", " ".join(["First fold it."] * 500)), conversation("blue gravok " * 700)]
    return [*varied(300), *long, *varied(20)]


@pytest.fixture
def expected(small_context, rows) -> list[dict[str, Any]]:
    return verdict_facts(small_context(CONTEXT).moderate(rows))


@pytest.mark.served
@served
def test_a_whole_life(tmp_path, rows, expected, small_context):
    local = small_context(CONTEXT)
    found = run_scenario(tmp_path, "whole_life", rows)
    assert_same(found["verdicts"], expected)
    assert any(row.get("windows", 1) > 1 for row in expected)
    assert "no_verdict" in {row.get("outcome") for row in expected}
    assert_same(found["among bad rows"], verdict_facts(local.moderate([5, [], None, rows[0], 5, [], None])))
    assert found["refused"][::2] == ["answered", "answered"]
    assert "ValueError" in found["refused"][1] or "vocab" in found["refused"][1]
    for part, verdicts in enumerate(found["threads"]):
        assert_same(verdicts, expected[part * 20 : part * 20 + 40])
    assert_same(found["after sleep"], expected[:5])
    assert_same(found["after pickling"], expected[:5])
    assert found["reward"] == pytest.approx(GuardReward(local, "soft")(**ROLLOUTS), abs=1e-4)
    assert found["ids"] == local.encode(rows[0])
    assert (found["context"], found["arguments"]) == (CONTEXT, {"prefix caching": True, "seed": 3, "context": CONTEXT})
    assert any("EngineCore" in line for line in found["children"][0])
    assert found["children"][1:] == [[], [], []]
    assert {row["outcome"] for row in found["killed"]} == {"guard_error"}
    assert all("engine has died" in row["reason"] for row in [*found["killed"], *found["killed again"]])
    described = found["describe"]
    assert {name: described[name] for name in ("guard", "spec", "template_hash", "dtype", "revision")} == {
        "guard": str(CHECKPOINT),
        "spec": "qwen3guard",
        "template_hash": local.describe()["template_hash"],
        "dtype": "float32",
        "revision": load_guard(CHECKPOINT, device="cpu").describe()["revision"],
    }
    assert described["vllm"]


@pytest.mark.served
@served
def test_in_this_process(tmp_path, rows, expected):
    assert_same(run_scenario(tmp_path, "in_this_process", rows[:40])["verdicts"], expected[:40])


@pytest.mark.served
@served
def test_ranks_have_engines_of_their_own(tmp_path, rows, expected):
    """Beside a process group, with the environment of torchrun."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    ranks = [
        start_scenario(tmp_path / str(rank), "rank", rows[:40], RANK=str(rank), LOCAL_RANK=str(rank), **address)
        for rank in (0, 1)
    ]
    for rank, process in enumerate(ranks):
        finished(process)
        found = json.loads((tmp_path / str(rank) / "out.json").read_text(encoding="utf-8"))
        assert_same(found["verdicts"], expected[:40])
        assert found["ranks"] == 2
        assert found["changed"] == []
        assert "tensor_parallel_size: each of the trainer's processes has a guard of its own" in found["refused"]


@pytest.mark.served
@served
def test_an_engine_ends_with_a_process_that_is_killed(tmp_path, rows):
    process = start_scenario(tmp_path, "killed", rows[:3])
    process.wait(500)
    left = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    alive = _alive_after(40, left)
    for one in alive:
        os.kill(one, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert len(left) > 0
    assert alive == []


@pytest.mark.served
@served
def test_mistakes_are_named(tmp_path):
    found = run_scenario(tmp_path, "mistakes", [])
    assert found["unknown"].startswith("ValueError: gpu_memory_utilisation: vLLM ")
    assert "dtype" in found["dtype"]
    assert "ValidationError" in found["dtype"] or found["dtype"].startswith("ValueError")
    assert found["tokenizer"].startswith("ValueError: tokenizer: a guard in vLLM has no such option")
    assert found["launcher"].startswith("ValueError: distributed_executor_backend: 'external_launcher' would join")
    assert "max_model_len" in found["context"]
    assert found["children"] == []


@pytest.mark.served
@served
def test_the_command_line(tmp_path, rows, tiny_guard):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    roles = [[turn["role"] for turn in row] for row in rows[:40]]
    answered = [number for number, found in enumerate(roles) if found == ["user", "assistant"]]
    pairs = [[turn["content"] for turn in rows[number]] for number in answered]
    source.write_text("".join(json.dumps({"prompt": p, "response": r}) + "\n" for p, r in pairs), encoding="utf-8")
    moderate = ["-m", "guard_reward.cli", "moderate", str(source), str(target), "--guard", f"vllm:{CHECKPOINT}"]
    output = finished(started([*moderate, "--device", "cpu"]), status=1)
    assert "device: a guard in vLLM has no such option" in " ".join(output.split())
    finished(started([*moderate, "--dtype", "float32", "--quiet"]))
    judged = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    found = [row["guard_verdict_text"] for row in judged]
    verdicts = tiny_guard.moderate([rows[number] for number in answered])
    assert found == [verdict.text for verdict in verdicts]
