"""Fairness: between which learners the model is compared, and what is done about gaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from components.command.suggest import did_you_mean
from components.config.section import KeyedError, Section

if TYPE_CHECKING:
    from components.config.data import Label
    from components.config.decisions import Decision
    from components.config.gates import EvaluationRules

GapMetric = Literal[
    "recall", "precision", "alarm_rate", "calibration", "abroca", "mean_error", "mae"
]


@dataclass(frozen=True)
class GapWords:
    """A number that is compared between groups.

    Attributes:
        short: what people call it, in the middle of a sentence.
        meaning: what it says of one group or, for ABROCA, of two.
        of_decisions: whether decisions have it too.
        task: of the label.
    """

    short: str
    meaning: str
    of_decisions: bool = False
    task: Literal["classification", "regression"] = "classification"


GAP_METRICS: dict[GapMetric, GapWords] = {
    "recall": GapWords(
        "recall", "Of the group's learners in this class, the share that is found.", True
    ),
    "precision": GapWords(
        "precision", "Of the group's learners who are named, the share named rightly.", True
    ),
    "alarm_rate": GapWords(
        "alarm rate", "Of all learners of the group, the share that is named.", True
    ),
    "calibration": GapWords(
        "calibration",
        "The mean probability of the class minus the share that is of the class: above 0, the "
        "group is said to be in the class more often than it is.",
    ),
    "abroca": GapWords(
        "ABROCA", "The area between the ROC curves of two groups, wherever they cross."
    ),
    "mean_error": GapWords(
        "mean error", "The mean of prediction minus truth: above 0, too high.", task="regression"
    ),
    "mae": GapWords("MAE", "The mean size of the errors.", task="regression"),
}


def gap_words(metric: str) -> GapWords:
    """Returns what people call a number that is compared; its own name if it is not in the table.

    >>> gap_words("abroca").short, gap_words("odds_ratio").short
    ('ABROCA', 'odds ratio')
    """
    known = {str(name): words for name, words in GAP_METRICS.items()}
    return known.get(metric) or GapWords(metric.replace("_", " "), "")


def _lists_of_columns(value: object) -> object:
    if isinstance(value, list):
        return [[item] if isinstance(item, str) else item for item in value]
    return value


def _one_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


ColumnSets = Annotated[list[list[str]], BeforeValidator(_lists_of_columns)]


class FairnessGate(Section):
    """One gate on gaps: it fails where a gap is shown to be larger than allowed.

    A gate of the section `gates` with `max_gap` and `confidence` asks for the contrary: there a
    gap has to be shown to be small, which needs many learners in every group.
    """

    metric: GapMetric = Field(description="what is compared between groups")
    class_: str | None = Field(None, alias="class", description="the class it is taken for")
    decision: str | None = Field(
        None, description="the decision it is taken for, in place of a class"
    )
    columns: Annotated[list[str] | None, BeforeValidator(_one_list)] = Field(
        None,
        description="one comparison of `fairness.columns`: a column, or a list of columns for "
        "their intersection; default: all of them",
    )
    max_gap: float = Field(ge=0, description="the largest gap between two groups that may be shown")
    confidence: float = Field(
        0.95,
        gt=0.5,
        lt=1,
        description="of all gates together: where there is no gap above its bound, all of them "
        "pass with this chance",
    )


class Fairness(Section):
    """Gaps between groups of learners, and what reduces them."""

    columns: ColumnSets = Field(
        default_factory=list,
        description="columns whose values are compared, or lists of columns for their "
        "intersections; default: the protected ones among `evaluation.slices`",
    )
    min_examples: int = Field(
        50,
        ge=10,
        description="groups with fewer examples are named, but not compared; a recall is of "
        "examples of the class, a precision of examples that are named",
    )
    gates: list[FairnessGate] = Field(
        default_factory=list, description="gaps that a model may not be shown to have"
    )
    reweigh: str | None = Field(
        None,
        description="a protected column: examples are weighted so that every class is as common in "
        "each of its groups",
    )
    measure_cost: bool = Field(
        True,
        description="with a remedy: fit a second model without it, which is measured, never "
        "served, so that the report shows what the remedy changes and costs",
    )


class Remedies(Section):
    """What the Trainer does about gaps: a part of the section `fairness`."""

    reweigh: str | None = None
    min_examples: int = 50
    measure_cost: bool = True

    @classmethod
    def of(cls, fairness: Fairness) -> Remedies:
        """Returns the part of the section that changes the model."""
        return cls(
            reweigh=fairness.reweigh,
            min_examples=fairness.min_examples if fairness.reweigh else 50,
            measure_cost=fairness.measure_cost if fairness.reweigh else True,
        )

    @property
    def described(self) -> list[str]:
        """The remedies as in the configuration, such as `reweigh: gender`."""
        return [] if self.reweigh is None else [f"reweigh: {self.reweigh}"]


def compared_columns(
    fairness: Fairness, evaluation: EvaluationRules, protected: Sequence[str]
) -> list[list[str]]:
    """Returns the lists of columns whose groups are compared, in their configured order."""
    if fairness.columns:
        return fairness.columns
    return [names for names in evaluation.slices if names and {*names} <= {*protected}]


def require_fairness_fits(
    fairness: Fairness,
    label: Label,
    evaluation: EvaluationRules,
    decisions: Sequence[Decision],
    protected: Sequence[str],
) -> None:
    """Checks that gates and remedies name what the rest of the configuration has.

    Raises:
        KeyedError: one does not.
    """
    compared = compared_columns(fairness, evaluation, protected)
    if fairness.gates and not compared:
        raise KeyedError(
            ("fairness", "gates"),
            "expected columns to compare, found none; list them in fairness.columns, or slice by "
            "protected columns in evaluation.slices",
        )

    for index, gate in enumerate(fairness.gates):
        _require_gate_fits(
            gate, label, decisions, compared, evaluation, keys=("fairness", "gates", index)
        )

    if fairness.reweigh is not None:
        if label.task == "regression":
            raise KeyedError(
                ("fairness", "reweigh"),
                "expected none for a regression: weights are by group and class",
            )
        if fairness.reweigh not in protected:
            raise KeyedError(
                ("fairness", "reweigh"),
                f"expected a column listed in `protected`, found {fairness.reweigh}"
                f"{did_you_mean(fairness.reweigh, protected)}",
            )


def _require_gate_fits(
    gate: FairnessGate,
    label: Label,
    decisions: Sequence[Decision],
    compared: Sequence[Sequence[str]],
    evaluation: EvaluationRules,
    *,
    keys: Sequence[str | int],
) -> None:
    words = GAP_METRICS[gate.metric]
    known: list[str]
    if words.task != label.task:
        known = [name for name, other in GAP_METRICS.items() if other.task == label.task]
        raise KeyedError(
            (*keys, "metric"),
            f"expected one of {', '.join(known)} for a {label.task}, found {gate.metric}",
        )

    if gate.decision is not None:
        _require_known((*keys, "decision"), gate.decision, [item.name for item in decisions])
        if gate.class_ is not None:
            raise KeyedError((*keys, "decision"), "expected it or `class`, found both")
        if not words.of_decisions:
            known = [name for name, other in GAP_METRICS.items() if other.of_decisions]
            raise KeyedError(
                (*keys, "metric"),
                f"expected one of {', '.join(known)} beside `decision`, found {gate.metric}",
            )
    elif label.classes:
        if gate.class_ is None:
            raise KeyedError((*keys, "class"), f"expected one of {label.classes}, found none")
        _require_known((*keys, "class"), gate.class_, label.classes)
    elif gate.class_ is not None:
        raise KeyedError((*keys, "class"), "expected none for a regression")

    if gate.columns is not None and sorted(gate.columns) not in map(sorted, compared):
        known = [" × ".join(names) for names in compared]
        raise KeyedError(
            (*keys, "columns"),
            f"expected one of {', '.join(known)}, found {' × '.join(gate.columns)}; "
            "add it to fairness.columns",
        )

    # One draw beyond the interval's end is the least that tells where it ends.
    needed = round(2 / (1 - gate.confidence))
    if evaluation.draws < needed:
        raise KeyedError(
            (*keys, "confidence"),
            f"expected evaluation.draws of {needed} or more, found {evaluation.draws}",
        )


def _require_known(keys: Sequence[Any], name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise KeyedError(
            keys,
            f"expected one of {', '.join(known) or 'none'}, found {name}"
            f"{did_you_mean(name, known)}",
        )
