"""What a small training came to, read from its run's record and metrics."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from components.config import Config
from components.contracts.run_record import RunRecord
from components.report.inputs import ClassFacts, EvaluationFacts, GateFacts, ResultFacts
from components.report.quality import MetricRow
from components.report.wording import metric_words, say_slice


@dataclass(frozen=True)
class SliceRow:
    """The main metric on a part of the test split."""

    where: str
    examples: int
    metric: MetricRow


@dataclass(frozen=True)
class Results:
    """A run and its evaluation.

    Attributes:
        record: the run.
        config: what was run, as `small_config` returned it.
        evaluation: its metrics; None where it failed before there were any.
    """

    record: RunRecord
    config: Config
    evaluation: EvaluationFacts | None

    @property
    def gates(self) -> list[GateFacts]:
        """The gates and how they went, the one on the main metric last."""
        return self.evaluation.gates if self.evaluation else []

    @property
    def main(self) -> MetricRow | None:
        """The main metric over all examples, before and after."""
        return self._main_of(self.evaluation.overall, self._before({})) if self.evaluation else None

    @property
    def metrics(self) -> list[MetricRow]:
        """All overall metrics, and the recall of every class."""
        if self.evaluation is None:
            return []
        after, before = self.evaluation.overall, self._before({})
        return [
            *(_row(name, None, after, before) for name in after.metrics),
            *(_row("recall", name, after, before) for name in self.evaluation.classes),
        ]

    @property
    def slices(self) -> list[SliceRow]:
        """The main metric in every slice, in the evaluator's order."""
        return [
            SliceRow(
                say_slice(item.slice), item.examples, self._main_of(item, self._before(item.slice))
            )
            for item in (self.evaluation.slices if self.evaluation else [])
        ]

    def _before(self, where: dict[str, str]) -> ResultFacts | None:
        """Returns the baseline's result at a slice, `{}` for all examples."""
        baseline = self.evaluation.baseline if self.evaluation else None
        if baseline is None or not where:
            return baseline.overall if baseline else None
        return next((item for item in baseline.slices if item.slice == where), None)

    def _main_of(self, after: ResultFacts, before: ResultFacts | None) -> MetricRow:
        gate = self.config.gates[-1]
        return _row(gate.metric, gate.class_, after, before)


def read_results(record: RunRecord, config: Config) -> Results:
    """Returns the results of a run of `config`."""
    metrics = Path(record.metrics).read_bytes() if record.metrics else None
    return Results(
        record, config, EvaluationFacts.model_validate_json(metrics) if metrics else None
    )


def _row(
    metric: str, class_: str | None, after: ResultFacts, before: ResultFacts | None
) -> MetricRow:
    words = metric_words(metric)
    if class_ is not None:
        words = replace(words, name=f"{words.name} of {class_}")
    return MetricRow(
        words, _value(after, metric, class_), _value(before, metric, class_) if before else None
    )


def _value(result: ResultFacts, metric: str, class_: str | None) -> float | None:
    if class_ is None:
        return result.metrics.get(metric)
    found: float | None = getattr(result.classes.get(class_, ClassFacts()), metric)
    return found
