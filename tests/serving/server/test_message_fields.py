"""A message's fields are counted as the library would find them, and what has too many is not parsed."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from serving.server import protobuf_tensors
from serving.server.protobuf_tensors import check_fields
from serving.server.request_error import RequestError
from tests.serving.server.running import running
from tests.serving.server.tiny import steps, steps_request

TAG_OF_INPUTS = b"\x12\x00"  # an entry of the map, without key and value


def is_refused(raw: bytes) -> bool:
    try:
        check_fields(raw, PredictRequest.DESCRIPTOR)
    except RequestError:
        return True
    return False


@pytest.mark.parametrize("count", [0, 1, 300])
def test_the_count_is_exact(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    request = PredictRequest()
    request.model_spec.name = "tiny"  # two fields: the message, and the name in it
    tensor = request.inputs["a"]  # three: the entry, its key, and its value
    tensor.float_val.extend([1.0] * count)  # one if any: packed
    tensor.string_val.extend([b"x"] * count)
    fields = 5 + bool(count) + count
    for most, refused in ((fields, False), (fields - 1, True)):
        monkeypatch.setattr(protobuf_tensors, "MAX_FIELDS", most)
        assert is_refused(request.SerializeToString()) is refused


@given(st.binary(max_size=200), st.integers(0, 300))
def test_no_bytes_are_too_strange_to_count(raw: bytes, cut: int) -> None:
    whole = steps_request(steps([3, 1])).SerializeToString()
    check_fields(raw, PredictRequest.DESCRIPTOR)
    check_fields(whole[:cut] + raw + whole[cut:], PredictRequest.DESCRIPTOR)


def test_messages_in_messages() -> None:
    raw = b""
    for _ in range(70):  # a variant's tensors, in each of which there is a variant
        raw = b"\x7a" + bytes([len(raw) % 128 | 128, len(raw) // 128]) + raw
        raw = b"\x1a" + bytes([len(raw) % 128 | 128, len(raw) // 128]) + raw
    assert is_refused(b"\x12" + bytes([len(raw) % 128 | 128, len(raw) // 128]) + raw) is False, (
        "keys are no messages"
    )
    inner = b""
    for _ in range(70):
        for tag in (b"\x1a", b"\x7a"):
            inner = tag + bytes([len(inner) % 128 | 128, len(inner) // 128]) + inner
    entry = b"\x12" + bytes([len(inner) % 128 | 128, len(inner) // 128]) + inner
    assert is_refused(b"\x12" + bytes([len(entry) % 128 | 128, len(entry) // 128]) + entry)


def test_a_large_message_of_nothing(folder: Path) -> None:
    with running(folder) as server:
        call = server.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        with pytest.raises(grpc.RpcError, match="at most 1048576 fields") as caught:
            call(TAG_OF_INPUTS * (protobuf_tensors.MAX_FIELDS + 1))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
