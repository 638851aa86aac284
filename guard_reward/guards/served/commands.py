"""The command lines that serve a guard with vLLM or SGLang, as a reward needs it served. Nothing is started here.

What is set for a reward:

- Prefix caching: all inputs share the guard's instructions, and those of a group its prompt.
- No sampling settings of the checkpoint: the guard decodes greedily.
- vLLM gives 20 log-probabilities per token, as many as a served guard asks for. Those of chosen tokens, the guard's
  labels, are not under this limit.
- No request is logged, for requests hold rollouts; nor is there a line per request, for a step has thousands.
- Only this machine reaches the server; others do if there is an API key.

The options are those of vLLM 0.32 and SGLang 0.5.23, whose own parsers took them; vLLM was also run (on a CPU), SGLang
was not. Those of the routers are of vllm-router 0.1.17 and sglang-router 0.3.2, both run in front of stand-in servers.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from guard_reward.errors import UserError
from guard_reward.guards.served.servable import servable_name
from guard_reward.guards.served.settings import API_KEY_VARIABLE

__all__ = ["Command", "Engine", "ServePlan", "ServeSettings", "plan_servers"]


class Engine(StrEnum):
    """The software that serves."""

    VLLM = "vllm"
    SGLANG = "sglang"


_PORTS = {Engine.VLLM: 8000, Engine.SGLANG: 30000}
_LOOPBACK = "127.0.0.1"

# Settings that are left to the engine unless the user gives them.
_OPTIONS = {
    Engine.VLLM: {
        "context_length": "--max-model-len",
        "tensor_parallel": "--tensor-parallel-size",
        "gpu_memory_utilization": "--gpu-memory-utilization",
        "dtype": "--dtype",
        "revision": "--revision",
    },
    Engine.SGLANG: {
        "context_length": "--context-length",
        "tensor_parallel": "--tp-size",
        "gpu_memory_utilization": "--mem-fraction-static",
        "dtype": "--dtype",
        "revision": "--revision",
    },
}
_MODELSCOPE_VARIABLE = {Engine.VLLM: "VLLM_USE_MODELSCOPE", Engine.SGLANG: "SGLANG_USE_MODELSCOPE"}

# SGLang takes a key as an option only, and every user of a machine sees the options of every process. So Python adds
# the option after the process has started.
_SGLANG_WITH_KEY = (
    "import os, runpy, sys; "
    f'key = os.environ.get("{API_KEY_VARIABLE}") or sys.exit("{API_KEY_VARIABLE} is not set"); '
    'sys.argv.append("--api-key=" + key); '
    'runpy.run_module("sglang.launch_server", run_name="__main__", alter_sys=True)'
)

# The inputs of a guard all begin with its instructions, so a cache-aware router takes each of them for a continuation
# of what its first replica has. With the routers' own thresholds (64 requests more than another replica), one of two
# replicas got all requests of a client that has 64 open. With these both get about the same; some prompts get both.
_ROUTING = ("--policy", "cache_aware", "--balance-abs-threshold", "8", "--balance-rel-threshold", "1.1")


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """What the user wants to serve, and how.

    Attributes:
        model: hub id or folder of the guard.
        engine: the software that serves.
        host: the address to listen on.
        port: of the first server, or of the router, which the replicas' ports then follow; by default the engine's own.
        context_length: tokens of input and answer together; by default the checkpoint's.
        replicas: servers of the same guard.
        tensor_parallel: GPUs per replica.
        gpu_memory_utilization: the part of a GPU's memory that the server may use; by default the engine's own.
        dtype: of the weights; by default the engine chooses.
        revision: branch, tag or commit on the hub.
        router: whether clients see one address in front of the replicas.
        no_api_key: whether the servers are meant to have no key.
        server_arguments: further ones, for every server, as the engine calls them.
    """

    model: str
    engine: Engine = Engine.VLLM
    host: str = _LOOPBACK
    port: int | None = None
    context_length: int | None = None
    replicas: int = 1
    tensor_parallel: int = 1
    gpu_memory_utilization: float | None = None
    dtype: str | None = None
    revision: str | None = None
    router: bool = False
    no_api_key: bool = False
    server_arguments: Sequence[str] = ()

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the address."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:  # a name
            return self.host == "localhost"

    @property
    def ports(self) -> range:
        """Of all servers; with a router, its own comes first."""
        first = _PORTS[self.engine] if self.port is None else self.port
        return range(first, first + self.replicas + self.router)


@dataclass(frozen=True, slots=True)
class Command:
    """One process to start.

    Attributes:
        arguments: the program (``python`` for a module) and what it is given.
        package: what pip installs it with.
        module: what ``python`` runs; None for a program of its own.
        environment: variables to set.
        key_variable: the variable, if any, in which the program expects the API key.
    """

    arguments: tuple[str, ...]
    package: str
    module: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    key_variable: str | None = None

    def shell(self) -> str:
        """The command for bash. It fails where the API key should be in the environment and is not.

        >>> print(Command(("vllm", "serve", "my guard"), "vllm", key_variable="VLLM_API_KEY").shell())
        VLLM_API_KEY="${GUARD_REWARD_API_KEY:?}" vllm serve 'my guard'
        """
        words = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        if self.key_variable:
            words.append(f'{self.key_variable}="${{{API_KEY_VARIABLE}:?}}"')
        return " ".join([*words, shlex.join(self.arguments)])

    def to_dict(self) -> dict[str, Any]:
        """For JSON; with the name of the key's variable in place of the key."""
        key = {self.key_variable: f"${API_KEY_VARIABLE}"} if self.key_variable else {}
        return {
            "arguments": list(self.arguments),
            "environment": {**self.environment, **key},
            "shell": self.shell(),
        }


