"""A coverage-guided pass over the answer parser and the think tags, with atheris if it is installed.

python -m tests.soak.coverage_guided [RUNS]

What breaks a promise ends the pass with its traceback, and libFuzzer writes the input to a file ``crash-…``.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

RUNS = 100_000
_WORDS = Path(__file__).with_name("answers.dict")


def main() -> None:
    """Run the pass; say so if it cannot be run."""
    if importlib.util.find_spec("atheris") is None:
        print("not run: the coverage-guided pass: it needs atheris (pip install atheris)")
        return
    import atheris

    with atheris.instrument_imports(include=["guard_reward.guards", "guard_reward.thinking", "guard_reward.rollout"]):
        from tests.soak.targets import answers, thinking

    families = list(answers.SPECS)

    def check(data: bytes) -> None:
        source: Any = atheris.FuzzedDataProvider(data)
        family, flag = families[source.ConsumeIntInRange(0, len(families) - 1)], source.ConsumeBool()
        text = source.ConsumeUnicode(400)
        answers.TARGETS[0].check(answers.Answer(family, flag, text, None))
        thinking.TARGETS[0].check(thinking.Completion(text, flag))

    runs = sys.argv[1] if len(sys.argv) > 1 else str(RUNS)
    atheris.Setup([sys.argv[0], f"-atheris_runs={runs}", "-max_len=400", f"-dict={_WORDS}"], check)
    print(f"coverage-guided: {runs} inputs")
    atheris.Fuzz()


if __name__ == "__main__":
    main()
