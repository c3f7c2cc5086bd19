"""The export for GPUs and the one for any machine, on a machine that has no GPU.

cuDNN's kernel cannot run here. Whether Keras would use it can be seen: made to believe in a GPU, it
traces the graph that it traces on one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tfx.components.trainer.fn_args_utils import FnArgs

from components.evaluator.loaded_signature import _part_of, _served_graph
from components.model_version.exports import exports
from components.model_version.operations import operations, without_cpu_kernel
from components.node.settings import TrainerSettings
from components.trainer.export import NO_GPU
from components.trainer.fit import Fit
from components.trainer.network import (
    Embedded,
    NetworkInputs,
    build_network,
    copy_weights,
)
from components.trainer.states import LstmKernel
from tests.components.trainer.tiny_log import SETTINGS, fit

# Keras converts variables the way NumPy 1 wanted it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ASKED = {**SETTINGS, "training": {**SETTINGS["training"], "epochs": 1, "gpu_export": True}}
NETWORK_INPUTS = NetworkInputs({"step_kind": Embedded(4, 3), "step_x": None}, {"context_h": None})
INPUTS = {
    "step_kind": tf.constant([[1, 2, 3], [1, 0, 0], [0, 0, 0]], tf.int64),
    "step_x": tf.constant([[0.1, 0.2, 0.3], [0.5, 0.0, 0.0], [0.0, 0.0, 0.0]]),
    "context_h": tf.constant([0.5, -0.5, 1.0]),
    "num_steps": tf.constant([3, 1, 0], tf.int64),
}


def saved_graph(model: Path) -> MetaGraphDef:
    return SavedModel.FromString((model / "saved_model.pb").read_bytes()).meta_graphs[0]


def graph_operations(model: Path) -> set[str]:
    return operations(saved_graph(model).graph_def)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes Keras trace as it does where TensorFlow lists a GPU."""
    keras_rnn = sys.modules["keras.src.backend.tensorflow.rnn"]
    monkeypatch.setattr(keras_rnn, "_is_gpu_available", lambda: True)


def test_tensorflow_says_which_operations_need_a_gpu() -> None:
    assert without_cpu_kernel(
        ["MatMul", "CudnnRNNV3", "While", "CudnnRNNBackpropV3", "Placeholder", "NoOp"]
    ) == [
        "CudnnRNNBackpropV3",
        "CudnnRNNV3",
    ]


def test_weights_and_answers_are_the_same_with_and_without_cudnn() -> None:
    settings = TrainerSettings.model_validate(SETTINGS)
    one, other = (build_network(settings, NETWORK_INPUTS, lstm=lstm) for lstm in ("cudnn", "loop"))
    assert [weight.path for weight in one.weights] == [weight.path for weight in other.weights]
    copy_weights(one, other)
    assert np.array_equal(one(INPUTS), other(INPUTS))


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("lstm", ["cudnn", "fused", "loop", "served"])
def test_cudnn_is_used_only_if_allowed(lstm: LstmKernel) -> None:
    network = build_network(TrainerSettings.model_validate(SETTINGS), NETWORK_INPUTS, lstm=lstm)
    traced = tf.function(lambda inputs: network(inputs, training=False)).get_concrete_function(
        INPUTS
    )
    found = without_cpu_kernel(operations(traced.graph.as_graph_def()))
    assert found == (["CudnnRNNV3"] if lstm == "cudnn" else [])


def test_cudnn_is_never_given_a_sequence_without_steps() -> None:
    network = build_network(TrainerSettings.model_validate(SETTINGS), NETWORK_INPUTS, lstm="cudnn")
    mask = network.get_layer("mask")([INPUTS["num_steps"], INPUTS["step_x"]])
    assert mask.numpy().tolist() == [[True, True, True], [True, False, False], [True, False, False]]


def test_the_portable_export_runs_on_any_machine(fitted: Path) -> None:
    found = graph_operations(fitted / "model")
    assert {"BlockLSTMV2", "ParseExampleV2"} <= found
    # Answers take no loop; only the line that an explanation integrates along is one.
    graph = _served_graph(fitted / "model")
    assert graph is not None
    for signature in ("serving_default", "predict_steps"):
        assert "While" not in operations(_part_of(graph, signature))
    assert without_cpu_kernel(found) == []
    assert exports(fitted / "model") == {"portable": "."}


def test_without_a_gpu_the_missing_gpu_export_is_reported(inputs: FnArgs, tmp_path: Path) -> None:
    folder = fit(inputs, tmp_path, ASKED)
    assert json.loads((folder / "run" / "history.json").read_text())["gpu_export"] == NO_GPU
    assert exports(folder / "model") == {"portable": "."}
    assert not (folder / "model" / "gpu").exists()


def test_a_model_that_was_traced_for_a_gpu_has_both_exports(
    inputs: FnArgs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    from components.trainer import run

    def fit_without(*_: Any) -> Fit:  # cuDNN's kernel cannot be run here
        request.getfixturevalue("gpu")
        return Fit([], best_epoch=0, stopped="not fitted")

    monkeypatch.setattr(run, "fit_network", fit_without)
    folder = fit(inputs, tmp_path, ASKED)
    model = folder / "model"
    assert json.loads((folder / "run" / "history.json").read_text())["gpu_export"] == "gpu"
    assert exports(model) == exports(model / "gpu") == {"portable": ".", "gpu": "gpu"}
    assert without_cpu_kernel(graph_operations(model)) == []
    assert without_cpu_kernel(graph_operations(model / "gpu")) == ["CudnnRNNV3"]
    portable, gpu = (saved_graph(path).signature_def for path in (model, model / "gpu"))
    for name in ("serving_default", "predict_steps"):
        assert set(portable[name].inputs) == set(gpu[name].inputs)
        assert set(portable[name].outputs) == set(gpu[name].outputs)
    # The portable export answers even while Keras assumes a GPU: it was traced without cuDNN.
    answer = tf.saved_model.load(str(model)).signatures["serving_default"](
        examples=tf.zeros([0], tf.string)
    )
    assert answer["probabilities"].shape == (0, 3)
