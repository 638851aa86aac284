"""The machine's Chromium, without a window: what a page asks the network for is recorded and refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """The program's path."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@dataclass
class Visit:
    """An open page, and what happened on it.

    Attributes:
        page: playwright's.
        requests: addresses that the page asked for, other than its own file.
        errors: what the console says is wrong, and exceptions.
    """

    page: Any
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@contextmanager
def open_page(browser: Any, path: Path, fragment: str = "", **options: Any) -> Iterator[Visit]:
    """Open a file in a fresh profile.

    Args:
        browser: playwright's.
        path: of the file.
        fragment: with its ``#``.
        **options: of the profile, such as ``viewport`` or ``color_scheme``.
    """
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
    try:
        visit = Visit(context.new_page())
        own = path.resolve().as_uri()

        def route(route: Any) -> None:
            if route.request.url.partition("#")[0] == own:
                route.continue_()
            else:
                visit.requests.append(route.request.url)
                route.abort()

        context.route("**/*", route)
        visit.page.on(
            "console", lambda message: message.type in ("error", "warning") and visit.errors.append(message.text)
        )
        visit.page.on("pageerror", lambda error: visit.errors.append(str(error)))
        visit.page.on("dialog", lambda dialog: (visit.errors.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        visit.page.goto(own + fragment)
        yield visit
    finally:
        context.close()
