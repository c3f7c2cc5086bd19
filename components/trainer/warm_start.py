"""Starts a fit from the weights of an earlier model, also of another log: what fits moves.

Weights have meaning through what they are connected to, so they move by name, not by place:

- rows of an embedding by their words, if it is as wide as before;
- rows of a kernel by the features and layers that they read, if the layer has as many units;
- columns of the last layer by their classes, if the classes are the same;
- all other layers as a whole, if they read the same.

Rows that read something fresh stay fresh, because what they have learned was about other numbers.
Numbers are taken for the same if their columns have the same name: that they were scaled by the
mean and deviation of another log is not noticed. Summaries are numbered, not named, and words are
counted by their ids: summaries are the same only if all features and the words counted are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from components.config.summaries import counts_words
from components.config.training import Categorical
from components.contracts.model_card import WEIGHTS, NetworkLayout, Vocabularies
from components.contracts.names import SUMMARIES, step_feature
from components.trainer.network import (
    ANSWER,
    NetworkInputs,
    count_parameters,
    embedding_name,
)
from components.transform.learned import OUT_OF_VOCABULARY_IDS

if TYPE_CHECKING:
    from components.node.settings import TrainerSettings
    from components.trainer.start_from import Parts, Start

JOINED = "+"  # in the name of numbers that are made of several, such as a sum
Rows = tuple[list[int], list[int]]  # of a weight, and of the earlier one, in the same order


def write_weights(network: keras.Model, inputs: NetworkInputs, model: Path) -> None:
    """Writes what a later fit needs to start from a SavedModel beside it: `read_start` reads it."""
    (model / WEIGHTS).parent.mkdir(exist_ok=True)
    np.savez(model / WEIGHTS, **{weight.path: weight.numpy() for weight in network.weights})

    words = {name: [*tokens] for name, tokens in inputs.vocabularies.items()}
    Vocabularies(words=words).write(model)
    NetworkLayout(inputs=layer_inputs(network)).write(model)


def warm_start(
    network: keras.Model, inputs: NetworkInputs, settings: TrainerSettings, start: Start
) -> str:
    """Copies into the network what fits of an earlier model's weights.

    Args:
        network: freshly initialised.
        inputs: the inputs of the network.
        settings: what the network was built from.
        start: the earlier model.

    Returns:
        A note for the history, of a few lines: what was taken over, what not, and why.
    """
    layout, before = layer_inputs(network), start.inputs
    same_features = _same_features(settings, start.card.config)
    if before is None and same_features and _same_layers(settings, start.card.config):
        before = layout
    if before is None:
        return f"fresh weights: {start.folder} does not say which of its weights read what"

    same = {*inputs.names}
    if not (same_features and _same_counted_words(settings, inputs, start)):
        same.discard(SUMMARIES)
    transfer = _Transfer(start, before, inputs, layout, settings.label.classes, same)
    for layer in network.layers:
        if layer.weights:
            transfer.copy_layer(layer)
    return transfer.describe(network)


def layer_inputs(network: keras.Model) -> dict[str, Parts]:
    """Returns what each layer with weights reads: names of layers and inputs, and their widths.

    Embeddings are left out. Layers without weights, such as dropout, are looked through.
    """
    return {
        layer.name: _parts_of(_first_argument(layer))
        for layer in network.layers
        if layer.weights and not isinstance(layer, keras.layers.Embedding)
    }


def _first_argument(operation: keras.Operation) -> list[keras.KerasTensor]:
    """Returns the tensors of numbers that an operation reads, without masks and places."""
    tensors = keras.tree.flatten(operation._inbound_nodes[0].arguments.args[0])
    return [tensor for tensor in tensors if "float" in tensor.dtype]


def _parts_of(tensors: Sequence[keras.KerasTensor]) -> Parts:
    parts: Parts = []
    for tensor in tensors:
        source = tensor._keras_history.operation
        if isinstance(source, keras.layers.InputLayer):
            is_row = len(tensor.shape) > 1 and tensor.shape[-1] is not None
            parts.append((source.name, tensor.shape[-1] if is_row else 1))
        elif getattr(source, "weights", None):
            parts.append((source.name, tensor.shape[-1]))
        else:
            parts += _read_through(source, tensor)
    return parts


def _read_through(source: keras.Operation, tensor: keras.KerasTensor) -> Parts:
    """Returns the parts of a tensor that an operation without weights made."""
    parts = _parts_of(_first_argument(source))
    if sum(width for _, width in parts) == tensor.shape[-1]:
        return parts
    return [(JOINED.join(name for name, _ in parts), tensor.shape[-1])]  # such as a sum of two


def _same_features(settings: TrainerSettings, card: Mapping[str, Any]) -> bool:
    """Returns whether a model had the same features in the same order."""
    now = settings.model_dump(mode="json", by_alias=True)

    def names(config: Mapping[str, Any]) -> list[tuple[str, str]]:
        sections = (config["steps"]["features"], config["context"])
        return [(name, item["type"]) for section in sections for name, item in section.items()]

    return names(now) == names(card)


def _same_counted_words(settings: TrainerSettings, inputs: NetworkInputs, start: Start) -> bool:
    """Returns whether summaries of a model with the same features counted the same words."""
    before = start.card.config["steps"]["features"]
    words = {
        name: feature
        for name, feature in settings.steps.features.items()
        if isinstance(feature, Categorical)
    }
    if any(before[name]["vocabulary"] != feature.vocabulary for name, feature in words.items()):
        return False

    counted = [step_feature(name) for name, feature in words.items() if counts_words(name, feature)]
    return all([*inputs.vocabularies[name]] == start.words.get(name) for name in counted)


def _same_layers(settings: TrainerSettings, card: Mapping[str, Any]) -> bool:
    """Returns whether a model had the same layers, as far as its card says."""
    now = settings.model.model_dump(mode="json")
    return all(now.get(name) == value for name, value in card["model"].items())


class _DoesNotFitError(Exception):
    """Why a layer stays fresh."""


@dataclass
class _Transfer:
    """Moves weights layer by layer, in the order in which layers read each other.

    Attributes:
        start: the earlier model.
        before: what its layers read.
        inputs: of the new network.
        layout: what the layers of the new network read.
        classes: of the new model, in order.
        moved: numbers that mean what they meant in the earlier model: inputs with the same name,
            and the output of layers that were moved.
        taken: how many numbers were taken over.
        words: of how many words of a feature the earlier model knew, and how many there are.
        fresh: what stayed fresh, with the reason.
    """

    start: Start
    before: Mapping[str, Parts]
    inputs: NetworkInputs
    layout: Mapping[str, Parts]
    classes: Sequence[str]
    moved: set[str]
    taken: int = 0
    words: dict[str, tuple[int, int]] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)

    def copy_layer(self, layer: keras.layers.Layer) -> None:
        """Copies what fits of a layer's weights, or notes why nothing does."""
        embeds = isinstance(layer, keras.layers.Embedding)
        try:
            olds = self._old_weights(layer)
            _require_equal_shapes(layer, olds)
            rows = self._rows_of_words(layer, olds) if embeds else self._rows_of_parts(layer, olds)
        except _DoesNotFitError as reason:
            self.fresh.append(f"{layer.name} ({reason})")
            return

        by_rows = _weight_by_rows(layer)
        for weight in layer.weights:
            values, old = weight.numpy(), olds[weight.path]
            now, then = rows if weight is by_rows else (slice(None), slice(None))
            values[now] = old[then]
            weight.assign(values)
            self.taken += values[now].size
        self.moved.add(layer.name)

    def _old_weights(self, layer: keras.layers.Layer) -> dict[str, np.ndarray]:
        """Returns the earlier weights of a layer; of the last one in the new order of classes."""
        known = self.start.weights
        olds = {weight.path: known[weight.path] for weight in layer.weights if weight.path in known}
        if len(olds) < len(layer.weights):
            raise _DoesNotFitError("new")
        if layer.name != ANSWER or not self.classes:
            return olds

        classes = self.start.card.classes
        if sorted(classes) != sorted(self.classes):
            raise _DoesNotFitError("other classes")
        if any(old.shape[-1:] != (len(classes),) for old in olds.values()):
            raise _DoesNotFitError("it does not have a column for each class")
        columns = [classes.index(name) for name in self.classes]
        return {path: old[..., columns] for path, old in olds.items()}

    def _rows_of_words(self, layer: keras.layers.Embedding, olds: Mapping[str, np.ndarray]) -> Rows:
        """Returns the rows of the words that both models know, of no word, and of unknown ones."""
        names = {embedding_name(name): name for name in (*self.inputs.steps, *self.inputs.context)}
        feature = names[layer.name]
        now, then = self.inputs.vocabularies.get(feature), self.start.words.get(feature)
        [old] = olds.values()
        if now is None and then is None and len(old) == layer.input_dim:
            return [*range(len(old))], [*range(len(old))]
        if now is None or then is None:
            raise _DoesNotFitError("other buckets, or words in place of them")

        if len(old) != 1 + len(then) + OUT_OF_VOCABULARY_IDS:
            raise _DoesNotFitError(f"{len(old)} rows for {len(then)} words")

        places = {word: row for row, word in enumerate(then, start=1)}
        pairs = [(row, places[word]) for row, word in enumerate(now, start=1) if word in places]
        self.words[feature] = len(pairs), len(now)
        # Row 0 is that of a missing value, the last one that of unknown words.
        return [0, *(row for row, _ in pairs), -1], [0, *(place for _, place in pairs), -1]

    def _rows_of_parts(self, layer: keras.layers.Layer, olds: Mapping[str, np.ndarray]) -> Rows:
        """Returns the rows of a layer's kernel that read the same in both models."""
        kernel = _weight_by_rows(layer)
        parts, before = self.layout[layer.name], self.before.get(layer.name, [])
        same = [
            part
            for part in parts
            if part in before and self.moved.issuperset(part[0].split(JOINED))
        ]
        others = [name for name, width in parts if (name, width) not in same]
        if not same:
            raise _DoesNotFitError("what it reads is fresh")
        if kernel is None and (others or parts != before):
            raise _DoesNotFitError("it reads something else")
        if kernel is not None and len(olds[kernel.path]) != sum(width for _, width in before):
            raise _DoesNotFitError("it does not say which of its rows read what")
        if others:
            self.fresh.append(f"what {layer.name} reads of {', '.join(others)}")

        now, then = _places(parts), _places(before)
        return (
            [row for part in same for row in now[part]],
            [row for part in same for row in then[part]],
        )

    def describe(self, network: keras.Model) -> str:
        """Returns what was done, for people."""
        if not self.taken:
            return f"fresh weights: nothing of {self.start.folder} fits; {'; '.join(self.fresh)}"

        total = count_parameters(network)
        lines = [f"weights of {self.start.folder}: {self.taken:,} of {total:,}"]
        if self.words:
            known = [f"{known} of {count} in {name}" for name, (known, count) in self.words.items()]
            lines.append(f"words found there: {', '.join(known)}")
        if self.fresh:
            lines.append(f"fresh: {', '.join(self.fresh)}")
        return ";\n".join(lines)


