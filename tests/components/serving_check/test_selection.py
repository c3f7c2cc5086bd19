"""Which examples are replayed, and how they are found again in the split."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest
import tensorflow as tf

from components.serving_check.selection import choose, find_examples


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


def test_the_choice_does_not_hang_on_the_order_of_the_predictions(
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


def test_an_example_that_is_not_there_is_none(
    tmp_path: Path, predictions: pl.DataFrame, examples: list[bytes]
) -> None:
    files = [_write(tmp_path / "a", examples[:59])]

    found = find_examples(files, choose(predictions, 60))

    assert found.count(None) == 1


def test_a_clock_of_fractions_is_matched_as_float32(tmp_path: Path) -> None:
    example = tf.train.Example()
    example.features.feature["learner_id"].bytes_list.value[:] = [b"ann"]
    example.features.feature["unit_id"].bytes_list.value[:] = ["fünf".encode()]
    example.features.feature["as_of"].float_list.value[:] = [0.1]
    keys = pl.DataFrame(
        {"learner_id": ["ann"], "unit_id": ["fünf"], "as_of": [0.1], "basis": ["sequence"]}
    )

    assert find_examples([_write(tmp_path / "a", [example.SerializeToString()])], keys) != [None]
