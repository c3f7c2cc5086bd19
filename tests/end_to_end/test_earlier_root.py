"""A root and a serving folder that an earlier version made go on working."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from components.contracts.evaluation import Evaluation
from components.contracts.training_history import TrainingHistory
from components.model_version.verify import verify_version
from serving.models import promotion
from serving.models.changes import read_entries
from serving.models.compare import compare_versions
from serving.models.stores import open_storage
from tests.earlier_root import FIRST, SECOND, unpack
from tests.end_to_end.conftest import Mastery


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the configuration, the log and the root; tests that write copy it."""
    return unpack(tmp_path_factory.mktemp("earlier"))


@pytest.fixture
def serving(home: Path, tmp_path: Path) -> Path:
    """A copy of the serving folder."""
    return shutil.copytree(home / "runs" / "small" / "serving", tmp_path / "serving")


def output(mastery: Mastery, home: Path, *arguments: str) -> str:
    ran = mastery(*arguments, "--root", home / "runs", cwd=home)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_its_runs_are_listed(mastery: Mastery, home: Path) -> None:
    runs: list[dict[str, Any]] = json.loads(output(mastery, home, "runs", "--json"))
    assert [run["state"] for run in runs] == ["passed", "passed", "no new data", "gates failed"]
    pushed = [Path(run["pushed_version"]).name if run["pushed_version"] else None for run in runs]
    assert pushed == [str(FIRST), str(SECOND), None, None]
    assert runs[2]["seen_before"]["run"] == runs[1]["run"]

    table = output(mastery, home, "runs")
    assert all(run["run"] in table for run in runs)
    report = Path(output(mastery, home, "report", runs[0]["run"]).strip())
    assert report.is_relative_to(home)
    assert report.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_its_versions_are_listed_and_shown(mastery: Mastery, home: Path) -> None:
    listed = output(mastery, home, "models", "list", "--config", "small.yaml", "--json")
    listing = json.loads(listed)
    versions = listing["versions"]
    assert (listing["model"], listing["note"]) == ("small", None)
    assert [version["version"] for version in versions] == [FIRST, SECOND]
    assert [version["labels"] for version in versions] == [["previous"], ["stable"]]
    assert [version["problems"] for version in versions] == [[], []]

    shown = output(mastery, home, "models", "show", "stable", "--config", "small.yaml")
    assert f"Run       {versions[1]['run']}" in shown
    assert "change of f1_macro >= -0.9: +0.139 passed" in shown


def test_its_versions_are_promoted_and_rolled_back(serving: Path) -> None:
    for version in (FIRST, SECOND):
        assert verify_version(serving / str(version), within=serving) is None

    storage = open_storage(str(serving))
    entry = promotion.roll_back(storage, "too many false alarms")
    assert (entry.revision, entry.after.stable, entry.format) == (4, FIRST, 1)
    assert entry.after.base_path == "/models/small"
    promotion.start_canary(storage, SECOND, 30)
    promotion.promote(storage, SECOND)

    entries = read_entries(storage)
    actions = ["promote", "canary", "promote", "rollback", "canary", "promote"]
    assert [entry.action for entry in entries] == actions
    assert b'"version": %d' % SECOND in (storage.read("routing.json") or b"")


def test_its_versions_are_compared(home: Path) -> None:
    storage = open_storage(str(home / "runs" / "small" / "serving"))
    log = home / "log"
    events, outcomes = [str(log / "events.parquet")], [str(log / "outcomes.parquet")]
    compared = compare_versions(storage, FIRST, SECOND, events, outcomes, draws=100)
    assert (compared.examples, compared.learners) == (400, 300)
    assert {"accuracy", "f1_macro", "auc", "log_loss"} < {row.metric for row in compared.metrics}


@pytest.mark.slow
def test_its_model_is_the_baseline_and_the_start_of_a_new_run(
    mastery: Mastery, tmp_path: Path
) -> None:
    copy = unpack(tmp_path)
    arguments = ["--config", "small.yaml", "--set", "training.warm_start=true"]
    output(mastery, copy, "run", *arguments)

    runs = json.loads(output(mastery, copy, "runs", "--json"))
    assert (len(runs), runs[-1]["state"]) == (5, "passed")
    evaluation = Evaluation.read_file(Path(runs[-1]["metrics"]))
    before = Evaluation.read_file(Path(runs[1]["metrics"]))
    assert evaluation.baseline is not None
    found = evaluation.baseline.overall.metrics
    assert found == {**before.overall.metrics, "ece": found["ece"]}  # not measured at that time

    trained = copy / "runs" / "small" / "nodes" / "Trainer" / "model_run"
    newest = max(trained.iterdir(), key=lambda folder: int(folder.name))
    warm_start = TrainingHistory.read(newest).warm_start
    assert warm_start is not None
    assert "Trainer/model/19/" in warm_start
    listed = output(mastery, copy, "models", "list", "--config", "small.yaml", "--json")
    listing = json.loads(listed)
    assert [version["labels"] for version in listing["versions"]] == [["previous"], ["stable"], []]