def _weight_by_rows(layer: keras.layers.Layer) -> keras.Variable | None:
    """Returns the weight whose rows can move one by one, if the layer is of a kind that has one."""
    if isinstance(layer, keras.layers.Embedding):
        return layer.weights[0]
    if isinstance(layer, keras.layers.LSTM):
        return layer.cell.kernel
    return layer.kernel if isinstance(layer, keras.layers.Dense) else None


def _require_equal_shapes(layer: keras.layers.Layer, olds: Mapping[str, np.ndarray]) -> None:
    """Checks that earlier weights fit a layer, but for the number of rows that move one by one.

    Raises:
        _DoesNotFitError: one has another shape.
    """
    by_rows = _weight_by_rows(layer)
    for weight in layer.weights:
        found, expected = olds[weight.path].shape, tuple(weight.shape)
        start = 1 if weight is by_rows else 0
        if len(found) != len(expected) or found[start:] != expected[start:]:
            raise _DoesNotFitError(f"{weight.path} was {found}, is {expected}")


def _places(parts: Parts) -> dict[tuple[str, int], range]:
    """Returns the rows that read each part."""
    ends = [*accumulate((width for _, width in parts), initial=0)]
    return {
        (name, width): range(start, end)
        for (name, width), (start, end) in zip(parts, pairwise(ends), strict=True)
    }
