"""Makes the table of a cross-validation from the evaluations of its folds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from components.config.metrics import METRICS, Task, foremost_metrics
from components.contracts.cross_validation import Comparison, MetricOverFolds, Spread, Subset
from components.contracts.evaluation import Evaluation, ModelResults
from components.errors import MasteryError

Slice = Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """Metrics over folds.

    Attributes:
        overall: on all examples.
        slices: by slice; those of the same columns follow each other.
        simple_models: what each of them is, by name.
    """

    overall: Subset
    slices: list[Subset]
    simple_models: dict[str, str]


def make_table(evaluations: Sequence[Evaluation]) -> Table:
    """Returns the table over folds of a log.

    A slice that some folds do not report, or a metric that is undefined in some, is averaged over
    the others.

    Args:
        evaluations: one per fold, in their order.

    Raises:
        MasteryError: the folds do not have the same task and simple models.
    """
    first = evaluations[0]
    meanings = {model.name: model.meaning for model in first.simple_models}
    for number, evaluation in enumerate(evaluations):
        found = [model.name for model in evaluation.simple_models]
        if (evaluation.task, found) != (first.task, [*meanings]):
            raise MasteryError(
                f"expected a {first.task} with simple models {[*meanings]} in every fold, found a "
                f"{evaluation.task} with {found} in fold {number}."
            )

    models = _Models.of(evaluations)
    names = table_metrics(first.task)
    return Table(
        overall=models.subset({}, names),
        slices=[models.subset(where, names) for where in _slices_of(evaluations)],
        simple_models=meanings,
    )


def table_metrics(task: Task) -> list[str]:
    """Returns the names of the metrics in a table, the most important one first.

    >>> table_metrics("classification")
    ['f1_macro', 'accuracy', 'auc', 'log_loss', 'ece']
    """
    calibration = ["ece"] if task == "classification" else []
    return [*dict.fromkeys([*foremost_metrics(task), *calibration])]


def _slices_of(evaluations: Sequence[Evaluation]) -> Iterator[Slice]:
    """Yields every slice that a fold reports, once, in the order of the first that does."""
    found: dict[tuple[str, ...], dict[tuple[str, ...], Slice]] = {}
    for evaluation in evaluations:
        for result in evaluation.slices:
            where = result.slice
            found.setdefault(tuple(where), {}).setdefault(tuple(where.values()), where)

    for of_columns in found.values():
        yield from of_columns.values()


@dataclass(frozen=True)
class _Models:
    """Results of the network and of the simple models by name, one per fold."""

    network: list[ModelResults]
    simple: dict[str, list[ModelResults]]

    @classmethod
    def of(cls, evaluations: Sequence[Evaluation]) -> _Models:
        network = [ModelResults(overall=item.overall, slices=item.slices) for item in evaluations]
        simple: dict[str, list[ModelResults]] = {}
        for evaluation in evaluations:
            for model in evaluation.simple_models:
                simple.setdefault(model.name, []).append(model)
        return cls(network, simple)

    def subset(self, where: Slice, names: Sequence[str]) -> Subset:
        """Returns the metrics on a slice, `{}` for all examples; those that no fold has are not."""
        results = [model.at(where) for model in self.network]
        return Subset(
            slice=dict(where),
            examples=[result.examples if result else 0 for result in results],
            metrics={
                name: self._over_folds(name, where)
                for name in names
                if any(result and name in result.metrics for result in results)
            },
        )

    def _over_folds(self, metric: str, where: Slice) -> MetricOverFolds:
        ours = _values(self.network, where, metric)
        sign = 1 if METRICS[metric].more_is_better else -1

        comparisons = {}
        for name, models in self.simple.items():
            theirs = _values(models, where, metric)
            gains = [
                None if our is None or their is None else sign * (our - their)
                for our, their in zip(ours, theirs, strict=True)
            ]
            comparisons[name] = Comparison(value=Spread.over(theirs), gain=Spread.over(gains))
        return MetricOverFolds(value=Spread.over(ours), simple_models=comparisons)


def _values(models: Sequence[ModelResults], where: Slice, metric: str) -> list[float | None]:
    results = [model.at(where) for model in models]
    return [result.value_of(metric) if result else None for result in results]
