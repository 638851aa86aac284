"""Shell on the pages: commands and recipes are parsed by their own parsers; targets, files and extras are there."""

from __future__ import annotations

import pkgutil
import re
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest
import typer

from guard_reward.cli import app
from guard_reward.errors import UserError
from tests.docs.pages import PAGES, REPOSITORY, blocks, commands, read
from tests.docs.recipes import parse_with

COMMANDS = [
    pytest.param(words, id=f"{block}: {' '.join(words)[:60]}")
    for page in PAGES
    for block in blocks(page, "bash", "sh", "shell", "console")
    for words in commands(block.code)
]
# Programs of others, whose options are not ours to check.
OTHERS = {"bash", "cd", "export", "inspect", "lm_eval", "tensorboard", "trackio", "trl", "vllm", "wandb"}
OURS = typer.main.get_command(app)
UsageError = typer.BadParameter.__base__
SCRIPT = re.compile(r"(recipes|benchmarks)/\w+\.py")


def check(words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One command, by who would read it."""
    files = [REPOSITORY / word for word in words if re.match(r"(recipes|configs|benchmarks)/.", word)]
    assert [file for file in files if not file.exists()] == []
    for word in words:
        if re.fullmatch(r"guard_reward(\.\w+)+", word):
            pkgutil.resolve_name(word)
    program, *arguments = words
    scripts = [word for word in words if SCRIPT.fullmatch(word)]
    if program == "guard-reward":
        check_guard_reward(arguments, monkeypatch, tmp_path)
    elif program == "make":
        makefile = (REPOSITORY / "Makefile").read_text()
        assert all(re.search(rf"^{word}:", makefile, re.MULTILINE) for word in arguments if "=" not in word), arguments
    elif program == "pip":
        check_extras(arguments)
    elif program in ("python", "accelerate") and scripts:
        options = words[words.index(scripts[0]) + 1 :]
        (parse_with if scripts[0].startswith("recipes") else check_benchmark)(scripts[0], options)
    else:
        assert program in OTHERS or program.startswith(".venv/bin/"), f"what is {program}?"


def check_guard_reward(arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The real parser takes it: no unknown option, no missing argument, no value of the wrong type."""
    monkeypatch.chdir(tmp_path)
    for word in arguments:
        if re.search(r"^[\w./-]+\.(jsonl|csv|parquet|json|yaml)$", word):  # a file to read has to be there
            Path(word).parent.mkdir(parents=True, exist_ok=True)
            Path(word).touch()
    name, *options = arguments
    assert name in OURS.commands
    with suppress(typer.Exit):  # --help
        OURS.commands[name].make_context(f"guard-reward {name}", options)


def check_benchmark(script: str, options: list[str]) -> None:
    """The script names each option."""
    source = (REPOSITORY / script).read_text()
    assert [word for word in options if word.startswith("--") and f'"{word}"' not in source] == []


def check_extras(arguments: list[str]) -> None:
    """pip is asked for extras that there are."""
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    asked = {extra for word in arguments for names in re.findall(r"\[(.+)\]", word) for extra in names.split(",")}
    assert asked <= set(extras)


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_is_one_that_there_is(words, monkeypatch, tmp_path):
    check(words, monkeypatch, tmp_path)


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_sentences_are_ones_that_there_are(page):
    makefile = (REPOSITORY / "Makefile").read_text()
    for program, name in re.findall(r"`(make|guard-reward) ([a-z][\w-]*)", read(page)):
        assert f"\n{name}:" in makefile if program == "make" else name in OURS.commands, name


@pytest.mark.parametrize(
    "line",
    [
        "guard-reward moderate in.jsonl out.jsonl --gard x",  # an option that is not
        "guard-reward moderate in.jsonl",  # a missing argument
        "guard-reward moderate in.jsonl out.jsonl --judge everything",  # a value that is not
        "guard-reward modrate in.jsonl out.jsonl",
        "trl grpo --reward_funcs guard_reward.presets.guard_onli",
        "make everything",
        "pip install 'guard-reward[magic]'",
        "accelerate launch --config_file configs/accelerate/zero9.yaml recipes/grpo.py",
        "python recipes/grpo.py --config configs/grpo_tiny.yaml --schema hybrid",
        "python benchmarks/stream.py --parts ppo",
        "guard-rewards moderate in.jsonl out.jsonl",
    ],
)
def test_a_wrong_command_is_found(line, monkeypatch, tmp_path):
    (words,) = commands(line)
    with pytest.raises((AssertionError, AttributeError, UserError, UsageError)):
        check(words, monkeypatch, tmp_path)
