from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from components.contracts.model_card import ModelCard, NetworkLayout
from components.node.settings import TrainerSettings
from components.trainer.network import Embedded, NetworkInputs, build_network
from components.trainer.start_from import read_start
from components.trainer.warm_start import layer_inputs, warm_start, write_weights
from tests.components.trainer.tiny_log import SETTINGS

WORDS = (b"quiz", b"video")
CLASSES: list[str] = SETTINGS["label"]["classes"]


def inputs(*words: bytes, width: int = 3, **others: Embedded | None) -> NetworkInputs:
    steps = {"step_event_type": Embedded(len(words) + 2, width, words), "step_correct": None}
    return NetworkInputs({**steps, **others}, {"context_horizon": None})


def settings(classes: list[str] = CLASSES, **model: Any) -> TrainerSettings:
    label = {"column": "mastery", "classes": classes}
    sections = {**SETTINGS, "label": label, "model": {**SETTINGS["model"], **model}}
    return TrainerSettings.model_validate(sections)


def network(inputs: NetworkInputs, seed: int, settings: TrainerSettings) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return build_network(settings, inputs)


def save(folder: Path, old: keras.Model, inputs: NetworkInputs, settings: TrainerSettings) -> None:
    folder.mkdir(exist_ok=True)
    write_weights(old, inputs, folder)
    classes, config = settings.label.classes, settings.model_dump(mode="json", by_alias=True)
    ModelCard(name="base", task="classification", classes=classes, config=config).write(folder)


@pytest.fixture
def base(tmp_path: Path) -> tuple[keras.Model, Path]:
    old = network(inputs(*WORDS), 1, settings())
    old.set_weights([weight + 0.25 for weight in old.get_weights()])  # no bias stays zero
    save(tmp_path / "base", old, inputs(*WORDS), settings())
    return old, tmp_path / "base"


def start(
    folder: Path, inputs: NetworkInputs, settings: TrainerSettings
) -> tuple[keras.Model, keras.Model, str]:
    """The network with what fits of the weights in a folder, a fresh one, and the note."""
    new, fresh = (network(inputs, 2, settings) for _ in range(2))
    note = warm_start(new, inputs, settings, read_start(folder))
    return new, fresh, note


def kernel(model: keras.Model, layer: str) -> np.ndarray:
    found: np.ndarray = model.get_layer(layer).get_weights()[0]
    return found


def answers(model: keras.Model, words: list[int]) -> np.ndarray:
    steps = {"step_event_type": np.array([words]), "step_correct": np.array([[1.0, 0.0]])}
    more = {"context_horizon": np.array([7.0]), "num_steps": np.array([2])}
    return np.asarray(model({**steps, **more}, training=False))


def test_a_model_of_the_same_configuration_gives_its_answers(
    base: tuple[keras.Model, Path],
) -> None:
    old, folder = base
    new, _, note = start(folder, inputs(*WORDS), settings())
    assert all(map(np.array_equal, new.get_weights(), old.get_weights()))
    count = sum(weight.size for weight in old.get_weights())
    assert note.splitlines() == [
        f"weights of {folder}: {count:,} of {count:,};",
        "words found there: 2 of 2 in step_event_type",
    ]


@pytest.mark.parametrize(
    "model",
    [{"kind": "transformer"}, {"pooling": "attention"}, {"interaction": True}],
)
def test_every_kind_of_network_moves_as_a_whole(model: dict[str, Any], tmp_path: Path) -> None:
    old = network(inputs(*WORDS), 1, settings(**model))
    save(tmp_path, old, inputs(*WORDS), settings(**model))
    new, _, note = start(tmp_path, inputs(*WORDS), settings(**model))
    assert all(map(np.array_equal, new.get_weights(), old.get_weights()))
    assert "fresh" not in note


