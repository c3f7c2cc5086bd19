"""Decisions are true or false wherever the server is asked: REST, gRPC, Open Inference."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from tests.serving.explaining import save
from tests.serving.server.running import Running, running
from tests.serving.server.tiny import push

ROWS = [
    {"event_type": ["quiz"] * length, "correct": [share] * length, "num_steps": length,
     "unit_id": "u", "level": level}
    for length, share, level in ((3, 0.1, 0.0), (2, 0.9, 1.0), (0, 0.0, 3.0), (4, 0.5, 0.5))
]  # fmt: skip


@pytest.fixture(scope="module")
def deciding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("deciding")
    push(save(folder / "model"), folder / "served", 1)
    with running(folder / "served") as started:
        yield started


def test_rest_answers_decisions_as_true_and_false(deciding: Running) -> None:
    for row in ROWS:
        body = {"signature_name": "predict_steps", "instances": [row]}
        answer = deciding.predict(body)
        assert answer.status_code == 200, answer.text
        [prediction] = answer.json()["predictions"]
        expected = prediction["probabilities"][0] >= 0.4
        assert prediction["decision_call"] is expected


def test_grpc_answers_decisions_as_bool_tensors(deciding: Running) -> None:
    request = PredictRequest()
    request.model_spec.name = "tiny"
    request.model_spec.signature_name = "predict_steps"
    row = ROWS[0]
    inputs = {
        "event_type": np.array([row["event_type"]], object),
        "correct": np.array([row["correct"]], np.float32),
        "num_steps": np.array([row["num_steps"]], np.int64),
        "unit_id": np.array([row["unit_id"]], object),
        "level": np.array([row["level"]], np.float32),
    }
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    response = deciding.prediction.Predict(request)
    decision = response.outputs["decision_call"]
    assert decision.dtype == tf.bool.as_datatype_enum
    probabilities = tf.make_ndarray(response.outputs["probabilities"])
    assert tf.make_ndarray(decision).tolist() == (probabilities[:, 0] >= 0.4).tolist()


def test_open_inference_describes_and_answers_decisions_as_bool(deciding: Running) -> None:
    outputs = deciding.rest.get("/v2/models/tiny").json()["outputs"]
    [described] = [item for item in outputs if item["name"] == "decision_call"]
    assert (described["datatype"], described["shape"]) == ("BOOL", [-1])
