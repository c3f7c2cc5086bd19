"""Rows and sentences about what answers rest on, and whether reasons hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from components.report.cell_charts import bar
from components.report.formats import number, span

if TYPE_CHECKING:
    from components.contracts.evaluation import Evaluation
    from components.contracts.importance_results import (
        FeatureImportance,
        ImportanceResults,
        Removal,
        TrueDrivers,
    )

MOST_FEATURES = 12  # of a class that are shown; metrics.json has all
LEAST = 0.001  # smaller sizes are not told apart
LEANING = 0.2  # from which lean a feature is said to speak for or against


@dataclass(frozen=True)
class ImportanceRow:
    """One feature.

    Attributes:
        feature: its name.
        chart: its size and interval.
        size: as text.
        interval: as text; empty if there is none.
        speaks: which values speak for the class, in words.
        before: its size in the model before, as text; a dash for none.
    """

    feature: str
    chart: Markup
    size: str
    interval: str
    speaks: str
    before: str


@dataclass(frozen=True)
class ClassImportance:
    """The features of one class, the most important first.

    Attributes:
        name: the class; empty for a regression.
        rows: at most `MOST_FEATURES`.
        left_out: how many more there are.
        is_compared: whether there is a model before.
    """

    name: str
    rows: list[ImportanceRow]
    left_out: int
    is_compared: bool


@dataclass(frozen=True)
class ImportanceFacts:
    """What the section says.

    Attributes:
        examples: how many were explained.
        claims: sentences on whether reasons hold, each with `better`, `worse` or `open`.
        classes: the features by class.
        method: how attributions were computed, and how exactly they add up.
    """

    examples: int
    claims: list[tuple[str, str]]
    classes: list[ClassImportance]
    method: str


def importance(evaluation: Evaluation) -> ImportanceFacts | None:
    """Returns what a report says about reasons; None for a model that gives none."""
    found = evaluation.importance
    if found is None:
        return None

    claims = []
    if found.removal is not None:
        claims.append(_claim_removal(found.removal, evaluation.task == "classification"))
    if found.drivers is not None:
        claims.append(_claim_drivers(found.drivers))
    return ImportanceFacts(
        examples=found.examples,
        claims=claims,
        classes=[_of_class(name, features) for name, features in found.classes.items()],
        method=_method(found),
    )


def _of_class(name: str, features: list[FeatureImportance]) -> ClassImportance:
    shown = features[:MOST_FEATURES]
    ends = [item.interval[1] if item.interval else item.size for item in shown]
    domain = (0.0, max(ends, default=0.0) or 1.0)
    rows = [
        ImportanceRow(
            feature=item.feature,
            chart=bar(item.size, domain=domain, interval=item.interval, mark=item.before),
            size=number(item.size) if item.size >= LEAST else f"below {LEAST}",
            interval=span(item.interval) if item.interval and item.size >= LEAST else "",
            speaks=_speaks(item),
            before=number(item.before),
        )
        for item in shown
    ]
    is_compared = any(item.before is not None for item in features)
    return ClassImportance(name, rows, len(features) - len(shown), is_compared)


def _speaks(item: FeatureImportance) -> str:
    """Returns which values speak for the class.

    >>> from components.contracts.importance_results import FeatureImportance
    >>> _speaks(FeatureImportance(feature="correct", size=0.2, lean=-0.8))
    'low values'
    """
    if item.lean is None:
        return "which word it is"
    if abs(item.lean) < LEANING:
        return "high or low, by learner"
    return "high values" if item.lean > 0 else "low values"


def _claim_removal(removal: Removal, has_classes: bool) -> tuple[str, str]:
    moved = "falls by" if has_classes else "moves by"
    what = "the probability of the class answered" if has_classes else "the answer"
    low, high = removal.interval or (removal.gain, removal.gain)
    verdict = "open"
    if low > 0:
        verdict = "better"
    elif high < 0:
        verdict = "worse"
    holds = {
        "better": "The events that reasons name matter",
        "worse": "The events that reasons name matter less than others",
        "open": "Whether the events that reasons name matter more than others is within chance",
    }[verdict]
    interval = f" ({span(removal.interval)})" if removal.interval else ""
    return (
        f"{holds}: without the {removal.share:.0%} of the events that speak most for it, "
        f"{what} {moved} {number(removal.named)}; without as many at random by "
        f"{number(removal.random)}. The difference is {number(removal.gain)}{interval}.",
        verdict,
    )


def _claim_drivers(drivers: TrueDrivers) -> tuple[str, str]:
    low, high = drivers.interval or (drivers.shared, drivers.shared)
    verdict = (
        "better" if low > drivers.by_chance else "worse" if high < drivers.by_chance else "open"
    )
    interval = f" ({span(drivers.interval, decimals=2)})" if drivers.interval else ""
    return (
        f"Of the three features that drove an answer, as the simulator knows, reasons name "
        f"{drivers.shared:.0%}{interval} among their first {drivers.top}; names at random "
        f"would reach {drivers.by_chance:.0%}.",
        verdict,
    )


def _method(found: ImportanceResults) -> str:
    return (
        f"Integrated gradients over {found.points} points, from the average learner of the group "
        "to the learner. The attributions of an example add up to the difference between the two "
        f"answers, to within {found.completeness:.1g}."
    )
