"""Command lines that serve a guard: what is asked for → what is started."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from guard_reward.errors import UserError
from guard_reward.guards.served.commands import Command, Engine, ServePlan, ServeSettings, plan_servers

GUARD = "Qwen/Qwen3Guard-Gen-4B"
VLLM = (
    "--enable-prefix-caching --generation-config vllm --max-logprobs 20 --no-enable-log-requests "
    "--disable-uvicorn-access-log"
)
SGLANG = "--sampling-defaults openai --log-level-http warning"
ROUTING = "--policy cache_aware --balance-abs-threshold 8 --balance-rel-threshold 1.1"


def plan(model: str = GUARD, *, has_key: bool = False, visible_gpus: str | None = None, **settings: Any) -> ServePlan:
    return plan_servers(ServeSettings(model, **settings), has_key=has_key, visible_gpus=visible_gpus)


def commands(**settings: Any) -> list[str]:
    return [command.shell() for command in plan(**settings).commands]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, f"vllm serve {GUARD} --host 127.0.0.1 --port 8000 {VLLM}"),
        (
            {
                "port": 9000,
                "context_length": 8192,
                "tensor_parallel": 2,
                "gpu_memory_utilization": 0.4,
                "dtype": "bfloat16",
                "revision": "main",
                "server_arguments": ["--served-model-name", "my guard", "--max-num-seqs=512"],
            },
            f"vllm serve {GUARD} --host 127.0.0.1 --port 9000 {VLLM} --max-model-len 8192 --tensor-parallel-size 2 "
            "--gpu-memory-utilization 0.4 --dtype bfloat16 --revision main "
            "--served-model-name 'my guard' --max-num-seqs=512",
        ),
        (
            {"engine": Engine.SGLANG},
            f"python -m sglang.launch_server --model-path {GUARD} --host 127.0.0.1 --port 30000 {SGLANG}",
        ),
        (
            {
                "engine": Engine.SGLANG,
                "context_length": 8192,
                "tensor_parallel": 2,
                "gpu_memory_utilization": 0.4,
                "dtype": "bfloat16",
                "revision": "main",
            },
            f"python -m sglang.launch_server --model-path {GUARD} --host 127.0.0.1 --port 30000 {SGLANG} "
            "--context-length 8192 --tp-size 2 --mem-fraction-static 0.4 --dtype bfloat16 --revision main",
        ),
        (
            {"model": f"modelscope:{GUARD}"},
            f"VLLM_USE_MODELSCOPE=1 vllm serve {GUARD} --host 127.0.0.1 --port 8000 {VLLM}",
        ),
        (
            {"model": f"modelscope:{GUARD}", "engine": Engine.SGLANG},
            "SGLANG_USE_MODELSCOPE=1 "
            f"python -m sglang.launch_server --model-path {GUARD} --host 127.0.0.1 --port 30000 {SGLANG}",
        ),
        (
            {"host": "0.0.0.0", "has_key": True},
            f'VLLM_API_KEY="${{GUARD_REWARD_API_KEY:?}}" vllm serve {GUARD} --host 0.0.0.0 --port 8000 {VLLM}',
        ),
        (
            {"has_key": True, "no_api_key": True},
            f"vllm serve {GUARD} --host 127.0.0.1 --port 8000 {VLLM}",
        ),
    ],
    ids=["vllm", "vllm-all", "sglang", "sglang-all", "modelscope", "modelscope-sglang", "key", "key-not-wanted"],
)
def test_one_server(settings: dict[str, Any], expected: str) -> None:
    made = plan(**settings)
    assert [command.shell() for command in made.commands] == [expected]
    assert made.script() == expected


@pytest.mark.parametrize(
    ("settings", "gpus", "ports"),
    [
        ({"replicas": 2}, ["0", "1"], [8000, 8001]),
        ({"replicas": 2, "tensor_parallel": 2}, ["0,1", "2,3"], [8000, 8001]),
        ({"replicas": 2, "visible_gpus": "4, 6,7"}, ["4", "6"], [8000, 8001]),
        ({"replicas": 2, "visible_gpus": "GPU-a,GPU-b", "port": 7000}, ["GPU-a", "GPU-b"], [7000, 7001]),
        ({"replicas": 1, "tensor_parallel": 4, "visible_gpus": "2,3"}, [None], [8000]),  # the server's own affair
    ],
)
def test_replicas_have_their_own_gpus_and_ports(
    settings: dict[str, Any], gpus: list[str | None], ports: list[int]
) -> None:
    made = plan(**settings)
    assert [command.environment.get("CUDA_VISIBLE_DEVICES") for command in made.commands] == gpus
    assert [command.arguments[command.arguments.index("--port") + 1] for command in made.commands] == [
        str(port) for port in ports
    ]
    assert made.url == ",".join(f"http://127.0.0.1:{port}/v1" for port in ports)


def test_a_router_has_the_first_port_and_stays_before_servers_of_this_machine() -> None:
    made = plan(replicas=2, router=True, has_key=True)
    key = 'VLLM_API_KEY="${GUARD_REWARD_API_KEY:?}"'
    assert [command.shell() for command in made.commands] == [
        f"CUDA_VISIBLE_DEVICES=0 {key} vllm serve {GUARD} --host 127.0.0.1 --port 8001 {VLLM}",
        f"CUDA_VISIBLE_DEVICES=1 {key} vllm serve {GUARD} --host 127.0.0.1 --port 8002 {VLLM}",
        f"vllm-router --host 127.0.0.1 --port 8000 {ROUTING} --worker-urls http://127.0.0.1:8001 http://127.0.0.1:8002",
    ]
    assert made.url == "http://127.0.0.1:8000/v1"


def test_sglang_has_a_router_of_its_own() -> None:
    made = plan(engine=Engine.SGLANG, replicas=2, router=True, no_api_key=True, host="0.0.0.0")
    assert made.commands[0].shell() == (
        "CUDA_VISIBLE_DEVICES=0 "
        f"python -m sglang.launch_server --model-path {GUARD} --host 127.0.0.1 --port 30001 {SGLANG}"
    )
    assert made.commands[2].shell() == (
        f"python -m sglang_router.launch_router --host 0.0.0.0 --port 30000 --prometheus-host 127.0.0.1 {ROUTING} "
        "--worker-urls http://127.0.0.1:30001 http://127.0.0.1:30002"
    )
    assert 'in Python:   load_guard("http://127.0.0.1:30000/v1", endpoint="generate")' in made.notes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"host": "0.0.0.0"},
            "--host 0.0.0.0 is open to other machines, and there is no API key: export GUARD_REWARD_",
        ),
        ({"host": "::"}, "is open to other machines"),
        ({"host": "gpu-box"}, "is open to other machines"),
        ({"host": "0.0.0.0", "has_key": True, "replicas": 2, "router": True}, "Leave out --router"),
        ({"port": 0}, "--port: ports are 1 to 65535; these servers need 0"),
        ({"port": 65535, "replicas": 2}, "these servers need 65535 to 65536"),
        ({"replicas": 0}, "--replicas should be at least 1, found 0"),
        ({"tensor_parallel": -1}, "--tensor-parallel should be at least 1, found -1"),
        ({"context_length": 0}, "--context-length should be at least 1, found 0"),
        ({"gpu_memory_utilization": 40.0}, "--gpu-memory-utilization should be above 0 and at most 1, found 40.0"),
        ({"router": True}, "--router needs several servers: add --replicas 2 or more"),
        ({"replicas": 2, "tensor_parallel": 2, "visible_gpus": "0,1,2"}, "2 GPUs each need 4 GPUs, and CUDA_VISIBLE_"),
        ({"replicas": 2, "visible_gpus": ""}, "CUDA_VISIBLE_DEVICES='' has 0"),
        ({"server_arguments": ["--host=0.0.0.0"]}, "--host belongs before the '--'"),
        ({"server_arguments": ["--port", "1"]}, "--port belongs before the '--'"),
        ({"server_arguments": ["--api_key", "abc"]}, "put the key into the environment variable GUARD_REWARD_API_KEY"),
        ({"model": "./none"}, "model folder './none' does not exist"),
        ({"model": "a/b/c"}, "model folder 'a/b/c' does not exist"),
        ({"model": "http://127.0.0.1:8000/v1"}, "is neither a hub id, such as Qwen/Qwen3Guard-Gen-4B, nor a folder"),
        ({"model": "vllm:Qwen/Qwen3Guard-Gen-4B"}, "is neither a hub id"),
        ({"model": "modelscope:"}, "'' is neither a hub id"),
        ({"model": "Qwen/Qwen3Guard-Stream-4B"}, "is a stream guard, which vLLM and SGLang do not serve"),
    ],
)
def test_mistakes_say_what_to_do(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        plan(**settings)
    assert message in str(error.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_needs_no_key(host: str) -> None:
    assert len(plan(host=host).commands) == 1


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8000/v1"),
        ("::", "http://127.0.0.1:8000/v1"),
        ("::1", "http://[::1]:8000/v1"),
        ("10.0.0.7", "http://10.0.0.7:8000/v1"),
        ("gpu-box", "http://gpu-box:8000/v1"),
    ],
)
def test_clients_are_told_an_address(host: str, url: str) -> None:
    made = plan(host=host, no_api_key=True)
    assert made.url == url
    assert made.notes[0] == f"check it:    guard-reward ping {url}"


def test_a_folder_is_served_by_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my guard").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"has no config\.json: is it a model checkpoint\?"):
        plan("my guard")
    config = tmp_path / "my guard" / "config.json"
    config.write_text('{"architectures": ["Qwen3ForCausalLM"]}')
    assert commands(model="my guard") == [
        f"vllm serve {shlex.quote(str(tmp_path / 'my guard'))} --host 127.0.0.1 --port 8000 {VLLM}"
    ]
    assert any("name the guard's tokenizer" in note for note in plan("my guard", host="10.0.0.7", has_key=True).notes)
    config.write_text('{"architectures": ["Qwen3ForGuardModel"]}')
    with pytest.raises(UserError, match="'my guard' is a stream guard"):
        plan("my guard")
    for broken in ("{", "[]"):
        config.write_text(broken)
        with pytest.raises(UserError, match="is not a model's configuration"):
            plan("my guard")


def test_notes_name_the_tokenizer_of_a_renamed_guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs" / "guard").mkdir(parents=True)
    (tmp_path / "runs" / "guard" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    check, python, command = plan("runs/guard", server_arguments=("--served-model-name", "judge")).notes[:3]
    folder = tmp_path / "runs" / "guard"
    assert f"--guard-tokenizer {folder}" in check
    assert f'tokenizer="{folder}"' in python
    assert f"--guard-tokenizer {folder}" in command


def test_a_mistyped_folder_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    note = "is no folder here, so it is taken for a hub id"
    assert f"runs/gaurd {note}" in plan("runs/gaurd").notes
    assert not any(note in text for text in plan("Qwen/Qwen3Guard-Gen-4B").notes)


@pytest.mark.parametrize(
    ("engine", "host", "expected"),
    [
        (Engine.VLLM, "127.0.0.1", []),
        (Engine.VLLM, "0.0.0.0", ["vLLM asks for the key at /v1 only; a firewall should close the rest"]),
        (Engine.SGLANG, "127.0.0.1", ["SGLang writes its settings into its log, the key among them"]),
    ],
)
def test_notes_say_what_a_key_does_not_protect(engine: Engine, host: str, expected: list[str]) -> None:
    notes = plan(engine=engine, host=host, has_key=True).notes
    assert "clients need the same GUARD_REWARD_API_KEY" in notes
    assert [note for text in expected for note in notes if note.startswith(text)] == [
        note for note in notes if " log," in note or "firewall" in note
    ]


FAKE_SGLANG = """
import json, multiprocessing, pathlib, sys

