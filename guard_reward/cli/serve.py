"""``guard-reward serve``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Annotated

import typer

from guard_reward.cli.options import JsonFile, Revision
from guard_reward.cli.output import one_line_errors, printable, write_json
from guard_reward.errors import UserError
from guard_reward.guards.served.commands import Command, Engine, ServePlan, ServeSettings, plan_servers
from guard_reward.guards.served.settings import API_KEY_VARIABLE

__all__ = ["serve"]

Model = Annotated[str, typer.Argument(metavar="MODEL", help="The guard: a hub id or a folder.", show_default=False)]
ServerArguments = Annotated[
    list[str] | None,
    typer.Argument(metavar="-- ARGUMENT", help="Further arguments of the server, behind '--'.", show_default=False),
]
Host = Annotated[str, typer.Option(help="Address to listen on; only this machine reaches the default.")]
Port = Annotated[
    int | None,
    typer.Option(
        help="Of the server; replicas have the ports that follow. With --router, its own, before theirs.",
        show_default="8000; sglang: 30000",
    ),
]
ContextLength = Annotated[
    int | None, typer.Option(help="Tokens of input and answer together.", show_default="the checkpoint's")
]
MemoryUtilization = Annotated[
    float | None,
    typer.Option(help="Part of a GPU's memory that the server may use.", show_default="the engine's own"),
]
Replicas = Annotated[
    int, typer.Option(help="Servers, each on GPUs of its own: the first ones of CUDA_VISIBLE_DEVICES, or of all.")
]
NoApiKey = Annotated[
    bool,
    typer.Option("--no-api-key", help="No key, although GUARD_REWARD_API_KEY is set or other machines reach --host."),
]
Router = Annotated[
    bool, typer.Option("--router", help="Put the engine's cache-aware router before the replicas, for one address.")
]
Run = Annotated[bool, typer.Option("--run", help="Start what would be printed.")]


def serve(
    model: Model,
    server_arguments: ServerArguments = None,
    engine: Annotated[Engine, typer.Option(help="The software that serves.")] = Engine.VLLM,
    host: Host = "127.0.0.1",
    port: Port = None,
    context_length: ContextLength = None,
    replicas: Replicas = 1,
    tensor_parallel: Annotated[int, typer.Option(help="GPUs per replica.")] = 1,
    gpu_memory_utilization: MemoryUtilization = None,
    dtype: Annotated[str | None, typer.Option(help="Such as bfloat16.", show_default="the engine's choice")] = None,
    revision: Revision = None,
    router: Router = False,
    no_api_key: NoApiKey = False,
    run: Run = False,
    json_file: JsonFile = None,
) -> None:
    """Print the command that serves a guard with vLLM or SGLang; with --run, become that server.

    The server caches prefixes, ignores the checkpoint's sampling settings, and logs no requests. The commands go to
    standard output, how to use the server to standard error. An API key comes from the environment variable
    GUARD_REWARD_API_KEY and is never shown; a server that other machines reach needs one. With --run, several servers
    stop when one of them stops, with its exit status.

    The commands follow vLLM 0.32, with which they were run on a CPU, and SGLang 0.5.23, with which they were not run.

    Examples:

    - `guard-reward serve Qwen/Qwen3Guard-Gen-4B`

    - `guard-reward serve Qwen/Qwen3Guard-Gen-4B --run --context-length 8192 --gpu-memory-utilization 0.4`

    - `guard-reward serve Qwen/Qwen3Guard-Gen-8B --replicas 2 --tensor-parallel 2 | bash`

    - `guard-reward serve runs/tiny/guard --engine sglang --replicas 4 --router`

    - `export GUARD_REWARD_API_KEY="$(openssl rand -hex 32)"` and then
      `guard-reward serve Qwen/Qwen3Guard-Gen-4B --host 0.0.0.0 -- --served-model-name guard --max-num-seqs 512`
    """
    settings = ServeSettings(
        model,
        engine=engine,
        host=host,
        port=port,
        context_length=context_length,
        replicas=replicas,
        tensor_parallel=tensor_parallel,
        gpu_memory_utilization=gpu_memory_utilization,
        dtype=dtype,
        revision=revision,
        router=router,
        no_api_key=no_api_key,
        server_arguments=tuple(server_arguments or ()),
    )
    _print_or_run(settings, run, json_file)


def _print_or_run(settings: ServeSettings, run: bool, json_file: Path | None) -> None:
    with one_line_errors():
        key = os.environ.get(API_KEY_VARIABLE)
        plan = plan_servers(settings, has_key=bool(key), visible_gpus=os.environ.get("CUDA_VISIBLE_DEVICES"))
        programs = [(_program(command), _environment(command, key)) for command in plan.commands] if run else []
    write_json(json_file, {"engine": settings.engine.value, "model": settings.model, **plan.to_dict()})
    _print(plan, run)
    if run:
        with one_line_errors():
            _run(programs)


def _print(plan: ServePlan, run: bool) -> None:
    """Print the commands, on standard error if they are started now: standard output is then the servers'."""
    if run:
        for command in plan.commands:
            typer.echo(f"+ {command.shell()}", err=True)
    else:
        typer.echo(plan.script())
    for note in plan.notes:
        typer.echo(printable(f"# {note}"), err=True)


def _run(programs: Sequence[tuple[list[str], dict[str, str]]]) -> None:
    """Become the server, or the parent of several."""
    if len(programs) > 1:
        from guard_reward.cli.child_processes import run_together

        raise typer.Exit(run_together(programs))
    arguments, environment = programs[0]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execvpe(arguments[0], arguments, environment)


def _program(command: Command) -> list[str]:
    """The command with the program's place, or that of this Python."""
    name, *arguments = command.arguments
    if command.module:
        place = sys.executable if find_spec(command.module) else None
    else:  # of the active environment, or else of this Python's
        place = which(name) or which(name, path=str(Path(sys.executable).parent))
    if place is None:
        raise UserError(
            f"{command.package} is not installed here: pip install {command.package}, best in an environment of its "
            "own; without --run the command is printed"
        )
    return [place, *arguments]


def _environment(command: Command, key: str | None) -> dict[str, str]:
    variables = {**os.environ, **command.environment}
    if command.key_variable and key:
        variables[command.key_variable] = key
    return variables
