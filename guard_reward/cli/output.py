"""What all commands do alike: load the guard, report errors, write the JSON file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from guard_reward.errors import LOADING_ERRORS, UserError, clean_errors, first_paragraph
from guard_reward.files import naming, replacing

if TYPE_CHECKING:
    from guard_reward.evaluation.policies.replies import Policy
    from guard_reward.verdict import Guard

__all__ = [
    "STANDARD_OUTPUT",
    "load_guard",
    "load_policy",
    "local_options",
    "one_line_errors",
    "printable",
    "results_alone",
    "write_json",
]

STANDARD_OUTPUT = Path("-")
_standard_output: ContextVar[TextIO | None] = ContextVar("_standard_output", default=None)


def one_line_errors(status: int = 1) -> AbstractContextManager[None]:
    """Report a user's mistake in one line and exit with `status`; bugs keep their traceback."""
    return clean_errors("guard-reward", status=status)


def load_guard(source: str, /, **options: Any) -> Guard:
    """Load the guard of a command, with the options of `guard_reward.load_guard` that are not None.

    Raises:
        UserError: a wrong name, folder, URL, device or dtype; an option that this kind of guard does not have.
    """
    import guard_reward

    try:
        guard: Guard = guard_reward.load_guard(
            source, **{name: value for name, value in options.items() if value is not None}
        )
        return guard
    except LOADING_ERRORS as error:
        raise UserError(f"the guard {source!r} could not be loaded: {first_paragraph(error)}") from error


def local_options(source: str, **options: Any) -> dict[str, Any]:
    """Options of a model in this process, such as its device; none for a served one, whose server decides that."""
    from guard_reward.guards.loading import is_served

    return {} if is_served(source) else options


def load_policy(source: str, /, *, thinking: str | None, **options: Any) -> Policy:
    """Load the policy of a command, with the options of `evaluation.policies.loading.load_policy` that are not None.

    Raises:
        UserError: a wrong name, folder, URL, device or dtype; an option that this kind of policy does not have.
    """
    from guard_reward.evaluation.policies import loading as policies

    options["template_kwargs"] = policies.template_kwargs_of(thinking)
    try:
        return policies.load_policy(source, **{name: value for name, value in options.items() if value is not None})
    except LOADING_ERRORS as error:
        raise UserError(f"the policy {source!r} could not be loaded: {first_paragraph(error)}") from error


@contextmanager
def results_alone() -> Iterator[None]:
    """Keep standard output for `write_json`; what else is printed goes to standard error."""
    before = _standard_output.set(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _standard_output.reset(before)


def write_json(path: Path | None, results: Any) -> None:
    """Write a command's results to the file of ``--json``, if there is one; to standard output if it is ``-``."""
    if path is None:
        return
    with one_line_errors():
        if path == STANDARD_OUTPUT:
            output = _standard_output.get() or sys.stdout
            output.write(json.dumps(results, indent=2) + "\n")  # ASCII: a pipe may have any encoding
            output.flush()
            return
        text = json.dumps(results, indent=2, ensure_ascii=False) + "\n"
        # backslashreplace: a file name that is not UTF-8 has half surrogate pairs; their escapes are JSON.
        with replacing(path) if path.is_file() or not path.exists() else nullcontext(path) as part, naming(path):
            part.write_text(text, encoding="utf-8", errors="backslashreplace")


def printable(text: str) -> str:
    """The text with an escape for each character that a terminal would not print but obey.

    >>> printable("red: \\x1b[31m")
    'red: \\\\x1b[31m'
    """
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
