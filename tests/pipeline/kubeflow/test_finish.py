"""How a run of containers ended, read from the metadata store alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ml_metadata.proto.metadata_store_pb2 import Execution

from components.config import Config, load_config
from components.contracts.evaluation import Evaluation, Result
from components.contracts.run_record import RunRecord
from components.contracts.training_history import TrainingHistory
from pipeline.kubeflow.finish import finish_run
from pipeline.kubeflow.outputs import TaskOutputs
from pipeline.run.mirror import Mirror
from pipeline.run.prepare import nodes_of
from pipeline.store.lookups import REPEATS
from tests.pipeline.receivers import webhook
from tests.pipeline.stored_runs import StoredRuns
from tests.s3 import Bucket

SAMPLE = Path(__file__).parents[3] / "configs" / "sample.yaml"
RUN = "20261120-040000-abc123"


@pytest.fixture
def config() -> Config:
    return load_config(SAMPLE)


@pytest.fixture
def runs(tmp_path: Path) -> StoredRuns:
    return StoredRuns(tmp_path / "root")


def run_nodes(
    runs: StoredRuns, config: Config, *, blessed: bool, files: Path, place: Path | None = None
) -> None:
    """Puts every node of a run into the store, with the files of their results.

    Args:
        runs: the store.
        config: what was run.
        blessed: whether the gates passed.
        files: where the files are written.
        place: their path in the store; default: `files`.
    """
    overall = Result(examples=9, metrics={"f1_macro": 0.8})
    Evaluation(task="classification", blessed=blessed, overall=overall).write(files / "evaluation")
    TrainingHistory(device_warning="a GPU is idle").write(files / "model_run")
    (files / "report").mkdir()
    (files / "report" / "report.html").touch()
    outputs: dict[str, tuple[str, dict[str, str]]] = {
        "ExampleGen": ("examples", {"spans": "3,4"}),
        "Trainer": ("model_run", {}),
        "Evaluator": ("evaluation", {}),
        "Pusher": ("pushed_model", {"pushed_destination": "/serving/17"} if blessed else {}),
        "Report": ("report", {}),
    }
    for node in nodes_of(config):
        state = Execution.CACHED if node == "StatisticsGen" else Execution.COMPLETE
        key, properties = outputs.get(node, ("output", {}))
        artifact = runs.artifact(f"{place or files}/{key}", **properties)
        runs.execute(RUN, node, state, {key: [artifact]})


def finish(
    runs: StoredRuns,
    config: Config,
    outputs: TaskOutputs | None = None,
    mirror: Mirror | None = None,
) -> RunRecord:
    record = finish_run(config, runs.layout, RUN, outputs, mirror)
    assert RunRecord.read(runs.layout.run(RUN)) == record
    return record


def test_a_run_whose_nodes_all_ended_well_has_passed(
    runs: StoredRuns, config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_nodes(runs, config, blessed=True, files=tmp_path)
    record = finish(runs, config)
    assert record.state == "passed"
    assert [node.id for node in record.nodes] == nodes_of(config)
    assert {node.id for node in record.nodes if node.state == "cached"} == {"StatisticsGen"}
    assert record.metrics == str(tmp_path / "evaluation" / "metrics.json")
    assert record.report == str(tmp_path / "report" / "report.html")
    assert record.pushed_version == "/serving/17"
    assert record.data is not None
    assert record.data.spans == ["3", "4"]
    assert record.warnings == ["a GPU is idle"]
    assert record.error is None
    assert f"Run      {RUN} completed after" in capsys.readouterr().out


def test_the_owner_is_notified_of_a_failed_gate(
    runs: StoredRuns, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    run_nodes(runs, config, blessed=False, files=tmp_path)
    with webhook() as chat:
        notified = load_config(SAMPLE, [f"notify.webhook.url={chat.url}"])
        record = finish(runs, notified)
    assert (record.state, record.pushed_version) == ("gates failed", None)
    [sent] = chat.received
    assert (sent["state"], sent["run"]) == ("gates failed", RUN)


def test_a_receiver_of_lineage_is_told_of_the_nodes(
    runs: StoredRuns, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    run_nodes(runs, config, blessed=True, files=tmp_path)
    with webhook() as receiver:
        url = receiver.url.removesuffix("/hook")
        told = load_config(SAMPLE, [f"tracking.openlineage.url={url}"])
        finish(runs, told)
    ended = {item["job"]["name"] for item in receiver.received if item["eventType"] == "COMPLETE"}
    assert ended == {"sample", *(f"sample.{node}" for node in nodes_of(config))}


def test_a_run_without_new_data_goes_back_to_an_earlier_one(
    runs: StoredRuns, config: Config
) -> None:
    runs.execute(RUN, "ExampleGen", Execution.CACHED)
    runs.set_property(RUN, REPEATS, "before")
    record = finish(runs, config)
    assert (record.state, record.error) == ("no new data", None)
    assert record.seen_before is not None
    assert record.seen_before.run == "before"


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (Execution.FAILED, "See the log of the node's container for the reason."),
        (Execution.RUNNING, "Trainer did not finish: the container ran out of memory or time."),
        (Execution.COMPLETE, "Evaluator was never started; see Kubeflow for the reason."),
    ],
)
def test_a_run_that_did_not_finish_has_failed(
    runs: StoredRuns, config: Config, state: int, says: str
) -> None:
    for node in nodes_of(config):
        if node == "Evaluator":
            break
        runs.execute(RUN, node, state if node == "Trainer" else Execution.COMPLETE)
    record = finish(runs, config)
    assert (record.state, record.error) == ("failed", says)


def test_a_run_without_a_started_node_has_failed(runs: StoredRuns, config: Config) -> None:
    record = finish(runs, config)
    assert record.state == "failed"
    assert record.error == "ExampleGen was never started; see Kubeflow for the reason."


def test_a_run_of_empty_containers_is_finished_from_the_object_store(
    runs: StoredRuns, config: Config, tmp_path: Path, bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    there = Mirror(f"s3://{bucket.name}/root", tmp_path / "there")
    folder = there.root / "files"
    folder.mkdir(parents=True)
    run_nodes(runs, config, blessed=True, files=folder, place=runs.layout.root / "files")
    there.push(folder.iterdir())
    here = Mirror(f"s3://{bucket.name}/root", runs.layout.root)
    artifact = {"type": {"schemaTitle": "system.Markdown"}, "uri": str(tmp_path / "summary")}
    asked = {
        "outputs": {
            "artifacts": {"run_summary": {"artifacts": [artifact]}},
            "outputFile": str(tmp_path / "output.json"),
        }
    }
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with webhook() as receiver:
        url = receiver.url.removesuffix("/hook")
        told = load_config(SAMPLE, [f"tracking.openlineage.url={url}"])
        record = finish(runs, told, TaskOutputs(json.dumps(asked)), here)
    assert record.state == "passed"
    assert record.report == str(runs.layout.root / "files" / "report" / "report.html")
    summary = (tmp_path / "summary").read_text().splitlines()
    assert summary[0] == f"# Run {RUN}: passed"
    assert "- pushed: /serving/17" in summary
    names = bucket.names()
    assert f"root/sample/runs/{RUN}/run.json" in names
    assert f"root/sample/runs/{RUN}/tracking.json" in names
