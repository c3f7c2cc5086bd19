"""The result of a replay, for programs and for people."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.command.escape import in_one_line
from components.contracts.contract import Part
from components.contracts.names import (
    ANSWER_TEXT,
    BASIS,
    CLASSES,
    PREDICTED_CLASS,
    PREDICTION,
    PROBABILITIES,
)
from serving.replay.compare import Compared


class TurnedOut(Part):
    """What turned out to be true.

    Attributes:
        label: the class, or the number.
        as_of: when.
        right: whether the class was answered; None for a regression.
        off_by: how far off the number was; None for a classification.
    """

    label: str | float
    as_of: str
    right: bool | None = None
    off_by: float | None = None


class Replayed(Part):
    """What a version says of a learner in a unit as of a moment.

    Attributes:
        learner_id: who.
        unit_id: the unit.
        as_of: the moment.
        version: the version.
        why_version: why it was this one.
        events: events before the moment that the model may read.
        last_event: the last of them.
        input_hash: of the input.
        answer: all outputs by name.
        reasons: why, in English; empty where the version does not explain.
        kept: comparisons with what was kept.
        not_found: where the answer was looked for in vain.
        outcome: what turned out to be true; None where that is not known.
    """

    learner_id: str
    unit_id: str
    as_of: str
    version: int
    why_version: str
    events: int
    last_event: str | None
    input_hash: str
    answer: dict[str, Any]
    reasons: list[str]
    kept: list[Compared]
    not_found: list[str]
    outcome: TurnedOut | None

    @property
    def differs(self) -> bool:
        """Whether an answer that was kept is another one."""
        return any(item.verdict == "differs" for item in self.kept)

    def describe(self) -> str:
        """Returns it for people, in lines."""
        events = f"{self.events} events"
        if self.last_event is not None:
            events += f", the last at {self.last_event}"
        lines = [
            f"{in_one_line(self.learner_id)} in {in_one_line(self.unit_id)} as of {self.as_of}",
            f"  version   {self.version}, {self.why_version}",
            f"  input     {events}; hash {self.input_hash[:12]}",
            f"  answer    {self._said()}",
        ]
        lines += [f"  because   {in_one_line(reason)}" for reason in self.reasons]
        kept = [f"{item.where}, {item.describe()}" for item in self.kept]
        kept += [f"{where}, not found" for where in self.not_found]
        lines += [f"  kept      {text}".replace("\n", "\n            ") for text in kept]
        outcome = self.outcome
        if outcome is not None:
            verdict = "right" if outcome.right else "wrong"
            if outcome.off_by is not None:
                verdict = f"off by {outcome.off_by:+.4g}"
            lines.append(f"  outcome   {outcome.label} at {outcome.as_of}: {verdict}")
        return "\n".join(lines)

    def _said(self) -> str:
        answer = self.answer
        if PREDICTION in answer:
            return f"{np.ravel(answer[PREDICTION])[0]:.4g}, by {answer[BASIS]}"
        shares = ", ".join(
            f"{name} {share:.3f}"
            for name, share in zip(answer[CLASSES], answer[PROBABILITIES], strict=True)
        )
        said = f"{answer[PREDICTED_CLASS]} ({shares}), by {answer[BASIS]}"
        text = answer.get(ANSWER_TEXT)
        return f"{said}; {text}" if text and text != answer[PREDICTED_CLASS] else said
