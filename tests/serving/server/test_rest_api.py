"""TensorFlow Serving's REST API: status, metadata, predict in rows and columns, errors."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving.server.running import Running
from tests.serving.server.tiny import Steps, example, expected_scores, steps


def columns(inputs: Steps) -> dict[str, object]:
    """Returns inputs as JSON values."""
    texts = [[item.decode() for item in row] for row in inputs["event_type"]]
    return {
        name: texts if name == "event_type" else values.tolist() for name, values in inputs.items()
    }


def test_status(server: Running) -> None:
    available = {
        "model_version_status": [
            {
                "version": "1",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }
    for where in ("", "/versions/1"):
        response = server.rest.get(f"/v1/models/tiny{where}")
        assert response.json() == available
        assert response.headers["content-type"] == "application/json"
    missing = server.rest.get("/v1/models/tiny/versions/7")
    assert (missing.status_code, missing.json()) == (
        404,
        {"error": "Could not find version 7 of model tiny."},
    )


def test_metadata(server: Running) -> None:
    document = server.rest.get("/v1/models/tiny/metadata").json()
    assert document["model_spec"] == {"name": "tiny", "signature_name": "", "version": "1"}
    signatures = document["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == {"serving_default", "predict_steps", "slow", "single", "wide"}
    steps_input = signatures["predict_steps"]["inputs"]["correct"]
    assert steps_input["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in steps_input["tensor_shape"]["dim"]] == ["-1", "-1"]
    assert signatures["predict_steps"]["method_name"] == "tensorflow/serving/predict"


def test_rows_of_bytes(server: Running) -> None:
    rows = [{"b64": base64.b64encode(example([1.0, 2.0], 3)).decode()}, {"b64": ""}]
    for instances in (rows, [{"examples": row} for row in rows]):
        answer = server.predict({"instances": instances}).json()
        assert answer == {
            "predictions": [{"basis": "sequence", "score": 6.0}, {"basis": "prior", "score": 0.0}]
        }


def test_columns_of_steps(server: Running) -> None:
    inputs = steps([4, 0, 2])
    answer = server.predict({"signature_name": "predict_steps", "inputs": columns(inputs)}).json()[
        "outputs"
    ]
    assert answer["basis"] == ["sequence", "prior", "sequence"]
    np.testing.assert_allclose(answer["score"], expected_scores(inputs, 2.0), rtol=1e-5)


def test_rows_of_steps(server: Running) -> None:
    inputs = steps([4, 2])
    by_name = columns(inputs)
    rows = [{name: values[at] for name, values in by_name.items()} for at in range(2)]
    answer = server.predict(
        {"signature_name": "predict_steps", "instances": rows}, "/versions/1"
    ).json()
    scores = [row["score"] for row in answer["predictions"]]
    np.testing.assert_allclose(scores, expected_scores(inputs, 2.0), rtol=1e-5)


def test_a_single_output_is_answered_without_its_name(server: Running) -> None:
    assert server.predict({"signature_name": "single", "inputs": 2}).json() == {"outputs": 4.0}
    assert server.predict({"signature_name": "single", "inputs": {"value": 2.5}}).json() == {
        "outputs": 5.0
    }
    assert server.predict({"signature_name": "wide", "inputs": 2}).json() == {
        "outputs": "01234567890123456789"
    }


def test_a_missing_step_is_nan(server: Running) -> None:
    inputs = columns(steps([2], width=2))
    body = json.dumps(
        {"signature_name": "predict_steps", "inputs": {**inputs, "correct": [[float("nan"), 1.0]]}}
    )
    assert "NaN" in body
    assert server.rest.post("/v1/models/tiny:predict", content=body).status_code == 200


@pytest.mark.parametrize(
    ("body", "where", "status", "reason"),
    [
        ({"instances": [1]}, "", 400, "expected DT_STRING, found a number 1"),
        ({"instances": ["no example"]}, "", 400, "Could not parse example input"),
        ({"instances": [{"b64": "zMw="}]}, "", 400, "Could not parse example input"),
        ({"instances": ["no\nexample"]}, "", 400, "Could not parse example input, value: 'no ex"),
        (
            {"signature_name": "nothing", "instances": [1]},
            "",
            400,
            "expected one of the signatures predict_steps",
        ),
        (
            {"signature_name": "predict_steps", "inputs": {}},
            "",
            400,
            "found no correct, event_type",
        ),
        (
            {"signature_name": "single", "instances": [1]},
            "",
            400,
            r"expected DT_FLOAT \[\], found shape \[1\]",
        ),
        (
            {"instances": [""]},
            "/versions/9",
            404,
            "Servable not found for request: Specific version 9",
        ),
        ({"instances": [""]}, "/versions/9223372036854775807", 404, "Servable not found"),
        ({"instances": [""]}, "/versions/9223372036854775808", 400, "Failed to convert version"),
        ({"instances": [""]}, "/versions/" + "1" * 4400, 400, "Failed to convert version"),
        ({"instances": [""]}, "/labels/canary", 400, "Unrecognized servable version label: canary"),
        ({"instances": [""] * 51}, "", 400, "expected 1 to 50 rows in a request, found 51"),
        ({"inputs": []}, "", 400, "expected 1 to 50 rows in a request, found 0"),
    ],
)
def test_refused(server: Running, body: object, where: str, status: int, reason: str) -> None:
    response = server.predict(body, where)
    assert response.status_code == status
    assert set(response.json()) == {"error"}
    with pytest.raises(ValueError, match=reason):
        raise ValueError(response.json()["error"])


def test_an_input_that_the_graph_refuses(server: Running) -> None:
    inputs = columns({**steps([2]), "level": np.array([100])})
    response = server.predict({"signature_name": "predict_steps", "inputs": inputs})
    assert (response.status_code, "level too high" in response.json()["error"]) == (400, True)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models/other", 404),
        ("POST", "/v1/models/other:predict", 404),
        ("GET", "/v1/models/tiny:predict", 400),
        ("POST", "/v1/models/tiny", 400),
        ("POST", "/v1/models/tiny:classify", 400),
        ("PUT", "/v1/models/tiny:predict", 400),
        ("GET", "/v1/models/", 400),
        ("GET", "/v1/models/tiny/versions/one", 400),
        ("GET", "/v1/models/tiny/versions/1/labels/a", 400),
        ("GET", "/", 404),
        ("GET", "/v1", 404),
        ("GET", "/../../etc/passwd", 404),
        ("DELETE", "/v1/models/%F0%9F%98%80%00%0A", 400),
    ],
)
def test_unknown_paths(server: Running, method: str, path: str, status: int) -> None:
    response = server.rest.request(method, path, content=b'{"instances": [""]}')
    assert (response.status_code, list(response.json())) == (status, ["error"])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=200) | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda items: st.lists(items) | st.dictionaries(
            st.sampled_from(
                ["instances", "inputs", "signature_name", "b64", "examples", "correct", "value"]
            ),
            items,
        ),
    ).map(lambda item: json.dumps(item).encode()),
)  # fmt: skip
def test_no_body_is_the_servers_fault(server: Running, body: bytes) -> None:
    response = server.rest.post("/v1/models/tiny:predict", content=body)
    assert response.status_code in (200, 400)
    assert "error" in response.json() or response.status_code == 200


@settings(max_examples=40)
@given(path=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_no_path_is_the_servers_fault(server: Running, path: str) -> None:
    assert server.rest.get(f"/v1/models/{quote(path, safe='/:')}").status_code in (200, 400, 404)


def test_an_invalid_host_header_is_ignored(server: Running) -> None:
    request = (
        b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: a]\xc5[\r\nContent-Length: 21\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.server.rest_port), timeout=20) as connection:
        connection.sendall(request + b'{"instances": [""] }\n')
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK")


def test_curl(server: Running) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    body = json.dumps({"instances": [{"b64": base64.b64encode(example([1.0])).decode()}]})
    command = [
        curl,
        "-sf",
        "--noproxy",
        "*",
        "-d",
        body,
        str(server.rest.base_url.join("/v1/models/tiny:predict")),
    ]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(answer) == {"predictions": [{"basis": "sequence", "score": 2.0}]}
