"""What is answered beside the prediction: what each such part is fitted to, and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import tensorflow as tf

    from components.node.settings import TrainerSettings
    from components.trainer.calibration_split import CalibrationAnswers, CalibrationSplit


class Answered(NamedTuple):
    """A batch of B learners that the network has answered, in a graph that is being traced.

    Attributes:
        answer: probabilities, float32 [B, C], or predictions [B, 1]; priors for cold starts.
        is_cold: whether the answer is a prior, bool [B].
        features: the inputs of the network by their transformed names, padded: steps [B, T].
        groups: hashes of each one's groups, int64 [B, L]; see `GroupTable`.
    """

    answer: tf.Tensor
    is_cold: tf.Tensor
    features: dict[str, tf.Tensor]
    groups: tf.Tensor


class AnswerPart(Protocol):
    """Something that is answered beside the prediction."""

    def outputs(self, answered: Answered) -> dict[str, tf.Tensor]:
        """Returns outputs of the signatures by name, [B, ...]; a `basis` replaces the first one."""


class Fitted(NamedTuple):
    """A part, and what is recorded of it.

    Attributes:
        part: answers in the graph.
        record: fields of `Calibration`.
    """

    part: AnswerPart
    record: dict[str, Any]


@dataclass(frozen=True)
class Evidence:
    """What parts are fitted to.

    Attributes:
        settings: label, features, and what is asked for.
        split: the eval split, for those that read its inputs.
        answers: how the network to serve answers it.
    """

    settings: TrainerSettings
    split: CalibrationSplit
    answers: CalibrationAnswers


Fit = Callable[[Evidence], Fitted | None]  # None where the configuration or the task has no such
