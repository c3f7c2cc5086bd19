"""`mastery kubeflow`: compile the pipeline; submit, run, schedule and watch it on Kubeflow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipeline.cli.options import (
    NO_SETTINGS,
    ConfigOption,
    HostOption,
    JsonOption,
    NamespaceOption,
    ParamOption,
    SetOption,
)

if TYPE_CHECKING:
    from components.config import Config
    from pipeline.kubeflow.client import Cluster
    from pipeline.kubeflow.jobs import Job
    from pipeline.kubeflow.schedules import KubeflowCron, Schedule

JobOption = Annotated[
    Literal["watch", "retrain"] | None,
    typer.Option(
        "--job", help="In place of the pipeline: `mastery watch` or `mastery retrain`, in one task."
    ),
]


def compile_(
    config: ConfigOption,
    set_: SetOption = NO_SETTINGS,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")
    ] = Path("pipeline.yaml"),
    target: Annotated[
        Literal["kubeflow", "vertex"], typer.Option("--target", help="The system that reads it.")
    ] = "kubeflow",
    job: JobOption = None,
) -> None:
    """Write the pipeline as one YAML file.

    The file can be uploaded by hand; `mastery kubeflow submit` does both.

    Example:
        mastery kubeflow compile --config configs/sample.yaml --output pipeline.yaml
    """
    from components.config import load_config

    loaded = load_config(config, set_)  # before the compiler: a wrong value is reported at once
    if job is None:
        from pipeline.kubeflow.compile import compile_pipeline

        compile_pipeline(loaded, config, output, target, set_)
    else:
        from components.errors import MasteryError
        from pipeline.kubeflow.jobs import compile_job

        if target != "kubeflow":
            raise MasteryError(f"--job {job}: expected --target kubeflow, found {target}.")
        compile_job(loaded, config, output, job, set_)
    print(f"Wrote {output} ({output.stat().st_size:,} bytes).")


def submit(
    config: ConfigOption,
    set_: SetOption = NO_SETTINGS,
    host: HostOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Upload the pipeline as a new version.

    An unchanged pipeline is not uploaded again.

    Example:
        mastery kubeflow submit --config configs/sample.yaml --host http://localhost:8080
    """
    from components.config import load_config
    from pipeline.kubeflow.client import connect_to_cluster
    from pipeline.kubeflow.submit import compiled_pipeline, upload_pipeline

    loaded = load_config(config, set_)
    with compiled_pipeline(loaded, config, set_) as file:
        cluster = connect_to_cluster(loaded.kubeflow, host=host, namespace=namespace)
        print(upload_pipeline(cluster, loaded.name, file).describe())


