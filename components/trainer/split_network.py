"""A served network in two parts, which are differentiated apart: the sequence, and what follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import keras
import tensorflow as tf

from components.contracts.names import NUM_STEPS, SUMMARIES
from components.trainer.network import embedding_name
from components.trainer.states import POOLING, SERVED_LSTMS, TRANSFORMER_NORM

if TYPE_CHECKING:
    from components.node.settings import TrainerSettings
    from components.trainer.lstm import ServedLSTMs
    from components.trainer.network import NetworkInputs


class SplitNetwork:
    """A served network in two parts: what reads the sequence, and what answers from its state.

    Its layers are those of the network, so an export holds their weights once.

    Args:
        network: with `ServedLSTMs`, or a transformer.
        inputs: what it reads.
        settings: its layers.

    Attributes:
        steps: how many numbers the network reads of a feature of steps, by its transformed name.
        columns: the same of what is beside the sequence.
    """

    def __init__(
        self, network: keras.Model, inputs: NetworkInputs, settings: TrainerSettings
    ) -> None:
        embedded = {**inputs.steps, **inputs.context}
        names = [*embedded, *([SUMMARIES] if inputs.summaries else [])]
        self._layers = {
            name: network.get_layer(embedding_name(name) if embedded.get(name) else name)
            for name in names
        }
        widths = {name: 1 if item is None else item.width for name, item in embedded.items()}
        widths |= {SUMMARIES: inputs.summaries} if inputs.summaries else {}
        self.steps = {name: widths[name] for name in names if name in inputs.steps}
        self.columns = {name: widths[name] for name in names if name not in inputs.steps}
        self._scalars = {name for name, item in embedded.items() if item is None}
        self._embedded = {name for name, item in embedded.items() if item is not None}

        read = {name: layer.output for name, layer in self._layers.items()}
        steps = [read[name] for name in self.steps]
        self._pooling = None
        if settings.model.kind == "transformer":
            num_steps = network.get_layer(NUM_STEPS).output
            state = network.get_layer(TRANSFORMER_NORM).output
        else:
            self._lstms: ServedLSTMs = network.get_layer(SERVED_LSTMS)
            before, state = self._lstms.input[0], self._lstms.output
        if settings.model.pooling == "attention":
            self._pooling = network.get_layer(POOLING)
            state = self._pooling.output

        # Without products of a step's features, LSTMs read the features as they are, side by side.
        self._before = self._transformer = None
        if settings.model.kind == "transformer":
            self._transformer = keras.Model([*steps, num_steps], state)
        elif settings.model.interaction:
            self._before = keras.Model(steps, before)
        self._answer = keras.Model([state, *(read[name] for name in self.columns)], network.output)

    def embed_steps(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns features of steps as the network reads them, side by side, [B, T, E]."""
        return self._embed(features, list(self.steps))

    def embed_columns(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns what is beside the sequence as the network reads it, side by side, [B, D]."""
        if not self.columns:
            return tf.zeros([tf.size(features[NUM_STEPS]), 0])
        return self._embed(features, list(self.columns))

    def read_sequences(
        self, steps: tf.Tensor, num_steps: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        """Returns the states of sequences [B, U], and how to differentiate them.

        The function turns the gradient of something by the states into that by the steps.

        Args:
            steps: embedded, [B, T, E].
            num_steps: int64 [B].
        """
        if self._transformer is not None:
            state = self._transformer([*self._split(steps, self.steps), num_steps], training=False)
            return state, lambda of_state: _gradient(state, steps, of_state)

        # One step at a time is looked at before the LSTMs, so the order of axes does not matter.
        turned = tf.transpose(steps, [1, 0, 2])
        read = turned
        if self._before is not None:
            read = self._before(self._split(turned, self.steps), training=False)
        states, differentiate = self._lstms.states(read)
        last = tf.maximum(num_steps, 1) - 1
        if self._pooling is None:
            rows = tf.range(tf.size(last, tf.int64))
            state = tf.gather_nd(states, tf.stack([last, rows], axis=1))
        else:
            state = self._pooling(tf.transpose(states, [1, 0, 2]), last)

        def gradient(of_state: tf.Tensor) -> tf.Tensor:
            of_read = differentiate(_gradient(state, states, of_state))
            of_turned = of_read if self._before is None else _gradient(read, turned, of_read)
            return tf.transpose(of_turned, [1, 0, 2])

        return state, gradient

    def answer(self, state: tf.Tensor, columns: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
        """Returns the probability of a class, or the prediction in a regression, [B].

        Args:
            state: of the sequence, [B, U].
            columns: what is beside it, embedded, [B, D].
            classes: int32 [B]; zeros in a regression.
        """
        answers = self._answer([state, *self._split(columns, self.columns)], training=False)
        return tf.gather(answers, classes, batch_dims=1)

    def _embed(self, features: Mapping[str, tf.Tensor], names: Sequence[str]) -> tf.Tensor:
        parts = []
        for name in names:
            values = features[name]
            if name in self._embedded:
                values = self._layers[name](values)
            parts.append(values[..., tf.newaxis] if name in self._scalars else values)
        return tf.concat(parts, axis=-1)

    def _split(self, values: tf.Tensor, widths: Mapping[str, int]) -> list[tf.Tensor]:
        """Returns features that stand side by side, one by one, as the layers read them."""
        if not widths:
            return []
        parts = tf.split(values, list(widths.values()), axis=-1)
        return [
            part[..., 0] if name in self._scalars else part
            for name, part in zip(widths, parts, strict=True)
        ]


def _gradient(of: tf.Tensor, by: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    [gradient] = tf.gradients(of, [by], [weights])
    return gradient
