"""The gRPC API by the official stubs."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest, ModelVersionStatus
from tensorflow_serving.apis.inference_pb2 import MultiInferenceRequest
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from tests.serving.server.running import Running
from tests.serving.server.tiny import example, expected_scores, steps, steps_request


def test_predict_steps(server: Running) -> None:
    inputs = steps([3, 0, 5])
    response = server.prediction.Predict(steps_request(inputs))
    assert (response.model_spec.name, response.model_spec.signature_name) == (
        "tiny",
        "predict_steps",
    )
    assert response.model_spec.version.value == 1
    assert list(response.outputs["basis"].string_val) == [b"sequence", b"prior", b"sequence"]
    np.testing.assert_allclose(
        tf.make_ndarray(response.outputs["score"]), expected_scores(inputs, 2.0), rtol=1e-5
    )


def test_predict_examples_with_a_filter(server: Running) -> None:
    request = PredictRequest(output_filter=["score"])
    request.model_spec.name = "tiny"
    request.model_spec.version.value = 1
    request.inputs["examples"].CopyFrom(tf.make_tensor_proto([example([1.0, 3.0]), example([])]))
    response = server.prediction.Predict(request)
    assert list(response.outputs) == ["score"]
    assert list(response.outputs["score"].float_val) == [4.0, 0.0]


def test_status(server: Running) -> None:
    request = GetModelStatusRequest(model_spec={"name": "tiny"})
    (status,) = server.models.GetModelStatus(request).model_version_status
    assert (status.version, status.state, status.status.error_code) == (
        1,
        ModelVersionStatus.AVAILABLE,
        0,
    )


def test_metadata(server: Running) -> None:
    request = GetModelMetadataRequest(model_spec={"name": "tiny"}, metadata_field=["signature_def"])
    response = server.prediction.GetModelMetadata(request)
    signatures = SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert response.model_spec.version.value == 1
    assert (
        signatures.signature_def["predict_steps"].inputs["num_steps"].dtype
        == tf.int64.as_datatype_enum
    )


def refusal(call: object, request: object) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    return caught.value.code(), caught.value.details()


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        (
            lambda request: setattr(request.model_spec, "name", "other"),
            "NOT_FOUND",
            "this server has 'tiny'",
        ),
        (
            lambda request: setattr(request.model_spec.version, "value", 9),
            "NOT_FOUND",
            "Specific version 9",
        ),
        (
            lambda request: setattr(request.model_spec, "version_label", "x"),
            "INVALID_ARGUMENT",
            "label: x",
        ),
        (
            lambda request: setattr(request.model_spec, "signature_name", "x"),
            "INVALID_ARGUMENT",
            "found 'x'",
        ),
        (lambda request: request.inputs.pop("level"), "INVALID_ARGUMENT", "found no level"),
        (lambda request: request.inputs["more"].SetInParent(), "INVALID_ARGUMENT", "found more"),
        (
            lambda request: request.inputs["level"].CopyFrom(tf.make_tensor_proto([1.0])),
            "INVALID_ARGUMENT",
            "DT_FLOAT",
        ),
        (
            lambda request: request.inputs["level"].int64_val.append(1),
            "INVALID_ARGUMENT",
            "expected",
        ),
        (
            lambda request: request.output_filter.append("x"),
            "INVALID_ARGUMENT",
            "expected some of basis",
        ),
    ],
)
def test_refused(server: Running, change: object, code: str, reason: str) -> None:
    request = steps_request(steps([2]))
    change(request)
    found, details = refusal(server.prediction.Predict, request)
    assert found.name == code
    assert reason in details


def test_rows_have_to_agree(server: Running) -> None:
    inputs = {**steps([2, 2]), "level": np.array([1], np.int64)}
    found, details = refusal(server.prediction.Predict, steps_request(inputs))
    assert found is grpc.StatusCode.INVALID_ARGUMENT
    assert "expected as many rows in every input" in details


def test_metadata_has_one_field(server: Running) -> None:
    request = GetModelMetadataRequest(model_spec={"name": "tiny"}, metadata_field=["other"])
    found, details = refusal(server.prediction.GetModelMetadata, request)
    assert found is grpc.StatusCode.INVALID_ARGUMENT
    assert "found other" in details


@settings(max_examples=60)
@given(raw=st.binary(max_size=100), size=st.integers(0, 2000), at=st.integers(0, 2000))
def test_no_message_is_the_servers_fault(server: Running, raw: bytes, size: int, at: int) -> None:
    """Parts of a request are replaced by noise, on the wire."""
    whole = steps_request(steps([3, 1])).SerializeToString(deterministic=True)
    body = whole[:at] + raw + whole[at + size :]
    call = server.channel.unary_unary(
        "/tensorflow.serving.PredictionService/Predict",
        request_serializer=None,
        response_deserializer=None,
    )
    try:
        call(body)
    except grpc.RpcError as error:
        if error.code() not in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND):
            raise


def test_what_tensorflow_serving_has_and_this_server_not(server: Running) -> None:
    found, _ = refusal(server.prediction.MultiInference, MultiInferenceRequest())
    assert found is grpc.StatusCode.UNIMPLEMENTED
