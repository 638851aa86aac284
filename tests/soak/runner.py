"""Millions of inputs over all targets, in several processes, within a time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from importlib import import_module
from itertools import zip_longest
from multiprocessing import get_context

from tests.soak.chunk import Failure, Tally, run_chunk
from tests.soak.target import Target, Unavailable

__all__ = ["available", "failures", "run", "shares"]

_CHUNKS = 200  # per target, at least: so that every target has its share when the time is over
_MOST = 1000  # inputs of a chunk

Job = tuple[str, range]


def available(targets: Mapping[str, Target]) -> tuple[dict[str, Target], dict[str, str]]:
    """The targets that can run here; and the others, with what is missing."""
    missing: dict[str, str] = {}
    for name, target in targets.items():
        try:
            target.prepare()
        except Unavailable as error:
            missing[name] = str(error)
    return {name: target for name, target in targets.items() if name not in missing}, missing


def shares(targets: Mapping[str, Target], inputs: int) -> dict[str, int]:
    """How many of the inputs each target gets: by its share, at least one, together at least `inputs`."""
    total = sum(target.share for target in targets.values())
    return {name: -(-inputs * target.share // total) for name, target in targets.items()}


def run(
    targets: Mapping[str, Target],
    seed: int,
    inputs: int,
    *,
    first: int = 0,
    workers: int = 1,
    minutes: float | None = None,
    on_progress: Callable[[int], object] = lambda count: None,
) -> dict[str, Tally]:
    """Check inputs of all targets.

    Args:
        targets: by name; with several workers, those in the ``TARGETS`` of modules.
        seed: of the run.
        inputs: of all targets together.
        first: index of each target's first input.
        workers: processes; with 1, this process itself.
        minutes: after which the run ends, complete or not.
        on_progress: is told how many inputs more have been checked.
    """
    stop_at = None if minutes is None else time.time() + 60 * minutes
    tallies = {name: Tally() for name in targets}
    jobs = _jobs(shares(targets, inputs), first)
    if workers > 1:
        _run_in_processes(targets, jobs, seed, stop_at, workers, tallies, on_progress)
        return tallies
    for name, indices in jobs:
        tally = run_chunk(targets[name], seed, indices, stop_at=stop_at)
        tallies[name].add(tally)
        on_progress(tally.inputs)
    return tallies


def _jobs(counts: Mapping[str, int], first: int) -> Iterator[Job]:
    """All inputs in chunks, the targets in turn."""
    for jobs in zip_longest(*(_chunks(name, count, first) for name, count in counts.items())):
        yield from filter(None, jobs)


def _chunks(name: str, count: int, first: int) -> list[Job]:
    size = min(max(count // _CHUNKS, 1), _MOST)
    return [(name, range(first + begin, first + min(begin + size, count))) for begin in range(0, count, size)]


def _run_in_processes(
    targets: Mapping[str, Target],
    jobs: Iterator[Job],
    seed: int,
    stop_at: float | None,
    workers: int,
    tallies: dict[str, Tally],
    on_progress: Callable[[int], object],
) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        running: dict[Future[Tally], Job] = {}
        for job in jobs:
            module = targets[job[0]].check.__module__
            running[pool.submit(_run_named, module, *job, seed, stop_at)] = job
            while len(running) > 2 * workers:
                _collect(running, tallies, on_progress)
            if stop_at is not None and time.time() >= stop_at:
                break
        while running:
            _collect(running, tallies, on_progress)


def _collect(
    running: dict[Future[Tally], Job], tallies: dict[str, Tally], on_progress: Callable[[int], object]
) -> None:
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        name, indices = running.pop(future)
        try:
            tally = future.result()
        except BrokenProcessPool as error:
            others = [indices, *(other for _, other in running.values())]
            raise SystemExit(f"a process ended while it ran {_places(name, others)}; see its traceback") from error
        tallies[name].add(tally)
        on_progress(tally.inputs)


def _places(name: str, ranges: Sequence[range]) -> str:
    return f"{name} or another target, in one of the inputs {', '.join(map(str, ranges))}"


@cache
def _prepared(module: str, name: str) -> Target:
    """In a new process: a target of this module, ready to run; the other modules are not imported."""
    target: Target = next(target for target in import_module(module).TARGETS if target.name == name)
    target.prepare()
    return target


def _run_named(module: str, name: str, indices: range, seed: int, stop_at: float | None) -> Tally:
    return run_chunk(_prepared(module, name), seed, indices, stop_at=stop_at)


def failures(tallies: Mapping[str, Tally]) -> list[tuple[str, Failure]]:
    """All kinds of failures with their targets."""
    return [(name, failure) for name, tally in tallies.items() for failure in tally.failures]