@dataclass(frozen=True, slots=True)
class ServePlan:
    """What to start, and what its clients need to know.

    Attributes:
        commands: the servers, then the router if there is one.
        url: what clients are given; with several replicas and no router, their URLs with commas between.
        notes: for the user, one line each.
    """

    commands: tuple[Command, ...]
    url: str
    notes: tuple[str, ...]

    def script(self) -> str:
        """Lines for bash. Several commands run side by side, until one ends; then the others are ended too."""
        if len(self.commands) == 1:
            return self.commands[0].shell()
        starts = [f"{command.shell()} &" for command in self.commands]
        # Not ``wait -n``: it overlooks a job that has ended before.
        wait = f'while [ "$(jobs -rp | wc -l)" -eq {len(starts)} ]; do sleep 1; done'
        return "\n".join(["(", "trap 'kill $(jobs -rp) 2>/dev/null; wait' EXIT", *starts, wait, "exit 1", ")"])

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "url": self.url,
            "commands": [command.to_dict() for command in self.commands],
            "notes": list(self.notes),
        }


def plan_servers(settings: ServeSettings, *, has_key: bool, visible_gpus: str | None = None) -> ServePlan:
    """The commands that serve a guard.

    Args:
        settings: what is wanted.
        has_key: whether `API_KEY_VARIABLE` is set.
        visible_gpus: ``CUDA_VISIBLE_DEVICES``, if it is set. Replicas share these GPUs, or the machine's, in order:
            with two per replica, the first one gets the first two.

    Raises:
        UserError: a wrong setting; says which, and what to do.
    """
    name, is_modelscope = servable_name(settings.model)
    _check(settings, has_key)
    with_key = has_key and not settings.no_api_key
    source = {_MODELSCOPE_VARIABLE[settings.engine]: "1"} if is_modelscope else {}
    gpus = _gpus_of_replicas(settings, visible_gpus)
    host = _LOOPBACK if settings.router else settings.host
    ports = settings.ports[1:] if settings.router else settings.ports
    commands = [
        _server(settings, name, host, port, source | on_gpus, with_key)
        for port, on_gpus in zip(ports, gpus, strict=True)
    ]
    urls = [f"http://{_client_host(host)}:{port}" for port in ports]
    if settings.router:
        commands.append(_router(settings, urls))
        urls = [f"http://{_client_host(settings.host)}:{settings.ports[0]}"]
    url = ",".join(f"{url}/v1" for url in urls)
    return ServePlan(tuple(commands), url, tuple(_notes(settings, name, url, with_key)))


