"""What several test files need: the environment of the tests, the shared data, a tiny guard."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before anything imports a library that reads them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_SILENT"] = "true"
# trackio reads its folder when it is imported, and TRL imports it; the default is in the user's home.
if "PYTEST_XDIST_WORKER" not in os.environ:  # a worker has that of the process that started it
    os.environ["TRACKIO_DIR"] = tempfile.mkdtemp(prefix="trackio-")
# Idle OpenMP threads that spin make every other process on the same cores many times slower.
os.environ["OMP_WAIT_POLICY"] = "passive"
# A server that is gone is not asked again after seconds.
os.environ["MODELSCOPE_REPO_TREE_PAGE_MAX_ATTEMPTS"] = "1"

import pytest

from tests.browser import NAMES, find_chromium

REPOSITORY = Path(__file__).resolve().parents[1]
if "PYTEST_XDIST_WORKER" not in os.environ:
    atexit.register(shutil.rmtree, os.environ["TRACKIO_DIR"], ignore_errors=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: begun last, a long file would keep one worker busy while the others have no work."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout's root."""
    return REPOSITORY


@pytest.fixture(scope="session")
def whole_tables() -> bool:
    """Whether the largest tables are tried as a whole (`make test-whole`) and not a share of them."""
    return os.environ.get("GUARD_REWARD_WHOLE_TABLES") == "1"


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Public data and the real Qwen3Guard tokenizer, beside the checkout; tests that need it are skipped without it."""
    path = REPOSITORY.parent / "shared"
    if not path.is_dir():
        pytest.skip("needs the folder ../shared")
    return path


@pytest.fixture(scope="session")
def qwen_tokenizer(shared_dir: Path) -> Any:
    """The tokenizer of Qwen3Guard-Gen with its chat template."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(shared_dir / "qwen3guard")


@pytest.fixture(scope="session")
def tiny_guard() -> Any:
    """A real generative guard of the tiny world, as it comes with the package."""
    from guard_reward.tiny import load_tiny_guard

    return load_tiny_guard()


@pytest.fixture(scope="session")
def tiny_stream_guard() -> Any:
    """A real stream guard of the tiny world, as it comes with the package."""
    from guard_reward.tiny import load_tiny_stream_guard

    return load_tiny_stream_guard()


@pytest.fixture(scope="module")  # while playwright is open, no other test of the process can run an event loop
def browser() -> Iterator[Any]:
    """A real browser without a window; see `tests.browser`."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = find_chromium()
    if program is None:
        pytest.skip(f"needs a browser (apt-get install chromium): one of {', '.join(NAMES)}")
    with playwright.sync_playwright() as tools:
        started = tools.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def modelscope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A ModelScope hub on this machine, empty, and its client with an empty cache; see `tests.local_modelscope`."""
    client = pytest.importorskip("modelscope_hub")
    from tests.local_modelscope import Hub

    with Hub(tmp_path / "modelscope") as hub:
        for name, value in hub.environment.items():
            monkeypatch.setenv(name, value)
        client.set_default_config(None)  # read from the environment, once
        yield hub
    client.set_default_config(None)
