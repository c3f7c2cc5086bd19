"""Words that are hidden while a network is fitted, and what it answers about unknown ones after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from components.contracts.model_card import WEIGHTS
from components.node.settings import TrainerSettings
from components.trainer.masking import hide_words, masked_shares
from components.trainer.network import Embedded, NetworkInputs
from tests.components.trainer.tiny_log import SETTINGS, fit

# Keras converts variables the way NumPy 1 wanted it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

WORDS = 40
UNKNOWN = WORDS + 1
INPUTS = NetworkInputs(
    {"step_unit": Embedded(UNKNOWN + 1, 4), "step_x": None},
    {"context_unit": Embedded(UNKNOWN + 1, 4)},
)
ROWS, STEPS = 400, 12


def batches(rows: int = ROWS, count: int = 3) -> tf.data.Dataset:
    draw = np.random.default_rng(3)
    columns = {
        "step_unit": draw.integers(0, UNKNOWN, (count, ROWS, STEPS))[:, :rows],
        "step_x": draw.random((count, ROWS, STEPS))[:, :rows],
        "context_unit": draw.integers(0, UNKNOWN, (count, ROWS))[:, :rows],
    }
    return tf.data.Dataset.from_tensor_slices(columns)


def epoch(dataset: tf.data.Dataset) -> list[dict[str, np.ndarray]]:
    return list(dataset.as_numpy_iterator())


def test_the_shares_are_those_of_the_configuration() -> None:
    word = {"type": "categorical"}
    features = {"kind": word, "step_unit": word, "often": {**word, "mask": 0.3}}
    settings = {
        **SETTINGS,
        "steps": {"history": "learner", "features": features},
        "context": {
            "unit_id": word,
            "closed": {**word, "mask": 0},
            "rare": {**word, "mask": 0.5},
            "day": {"type": "numeric"},
        },
    }
    assert masked_shares(TrainerSettings.model_validate(settings)) == {
        "step_step_unit": 0.05,
        "step_often": 0.3,
        "context_unit_id": 0.05,
        "context_rare": 0.5,
    }


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_a_share_of_words_is_hidden_and_nothing_else_changes(share: float) -> None:
    shares = {"step_unit": share, "context_unit": share}
    for before, after in zip(
        epoch(batches()), epoch(hide_words(batches(), INPUTS, shares, seed=7)), strict=True
    ):
        assert np.array_equal(before["step_x"], after["step_x"])
        for name in shares:
            hidden: np.ndarray = np.not_equal(after[name], before[name])
            assert (after[name][hidden] == UNKNOWN).all()
            assert (after[name][before[name] == 0] == 0).all()  # missing values, and padding
            known = before[name] > 0
            deviation = (share * (1 - share) / known.sum()) ** 0.5
            assert hidden[known].mean() == pytest.approx(share, abs=4 * deviation)


def test_a_word_is_hidden_at_all_steps_of_a_sequence_or_at_none() -> None:
    shares = {"step_unit": 0.3}
    [before], [after] = (
        epoch(batches(count=1)),
        epoch(hide_words(batches(count=1), INPUTS, shares, 7)),
    )
    hidden_in = np.zeros((ROWS, UNKNOWN), bool)
    for row, (ids, now) in enumerate(zip(before["step_unit"], after["step_unit"], strict=True)):
        for word in set(ids.tolist()) - {0}:
            [is_hidden] = set((now[ids == word] == UNKNOWN).tolist())
            hidden_in[row, word] = is_hidden

    # No row hides all of its words, and no word is hidden in all rows.
    assert 0.1 < hidden_in.sum() / sum(len({*ids} - {0}) for ids in before["step_unit"]) < 0.5
    assert hidden_in.any(axis=0)[1:].all()
    assert hidden_in.mean(axis=0).max() < 0.3


def test_epochs_differ_and_seeds_repeat() -> None:
    shares = {"step_unit": 0.3, "context_unit": 0.3}
    hidden = hide_words(batches(), INPUTS, shares, seed=7)
    again, other = (hide_words(batches(), INPUTS, shares, seed=seed) for seed in (7, 8))
    first, second = epoch(hidden), epoch(hidden)
    repeated, changed = [*epoch(again), *epoch(again)], epoch(other)
    for name in shares:
        assert not np.array_equal(first[0][name], second[0][name])
        assert not np.array_equal(changed[0][name], first[0][name])
        for found, expected in zip(repeated, [*first, *second], strict=True):
            assert np.array_equal(found[name], expected[name])


def test_rows_are_hidden_the_same_whatever_follows_them() -> None:
    shares = {"step_unit": 0.3, "context_unit": 0.3}
    few, many = (
        epoch(hide_words(batches(rows), INPUTS, shares, seed=7))[0] for rows in (100, ROWS)
    )
    for name in shares:
        assert np.array_equal(few[name], many[name][:100])


@pytest.fixture(scope="module")
def masked(inputs: FnArgs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(inputs, tmp_path_factory.mktemp("masked"), with_mask(0.3))


@pytest.fixture(scope="module")
def unmasked(inputs: FnArgs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(inputs, tmp_path_factory.mktemp("unmasked"), with_mask(0))


def with_mask(share: float) -> dict[str, Any]:
    unit = {**SETTINGS["context"]["unit_id"], "mask": share}
    training = {**SETTINGS["training"], "epochs": 8, "warm_start": True}
    return {**SETTINGS, "context": {**SETTINGS["context"], "unit_id": unit}, "training": training}


def unknown_row(folder: Path) -> list[float]:
    with np.load(folder / "model" / WEIGHTS) as weights:
        row: list[float] = weights["embedding_context_unit_id/embeddings"][-1].tolist()
    return row


def test_the_row_of_unknown_words_is_fitted_only_with_a_mask(
    inputs: FnArgs, masked: Path, unmasked: Path, tmp_path: Path
) -> None:
    for base, moves in ((masked, True), (unmasked, False)):
        settings = with_mask(0.3 if moves else 0)
        later = fit(inputs, tmp_path / base.name, settings, base_model=base / "model")
        assert (unknown_row(base) == unknown_row(later)) != moves


def test_a_unit_never_seen_gets_an_answer_between_those_of_known_ones(masked: Path) -> None:
    ask = tf.saved_model.load(str(masked / "model")).signatures["predict_steps"]
    draw = np.random.default_rng(1)
    steps = {
        "event_type": draw.choice(np.array(["quiz", "video"], object), (60, 6)),
        "correct": (draw.random((60, 6)) < draw.random((60, 1))).astype(np.float32),
        "mean_dwell": draw.exponential(60.0, (60, 6)).astype(np.float32),
        "horizon": np.full(60, 7, np.int64),
        "num_steps": np.full(60, 6, np.int64),
    }
    steps = {name: tf.constant(values) for name, values in steps.items()}
    algebra, logic, unknown = (
        ask(**steps, unit_id=tf.constant([unit] * 60))["probabilities"].numpy()
        for unit in ("algebra", "logic", "geometry")
    )
    # The units of this log are alike, so an unknown one is answered much as they are.
    apart = np.abs(unknown - (algebra + logic) / 2).max(axis=1)
    assert apart.max() < 0.1
