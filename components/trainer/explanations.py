"""Why an answer is as it is: what each feature adds to it, beyond the group's average learner.

The average learner of a group has in each step the mean of all steps of the group's sequences, and
beside it the mean of their columns: of numbers, and of the embeddings of words. These means are
constants in the served graph, from the eval split. docs/decisions/explanations.md has the reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from components.config.summaries import counts_words, list_summaries
from components.config.training import Categorical
from components.contracts.names import (
    ATTRIBUTIONS,
    DIRECTIONS,
    EXPLAINED_CLASS,
    EXPLAINED_FEATURES,
    GROUPS,
    NUM_STEPS,
    STEP_ATTRIBUTIONS,
    SUMMARIES,
    TYPICAL_ANSWER,
    context_feature,
    context_is_missing,
    step_feature,
    step_is_missing,
)
from components.trainer.groups import GroupTable
from components.trainer.integrated_gradients import IntegratedGradients, Line
from components.trainer.lstm import NO_GRADIENT
from components.trainer.split_network import SplitNetwork

if TYPE_CHECKING:
    import keras

    from components.config.training import Feature
    from components.node.settings import TrainerSettings
    from components.trainer.answer_parts import Answered, Evidence
    from components.trainer.calibration_split import Batch
    from components.trainer.network import NetworkInputs

Array = np.ndarray[Any, Any]
NOTICEABLE = 1e-6  # smaller differences to the typical value are rounding, without a direction


@dataclass(frozen=True)
class ExplainedFeatures:
    """The features of the user that answers are explained by, and what the network reads of them.

    Attributes:
        steps: the transformed names of what is read of each feature of steps, by its name.
        context: the same of columns beside the sequence.
        summaries: names of the summaries of the sequence.
    """

    steps: Mapping[str, tuple[str, ...]]
    context: Mapping[str, tuple[str, ...]]
    summaries: tuple[str, ...]

    @classmethod
    def of(cls, settings: TrainerSettings, inputs: NetworkInputs) -> ExplainedFeatures:
        """Returns the features of a configuration."""
        return cls(
            _reads(settings.steps.features, step_feature, step_is_missing),
            _reads(settings.context, context_feature, context_is_missing),
            tuple(_summary_names(settings, inputs)),
        )

    @property
    def names(self) -> list[str]:
        """All names: of features of steps, of columns beside the sequence, of summaries."""
        return [*self.steps, *self.context, *self.summaries]


@dataclass(frozen=True)
class AverageLearners:
    """The average learner of each group, in numbers as the network reads them.

    Attributes:
        table: the groups; those with fewer sequences share the average of a wider one.
        steps: means of embedded features of steps, over all steps, float32 [G, E].
        columns: means of what is beside the sequence, over all sequences, float32 [G, D].
        numbers: means of numbers that are not missing, which directions compare with, [G, K].
    """

    table: GroupTable
    steps: Array
    columns: Array
    numbers: Array

    @classmethod
    def of(
        cls,
        evidence: Evidence,
        network: SplitNetwork,
        numbers: _Numbers,
    ) -> AverageLearners:
        """Returns the averages of a split's sequences; cold starts have none.

        Args:
            evidence: the eval split; from how many steps on there is a sequence, and how many
                sequences make a group.
            network: embeds words.
            numbers: which features are numbers.
        """
        settings, split = evidence.settings, evidence.split
        fewest = settings.steps.min_steps
        is_warm, known = ~evidence.answers.is_cold, evidence.answers.groups
        table = GroupTable.of(
            known[is_warm] if is_warm.any() else known,
            min_examples=settings.uncertainty.min_examples,
        )

        @tf.function(autograph=False, reduce_retracing=True)  # type: ignore[untyped-decorator]
        def sums(batch: Batch) -> list[tf.Tensor]:
            is_read = tf.cast(batch[NUM_STEPS] >= fewest, tf.float32)[:, tf.newaxis]
            steps = network.embed_steps(batch)
            is_step = tf.sequence_mask(batch[NUM_STEPS], tf.shape(steps)[1], tf.float32)
            values, is_known = numbers.read(batch)
            parts = [
                tf.reduce_sum(steps * is_step[:, :, tf.newaxis], axis=1),
                tf.reduce_sum(is_step, axis=1, keepdims=True),
                network.embed_columns(batch),
                tf.ones_like(is_read),
                values,
                is_known,
            ]
            return [part * is_read for part in parts]

        totals: list[Array] = [np.zeros(())] * 6
        for batch in split.batches():
            members = _members(table, batch[GROUPS].numpy())
            added = [members @ part.numpy().astype(np.float64) for part in sums(batch)]
            totals = [total + part for total, part in zip(totals, added, strict=True)]
        steps, step_count, columns, column_count, values, value_count = totals

        def mean(total: Array, count: Array) -> Array:
            return (total / np.maximum(count, 1.0)).astype(np.float32)

        return cls(
            table,
            mean(steps, step_count),
            mean(columns, column_count),
            mean(values, value_count),
        )


class Explainer:
    """Explains answers in the served graph.

    Args:
        network: the network that answers.
        inputs: what it reads.
        evidence: its features and classes, and the eval split, which the average learners are
            taken from.

    Attributes:
        averages: the average learners.
    """

    def __init__(
        self,
        network: keras.Model,
        inputs: NetworkInputs,
        evidence: Evidence,
    ) -> None:
        settings = evidence.settings
        self._network = SplitNetwork(network, inputs, settings)
        self._classes = settings.label.classes
        self._features = ExplainedFeatures.of(settings, inputs)
        self._numbers = _Numbers(self._features, inputs)
        self.averages = AverageLearners.of(evidence, self._network, self._numbers)
        self._integrate = IntegratedGradients(
            self._network,
            _groups(self._network.steps, self._features.steps, 0),
            _groups(self._network.columns, self._features.context, inputs.summaries),
            settings.explain.steps,
        )

    @property
    def width(self) -> int:
        """How many numbers an answer has: one per class, or one in a regression."""
        return max(1, len(self._classes))

    @property
    def asks_for_class(self) -> bool:
        """Whether a request names the class whose probability is explained."""
        return bool(self._classes)

    def outputs(self, answered: Answered, named: tf.Tensor | None) -> dict[str, tf.Tensor]:
        """Returns what the explaining signatures add to the answers, in a graph being traced.

        Args:
            answered: B learners and their answers.
            named: the classes to explain, string [B], "" for the predicted one; None in a
                regression.
        """
        index = self._class_index(answered.answer, named)
        group = self.averages.table.index_in_graph(answered.groups)
        found = self._integrate(self._line(answered, group, index), ~answered.is_cold)

        own = tf.gather(answered.answer, index, batch_dims=1)
        names = tf.constant(self._features.names)
        numbers = {
            ATTRIBUTIONS: tf.concat([tf.reduce_sum(found.steps, axis=1), found.columns], axis=1),
            DIRECTIONS: self._directions(answered, group),
            STEP_ATTRIBUTIONS: found.steps,
            TYPICAL_ANSWER: tf.where(answered.is_cold, own, found.typical),
        }
        # Loaders of the model would differentiate `BlockLSTMV2` wrongly.
        outputs = {
            name: tf.raw_ops.PreventGradient(input=values, message=NO_GRADIENT)
            for name, values in numbers.items()
        }
        shape = tf.stack([tf.size(index), tf.size(names)])
        outputs[EXPLAINED_FEATURES] = tf.broadcast_to(names, shape)
        if self.asks_for_class:
            outputs[EXPLAINED_CLASS] = tf.gather(tf.constant(self._classes), index)
        return outputs

    def _class_index(self, answer: tf.Tensor, named: tf.Tensor | None) -> tf.Tensor:
        """Returns which of the answers [B, C] is explained, int32 [B].

        A request fails if it names another class than those of the model.
        """
        predicted = tf.argmax(answer, axis=1, output_type=tf.int32)
        if named is None:
            return predicted

        is_named = tf.equal(named[:, tf.newaxis], tf.constant(self._classes))
        is_known = tf.reduce_any(is_named, axis=1) | tf.equal(named, "")
        expected = (
            f"expected {EXPLAINED_CLASS} to be empty or one of {', '.join(self._classes)}, found"
        )
        checks = [
            tf.debugging.Assert(
                tf.reduce_all(is_known), [expected, tf.boolean_mask(named, ~is_known)], summarize=1
            ),
            tf.debugging.assert_equal(
                tf.size(named), tf.size(predicted), f"expected one {EXPLAINED_CLASS} per learner"
            ),
        ]
        with tf.control_dependencies(checks):
            found = tf.argmax(is_named, axis=1, output_type=tf.int32)
        return tf.where(tf.equal(named, ""), predicted, found)

    def _line(self, answered: Answered, group: tf.Tensor, index: tf.Tensor) -> Line:
        """Returns the ways from the average learners of the groups [B] to the learners."""
        features, averages = answered.features, self.averages
        steps = self._network.embed_steps(features)
        columns = self._network.embed_columns(features)
        from_steps = tf.gather(tf.constant(averages.steps), group)[:, tf.newaxis]
        from_columns = tf.gather(tf.constant(averages.columns), group)
        return Line(
            tf.broadcast_to(from_steps, tf.shape(steps)),
            steps - from_steps,
            from_columns,
            columns - from_columns,
            features[NUM_STEPS],
            index,
        )

    def _directions(self, answered: Answered, group: tf.Tensor) -> tf.Tensor:
        """Returns above 0 where a learner's numbers are above the typical ones, [B, N]."""
        values, known = self._numbers.read(answered.features)
        typical = tf.gather(tf.constant(self.averages.numbers), group)
        above = tf.where(known > 0, values / tf.maximum(known, 1.0) - typical, 0.0)
        is_noticed = (tf.abs(above) > NOTICEABLE) & ~answered.is_cold[:, tf.newaxis]
        above = tf.where(is_noticed, above, 0.0)

        # Words have no direction.
        count = len(self._numbers.places)
        places = [self._numbers.places.get(i, count) for i in range(len(self._features.names))]
        return tf.gather(tf.pad(above, [[0, 0], [0, 1]]), places, axis=1)