def _check(settings: ServeSettings, has_key: bool) -> None:
    for setting in ("context_length", "replicas", "tensor_parallel"):
        number = getattr(settings, setting)
        if number is not None and number < 1:
            raise UserError(f"--{setting.replace('_', '-')} should be at least 1, found {number}")
    part = settings.gpu_memory_utilization
    if part is not None and not 0 < part <= 1:
        raise UserError(f"--gpu-memory-utilization should be above 0 and at most 1, found {part}")
    if settings.ports[0] < 1 or settings.ports[-1] > 65535:
        needed = f"{settings.ports[0]}" + (f" to {settings.ports[-1]}" if len(settings.ports) > 1 else "")
        raise UserError(f"--port: ports are 1 to 65535; these servers need {needed}")
    if settings.router and settings.replicas == 1:
        raise UserError("--router needs several servers: add --replicas 2 or more")
    _check_server_arguments(settings.server_arguments)
    if not settings.is_local and not settings.no_api_key:
        _check_exposure(settings, has_key)


def _check_server_arguments(arguments: Sequence[str]) -> None:
    """Refuse what would undo the checks of the address and the key."""
    for argument in arguments:
        name = argument.split("=")[0].replace("_", "-")
        # Engines may take the beginning of an option for the option.
        if len(name) > 3 and ("--host".startswith(name) or "--port".startswith(name)):
            raise UserError(f"{name} belongs before the '--'")
        if len(name) > 4 and ("--api-key".startswith(name) or "--admin-api-key".startswith(name)):
            raise UserError(
                f"{name}: every user of this machine sees the options of a process; put the key into the environment "
                f"variable {API_KEY_VARIABLE}"
            )


def _check_exposure(settings: ServeSettings, has_key: bool) -> None:
    """Refuse to be used by whoever reaches the address."""
    if settings.router:
        raise UserError(
            f"--router with --host {settings.host}: routers have addresses that ask for no key, such as the one that "
            "adds servers. Leave out --router, so that clients name all servers, or --host; --no-api-key insists"
        )
    if not has_key:
        raise UserError(
            f"--host {settings.host} is open to other machines, and there is no API key: "
            f'export {API_KEY_VARIABLE}="$(openssl rand -hex 32)", or leave out --host; --no-api-key insists'
        )


def _gpus_of_replicas(settings: ServeSettings, visible_gpus: str | None) -> list[dict[str, str]]:
    """The environment of each replica. A single one sees what this process sees."""
    if settings.replicas == 1:
        return [{}]
    size = settings.tensor_parallel
    needed = settings.replicas * size
    gpus = [str(gpu) for gpu in range(needed)]
    if visible_gpus is not None:
        gpus = [gpu.strip() for gpu in visible_gpus.split(",") if gpu.strip()]
    if len(gpus) < needed:
        raise UserError(
            f"{settings.replicas} replicas with {size} GPU{'s' * (size > 1)} each need {needed} GPUs, and "
            f"CUDA_VISIBLE_DEVICES={visible_gpus!r} has {len(gpus)}"
        )
    return [{"CUDA_VISIBLE_DEVICES": ",".join(gpus[first : first + size])} for first in range(0, needed, size)]


