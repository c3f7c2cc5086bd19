"""TensorProto: what TensorFlow writes is read, and what lies about itself is refused before memory is taken."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from tensorflow.core.framework.tensor_pb2 import TensorProto

from serving.server.model_signatures import TensorSpec
from serving.server.protobuf_tensors import decode_tensor, encode_tensor
from serving.server.request_error import RequestError

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
def test_what_lies_is_refused(tensor: TensorProto, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        decode_tensor(tensor, spec(tf.float32))


def test_strings_have_no_packed_content() -> None:
    tensor = TensorProto(
        dtype=tf.string.as_datatype_enum, tensor_shape=shape(1), tensor_content=b"12345678"
    )
    with pytest.raises(RequestError, match="found 8 bytes"):
        decode_tensor(tensor, spec(tf.string))


def test_a_half_cannot_ask_for_more_than_it_brings() -> None:
    tensor = TensorProto(dtype=tf.float16.as_datatype_enum, tensor_shape=shape(10**9), half_val=[1])
    with pytest.raises(RequestError, match="expected 1000000000 values"):
        decode_tensor(tensor, spec(tf.float16))
