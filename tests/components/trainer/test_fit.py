"""What a model is fitted on, and in which precision."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError
from tfx.components.trainer.fn_args_utils import FnArgs

from components.config import Label, Training
from components.contracts.model_card import WEIGHTS
from components.errors import TrainingError
from components.node.settings import TrainerSettings
from components.trainer import export, run
from components.trainer import fit as fitting
from components.trainer.fit import FitCallbacks, choose_devices, compile_network, fit_network
from components.trainer.network import build_network
from tests.components.trainer.test_gpu_export import INPUTS, NETWORK_INPUTS
from tests.components.trainer.tiny_log import SETTINGS, fit

# Keras converts variables the way NumPy 1 wanted it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

REASON = "CUDA's libraries are not installed. Do this"


@pytest.fixture
def unseen_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU that TensorFlow does not see."""
    monkeypatch.setattr(fitting, "gpus", lambda: ["NVIDIA A10"])
    monkeypatch.setattr(fitting, "why_unseen", lambda: [REASON])


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "gpus", list)


def training(**values: Any) -> dict[str, Any]:
    return {**SETTINGS, "training": {**SETTINGS["training"], "epochs": 1, **values}}


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_there_is_no_warning() -> None:
    chosen = choose_devices(Training())
    assert (chosen.described, chosen.warning, chosen.on_gpu) == ("CPU", None, False)


