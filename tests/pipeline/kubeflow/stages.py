"""Stages of runs as Kubeflow Pipelines reports them: a task has steps around and inside it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import kfp_server_api as api

from tests.pipeline.kubeflow.stand_in import START, Stage

NEVER = datetime.fromtimestamp(0, UTC)  # what KFP writes where a time is not known yet


def task(
    name: str, state: str, start: int, *, error: str | None = None
) -> list[api.V2beta1PipelineTaskDetail]:
    """Returns KFP's report of a task that started `start` seconds into the run, and its steps."""
    started = START + timedelta(seconds=start)
    ended = started + timedelta(seconds=30) if state in ("SUCCEEDED", "FAILED") else NEVER
    reason = api.GoogleRpcStatus(code=2, message=error) if error else None
    executor = api.V2beta1PipelineTaskDetail(
        task_id=f"{name}-executor",
        display_name="executor",
        state=state,
        create_time=started,
        start_time=started,
        end_time=ended,
        error=reason,
    )
    driver = api.V2beta1PipelineTaskDetail(
        task_id=f"{name}-driver",
        display_name=f"{name}-driver",
        state="SUCCEEDED",
        create_time=started,
    )
    itself = api.V2beta1PipelineTaskDetail(
        task_id=name,
        display_name=name,
        state=state,
        create_time=started,
        start_time=started,
        end_time=ended,
        child_tasks=[
            api.PipelineTaskDetailChildTask(task_id=executor.task_id, pod_name=f"algebra-x-{name}")
        ],
    )
    return [driver, executor, itself]


def tasks(*groups: list[api.V2beta1PipelineTaskDetail]) -> list[api.V2beta1PipelineTaskDetail]:
    """Returns the tasks of a run, with the steps that KFP puts around all of them."""
    around = [
        api.V2beta1PipelineTaskDetail(
            task_id=name, display_name=name, state="RUNNING", create_time=START
        )
        for name in ("root", "root-driver", "algebra-x")
    ]
    return [*around, *(item for group in groups for item in group)]


PASSED: list[Stage] = [
    ("PENDING", []),
    ("RUNNING", tasks(task("trainer", "RUNNING", 0))),
    ("RUNNING", tasks(task("trainer", "SUCCEEDED", 0), task("gates", "RUNNING", 31))),
    (
        "SUCCEEDED",
        tasks(
            *(
                task(name, "SUCCEEDED", 31 * at)
                for at, name in enumerate(["trainer", "gates", "pusher"])
            )
        ),
    ),
]
TRAINER_FAILED: list[Stage] = [
    ("FAILED", tasks(task("trainer", "FAILED", 0, error="main: Error\n (exit code 137)")))
]
GATE_FAILED: list[Stage] = [
    (
        "FAILED",
        tasks(
            task("trainer", "SUCCEEDED", 0),
            task("gates", "FAILED", 31, error="f1_macro 0.41 < 0.5"),
        ),
    )
]
