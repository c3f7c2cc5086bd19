"""A model that answers what was evaluated passes; each kind of skew does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import tensorflow as tf

from components.serving_check.check import check_serving
from components.serving_check.server import ServingError

SaveModel = Callable[..., Path]

# What is wrong with a model, and what is said about it: seen in its answers, or in its graph already.
ANSWERS = {
    "signatures differ": r"learner-\d+, unit unit-\d, as_of \d, predict_steps in a batch, probabilities: expected \[0",
    "needs the label": r"(?s)answers in a fresh process without a GPU, found \(exit code 1\).*mastery",
    "forgets its weights": r"(?s)answers in a fresh process without a GPU, found .*Could not find variable",
    "leaks NaN": r"(?s)found NaN or infinite ones in \d+ of 60 rows.*no events: expected basis prior, found sequence",
}
GRAPHS = {
    "has no basis": r"serving_default, output basis: expected string \[\?\], found none of this name",
    "wants a GPU": "found CudnnRNNV3; export without cuDNN",
}


@pytest.mark.parametrize("flaw", ANSWERS)
def test_a_flaw_is_found(
    save_model: SaveModel, predictions: pl.DataFrame, examples: list[bytes], flaw: str
) -> None:
    with pytest.raises(ServingError, match=ANSWERS[flaw]):
        check_serving(save_model(flaw), predictions, examples, 0)


def test_an_answer_that_hangs_on_the_batch_is_found_though_the_evaluation_has_it_too(
    save_model: SaveModel, predictions: pl.DataFrame, examples: list[bytes]
) -> None:
    flawed = save_model("counts padding")
    served = tf.saved_model.load(str(flawed)).signatures["serving_default"](
        examples=tf.constant(examples)
    )
    probabilities = pl.Series(
        "probabilities", served["probabilities"].numpy().tolist(), pl.List(pl.Float32)
    )
    predicted = pl.Series("predicted_class", served["predicted_class"].numpy().astype(str))

    with pytest.raises(ServingError, match=r"serving_default alone, probabilities: expected \[0"):
        check_serving(flawed, predictions.with_columns(probabilities, predicted), examples, 0)


@pytest.mark.parametrize("flaw", GRAPHS)
def test_a_graph_that_breaks_the_contract_is_not_even_loaded(
    save_model: SaveModel, predictions: pl.DataFrame, examples: list[bytes], flaw: str
) -> None:
    with pytest.raises(ServingError, match=GRAPHS[flaw]):
        check_serving(save_model(flaw), predictions, examples, 0)


def test_a_folder_without_a_model_is_named(
    tmp_path: Path, predictions: pl.DataFrame, examples: list[bytes]
) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff")

    with pytest.raises(
        ServingError, match="expected a SavedModel that a server can load, found none"
    ):
        check_serving(tmp_path, predictions, examples, 0)
