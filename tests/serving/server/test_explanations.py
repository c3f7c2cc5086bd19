"""The server explains answers of a fitted model, by every protocol; it takes seconds to fit one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from tests.components.trainer.tiny_log import SETTINGS, fit, write_inputs
from tests.serving.server.running import Running, running

EXACT = 1e-3
STEPS: dict[str, Any] = {  # three learners of up to three steps
    "event_type": [["quiz", "quiz", "video"], ["forum", "quiz", ""], ["video", "video", "quiz"]],
    "correct": [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 1.0, 1.0]],
    "mean_dwell": [[60.0, 5.0, 90.0], [10.0, 20.0, 0.0], [300.0, 80.0, 30.0]],
    "unit_id": ["algebra", "logic", "algebra"],
    "horizon": [7, 14, 0],
    "num_steps": [3, 2, 3],
}
NAMED = {**STEPS, "explained_class": ["", "low", "high"]}


@pytest.fixture(scope="module")
def explaining(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("explaining")
    fitted = fit(write_inputs(folder / "inputs", SETTINGS), folder / "fitted", SETTINGS)
    shutil.copytree(fitted / "model", folder / "serving" / "1")
    (folder / "serving" / "1" / "manifest.json").write_text(json.dumps({"name": "tiny"}))
    with running(folder / "serving") as server:
        yield server


def outputs(explaining: Running, signature: str, inputs: dict[str, Any]) -> dict[str, Any]:
    answer = explaining.predict({"signature_name": signature, "inputs": inputs})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["outputs"]
    return found


def test_columns_by_rest(explaining: Running) -> None:
    found = outputs(explaining, "explain_steps", NAMED)

    plain = outputs(explaining, "predict_steps", STEPS)
    assert {name: found[name] for name in plain} == plain
    predicted = plain["predicted_class"][0]
    assert found["explained_class"] == [predicted, "low", "high"]
    classes = plain["classes"][0]
    for row, name in enumerate(found["explained_class"]):
        probability = plain["probabilities"][row][classes.index(name)]
        added = sum(found["attributions"][row])
        assert added == pytest.approx(probability - found["typical_answer"][row], abs=EXACT)
    assert np.shape(found["step_attributions"]) == (3, 3, 3)
    assert found["step_attributions"][1][2] == [0, 0, 0]  # padding


def test_rows_by_rest(explaining: Running) -> None:
    rows = [{name: values[row] for name, values in NAMED.items()} for row in range(3)]
    answer = explaining.predict({"signature_name": "explain_steps", "instances": rows})
    assert answer.status_code == 200, answer.text

    columns = outputs(explaining, "explain_steps", NAMED)
    found = answer.json()["predictions"]
    assert [row["explained_class"] for row in found] == columns["explained_class"]
    assert [row["attributions"] for row in found] == pytest.approx(
        np.array(columns["attributions"]), abs=1e-5
    )


def test_grpc(explaining: Running) -> None:
    request = PredictRequest()
    request.model_spec.name = "tiny"
    request.model_spec.signature_name = "explain_steps"
    for name, values in NAMED.items():
        dtype = tf.int64 if name in ("horizon", "num_steps") else None
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values, dtype))
    found = explaining.prediction.Predict(request)

    expected = outputs(explaining, "explain_steps", NAMED)
    attributions = tf.make_ndarray(found.outputs["attributions"])
    assert attributions == pytest.approx(np.array(expected["attributions"]), abs=1e-5)

    request.inputs["explained_class"].CopyFrom(tf.make_tensor_proto(["lwo"] * 3))
    with pytest.raises(grpc.RpcError) as refused:
        explaining.prediction.Predict(request)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "explained_class to be empty or one of low, mid, high" in refused.value.details()


def test_open_inference(explaining: Running) -> None:
    kinds = {"num_steps": "INT64", "horizon": "INT64", "correct": "FP32", "mean_dwell": "FP32"}
    tensors = [
        {
            "name": name,
            "shape": list(np.shape(values)),
            "datatype": kinds.get(name, "BYTES"),
            "data": values,
        }
        for name, values in NAMED.items()
    ]
    answer = explaining.rest.post(
        "/v2/models/tiny/infer",
        json={"inputs": tensors, "parameters": {"signature_name": "explain_steps"}},
    )
    assert answer.status_code == 200, answer.text

    [found] = [item for item in answer.json()["outputs"] if item["name"] == "attributions"]
    expected = np.ravel(outputs(explaining, "explain_steps", NAMED)["attributions"])
    assert found["data"] == pytest.approx(expected, abs=1e-5)


def test_an_unknown_class_is_named(explaining: Running) -> None:
    asked = {**STEPS, "explained_class": ["", "lwo", ""]}
    answer = explaining.predict({"signature_name": "explain_steps", "inputs": asked})
    assert answer.status_code == 400
    assert "explained_class to be empty or one of low, mid, high, found" in answer.json()["error"]
    assert "lwo" in answer.json()["error"]


def test_answers_and_explanations_at_the_same_time(explaining: Running) -> None:
    """Requests to different signatures never share a batch."""
    expected = {
        "predict_steps": outputs(explaining, "predict_steps", STEPS),
        "explain_steps": outputs(explaining, "explain_steps", NAMED),
    }
    asked = {"predict_steps": STEPS, "explain_steps": NAMED}
    with ThreadPoolExecutor(8) as pool:
        signatures = ["predict_steps", "explain_steps"] * 12
        answers = pool.map(lambda name: outputs(explaining, name, asked[name]), signatures)
        for signature, found in zip(signatures, answers, strict=True):
            assert set(found) == set(expected[signature])
            for name in ("predicted_class", "basis"):
                assert found[name] == expected[signature][name]
            if signature == "explain_steps":
                assert np.array(found["attributions"]) == pytest.approx(
                    np.array(expected[signature]["attributions"]), abs=1e-5
                )
