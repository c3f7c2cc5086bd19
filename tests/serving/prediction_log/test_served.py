"""What a running server logs, by each of its four APIs."""

from __future__ import annotations

import base64
import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from components.errors import MasteryError
from serving.prediction_log import recorder as recorder_module
from serving.prediction_log.frames import Row, read_segment
from serving.prediction_log.log_store import Query
from serving.prediction_log.parquet_log import ParquetLog
from serving.prediction_log.row_hashes import row_hashes
from serving.prediction_log.settings import PredictionLogSettings
from serving.prediction_log.spool import segments
from tests.ports import free_port
from tests.serving.server.running import Running, running
from tests.serving.server.test_rest_api import columns
from tests.serving.server.tiny import example, expected_scores, steps, steps_request

EXAMPLES = [example([1.0, 2.0], 3), example([0.5])]
CONFIG = """
model_config_list { config {
  name: "tiny" base_path: "%s" model_platform: "tensorflow"
  model_version_policy { specific { versions: 1 } }
  version_labels { key: "stable" value: 1 }
} }
"""


def logging_to(folder: Path, **settings: object) -> dict[str, object]:
    return {"prediction_log": PredictionLogSettings(target=str(folder), **settings)}


def rows_in(folder: Path) -> list[Row]:
    return sorted(ParquetLog(folder).read(Query()), key=lambda row: row.at)


def by_rest(server: Running) -> bool:
    rows = [{"b64": base64.b64encode(item).decode()} for item in EXAMPLES]
    answer = server.predict({"instances": rows}, "/labels/stable")
    assert answer.status_code == 200
    return answer.headers.get("x-prediction-log") == "logged"


def by_grpc(server: Running) -> bool:
    request = steps_request({})
    request.model_spec.signature_name = ""
    request.model_spec.version_label = "stable"
    request.inputs["examples"].dtype = 7
    request.inputs["examples"].tensor_shape.dim.add(size=2)
    request.inputs["examples"].string_val.extend(EXAMPLES)
    _, call = server.prediction.Predict.with_call(request)
    return ("x-prediction-log", "logged") in call.trailing_metadata()


def triton_input(module: object) -> object:
    tensor = module.InferInput("examples", [2], "BYTES")
    tensor.set_data_from_numpy(np.array(EXAMPLES, object))
    return tensor


def by_rest_v2(server: Running) -> bool:
    with triton_http.InferenceServerClient(f"localhost:{server.server.rest_port}") as client:
        found = client.infer("tiny", [triton_input(triton_http)], model_version="stable")
        assert found.as_numpy("score").tolist() == [6.0, 1.0]
    body = {
        "inputs": [
            {
                "name": "examples", "shape": [2], "datatype": "BYTES",
                "data": [{"b64": base64.b64encode(item).decode()} for item in EXAMPLES],
            }
        ]
    }  # fmt: skip
    answer = server.rest.post("/v2/models/tiny/versions/stable/infer", json=body)
    return answer.headers.get("x-prediction-log") == "logged"


def by_grpc_v2(server: Running) -> bool:
    with triton_grpc.InferenceServerClient(f"localhost:{server.server.grpc_port}") as client:
        found = client.infer("tiny", [triton_input(triton_grpc)], model_version="stable")
        assert found.as_numpy("score").tolist() == [6.0, 1.0]
    return True


