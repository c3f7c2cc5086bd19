"""The Open Inference Protocol, tested with Triton's own clients."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from google.protobuf import descriptor_pb2
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import types_pb2
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from serving.server.model_signatures import Signature, TensorSpec
from serving.server.open_inference import decode_infer_inputs
from serving.server.open_inference_grpc import MESSAGES, read_message
from serving.server.request_error import RequestError
from tests.serving.server.running import Running, running
from tests.serving.server.tiny import example, expected_scores, steps

INFER = "/v2/models/tiny/infer"
EXAMPLES = np.array([example([1.0, 3.0]), example([])], object)


@pytest.fixture(scope="module")
def by_http(server: Running):
    with triton_http.InferenceServerClient(f"127.0.0.1:{server.server.rest_port}") as client:
        yield client


@pytest.fixture(scope="module")
def by_grpc(server: Running):
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{server.server.grpc_port}") as client:
        yield client


@pytest.fixture(params=["by_http", "by_grpc"])
def client(request: pytest.FixtureRequest):
    return request.getfixturevalue(request.param)


def module_of(client: object) -> object:
    return triton_http if isinstance(client, triton_http.InferenceServerClient) else triton_grpc


def tensors(client: object, arrays: dict[str, np.ndarray], **options: bool) -> list[object]:
    found = []
    for name, values in arrays.items():
        tensor = module_of(client).InferInput(
            name, list(values.shape), np_to_triton_dtype(values.dtype)
        )
        tensor.set_data_from_numpy(values, **options)
        found.append(tensor)
    return found


def test_health_and_metadata(client: object) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny")
    assert client.is_model_ready("tiny", "1")
    assert not client.is_model_ready("tiny", "2")
    assert not client.is_model_ready("other")


def test_metadata_by_http(by_http: triton_http.InferenceServerClient) -> None:
    server = by_http.get_server_metadata()
    assert (server["name"], server["extensions"]) == ("mastery", ["binary_tensor_data"])
    assert by_http.get_model_metadata("tiny", "1") == {
        "name": "tiny",
        "versions": ["1"],
        "platform": "tensorflow_savedmodel",
        "inputs": [{"name": "examples", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "basis", "datatype": "BYTES", "shape": [-1]},
            {"name": "score", "datatype": "FP32", "shape": [-1]},
        ],
    }
    steps_inputs = by_http.get_model_metadata(
        "tiny", query_params={"signature_name": "predict_steps"}
    )["inputs"]
    assert steps_inputs[0] == {"name": "correct", "datatype": "FP32", "shape": [-1, -1]}


def test_metadata_by_grpc(by_grpc: triton_grpc.InferenceServerClient) -> None:
    assert by_grpc.get_server_metadata().name == "mastery"
    found = by_grpc.get_model_metadata("tiny")
    assert (found.name, list(found.versions), found.platform) == (
        "tiny",
        ["1"],
        "tensorflow_savedmodel",
    )
    assert [(item.name, item.datatype, list(item.shape)) for item in found.inputs] == [
        ("examples", "BYTES", [-1])
    ]


def test_serialized_examples(client: object) -> None:
    answer = client.infer("tiny", tensors(client, {"examples": EXAMPLES}), request_id="7")
    np.testing.assert_allclose(answer.as_numpy("score"), [4.0, 0.0])
    assert answer.as_numpy("basis").tolist() == [b"sequence", b"prior"]
    response = answer.get_response()
    if isinstance(response, dict):
        assert (response["model_name"], response["model_version"], response["id"]) == (
            "tiny",
            "1",
            "7",
        )
    else:
        assert (response.model_name, response.model_version, response.id) == ("tiny", "1", "7")


def test_columns_choose_their_signature(client: object) -> None:
    inputs = steps([3, 0, 5])
    answer = client.infer("tiny", tensors(client, inputs))
    np.testing.assert_allclose(answer.as_numpy("score"), expected_scores(inputs, 2.0), rtol=1e-5)


def test_some_outputs_of_a_version_and_a_named_signature(client: object) -> None:
    wanted = [module_of(client).InferRequestedOutput("score")]
    options = {
        "model_version": "1",
        "outputs": wanted,
        "parameters": {"signature_name": "serving_default"},
    }
    answer = client.infer("tiny", tensors(client, {"examples": EXAMPLES}), **options)
    np.testing.assert_allclose(answer.as_numpy("score"), [4.0, 0.0])
    assert answer.as_numpy("basis") is None


def test_json_alone(by_http: triton_http.InferenceServerClient) -> None:
    inputs = steps([3, 1])
    wanted = [
        triton_http.InferRequestedOutput(name, binary_data=False) for name in ("score", "basis")
    ]
    answer = by_http.infer("tiny", tensors(by_http, inputs, binary_data=False), outputs=wanted)
    np.testing.assert_allclose(answer.as_numpy("score"), expected_scores(inputs, 2.0), rtol=1e-5)
    assert "data" in answer.get_response()["outputs"][0]


def test_compressed_bodies(by_http: triton_http.InferenceServerClient) -> None:
    answer = by_http.infer(
        "tiny", tensors(by_http, {"examples": EXAMPLES}), request_compression_algorithm="gzip"
    )
    np.testing.assert_allclose(answer.as_numpy("score"), [4.0, 0.0])


def test_a_large_request_is_read_elsewhere(by_http: triton_http.InferenceServerClient) -> None:
    for binary, width in ((True, 3000), (False, 1300)):  # 70,000 bytes each
        inputs = steps([width] * 2)
        answer = by_http.infer("tiny", tensors(by_http, inputs, binary_data=binary))
        np.testing.assert_allclose(
            answer.as_numpy("score"), expected_scores(inputs, 2.0), rtol=1e-4
        )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda arrays: arrays.pop("level"), "expected the inputs of one of the signatures"),
        (
            lambda arrays: arrays.update(level=np.array([1.0])),
            "level: expected INT64 .-1., found datatype 'FP64'",
        ),
        (lambda arrays: arrays.update(level=np.array([[1]])), "found shape .1, 1."),
        (lambda arrays: arrays.update(level=np.array([100])), "level too high"),
    ],
)
def test_refused(client: object, change: object, reason: str) -> None:
    arrays = steps([2])
    change(arrays)
    with pytest.raises(InferenceServerException, match=reason) as caught:
        client.infer("tiny", tensors(client, arrays))
    assert caught.value.status() in ("400", "StatusCode.INVALID_ARGUMENT")


def test_no_such_model_version_signature_or_output(client: object) -> None:
    inputs = tensors(client, {"examples": EXAMPLES})
    for options, status in (
        ({"model_name": "other"}, "NOT_FOUND"),
        ({"model_name": "tiny", "model_version": "9"}, "NOT_FOUND"),
        ({"model_name": "tiny", "model_version": "canary"}, "INVALID_ARGUMENT"),
        ({"model_name": "tiny", "parameters": {"signature_name": "x"}}, "INVALID_ARGUMENT"),
        (
            {"model_name": "tiny", "outputs": [module_of(client).InferRequestedOutput("x")]},
            "INVALID_ARGUMENT",
        ),
    ):
        with pytest.raises(InferenceServerException) as caught:
            client.infer(inputs=inputs, **options)
        known = {"404": "NOT_FOUND", "400": "INVALID_ARGUMENT"}
        found = str(caught.value.status()).removeprefix("StatusCode.")
        assert known.get(found, found) == status, options


def test_json_forms_of_values(server: Running) -> None:
    """Nested lists, texts that are not UTF-8, and numbers that JSON lacks."""
    body = {
        "inputs": [
            {"name": "correct", "datatype": "FP32", "shape": [1, 2], "data": [[1, float("nan")]]},
            {
                "name": "event_type",
                "datatype": "BYTES",
                "shape": [1, 2],
                "data": ["quiz", {"b64": "cXVpeg=="}],
            },
            {"name": "level", "datatype": "INT64", "shape": [1], "data": [1]},
            {"name": "num_steps", "datatype": "INT64", "shape": [1], "data": 2},
        ]
    }
    answer = server.rest.post(INFER, content=json.dumps(body))
    assert answer.status_code == 200, answer.text
    assert answer.json()["outputs"][1] == {
        "name": "score",
        "datatype": "FP32",
        "shape": [1],
        "data": [3.0],
    }


def bad(**change: object) -> dict[str, object]:
    return {"inputs": [{"name": "value", "datatype": "FP32", "shape": [], "data": [1.0], **change}]}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("[]", "expected a JSON object"),
        ("{", "JSON Parse error"),
        ({}, "inputs: expected a list of one or more"),
        ({"inputs": 1}, "inputs: expected a list, found a number"),
        ({"inputs": [1]}, "inputs: expected a list of objects"),
        (bad(name=1), "name: expected a string, found a number"),
        (bad(datatype="FP64"), "expected FP32"),
        (bad(shape=[1]), "found shape [1]"),
        (bad(shape="1"), "shape: expected a list"),
        (bad(shape=[True]), "expected whole numbers as shape"),
        (bad(data=[1.0, 2.0]), "expected 1 values for shape [], found 2"),
        (bad(data=["1"]), "expected DT_FLOAT, found a string 1"),
        (json.dumps(bad()).replace("1.0", "1e400"), "in the range of a double, found 1e400"),
        (bad(parameters={"binary_data_size": 4}), "either data or a parameter binary_data_size"),
        (bad(parameters={"shared_memory_region": "a"}), "no shared memory region"),
        (
            {**bad(), "outputs": [{"name": "double", "parameters": {"classification": 1}}]},
            "no classification",
        ),
        ({**bad(), "id": 5}, "id: expected a string"),
    ],
)
def test_refused_json(server: Running, body: object, reason: str) -> None:
    answer = server.rest.post(INFER, content=body if isinstance(body, str) else json.dumps(body))
    assert answer.status_code == 400
    assert reason in answer.json()["error"]


@pytest.mark.parametrize(
    ("header", "tail", "reason"),
    [
        ("x", b"\0\0\x80?", "expected a number of bytes"),
        ("9999", b"\0\0\x80?", "expected at most the"),
        (None, b"\0\0\x80", "expected 4 raw bytes after the JSON, found 3"),
        (None, b"\0\0\x80?\0", "the sum of the sizes of the JSON and of the raw inputs"),
    ],
)
def test_refused_raw_bytes(server: Running, header: str | None, tail: bytes, reason: str) -> None:
    item = {"name": "value", "datatype": "FP32", "shape": [], "parameters": {"binary_data_size": 4}}
    text = json.dumps({"inputs": [item]}).encode()
    length = str(len(text)) if header is None else header
    answer = server.rest.post(
        INFER, content=text + tail, headers={"Inference-Header-Content-Length": length}
    )
    assert answer.status_code == 400
    assert reason in answer.json()["error"]


@settings(max_examples=50)
@given(raw=st.binary(max_size=60))
def test_texts_as_raw_bytes(server: Running, raw: bytes) -> None:
    """Any bytes are read as texts with their lengths or refused; the server keeps running."""
    item = {
        "name": "examples",
        "datatype": "BYTES",
        "shape": [1],
        "parameters": {"binary_data_size": len(raw)},
    }
    text = json.dumps({"inputs": [item]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    answer = server.rest.post(INFER, content=text + raw, headers=headers)
    is_text = len(raw) >= 4 and struct.unpack("<I", raw[:4])[0] == len(raw) - 4
    assert answer.status_code in ((200, 400) if is_text else (400,)), answer.text


def test_paths(server: Running) -> None:
    for method, path in (
        ("POST", "/v2"),
        ("GET", INFER),
        ("GET", "/v2/models"),
        ("POST", "/v2/repository/index"),
    ):
        answer = server.rest.request(method, path)
        assert (answer.status_code, "error" in answer.json()) == (404, True), path


def test_health_needs_no_token_but_metadata_does(folder: Path) -> None:
    with running(folder, token="sesame") as server:
        assert server.rest.get("/v2/health/ready").status_code == 200
        assert server.rest.get("/v2/health/live").content == b""
        for path in ("/v2", "/v2/models/tiny", "/v2/models/tiny/ready"):
            assert server.rest.get(path).status_code == 401
        right = {"Authorization": "Bearer sesame"}
        assert server.rest.get("/v2/models/tiny/ready", headers=right).status_code == 200


def test_not_ready_before_the_first_version(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        assert server.rest.get("/v2/health/live").status_code == 200
        refused = server.rest.get("/v2/health/ready")
        assert (refused.status_code, refused.json()["error"]) == (
            503,
            "no version of tiny is available yet.",
        )


def test_the_messages_are_those_of_triton() -> None:
    """Every field has the number, type and name that it has in Triton's own messages."""
    ours = descriptor_pb2.FileDescriptorProto()
    MESSAGES.pool.FindFileByName("open_inference_grpc.proto").CopyToProto(ours)
    theirs = descriptor_pb2.FileDescriptorProto.FromString(service_pb2.DESCRIPTOR.serialized_pb)

    def check(mine: object, others: object) -> None:
        by_name = {message.name: message for message in others}
        for message in mine:
            fields = {field.name: field for field in by_name[message.name].field}
            for field in message.field:
                wanted = fields[field.name]
                found = (field.number, field.type, field.label, field.type_name)
                assert found == (wanted.number, wanted.type, wanted.label, wanted.type_name), (
                    field.name
                )
            check(message.nested_type, by_name[message.name].nested_type)

    check(ours.message_type, theirs.message_type)
    methods = {
        method.name: (method.input_type, method.output_type) for method in theirs.service[0].method
    }
    assert {
        method.name: (method.input_type, method.output_type) for method in ours.service[0].method
    }.items() <= (methods.items())


