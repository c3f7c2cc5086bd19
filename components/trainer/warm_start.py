"""Starts a fit from the weights of an earlier model, also when vocabularies have changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from components.contracts.contract import ContractError
from components.contracts.model_card import WEIGHTS, Vocabularies
from components.trainer.network import NetworkInputs, embedding_name


def write_weights(network: keras.Model, inputs: NetworkInputs, model: Path) -> None:
    """Writes what a later warm start needs beside a SavedModel: weights and vocabularies."""
    (model / WEIGHTS).parent.mkdir(exist_ok=True)
    np.savez(model / WEIGHTS, **{weight.path: weight.numpy() for weight in network.weights})

    words = {name: [*tokens] for name, tokens in inputs.vocabularies.items()}
    Vocabularies(words=words).write(model)


def warm_start(network: keras.Model, inputs: NetworkInputs, base: Path) -> str:
    """Copies the weights of a served model into the network.

    Rows of embeddings are matched by their words; a new word keeps its fresh row. If the
    architectures differ, no weight is copied.

    Args:
        network: freshly initialised.
        inputs: the inputs of the network.
        base: the SavedModel to start from.

    Returns:
        A note for the history: where the weights come from, or why they are fresh.
    """
    try:
        old = dict(np.load(base / WEIGHTS))
        words = Vocabularies.read(base).words
    except OSError as error:
        return f"fresh weights: those of {base} could not be read ({error.strerror})"
    except ContractError as error:
        return f"fresh weights: {error}"

    old = {name: _reordered(name, weight, network, inputs, words) for name, weight in old.items()}
    if differences := _differences(old, network):
        return f"fresh weights: the architecture differs from {base}: {'; '.join(differences)}"

    for weight in network.weights:
        weight.assign(old[weight.path])
    return f"weights of {base}"


def _differences(old: Mapping[str, np.ndarray], network: keras.Model) -> list[str]:
    """Lists weights that have another shape in the network, or are only on one side."""
    before = {name: weight.shape for name, weight in old.items()}
    now = {weight.path: tuple(weight.shape) for weight in network.weights}
    return [
        f"{name} was {before.get(name, 'absent')}, is {now.get(name, 'absent')}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


def _reordered(
    name: str,
    old: np.ndarray,
    network: keras.Model,
    inputs: NetworkInputs,
    words: Mapping[str, list[bytes]],
) -> np.ndarray:
    """Returns an embedding's rows in the order of the new vocabulary; other weights unchanged."""
    layers = {f"{embedding_name(feature)}/": feature for feature in inputs.vocabularies}
    feature = next((layers[layer] for layer in layers if name.startswith(layer)), None)
    if feature is None or feature not in words:
        return old

    fresh = network.get_layer(embedding_name(feature)).get_weights()[0]
    if fresh.shape[1:] != old.shape[1:]:
        return old

    rows = {word: row for row, word in enumerate(words[feature], start=1)}
    moved: np.ndarray = fresh.copy()
    moved[0], moved[-1] = old[0], old[-1]  # missing, out of vocabulary
    for row, token in enumerate(inputs.vocabularies[feature], start=1):
        if (place := rows.get(token)) is not None:
            moved[row] = old[place]
    return moved
