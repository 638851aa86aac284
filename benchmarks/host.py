"""What the host does per row while a guard scores rollouts: milliseconds per stage, before and after a change.

    python benchmarks/host.py                                   # this checkout, the tiny guard's tokenizer
    python benchmarks/host.py --guard Qwen/Qwen3Guard-Gen-0.6B  # a real tokenizer and template; weights are not used
    python benchmarks/host.py --guard FOLDER --before v0.1.0    # against another commit, taking turns in one run
    python benchmarks/host.py --guard FOLDER --cores 1 2        # does encoding use a second core?

One call of `GuardReward` over rollouts in groups of one prompt. The device is left out: a runner that computes nothing
says a safe verdict for every row, passes are planned as for a GPU, and what would run or wait on the device (the
forward, moving the plan there, reading logits) is not counted. Each version and number of cores runs in a process of
its own, which is held to so many cores; the stages run one after the other, without the overlap of a real call, so that
their times add up. Compared with the raw tokenizer: one batched call of it over the same rendered texts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # so that it runs from anywhere

from earlier_commit import earlier_package  # noqa: E402

MOST_SECONDS = 600  # for one measurement


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a Markdown table, write JSON."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory() as folder:
        checkouts = {"after" if options.before else "now": HERE.parent}
        if options.before:
            checkouts = {"before": earlier_package(options.before, Path(folder)), **checkouts}
        cells = [(version, cores) for cores in options.cores for version in checkouts]
        runs: dict[tuple[str, int], list[dict[str, float]]] = {cell: [] for cell in cells}
        for number in range(options.rounds):
            for version, cores in cells:  # in turns: a shared machine's speed changes
                print(f"round {number + 1} of {options.rounds}: {version}, cores: {cores}", file=sys.stderr, flush=True)
                runs[version, cores].append(_measure(checkouts[version], cores, options))
    table = {cell: _median(rounds) for cell, rounds in runs.items()}
    print(_markdown(table, options))
    if options.json:
        numbers = [{"version": version, "cores": cores, **row} for (version, cores), row in table.items()]
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(numbers, indent=1) + "\n")
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--guard", default="", help="hub id or folder with a guard's tokenizer (default: the tiny guard's)")
    add("--before", metavar="REF", help="a commit of this repository to compare with")
    add("--rows", type=int, default=1024)
    add("--group-size", type=int, default=8, metavar="G", help="completions per prompt (default: 8)")
    add("--tokens", type=int, default=500, metavar="N", help="tokens of the guard's input, about (default: 500)")
    add("--cores", nargs="+", type=int, default=[1], metavar="N", help="numbers of cores to try (default: 1)")
    add("--rounds", type=int, default=3)
    add("--json", type=Path, metavar="FILE", help="write the numbers here")
    options = parser.parse_args(arguments)
    available = len(os.sched_getaffinity(0))
    if not all(1 <= cores <= available for cores in options.cores):
        parser.error(f"--cores: this process may use 1 to {available} cores")
    return options


def _measure(checkout: Path, cores: int, options: argparse.Namespace) -> dict[str, float]:
    """Milliseconds per row of each stage, in a process of its own."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(checkout),
        "OMP_NUM_THREADS": "1",
        "RAYON_NUM_THREADS": str(cores),
        "TOKENIZERS_PARALLELISM": "true" if cores > 1 else "false",
    }
    work = {"guard": options.guard, "rows": options.rows, "group": options.group_size, "tokens": options.tokens}
    command = [sys.executable, str(HERE / "host_stages.py"), json.dumps({**work, "cores": cores})]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=MOST_SECONDS, cwd=HERE.parent
    )
    if done.returncode:
        sys.exit(f"host.py: the measurement of {checkout} failed:\n{done.stderr[-4000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _median(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {stage: statistics.median(found[stage] for found in rounds) for stage in rounds[0]}


def _markdown(table: dict[tuple[str, int], dict[str, float]], options: argparse.Namespace) -> str:
    """A row per stage, a column per version and number of cores."""
    columns = list(table.values())
    stages = [*dict.fromkeys(stage for column in columns for stage in column)]
    tokens = columns[0]["tokens"]
    heads = [f"{version}, {cores} core{'s' * (cores > 1)}" for version, cores in table]
    lines = [
        f"{options.rows} rows, groups of {options.group_size}, {tokens:.0f} tokens a row, "
        f"median of {options.rounds} rounds, ms per row",
        "",
        f"| stage | {' | '.join(heads)} |",
        f"|---|{'---|' * len(heads)}",
    ]
    for stage in stages:
        if stage != "tokens":
            lines.append(f"| {stage} | {' | '.join(_number(column.get(stage)) for column in columns)} |")
    ratios = [column["encoding"] / column["raw tokenizer, batched"] for column in columns]
    lines.append(f"| encoding / raw tokenizer | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |")
    return "\n".join(lines)


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main())
