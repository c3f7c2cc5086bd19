"""The client's messages and TensorFlow Serving's official ones read each other."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

from serving.client import grpc_transport as wire
from serving.client.calls import PredictError, Target
from serving.client.grpc_transport import build_predict_request, to_lists

TYPES = [(name, getattr(wire, name)) for name in dir(wire) if name.startswith("DT_")]
NAMES = st.text(min_size=1, max_size=8)
TARGETS = st.builds(Target, NAMES, st.none() | st.integers(0, 2**62)) | st.builds(
    Target, NAMES, label=NAMES
)
SHAPES = (
    st.tuples(st.integers(0, 4), st.integers(1, 3), st.integers(1, 3))
    | st.tuples(st.integers(0, 4), st.integers(1, 3))
    | st.tuples(st.integers(0, 5))
)


@pytest.mark.parametrize(("name", "number"), TYPES)
def test_types_have_tensorflows_numbers(name: str, number: int) -> None:
    assert types_pb2.DataType.Value(name) == number


@given(target=TARGETS, examples=st.lists(st.binary(max_size=30), min_size=1, max_size=5))
def test_a_request_is_read_as_it_was_meant(target: Target, examples: list[bytes]) -> None:
    ours = build_predict_request(target, "serving_default", {"examples": examples})
    theirs = PredictRequest.FromString(ours.SerializeToString())
    assert (theirs.model_spec.name, theirs.model_spec.signature_name) == (
        target.model,
        "serving_default",
    )
    chosen = theirs.model_spec.WhichOneof("version_choice")
    assert chosen == (
        "version" if target.version is not None else "version_label" if target.label else None
    )
    assert theirs.model_spec.version.value == (target.version or 0)
    assert theirs.model_spec.version_label == (target.label or "")
    assert list(theirs.inputs) == ["examples"]
    assert tf.make_ndarray(theirs.inputs["examples"]).tolist() == examples
    # And back: nothing is lost, and nothing came in.
    assert wire.PredictRequest.FromString(theirs.SerializeToString()) == ours
    assert theirs == _official_request(target, examples)


def _official_request(target: Target, examples: list[bytes]) -> PredictRequest:
    request = PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = target.model, "serving_default"
    if target.version is not None:
        request.model_spec.version.value = target.version
    if target.label is not None:
        request.model_spec.version_label = target.label
    tensor = TensorProto(dtype=tf.string.as_datatype_enum, string_val=examples)
    tensor.tensor_shape.dim.add(size=len(examples))
    request.inputs["examples"].CopyFrom(tensor)
    return request


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    shape = draw(SHAPES)
    dtype = draw(st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.bool_, object]))
    size = int(np.prod(shape))
    if dtype is object:
        values: list[Any] = draw(st.lists(st.text(max_size=5), min_size=size, max_size=size))
    else:
        values = draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
    return np.array(values, dtype).reshape(shape)


@given(value=arrays(), as_content=st.booleans())
def test_an_answer_is_read_however_it_is_packed(value: Any, as_content: bool) -> None:
    response = PredictResponse()
    if value.dtype == object:
        packed = tf.make_tensor_proto(
            np.vectorize(str.encode, otypes=[object])(value), tf.string, value.shape
        )
    elif as_content:
        packed = tf.make_tensor_proto(value, shape=value.shape)  # many values: `tensor_content`
    else:
        packed = _one_by_one(value)
    response.outputs["found"].CopyFrom(packed)
    found = wire.PredictResponse.FromString(response.SerializeToString()).outputs["found"]
    assert to_lists(found) == value.tolist()


def _one_by_one(value: np.ndarray) -> TensorProto:
    """Packs numbers as TensorFlow Serving does, a field each, leaving out what repeats the last."""
    tensor = tf.make_tensor_proto(np.zeros(1, value.dtype), shape=[1])
    for field, _ in tensor.ListFields():
        if field.name.endswith("_val"):
            tensor.ClearField(field.name)
    tensor.ClearField("tensor_content")
    name = {
        "float32": "float_val",
        "float64": "double_val",
        "int32": "int_val",
        "int64": "int64_val",
        "bool": "bool_val",
    }
    values = value.ravel().tolist()
    while len(values) > 1 and values[-1] == values[-2]:
        values.pop()
    getattr(tensor, name[value.dtype.name]).extend(values)
    tensor.tensor_shape.CopyFrom(tf.TensorShape(value.shape).as_proto())
    return tensor


@pytest.mark.parametrize("value", [tf.constant(1.0), tf.zeros([1] * 4), tf.constant([1j])])
def test_an_answer_of_another_type_is_refused(value: tf.Tensor) -> None:
    tensor = wire.TensorProto.FromString(tf.make_tensor_proto(value).SerializeToString())
    with pytest.raises(
        PredictError, match=r"expected a tensor of one to three|expected numbers or text"
    ):
        to_lists(tensor)


HEAVY = (
    "tensorflow tensorflow_serving apache_beam tfx tfx_bsl keras ml_metadata numpy polars pyarrow "
    "pandas pydantic"
)


def test_the_client_imports_nothing_heavy() -> None:
    program = (
        "import sys, serving.client, serving.client.grpc_transport, serving.client.rest_transport\n"
        f"print([name for name in {HEAVY.split()} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_making_requests_of_events_needs_no_tensorflow() -> None:
    program = (
        "import sys, serving.predict\n"
        "heavy = ('tensorflow', 'apache_beam', 'tfx', 'keras')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