def child(queue):
    queue.put(sys.modules["__mp_main__"].__spec__.name)

if __name__ == "__main__":
    spawn = multiprocessing.get_context("spawn")
    queue = spawn.Queue()
    process = spawn.Process(target=child, args=(queue,))
    process.start()
    options = pathlib.Path("/proc/self/cmdline").read_bytes().decode()
    print(json.dumps({"arguments": sys.argv[1:], "child": queue.get(), "shown": "secret" in options}))
"""


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
@pytest.mark.parametrize(("key", "status"), [("secret-1", 0), ("", 1), (None, 1)])
def test_sglang_gets_its_key_where_nobody_sees_it(tmp_path: Path, key: str | None, status: int) -> None:
    (tmp_path / "sglang").mkdir()
    (tmp_path / "sglang" / "launch_server.py").write_text(FAKE_SGLANG)
    shell = plan(engine=Engine.SGLANG, host="0.0.0.0", has_key=True).commands[0].shell()
    assert "secret" not in shell
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "GUARD_REWARD_API_KEY": key or ""}
    if key is None:
        del environment["GUARD_REWARD_API_KEY"]
    here = shell.replace("python", shlex.quote(sys.executable), 1)
    done = subprocess.run(["bash", "-c", here], capture_output=True, text=True, env=environment)
    assert done.returncode == status, done.stderr
    if status:
        assert "GUARD_REWARD_API_KEY is not set" in done.stderr
        return
    found = json.loads(done.stdout)
    assert found["arguments"][:2] == ["--model-path", GUARD]
    assert found["arguments"][-1] == "--api-key=secret-1"
    assert (found["child"], found["shown"]) == ("sglang.launch_server", False)


def test_without_the_key_nothing_starts() -> None:
    command = Command(("echo", "started"), "vllm", key_variable="VLLM_API_KEY").shell()
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
    assert (done.returncode != 0, done.stdout) == (True, "")
    assert "GUARD_REWARD_API_KEY" in done.stderr


@pytest.mark.parametrize(
    ("first", "second"),
    [("sleep 60", "false"), ("false", "sleep 60"), ("no-such-program", "sleep 60")],
)
def test_the_script_ends_with_its_first_server(first: str, second: str) -> None:
    made = ServePlan(tuple(Command(tuple(words.split()), "x") for words in (first, second)), "", ())
    done = subprocess.run(["bash"], input=made.script(), text=True, timeout=30, capture_output=True)
    assert done.returncode == 1


def test_json_has_no_key() -> None:
    made = plan(replicas=2, has_key=True).to_dict()
    assert made["commands"][1]["environment"] == {
        "CUDA_VISIBLE_DEVICES": "1",
        "VLLM_API_KEY": "$GUARD_REWARD_API_KEY",
    }
    assert made["commands"][1]["arguments"][:3] == ["vllm", "serve", GUARD]
    assert made["url"] == "http://127.0.0.1:8000/v1,http://127.0.0.1:8001/v1"


@pytest.mark.slow
def test_vllm_takes_the_options() -> None:
    """Only where vLLM is installed."""
    parsers = pytest.importorskip("vllm.entrypoints.launchers.cli_args", exc_type=ImportError)
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    settings = {"context_length": 2048, "tensor_parallel": 2, "gpu_memory_utilization": 0.5, "dtype": "bfloat16"}
    arguments = plan(revision="main", **settings).commands[0].arguments
    parsed = parsers.make_arg_parser(FlexibleArgumentParser()).parse_args(arguments[2:])
    assert (parsed.model_tag, parsed.host, parsed.port) == (GUARD, "127.0.0.1", 8000)
    assert (parsed.enable_prefix_caching, parsed.enable_log_requests) == (True, False)
    assert (parsed.max_model_len, parsed.tensor_parallel_size, parsed.gpu_memory_utilization) == (2048, 2, 0.5)
    assert (parsed.generation_config, parsed.dtype, parsed.revision) == ("vllm", "bfloat16", "main")
