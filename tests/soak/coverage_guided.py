"""A coverage-guided pass over all targets, with atheris if it is installed: what reaches new code is varied further.

python -m tests.soak.coverage_guided [--target NAME] [--runs 20000] [--seconds 120] [--workers 2]
python -m tests.soak.coverage_guided --target NAME --again FILE       one input that libFuzzer wrote to a file

Each target runs in a process of its own, since libFuzzer ends its process.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.soak.chunk import DEADLINE
from tests.soak.target import load_targets

__all__ = ["WRITTEN", "Choices", "Pass", "read_log"]

WRITTEN = "written"
"""The pass in which the fuzzer writes a text itself, and not the choices of which a target makes it."""

_WORDS = Path(__file__).with_name("answers.dict")
_MOST_BYTES = 4096
_COVERED = re.compile(r"^#\d+\s+\S+\s+cov: (\d+)", re.MULTILINE)
_DONE = re.compile(r"^Done (\d+)(?: runs)? in ", re.MULTILINE)
_CRASH = re.compile(r"Test unit written to (\S+)")


class Choices(Random):
    """A source of chance whose bits are the fuzzer's bytes; behind their end, those of a generator that they seed.

    >>> Choices(b"\\x02\\x01").choices("abcd", k=2) == Choices(b"\\x02\\x01").choices("abcd", k=2)
    True
    >>> Choices(b"\\x02").randrange(4)
    2
    """

    def __init__(self, data: bytes):
        super().__init__(0)
        self._data, self._at, self._rest = data, 0, Random(data)

    def getrandbits(self, k: int, /) -> int:
        """`k` bits: of as few whole bytes as hold them."""
        chosen = self._data[self._at : self._at + (k + 7) // 8]
        self._at += len(chosen)
        if len(chosen) < (k + 7) // 8:
            return self._rest.getrandbits(k)
        return int.from_bytes(chosen, "little") & ((1 << k) - 1)

    def random(self) -> float:
        """Two bytes are enough for a choice between kinds."""
        return self.getrandbits(16) / 2**16


@dataclass(frozen=True)
class Pass:
    """What became of one target.

    Attributes:
        inputs: how many were checked; `None` if the process ended before it said so.
        covered: edges of the code that the first input reached, and all together.
        crash: the file with the input that broke a promise.
    """

    inputs: int | None
    covered: tuple[int, int]
    crash: str | None

    @property
    def failed(self) -> bool:
        """A promise is broken, or the process did not come to its end."""
        return self.crash is not None or self.inputs is None


def read_log(log: str) -> Pass:
    """What libFuzzer says of a pass."""
    covered = [int(count) for count in _COVERED.findall(log)] or [0]
    done, crash = _DONE.search(log), _CRASH.search(log)
    return Pass(int(done[1]) if done else None, (covered[0], covered[-1]), crash[1] if crash else None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pass; say so if it cannot be run. 1 if a promise is broken."""
    options = _parser().parse_args(arguments)
    if importlib.util.find_spec("atheris") is None:
        print("not run: the coverage-guided pass: it needs atheris (pip install atheris)")
        return 0
    names = [WRITTEN, *load_targets()]
    if options.target is not None and options.target not in names:
        raise SystemExit(f"--target: there is no {options.target!r}; there are {', '.join(names)}")
    if options.again is not None:
        if options.target is None:
            raise SystemExit("--again: name its --target")
        _fuzz(options.target, [str(options.again)])
    chosen = names if options.target is None else [options.target]
    print(f"{'coverage-guided':<24}{'inputs':>10}{'edges, first input → all':>28}")
    with ThreadPoolExecutor(options.workers) as pool:
        return int(any(list(pool.map(lambda name: _run(name, options.runs, options.seconds), chosen))))


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m tests.soak.coverage_guided", description=__doc__, formatter_class=formatter
    )
    parser.add_argument("--target", metavar="NAME", help="only this one")
    parser.add_argument("--runs", type=int, default=20_000, help="inputs of each target (default: 20000)")
    parser.add_argument("--seconds", type=int, default=120, help="after which a target ends (default: 120)")
    parser.add_argument("--workers", type=int, default=2, help="targets at the same time (default: 2)")
    parser.add_argument("--again", type=Path, metavar="FILE", help="check this input of the target again")
    return parser


def _run(name: str, runs: int, seconds: int) -> bool:
    """One target in a process of its own; whether it failed."""
    code = (
        f"from tests.soak.coverage_guided import _fuzz; _fuzz({name!r}, ['-runs={runs}', '-max_total_time={seconds}'])"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryFile("w+", errors="backslashreplace") as log:
        command = [sys.executable, "-c", code]
        with suppress(subprocess.TimeoutExpired):  # the log has no end then, so the pass has failed
            subprocess.run(command, stdout=log, stderr=log, env=environment, timeout=2 * seconds + 120, check=False)
        log.seek(0)
        text = log.read()
    if missing := re.search(r"^not run: (.*)$", text, re.MULTILINE):
        print(f"{name:<24}not run: {missing[1]}", flush=True)
        return False
    result = read_log(text)
    edges = f"{result.covered[0]:,} → {result.covered[1]:,}"
    print(f"{name:<24}{result.inputs or 0:>10,}{edges:>28}{'  failed' if result.failed else ''}", flush=True)
    if result.failed:
        print(text[-3000:])
    if result.crash:
        print(f"  again: python -m tests.soak.coverage_guided --target {name} --again {result.crash}", flush=True)
    return result.failed


def _fuzz(name: str, options: Sequence[str]) -> None:
    """Hand this process to libFuzzer."""
    import atheris

    from tests.soak.target import Unavailable

    with atheris.instrument_imports(include=["guard_reward"]):
        try:
            check = _text_check(atheris) if name == WRITTEN else _target_check(name)
        except Unavailable as error:
            sys.exit(f"not run: {error}")
    fixed = [
        f"-max_len={_MOST_BYTES}",
        f"-dict={_WORDS}",
        f"-timeout={5 * DEADLINE:.0f}",
        "-rss_limit_mb=6000",
        "-seed=1",
    ]
    atheris.Setup([sys.argv[0], *fixed, *options], check)
    atheris.Fuzz()


def _target_check(name: str) -> Callable[[bytes], None]:
    """The fuzzer's bytes are the choices of which the target makes its input."""
    target = load_targets()[name]
    target.prepare()
    return lambda data: target.check(target.make(Choices(data)))


def _text_check(atheris: Any) -> Callable[[bytes], None]:
    """The fuzzer's bytes are a text: a guard's answer, a completion, a reply with other forms, a log's line."""
    from tests.soak.targets import answers, forms, redaction, thinking, typed_marks

    families = list(answers.SPECS)
    checks = {
        target.name: target.check for it in (answers, forms, redaction, thinking, typed_marks) for target in it.TARGETS
    }

    def check(data: bytes) -> None:
        source = atheris.FuzzedDataProvider(data)
        family, flag = families[source.ConsumeIntInRange(0, len(families) - 1)], source.ConsumeBool()
        text = source.ConsumeUnicode(400)
        checks["answers"](answers.Answer(family, flag, text, None))
        checks["thinking"](thinking.Completion(text, flag))
        checks["forms"](forms.Reply(text, 40, 0.25))
        checks["typed-marks"](typed_marks.Message(family, text, forged=False))
        checks["redaction-texts"](text)

    return check


if __name__ == "__main__":
    sys.exit(main())
