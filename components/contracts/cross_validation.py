"""`cross-validation.json`: the metrics of a configuration over all folds of its log."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import ClassVar, Literal, Self

from components.config.metrics import Task
from components.contracts.contract import Contract, Part
from components.contracts.provenance import DataProvenance


class Spread(Part):
    """A number over folds; folds in which it is undefined are left out of the first three.

    Attributes:
        mean: over folds; None where it is undefined in all of them.
        deviation: standard deviation over folds (of a sample: divided by one less than their
            number); None with fewer than two.
        error: standard error of the mean, the deviation over the root of the number of folds. It
            takes folds as independent, although they share most of what they are trained on.
        folds: the number in each fold, in their order; None where it is undefined.
    """

    mean: float | None
    deviation: float | None
    error: float | None
    folds: list[float | None]

    @classmethod
    def over(cls, folds: Sequence[float | None]) -> Self:
        """Returns the spread of a number.

        >>> Spread.over([0.5, 0.7, None]).mean
        0.6
        """
        known = [value for value in folds if value is not None]
        deviation = stdev(known) if len(known) > 1 else None
        return cls(
            mean=fmean(known) if known else None,
            deviation=deviation,
            error=None if deviation is None else deviation / math.sqrt(len(known)),
            folds=[*folds],
        )


class Comparison(Part):
    """A simple model in one metric.

    Attributes:
        value: its own metric.
        gain: how much better the network is on the same examples, fold by fold; positive where the
            network is better, whichever way the metric goes. Its error is that of paired numbers.
    """

    value: Spread
    gain: Spread


class MetricOverFolds(Part):
    """One metric of the network, and of each simple model by its name."""

    value: Spread
    simple_models: dict[str, Comparison] = {}


class Subset(Part):
    """All examples, or those of a slice.

    Attributes:
        slice: values by column; empty for all examples.
        examples: how many in the test split of each fold; 0 where a fold reports no such slice.
        metrics: the foremost metrics of the task by name.
    """

    slice: dict[str, str] = {}
    examples: list[int]
    metrics: dict[str, MetricOverFolds]


class FoldRun(Part):
    """The run of one fold.

    Attributes:
        fold: its number, from 0.
        run: id of the run in the fold's own root.
        gates_passed: whether the model passed the gates of the configuration.
        learners: how many are in the test split.
        outcomes: the same for outcomes.
        units: names of those in the test split.
        seconds: how long the run took that made the metrics, not one that found them in the cache.
        metrics: path of its `metrics.json`.
        report: path of its report.
    """

    fold: int
    run: str
    gates_passed: bool
    learners: int
    outcomes: int
    units: list[str]
    seconds: float
    metrics: str
    report: str | None = None


class CrossValidation(Contract):
    """The table of a log.

    Attributes:
        name: of the pipeline.
        task: what kind of label is predicted.
        by: what the folds divide.
        folds: the runs, one per fold.
        learners: how many are in any test split.
        outcomes: the same for outcomes, each of which is in one test split.
        seconds: sum over the folds.
        overall: metrics on all examples of a fold.
        slices: metrics by slice.
        simple_models: what the models beside the network are, in a sentence, by their names.
        version: of Mastery.
        code: fingerprint of the code that makes examples, models and metrics.
        config: fingerprint of the configuration, the same for every fold.
        data: which data was read.
    """

    FILE: ClassVar[str] = "cross-validation.json"

    name: str
    task: Task
    by: Literal["learner", "unit"]
    folds: list[FoldRun]
    learners: int
    outcomes: int
    seconds: float
    overall: Subset
    slices: list[Subset] = []
    simple_models: dict[str, str] = {}
    version: str
    code: str
    config: str
    data: DataProvenance = DataProvenance()
