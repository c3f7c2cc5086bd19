from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tests.components.trainer.tiny_log import SETTINGS, tiny_log
from tests.components.transform.analysis import Columns

# Keras converts variables the way NumPy 1 wanted it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STEPS = {"event_type": "", "correct": math.nan, "mean_dwell": math.nan}
CLASSES = [b"low", b"mid", b"high"]
Answer = dict[str, np.ndarray]


def serialized(columns: Columns, row: int) -> bytes:
    """One example without its label, as a client writes it."""
    example = tf.train.Example()
    for name, rows in columns.items():
        values = rows[row]
        if name in ("mastery", "score") or not values:
            continue
        feature = example.features.feature[name]
        if isinstance(values[0], str):
            feature.bytes_list.value.extend(value.encode() for value in values)
        elif isinstance(values[0], int):
            feature.int64_list.value.extend(values)
        else:
            feature.float_list.value.extend(values)
    return example.SerializeToString()


def dense(columns: Columns, padding: int = 0) -> dict[str, tf.Tensor]:
    """The same examples for `predict_steps`, with `padding` columns of nonsense on the right."""
    width = max(len(steps) for steps in columns["correct"]) + padding
    tensors = {"num_steps": tf.constant([len(steps) for steps in columns["correct"]], tf.int64)}
    for name in STEPS:
        nonsense = "quiz" if name == "event_type" else 99.0
        tensors[name] = tf.constant(
            [[*steps, *[nonsense] * (width - len(steps))] for steps in columns[name]]
        )
    tensors["unit_id"] = tf.constant([row[0] for row in columns["unit_id"]])
    tensors["horizon"] = tf.constant([row[0] for row in columns["horizon"]], tf.int64)
    return tensors


def with_horizon(columns: Columns) -> Columns:
    """An int64 column of `predict_steps` cannot be missing."""
    return {**columns, "horizon": [row or [7] for row in columns["horizon"]]}


def ask(served: Any, signature: str, **tensors: tf.Tensor) -> Answer:
    return {name: value.numpy() for name, value in served.signatures[signature](**tensors).items()}


def by_example(served: Any, columns: Columns) -> Answer:
    rows = range(len(columns["correct"]))
    return ask(
        served, "serving_default", examples=tf.constant([serialized(columns, row) for row in rows])
    )


@pytest.fixture(scope="module")
def log() -> Columns:
    return with_horizon(tiny_log(40, seed=3))


def test_both_signatures_answer_the_same(served: Any, log: Columns) -> None:
    one, other = by_example(served, log), ask(served, "predict_steps", **dense(log))
    assert {"classes", "probabilities", "predicted_class", "basis"} < set(one) == set(other)
    for name in one:
        assert np.array_equal(one[name], other[name])


def test_an_answer_names_its_classes(served: Any, log: Columns) -> None:
    answer = by_example(served, log)
    assert answer["classes"].tolist() == [CLASSES] * 40
    assert answer["probabilities"].dtype == np.float32
    assert answer["probabilities"].sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    best = answer["probabilities"].argmax(axis=1)
    assert answer["predicted_class"].tolist() == [CLASSES[place] for place in best]


@given(padding=st.integers(0, 20))
@settings(max_examples=10, deadline=None)
def test_padding_changes_nothing(served: Any, log: Columns, padding: int) -> None:
    one = ask(served, "predict_steps", **dense(log))["probabilities"]
    other = ask(served, "predict_steps", **dense(log, padding))["probabilities"]
    assert other == pytest.approx(one, abs=1e-6)


def test_an_answer_does_not_depend_on_the_batch(served: Any, log: Columns) -> None:
    together = by_example(served, log)["probabilities"]
    alone = [
        by_example(served, {name: [rows[row]] for name, rows in log.items()}) for row in range(10)
    ]
    assert np.concatenate([answer["probabilities"] for answer in alone]) == pytest.approx(
        together[:10], abs=1e-6
    )


def test_only_the_last_max_steps_are_seen(served: Any, log: Columns) -> None:
    last = {
        name: [row[-6:] for row in rows] if name in STEPS else rows for name, rows in log.items()
    }
    longer = [len(row) for row in log["correct"]]
    assert max(longer) > 6
    assert by_example(served, log)["probabilities"] == pytest.approx(
        by_example(served, last)["probabilities"], abs=1e-6
    )


