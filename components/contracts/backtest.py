"""`backtest.json`: what a configuration would have pushed, span by span, and how good that was."""

from __future__ import annotations

from typing import ClassVar

from components.config.metrics import Task
from components.contracts.contract import Contract, Part
from components.contracts.evaluation import Interval


class Measured(Part):
    """A metric of the version in service on the span after.

    Attributes:
        value: the metric; None where it is undefined.
        interval: by drawing learners; None where there are too few of them.
    """

    value: float | None
    interval: Interval | None = None


class BacktestSpan(Part):
    """One span of the past, as if it were the newest.

    Attributes:
        span: its name.
        run: id of the run, in the span's own root.
        gates_passed: whether the model passed its gates, and so would have been pushed.
        failed_gates: those that did not hold, in a line each.
        judged: metrics of the trained model on its test split.
        in_service: the span whose model was in service afterwards; None if none was pushed yet.
        after: name of the span after.
        outcomes: how many of that span were asked about.
        metrics: the foremost metrics of the version in service on the span after; empty where none
            was.
        seconds: how long the run took that made the model.
        report: path of its report.
    """

    span: str
    run: str
    gates_passed: bool
    failed_gates: list[str] = []
    judged: dict[str, float | None]
    in_service: str | None = None
    after: str
    outcomes: int = 0
    metrics: dict[str, Measured] = {}
    seconds: float
    report: str | None = None


class Backtest(Contract):
    """What would have been pushed when, had the configuration run since.

    Attributes:
        name: of the pipeline.
        task: what kind of label is predicted.
        window: the spans that each model was trained on, as `retrain.window` has it.
        replay: the share of the learners of older spans that were trained on once more.
        warm_start: whether each fit started from the version that was in service.
        confidence: of the intervals; None where none were computed.
        spans: oldest first.
        config: digest of the configuration, `retrain` included.
        version: of Mastery.
    """

    FILE: ClassVar[str] = "backtest.json"

    name: str
    task: Task
    window: str
    replay: float
    warm_start: bool
    confidence: float | None = None
    spans: list[BacktestSpan]
    config: str
    version: str

    @property
    def pushed(self) -> list[BacktestSpan]:
        """The spans whose models would have been pushed."""
        return [span for span in self.spans if span.gates_passed]
