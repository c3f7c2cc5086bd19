"""The state of a run on the cluster: its tasks, why it failed, and its exit code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from graphlib import TopologicalSorter
from typing import Any

from pydantic import BaseModel, Field

from components.errors import MasteryError
from pipeline.kubeflow.client import NOT_FOUND, Cluster, KubeflowError
from pipeline.kubeflow.tasks import GATES_TASK

_PASSED, _GATE_FAILED, _ERROR = 0, 1, 2  # exit codes of `mastery run`
# Steps that KFP adds around every task.
_PLUMBING = re.compile(r"root|executor(\(\d+\))?|.*-driver(\(\d+\))?")


class RuntimeState(StrEnum):
    """State of a run or a task, in KFP's words."""

    UNSPECIFIED = "RUNTIME_STATE_UNSPECIFIED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    CANCELING = "CANCELING"
    SUCCEEDED = "SUCCEEDED"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"

    @classmethod
    def read(cls, text: str | None) -> RuntimeState:
        """Returns the state that KFP's API names; an empty one is that of a run that waits."""
        if not text:
            return cls.PENDING
        return cls(text) if text in cls.__members__ else cls.UNSPECIFIED

    @property
    def is_final(self) -> bool:
        """Whether a run in this state has ended."""
        return self in (self.SUCCEEDED, self.SKIPPED, self.FAILED, self.CANCELED)


class TaskStatus(BaseModel):
    """One task of a run.

    Attributes:
        key: of the task in the compiled pipeline; empty where that is no longer on the cluster.
        name: the name that people see.
        state: of its last attempt.
        started: when its last attempt started, None before that.
        seconds: how long that took, None before its end.
        error: why it failed, in KFP's words.
        pods: those it ran in.
    """

    key: str = ""
    name: str
    state: RuntimeState = RuntimeState.PENDING
    started: datetime | None = None
    seconds: float | None = None
    error: str | None = None
    pods: list[str] = Field(default_factory=list)

    @property
    def is_gate(self) -> bool:
        """Whether it fails when a gate did, and never otherwise."""
        return self.key == GATES_TASK


class RunStatus(BaseModel):
    """One run: its state, and where to watch it.

    Attributes:
        id: KFP's ID.
        name: the name that people see.
        state: of the run as a whole.
        created: when it was created.
        seconds: how long it took, None before its end.
        error: why it failed, in KFP's words.
        version: ID of the pipeline's version.
        schedule: ID of the schedule that started it, None for a run that a person started.
        link: its page in Kubeflow's user interface.
        tasks: in the order they started, then those that did not; empty in a listing.
    """

    id: str
    name: str
    state: RuntimeState
    created: datetime | None = None
    seconds: float | None = None
    error: str | None = None
    version: str | None = None
    schedule: str | None = None
    link: str
    tasks: list[TaskStatus] = Field(default_factory=list)

    @property
    def failed_tasks(self) -> list[TaskStatus]:
        """The tasks that failed, in the order they started."""
        return [task for task in self.tasks if task.state == RuntimeState.FAILED]

    @property
    def exit_code(self) -> int:
        """The exit code of `mastery run`: 0 after a success, 1 if only a gate failed, else 2."""
        if self.state == RuntimeState.SUCCEEDED:
            return _PASSED
        failed = self.failed_tasks
        only_gates = bool(failed) and all(task.is_gate for task in failed)
        return _GATE_FAILED if self.state == RuntimeState.FAILED and only_gates else _ERROR


def read_status(cluster: Cluster, run_id: str, names: dict[str, str] | None = None) -> RunStatus:
    """Reads the state of a run.

    Args:
        cluster: where it runs.
        run_id: the run's ID.
        names: the pipeline's tasks, as `task_names` returns them; default: those of the pipeline
            that the cluster has.

    Raises:
        MasteryError: there is no such run.
        KubeflowError: the cluster refused or did not answer.
    """
    try:
        with cluster.translate_errors():
            run = cluster.client.get_run(run_id)
    except KubeflowError as error:
        if error.status != NOT_FOUND:
            raise
        raise MasteryError(
            f"{run_id}: there is no run with this ID on {cluster.host}; "
            "`mastery kubeflow list` lists the IDs."
        ) from None

    if names is None:
        names = task_names(_spec_of(cluster, run))
    return read_run(cluster, run).model_copy(update={"tasks": _read_tasks(run, names)})


