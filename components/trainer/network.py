"""The sequence model: its inputs from Transform, and its layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import tensorflow as tf

from components.config.training import Categorical, Feature, Model
from components.contracts.names import (
    ASKED_ROW,
    NUM_STEPS,
    SUMMARIES,
    TRANSFORMED_LABEL,
    context_feature,
    context_is_missing,
    step_feature,
    step_is_missing,
)
from components.trainer.lstm import ServedLSTMs
from components.trainer.states import Asked, LstmKernel, lstm_name, state_of_sequences

if TYPE_CHECKING:
    import tensorflow_transform as tft

    from components.config.data import Label
    from components.node.settings import TrainerSettings

ANSWER = "answer"  # the last layer


@dataclass(frozen=True)
class Embedded:
    """Ids that get an embedding.

    Attributes:
        size: number of ids, from 0.
        width: width of the embedding.
        tokens: the words behind the ids, in order, for a warm start; None for buckets.
    """

    size: int
    width: int
    tokens: tuple[bytes, ...] | None = None


@dataclass(frozen=True)
class NetworkInputs:
    """The inputs of the network by their transformed names; None for numbers, used unchanged.

    Attributes:
        steps: the features of steps.
        context: the features beside the sequence.
        summaries: how many summaries of the sequence there are; 0 if they are not read.
    """

    steps: Mapping[str, Embedded | None]
    context: Mapping[str, Embedded | None]
    summaries: int = 0

    @property
    def names(self) -> list[str]:
        """The names of all inputs."""
        summaries = [SUMMARIES] if self.summaries else []
        return [*self.steps, *self.context, *summaries, NUM_STEPS]

    @property
    def vocabularies(self) -> dict[str, tuple[bytes, ...]]:
        """The words of each embedded feature that has a vocabulary, in the order of their ids."""
        features = {**self.steps, **self.context}
        return {
            name: embedded.tokens
            for name, embedded in features.items()
            if embedded is not None and embedded.tokens is not None
        }

    def pick(self, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the inputs of the network from a dictionary that may hold more."""
        return {name: features[name] for name in self.names}

    def parse_spec(self, transform: tft.TFTransformOutput) -> dict[str, object]:
        """Returns how transformed examples are parsed: the inputs of the network, and the label."""
        spec = transform.transformed_feature_spec()
        return {name: spec[name] for name in (*self.names, TRANSFORMED_LABEL)}


def read_network_inputs(
    settings: TrainerSettings, transform: tft.TFTransformOutput
) -> NetworkInputs:
    """Returns the configured features, with the vocabularies that Transform learned."""
    steps = _inputs(settings.steps.features, step_feature, step_is_missing, transform)
    context = _inputs(settings.context, context_feature, context_is_missing, transform)
    if not settings.model.summaries:
        return NetworkInputs(steps, context)

    from components.transform.summaries import SummaryPlan

    plan = SummaryPlan.by_place(settings.steps, settings.context)
    return NetworkInputs(steps, context, len(plan.names))


def _inputs(
    features: Mapping[str, Feature],
    name_of: Callable[[str], str],
    missing_of: Callable[[str], str],
    transform: tft.TFTransformOutput,
) -> dict[str, Embedded | None]:
    # Here, because it imports Beam: a network is also built where only TensorFlow is installed.
    from components.transform.learned import OUT_OF_VOCABULARY_IDS, read_vocabulary

    inputs: dict[str, Embedded | None] = {}
    for column, feature in features.items():
        name = name_of(column)
        if isinstance(feature, Categorical):
            tokens = tuple(read_vocabulary(transform, name))
            size = 1 + len(tokens) + OUT_OF_VOCABULARY_IDS
            inputs[name] = Embedded(size, feature.embedding, tokens)
            continue

        buckets = feature.scale == "buckets"
        inputs[name] = Embedded(1 + feature.buckets, feature.embedding) if buckets else None
        inputs[missing_of(column)] = None
    return inputs


