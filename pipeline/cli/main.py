"""`mastery`: every command reads its options here and imports what it needs only when called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from components.command.program import run_program, start_process
from pipeline.cli import (
    ci_commands,
    kubeflow_commands,
    log_commands,
    models_commands,
    notify_commands,
    predict_commands,
    schema_commands,
    serve_commands,
)
from pipeline.cli.options import ConfigOption, JsonOption, RootOption, SetOption


class _EscapedError(Exception):
    """Carries an error past Typer, which ends some of them with 1, our code for a gate that failed."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


class _Commands(TyperGroup):
    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except (EOFError, OSError, KeyboardInterrupt) as error:
            raise _EscapedError(error) from None


app = typer.Typer(
    cls=_Commands,
    help="Reads learners' behaviour logs and makes a gated, served model of who has mastered what.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(schema_commands.app, name="schema")
app.add_typer(kubeflow_commands.app, name="kubeflow")
app.add_typer(models_commands.app, name="models")
app.command("check-log")(log_commands.check_log)
app.command("notify")(notify_commands.notify)
app.command("simulate")(log_commands.simulate)
app.command("ci")(ci_commands.ci)
app.command("predict")(predict_commands.predict)
app.command("serve")(serve_commands.serve)


@app.command()
def run(
    config: ConfigOption,
    set_: SetOption = [],  # noqa: B006 (Typer copies it)
    root: RootOption = Path("runs"),
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="NODE", help="Execute this node and those after it anew."),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="NODE", help="Stop after this node.")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Execute every node anew.")] = False,
    span: Annotated[
        str | None,
        typer.Option(
            "--span", metavar="SPAN", help="newest, 2026-11-20, 42 or last:7; sets data.span."
        ),
    ] = None,
    only_new_data: Annotated[
        bool,
        typer.Option(
            "--only-new-data", help="End at once where nothing has changed since the latest run."
        ),
    ] = False,
) -> None:
    """Run the pipeline: from the log to a pushed model and a report.

    Nodes whose inputs, configuration and code are unchanged come from the cache, so the same command
    resumes after a failure. Exit code 0: pushed, or no new data; 1: a gate failed; 2: an error; 130: interrupted.
    """
    from components.command.console import PlainConsole
    from components.config import load_config
    from components.errors import MasteryError
    from pipeline.run.display import print_summary
    from pipeline.run.ending import exit_code
    from pipeline.run.local import run_pipeline
    from pipeline.run.notify import Notification, notification_of, notify

    loaded = load_config(config, [*set_, f"data.span={span}"] if span else set_)
    console = PlainConsole()
    try:
        record = run_pipeline(
            loaded, root, use_cache=not no_cache, from_node=from_, to_node=to, only_new_data=only_new_data,
            console=console,
        )  # fmt: skip
    except MasteryError as error:
        notify(loaded.notify, Notification(name=loaded.name, state="failed", error=str(error)))
        raise
    print_summary(record, console)
    notify(loaded.notify, notification_of(record))
    raise typer.Exit(exit_code(record))


@app.command()
def runs(root: RootOption = Path("runs"), json_: JsonOption = False) -> None:
    """List the runs below a root: state, seconds, and where metrics, report and pushed version are."""
    import json

    from pipeline.run.display import print_runs
    from pipeline.run.record import read_records

    records = read_records(root)
    if json_:
        print(json.dumps([record.model_dump(mode="json") for record in records], indent=1))
    else:
        print_runs(records)


@app.command()
def report(
    run_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]", help="The run, as `mastery runs` names it; default: the latest."
        ),
    ] = None,
    root: RootOption = Path("runs"),
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Print the path of a run's report, or open it."""
    from components.errors import MasteryError
    from pipeline.run.record import read_records

    records = [
        record for record in read_records(root) if record.report and run_id in (None, record.run)
    ]
    if not records:
        wanted = f"run {run_id}" if run_id else "a run"
        raise MasteryError(
            f"expected {wanted} with a report below {root}, found none; `mastery runs` lists what is there."
        )
    print(records[-1].report)
    if open_:
        typer.launch(str(records[-1].report))


@app.command()
def evaluate(
    model: Annotated[Path, typer.Option("--model", help="A pushed version's folder.")],
    events: Annotated[list[str], typer.Option("--events", help="The events of another log.")],
    outcomes: Annotated[list[str], typer.Option("--outcomes", help="Its outcomes.")],
    json_: JsonOption = False,
) -> None:
    """Score a pushed model on another log: the metrics that the gates judge."""
    from pipeline.evaluate_log import evaluate_log
    from pipeline.run.display import print_metrics

    evaluation = evaluate_log(model, events, outcomes)
    if json_:
        print(evaluation.model_dump_json(by_alias=True, exclude_unset=True, indent=1))
    else:
        print_metrics(evaluation)


@app.command()
def doctor(
    deep: Annotated[bool, typer.Option("--deep", help="Import TensorFlow and TFX too.")] = False,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Check what this configuration asks for, such as a GPU."),
    ] = None,
    set_: SetOption = [],  # noqa: B006 (Typer copies it)
) -> None:
    """Print what is installed here and what is wrong with it."""
    from pipeline.environment.doctor import doctor as examine

    gpu_wanted = False
    if config is not None:
        from components.config import (
            load_config,  # here: without it, a broken environment can be looked at too
        )

        gpu_wanted = load_config(config, set_).training.device == "gpu"
    raise typer.Exit(examine(deep=deep, gpu_wanted=gpu_wanted))


def main() -> None:
    """Runs the command line and exits; no error shows a traceback."""
    sys.exit(run_program("mastery", _run_command))


def program() -> None:
    """Does what `main` does, as a process of its own."""
    start_process("mastery")
    main()


def _run_command() -> None:
    try:
        typer.main.get_command(app)(
            standalone_mode=True
        )  # `app()` would set hooks of its own for tracebacks
    except _EscapedError as escaped:
        raise escaped.error from None


if __name__ == "__main__":
    program()
