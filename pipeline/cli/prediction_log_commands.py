"""`mastery prediction-log`: what `mastery serve --prediction-log` has logged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import JsonOption, parse_version_number

if TYPE_CHECKING:
    from serving.prediction_log.log_store import Query

LogOption = Annotated[
    str | None,
    typer.Option(
        "--log",
        metavar="DIR_OR_URL",
        help="As in `mastery serve --prediction-log`; default: $MASTERY_ANSWERS_URL.",
    ),
]
SinceOption = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="From this moment, UTC.")
]
UntilOption = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Before this moment, UTC.")
]
VersionOption = Annotated[
    int | None,
    typer.Option("--version", parser=parse_version_number, help="Answers of this version."),
]
LabelOption = Annotated[
    str | None, typer.Option("--label", help="Requests for this label: stable, canary.")
]
HashOption = Annotated[
    str | None,
    typer.Option("--input-hash", metavar="HASH", help="SHA-256 of the input, or its beginning."),
]
ShadowOption = Annotated[
    bool,
    typer.Option("--shadow", help="Instead: answers of shadows, which were not returned."),
]


def show(
    log: LogOption = None,
    last: Annotated[int, typer.Option("--last", min=1, help="How many rows.")] = 20,
    since: SinceOption = None,
    until: UntilOption = None,
    version: VersionOption = None,
    label: LabelOption = None,
    input_hash: HashOption = None,
    shadow: ShadowOption = False,
    json_: JsonOption = False,
) -> None:
    """Print the last rows of the prediction log.

    Example:
        mastery prediction-log show --log predictions --label canary --last 5
    """
    import json

    from components.command.console import PlainConsole
    from components.command.program import write_data
    from serving.prediction_log.reading import open_log, print_rows, row_document

    query = _query(since, until, version, label, input_hash, shadow)
    with open_log(log) as (_, store):
        rows = store.last(query, last)
    if json_:
        lines = [json.dumps(row_document(row), ensure_ascii=False) for row in rows]
        write_data("".join(f"{line}\n" for line in lines))
    else:
        print_rows(rows, PlainConsole())


def export(
    to: Annotated[
        Path, typer.Option("--to", metavar="FILE", help="A .parquet, .csv or .jsonl file.")
    ],
    log: LogOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    version: VersionOption = None,
    label: LabelOption = None,
    input_hash: HashOption = None,
    shadow: ShadowOption = False,
) -> None:
    """Write rows of the prediction log to one file.

    Example:
        mastery prediction-log export --log predictions --since 2026-11-01 --to november.parquet
    """
    from serving.prediction_log import reading

    query = _query(since, until, version, label, input_hash, shadow)
    with reading.open_log(log) as (_, store):
        count = reading.export(store, query, to)
    print(f"{count} rows in {to}")


def purge(
    days: Annotated[
        int, typer.Option("--days", metavar="N", min=1, help="Keep so many days before today, UTC.")
    ],
    log: LogOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print how many rows would be removed.")
    ] = False,
) -> None:
    """Remove old rows from the prediction log.

    A server does so itself, at its start and every day, with its --prediction-log-days.

    Example:
        mastery prediction-log purge --log predictions --days 90
    """
    from serving.prediction_log import reading

    with reading.open_log(log) as (target, store):
        removed = reading.purge(target, store, days, dry_run=dry_run)
    print(f"{removed} rows {'would be removed' if dry_run else 'removed'}.")


def _query(
    since: str | None,
    until: str | None,
    version: int | None,
    label: str | None,
    input_hash: str | None,
    shadow: bool,
) -> Query:
    from serving.prediction_log.log_store import Query
    from serving.prediction_log.reading import parse_moment

    return Query(
        since=parse_moment(since, "--since"),
        until=parse_moment(until, "--until"),
        version=version,
        label=label,
        input_hash=input_hash.lower() if input_hash else None,
        shadow=shadow,
    )