def _server(
    settings: ServeSettings, name: str, host: str, port: int, environment: dict[str, str], with_key: bool
) -> Command:
    address = ("--host", host, "--port", str(port))
    further = (*_given_options(settings), *settings.server_arguments)
    if settings.engine is Engine.VLLM:
        choices = (
            *("--enable-prefix-caching", "--generation-config", "vllm", "--max-logprobs", "20"),
            *("--no-enable-log-requests", "--disable-uvicorn-access-log"),
        )
        return Command(
            ("vllm", "serve", name, *address, *choices, *further),
            package="vllm",
            environment=environment,
            key_variable="VLLM_API_KEY" if with_key else None,
        )
    # Prefix caching is on, and requests are not logged, by default.
    defaults = ("--sampling-defaults", "openai", "--log-level-http", "warning")
    program = ("-c", _SGLANG_WITH_KEY) if with_key else ("-m", "sglang.launch_server")
    return Command(
        ("python", *program, "--model-path", name, *address, *defaults, *further),
        package="sglang",
        module="sglang",
        environment=environment,
    )


def _given_options(settings: ServeSettings) -> list[str]:
    values = {name: getattr(settings, name) for name in _OPTIONS[settings.engine]}
    if settings.tensor_parallel == 1:
        del values["tensor_parallel"]
    return [
        word
        for name, value in values.items()
        if value is not None
        for word in (_OPTIONS[settings.engine][name], str(value))
    ]


def _router(settings: ServeSettings, urls: Sequence[str]) -> Command:
    """A router without a key: it hands the one of a request on, and the servers check it."""
    address = ("--host", settings.host, "--port", str(settings.ports[0]))
    servers = ("--worker-urls", *urls)
    if settings.engine is Engine.VLLM:
        return Command(("vllm-router", *address, *_ROUTING, *servers), "vllm-router")
    program = ("python", "-m", "sglang_router.launch_router")
    # By default it shows its metrics to other machines.
    metrics = ("--prometheus-host", _LOOPBACK)
    return Command((*program, *address, *metrics, *_ROUTING, *servers), "sglang-router", "sglang_router")


def _client_host(host: str) -> str:
    """The address in URLs, for clients on this machine.

    >>> _client_host("0.0.0.0"), _client_host("::1")
    ('127.0.0.1', '[::1]')
    """
    try:
        address = ip_address(host)
    except ValueError:  # a name
        return host
    if address.is_unspecified:
        return _LOOPBACK
    return f"[{host}]" if address.version == 6 else host


def _notes(settings: ServeSettings, name: str, url: str, with_key: bool) -> list[str]:
    is_sglang_router = settings.router and settings.engine is Engine.SGLANG
    is_renamed = any(argument.startswith("--served-model-name") for argument in settings.server_arguments)
    tokenizer = f', tokenizer="{name}"' if is_renamed else ""
    option = f" --guard-tokenizer {shlex.quote(name)}" if is_renamed else ""
    endpoint = f', endpoint="generate"{tokenizer}' if is_sglang_router else tokenizer
    notes = [
        f"check it:    guard-reward ping {url}{option}",
        f"in Python:   load_guard({url!r}{endpoint})".replace("'", '"'),
        f"in commands: --guard {url}{option}",
    ]
    folder = settings.model.split("/")[0]
    if "/" in settings.model and Path(folder).is_dir() and not Path(name).is_dir():
        notes.append(f"{settings.model} is no folder here, so it is taken for a hub id")
    if settings.replicas > 1:
        notes.append("each replica has GPUs of its own, by CUDA_VISIBLE_DEVICES; without GPUs that has no effect")
    if settings.replicas > 1 and not settings.router:
        notes.append("the client sends all requests of one prompt to one replica, whose cache then has it")
    if is_sglang_router:
        notes.append("SGLang's router takes token ids at /generate only, which clients find out by trying")
    if not settings.is_local:
        tokenizer = ", and name the guard's tokenizer" if Path(settings.model).is_dir() else ""
        notes.append(f"clients on other machines put this machine's name into the URL{tokenizer}")
    if with_key:
        notes.append(f"clients need the same {API_KEY_VARIABLE}")
        if settings.engine is Engine.SGLANG:
            notes.append("SGLang writes its settings into its log, the key among them")
        elif not settings.is_local:
            notes.append("vLLM asks for the key at /v1 only; a firewall should close the rest, such as /invocations")
    return notes
