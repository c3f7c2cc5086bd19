"""Starts a fit from the weights of a model served before, also when vocabularies have changed."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np

from components.trainer.features import Layout
from components.trainer.network import embedding_name

WEIGHTS = "assets.extra/weights.npz"  # by path, such as lstm_0/lstm_cell/kernel
VOCABULARIES = (
    "assets.extra/vocabularies.json"  # words of each embedded feature, in the order of their rows
)


def write_weights(network: keras.Model, layout: Layout, model: Path) -> None:
    """Writes what a later warm start needs beside a SavedModel: weights and vocabularies."""
    (model / WEIGHTS).parent.mkdir(exist_ok=True)
    np.savez(model / WEIGHTS, **{weight.path: weight.numpy() for weight in network.weights})
    words = {
        name: [_text(token) for token in tokens] for name, tokens in _vocabularies(layout).items()
    }
    (model / VOCABULARIES).write_text(json.dumps(words), encoding="utf-8")


def warm_start(network: keras.Model, layout: Layout, base: Path) -> str:
    """Copies the weights of a served model into the network.

    Rows of embeddings are found by their words; a new word keeps its fresh row. All weights are copied, or,
    when the architectures differ, none.

    Args:
        network: freshly initialised.
        layout: of the network.
        base: the SavedModel to start from.

    Returns:
        What was done, for the model run: where the weights come from, or why they were left.
    """
    try:
        old = dict(np.load(base / WEIGHTS))
        words = json.loads((base / VOCABULARIES).read_text(encoding="utf-8"))
    except OSError as error:
        return f"fresh weights: {base} has none to start from ({error.strerror})"
    old = {name: _moved_rows(name, weight, network, layout, words) for name, weight in old.items()}
    new = {weight.path: tuple(weight.shape) for weight in network.weights}
    differences = sorted(
        f"{name} was {old[name].shape if name in old else 'absent'}, is {new.get(name, 'absent')}"
        for name in {*old, *new}
        if name not in old or old[name].shape != new.get(name)
    )
    if differences:
        return f"fresh weights: the architecture differs from {base}: {'; '.join(differences)}"
    for weight in network.weights:
        weight.assign(old[weight.path])
    return f"weights of {base}"


def _moved_rows(
    name: str, old: np.ndarray, network: keras.Model, layout: Layout, words: dict[str, list[str]]
) -> np.ndarray:
    """Returns an embedding's rows in the order of the new vocabulary; other weights as they are."""
    feature = next(
        (key for key in _vocabularies(layout) if name.startswith(embedding_name(key) + "/")), None
    )
    if feature is None or feature not in words:
        return old
    fresh = network.get_layer(embedding_name(feature)).get_weights()[0]
    if fresh.shape[1:] != old.shape[1:]:
        return old
    rows = {word: row for row, word in enumerate(words[feature], start=1)}
    moved: np.ndarray = fresh.copy()
    moved[0], moved[-1] = old[0], old[-1]  # missing, out of vocabulary
    for row, token in enumerate(_vocabularies(layout)[feature], start=1):
        if (place := rows.get(_text(token))) is not None:
            moved[row] = old[place]
    return moved


def _vocabularies(layout: Layout) -> dict[str, tuple[bytes, ...]]:
    features = {**layout.steps, **layout.context}
    return {
        name: item.tokens
        for name, item in features.items()
        if item is not None and item.tokens is not None
    }


def _text(token: bytes) -> str:
    return token.decode("utf-8", "surrogateescape")
