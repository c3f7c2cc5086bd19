"""Whether reasons hold: against the model, and against the simulator's exact answers."""

from __future__ import annotations

import itertools
import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tensorflow as tf

from components.config import load_config
from components.contracts.names import (
    CLASSES,
    EXAMPLES,
    NUM_STEPS,
    PROBABILITIES,
    SERVING_DEFAULT,
)
from components.errors import MasteryError
from components.evaluator.evaluator_settings import EvaluatorSettings
from components.evaluator.explained import Chosen, Explanations
from components.evaluator.faithfulness import (
    compare_with_simulator,
    measure_removal,
    read_sequences,
)
from components.simulator import learner_model as simulator
from components.simulator.posterior import OBSERVED, posterior, true_effects
from components.simulator.sequences import CHUNK, Sequences, draw
from components.simulator.tables import events_table, outcomes_table

LEARNERS = 40


@pytest.fixture(scope="module")
def settings() -> EvaluatorSettings:
    return EvaluatorSettings.of(load_config("configs/sample.yaml"))


@pytest.fixture(scope="module")
def sequences() -> Sequences:
    return draw(seed=3, chunk=0)


@pytest.fixture(scope="module")
def rows(sequences: Sequences) -> list[int]:
    """The first sequences that are in the log."""
    found: list[int] = np.nonzero(sequences.recorded)[0][:LEARNERS].tolist()
    return found


@pytest.fixture(scope="module")
def examples(sequences: Sequences, rows: list[int], settings: EvaluatorSettings) -> list[bytes]:
    """What ExampleGen makes of these sequences, written by hand from the log's tables."""
    events = pl.DataFrame(pl.from_arrow(events_table(sequences, CHUNK)))
    outcomes = pl.DataFrame(pl.from_arrow(outcomes_table(sequences, CHUNK)))
    return [
        make_example(events, outcomes.row(row, named=True), [*settings.steps.features])
        for row in rows
    ]


def make_example(events: pl.DataFrame, outcome: dict[str, Any], features: list[str]) -> bytes:
    seen = events.filter(
        pl.col("learner_id") == outcome["learner_id"],
        pl.col("unit_id") == outcome["unit_id"],
        pl.col("time") < outcome["as_of"],
    ).sort("time")
    times = seen["time"].to_list()
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    columns = {name: seen[name].to_list() for name in features if name in seen.columns}
    columns["time_since_previous"] = [gap.total_seconds() for gap in (timedelta(0), *gaps)]
    columns["time_to_as_of"] = [(outcome["as_of"] - time).total_seconds() for time in times]

    example = tf.train.Example()
    for name, values in columns.items():
        feature = example.features.feature[name]
        if isinstance(values[0], str):
            feature.bytes_list.value.extend(value.encode() for value in values)
        else:
            feature.float_list.value.extend(
                math.nan if value is None else float(value) for value in values
            )
    example.features.feature[NUM_STEPS].int64_list.value.append(len(times))
    example.features.feature["job_level"].bytes_list.value.append(outcome["job_level"].encode())
    text: bytes = example.SerializeToString()
    return text


def chosen_of(examples: list[bytes]) -> Chosen:
    return Chosen(examples, np.arange(len(examples)))


def explanations(
    settings: EvaluatorSettings, attributions: np.ndarray, answers: np.ndarray
) -> Explanations:
    features = [*settings.steps.features, "job_level"]
    return Explanations(
        features=features,
        answers=answers,
        typical=np.zeros(len(answers)),
        attributions=attributions,
        directions=np.ones_like(attributions),
        of_steps=[],
    )


def test_examples_hold_all_that_the_exact_answer_depends_on(
    sequences: Sequences, rows: list[int], examples: list[bytes], settings: EvaluatorSettings
) -> None:
    read = read_sequences(examples, settings)

    np.testing.assert_allclose(posterior(read), posterior(sequences)[rows], rtol=2e-3, atol=1e-5)