def run(
    config: ConfigOption,
    set_: SetOption = NO_SETTINGS,
    param: ParamOption = NO_SETTINGS,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run to its end.")] = False,
    host: HostOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Submit the pipeline and start a run of it.

    With --wait the exit code is that of `mastery run`: 0: pushed; 1: a gate failed; 2: an error;
    130: interrupted, and the run itself goes on.

    Example:
        mastery kubeflow run --config configs/sample.yaml --param span=last:7 --wait
    """
    from components.command.console import PlainConsole
    from components.config import load_config
    from pipeline.kubeflow.client import connect_to_cluster
    from pipeline.kubeflow.parameters import check_parameters, read_parameters
    from pipeline.kubeflow.runs import follow_run, print_ending, start_run
    from pipeline.kubeflow.submit import compiled_pipeline, upload_pipeline

    loaded = load_config(config, set_)
    parameters = read_parameters(param)
    check_parameters(config, set_, parameters)

    console = PlainConsole()
    with compiled_pipeline(loaded, config, set_) as file:
        cluster = connect_to_cluster(loaded.kubeflow, host=host, namespace=namespace)
        submission = upload_pipeline(cluster, loaded.name, file)
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
    raise typer.Exit(ended.exit_code)


def list_(
    config: ConfigOption,
    set_: SetOption = NO_SETTINGS,
    json_: JsonOption = False,
    host: HostOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """List the pipeline's versions, schedules and latest runs.

    Example:
        mastery kubeflow list --config configs/sample.yaml
    """
    from components.command.console import PlainConsole
    from components.config import load_config
    from pipeline.kubeflow.client import connect_to_cluster
    from pipeline.kubeflow.runs import list_pipeline, print_listing

    loaded = load_config(config, set_)
    cluster = connect_to_cluster(loaded.kubeflow, host=host, namespace=namespace)
    listing = list_pipeline(cluster, loaded)
    if json_:
        print(listing.model_dump_json(indent=1))
    else:
        print_listing(listing, PlainConsole())


def status(
    run_id: Annotated[
        str, typer.Argument(metavar="RUN_ID", help="As `mastery kubeflow run` printed it.")
    ],
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="FILE", help="The configuration, for the cluster's address."
        ),
    ] = None,
    set_: SetOption = NO_SETTINGS,
    json_: JsonOption = False,
    host: HostOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Print a run's state, its tasks, and why it failed.

    Example:
        mastery kubeflow status 0b9a5b1c-8b5e-4d9e-9c5d-6f0c4c7f2a11 --config configs/sample.yaml
    """
    from components.command.console import PlainConsole
    from components.config import Kubeflow, load_config
    from pipeline.kubeflow.client import connect_to_cluster
    from pipeline.kubeflow.runs import print_status
    from pipeline.kubeflow.status import read_status

    settings = load_config(config, set_).kubeflow if config else Kubeflow()
    found = read_status(connect_to_cluster(settings, host=host, namespace=namespace), run_id)
    if json_:
        print(found.model_dump_json(indent=1))
    else:
        print_status(found, PlainConsole())


def schedule(
    config: ConfigOption,
    set_: SetOption = NO_SETTINGS,
    cron: Annotated[
        str | None,
        typer.Option("--cron", metavar="FIELDS", help='Five cron fields, e.g. "0 3 * * *".'),
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(
            "--timezone", metavar="ZONE", help="Time zone of --cron; default: the cluster's."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="The schedule's name; default: the pipeline's.")
    ] = None,
    param: ParamOption = NO_SETTINGS,
    job: JobOption = None,
    pause: Annotated[bool, typer.Option("--pause", help="Pause the schedule.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the schedule.")] = False,
    delete: Annotated[bool, typer.Option("--delete", help="Delete the schedule.")] = False,
    host: HostOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Submit the pipeline and run it on a schedule.

    A schedule of the same name is replaced. Two runs of a schedule never overlap. After a pause
    only the latest of the missed runs is started.

    Example:
        mastery kubeflow schedule --config configs/sample.yaml --cron "0 3 * * *"
        mastery kubeflow schedule --config configs/sample.yaml --job watch --cron "0 6 * * *"
    """
    from components.config import load_config
    from components.errors import MasteryError
    from pipeline.kubeflow import schedules
    from pipeline.kubeflow.client import connect_to_cluster
    from pipeline.kubeflow.submit import name_of, pipeline_name

    if [cron is not None, pause, resume, delete].count(True) != 1:
        raise MasteryError("expected one of --cron, --pause, --resume and --delete.")
    if job is not None and param:
        raise MasteryError(f"--param: expected none with --job {job}, which has no parameters.")

    loaded = load_config(config, set_)
    pipeline = name_of(loaded, job)
    name = name or pipeline_name(pipeline)
    converted = _convert(cron, timezone, loaded.kubeflow.timezone) if cron is not None else None
    cluster = connect_to_cluster(loaded.kubeflow, host=host, namespace=namespace)
    if converted:
        _put(cluster, loaded, config, name, converted, param, set_, job)
        if converted.shifts_on:
            print(
                f"Kubeflow reads times in {loaded.kubeflow.timezone} only. Clocks change on "
                f"{converted.shifts_on}: from then on these runs start at another hour in "
                f"{timezone}. Run this command again on that day."
            )
    elif pause:
        _report("Paused", schedules.pause_schedule(cluster, pipeline, name))
    elif resume:
        _report("Resumed", schedules.resume_schedule(cluster, pipeline, name))
    else:
        _report("Deleted", schedules.delete_schedule(cluster, pipeline, name))


def _convert(cron: str, zone: str | None, cluster_zone: str) -> KubeflowCron:
    from datetime import UTC, datetime

    from pipeline.kubeflow.schedules import convert_cron

    now = datetime.now(UTC)
    return convert_cron(cron, zone=zone or cluster_zone, cluster_zone=cluster_zone, now=now)


def _put(
    cluster: Cluster,
    config: Config,
    config_file: Path,
    name: str,
    cron: KubeflowCron,
    param: list[str],
    settings: list[str],
    job: Job | None,
) -> None:
    from pipeline.kubeflow.parameters import check_parameters, read_parameters
    from pipeline.kubeflow.schedules import put_schedule
    from pipeline.kubeflow.submit import compiled_pipeline, name_of, upload_pipeline

    parameters = read_parameters(param)
    check_parameters(config_file, settings, parameters)
    with compiled_pipeline(config, config_file, settings, job) as file:
        submission = upload_pipeline(cluster, name_of(config, job), file)
    print(submission.describe())

    made, replaced = put_schedule(
        cluster, config, submission, name=name, cron=cron.expression, parameters=parameters
    )
    print(
        f'Scheduled {made.name} ({made.id}): "{made.cron}" in {config.kubeflow.timezone}; '
        "the first field is seconds."
    )
    _report("Replaced", replaced)


def _report(verb: str, schedules: list[Schedule]) -> None:
    for item in schedules:
        print(f'{verb} schedule {item.name} ({item.id}): "{item.cron}".')
