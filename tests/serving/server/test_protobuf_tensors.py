"""TensorProtos are read without trusting their claims, and fields are counted before parsing."""

from __future__ import annotations

from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from serving.server import protobuf_tensors
from serving.server.model_signatures import TensorSpec
from serving.server.protobuf_tensors import check_fields, decode_tensor, encode_tensor
from serving.server.request_error import RequestError
from tests.serving.server.running import running
from tests.serving.server.tiny import steps, steps_request

DTYPES = [
    "float16",
    "float32",
    "float64",
    "int8",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint64",
    "bool",
]


def refused_well(error: RequestError) -> None:
    assert error.http_status == 400


def spec(dtype: object, shape: tuple[int | None, ...] | None = None) -> TensorSpec:
    return TensorSpec("a", "a:0", tf.as_dtype(dtype).as_datatype_enum, shape)


@given(
    st.sampled_from(DTYPES).flatmap(
        lambda name: st_numpy.arrays(name, st_numpy.array_shapes(min_dims=0, max_dims=3))
    )
)
def test_numbers_survive(values: np.ndarray) -> None:
    wanted = spec(values.dtype, (None,) * values.ndim)
    for tensor in (tf.make_tensor_proto(values), encode_tensor(values, wanted.enum)):
        found = decode_tensor(tensor, wanted)
        assert found.dtype == values.dtype
        np.testing.assert_array_equal(found, values)
        np.testing.assert_array_equal(tf.make_ndarray(tensor), values)


@given(st.lists(st.binary()))
def test_bytes_survive(values: list[bytes]) -> None:
    array = np.array([*values, None], object)[
        :-1
    ]  # with None, numpy does not look for another dtype
    assert (
        decode_tensor(encode_tensor(array, spec(tf.string).enum), spec(tf.string, (None,))).tolist()
        == values
    )


@given(
    st.binary(max_size=80),
    st.sampled_from([tf.float32, tf.string, tf.int64, tf.float16, tf.bfloat16, tf.bool]),
)
def test_any_message_is_a_tensor_or_refused(raw: bytes, dtype: tf.DType) -> None:
    try:
        tensor = TensorProto.FromString(raw)
    except DecodeError:
        return
    tensor.dtype = dtype.as_datatype_enum
    try:
        found = decode_tensor(tensor, spec(dtype))
    except RequestError as error:
        refused_well(error)
    else:
        assert found.dtype == spec(dtype).dtype


def shape(*sizes: int) -> dict[str, object]:
    return {"dim": [{"size": size} for size in sizes]}


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (
            TensorProto(dtype=1, tensor_shape=shape(10**9), float_val=[1]),
            "expected 1000000000 values",
        ),
        (
            TensorProto(dtype=1, tensor_shape=shape(2), tensor_content=b"12345"),
            "expected 2 values, found 5 bytes",
        ),
        (TensorProto(dtype=1, tensor_shape=shape(-1), float_val=[1]), r"found shape \[-1\]"),
        (TensorProto(dtype=1, tensor_shape=shape(2**62, 0)), "found shape"),
        (TensorProto(dtype=1, tensor_shape={"unknown_rank": True}), "expected DT_FLOAT"),
        (TensorProto(dtype=1, tensor_shape=shape(*[1] * 200), float_val=[1]), "found shape"),
        (TensorProto(dtype=3, tensor_shape=shape(1), int_val=[1]), "found dtype DT_INT32"),
        (TensorProto(dtype=10**6), "found dtype number 1000000"),
    ],
)
def test_tensors_with_contradicting_sizes_are_refused(tensor: TensorProto, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        decode_tensor(tensor, spec(tf.float32))


def test_strings_have_no_packed_content() -> None:
    tensor = TensorProto(
        dtype=tf.string.as_datatype_enum, tensor_shape=shape(1), tensor_content=b"12345678"
    )
    with pytest.raises(RequestError, match="found 8 bytes"):
        decode_tensor(tensor, spec(tf.string))


def test_a_half_tensor_cannot_declare_more_values_than_it_has() -> None:
    tensor = TensorProto(dtype=tf.float16.as_datatype_enum, tensor_shape=shape(10**9), half_val=[1])
    with pytest.raises(RequestError, match="expected 1000000000 values"):
        decode_tensor(tensor, spec(tf.float16))


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
def test_values_are_counted_in_any_bytes(raw: bytes, cut: int) -> None:
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


def test_a_large_message_of_empty_fields(folder: Path) -> None:
    with running(folder) as server:
        call = server.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        with pytest.raises(grpc.RpcError, match="at most 1048576 fields") as caught:
            call(TAG_OF_INPUTS * (protobuf_tensors.MAX_FIELDS + 1))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
