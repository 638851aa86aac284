"""``guard-reward speed``."""

from __future__ import annotations

from itertools import chain, repeat
from typing import Annotated, Any

import typer

from guard_reward.cli.options import Device, Dtype, GuardName, JsonFile, Quiet, Revision
from guard_reward.cli.output import load_guard, one_line_errors, write_json
from guard_reward.errors import UserError
from guard_reward.presets import DEFAULT_GUARD
from guard_reward.progress_bars import progress_bar

__all__ = ["speed"]


def speed(
    guard: GuardName = DEFAULT_GUARD,
    revision: Revision = None,
    device: Device = None,
    dtype: Dtype = None,
    compile: Annotated[bool, typer.Option("--compile", help="Score with torch.compile, see load_guard.")] = False,
    prompts: Annotated[int, typer.Option(min=1, help="Prompts per round.")] = 2,
    group_size: Annotated[int, typer.Option(min=1, help="Completions per prompt.")] = 8,
    completion_tokens: Annotated[int, typer.Option(min=1, help="Approximate length of a completion.")] = 128,
    rounds: Annotated[int, typer.Option(min=1, help="How often each variant runs.")] = 2,
    json_file: JsonFile = None,
    quiet: Quiet = False,
) -> None:
    """Measure how fast a guard judges on this machine, and compare it with the alternatives and with the limit.

    The model card's loop, batched `generate` and this library take turns on the same made-up rollouts. Ratios are
    given only if all answers are the same, token for token. The roofline is the time that the arithmetic alone takes at
    the device's measured matmul rate: nothing can be faster.

    Examples:

    - `guard-reward speed --guard Qwen/Qwen3Guard-Gen-0.6B --dtype bfloat16`

    - `guard-reward speed --guard Qwen/Qwen3Guard-Gen-4B --prompts 32 --completion-tokens 512 --json speed.json`
    """
    with one_line_errors():
        from guard_reward.guards.loading import is_in_vllm, is_served
        from guard_reward.speed.check import check_speed, turns

        if is_served(guard) or is_in_vllm(guard):
            raise UserError("--guard: speed measures a guard in this process; name a hub id or a folder")
        loaded: Any = load_guard(guard, device=device, dtype=dtype, revision=revision, compile=compile)
        begun = chain([0], repeat(1))  # the first turn begins before any is done
        with progress_bar(turns(rounds), "speed", "turn", shown=not quiet) as bar:

            def next_turn(text: str) -> None:
                bar.update(next(begun))
                bar.set_description_str(text)

            results = check_speed(
                loaded,
                prompts=prompts,
                group_size=group_size,
                completion_tokens=completion_tokens,
                rounds=rounds,
                on_step=next_turn,
            )
            bar.update()
    if not quiet:
        _print_speed(results)
    write_json(json_file, results)


def _print_speed(results: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    table = Table("variant", *("rollouts/s", "ratio", "of the roofline", "passes per verdict", "peak memory"))
    for column in table.columns[1:]:
        column.justify = "right"
    for row in results["variants"]:
        passes = row["passes_per_verdict"]
        table.add_row(
            row["variant"],
            f"{row['rollouts_per_second']:,.2f}",
            f"{row['ratio_to_model_card']:.1f}x",
            f"{row['floor_fraction']:.0%}",
            "" if passes is None else f"{passes:.2f}",
            f"{row['peak_memory_bytes'] / 2**30:.2f} GiB",
        )
    console.print(table)
    facts = results["guard"]
    console.print(
        f"{facts['guard']}, {facts['dtype']} on {facts['device']}: matrix products run at "
        f"{results['matmul_tflops']:,.2f} TFLOP/s here, so no scorer can judge more than "
        f"{results['floor_rollouts_per_second']:,.1f} such rollouts per second."
    )