def infer_message(**fields: object) -> object:
    tensor = {"name": "a", "datatype": fields.pop("datatype", "INT8"), "shape": [2]}
    contents = fields.pop("contents", None)
    if contents:
        tensor["contents"] = contents
    return MESSAGES.classes["ModelInferRequest"](inputs=[tensor], **fields)


@pytest.mark.parametrize(
    ("enum", "fields", "reason"),
    [
        (types_pb2.DT_INT8, {"raw_input_contents": [b"", b""]}, "expected one for each of 1"),
        (types_pb2.DT_INT8, {"raw_input_contents": [b"ab"], "contents": {"int_contents": [1]}},
         "expected raw contents or others, found both"),
        (types_pb2.DT_INT8, {"contents": {"fp32_contents": [1, 2]}},
         "expected its values in int_contents"),
        (types_pb2.DT_INT8, {"contents": {"int_contents": [1, 300]}}, "out of the range of INT8"),
        (types_pb2.DT_HALF, {"contents": {"fp32_contents": [1, 2]}, "datatype": "FP16"},
         "expected its values in raw_input_contents"),
    ],
)  # fmt: skip
def test_contents_of_a_message_that_do_not_fit(
    enum: int, fields: dict[str, object], reason: str
) -> None:
    signature = Signature("one", {"a": TensorSpec("a", "a:0", enum, (None,))}, {})
    with pytest.raises(RequestError, match=reason):
        decode_infer_inputs(read_message(infer_message(**fields)), signature)


def test_contents_of_a_message() -> None:
    spec = TensorSpec("a", "a:0", types_pb2.DT_INT8, (None,))
    message = infer_message(contents={"int_contents": [1, -2]})
    found = decode_infer_inputs(read_message(message), Signature("one", {"a": spec}, {}))
    assert found["a"].tolist() == [1, -2]
    assert found["a"].dtype == np.int8
