"""Whether a model is trained again, and what became of it: what `mastery retrain --json` prints."""

from __future__ import annotations

from typing import ClassVar

from components.contracts.contract import Contract
from components.contracts.run_record import Retraining, RunState


class RetrainDecision(Contract):
    """Whether a model is trained again, and what became of it.

    Attributes:
        name: of the pipeline.
        train: whether it is trained again.
        cause: why, or why not.
        window: the spans to train on, as `data.span` says it.
        replay: share of the learners of older spans that are trained on once more.
        starts_from: folder of the version that the fit starts from; None from scratch.
        this_week: ids of the retrainings of the last seven days, oldest first.
        max_per_week: how many there may be.
        run: id of the run that was made; None where nothing was trained.
        state: how that run ended.
        pushed_version: folder of the version that it pushed.
        report: its report.
    """

    FILE: ClassVar[str] = "retrain.json"

    name: str
    train: bool
    cause: Retraining
    window: str
    replay: float
    starts_from: str | None = None
    this_week: list[str] = []
    max_per_week: int
    run: str | None = None
    state: RunState | None = None
    pushed_version: str | None = None
    report: str | None = None
