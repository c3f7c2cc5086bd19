"""Rows, charts and sentences about gaps between groups of learners, and what remedies cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.config.fairness import GapWords, gap_words
from components.config.metrics import Metric, describe_metric, foremost_metrics
from components.contracts.evaluation import MISSING, format_confidence
from components.report.cell_charts import interval_chart
from components.report.formats import category, count, number, sentence_case, span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from markupsafe import Markup

    from components.contracts.evaluation import Evaluation
    from components.contracts.fairness_results import (
        FairnessResults,
        Gap,
        GroupValue,
        MeasuredGaps,
    )

MOST_SHOWN = 5  # gaps that are listed as sentences; the others are in the tables


@dataclass(frozen=True)
class GapRow:
    """One measure between the groups of a column: its widest gap.

    Attributes:
        name: of the measure, and what it is taken for.
        words: what the measure says.
        size: of the gap, as text, with its interval.
        interval: the interval, as text.
        between: who is apart, with their numbers.
        chart: the gap and its interval, beside 0.
        is_shown: whether any gap of this measure is more than chance.
        pairs: how many pairs were compared.
        groups: the numbers of all groups.
        before: the blessed model's widest gap.
        without: that of the model without remedies.
    """

    name: str
    words: GapWords
    size: float
    interval: str
    between: str
    chart: Markup
    is_shown: bool
    pairs: int
    groups: list[tuple[str, GroupValue]]
    before: float | None
    without: float | None


@dataclass(frozen=True)
class ColumnGaps:
    """The gaps between the groups of one column, or of an intersection."""

    name: str
    rows: list[GapRow]
    not_compared: list[str]

    @property
    def shown(self) -> int:
        """How many measures have a gap that is more than chance."""
        return sum(row.is_shown for row in self.rows)

    @property
    def has_before(self) -> bool:
        """Whether a blessed model was compared, too."""
        return any(row.before is not None for row in self.rows)

    @property
    def has_without(self) -> bool:
        """Whether a model without remedies was compared, too."""
        return any(row.without is not None for row in self.rows)


@dataclass(frozen=True)
class CostRow:
    """A metric with and without remedies: a gain is positive where they do not cost anything."""

    words: Metric
    value: float | None
    without: float | None
    gain: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class FairnessFacts:
    """What the report says about fairness.

    Attributes:
        shown: a sentence for each gap that is more than chance, the clearest first.
        more: how many more there are.
        columns: the gaps by column.
        too_small: groups that were not compared at all, with how many outcomes they have.
        least: what a group needs.
        sure: confidence of the intervals, as text.
        remedies: what was done, as in the configuration.
        costs: what that changes in the foremost metrics.
    """

    shown: list[str]
    more: int
    columns: list[ColumnGaps]
    too_small: list[str]
    least: int
    sure: str
    remedies: list[str]
    costs: list[CostRow]


def fairness_facts(evaluation: Evaluation) -> FairnessFacts | None:
    """Returns the gaps, or None where no groups were compared."""
    results = evaluation.fairness
    if results is None or not results.measures:
        return None

    told = [
        (gap.interval[0], _sentence(item, gap))
        for item in results.measures
        for gap in item.gaps
        if gap.is_shown
    ]
    told.sort(key=lambda pair: -pair[0])
    shown = [text for _, text in told]
    return FairnessFacts(
        shown=shown[:MOST_SHOWN],
        more=len(shown) - len(shown[:MOST_SHOWN]),
        columns=[_column(names, results) for names in results.columns],
        too_small=[
            f"{group_name(small.group)} ({count(small.examples)})" for small in results.too_small
        ],
        least=results.min_examples,
        sure=format_confidence(results.confidence),
        remedies=results.cost.remedies if results.cost else [],
        costs=_costs(evaluation),
    )


def group_name(group: Mapping[str, str]) -> str:
    """Returns the values of a group, without the names of the columns.

    >>> group_name({"gender": "f", "region": ""})
    'f × (missing)'
    """
    return " × ".join(category(value) or MISSING for value in group.values())


def _column(names: list[str], results: FairnessResults) -> ColumnGaps:
    here = [item for item in results.measures if item.columns == names]
    rows = [row for item in here if (row := _row(item, here)) is not None]
    missing = [_measure_name(item) for item in here if not item.gaps]
    return ColumnGaps(" × ".join(names), rows, missing)


def _row(item: MeasuredGaps, here: list[MeasuredGaps]) -> GapRow | None:
    gap = item.widest
    if gap is None:
        return None
    reach = max(
        other.widest.interval[1] for other in here if other.widest is not None
    )  # one scale for all rows of the column
    shown = any(other.is_shown for other in item.gaps)
    return GapRow(
        name=_measure_name(item),
        words=gap_words(item.metric),
        size=gap.size,
        interval=span(gap.interval),
        between=_between(item, gap),
        chart=interval_chart(
            gap.size,
            gap.interval,
            domain=(0.0, reach or 1.0),
            mark=0.0,
            label="0",
            tone="bad" if gap.is_shown else "open",
        ),
        is_shown=shown,
        pairs=item.pairs,
        groups=[(group_name(value.group), value) for value in item.groups],
        before=item.before,
        without=item.without,
    )


def _measure_name(item: MeasuredGaps) -> str:
    name = gap_words(item.metric).short
    if item.decision is not None:
        return f"{name} of decision {item.decision}"
    return name if item.class_ is None else f"{name} of {item.class_}"


def _between(item: MeasuredGaps, gap: Gap) -> str:
    """Returns who is apart: `male (0.951) and female (0.848)`."""
    values = {tuple(value.group.items()): value.value for value in item.groups}
    parts = []
    for group in gap.between:
        value = values.get(tuple(group.items()))
        parts.append(group_name(group) + (f" ({number(value)})" if value is not None else ""))
    return " and ".join(parts)


def _sentence(item: MeasuredGaps, gap: Gap) -> str:
    """Returns a gap as a sentence."""
    return sentence_case(
        f"{_measure_name(item)} differs by {number(gap.size)} between {_between(item, gap)}; "
        f"by {number(gap.interval[0])} at least."
    )


def _costs(evaluation: Evaluation) -> list[CostRow]:
    cost = evaluation.fairness.cost if evaluation.fairness else None
    if cost is None:
        return []
    return [
        CostRow(
            words=describe_metric(name),
            value=evaluation.overall.value_of(name),
            without=cost.metrics.get(name),
            gain=cost.gains.get(name),
            interval=cost.intervals.get(name),
        )
        for name in foremost_metrics(evaluation.task)
    ]
