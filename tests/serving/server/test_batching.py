"""Requests that share a call of the graph get the same answers as alone."""

from __future__ import annotations

import time
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from serving.server.batching import batch_kind, join_requests
from serving.server.model_signatures import Signature, TensorSpec
from tests.serving.server.running import Running, running
from tests.serving.server.tiny import Steps, expected_scores, steps, steps_request

SPECS = {
    "correct": TensorSpec("correct", "", types_pb2.DT_FLOAT, (None, None)),
    "event_type": TensorSpec("event_type", "", types_pb2.DT_STRING, (None, None)),
    "level": TensorSpec("level", "", types_pb2.DT_INT64, (None,)),
    "num_steps": TensorSpec("num_steps", "", types_pb2.DT_INT64, (None,)),
}
SIGNATURE = Signature(
    "predict_steps", SPECS, {"score": TensorSpec("score", "", types_pb2.DT_FLOAT, (None,))}
)


def busy(server: Running, seconds: float) -> grpc.Future:
    """Keeps the only computing thread busy."""
    request = PredictRequest()
    request.model_spec.name = "tiny"
    request.model_spec.signature_name = "slow"
    request.inputs["seconds"].CopyFrom(tf.make_tensor_proto([seconds], tf.float32))
    future = server.prediction.Predict.future(request)
    while server.server.requests_in_progress == 0:
        time.sleep(0.001)
    return future


def graph_runs(server: Running) -> float:
    page = server.rest.get("/monitoring/prometheus/metrics").text
    lines = [line for line in page.splitlines() if line.startswith(":tensorflow:core:graph_runs ")]
    return float(lines[0].split()[1]) if lines else 0.0


def test_requests_of_any_length_share_a_call(folder: Path) -> None:
    draw = np.random.default_rng(7)
    asked = [steps(draw.integers(0, 40, draw.integers(1, 4)).tolist(), seed) for seed in range(40)]
    with running(folder) as server:
        first = busy(server, 0.3)
        futures = [server.prediction.Predict.future(steps_request(inputs)) for inputs in asked]
        answers = [future.result() for future in futures]
        first.result()
        runs = graph_runs(server)
    assert runs < 10, "forty-one requests"
    for inputs, answer in zip(asked, answers, strict=True):
        np.testing.assert_allclose(
            tf.make_ndarray(answer.outputs["score"]), expected_scores(inputs, 2.0), rtol=1e-5
        )


def test_one_bad_request_does_not_spoil_the_others(folder: Path) -> None:
    asked = [steps([3], seed) for seed in range(6)]
    asked[2]["level"][:] = 100  # the graph refuses it
    with running(folder) as server:
        busy(server, 0.3)
        futures = [server.prediction.Predict.future(steps_request(inputs)) for inputs in asked]
        for at, future in enumerate(futures):
            if at == 2:
                with pytest.raises(grpc.RpcError, match="level too high"):
                    future.result()
            else:
                found = tf.make_ndarray(future.result().outputs["score"])
                np.testing.assert_allclose(found, expected_scores(asked[at], 2.0), rtol=1e-5)


rows = st.lists(st.integers(0, 12), min_size=1, max_size=4)


@given(st.lists(st.tuples(rows, st.integers(0, 10)), min_size=1, max_size=6))
def test_joined_requests_mean_what_they_meant_alone(requests: list[tuple[list[int], int]]) -> None:
    """Also if a request declares more steps than it has."""
    asked: list[Steps] = [
        steps(lengths, seed, width) for seed, (lengths, width) in enumerate(requests)
    ]
    joined = join_requests(asked, SIGNATURE.step_inputs)
    together = expected_scores(joined, 1.0)
    alone = np.concatenate([expected_scores(inputs, 1.0) for inputs in asked])
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_which_inputs_are_padded() -> None:
    assert SIGNATURE.step_inputs == ("correct", "event_type")
    without = {name: spec for name, spec in SPECS.items() if name != "num_steps"}
    assert Signature("other", without, SIGNATURE.outputs).step_inputs == ()


def test_very_long_requests_go_with_their_like() -> None:
    short, long, longer = (batch_kind(SIGNATURE, steps([width])) for width in (3, 1000, 5000))
    assert short == batch_kind(SIGNATURE, steps([64]))
    assert len({short, long, longer}) == 3


def test_steps_of_unequal_width_go_alone() -> None:
    inputs = {**steps([3]), "correct": np.zeros((1, 2), np.float32)}
    assert batch_kind(SIGNATURE, inputs) != batch_kind(SIGNATURE, inputs)
