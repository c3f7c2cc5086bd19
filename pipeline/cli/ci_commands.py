"""`mastery ci`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import ConfigOption, SetOption


def ci(
    config: ConfigOption,
    set_: SetOption = [],  # noqa: B006 (Typer copies it)
    root: Annotated[
        Path,
        typer.Option(
            "--root", metavar="DIR", help="Where CI keeps everything; keep it between jobs."
        ),
    ] = Path("ci/runs"),
    baseline: Annotated[
        Path | None,
        typer.Option(
            "--baseline",
            metavar="DIR",
            help="Compare with this pushed version, not the root's last one.",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="DIR", help="Folder for junit.xml, summary.md and metrics.json."
        ),
    ] = Path("ci"),
    push: Annotated[
        bool, typer.Option("--push", help="Push to push.directory, not below the root.")
    ] = False,
) -> None:
    """Train small, as the configuration's section `ci` says, and compare with the latest blessed model.

    Exit code 0: every gate passed and nothing got worse; 1: a gate failed; 2: an error; 130: interrupted.
    """
    from components.command.console import PlainConsole
    from components.config import load_config
    from components.errors import MasteryError
    from pipeline.ci.small_training import train_small
    from pipeline.run.display import print_summary
    from pipeline.run.ending import exit_code
    from pipeline.run.notify import Notification, notification_of, notify

    console = PlainConsole()
    loaded = load_config(config, set_)
    try:
        record = train_small(loaded, root, out, baseline=baseline, push=push, console=console)
    except MasteryError as error:
        notify(loaded.notify, Notification(name=loaded.name, state="failed", error=str(error)))
        raise
    print_summary(record, console)
    notify(loaded.notify, notification_of(record))
    console.print(
        f"Written  {out}/summary.md, junit.xml" + (", metrics.json" if record.metrics else ""),
        markup=False,
    )
    raise typer.Exit(exit_code(record))
