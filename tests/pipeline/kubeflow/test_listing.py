"""What there is of a pipeline on the cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.pipeline.kubeflow.conftest import Mastery
from tests.pipeline.kubeflow.stand_in import StandIn


def test_versions_schedules_and_runs_the_newest_first(
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
        cluster.runs[run_id].pipeline_version_reference.pipeline_id = "somebody-else-s"
    listing = json.loads(mastery("list", "--json")[1])
    assert [item["id"] for item in listing["runs"]] == [*cluster.runs][:1]


def test_a_pipeline_that_is_not_there_yet(mastery: Mastery, cluster: StandIn) -> None:
    assert mastery("list") == (0, "algebra was not submitted here yet.\n", "")
    assert json.loads(mastery("list", "--json")[1])["pipeline_id"] is None
    assert not cluster.pipelines