def test_rows_follow_their_words(base: tuple[keras.Model, Path]) -> None:
    old, folder = base
    new, fresh, note = start(folder, inputs(b"forum", b"video", b"quiz"), settings())
    missing, quiz, video, other = kernel(old, "embedding_step_event_type")
    expected = [missing, kernel(fresh, "embedding_step_event_type")[1], video, quiz, other]
    assert np.array_equal(kernel(new, "embedding_step_event_type"), expected)
    assert "words found there: 2 of 3 in step_event_type" in note
    assert "fresh:" not in note
    assert answers(new, [3, 4]) == pytest.approx(answers(old, [1, 3]), abs=1e-6)


def test_rows_of_a_kernel_follow_the_features_they_read(base: tuple[keras.Model, Path]) -> None:
    """A foreign log: other features before, between and after the two that both have."""
    old, folder = base
    other = NetworkInputs(
        {
            "step_hints": None,
            "step_correct": None,
            "step_kind": Embedded(4, 3, WORDS),
            "step_event_type": Embedded(4, 3, WORDS),
        },
        {"context_unit_id": Embedded(3, 2, (b"algebra",)), "context_horizon": None},
    )
    new, fresh, note = start(folder, other, settings())

    was, now, drawn = (kernel(model, "lstm_0") for model in (old, new, fresh))
    assert np.array_equal(now[[1, 5, 6, 7]], was[[3, 0, 1, 2]])
    assert np.array_equal(now[[0, 2, 3, 4]], drawn[[0, 2, 3, 4]])
    was, now, drawn = (kernel(model, "dense_0") for model in (old, new, fresh))
    assert np.array_equal(now[[0, 1, 2, 3, 6]], was)
    assert np.array_equal(now[4:6], drawn[4:6])
    assert all(
        map(np.array_equal, *(model.get_layer("lstm_1").get_weights() for model in (old, new)))
    )
    assert note.splitlines()[-1] == (
        "fresh: embedding_step_kind (new), what lstm_0 reads of step_hints, embedding_step_kind, "
        "embedding_context_unit_id (new), what dense_0 reads of embedding_context_unit_id"
    )


def test_summaries_move_only_if_they_count_the_same_words(tmp_path: Path) -> None:
    features = {**SETTINGS["steps"]["features"], "event_type": {"type": "categorical"}}
    features["event_type"]["vocabulary"] = 5
    own = TrainerSettings.model_validate(
        {
            **SETTINGS,
            "steps": {**SETTINGS["steps"], "features": features},
            "model": {**SETTINGS["model"], "summaries": True},
        }
    )
    before = replace(inputs(*WORDS), summaries=7)
    old = network(before, 1, own)
    save(tmp_path, old, before, own)
    new, _, note = start(tmp_path, before, own)
    assert all(map(np.array_equal, new.get_weights(), old.get_weights()))

    turned = replace(inputs(*reversed(WORDS)), summaries=7)
    new, fresh, note = start(tmp_path, turned, own)
    assert np.array_equal(kernel(new, "dense_0")[:-7], kernel(old, "dense_0")[:-7])
    assert np.array_equal(kernel(new, "dense_0")[-7:], kernel(fresh, "dense_0")[-7:])
    assert note.splitlines()[-1] == "fresh: what dense_0 reads of summaries"


