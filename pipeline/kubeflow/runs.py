"""Runs on the cluster: starts them, follows them, and prints them and the pipeline for people."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from pydantic import BaseModel, Field
from rich.table import Table

from pipeline.kubeflow.client import Cluster, KubeflowError
from pipeline.kubeflow.schedules import Schedule, list_schedules
from pipeline.kubeflow.status import (
    RunStatus,
    RuntimeState,
    TaskStatus,
    read_run,
    read_status,
    task_names,
)
from pipeline.kubeflow.submit import (
    Submission,
    find_or_create_experiment,
    find_pipeline,
    pipeline_name,
)
from pipeline.run.record import new_run_id

if TYPE_CHECKING:
    from components.command.console import PlainConsole
    from components.config import Config
    from pipeline.kubeflow.parameters import Value

PAUSE = 5.0  # seconds between two looks at a run
PATIENCE = 24  # looks in a row that may fail before following ends
VERSIONS = 10  # how many are listed
RUNS = 10
LOOKED_AT = 1000  # the namespace's latest runs, among which those of a pipeline are looked for

_MARKS = {
    RuntimeState.RUNNING: "▶",
    RuntimeState.SUCCEEDED: "✓",
    RuntimeState.SKIPPED: "–",
    RuntimeState.FAILED: "✗",
    RuntimeState.CANCELED: "✗",
    RuntimeState.CANCELING: "✗",
}
_ENDINGS = {
    RuntimeState.SUCCEEDED: "completed",
    RuntimeState.FAILED: "failed",
    RuntimeState.CANCELED: "was cancelled",
    RuntimeState.SKIPPED: "was skipped",
}


class PipelineVersion(BaseModel):
    """One version of a pipeline."""

    id: str
    name: str
    created: datetime | None = None


class PipelineListing(BaseModel):
    """A pipeline's versions, schedules and latest runs, newest first.

    Attributes:
        pipeline: its name.
        pipeline_id: its ID, None where it was never submitted.
        versions: the latest ones.
        schedules: all of them.
        runs: the latest ones, without their tasks.
    """

    pipeline: str
    pipeline_id: str | None = None
    versions: list[PipelineVersion] = Field(default_factory=list)
    schedules: list[Schedule] = Field(default_factory=list)
    runs: list[RunStatus] = Field(default_factory=list)


def start_run(
    cluster: Cluster, config: Config, submission: Submission, parameters: Mapping[str, Value]
) -> str:
    """Starts a run of a submitted pipeline and returns its ID.

    Args:
        cluster: where to.
        config: names the experiment, the service account and the run.
        submission: the version to run.
        parameters: values of the pipeline's parameters; those left out have their defaults.

    Raises:
        KubeflowError: the cluster refused or did not answer.
    """
    experiment_id = find_or_create_experiment(cluster, config)
    with cluster.translate_errors():
        run = cluster.client.run_pipeline(
            experiment_id,
            f"{config.name}-{new_run_id()}",
            params=dict(parameters),
            pipeline_id=submission.pipeline_id,
            version_id=submission.version_id,
            service_account=config.kubeflow.service_account,
        )
    return str(run.run_id)


def follow_run(cluster: Cluster, run_id: str, file: Path, console: PlainConsole) -> RunStatus:
    """Prints a line whenever a task's state changes, until the run has ended, and returns its end.

    `kfp.Client.wait_for_run_completion` would wait for ever for a run that is cancelled, and give
    up at the first request that fails.

    Args:
        cluster: where the run is.
        run_id: its ID.
        file: the compiled pipeline; it names the tasks.
        console: what to print on.

    Raises:
        KubeflowError: the cluster refused, or did not answer `PATIENCE` looks; the run itself goes
            on.
    """
    names = task_names(next(yaml.safe_load_all(file.read_text(encoding="utf-8"))))
    printed: dict[str, RuntimeState] = {}
    failures = 0
    while True:
        try:
            run = read_status(cluster, run_id, names)
            failures = 0
        except KubeflowError as error:
            failures += 1
            if not error.is_temporary or failures > PATIENCE:
                raise
            time.sleep(PAUSE)
            continue

        for task in run.tasks:
            if task.state != printed.get(task.key, RuntimeState.PENDING):
                printed[task.key] = task.state
                print_task(task, console)
        if run.state.is_final:
            return run
        time.sleep(PAUSE)


def list_pipeline(cluster: Cluster, config: Config) -> PipelineListing:
    """Lists the versions, schedules and runs of a configuration's pipeline.

    Raises:
        KubeflowError: the cluster refused or did not answer.
    """
    name = pipeline_name(config.name)
    pipeline_id = find_pipeline(cluster, config.name)
    if pipeline_id is None:
        return PipelineListing(pipeline=name)
    return PipelineListing(
        pipeline=name,
        pipeline_id=pipeline_id,
        versions=_latest_versions(cluster, pipeline_id),
        schedules=list_schedules(cluster, pipeline_id),
        runs=_latest_runs(cluster, pipeline_id),
    )


def _latest_versions(cluster: Cluster, pipeline_id: str) -> list[PipelineVersion]:
    versions = cluster.pages(
        cluster.client.list_pipeline_versions, "pipeline_versions", pipeline_id=pipeline_id
    )
    return [
        PipelineVersion(
            id=version.pipeline_version_id,
            name=version.display_name or version.name,
            created=version.created_at,
        )
        for version in itertools.islice(versions, VERSIONS)
    ]


def _latest_runs(cluster: Cluster, pipeline_id: str) -> list[RunStatus]:
    """Returns a pipeline's runs among the namespace's latest: the API has no filter by pipeline."""
    runs = cluster.pages(cluster.client.list_runs, "runs", namespace=cluster.namespace)
    own = (
        run
        for run in itertools.islice(runs, LOOKED_AT)
        if run.pipeline_version_reference
        and run.pipeline_version_reference.pipeline_id == pipeline_id
    )
    return [read_run(cluster, run) for run in itertools.islice(own, RUNS)]


def print_task(task: TaskStatus, console: PlainConsole) -> None:
    """Prints one line: mark, state, how long it took, and the name, which may be long."""
    seconds = "" if task.seconds is None else f"{task.seconds:.1f} s"
    line = f"{_MARKS.get(task.state, '·')} {task.state.lower():<10}{seconds:>10}  {task.name}"
    console.print(line, soft_wrap=True)


def print_ending(run: RunStatus, console: PlainConsole) -> None:
    """Prints why a run failed and how it ended."""
    for task in run.failed_tasks:
        reason = task.error or "Kubeflow Pipelines gives no reason; look into the task's log"
        pods = f" (pod {', '.join(task.pods)})" if task.pods else ""
        what = "a gate failed" if task.is_gate else "failed"
        console.print(f"{task.name}: {what}: {reason}{pods}", style="bold red", soft_wrap=True)
    if run.error:
        console.print(run.error, soft_wrap=True)

    if run.exit_code == 1:
        ending = "completed, but a gate failed,"
    else:
        ending = _ENDINGS.get(run.state, f"is {run.state.lower()}")
    after = "" if run.seconds is None else f" after {run.seconds:.1f} s"
    console.print(f"Run      {run.id} {ending}{after}", soft_wrap=True)


def print_status(run: RunStatus, console: PlainConsole) -> None:
    """Prints a run with all its tasks."""
    for task in run.tasks:
        print_task(task, console)
    print_ending(run, console)
    console.print(f"Watch    {run.link}", soft_wrap=True)


def print_listing(listing: PipelineListing, console: PlainConsole) -> None:
    """Prints tables of a pipeline's versions, schedules and latest runs."""
    if listing.pipeline_id is None:
        console.print(f"{listing.pipeline} has not been submitted here yet.")
        return

    versions = _table("Versions", "Version", "ID", "Uploaded")
    for version in listing.versions:
        versions.add_row(version.name, version.id, _local_time(version.created))

    schedules = _table("Schedules", "Schedule", "ID", "Cron", "State", "Version")
    names = {version.id: version.name for version in listing.versions}
    for schedule in listing.schedules:
        state = "enabled" if schedule.enabled else "paused"
        version_name = names.get(schedule.version or "", schedule.version or "")
        schedules.add_row(schedule.name, schedule.id, schedule.cron or "", state, version_name)

    runs = _table("Latest runs", "Run", "ID", "State", "Started", "Seconds")
    for run in listing.runs:
        seconds = "" if run.seconds is None else f"{run.seconds:.1f}"
        runs.add_row(run.name, run.id, run.state.lower(), _local_time(run.created), seconds)

    for table in (versions, schedules, runs):
        console.print(table if table.row_count else f"{table.title}: none")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=column == "ID", overflow="fold")  # half an ID is useless
    return table


def _local_time(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M}"
