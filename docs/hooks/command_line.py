"""The page reference/command-line.md: what `--help` says, of every command. Importing the commands loads no torch."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import typer
from mkdocs.structure.files import File
from typer.cli import get_docs_for_click

PAGE = "reference/command-line.md"


def on_files(files: Any, config: Any) -> Any:
    """Add the page."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from guard_reward.cli import app

    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command, info_name=app.info.name), name=str(app.info.name))
    text = re.sub(r"\*\*Commands\*\*:\n\n.*?(?=\n## )", "", text, flags=re.DOTALL)  # the page's contents list them
    text = re.sub(r"\{([A-Z]+)\}", r"\1", text)
    files.append(File.generated(config, PAGE, content=text.replace("# `guard-reward`", "# Command line", 1)))
    return files
