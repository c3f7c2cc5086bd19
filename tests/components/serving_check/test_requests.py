"""From examples to dense tensors, and to requests that hold no more than a client knows."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from components.serving_check.requests import (
    Inputs,
    cold_start,
    decode,
    dense,
    expressible,
    only_inputs,
    predict_request,
    wrong_types,
)

INPUTS = Inputs(steps=("event_type", "correct"), outcomes=("unit_id", "level", "score"))
DTYPES = {
    "num_steps": "int64",
    "event_type": "string",
    "correct": "float32",
    "unit_id": "string",
    "level": "int64",
    "score": "float32",
}


def _example(**features: list[bytes] | list[int] | list[float]) -> bytes:
    example = tf.train.Example()
    for name, values in features.items():
        kinds = {bytes: "bytes_list", int: "int64_list", float: "float_list"}
        getattr(example.features.feature[name], kinds[type(values[0])]).value[:] = values
    return example.SerializeToString()


TWO = _example(
    num_steps=[2], event_type=[b"quiz", b""], correct=[1.0, float("nan")], unit_id=[b"a"], level=[3]
)
ONE = _example(num_steps=[1], event_type=[b"video"], correct=[0.5], score=[2.5])


def test_inputs_come_from_the_models_configuration() -> None:
    config = {
        "steps": {"features": {"event_type": {}, "correct": {}}},
        "context": {"unit_id": {}, "level": {}},
        "prior": {"group_by": ["unit_id", "score"]},
    }

    assert Inputs.of(config) == INPUTS
    assert INPUTS.names == ("num_steps", "event_type", "correct", "unit_id", "level", "score")


def test_sequences_are_right_padded_and_missing_values_kept() -> None:
    tensors = dense(decode([TWO, cold_start(ONE, INPUTS), ONE]), INPUTS, DTYPES)

    assert tensors["event_type"].tolist() == [[b"quiz", b""], [b"", b""], [b"video", b""]]
    np.testing.assert_array_equal(tensors["correct"], np.float32([[1, np.nan], [0, 0], [0.5, 0]]))
    assert tensors["num_steps"].tolist() == [2, 0, 1]
    assert tensors["unit_id"].tolist() == [b"a", b"", b""]
    np.testing.assert_array_equal(tensors["score"], np.float32([np.nan, 2.5, 2.5]))
    dtypes = {name: tensor.dtype for name, tensor in tensors.items()}
    assert dtypes == {
        name: np.dtype(object if dtype == "string" else dtype) for name, dtype in DTYPES.items()
    }


def test_a_batch_of_cold_starts_has_no_steps() -> None:
    tensors = dense(decode([cold_start(TWO, INPUTS)]), INPUTS, DTYPES)

    assert tensors["event_type"].shape == tensors["correct"].shape == (1, 0)
    assert tensors["num_steps"].tolist() == [0]
    assert tensors["unit_id"].tolist() == [b"a"]


def test_an_integer_goes_into_a_float_input() -> None:
    assert dense(decode([TWO]), INPUTS, {**DTYPES, "level": "float32"})["level"].tolist() == [3.0]


def test_a_missing_integer_cannot_be_put_into_a_tensor() -> None:
    assert expressible(decode([TWO, ONE]), INPUTS, DTYPES).tolist() == [True, False]
    assert expressible(decode([TWO, ONE]), INPUTS, {**DTYPES, "level": "float32"}).all()
    assert expressible(decode([ONE, ONE]), INPUTS, DTYPES).tolist() == [
        False,
        False,
    ]  # not even a column


def test_text_for_numbers_is_a_problem() -> None:
    assert wrong_types(decode([TWO, ONE]), INPUTS, DTYPES) == []
    assert wrong_types(
        decode([TWO, ONE]), INPUTS, {**DTYPES, "unit_id": "int64", "correct": "string"}
    ) == [
        "predict_steps, input correct: expected float, found string",
        "predict_steps, input unit_id: expected large_binary, found int64",
    ]


def test_only_inputs_are_sent_and_the_bytes_are_the_same_every_time() -> None:
    whole = tf.train.Example.FromString(TWO)
    whole.features.feature["mastery"].bytes_list.value[:] = [b"high"]
    whole.features.feature["learner_id"].bytes_list.value[:] = [b"ann"]

    (sent,) = only_inputs([whole.SerializeToString()], INPUTS)

    assert set(tf.train.Example.FromString(sent).features.feature) == {*INPUTS.names} - {"score"}
    assert sent == only_inputs([TWO], INPUTS)[0]


@pytest.mark.parametrize("examples", [[TWO], [TWO, ONE]])
def test_a_request_carries_the_tensors_as_they_are(examples: list[bytes]) -> None:
    tensors = dense(decode(examples), INPUTS, DTYPES)

    request = predict_request("small", "predict_steps", tensors)

    assert (request.model_spec.name, request.model_spec.signature_name) == (
        "small",
        "predict_steps",
    )
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tf.make_ndarray(request.inputs[name]), tensor)