@pytest.mark.parametrize("ask", [by_rest, by_grpc, by_rest_v2, by_grpc_v2])
def test_each_api_logs_its_rows(
    folder: Path, tmp_path: Path, ask: Callable[[Running], bool]
) -> None:
    (folder / "models.config").write_text(CONFIG % folder)
    began = datetime.now(UTC)
    with running(folder, **logging_to(tmp_path / "log")) as server:
        assert ask(server)
        rows = rows_in(tmp_path / "log")  # from the file in use
    assert rows == rows_in(tmp_path / "log")  # from Parquet

    times = 2 if ask is by_rest_v2 else 1
    assert [row.input_hash for row in rows] == [
        sha256(item).hexdigest() for item in EXAMPLES
    ] * times
    assert [row.answer for row in rows[:2]] == [
        {"basis": "sequence", "score": 6.0},
        {"basis": "sequence", "score": 1.0},
    ]
    assert {(row.model, row.version, row.label) for row in rows} == {("tiny", 1, "stable")}
    assert all(began <= row.at <= datetime.now(UTC) and 0 < row.latency < 60 for row in rows)
    assert not list((tmp_path / "log").glob(".spool/*.spool"))


def test_columns_have_the_same_hashes_by_rest_and_by_grpc(folder: Path, tmp_path: Path) -> None:
    inputs = steps([4, 0, 2])
    with running(folder, **logging_to(tmp_path / "log")) as server:
        body = {"signature_name": "predict_steps", "inputs": columns(inputs)}
        assert server.predict(body).headers["x-prediction-log"] == "logged"
        server.prediction.Predict(steps_request(inputs))
    rows = rows_in(tmp_path / "log")
    expected = [digest.hex() for digest in row_hashes(inputs, ("correct", "event_type"))]
    assert [row.input_hash for row in rows] == expected * 2
    np.testing.assert_allclose(
        [row.answer["score"] for row in rows], [*expected_scores(inputs, 2.0)] * 2, rtol=1e-5
    )
    assert [row.answer["basis"] for row in rows[:3]] == ["sequence", "prior", "sequence"]


def test_requests_of_one_batch_keep_their_rows(folder: Path, tmp_path: Path) -> None:
    asked = [steps([length, length + 1], seed=length) for length in range(1, 30)]
    options = {"batch_timeout": 0.05, **logging_to(tmp_path / "log")}
    with running(folder, **options) as server:
        calls = [server.prediction.Predict.future(steps_request(inputs)) for inputs in asked]
        assert all(("x-prediction-log", "logged") in call.trailing_metadata() for call in calls)
    logged = {row.input_hash: row.answer["score"] for row in rows_in(tmp_path / "log")}
    assert len(logged) == 2 * len(asked)
    for inputs in asked:
        hashes = row_hashes(inputs, ("correct", "event_type"))
        scores = [logged[digest.hex()] for digest in hashes]
        np.testing.assert_allclose(scores, expected_scores(inputs, 2.0), rtol=1e-5)


def test_a_signature_without_rows_is_one_row(folder: Path, tmp_path: Path) -> None:
    with running(folder, **logging_to(tmp_path / "log")) as server:
        answer = server.predict({"signature_name": "single", "inputs": 4.0})
        assert answer.headers["x-prediction-log"] == "logged"
    (row,) = rows_in(tmp_path / "log")
    assert row.answer == {"double": 8.0}
    head = b"'value' <f4 []\n"
    assert row.input_hash == sha256(head + np.float32(4.0).tobytes()).hexdigest()


def test_refused_requests_are_not_logged(folder: Path, tmp_path: Path) -> None:
    with running(folder, **logging_to(tmp_path / "log")) as server:
        refused = [
            server.predict({"instances": [1]}),
            server.predict({"instances": [{"b64": "AAAA"}]}),
            server.predict({"instances": [""]}, "/versions/9"),
            server.rest.post("/v1/models/tiny:classify", json={"examples": [{}]}),
        ]
    assert [answer.status_code for answer in refused] == [400, 400, 404, 400]
    assert all("x-prediction-log" not in answer.headers for answer in refused)
    assert rows_in(tmp_path / "log") == []


def test_all_outputs_are_logged_whichever_were_asked_for(folder: Path, tmp_path: Path) -> None:
    request = steps_request(steps([2]))
    request.output_filter.append("basis")
    with running(folder, **logging_to(tmp_path / "log")) as server:
        assert list(server.prediction.Predict(request).outputs) == ["basis"]
    (row,) = rows_in(tmp_path / "log")
    assert set(row.answer) == {"basis", "score"}


