"""What the served graph says beside the network's answer, from constants of the eval split.

Each part is fitted on the answers to the eval split and then answers inside the served graph: how
sure the answer is, which decisions it leads to, whether the learner is like those of the fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from components.contracts.calibration import Calibration
from components.trainer.conformal import fit_conformal
from components.trainer.decisions import fit_decisions
from components.trainer.familiarity import fit_familiarity

if TYPE_CHECKING:
    import keras
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

FITS: tuple[Fit, ...] = (fit_conformal, fit_familiarity, fit_decisions)


def fit_constants(
    network: keras.Model,
    split: CalibrationSplit,
    settings: TrainerSettings,
    *,
    temperature: float | None,
) -> tuple[list[AnswerPart], Calibration]:
    """Returns the parts of the answer beside the prediction, and what is recorded of them.

    Args:
        network: the network to serve; its logits are divided by the temperature already.
        split: the eval split.
        settings: what is asked for.
        temperature: for the record.
    """
    answers = split.answers(network)
    evidence = Evidence(settings, split, answers)
    found = [fitted for fit in FITS if (fitted := fit(evidence)) is not None]

    record: dict[str, Any] = {"examples": len(answers.labels), "temperature": temperature}
    for fitted in found:
        record |= fitted.record
    return [fitted.part for fitted in found], Calibration(**record)