class _Numbers:
    """The explained features that are numbers, K of them, as sums over a learner's known values.

    Args:
        features: all features.
        inputs: what the network reads; of numbers in buckets, ids.

    Attributes:
        places: which of the K a feature is, by its place among all; others are words.
    """

    def __init__(self, features: ExplainedFeatures, inputs: NetworkInputs) -> None:
        reads = [*features.steps.values(), *features.context.values()]
        self._numbers = [read for read in reads if len(read) > 1]
        self._inputs = inputs
        is_number = [len(read) > 1 for read in reads] + [True] * inputs.summaries
        places = np.flatnonzero(is_number).tolist()
        self.places = {place: index for index, place in enumerate(places)}

    def read(self, features: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the sums of known values, and how many are known, float32 [B, K] each."""
        rows = features[NUM_STEPS]
        sums, counts = [tf.zeros([tf.size(rows), 0])], [tf.zeros([tf.size(rows), 0])]
        for is_of_steps in (True, False):
            names = [
                read for read in self._numbers if (read[0] in self._inputs.steps) == is_of_steps
            ]
            if not names:
                continue
            values = tf.stack([tf.cast(features[name], tf.float32) for name, _ in names], axis=-1)
            known = tf.stack([1 - features[missing] for _, missing in names], axis=-1)
            if is_of_steps:
                real = tf.sequence_mask(rows, tf.shape(values)[1], tf.float32)
                known *= real[:, :, tf.newaxis]
                sums.append(tf.reduce_sum(values * known, axis=1))
                counts.append(tf.reduce_sum(known, axis=1))
            else:
                sums.append(values * known)
                counts.append(known)
        if self._inputs.summaries:
            sums.append(features[SUMMARIES])
            counts.append(tf.ones_like(features[SUMMARIES]))
        return tf.concat(sums, axis=1), tf.concat(counts, axis=1)


def _members(table: GroupTable, hashes: Array) -> Array:
    """Returns which examples are in each group, those in a narrower one too: 0 or 1, [G, N]."""
    levels = [known[:, np.newaxis] == hashes[:, level] for level, known in enumerate(table.known)]
    return np.concatenate(levels).astype(np.float64)


def _groups(widths: Mapping[str, int], reads: Mapping[str, tuple[str, ...]], rest: int) -> Array:
    """Returns which of the numbers that the network reads are of one feature: 0 or 1, [E, S].

    Args:
        widths: how many numbers there are of each input, in their order.
        reads: the inputs of each feature.
        rest: how many numbers follow that are features of their own: summaries.
    """
    groups = np.zeros((sum(widths.values()), len(reads) + rest), np.float32)
    ends = np.cumsum(list(widths.values()))
    places = {
        name: slice(end - width, end)
        for (name, width), end in zip(widths.items(), ends, strict=True)
    }
    for column, names in enumerate(reads.values()):
        for name in names:
            groups[places[name], column] = 1
    if rest:
        groups[-rest:, -rest:] = np.eye(rest)
    return groups


def _reads(
    features: Mapping[str, Feature],
    name_of: Callable[[str], str],
    missing_of: Callable[[str], str],
) -> dict[str, tuple[str, ...]]:
    """Returns the transformed names of each feature: of words one, of numbers two."""
    return {
        name: (name_of(name),)
        if isinstance(feature, Categorical)
        else (name_of(name), missing_of(name))
        for name, feature in features.items()
    }


def _summary_names(settings: TrainerSettings, inputs: NetworkInputs) -> list[str]:
    """Returns the names of the summaries, with words in place of the ids that Transform knows."""
    if not inputs.summaries:
        return []

    words = {}
    for name, feature in settings.steps.features.items():
        if isinstance(feature, Categorical) and counts_words(name, feature):
            tokens = inputs.vocabularies[step_feature(name)]
            known = [token.decode(errors="replace") for token in tokens]
            unused = range(len(known) + 1, feature.vocabulary + 1)
            words[name] = [*known, *map(str, unused)]
    return [item.name for item in list_summaries(settings.steps, settings.context, words)]