def test_rows_that_read_products_follow_them_or_stay_fresh(tmp_path: Path) -> None:
    own = settings(interaction=True)
    unit = Embedded(4, 2, (b"algebra", b"logic"))
    before = NetworkInputs(
        {"step_event_type": Embedded(4, 3, WORDS), "step_correct": None},
        {"context_horizon": None, "context_unit_id": unit},
    )
    old = network(before, 1, own)
    save(tmp_path, old, before, own)

    # One more number in steps, one more in context, and both in another order.
    more = NetworkInputs(
        {"step_hints": None, "step_correct": None, "step_event_type": Embedded(4, 3, WORDS)},
        {"context_unit_id": unit, "context_age": None, "context_horizon": None},
    )
    new, fresh, note = start(tmp_path, more, own)
    for layer, moved, rows, drawn in (
        ("step_product_words", [0, 1, 2], [0, 1, 2], []),
        ("step_product_numbers", [1], [0], [0]),
        ("lstm_0", [1, 2, 3, 4, 5, 6, 7], [3, 0, 1, 2, 4, 5, 6], [0]),
        ("interaction", [0, 1, 3], [1, 2, 0], [2]),
        ("dense_0", [0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11], [0, 1, 2, 3, 5, 6, 4, 7, 8, 9, 10], [6]),
    ):
        now, was = kernel(new, layer), kernel(old, layer)
        assert (len(now), len(was)) == (len(moved) + len(drawn), len(rows)), layer
        assert np.array_equal(now[moved], was[rows]), layer
        assert np.array_equal(now[drawn], kernel(fresh, layer)[drawn]), layer

    # Other words of another width: products of words are new, and so is what reads them.
    steps = {"step_event_type": Embedded(4, 5, WORDS), "step_correct": None}
    new, fresh, note = start(tmp_path, NetworkInputs(steps, before.context), own)
    assert np.array_equal(kernel(new, "lstm_0")[5], kernel(old, "lstm_0")[3])
    assert np.array_equal(kernel(new, "lstm_0")[6:], kernel(fresh, "lstm_0")[6:])
    assert "what lstm_0 reads of embedding_step_event_type, step_product_words+" in note


def test_a_network_of_another_kind_takes_over_what_does_not_read_its_states(
    base: tuple[keras.Model, Path],
) -> None:
    old, folder = base
    new, fresh, note = start(folder, inputs(*WORDS), settings(kind="transformer"))
    layer = "embedding_step_event_type"
    assert np.array_equal(kernel(new, layer), kernel(old, layer))
    assert np.array_equal(kernel(new, "dense_0")[-1], kernel(old, "dense_0")[-1])
    assert np.array_equal(kernel(new, "dense_0")[:-1], kernel(fresh, "dense_0")[:-1])
    assert "transformer_input (new), transformer_0 (new)" in note
    assert "what dense_0 reads of transformer_norm" in note


def test_columns_of_the_answer_follow_their_classes(base: tuple[keras.Model, Path]) -> None:
    old, folder = base
    turned = settings([CLASSES[2], CLASSES[0], CLASSES[1]])
    new, _, note = start(folder, inputs(*WORDS), turned)
    assert answers(new, [1, 2]) == pytest.approx(answers(old, [1, 2])[:, [2, 0, 1]], abs=1e-6)
    assert "fresh:" not in note


def test_other_classes_leave_only_the_answer_fresh(base: tuple[keras.Model, Path]) -> None:
    old, folder = base
    new, fresh, note = start(folder, inputs(*WORDS), settings(["dropped", "stayed", "unsure"]))
    assert np.array_equal(kernel(new, "answer"), kernel(fresh, "answer"))
    assert np.array_equal(kernel(new, "dense_0"), kernel(old, "dense_0"))
    assert note.splitlines()[-1] == "fresh: answer (other classes)"


def test_layers_that_read_fresh_ones_stay_fresh(base: tuple[keras.Model, Path]) -> None:
    old, folder = base
    new, fresh, note = start(folder, inputs(*WORDS), settings(lstm=[6, 4]))
    for layer in ("lstm_0", "lstm_1"):
        assert np.array_equal(kernel(new, layer), kernel(fresh, layer))
    assert np.array_equal(kernel(new, "dense_0")[4], kernel(old, "dense_0")[4])
    assert np.array_equal(kernel(new, "dense_0")[:4], kernel(fresh, "dense_0")[:4])
    assert "lstm_0 (lstm_0/lstm_cell/kernel was (4, 32), is (4, 24))" in note
    assert "lstm_1 (what it reads is fresh), what dense_0 reads of lstm_1" in note