def read_run(cluster: Cluster, run: Any) -> RunStatus:
    """Returns a run of KFP's API without its tasks."""
    reference = run.pipeline_version_reference
    return RunStatus(
        id=run.run_id,
        name=run.display_name or "",
        state=RuntimeState.read(run.state),
        created=run.created_at,
        seconds=_seconds(run.created_at, run.finished_at),
        error=_message(run.error),
        version=reference.pipeline_version_id if reference else None,
        schedule=run.recurring_run_id or None,
        link=cluster.link(run.run_id),
    )


def task_names(spec: dict[str, Any]) -> dict[str, str]:
    """Returns the tasks of a pipeline that are containers, in the order they run.

    Tasks inside exit handlers and conditions, which are pipelines of their own in the file, are
    among them.

    Args:
        spec: a compiled pipeline's first YAML document.

    Returns:
        Key of the task in the file to the name that people see.
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


def _spec_of(cluster: Cluster, run: Any) -> dict[str, Any]:
    """Returns the pipeline that a run was started from; empty where its version was deleted."""
    spec = run.pipeline_spec
    reference = run.pipeline_version_reference
    if not spec and reference:
        try:
            with cluster.translate_errors():
                version = cluster.client.get_pipeline_version(
                    reference.pipeline_id, reference.pipeline_version_id
                )
        except KubeflowError as error:
            if error.status != NOT_FOUND:
                raise
            return {}
        spec = version.pipeline_spec

    spec = spec or {}
    # If the file has two documents, the API returns each under a key.
    found: dict[str, Any] = spec.get("pipeline_spec", spec)
    return found


def _read_tasks(run: Any, names: dict[str, str]) -> list[TaskStatus]:
    """Returns the pipeline's own tasks in the order they started, then those that did not start."""
    details = (run.run_details.task_details if run.run_details else None) or []
    own = [detail for detail in details if _is_own(detail, names)]
    own.sort(key=lambda detail: _order(detail.start_time or detail.create_time))

    # KFP's API names a task by its key or by its name, depending on the version.
    keys = {**{name: key for key, name in names.items()}, **{key: key for key in names}}
    last_attempts = {keys.get(detail.display_name, detail.display_name): detail for detail in own}
    tasks = [
        _read_task(key if key in names else "", names.get(key, key), detail, details)
        for key, detail in last_attempts.items()
    ]

    started = {task.key for task in tasks}
    is_over = RuntimeState.read(run.state).is_final
    state = RuntimeState.SKIPPED if is_over else RuntimeState.PENDING
    return tasks + [
        TaskStatus(key=key, name=name, state=state)
        for key, name in names.items()
        if key not in started
    ]


def _is_own(detail: Any, names: dict[str, str]) -> bool:
    """Returns whether an item of KFP's list is a task of the pipeline, not a step inside one."""
    shown = detail.display_name or ""
    if names:
        return shown in names or shown in names.values()
    return not _PLUMBING.fullmatch(shown)


def _read_task(key: str, name: str, detail: Any, details: list[Any]) -> TaskStatus:
    steps = [detail, *_steps_of(detail, details)]
    errors = [text for step in reversed(steps) if (text := _message(step.error))]
    pods = [child.pod_name for step in steps for child in step.child_tasks or [] if child.pod_name]
    state = RuntimeState.read(detail.state)
    return TaskStatus(
        key=key,
        name=name,
        state=state,
        started=_moment(detail.start_time),
        seconds=_seconds(detail.start_time, detail.end_time),
        error=errors[0] if errors and state == RuntimeState.FAILED else None,
        pods=[*dict.fromkeys(pods)],
    )


def _steps_of(detail: Any, details: list[Any]) -> list[Any]:
    """Returns the steps inside a task, outermost first; the innermost knows why it failed."""
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
    first = _moment(start)
    last = _moment(end)
    return (last - first).total_seconds() if first and last else None
