"""`mastery kubeflow`: compile the pipeline, and submit, run, schedule and watch it on Kubeflow Pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.cli import kubeflow_schedule
from pipeline.cli.options import (
    ConfigOption,
    HostOption,
    JsonOption,
    NamespaceOption,
    ParamOption,
    SetOption,
)

app = typer.Typer(help="Run the pipeline on Kubeflow Pipelines.", no_args_is_help=True)
app.command("schedule")(kubeflow_schedule.schedule)


@app.command("compile")
def compile_(
    config: ConfigOption,
    set_: SetOption = [],  # noqa: B006 (Typer copies it)
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="What to write.")
    ] = Path("pipeline.yaml"),
    target: Annotated[
        Literal["kubeflow", "vertex"], typer.Option("--target", help="What is going to read it.")
    ] = "kubeflow",
) -> None:
    """Write the pipeline as one YAML file; it can be uploaded by hand or submitted."""
    from components.config import load_config

    loaded = load_config(
        config, set_
    )  # before the compiler is imported: a wrong value answers at once
    from pipeline.kubeflow.compile import compile_pipeline

    compile_pipeline(loaded, config, output, target, set_)
    print(f"Wrote {output} ({output.stat().st_size:,} bytes).")


@app.command()
def submit(
    config: ConfigOption,
    set_: SetOption = [],  # noqa: B006 (Typer copies it)
    host: HostOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Upload the pipeline as a new version; an unchanged one is not uploaded again."""
    from components.config import load_config
    from pipeline.kubeflow.client import connect
    from pipeline.kubeflow.submit import compiled
    from pipeline.kubeflow.submit import submit as upload

    loaded = load_config(config, set_)
    with compiled(loaded, config, set_) as file:
        cluster = connect(loaded.kubeflow, host=host, namespace=namespace)
        print(upload(cluster, loaded.name, file).describe())


@app.command()
def run(
    config: ConfigOption,
    set_: SetOption = [],  # noqa: B006 (Typer copies it)
    param: ParamOption = [],  # noqa: B006
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run to its end.")] = False,
    host: HostOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Submit the pipeline and start a run of it.

    With --wait the exit code is that of `mastery run`: 0: pushed; 1: a gate failed; 2: an error; 130: interrupted,
    where the run itself goes on.
    """
    from components.command.console import PlainConsole
    from components.config import load_config
    from pipeline.kubeflow.client import connect
    from pipeline.kubeflow.display import print_ending
    from pipeline.kubeflow.parameters import check_parameters, read_parameters
    from pipeline.kubeflow.run import follow_run, start_run
    from pipeline.kubeflow.status import exit_code
    from pipeline.kubeflow.submit import compiled
    from pipeline.kubeflow.submit import submit as upload

    loaded = load_config(config, set_)
    parameters = read_parameters(param)
    check_parameters(config, set_, parameters)
    console = PlainConsole()
    with compiled(loaded, config, set_) as file:
        cluster = connect(loaded.kubeflow, host=host, namespace=namespace)
        submission = upload(cluster, loaded.name, file)
        print(submission.describe())
        run_id = start_run(cluster, loaded, submission, parameters)
        print(f"Started run {run_id}.\nWatch    {cluster.link(run_id)}", flush=True)
        if not wait:
            return
        try:
            ended = follow_run(cluster, run_id, file, console)
        except KeyboardInterrupt:
            print(f"\nThe run goes on: mastery kubeflow status {run_id}")
            raise typer.Exit(130) from None
    print_ending(ended, console)
    raise typer.Exit(exit_code(ended))


@app.command("list")
def list_(
    config: ConfigOption,
    set_: SetOption = [],  # noqa: B006 (Typer copies it)
    json_: JsonOption = False,
    host: HostOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """List the pipeline's versions, schedules and latest runs."""
    from components.command.console import PlainConsole
    from components.config import load_config
    from pipeline.kubeflow.client import connect
    from pipeline.kubeflow.display import print_listing
    from pipeline.kubeflow.listing import list_pipeline

    loaded = load_config(config, set_)
    listing = list_pipeline(connect(loaded.kubeflow, host=host, namespace=namespace), loaded)
    if json_:
        print(listing.model_dump_json(indent=1))
    else:
        print_listing(listing, PlainConsole())


@app.command()
def status(
    run_id: Annotated[
        str, typer.Argument(metavar="RUN_ID", help="As `mastery kubeflow run` printed it.")
    ],
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="FILE", help="The configuration; says where the cluster is."
        ),
    ] = None,
    set_: SetOption = [],  # noqa: B006 (Typer copies it)
    json_: JsonOption = False,
    host: HostOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Print how a run stands: its state, its tasks, and why it failed."""
    from components.command.console import PlainConsole
    from components.config import Kubeflow, load_config
    from pipeline.kubeflow.client import connect
    from pipeline.kubeflow.display import print_status
    from pipeline.kubeflow.status import read_status

    settings = load_config(config, set_).kubeflow if config else Kubeflow()
    found = read_status(connect(settings, host=host, namespace=namespace), run_id)
    if json_:
        print(found.model_dump_json(indent=1))
    else:
        print_status(found, PlainConsole())
