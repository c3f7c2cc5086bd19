"""How decisions go: counts of who is named, their draws, and what other thresholds would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from components.contracts.calibration import Calibration, ChosenPoint
from components.contracts.decision_results import (
    DecisionCurve,
    DecisionMetrics,
    DecisionResults,
    RecordedCost,
)
from components.contracts.evaluation import ModelResults, Result
from components.contracts.names import PROBABILITIES, decision_output
from components.evaluator.measures import thin
from components.evaluator.resampling import (
    AllAnswers,
    Answers,
    Floats,
    Ints,
    Measure,
    Sums,
    ratio,
    sums_by_learner,
)
from components.evaluator.scoring import LABEL, class_indices, probability_rows

if TYPE_CHECKING:
    from components.config.decisions import Cost, Decision
    from components.evaluator.draws import Draws
    from components.evaluator.evaluator_settings import EvaluatorSettings

Bools = NDArray[np.bool_]
SomeResult = TypeVar("SomeResult", bound=Result)


@dataclass(frozen=True)
class DecisionAnswers:
    """Which decisions a model takes for n examples, and who is of their classes.

    Attributes:
        decisions: D of them.
        taken: bool [n, D].
        is_class: whether an example is of each decision's class, bool [n, D].
    """

    decisions: Sequence[Decision]
    taken: Bools
    is_class: Bools

    @classmethod
    def of(
        cls,
        table: pl.DataFrame,
        labels: Ints,
        decisions: Sequence[Decision],
        classes: Sequence[str],
    ) -> DecisionAnswers:
        """Returns the decisions of a table of predictions, whose labels are [n]."""
        taken = [table[decision_output(decision.name)].to_numpy() for decision in decisions]
        is_class = [labels == classes.index(decision.class_) for decision in decisions]
        return cls(decisions, np.column_stack(taken), np.column_stack(is_class))

    @property
    def metrics(self) -> int:
        """How many metrics they have."""
        return 4 * len(self.decisions)

    def at(self, rows: Ints) -> DecisionAnswers:
        """Returns those of some rows."""
        return DecisionAnswers(self.decisions, self.taken[rows], self.is_class[rows])

    def count(self) -> dict[str, DecisionMetrics]:
        """Returns the metrics of each decision on all rows, by its name."""
        return {
            decision.name: DecisionMetrics.of(
                len(taken),
                of_class=int(is_class.sum()),
                named=int(taken.sum()),
                right=int((taken & is_class).sum()),
                cost=decision.cost,
            )
            for decision, taken, is_class in zip(
                self.decisions, self.taken.T, self.is_class.T, strict=True
            )
        }

    def measure(self, learners: Ints, count: int) -> Measure:
        """Returns a function from counts of learners, [L, D], to the metrics of all decisions.

        A draw without a learner of the class has no recall, one in which nobody is named has no
        precision.
        """
        columns = [np.ones((len(learners), 1), bool), self.is_class, self.taken]
        rows, places = np.nonzero(np.hstack([*columns, self.taken & self.is_class]))
        shape = (1 + 3 * len(self.decisions), count)
        sums = sums_by_learner(places, learners[rows], np.ones(len(rows)), shape)
        return partial(_measure_decisions, sums, self.decisions)


def _measure_decisions(sums: Sums, decisions: Sequence[Decision], counts: Floats) -> Draws:
    examples, *others = sums @ counts
    of_class, named, right = np.split(np.stack(others), 3)
    draws: Draws = {}
    for place, decision in enumerate(decisions):
        drawn = (of_class[place], named[place], right[place])
        draws |= {
            (metric, decision.name): values
            for metric, values in _rates(examples, *drawn, decision.cost).items()
        }
    return draws


def _rates(
    examples: Floats, of_class: Floats, named: Floats, right: Floats, cost: Cost | None
) -> dict[str, Floats]:
    """Returns the metrics of `DecisionMetrics` that gates may name, in every draw [D]."""
    rates = {
        "recall": ratio(right, of_class),
        "precision": ratio(right, named),
        "alarm_rate": ratio(named, examples),
    }
    if cost is not None:
        costs = cost.miss * (of_class - right) + cost.false_alarm * (named - right)
        rates["cost"] = ratio(costs, examples)
    return rates


def add_decisions(results: ModelResults, answers: Answers, places: Sequence[Ints]) -> ModelResults:
    """Returns results with the metrics of decisions, if the model takes any.

    Args:
        results: metrics overall and by slice.
        answers: the model's answers.
        places: the rows of all examples, then those of each slice.
    """
    parts = answers.parts if isinstance(answers, AllAnswers) else ()
    found = next((part for part in parts if isinstance(part, DecisionAnswers)), None)
    if found is None:
        return results

    def decided(result: SomeResult, rows: Ints) -> SomeResult:
        return result.model_copy(update={"decisions": found.at(rows).count()})

    everything, *slices = places
    return ModelResults(
        overall=decided(results.overall, everything),
        slices=[decided(result, rows) for result, rows in zip(results.slices, slices, strict=True)],
    )


def decisions_of(
    model: Path, predictions: Path, settings: EvaluatorSettings
) -> dict[str, ChosenPoint | None]:
    """Returns the configured decisions that a model takes, and the point of each, by name.

    A decision that the model takes about another class is another decision.

    Args:
        model: the SavedModel; one that was not made by Mastery has no record of its points.
        predictions: what it answered.
        settings: the configured decisions.
    """
    answered = pl.read_parquet_schema(predictions)
    has_record = (model / Calibration.FILE).is_file()
    points = Calibration.read(model).decisions if has_record else []
    recorded = {point.name: point for point in points}
    return {
        decision.name: point
        for decision in settings.decisions
        if decision_output(decision.name) in answered
        and ((point := recorded.get(decision.name)) is None or point.class_ == decision.class_)
    }


def describe_decisions(
    predictions: Path, settings: EvaluatorSettings, points: Mapping[str, ChosenPoint | None]
) -> list[DecisionResults]:
    """Returns what was promised of each decision, and what other thresholds would do.

    Args:
        predictions: the model's answers.
        settings: the configured decisions.
        points: as `decisions_of` returns them; one that was not recorded is left out.
    """
    if not any(points.values()):
        return []
    classes = settings.label.classes
    table = pl.read_parquet(predictions, columns=[LABEL, PROBABILITIES])
    labels = class_indices(table[LABEL], classes)
    probabilities = probability_rows(table[PROBABILITIES], len(classes))

    described = []
    for decision in settings.decisions:
        point = points.get(decision.name)
        if point is None:
            continue
        class_id = classes.index(decision.class_)
        curve = decision_curve(labels == class_id, probabilities[:, class_id], decision.cost)
        described.append(
            DecisionResults(
                name=decision.name,
                class_=decision.class_,
                who=decision.who or f"those who are {decision.class_}",
                threshold=point.threshold,
                purpose=point.purpose,
                aim=point.aim,
                cost=decision.cost and RecordedCost.model_validate(decision.cost),
                promised=point.promised,
                note=point.note,
                curve=curve,
            )
        )
    return described


def decision_curve(
    is_class: Bools, probabilities: Floats, cost: Cost | None
) -> DecisionCurve | None:
    """Returns what every threshold would do; None without an example of the class.

    Args:
        is_class: whether each example is of the class, [n].
        probabilities: of the class, [n].
        cost: what mistakes cost.
    """
    if not is_class.any():
        return None
    rising, place, sizes = np.unique(probabilities, return_inverse=True, return_counts=True)
    true = np.bincount(place[is_class], minlength=len(rising))
    named, right = (np.cumsum(column[::-1]) for column in (sizes, true))

    kept = thin(named / len(is_class))
    metrics = [
        DecisionMetrics.of(len(is_class), int(is_class.sum()), int(count), int(hits), cost)
        for count, hits in zip(named[kept], right[kept], strict=True)
    ]
    return DecisionCurve(
        threshold=rising[::-1][kept].astype(float).tolist(),
        recall=[item.recall or 0.0 for item in metrics],
        precision=[item.precision or 0.0 for item in metrics],
        cost=[item.cost or 0.0 for item in metrics] if cost else [],
    )
