"""Several runs of the recipes in one launch: what a test starts under ``accelerate launch``.

    accelerate launch --config_file … tests/recipes/phases.py PHASES.json

The file holds a list of command lines, the recipe's path first. Each runs as its own ``__main__``, as Python would run
it; what is shared is the import of the libraries, which takes longer than any of the runs, and the process group.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

from accelerate import Accelerator


def main() -> None:
    end = Accelerator.end_training
    Accelerator.end_training = lambda self: None  # DeepSpeed cannot live with a second process group
    commands = json.loads(Path(sys.argv[1]).read_text())
    for index, command in enumerate(commands):
        if index == len(commands) - 1:
            Accelerator.end_training = end
        sys.argv = command
        runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    main()
