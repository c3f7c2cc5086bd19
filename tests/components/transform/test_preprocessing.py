from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tensorflow_transform as tft

from tests.components.transform.analysis import analyse, apply, examples, sections

NAN = math.nan
FEATURES: dict[str, Any] = {
    "event_type": {"type": "categorical", "vocabulary": 2},
    "dwell": {"type": "numeric"},
    "constant": {"type": "numeric"},
    "absent": {"type": "numeric"},
    "tamed": {"type": "numeric", "scale": "none", "clip": [-1.0, 7.0], "log": True},
    "open": {
        "type": "numeric",
        "scale": "none",
        "clip": [0.0, "Infinity"],
    },  # as .inf comes by JSON
    "quarter": {"type": "numeric", "scale": "buckets", "buckets": 4},
}
CONTEXT = {
    "unit_id": {"type": "categorical"},
    "horizon": {"type": "categorical"},
    "share": {"type": "numeric"},
}
TRAIN = {
    "event_type": [["quiz", "video", "quiz"], ["quiz", "video", "video", "quiz", "forum"], []],
    "dwell": [[1.0, 2.0, 3.0], [4.0, NAN, 6.0, 7.0, 7.0], []],
    "constant": [[1e6] * 3, [1e6] * 5, []],
    "absent": [[NAN] * 3, [NAN] * 5, []],
    "tamed": [[0.0, -5.0, 100.0], [1.0, NAN, 3.0, 0.0, 0.0], []],
    "open": [[-1.0, 5.0, 1e30], [1.0, NAN, 3.0, 0.0, 0.0], []],
    "quarter": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0, 8.0], []],
    "unit_id": [["algebra"], ["algebra"], ["logic"]],
    "horizon": [[7], [7], []],
    "share": [[1.0], [], [3.0]],
    "num_steps": [[3], [5], [0]],
    "mastery": [["low"], ["high"], ["high"]],
}


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> tft.TFTransformOutput:
    return analyse(
        tmp_path_factory.mktemp("transform"), sections(FEATURES, context=CONTEXT), examples(TRAIN)
    )


@pytest.fixture(scope="module")
def transformed(output: tft.TFTransformOutput) -> dict[str, list[Any]]:
    return apply(output, examples(TRAIN))


def test_a_z_score_ignores_missing_values(transformed: dict[str, list[Any]]) -> None:
    there = np.array([1.0, 2.0, 3.0, 4.0, 6.0, 7.0, 7.0])
    expected = (np.array([4.0, there.mean(), 6.0, 7.0, 7.0]) - there.mean()) / there.std()
    assert transformed["step_dwell"][1] == pytest.approx(expected, abs=1e-6)
    assert transformed["missing_step_dwell"] == [[0, 0, 0], [0, 1, 0, 0, 0], []]


def test_a_constant_column_and_an_absent_one_become_zeros(
    transformed: dict[str, list[Any]],
) -> None:
    assert transformed["step_constant"] == [[0.0] * 3, [0.0] * 5, []]
    assert transformed["step_absent"] == [[0.0] * 3, [0.0] * 5, []]
    assert transformed["missing_step_absent"] == [[1.0] * 3, [1.0] * 5, []]


def test_clip_comes_before_log(transformed: dict[str, list[Any]]) -> None:
    assert transformed["step_tamed"][0] == pytest.approx([0.0, -math.log(2), math.log(8)])
    assert transformed["step_tamed"][1][:3] == pytest.approx([math.log(2), 0.0, math.log(4)])


def test_an_open_end_of_clip_moves_nothing(transformed: dict[str, list[Any]]) -> None:
    assert transformed["step_open"][0] == pytest.approx([0.0, 5.0, 1e30])
    assert transformed["step_open"][1][:3] == [1.0, 0.0, 3.0]  # missing, as its indicator says


def test_buckets_hold_equal_shares_and_start_at_one(transformed: dict[str, list[Any]]) -> None:
    ids = [*transformed["step_quarter"][0], *transformed["step_quarter"][1]]
    assert np.bincount(ids, minlength=5).tolist() == [0, 2, 2, 2, 2]
    assert ids == sorted(ids)


def test_a_vocabulary_is_bounded_and_by_frequency(transformed: dict[str, list[Any]]) -> None:
    assert transformed["step_event_type"] == [
        [1, 2, 1],
        [1, 2, 2, 1, 3],
        [],
    ]  # forum is out of vocabulary


def test_context_has_one_value_per_row(transformed: dict[str, list[Any]]) -> None:
    assert transformed["context_unit_id"] == [1, 1, 2]
    assert transformed["context_horizon"] == [1, 1, 0]
    assert transformed["context_share"] == [-1.0, 0.0, 1.0]
    assert transformed["missing_context_share"] == [0.0, 1.0, 0.0]


def test_labels_are_places_in_the_configured_order(transformed: dict[str, list[Any]]) -> None:
    assert transformed["label"] == [0, 2, 2]


def test_unseen_values_are_answered_without_a_label(output: tft.TFTransformOutput) -> None:
    new = {
        "event_type": [["game", "", "quiz"]],
        "dwell": [[1000.0, NAN, 1.0]],
        "constant": [[NAN, 1e6, 1e6]],
        "absent": [[5.0, NAN, NAN]],
        "tamed": [[NAN] * 3],
        "quarter": [[-1000.0, 1000.0, NAN]],
        "unit_id": [["music"]],
        "horizon": [[14]],
        "share": [[2.0]],
        "num_steps": [[3]],
    }
    transformed = apply(output, examples(new))
    assert transformed["step_event_type"] == [[3, 0, 1]]
    assert transformed["step_quarter"] == [[1, 4, 0]]
    assert transformed["step_absent"] == [[5.0, 0.0, 0.0]]
    assert transformed["context_unit_id"] == [3]
    assert transformed["context_horizon"] == [2]
    assert "label" not in transformed
    assert np.isfinite(transformed["prior"]).all()


def test_columns_may_be_sparse_or_dense_in_the_schema() -> None:
    import tensorflow as tf

    from components.transform.preprocessing import ragged, scalar

    rows: list[list[float]] = [[1.0, 2.0], [], [3.0]]
    lists = tf.ragged.constant(rows, dtype=tf.float32)
    assert ragged(lists.to_sparse()).to_list() == rows
    assert ragged(lists).to_list() == rows
    assert np.array_equal(scalar(lists.to_sparse(), missing=NAN), [1.0, NAN, 3.0], equal_nan=True)
    assert scalar(tf.constant([[7], [14]], tf.int64), missing="").numpy().tolist() == [b"7", b"14"]
    assert scalar(tf.ragged.constant([[7], []], dtype=tf.int64), missing="").numpy().tolist() == [
        b"7",
        b"",
    ]
    assert scalar(tf.constant([7, 14], tf.int64), missing=0.0).numpy().tolist() == [7.0, 14.0]
