"""Which columns of a model are compared, by which distance, and how far each may move."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from components.contracts.names import NUM_STEPS, PREDICTED_CLASS, PREDICTION, UNIT
from components.monitoring.drift import Comparison
from components.monitoring.log_sample import read_sample
from components.monitoring.thresholds import Threshold

if TYPE_CHECKING:
    from components.config.root import Config
    from components.contracts.drift_report import Kind
    from components.monitoring.log_sample import ColumnType, LogSample

Allowed = Mapping[str, Threshold]  # by column


def input_columns(recipe: Config) -> dict[str, ColumnType]:
    """Returns the columns that a model reads, and how many steps it sees; units come apart."""
    groups: dict[str, ColumnType] = dict.fromkeys(recipe.prior.group_by, "categorical")
    steps: dict[str, ColumnType] = {
        name: feature.type for name, feature in recipe.steps.features.items()
    }
    context: dict[str, ColumnType] = {
        name: feature.type for name, feature in recipe.context.items()
    }
    found: dict[str, ColumnType] = {**steps, NUM_STEPS: "numeric", **groups, **context}
    return {name: kind for name, kind in found.items() if name != UNIT}


def answer_column(recipe: Config) -> str:
    """Returns the name of the answer that is compared."""
    return PREDICTED_CLASS if recipe.label.classes else PREDICTION


def sample_of(
    examples: Iterable[bytes], recipe: Config, columns: Mapping[str, ColumnType] | None = None
) -> LogSample:
    """Reads examples as a model's recipe says.

    Args:
        examples: serialized.
        recipe: says what the columns are, and how many events are enough.
        columns: which; by default inputs, units and the label.
    """
    if columns is None:
        label: ColumnType = "categorical" if recipe.label.classes else "numeric"
        columns = {**input_columns(recipe), UNIT: "categorical", recipe.label.column: label}
    return read_sample(
        examples,
        columns,
        steps=recipe.steps.features,
        min_steps=recipe.steps.min_steps,
        seed=recipe.data.splits.seed,
    )


def compare_inputs(
    recipe: Config, allowed: Allowed, old: LogSample, new: LogSample
) -> Iterator[Comparison]:
    """Yields what is compared of inputs."""
    for name, kind in input_columns(recipe).items():
        yield _comparison(name, "input", kind, allowed.get(name), old, new)


def compare_label(recipe: Config, allowed: Allowed, old: LogSample, new: LogSample) -> Comparison:
    """Returns what is compared of labels: shares of classes, or numbers."""
    kind: ColumnType = "categorical" if recipe.label.classes else "numeric"
    name = recipe.label.column
    return _comparison(name, "label", kind, allowed.get(name), old, new)


def compare_answers(recipe: Config, allowed: Allowed, old: LogSample, new: LogSample) -> Comparison:
    """Returns what is compared of answers; they may move as far as the label may."""
    kind: ColumnType = "categorical" if recipe.label.classes else "numeric"
    threshold = allowed.get(recipe.label.column)
    return _comparison(answer_column(recipe), "prediction", kind, threshold, old, new)


def compare_units(allowed: Allowed, known: LogSample, new: LogSample) -> Iterator[Comparison]:
    """Yields what is compared of units.

    The share of units that were never seen is judged. How often each occurs is shown and not
    judged: courses have their seasons, and a model need not know of it.
    """
    threshold = allowed.get(UNIT, Threshold())
    yield Comparison(UNIT, "unit", "share", threshold.infinity_norm, known, new)
    yield Comparison(UNIT, "unit", "infinity_norm", None, known, new)


def _comparison(
    name: str,
    kind: Kind,
    type_: ColumnType,
    threshold: Threshold | None,
    old: LogSample,
    new: LogSample,
) -> Comparison:
    allowed = threshold or Threshold()
    if type_ == "categorical":
        return Comparison(name, kind, "infinity_norm", allowed.infinity_norm, old, new)
    divergence = allowed.jensen_shannon
    return Comparison(name, kind, "jensen_shannon_divergence", divergence, old, new)
