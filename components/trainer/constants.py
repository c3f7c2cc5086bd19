"""What the served graph says beside the network's answer, from constants of the eval split.

Each part is fitted on the answers to the eval split and then answers inside the served graph: how
sure the answer is, which decisions it leads to, whether the learner is like those of the fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.contracts.calibration import Calibration
from components.trainer.conformal import fit_conformal
from components.trainer.decisions import fit_decisions
from components.trainer.familiarity import fit_familiarity

if TYPE_CHECKING:
    from components.trainer.answer_parts import AnswerPart, Evidence, Fit

FITS: tuple[Fit, ...] = (fit_conformal, fit_familiarity, fit_decisions)


def fit_constants(
    evidence: Evidence, *, temperature: float | None
) -> tuple[list[AnswerPart], Calibration]:
    """Returns the parts of the answer beside the prediction, and what is recorded of them.

    Args:
        evidence: what they are fitted to.
        temperature: for the record.
    """
    found = [fitted for fit in FITS if (fitted := fit(evidence)) is not None]

    answers = evidence.answers
    record: dict[str, Any] = {"examples": len(answers.labels), "temperature": temperature}
    for fitted in found:
        record |= fitted.record
    return [fitted.part for fitted in found], Calibration(**record)
