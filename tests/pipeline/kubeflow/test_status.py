"""The status of a run on the cluster: its tasks by key and name, and why it failed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kfp import compiler

from pipeline.kubeflow.status import RunStatus, RuntimeState, TaskStatus
from tests.pipeline.kubeflow.conftest import Mastery
from tests.pipeline.kubeflow.kfp_pipeline import algebra
from tests.pipeline.kubeflow.stages import GATE_FAILED, TRAINER_FAILED, task, tasks
from tests.pipeline.kubeflow.stand_in import RefusedError, StandIn


def run_status(state: str, **failed: str) -> RunStatus:
    tasks = [
        TaskStatus(key=key, name=name, state=RuntimeState.FAILED) for key, name in failed.items()
    ]
    return RunStatus(id="1", name="a", state=RuntimeState.read(state), link="", tasks=tasks)


@pytest.mark.parametrize(
    ("run", "code"),
    [
        (run_status("SUCCEEDED"), 0),
        (run_status("FAILED", gates="Quality"), 1),
        (run_status("FAILED", trainer="Gates"), 2),
        (run_status("FAILED", gates="Gates", pusher="Pusher"), 2),
        (run_status("FAILED"), 2),
        (run_status("CANCELED", gates="Gates"), 2),
        (run_status("RUNNING"), 2),
    ],
)
def test_the_exit_code_depends_on_states_and_keys(run: RunStatus, code: int) -> None:
    assert run.exit_code == code


def test_states_are_kfp_s_and_an_unknown_one_is_not_final() -> None:
    import kfp_server_api

    published = set(kfp_server_api.V2beta1RuntimeState.allowable_values)
    assert published == {*RuntimeState}
    assert RuntimeState.read(None) == RuntimeState.PENDING
    assert RuntimeState.read("HIBERNATING") == RuntimeState.UNSPECIFIED
    assert not RuntimeState.UNSPECIFIED.is_final


def test_the_status_has_tasks_and_the_reason(mastery: Mastery, cluster: StandIn) -> None:
    mastery("run")
    [run_id] = cluster.runs
    cluster.stages = [*TRAINER_FAILED]
    code, out, _ = mastery("status", run_id)
    assert code == 0
    assert [line.split() for line in out.splitlines()[:3]] == [
        ["✗", "failed", "30.0", "s", "trainer"], ["–", "skipped", "gates"], ["–", "skipped",
        "pusher"]
    ]  # fmt: skip
    assert "trainer: failed: main: Error (exit code 137)" in out
    assert f"/#/runs/details/{run_id}" in out


def test_the_status_as_json(mastery: Mastery, cluster: StandIn) -> None:
    mastery("run")
    [run_id] = cluster.runs
    cluster.stages = [*GATE_FAILED]
    status = json.loads(mastery("status", run_id, "--json")[1])
    assert (status["id"], status["state"], status["seconds"]) == (run_id, "FAILED", 90.0)
    assert [(item["key"], item["name"], item["state"]) for item in status["tasks"]] == [
        ("trainer", "trainer", "SUCCEEDED"),
        ("gates", "gates", "FAILED"),
        ("pusher", "pusher", "SKIPPED"),
    ]  # fmt: skip
    assert status["tasks"][1]["error"] == "f1_macro 0.41 < 0.5"


def test_the_status_of_a_version_that_is_gone_has_the_tasks_that_started(
    mastery: Mastery, cluster: StandIn
) -> None:
    mastery("run")
    cluster.versions.clear()
    cluster.stages = [("RUNNING", tasks(task("trainer", "RUNNING", 0))[1:])]
    status = json.loads(mastery("status", *cluster.runs, "--json")[1])
    assert "trainer" in [item["name"] for item in status["tasks"]]
    assert "executor" not in [item["name"] for item in status["tasks"]]


def test_the_status_of_an_unknown_run_is_an_error(mastery: Mastery, cluster: StandIn) -> None:
    code, _, err = mastery("status", "run-99")
    assert code == 2
    assert "run-99: there is no run with this ID on http://127.0.0.1" in err
    assert not cluster.runs


def test_a_version_that_cannot_be_read_is_an_error(mastery: Mastery, cluster: StandIn) -> None:
    mastery("run")
    cluster.refuse = lambda name: (
        RefusedError(403, "no get on versions") if name.endswith("get_pipeline_version") else None
    )
    code, _, err = mastery("status", *cluster.runs)
    assert code == 2
    assert "403: no get on versions" in err


def test_a_run_that_cannot_be_read_is_an_error(mastery: Mastery, cluster: StandIn) -> None:
    mastery("run")
    cluster.refuse = lambda name: (
        RefusedError(403, "no get on runs") if name == "run_service_get_run" else None
    )
    code, _, err = mastery("status", *cluster.runs)
    assert code == 2
    assert "403: no get on runs" in err


def test_a_file_of_kfp_s_own_compiler_is_read(
    mastery: Mastery, cluster: StandIn, compiled: Path
) -> None:
    compiler.Compiler().compile(algebra, str(compiled))
    # The trainer by its key in the file, the others by their names: versions of Kubeflow differ.
    started = ["node-2", "Pusher", "Finish"]
    waits = ("RUNNING", tasks())
    cluster.stages = [
        waits,
        ("SUCCEEDED", tasks(*(task(name, "SUCCEEDED", at) for at, name in enumerate(started)))),
    ]
    code, out, _ = mastery("run", "--wait", "--param", "push=true", "--param", "events=a b")
    [run] = cluster.runs.values()
    assert code == 0
    assert run.runtime_config.parameters == {"push": True, "events": "a b"}
    assert [line.split()[-1] for line in out.splitlines() if line.startswith("✓")] == [
        "Trainer",
        "Pusher",
        "Finish",
    ]
    cluster.stages = [waits]
    status = json.loads(mastery("status", run.run_id, "--json")[1])
    assert [(item["name"], item["state"]) for item in status["tasks"]] == [
        ("Trainer", "PENDING"), ("Pusher", "PENDING"), ("Finish", "PENDING")
    ]  # fmt: skip
