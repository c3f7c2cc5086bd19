"""JSON and tensors: values survive the conversion, and what is no tensor is refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from tensorflow.core.framework import types_pb2

from serving.server import json_tensors
from serving.server.json_requests import decode_json_inputs, parse_request
from serving.server.json_tensors import decode_json, encode_json, encode_outputs
from serving.server.model_signatures import Signature, TensorSpec
from serving.server.request_error import RequestError

ENUMS = {
    "float32": types_pb2.DT_FLOAT, "float64": types_pb2.DT_DOUBLE, "int32": types_pb2.DT_INT32,
    "int64": types_pb2.DT_INT64, "uint8": types_pb2.DT_UINT8, "bool": types_pb2.DT_BOOL,
}  # fmt: skip
keys = st.sampled_from(["b64", "a", "b", "instances", "inputs", "signature_name"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(keys, children, max_size=3),
    max_leaves=20,
)


def spec(dtype: int, shape: tuple[int | None, ...] | None = None, name: str = "a") -> TensorSpec:
    return TensorSpec(name, f"{name}:0", dtype, shape)


def refused_well(error: RequestError) -> None:
    assert error.http_status == 400
    assert error.reason


def through_json(name: str, values: np.ndarray) -> object:
    return json.loads(json.dumps(encode_json(name, values)))


@given(
    st.sampled_from(sorted(ENUMS)).flatmap(
        lambda name: st_numpy.arrays(name, st_numpy.array_shapes(max_dims=3))
    )
)
def test_numbers_survive_the_way_through_json(values: np.ndarray) -> None:
    found = decode_json(
        through_json("a", values), spec(ENUMS[values.dtype.name], (None,) * values.ndim)
    )
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


@given(
    st.lists(
        st.lists(st.text() | st.binary().map(lambda raw: b"\xff" + raw), min_size=2, max_size=2),
        min_size=1,
    )
)
def test_texts_and_bytes_survive_the_way_through_json(rows: list[list[str | bytes]]) -> None:
    raw = [
        [item.encode(errors="replace") if isinstance(item, str) else item for item in row]
        for row in rows
    ]
    values = np.array(raw, object)
    for name in ("a", "a_bytes"):
        found = decode_json(through_json(name, values), spec(types_pb2.DT_STRING, (None, None)))
        assert found.tolist() == values.tolist()


def test_an_output_called_bytes_is_always_base64() -> None:
    assert encode_json("a_bytes", np.array([b"hi"], object)) == [{"b64": "aGk="}]
    assert encode_json("a", np.array([b"hi"], object)) == ["hi"]


def test_a_float_is_as_short_as_its_own_text() -> None:
    assert (
        json.dumps(encode_json("a", np.array([0.2, 1.0, 1e-7], np.float32))) == "[0.2, 1.0, 1e-07]"
    )


def test_missing_steps_are_nan() -> None:
    found = decode_json(
        json.loads("[[1, NaN], [-Infinity, 2.5]]"), spec(types_pb2.DT_FLOAT, (None, None))
    )
    assert math.isnan(found[0, 1])
    assert found[1, 0] == -math.inf


@given(
    anything,
    st.sampled_from([*ENUMS.values(), types_pb2.DT_STRING]),
    st.sampled_from([None, (None,), (None, 2)]),
)
def test_a_value_is_a_tensor_or_refused(
    value: object, dtype: int, shape: tuple[int | None, ...] | None
) -> None:
    wanted = spec(dtype, shape)
    try:
        found = decode_json(value, wanted)
    except RequestError as error:
        refused_well(error)
    else:
        assert wanted.fits(found.shape)
        assert found.dtype == wanted.dtype


@pytest.mark.parametrize(
    ("value", "dtype", "reason"),
    [
        ([1.5], types_pb2.DT_INT64, "expected DT_INT64, found a number 1.5"),
        ([True], types_pb2.DT_INT64, "found true or false True"),
        ([1], types_pb2.DT_BOOL, "expected DT_BOOL, found a number 1"),
        (["1"], types_pb2.DT_FLOAT, "found a string 1"),
        ([None], types_pb2.DT_FLOAT, "found null None"),
        ([2**40], types_pb2.DT_INT32, "could not be converted"),
        ([10**400], types_pb2.DT_FLOAT, "could not be converted"),
        ([1e300], types_pb2.DT_FLOAT, "out of the range of float32"),
        ([{"b64": "%"}], types_pb2.DT_STRING, "could not be converted"),
        ([{"b64": "YQ==", "more": 1}], types_pb2.DT_STRING, "bytes are written"),
        (["\ud800"], types_pb2.DT_STRING, "surrogates not allowed"),
        ([[1], 2], types_pb2.DT_FLOAT, "expected lists at level 1"),
        ([[1], [1, 2]], types_pb2.DT_FLOAT, r"lists of one length, found \[1, 2\]; pad them"),
    ],
)
def test_the_reason_names_what_was_found(value: object, dtype: int, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        decode_json(value, spec(dtype))


SIGNATURE = Signature(
    "both",
    {"a": spec(types_pb2.DT_FLOAT, (None,)), "b": spec(types_pb2.DT_STRING, (None, None), "b")},
    {"c": spec(types_pb2.DT_FLOAT, (None,), "c")},
)


@given(
    st.lists(
        st.tuples(st.floats(width=32), st.lists(st.text("xyz"), min_size=2, max_size=2)), min_size=1
    )
)
def test_rows_and_columns_say_the_same(rows: list[tuple[float, list[str]]]) -> None:
    as_rows = {"instances": [{"a": number, "b": texts} for number, texts in rows]}
    as_columns = {"inputs": {"a": [row[0] for row in rows], "b": [row[1] for row in rows]}}
    first, second = (
        decode_json_inputs(parse_request(json.dumps(item).encode()), SIGNATURE)
        for item in (as_rows, as_columns)
    )
    for name in ("a", "b"):
        np.testing.assert_array_equal(first[name], second[name])


@given(anything.map(json.dumps).map(str.encode) | st.binary(max_size=50))
def test_a_body_is_a_request_or_refused(body: bytes) -> None:
    try:
        decode_json_inputs(parse_request(body), SIGNATURE)
    except RequestError as error:
        refused_well(error)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "JSON Parse error"),
        (b"[" * 100_000, "JSON Parse error"),
        (b"\xff", "JSON Parse error"),
        (b"[]", "expected a JSON object, found a list"),
        (b"{}", "found neither"),
        (b'{"instances": [], "inputs": {}}', "found both"),
        (b'{"instances": []}', "one or more, found none"),
        (b'{"instances": {"a": 1}}', "expected a list of one or more, found an object"),
        (b'{"signature_name": 1, "instances": [1]}', "signature_name: expected a string"),
        (b'{"instances": [1]}', "by the names a, b"),
        (b'{"instances": [{"a": 1, "b": []}, 2]}', "found a number among them"),
        (b'{"instances": [{"a": 1, "b": []}, {"a": 1}]}', "element 1: expected the keys a, b"),
        (b'{"inputs": {"a": [1], "z": []}}', r"found z"),
    ],
)
def test_the_reason_names_what_is_wrong_with_a_body(body: bytes, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        decode_json_inputs(parse_request(body), SIGNATURE)


@pytest.mark.parametrize("step", [1, 3, 7, 4096])
@given(
    st_numpy.arrays(
        "float32", st_numpy.array_shapes(max_dims=3, max_side=5), elements={"allow_nan": False}
    )
)
def test_an_answer_in_steps_is_the_answer_in_one(step: int, values: np.ndarray) -> None:
    two = {"c": values, "d": np.array([b"x"] * len(values), object)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_tensors, "STEP", step)
        for outputs in ({"c": values}, two):
            for in_rows in (True, False):
                written = json.loads(encode_outputs(outputs, in_rows=in_rows))
                columns = {name: encode_json(name, item) for name, item in outputs.items()}
                if in_rows and len(outputs) == 1:
                    assert written == {"predictions": columns["c"]}
                elif in_rows:
                    rows = zip(*columns.values(), strict=True)
                    assert written == {
                        "predictions": [dict(zip(columns, row, strict=True)) for row in rows]
                    }
                else:
                    assert written == {"outputs": columns["c"] if len(outputs) == 1 else columns}


def test_forms_of_an_answer() -> None:
    one = {"c": np.array([1, 2])}
    two = {**one, "d": np.array([b"x", b"y"], object)}
    assert json.loads(encode_outputs(one, in_rows=True)) == {"predictions": [1, 2]}
    assert json.loads(encode_outputs(one, in_rows=False)) == {"outputs": [1, 2]}
    assert json.loads(encode_outputs(two, in_rows=True)) == {
        "predictions": [{"c": 1, "d": "x"}, {"c": 2, "d": "y"}]
    }
    assert json.loads(encode_outputs(two, in_rows=False)) == {
        "outputs": {"c": [1, 2], "d": ["x", "y"]}
    }
    with pytest.raises(RequestError, match="use 'inputs' instead"):
        encode_outputs({"c": np.array(1)}, in_rows=True)
