from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from components.contracts.model_card import Vocabularies
from components.node.settings import TrainerSettings
from components.trainer.network import Embedded, NetworkInputs, build_network
from components.trainer.warm_start import warm_start, write_weights
from tests.components.trainer.tiny_log import SETTINGS


def inputs(*words: bytes) -> NetworkInputs:
    return NetworkInputs(
        {"step_event_type": Embedded(len(words) + 2, 3, words), "step_correct": None}, {}
    )


def network(inputs: NetworkInputs, seed: int, **model: Any) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return build_network(
        TrainerSettings.model_validate({**SETTINGS, "model": {**SETTINGS["model"], **model}}),
        inputs,
    )


@pytest.fixture
def base(tmp_path: Path) -> tuple[keras.Model, Path]:
    old = network(inputs(b"quiz", b"video"), seed=1)
    write_weights(old, inputs(b"quiz", b"video"), tmp_path)
    return old, tmp_path


def test_rows_follow_their_words(base: tuple[keras.Model, Path]) -> None:
    old, folder = base
    now = inputs(b"forum", b"video", b"quiz")
    new = network(now, seed=2)
    fresh = new.get_layer("embedding_step_event_type").get_weights()[0]
    assert warm_start(new, now, folder) == f"weights of {folder}"
    before = old.get_layer("embedding_step_event_type").get_weights()[0]
    after = new.get_layer("embedding_step_event_type").get_weights()[0]
    missing, quiz, video, other = before
    assert np.array_equal(after, [missing, fresh[1], video, quiz, other])
    assert np.array_equal(
        new.get_layer("lstm_0").get_weights()[0], old.get_layer("lstm_0").get_weights()[0]
    )


def test_another_architecture_starts_afresh_with_a_reason(base: tuple[keras.Model, Path]) -> None:
    words = inputs(b"quiz", b"video")
    new = network(words, seed=2, lstm=[8, 5])
    before = new.get_weights()
    said = warm_start(new, words, base[1])
    assert said.startswith("fresh weights: the architecture differs from")
    assert "lstm_1/lstm_cell/kernel was (8, 16), is (8, 20)" in said
    assert all(
        np.array_equal(one, other) for one, other in zip(before, new.get_weights(), strict=True)
    )


def test_vocabularies_of_a_newer_version_are_a_reason_to_start_afresh(
    base: tuple[keras.Model, Path],
) -> None:
    (base[1] / Vocabularies.FILE).write_text('{"format": 2}')
    words = inputs(b"quiz", b"video")
    assert "fresh weights:" in warm_start(network(words, seed=2), words, base[1])
    assert "found 2" in warm_start(network(words, seed=2), words, base[1])


def test_an_embedding_of_another_width_is_another_architecture(
    base: tuple[keras.Model, Path],
) -> None:
    wider = NetworkInputs(
        {"step_event_type": Embedded(4, 5, (b"quiz", b"video")), "step_correct": None}, {}
    )
    said = warm_start(network(wider, seed=2), wider, base[1])
    assert "embedding_step_event_type/embeddings was (4, 3), is (4, 5)" in said


def test_a_model_that_is_not_ours_starts_afresh(tmp_path: Path) -> None:
    words = inputs(b"quiz")
    assert warm_start(network(words, seed=1), words, tmp_path).startswith(
        f"fresh weights: those of {tmp_path} could not be read"
    )
