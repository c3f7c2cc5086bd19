"""One signature, loaded without the rest of its model, answers as the whole model does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.evaluator.loaded_signature import load_signature

WORDS = np.array([b"a", b"b", b"c", b"a"], object)


class Model(tf.Module):
    """Has a vocabulary in an asset, a variable, a loop, and a signature that is not asked."""

    def __init__(self, vocabulary: Path) -> None:
        super().__init__()
        vocabulary.write_text("a\nb\n")
        index = tf.lookup.TextFileInitializer(
            str(vocabulary),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        self.table = tf.lookup.StaticVocabularyTable(index, 1)
        self.weight = tf.Variable(1 / 3)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words")])
    def asked(self, words: tf.Tensor) -> dict[str, tf.Tensor]:
        places = tf.cast(self.table.lookup(words), tf.float32)
        for _ in tf.range(3):
            places = places * self.weight + 0.1
        return {"score": places, "word": words}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="numbers")])
    def other(self, numbers: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"sum": tf.reduce_sum(numbers) + self.weight}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The model, saved; the file that its vocabulary was made from is gone."""
    module = Model(tmp_path / "words")
    signatures = {"asked": module.asked, "other": module.other}
    tf.saved_model.save(module, str(tmp_path / "model"), signatures)
    (tmp_path / "words").unlink()
    return tmp_path / "model"


def test_a_part_of_a_model_answers_as_the_whole(model: Path) -> None:
    with load_signature(model, "asked") as predict:
        found = predict({"words": WORDS})
        assert tf.executing_eagerly()  # the examples are read in between

    whole = tf.saved_model.load(str(model))
    expected = whole.signatures["asked"](words=tf.constant(WORDS))
    assert found.keys() == expected.keys()
    assert found["score"].tobytes() == expected["score"].numpy().tobytes()
    assert found["word"].tolist() == WORDS.tolist()


def test_what_a_model_does_not_have_is_an_error(model: Path) -> None:
    with pytest.raises(KeyError), load_signature(model, "missing"):
        pass
    with load_signature(model, "asked") as predict, pytest.raises(TypeError, match="'words'"):
        predict({"text": WORDS})


def test_a_model_without_its_variables_is_an_error(model: Path) -> None:
    for file in (model / "variables").iterdir():
        file.unlink()

    with pytest.raises(tf.errors.OpError), load_signature(model, "asked"):
        pass


def test_a_model_of_tensorflow_1_is_loaded_whole(tmp_path: Path) -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        words = tf.compat.v1.placeholder(tf.string, [None], "words")
        signature = tf.compat.v1.saved_model.predict_signature_def(
            {"words": words}, {"length": tf.strings.length(words)}
        )
        builder = tf.compat.v1.saved_model.Builder(str(tmp_path / "model"))
        builder.add_meta_graph_and_variables(session, ["serve"], {"asked": signature})
        builder.save()

    with load_signature(tmp_path / "model", "asked") as predict:
        assert predict({"words": WORDS})["length"].tolist() == [1, 1, 1, 1]
