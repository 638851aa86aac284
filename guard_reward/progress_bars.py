"""Progress bars with the remaining time: a bar on a terminal and in a notebook, a plain line now and then elsewhere.

    with progress_bar(1000, "moderate", "row") as bar:
        bar.update(20)

A bar redraws itself with carriage returns. In a file or a pipe these make one line of megabytes, so there the same
text is written as whole lines, one per half minute.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["are_hidden", "draws_bars", "hidden", "progress_bar"]

_SECONDS_BETWEEN_LINES = 30.0
_LINE = "{desc}: {n_fmt}/{total_fmt} {unit}s, {elapsed} passed, {remaining} left, {rate_fmt}{postfix}"
_hidden = ContextVar("hidden", default=False)


def progress_bar(
    total: int | None,
    label: str,
    unit: str,
    *,
    done: int = 0,
    shown: bool = True,
    leave: bool = True,
    seconds_between_lines: float = _SECONDS_BETWEEN_LINES,
) -> tqdm[Any]:
    """A bar of tqdm on standard error.

    Args:
        total: how many there are.
        label: in front.
        unit: what is counted, in the singular.
        done: how many are done already.
        shown: False for a bar that shows nothing, as all are inside `hidden`.
        leave: whether the bar stays when it is full.
        seconds_between_lines: between two lines, where there is no terminal; the last line always comes.
    """
    from tqdm.auto import tqdm as on_screen
    from tqdm.std import tqdm as in_file

    options: dict[str, Any] = {
        "total": total,
        "desc": label,
        "unit": unit,
        "initial": done,
        "disable": not shown or are_hidden(),
    }
    if draws_bars():
        return on_screen(**options, leave=leave, **_size())
    lines = {"file": _Lines(sys.stderr), "mininterval": seconds_between_lines, "bar_format": _LINE}
    bar = in_file(**options, **lines, leave=True, delay=1e-6)  # delay: no line before anything is done,
    bar.delay = 0  # … but one at the end, however soon it comes
    return bar


@contextmanager
def hidden(quiet: bool = True) -> Iterator[None]:
    """No bars inside, if `quiet`: the ``--quiet`` of commands whose bars are made far below."""
    token = _hidden.set(quiet or are_hidden())
    try:
        yield
    finally:
        _hidden.reset(token)


def are_hidden() -> bool:
    """Whether this is inside `hidden`."""
    return _hidden.get()


def draws_bars() -> bool:
    """Whether standard error can redraw a line: it is a terminal, or the output of a notebook's cell."""
    from tqdm.auto import tqdm as on_screen
    from tqdm.std import tqdm as in_terminal

    in_notebook = on_screen.display is not in_terminal.display
    return in_notebook or sys.stderr.isatty()


def _size() -> dict[str, Any]:
    """tqdm draws nothing on a terminal that says it has 0 columns or lines, as one does that nobody gave a size."""
    try:
        columns, lines = os.get_terminal_size(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):  # a notebook
        columns = lines = 0
    return {"dynamic_ncols": True} if columns and lines else {"ncols": columns or 80, "nrows": lines or 24}


class _Lines:
    """A text stream that makes whole lines of what tqdm writes to redraw one."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._last = ""

    def write(self, text: str) -> None:
        line = text.strip()
        if line and line != self._last:
            self._stream.write(f"{line}\n")
            self._stream.flush()
            self._last = line

    def flush(self) -> None:
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