def test_too_few_events_get_the_prior_with_its_basis(served: Any, log: Columns) -> None:
    answer = by_example(served, log)
    lengths = np.array([len(row) for row in log["correct"]])
    assert answer["basis"].tolist() == [
        b"prior" if length < 2 else b"sequence" for length in lengths
    ]
    groups: dict[tuple[str, int], list[float]] = {}
    for row in np.flatnonzero(lengths < 2):
        group = (log["unit_id"][row][0], log["horizon"][row][0])
        found = answer["probabilities"][row]
        assert found == pytest.approx(groups.setdefault(group, found), abs=1e-7)
        assert found == pytest.approx(expected_prior(*group), abs=1e-5)
    assert len(groups) > 1


def expected_prior(unit: str, horizon: int) -> np.ndarray:
    """The definition, with numpy, on the training split of the fixture."""
    train, smoothing = tiny_log(160, seed=1), SETTINGS["prior"]["smoothing"]
    labels = np.array(
        [[row == [name] for name in ("low", "mid", "high")] for row in train["mastery"]], float
    )
    of_horizon = np.array([days == [horizon] for days in train["horizon"]])
    own = of_horizon & np.array([units == [unit] for units in train["unit_id"]])
    cold = own & np.array([len(row) < 2 for row in train["correct"]])

    mean = labels.mean(axis=0)
    for rows in (of_horizon, own, cold):
        mean = (labels[rows].sum(axis=0) + smoothing * mean) / (rows.sum() + smoothing)
    return mean


def test_missing_values_and_unknown_words_are_answered(served: Any) -> None:
    tensors = {
        "event_type": tf.constant([["", "game", "quiz"]]),
        "correct": tf.constant([[math.nan] * 3]),
        "mean_dwell": tf.constant([[math.nan, -1e9, 1e9]]),
        "unit_id": tf.constant(["never seen"]),
        "horizon": tf.constant([99], tf.int64),
        "num_steps": tf.constant([3], tf.int64),
    }
    assert np.isfinite(ask(served, "predict_steps", **tensors)["probabilities"]).all()


@pytest.mark.parametrize("learners", [0, 2])
def test_empty_batches_and_empty_sequences_are_answered(served: Any, learners: int) -> None:
    tensors = {
        "event_type": tf.zeros([learners, 0], tf.string),
        "correct": tf.zeros([learners, 0]),
        "mean_dwell": tf.zeros([learners, 0]),
        "unit_id": tf.constant(["algebra"] * learners, tf.string),
        "horizon": tf.constant([7] * learners, tf.int64),
        "num_steps": tf.constant([0] * learners, tf.int64),
    }
    answer = ask(served, "predict_steps", **tensors)
    assert answer["probabilities"].shape == (learners, 3)
    assert answer["basis"].tolist() == [b"prior"] * learners
    assert ask(served, "serving_default", examples=tf.zeros([0], tf.string))["classes"].shape == (
        0,
        3,
    )


def test_lists_of_unequal_length_are_refused(served: Any, log: Columns) -> None:
    crooked = {**log, "correct": [row[:-1] for row in log["correct"]]}
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"expected as many values of \w+ as of correct"
    ):
        by_example(served, crooked)


def test_the_graph_runs_without_a_gpu_and_on_an_older_server(fitted: Path) -> None:
    saved = SavedModel.FromString((fitted / "model" / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    operations = {node.op for node in graph.node} | {
        node.op for f in graph.library.function for node in f.node_def
    }
    assert not {name for name in operations if "Cudnn" in name or "Xla" in name or "PyFunc" in name}


def test_a_fresh_process_loads_it_without_our_code(
    fitted: Path, log: Columns, served: Any, tmp_path: Path
) -> None:
    example = tmp_path / "example"
    example.write_bytes(serialized(log, 5))
    code = (
        "import sys, tensorflow as tf\n"
        "model = tf.saved_model.load(sys.argv[1])\n"
        "example = open(sys.argv[2], 'rb').read()\n"
        "answer = model.signatures['serving_default'](examples=tf.constant([example]))\n"
        "print(answer['probabilities'].numpy().tolist()[0])\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, fitted / "model", example],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    here = by_example(served, log)["probabilities"][5]
    assert json.loads(process.stdout.splitlines()[-1]) == pytest.approx(here, abs=1e-6)


def test_a_server_that_loads_only_the_graph_answers_the_same(
    fitted: Path, log: Columns, served: Any
) -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(fitted / "model"))
        signature = graph.signature_def["serving_default"]
        requests = [serialized(log, row) for row in range(40)]
        answer = session.run(
            signature.outputs["probabilities"].name, {signature.inputs["examples"].name: requests}
        )
    assert answer == pytest.approx(by_example(served, log)["probabilities"], abs=1e-6)
