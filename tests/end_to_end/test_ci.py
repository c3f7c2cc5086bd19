"""`mastery ci` as a CI server calls it: twice on the same commit, then with a gate that fails."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from junitparser import JUnitXml

from tests.end_to_end.conftest import COMMAND, Mastery, environment

pytestmark = pytest.mark.slow

SMALL = ["--set", "ci={learners: 500, epochs: 2, gates: [{metric: f1_macro, min: 0.2}]}"]


@pytest.fixture(scope="module")
def jobs(sample: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two jobs of the same commit, each in a folder of its own, at the same time."""
    folders = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    jobs = [
        subprocess.Popen(
            [*COMMAND, "ci", *sample, *SMALL], cwd=folder, env=environment(),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for folder in folders
    ]  # fmt: skip
    outputs = [job.communicate()[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], outputs
    return folders


def test_the_same_commit_twice_gives_the_same_metrics(jobs: list[Path]) -> None:
    first, second = (json.loads((folder / "ci" / "metrics.json").read_text()) for folder in jobs)
    assert first == second
    assert first["blessed"]
    assert first["baseline"] is None


def test_it_trains_on_as_many_learners_and_epochs_as_configured(jobs: list[Path]) -> None:
    nodes = jobs[0] / "ci" / "runs" / "sample" / "nodes"
    [summary] = nodes.glob("ExampleGen/examples/*/log_summary.json")
    [history] = nodes.glob("Trainer/model_run/*/history.json")
    log = json.loads(summary.read_text())
    fit = json.loads(history.read_text())
    assert log["learners"] == 500
    assert len(fit["epochs"]) == 2


def test_a_model_that_passed_stays_in_the_folder_of_ci(jobs: list[Path]) -> None:
    [version] = (jobs[0] / "ci" / "runs" / "sample" / "serving").glob("[0-9]*")
    assert f"Pushed: {version}." in (jobs[0] / "ci" / "summary.md").read_text()


def test_a_gate_that_fails_is_in_every_result_and_a_named_version_is_compared_with(
    mastery: Mastery, sample: list[str], jobs: list[Path]
) -> None:
    here, there = jobs
    [version] = (there / "ci" / "runs" / "sample" / "serving").glob("[0-9]*")
    before = json.loads((here / "ci" / "metrics.json").read_text())
    gates = ["--set", "ci.gates=[{metric: f1_macro, min: 0.999}]"]
    ran = mastery("ci", *sample, *SMALL, *gates, "--baseline", version, cwd=here)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    metrics = json.loads((here / "ci" / "metrics.json").read_text())
    assert metrics["overall"] == metrics["baseline"]["overall"] == before["overall"]
    assert [gate["passed"] for gate in metrics["gates"]] == [False, True]
    xml = JUnitXml.fromfile(str(here / "ci" / "junit.xml"))
    assert (xml.failures, xml.errors) == (1, 0)
    summary = (here / "ci" / "summary.md").read_text()
    assert "### ❌ sample: a gate failed" in summary
    assert f"against {version}." in summary
    assert "| Trainer | cached |" in summary