def test_an_embedding_of_another_width_is_fresh_and_so_is_what_reads_it(
    base: tuple[keras.Model, Path],
) -> None:
    old, folder = base
    new, fresh, note = start(folder, inputs(*WORDS, width=5), settings())
    layer = "embedding_step_event_type"
    assert np.array_equal(kernel(new, layer), kernel(fresh, layer))
    assert np.array_equal(kernel(new, "lstm_0")[5], kernel(old, "lstm_0")[3])
    assert np.array_equal(kernel(new, "lstm_0")[:5], kernel(fresh, "lstm_0")[:5])
    assert f"{layer} ({layer}/embeddings was (4, 3), is (4, 5))" in note
    assert f"what lstm_0 reads of {layer}" in note


def test_buckets_move_as_a_whole_and_not_into_words(tmp_path: Path) -> None:
    before = inputs(*WORDS, step_dwell=Embedded(4, 2))
    old = network(before, 1, settings())
    save(tmp_path, old, before, settings())
    layer = "embedding_step_dwell"
    new, _, _ = start(tmp_path, before, settings())
    assert np.array_equal(kernel(new, layer), kernel(old, layer))
    for other in (Embedded(5, 2), Embedded(4, 2, (b"short", b"long"))):
        new, fresh, note = start(tmp_path, inputs(*WORDS, step_dwell=other), settings())
        assert np.array_equal(kernel(new, layer), kernel(fresh, layer))
        assert f"{layer} (other buckets, or words in place of them)" in note


def test_a_model_from_before_layouts_moves_if_its_features_are_the_same(
    base: tuple[keras.Model, Path],
) -> None:
    old, folder = base
    (folder / NetworkLayout.FILE).unlink()
    new, _, _ = start(folder, inputs(*WORDS), settings())
    assert all(map(np.array_equal, new.get_weights(), old.get_weights()))

    steps = {**SETTINGS["steps"], "features": dict(reversed(SETTINGS["steps"]["features"].items()))}
    turned = TrainerSettings.model_validate({**SETTINGS, "steps": steps})
    for other in (turned, settings(lstm=[8, 6])):
        _, _, note = start(folder, inputs(*WORDS), other)
        assert note == f"fresh weights: {folder} does not say which of its weights read what"


def test_a_layout_that_does_not_fit_the_weights_moves_nothing_of_that_layer(
    base: tuple[keras.Model, Path],
) -> None:
    _, folder = base
    layout = NetworkLayout.read(folder)
    layout.inputs["lstm_0"] = [("step_correct", 1), ("embedding_step_event_type", 30)]
    layout.write(folder)
    _, _, note = start(folder, inputs(*WORDS), settings())
    assert "lstm_0 (it does not say which of its rows read what)" in note


def test_nothing_that_fits_is_said_to_be_so(base: tuple[keras.Model, Path]) -> None:
    other = NetworkInputs({"step_hints": None}, {})
    new, fresh, note = start(base[1], other, settings())
    assert all(map(np.array_equal, new.get_weights(), fresh.get_weights()))
    assert note.startswith(f"fresh weights: nothing of {base[1]} fits; lstm_0 (what it reads is")


def test_the_layout_names_what_kernels_read() -> None:
    model = network(inputs(*WORDS), 1, settings())
    assert layer_inputs(model) == {
        "lstm_0": [("embedding_step_event_type", 3), ("step_correct", 1)],
        "lstm_1": [("lstm_0", 8)],
        "dense_0": [("lstm_1", 4), ("context_horizon", 1)],
        "answer": [("dense_0", 8)],
    }


def test_a_copy_elsewhere_is_the_same_start(base: tuple[keras.Model, Path], tmp_path: Path) -> None:
    copied = Path(shutil.copytree(base[1], tmp_path / "copied"))
    one, other = (start(folder, inputs(*WORDS), settings())[0] for folder in (base[1], copied))
    assert all(map(np.array_equal, one.get_weights(), other.get_weights()))