def test_reasons_that_name_the_true_drivers_share_all_of_them(
    examples: list[bytes], settings: EvaluatorSettings
) -> None:
    truth = true_effects(read_sequences(examples, settings), np.full(len(examples), 2, np.int64))
    features = [*settings.steps.features, "job_level"]
    perfect = np.zeros((len(examples), len(features)))
    perfect[:, [features.index(name) for name in OBSERVED]] = truth

    answers = {
        name: np.full(len(examples), float(name == "proficient")) for name in simulator.CLASSES
    }
    named = {name: explanations(settings, perfect, answers[name]) for name in simulator.CLASSES}
    found = compare_with_simulator(chosen_of(examples), named, settings)
    assert found.shared == 1.0
    assert found.by_chance == pytest.approx(3 / 9)

    # The opposite of the truth names none that drove towards the class among its first.
    wrong = {name: explanations(settings, -perfect, answers[name]) for name in simulator.CLASSES}
    assert compare_with_simulator(chosen_of(examples), wrong, settings).shared < 0.3


def test_another_log_has_no_truth_to_compare_with(
    examples: list[bytes], settings: EvaluatorSettings
) -> None:
    label = settings.label.model_copy(update={"classes": ["no", "yes"]})

    with pytest.raises(MasteryError, match="a log of `mastery simulate`, found classes"):
        read_sequences(examples, settings.model_copy(update={"label": label}))

    other = tf.train.Example.FromString(examples[0])
    other.features.feature["event_type"].bytes_list.value[0] = b"exam"
    with pytest.raises(MasteryError, match="event_type, found 'exam'"):
        read_sequences([other.SerializeToString()], settings)


@pytest.fixture(scope="module")
def counting_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose probability of `proficient` is the share of right answers, times .8."""

    class Counting(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=EXAMPLES)])
        def serve(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
            spec = {"correct": tf.io.VarLenFeature(tf.float32)}
            values = tf.io.parse_example(examples, spec)["correct"]
            right = tf.sparse.to_dense(values)
            right = tf.reduce_sum(tf.where(tf.math.is_nan(right), 0.0, right), axis=1)
            high = 0.8 * right / (right + 1.0)
            rows = tf.stack([0.2 * tf.ones_like(high), 0.8 - high, high], axis=1)
            classes = tf.broadcast_to(tf.constant([*simulator.CLASSES]), tf.shape(rows))
            return {PROBABILITIES: rows, CLASSES: classes}

    folder = tmp_path_factory.mktemp("counting")
    model = Counting()
    tf.saved_model.save(model, str(folder), signatures={SERVING_DEFAULT: model.serve})
    return folder


@pytest.mark.parametrize("are_true", [True, False])
def test_taking_out_what_is_named_changes_the_answer_only_if_it_is_named_rightly(
    examples: list[bytes],
    settings: EvaluatorSettings,
    counting_model: Path,
    are_true: bool,
) -> None:
    parsed = [tf.train.Example.FromString(example) for example in examples]
    right = [
        np.nan_to_num(np.array(item.features.feature["correct"].float_list.value))
        for item in parsed
    ]
    high = np.array([0.8 * row.sum() / (row.sum() + 1.0) for row in right])
    kept = [place for place, value in enumerate(high) if value > 0.55]  # answered `proficient`
    sign = 1 if are_true else -1
    answers = {"not_mastered": 0 * high + 0.2, "partial": 0.8 - high, "proficient": high}
    features = len(settings.steps.features)

    explained = {
        name: Explanations(
            features=[*settings.steps.features],
            answers=values[kept],
            typical=values[kept],
            attributions=np.zeros((len(kept), features)),
            directions=np.zeros((len(kept), features)),
            of_steps=[
                np.repeat(sign * right[row][:, None] / features, features, axis=1) for row in kept
            ],
        )
        for name, values in answers.items()
    }
    chosen = chosen_of([examples[row] for row in kept])
    found = measure_removal(counting_model, chosen, explained, settings)

    assert found is not None
    assert found.examples == len(kept) >= 10
    assert found.interval is not None
    if are_true:
        assert found.gain > 0.01
        assert found.interval[0] > 0
    else:
        assert found.named == pytest.approx(0, abs=1e-6)
        assert found.interval[1] < 0


def test_sequences_that_are_too_short_are_not_cut(
    examples: list[bytes], settings: EvaluatorSettings, counting_model: Path
) -> None:
    steps = settings.steps.model_copy(update={"min_steps": 100})
    explained = {"proficient": explanations(settings, np.zeros((2, 9)), np.zeros(2))}

    assert (
        measure_removal(
            counting_model,
            chosen_of(examples[:2]),
            explained,
            settings.model_copy(update={"steps": steps}),
        )
        is None
    )
