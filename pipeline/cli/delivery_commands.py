"""Commands that send messages about answers, and show those that have not arrived."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import DatabaseOption, JsonOption, finite

if TYPE_CHECKING:
    from serving.answers.delivery.sender import Report

ChannelOption = Annotated[
    str | None, typer.Option("--channel", metavar="NAME", help="Only this channel's messages.")
]


def send(
    db: DatabaseOption = None,
    answers: Annotated[
        Path | None,
        typer.Option("--answers", metavar="FILE", help="The settings: who receives what."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until SIGTERM or Ctrl-C.")] = False,
    every: Annotated[
        float,
        typer.Option(
            "--every", min=1, callback=finite, help="Seconds between two looks, with --watch."
        ),
    ] = 10.0,
) -> None:
    """Send the messages that are due: alerts, xAPI statements, CloudEvents.

    Each arrives at least once; a repetition carries the same key. What fails is tried again later,
    at longer and longer intervals.

    Exit code 1: messages were given up, or the settings lack the channel of some.

    Example:
        mastery answers send --db sqlite:///answers.db --answers answers.yaml
    """
    from serving.answers.database import open_database
    from serving.answers.delivery.deliver import receivers
    from serving.answers.delivery.sender import send_due, send_until_stopped
    from serving.answers.settings import load_settings

    settings = load_settings(answers)
    everybody = receivers(settings)
    engine = open_database(db, existing=True)
    if watch:
        send_until_stopped(engine, everybody, settings.delivery, every=every, tell=_Telling())
        return

    report = send_due(engine, everybody, settings.delivery)
    lines = _describe(report) + _complaints(report)
    print("\n".join(lines) or "Nothing is due.")
    if report.given_up or report.unknown:
        raise typer.Exit(1)


def outbox(
    db: DatabaseOption = None,
    channel: ChannelOption = None,
    most: Annotated[
        int, typer.Option("--most", min=1, help="How many messages to list, at most.")
    ] = 50,
    json_: JsonOption = False,
) -> None:
    """List the messages that have not arrived, and why.

    Example:
        mastery answers outbox --db sqlite:///answers.db
    """
    import json
    from dataclasses import asdict

    from serving.answers.database import open_database
    from serving.answers.delivery.outbox import count_unsent, list_unsent

    engine = open_database(db, upgrade=False)
    counts, messages = count_unsent(engine), list_unsent(engine, most, channel)
    if json_:
        channels = {
            name: {"waiting": waiting, "given_up": gone} for name, (waiting, gone) in counts.items()
        }
        found = {"channels": channels, "messages": [asdict(message) for message in messages]}
        print(json.dumps(found, indent=1, default=str))
        return
    if not counts:
        print("Every message has arrived.")
        return

    for name, (waiting, gone) in counts.items():
        print(f"{name}: {waiting} waiting, {gone} given up")
    for message in messages:
        when = f"next attempt {_time(message.not_before)}" if message.not_before else "given up"
        print(f"\n{message.channel}: {message.key}")
        print(f"  {when}, {message.attempts} attempts: {message.error or 'none failed'}")


def retry(
    key: Annotated[
        str | None,
        typer.Argument(metavar="[KEY]", help="One message, by the key that `outbox` shows."),
    ] = None,
    db: DatabaseOption = None,
    channel: ChannelOption = None,
    all_: Annotated[bool, typer.Option("--all", help="Every message that was given up.")] = False,
) -> None:
    """Make messages that were given up due again.

    `mastery answers send` then sends them. Exit code 1: there was none.

    Example:
        mastery answers retry --channel team --db sqlite:///answers.db
    """
    from components.errors import MasteryError
    from serving.answers.database import open_database
    from serving.answers.delivery.outbox import retry as make_due
    from serving.answers.delivery.sender import utc_now

    if all_ == (key is not None or channel is not None):
        raise MasteryError("expected a KEY, --channel NAME or --all.")

    count = make_due(open_database(db, upgrade=False), utc_now(), channel=channel, key=key)
    print(f"{count} {'message is' if count == 1 else 'messages are'} due again.")
    if not count:
        raise typer.Exit(1)


class _Telling:
    """Prints what each look at the outbox did, and what is wrong for longer only once."""

    def __init__(self) -> None:
        self._complaints: list[str] = []

    def __call__(self, found: Report | Exception) -> None:
        from components.command.escape import shorten

        if isinstance(found, Exception):
            first = shorten(str(found).partition("\n")[0], 200)
            complaints = [f"the database cannot be used for now ({first})"]
        else:
            complaints = _complaints(found)
            for line in _describe(found):
                print(line, flush=True)

        for line in complaints:
            if line not in self._complaints:
                print(line, flush=True)
        self._complaints = complaints


def _describe(report: Report) -> list[str]:
    """Returns what was sent, and what was not, one line per channel or failure."""
    lines = [f"{name}: {count} sent" for name, count in sorted(report.sent.items())]
    for failure in report.failures:
        attempt = f"attempt {failure.attempts}"
        what = f"waits until {_time(failure.until)}" if failure.until else "given up"
        lines.append(f"{failure.channel}: {failure.key} {what} ({attempt}: {failure.error})")
    return lines


def _complaints(report: Report) -> list[str]:
    return [
        f"{name}: the settings have no such channel; its messages wait" for name in report.unknown
    ]


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
