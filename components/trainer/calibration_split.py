"""The eval split as the served model answers it: what its constants are fitted to.

Conformal thresholds, points of decisions, bounds of what is familiar and the average learner are
constants in the served graph. All of them are read off the same pass over the eval split, in which
cold starts have their prior, as they do when the model is served.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from components.contracts.names import (
    ASKED_ROW,
    GROUPS,
    NUM_STEPS,
    TRANSFORMED_LABEL,
    TRANSFORMED_PRIOR,
)
from components.trainer.batches import (
    EVALUATION_BATCH,
    EVALUATION_SHARED,
    WINDOW_BATCHES,
    evaluation_batches,
    outcomes_of,
    read_windows,
)

if TYPE_CHECKING:
    import keras
    import tensorflow_transform as tft
    from numpy.typing import NDArray

    from components.node.settings import TrainerSettings
    from components.trainer.network import NetworkInputs

Batch = dict[str, tf.Tensor]


@dataclass(frozen=True)
class CalibrationSplit:
    """The eval split, one outcome a row, cold starts among them.

    Attributes:
        files: patterns of gzipped TFRecords of transformed examples.
        inputs: the inputs of the network.
        transform: says how examples are parsed.
        settings: steps, label and seed.
        scratch: a folder for parsed examples; it has to be there as long as batches are read.
    """

    files: Sequence[str]
    inputs: NetworkInputs
    transform: tft.TFTransformOutput
    settings: TrainerSettings
    scratch: Path

    def batches(self) -> Iterator[Batch]:
        """Yields transformed features, by name, in the same order every time.

        The inputs of the network, `label` [B], `prior` [B, C] and `groups` [B, L]; steps are [B, T]
        with T of at least one, padded on the right, one sequence per outcome even where outcomes
        share sequences.
        """
        for batch in self._batches:
            yield _one_sequence_each(batch, list(self.inputs.steps))

    def answers(self, network: keras.Model) -> CalibrationAnswers:
        """Returns how a network that will be served answers the split, N rows in all.

        Args:
            network: takes the inputs, one sequence per outcome; its logits are divided by the
                temperature already.
        """

        @tf.function(autograph=False, reduce_retracing=True)  # type: ignore[untyped-decorator]
        def answer(batch: Batch) -> tf.Tensor:
            is_cold = batch[NUM_STEPS] < self.settings.steps.min_steps
            found = network(self.inputs.pick(batch), training=False)
            return tf.where(is_cold[:, tf.newaxis], batch[TRANSFORMED_PRIOR], found)

        rows = [
            (answer(batch), batch[TRANSFORMED_LABEL], batch[GROUPS], batch[NUM_STEPS])
            for batch in self.batches()
        ]
        answers, labels, groups, num_steps = (
            np.concatenate([part.numpy() for part in column]) for column in zip(*rows, strict=True)
        )
        return CalibrationAnswers(
            answers, labels, groups, is_cold=num_steps < self.settings.steps.min_steps
        )

    @cached_property
    def _batches(self) -> tf.data.Dataset:
        spec = self.transform.transformed_feature_spec()
        names = (*self.inputs.names, TRANSFORMED_LABEL, TRANSFORMED_PRIOR, GROUPS)
        size = EVALUATION_SHARED if self.settings.steps.shared else EVALUATION_BATCH
        windows = read_windows(
            self.files,
            {name: spec[name] for name in names},
            WINDOW_BATCHES * size,
            0,  # cold starts, too
            self.settings.training.seed,
            self.scratch / "calibration",
            steps=self.inputs.steps,
        )
        return evaluation_batches(windows, outcomes_of(windows), size)


@dataclass(frozen=True)
class CalibrationAnswers:
    """Answers to the N outcomes of the split, in the order of its batches.

    Attributes:
        answers: probabilities, float32 [N, C], or predictions [N, 1]; priors for cold starts.
        labels: classes by number, int64 [N], or float32 numbers.
        groups: hashes of each one's groups, int64 [N, L]; see `GroupTable`.
        is_cold: whether an answer is a prior, bool [N].
    """

    answers: NDArray[np.float32]
    labels: NDArray[np.generic]
    groups: NDArray[np.int64]
    is_cold: NDArray[np.bool_]


def _one_sequence_each(batch: Batch, steps: Sequence[str]) -> Batch:
    """Repeats a shared sequence for each of its outcomes, and pads to one step at least."""
    rows = batch[ASKED_ROW]
    picked = {name: tf.gather(batch[name], rows) for name in steps}
    if picked[steps[0]].shape[1] == 0:
        picked = {name: tf.pad(values, [[0, 0], [0, 1]]) for name, values in picked.items()}
    rest = {name: values for name, values in batch.items() if name not in (*steps, ASKED_ROW)}
    return rest | picked
