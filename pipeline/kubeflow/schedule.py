"""Recurring runs: one schedule of a name, never two runs of it at once, no catching up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from components.config import Config
from components.errors import MasteryError
from pipeline.kubeflow.client import Cluster, named
from pipeline.kubeflow.errors import KubeflowError
from pipeline.kubeflow.submit import (
    Submission,
    find_or_create_experiment,
    find_pipeline,
    pipeline_name,
)

_NOT_FOUND = 404


class Schedule(BaseModel):
    """One recurring run."""

    id: str
    name: str
    cron: str | None = None  # six fields, the first of them the second
    enabled: bool
    version: str | None = None  # ID of the pipeline's version
    created: datetime | None = None


def put_schedule(
    cluster: Cluster,
    config: Config,
    submission: Submission,
    *,
    name: str,
    cron: str,
    parameters: dict[str, Any],
) -> tuple[Schedule, list[Schedule]]:
    """Makes a schedule, and then deletes those of the same name that were there before.

    In this order a request that fails never leaves the pipeline without a schedule.

    Args:
        cluster: where to.
        config: says the experiment and the service account.
        submission: the version to run.
        name: the schedule's name, its own among those of this pipeline.
        cron: six fields, as `pipeline.kubeflow.cron` makes them.
        parameters: values of the pipeline's parameters, typed.

    Returns:
        The new schedule, and those it replaced.

    Raises:
        MasteryError: the new one was made, but an old one could not be deleted.
        KubeflowError: the cluster refused or went away before the new one was made.
    """
    before = list_schedules(cluster, submission.pipeline_id, name)
    experiment_id = find_or_create_experiment(cluster, config)
    with cluster.explained():
        made = cluster.client.create_recurring_run(
            experiment_id,
            name,
            cron_expression=cron,
            max_concurrency=1,  # a run that is due while the last one still runs waits for it
            no_catchup=True,  # after a pause the latest missed run is made up for, not all of them
            params=parameters,
            pipeline_id=submission.pipeline_id,
            version_id=submission.version_id,
            service_account=config.kubeflow.service_account,
            enabled=True,
        )
    for old in before:
        try:
            _delete(cluster, old)
        except KubeflowError as error:
            raise MasteryError(
                f"Schedule {made.recurring_run_id} was made, but the one before it, {old.id}, could not be deleted "
                f"and runs as well. Give the same command again.\n{error}"
            ) from None
    return _read(made), before


def pause_schedule(cluster: Cluster, config: Config, name: str) -> list[Schedule]:
    """Pauses the schedules of a name and returns them."""
    return _change(
        cluster, config, name, lambda item: cluster.client.disable_recurring_run(item.id)
    )


def resume_schedule(cluster: Cluster, config: Config, name: str) -> list[Schedule]:
    """Resumes the newest schedule of a name and returns it."""
    return _change(
        cluster,
        config,
        name,
        lambda item: cluster.client.enable_recurring_run(item.id),
        newest=True,
    )


def delete_schedule(cluster: Cluster, config: Config, name: str) -> list[Schedule]:
    """Deletes the schedules of a name and returns them; runs that they have started go on."""
    return _change(cluster, config, name, lambda item: _delete(cluster, item))


def list_schedules(cluster: Cluster, pipeline_id: str, name: str | None = None) -> list[Schedule]:
    """Returns the schedules of a pipeline, the newest first; of one name, or all of them."""
    options = {"filter": named(name)} if name else {}
    items = cluster.pages(
        cluster.client.list_recurring_runs, "recurring_runs", namespace=cluster.namespace, **options
    )  # of every experiment: the configuration may have named another one before
    # The server's filter takes capitals for small letters, and knows nothing of pipelines.
    return [
        _read(item)
        for item in items
        if _pipeline_of(item) == pipeline_id and name in (None, item.display_name)
    ]


def _change(
    cluster: Cluster,
    config: Config,
    name: str,
    change: Callable[[Schedule], Any],
    *,
    newest: bool = False,
) -> list[Schedule]:
    pipeline_id = find_pipeline(cluster, config.name)
    found = list_schedules(cluster, pipeline_id, name) if pipeline_id else []
    if not found:
        raise MasteryError(
            f"expected a schedule {name!r} of pipeline {pipeline_name(config.name)} on {cluster.host}, found none; "
            "`mastery kubeflow list` has those that are there."
        )
    changed = found[:1] if newest else found
    for item in changed:
        with cluster.explained():
            change(item)
    return changed


def _delete(cluster: Cluster, schedule: Schedule) -> None:
    try:
        with cluster.explained():
            cluster.client.delete_recurring_run(schedule.id)
    except KubeflowError as error:
        if error.status != _NOT_FOUND:  # somebody else has deleted it
            raise


def _pipeline_of(item: Any) -> str | None:
    reference = item.pipeline_version_reference
    return reference.pipeline_id if reference else None


def _read(item: Any) -> Schedule:
    cron = item.trigger.cron_schedule if item.trigger else None
    reference = item.pipeline_version_reference
    return Schedule(
        id=item.recurring_run_id,
        name=item.display_name or "",
        cron=cron.cron if cron else None,
        enabled=item.status == "ENABLED" if item.status else item.mode == "ENABLE",
        version=reference.pipeline_version_id if reference else None,
        created=item.created_at,
    )
