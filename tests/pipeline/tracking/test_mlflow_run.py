"""A run in a real server of MLflow, with a database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.tracking import mlflow_run
from pipeline.tracking.facts import gather_facts
from pipeline.tracking.tell import track_labels
from tests.pipeline.cli.typed import mastery
from tests.pipeline.stored_runs import StoredRuns
from tests.pipeline.tracking.saved_model import write_signature
from tests.pipeline.tracking.tracked_root import FAILED, RUN, SAMPLE, load_sample, write_root

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> StoredRuns:
    root = tmp_path_factory.mktemp("root")
    write_signature(root / "files" / "model" / "Format-Serving")
    return write_root(root)


@pytest.fixture
def client(mlflow_address: str, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("REQUEST_TIMEOUT", "REQUEST_MAX_RETRIES"):  # `connect` sets them for its process
        monkeypatch.setenv(f"MLFLOW_HTTP_{name}", "1")
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    section = load_sample(f"tracking.mlflow.uri={mlflow_address}").tracking.mlflow
    assert section is not None
    return mlflow_run.connect(section, seconds=30)


@pytest.mark.filterwarnings("ignore")  # of MLflow's client, which runs in a process of its own
def test_runs_versions_and_labels_reach_mlflow_once(
    runs: StoredRuns, client: MlflowClient, mlflow_address: str, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    root = runs.layout.root
    typed = ["tracking", "sync", "--config", str(SAMPLE), "--root", str(root),
             "--set", f"tracking.mlflow.uri={mlflow_address}"]  # fmt: skip
    assert mastery(monkeypatch, *typed) == 0
    experiment = client.get_experiment_by_name("sample")
    found = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(found) == {RUN, FAILED}
    assert (found[RUN].info.status, found[FAILED].info.status) == ("FINISHED", "FAILED")

    passed = found[RUN]
    assert passed.data.params["training.epochs"] == "2"
    history = client.get_metric_history(passed.info.run_id, "val_loss")
    assert [(item.step, item.value) for item in history] == [(1, 0.7), (2, 0.5)]
    metrics = passed.data.metrics
    names = ("test/f1_macro", "test/f1_macro_low", "test/f1_macro_high", "test/f1/partial")
    assert [metrics[name] for name in names] == [0.878, 0.82, 0.93, 0.8]
    assert passed.data.tags["mastery.gate.00"] == "passed: f1_macro >= 0.2: 0.878 passed"
    assert {item.path for item in client.list_artifacts(passed.info.run_id)} == {
        "metrics",
        "papers",
    }

    # What was told half, and whose record is gone, is completed and not told twice.
    facts = gather_facts(load_sample(), runs.layout, RUN)
    section = load_sample(f"tracking.mlflow.uri={mlflow_address}").tracking.mlflow
    assert section is not None
    assert mlflow_run.tell_run(client, section, facts) == passed.info.run_id
    assert len(client.search_runs([experiment.experiment_id])) == 2
    assert len(client.get_metric_history(passed.info.run_id, "val_loss")) == 2
    assert mlflow_run.registered_versions(client, "sample") == {"17": "1"}

    track_labels(
        load_sample(f"tracking.mlflow.uri={mlflow_address}"), root, {"stable": 17, "canary": 17}
    )
    aliases = client.get_registered_model("sample").aliases
    assert aliases == {"stable": "1", "canary": "1"}
    assert mlflow_run.tell_labels(client, "sample", {"stable": 18, "canary": None}) == [
        "version 18, now stable, is not registered"
    ]
    assert client.get_registered_model("sample").aliases == {}

    registered = client.get_model_version("sample", "1")
    assert registered.tags[mlflow_run.RUN_TAG] == RUN
    _check_model("models:/sample/1", mlflow_address, tmp_path)


def _check_model(uri: str, address: str, folder: Path) -> None:
    import mlflow

    mlflow.set_tracking_uri(address)
    loaded = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
    signature = mlflow.models.Model.load(str(loaded)).signature
    [numbers] = signature.inputs.to_dict()
    assert (numbers["name"], numbers["tensor-spec"]["dtype"]) == ("numbers", "float32")
    assert tuple(numbers["tensor-spec"]["shape"]) == (-1, 2)
    assert signature.outputs.input_names() == ["probabilities", "text"]
    assert (loaded / "tf2model" / "saved_model.pb").is_file()
