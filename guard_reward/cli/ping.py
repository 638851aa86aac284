"""``guard-reward ping``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from guard_reward.cli.options import JsonFile, ServedModel, ServedTokenizer
from guard_reward.cli.output import load_guard, one_line_errors, printable, write_json
from guard_reward.errors import UserError, first_paragraph, shortened

if TYPE_CHECKING:
    from guard_reward.guards.served.ping import ServerReport

__all__ = ["ping"]

Urls = Annotated[
    str, typer.Argument(metavar="URL", help="The server's URL, or several with commas.", show_default=False)
]
Against = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="A guard whose verdicts are the expected ones: a hub id, a folder or a URL. It is loaded here.",
        show_default="what Qwen3Guard's policy says",
    ),
]
Seconds = Annotated[float, typer.Option("--deadline", metavar="SECONDS", min=0.1, help="How long to wait for answers.")]


def ping(
    urls: Urls,
    guard_model: ServedModel = None,
    guard_tokenizer: ServedTokenizer = None,
    against: Against = None,
    deadline: Seconds = 30.0,
    json_file: JsonFile = None,
) -> None:
    """Say whether a guard's server is there, what it serves, and whether its verdicts are the expected ones.

    Each server judges ten conversations whose verdicts leave no doubt. The exit status is 1 if one does not answer, or
    judges otherwise than expected. The API key comes from the environment variable GUARD_REWARD_API_KEY.

    Examples:

    - `guard-reward ping http://127.0.0.1:8000/v1`

    - `guard-reward ping http://node-b:8000/v1,http://node-b:8001/v1 --guard-tokenizer Qwen/Qwen3Guard-Gen-4B`

    - `guard-reward ping http://127.0.0.1:8000/v1 --against runs/tiny/guard --json ping.json`
    """
    with one_line_errors():
        from guard_reward.guards.served.ping import ping as ping_server
        from guard_reward.guards.served.settings import checked_urls

        try:
            addresses = checked_urls(urls)
            options = {"model": guard_model, "tokenizer": guard_tokenizer}
            expected = None if against is None else load_guard(against)
            reports = [ping_server(url, seconds=deadline, against=expected, **options) for url in addresses]
        except ValueError as error:
            raise UserError(first_paragraph(error)) from error
    for report in reports:
        _print(report, has_reference=against is not None)
    write_json(json_file, [{**asdict(report), "is_well": report.is_well} for report in reports])
    if not all(report.is_well for report in reports):
        raise typer.Exit(1)


def _print(report: ServerReport, *, has_reference: bool) -> None:
    if report.error:
        typer.echo(printable(f"{report.url}: no answer: {report.error}"))
        return
    lines = [
        ("model", report.model),
        ("software", report.software or "does not say"),
        ("context", f"{report.context_length:,} tokens" if report.context_length else "does not say"),
        ("asked at", {"chat": "chat, with text"}.get(report.endpoint, f"{report.endpoint}, with token ids")),
        ("probabilities", "yes" if report.has_probabilities else "no"),
        ("chat template", _template(report)),
        ("family", report.spec),
        ("verdicts", f"{report.right_probes} of {len(report.probes)} as expected"),
    ]
    typer.echo(printable(report.url))
    for name, text in lines:
        typer.echo(printable(f"  {name:14} {text}"))
    for probe in report.probes:
        if not probe.is_right:
            typer.echo(printable(f"    {shortened(probe.text, 60)}: expected {probe.expected}, found {probe.found}"))
    if report.right_probes < len(report.probes) and not has_reference:
        typer.echo("    expected is what Qwen3Guard says; for another guard, name a copy of it with --against MODEL")


def _template(report: ServerReport) -> str:
    if report.same_template is None:
        return "cannot be compared"
    if report.same_template:
        return "the tokenizer's"
    return "another than the tokenizer's" + ("" if report.endpoint == "chat" else ", of no effect with token ids")
