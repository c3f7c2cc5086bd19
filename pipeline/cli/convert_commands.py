"""`mastery convert`: a platform's log as a table of events."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import NO_SETTINGS, OfflineOption, SetOption, load_and_fetch

if TYPE_CHECKING:
    from pipeline.convert import Request


def convert(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the table.")],
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="The configuration that names the log."),
    ] = None,
    set_: SetOption = NO_SETTINGS,
    format_: Annotated[
        str | None,
        typer.Option("--format", help="Instead: moodle, open_edx, xapi, caliper or standard,"),
    ] = None,
    events: Annotated[
        list[str] | None,
        typer.Option("--events", help="and events: a file, folder or pattern; repeatable."),
    ] = None,
    to: Annotated[str, typer.Option("--to", help="parquet, csv or jsonl.")] = "parquet",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a table that is in the folder already.")
    ] = False,
    offline: OfflineOption = False,
) -> None:
    """Write a platform's log as a table of events.

    The table has the standard columns that the log has values for, and those that the
    configuration names. Reading it gives the same examples as reading the log.

    Example:
        mastery convert --format moodle --events logstore.csv --out table
    """
    request = _request(config, set_, format_, events or [], offline=offline)

    from pipeline.convert import convert as write_table

    print(write_table(request, out, to=to, overwrite=overwrite).describe())


def _request(
    config: Path | None,
    set_: list[str],
    format_: str | None,
    events: list[str],
    *,
    offline: bool,
) -> Request:
    if config is None:
        if format_ is None or not events:
            raise typer.BadParameter("expected --config FILE, or --format and --events")
        if set_:
            raise typer.BadParameter("--set changes a configuration, and there is none")
    elif format_ is not None or events:
        raise typer.BadParameter(
            "--config names the format and the events; change them there, or with --set"
        )

    from pipeline.convert import Request

    if config is None:
        return Request.of_format(format_ or "", events)
    return Request.of(load_and_fetch(config, set_, offline=offline))
