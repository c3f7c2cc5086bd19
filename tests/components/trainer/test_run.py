from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tfx.components.trainer.fn_args_utils import FnArgs

from components.contracts.model_card import WEIGHTS
from components.errors import TrainingError
from tests.components.trainer.tiny_log import REGRESSION, SETTINGS, fit, write_inputs

# Keras converts variables the way NumPy 1 wanted it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def training(**values: Any) -> dict[str, Any]:
    return {**SETTINGS, "training": {**SETTINGS["training"], **values}}


def weights(folder: Path) -> dict[str, np.ndarray]:
    return dict(np.load(folder / "model" / WEIGHTS))


def history(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "run" / "history.json").read_text())
    return content


def test_the_same_seed_makes_the_same_model_and_another_another(
    inputs: FnArgs, fitted: Path, tmp_path: Path
) -> None:
    one = weights(fitted)
    again = weights(fit(inputs, tmp_path / "again", SETTINGS))
    assert one.keys() == again.keys()
    assert all(np.array_equal(one[name], again[name]) for name in one)
    other = weights(fit(inputs, tmp_path / "other", training(seed=8)))
    assert not np.array_equal(one["lstm_0/lstm_cell/kernel"], other["lstm_0/lstm_cell/kernel"])


def test_the_run_is_recorded(fitted: Path) -> None:
    record = history(fitted)
    assert [epoch["epoch"] for epoch in record["epochs"]] == [1, 2]
    assert {"loss", "val_loss", "accuracy", "val_accuracy"} <= record["epochs"][0].keys()
    losses = [epoch["val_loss"] for epoch in record["epochs"]]
    assert record["best_epoch"] == 1 + losses.index(min(losses))
    assert record["stopped"] == "after the 2 epochs configured"
    assert record["warm_start"] is None
    assert record["parameters"] == sum(weight.size for weight in weights(fitted).values())