def test_the_sample_is_decided_by_the_input(folder: Path, tmp_path: Path) -> None:
    examples = [example([float(number)]) for number in range(40)]
    below = 2**256 // 4
    expected = [item for item in examples if int(sha256(item).hexdigest(), 16) < below]
    assert 0 < len(expected) < 40

    def ask(server: Running, items: list[bytes]) -> str | None:
        rows = [{"b64": base64.b64encode(item).decode()} for item in items]
        header: str | None = server.predict({"instances": rows}).headers.get("x-prediction-log")
        return header

    with running(folder, **logging_to(tmp_path / "log", sample=0.25)) as server:
        assert ask(server, examples) == "logged"
        for item in examples:
            assert ask(server, [item]) == ("logged" if item in expected else None)
        page = server.rest.get("/monitoring/prometheus/metrics").text
    hashes = [row.input_hash for row in rows_in(tmp_path / "log")]
    assert sorted(hashes) == sorted(2 * [sha256(item).hexdigest() for item in expected])
    name = ":mastery:serving:prediction_log_rows"
    assert f'{name}{{state="logged"}} {2.0 * len(expected)}' in page
    assert f'{name}{{state="left_out"}} {80.0 - 2 * len(expected)}' in page
    assert f'{name}{{state="lost"}} 0.0' in page


def test_requests_are_answered_when_their_rows_cannot_be_logged(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(folder, **logging_to(tmp_path / "log")) as server:
        assert server.predict({"instances": [""]}).headers["x-prediction-log"] == "logged"
        recorder = server.server.recorder
        assert recorder is not None
        recorder.layout = None  # type: ignore[assignment]  # a bug, as it were
        for _ in range(2):
            answer = server.predict({"signature_name": "single", "inputs": 4.0})
            assert answer.json() == {"outputs": 8.0}
            assert "x-prediction-log" not in answer.headers
        assert recorder.tally.lost == 2
        assert caplog.text.count("cannot keep some rows") == 1
        assert server.predict({"instances": [""]}).headers["x-prediction-log"] == "logged"
    assert len(rows_in(tmp_path / "log")) == 2


def test_a_database_that_is_away_stops_nothing(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = PredictionLogSettings(
        target=f"postgresql://u@127.0.0.1:{free_port()}/answers", spool=tmp_path / "spool"
    )
    with running(folder, prediction_log=settings) as server:
        assert server.predict({"instances": [""]}).headers["x-prediction-log"] == "logged"
    (path,) = segments(tmp_path / "spool")
    assert len(read_segment(path).rows) == 1
    errors = capfd.readouterr().err
    assert errors.count("the database could not be opened") == 1
    assert f"Rows of the prediction log wait in {tmp_path / 'spool'}." in errors


def test_the_process_that_moves_rows_is_started_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "RESTART_SECONDS", 0.0)
    monkeypatch.setattr(recorder_module, "TEND_SECONDS", 0.01)
    with running(folder, **logging_to(tmp_path / "log")) as server:
        recorder = server.server.recorder
        assert recorder is not None
        first = recorder.mover_pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while recorder.mover_pid == first:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert server.predict({"instances": [""]}).headers["x-prediction-log"] == "logged"
    assert len(rows_in(tmp_path / "log")) == 1
    assert segments(tmp_path / "log" / ".spool") == []


def test_without_the_option_nothing_is_said(folder: Path) -> None:
    with running(folder) as server:
        assert "x-prediction-log" not in server.predict({"instances": [""]}).headers
        assert "prediction_log" not in server.rest.get("/monitoring/prometheus/metrics").text


def test_a_folder_that_cannot_be_made_stops_the_start(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(MasteryError, match="the prediction log cannot be written: Not a directory"),
        running(folder, **logging_to(tmp_path / "file" / "log")),
    ):
        pass
