"""Starting a run, following it to its end, and listing a pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.pipeline.kubeflow.conftest import Mastery
from tests.pipeline.kubeflow.stages import GATE_FAILED, PASSED, TRAINER_FAILED, task, tasks
from tests.pipeline.kubeflow.stand_in import RefusedError, Stage, StandIn


def test_a_run_has_its_parameters_experiment_and_version(
    mastery: Mastery, cluster: StandIn
) -> None:
    account = ("--set", "kubeflow.service_account=trainer")
    code, out, err = mastery("run", "--param", "push=false", "--param", "events=2 of 3", *account)
    [run] = cluster.runs.values()
    [version] = cluster.versions.values()
    [experiment] = cluster.experiments.values()
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
def test_the_exit_code_depends_on_how_the_run_ends(
    mastery: Mastery, cluster: StandIn, stages: list[Stage], code: int, says: str
) -> None:
    cluster.stages = [*PASSED[:2], *stages]
    ended, out, _ = mastery("run", "--wait")
    assert ended == code
    assert says in out


def title(compiled: Path, key: str, name: str) -> None:
    """Gives a task of the compiled pipeline another title."""
    text = compiled.read_text()
    assert f"taskInfo: {{name: {key}}}" in text
    compiled.write_text(text.replace(f"taskInfo: {{name: {key}}}", f"taskInfo: {{name: {name}}}"))


@pytest.mark.parametrize("shown", ["gates", "Quality"], ids=["by key", "by title"])
def test_a_failed_gate_is_known_whatever_its_task_is_called(
    mastery: Mastery, cluster: StandIn, compiled: Path, shown: str
) -> None:
    title(compiled, "gates", "Quality")
    cluster.stages = [("FAILED", tasks(task(shown, "FAILED", 31, error="f1_macro 0.41 < 0.5")))]
    code, out, _ = mastery("run", "--wait")
    assert code == 1
    assert "Quality: a gate failed: f1_macro 0.41 < 0.5" in out


def test_another_task_with_the_title_gates_is_not_the_gates_task(
    mastery: Mastery, cluster: StandIn, compiled: Path
) -> None:
    title(compiled, "trainer", "Gates")
    cluster.stages = [("FAILED", tasks(task("Gates", "FAILED", 0, error="out of memory")))]
    code, out, _ = mastery("run", "--wait")
    assert code == 2
    assert "Gates: failed: out of memory" in out


def test_a_gate_beside_another_failure_is_an_error(mastery: Mastery, cluster: StandIn) -> None:
    both = tasks(task("gates", "FAILED", 31), task("pusher", "FAILED", 62))
    cluster.stages = [("FAILED", both)]
    code, out, _ = mastery("run", "--wait")
    assert code == 2
    assert "pusher: failed: Kubeflow Pipelines gives no reason; look into the task's log" in out


def test_following_ends_when_the_server_stays_unreachable(
    mastery: Mastery, cluster: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.kubeflow.runs.PATIENCE", 2)
    cluster.refuse = lambda name: (
        RefusedError(503, "no healthy upstream") if name == "run_service_get_run" else None
    )
    code, _, err = mastery("run", "--wait")
    assert code == 2
    assert "Kubeflow Pipelines itself failed (503: no healthy upstream). Try again" in err
    assert cluster.asked.count("run_service_get_run") >= 3


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


def test_following_ends_when_the_token_expires(mastery: Mastery, cluster: StandIn) -> None:
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
    monkeypatch.setattr("pipeline.kubeflow.runs.time.sleep", interrupt)
    code, out, _ = mastery("run", "--wait")
    [run_id] = cluster.runs
    assert code == 130
    assert out.endswith(f"The run goes on: mastery kubeflow status {run_id}\n")


def test_versions_schedules_and_runs_are_listed_newest_first(
    mastery: Mastery, cluster: StandIn, compiled: Path
) -> None:
    mastery("schedule", "--cron", "0 3 * * *")
    mastery("schedule", "--pause")
    compiled.write_text(compiled.read_text().replace("mastery:1", "mastery:2"))
    mastery("run")
    mastery("run")
    listing = json.loads(mastery("list", "--json")[1])
    assert listing["pipeline_id"] in cluster.pipelines
    assert [item["id"] for item in listing["versions"]] == [*reversed(cluster.versions)]
    assert [(item["cron"], item["enabled"]) for item in listing["schedules"]] == [
        ("0 0 3 * * *", False)
    ]
    assert [item["id"] for item in listing["runs"]] == [*reversed(cluster.runs)]

    table = mastery("list")[1]
    for item in (*cluster.versions, *cluster.schedules, *cluster.runs, "paused", "0 0 3 * * *"):
        assert item in table


def test_an_id_is_never_cut(
    mastery: Mastery, cluster: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    mastery("run")
    [run] = cluster.runs.values()
    run.run_id = "0b9ad2e5-8d5f-4bb5-a5cf-7d6c3a5e0f11"  # as long as Kubeflow's
    monkeypatch.setenv("COLUMNS", "80")
    assert run.run_id in mastery("list")[1]


def test_runs_of_other_pipelines_are_passed_over_page_after_page(
    mastery: Mastery, cluster: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.kubeflow.client._PAGE", 2)
    for _ in range(5):
        mastery("run")
    for run_id in [*cluster.runs][1:]:
        cluster.runs[run_id].pipeline_version_reference.pipeline_id = "another-pipeline"
    listing = json.loads(mastery("list", "--json")[1])
    assert [item["id"] for item in listing["runs"]] == [*cluster.runs][:1]


def test_a_pipeline_that_was_never_submitted_has_an_empty_listing(
    mastery: Mastery, cluster: StandIn
) -> None:
    assert mastery("list") == (0, "algebra has not been submitted here yet.\n", "")
    assert json.loads(mastery("list", "--json")[1])["pipeline_id"] is None
    assert not cluster.pipelines
