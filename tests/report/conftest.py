"""A page over two runs, open in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import Visit, open_page
from tests.report.sample_runs import two_runs


@pytest.fixture(scope="module")
def page_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("plotly")
    from guard_reward.report import write_runs_page

    path = tmp_path_factory.mktemp("browser") / "report.html"
    summary = ["It became safer.", "It costs little.", "Nothing is in doubt."]
    return write_runs_page(path, two_runs(), title="Two runs", summary=summary, differences=[("scheme", ["a", "b"])])


@pytest.fixture(scope="module")
def opened(browser: Any, page_path: Path) -> Iterator[Visit]:
    with open_page(browser, page_path) as visit:
        yield visit


@pytest.fixture
def page(opened: Visit) -> Iterator[Any]:
    """The page without a filter; after each test it has asked for nothing and complained about nothing."""
    opened.page.evaluate("location.hash = ''; document.activeElement.blur(); scrollTo(0, 0)")
    opened.page.emulate_media(color_scheme="light", media="screen")
    yield opened.page
    assert opened.requests == []
    assert opened.errors == []
