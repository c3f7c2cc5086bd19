"""A table of predictions is whole, in order, and of what the contract says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from components.config.data import Label
from components.contracts.names import DAYS_SEEN
from components.errors import MasteryError
from components.evaluator import scoring
from components.evaluator.scoring import (
    in_windows,
    read_answers,
    windows_of_split,
    write_predictions,
)

LABEL = Label(column="mastery", classes=["low", "high"])
SLICES = ["gender", "year", "score", "as_of"]


@pytest.fixture
def examples(make_example: Callable[..., bytes]) -> list[bytes]:
    """Three rows; the second lacks what an example may lack."""
    slices = [
        {"gender": "f", "year": 7, "score": 0.5},
        {},
        {"gender": "m", "year": 8, "score": 2.0},
    ]
    first, second, third = ({"unit_id": "algebra", **values} for values in slices)
    return [
        make_example(
            learner_id="a", as_of=5, mastery="low", answer=[0.75, 0.25], num_steps=3, **first
        ),
        make_example(
            learner_id="b", as_of=6, mastery="high", answer=[0.5, 0.5], num_steps=0, **second
        ),
        make_example(
            learner_id="ç", as_of=7, mastery="high", answer=[0.25, 0.75], num_steps=1, **third
        ),
    ]


def test_predictions_have_one_row_per_example_in_order(
    tmp_path: Path, examples: list[bytes], save_model: Callable[..., Path]
) -> None:
    write_predictions(
        save_model(tmp_path / "model", LABEL.classes),
        [examples],
        LABEL,
        SLICES,
        tmp_path / "predictions.parquet",
    )
    table = pl.read_parquet(tmp_path / "predictions.parquet")
    assert table.to_dict(as_series=False) == {
        "learner_id": ["a", "b", "ç"],
        "unit_id": ["algebra"] * 3,
        "as_of": [5, 6, 7],
        "label": ["low", "high", "high"],
        "gender": ["f", "", "m"],
        "year": ["7", "", "8"],
        "score": ["0.5", "", "2"],
        "probabilities": [[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]],
        "predicted_class": ["low", "low", "high"],
        "basis": ["sequence", "prior", "sequence"],
    }
    assert table.schema["probabilities"] == pl.List(pl.Float32)
    assert table.schema["as_of"] == pl.Int64


def test_a_regression_is_evaluated_by_errors(
    tmp_path: Path, make_example: Callable[..., bytes], save_model: Callable[..., Path]
) -> None:
    label = Label(column="grade", task="regression")
    rows = [make_example(learner_id="a", unit_id="u", as_of=0.5, grade=4.25, answer=[4.5])]
    write_predictions(
        save_model(tmp_path / "model", []), [rows], label, [], tmp_path / "predictions.parquet"
    )
    [row] = pl.read_parquet(tmp_path / "predictions.parquet").to_dicts()
    assert row == {
        "learner_id": "a",
        "unit_id": "u",
        "as_of": 0.5,
        "label": 4.25,
        "prediction": 4.5,
        "basis": "sequence",
    }


def test_batches_and_windows_change_nothing(
    tmp_path: Path,
    examples: list[bytes],
    save_model: Callable[..., Path],
    write_split: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, split = (
        save_model(tmp_path / "model", LABEL.classes),
        write_split(tmp_path / "Split-test", examples * 5),
    )
    write_predictions(model, windows_of_split(split), LABEL, SLICES, tmp_path / "whole.parquet")
    monkeypatch.setattr(scoring, "BATCH", 2)
    monkeypatch.setattr(scoring, "WINDOW", 4)
    write_predictions(model, windows_of_split(split), LABEL, SLICES, tmp_path / "read.parquet")
    write_predictions(
        model, in_windows(iter(examples * 5)), LABEL, SLICES, tmp_path / "given.parquet"
    )
    whole = pl.read_parquet(tmp_path / "whole.parquet")
    assert len(whole) == 15
    assert whole.equals(pl.read_parquet(tmp_path / "read.parquet"))
    assert whole.equals(pl.read_parquet(tmp_path / "given.parquet"))
    assert scoring.pq.ParquetFile(tmp_path / "given.parquet").num_row_groups == 4


def test_the_order_of_the_model_s_classes_does_not_matter() -> None:
    answers = {
        "classes": np.array([[b"high", b"low"]]),
        "probabilities": np.array([[0.9, 0.1]], np.float32),
        "predicted_class": np.array([b"high"]),
        "basis": np.array([b"sequence"]),
    }
    [row] = read_answers(answers, ["low", "high"]).to_dicts()
    assert row["probabilities"] == pytest.approx([0.1, 0.9])
    assert row["predicted_class"] == "high"


def test_decisions_of_the_model_are_columns(
    tmp_path: Path, examples: list[bytes], save_model: Callable[..., Path]
) -> None:
    model = save_model(tmp_path / "model", LABEL.classes, decisions={"call": 0.5, "all": 0.0})
    write_predictions(model, [examples], LABEL, [], tmp_path / "predictions.parquet")
    table = pl.read_parquet(tmp_path / "predictions.parquet")
    assert table.columns[-2:] == ["decision_all", "decision_call"]
    assert table["decision_call"].to_list() == [True, True, False]
    assert table["decision_all"].to_list() == [True] * 3


def test_days_are_counted_from_the_first_event_where_time_is_a_timestamp(
    tmp_path: Path, make_example: Callable[..., bytes], save_model: Callable[..., Path]
) -> None:
    def example(as_of: int, seconds: list[float] | None) -> bytes:
        keys = {"learner_id": "a", "unit_id": "u", "mastery": "low"}
        return make_example(
            **keys, as_of=as_of, answer=[0.5, 0.5], num_steps=1, time_to_as_of=seconds
        )

    now = 1_700_000_000_000_000  # microseconds
    rows = [example(now, [172_800.0, 60.0]), example(now, None), example(7, [3.0, 1.0])]
    model = save_model(tmp_path / "model", LABEL.classes)
    write_predictions(model, [rows], LABEL, [DAYS_SEEN], tmp_path / "predictions.parquet")
    days = pl.read_parquet(tmp_path / "predictions.parquet")[DAYS_SEEN]
    assert days.to_list() == [2.0, None, None]  # the third clock counts something else


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"mastery": None}, "mastery: expected a label in every example, found none in 1 of 1"),
        ({"mastery": "medium"}, r"mastery: expected one of \['low', 'high'\], found medium"),
        ({"answer": [float("nan"), 0.5]}, "The model answers 1 of 1 examples with NaN or infinity"),
        ({"answer": None}, "the model cannot read these examples"),
    ],
)
def test_unusable_examples_are_an_error_and_leave_no_file(
    tmp_path: Path,
    make_example: Callable[..., bytes],
    save_model: Callable[..., Path],
    change: dict[str, object],
    problem: str,
) -> None:
    fine = {
        "learner_id": "a",
        "unit_id": "u",
        "as_of": 1,
        "mastery": "low",
        "answer": [0.5, 0.5],
        "num_steps": 1,
    }
    model = save_model(tmp_path / "model", LABEL.classes)
    with pytest.raises(MasteryError, match=problem):
        write_predictions(
            model,
            [[make_example(**fine | change)]],
            LABEL,
            [],
            tmp_path / "out" / "predictions.parquet",
        )
    assert list((tmp_path / "out").glob("*")) == []


def test_no_examples_is_an_error(tmp_path: Path, save_model: Callable[..., Path]) -> None:
    with pytest.raises(MasteryError, match="expected labelled examples, found none"):
        write_predictions(
            save_model(tmp_path / "model", LABEL.classes),
            [],
            LABEL,
            [],
            tmp_path / "predictions.parquet",
        )


def test_a_model_of_other_classes_is_an_error(
    tmp_path: Path, examples: list[bytes], save_model: Callable[..., Path]
) -> None:
    model = save_model(tmp_path / "model", ["low", "top"])
    with pytest.raises(
        MasteryError, match=r"other classes: expected \['low', 'high'\], found \['low', 'top'\]"
    ):
        write_predictions(model, [examples], LABEL, [], tmp_path / "predictions.parquet")


def test_a_model_of_another_task_is_an_error(
    tmp_path: Path, examples: list[bytes], save_model: Callable[..., Path]
) -> None:
    label, model = (
        Label(column="score", task="regression"),
        save_model(tmp_path / "model", LABEL.classes),
    )
    with pytest.raises(MasteryError, match="made for another task"):
        write_predictions(model, [examples[:1]], label, [], tmp_path / "predictions.parquet")


def test_a_folder_without_a_model_is_an_error(tmp_path: Path, examples: list[bytes]) -> None:
    with pytest.raises(MasteryError, match="expected a SavedModel, found"):
        write_predictions(tmp_path, [examples], LABEL, [], tmp_path / "predictions.parquet")


def test_a_model_without_the_signature_is_an_error(tmp_path: Path, examples: list[bytes]) -> None:
    import tensorflow as tf

    tf.saved_model.save(tf.Module(), str(tmp_path / "model"))
    with pytest.raises(MasteryError, match="expected a SavedModel with a signature serving_def"):
        write_predictions(tmp_path / "model", [examples], LABEL, [], tmp_path / "p.parquet")