@pytest.mark.usefixtures("unseen_gpu")
def test_a_gpu_that_tensorflow_does_not_see_is_in_progress_and_history(
    inputs: FnArgs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASTERY_PROGRESS", str(tmp_path / "progress"))
    folder = fit(inputs, tmp_path, training())
    record = json.loads((folder / "run" / "history.json").read_text())
    warning = f"this machine has a GPU (NVIDIA A10) that TensorFlow does not see, because {REASON}"
    assert record["device"] == "CPU"
    assert warning in record["device_warning"]
    assert warning in (tmp_path / "progress").read_text().splitlines()[0]


@pytest.mark.usefixtures("unseen_gpu")
def test_a_required_but_unseen_gpu_stops_the_run_before_the_fit(
    inputs: FnArgs, tmp_path: Path
) -> None:
    with pytest.raises(
        TrainingError, match=rf"training\.device: expected a GPU .*NVIDIA A10.*because {REASON}"
    ):
        fit(inputs, tmp_path, training(device="gpu"))
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("no_gpu")
def test_a_required_but_missing_gpu_stops_with_advice() -> None:
    with pytest.raises(
        TrainingError, match=r"training\.device: .*has none.*--gpus all.*nvidia\.com/gpu"
    ):
        choose_devices(Training(device="gpu"))


def test_an_unexplained_unseen_gpu_points_to_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fitting, "gpus", lambda: ["NVIDIA A10"])
    monkeypatch.setattr(fitting, "why_unseen", list)
    warning = choose_devices(Training()).warning
    assert warning is not None
    assert (
        "(NVIDIA A10) that TensorFlow does not see; the log of this node has the reason" in warning
    )


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("own", [None, ":16:8"])
def test_cublas_gets_buffers_of_one_size_unless_told_otherwise(
    own: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", own or "")  # so that it is put back
    if own is None:
        monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    choose_devices(Training())
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == (own or ":4096:2")


def test_only_the_fit_may_round_factors_to_tf32(
    inputs: FnArgs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed: dict[str, bool] = {}

    def watch(module: ModuleType, name: str) -> None:
        function = getattr(module, name)

        def watched(*given: Any, **named: Any) -> Any:
            allowed[name] = tf.config.experimental.tensor_float_32_execution_enabled()
            return function(*given, **named)

        monkeypatch.setattr(module, name, watched)

    watch(run, "fit_network")
    watch(run, "fit_temperature")
    watch(export, "require_same_answers")
    watch(export, "fit_constants")
    fit(inputs, tmp_path, training())
    assert allowed == {
        "fit_network": True,
        "fit_temperature": False,
        "require_same_answers": False,
        "fit_constants": False,
    }
    assert tf.config.experimental.tensor_float_32_execution_enabled()


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which TensorFlow sees two GPUs."""

    def logical(kind: str) -> list[tf.config.LogicalDevice]:
        names = [f"/device:{kind}:{index}" for index in range(2 if kind == "GPU" else 1)]
        return [tf.config.LogicalDevice(name, kind) for name in names]

    details = {"device_name": "NVIDIA A10"}
    monkeypatch.setattr(tf.config, "list_logical_devices", logical)
    monkeypatch.setattr(tf.config, "list_physical_devices", logical)
    monkeypatch.setattr(tf.config, "get_visible_devices", logical)
    monkeypatch.setattr(tf.config, "get_logical_device_configuration", lambda _: None)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda _: details)


@pytest.mark.usefixtures("two_gpus")
def test_all_gpus_that_tensorflow_sees_are_used() -> None:
    chosen = choose_devices(Training(precision="mixed_float16"))
    assert chosen.names == ["/device:GPU:0", "/device:GPU:1"]
    assert (chosen.described, chosen.on_gpu) == ("2 GPUs (NVIDIA A10)", True)


@pytest.mark.usefixtures("two_gpus")
def test_a_fit_on_the_cpu_stays_there_beside_gpus() -> None:
    strategy = choose_devices(Training(device="cpu")).strategy()
    assert isinstance(strategy, tf.distribute.OneDeviceStrategy)


@pytest.mark.usefixtures("unseen_gpu")
def test_a_fit_configured_for_the_cpu_gets_no_warning() -> None:
    assert choose_devices(Training(device="cpu")).warning is None


@pytest.mark.usefixtures("no_gpu")
def test_float16_is_refused_on_a_cpu() -> None:
    with pytest.raises(
        TrainingError, match=r"training\.precision: mixed_float16 needs a GPU.*Use mixed_bfloat16"
    ):
        choose_devices(Training(precision="mixed_float16"))


@pytest.mark.parametrize("values", [{"precision": "mixed_float16"}, {"gpu_export": True}])
def test_settings_for_gpus_are_refused_with_the_cpu(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="with device: cpu"):
        Training(device="cpu", **values)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_layers_use_the_precision_while_weights_and_answers_are_float32(precision: str) -> None:
    network = build_network(
        TrainerSettings.model_validate(SETTINGS), NETWORK_INPUTS, precision=precision
    )
    less = precision.removeprefix("mixed_")
    assert {weight.dtype for weight in network.weights} == {"float32"}
    computed = {layer.name: layer.compute_dtype for layer in network.layers if layer.weights}
    assert computed.pop("answer") == "float32"
    assert {*computed.values()} == {less}
    assert network(INPUTS).dtype == tf.float32
    inside = keras.Model(network.inputs, network.get_layer("lstm_1").output)
    assert inside(INPUTS).dtype == tf.as_dtype(less)


def test_float16_scales_the_loss_and_the_learning_rate_still_decays() -> None:
    network = build_network(
        TrainerSettings.model_validate(SETTINGS), NETWORK_INPUTS, precision="mixed_float16"
    )
    compile_network(
        network,
        Label(column="mastery", classes=["low", "mid", "high"]),
        Training(precision="mixed_float16"),
    )
    assert isinstance(network.optimizer, keras.optimizers.LossScaleOptimizer)
    decay = keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.5, patience=1, min_delta=1e9)
    network.fit(INPUTS, tf.constant([0, 1, 2]), epochs=3, verbose=0, callbacks=[decay])
    assert float(network.optimizer.learning_rate) == pytest.approx(1e-3 / 4)
    assert all(np.isfinite(weight).all() for weight in network.get_weights())


@pytest.mark.parametrize(
    ("patience", "stopped"),
    [(1, "no better eval loss for 1 epochs"), (9, "after the 3 epochs configured")],
)
def test_a_fit_ends_early_when_the_eval_loss_gets_no_better(
    patience: int, stopped: str, tmp_path: Path
) -> None:
    training = Training(epochs=3, patience=patience, learning_rate=1e-30, decay=1.0)
    network = build_network(TrainerSettings.model_validate(SETTINGS), NETWORK_INPUTS)
    compile_network(network, Label(column="mastery", classes=["low", "mid", "high"]), training)
    batch = (INPUTS, tf.constant([0, 1, 2]), tf.ones([3]))
    batches = tf.data.Dataset.from_tensors(batch)

    done = fit_network(network, batches, batches, training, FitCallbacks(training, tmp_path))

    assert (done.best_epoch, done.stopped) == (1, stopped)
    assert [epoch["epoch"] for epoch in done.epochs] == [1, 2, 3][: patience + 1]


@pytest.mark.parametrize(
    "label",
    [
        Label(column="mastery", classes=["low", "mid", "high"]),
        Label(column="score", task="regression"),
    ],
)
def test_a_training_step_is_traced_once(label: Label, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = TrainerSettings.model_validate({**SETTINGS, "label": label.model_dump()})
    network = build_network(settings, NETWORK_INPUTS)
    compile_network(network, label, settings.training)
    traces: list[object] = []
    step = network.train_step

    def counted(batch: object) -> object:
        traces.append(batch)
        return step(batch)

    monkeypatch.setattr(network, "train_step", counted)
    targets = tf.constant([0, 1, 2]) if label.classes else tf.constant([0.0, 1.0, 2.0])
    batches = tf.data.Dataset.from_tensors((INPUTS, targets, tf.ones([3])))
    network.fit(batches, epochs=2, verbose=0, shuffle=False)
    assert len(traces) == 1


def test_a_fit_in_bfloat16_is_close_to_one_in_float32_and_is_served_in_float32(
    inputs: FnArgs, fitted: Path, tmp_path: Path
) -> None:
    folder = fit(inputs, tmp_path, training(precision="mixed_bfloat16", epochs=2))
    record = json.loads((folder / "run" / "history.json").read_text())
    assert record["precision"] == "mixed_bfloat16"
    [whole, less] = [
        json.loads((path / "run" / "history.json").read_text())["epochs"]
        for path in (fitted, folder)
    ]
    assert less[-1]["val_loss"] == pytest.approx(whole[-1]["val_loss"], rel=0.05)
    assert less[-1]["val_loss"] != whole[-1]["val_loss"]

    served = tf.saved_model.load(str(folder / "model"))
    graph = served.signatures["predict_steps"].graph.as_graph_def()
    nodes = [
        *graph.node,
        *(node for function in graph.library.function for node in function.node_def),
    ]
    assert not [
        node.name
        for node in nodes
        if any(value.type == tf.bfloat16.as_datatype_enum for value in node.attr.values())
    ]
    assert {weight.dtype for weight in np.load(folder / "model" / WEIGHTS).values()} == {
        np.dtype("float32")
    }
