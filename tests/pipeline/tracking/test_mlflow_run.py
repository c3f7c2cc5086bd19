"""A run in a real server of MLflow, with a database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.tracking import mlflow_run
from pipeline.tracking.facts import gather_facts
from pipeline.tracking.model_signature import read_signature
from pipeline.tracking.tell import track_labels
from tests.pipeline.cli.typed import mastery
from tests.pipeline.stored_runs import StoredRuns
from tests.pipeline.tracking.tracked_root import FAILED, RUN, SAMPLE, load_sample, write_root

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> StoredRuns:
    root = tmp_path_factory.mktemp("root")
    _write_model(root / "files" / "model" / "Format-Serving")
    return write_root(root)


def _write_model(folder: Path) -> None:
    import tensorflow as tf

    class Doubling(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="numbers")])
        def __call__(self, numbers: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"probabilities": 2 * numbers, "text": tf.as_string(numbers)}

    tf.saved_model.save(Doubling(), str(folder))


@pytest.fixture
def client(mlflow_address: str, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
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

    config = load_sample(f"tracking.mlflow.uri={mlflow_address}")
    track_labels(config, root, {"stable": 17, "canary": 17})
    track_labels(config, root, {"stable": 17, "canary": None})
    registered = client.get_model_version_by_alias("sample", "stable")
    assert registered.tags[mlflow_run.RUN_TAG] == RUN
    assert client.get_registered_model("sample").aliases == {"stable": "1"}

    _check_model(f"models:/{registered.model_id}", mlflow_address, tmp_path)


def _check_model(uri: str, address: str, folder: Path) -> None:
    import mlflow
    import tensorflow as tf

    mlflow.set_tracking_uri(address)
    loaded = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
    signature = mlflow.models.Model.load(str(loaded)).signature
    assert signature.inputs.to_dict() == [
        {"name": "numbers", "type": "tensor",
         "tensor-spec": {"dtype": "float32", "shape": (-1, 2)}},
    ]  # fmt: skip
    inputs, outputs = read_signature(loaded / "tf2model")
    assert [(item.name, item.kind) for item in inputs] == [("numbers", "float32")]
    assert [(item.name, item.kind, item.shape) for item in outputs] == [
        ("probabilities", "float32", (-1, 2)),
        ("text", "object", (-1, 2)),
    ]
    asked = tf.saved_model.load(str(loaded / "tf2model")).signatures["serving_default"]
    answer = asked(numbers=tf.constant([[1.0, 2.0]]))
    assert answer["probabilities"].numpy().tolist() == [[2.0, 4.0]]
