"""Commands about runs on this machine: `run`, `runs`, `report`, `evaluate`, `ci` and `notify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import (
    NO_SETTINGS,
    RUNS,
    ConfigOption,
    EventsOption,
    JsonOption,
    OfflineOption,
    OptionalOutcomesOption,
    RootOption,
    SetOption,
    SpanOption,
    complete_nodes,
    complete_runs,
    fetch_new,
)


def run(
    config: ConfigOption,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NODE",
            help="Execute this node and those after it anew.",
            autocompletion=complete_nodes,
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="NODE", help="Stop after this node.", autocompletion=complete_nodes
        ),
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Execute every node anew.")] = False,
    span: SpanOption = None,
    only_new_data: Annotated[
        bool,
        typer.Option(
            "--only-new-data", help="Stop at once if nothing has changed since the latest run."
        ),
    ] = False,
    offline: OfflineOption = False,
) -> None:
    """Run the pipeline: from the log to a pushed model and a report.

    Nodes whose inputs, configuration and code are unchanged come from the cache, so the same
    command resumes after a failure.

    Exit code 0: pushed, or no new data; 1: a gate failed; 2: an error; 130: interrupted.

    Example:
        mastery run --config configs/sample.yaml --set training.epochs=5
    """
    from components.command.console import PlainConsole
    from components.config import load_config
    from components.errors import MasteryError
    from pipeline.run.display import print_summary
    from pipeline.run.ending import exit_code
    from pipeline.run.local import run_pipeline
    from pipeline.run.notify import Notification, notification_of, notify
    from pipeline.tracking.tell import track_run

    loaded = load_config(config, [*set_, f"data.span={span}"] if span else set_)
    console = PlainConsole()
    try:
        if not offline:
            fetch_new(loaded)
        record = run_pipeline(
            loaded,
            root,
            use_cache=not no_cache,
            from_node=from_,
            to_node=to,
            only_new_data=only_new_data,
            console=console,
        )
    except MasteryError as error:
        notify(loaded.notify, Notification(name=loaded.name, state="failed", error=str(error)))
        raise

    print_summary(record, console)
    notify(loaded.notify, notification_of(record))
    track_run(loaded, root, record)
    raise typer.Exit(exit_code(record))


def runs(root: RootOption = RUNS, json_: JsonOption = False) -> None:
    """List the runs below a root, with their states and reports.

    Example:
        mastery runs --root runs --json
    """
    import json

    from pipeline.run.display import print_runs
    from pipeline.run.record import read_records

    records = read_records(root)
    if json_:
        print(json.dumps([record.model_dump(mode="json") for record in records], indent=1))
    else:
        print_runs(records)


def report(
    run_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]",
            help="The run, as `mastery runs` names it; default: the latest.",
            autocompletion=complete_runs,
        ),
    ] = None,
    root: RootOption = RUNS,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Print the path of a run's report, or open it.

    Example:
        mastery report --open
    """
    from components.command.explain import as_sentence
    from components.command.suggest import did_you_mean
    from components.errors import MasteryError
    from pipeline.run.record import read_records

    records = [record for record in read_records(root) if record.report]
    wanted = [record for record in records if run_id in (None, record.run)]
    if not wanted:
        what = f"run {run_id}" if run_id else "a run"
        hint = did_you_mean(run_id or "", [record.run for record in records])
        sentence = as_sentence(f"expected {what} with a report below {root}, found none{hint}")
        raise MasteryError(f"{sentence} `mastery runs` lists all runs.")

    print(wanted[-1].report)
    if open_:
        typer.launch(str(wanted[-1].report))


def evaluate(
    model: Annotated[
        Path, typer.Option("--model", metavar="DIR", help="A pushed version's folder.")
    ],
    events: EventsOption,
    outcomes: OptionalOutcomesOption = None,
    json_: JsonOption = False,
) -> None:
    """Score a pushed model on another log.

    Prints the metrics that the gates judge. Without --outcomes they are derived from the events, as
    those that the model was trained on.

    Example:
        mastery evaluate --model serving/1795328170 --events e.csv --outcomes o.csv
    """
    from pipeline.evaluate_log import evaluate_log
    from pipeline.run.display import print_metrics

    evaluation = evaluate_log(model, events, outcomes or [])
    if json_:
        print(evaluation.model_dump_json(by_alias=True, exclude_unset=True, indent=1))
    else:
        print_metrics(evaluation)


def ci(
    config: ConfigOption,
    set_: SetOption = NO_SETTINGS,
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
            help="Compare with this pushed version; default: the latest blessed one in the root.",
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
    """Train on few learners, and compare with the latest blessed model.

    The configuration's section `ci` says how many learners, and what may not get worse.

    Exit code 0: every gate passed and nothing got worse; 1: a gate failed; 2: an error;
    130: interrupted.

    Example:
        mastery ci --config configs/sample.yaml --root ci/runs --out ci
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
    metrics = ", metrics.json" if record.metrics else ""
    console.print(f"Written  {out}/summary.md, junit.xml{metrics}")
    raise typer.Exit(exit_code(record))


def notify(
    config: ConfigOption,
    set_: SetOption = NO_SETTINGS,
    test: Annotated[
        bool, typer.Option("--test", help="Send a test message by webhook and mail, if configured.")
    ] = False,
) -> None:
    """Try the notifications that runs send when they end.

    Exit code 0: all were delivered; 2: one could not be.

    Example:
        mastery notify --config configs/sample.yaml --test
    """
    from components.config import load_config
    from components.errors import ConfigError, MasteryError
    from pipeline.run.notify import Notification, deliver

    loaded = load_config(config, set_)
    if not test:
        raise MasteryError("expected --test; runs send their notifications by themselves.")
    ways = [way for way in ("webhook", "email") if getattr(loaded.notify, way)]
    if not ways:
        raise ConfigError(f"{config}: expected notify.webhook or notify.email, found neither.")

    problems = deliver(loaded.notify, Notification(name=loaded.name, state="test"))
    if problems:
        raise MasteryError("\n".join(problems))
    print(f"Sent a test message by {' and '.join(ways)}.")
