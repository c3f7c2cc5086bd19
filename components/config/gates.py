"""Gates: what a model has to reach before it is pushed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from components.config.section import Address, Section

CLASSIFICATION_METRICS = (
    "accuracy", "precision_macro", "recall_macro", "f1_macro",
    "precision_weighted", "recall_weighted", "f1_weighted", "auc", "log_loss",
)  # fmt: skip
CLASS_METRICS = ("precision", "recall", "f1", "auc")
REGRESSION_METRICS = ("mse", "mae", "rmse", "r2")
LESS_IS_BETTER = ("log_loss", "mse", "mae", "rmse")
Metric = Literal[
    "accuracy", "precision_macro", "recall_macro", "f1_macro", "precision_weighted", "recall_weighted",
    "f1_weighted", "auc", "log_loss", "precision", "recall", "f1", "mse", "mae", "rmse", "r2",
]  # fmt: skip


class Gate(Section):
    """One line of the gates: a metric, where it is looked at, and its bounds.

    Every bound that is given has to hold. `min_change` and `max_change` compare with the blessed baseline
    and hold when there is none yet. `max_gap` bounds the distance between the best and the worst value
    of the metric over the slices of one column.
    """

    metric: Metric = Field(description="name of the metric, as in the report")
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
        bounds = (self.min, self.max, self.min_change, self.max_change, self.max_gap)
        if all(bound is None for bound in bounds):
            raise ValueError(
                "expected at least one of min, max, min_change, max_change, max_gap; found none"
            )
        if self.max_gap is not None and not isinstance(self.slice, str):
            raise ValueError(
                "max_gap: expected `slice: COLUMN` beside it, to say between which slices"
            )
        if self.metric in ("precision", "recall", "f1") and self.class_ is None:
            raise ValueError(
                f"metric {self.metric}: expected `class:` beside it, or {self.metric}_macro"
            )
        if self.class_ is not None and self.metric not in CLASS_METRICS:
            raise ValueError(
                f"class: expected with one of {', '.join(CLASS_METRICS)} only, found with {self.metric}"
            )
        return self


class Evaluation(Section):
    """How the model is judged on the test split."""

    slices: list[list[str]] = Field(
        default_factory=list,
        description="columns of outcomes to slice by; a list of columns slices by all of them at once",
    )
    min_slice_examples: int = Field(
        1, ge=1, description="slices with fewer examples are not reported"
    )
    baseline: Address | None = Field(
        None,
        description="folder of a pushed version to compare with; default: the model blessed last in the run's root",
    )

    @model_validator(mode="before")
    @classmethod
    def _one_column_is_a_slice(cls, value: object) -> object:
        if isinstance(value, dict) and isinstance(value.get("slices"), list):
            slices = [[item] if isinstance(item, str) else item for item in value["slices"]]
            return {**value, "slices": slices}
        return value
