"""The shape of the code: short functions, short files, and a package that is light to import."""

from __future__ import annotations

import ast

import pytest

from tests.processes import imported_by

FOLDERS = ("guard_reward", "tests", "benchmarks", "recipes")
MAX_FUNCTION_LINES, MAX_FILE_LINES = 60, 400
HEAVY = ("torch", "transformers", "trl", "numpy", "datasets")


@pytest.fixture(scope="module")
def sources(repository):
    return {path: path.read_text() for folder in FOLDERS for path in sorted((repository / folder).rglob("*.py"))}


def test_no_file_is_long(sources, repository):
    lengths = {str(path.relative_to(repository)): text.count("\n") for path, text in sources.items()}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def test_no_function_is_long(sources, repository):
    long = {}
    for path, text in sources.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if lines >= MAX_FUNCTION_LINES:
                    long[f"{path.relative_to(repository)}: {node.name}"] = lines
    assert long == {}


@pytest.mark.parametrize(
    "code",
    [
        "from guard_reward import Guard, GuardSpec, schemes",
        "from guard_reward import Verdict, Severity, Category, Outcome, parse_verdict, Rollout, Assessment",
        "import guard_reward.guards",
        "import guard_reward.rewards",
        "import guard_reward.launch, guard_reward.prompts, guard_reward.trainers, guard_reward.tiny",
    ],
)
def test_importing_loads_no_torch(code):
    heavy, seconds = imported_by(code, HEAVY)
    assert heavy == []
    assert seconds < 0.3  # measured: 0.05
