"""Starting a run, following it to its end, and asking how one stands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kfp import compiler

from tests.pipeline.kubeflow.conftest import Mastery
from tests.pipeline.kubeflow.kfp_pipeline import algebra
from tests.pipeline.kubeflow.stages import task, tasks
from tests.pipeline.kubeflow.stand_in import RefusedError, StandIn

PASSED = [
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
TRAINER_FAILED = [
    ("FAILED", tasks(task("trainer", "FAILED", 0, error="main: Error\n (exit code 137)")))
]
GATE_FAILED = [
    (
        "FAILED",
        tasks(
            task("trainer", "SUCCEEDED", 0),
            task("gates", "FAILED", 31, error="f1_macro 0.41 < 0.5"),
        ),
    )
]


def test_a_run_has_its_parameters_experiment_and_version(
    mastery: Mastery, cluster: StandIn
) -> None:
    account = ("--set", "kubeflow.service_account=trainer")
    code, out, err = mastery("run", "--param", "push=false", "--param", "events=2 of 3", *account)
    [run], [version], [experiment] = (
        cluster.runs.values(),
        cluster.versions.values(),
        cluster.experiments.values(),
    )
    assert (code, err) == (0, "")
    assert run.runtime_config.parameters == {"push": False, "events": "2 of 3"}
    assert run.pipeline_version_reference.pipeline_version_id == version.pipeline_version_id
    assert run.experiment_id == experiment.experiment_id
    assert run.service_account == "trainer"
    assert experiment.display_name == "algebra"
    assert run.display_name.startswith("algebra-2")
    assert f"Started run {run.run_id}.\n" in out


def test_the_experiment_of_the_configuration_is_made_once(
    mastery: Mastery, cluster: StandIn
) -> None:
    for _ in range(2):
        mastery("run", "--set", "kubeflow.experiment=spring")
    assert [item.display_name for item in cluster.experiments.values()] == ["spring"]
    assert len(cluster.runs) == 2


@pytest.mark.parametrize(
    ("parameter", "says"),
    [
        ("push=2.5", "--param push: expected true or false, found '2.5'"),
        ("push=", "--param push: expected true or false, found ''"),
        (
            "spam=2",
            "expected one of events, gates, only_new_data, outcomes, push, span, warm_start",
        ),
        ("spam=2", "found 'spam'; did you mean span?"),
        ("epochs=2", "found 'epochs'."),
        ("push", "--param push: expected name=value"),
        ("=true", "--param =true: expected name=value"),
    ],
)
def test_a_wrong_parameter_starts_nothing(
    mastery: Mastery, cluster: StandIn, parameter: str, says: str
) -> None:
    code, _, err = mastery("run", "--param", parameter)
    assert code == 2
    assert says in err
    assert not cluster.pipelines
    assert not cluster.runs


@pytest.mark.parametrize(
    ("parameter", "says"),
    [
        (
            "gates=[{metric: f2, min: 1}]",
            "--param gates, gates[0].metric: expected one of accuracy",
        ),
        (
            "gates=[{metric: f1_macro, min: .inf}]",
            "--param gates, gates[0].min: expected a finite number, found inf",
        ),
        (
            "gates=[{metric: auc, class: maybe, min: 0.5}]",
            "gates[0].class: expected one of no, yes, found 'maybe'",
        ),
        ("gates=[]", "--param gates: list should have at least 1 item"),
        ("span=last:0", "--param span: expected newest"),
        ("span=2026-11-20", "span 2026-11-20: expected {SPAN} or"),
    ],
)
@pytest.mark.parametrize(
    "command", [("run",), ("schedule", "--cron", "0 3 * * *")], ids=["run", "schedule"]
)
def test_a_parameter_that_the_containers_would_refuse_sends_nothing(
    mastery: Mastery,
    cluster: StandIn,
    command: tuple[str, ...],
    parameter: str,
    says: str,
) -> None:
    code, out, err = mastery(*command, "--param", parameter)
    assert (code, out) == (2, "")
    assert says in err
    assert not cluster.pipelines
    assert not cluster.versions
    assert not cluster.runs
    assert not cluster.schedules


def test_a_run_is_followed_to_its_success(mastery: Mastery, cluster: StandIn) -> None:
    cluster.stages = [*PASSED]
    code, out, _ = mastery("run", "--wait")
    assert code == 0
    lines = [line.split() for line in out.splitlines()[3:]]
    assert lines == [
        ["▶", "running", "trainer"],
        ["✓", "succeeded", "30.0", "s", "trainer"],
        ["▶", "running", "gates"],
        ["✓", "succeeded", "30.0", "s", "gates"],
        ["✓", "succeeded", "30.0", "s", "pusher"],
        ["Run", *cluster.runs, "completed", "after", "90.0", "s"],
    ]


@pytest.mark.parametrize(
    ("stages", "code", "says"),
    [
        (TRAINER_FAILED, 2, "trainer: failed: main: Error (exit code 137) (pod algebra-x-trainer)"),
        (GATE_FAILED, 1, "gates: a gate failed: f1_macro 0.41 < 0.5"),
        ([("CANCELED", [])], 2, "was cancelled"),
    ],
)
def test_how_a_run_ends_is_the_exit_code(
    mastery: Mastery, cluster: StandIn, stages: list[tuple[str, list[object]]], code: int, says: str
) -> None:
    cluster.stages = [*PASSED[:2], *stages]
    ended, out, _ = mastery("run", "--wait")
    assert ended == code
    assert says in out


def test_following_outlives_a_server_that_restarts(mastery: Mastery, cluster: StandIn) -> None:
    cluster.stages = [*PASSED]
    refusals = [
        None,
        RefusedError(503, "no healthy upstream"),
        RefusedError(503, "no healthy upstream"),
    ]
    cluster.refuse = lambda name: (
        refusals.pop() if refusals and name == "run_service_get_run" else None
    )
    assert mastery("run", "--wait")[0] == 0


def test_following_ends_where_the_token_does(mastery: Mastery, cluster: StandIn) -> None:
    cluster.refuse = lambda name: (
        RefusedError(401, "expired") if name == "run_service_get_run" else None
    )
    code, out, err = mastery("run", "--wait")
    assert code == 2
    assert "Started run" in out
    assert "authentication required (401: expired)" in err


def test_an_interrupt_leaves_the_run_alone(
    mastery: Mastery, cluster: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    cluster.stages = [*PASSED]
    monkeypatch.setattr("pipeline.kubeflow.run.time.sleep", interrupt)
    code, out, _ = mastery("run", "--wait")
    [run_id] = cluster.runs
    assert code == 130
    assert out.endswith(f"The run goes on: mastery kubeflow status {run_id}\n")


def test_the_status_has_tasks_and_the_reason(mastery: Mastery, cluster: StandIn) -> None:
    mastery("run")
    [run_id] = cluster.runs
    cluster.stages = [*TRAINER_FAILED]
    code, out, _ = mastery("status", run_id)
    assert code == 0
    assert [line.split() for line in out.splitlines()[:3]] == [
        ["✗", "failed", "30.0", "s", "trainer"], ["–", "skipped", "gates"], ["–", "skipped", "pusher"]
    ]  # fmt: skip
    assert "trainer: failed: main: Error (exit code 137)" in out
    assert f"/#/runs/details/{run_id}" in out


def test_the_status_as_json(mastery: Mastery, cluster: StandIn) -> None:
    mastery("run")
    [run_id] = cluster.runs
    cluster.stages = [*GATE_FAILED]
    status = json.loads(mastery("status", run_id, "--json")[1])
    assert (status["id"], status["state"], status["seconds"]) == (run_id, "FAILED", 90.0)
    assert [(item["name"], item["state"]) for item in status["tasks"]] == [
        ("trainer", "SUCCEEDED"), ("gates", "FAILED"), ("pusher", "SKIPPED")
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


def test_the_status_of_no_run(mastery: Mastery, cluster: StandIn) -> None:
    code, _, err = mastery("status", "run-99")
    assert code == 2
    assert "run-99: expected the ID of a run on http://127.0.0.1" in err
    assert not cluster.runs


def test_a_file_of_kfp_s_own_compiler_is_read(
    mastery: Mastery, cluster: StandIn, compiled: Path
) -> None:
    compiler.Compiler().compile(algebra, str(compiled))
    # The trainer by its key in the file, the others by their names: Kubeflow's versions differ in which they tell.
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
