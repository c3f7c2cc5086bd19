"""From a simulated log to a pushed model and back, by the commands a user types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Mastery
from tests.pipeline.receivers import webhook

pytestmark = pytest.mark.slow

NODES = [
    "ExampleGen", "StatisticsGen", "ImportSchemaGen", "ExampleValidator", "DataGate", "Transform",
    "Trainer", "BaselineResolver", "Evaluator", "ServingCheck", "Pusher", "Report",
]  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


def latest(mastery: Mastery, root: Path) -> dict[str, Any]:
    listed = mastery("runs", "--root", root, "--json")
    assert listed.returncode == 0, listed.stderr
    record: dict[str, Any] = json.loads(listed.stdout)[-1]
    return record


def states(record: dict[str, Any]) -> dict[str, str]:
    return {node["id"]: node["state"] for node in record["nodes"]}


def versions(root: Path) -> list[str]:
    return sorted(folder.name for folder in (root / "sample" / "serving").glob("[0-9]*"))


def test_a_log_becomes_a_pushed_model(mastery: Mastery, sample: list[str], root: Path) -> None:
    ran = mastery("run", *sample, "--root", root)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    record = latest(mastery, root)
    assert record["state"] == "passed"
    assert sorted(states(record)) == sorted(NODES)
    [version] = versions(root)
    assert record["pushed_version"] == str(root / "sample" / "serving" / version)
    assert "passed" in ran.stdout
    assert record["pushed_version"] in ran.stdout
    assert record["report"] in ran.stdout
    assert Path(record["report"]).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    file = Path(record["pushed_version"], "manifest.json")
    manifest = json.loads(file.read_text(encoding="utf-8"))
    assert manifest["run"] == record["run"]


def test_the_same_command_again_takes_every_node_from_the_cache(
    mastery: Mastery, sample: list[str], root: Path
) -> None:
    before = versions(root)
    ran = mastery("run", *sample, "--root", root)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    reused = states(latest(mastery, root))
    assert reused == dict.fromkeys(reused, "cached")
    assert versions(root) == before


def test_a_run_from_the_cache_imports_no_library_of_an_executor(
    mastery: Mastery, sample: list[str], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")  # every process lists what it imports
    ran = mastery("run", *sample, "--root", root)
    assert ran.returncode == 0, ran.stderr
    record = latest(mastery, root)
    assert set(states(record).values()) == {"cached"}

    folder = root / "sample" / "runs" / record["run"]
    logs = [folder / "start-up.txt", *folder.glob("logs/*.log")]
    lines = [line for log in logs for line in log.read_text(encoding="utf-8").splitlines()]
    imported = {line.rpartition("|")[2].strip() for line in lines if "import time:" in line}
    assert "pipeline.run.launch" in imported
    assert not imported & {
        "apache_beam", "polars", "tensorflow", "tensorflow_data_validation",
        "tensorflow_model_analysis", "tensorflow_transform", "components.report.executor",
    }  # fmt: skip


def test_without_new_data_a_run_ends_after_example_gen(
    mastery: Mastery, sample: list[str], root: Path
) -> None:
    before = latest(mastery, root)
    ending = f"no new data since run {before['run']}, which pushed {before['pushed_version']}"
    for _ in range(2):  # the second time after a run that ended for the same reason
        ran = mastery("run", *sample, "--root", root, "--only-new-data")
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert ending in ran.stdout.splitlines()[-1]
        record = latest(mastery, root)
        assert record["state"] == "no new data"
        assert states(record) == {"ExampleGen": "cached"}
        assert record["seen_before"] == {
            "run": before["run"],
            "pushed_version": before["pushed_version"],
        }
    assert "no new data" in mastery("runs", "--root", root).stdout


def test_a_failed_gate_pushes_nothing_trains_nothing_anew_and_notifies_the_owner(
    mastery: Mastery, sample: list[str], root: Path
) -> None:
    before = versions(root)
    with webhook(500, 200) as chat:
        notify = ["--set", f"notify.webhook.url={chat.url}"]
        gates = ["--set", "gates=[{metric: f1_macro, min: 0.999}]"]
        # New gates are something to do, even without new data.
        options = [*notify, *gates, "--only-new-data"]
        ran = mastery("run", *sample, *options, "--root", root)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "f1_macro" in ran.stdout
    assert "0.999" in ran.stdout
    assert "FAILED" in ran.stdout
    record = latest(mastery, root)
    assert record["state"] == "gates failed"
    assert record["pushed_version"] is None
    assert record["report"] is not None
    message = chat.received[-1]
    assert len(chat.received) == 2
    assert (message["run"], message["state"]) == (record["run"], "gates failed")
    assert message["report"] == record["report"]
    [gate] = message["gates_failed"]
    assert (gate["metric"], gate["threshold"]) == ("f1_macro", 0.999)
    assert 0 < gate["value"] < 0.999
    assert "the version that is served stays" in message["text"]
    assert states(record)["Trainer"] == "cached"
    assert states(record)["Evaluator"] == "done"
    assert versions(root) == before


def test_a_pushed_model_scores_another_log_as_the_gate_does(
    mastery: Mastery, root: Path, tmp_path: Path
) -> None:
    made = mastery("simulate", "--learners", "300", "--seed", "4", "--out", tmp_path)
    assert made.returncode == 0, made.stderr
    model = root / "sample" / "serving" / versions(root)[-1]
    scored = mastery(
        "evaluate", "--model", model, "--json",
        "--events", tmp_path / "events.parquet", "--outcomes", tmp_path / "outcomes.parquet",
    )  # fmt: skip
    assert scored.returncode == 0, scored.stderr
    overall = json.loads(scored.stdout)["overall"]
    assert overall["examples"] >= 300
    assert 0 < overall["metrics"]["f1_macro"] <= 1


def test_a_node_can_be_the_last_and_another_the_first_anew(
    mastery: Mastery, sample: list[str], root: Path
) -> None:
    ran = mastery("run", *sample, "--root", root, "--from", "ExampleValidator", "--to", "DataGate")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert states(latest(mastery, root)) == {
        "ExampleGen": "cached", "StatisticsGen": "cached", "ImportSchemaGen": "cached",
        "ExampleValidator": "done", "DataGate": "done",
    }  # fmt: skip
    wrong = mastery("run", *sample, "--root", root, "--from", "Nowhere")
    assert wrong.returncode == 2
    assert "--from Nowhere: expected one of ExampleGen" in wrong.stderr
