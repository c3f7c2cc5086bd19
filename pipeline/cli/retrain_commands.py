"""`mastery retrain` and `mastery backtest`: training again, for a reason."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import (
    NO_SETTINGS,
    RUNS,
    ConfigOption,
    JsonOption,
    NowOption,
    OfflineOption,
    RootOption,
    SetOption,
    fetch_new,
    parse_moment,
    pushed_to,
)

if TYPE_CHECKING:
    from pipeline.retrain.causes import VersionInService


def retrain(
    config: ConfigOption,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done, and why.")
    ] = False,
    now: NowOption = None,
    offline: OfflineOption = False,
    json_: JsonOption = False,
) -> None:
    """Train again if there is a reason: drift, worse quality, or new data.

    The section `retrain` says which reason counts, what is trained on, and how often at most. The
    run is that of `mastery run`, on the newest spans and a share of older learners, from the
    version in service; its gates decide what is pushed.

    Exit code 0: nothing to do, or pushed; 1: a gate failed; 2: an error; 130: interrupted.

    Example:
        mastery retrain --config configs/sample.yaml --dry-run
    """
    from components.command.console import PlainConsole
    from components.config import load_config
    from components.errors import MasteryError
    from pipeline.retrain.retrain import decide, describe, with_run
    from pipeline.retrain.retrain import retrain as train_again
    from pipeline.run.display import print_summary
    from pipeline.run.ending import exit_code
    from pipeline.run.notify import Notification, notification_of, notify
    from pipeline.tracking.tell import track_run

    loaded = load_config(config, set_)
    console = PlainConsole(stderr=json_)  # of JSON, standard output holds nothing else
    with ExitStack() as copies:
        try:
            if not offline:
                fetch_new(loaded)
            version = version_in_service(pushed_to(config, set_, root), copies)
            decision = decide(loaded, root, version, now=parse_moment("--now", now))
            console.print(describe(decision, dry_run=dry_run), soft_wrap=True)
            record = None
            if decision.train and not dry_run:
                record = train_again(loaded, root, decision, version, console=console)
        except MasteryError as error:
            notify(loaded.notify, Notification(name=loaded.name, state="failed", error=str(error)))
            raise

    if record is not None:
        print_summary(record, console)
        notify(loaded.notify, notification_of(record))
        track_run(loaded, root, record)
        decision = with_run(decision, record)
    if json_:
        print(decision.to_json(), end="")
    raise typer.Exit(exit_code(record) if record else 0)


def backtest(
    config: ConfigOption,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    spans: Annotated[
        int,
        typer.Option(
            "--spans", metavar="N", min=1, help="How many models: of the newest spans but the last."
        ),
    ] = 12,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the table there, as JSON.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Say what would have been pushed when, and how good it was the span after.

    Each span of the log in turn is taken for the newest. A model is trained on what was known then,
    as `retrain` says, and judged by its gates; the version in service is asked about the span
    after. Nothing is pushed to where models are served. The same command resumes after a failure or
    Ctrl-C.

    Exit code 0: all spans ran, whatever their gates; 2: an error; 130: interrupted.

    Example:
        mastery backtest --config configs/sample.yaml --spans 12
    """
    from components.command.console import PlainConsole
    from components.config import load_config
    from components.files.atomic import write_text
    from pipeline.backtest.backtest import backtest as run_spans
    from pipeline.backtest.backtest import digest_of
    from pipeline.backtest.render import MARKDOWN, print_table
    from pipeline.layout import Layout

    loaded = load_config(config, set_)
    console = PlainConsole(stderr=json_)  # of JSON, standard output holds nothing else
    result = run_spans(loaded, root, spans, console=console)
    if out is not None:
        write_text(out, result.to_json())
    if json_:
        print(result.to_json(), end="")
        return
    console.print()
    print_table(result, console)
    folder = Layout(root.resolve(), loaded.name).backtest / digest_of(loaded)
    console.print(f"Written  {folder / MARKDOWN}, {result.FILE}", soft_wrap=True)


def version_in_service(models: str, copies: ExitStack) -> VersionInService | None:
    """Returns the version that answers now; None before the first one.

    Args:
        models: the serving folder, a path or URL.
        copies: keeps the copy of a version in an object store.

    Raises:
        StoppedError: the model was taken out of service.
        MasteryError: the folder cannot be read.
    """
    from pipeline.retrain.causes import VersionInService
    from serving.models.in_service import number_in_service, open_in_service
    from serving.models.stores import open_storage

    if "://" not in models and not Path(models).is_dir():
        return None
    storage = open_storage(models)
    if not storage.servable():
        return None
    number = number_in_service(storage)
    return VersionInService(number, copies.enter_context(open_in_service(storage, number)))
