"""`mastery kubeflow schedule`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import ConfigOption, HostOption, NamespaceOption, ParamOption, SetOption

if TYPE_CHECKING:
    from components.config import Config
    from pipeline.kubeflow.client import Cluster
    from pipeline.kubeflow.cron import KubeflowCron
    from pipeline.kubeflow.schedule import Schedule


def schedule(
    config: ConfigOption,
    set_: SetOption = [],  # noqa: B006 (Typer copies it)
    cron: Annotated[
        str | None,
        typer.Option("--cron", metavar="FIELDS", help='Five cron fields, e.g. "0 3 * * *".'),
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(
            "--timezone", metavar="ZONE", help="That --cron is meant in; default: the cluster's."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="The schedule's name; default: the pipeline's.")
    ] = None,
    param: ParamOption = [],  # noqa: B006
    pause: Annotated[bool, typer.Option("--pause", help="Pause the schedule.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the schedule.")] = False,
    delete: Annotated[bool, typer.Option("--delete", help="Delete the schedule.")] = False,
    host: HostOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Submit the pipeline and run it by the clock; a schedule of the same name is replaced.

    Two runs of a schedule never overlap, and of runs missed during a pause only the latest is made up for.
    """
    from components.config import load_config
    from components.errors import MasteryError
    from pipeline.kubeflow import schedule as schedules
    from pipeline.kubeflow.client import connect
    from pipeline.kubeflow.submit import pipeline_name

    if [cron is not None, pause, resume, delete].count(True) != 1:
        raise MasteryError("expected one of --cron, --pause, --resume and --delete.")
    loaded = load_config(config, set_)
    name = name or pipeline_name(loaded.name)
    converted = _convert(cron, timezone, loaded.kubeflow.timezone) if cron is not None else None
    cluster = connect(loaded.kubeflow, host=host, namespace=namespace)
    if converted:
        _put(cluster, loaded, config, name, converted, param, set_)
        if converted.shifts_on:
            print(
                f"Kubeflow reads {loaded.kubeflow.timezone} only: from {converted.shifts_on} on, when clocks change, "
                f"these runs come at another hour of {timezone}. Give this command again then."
            )
    elif pause:
        _report("Paused", schedules.pause_schedule(cluster, loaded, name))
    elif resume:
        _report("Resumed", schedules.resume_schedule(cluster, loaded, name))
    else:
        _report("Deleted", schedules.delete_schedule(cluster, loaded, name))


def _convert(cron: str, zone: str | None, cluster_zone: str) -> KubeflowCron:
    from datetime import UTC, datetime

    from pipeline.kubeflow.cron import convert_cron

    return convert_cron(
        cron, zone=zone or cluster_zone, cluster_zone=cluster_zone, now=datetime.now(UTC)
    )


def _put(
    cluster: Cluster,
    config: Config,
    config_file: Path,
    name: str,
    cron: KubeflowCron,
    param: list[str],
    settings: list[str],
) -> None:
    from pipeline.kubeflow.parameters import check_parameters, read_parameters
    from pipeline.kubeflow.schedule import put_schedule
    from pipeline.kubeflow.submit import compiled, submit

    parameters = read_parameters(param)
    check_parameters(config_file, settings, parameters)
    with compiled(config, config_file, settings) as file:
        submission = submit(cluster, config.name, file)
    print(submission.describe())
    made, replaced = put_schedule(
        cluster, config, submission, name=name, cron=cron.expression, parameters=parameters
    )
    print(
        f'Scheduled {made.name} ({made.id}): "{made.cron}" in {config.kubeflow.timezone}; the first field is seconds.'
    )
    _report("Replaced", replaced)


def _report(word: str, schedules: list[Schedule]) -> None:
    for item in schedules:
        print(f'{word} schedule {item.name} ({item.id}): "{item.cron}".')
