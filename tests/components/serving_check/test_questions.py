"""Which examples are replayed, and the requests made of them: no more than a client knows."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tensorflow as tf

from components.contracts.model_card import ModelCard
from components.serving_check.questions import (
    ModelInputs,
    choose,
    cold_start,
    decode,
    dense,
    expressible,
    find_examples,
    only_inputs,
    predict_request,
    wrong_types,
)

INPUTS = ModelInputs(steps=("event_type", "correct"), outcomes=("unit_id", "level", "score"))
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

    card = ModelCard(name="small", task="regression", config=config)
    assert ModelInputs.of(card) == INPUTS
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


def test_all_are_chosen_when_there_are_fewer(predictions: pl.DataFrame) -> None:
    chosen = choose(predictions, 200)

    assert sorted(chosen["learner_id"]) == sorted(predictions["learner_id"])


def test_cold_starts_come_first_and_are_a_fifth(predictions: pl.DataFrame) -> None:
    chosen = choose(predictions, 20)

    assert chosen["basis"].to_list() == ["prior"] * 4 + ["sequence"] * 16
    assert chosen["learner_id"].n_unique() == 20
    assert {"learner-000", "learner-050", "learner-001", "learner-059"} <= set(
        chosen["learner_id"]
    )  # spread


def test_one_example_is_a_cold_start_if_there_is_one(predictions: pl.DataFrame) -> None:
    warm = predictions.filter(pl.col("basis") == "sequence")

    assert choose(predictions, 1)["basis"].to_list() == ["prior"]
    assert choose(warm, 1)["basis"].to_list() == ["sequence"]
    assert choose(warm, 20).height == 20


def test_the_choice_does_not_depend_on_the_order_of_the_predictions(
    predictions: pl.DataFrame,
) -> None:
    shuffled = predictions.sample(fraction=1, shuffle=True, seed=1)

    assert choose(shuffled, 13).equals(choose(predictions, 13))


def _write(path: Path, examples: list[bytes]) -> str:
    with tf.io.TFRecordWriter(str(path), "GZIP" if path.suffix == ".gz" else "") as writer:
        for example in examples:
            writer.write(example)
    return str(path)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_examples_are_found_in_the_order_of_the_choice(
    tmp_path: Path, predictions: pl.DataFrame, examples: list[bytes], suffix: str
) -> None:
    shuffled = random.Random(1).sample(examples, len(examples))
    files = [
        _write(tmp_path / f"b{suffix}", shuffled[:40]),
        _write(tmp_path / f"a{suffix}", shuffled[40:]),
    ]
    chosen = choose(predictions, 25)

    found = find_examples(files, chosen)

    numbers = [int(learner.removeprefix("learner-")) for learner in chosen["learner_id"]]
    assert found == [examples[number] for number in numbers]


def test_a_missing_example_is_none(
    tmp_path: Path, predictions: pl.DataFrame, examples: list[bytes]
) -> None:
    files = [_write(tmp_path / "a", examples[:59])]

    found = find_examples(files, choose(predictions, 60))

    assert found.count(None) == 1


def test_fractional_clocks_are_matched_as_float32(tmp_path: Path) -> None:
    example = tf.train.Example()
    example.features.feature["learner_id"].bytes_list.value[:] = [b"ann"]
    example.features.feature["unit_id"].bytes_list.value[:] = ["fünf".encode()]
    example.features.feature["as_of"].float_list.value[:] = [0.1]
    keys = pl.DataFrame(
        {"learner_id": ["ann"], "unit_id": ["fünf"], "as_of": [0.1], "basis": ["sequence"]}
    )

    assert find_examples([_write(tmp_path / "a", [example.SerializeToString()])], keys) != [None]
