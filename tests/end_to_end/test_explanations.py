"""The global picture of a pushed model, against another method and against the simulator."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from tests.end_to_end.conftest import Mastery

pytestmark = pytest.mark.slow

CLASS = "proficient"
EXAMPLES = 50
BACKGROUND = 8  # other learners that stand in for a feature that is left out
CONTEXT = "job_level"

Row = dict[str, NDArray[Any]]  # one learner's values, by feature


@pytest.fixture(scope="module")
def root(mastery: Mastery, sample: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    ran = mastery("run", *sample, "--set", "training.epochs=4", "--root", folder)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return folder / "sample"


def only(paths: Any) -> Path:
    [path] = paths
    return Path(path)


def test_reasons_hold_for_a_model_that_was_just_fitted(root: Path) -> None:
    metrics = only(root.glob("nodes/Evaluator/evaluation/*/metrics.json"))
    found = json.loads(metrics.read_text(encoding="utf-8"))["importance"]

    assert found["completeness"] <= 1e-3
    assert found["removal"]["interval"][0] > 0
    assert found["drivers"]["interval"][0] > found["drivers"]["by_chance"]


def test_features_matter_as_much_as_shapley_values_say(root: Path) -> None:
    """Shapley values ask the model only for answers, where integrated gradients differentiate it.

    A feature that is left out has the values of other learners, not those of an average one, so the
    two agree about the order of features and not about every number.
    """
    import shap  # compiles for seconds what it is imported with

    from components.evaluator.explained import choose_examples, explain, open_explainer
    from components.evaluator.loaded_signature import load_signature

    model = only(root.glob("serving/[0-9]*"))
    split = only(root.glob("nodes/ExampleGen/examples/*/Split-test"))
    predictions = only(root.glob("nodes/Evaluator/evaluation/*/predictions.parquet"))
    chosen = choose_examples(split, pl.read_parquet(predictions), EXAMPLES)
    with open_explainer(model) as predict:
        assert predict is not None
        ours = explain(predict, chosen.examples, CLASS)

    rows = [read(example, ours.features) for example in chosen.examples]
    random = np.random.default_rng(0)
    found = []
    with load_signature(model, "predict_steps") as predict:
        for place, row in enumerate(rows):
            others = random.choice(np.delete(np.arange(len(rows)), place), BACKGROUND)
            asked = without_features(predict, row, [rows[other] for other in others])
            explainer = shap.KernelExplainer(asked, np.zeros((1, len(row))))
            everything = np.ones((1, len(row)))
            found.append(explainer.shap_values(everything, nsamples=2 ** len(row), silent=True)[0])

    sizes = np.abs(found).mean(axis=0), np.abs(ours.attributions).mean(axis=0)
    assert spearmanr(*sizes).statistic >= 0.8


def read(example: bytes, features: list[str]) -> Row:
    """Returns a learner's values, in the order of the features."""
    import tensorflow as tf

    parsed = tf.train.Example.FromString(example).features.feature
    row: Row = {}
    for name in features:
        kind = parsed[name].WhichOneof("kind")
        dtype: Any = object if kind == "bytes_list" else np.float32
        row[name] = np.array([*getattr(parsed[name], kind).value], dtype)
    return row


def without_features(
    predict: Any, row: Row, others: list[Row]
) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Returns the mean answer where some features of a learner are those of others.

    The function takes which features are the learner's own, [M, F], and returns M probabilities.
    """
    length = len(row["correct"])

    def answer(is_own: NDArray[Any]) -> NDArray[Any]:
        count = len(is_own) * len(others)
        tensors: dict[str, Any] = {"num_steps": np.full(count, length, np.int64)}
        for place, (name, own) in enumerate(row.items()):
            shape = 1 if name == CONTEXT else length
            theirs = np.stack([np.resize(other[name], shape) for other in others])
            kept = is_own[:, place, None, None].astype(bool)
            values = np.where(kept, own[None, None], theirs[None]).reshape(count, shape)
            tensors[name] = values[:, 0] if name == CONTEXT else values
        answered = predict(tensors)
        column = [name.decode() for name in answered["classes"][0]].index(CLASS)
        probabilities: NDArray[Any] = answered["probabilities"][:, column]
        return probabilities.reshape(len(is_own), -1).mean(axis=1)

    return answer