def test_parsed_examples_are_on_disk_during_the_fit_only(
    inputs: FnArgs, fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.trainer.batches.MEMORY_BYTES", 0)
    stored = weights(fit(inputs, tmp_path, SETTINGS))
    assert all(np.array_equal(value, stored[name]) for name, value in weights(fitted).items())
    assert not [*(tmp_path / "run").glob(".examples-*")]


def test_tensorboard_gets_one_folder_per_fit_with_histograms(fitted: Path) -> None:
    (folder,) = (fitted / "run" / "logs").iterdir()
    events = EventAccumulator(str(folder / "train"), size_guidance={"tensors": 0})
    events.Reload()
    assert any("lstm_0" in tag and "kernel" in tag for tag in events.Tags()["tensors"])


def test_the_model_card_describes_the_inputs(fitted: Path) -> None:
    card = json.loads((fitted / "model" / "assets.extra" / "mastery.json").read_text())
    assert card["name"] == "tiny"
    assert card["task"] == "classification"
    assert card["classes"] == ["low", "mid", "high"]
    assert card["code"] == "abc"
    assert {*card["config"]["steps"]["features"]} == {"event_type", "correct", "mean_dwell"}


def test_a_warm_start_continues_and_records_its_base(
    inputs: FnArgs, fitted: Path, tmp_path: Path
) -> None:
    slow = training(warm_start=True, learning_rate=1e-9, epochs=1)
    warm = fit(inputs, tmp_path, slow, base_model=fitted / "model")
    note = history(warm)["warm_start"]
    assert note.startswith(f"weights of {fitted / 'model'}")
    assert "fresh" not in note
    old, new = weights(fitted), weights(warm)
    assert all(new[name] == pytest.approx(old[name], abs=1e-6) for name in old)


def test_a_fit_starts_from_a_configured_folder_whatever_model_was_blessed(
    inputs: FnArgs, fitted: Path, tmp_path: Path
) -> None:
    folder = str(fitted / "model")
    slow = training(start_from=folder, learning_rate=1e-9, epochs=1)
    started = fit(inputs, tmp_path, slow, base_model=tmp_path / "blessed")
    assert history(started)["warm_start"].startswith(f"weights of {folder}")
    old, new = weights(fitted), weights(started)
    assert all(new[name] == pytest.approx(old[name], abs=1e-6) for name in old)
    # The same weights have the same temperature: it is not part of what is taken over.
    assert history(started)["temperature"] == pytest.approx(
        history(fitted)["temperature"], rel=1e-4
    )


def test_a_base_model_that_cannot_be_read_leaves_weights_fresh_with_the_reason(
    inputs: FnArgs, tmp_path: Path
) -> None:
    settings = training(warm_start=True, epochs=1)
    folder = fit(inputs, tmp_path / "fitted", settings, base_model=tmp_path / "gone")
    note = history(folder)["warm_start"]
    reason = f"{tmp_path / 'gone' / WEIGHTS}: could not be read (No such file or directory)."
    assert note == f"fresh weights: {reason}"


def test_further_seeds_make_the_models_that_they_would_make_alone(
    inputs: FnArgs, fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASTERY_PROGRESS", str(tmp_path / "progress"))
    several = fit(inputs, tmp_path / "several", {**SETTINGS, "seeds": 2})
    monkeypatch.delenv("MASTERY_PROGRESS")
    alone = fit(inputs, tmp_path / "alone", training(seed=8))

    for name, value in weights(fitted).items():
        assert np.array_equal(weights(several)[name], value)
    with np.load(several / "run" / "seeds" / "8" / WEIGHTS) as second:
        for name, value in weights(alone).items():
            assert np.array_equal(second[name], value)

    record, before = history(several), history(fitted)
    assert record["seeds"] == [7, 8]
    assert (record["epochs"], record["temperature"]) == (before["epochs"], before["temperature"])
    logs = sorted(path.name.split("-", 3)[3] for path in (several / "run" / "logs").iterdir())
    assert logs == ["seed-7", "seed-8"]
    lines = (tmp_path / "progress").read_text().splitlines()
    assert [" ".join(line.split()[:4]) for line in lines] == [
        "seed 7 epoch 1/2", "seed 7 epoch 2/2", "seed 8 epoch 1/2", "seed 8 epoch 2/2",
    ]  # fmt: skip
    assert [path.name for path in (several / "run" / "seeds").iterdir()] == ["8"]
    assert not [*(several / "run").glob(".examples-*")]


def test_a_calibrated_export_divides_its_logits_and_keeps_its_classes(
    inputs: FnArgs, fitted: Path, served: Any, tmp_path: Path
) -> None:
    plain = fit(inputs, tmp_path, training(calibration="none"))
    assert history(plain)["temperature"] is None
    temperature = history(fitted)["temperature"]
    asked = {
        "mean_dwell": tf.constant([[60.0, 5.0], [30.0, 20.0]]),
        "event_type": tf.constant([["quiz", "quiz"], ["video", ""]]),
        "correct": tf.constant([[1.0, 0.0], [0.0, 0.0]]),
        "unit_id": tf.constant(["algebra", "logic"]),
        "horizon": tf.constant([7, 7], tf.int64),
        "num_steps": tf.constant([2, 0], tf.int64),
    }
    models = (served, tf.saved_model.load(str(plain / "model")))
    after, before = (model.signatures["predict_steps"](**asked) for model in models)

    logits = np.log(before["probabilities"].numpy()[0])
    scaled = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
    assert temperature != pytest.approx(1.0, abs=0.01)
    assert after["probabilities"].numpy()[0] == pytest.approx(scaled, abs=1e-6)
    assert np.array_equal(after["probabilities"][1], before["probabilities"][1])  # the prior
    assert after["predicted_class"].numpy().tolist() == before["predicted_class"].numpy().tolist()
    assert all(
        np.array_equal(weights(plain)[name], value) for name, value in weights(fitted).items()
    )


def test_a_base_model_is_left_alone_unless_asked_for(
    inputs: FnArgs, fitted: Path, tmp_path: Path
) -> None:
    fresh = fit(inputs, tmp_path, training(epochs=1), base_model=fitted / "model")
    assert history(fresh)["warm_start"] is None


def test_a_loss_that_is_not_finite_stops_with_advice(inputs: FnArgs, tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError,
        match=r"epoch 1: expected finite losses, found .*Lower training.learning_rate",
    ):
        fit(inputs, tmp_path, training(learning_rate=1e30))
    assert not (tmp_path / "model").exists()


def test_a_regression_has_one_output(tmp_path: Path) -> None:
    folder = fit(write_inputs(tmp_path / "inputs", REGRESSION), tmp_path / "fitted", REGRESSION)
    assert {"loss", "val_loss", "mae", "val_mae"} <= history(folder)["epochs"][0].keys()
    model = tf.saved_model.load(str(folder / "model"))
    answer = model.signatures["predict_steps"](
        mean_dwell=tf.constant([[60.0, 5.0], [0.0, 0.0]]),
        event_type=tf.constant([["quiz", "quiz"], ["", ""]]),
        correct=tf.constant([[1.0, 0.0], [0.0, 0.0]]),
        unit_id=tf.constant(["algebra", "algebra"]),
        horizon=tf.constant([7, 7], tf.int64),
        num_steps=tf.constant([2, 0], tf.int64),
    )
    assert set(answer) == {"prediction", "prediction_interval", "basis"}
    assert answer["prediction"].dtype == tf.float32
    assert answer["prediction"].shape == [2]
    assert answer["basis"].numpy().tolist() == [b"sequence", b"prior"]
    assert 0.2 < answer["prediction"][1] < 0.8


TWO_DEVICES = """
import sys
from pathlib import Path
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from components.config import Training
from components.trainer.fit import choose_devices
from tests.components.trainer.tiny_log import SETTINGS, fit
from tfx.components.trainer.fn_args_utils import FnArgs
folder = Path(sys.argv[1])
train, evaluation, graph = sys.argv[2:]
inputs = FnArgs(train_files=[train], eval_files=[evaluation], transform_graph_path=graph)
fit(inputs, folder, SETTINGS)
strategy = choose_devices(Training()).strategy()
print(type(strategy).__name__, strategy.num_replicas_in_sync)
"""


def test_two_devices_share_the_work(inputs: FnArgs, fitted: Path, tmp_path: Path) -> None:
    paths = [tmp_path, inputs.train_files[0], inputs.eval_files[0], inputs.transform_graph_path]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES, *paths],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert process.stdout.splitlines()[-1] == "MirroredStrategy 2"
    one, two = (history(folder)["epochs"][-1]["val_loss"] for folder in (fitted, tmp_path))
    assert two == pytest.approx(one, rel=0.1)