def build_network(
    settings: TrainerSettings,
    inputs: NetworkInputs,
    *,
    lstm: LstmKernel = "fused",
    precision: str = "float32",
    parts: int = 1,
    shared: bool = False,
) -> keras.Model:
    """Returns the untrained network.

    Its inputs are a dictionary: every step feature as [B, T], right-padded; every context feature
    as [B]; summaries as [B, S], if they are read; `num_steps` int64 [B], how many of the T steps
    are real. Its output is float32 [B, C], class probabilities, or [B, 1], the predicted number.

    With `shared`, N outcomes are asked of the B sequences, each of which is read once: context,
    summaries and `num_steps` are [N], and so is one more input, `asked_row` int64 [N]. The answer
    to an outcome [N, C] comes from the state after step `num_steps` of sequence `asked_row`.

    Args:
        settings: its layers, features and label.
        inputs: what it reads.
        lstm: what the LSTMs compute with: `fused`, `FusedLSTM`, or Keras' loop in another precision
            than float32; `cudnn`, cuDNN's kernel if TensorFlow sees a GPU, which Keras decides
            whenever a graph is traced; `loop`, Keras' loop, to compare with; `served`,
            `ServedLSTMs`, which cannot be trained. `copy_weights` copies between all of them. A
            transformer and attention pooling compute with the same operations in all; but with
            `loop` they do so at all steps, also where only the last one is asked for.
        precision: Keras' name of the type that layers compute in; weights and the answer are always
            float32.
        parts: into how many parts `FusedLSTM` cuts a batch, to fit on several cores.
        shared: whether outcomes share sequences; for fitting only.
    """
    dtype = keras.DTypePolicy(precision)
    steps = {name: _input(name, embedded, (None,)) for name, embedded in inputs.steps.items()}
    context = {name: _input(name, embedded, ()) for name, embedded in inputs.context.items()}
    num_steps = keras.Input((), name=NUM_STEPS, dtype="int64")
    columns = {**context, NUM_STEPS: num_steps}
    if inputs.summaries:
        columns[SUMMARIES] = keras.Input((inputs.summaries,), name=SUMMARIES, dtype="float32")
    asked = {ASKED_ROW: keras.Input((), name=ASKED_ROW, dtype="int64")} if shared else {}

    read = [_read(name, inputs.steps[name], value, dtype) for name, value in steps.items()]
    if settings.model.interaction:
        read += _step_products(inputs, dict(zip(steps, read, strict=True)), dtype)
    state = state_of_sequences(
        settings.model,
        _join(read, dtype),
        Asked(num_steps, asked.get(ASKED_ROW)),
        dtype,
        lstm=lstm,
        parts=parts,
    )

    known = [_read(name, inputs.context[name], value, dtype) for name, value in context.items()]
    if settings.model.interaction and known:
        known.append(_interaction(state, _join(known, dtype), dtype))
    if inputs.summaries:
        known.append(columns[SUMMARIES])
    state = _join([state, *known], dtype)
    state = _dense_layers(settings.model, state, dtype)

    answer = _answer(settings.label, state)
    return keras.Model({**steps, **columns, **asked}, answer, name=settings.name)


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copies the weights of a network into one with the same settings and inputs.

    Args:
        source: a network whose LSTMs are layers of their own.
        target: any network of `build_network`.
    """
    for layer in target.layers:
        if isinstance(layer, ServedLSTMs):
            layer.copy_weights([source.get_layer(lstm_name(i)) for i in range(layer.depth)])
        elif layer.weights:
            layer.set_weights(source.get_layer(layer.name).get_weights())


def embedding_name(name: str) -> str:
    """Returns the name of the layer that embeds a feature."""
    return f"embedding_{name}"


def count_parameters(network: keras.Model) -> int:
    """Returns the number of trained weights."""
    return int(sum(weight.numpy().size for weight in network.trainable_weights))


def _input(
    name: str, embedded: Embedded | None, shape: tuple[int | None, ...]
) -> keras.KerasTensor:
    return keras.Input(shape, name=name, dtype="int64" if embedded else "float32")


def _read(
    name: str, embedded: Embedded | None, value: keras.KerasTensor, dtype: keras.DTypePolicy
) -> keras.KerasTensor:
    """Embeds ids; gives numbers a last axis of one."""
    if embedded is None:
        return keras.ops.expand_dims(value, -1)
    layer = keras.layers.Embedding(
        embedded.size, embedded.width, dtype=dtype, name=embedding_name(name)
    )
    return layer(value)


def _join(parts: list[keras.KerasTensor], dtype: keras.DTypePolicy) -> keras.KerasTensor:
    return parts[0] if len(parts) == 1 else keras.layers.Concatenate(dtype=dtype)(parts)


def _step_products(
    inputs: NetworkInputs, read: Mapping[str, keras.KerasTensor], dtype: keras.DTypePolicy
) -> list[keras.KerasTensor]:
    """Multiplies what happened in a step by how it went, [B, T, E]; none unless steps hold both.

    A right answer then means something else in every unit.
    """
    words = [value for name, value in read.items() if inputs.steps[name] is not None]
    numbers = [value for name, value in read.items() if inputs.steps[name] is None]
    if not words or not numbers:
        return []

    embedded = _join(words, dtype)
    width = embedded.shape[-1]
    factors = [
        keras.layers.Dense(width, dtype=dtype, name=f"step_product_{name}")(value)
        for name, value in (("words", embedded), ("numbers", _join(numbers, dtype)))
    ]
    return [keras.layers.Multiply(dtype=dtype, name="step_product")(factors)]


def _interaction(
    state: keras.KerasTensor, context: keras.KerasTensor, dtype: keras.DTypePolicy
) -> keras.KerasTensor:
    """Multiplies the state [N, U] by what the context [N, C] makes of each of its numbers.

    A network that knows a learner's state in every unit can so be asked about one of them, as deep
    knowledge tracing is by its output for each skill (Piech et al., NeurIPS 2015).
    """
    weights = keras.layers.Dense(state.shape[-1], dtype=dtype, name="interaction")(context)
    return keras.layers.Multiply(dtype=dtype, name="product")([state, weights])


def _dense_layers(
    model: Model, state: keras.KerasTensor, dtype: keras.DTypePolicy
) -> keras.KerasTensor:
    for index, units in enumerate(model.dense):
        dense = keras.layers.Dense(units, activation="relu", dtype=dtype, name=f"dense_{index}")
        dropout = keras.layers.Dropout(model.dropout, dtype=dtype, name=f"dropout_{index}")
        state = dropout(dense(state))
    return state


def _answer(label: Label, state: keras.KerasTensor) -> keras.KerasTensor:
    if label.task == "regression":
        return keras.layers.Dense(1, dtype="float32", name=ANSWER)(state)
    classes = len(label.classes)
    return keras.layers.Dense(classes, activation="softmax", dtype="float32", name=ANSWER)(state)
