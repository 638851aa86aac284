"""A soak: generated inputs against the promises of parsers, readers, prompting, packing, resuming and configs.

python -m tests.soak [--inputs 1000000] [--seed 0] [--minutes 30] [--workers 2] [--target NAME] [--json FILE]
python -m tests.soak --target NAME --seed 0 --index 1234        one input again, with the traceback of its failure
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")

from guard_reward.progress_bars import progress_bar
from tests.soak.chunk import Tally
from tests.soak.runner import available, failures, run, shares
from tests.soak.target import Target, load_targets

_HEADER = f"{'target':<24}{'inputs':>10}{'inputs/s':>10}{'failures':>10}{'slowest':>12}"


def main(arguments: Sequence[str] | None = None, targets: Mapping[str, Target] | None = None) -> int:
    """Run the soak; 1 if a promise is broken.

    Args:
        arguments: of the command line.
        targets: by name; by default all.
    """
    options = _parser().parse_args(arguments)
    known = load_targets() if targets is None else targets
    if options.target is not None and options.target not in known:
        raise SystemExit(f"--target: there is no {options.target!r}; there are {', '.join(known)}")
    chosen = known if options.target is None else {options.target: known[options.target]}
    if options.index is not None and options.target is None:
        raise SystemExit("--index: name its --target")
    chosen, missing = available(chosen)
    for name, reason in missing.items():
        print(f"not run: {name}: {reason}")
    if not chosen:
        return 1
    inputs = 1 if options.index is not None else options.inputs
    began = time.time()
    with progress_bar(sum(shares(chosen, inputs).values()), "soak", "input", shown=inputs > 1) as bar:
        tallies = run(
            chosen,
            options.seed,
            inputs,
            first=options.index or 0,
            workers=1 if options.index is not None else options.workers,
            minutes=options.minutes,
            on_progress=bar.update,
        )
    _show(tallies, options.seed, time.time() - began)
    if options.json is not None:
        _write(options.json, tallies, missing, options.seed, time.time() - began)
    return int(any(tally.failed for tally in tallies.values()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.soak", description=__doc__, formatter_class=_Help)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, help="the run ends after these")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--target", metavar="NAME", help="only this one")
    parser.add_argument("--index", type=int, metavar="I", help="only this input of the target")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    return parser


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keeps the examples' line breaks, and shows defaults."""


def _show(tallies: Mapping[str, Tally], seed: int, seconds: float) -> None:
    print(_HEADER)
    for name, tally in tallies.items():
        rate = tally.inputs / tally.seconds if tally.seconds else 0.0
        print(f"{name:<24}{tally.inputs:>10,}{rate:>10,.0f}{tally.failed:>10,}{tally.slowest[0] * 1000:>9,.0f} ms")
    inputs, failed = (sum(getattr(tally, name) for tally in tallies.values()) for name in ("inputs", "failed"))
    print(f"{'together':<24}{inputs:>10,}{inputs / max(seconds, 1e-9):>10,.0f}{failed:>10,}{seconds / 60:>9.1f} min")
    for name, failure in failures(tallies):
        print(f"\n{name}: {failure.error}\n  input {failure.input}\n{failure.trace.rstrip()}")
        print(f"  again: python -m tests.soak --target {name} --seed {seed} --index {failure.index}")


def _write(path: Path, tallies: Mapping[str, Tally], missing: Mapping[str, str], seed: int, seconds: float) -> None:
    found = {
        "seed": seed,
        "inputs": sum(tally.inputs for tally in tallies.values()),
        "failed": sum(tally.failed for tally in tallies.values()),
        "minutes": round(seconds / 60, 2),
        "targets": {name: asdict(tally) for name, tally in tallies.items()},
        "not_run": dict(missing),
    }
    path.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
