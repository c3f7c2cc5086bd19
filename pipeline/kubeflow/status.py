"""How a run on the cluster stands: its tasks, and why it failed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from graphlib import TopologicalSorter
from typing import Any

from pydantic import BaseModel, Field

from components.errors import MasteryError
from pipeline.kubeflow.client import Cluster
from pipeline.kubeflow.errors import KubeflowError

ENDED = {"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"}
GATE_TASKS = {
    "gates"
}  # tasks of the compiled pipeline, in small letters, that fail where a gate does and never else
_NOT_FOUND = 404
_PLUMBING = re.compile(
    r"root|executor(\(\d+\))?|.*-driver(\(\d+\))?"
)  # steps that KFP adds around every task


class TaskStatus(BaseModel):
    """One task of a run."""

    name: str
    state: str = "PENDING"  # as KFP has it
    started: datetime | None = None
    seconds: float | None = None
    error: str | None = None
    pods: list[str] = Field(default_factory=list)

    @property
    def is_gate(self) -> bool:
        """Whether its failure means that a gate failed, and nothing else went wrong."""
        return self.name.lower() in GATE_TASKS


class RunStatus(BaseModel):
    """One run: how it stands, and where to watch it."""

    id: str
    name: str
    state: str  # as KFP has it
    created: datetime | None = None
    seconds: float | None = None
    error: str | None = None
    version: str | None = None  # ID of the pipeline's version
    schedule: str | None = None  # ID of the recurring run that started it
    link: str
    tasks: list[TaskStatus] = Field(default_factory=list)

    @property
    def failed_tasks(self) -> list[TaskStatus]:
        """The tasks that failed, in the order they started."""
        return [task for task in self.tasks if task.state == "FAILED"]


def exit_code(run: RunStatus) -> int:
    """Returns what `mastery run` would: 0 where the run succeeded, 1 where only a gate failed, else 2."""
    if run.state == "SUCCEEDED":
        return 0
    failed = run.failed_tasks
    return 1 if run.state == "FAILED" and failed and all(task.is_gate for task in failed) else 2


def read_status(cluster: Cluster, run_id: str, names: dict[str, str] | None = None) -> RunStatus:
    """Reads how a run stands.

    Args:
        cluster: where it runs.
        run_id: the run's ID.
        names: the pipeline's tasks, as `task_names` returns them; default: the cluster is asked for the pipeline.

    Raises:
        MasteryError: there is no such run.
        KubeflowError: the cluster refused or went away.
    """
    try:
        with cluster.explained():
            run = cluster.client.get_run(run_id)
    except KubeflowError as error:
        if error.status != _NOT_FOUND:
            raise
        raise MasteryError(
            f"{run_id}: expected the ID of a run on {cluster.host}, found none; `mastery kubeflow list` has them."
        ) from None
    wanted = task_names(_spec(cluster, run)) if names is None else names
    return summarise(cluster, run).model_copy(update={"tasks": _tasks(run, wanted)})


def summarise(cluster: Cluster, run: Any) -> RunStatus:
    """Returns a run as KFP's API has it without its tasks."""
    reference = run.pipeline_version_reference
    return RunStatus(
        id=run.run_id,
        name=run.display_name or "",
        state=run.state or "PENDING",
        created=run.created_at,
        seconds=_seconds(run.created_at, run.finished_at),
        error=_message(run.error),
        version=reference.pipeline_version_id if reference else None,
        schedule=run.recurring_run_id or None,
        link=cluster.link(run.run_id),
    )


def task_names(spec: dict[str, Any]) -> dict[str, str]:
    """Returns the tasks of a pipeline that are containers, in the order they run, by their keys in it.

    Tasks inside exit handlers and conditions, which are pipelines of their own in the file, are among them.

    Args:
        spec: a compiled pipeline's first YAML document.

    Returns:
        Key to the name that people know the task by.
    """
    return dict(_containers(spec.get("root", {}), spec.get("components", {})))


def _containers(part: dict[str, Any], components: dict[str, Any]) -> Iterator[tuple[str, str]]:
    tasks = part.get("dag", {}).get("tasks", {})
    order = TopologicalSorter({key: task.get("dependentTasks", []) for key, task in tasks.items()})
    for key in order.static_order():
        inner = components.get(tasks[key]["componentRef"]["name"], {})
        if "dag" in inner:
            yield from _containers(inner, components)
        else:
            yield key, tasks[key].get("taskInfo", {}).get("name", key)


def _spec(cluster: Cluster, run: Any) -> dict[str, Any]:
    """Returns the pipeline that a run was started from; empty where its version is no longer there."""
    spec, reference = run.pipeline_spec, run.pipeline_version_reference
    if not spec and reference:
        try:
            with cluster.explained():
                version = cluster.client.get_pipeline_version(
                    reference.pipeline_id, reference.pipeline_version_id
                )
        except KubeflowError as error:
            if error.status != _NOT_FOUND:
                raise
            return {}
        spec = version.pipeline_spec
    found: dict[str, Any] = (spec or {}).get(
        "pipeline_spec", spec or {}
    )  # beside a `platform_spec`, where it has one
    return found


def _tasks(run: Any, names: dict[str, str]) -> list[TaskStatus]:
    """Returns the pipeline's own tasks in the order they started, then those that wait or never came about."""
    details = (run.run_details.task_details if run.run_details else None) or []
    known = {
        **{name: name for name in names.values()},
        **names,
    }  # KFP's versions differ in which of the two they tell
    own = [
        detail
        for detail in details
        if (
            detail.display_name in known
            if names
            else not _PLUMBING.fullmatch(detail.display_name or "")
        )
    ]
    own.sort(key=lambda detail: _order(detail.start_time or detail.create_time))
    # Of several attempts the last one counts.
    latest = {known.get(detail.display_name, detail.display_name): detail for detail in own}
    started = [_task(name, detail, details) for name, detail in latest.items()]
    never = "SKIPPED" if run.state in ENDED else "PENDING"
    return started + [
        TaskStatus(name=name, state=never) for name in names.values() if name not in latest
    ]


def _task(name: str, detail: Any, details: list[Any]) -> TaskStatus:
    below = _below(detail, details)
    errors = [text for item in [*reversed(below), detail] if (text := _message(item.error))]
    pods = [
        child.pod_name
        for item in [detail, *below]
        for child in item.child_tasks or []
        if child.pod_name
    ]
    return TaskStatus(
        name=name,
        state=detail.state or "PENDING",
        started=_moment(detail.start_time),
        seconds=_seconds(detail.start_time, detail.end_time),
        error=errors[0] if errors and detail.state == "FAILED" else None,
        pods=[*dict.fromkeys(pods)],
    )


def _below(detail: Any, details: list[Any]) -> list[Any]:
    """Returns the steps inside a task, outermost first: KFP tells the reason of a failure at the innermost."""
    by_id = {item.task_id: item for item in details}
    found: list[Any] = []
    waiting = [detail]
    while waiting:
        children = [by_id.get(child.task_id) for child in waiting.pop(0).child_tasks or []]
        new = [item for item in children if item is not None and item not in found]
        found += new
        waiting += new
    return found


def _message(error: Any) -> str | None:
    return " ".join(str(error.message).split()) if error and error.message else None


def _order(time: datetime | None) -> float:
    return time.timestamp() if time else 0.0


def _moment(time: datetime | None) -> datetime | None:
    """Returns a time of KFP's, which writes the beginning of 1970 where there is none."""
    return time if time is not None and time.timestamp() > 0 else None


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    first, last = _moment(start), _moment(end)
    return (last - first).total_seconds() if first and last else None
