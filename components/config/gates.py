"""Gates: what a model has to reach before it is pushed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from components.command.escape import shorten
from components.command.suggest import did_you_mean
from components.config.metrics import METRICS, Level, metrics_of, metrics_of_task
from components.config.section import Address, KeyedError, Section

if TYPE_CHECKING:
    from components.config.data import Label

GateBound = Literal["min", "max", "min_change", "max_change", "max_gap"]
BOUNDS: tuple[GateBound, ...] = get_args(GateBound)


def require_known(name: str, known: Sequence[str]) -> None:
    """Checks that a name is one of those known.

    Raises:
        ValueError: it is not; the text lists the known names and suggests one that is close.
    """
    if name not in known:
        found = f"{shorten(repr(name))}{did_you_mean(name, known)}"
        raise ValueError(f"expected one of {', '.join(known)}, found {found}")


def _one_of(names: Sequence[str]) -> Any:
    """Returns the type of one of `names`: a literal, so that the reference lists them."""

    def check(value: object) -> object:
        if isinstance(value, str):
            require_known(value, names)
        return value

    return Annotated[Literal[tuple(names)], BeforeValidator(check)]


if TYPE_CHECKING:
    MetricName = str
    OverallMetricName = str
else:
    MetricName = _one_of(tuple(METRICS))
    OverallMetricName = _one_of(metrics_of(Level.OVERALL, Level.REGRESSION))


class Gate(Section):
    """One gate: a metric, on which examples it is measured, and its bounds.

    Every bound that is given has to hold. `min_change` and `max_change` compare with the blessed
    baseline and hold when there is none yet. `max_gap` bounds the distance between the best and the
    worst value of the metric over the slices of one column.
    """

    metric: MetricName = Field(description="name of the metric, as in the report")
    class_: str | None = Field(None, alias="class", description="the class the metric is taken for")
    slice: str | dict[str, str] | None = Field(
        None, description="a column: every one of its slices; {column: value}: that slice"
    )
    min: float | None = Field(None, description="lowest value that passes")
    max: float | None = Field(None, description="highest value that passes")
    min_change: float | None = Field(
        None, description="lowest passing change against the blessed baseline"
    )
    max_change: float | None = Field(
        None, description="highest passing change against the blessed baseline"
    )
    max_gap: float | None = Field(
        None, description="highest passing distance between slices of a column"
    )
    min_examples: int = Field(30, ge=1, description="slices with fewer examples are left out")

    @model_validator(mode="before")
    @classmethod
    def _slice_values_as_text(cls, value: object) -> object:
        if isinstance(value, dict) and isinstance(value.get("slice"), dict):
            return {**value, "slice": {key: str(item) for key, item in value["slice"].items()}}
        return value

    @model_validator(mode="after")
    def _has_a_bound(self) -> Gate:
        if all(getattr(self, bound) is None for bound in BOUNDS):
            raise ValueError(f"expected at least one of {', '.join(BOUNDS)}; found none")
        if self.max_gap is not None and not isinstance(self.slice, str):
            raise ValueError(
                "max_gap: expected `slice: COLUMN` in the same gate, to name the slices to compare"
            )
        return self

    @model_validator(mode="after")
    def _class_fits_the_metric(self) -> Gate:
        levels = METRICS[self.metric].levels
        if self.class_ is None and levels == (Level.CLASS,):
            raise ValueError(
                f"metric {self.metric}: expected `class:` beside it, or {self.metric}_macro"
            )
        if self.class_ is not None and Level.CLASS not in levels:
            known = ", ".join(metrics_of(Level.CLASS))
            raise ValueError(
                f"metric: expected one of {known} beside `class:`, found {self.metric}"
            )
        return self


class EvaluationRules(Section):
    """How the model is judged on the test split."""

    slices: list[list[str]] = Field(
        default_factory=list,
        description="columns of outcomes to slice by; a list of columns slices by all of them at "
        "once",
    )
    min_slice_examples: int = Field(
        1, ge=1, description="slices with fewer examples are not reported"
    )
    baseline: Address | None = Field(
        None,
        description="folder of a pushed version to compare with; default: the model blessed last "
        "in the run's root",
    )

    @model_validator(mode="before")
    @classmethod
    def _one_column_is_a_slice(cls, value: object) -> object:
        if isinstance(value, dict) and isinstance(value.get("slices"), list):
            slices = [[item] if isinstance(item, str) else item for item in value["slices"]]
            return {**value, "slices": slices}
        return value


def require_gates_fit(
    gates: Sequence[Gate], label: Label, evaluation: EvaluationRules, *, keys: Sequence[str | int]
) -> None:
    """Checks that gates ask for metrics, classes and slices that an evaluation has.

    Args:
        gates: the gates.
        label: its task and classes.
        evaluation: its slices.
        keys: the way to the gates in the configuration.

    Raises:
        KeyedError: one does not.
    """
    sliced = [sorted(columns) for columns in evaluation.slices]
    for index, gate in enumerate(gates):
        require_metric_fits(gate.metric, label, keys=(*keys, index, "metric"))
        if gate.class_ is not None:
            _require_known_at((*keys, index, "class"), gate.class_, label.classes)

        columns = [gate.slice] if isinstance(gate.slice, str) else sorted(gate.slice or {})
        if columns and columns not in sliced:
            single = [names[0] for names in sliced if len(names) == 1]
            hint = did_you_mean(columns[0], single) if len(columns) == 1 else ""
            raise KeyedError(
                (*keys, index, "slice"),
                f"{' with '.join(columns)} is not in evaluation.slices; add it there{hint}",
            )


def require_metric_fits(metric: str, label: Label, *, keys: Sequence[str | int]) -> None:
    """Checks that a metric is measured for the label's task.

    Raises:
        KeyedError: it is not.
    """
    _require_known_at(keys, metric, metrics_of_task(label.task))


def _require_known_at(keys: Sequence[str | int], name: str, known: Sequence[str]) -> None:
    try:
        require_known(name, known)
    except ValueError as error:
        raise KeyedError(keys, str(error)) from None
